//! Spring AI: `spring.ai.*` beside OpenTelemetry's older conventions, with the operation `framework` for everything but models.
//!
//! Keys follow the observation documentation of `org.springframework.ai`.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("spring.ai.kind", Field::Kind),
        ("spring.ai.chat.client.conversation.id", Field::SessionId),
        ("spring.ai.chat.client.stream", Field::Streaming),
        ("spring.ai.tool.definition.name", Field::ToolName),
        ("spring.ai.tool.call.id", Field::ToolCallId),
        ("spring.ai.tool.call.arguments", Field::ToolArguments),
        ("spring.ai.tool.call.result", Field::ToolResult),
    ],
    marks: &["spring.ai."],
    operation,
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "tool_call" => Class::Tool,
        "chat_client" => Class::Agent,
        "advisor" | "vector_store" => Class::Action,
        _ => return None,
    })
}
