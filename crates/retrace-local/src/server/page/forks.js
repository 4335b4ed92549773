// The forks that were made, newest first.

import { FORKS, address, change, get, tracePath } from './api.js';
import { el, redraw } from './element.js';
import { age } from './mark.js';
import { number } from './text.js';

const EVERY = 3000;
const PAGE = 50;
const COLUMNS = ['Fork', 'Status', 'Made', 'Mode', 'Result', ''];

export function show(root, parameters) {
  let left = false;
  let timer = null;
  let shown = null;
  const offset = Math.max(0, Number(parameters.get('offset')) || 0);
  const body = el('tbody');
  const empty = el('p', { className: 'empty', hidden: true }, 'No forks yet. Open a run, choose a model call or a tool, and fork from there.');
  const pages = el('nav', { className: 'pages', ariaLabel: 'Pages' });
  const table = el('table', { className: 'runs forks', hidden: true }, el('thead', {}, el('tr', {}, COLUMNS.map((name) => el('th', { scope: 'col' }, name)))), body);
  const refresh = async () => {
    clearTimeout(timer);
    const text = document.hidden ? null : await get(`${FORKS}?${new URLSearchParams({ limit: PAGE, offset })}`);
    if (left) return;
    if (text !== null && text !== shown) {
      shown = text;
      const page = JSON.parse(text);
      redraw(body, page.forks.map((fork) => row(fork, refresh)));
      table.hidden = page.forks.length === 0;
      empty.hidden = !table.hidden;
      pages.replaceChildren(...paging(page));
    }
    clearTimeout(timer);
    timer = setTimeout(refresh, EVERY);
  };
  root.append(el('h1', { className: 'hidden' }, 'Forks'), el('div', { className: 'wide' }, table), empty, pages);
  document.title = 'Forks · Retrace, local';
  refresh();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function paging({ forks, total, offset }) {
  const last = offset + forks.length;
  const to = (at) => `#/forks?${new URLSearchParams({ offset: at })}`;
  return [
    offset > 0 ? el('a', { href: to(Math.max(0, offset - PAGE)) }, '← previous') : null,
    forks.length ? el('span', {}, `${number(offset + 1)}–${number(last)} of ${number(total)}`) : null,
    last < total && forks.length ? el('a', { href: to(last) }, 'next →') : null,
  ].filter(Boolean);
}

function row(fork, refresh) {
  const run = async () => {
    await change('POST', `${FORKS}/${encodeURIComponent(fork.id)}/replay`, {});
    refresh();
  };
  const changed = [...Object.keys(fork.substitutions ?? {}).map((name) => name.replaceAll('_', ' ')), ...(fork.modified_input === undefined ? [] : ['input'])];
  const origin = el('a', { href: address(fork.trace_id, fork.span_id), title: fork.id }, 'a run');
  nameOf(fork.trace_id).then((name) => {
    if (name) origin.textContent = name;
  });
  const result = fork.result_trace_id ? [el('a', { href: `#/compare?${new URLSearchParams({ fork: fork.id })}` }, 'compare'), el('a', { href: address(fork.result_trace_id, null) }, 'run')] : [];
  // One that an agent runs is not begun a second time; one that no agent has claimed may be.
  const again = fork.status === 'running' && fork.claimed_at ? null : el('button', { className: 'small', onclick: run }, fork.status === 'created' ? 'Run' : 'Run again');
  const element = el(
    'tr',
    {},
    el('td', { className: 'name' }, origin, ' ', el('span', { className: 'quiet' }, changed.length ? `with other ${changed.join(', ')}` : 'with nothing changed'), fork.error ? el('p', { className: 'why' }, fork.error) : null),
    el('td', {}, el('span', { className: `status ${fork.status}` }, fork.status)),
    el('td', {}, age(fork.created_at)),
    el('td', {}, fork.mode),
    el('td', {}, el('span', { className: 'links' }, result)),
    el('td', {}, again),
  );
  element.dataset.id = fork.id;
  return element;
}

const names = new Map();

// The name of the run that was forked; null when it has none or is gone.
function nameOf(id) {
  if (!names.has(id)) names.set(id, get(`${tracePath(id)}?content=false&spans=false`).then((text) => (text === null ? null : (JSON.parse(text).name ?? null))));
  return names.get(id);
}
