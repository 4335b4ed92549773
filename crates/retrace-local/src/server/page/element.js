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
