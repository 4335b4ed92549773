// Talks to the receiver that served this page, and to nobody else.

const KEY = 'retrace-key';

let ask = async () => '';
let report = () => {};
let asking = null;

// Sets what is called when the receiver wants a key, with what it said about the one it got if it got one; it answers
// with a key.
export function onKeyNeeded(callback) {
  ask = callback;
}

// Sets what is told the latest failure, or an empty text when all is well again.
export function onFailure(callback) {
  report = callback;
}

// The text of an answer; null when there is nothing to be had. Failures have been reported then; what `signal` ended is
// none.
export async function get(path, signal) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    let response;
    let text;
    try {
      response = await fetch(path, { headers: key ? { authorization: `Bearer ${key}` } : {}, signal });
      text = await response.text();
    } catch {
      if (signal?.aborted) return null;
      report('The receiver does not answer.');
      return null;
    }
    if (response.ok) {
      report('');
      return text;
    }
    if (response.status !== 401) {
      report(reason(text) ?? `The receiver answered ${response.status}.`);
      return null;
    }
    // Several requests may need the key at once; it is asked for once.
    asking ??= ask(key ? reason(text) : null).finally(() => {
      asking = null;
    });
    sessionStorage.setItem(KEY, await asking);
  }
}

// Whether a key was asked for and given.
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

export function tracePath(id) {
  return `/api/v1/traces/${encodeURIComponent(id)}`;
}

export function spanPath(traceId, id) {
  return `${tracePath(traceId)}/spans/${encodeURIComponent(id)}`;
}

function reason(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return null;
  }
}
