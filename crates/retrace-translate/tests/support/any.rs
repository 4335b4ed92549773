//! Spans of any kind, for properties.

use proptest::prelude::*;
use retrace_translate::{Parent, SpanSelection, Value};

use super::{TestSpan, id, span};

/// Text in which everything that has ever broken a reader of JSON is likely.
pub fn nasty_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\0".to_owned()),
        Just(r"\ud800".to_owned()),
        Just(r#""\u0000""#.to_owned()),
        Just("1e999".to_owned()),
        Just("NaN".to_owned()),
        Just("[".repeat(70)),
        Just(r#"{"role":"user","parts":[{"type":"text","content":"x"}]}"#.to_owned()),
        Just(r#"{"type":"tool_call","id":"c","name":"f","arguments":"{\"a\":1}"}"#.to_owned()),
        "[\\[\\]{}\",:a-z0-9\\\\ ]{0,12}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

pub fn any_value() -> impl Strategy<Value = Value<'static>> {
    prop_oneof![
        4 => nasty_text().prop_map(|text| Value::Str(text.into())),
        2 => nasty_text().prop_map(|text| Value::Str(format!("[{text}]").into())),
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<i64>().prop_map(Value::Int),
        1 => any::<f64>().prop_map(Value::Float),
        1 => nasty_text().prop_map(|text| Value::Json(text.into())),
    ]
}

pub const KEYS: &[&str] = &[
    "gen_ai.operation.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.response.id",
    "gen_ai.response.finish_reasons",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.name",
    "gen_ai.tool.call.id",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.agent.name",
    "gen_ai.conversation.id",
    "gen_ai.request.temperature",
    "gen_ai.request.seed",
    "gen_ai.request.stop_sequences",
    "retrace.input",
    "retrace.output",
    "retrace.tags",
    "retrace.token_ids",
    "retrace.logprobs",
    "retrace.metadata.x",
    "retrace.metadata._fork_of",
    "retrace.cost",
    "session.id",
    "error.type",
    "other",
    "",
    "enduser.id",
    "gen_ai.agent.id",
    "gen_ai.completion",
    "gen_ai.openai.request.response_format",
    "gen_ai.openai.request.seed",
    "gen_ai.output.type",
    "gen_ai.prompt",
    "gen_ai.provider.name",
    "gen_ai.request.choice.count",
    "gen_ai.request.frequency_penalty",
    "gen_ai.request.max_tokens",
    "gen_ai.request.presence_penalty",
    "gen_ai.request.stream",
    "gen_ai.request.top_k",
    "gen_ai.request.top_p",
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.retrieval.documents",
    "gen_ai.retrieval.query.text",
    "gen_ai.system",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.completion_tokens",
    "gen_ai.usage.prompt_tokens",
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.workflow.name",
    "mcp.method.name",
    "retrace.agent_id",
    "retrace.agent_role",
    "retrace.input_tokens",
    "retrace.model",
    "retrace.name",
    "retrace.output_tokens",
    "retrace.session_id",
    "retrace.span_type",
    "retrace.tool_call_id",
    "retrace.trace.name",
    "retrace.user_id",
    "user.id",
];

/// A selection: one of those that have a name, or a policy that cuts through the tree anywhere.
pub fn any_selection() -> impl Strategy<Value = SpanSelection> {
    prop_oneof![
        Just(SpanSelection::GenAi),
        Just(SpanSelection::All),
        (1_usize..4, 0_usize..3, any::<bool>()).prop_map(|(every, at, genai)| {
            SpanSelection::policy(move |span| (genai && span.is_genai) || span.name.len() % every == at)
        }),
    ]
}

pub fn any_span() -> impl Strategy<Value = TestSpan> {
    let attributes = prop::collection::vec((prop::sample::select(KEYS), any_value()), 0..10);
    let operation = prop::sample::select(&["chat", "execute_tool", "invoke_agent", "retrieval", "odd", ""][..]);
    (1_u64..12, 0_u64..14, any::<bool>(), 0_u64..40, 0_u64..40, attributes, operation, nasty_text(), any::<u8>())
        .prop_map(|(n, parent, remote, start, end, attributes, operation, name, error)| {
            let mut span = span(n, parent, &name).during(start, end);
            if remote && parent > 10 {
                span.parent = Parent::Remote(id(parent));
            }
            if !operation.is_empty() {
                span = span.with("gen_ai.operation.name", operation);
            }
            for (key, value) in attributes {
                span = span.with_value(key, value.clone());
                span.events.push(("exception".to_owned(), vec![(key.to_owned(), value)]));
            }
            if error < 60 {
                span = span.failed(&name);
            }
            span
        })
}
