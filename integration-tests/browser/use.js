// What a person does with the page.

import assert from 'node:assert/strict';
import { open, violations, visit } from './browser.js';
import { assistant } from './runs.js';

export async function empty(check, { receiver, browser, shots }) {
  await check('an empty receiver tells how to send the first run', async () => {
    const { page, faults, close } = await open(browser, receiver.url);
    await page.waitForSelector('.empty:not([hidden])');
    assert.match(await page.innerText('.empty'), new RegExp(`RETRACE_BASE_URL=${receiver.url}`));
    if (shots) await page.screenshot({ path: `${shots}/empty-1400-light.png` });
    assert.deepEqual(await violations(page), []);
    // The first run appears by itself.
    await receiver.send('POST', '/api/v1/traces', assistant('first', Date.now() - 1000));
    await page.waitForSelector('.runs tbody tr');
    assert.deepEqual(faults, []);
    await close();
  });
}

export async function all(check, setting) {
  await check('filter, search and order stand in the address', () => addresses(setting));
  await check('a run under way is followed', () => follow(setting));
  await check('a new span leaves the panel and the focus as they are', () => undisturbed(setting));
  await check('a span that changes is drawn again in its place', () => inPlace(setting));
  await check('the conversation of a run under way is followed', () => talk(setting));
  await check('ages stay true while nothing else happens', () => ages(setting));
  await check('a drag zooms', () => zoom(setting));
  await check('a conversation is read', () => conversation(setting));
  await check('copies and downloads', () => copies(setting));
  await check('figures are given where the pointer is', () => figures(setting));
  await check('two runs are compared, or it is stated that they cannot be', () => compare(setting));
  await check('runs are deleted together', () => remove(setting));
}

async function addresses({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.waitForSelector('.runs tbody tr');
  await page.selectOption('[aria-label="Status"]', 'failed');
  await page.click('th button:text-is("Cost")');
  await page.fill('.filter [type=search]', 'declined');
  await page.waitForFunction(() => ['status=failed', 'sort=cost', 'q=declined'].every((part) => location.hash.includes(part)));
  const address = await page.evaluate(() => location.href);
  // The address changes before the list does. The failed run `hostile` does not have the word.
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll('.runs tbody tr')];
    return rows.length > 3 && rows.every((row) => row.dataset.id !== 'hostile');
  });
  const names = await page.locator('.runs tbody tr').evaluateAll((rows) => rows.map((row) => row.dataset.id));
  await page.goto('about:blank');
  await page.goto(address);
  await page.waitForSelector('.runs tbody tr');
  assert.deepEqual(await page.locator('.runs tbody tr').evaluateAll((rows) => rows.map((row) => row.dataset.id)), names);
  assert.equal(await page.inputValue('.filter [type=search]'), 'declined');
  assert.deepEqual(faults.filter((fault) => !fault.includes('about:blank')), []);
  await close();
}

async function follow({ receiver, browser }) {
  const run = assistant('followed', Date.now() - 5000);
  await receiver.send('POST', '/api/v1/traces', { ...run, status: 'running', ended_at: undefined, spans: run.spans.slice(0, 2) });
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/run/followed', '.row');
  assert.equal(await page.locator('.row').count(), 2);
  await receiver.send('PATCH', '/api/v1/traces/followed', { status: 'failed', ended_at: run.ended_at, error: 'it broke' });
  await page.waitForSelector('.summary .status.failed');
  assert.match(await page.innerText('.summary'), /it broke/);
  assert.deepEqual(faults, []);
  await close();
}

async function undisturbed({ receiver, browser }) {
  const run = assistant('under-way', Date.now() - 5000);
  await receiver.send('POST', '/api/v1/traces', { ...run, status: 'running', ended_at: undefined, spans: run.spans.slice(0, 2) });
  const { page, faults, close } = await open(browser, receiver.url);
  // The second answer has one more span and the same head; it comes when it is let go, and there is no third one.
  let known = null;
  let letGo;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  await page.route('**/changes?*', async (route) => {
    if (known === null) {
      const response = await route.fetch();
      known = await response.json();
      await route.fulfill({ response, json: known });
    } else if (new URL(route.request().url()).searchParams.get('after') === String(known.version)) {
      await gate;
      await route.fulfill({ json: { ...known, version: known.version + 1, spans: [{ ...known.spans[0], id: 'late' }] } });
    }
  });
  await visit(page, '#/run/under-way', '.row');
  assert.equal(await page.locator('.row').count(), 2);
  await page.waitForSelector('.panel h2:text-is("The run")');
  await page.evaluate(() => {
    document.querySelector('.panel .content').isTheSame = true;
  });
  await page.click('.actions > summary');
  await page.focus('.menu button:text-is("Download cassette")');
  letGo();
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 3);
  assert.equal(await page.evaluate(() => document.querySelector('.panel .content').isTheSame), true, 'the run is looked at, and has not changed');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Download cassette');
  await receiver.send('DELETE', '/api/v1/traces/under-way');
  assert.deepEqual(faults, []);
  await close();
}

async function inPlace({ receiver, browser }) {
  const run = assistant('changing', Date.now() - 5000);
  const lines = Array.from({ length: 200 }, (_, at) => `line ${at}`).join('\n\n');
  const call = { ...run.spans[1], input: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: lines }], output: 'Done.' };
  await receiver.send('POST', '/api/v1/traces', { ...run, status: 'running', ended_at: undefined, spans: [run.spans[0], call] });
  const { page, faults, close } = await open(browser, receiver.url);
  // The span is under way and has no output, until it is let go.
  let version = null;
  let letGo;
  let hasEnded = false;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  await page.route('**/changes?*', async (route) => {
    const after = new URL(route.request().url()).searchParams.get('after');
    if (after === '0') {
      const response = await route.fetch();
      const known = await response.json();
      version = known.version;
      const spans = known.spans.map((span) => (span.id === call.id ? { ...span, ended_at: undefined } : span));
      await route.fulfill({ response, json: { ...known, spans } });
    } else if (after === String(version)) {
      await gate;
      const response = await route.fetch({ url: route.request().url().replace(/after=\d+/, 'after=0') });
      await route.fulfill({ response, json: { ...(await response.json()), version: version + 1 } });
    }
  });
  await page.route('**/conversation', async (route) => {
    const response = await route.fetch();
    const { messages, ...rest } = await response.json();
    await route.fulfill({ response, json: { ...rest, messages: messages.filter((message) => hasEnded || !message.is_output) } });
  });
  await visit(page, `#/run/changing/${call.id}`, '.panel .message');
  assert.equal(await page.locator('.panel .message').count(), 2);
  // A person has opened the system prompt, scrolled, and has the focus on a button.
  await page.click('.panel .from-system > summary');
  await page.focus('.panel .from-user button');
  await page.evaluate(() => {
    document.querySelector('.panel').scrollTop = 700;
  });
  const place = () => page.evaluate(() => Math.round(document.querySelector('.panel .from-user').getBoundingClientRect().top));
  const before = await place();
  hasEnded = true;
  letGo();
  await page.waitForFunction(() => document.querySelectorAll('.panel .message').length === 3);
  assert.equal(await place(), before);
  const state = await page.evaluate(() => ({ isOpen: document.querySelector('.panel .from-system').open, focus: document.activeElement.closest('.message')?.className }));
  assert.deepEqual(state, { isOpen: true, focus: 'message from-user' });
  // Another span begins at its top.
  await page.locator('.row').first().click();
  await page.waitForFunction(() => document.querySelector('.panel').scrollTop === 0);
  await receiver.send('DELETE', '/api/v1/traces/changing');
  assert.deepEqual(faults, []);
  await close();
}

async function talk({ receiver, browser }) {
  const run = assistant('talking', Date.now() - 5000);
  await receiver.send('POST', '/api/v1/traces', { ...run, status: 'running', ended_at: undefined });
  const { page, faults, close } = await open(browser, receiver.url);
  const second = run.spans.at(-1).id;
  let version = null;
  let letGo;
  const gate = new Promise((resolve) => {
    letGo = resolve;
  });
  // The second model call comes when it is let go.
  await page.route('**/changes?*', async (route) => {
    const after = new URL(route.request().url()).searchParams.get('after');
    if (after !== '0') await gate;
    if (after !== '0' && after !== String(version)) return;
    const response = await route.fetch({ url: route.request().url().replace(/after=\d+/, 'after=0') });
    const known = await response.json();
    version ??= known.version;
    const isFirst = after === '0';
    await route.fulfill({ response, json: { ...known, version: isFirst ? version : version + 1, spans: known.spans.filter((span) => !isFirst || span.id !== second) } });
  });
  await visit(page, '#/run/talking?view=conversation', '.other .message');
  const choice = page.locator('.other').getByRole('combobox');
  assert.equal(await choice.locator('option').count(), 2);
  const before = await page.locator('.other .message').count();
  await page.click('.other .from-system > summary');
  letGo();
  await page.waitForFunction(() => document.querySelectorAll('.other option').length === 3);
  // The longest conversation is shown as long as nobody has chosen another one.
  await page.waitForFunction((before) => document.querySelectorAll('.other .message').length > before, before);
  assert.equal(await choice.inputValue(), second);
  assert.equal(await page.locator('.other .from-system').evaluate((fold) => fold.open), true);
  await receiver.send('DELETE', '/api/v1/traces/talking');
  assert.deepEqual(faults, []);
  await close();
}

async function ages({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.clock.install();
  await page.reload();
  const age = () => page.innerText('.runs tr[data-id="shown"] .when');
  await page.waitForSelector('.runs tr[data-id="shown"]');
  assert.match(await age(), /min ago$/);
  await page.clock.fastForward('03:00:00');
  await page.waitForFunction(() => /^3 h ago$/.test(document.querySelector('.runs tr[data-id="shown"] .when').innerText));
  assert.deepEqual(faults, []);
  await close();
}

async function zoom({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/run/shown', '.row');
  const line = await page.locator('.axis .line').boundingBox();
  const bar = () => page.locator('.row').nth(1).locator('.bar').evaluate((bar) => Number.parseFloat(bar.style.width));
  const before = await bar();
  await page.mouse.move(line.x + 2, line.y + 10);
  await page.mouse.down();
  await page.mouse.move(line.x + line.width / 2, line.y + 10, { steps: 4 });
  await page.mouse.up();
  await page.waitForSelector('.axis button');
  assert.ok((await bar()) > before * 1.5, 'the bar is longer');
  await page.click('.axis button');
  assert.equal(await bar(), before);
  assert.ok((await page.locator('.row.critical').count()) > 2);
  assert.equal(await page.locator('.row .mark:text-is("try 2")').count(), 1);
  assert.deepEqual(faults, []);
  await close();
}

async function conversation({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/run/shown/shown-m2', '.panel article .prose');
  const panel = page.locator('.panel');
  assert.equal(await panel.locator('details.from-system').evaluate((details) => details.open), false);
  assert.equal(await panel.locator('details.reasoning').evaluate((details) => details.open), false);
  assert.equal(await panel.locator('.prose table').count(), 1);
  assert.equal(await panel.locator('.code .language').innerText(), 'python');
  assert.match(await panel.locator('.call').innerText(), /forecast[\s\S]*Result/);
  await page.waitForFunction(() => document.querySelector('.panel canvas')?.width > 1);
  // The call leads to the span that answered it.
  await panel.locator('.call a').click();
  await page.waitForFunction(() => location.hash.endsWith('shown-t1'));
  await page.waitForSelector('.panel h2:text-is("forecast")');
  await visit(page, '#/run/shown/shown-m1', '.panel .message');
  await page.click('.panel [role=tab]:text-is("Request")');
  await page.waitForFunction(() => /temperature[\s\S]*cache_read_input_tokens/.test(document.querySelector('.content').innerText));
  assert.deepEqual(faults, []);
  await close();
}

async function copies({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/run/shown/shown-m1', '.panel .message');
  const copied = () => page.evaluate(() => navigator.clipboard.readText());
  await page.click('.panel button:text-is("cURL")');
  await page.waitForSelector('.panel button:text-is("Copied")');
  const command = await copied();
  assert.match(command, /^curl "\$OPENAI_BASE_URL/);
  assert.match(command, /Bearer \$OPENAI_API_KEY/);
  await page.click('.panel button:text-is("Link")');
  await page.waitForFunction(async () => (await navigator.clipboard.readText()).startsWith(location.origin));
  for (const [words, has] of [['Download run', /"spans":\[/], ['Download OTLP JSON', /"resourceSpans":\[/]]) {
    await page.click('.actions > summary');
    const [download] = await Promise.all([page.waitForEvent('download'), page.click(`.menu button:text-is("${words}")`)]);
    const stream = await download.createReadStream();
    let text = '';
    for await (const part of stream) text += part;
    assert.match(text, has);
    await page.click('.actions > summary');
  }
  assert.deepEqual(faults, []);
  await close();
}

async function figures({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/numbers', '.plot .area');
  await page.locator('.plot').first().locator('.area').last().hover();
  await page.waitForFunction(() => /^\d{4}-\d\d-\d\d: .*\$/.test(document.querySelector('.value').textContent));
  const all = await page.innerText('.facts');
  await page.selectOption('[aria-label="Status"]', 'failed');
  await page.waitForFunction((all) => document.querySelector('.facts').innerText !== all, all);
  assert.match(await page.innerText('.facts'), /100/);
  assert.deepEqual(faults, []);
  await close();
}

async function compare({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  const answer = await fetch(`${receiver.url}/api/v1/diff?a=run-1&b=run-3`);
  await visit(page, '#/compare?a=run-1&b=run-3', '.verdict, .empty');
  if (answer.ok) {
    await page.waitForSelector('.steps li');
    assert.deepEqual(await violations(page), []);
  } else assert.match(await page.innerText('.compare'), /compares no runs/);
  assert.deepEqual(faults, []);
  await close();
}

async function remove({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, '#/?session=booking-5', '.runs tbody tr');
  await page.click('[aria-label="Choose all on this page"]');
  await page.click('.bulk button:text-is("Delete")');
  await page.click('dialog.confirm button[value=yes]');
  await page.waitForSelector('.empty:not([hidden])');
  const left = await (await receiver.send('GET', '/api/v1/traces?session=booking-5')).json();
  assert.equal(left.total, 0);
  assert.deepEqual(faults, []);
  await close();
}
