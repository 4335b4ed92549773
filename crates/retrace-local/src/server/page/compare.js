// Two runs side by side: their steps aligned by the receiver, and what differs.

import { address, answered } from './api.js';
import { el } from './element.js';
import { long } from './json.js';
import { runName, statusMark } from './mark.js';
import { clock, counted, dollars, duration, indented, number } from './text.js';

const CHARACTERS = 4000;
// Steps that are drawn.
const DRAWN = 2000;

export function show(root, parameters) {
  const waiting = new AbortController();
  const content = el('div', { className: 'compare' }, el('p', { className: 'quiet' }, 'Comparing…'));
  root.append(el('h1', { className: 'hidden' }, 'Compare'), content);
  document.title = 'Compare · Retrace, local';
  const fork = parameters.get('fork');
  const isNamed = fork || (parameters.get('a') && parameters.get('b'));
  const load = async () => {
    const path = fork ? `/api/v1/forks/${encodeURIComponent(fork)}/diff` : `/api/v1/diff?${parameters}`;
    const answer = await answered(path, waiting.signal);
    if (answer !== null) content.replaceChildren(...(answer.ok ? draw(JSON.parse(answer.text)) : [el('p', { className: 'empty' }, answer.status === 404 && /nothing at this path/.test(answer.error) ? 'This receiver compares no runs.' : answer.error)]));
  };
  if (isNamed) load();
  else content.replaceChildren(el('div', { className: 'empty' }, el('p', {}, 'Choose two runs in the list to compare them.'), el('p', {}, el('a', { href: '#/' }, 'Show all runs'))));
  return () => waiting.abort();
}

function draw(diff) {
  const same = diff.fork ? 'Nothing differs but what was changed on purpose.' : 'Nothing differs.';
  const words = diff.same ? same : where(diff);
  document.title = `${[diff.a, diff.b].map((run) => run.name || 'unnamed').join(' and ')}, compared · Retrace, local`;
  const onlyChanged = el('input', { type: 'checkbox' });
  const steps = el('ol', { className: 'steps' });
  const rest = el('p', { className: 'quiet' });
  const list = () => {
    const wanted = diff.steps.map((each, at) => [each, at]).filter(([each]) => !onlyChanged.checked || each.status !== 'same');
    steps.replaceChildren(...wanted.slice(0, DRAWN).map(([each, at]) => step(each, at, diff)));
    rest.textContent = wanted.length > DRAWN ? `The first ${number(DRAWN)} of ${number(wanted.length)} steps are shown.` : '';
  };
  onlyChanged.addEventListener('change', list);
  list();
  return [
    el('p', { className: diff.same ? 'verdict same' : 'verdict' }, words),
    el('p', { className: 'quiet' }, summary(diff.counts)),
    table(diff),
    ...['error', 'input', 'output'].filter((name) => diff[name]).map((name) => el('section', { className: `change of-${name}` }, el('h2', {}, `${name} of the run`), changes(diff[name]))),
    el('h2', {}, 'Steps'),
    el('label', {}, onlyChanged, ' only those that differ'),
    steps,
    rest,
    diff.truncated ? el('p', { className: 'quiet' }, 'The runs have more steps than are compared.') : null,
  ].filter(Boolean);
}

const REASONS = { added: 'only B has it', removed: 'only A has it', input: 'its input differs', output: 'its output differs', error: 'its error differs', model: 'its model differs', status: 'its status differs' };

function where({ first_divergence: first, steps }) {
  if (first?.step === undefined) return `The runs differ in their ${first?.reason ?? 'end'}.`;
  const side = steps[first.step].b ?? steps[first.step].a;
  const at = first.pointer ? ` at ${first.pointer}` : '';
  return `They part at step ${first.step + 1}, ${side.name || side.span_type}: ${REASONS[first.reason] ?? first.reason}${at}.`;
}

function summary(counts) {
  const words = ['same', 'changed', 'added', 'removed', 'replayed'].filter((name) => counts[name]).map((name) => `${number(counts[name])} ${name}`);
  return words.length ? `Steps: ${words.join(', ')}.` : 'No steps.';
}

function table({ a, b, fork }) {
  const rows = [
    ['Run', (run) => el('a', { href: address(run.id, null) }, runName(run))],
    ['Status', statusMark],
    ['Started', (run) => clock(run.started_at)],
    ['Duration', (run) => (run.duration_ms ? duration(run.duration_ms * 1000) : ''), (run) => run.duration_ms, (value) => duration(Math.abs(value) * 1000)],
    ['Tokens', (run) => (run.tokens ? number(run.tokens) : ''), (run) => run.tokens, (value) => number(Math.abs(value))],
    ['Cost', (run) => (run.cost ? dollars(run.cost) : ''), (run) => run.cost, (value) => dollars(Math.abs(value))],
    ['Steps', (run) => number(run.steps), (run) => run.steps, (value) => number(Math.abs(value))],
  ];
  const difference = (of, write) => {
    const value = of ? (of(b) ?? 0) - (of(a) ?? 0) : 0;
    return value ? `${value > 0 ? '+' : '−'}${write(value)}` : '';
  };
  return el('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: 'Both runs' }, el('table', { className: 'plain-table both' }, el('thead', {}, el('tr', {}, el('td', {}), el('th', { scope: 'col' }, fork ? 'A, recorded' : 'A'), el('th', { scope: 'col' }, fork ? 'B, fork' : 'B'), el('th', { className: 'n', scope: 'col' }, 'B − A'))), el('tbody', {}, rows.map(([name, write, of, change]) => el('tr', {}, el('th', { scope: 'row' }, name), el('td', {}, write(a)), el('td', {}, write(b)), el('td', { className: 'n' }, difference(of, change)))))));
}

function step(each, at, diff) {
  const side = each.b ?? each.a;
  const isFirst = diff.first_divergence?.step === at;
  const both = each.a && each.b;
  const delta = both && each.a.duration_ms !== undefined && each.b.duration_ms !== undefined ? each.b.duration_ms - each.a.duration_ms : 0;
  const link = (run, of, words) => (of ? el('a', { href: address(run.id, of.id) }, words) : null);
  const title = [
    el('span', { className: `badge ${each.status}` }, each.status),
    el('span', { className: 'text' }, side.name || side.span_type),
    side.model ? el('span', { className: 'quiet' }, side.model) : null,
    diff.fork && each.a?.index === diff.fork.index ? el('span', { className: 'mark fork' }, 'fork point') : null,
    isFirst ? el('span', { className: 'mark warn' }, 'first divergence') : null,
    diff.fork && each.status === 'changed' && !each.diverges ? el('span', { className: 'quiet' }, 'by the fork') : null,
    each.moved ? el('span', { className: 'mark' }, 'moved') : null,
    delta ? el('span', { className: 'quiet' }, `${delta > 0 ? '+' : '−'}${duration(Math.abs(delta) * 1000)}`) : null,
  ];
  const links = el('span', { className: 'links' }, link(diff.a, each.a, 'in A'), link(diff.b, each.b, 'in B'));
  const parts = Object.entries(each.changes ?? {});
  if (parts.length === 0) return el('li', { className: each.status }, el('div', { className: 'step' }, title, links));
  // The step that is the whole run repeats what stands above.
  const isRun = parts.every(([name, change]) => JSON.stringify(change) === JSON.stringify(diff[name]));
  return el('li', { className: each.status }, el('details', { open: isFirst || (each.status === 'changed' && at < 50 && !isRun) }, el('summary', { className: 'step' }, title), links, parts.map(([name, change]) => el('section', { className: `change of-${name}` }, el('h3', {}, name), changes(change)))));
}

function changes({ differences, total }) {
  const rest = total - differences.length;
  return el('div', {}, differences.map(difference), rest > 0 ? el('p', { className: 'quiet' }, `${counted(rest, 'difference')} more`) : null);
}

function difference(each) {
  const pointer = each.pointer ? el('code', { className: 'pointer' }, each.pointer) : null;
  if (each.text) {
    const tags = { '-': 'del', '+': 'ins', '=': 'span' };
    return el('div', { className: 'difference' }, pointer, el('pre', { className: 'words', dir: 'auto' }, each.text.map(([kind, text]) => el(tags[kind] ?? 'span', {}, kind === '=' && text.length > CHARACTERS ? `${text.slice(0, 300)} … ${text.slice(-300)}` : text))));
  }
  // A part that a run does not have at all is `null`.
  const isMissing = (name) => each[name] === undefined || (each[name] === null && !each.pointer);
  const value = (name, kind) => (isMissing(name) ? (each[`${name}_bytes`] ? el(kind, {}, `${number(each[`${name}_bytes`])} bytes`) : null) : el(kind, {}, long(written(each[name]), CHARACTERS)));
  return el('div', { className: 'difference' }, pointer, el('pre', { className: 'words', dir: 'auto' }, value('a', 'del'), value('b', 'ins')));
}

function written(value) {
  return typeof value === 'string' ? value : indented(JSON.stringify(value));
}
