// Every view at two widths and in both schemes: it is drawn, does not scroll sideways, and axe finds nothing serious.

import assert from 'node:assert/strict';
import { open, violations, visit } from './browser.js';

// Name, address, and what is there once it is drawn.
const VIEWS = [
  ['runs', '#/', '.runs tbody tr'],
  ['filters', '#/?has_error=true&model=gpt-4o', '.chips li'],
  ['search', '#/?q=cascais', '.runs tbody tr'],
  ['run', '#/run/shown/shown-m2', '.panel article .prose'],
  ['tool', '#/run/shown/shown-t0', '.panel .error'],
  ['conversation', '#/run/shown/shown-root?view=conversation', '.other article .call'],
  ['agents', '#/run/shown?view=agents', '.graph .agent'],
  ['sessions', '#/sessions', '.runs tbody tr'],
  ['session', '#/session/booking-3', '.turn .message'],
  ['numbers', '#/numbers', '.plot rect'],
];

export async function all(check, { receiver, browser, shots }) {
  for (const scheme of ['light', 'dark']) {
    for (const width of [1400, 400]) {
      await check(`views at ${width} pixels, ${scheme}`, async () => {
        const found = [];
        const { page, faults, close } = await open(browser, receiver.url, { width, scheme });
        for (const [name, hash, selector] of VIEWS) {
          await visit(page, hash, selector);
          if (name === 'filters') await page.click('.more > summary');
          await page.waitForFunction(() => !document.body.innerText.includes('Loading…'));
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          if (shots) await page.screenshot({ path: `${shots}/${name}-${width}-${scheme}.png` });
          if (overflow > 0) found.push(`${name} is ${overflow} pixels too wide`);
          found.push(...(await violations(page)).map((each) => `${name}: ${each}`));
        }
        assert.deepEqual(found, []);
        assert.deepEqual(faults, []);
        await close();
      });
    }
  }
}
