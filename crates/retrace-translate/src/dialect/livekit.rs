//! LiveKit Agents: `lk.*`.
//!
//! Keys follow `livekit.agents.telemetry.trace_types`; what may be content stands under `lk.pii.*` since 2026 and under
//! `lk.*` before. The library writes the GenAI conventions too, in part.

use super::{Class, Dialect};
use crate::fields::Nested;
use crate::fields::Slot;
use crate::fields::{Indexed, Leaf};
use crate::json::text_of;
use crate::json::{Members, elements};
use crate::messages::lists;
use crate::messages::provider_message;
use crate::messages::{Part, Parts, Turn};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("lk.agent_name", Slot::AgentName),
        ("lk.instructions", Slot::SystemInstructions),
        ("lk.pii.instructions", Slot::SystemInstructions),
        ("lk.chat_ctx", Slot::InputMessages),
        ("lk.pii.chat_ctx", Slot::InputMessages),
        ("lk.response.ttft", Slot::TimeToFirstChunk),
        ("lk.user_input", Slot::Input),
        ("lk.pii.user_input", Slot::Input),
        ("lk.input_text", Slot::Input),
        ("lk.pii.input_text", Slot::Input),
        ("lk.user_transcript", Slot::Output),
        ("lk.pii.user_transcript", Slot::Output),
        ("lk.function_tool.name", Slot::ToolName),
        ("lk.function_tool.id", Slot::ToolCallId),
        ("lk.function_tool.args", Slot::ToolArguments),
        ("lk.function_tool.arguments", Slot::ToolArguments),
        ("lk.pii.function_tool.arguments", Slot::ToolArguments),
        ("lk.function_tool.output", Slot::ToolResult),
        ("lk.pii.function_tool.output", Slot::ToolResult),
        ("lk.tts.streaming", Slot::Streaming),
    ],
    nested: &[
        Nested { key: "lk.llm_metrics", members: METRICS },
        Nested { key: "lk.realtime_model_metrics", members: METRICS },
    ],
    indexed: &[
        Indexed { prefix: "lk.response.", slot: Slot::OutputMessages, paths: ANSWERED },
        Indexed { prefix: "lk.pii.response.", slot: Slot::OutputMessages, paths: ANSWERED },
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
    ..Dialect::SILENT
};

const METRICS: &[(&str, Slot)] = &[
    ("prompt_tokens", Slot::InputTokens),
    ("input_tokens", Slot::InputTokens),
    ("completion_tokens", Slot::OutputTokens),
    ("output_tokens", Slot::OutputTokens),
    ("prompt_cached_tokens", Slot::CacheReadTokens),
    ("total_tokens", Slot::TotalTokens),
    ("request_id", Slot::ResponseId),
];

/// The pieces of one answer.
const ANSWERED: &[(&str, Leaf)] = &[("text", Leaf::Any), ("function_calls", Leaf::Json)];

/// Reads a chat context, `{"items":[…]}`, or the pieces of an answer.
fn turns(json: &str) -> Option<Vec<Turn<'_>>> {
    let Some(members) = Members::read(json) else { return provider_message::messages(json) };
    if let Some(items) = members.list(&["items"]) {
        return lists::each(items, provider_message::message);
    }
    let mut parts = Parts::new();
    parts.extend(members.get(&["text"]).map(|raw| text_of(raw).map_or(Part::Other(raw), Part::Text)));
    if let Some(raw) = members.get(&["function_calls"]) {
        let calls = elements(raw).unwrap_or_else(|| vec![raw]);
        parts.extend(calls.into_iter().map(|call| provider_message::tool_call(call).unwrap_or(Part::Other(call))));
    }
    (!parts.is_empty()).then(|| vec![Turn { role: "assistant".into(), parts, ..Turn::default() }])
}
