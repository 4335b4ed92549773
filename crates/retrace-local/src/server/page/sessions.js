// Sessions: conversations over several runs.

import { address, getAtLast, tracePath } from './api.js';
import * as conversation from './conversation.js';
import { el } from './element.js';
import { apiQuery, bar, isFiltered } from './filter.js';
import { age, marks, runDuration, runName, statusMark } from './mark.js';
import { clock, dollars, number, timestamp } from './text.js';

const PAGE = 50;
// Runs of a session whose conversation is shown from the beginning.
const OPEN = 10;

export function show(root, parameters) {
  const body = el('tbody');
  const empty = el('div', { className: 'empty', hidden: true });
  const pages = el('nav', { className: 'pages', ariaLabel: 'Pages' });
  const columns = [['Session', ''], ['Last run', ''], ['Runs', 'n'], ['Errors', 'n'], ['Tokens', 'n wide-only'], ['Cost', 'n'], ['User', 'wide-only']];
  const table = el('table', { className: 'runs' }, el('thead', {}, el('tr', {}, columns.map(([name, kind]) => el('th', { className: kind, scope: 'col' }, name)))), body);
  let waiting = new AbortController();
  const refresh = async () => {
    waiting.abort();
    waiting = new AbortController();
    const query = apiQuery(parameters);
    query.set('limit', PAGE);
    if (parameters.get('offset')) query.set('offset', parameters.get('offset'));
    const text = await getAtLast(`/api/v1/sessions?${query}`, waiting.signal);
    if (text === null) return;
    const page = JSON.parse(text);
    body.replaceChildren(...page.sessions.map(row));
    table.hidden = page.sessions.length === 0;
    empty.hidden = !table.hidden;
    const words = isFiltered(parameters) ? 'No session has a run like this.' : 'No run names a session. Give runs a session_id, and those of one conversation are together here.';
    empty.replaceChildren(el('p', {}, words));
    pages.replaceChildren(...paging(page, parameters));
  };
  root.append(el('h1', { className: 'hidden' }, 'Sessions'), bar('sessions', parameters, refresh), el('div', { className: 'wide' }, table), empty, pages);
  document.title = 'Sessions · Retrace, local';
  refresh();
  return () => waiting.abort();
}

function row(session) {
  const to = `#/session/${encodeURIComponent(session.id)}`;
  const last = timestamp(session.last_micros);
  // A narrow page has no heads of columns beside the numbers.
  const cell = (value, label) => {
    const cell = el('td', { className: 'n' }, value);
    if (value !== '') cell.dataset.label = label;
    return cell;
  };
  return el(
    'tr',
    { onclick: () => {
      location.hash = to;
    } },
    el('td', { className: 'name' }, el('a', { href: to, dir: 'auto', title: session.id }, session.id)),
    el('td', {}, age(last)),
    cell(number(session.runs), session.runs === 1 ? 'run' : 'runs'),
    cell(session.failed ? el('span', { className: 'mark warn' }, number(session.failed)) : '', 'failed'),
    el('td', { className: 'n wide-only' }, session.tokens ? number(session.tokens) : ''),
    el('td', { className: 'n' }, session.cost ? dollars(session.cost) : ''),
    el('td', { className: 'wide-only user', title: session.user ?? '' }, session.user ?? ''),
  );
}

function paging(page, parameters) {
  const to = (offset) => {
    const next = new URLSearchParams(parameters);
    next.set('offset', offset);
    return `#/sessions?${next}`;
  };
  const last = page.offset + page.sessions.length;
  return [
    page.offset > 0 ? el('a', { href: to(Math.max(0, page.offset - PAGE)) }, '← previous') : null,
    page.sessions.length ? el('span', {}, `${number(page.offset + 1)}–${number(last)} of ${number(page.total)}`) : null,
    last < page.total && page.sessions.length ? el('a', { href: to(last) }, 'next →') : null,
  ].filter(Boolean);
}

// One session: the messages of its runs, oldest first.
export function showOne(root, id) {
  const waiting = new AbortController();
  const list = el('div', { className: 'session' });
  root.append(el('section', { className: 'summary' }, el('h1', { className: 'clamp', dir: 'auto', title: id }, id), el('a', { href: `#/?${new URLSearchParams({ session: id })}` }, 'As a list of runs')), list);
  document.title = `${id} · Retrace, local`;
  const load = async () => {
    const text = await getAtLast(`/api/v1/traces?${new URLSearchParams({ session: id, sort: 'started', order: 'asc', limit: 500 })}`, waiting.signal);
    if (text === null) return;
    const { traces } = JSON.parse(text);
    if (traces.length === 0) list.append(el('p', { className: 'empty' }, 'No run is of this session.'));
    list.append(...traces.map((trace, at) => one(trace, at < OPEN, () => !waiting.signal.aborted)));
  };
  load();
  return () => waiting.abort();
}

function one(trace, open, isCurrent) {
  const content = el('div', { className: 'messages' });
  const title = el('summary', {}, el('strong', {}, runName(trace)), statusMark(trace), marks(trace), el('span', { className: 'quiet' }, `${clock(trace.started_at)} · ${runDuration(trace)}`));
  const link = el('p', {}, el('a', { href: address(trace.id, null) }, 'Open the run'));
  const details = el('details', { className: 'turn' }, title, content, link);
  let isLoaded = false;
  details.addEventListener('toggle', () => {
    if (!details.open || isLoaded) return;
    isLoaded = true;
    conversation.load(content, tracePath(trace.id), trace.id, isCurrent);
  });
  details.open = open;
  return details;
}
