// What is found out about a tree of spans. Pure: no page, no clock. No recursion: a run may be as deep as it is long.

// Adds to each node {tokens, cost, failures}: of it and of all below.
export function sum(roots) {
  const order = [];
  const stack = [...roots];
  while (stack.length) {
    const node = stack.pop();
    order.push(node);
    stack.push(...node.children);
  }
  for (const node of order.toReversed()) {
    const { span } = node;
    node.tokens = (span.input_tokens ?? 0) + (span.output_tokens ?? 0);
    node.cost = span.cost ?? 0;
    node.failures = span.error === undefined ? 0 : 1;
    for (const child of node.children) {
      node.tokens += child.tokens;
      node.cost += child.cost;
      node.failures += child.failures;
    }
  }
}

// The spans that the run could not have ended without: of each, from its end back, those below that ended last.
export function criticalPath(roots) {
  const path = new Set();
  const last = roots.reduce((last, root) => (root.end !== null && root.end > (last?.end ?? -1) ? root : last), null);
  const stack = last ? [last] : [];
  while (stack.length) {
    const node = stack.pop();
    path.add(node);
    let before = node.end;
    const ended = node.children.filter((child) => child.start !== null && child.end !== null).toSorted((a, b) => b.end - a.end);
    for (const child of ended) {
      // A microsecond is all that clocks agree on.
      if (child.end > before + 1 || path.has(child)) continue;
      stack.push(child);
      before = child.start;
    }
  }
  return path;
}

// For spans that do again what a sibling before them failed at: which try they are.
export function retries(roots) {
  const tries = new Map();
  const lists = [roots];
  while (lists.length) {
    const siblings = lists.pop();
    const failed = new Map();
    for (const node of siblings) {
      const key = `${node.span.span_type}\n${node.span.name}\n${node.span.model ?? ''}`;
      if (failed.has(key)) tries.set(node, failed.get(key) + 1);
      if (node.span.error === undefined) failed.delete(key);
      else failed.set(key, (failed.get(key) ?? 0) + 1);
      if (node.children.length) lists.push(node.children);
    }
  }
  return tries;
}

// The agents of a run as {agents, edges}: who did how much, and who handed over to whom how often.
export function agents(nodes) {
  const found = new Map();
  const edges = new Map();
  const byId = new Map(nodes.map((node) => [node.span.id, node]));
  const agent = (id, role) => {
    if (!found.has(id)) found.set(id, { id, role: role ?? id, spans: 0, calls: 0, tokens: 0, cost: 0, errors: 0, depth: 0 });
    const entry = found.get(id);
    if (role) entry.role = role;
    return entry;
  };
  const hand = (from, to) => {
    if (from === to) return;
    const key = `${from}\n${to}`;
    edges.set(key, { from, to, count: (edges.get(key)?.count ?? 0) + 1 });
  };
  for (const { span } of nodes) {
    if (!span.agent_id) continue;
    const entry = agent(span.agent_id, span.agent_role);
    entry.spans += 1;
    entry.calls += span.span_type === 'llm_call' ? 1 : 0;
    entry.tokens += (span.input_tokens ?? 0) + (span.output_tokens ?? 0);
    entry.cost += span.cost ?? 0;
    entry.errors += span.error === undefined ? 0 : 1;
    const parent = byId.get(span.parent_id)?.span;
    if (parent?.agent_id && parent.agent_id !== span.agent_id) hand(parent.agent_id, span.agent_id);
    else if (span.parent_agent_id && !parent?.agent_id) {
      agent(span.parent_agent_id, null);
      hand(span.parent_agent_id, span.agent_id);
    }
  }
  level(found, [...edges.values()]);
  return { agents: [...found.values()], edges: [...edges.values()] };
}

// Sets how many hand-overs away from a beginning an agent is; those that go in circles stand where they are reached first.
function level(found, edges) {
  const reached = new Set(edges.map((edge) => edge.to));
  let now = [...found.keys()].filter((id) => !reached.has(id));
  if (now.length === 0) now = [...found.keys()].slice(0, 1);
  const seen = new Set(now);
  for (let depth = 0; now.length; depth += 1) {
    for (const id of now) found.get(id).depth = depth;
    now = edges.filter((edge) => now.includes(edge.from) && !seen.has(edge.to)).map((edge) => edge.to);
    now.forEach((id) => seen.add(id));
    now = [...new Set(now)];
  }
}
