// JSON that can be folded, with all its digits.

import { copyButton, el } from './element.js';
import { bytes, counted, indented, items, members, number } from './text.js';

// Members that are drawn at first, and with every further step.
const STEP = 100;
// Characters of a string that are drawn at first.
const CHARACTERS = 2000;
// Values up to this size are open from the beginning.
const OPEN = 4000;

// A JSON text as a tree, with a button that copies it.
export function tree(json) {
  const copy = copyButton('Copy', () => indented(json));
  return el('div', { className: 'json' }, el('div', { className: 'corner' }, copy), node(null, json, json.length <= OPEN ? 2 : 1));
}

function node(name, json, open) {
  const label = name === null ? null : el('span', { className: 'key' }, `${name}: `);
  const kind = json[0];
  if (kind !== '{' && kind !== '[') return el('div', { className: 'leaf' }, label, leaf(json));
  const isList = kind === '[';
  const size = json.length > 1000 ? `, ${bytes(json.length)}` : '';
  const body = el('div', { className: 'inside' });
  let children = null;
  const fill = () => {
    if (children) return;
    children = isList ? items(json).map((item, at) => [at, item]) : members(json);
    more(0);
  };
  const more = (from) => {
    body.append(...children.slice(from, from + STEP).map(([key, value]) => node(key, value, open - 1)));
    const rest = children.length - from - STEP;
    if (rest > 0) {
      const button = el('button', { className: 'small', onclick: () => {
        button.remove();
        more(from + STEP);
      } }, `${number(rest)} more`);
      body.append(button);
    }
  };
  const count = isList ? items(json.slice(0, 100_000)).length : members(json.slice(0, 100_000)).length;
  if (count === 0) return el('div', { className: 'leaf' }, label, isList ? '[]' : '{}');
  const isCut = json.length > 100_000;
  const counting = isCut ? `${number(count)}+ ${isList ? 'items' : 'members'}` : counted(count, isList ? 'item' : 'member');
  const words = `${isList ? '[' : '{'} ${counting}${size} ${isList ? ']' : '}'}`;
  const details = el('details', {}, el('summary', {}, label, el('span', { className: 'quiet' }, words)), body);
  details.addEventListener('toggle', () => {
    if (details.open) fill();
  });
  if (open > 0) {
    fill();
    details.open = true;
  }
  return details;
}

function leaf(json) {
  if (json[0] !== '"') return el('span', { className: 'literal' }, json);
  let text = json;
  try {
    text = JSON.parse(json);
  } catch {
    // Shown as it is.
  }
  return long(text, CHARACTERS);
}

// A text of any length, of which a part is drawn and the rest on request.
export function long(text, first) {
  const block = el('span', { className: 'string', dir: 'auto' }, text.slice(0, first));
  if (text.length <= first) return block;
  let drawn = first;
  const more = el('button', { className: 'small', onclick: () => {
    block.append(text.slice(drawn, drawn + 200_000));
    drawn += 200_000;
    label();
  } });
  const label = () => {
    more.hidden = text.length <= drawn;
    more.textContent = `Show more (${number(Math.max(0, text.length - drawn))} characters left)`;
  };
  label();
  return el('span', {}, block, ' ', more);
}
