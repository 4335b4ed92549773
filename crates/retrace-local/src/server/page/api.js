// Talks to the receiver that served this page, and to nobody else.

const KEY = 'retrace-key';
// How long to wait before asking again while the receiver does not answer.
const LATER = 3000;

let ask = async () => '';
let report = () => {};
let asking = null;
// Whether the receiver gave no answer to the latest request.
let isSilent = false;

// Sets what is called when the receiver requires a key, with the reason why it refused the last one, if it did; the callback
// returns a key.
export function onKeyNeeded(callback) {
  ask = callback;
}

// Sets what is given the latest failure, or an empty text when all is well again.
export function onFailure(callback) {
  report = callback;
}

// The text of an answer; null when there is nothing to be had. Failures have been reported then; what `signal` ended is
// none. With `onMissing` a 404 is no failure, and `onMissing` is called.
export async function get(path, signal, onMissing) {
  const answer = await send('GET', path, undefined, signal);
  if (answer === null) return null;
  if (answer.status === 404 && onMissing) {
    onMissing();
    return null;
  }
  if (answer.ok) {
    report('');
    return answer.text;
  }
  report(answer.error);
  return null;
}

// As `send` of a GET, which is repeated until the receiver answers; null when `signal` has ended it.
export async function answered(path, signal) {
  for (;;) {
    const answer = await send('GET', path, undefined, signal);
    if (signal.aborted) return null;
    if (answer !== null) return answer;
    await new Promise((resolve) => {
      setTimeout(resolve, LATER);
    });
  }
}

// As `get`, which is repeated until the receiver answers; null also when `signal` has ended it.
export async function getAtLast(path, signal) {
  const answer = await answered(path, signal);
  if (answer === null) return null;
  report(answer.error);
  return answer.ok ? answer.text : null;
}

// An answer as {ok, status, text, error}; null when there is none, which has been reported then.
export async function send(method, path, body, signal) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(body !== undefined && { 'content-type': 'application/json' }) };
    let response;
    let text;
    try {
      response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
      text = await response.text();
    } catch {
      if (!signal?.aborted) {
        isSilent = true;
        report('The receiver does not answer.');
      }
      return null;
    }
    if (isSilent) report('');
    isSilent = false;
    if (response.status !== 401) {
      const error = response.ok ? '' : (reason(text) ?? `The receiver answered ${response.status}.`);
      return { ok: response.ok, status: response.status, text, error };
    }
    // Several requests may need the key at once; one dialog serves them all.
    asking ??= ask(key ? reason(text) : null).finally(() => {
      asking = null;
    });
    sessionStorage.setItem(KEY, await asking);
  }
}

// Makes a change; true when it was made. A failure has been reported otherwise.
export async function change(method, path, body) {
  const answer = await send(method, path, body);
  if (answer !== null) report(answer.error);
  return answer?.ok === true;
}

const known = new Map();

// Whether the receiver has this part of the API. One answer finds it out.
export function has(path) {
  const forever = new AbortController().signal;
  if (!known.has(path)) known.set(path, answered(path, forever).then((answer) => answer.status !== 404));
  return known.get(path);
}

export const FORKS = '/api/v1/forks';
export const HOLDS = '/api/v1/enforcement/holds';

// Whether a key was entered.
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

export function tracePath(id) {
  return `/api/v1/traces/${encodeURIComponent(id)}`;
}

export function spanPath(traceId, id) {
  return `${tracePath(traceId)}/spans/${encodeURIComponent(id)}`;
}

// The part of this page's address that shows a run, or a span of it.
export function address(id, spanId) {
  return ['#', 'run', id, ...(spanId === null || spanId === undefined ? [] : [spanId])].map((part, at) => (at ? encodeURIComponent(part) : part)).join('/');
}

function reason(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return null;
  }
}
