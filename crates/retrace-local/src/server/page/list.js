// The list of runs, newest first.

import { get, hasKey } from './api.js';
import { ago, clock, dollars, duration, el, micros, number } from './text.js';

const PAGE = 50;
const EVERY = 3000;

export function show(root, parameters) {
  const status = parameters.get('status') ?? '';
  const errors = parameters.get('failed_spans') === 'true';
  const offset = Math.max(0, Number.parseInt(parameters.get('offset') ?? '0', 10) || 0);
  const body = el('tbody');
  const empty = el('div', { className: 'empty', hidden: true });
  const pages = el('nav', { className: 'pages' });
  const filters = ['', 'running', 'completed', 'failed'].map((each) => filter(each, errors ? null : status));
  filters.push(el('a', { href: '#/?failed_spans=true', className: errors ? 'current' : '' }, 'with errors'));
  root.append(
    el('nav', { className: 'filter', ariaLabel: 'Status' }, ...filters),
    el('div', { className: 'wide' }, el('table', { className: 'runs' }, head(), body)),
    empty,
    pages,
  );
  document.title = 'Runs · Retrace, local';

  let shown = null;
  let timer = null;
  let left = false;
  const refresh = async () => {
    const query = new URLSearchParams({ limit: PAGE, offset });
    if (status) query.set('status', status);
    if (errors) query.set('failed_spans', 'true');
    const text = await get(`/api/v1/traces?${query}`);
    if (left) return;
    if (text !== null && text !== shown) {
      shown = text;
      const page = JSON.parse(text);
      body.replaceChildren(...page.traces.map(row));
      pages.replaceChildren(...paging(page, status, errors));
      empty.hidden = page.traces.length > 0;
      empty.replaceChildren(...nothing(status, errors));
    }
    timer = setTimeout(tick, EVERY);
  };
  // A page that nobody looks at asks for nothing.
  const tick = () => {
    if (document.hidden) timer = setTimeout(tick, EVERY);
    else refresh();
  };
  refresh();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function filter(each, current) {
  return el('a', { href: each ? `#/?status=${each}` : '#/', className: each === current ? 'current' : '' }, each || 'all');
}

function head() {
  const names = [['Run'], ['Status'], ['Started'], ['Duration', 'n'], ['Spans', 'n'], ['Tokens', 'n'], ['Cost', 'n']];
  return el('thead', {}, el('tr', {}, ...names.map(([name, kind]) => el('th', { className: kind ?? '' }, name))));
}

function row(trace) {
  const address = `#/run/${encodeURIComponent(trace.id)}`;
  const open = () => {
    location.hash = address;
  };
  return el(
    'tr',
    { onclick: open },
    el('td', { className: 'name' }, el('a', { href: address, title: trace.id }, runName(trace)), marks(trace)),
    el('td', {}, statusMark(trace)),
    el('td', { title: clock(trace.started_at) }, ago(trace.started_at)),
    el('td', { className: 'n' }, runDuration(trace)),
    el('td', { className: 'n' }, spanCount(trace, trace.stored_spans)),
    el('td', { className: 'n' }, trace.total_tokens ? number(trace.total_tokens) : ''),
    el('td', { className: 'n' }, trace.total_cost ? dollars(trace.total_cost) : ''),
  );
}

export function runName(trace) {
  return trace.name ? trace.name : el('i', {}, 'unnamed');
}

export function statusMark(trace) {
  if (trace.live === false) {
    const title = 'Its client is gone and has not said how it ended; it goes on when the client comes back';
    return el('span', { className: 'status interrupted', title }, 'interrupted');
  }
  const status = trace.status ?? (trace.ended_at ? 'ended' : 'unknown');
  return el('span', { className: `status ${status}`, title: trace.error ?? '' }, status);
}

// What a reader should know before trusting that a run is whole.
export function marks(trace) {
  const mark = (is, kind, name, title) => (is ? el('span', { className: `mark ${kind}`, title }, name) : null);
  const failed = trace.failed_spans;
  return [
    mark(failed, 'warn', `${number(failed ?? 0)} failed`, 'Spans of this run that have an error'),
    mark(trace.kept_for_failure, 'warn', 'kept for failure', 'Not sampled: sent only because something in it failed'),
    mark(trace.golden, 'golden', 'golden', 'Marked as the run that later ones are compared with'),
    mark(trace.lossy, 'warn', 'lossy', 'The client lost track of parts of this run'),
    mark(trace.terminated_early, 'warn', 'cut short', 'The end was made up, not seen'),
  ];
}

export function spanCount(trace, stored) {
  // More than the client counts are stored where other services have added theirs.
  if (trace.span_count === undefined || trace.span_count <= stored) return number(stored);
  const title = 'Stored here, and sent as the client says';
  return el('span', { className: 'mark warn', title }, `${number(stored)} of ${number(trace.span_count)}`);
}

export function runDuration(trace) {
  if (trace.total_duration_ms) return duration(trace.total_duration_ms * 1000);
  const [start, end] = [micros(trace.started_at), micros(trace.ended_at)];
  return start !== null && end !== null ? duration(Math.max(0, end - start)) : '';
}

function paging(page, status, errors) {
  const filters = { ...(status && { status }), ...(errors && { failed_spans: true }) };
  const to = (offset) => `#/?${new URLSearchParams({ ...filters, offset })}`;
  const last = page.offset + page.traces.length;
  return [
    page.offset > 0 ? el('a', { href: to(Math.max(0, page.offset - PAGE)) }, '← newer') : null,
    page.traces.length ? el('span', {}, `${number(page.offset + 1)}–${number(last)} of ${number(page.total)}`) : null,
    last < page.total && page.traces.length ? el('a', { href: to(last) }, 'older →') : null,
  ].filter(Boolean);
}

function nothing(status, errors) {
  if (errors) return [el('p', {}, 'No run has a failed span.')];
  if (status) return [el('p', {}, `No run is ${status}.`)];
  return [
    el('p', {}, 'No runs yet. Point a client here:'),
    el('pre', {}, `RETRACE_BASE_URL=${location.origin}\nRETRACE_API_KEY=${hasKey() ? '…' : 'rt_local'}`),
    el('p', {}, 'Traces without a span that has a gen_ai.* attribute are not sent; RETRACE_SPAN_SELECTION=all sends them.'),
  ];
}
