// Fork from here: what a span was given, to be changed, and the run executed again from it.

import { FORKS, send } from './api.js';
import { choice, el, field } from './element.js';
import { indented, members } from './text.js';

const EVERY = 500;
const MODES = [['strict', 'strict: a call that differs before this span is refused'], ['lenient', 'lenient: a call that differs is reported'], ['live', 'live: everything is executed again']];
const ENDED = ['completed', 'failed', 'superseded', 'expired'];

// Opens the editor. `parts` are the members of the span as JSON texts.
export function edit(trace, span, parts) {
  const dialog = el('dialog', { className: 'fork', ariaLabel: 'Fork from here' });
  const problem = el('p', { className: 'error', role: 'alert', hidden: true });
  const progress = el('p', { className: 'quiet', role: 'status' });
  let mode = 'strict';
  const fields = span.span_type === 'llm_call' ? modelFields(span, parts) : toolFields(parts);
  const run = el('button', { className: 'primary', type: 'submit' }, 'Fork and run');
  let closed = false;
  const fail = (text) => {
    problem.hidden = !text;
    problem.textContent = text ?? '';
    run.disabled = false;
  };
  const form = el(
    'form',
    {},
    el('h2', {}, `Fork from ${span.name || 'this span'}`),
    el('p', { className: 'quiet' }, 'Everything before it is answered from the recording. The agent has to be connected: retrace::serve([…]) or retrace.serve(…).'),
    ...fields.map((each) => each.element),
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
    const body = { trace_id: trace.id, span_id: span.id, mode, ...(Object.keys(substitutions).length && { substitutions }) };
    const made = await send('POST', FORKS, body);
    if (!made?.ok) return fail(made?.error ?? 'The receiver does not answer.');
    const { id } = JSON.parse(made.text);
    progress.textContent = 'The fork is stored.';
    const started = await send('POST', `${FORKS}/${encodeURIComponent(id)}/replay`, {});
    if (!started?.ok) return fail(started?.error ?? 'The receiver does not answer.');
    await follow(id, progress, () => closed, fail, dialog);
  });
  dialog.append(form);
  dialog.addEventListener('close', () => {
    closed = true;
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}

// Shows how the fork stands until it has ended; then the comparison.
async function follow(id, progress, isClosed, fail, dialog) {
  while (!isClosed()) {
    const answer = await send('GET', `${FORKS}/${encodeURIComponent(id)}`);
    if (!answer?.ok) return fail(answer?.error ?? 'The receiver does not answer.');
    const fork = JSON.parse(answer.text);
    progress.textContent = `The fork is ${fork.status}.`;
    if (ENDED.includes(fork.status)) {
      if (!fork.result_trace_id) return fail(fork.error ?? `It ${fork.status} without a run.`);
      dialog.close();
      location.hash = `#/compare?${new URLSearchParams({ fork: id })}`;
      return undefined;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, EVERY);
    });
  }
  return undefined;
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
