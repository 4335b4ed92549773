//! LiveKit Agents: `lk.*`.
//!
//! Keys follow `livekit.agents.telemetry.trace_types`; content is under `lk.pii.*` since 2026 and was under `lk.*` before. The
//! library also writes part of the GenAI conventions.

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::Nested;
use crate::fields::{FlattenedKey, LeafType};
use crate::json::text_of;
use crate::json::{JsonObject, elements};
use crate::messages::lists;
use crate::messages::provider_message;
use crate::messages::{Parts, Turn, TurnPart};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("lk.agent_name", Field::AgentName),
        ("lk.instructions", Field::SystemInstructions),
        ("lk.pii.instructions", Field::SystemInstructions),
        ("lk.chat_ctx", Field::InputMessages),
        ("lk.pii.chat_ctx", Field::InputMessages),
        ("lk.response.ttft", Field::TimeToFirstChunk),
        ("lk.user_input", Field::Input),
        ("lk.pii.user_input", Field::Input),
        ("lk.input_text", Field::Input),
        ("lk.pii.input_text", Field::Input),
        ("lk.user_transcript", Field::Output),
        ("lk.pii.user_transcript", Field::Output),
        ("lk.function_tool.name", Field::ToolName),
        ("lk.function_tool.id", Field::ToolCallId),
        ("lk.function_tool.args", Field::ToolArguments),
        ("lk.function_tool.arguments", Field::ToolArguments),
        ("lk.pii.function_tool.arguments", Field::ToolArguments),
        ("lk.function_tool.output", Field::ToolResult),
        ("lk.pii.function_tool.output", Field::ToolResult),
        ("lk.tts.streaming", Field::Streaming),
    ],
    nested: &[
        Nested { key: "lk.llm_metrics", members: METRICS },
        Nested { key: "lk.realtime_model_metrics", members: METRICS },
    ],
    flattened: &[
        FlattenedKey { prefix: "lk.response.", field: Field::OutputMessages, paths: ANSWERED },
        FlattenedKey { prefix: "lk.pii.response.", field: Field::OutputMessages, paths: ANSWERED },
    ],
    marks: &["lk."],
    hints: &[
        ("lk.llm_metrics", Class::Model),
        ("lk.realtime_model_metrics", Class::Model),
        ("lk.function_tools", Class::Model),
        ("lk.generation_id", Class::Agent),
        ("lk.instructions", Class::Agent),
        ("lk.pii.instructions", Class::Agent),
        ("lk.agent_name", Class::Agent),
    ],
    turns,
    ..Dialect::EMPTY
};

const METRICS: &[(&str, Field)] = &[
    ("prompt_tokens", Field::InputTokens),
    ("input_tokens", Field::InputTokens),
    ("completion_tokens", Field::OutputTokens),
    ("output_tokens", Field::OutputTokens),
    ("prompt_cached_tokens", Field::CacheReadTokens),
    ("total_tokens", Field::TotalTokens),
    ("request_id", Field::ResponseId),
];

/// Parts of a response.
const ANSWERED: &[(&str, LeafType)] = &[("text", LeafType::Any), ("function_calls", LeafType::Json)];

/// Reads a chat context, `{"items":[…]}`, or the parts of a response.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let Some(members) = JsonObject::read(json) else { return provider_message::messages(json) };
    if let Some(items) = members.list(&["items"]) {
        return lists::each(items, provider_message::message);
    }
    let mut parts = Parts::new();
    parts.extend(members.get(&["text"]).map(|raw| text_of(raw).map_or(TurnPart::Other(raw), TurnPart::Text)));
    if let Some(raw) = members.get(&["function_calls"]) {
        let calls = elements(raw).unwrap_or_else(|| vec![raw]);
        parts.extend(calls.into_iter().map(|call| provider_message::tool_call(call).unwrap_or(TurnPart::Other(call))));
    }
    (!parts.is_empty()).then(|| vec![Turn { role: "assistant".into(), parts, ..Turn::default() }])
}
