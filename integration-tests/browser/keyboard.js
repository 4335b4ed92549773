// The keyboard alone: from the list to a span, an error, a filter and back.

import assert from 'node:assert/strict';
import { open, visit } from './browser.js';

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
  await check('the focus stays where it is when something is drawn again', () => focus({ receiver, browser }));
  await check('who goes back is at the run that was opened', () => back({ receiver, browser }));
}

// What has the focus, as its words and the words of its choice.
const focused = (page) => page.evaluate(() => {
  const { localName, ariaLabel, textContent } = document.activeElement;
  return `${localName} ${ariaLabel ?? textContent.replace(/ [↑↓]$/, '')}`;
});

async function focus({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.waitForSelector('.runs tbody tr');
  await page.focus('[aria-label="Status"]');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  await page.waitForFunction(() => location.hash.includes('status=completed'));
  assert.equal(await focused(page), 'select Status');
  await page.focus('th button:text-is("Cost")');
  await page.keyboard.press('Enter');
  await page.waitForSelector('th[aria-sort] button:text-is("Cost ↓")');
  assert.equal(await focused(page), 'button Cost');
  await visit(page, '#/run/shown/shown-m1', '.panel .message');
  // Tabs: one of them is in the order of the Tab key, the arrows choose.
  await page.focus('.panel [role=tab][aria-selected=true]');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(page), 'button Data');
  assert.equal(await page.innerText('.panel [role=tab][aria-selected=true]'), 'Data');
  assert.equal(await page.getAttribute('.panel [role=tabpanel]', 'aria-label'), 'Data');
  assert.equal(await page.locator('.panel [role=tab][tabindex="0"]').count(), 1);
  await page.keyboard.press('End');
  assert.equal(await focused(page), 'button Attributes');
  await page.focus('.tools [role=tab]:text-is("Timeline")');
  await page.keyboard.press('ArrowRight');
  await page.waitForSelector('.other .message');
  assert.equal(await focused(page), 'button Conversation');
  await page.keyboard.press('ArrowLeft');
  // A tree without a chosen span shows that it has the focus.
  await visit(page, '#/run/shown', '.row');
  await page.waitForSelector('.panel h2:text-is("The run")');
  await page.focus('.tools [type=search]');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.className), 'rows');
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.scroll')).outlineStyle), 'solid');
  // The menu closes by Escape, and by a click elsewhere.
  await page.focus('.actions > summary');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.actions[open]');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Escape');
  await page.waitForSelector('.actions:not([open])');
  assert.equal(await focused(page), 'summary Actions');
  await page.click('.actions > summary');
  await page.click('.panel h2');
  await page.waitForSelector('.actions:not([open])');
  await page.click('#help');
  await page.waitForSelector('#keys[open]');
  assert.deepEqual(faults, []);
  await close();
}

async function back({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.waitForSelector('.runs tbody tr');
  const last = page.locator('.runs tbody tr').last();
  const id = await last.getAttribute('data-id');
  // A run that is opened in another tab does not leave the list.
  await last.locator('td.name a').first().click({ modifiers: ['Control'] });
  assert.equal(await page.evaluate(() => history.state), null);
  await last.locator('td.name a').first().focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('.row');
  await page.goBack();
  await page.waitForFunction((id) => document.activeElement.closest('tr')?.dataset.id === id, id);
  assert.ok(await page.evaluate(() => document.querySelector('main').scrollTop > 0), 'the row is in sight');
  assert.deepEqual(faults, []);
  await close();
}
