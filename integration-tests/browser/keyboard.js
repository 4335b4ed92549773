// The keyboard alone: from the list to a span, an error, a filter and back.

import assert from 'node:assert/strict';
import { open } from './browser.js';

export async function all(check, { receiver, browser }) {
  await check('the keyboard alone', async () => {
    const { page, faults, close } = await open(browser, receiver.url);
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const hash = () => page.evaluate(() => location.hash);
    await page.waitForSelector('.runs tbody tr');
    await press('/');
    await page.keyboard.type('cascais');
    await page.waitForFunction(() => location.hash.includes('q=cascais'));
    await page.waitForFunction(() => document.querySelectorAll('.runs tbody tr').length > 1);
    await press('Escape', 'j', 'x');
    await page.waitForSelector('.bulk:not([hidden])');
    assert.match(await page.innerText('.bulk'), /1 chosen/);
    await press('j', 'k', 'Enter');
    await page.waitForSelector('.row');
    assert.match(await hash(), /^#\/?run\//);
    await page.focus('.rows');
    await press('ArrowDown', 'ArrowDown');
    await page.waitForSelector('.row.chosen');
    const before = await hash();
    await press('e');
    await page.waitForSelector('.row.chosen.failed');
    assert.notEqual(await hash(), before);
    await press('Home', 'ArrowLeft');
    await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
    await press('ArrowRight');
    await page.waitForFunction(() => document.querySelectorAll('.row').length > 4);
    await press('z', '0', '?');
    await page.waitForSelector('#keys[open]');
    await press('Escape', 'g', 'n');
    await page.waitForSelector('.plot');
    await press('g', 's');
    await page.waitForSelector('.runs tbody tr');
    await page.waitForSelector('#views a[data-view="forks"]');
    await press('g', 'f');
    await page.waitForFunction(() => location.hash === '#/forks');
    assert.deepEqual(faults, []);
    await close();
  });
}
