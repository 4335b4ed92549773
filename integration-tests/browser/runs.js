// Runs as an agent would send them: usual ones, large ones, and hostile ones.

const DAY = 86_400_000;
// A red dot of 2 by 2 pixels.
const IMAGE = 'iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg==';

export const WICKED = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"><style>*{display:none}</style>';

// A run of an assistant with two agents, tools, a retry, reasoning and an image. `at` is when it began.
export function assistant(id, at, { session = 'booking-17', failed = false, retried = true, model = 'gpt-4o' } = {}) {
  const time = (millis) => new Date(at + millis).toISOString();
  const span = (fields, from, to) => ({ trace_id: id, started_at: time(from), ended_at: time(to), duration_ms: to - from, ...fields });
  const planner = { agent_id: `planner-${id}`, agent_role: 'planner' };
  const researcher = { agent_id: `researcher-${id}`, agent_role: 'researcher', parent_agent_id: `planner-${id}` };
  const messages = [
    { role: 'system', content: 'You book trips. **Never** book twice. Answer in the language of the traveller, briefly, with prices in euro.' },
    { role: 'user', content: [{ type: 'text', text: 'Is it warm enough in Lisbon next week for a day at the beach? Here is the one I mean:' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${IMAGE}` } }] },
    { role: 'assistant', content: '', tool_calls: [{ id: 'c-1', type: 'function', function: { name: 'forecast', arguments: '{"city":"Lisbon","days":7}' } }] },
    { role: 'tool', tool_call_id: 'c-1', content: '{"max":[19,21,22,24,23,20,18],"rain":[0,0,0,0.2,0,1.4,3]}' },
  ];
  const answer = 'Yes: **Thursday** looks best.\n\n| day | max | rain |\n|---|---|---|\n| Wednesday | 22 °C | 0 mm |\n| Thursday | 24 °C | 0.2 mm |\n\n```python\nbest = max(days, key=lambda day: day.max)\n```\n\nShall I book the train to Cascais (4.80 €)?';
  const steps = [
    span({ id: `${id}-root`, parent_id: null, span_type: 'reasoning', name: 'book a trip', ...planner }, 0, 4200),
    span({ id: `${id}-m1`, parent_id: `${id}-root`, span_type: 'llm_call', name: 'chat', model, ...planner, input: { messages: messages.slice(0, 2) }, output: '[tool calls] forecast({"city":"Lisbon","days":7})', input_tokens: 812, output_tokens: 31, cost: 0.0024, metadata: { provider: 'openai', operation: 'chat', sampling: { temperature: 0.2, max_tokens: 800 }, usage: { cache_read_input_tokens: 640 }, tool_calls: [{ id: 'c-1', name: 'forecast', arguments: { city: 'Lisbon', days: 7 } }], tool_schemas: { forecast: { type: 'object', properties: { city: { type: 'string' }, days: { type: 'integer' } } } } } }, 20, 1100),
    span({ id: `${id}-r`, parent_id: `${id}-root`, span_type: 'reasoning', name: 'look it up', ...researcher }, 1120, 2600),
    retried && span({ id: `${id}-t0`, parent_id: `${id}-r`, span_type: 'tool_call', name: 'forecast', ...researcher, input: { city: 'Lisbon', days: 7 }, error: 'TimeoutError: no answer from the weather service within 800 ms', metadata: {} }, 1140, 1940),
    span({ id: `${id}-t1`, parent_id: `${id}-r`, span_type: 'tool_call', name: 'forecast', ...researcher, input: { city: 'Lisbon', days: 7 }, output: { max: [19, 21, 22, 24, 23, 20, 18], rain: [0, 0, 0, 0.2, 0, 1.4, 3] }, metadata: { tool_call_id: 'c-1' } }, 1960, 2580),
    span({ id: `${id}-m2`, parent_id: `${id}-root`, span_type: 'llm_call', name: 'chat', model, ...planner, input: { messages }, output: answer, input_tokens: 1034, output_tokens: 164, cost: 0.0042, metadata: { provider: 'openai', operation: 'chat', sampling: { temperature: 0.2 }, reasoning: 'Thursday is the warmest day, and it hardly rains.', finish_reasons: ['stop'] } }, 2620, 4180),
  ];
  const spans = steps.filter(Boolean);
  if (failed) spans.push(span({ id: `${id}-t2`, parent_id: `${id}-root`, span_type: 'tool_call', name: 'book_train', ...planner, input: { to: 'Cascais' }, error: 'BookingError: the card was declined', metadata: {} }, 4180, 4195));
  return {
    id, name: 'travel assistant', status: failed ? 'failed' : 'completed', started_at: time(0), ended_at: time(4200), total_duration_ms: 4200, total_tokens: 2041, total_cost: 0.0066, session_id: session,
    ...(failed && { error: 'BookingError: the card was declined' }),
    input: { messages: [{ role: 'user', content: 'Is it warm enough in Lisbon next week for a day at the beach?' }] }, output: answer,
    metadata: { environment: 'staging', user_id: 'ana', tags: ['trips', model] }, span_count: spans.length, spans,
  };
}

// A week of runs.
export function week(now) {
  const models = ['gpt-4o', 'claude-sonnet', 'gpt-4o-mini'];
  return Array.from({ length: 60 }, (_, at) => assistant(`run-${at}`, now - at * (DAY / 9) - 60_000, { session: `booking-${at % 12}`, failed: at % 7 === 3, retried: at % 4 === 0, model: models[at % 3] }));
}

// A run of so many spans below each other and beside each other.
export function large(id, at, count) {
  const spans = Array.from({ length: count }, (_, nth) => ({
    id: `s${nth}`, trace_id: id, parent_id: nth === 0 ? null : `s${Math.floor((nth - 1) / 5)}`, span_type: nth % 3 ? 'action' : 'tool_call', name: `step ${nth}`,
    started_at: new Date(at + nth).toISOString(), ended_at: new Date(at + count + nth).toISOString(), duration_ms: count, ...(nth === count - 3 && { error: 'the last but two' }),
  }));
  return { id, name: 'a very large run', status: 'completed', started_at: new Date(at).toISOString(), ended_at: new Date(at + 2 * count).toISOString(), metadata: {}, spans };
}

// A run of which every text is hostile.
export function hostile(id, at) {
  const time = new Date(at).toISOString();
  const deep = JSON.parse(`${'['.repeat(90)}1${']'.repeat(90)}`);
  const rtl = 'שלום ‮gnp.exe مرحبا بالعالم';
  const messages = [
    { role: 'user', content: `${WICKED}\n\n[click](javascript:window.hacked=3) ![x](https://example.invalid/beacon.png)` },
    { role: 'assistant', content: [{ type: 'image', source: { media_type: 'image/svg+xml', data: Buffer.from('<svg onload="window.hacked=4"/>').toString('base64') } }, { type: 'image', source: { media_type: 'image/png', data: '####' } }] },
    { role: WICKED, content: rtl },
  ];
  const span = (fields) => ({ trace_id: id, parent_id: null, started_at: time, ended_at: time, duration_ms: 1, ...fields });
  return {
    id, name: `${WICKED} ${rtl}`, status: 'failed', error: WICKED.repeat(20), started_at: time, ended_at: time, session_id: WICKED, input: { messages }, output: WICKED, metadata: { tags: [WICKED], user_id: rtl },
    spans: [
      span({ id: 'wicked', span_type: 'llm_call', name: WICKED, model: WICKED, agent_id: WICKED, agent_role: WICKED, input: { messages }, output: WICKED, metadata: { tool_calls: [{ id: 'x', name: WICKED, arguments: '{"broken": ' }] } }),
      span({ id: 'huge', span_type: 'tool_call', name: 'ten megabytes', output: `${WICKED} ${'lorem ipsum '.repeat(870_000)}` }),
      span({ id: 'deep', span_type: 'action', name: rtl, input: deep, output: `{"broken": [1, 2` }),
      span({ id: 'circle-a', parent_id: 'circle-b', span_type: 'action', name: 'a' }),
      span({ id: 'circle-b', parent_id: 'circle-a', span_type: 'action', name: 'b' }),
    ],
  };
}
