// Calls that a policy holds, approved and denied in the page.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open, violations, visit } from './browser.js';
import { start } from './receiver.js';
import { assistant } from './runs.js';

const POLICIES = { policies: [{ id: 'payments', verdict: 'hold', reason: 'a person looks at payments', when: { tools: ['pay*'] } }] };

export async function all(check, { browser, shots, now }, { server }) {
  const directory = await mkdtemp(join(tmpdir(), 'policies-'));
  const policies = join(directory, 'policies.json');
  await writeFile(policies, JSON.stringify(POLICIES));
  const receiver = await start(server, '--policy', policies);
  try {
    await receiver.send('POST', '/api/v1/traces', assistant('held', now - 60_000));
    await check('holds are approved and denied', () => decide({ receiver, browser }));
    for (const scheme of ['light', 'dark']) for (const width of [1400, 400]) await check(`holds at ${width} pixels, ${scheme}`, () => view({ receiver, browser, shots }, width, scheme));
  } finally {
    await receiver.stop();
    await rm(directory, { recursive: true });
  }
}

async function ask(receiver, tool) {
  const body = { run_id: 'held', tool_name: tool, proposed_tokens: 5, proposed_usd: 0.25 };
  return (await receiver.send('POST', '/api/v1/enforcement/check', body)).json();
}

async function decide({ receiver, browser }) {
  const { page, faults, close } = await open(browser, `${receiver.url}/#/holds`);
  await page.waitForSelector('.empty:not([hidden])');
  // The link is marked also where the page begins with this view.
  await page.waitForSelector('#views a[aria-current]:text-is("Holds")');
  // A hold appears by itself.
  assert.equal((await ask(receiver, 'pay_invoice')).verdict, 'hold');
  await page.waitForSelector('.hold.pending');
  assert.match(await page.innerText('.hold'), /pay_invoice, 5 tokens, \$0\.25[\s\S]*a person looks at payments[\s\S]*policy payments/);
  await page.click('.hold button:text-is("Approve")');
  await page.waitForSelector('.hold.approved');
  assert.equal(await page.locator('.hold button').count(), 0);
  assert.equal((await ask(receiver, 'pay_invoice')).verdict, 'allow');
  await ask(receiver, 'pay_rent');
  await page.click('.hold.pending button:text-is("Deny")');
  await page.waitForSelector('.hold.denied');
  assert.equal((await ask(receiver, 'pay_rent')).verdict, 'block');
  // Somebody else was faster: the reason is shown.
  const { hold_id: id } = await ask(receiver, 'pay_tax');
  await page.waitForSelector('.hold.pending');
  await page.route('**/enforcement/holds', (route) => route.abort());
  await receiver.send('POST', `/api/v1/enforcement/holds/${id}`, { decision: 'deny' });
  await page.click('.hold.pending button:text-is("Approve")');
  await page.waitForFunction(() => document.querySelector('#notice').textContent !== '');
  await page.unroute('**/enforcement/holds');
  await page.waitForSelector('.hold.pending', { state: 'detached' });
  await page.locator('.hold a').first().click();
  await page.waitForSelector('.summary h1');
  await page.keyboard.press('g');
  await page.keyboard.press('h');
  await page.waitForSelector('.hold');
  assert.deepEqual(faults.filter((fault) => !/ERR_FAILED|status of 409/.test(fault)), []);
  await close();
}

async function view({ receiver, browser, shots }, width, scheme) {
  await ask(receiver, `pay_${width}_${scheme}`);
  const { page, faults, close } = await open(browser, receiver.url, { width, scheme });
  await visit(page, '#/holds', '.hold.pending');
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (shots) await page.screenshot({ path: `${shots}/holds-${width}-${scheme}.png` });
  assert.ok(overflow <= 0, `${overflow} pixels too wide`);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(faults, []);
  await close();
}
