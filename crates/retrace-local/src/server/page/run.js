// One run: its spans as a tree with times, and what the chosen one was given and returned.

import { get, tracePath } from './api.js';
import { marks, runDuration, runName, spanCount, statusMark } from './list.js';
import * as panel from './panel.js';
import { clock, dollars, duration, el, number } from './text.js';
import { build, inSight } from './tree.js';

// How long to wait before asking again: after an answer, and after a failure or while nobody looks.
const SOON = 200;
const LATER = 3000;
// Must agree with the height of a row in the style sheet.
const ROW = 28;
// Rows that are drawn beyond the edges, so that scrolling does not show gaps.
const SPARE = 10;
// Levels that are indented; deeper ones say how much deeper, so that there is room left for names.
const INDENTED = 8;

export function show(root, id, spanId) {
  const summary = el('section', { className: 'summary' });
  const rows = el('div', { className: 'rows', role: 'tree', tabIndex: 0, ariaLabel: 'Spans' });
  const height = el('div', { className: 'height' }, rows);
  const scroll = el('div', { className: 'scroll', tabIndex: -1 }, height);
  const axis = el('div', { className: 'axis' });
  const detail = el('aside', { className: 'panel' });
  root.append(summary, el('div', { className: 'run' }, el('div', { className: 'tree' }, axis, scroll), detail));

  let trace = null;
  let tree = null;
  let visible = [];
  let chosen = spanId;
  let version = 0;
  let head = null;
  let timer = null;
  let left = false;
  const spans = new Map();
  const closed = new Set();
  const waiting = new AbortController();

  const draw = () => {
    const from = Math.max(0, Math.floor(scroll.scrollTop / ROW) - SPARE);
    const to = Math.min(visible.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + SPARE);
    rows.replaceChildren(...visible.slice(from, to).map((node) => row(node)));
    rows.style.transform = `translateY(${from * ROW}px)`;
  };
  let drawing = false;
  const drawSoon = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      if (!left) draw();
    });
  };
  const layOut = () => {
    visible = inSight(tree.roots, closed);
    height.style.height = `${visible.length * ROW}px`;
    draw();
  };

  const choose = (node) => {
    chosen = node?.span.id ?? null;
    // The address names what is shown, so that it can be passed on; going back leaves the run.
    history.replaceState(null, '', address(id, chosen));
    draw();
    panel.show(detail, trace, node?.span ?? null);
  };
  const toggle = (node) => {
    if (!closed.delete(node.span.id)) closed.add(node.span.id);
    layOut();
  };

  const twist = (node) => {
    if (node.children.length === 0) return el('span', { className: 'twist' });
    const isClosed = closed.has(node.span.id);
    const turn = (event) => {
      event.stopPropagation();
      toggle(node);
    };
    const label = isClosed ? 'Open' : 'Close';
    return el('button', { className: 'twist', ariaLabel: label, tabIndex: -1, onclick: turn }, isClosed ? '▸' : '▾');
  };

  const row = (node) => {
    const { span } = node;
    const isChosen = span.id === chosen;
    const state = span.error !== undefined ? 'failed' : span.ended_at === undefined ? 'open' : '';
    const label = el(
      'div',
      { className: 'label' },
      node.depth > INDENTED ? el('span', { className: 'deeper', title: 'Levels deeper' }, `+${node.depth - INDENTED}`) : null,
      twist(node),
      el('span', { className: 'kind', title: span.span_type }),
      el('span', { className: 'text', title: span.name }, span.name || el('i', {}, 'unnamed')),
      span.model ? el('span', { className: 'model' }, span.model) : null,
    );
    label.style.paddingLeft = `${Math.min(node.depth, INDENTED) * 14 + 6}px`;
    return el(
      'div',
      {
        className: `row kind-${span.span_type} ${state} ${isChosen ? 'chosen' : ''}`,
        role: 'treeitem',
        ariaSelected: String(isChosen),
        ariaLevel: String(node.depth + 1),
        onclick: () => choose(node),
      },
      label,
      el('div', { className: 'line' }, bar(node)),
      el('div', { className: 'n time' }, took(node) || unended(span, trace)),
      el('div', { className: 'n tokens', title: 'Tokens in and out' }, tokens(span)),
      el('div', { className: 'n cost' }, span.cost ? dollars(span.cost) : ''),
    );
  };

  const bar = (node) => {
    if (node.start === null || tree.begin === null) return null;
    const length = Math.max(1, tree.end - tree.begin);
    const end = node.end ?? tree.end;
    const bar = el('span', { className: 'bar' });
    bar.style.left = `${(100 * (node.start - tree.begin)) / length}%`;
    bar.style.width = `${(100 * Math.max(0, end - node.start)) / length}%`;
    return bar;
  };

  const move = (event) => {
    const at = visible.findIndex((node) => node.span.id === chosen);
    const node = visible[at];
    let next = null;
    if (event.key === 'ArrowDown') next = visible[Math.min(at + 1, visible.length - 1)];
    else if (event.key === 'ArrowUp') next = visible[Math.max(at - 1, 0)];
    else if (event.key === 'Home') next = visible[0];
    else if (event.key === 'End') next = visible[visible.length - 1];
    else if (event.key === 'ArrowLeft' && node?.children.length && !closed.has(chosen)) toggle(node);
    else if (event.key === 'ArrowRight' && node && closed.has(chosen)) toggle(node);
    else return;
    event.preventDefault();
    if (!next) return;
    reveal(next);
    choose(next);
  };

  const reveal = (node) => {
    const top = visible.indexOf(node) * ROW;
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + ROW - scroll.clientHeight;
  };

  // Asks for what is newer than what is shown. The receiver answers when there is something, or after a while.
  const refresh = async () => {
    const query = new URLSearchParams({ after: version });
    if (trace?.live !== undefined) query.set('live', trace.live);
    const text = await get(`${tracePath(id)}/changes?${query}`, waiting.signal);
    if (left) return;
    if (text === null) {
      timer = setTimeout(tick, LATER);
      return;
    }
    const { version: newest, spans: changed, ...known } = JSON.parse(text);
    const news = take(newest, changed, known);
    // A run that has ended may still get what came late; when nothing does any more, nobody is asked.
    if (news || known.status === 'running') timer = setTimeout(tick, SOON);
  };
  const tick = () => {
    if (document.hidden) timer = setTimeout(tick, LATER);
    else refresh();
  };

  // Adds what has changed to what is shown; false when that is nothing. The chosen span and the place stay.
  const take = (newest, changed, known) => {
    const first = head === null;
    const isNewHead = head !== JSON.stringify(known);
    // Another database answers: nothing of what is shown holds any more.
    if (newest < version) spans.clear();
    else if (!first && !isNewHead && changed.length === 0) return false;
    version = newest;
    head = JSON.stringify(known);
    for (const span of changed) spans.set(span.id, span);
    trace = { ...known, spans: [...spans.values()] };
    tree = build(trace, trace.live ? Date.now() * 1000 : null);
    document.title = `${trace.name || 'unnamed'} · Retrace, local`;
    summary.replaceChildren(...facts(trace));
    axis.replaceChildren(...ticks(tree));
    layOut();
    const node = tree.nodes.find((node) => node.span.id === chosen) ?? null;
    if (first && node) reveal(node);
    // What is looked at is drawn again only when it has changed.
    const touched = node ? changed.some((span) => span.id === chosen) : isNewHead && chosen === null;
    if (first || touched) choose(node);
    return true;
  };

  summary.addEventListener('click', (event) => {
    if (event.target.closest('button')) choose(null);
  });
  scroll.addEventListener('scroll', drawSoon);
  scroll.addEventListener('keydown', move);
  addEventListener('resize', drawSoon);
  refresh();
  return () => {
    left = true;
    waiting.abort();
    clearTimeout(timer);
    removeEventListener('resize', drawSoon);
  };
}

export function address(id, spanId) {
  return ['#', 'run', id, ...(spanId === null ? [] : [spanId])].map((part, at) => (at ? encodeURIComponent(part) : part)).join('/');
}

// What a span says of its own length, else what its times say.
function took({ span, start, end }) {
  if (span.duration_ms) return duration(span.duration_ms * 1000);
  return start !== null && end !== null ? duration(Math.max(0, end - start)) : '';
}

// What is said of a span that has started and not ended, as far as is known.
function unended(span, trace) {
  if (span.ended_at !== undefined) return '';
  if (trace.live) return el('span', { className: 'going', title: 'It has started and not ended' }, 'running');
  return el('span', { className: 'quiet', title: 'Nothing is known of its end' }, 'no end');
}

function tokens(span) {
  if (span.input_tokens === undefined && span.output_tokens === undefined) return '';
  const part = (value) => (value === undefined ? '?' : number(value));
  return `${part(span.input_tokens)} → ${part(span.output_tokens)}`;
}

function facts(trace) {
  const fact = (name, value) => (value ? el('div', {}, el('dt', {}, name), el('dd', {}, value)) : null);
  return [
    el('h1', {}, runName(trace), ' ', statusMark(trace), ...marks(trace)),
    trace.error ? el('p', { className: 'error' }, trace.error) : null,
    el(
      'dl',
      {},
      fact('Started', clock(trace.started_at)),
      fact('Duration', runDuration(trace)),
      fact('Spans', spanCount(trace, trace.spans.length)),
      fact('Tokens', trace.total_tokens ? number(trace.total_tokens) : null),
      fact('Cost', trace.total_cost ? dollars(trace.total_cost) : null),
      fact('Session', trace.session_id),
      fact('Project', trace.project_id),
      fact('Id', el('code', {}, trace.id)),
      el('div', {}, el('button', {}, 'Input and output of the run')),
    ),
  ].filter(Boolean);
}

// Times along the bars: the beginning, the middle and the end.
function ticks(tree) {
  const line = el('div', { className: 'line' });
  if (tree.begin !== null) {
    const length = tree.end - tree.begin;
    line.append(...['0', duration(length / 2), duration(length)].map((time) => el('span', {}, time)));
  }
  const column = (name, kind) => el('div', { className: kind }, name);
  return [column('Span', 'label'), line, column('Time', 'n time'), column('Tokens', 'n tokens'), column('Cost', 'n cost')];
}
