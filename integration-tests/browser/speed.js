// How fast the page is, by the browser's own marks; nothing is asserted, for it depends on the machine.

import { open, visit } from './browser.js';

// Milliseconds until the first paint of the page with content.
const painted = (page) => page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null);

export async function report({ receiver, browser }) {
  const list = await open(browser, receiver.url);
  await list.page.waitForSelector('.runs tbody tr');
  const rows = await list.page.evaluate(() => performance.now());
  console.log(`list: first paint ${Math.round(await painted(list.page))} ms, rows within ${Math.round(rows)} ms`);
  const began = Date.now();
  await visit(list.page, '#/run/large', '.row');
  console.log(`a run of 20,000 spans: drawn within ${Date.now() - began} ms`);
  const frames = await list.page.evaluate(async () => {
    const scroll = document.querySelector('.scroll');
    const times = [];
    for (let at = 0; at < 120; at += 1) {
      scroll.scrollTop += 400;
      times.push(await new Promise((resolve) => {
        requestAnimationFrame(resolve);
      }));
    }
    const gaps = times.slice(1).map((time, at) => time - times[at]).toSorted((a, b) => a - b);
    return { median: gaps[Math.floor(gaps.length / 2)], p95: gaps[Math.floor(gaps.length * 0.95)] };
  });
  console.log(`scrolling it: ${frames.median.toFixed(1)} ms from frame to frame at p50, ${frames.p95.toFixed(1)} ms at p95`);
  await list.close();
}
