// The chosen span, or the run itself: what is known about it, and its input, output and metadata when they are wanted.

import { get, spanPath, tracePath } from './api.js';
import { bytes, clock, dollars, duration, el, indented, members, number } from './text.js';

// Content up to this size is fetched as soon as its span is chosen; more is fetched when asked for.
const FETCHED_AT_ONCE = 200_000;
// Characters of one content that are drawn at first, and with every further step.
const STEP = 20_000;
// Content up to this size is looked into for messages.
const READ_AS_MESSAGES = 1_000_000;

let latest = null;

// Shows a span of a trace, or the trace itself when `span` is null.
export function show(panel, trace, span) {
  const record = span ?? trace;
  const sizes = record.content_bytes ?? {};
  const total = (sizes.input ?? 0) + (sizes.output ?? 0) + (sizes.metadata ?? 0);
  const content = el('div', { className: 'content' });
  const parts = [
    el('h2', {}, span ? span.name || el('i', {}, 'unnamed') : 'The run'),
    record.error === undefined ? null : el('pre', { className: 'error' }, record.error),
    span ? facts(span) : null,
    content,
  ];
  panel.replaceChildren(...parts.filter(Boolean));
  latest = content;
  const path = span ? spanPath(trace.id, span.id) : `${tracePath(trace.id)}?spans=false`;
  if (total === 0) content.append(el('p', { className: 'quiet' }, 'No input, output or metadata.'));
  else if (total <= FETCHED_AT_ONCE) load(content, path);
  else content.append(el('button', { onclick: () => load(content, path) }, `Load ${bytes(total)} of input and output`));
}

async function load(content, path) {
  content.replaceChildren(el('p', { className: 'quiet' }, 'Loading…'));
  const text = await get(path);
  // Another span may have been chosen meanwhile.
  if (content !== latest) return;
  if (text === null) {
    content.replaceChildren(el('button', { onclick: () => load(content, path) }, 'Try again'));
    return;
  }
  const found = new Map(members(text));
  // An output of `null` is none.
  const parts = ['input', 'output', 'metadata'].filter((name) => found.has(name) && found.get(name) !== 'null');
  content.replaceChildren(...parts.map((name) => section(name, found.get(name))));
}

function facts(span) {
  const fact = (name, value) => (value === undefined || value === '' ? null : el('div', {}, el('dt', {}, name), el('dd', {}, value)));
  const sum = span.duration_ms === undefined ? undefined : duration(span.duration_ms * 1000);
  return el(
    'dl',
    {},
    fact('Type', span.span_type),
    fact('Model', span.model),
    fact('Started', clock(span.started_at)),
    span.ended_at === undefined ? fact('Ended', 'not yet, as far as is known') : fact('Ended', clock(span.ended_at)),
    fact('Duration', sum),
    fact('Tokens in', span.input_tokens === undefined ? undefined : number(span.input_tokens)),
    fact('Tokens out', span.output_tokens === undefined ? undefined : number(span.output_tokens)),
    fact('Cost', span.cost === undefined ? undefined : dollars(span.cost)),
    fact('Agent', span.agent_id),
    fact('Agent role', span.agent_role),
    fact('Above it', span.parent_agent_id),
    fact('Id', el('code', {}, span.id)),
  );
}

function section(name, json) {
  const readable = json.length <= READ_AS_MESSAGES ? asMessages(json) : null;
  const body = el('div', {});
  const size = el('span', { className: 'quiet' }, bytes(new Blob([json]).size));
  const title = el('h3', {}, name, ' ', size);
  const asJson = () => body.replaceChildren(long(json.startsWith('"') ? asText(json) : indented(json)));
  if (readable) {
    const draw = () => body.replaceChildren(...readable.map(message));
    let plain = true;
    const toggle = el('button', { className: 'toggle', onclick: () => {
      plain = !plain;
      toggle.textContent = plain ? 'as JSON' : 'as text';
      if (plain) draw();
      else asJson();
    } }, 'as JSON');
    title.append(toggle);
    draw();
  } else asJson();
  return el('section', {}, title, body);
}

function message({ role, text }) {
  return el('div', { className: 'message' }, el('span', { className: 'role' }, role), long(text));
}

// Text of any length, of which a part is drawn and the rest when it is asked for.
function long(text) {
  const block = el('pre', {}, text.slice(0, STEP));
  let drawn = STEP;
  if (text.length <= drawn) return block;
  const more = el('button', { onclick: () => {
    block.append(text.slice(drawn, drawn + STEP * 10));
    drawn += STEP * 10;
    label();
  } });
  const label = () => {
    more.hidden = text.length <= drawn;
    more.textContent = `Show more (${number(Math.max(0, text.length - drawn))} characters left)`;
  };
  label();
  return el('div', {}, block, more);
}

function asText(json) {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

// The messages of a conversation as {role, text}, or null when this is something else.
function asMessages(json) {
  let value;
  try {
    value = JSON.parse(json);
  } catch {
    return null;
  }
  const messages = Array.isArray(value) ? value : value?.messages;
  const extra = Array.isArray(value) || !value ? 1 : Object.keys(value).length;
  if (!Array.isArray(messages) || messages.length === 0 || extra > 2) return null;
  const read = messages.map((message) => ({ role: message?.role, text: messageText(message) }));
  return read.every(({ role, text }) => typeof role === 'string' && text !== null) ? read : null;
}

function messageText(message) {
  const content = message?.content ?? message?.parts;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return null;
  const parts = content.map((part) => part?.text ?? part?.content);
  return parts.every((part) => typeof part === 'string') ? parts.join('\n') : null;
}
