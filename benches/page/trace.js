// Times of the page by Chromium's own trace: from the navigation to the frame that shows the rows, and from frame to frame
// while a person scrolls.

import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { launch } from './browser.js';
import { start } from './receiver.js';
import { assistant, large } from './runs.js';

const { values: options } = parseArgs({ options: { browser: { type: 'string' }, server: { type: 'string' }, db: { type: 'string' }, rounds: { type: 'string', default: '9' } } });
const ROUNDS = Number(options.rounds);
const SPANS = 20_000;
const CATEGORIES = ['blink.user_timing', 'devtools.timeline', 'disabled-by-default-devtools.timeline', 'disabled-by-default-devtools.timeline.frame', 'loading'];
// Pixels and pixels per second of a scroll.
const DISTANCE = 8000;
const SPEED = 4000;
const FRAME = 1000 / 60;

const at = (values, share) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];
const format = (value) => value.toFixed(1);

// The events of a trace that covers `body`.
async function traced(page, body) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: CATEGORIES } });
  await body(session);
  const ended = new Promise((resolve) => {
    session.once('Tracing.tracingComplete', resolve);
  });
  await session.send('Tracing.end');
  await ended;
  await session.detach();
  return events.toSorted((a, b) => a.ts - b.ts);
}

const named = (events, name) => events.filter((event) => event.name === name);

// {paint, rows, cpu}: milliseconds from a navigation to the first frame that is drawn after `selector` has matched, and to the first paint with content,
// and of CPU of the page's main thread until then.
async function opened(browser, url, selector) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  await page.addInitScript((selector) => {
    const observer = new MutationObserver(() => {
      if (!document.querySelector(selector)) return;
      observer.disconnect();
      performance.mark('rows');
    });
    observer.observe(document, { subtree: true, childList: true });
  }, selector);
  const events = await traced(page, async () => {
    await page.goto(url);
    await page.waitForSelector(selector);
    await page.evaluate(() => new Promise((resolve) => {
      requestAnimationFrame(() => requestAnimationFrame(resolve));
    }));
    await page.waitForFunction(() => performance.getEntriesByName('first-contentful-paint').length > 0);
  });
  const [mark] = named(events, 'rows');
  const start = named(events, 'navigationStart').findLast(({ ts, args }) => ts < mark.ts && args?.data?.documentLoaderURL?.startsWith('http'));
  const drawn = events.find(({ name, ts }) => name === 'DrawFrame' && ts > mark.ts);
  const paint = named(events, 'firstContentfulPaint').find(({ ts }) => ts > start.ts);
  await context.close();
  return { paint: (paint.ts - start.ts) / 1000, rows: (drawn.ts - start.ts) / 1000, cpu: cpuTime(events, mark, start.ts, drawn.ts) };
}

// Milliseconds of CPU of the tasks of a mark's thread, which do not depend on what else the machine does.
function cpuTime(events, mark, from, to) {
  const tasks = named(events, 'RunTask').filter(({ pid, tid, ts }) => pid === mark.pid && tid === mark.tid && ts >= from && ts <= to);
  return tasks.reduce((sum, { tdur = 0 }) => sum + tdur, 0) / 1000;
}

// Milliseconds between the frames that are drawn while the rows of a run scroll, the number of frames that Chromium has
// dropped, and milliseconds of CPU of the main thread.
async function scrolled(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 } });
  const page = await context.newPage();
  await page.goto(url);
  await page.waitForSelector('.row');
  const box = await page.locator('.scroll').boundingBox();
  const events = await traced(page, (session) => session.send('Input.synthesizeScrollGesture', { x: box.x + 100, y: box.y + 200, yDistance: -DISTANCE, speed: SPEED, gestureSourceType: 'mouse' }));
  await context.close();
  const frames = named(events, 'DrawFrame').map(({ ts }) => ts / 1000);
  const gaps = frames.slice(1).map((time, at) => time - frames[at]);
  const lost = named(events, 'DroppedFrame').length;
  const mark = named(events, 'FunctionCall')[0] ?? events[0];
  return { gaps, lost, cpu: cpuTime(events, mark, -Infinity, Infinity) };
}

const receiver = await start(options.server, ...(options.db ? ['--db', options.db] : []));
const browser = await launch(options.browser);
try {
  const now = Date.now();
  if (!options.db) for (let at = 0; at < 200; at += 1) await receiver.send('POST', '/api/v1/traces', assistant(`run-${at}`, now - at * 60_000));
  const { total } = await (await receiver.send('GET', '/api/v1/traces?limit=1')).json();
  await fetch(`${receiver.url}/api/v1/traces/large`, { method: 'DELETE' });
  await receiver.send('POST', '/api/v1/traces', large('large', now - 3_600_000, SPANS));
  console.log(`${cpus().length} CPUs, load ${loadavg().map((load) => load.toFixed(1)).join(' ')}, Chromium ${browser.version()}\n`);
  console.log('| what | first paint with content, ms | rows drawn, ms at p50 | at p95 | CPU of the main thread, ms |');
  console.log('|---|---|---|---|---|');
  for (const [name, hash, selector] of [[`the list of ${total} runs`, '#/', '.runs tbody tr'], [`a run of ${SPANS} spans`, '#/run/large', '.row']]) {
    const rounds = [];
    for (let round = 0; round < ROUNDS; round += 1) rounds.push(await opened(browser, `${receiver.url}/${hash}`, selector));
    const [paint, rows, cpu] = ['paint', 'rows', 'cpu'].map((part) => rounds.map((round) => round[part]));
    console.log(`| ${name} | ${format(at(paint, 0.5))} | ${format(at(rows, 0.5))} | ${format(at(rows, 0.95))} | ${format(at(cpu, 0.5))} |`);
  }
  const scrolls = [];
  for (let round = 0; round < 3; round += 1) scrolls.push(await scrolled(browser, `${receiver.url}/#/run/large`));
  const gaps = scrolls.flatMap((scroll) => scroll.gaps);
  const late = gaps.filter((gap) => gap > 1.5 * FRAME).length;
  console.log(`\nscrolling ${DISTANCE} pixels of it three times: ${gaps.length} frames, ${format(at(gaps, 0.5))} ms from frame to frame at p50, ${format(at(gaps, 0.95))} at p95; ${late} later than 1.5 frames of 60 per second, ${scrolls.reduce((sum, { lost }) => sum + lost, 0)} dropped; ${format(scrolls.reduce((sum, { cpu }) => sum + cpu, 0) / gaps.length)} ms of CPU of the main thread for each`);
} finally {
  await browser.close();
  await receiver.stop();
}
