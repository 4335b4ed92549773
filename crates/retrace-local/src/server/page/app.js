// The page: the part of the address after # says what is shown.

import { onFailure, onKeyNeeded } from './api.js';
import * as list from './list.js';
import * as run from './run.js';

const main = document.getElementById('main');
const notice = document.getElementById('notice');
const dialog = document.getElementById('key');
const keyRefusal = document.getElementById('key-refusal');
const keyText = document.getElementById('key-text');

// Ends what is shown now: its timers, and what it would still draw.
let leave = () => {};

function show() {
  leave();
  main.replaceChildren();
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [kind, ...ids] = path.split('/');
  const [id, spanId] = ids.map(decode);
  leave = kind === 'run' && id ? run.show(main, id, spanId ?? null) : list.show(main, new URLSearchParams(query));
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

onFailure((message) => {
  notice.textContent = message;
});

onKeyNeeded((refusal) => {
  keyText.value = '';
  keyRefusal.textContent = refusal ?? '';
  keyRefusal.hidden = !refusal;
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(keyText.value.trim()), { once: true });
  });
});

addEventListener('hashchange', show);
show();
