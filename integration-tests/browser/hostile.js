// What agents and models wrote is data: nothing of it runs, loads, or breaks the page.

import assert from 'node:assert/strict';
import { open, violations, visit } from './browser.js';

const inert = async (page, faults) => {
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.querySelectorAll('main script, main img, main style, main iframe').length), 0);
  assert.deepEqual(faults, []);
};

export async function all(check, { receiver, browser }) {
  await check('hostile texts are texts', async () => {
    const { page, faults, close } = await open(browser, receiver.url);
    await visit(page, '#/run/hostile/wicked', '.panel article .prose');
    assert.match(await page.innerText('.panel'), /<script>window\.hacked/);
    assert.equal(await page.locator('.panel a[href^="javascript"]').count(), 0);
    assert.deepEqual(await violations(page), []);
    for (const tab of ['Data', 'Request', 'Attributes']) {
      await page.click(`.panel [role=tab]:text-is("${tab}")`);
      await page.waitForFunction(() => !document.querySelector('.content').innerText.includes('Loading…'));
    }
    await page.click('.tabs [role=tab]:text-is("Conversation")');
    await page.waitForSelector('.other .message');
    await page.click('.tabs [role=tab]:text-is("Agents")');
    await page.waitForSelector('.graph .agent');
    await visit(page, '#/sessions', '.runs tbody tr');
    await visit(page, '#/numbers', '.plot rect');
    await visit(page, '#/?q=hacked', '.runs tbody tr');
    await inert(page, faults);
    await close();
  });
  await check('ten megabytes and deep JSON do not hang the page', async () => {
    const { page, faults, close } = await open(browser, receiver.url);
    await visit(page, '#/run/hostile/huge', '.panel article .prose');
    await page.click('.panel [role=tab]:text-is("Data")');
    await page.click('.content > button');
    await page.waitForSelector('.content .string');
    assert.match(await page.innerText('.content'), /characters left/);
    await page.click('.content .string ~ button');
    await visit(page, '#/run/hostile/deep', '.row.chosen');
    await page.click('.panel [role=tab]:text-is("Data")');
    await page.waitForSelector('.content details');
    assert.equal(await page.locator('.row').count(), 5, 'spans that are each above the other are shown');
    await inert(page, faults);
    await close();
  });
  await check('20,000 spans', async () => {
    const { page, faults, close } = await open(browser, receiver.url);
    await visit(page, '#/run/large', '.row');
    assert.ok((await page.locator('.row').count()) < 100, 'only rows in sight are drawn');
    await page.evaluate(() => {
      document.querySelector('.scroll').scrollTop = 1e9;
    });
    await page.waitForSelector('.row .text:text("step 1")');
    await page.keyboard.press('e');
    await page.waitForSelector('.row.chosen.failed');
    await page.fill('.tools [type=search]', 'step 17777');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.row.chosen.found');
    await inert(page, faults);
    await close();
  });
}
