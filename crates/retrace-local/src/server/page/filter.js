// The filter that runs, sessions and numbers share. It stands in the address, so that it can be kept and passed on.

import { get } from './api.js';
import { choice, el, field, redraw } from './element.js';
import { counted } from './text.js';

const STATUS = [['', 'Any status'], ['running', 'Running'], ['completed', 'Completed'], ['failed', 'Failed']];
const ERRORS = [['', 'Errors or not'], ['true', 'With errors'], ['false', 'Without errors']];
const TIMES = [['', 'Any time'], ['15m', 'Last 15 minutes'], ['1h', 'Last hour'], ['24h', 'Last 24 hours'], ['7d', 'Last 7 days'], ['30d', 'Last 30 days']];
const SECONDS = { m: 60, h: 3600, d: 86400 };
const TEXTS = ['model', 'tool', 'agent', 'tag', 'environment', 'session', 'user'];
const BOUNDS = [['cost', 'Cost in $'], ['tokens', 'Tokens'], ['ms', 'Duration in ms'], ['spans', 'Spans']];
// Parameters that are part of the filter, and not of the order or the page.
const ALL = ['q', 'status', 'has_error', 'last', 'from', 'to', 'golden', 'failed_spans', ...TEXTS, ...BOUNDS.flatMap(([name]) => [`min_${name}`, `max_${name}`])];
// How long typing has to pause before it is looked for.
const PAUSE = 200;

// The query of the API for a filter.
export function apiQuery(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of parameters) {
    if (!ALL.includes(name) || value === '') continue;
    if (name === 'last') {
      const seconds = Number.parseInt(value, 10) * (SECONDS[value.at(-1)] ?? NaN);
      // To the minute, so that the same question has the same answer.
      if (seconds > 0) query.set('from', new Date(Math.floor(Date.now() / 60_000 - seconds / 60) * 60_000).toISOString());
    } else query.append(name, value);
  }
  return query;
}

export function isFiltered(parameters) {
  return [...parameters].some(([name, value]) => ALL.includes(name) && value !== '');
}

// The bar. `parameters` are changed by it, and `onchange` is called then; the address has them already.
export function bar(view, parameters, onchange) {
  const apply = () => {
    parameters.delete('offset');
    save(view, parameters);
    draw();
    onchange();
  };
  const set = (name, value) => {
    if (value) parameters.set(name, value);
    else parameters.delete(name);
    apply();
  };
  let timer = null;
  const search = el('input', { type: 'search', placeholder: 'Search names, inputs, outputs, errors', ariaLabel: 'Search', value: parameters.get('q') ?? '' });
  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => set('q', search.value.trim()), PAUSE);
  });
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') search.blur();
  });
  const input = (name, type, attributes) => {
    const control = el('input', { type, value: parameters.get(name) ?? '', ...attributes });
    control.addEventListener('change', () => set(name, control.value.trim()));
    return control;
  };
  const lists = el('div', { hidden: true });
  const fields = el(
    'div',
    { className: 'fields' },
    TEXTS.map((name) => field(name, input(name, 'text', { list: `values-${name}` }))),
    BOUNDS.map(([name, words]) => el(
      'div',
      { className: 'field', role: 'group', ariaLabel: words },
      el('span', {}, words),
      el('div', { className: 'bounds' }, input(`min_${name}`, 'number', { min: 0, step: 'any', placeholder: 'from', ariaLabel: `${words} from` }), input(`max_${name}`, 'number', { min: 0, step: 'any', placeholder: 'to', ariaLabel: `${words} to` })),
    )),
    field('golden', choice([['', 'either'], ['true', 'golden'], ['false', 'not golden']], parameters.get('golden') ?? '', (value) => set('golden', value))),
  );
  const more = el('details', { className: 'more' }, el('summary', {}, 'More filters'), fields, lists);
  more.addEventListener('toggle', () => {
    if (more.open && lists.children.length === 0) suggest(lists);
  });
  const chips = el('ul', { className: 'chips', ariaLabel: 'Filters that are set' });
  const choices = [['status', STATUS, 'Status'], ['has_error', ERRORS, 'Errors'], ['last', TIMES, 'Time']].map(([name, options, label]) => [name, choice(options, '', (value) => set(name, value), label)]);
  const quick = el('div', { className: 'quick' }, choices.map(([, select]) => select), more);
  const draw = () => {
    for (const [name, select] of choices) {
      select.value = parameters.get(name) ?? '';
      if (select.selectedIndex < 0) select.selectedIndex = 0;
    }
    const isChosen = (name, value) => name === 'q' || choices.some(([each, select]) => each === name && select.value === value);
    const shown = [...parameters].filter(([name, value]) => ALL.includes(name) && value !== '' && !isChosen(name, value));
    chips.hidden = shown.length === 0;
    redraw(chips, shown.map(([name, value]) => el('li', {}, el('bdi', {}, `${name.replace('_', ' ')}: ${value}`), ' ', el('button', { type: 'button', ariaLabel: `Remove ${name}`, onclick: () => {
      parameters.delete(name, value);
      for (const control of fields.querySelectorAll('input')) if (control.value === value) control.value = '';
      apply();
    } }, '×'))));
  };
  draw();
  return el('section', { className: 'filter', ariaLabel: 'Filter' }, search, quick, chips);
}

// Puts parameters into the address of the view that is shown, and leaves the history as it is.
export function save(view, parameters) {
  const text = parameters.toString();
  history.replaceState(null, '', `#/${view}${text ? `?${text}` : ''}`);
}

async function suggest(lists) {
  const text = await get('/api/v1/values');
  if (text === null) return;
  for (const [name, values] of Object.entries(JSON.parse(text))) {
    if (!Array.isArray(values)) continue;
    lists.append(el('datalist', { id: `values-${name}` }, values.map(({ value, runs }) => el('option', { value }, counted(runs, 'run')))));
  }
}
