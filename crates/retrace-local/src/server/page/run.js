// One run: its spans as a tree with times, its conversations and its agents, and what the chosen span was given and returned.

import * as agents from './agents.js';
import { FORKS, address, change, get, has, spanPath, tracePath } from './api.js';
import * as conversation from './conversation.js';
import { choice, confirmed, copyButton, download, drawTabs, el, redraw, redrawInPlace } from './element.js';
import { marks, runDuration, runName, spanCount, statusMark } from './mark.js';
import { agents as agentsOf, criticalPath, retries, sum } from './measure.js';
import * as panel from './panel.js';
import { clock, dollars, micros, number } from './text.js';
import { build, inSight } from './tree.js';
import { waterfall } from './waterfall.js';

// How long to wait before asking again: after an answer, and after a failure or while nobody looks.
const SOON = 200;
const LATER = 3000;
const VIEWS = [['tree', 'Timeline'], ['conversation', 'Conversation'], ['agents', 'Agents']];

export function show(root, id, spanId, query) {
  const summary = el('section', { className: 'summary' });
  const views = el('div', { className: 'tabs', role: 'tablist', ariaLabel: 'Views of the run' });
  const search = el('input', { type: 'search', placeholder: 'Find a span', ariaLabel: 'Find a span' });
  const hits = el('span', { className: 'quiet', role: 'status' });
  const nextError = el('button', { onclick: () => toError() }, 'Next error');
  const tools = el('div', { className: 'tools', hidden: true }, views, search, hits, nextError);
  const timeline = el('div', { className: 'tree', role: 'tabpanel', ariaLabel: 'Timeline' });
  const other = el('div', { className: 'other', role: 'tabpanel', hidden: true });
  const detail = el('aside', { className: 'panel', ariaLabel: 'The chosen span', tabIndex: 0 });
  root.append(summary, tools, el('div', { className: 'run' }, timeline, other, detail));

  let trace = null;
  let tree = null;
  let measured = { path: new Set(), tries: new Map() };
  let visible = [];
  let chosen = spanId;
  let view = VIEWS.some(([name]) => name === query.get('view')) ? query.get('view') : 'tree';
  let found = null;
  let version = 0;
  let head = null;
  let timer = null;
  let left = false;
  let isGone = false;
  // The id of a chosen span that the run does not have.
  let missing = null;
  let hasForks = false;
  // The conversation: its choice, its elements, the call that a person has picked, and whether it is asked for and out of date.
  const which = el('div', { className: 'which' });
  let messages = null;
  let picked = null;
  let isUpdating = false;
  let hasNews = false;
  const spans = new Map();
  const closed = new Set();
  const waiting = new AbortController();

  const layOut = () => {
    visible = inSight(tree.roots, closed);
    draw();
  };
  const draw = () => rows.show({ visible, tree, closed, chosen, found, live: trace.live, ...measured });
  const choose = (node) => {
    chosen = node?.span.id ?? null;
    remember();
    draw();
    missing = null;
    panel.show(detail, trace, node?.span ?? null);
  };
  // The address names what is shown, so that it can be passed on; going back leaves the run.
  const remember = () => history.replaceState(null, '', `${address(id, chosen)}${view === 'tree' ? '' : `?view=${view}`}`);
  const toggle = (node) => {
    if (!closed.delete(node.span.id)) closed.add(node.span.id);
    layOut();
  };
  const rows = waterfall(timeline, { choose, toggle });

  // Shows a span wherever it is, and opens what hides it.
  const go = (node) => {
    if (!node) return;
    const byId = new Map(tree.nodes.map((node) => [node.span.id, node]));
    for (let at = byId.get(node.span.parent_id), left = tree.nodes.length; at && left > 0; at = byId.get(at.span.parent_id), left -= 1) closed.delete(at.span.id);
    layOut();
    rows.reveal(node);
    choose(node);
  };
  const all = () => inSight(tree.roots, new Set());
  const after = (is) => {
    const order = all();
    const at = order.findIndex((node) => node.span.id === chosen);
    return [...order.slice(at + 1), ...order.slice(0, at + 1)].find(is);
  };
  const toError = () => go(after((node) => node.span.error !== undefined));
  const find = () => {
    const words = search.value.trim().toLowerCase();
    const has = ({ span }) => [span.name, span.model, span.error, span.agent_role, span.span_type, span.id].some((text) => text?.toLowerCase().includes(words));
    found = words ? new Set(tree.nodes.filter(has).map((node) => node.span.id)) : null;
    hits.textContent = found ? `${number(found.size)} found` : '';
    draw();
  };
  search.addEventListener('input', () => {
    if (tree) find();
  });
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && found?.size) go(after((node) => found.has(node.span.id)));
    else if (event.key === 'Escape') search.blur();
  });

  const keys = (event) => {
    if (!tree || event.target.closest('input, select, textarea, dialog, .panel, .other') || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = visible.findIndex((node) => node.span.id === chosen);
    const node = visible[at];
    const isHere = event.target === document.body || event.target.closest('.tree, main') !== null;
    const key = { j: 'ArrowDown', k: 'ArrowUp' }[event.key] ?? event.key;
    let next = null;
    if (event.key === 'e') toError();
    else if (event.key === 'z') rows.zoomTo(node ?? null);
    else if (event.key === '0') rows.zoomTo(null);
    else if (!isHere || event.target.closest('button, summary, a')) return;
    else if (key === 'ArrowDown') next = visible[Math.min(at + 1, visible.length - 1)];
    else if (key === 'ArrowUp') next = visible[Math.max(at - 1, 0)];
    else if (key === 'Home') next = visible[0];
    else if (key === 'End') next = visible[visible.length - 1];
    else if (key === 'ArrowLeft' && node?.children.length && !closed.has(chosen)) toggle(node);
    else if (key === 'ArrowRight' && node && closed.has(chosen)) toggle(node);
    else return;
    event.preventDefault();
    if (!next) return;
    rows.reveal(next);
    choose(next);
  };

  const drawViews = () => {
    drawTabs(views, VIEWS.filter(([name]) => name !== 'agents' || agentsOf(tree.nodes).agents.length > 0), view, (name) => {
      view = name;
      remember();
      drawViews();
      drawOther();
    });
  };
  const drawOther = () => {
    const isTree = view === 'tree';
    timeline.hidden = !isTree;
    other.hidden = isTree;
    other.ariaLabel = VIEWS.find(([name]) => name === view)[1];
    if (isTree) layOut();
    else if (view === 'agents') other.replaceChildren(...agents.draw(agentsOf(tree.nodes)));
    else beginConversation();
  };
  // The view beside the tree, when the run has changed.
  const updateOther = () => {
    if (view === 'agents') redraw(other, ...agents.draw(agentsOf(tree.nodes)));
    else if (view === 'conversation') updateConversation();
  };
  const drawWhich = () => {
    const calls = all().filter((node) => node.span.span_type === 'llm_call');
    // The last call was given everything that came before it.
    const longest = calls.reduce((most, node) => ((node.span.content_bytes?.input ?? 0) >= (most?.span.content_bytes?.input ?? 0) ? node : most), null);
    const options = [['', 'Input and output of the run'], ...calls.slice(0, 500).map((node, at) => [node.span.id, `${at + 1}. ${node.span.name || 'model call'}${node.span.agent_role ? `, ${node.span.agent_role}` : ''}`])];
    const pick = (callId) => {
      picked = callId;
      beginConversation();
    };
    const callId = picked ?? longest?.span.id ?? '';
    // A list that is open stays open while nothing is added to it.
    const key = JSON.stringify([options, callId]);
    if (which.dataset.key !== key) redraw(which, choice(options, callId, pick, 'Conversation of'));
    which.dataset.key = key;
    return callId ? spanPath(id, callId) : tracePath(id);
  };
  const beginConversation = () => {
    messages = el('div', { className: 'messages' });
    other.replaceChildren(which, messages);
    const shown = messages;
    conversation.load(shown, drawWhich(), id, () => !left && shown.isConnected);
  };
  // One request at a time: what changes meanwhile is asked for afterwards.
  const updateConversation = async () => {
    hasNews = true;
    if (isUpdating) return;
    isUpdating = true;
    while (hasNews && !left && view === 'conversation') {
      hasNews = false;
      const shown = messages;
      const fill = (...children) => redrawInPlace(shown, other, ...children);
      await conversation.update(fill, drawWhich(), id, () => !left && shown.isConnected);
    }
    isUpdating = false;
  };

  // Asks for what is newer than what is shown. The receiver answers when there is something, or after a while.
  const refresh = async () => {
    const query = new URLSearchParams({ after: version });
    if (trace?.live !== undefined) query.set('live', trace.live);
    const text = await get(`${tracePath(id)}/changes?${query}`, waiting.signal, gone);
    if (left || isGone) return;
    if (text === null) {
      timer = setTimeout(tick, LATER);
      return;
    }
    const { version: newest, spans: changed, ...known } = JSON.parse(text);
    const news = take(newest, changed, known);
    // A run that has ended may still get what came late; the page stops asking for changes when nothing does any more.
    if (news || known.status === 'running') timer = setTimeout(tick, SOON);
  };
  // The receiver has no such run, or no longer: what is shown of it stays.
  const gone = () => {
    if (left) return;
    isGone = true;
    const words = trace === null ? 'There is no run with this id. It may have been deleted.' : 'This run has been deleted.';
    if (trace === null) {
      document.title = 'No such run · Retrace, local';
      root.replaceChildren(el('div', { className: 'empty' }, el('h1', {}, 'No such run'), el('p', {}, words), el('p', {}, el('code', {}, id)), el('p', {}, el('a', { href: '#/' }, 'Show all runs'))));
    } else summary.prepend(el('p', { className: 'error', role: 'alert' }, words));
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
    sum(tree.roots);
    measured = { path: criticalPath(tree.roots), tries: retries(tree.roots) };
    tools.hidden = false;
    nextError.hidden = !tree.roots.some((node) => node.failures > 0);
    document.title = `${trace.name || 'unnamed'} · Retrace, local`;
    drawSummary();
    drawViews();
    if (first) drawOther();
    else {
      layOut();
      updateOther();
    }
    if (found) find();
    const node = tree.nodes.find((node) => node.span.id === chosen) ?? null;
    if (first && node) rows.reveal(node);
    // What is looked at is drawn again only when it has changed.
    const touched = node ? changed.some((span) => span.id === chosen) : isNewHead && chosen === null;
    const wasMissing = missing !== null && missing === chosen;
    if (chosen !== null && !node && (first || wasMissing)) {
      // It may come later while the run goes on.
      missing = chosen;
      panel.showMissing(detail, chosen, known.status === 'running');
    } else if (first || touched || wasMissing) choose(node);
    return true;
  };
  const drawSummary = () => {
    const menu = summary.querySelector('details.actions')?.open ?? false;
    redraw(summary, facts(trace, () => choose(null), actions(trace, menu, hasForks)));
  };

  addEventListener('keydown', keys);
  refresh();
  has(FORKS).then((is) => {
    hasForks = is;
    if (is && trace && !left && !isGone) drawSummary();
  });
  return () => {
    left = true;
    waiting.abort();
    clearTimeout(timer);
    rows.end();
    removeEventListener('keydown', keys);
  };
}

function facts(trace, choose, menu) {
  const fact = (name, value) => (value ? el('div', {}, el('dt', {}, name), el('dd', { title: value.textContent ?? value }, value)) : null);
  const [start, end] = [micros(trace.started_at), micros(trace.ended_at)];
  const session = trace.session_id ? el('a', { href: `#/session/${encodeURIComponent(trace.session_id)}`, dir: 'auto' }, trace.session_id) : null;
  return [
    el('div', { className: 'title' }, el('h1', {}, el('span', { className: 'clamp', title: trace.name ?? '', dir: 'auto' }, runName(trace)), ' ', statusMark(trace), ...marks(trace)), menu),
    trace.error ? el('p', { className: 'error', tabIndex: 0 }, trace.error) : null,
    el(
      'dl',
      {},
      fact('Started', clock(trace.started_at)),
      fact('Duration', start !== null && end !== null ? runDuration(trace) : ''),
      fact('Spans', spanCount(trace, trace.spans.length)),
      fact('Tokens', trace.total_tokens ? number(trace.total_tokens) : null),
      fact('Cost', trace.total_cost ? dollars(trace.total_cost) : null),
      fact('Session', session),
      fact('Project', trace.project_id),
      fact('Id', el('code', {}, trace.id)),
    ),
    el('button', { className: 'small whole', onclick: choose }, 'Input and output of the run'),
  ].filter(Boolean);
}

// What can be done with a run.
function actions(trace, open, hasForks) {
  const path = tracePath(trace.id);
  const name = (trace.name || 'run').replace(/[^\w.-]+/g, '-').slice(0, 60);
  const save = (end, type, from) => async () => {
    const text = await get(from);
    if (text !== null) download(`${name}${end}`, type, text);
  };
  const item = (words, onclick, className) => el('button', { onclick, className: className ?? '' }, words);
  const remove = async () => {
    if (await confirmed('Delete this run? It cannot be undone.', 'Delete') && (await change('DELETE', path))) location.hash = '#/';
  };
  const list = el(
    'div',
    { className: 'menu' },
    hasForks && trace.fork_of ? el('a', { href: `#/compare?${new URLSearchParams({ a: trace.fork_of, b: trace.id })}` }, 'Compare with its origin') : null,
    copyButton('Copy link', () => location.href),
    item('Download run', save('.json', 'application/json', path)),
    hasForks ? item('Download cassette', save('.cassette.jsonl', 'application/x-ndjson', `${path}/cassette`)) : null,
    item('Download OTLP JSON', save('.otlp.json', 'application/json', `${path}/otlp`)),
    item(trace.golden ? 'Not golden any more' : 'Mark as golden', () => change('POST', `${path}/golden`, { golden: !trace.golden })),
    item('Print', () => print()),
    item('Delete', remove, 'danger'),
  );
  return el('details', { className: 'actions', open }, el('summary', {}, 'Actions'), list);
}
