// The loop of forks with a real agent: fork a run from a span, follow it, compare, and what happens when it fails.

import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import WebSocket from 'ws';
import { start as startAgent } from './agent.js';
import { open, violations, visit } from './browser.js';
import { start as startReceiver } from './receiver.js';

const EDITOR = 'dialog.fork';
const FORK = '.panel button:text-is("Fork from here")';

// A receiver and an agent of their own: the other checks count runs.
export async function all(check, { browser, shots }, programs) {
  const receiver = await startReceiver(programs.server);
  let agent;
  try {
    agent = await startAgent(programs.agent, receiver);
    const setting = { receiver, browser, shots, run: await recorded(receiver) };
    await check('a run is forked from a model call, and compared', () => fork(setting));
    await check('a fork that fails shows why', () => refused(setting));
    await check('a fork from a tool call', () => tool(setting));
    await check('the arguments of a run are changed', () => changedArguments(setting));
    await check('what an editor refuses is named', () => wrong(setting));
    await check('the fork is followed while the agent runs it', () => follow(setting));
    await check('two runs are chosen and compared', () => byHand(setting));
    await check('a cassette is downloaded, and a run is marked as golden', () => keep(setting));
    for (const scheme of ['light', 'dark']) for (const width of [1400, 400]) await check(`forks at ${width} pixels, ${scheme}`, () => views(setting, width, scheme));
    await agent.stop();
    await check('a fork without an agent shows the reason, and is run later', () => alone(setting, programs));
  } finally {
    await agent?.stop();
    await receiver.stop();
  }
}

const json = async (receiver, path) => (await receiver.send('GET', path)).json();

// The run that the agent has recorded, with the spans that are forked.
async function recorded(receiver) {
  const { traces } = await json(receiver, '/api/v1/traces');
  const run = await json(receiver, `/api/v1/traces/${traces[0].id}`);
  const named = (type, at) => run.spans.filter((span) => span.span_type === type)[at].id;
  return { id: run.id, second: named('llm_call', 1), weather: named('tool_call', 0) };
}

// Opens the editor of a span and replaces a text in one of its fields.
async function edit(page, run, span, label, from, to) {
  await visit(page, `#/run/${run.id}/${span}`, FORK);
  await page.click(FORK);
  const area = page.locator(EDITOR).getByLabel(label, { exact: true });
  const before = await area.inputValue();
  assert.ok(before.includes(from), `${label} has what is recorded: ${before}`);
  await area.fill(before.replace(from, to));
}

const submit = (page) => page.click(`${EDITOR} button[type=submit]`);

async function compared(page) {
  await page.waitForFunction(() => location.hash.startsWith('#/compare?fork='));
  await page.waitForSelector('.steps li');
}

async function fork({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await edit(page, run, run.second, 'Messages', 'Bergen: fog until noon', 'Bergen: a storm until noon');
  assert.deepEqual(await violations(page), []);
  await submit(page);
  await compared(page);
  assert.equal(await page.innerText('#views a[aria-current]'), 'Forks');
  assert.equal(await page.innerText('.verdict.same'), 'Nothing differs but what was changed on purpose.');
  const point = page.locator('.steps li:has(.mark.fork)');
  assert.equal(await point.count(), 1);
  // What has changed on purpose says so: nothing of it is a divergence.
  assert.equal(await page.locator('.steps li.changed').count(), await page.locator('.steps li.changed .step:has-text("by the fork")').count());
  assert.match(await point.innerText(), /\/messages\/2\/content\s+Bergen: foga storm until noon/);
  assert.match(await page.innerText('.compare'), /Fork: plan-trip/);
  // The run of the fork leads back to the comparison.
  await page.click('.both a:text-is("Fork: plan-trip")');
  await page.click('.actions > summary');
  await page.click('.menu a:text-is("Compare with its origin")');
  await page.waitForSelector('.verdict.same');
  // It has a mark that leads to its origin, in the list too.
  await visit(page, '#/?q=Fork', '.runs td.name .mark.fork');
  await page.click('.runs .mark.fork');
  await page.waitForFunction((id) => location.hash === `#/run/${id}`, run.id);
  await page.click('#views a:text-is("Forks")');
  await page.waitForSelector('.forks .status.completed');
  assert.match(await page.innerText('.forks tbody tr'), /plan-trip with other messages[\s\S]*strict/);
  await page.click('.forks a:text-is("compare")');
  await page.waitForSelector('.verdict.same');
  assert.deepEqual(faults, []);
  await close();
}

async function refused({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await edit(page, run, run.second, 'Messages', 'Bergen: fog until noon', 'Bergen: sun');
  await submit(page);
  await compared(page);
  assert.match(await page.innerText('.verdict:not(.same)'), /^They part at step \d+, chat gpt-4o-mini: its output differs/);
  const all = await page.innerText('.compare');
  assert.match(all, /Error of the run\s+replay of .* refused tool_call `reserve`/i);
  assert.doesNotMatch(all, /\bnull/);
  await visit(page, '#/forks', '.forks .status.failed');
  assert.match(await page.innerText('.forks .why'), /refused tool_call `reserve`/);
  assert.deepEqual(faults, []);
  await close();
}

async function tool({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await edit(page, run, run.weather, 'Result, instead of executing it', 'fog', 'a storm');
  await submit(page);
  await compared(page);
  assert.match(await page.innerText('.steps li:has(.mark.fork)'), /get_weather/);
  assert.match(await page.innerText('.compare'), /Bergen: foga storm until noon/);
  assert.deepEqual(faults, []);
  await close();
}

async function changedArguments({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await edit(page, run, run.second, 'Arguments of the run', 'Bergen', 'Bergen in May');
  await submit(page);
  await page.waitForFunction(() => location.hash.startsWith('#/compare?fork='));
  const [fork] = (await json(receiver, '/api/v1/forks')).forks;
  assert.deepEqual(fork.modified_input, { question: 'Train or plane to Bergen in May?', model: null });
  assert.equal(fork.substitutions, undefined);
  const forked = await json(receiver, `/api/v1/traces/${fork.result_trace_id}`);
  assert.match(JSON.stringify(forked.input), /Bergen in May/);
  await page.waitForSelector('.compare');
  await visit(page, '#/forks', '.forks tbody tr');
  assert.match(await page.innerText('.forks tbody tr'), /with other input/);
  assert.deepEqual(faults, []);
  await close();
}

async function wrong({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  const forks = async () => (await json(receiver, '/api/v1/forks')).total;
  const before = await forks();
  await edit(page, run, run.second, 'Messages', 'Bergen: fog until noon"', 'Bergen: ');
  await submit(page);
  await page.waitForSelector(`${EDITOR} .error:not([hidden])`);
  assert.match(await page.innerText(`${EDITOR} .error`), /^Messages is not JSON/);
  // In mode live nothing can be changed: the receiver refuses it.
  const area = page.locator(EDITOR).getByLabel('Messages', { exact: true });
  await area.fill('[]');
  await page.locator(EDITOR).getByRole('combobox').selectOption('live');
  await submit(page);
  await page.waitForFunction((selector) => /live/.test(document.querySelector(selector).innerText), `${EDITOR} .error`);
  assert.equal(await forks(), before, 'no fork is made of what is wrong');
  assert.equal(await page.isEnabled(`${EDITOR} button[type=submit]`), true);
  await page.keyboard.press('Escape');
  await page.waitForSelector(EDITOR, { state: 'detached' });
  assert.deepEqual(faults, []);
  await close();
}

// A client that connects as an agent: it claims when this check lets it, and leaves in the middle.
async function connect(url) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/ws/v1/stream`);
  const frames = on(socket, 'message', { signal: AbortSignal.timeout(60_000) });
  const frame = async () => JSON.parse((await frames.next()).value[0]);
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'auth', api_key: 'rt_browser', resumable: true, replay_generation: 1, acks: true }));
  assert.equal((await frame()).type, 'auth_ok');
  const command = async () => {
    const { type, data } = await frame();
    assert.equal(type, 'resume');
    return data;
  };
  return { command, leave: () => socket.close() };
}

async function follow({ receiver, browser }) {
  const [began, ended] = ['2026-01-02T03:04:05Z', '2026-01-02T03:04:06Z'];
  const span = { id: 'slow-1', trace_id: 'slow', parent_id: null, span_type: 'llm_call', name: 'chat', model: 'm-1', started_at: began, ended_at: ended, input: { messages: [{ role: 'user', content: 'x' }] }, output: 'y', metadata: {} };
  await receiver.send('POST', '/api/v1/traces', { id: 'slow', name: 'slow agent', status: 'completed', started_at: began, ended_at: ended, input: { args: [], kwargs: { question: 'x' } }, metadata: { _resumable: true }, spans: [span] });
  const agent = await connect(receiver.url);
  const { page, faults, close } = await open(browser, receiver.url);
  const shows = (words) => page.waitForFunction(([selector, words]) => document.querySelector(selector).innerText.includes(words), [`${EDITOR} [role=status]`, words]);
  await edit(page, { id: 'slow' }, 'slow-1', 'Model', 'm-1', 'm-2');
  await submit(page);
  await shows('The fork is sent to the agent.');
  assert.equal(await page.isEnabled(`${EDITOR} button[type=submit]`), false);
  const { forkId, executionId, substitutions } = await agent.command();
  assert.deepEqual(substitutions, { model: 'm-2' });
  await receiver.send('POST', `/api/v1/forks/${forkId}/replay/claim`, { execution_id: executionId });
  await shows('The agent runs the fork.');
  agent.leave();
  await page.waitForSelector(`${EDITOR} .error:not([hidden])`);
  assert.match(await page.innerText(`${EDITOR} .error`), /agent|connection/);
  assert.equal(await page.isEnabled(`${EDITOR} button[type=submit]`), true);
  assert.deepEqual(faults, []);
  await close();
}

async function byHand({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await page.waitForSelector('.runs tbody tr');
  const [newest] = (await json(receiver, '/api/v1/traces?status=completed&q=Fork')).traces;
  for (const id of [newest.id, run.id]) await page.check(`.runs tr[data-id="${id}"] input`);
  await page.click('.bulk button:text-is("Compare")');
  await page.waitForSelector('.steps li');
  const hash = await page.evaluate(() => location.hash);
  assert.equal(hash, `#/compare?a=${run.id}&b=${newest.id}`, 'the older run is A');
  const steps = await page.locator('.steps li').count();
  await page.check('.compare input[type=checkbox]');
  await page.waitForFunction((steps) => document.querySelectorAll('.steps li').length < steps, steps);
  await visit(page, `#/compare?a=${run.id}&b=gone`, '.empty');
  assert.match(await page.innerText('.empty'), /gone/);
  assert.deepEqual(faults, []);
  await close();
}

async function keep({ receiver, browser, run }) {
  const { page, faults, close } = await open(browser, receiver.url);
  await visit(page, `#/run/${run.id}`, '.actions > summary');
  await page.click('.actions > summary');
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('.menu button:text-is("Download cassette")')]);
  assert.equal(download.suggestedFilename(), 'plan-trip.cassette.jsonl');
  let text = '';
  for await (const part of await download.createReadStream()) text += part;
  const lines = text.trim().split('\n').map((line) => JSON.parse(line));
  assert.ok(lines.length > 3 && text.includes('a seat on the train'), text);
  await page.click('.menu button:text-is("Mark as golden")');
  await page.waitForSelector('.summary .mark.golden');
  await page.click('.menu button:text-is("Not golden any more")');
  await page.waitForSelector('.summary .mark.golden', { state: 'detached' });
  assert.deepEqual(faults, []);
  await close();
}

async function views({ receiver, browser, shots, run }, width, scheme) {
  const { page, faults, close } = await open(browser, receiver.url, { width, scheme });
  const { forks } = await json(receiver, '/api/v1/forks');
  const failed = forks.find((fork) => fork.status === 'failed' && fork.result_trace_id);
  const found = [];
  const look = async (name) => {
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (shots) await page.screenshot({ path: `${shots}/${name}-${width}-${scheme}.png` });
    if (overflow > 0) found.push(`${name} is ${overflow} pixels too wide`);
    found.push(...(await violations(page)).map((each) => `${name}: ${each}`));
  };
  await visit(page, '#/forks', '.forks .why');
  await look('forks');
  await visit(page, `#/compare?fork=${failed.id}`, '.steps li');
  await look('compare');
  await visit(page, `#/run/${run.id}/${run.second}`, FORK);
  await page.click(FORK);
  await page.waitForSelector(`${EDITOR} textarea`);
  await look('fork');
  await page.click(`${EDITOR} button:text-is("Close")`);
  assert.deepEqual(found, []);
  assert.deepEqual(faults, []);
  await close();
}

async function alone({ receiver, browser, run }, programs) {
  const { page, faults, close } = await open(browser, receiver.url);
  const forks = async () => (await json(receiver, '/api/v1/forks')).total;
  const before = await forks();
  await edit(page, run, run.second, 'Messages', 'fog until noon', 'a storm at night');
  await submit(page);
  await page.waitForSelector(`${EDITOR} .error:not([hidden])`);
  assert.match(await page.innerText(`${EDITOR} .error`), /agent/);
  await submit(page);
  await page.waitForFunction((selector) => document.querySelector(selector).innerText !== '', `${EDITOR} .error`);
  assert.equal(await forks(), before + 1, 'the same fork is tried again');
  await page.keyboard.press('Escape');
  // Once an agent is there, the fork is run from the list.
  const agent = await startAgent(programs.agent, receiver);
  try {
    await visit(page, '#/forks', '.forks tbody tr:first-child .status.created');
    await page.click('.forks tbody tr:first-child button:text-is("Run")');
    await page.waitForSelector('.forks tbody tr:first-child .status.completed');
    await page.click('.forks tbody tr:first-child a:text-is("compare")');
    await page.waitForSelector('.verdict.same');
  } finally {
    await agent.stop();
  }
  assert.deepEqual(faults, []);
  await close();
}
