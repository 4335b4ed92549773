// What is shown where something is missing: a run, a span, an answer, what to compare.

import assert from 'node:assert/strict';
import { open, violations, visit } from './browser.js';
import { start } from './receiver.js';
import { assistant } from './runs.js';

export async function all(check, setting, programs) {
  await check('a run that is not there is named as such', () => noRun(setting));
  await check('a span that is not there is named as such', () => noSpan(setting));
  await check('an address without a view is named as such', () => noView(setting));
  await check('a comparison needs two runs', () => noRuns(setting));
  await check('a run without spans and without an end', () => nothing(setting));
  await check('a filter that is refused is asked for once', () => refused(setting));
  await check('a part of the API that gives no answer at first is offered later', () => late(setting));
  await check('a view that begins without a receiver is filled when there is one', () => silent(setting, programs));
}

async function noRun({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.waitForSelector('.runs tbody tr');
  await visit(page, '#/run/gone', '.empty h1');
  assert.match(await page.innerText('.empty'), /No such run[\s\S]*gone/);
  assert.equal(await page.title(), 'No such run · Retrace, local');
  assert.equal(await page.locator('.tools').count(), 0, 'nothing is offered for a run that is not there');
  assert.equal(await page.innerText('#notice'), '');
  assert.deepEqual(await violations(page), []);
  await page.click('.empty a');
  await page.waitForSelector('.runs tbody tr');
  // One that is deleted while it is shown stays.
  const run = assistant('deleted', Date.now() - 5000);
  await receiver.send('POST', '/api/v1/traces', { ...run, status: 'running', ended_at: undefined });
  await visit(page, '#/run/deleted', '.row');
  await receiver.send('DELETE', '/api/v1/traces/deleted');
  await page.waitForSelector('.summary .error[role=alert]');
  assert.match(await page.innerText('.summary'), /This run has been deleted/);
  assert.ok((await page.locator('.row').count()) > 2);
  assert.deepEqual(faults, []);
  await close();
}

async function noSpan({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/run/shown/gone', '.row');
  await page.waitForSelector('.panel h2:text-is("No such span")');
  assert.match(await page.innerText('.panel'), /gone/);
  assert.equal(await page.evaluate(() => location.hash), '#/run/shown/gone');
  await page.locator('.row').nth(1).click();
  await page.waitForSelector('.panel h2:text-is("chat")');
  assert.deepEqual(faults, []);
  await close();
}

async function noView({ receiver, browser }) {
  const { page, faults, close } = await open(browser, `${receiver.url}/#/traces/shown?x=<b>`);
  await page.waitForSelector('.empty h1:text-is("No such view")');
  assert.match(await page.innerText('.empty'), /#\/traces\/shown/);
  assert.equal(await page.locator('nav a[aria-current]').count(), 0);
  assert.equal(await page.title(), 'No such view · Retrace, local');
  assert.deepEqual(await violations(page), []);
  await page.click('.empty a');
  await page.waitForSelector('.runs tbody tr');
  assert.equal(await page.locator('nav a[aria-current]').innerText(), 'Runs');
  assert.deepEqual(faults, []);
  await close();
}

async function noRuns({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/compare', '.empty');
  assert.match(await page.innerText('.empty'), /Choose two runs/);
  await visit(page, '#/compare?a=shown&b=shown', '.verdict.same');
  assert.equal(await page.innerText('.verdict'), 'Nothing differs.');
  assert.equal(await page.title(), 'travel assistant and travel assistant, compared · Retrace, local');
  assert.deepEqual(faults, []);
  await close();
}

async function nothing({ receiver, browser, now }) {
  await receiver.send('POST', '/api/v1/traces', { id: 'nothing', status: 'completed', started_at: new Date(now).toISOString(), spans: [] });
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/run/nothing', '.rows.none');
  assert.deepEqual(await page.locator('.axis .line span').allInnerTexts(), ['0 s']);
  await receiver.send('DELETE', '/api/v1/traces/nothing');
  assert.deepEqual(faults, []);
  await close();
}

async function late({ receiver, browser }) {
  const { page, close } = await open(browser, receiver.url);
  let aborted = 0;
  await page.route('**/api/v1/forks', (route) => {
    aborted += 1;
    return aborted === 1 ? route.abort() : route.continue();
  });
  await page.reload();
  await page.waitForSelector('nav a:text-is("Forks")');
  assert.equal(aborted, 2);
  await close();
}

async function refused({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.clock.install();
  for (const view of ['numbers', 'sessions']) {
    let requests = 0;
    page.on('request', (request) => {
      if (request.url().includes(`/api/v1/${view}?`)) requests += 1;
    });
    await page.evaluate((hash) => {
      location.hash = hash;
    }, `#/${view}?min_tokens=many`);
    await page.waitForFunction(() => document.querySelector('#notice').innerText.includes('min_tokens'));
    await page.clock.runFor(20_000);
    assert.equal(requests, 1, view);
    await page.evaluate(() => {
      document.querySelector('#notice').textContent = '';
    });
  }
  assert.deepEqual(faults, []);
  await close();
}

async function silent({ browser, now }, { server }) {
  const receiver = await start(server);
  try {
    await receiver.send('POST', '/api/v1/traces', assistant('one', now - 60_000));
    await receiver.send('POST', '/api/v1/traces', assistant('two', now - 50_000));
    for (const [hash, selector] of [['#/numbers', '.plot'], ['#/sessions', '.runs tbody tr'], ['#/session/booking-17', '.turn'], ['#/compare?a=one&b=two', '.verdict'], ['#/run/one', '.row']]) {
      const { page, close } = await open(browser, receiver.url);
      await page.waitForSelector('.runs tbody tr');
      await page.route('**/api/**', (route) => route.abort());
      await page.evaluate((hash) => {
        location.hash = hash;
      }, hash);
      await page.waitForFunction(() => /does not answer/.test(document.querySelector('#notice').innerText));
      assert.equal(await page.locator(selector).count(), 0, hash);
      await page.unroute('**/api/**');
      await page.waitForSelector(selector);
      await page.waitForFunction(() => document.querySelector('#notice').innerText === '');
      await close();
    }
  } finally {
    await receiver.stop();
  }
}
