// Fork from here: what a span was given, to be changed, and the run executed again from it.

import { FORKS, address, send } from './api.js';
import { choice, el, field } from './element.js';
import { indented, items, members } from './text.js';

const MODES = [['strict', 'strict: refuses calls that differ before it'], ['lenient', 'lenient: reports calls that differ before it'], ['live', 'live: executes everything again; only arguments can be changed']];
const NO_ANSWER = 'The receiver does not answer.';
const ENDED = ['completed', 'failed', 'superseded', 'expired'];

// Opens the editor. `parts` are the members of the span as JSON texts, and `input` is the input of the run as JSON text, if any.
export function edit(trace, span, parts, input) {
  const dialog = el('dialog', { className: 'fork', ariaLabel: 'Fork from here' });
  const problem = el('p', { className: 'error', role: 'alert', hidden: true });
  const progress = el('p', { className: 'quiet', role: 'status' });
  let mode = 'strict';
  const fields = span.span_type === 'llm_call' ? modelFields(span, parts) : toolFields(parts);
  const called = json('modified_input', 'Arguments of the run', argumentsOf(input));
  const run = el('button', { className: 'primary', type: 'submit' }, 'Fork and run');
  const closing = new AbortController();
  // The fork that was stored latest, and what it was made of: it is run again when only the run failed.
  let stored = { body: null, id: null };
  const fail = (text) => {
    problem.hidden = !text;
    problem.textContent = text ?? '';
    run.disabled = false;
    if (text) progress.textContent = '';
  };
  const form = el(
    'form',
    {},
    el('h2', {}, `Fork from ${span.name || 'this span'}`),
    el('p', { className: 'quiet' }, 'Everything before it is answered from the recording. The agent has to be connected: retrace::serve([…]) or retrace.serve(…).'),
    ...fields.map((each) => each.element),
    called.element,
    field('Mode', choice(MODES, mode, (value) => {
      mode = value;
    })),
    problem,
    progress,
    el('div', { className: 'buttons' }, el('button', { type: 'button', onclick: () => dialog.close() }, 'Close'), run),
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    run.disabled = true;
    fail(null);
    run.disabled = true;
    const substitutions = {};
    for (const each of fields) {
      const read = each.read();
      if (read.error) return fail(read.error);
      if (read.value !== undefined) substitutions[each.name] = read.value;
    }
    const modified = called.read();
    if (modified.error) return fail(modified.error);
    const body = { trace_id: trace.id, span_id: span.id, mode, ...(modified.value !== undefined && { modified_input: modified.value }), ...(Object.keys(substitutions).length && { substitutions }) };
    const same = JSON.stringify(body);
    if (stored.body !== same) {
      const made = await send('POST', FORKS, body);
      if (!made?.ok) return fail(made?.error ?? NO_ANSWER);
      stored = { body: same, id: JSON.parse(made.text).id };
    }
    const started = await send('POST', `${path(stored.id)}/replay`, {});
    if (!started?.ok) return fail(started?.error ?? NO_ANSWER);
    return follow(JSON.parse(started.text), { progress, fail, dialog, signal: closing.signal });
  });
  dialog.append(form);
  dialog.addEventListener('close', () => {
    closing.abort();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

const path = (id) => `${FORKS}/${encodeURIComponent(id)}`;

// Shows how the fork stands until it has ended; then the comparison. The receiver answers when the fork has changed.
async function follow(fork, { progress, fail, dialog, signal }) {
  while (!ENDED.includes(fork.status)) {
    const run = fork.result_trace_id ? [' ', el('a', { href: address(fork.result_trace_id, null), onclick: () => dialog.close() }, 'Watch the run')] : [];
    progress.replaceChildren(fork.claimed_at ? 'The agent runs the fork.' : 'The fork is sent to the agent.', ...run);
    const answer = await send('GET', `${path(fork.id)}?${new URLSearchParams({ after: fork.version, status: fork.status })}`, undefined, signal);
    if (signal.aborted) return;
    if (!answer?.ok) return fail(answer?.error ?? NO_ANSWER);
    fork = JSON.parse(answer.text);
  }
  if (!fork.result_trace_id) return fail(fork.error ?? `The fork is ${fork.status}, and the agent has recorded no run of it.`);
  dialog.close();
  location.hash = `#/compare?${new URLSearchParams({ fork: fork.id })}`;
}

// A field with JSON in it; what is unchanged is not sent.
function json(name, words, text) {
  const before = indented(text ?? '');
  const area = el('textarea', { value: before, rows: Math.min(16, Math.max(3, before.split('\n').length)), spellcheck: false });
  const read = () => {
    if (area.value.trim() === before.trim() || area.value.trim() === '') return {};
    try {
      return { value: JSON.parse(area.value) };
    } catch (error) {
      area.focus();
      return { error: `${words} is not JSON: ${error.message}` };
    }
  };
  return { name, element: field(words, area), read };
}

function modelFields(span, parts) {
  const input = parts?.get('input');
  const isObject = input?.startsWith('{');
  const messages = isObject ? new Map(members(input)).get('messages') : input?.startsWith('[') ? input : undefined;
  const sampling = new Map(members(parts?.get('metadata') ?? '{}')).get('sampling');
  const model = el('input', { type: 'text', value: span.model ?? '' });
  return [
    json('messages', 'Messages', messages ?? '[]'),
    { name: 'model', element: field('Model', model), read: () => (model.value.trim() && model.value.trim() !== span.model ? { value: model.value.trim() } : {}) },
    json('parameters', 'Parameters', sampling ?? '{}'),
  ];
}

function toolFields(parts) {
  return [json('tool_arguments', 'Arguments', parts?.get('input') ?? 'null'), json('tool_output', 'Result, instead of executing it', parts?.get('output') ?? 'null')];
}

// What can be changed of a recorded call: the arguments by name as an object, or the first argument if it is a string and no
// argument has a name.
function argumentsOf(input) {
  const call = new Map(input?.startsWith('{') ? members(input) : []);
  const isCall = call.size === 2 && call.has('args') && call.has('kwargs');
  const named = isCall ? call.get('kwargs') : '{}';
  if (members(named).length > 0) return named;
  const [first] = isCall ? items(call.get('args')) : [input];
  return first?.startsWith('"') ? first : '{}';
}
