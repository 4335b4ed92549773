// Numbers, names and contents at their ends: nothing covers anything else, and nothing is written as what it is not.

import assert from 'node:assert/strict';
import { open, violations, visit } from './browser.js';

const LONG = 'x'.repeat(300);

function run(id, at, fields, spans) {
  const [start, end] = [at, at + 1_000_000_000].map((time) => new Date(time).toISOString());
  return { id, name: id, status: 'completed', started_at: start, ended_at: end, ...fields, spans: spans.map((span, nth) => ({ id: `${id}-${nth}`, trace_id: id, parent_id: null, started_at: start, ended_at: end, ...span })) };
}

export async function all(check, { receiver, browser, now }) {
  const at = now - 2_000_000_000;
  const runs = [
    run('large-numbers', at, { total_tokens: 9_007_199_254_740_991, total_cost: 123_456_789.12, project_id: LONG }, [
      { span_type: 'llm_call', name: 'chat', model: 'm'.repeat(120), input: { messages: [{ role: 'user', content: 'q' }] }, output: 'a', input_tokens: 9_007_199_254_740, output_tokens: 1_000_000_000, cost: 1_234_567.891 },
      { span_type: 'tool_call', name: 'search', input: { city: 'Bergen' }, output: 'fog', duration_ms: 0, ended_at: new Date(at + 1).toISOString() },
      { span_type: 'reasoning', name: 'plan', input: { args: ['Bergen'], kwargs: {} }, output: 'train' },
    ]),
    run('long-names', at, { name: `${LONG} `.repeat(4), session_id: LONG, error: 'it failed', metadata: { user_id: LONG } }, [{ span_type: 'tool_call', name: LONG.repeat(3) }]),
  ];
  for (const each of runs) await receiver.send('POST', '/api/v1/traces', each);
  await check('the input of a tool is its arguments', () => roles({ receiver, browser }));
  for (const width of [1280, 400]) await check(`extremes at ${width} pixels`, () => fit({ receiver, browser }, width));
  for (const { id } of runs) await receiver.send('DELETE', `/api/v1/traces/${id}`);
}

async function roles({ receiver, browser }) {
  const { page, faults, close } = await open(browser, receiver.url);
  const shown = () => page.locator('.panel .role').allInnerTexts();
  await visit(page, '#/run/large-numbers/large-numbers-1', '.panel .message');
  assert.deepEqual(await shown(), ['arguments', 'result']);
  assert.equal(await page.innerText('.panel [role=tab][aria-selected=true]'), 'Input and output');
  assert.match(await page.innerText('.panel .json'), /\{ 1 member \}/);
  // Of a duration that is stated as none, the times tell more.
  assert.match(await page.innerText('.panel dl'), /Duration\s+1\.0 ms/);
  await page.locator('.row').nth(2).click();
  await page.waitForFunction(() => document.querySelector('.panel .role')?.innerText === 'input');
  assert.deepEqual(await shown(), ['input', 'output']);
  assert.deepEqual(faults, []);
  await close();
}

// Of elements, those that are wider than the place they have, or that cover their neighbour.
const overfull = (page, selector) => page.locator(selector).evaluateAll((all) => all.filter((each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).overflow === 'visible').map((each) => `${each.className || each.localName}: ${each.textContent.slice(0, 40)}`));

async function fit({ receiver, browser }, width) {
  const { page, faults, close } = await open(browser, receiver.url, { width, height: 800 });
  await visit(page, '#/run/large-numbers', '.row');
  assert.deepEqual(await overfull(page, '.row > div, .axis > div'), []);
  const heights = await page.locator('.axis .line span').evaluateAll((all) => all.map((each) => each.offsetHeight));
  assert.ok(heights.every((height) => height < 28), `times of the axis stand on one line: ${heights}`);
  assert.equal(await page.locator('.row .cost').first().getAttribute('title'), '$1,234,567.89');
  // What is cut is whole in the title.
  const titles = await page.locator('.summary dd').evaluateAll((all) => all.filter((each) => each.textContent !== each.title).map((each) => each.textContent.slice(0, 40)));
  assert.deepEqual(titles, []);
  await visit(page, '#/run/long-names', '.row');
  const head = await page.locator('.summary').evaluate((summary) => summary.offsetHeight);
  assert.ok(head < (width > 700 ? 400 : 480), `the head of the run is ${head} pixels high`);
  await visit(page, '#/numbers', '.plot rect');
  assert.deepEqual(await overfull(page, '.legend li'), []);
  const outside = await page.locator('.plot .tick').evaluateAll((all) => all.filter((each) => each.getBoundingClientRect().left < each.closest('svg').getBoundingClientRect().left).map((each) => each.textContent));
  assert.deepEqual(outside, [], 'values beside a plot are not cut');
  await visit(page, '#/sessions', '.runs tbody tr');
  const names = await page.locator('.runs td.name').evaluateAll((all) => all.map((each) => each.offsetWidth));
  assert.ok(Math.min(...names) > 200, `sessions have room for their names: ${Math.min(...names)}`);
  // Numbers that have no head of a column above them name themselves.
  const named = await page.locator('.runs td[data-label]').evaluateAll((all) => all.map((each) => getComputedStyle(each, '::after').content !== 'none'));
  assert.deepEqual([...new Set(named)], [width < 700]);
  assert.deepEqual(await violations(page), []);
  assert.deepEqual(faults, []);
  await close();
}
