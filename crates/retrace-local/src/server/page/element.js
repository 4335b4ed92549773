// Elements of the page. Texts become text, never markup.

// Properties that can be set as attributes only.
const ATTRIBUTES = ['role', 'list'];

// An element. What is null is left out.
export function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && !ATTRIBUTES.includes(name)) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// An element of an SVG.
export function svg(tag, attributes, ...children) {
  const element = document.createElementNS(document.getElementById('space').namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const FOCUSABLE = 'a[href], button, input, select, textarea, summary, [tabindex]';

// Replaces what is in `root`. If one in it had the focus, its successor has it: the element with the same words, else the
// one at the same place; within the element of the same `data-id`, if it was in one.
export function redraw(root, ...children) {
  const active = root.contains(document.activeElement) && root !== document.activeElement ? document.activeElement : null;
  const part = active?.closest('[data-id]');
  const id = part && root.contains(part) ? part.dataset.id : null;
  const scope = () => (id === null ? root : ([...root.querySelectorAll('[data-id]')].find((each) => each.dataset.id === id) ?? null));
  const inScope = () => [...(scope()?.querySelectorAll(FOCUSABLE) ?? [])];
  const words = (each) => `${each.localName} ${each.ariaLabel ?? each.textContent}`;
  const at = active ? inScope().indexOf(active) : -1;
  root.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
  if (at < 0) return;
  const all = inScope();
  const isSame = (each) => each !== undefined && words(each) === words(active);
  (isSame(all[at]) ? all[at] : (all.find(isSame) ?? all[at]))?.focus({ preventScroll: true });
}

// As `redraw`; what is folded and open stays so, in the order of the folds, and so does the place of `scroller`.
export function redrawInPlace(root, scroller, ...children) {
  const folds = () => [...root.querySelectorAll('details')];
  const words = (fold) => fold.querySelector('summary')?.textContent;
  const before = folds().map((fold) => [words(fold), fold.open]);
  const top = scroller.scrollTop;
  redraw(root, ...children);
  let from = 0;
  for (const fold of folds()) {
    const at = before.findIndex(([known], at) => at >= from && known === words(fold));
    if (at < 0) continue;
    fold.open = before[at][1];
    from = at + 1;
  }
  scroller.scrollTop = top;
}

// Draws tabs into `bar`; `tabs` are [name, words]. The arrow keys go from one to the next.
export function drawTabs(bar, tabs, chosen, choose) {
  redraw(bar, tabs.map(([name, words]) => el('button', { type: 'button', role: 'tab', ariaSelected: String(name === chosen), tabIndex: name === chosen ? 0 : -1, onclick: () => choose(name) }, words)));
  bar.onkeydown = (event) => {
    const all = [...bar.children];
    const at = all.indexOf(document.activeElement);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const name = tabs[(next + all.length) % all.length][0];
    all[(next + all.length) % all.length].focus();
    choose(name);
  };
}

// A button that copies what `text` gives.
export function copyButton(label, text) {
  const button = el('button', { className: 'small', type: 'button' }, label);
  button.addEventListener('click', async () => {
    const copied = await navigator.clipboard.writeText(await text()).then(() => true, () => false);
    button.textContent = copied ? 'Copied' : 'Not allowed';
    setTimeout(() => {
      button.textContent = label;
    }, 1500);
  });
  return button;
}

// Hands a text to the browser as a file.
export function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = el('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// A field with its label.
export function field(label, control) {
  return el('label', { className: 'field' }, el('span', {}, label), control);
}

// A choice; `options` are [value, words].
export function choice(options, chosen, onchange, label) {
  const select = el('select', { ariaLabel: label ?? null, onchange: () => onchange(select.value) });
  select.append(...options.map(([value, words]) => el('option', { value, selected: value === chosen }, words)));
  return select;
}

// Asks before something is done that cannot be undone.
export function confirmed(question, action) {
  const dialog = el('dialog', { className: 'confirm' });
  const close = (value) => el('button', { value, className: value === 'yes' ? 'danger' : '' }, value === 'yes' ? action : 'Cancel');
  dialog.append(el('form', { method: 'dialog' }, el('p', {}, question), el('div', { className: 'buttons' }, close('no'), close('yes'))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
  });
}
