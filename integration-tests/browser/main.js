// Runs the checks one after the other and counts them.

import { parseArgs } from 'node:util';
import { mkdirSync } from 'node:fs';
import { launch, setLimit } from './browser.js';
import * as extremes from './extremes.js';
import * as forks from './forks.js';
import * as holds from './holds.js';
import * as hostile from './hostile.js';
import * as keyboard from './keyboard.js';
import { start } from './receiver.js';
import { assistant, hostile as hostileRun, large, week } from './runs.js';
import * as speed from './speed.js';
import * as states from './states.js';
import * as use from './use.js';
import * as views from './views.js';

const { values: options } = parseArgs({ options: { browser: { type: 'string' }, server: { type: 'string' }, agent: { type: 'string' }, shots: { type: 'string' }, limit: { type: 'string', default: '60' }, only: { type: 'string' } } });
if (options.shots) mkdirSync(options.shots, { recursive: true });

const now = Date.now();
const receiver = await start(options.server);
const browser = await launch(options.browser);
let [passed, failed] = [0, 0];

// `--only WORDS` leaves out the checks that do not have these words in their names.
async function check(name, body) {
  if (options.only && !name.includes(options.only)) return;
  const began = Date.now();
  try {
    await body();
    passed += 1;
    console.log(`ok      ${name} (${Date.now() - began} ms)`);
  } catch (error) {
    failed += 1;
    const lines = String(error.stack ?? error).split('\n').filter((line) => !/\[err\]|^<launch/.test(line));
    console.log(`FAILED  ${name}: ${lines.slice(0, 24).join('\n')}`);
  }
}

setLimit(Number(options.limit) * 1000);
const setting = { receiver, browser, shots: options.shots, now };
const programs = { server: options.server, agent: options.agent };
try {
  await use.empty(check, setting);
  for (const run of week(now)) await receiver.send('POST', '/api/v1/traces', run);
  await receiver.send('POST', '/api/v1/traces', large('large', now - 30 * 60_000, 20_000));
  await receiver.send('POST', '/api/v1/traces', hostileRun('hostile', now - 20 * 60_000));
  await receiver.send('POST', '/api/v1/traces', assistant('shown', now - 12 * 60_000, { failed: true }));
  await views.all(check, setting);
  await keyboard.all(check, setting);
  await hostile.all(check, setting);
  await use.all(check, setting);
  await states.all(check, setting, programs);
  await extremes.all(check, setting);
  await forks.all(check, setting, programs);
  await holds.all(check, setting, programs);
  await speed.report(setting);
} finally {
  await browser.close();
  await receiver.stop();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
