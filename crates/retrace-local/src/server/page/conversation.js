// A conversation as the receiver reads it: messages with parts, and Markdown as a tree of known elements.

import { address, get } from './api.js';
import { copyButton, el } from './element.js';
import { long, tree } from './json.js';
import { number } from './text.js';

// Elements that a tree may hold; anything else is drawn as its content.
const ELEMENTS = new Set(['p', 'h4', 'h5', 'ul', 'ol', 'li', 'blockquote', 'pre', 'code', 'em', 'strong', 'del', 'a', 'table', 'tr', 'th', 'td', 'br', 'hr', 'div', 'span']);
// Roles that have a colour.
const ROLES = ['system', 'developer', 'user', 'assistant', 'tool', 'arguments', 'result'];
// Characters of one code block or text that are drawn at first.
const CHARACTERS = 20_000;

// Fetches a conversation and draws it into `root`, unless something else is shown there by then.
export async function load(root, path, traceId, isCurrent) {
  root.replaceChildren(loading());
  const fill = (...children) => root.replaceChildren(...children);
  if (await update(fill, path, traceId, isCurrent)) return;
  if (isCurrent()) fill(el('button', { onclick: () => load(root, path, traceId, isCurrent) }, 'Try again'));
}

// Fetches a conversation and passes its elements to `fill`; false when it cannot be had, and what is shown stays.
export async function update(fill, path, traceId, isCurrent) {
  const text = await get(`${path}/conversation`);
  if (text === null) return false;
  if (!isCurrent()) return true;
  const { messages } = JSON.parse(text);
  if (messages.length) fill(...messages.map((message) => draw(message, traceId)));
  else fill(el('p', { className: 'quiet' }, 'No input and no output.'));
  return true;
}

export function loading() {
  return el('p', { className: 'quiet' }, 'Loading…');
}

export function draw(message, traceId) {
  const parts = message.parts.map((each) => part(each, traceId));
  const isSystem = message.role === 'system' || message.role === 'developer';
  const title = [el('span', { className: 'role' }, message.name ? `${message.role} · ${message.name}` : message.role), message.is_output && message.role === 'assistant' ? el('span', { className: 'mark' }, 'output') : null];
  const kind = `message from-${ROLES.includes(message.role) ? message.role : 'other'}`;
  if (isSystem) return el('details', { className: kind }, el('summary', {}, ...title, el('span', { className: 'quiet clip' }, beginning(message))), ...parts);
  return el('article', { className: kind }, el('header', {}, ...title, copyButton('Copy', () => message.parts.map(words).join('\n\n'))), ...parts);
}

function part(each, traceId) {
  switch (each.type) {
    case 'text':
      return el('div', { className: 'prose', dir: 'auto' }, each.nodes.map(markdown), each.cut ? el('p', { className: 'quiet' }, `${number(each.cut)} bytes more in the data of this step.`) : null);
    case 'reasoning':
      return el('details', { className: 'reasoning' }, el('summary', {}, 'Reasoning'), el('div', { className: 'prose', dir: 'auto' }, each.nodes.map(markdown)));
    case 'tool_call':
      return call(each, traceId);
    case 'image':
      return picture(each);
    case 'media':
      return el('p', { className: 'media' }, `${each.kind}: `, el('code', {}, each.reference || 'elsewhere'));
    default:
      return tree(JSON.stringify(each.value));
  }
}

function call(each, traceId) {
  const link = each.span_id ? el('a', { href: address(traceId, each.span_id) }, each.name || 'tool') : each.name || 'tool';
  const hasResult = each.result !== undefined && each.result !== null;
  return el(
    'section',
    { className: `call ${each.error ? 'failed' : ''}` },
    el('h4', {}, el('span', { className: 'kind' }), link),
    each.arguments === null ? null : tree(JSON.stringify(each.arguments)),
    each.error ? el('pre', { className: 'error' }, each.error) : null,
    hasResult ? el('details', { open: JSON.stringify(each.result).length < 2000 }, el('summary', {}, 'Result'), answer(each.result, traceId)) : null,
  );
}

// What a tool answered: a text, parts of a message, or data.
function answer(result, traceId) {
  if (typeof result === 'string') return isData(result) ? tree(result.trim()) : el('div', { className: 'prose', dir: 'auto' }, el('pre', {}, long(result, CHARACTERS)));
  const isParts = Array.isArray(result) && result.length > 0 && result.every((each) => each?.type === 'text' && Array.isArray(each.nodes));
  return isParts ? el('div', {}, result.map((each) => part(each, traceId))) : tree(JSON.stringify(result));
}

// Whether a text is a JSON object or list.
function isData(text) {
  if (!/^\s*[[{]/.test(text)) return false;
  try {
    return typeof JSON.parse(text) === 'object';
  } catch {
    return false;
  }
}

// An image, drawn from its bytes: it is not a document, and nothing of it can run or be fetched.
function picture({ mime_type: type, data }) {
  const canvas = el('canvas', { role: 'img', ariaLabel: `Image of type ${type}`, width: 1, height: 1 });
  const note = el('p', { className: 'quiet' });
  decode(data, type).then(
    (bitmap) => {
      const scale = Math.min(1, 640 / bitmap.width);
      canvas.width = Math.max(1, Math.round(bitmap.width * scale));
      canvas.height = Math.max(1, Math.round(bitmap.height * scale));
      canvas.getContext('2d').drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      note.textContent = `${type}, ${number(bitmap.width)} × ${number(bitmap.height)}`;
    },
    () => {
      canvas.hidden = true;
      note.textContent = `An image of type ${type} that cannot be drawn.`;
    },
  );
  return el('figure', {}, canvas, note);
}

async function decode(data, type) {
  const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type }));
}

export function markdown(node) {
  if (typeof node === 'string') return node;
  const [name, ...rest] = node;
  const attributes = rest.length && typeof rest[0] === 'object' && !Array.isArray(rest[0]) ? rest.shift() : {};
  const children = rest.map(markdown);
  if (!ELEMENTS.has(name)) return el('span', {}, children);
  if (name === 'pre') {
    const text = plain(node);
    const language = attributes.language ? el('span', { className: 'language' }, attributes.language) : null;
    return el('div', { className: 'code' }, el('div', { className: 'corner' }, language, copyButton('Copy', () => text)), el('pre', { tabIndex: 0 }, long(text, CHARACTERS)));
  }
  if (name === 'a') return el('a', { href: attributes.href, rel: 'noopener noreferrer', target: '_blank' }, children);
  if (name === 'ol') return el('ol', { start: Number(attributes.start) || 1 }, children);
  if (name === 'table') return el('div', { className: 'wide', tabIndex: 0, role: 'region', ariaLabel: 'Table' }, el('table', {}, children));
  return el(name, {}, children);
}

function plain(node) {
  return typeof node === 'string' ? node : node.slice(1).filter((each) => typeof each === 'string' || Array.isArray(each)).map(plain).join('');
}

function words(each) {
  if (each.nodes) return each.nodes.map(plain).join('\n\n');
  return each.type === 'tool_call' ? `${each.name}(${JSON.stringify(each.arguments)})` : JSON.stringify(each.value ?? '');
}

function beginning(message) {
  return message.parts.map(words).join(' ').slice(0, 160);
}
