//! Spring AI: `spring.ai.*` beside OpenTelemetry's conventions as they were, where every operation but a model's is
//! `framework`.
//!
//! Keys follow the observation documentation of `org.springframework.ai`.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("spring.ai.kind", Slot::Kind),
        ("spring.ai.chat.client.conversation.id", Slot::SessionId),
        ("spring.ai.chat.client.stream", Slot::Streaming),
        ("spring.ai.tool.definition.name", Slot::ToolName),
        ("spring.ai.tool.call.id", Slot::ToolCallId),
        ("spring.ai.tool.call.arguments", Slot::ToolArguments),
        ("spring.ai.tool.call.result", Slot::ToolResult),
    ],
    marks: &["spring.ai."],
    operation,
    ..Dialect::SILENT
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "tool_call" => Class::Tool,
        "chat_client" => Class::Agent,
        "advisor" | "vector_store" => Class::Action,
        _ => return None,
    })
}
