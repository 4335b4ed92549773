// From a list of spans to a tree to draw. Pure: no page, no clock.

import { micros } from './text.js';

// The spans as nodes {span, start, end, depth, children}, and the time from the first start to the last end.
//
// While the run goes on, `now` is the end of what has not ended.
//
// A span whose parent is not among them stands at the top, and so does one of every circle of parents.
export function build(trace, now) {
  const nodes = trace.spans.map((span) => node(span));
  const byId = new Map(nodes.map((node) => [node.span.id, node]));
  const top = [];
  for (const node of nodes) {
    const parent = byId.get(node.span.parent_id);
    (parent && parent !== node ? parent.children : top).push(node);
  }
  const seen = new Set();
  const roots = [...top];
  top.forEach((root) => walk(root, seen));
  for (const node of nodes) {
    if (!seen.has(node)) {
      const parent = byId.get(node.span.parent_id);
      parent.children = parent.children.filter((child) => child !== node);
      roots.push(node);
      walk(node, seen);
    }
  }
  const begin = least([micros(trace.started_at), ...nodes.map((node) => node.start)]);
  // A run of which no end is known has at least its beginning.
  const end = greatest([begin, now, micros(trace.ended_at), ...nodes.map((node) => node.end ?? node.start)]);
  return { roots: sorted(roots), nodes, begin, end };
}

function node(span) {
  const start = micros(span.started_at);
  let end = micros(span.ended_at);
  if (end === null && start !== null && span.duration_ms !== undefined) end = start + span.duration_ms * 1000;
  return { span, start, end, depth: 0, children: [] };
}

// Sets depths and order below `root`, and notes everything it reaches. No recursion: a run may be as deep as it is long.
function walk(root, seen) {
  const stack = [root];
  seen.add(root);
  while (stack.length) {
    const node = stack.pop();
    node.children = sorted(node.children);
    for (const child of node.children) {
      if (seen.has(child)) continue;
      child.depth = node.depth + 1;
      seen.add(child);
      stack.push(child);
    }
  }
}

// By start; who has none stays where it was sent.
function sorted(nodes) {
  return nodes.toSorted((a, b) => (a.start ?? 0) - (b.start ?? 0));
}

function least(times) {
  return times.reduce((least, time) => (time !== null && (least === null || time < least) ? time : least), null);
}

function greatest(times) {
  return times.reduce((most, time) => (time !== null && (most === null || time > most) ? time : most), null);
}

// The nodes that are in sight when those in `closed` hide what is below them, from top to bottom.
export function inSight(roots, closed) {
  const rows = [];
  const stack = roots.toReversed();
  while (stack.length) {
    const node = stack.pop();
    rows.push(node);
    if (!closed.has(node.span.id)) stack.push(...node.children.toReversed());
  }
  return rows;
}
