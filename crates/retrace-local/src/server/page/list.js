// The list of runs.

import { address, change, get, hasKey, send } from './api.js';
import { confirmed, copyButton, download, el, redraw } from './element.js';
import { apiQuery, bar, isFiltered, save } from './filter.js';
import { age, marks, runDuration, runName, spanCount, statusMark } from './mark.js';
import { dollars, number } from './text.js';

const PAGE = 50;
const EVERY = 3000;
// Columns: words, class, and what the receiver calls the order by it.
const COLUMNS = [['Run', '', 'name'], ['Status', '', 'status'], ['Started', '', 'started'], ['Duration', 'n', 'duration'], ['Spans', 'n wide-only', 'spans'], ['Tokens', 'n wide-only', 'tokens'], ['Cost', 'n', 'cost']];

export function show(root, parameters) {
  const chosen = new Set();
  const body = el('tbody');
  const head = el('tr');
  const empty = el('div', { className: 'empty', hidden: true });
  const pages = el('nav', { className: 'pages', ariaLabel: 'Pages' });
  const bulk = el('div', { className: 'bulk', role: 'toolbar', ariaLabel: 'Chosen runs' });
  const table = el('table', { className: 'runs' }, el('thead', {}, head), body);
  let shown = null;
  let runs = [];
  let timer = null;
  let left = false;

  const query = () => {
    const query = apiQuery(parameters);
    for (const name of ['sort', 'order', 'offset']) if (parameters.get(name)) query.set(name, parameters.get(name));
    query.set('limit', PAGE);
    return query;
  };
  const refresh = async () => {
    clearTimeout(timer);
    const text = await get(`/api/v1/traces?${query()}`);
    if (left) return;
    if (text !== null && text !== shown) {
      shown = text;
      draw(JSON.parse(text));
    }
    clearTimeout(timer);
    timer = setTimeout(tick, EVERY);
  };
  // A hidden page sends no requests.
  const tick = () => {
    if (document.hidden) timer = setTimeout(tick, EVERY);
    else refresh();
  };
  const draw = (page) => {
    runs = page.traces;
    redraw(body, runs.map(row));
    pages.replaceChildren(...paging(page));
    const isEmpty = runs.length === 0;
    empty.hidden = !isEmpty;
    table.hidden = isEmpty;
    if (isEmpty) empty.replaceChildren(...nothing(isFiltered(parameters)));
    comeBack();
    drawBulk();
  };
  // The first time: who comes back from a run is at its row again.
  const comeBack = () => {
    const id = history.state?.opened;
    if (id === undefined) return;
    history.replaceState(null, '');
    const link = [...body.rows].find((row) => row.dataset.id === id)?.querySelector('td.name a');
    link?.focus({ preventScroll: true });
    link?.scrollIntoView({ block: 'center' });
  };
  // The list is left for a run: the history keeps which.
  const leaveFor = (event) => {
    // In another tab or window.
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    const id = event.target.closest('td.name a:not(.mark)') && event.target.closest('tr').dataset.id;
    if (id) history.replaceState({ opened: id }, '');
  };
  body.addEventListener('click', leaveFor);
  const drawHead = () => {
    const [sort, order] = [parameters.get('sort') ?? 'started', parameters.get('order') ?? 'desc'];
    const all = el('input', { type: 'checkbox', ariaLabel: 'Choose all on this page', onchange: () => {
      for (const run of runs) (all.checked ? chosen.add(run.id) : chosen.delete(run.id));
      draw({ ...JSON.parse(shown), traces: runs });
    } });
    const column = ([words, kind, name]) => {
      const isSorted = sort === name;
      const sortBy = () => {
        parameters.set('sort', name);
        parameters.set('order', isSorted && order === 'desc' ? 'asc' : 'desc');
        parameters.delete('offset');
        save('', parameters);
        drawHead();
        refresh();
      };
      const arrow = isSorted ? (order === 'desc' ? ' ↓' : ' ↑') : '';
      const cell = el('th', { className: kind, scope: 'col' }, el('button', { className: 'plain', onclick: sortBy }, words + arrow));
      if (isSorted) cell.setAttribute('aria-sort', order === 'desc' ? 'descending' : 'ascending');
      return cell;
    };
    redraw(head, el('th', { className: 'box', scope: 'col' }, all), COLUMNS.map(column));
  };
  const row = (trace) => {
    const to = address(trace.id, null);
    const box = el('input', { type: 'checkbox', checked: chosen.has(trace.id), ariaLabel: `Choose ${trace.name || 'unnamed'}`, onchange: () => {
      if (box.checked) chosen.add(trace.id);
      else chosen.delete(trace.id);
      drawBulk();
    } });
    const open = (event) => {
      if (event.target.closest('a, input') || getSelection().type === 'Range') return;
      history.replaceState({ opened: trace.id }, '');
      location.hash = to;
    };
    const element = el(
      'tr',
      { onclick: open },
      el('td', { className: 'box' }, box),
      el('td', { className: 'name' }, el('a', { href: to, title: trace.id }, runName(trace)), marks(trace)),
      el('td', { className: 'state' }, statusMark(trace)),
      el('td', { className: 'when' }, age(trace.started_at)),
      el('td', { className: 'n' }, runDuration(trace)),
      el('td', { className: 'n wide-only' }, spanCount(trace, trace.stored_spans)),
      el('td', { className: 'n wide-only' }, trace.total_tokens ? number(trace.total_tokens) : ''),
      el('td', { className: 'n' }, trace.total_cost ? dollars(trace.total_cost) : ''),
    );
    element.dataset.id = trace.id;
    return element;
  };
  const drawBulk = () => {
    bulk.hidden = chosen.size === 0;
    if (bulk.hidden) return;
    const ids = [...chosen];
    const button = (words, onclick, className) => el('button', { onclick, className: className ?? '' }, words);
    const remove = async () => {
      const many = ids.length === 1 ? 'this run' : `these ${number(ids.length)} runs`;
      if (!(await confirmed(`Delete ${many}? It cannot be undone.`, 'Delete'))) return;
      for (let at = 0; at < ids.length; at += 1000) await change('POST', '/api/v1/bulk/delete', { ids: ids.slice(at, at + 1000) });
      chosen.clear();
      refresh();
    };
    const save = async () => {
      const answer = await send('POST', '/api/v1/bulk/export', { ids: ids.slice(0, 1000) });
      if (answer?.ok) download('runs.jsonl', 'application/x-ndjson', answer.text);
    };
    // The run that began first is A, wherever it stands in the list.
    const began = (id) => runs.find((run) => run.id === id)?.started_at ?? '';
    const compare = () => {
      const [a, b] = ids.toSorted((one, other) => began(one).localeCompare(began(other)));
      location.hash = `#/compare?${new URLSearchParams({ a, b })}`;
    };
    redraw(
      bulk,
      el('span', {}, `${number(ids.length)} chosen`),
      ...(ids.length === 2 ? [button('Compare', compare)] : []),
      button('Export', save),
      button('Delete', remove, 'danger'),
      button('None', () => {
        chosen.clear();
        draw({ ...JSON.parse(shown), traces: runs });
      }),
    );
  };
  const paging = (page) => {
    const to = (offset) => {
      const next = new URLSearchParams(parameters);
      next.set('offset', offset);
      return `#/?${next}`;
    };
    const last = page.offset + page.traces.length;
    return [
      page.offset > 0 ? el('a', { href: to(Math.max(0, page.offset - PAGE)) }, '← previous') : null,
      page.traces.length ? el('span', {}, `${number(page.offset + 1)}–${number(last)} of ${number(page.total)}`) : null,
      last < page.total && page.traces.length ? el('a', { href: to(last) }, 'next →') : null,
      page.incomplete ? el('span', { className: 'quiet' }, 'Some runs are still being indexed.') : null,
    ].filter(Boolean);
  };

  const keys = (event) => {
    if (event.target.closest('input:not([type=checkbox]), select, textarea, dialog') || event.ctrlKey || event.metaKey) return;
    const links = [...body.querySelectorAll('td.name a:not(.mark)')];
    const at = links.indexOf(document.activeElement?.closest('tr')?.querySelector('td.name a'));
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      links[Math.min(links.length - 1, Math.max(0, at + step))]?.focus();
    } else if (event.key === 'x' && at >= 0) links[at].closest('tr').querySelector('input').click();
  };
  drawHead();
  root.append(
    el('h1', { className: 'hidden' }, 'Runs'),
    bar('', parameters, () => {
      drawHead();
      refresh();
    }),
    el('div', { className: 'wide' }, table),
    empty,
    pages,
    bulk,
  );
  bulk.hidden = true;
  document.title = 'Runs · Retrace, local';
  addEventListener('keydown', keys);
  refresh();
  return () => {
    left = true;
    clearTimeout(timer);
    removeEventListener('keydown', keys);
  };
}

function nothing(filtered) {
  if (filtered) return [el('p', {}, 'No run is like this.'), el('p', {}, el('a', { href: '#/' }, 'Show all runs'))];
  const variables = `RETRACE_BASE_URL=${location.origin}\nRETRACE_API_KEY=${hasKey() ? '…' : 'rt_local'}`;
  const otlp = `OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\nOTEL_EXPORTER_OTLP_ENDPOINT=${location.origin}`;
  const block = (text) => el('div', { className: 'command' }, el('pre', {}, text), copyButton('Copy', () => text));
  return [
    el('h2', {}, 'No runs yet'),
    el('p', {}, 'Point an application with a Retrace SDK here:'),
    block(variables),
    el('p', {}, 'or one that sends OpenTelemetry traces, in any language:'),
    block(otlp),
    el('p', {}, 'The first run appears here as soon as it begins. Traces without a span that has a gen_ai.* attribute are not sent; RETRACE_SPAN_SELECTION=all sends them.'),
  ];
}
