// The chosen span, or the run itself: its conversation, data, request and attributes, each fetched when it is looked at.

import { FORKS, get, has, spanPath, tracePath } from './api.js';
import * as conversation from './conversation.js';
import { copyButton, drawTabs, el, redraw, redrawInPlace } from './element.js';
import * as fork from './fork.js';
import { tree } from './json.js';
import { bytes, clock, dollars, members, micros, number } from './text.js';
import { took } from './waterfall.js';

// Content up to this size is fetched as soon as it is looked at; more is fetched on request.
const FETCHED_AT_ONCE = 200_000;
// Bases of requests by provider, as variables of a shell, and the header of the key.
const ANTHROPIC = { url: '$ANTHROPIC_BASE_URL/v1/messages', key: 'x-api-key: $ANTHROPIC_API_KEY', more: ['anthropic-version: 2023-06-01'] };
const OPENAI = { url: '$OPENAI_BASE_URL/chat/completions', key: 'authorization: Bearer $OPENAI_API_KEY', more: [] };

// What is shown: {path, head, bar, content, isLoaded, requests, next}; null when it is no span. `next` is shown when no request is
// under way any more.
let shown = null;
// The part that was looked at last; the next span shows the same.
let tab = null;
// What is drawn into the content now. What was begun before it is not drawn any more.
let drawing = null;
// Whether the receiver is known to fork runs.
let hasForks = false;

// Shows a span of a trace, or the trace itself when `span` is null. What is shown already and has changed stays in its place,
// with its folds and the focus.
export function show(panel, trace, span) {
  const record = span ?? trace;
  const sizes = record.content_bytes ?? {};
  const total = (sizes.input ?? 0) + (sizes.output ?? 0) + (sizes.metadata ?? 0);
  const path = span ? spanPath(trace.id, span.id) : tracePath(trace.id);
  const isShown = shown?.path === path && panel.contains(shown.content);
  if (isShown && shown.requests > 0) {
    shown.next = [trace, span];
    return;
  }
  shown = isShown ? shown : { path, requests: 0, next: null, head: el('div', { className: 'head' }), bar: el('div', { className: 'tabs', role: 'tablist', ariaLabel: 'Parts of the span' }), content: el('div', { className: 'content', role: 'tabpanel' }) };
  const { head, bar, content } = shown;
  let parts = null;
  // The members of the record as JSON texts; null when they cannot be had.
  const fetched = () => {
    parts ??= get(span ? path : `${path}?spans=false`).then((text) => (text === null ? null : new Map(members(text))));
    return parts;
  };
  const isCall = span?.span_type === 'llm_call';
  const tabs = [['messages', span === null || isCall ? 'Conversation' : 'Input and output'], ['data', 'Data'], ...(isCall ? [['request', 'Request']] : []), ['attributes', 'Attributes']];
  // Draws a part; in place when the same part was drawn before.
  const open = (name, isInPlace) => {
    tab = name;
    drawTabs(bar, tabs, name, (name) => open(name, false));
    content.ariaLabel = tabs.find(([each]) => each === name)[1];
    if (!isInPlace) content.replaceChildren(conversation.loading());
    const fill = (...children) => (isInPlace ? redrawInPlace(content, panel, ...children) : content.replaceChildren(...children));
    const draw = async () => {
      const mine = Symbol(name);
      const here = shown;
      drawing = mine;
      here.requests += 1;
      try {
        await DRAW[name]({ content, fill, isInPlace, path, trace, span, fetched, isCurrent: () => drawing === mine });
      } finally {
        here.requests -= 1;
      }
      if (here !== shown || here.requests > 0 || here.next === null) return;
      const next = here.next;
      here.next = null;
      show(panel, ...next);
    };
    if (total <= FETCHED_AT_ONCE || name === 'messages' || (isInPlace && shown.isLoaded)) draw();
    else {
      drawing = null;
      const load = () => {
        shown.isLoaded = true;
        draw();
      };
      fill(el('button', { onclick: load }, `Load ${bytes(total)} of input and output`));
    }
  };
  const title = span ? span.name || el('i', {}, 'unnamed') : 'The run';
  redraw(
    head,
    ...[
      el('div', { className: 'title' }, el('h2', { className: 'clamp', dir: 'auto', title: span?.name ?? '' }, title), span ? tools(trace, span, fetched) : null),
      // That of the run stands above.
      span?.error === undefined ? null : el('pre', { className: 'error', tabIndex: 0 }, span.error.slice(0, 20_000)),
      span ? facts(span) : null,
    ].filter(Boolean),
  );
  const wanted = tabs.some(([name]) => name === tab) ? tab : 'messages';
  if (!isShown) {
    panel.replaceChildren(head, bar, content);
    panel.scrollTop = 0;
  }
  open(wanted, isShown);
}

// States that the run has no such span.
export function showMissing(panel, id, mayCome) {
  [shown, drawing] = [null, null];
  const words = mayCome ? 'The run has no such span yet.' : 'The run has no such span.';
  panel.replaceChildren(el('h2', {}, 'No such span'), el('p', { className: 'quiet', role: 'status' }, words), el('p', {}, el('code', {}, id)));
}

const DRAW = {
  messages({ content, fill, isInPlace, path, trace, isCurrent }) {
    return isInPlace ? conversation.update(fill, path, trace.id, isCurrent) : conversation.load(content, path, trace.id, isCurrent);
  },
  async data({ fill, fetched, isCurrent }) {
    const parts = await loaded(fill, fetched, isCurrent);
    if (!parts) return;
    // An output of `null` is none.
    const names = ['input', 'output'].filter((name) => parts.has(name) && parts.get(name) !== 'null');
    if (names.length === 0) fill(el('p', { className: 'quiet' }, 'No input and no output.'));
    else fill(...names.map((name) => section(name, parts.get(name))));
  },
  async request({ fill, fetched, isCurrent }) {
    const parts = await loaded(fill, fetched, isCurrent);
    if (!parts) return;
    const metadata = new Map(members(parts.get('metadata') ?? '{}'));
    const names = [['sampling', 'Sampling parameters'], ['usage', 'Usage'], ['finish_reasons', 'Finish reasons'], ['tool_schemas', 'Tool schemas'], ['tool_descriptions', 'Tool descriptions'], ['provider_tools', "The provider's tools"]];
    const known = names.filter(([name]) => metadata.has(name));
    if (known.length === 0) fill(el('p', { className: 'quiet' }, 'Nothing is recorded of the request but its messages.'));
    else fill(...known.map(([name, words]) => section(words, metadata.get(name))));
  },
  async attributes({ fill, span, trace, fetched, isCurrent }) {
    const parts = await loaded(fill, fetched, isCurrent);
    if (!parts) return;
    const { content_bytes: _, spans: __, ...head } = span ?? trace;
    fill(section(span ? 'Span' : 'Run', JSON.stringify(head)), ...(parts.has('metadata') ? [section('Metadata', parts.get('metadata'))] : []));
  },
};

// The record, unless something else has been chosen meanwhile.
async function loaded(fill, fetched, isCurrent) {
  const parts = await fetched();
  if (!isCurrent()) return null;
  if (parts === null) fill(el('p', { className: 'quiet' }, 'It cannot be had now.'));
  return parts;
}

function section(name, json) {
  const size = el('span', { className: 'quiet' }, bytes(new Blob([json]).size));
  return el('section', {}, el('h3', {}, name, ' ', size), tree(json));
}

function facts(span) {
  const fact = (name, value) => (value === undefined || value === '' || value === null ? null : el('div', {}, el('dt', {}, name), el('dd', {}, value)));
  return el(
    'dl',
    {},
    fact('Type', span.span_type),
    fact('Model', span.model),
    fact('Started', clock(span.started_at)),
    span.ended_at === undefined ? fact('Ended', 'not yet, as far as is known') : null,
    fact('Duration', took({ span, start: micros(span.started_at), end: micros(span.ended_at) })),
    fact('Tokens in', span.input_tokens === undefined ? undefined : number(span.input_tokens)),
    fact('Tokens out', span.output_tokens === undefined ? undefined : number(span.output_tokens)),
    fact('Cost', span.cost === undefined ? undefined : dollars(span.cost)),
    fact('Agent', span.agent_role ?? span.agent_id),
  );
}

function tools(trace, span, fetched) {
  const bar = el('div', { className: 'tools' }, copyButton('Link', () => location.href));
  if (span.span_type === 'llm_call') bar.append(copyButton('cURL', async () => curl(span, await fetched())));
  if (!['llm_call', 'tool_call'].includes(span.span_type)) return bar;
  const offer = () => bar.append(el('button', { className: 'small primary', onclick: async () => fork.edit(trace, span, await fetched(), await inputOf(trace)) }, 'Fork from here'));
  if (hasForks) offer();
  else {
    has(FORKS).then((is) => {
      hasForks = is;
      if (is) offer();
    });
  }
  return bar;
}

// The input of a run as JSON text; undefined when it has none or cannot be had.
async function inputOf(trace) {
  if (!trace.content_bytes?.input) return undefined;
  const text = await get(`${tracePath(trace.id)}?spans=false`);
  return text === null ? undefined : new Map(members(text)).get('input');
}

// The request of a model call for a shell. Address and key are variables: neither is recorded.
function curl(span, parts) {
  const metadata = JSON.parse(parts?.get('metadata') ?? '{}');
  const input = JSON.parse(parts?.get('input') ?? 'null');
  const isAnthropic = /anthropic/i.test(metadata.provider ?? '') || /^claude/i.test(span.model ?? '');
  const target = isAnthropic ? ANTHROPIC : OPENAI;
  const body = { model: span.model, ...(Array.isArray(input) ? { messages: input } : input), ...metadata.sampling };
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  const headers = ['content-type: application/json', target.key, ...target.more].map((header) => `  -H "${header}" \\`);
  return [`curl "${target.url}" \\`, ...headers, `  -d '${quoted}'`].join('\n');
}
