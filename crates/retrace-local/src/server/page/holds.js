// Calls that wait for somebody's approval.

import { HOLDS, address, change, get } from './api.js';
import { el, redraw } from './element.js';
import { age } from './mark.js';
import { clock, counted, dollars } from './text.js';

const EVERY = 2000;

export function show(root) {
  let left = false;
  let timer = null;
  let shown = null;
  const list = el('ul', { className: 'holds' });
  const empty = el('p', { className: 'empty', hidden: true }, 'No call waits for an approval.');
  const refresh = async () => {
    clearTimeout(timer);
    const text = document.hidden ? null : await get(HOLDS);
    if (left) return;
    if (text !== null && text !== shown) {
      shown = text;
      const holds = JSON.parse(text).holds.toReversed().toSorted((a, b) => (b.status === 'pending') - (a.status === 'pending'));
      redraw(list, holds.map((hold) => one(hold, refresh)));
      empty.hidden = holds.length > 0;
    }
    timer = setTimeout(refresh, EVERY);
  };
  root.append(el('h1', { className: 'hidden' }, 'Holds'), list, empty);
  document.title = 'Holds · Retrace, local';
  refresh();
  return () => {
    left = true;
    clearTimeout(timer);
  };
}

function one(hold, refresh) {
  const { check = {} } = hold;
  const decide = (decision) => async () => {
    await change('POST', `${HOLDS}/${encodeURIComponent(hold.id)}`, { decision });
    refresh();
  };
  const isPending = hold.status === 'pending';
  const run = check.trace_id ?? check.run_id;
  const subject = [check.tool_name, check.model, check.proposed_tokens ? counted(check.proposed_tokens, 'token') : null, check.proposed_usd ? dollars(check.proposed_usd) : null].filter(Boolean).join(', ');
  const element = el(
    'li',
    { className: `hold ${hold.status}` },
    el('h2', {}, subject || 'A call', ' ', el('span', { className: `status ${hold.status}` }, hold.status)),
    el('p', {}, hold.reason ?? ''),
    el('p', { className: 'quiet' }, ...(hold.created_at ? [age(hold.created_at), `, policy ${hold.policy_id ?? 'unnamed'}`] : []), hold.expires_at && isPending ? `, until ${clock(hold.expires_at)}` : ''),
    run ? el('p', {}, el('a', { href: address(run, check.span_id ?? null) }, 'The run')) : null,
    isPending ? el('div', { className: 'buttons' }, el('button', { className: 'primary', onclick: decide('approve') }, 'Approve'), el('button', { className: 'danger', onclick: decide('deny') }, 'Deny')) : null,
  );
  element.dataset.id = hold.id;
  return element;
}
