// The rows of a run: names as a tree, and times as bars. Only those in sight are drawn.

import { el } from './element.js';
import { counted, dollars, duration, number, short, shortDollars, shortDuration } from './text.js';

// Must agree with the height of a row in the style sheet.
const ROW = 28;
// Rows that are drawn beyond the edges, so that scrolling does not show gaps.
const SPARE = 10;
// Levels that are indented; deeper ones say how much deeper, so that there is room left for names.
const INDENTED = 8;
// Least part of a run that can be zoomed to, in microseconds, and least drag, in pixels.
const LEAST = 10;
const DRAG = 6;

// Draws into `root`. `act` has {choose(node), toggle(node)}.
export function waterfall(root, act) {
  const rows = el('div', { className: 'rows', role: 'tree', tabIndex: 0, ariaLabel: 'Spans' });
  const height = el('div', { className: 'height' }, rows);
  const scroll = el('div', { className: 'scroll', tabIndex: -1 }, height);
  const axis = el('div', { className: 'axis' });
  root.append(axis, scroll);
  // What is drawn: {visible, tree, path, tries, closed, chosen, found, live}.
  let shown = null;
  let zoom = null;
  // The rows that are drawn, by their places. They are kept while it scrolls.
  const drawn = new Map();
  const drawAll = () => {
    drawn.clear();
    rows.replaceChildren();
    draw();
  };

  const draw = () => {
    if (!shown) return;
    const { visible } = shown;
    const from = Math.max(0, Math.floor(scroll.scrollTop / ROW) - SPARE);
    const to = Math.min(visible.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + SPARE);
    for (const [at, element] of drawn) {
      if (at >= from && at < to) continue;
      element.remove();
      drawn.delete(at);
    }
    // From the last, so that each new row has its place before the one that follows it.
    let next = null;
    for (let at = to - 1; at >= from; at -= 1) {
      let element = drawn.get(at);
      if (!element) {
        element = row(visible[at], at);
        drawn.set(at, element);
        rows.insertBefore(element, next);
      }
      next = element;
    }
    rows.style.transform = `translateY(${from * ROW}px)`;
    const chosen = rows.querySelector('.chosen');
    if (chosen) rows.setAttribute('aria-activedescendant', chosen.id);
    else rows.removeAttribute('aria-activedescendant');
  };
  let drawing = false;
  const drawSoon = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      draw();
    });
  };
  const range = () => zoom ?? [shown.tree.begin, shown.tree.end];

  const twist = (node) => {
    if (node.children.length === 0) return el('span', { className: 'twist' });
    const isClosed = shown.closed.has(node.span.id);
    const turn = (event) => {
      event.stopPropagation();
      act.toggle(node);
    };
    return el('span', { className: 'twist', onclick: turn, ariaHidden: 'true' }, isClosed ? '▸' : '▾');
  };
  const row = (node, at) => {
    const { span } = node;
    const isChosen = span.id === shown.chosen;
    const isOpen = span.ended_at === undefined && span.error === undefined;
    const state = [span.error === undefined ? '' : 'failed', isOpen ? 'open' : '', isChosen ? 'chosen' : '', shown.path.has(node) ? 'critical' : '', shown.found?.has(span.id) ? 'found' : ''];
    const isParent = node.children.length > 0;
    const isClosed = shown.closed.has(span.id);
    const tries = shown.tries.get(node);
    const label = el(
      'div',
      { className: 'label' },
      node.depth > INDENTED ? el('span', { className: 'deeper', title: 'Levels deeper' }, `+${node.depth - INDENTED}`) : null,
      twist(node),
      el('span', { className: 'kind', title: span.span_type }),
      el('span', { className: 'text', title: span.name, dir: 'auto' }, span.name || el('i', {}, 'unnamed')),
      tries ? el('span', { className: 'mark warn', title: 'A sibling before it failed at the same' }, `try ${tries}`) : null,
      isClosed && node.failures > 0 && span.error === undefined ? el('span', { className: 'mark warn', title: 'Failed spans below' }, `${number(node.failures)} failed`) : null,
      span.model ? el('span', { className: 'model' }, span.model) : null,
    );
    label.style.paddingLeft = `${Math.min(node.depth, INDENTED) * 14 + 6}px`;
    const element = el(
      'div',
      {
        id: `row-${at}`,
        className: `row kind-${span.span_type} ${state.filter(Boolean).join(' ')}`,
        role: 'treeitem',
        ariaSelected: String(isChosen),
        ariaLevel: String(node.depth + 1),
        ariaExpanded: isParent ? String(!isClosed) : null,
        onclick: () => act.choose(node),
      },
      label,
      el('div', { className: 'line' }, bar(node)),
      el('div', { className: 'n time' }, took(node) || unended(span)),
      el('div', { className: 'n tokens', title: tokensTitle(node) }, isParent ? (node.tokens ? `Σ ${few(node.tokens)}` : '') : tokens(span, few)),
      el('div', { className: 'n cost', title: node.cost ? `${dollars(node.cost)}${isParent ? ' of this span and those below' : ''}` : '' }, node.cost ? `${isParent ? 'Σ ' : ''}${shortDollars(node.cost)}` : ''),
    );
    return element;
  };
  const bar = (node) => {
    const [from, to] = range();
    if (node.start === null || from === null) return null;
    const length = Math.max(1, to - from);
    const [start, end] = [Math.max(from, node.start), Math.min(to, node.end ?? shown.tree.end)];
    if (start > to || end < from) return null;
    const bar = el('span', { className: 'bar' });
    bar.style.left = `${(100 * (start - from)) / length}%`;
    bar.style.width = `${(100 * Math.max(0, end - start)) / length}%`;
    return bar;
  };
  const unended = (span) => {
    if (span.ended_at !== undefined) return '';
    if (shown.live) return el('span', { className: 'going', title: 'It has started and not ended' }, 'running');
    return el('span', { className: 'quiet', title: 'Nothing is known of its end' }, 'no end');
  };
  const drawAxis = () => {
    const line = el('div', { className: 'line', title: 'Drag to zoom' });
    const [from, to] = range();
    if (from !== null) {
      const begin = shown.tree.begin;
      line.append(...(to > from ? [from, (from + to) / 2, to] : [from]).map((time) => el('span', {}, shortDuration(time - begin))));
    }
    const column = (name, kind) => el('div', { className: kind }, name);
    const reset = zoom ? el('button', { className: 'small', onclick: () => set(null) }, 'Show all') : null;
    axis.replaceChildren(el('div', { className: 'label' }, 'Span', reset), line, column('Time', 'n time'), column('Tokens', 'n tokens'), column('Cost', 'n cost'));
  };
  const set = (next) => {
    zoom = next;
    drawAxis();
    drawAll();
  };

  // A drag over the times zooms to them.
  root.addEventListener('pointerdown', (event) => {
    const line = event.target.closest('.line');
    if (!line || event.button !== 0 || !shown || shown.tree.begin === null) return;
    const box = line.getBoundingClientRect();
    const share = (x) => Math.min(1, Math.max(0, (x - box.left) / box.width));
    const mark = el('span', { className: 'selection' });
    const move = (now) => {
      if (Math.abs(now.clientX - event.clientX) < DRAG && !mark.isConnected) return;
      const [a, b] = [share(event.clientX), share(now.clientX)].toSorted((a, b) => a - b);
      const outer = root.getBoundingClientRect();
      mark.style.left = `${box.left - outer.left + a * box.width}px`;
      mark.style.width = `${(b - a) * box.width}px`;
      if (!mark.isConnected) root.append(mark);
    };
    const up = (now) => {
      removeEventListener('pointermove', move);
      removeEventListener('pointerup', up);
      if (!mark.isConnected) return;
      mark.remove();
      // The click that ends the drag chooses nothing.
      const swallow = (click) => click.stopPropagation();
      addEventListener('click', swallow, { capture: true, once: true });
      setTimeout(() => removeEventListener('click', swallow, { capture: true }), 0);
      const [from, to] = range();
      const [a, b] = [share(event.clientX), share(now.clientX)].toSorted((a, b) => a - b);
      const next = [from + a * (to - from), from + b * (to - from)];
      if (next[1] - next[0] >= LEAST) set(next);
    };
    addEventListener('pointermove', move);
    addEventListener('pointerup', up);
    event.preventDefault();
    rows.focus({ preventScroll: true });
  });
  scroll.addEventListener('scroll', drawSoon);
  const observer = new ResizeObserver(drawSoon);
  observer.observe(scroll);

  return {
    rows,
    show(next) {
      shown = next;
      rows.classList.toggle('none', next.visible.length === 0);
      height.style.height = next.visible.length ? `${next.visible.length * ROW}px` : '';
      drawAxis();
      drawAll();
    },
    reveal(node) {
      const top = (shown?.visible.indexOf(node) ?? -1) * ROW;
      if (top < 0) return;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      else if (top + ROW > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + ROW - scroll.clientHeight;
    },
    zoomTo(node) {
      if (!shown) return;
      const end = node?.end ?? shown.tree.end;
      set(node && node.start !== null ? [node.start, Math.max(node.start + LEAST, end)] : null);
    },
    end() {
      observer.disconnect();
    },
  };
}

// The duration that a span states, else the one between its times.
export function took({ span, start, end }) {
  if (span.duration_ms) return duration(span.duration_ms * 1000);
  return start !== null && end !== null ? duration(Math.max(0, end - start)) : '';
}

function tokensTitle({ span, children, tokens: sum }) {
  if (children.length > 0) return sum ? `${counted(sum, 'token')} of this span and those below` : '';
  const all = tokens(span, number);
  return all ? `Tokens in and out: ${all}` : '';
}

// A number of tokens in a row.
const few = (value) => short(value, 1_000_000);

function tokens(span, write) {
  if (span.input_tokens === undefined && span.output_tokens === undefined) return '';
  const part = (value) => (value === undefined ? '?' : write(value));
  return `${part(span.input_tokens)} → ${part(span.output_tokens)}`;
}
