// The page: the part of the address after # names what is shown.

import { FORKS, HOLDS, has, onFailure, onKeyNeeded } from './api.js';
import * as compare from './compare.js';
import { el } from './element.js';
import * as forks from './forks.js';
import * as holds from './holds.js';
import * as list from './list.js';
import { refreshAges } from './mark.js';
import * as numbers from './numbers.js';
import * as run from './run.js';
import * as sessions from './sessions.js';

const main = document.getElementById('main');
const views = document.getElementById('views');
const notice = document.getElementById('notice');
const dialog = document.getElementById('key');
const keyRefusal = document.getElementById('key-refusal');
const keyText = document.getElementById('key-text');
const keys = document.getElementById('keys');

// Views by the first part of the address; each returns what ends it.
const VIEWS = {
  '': (query) => list.show(main, query),
  run: (query, id, spanId) => run.show(main, id, spanId ?? null, query),
  sessions: (query) => sessions.show(main, query),
  session: (query, id) => sessions.showOne(main, id),
  numbers: (query) => numbers.show(main, query),
  compare: (query) => compare.show(main, query),
  forks: (query) => forks.show(main, query),
  holds: () => holds.show(main),
};

// Ends what is shown now: its timers, and what it would still draw.
let leave = () => {};
let current = '';
let isFork = false;
// Views that are part of another one.
const PARTS = { run: '', compare: '', session: 'sessions' };

function show() {
  leave();
  main.replaceChildren();
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const [kind, ...ids] = path.split('/');
  const draw = Object.hasOwn(VIEWS, kind) ? VIEWS[kind] : unknown;
  leave = draw(new URLSearchParams(query), ...ids.map(decode)) ?? (() => {});
  current = kind;
  isFork = new URLSearchParams(query).has('fork');
  markView();
}

// States that the address leads nowhere.
function unknown() {
  document.title = 'No such view · Retrace, local';
  main.append(el('div', { className: 'empty' }, el('h1', {}, 'No such view'), el('p', {}, 'The address leads to no view of this page: ', el('code', {}, location.hash)), el('p', {}, el('a', { href: '#/' }, 'Show all runs'))));
}

// Marks the link to the view that is shown.
function markView() {
  const part = current === 'compare' && isFork ? 'forks' : (PARTS[current] ?? current);
  for (const link of views.children) {
    const isCurrent = link.dataset.view === part;
    if (isCurrent) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function view(name, words) {
  const link = el('a', { href: `#/${name}` }, words);
  link.dataset.view = name;
  return link;
}

// What only some receivers have is shown when it is there.
async function more() {
  if (await has(FORKS)) views.append(view('forks', 'Forks'));
  if (await has(HOLDS)) views.append(view('holds', 'Holds'));
  markView();
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

let went = 0;
addEventListener('keydown', (event) => {
  const isTyping = event.target.closest('input, textarea, select, dialog');
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === '?') keys.showModal();
  else if (event.key === '/') {
    const search = document.querySelector('[type=search]');
    if (!search) return;
    event.preventDefault();
    search.focus();
  } else if (event.key === 'g') went = event.timeStamp;
  else if (event.timeStamp - went < 1000) {
    const to = { r: '', s: 'sessions', n: 'numbers', f: 'forks', h: 'holds' }[event.key];
    if ([...views.children].some((link) => link.dataset.view === to)) location.hash = `#/${to}`;
  }
});

// A menu closes where something else is clicked, and by Escape.
const openMenu = () => document.querySelector('details.actions[open]');
addEventListener('click', (event) => {
  const menu = openMenu();
  if (menu && !event.composedPath().includes(menu)) menu.open = false;
});
addEventListener('keydown', (event) => {
  const menu = openMenu();
  if (event.key !== 'Escape' || !menu || event.target.closest('dialog')) return;
  menu.open = false;
  menu.querySelector('summary').focus();
});

document.querySelector('.skip').addEventListener('click', (event) => {
  // The address stays that of the view.
  event.preventDefault();
  main.focus();
});
document.getElementById('help').addEventListener('click', () => keys.showModal());
// Ages stay true while nothing else is drawn.
setInterval(() => refreshAges(main), 10_000);
views.append(view('', 'Runs'), view('sessions', 'Sessions'), view('numbers', 'Numbers'));
addEventListener('hashchange', show);
show();
more();
