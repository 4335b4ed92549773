// Figures over the runs that a filter means.

import { getAtLast } from './api.js';
import { el } from './element.js';
import { apiQuery, bar, isFiltered } from './filter.js';
import { plot } from './plot.js';
import { dollars, duration, number, short, shortDollars, shortDuration } from './text.js';

// Sums of tokens that are written with all digits.
const EXACT = 1e9;

export function show(root, parameters) {
  const content = el('div', { className: 'numbers' });
  let waiting = new AbortController();
  const refresh = async () => {
    waiting.abort();
    waiting = new AbortController();
    const query = apiQuery(parameters);
    query.set('zone', -new Date().getTimezoneOffset());
    const text = await getAtLast(`/api/v1/numbers?${query}`, waiting.signal);
    if (text !== null) content.replaceChildren(...draw(JSON.parse(text), isFiltered(parameters)).filter(Boolean));
  };
  root.append(el('h1', { className: 'hidden' }, 'Numbers'), bar('numbers', parameters, refresh), content);
  document.title = 'Numbers · Retrace, local';
  refresh();
  return () => waiting.abort();
}

function draw(numbers, filtered) {
  if (numbers.runs === 0) return [el('p', { className: 'empty' }, filtered ? 'No run is like this.' : 'No runs yet. Their cost, tokens, latency and errors are shown here.')];
  const fact = (name, value, title) => el('div', { className: 'fact' }, el('dt', {}, name), el('dd', { title: title ?? '' }, value));
  const share = `${((100 * numbers.failed) / numbers.runs).toFixed(numbers.failed ? 1 : 0)} %`;
  const days = numbers.days.map(({ day }) => new Date(day * 86_400_000).toISOString().slice(0, 10));
  const used = (day) => Object.entries(day.models).filter(([, spent]) => spent.cost > 0 || spent.input_tokens + spent.output_tokens > 0).map(([model]) => model);
  const models = [...new Set(numbers.days.flatMap(used))].toSorted((a, b) => (a === '') - (b === '') || a.localeCompare(b));
  const by = (of) => models.map((model) => ({ name: model || 'others', values: numbers.days.map((day) => (day.models[model] ? of(day.models[model]) : 0)) }));
  const time = (name, of) => ({ name, values: numbers.days.map((day) => of(day.latency_ms)) });
  return [
    el('dl', { className: 'facts' }, fact('Runs', number(numbers.runs)), fact('With errors', share), fact('Tokens', short(numbers.tokens, EXACT), number(numbers.tokens)), fact('Cost', dollars(numbers.cost)), fact('p50', millis(numbers.latency_ms.p50)), fact('p95', millis(numbers.latency_ms.p95)), fact('p99', millis(numbers.latency_ms.p99))),
    el(
      'div',
      { className: 'plots' },
      plot({ title: 'Cost by model', days, series: by((spent) => spent.cost), kind: 'bars', write: dollars, tick: shortDollars }),
      plot({ title: 'Tokens by model', days, series: by((spent) => spent.input_tokens + spent.output_tokens), kind: 'bars', write: short }),
      plot({ title: 'Latency of runs', days, series: [time('p50', (each) => each.p50), time('p90', (each) => each.p90), time('p99', (each) => each.p99)], kind: 'lines', write: millis, tick: (value) => shortDuration(value * 1000) }),
      plot({ title: 'Runs', days, series: [{ name: 'without errors', values: numbers.days.map((day) => day.runs - day.failed) }, { name: 'with errors', kind: 'bad', values: numbers.days.map((day) => day.failed) }], kind: 'bars', write: short }),
    ),
    el('div', { className: 'tables' }, table('Models', numbers.models, true), table('Tools', numbers.tools, false), table('Agents', numbers.agents, true)),
  ];
}

function table(title, parts, hasUsage) {
  if (parts.length === 0) return null;
  const columns = [title.slice(0, -1), 'Calls', 'Errors', 'Mean', ...(hasUsage ? ['Tokens', 'Cost'] : [])];
  const cell = (value) => el('td', { className: 'n' }, value);
  const kind = title.slice(0, -1).toLowerCase();
  const row = (part) => el(
    'tr',
    {},
    el('td', { className: 'name' }, el('a', { href: `#/?${new URLSearchParams({ [kind]: part.value })}` }, part.value)),
    cell(number(part.calls)),
    cell(part.errors ? `${((100 * part.errors) / part.calls).toFixed(1)} %` : ''),
    cell(part.mean_ms ? millis(part.mean_ms) : ''),
    ...(hasUsage ? [cell(short(part.input_tokens + part.output_tokens)), cell(part.cost ? dollars(part.cost) : '')] : []),
  );
  return el('section', {}, el('h2', {}, title), el('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: title }, el('table', { className: 'plain-table' }, el('thead', {}, el('tr', {}, columns.map((name, at) => el('th', { className: at ? 'n' : '', scope: 'col' }, name)))), el('tbody', {}, parts.map(row)))));
}

function millis(value) {
  return duration(value * 1000);
}
