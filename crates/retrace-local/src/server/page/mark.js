// What is written about a run wherever it is named.

import { address } from './api.js';
import { el } from './element.js';
import { ago, clock, duration, micros, number } from './text.js';

export function runName(trace) {
  return trace.name ? trace.name : el('i', {}, 'unnamed');
}

export function statusMark(trace) {
  if (trace.live === false) {
    const title = 'Its client is disconnected and has not sent its end; it goes on when the client connects again';
    return el('span', { className: 'status interrupted', title }, 'interrupted');
  }
  const status = trace.status ?? (trace.ended_at ? 'ended' : 'unknown');
  return el('span', { className: `status ${status}`, title: trace.error ?? '' }, status);
}

// What a reader should know before trusting that a run is whole.
export function marks(trace) {
  const mark = (is, kind, name, title) => (is ? el('span', { className: `mark ${kind}`, title }, name) : null);
  const failed = trace.failed_spans;
  return [
    mark(failed, 'warn', `${number(failed ?? 0)} failed`, 'Spans of this run that have an error'),
    mark(trace.kept_for_failure, 'warn', 'kept for failure', 'Not sampled: sent only because something in it failed'),
    trace.fork_of === undefined ? null : el('a', { className: 'mark fork', href: address(trace.fork_of, null), title: `A fork of the run ${trace.fork_of}, which has the steps before the fork point` }, 'fork'),
    mark(trace.replayed, 'replayed', 'replayed', 'A recording has answered calls of it, which cost nothing'),
    mark(trace.golden, 'golden', 'golden', 'Marked as the run that later ones are compared with'),
    mark(trace.lossy, 'warn', 'lossy', 'The client lost track of parts of this run'),
    mark(trace.terminated_early, 'warn', 'cut short', 'The end was made up, not seen'),
  ];
}

// How long ago something was; `refreshAges` keeps it true.
export function age(text) {
  return text ? el('time', { dateTime: text, title: clock(text) }, ago(text)) : '';
}

// Writes the ages in `root` anew.
export function refreshAges(root) {
  for (const each of root.querySelectorAll('time')) each.textContent = ago(each.dateTime);
}

export function spanCount(trace, stored) {
  // More than the client counts are stored where other services have added theirs.
  if (trace.span_count === undefined || trace.span_count <= stored) return number(stored);
  const title = 'Stored here, and sent by the client';
  return el('span', { className: 'mark warn', title }, `${number(stored)} of ${number(trace.span_count)}`);
}

export function runDuration(trace) {
  if (trace.total_duration_ms) return duration(trace.total_duration_ms * 1000);
  const [start, end] = [micros(trace.started_at), micros(trace.ended_at)];
  return start !== null && end !== null ? duration(Math.max(0, end - start)) : '';
}
