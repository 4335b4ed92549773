//! Claude Code: spans named `claude_code.*`, whose attributes have no namespace, beside a few of OpenTelemetry's conventions.
//!
//! Names and attributes follow "Traces (beta)" of its monitoring documentation (`code.claude.com/docs/en/monitoring-usage`).
//! The attributes of the event `tool.output` are not part of that page; they follow spans of version 2.1.138. Input tokens
//! exclude cached tokens. The attributes of detailed tracing, such as `new_context`, are not part of the documented schema
//! and stay attributes.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    spans: &["claude_code."],
    own: &[
        ("span.type", Field::Kind),
        ("user_prompt", Field::Input),
        ("model", Field::Model),
        ("input_tokens", Field::InputTokens),
        ("output_tokens", Field::OutputTokens),
        ("cache_read_tokens", Field::CacheReadTokens),
        ("cache_creation_tokens", Field::CacheCreationTokens),
        ("stop_reason", Field::FinishReasons),
        ("ttft_ms", Field::FirstChunkMillis),
        ("request_id", Field::ResponseId),
        ("agent_id", Field::AgentId),
        ("workflow.name", Field::WorkflowName),
        ("error", Field::StatusMessage),
        ("tool_name", Field::ToolName),
        ("tool_use_id", Field::ToolCallId),
        ("full_command", Field::ToolArguments),
        ("bash_command", Field::ToolArguments),
        ("output", Field::ToolResult),
    ],
    input_excludes_cache: true,
    events: &["tool.output"],
    operation,
    named: |span| operation(span.strip_prefix("claude_code.")?),
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "llm_request" => Class::Model,
        "tool" => Class::Tool,
        "interaction" => Class::Agent,
        // Phases of a tool call, and programs that run beside it.
        "tool.execution" | "tool.blocked_on_user" | "hook" => Class::Action,
        _ => return None,
    })
}
