// The forks that were made, newest first.

import { FORKS, address, get } from './api.js';
import { el } from './element.js';
import { ago, clock } from './text.js';

const EVERY = 3000;

export function show(root) {
  let left = false;
  let timer = null;
  let shown = null;
  const body = el('tbody');
  const empty = el('p', { className: 'empty', hidden: true }, 'No forks yet. Open a run, choose a model call or a tool, and fork from there.');
  const columns = ['Fork', 'Status', 'Made', 'Mode', 'Of', 'Result'];
  const table = el('table', { className: 'runs' }, el('thead', {}, el('tr', {}, columns.map((name) => el('th', { scope: 'col' }, name)))), body);
  const refresh = async () => {
    const text = document.hidden ? null : await get(FORKS);
    if (left) return;
    if (text !== null && text !== shown) {
      shown = text;
      const page = JSON.parse(text);
      const forks = Array.isArray(page) ? page : page.forks;
      body.replaceChildren(...forks.map(row));
      table.hidden = forks.length === 0;
      empty.hidden = !table.hidden;
    }
    timer = setTimeout(refresh, EVERY);
  };
  root.append(el('h1', { className: 'hidden' }, 'Forks'), el('div', { className: 'wide' }, table), empty);
  document.title = 'Forks · Retrace, local';
  refresh();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function row(fork) {
  const compare = fork.result_trace_id ? el('a', { href: `#/compare?${new URLSearchParams({ fork: fork.id })}` }, 'compare') : null;
  return el(
    'tr',
    {},
    el('td', { className: 'name' }, el('code', {}, fork.id)),
    el('td', {}, el('span', { className: `status ${fork.status}`, title: fork.error ?? '' }, fork.status)),
    el('td', { title: clock(fork.created_at) }, ago(fork.created_at)),
    el('td', {}, fork.mode),
    el('td', {}, el('a', { href: address(fork.trace_id, fork.span_id) }, 'span')),
    el('td', {}, fork.result_trace_id ? el('a', { href: address(fork.result_trace_id, null) }, 'run') : (fork.error ?? ''), ' ', compare),
  );
}
