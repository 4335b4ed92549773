//! Claude Code: spans named `claude_code.*`, whose attributes have no namespace, beside a few of OpenTelemetry's conventions.
//!
//! Names and attributes follow "Traces (beta)" of its monitoring documentation (`code.claude.com/docs/en/monitoring-usage`).
//! The attributes of the event `tool.output` are not part of that page; they follow spans of version 2.1.138. Input tokens
//! exclude cached tokens. The attributes of detailed tracing, such as `new_context`, are not part of the documented schema
//! and stay attributes.

use super::{Class, Dialect};
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    spans: &["claude_code."],
    own: &[
        ("span.type", Slot::Kind),
        ("user_prompt", Slot::Input),
        ("model", Slot::Model),
        ("input_tokens", Slot::InputTokens),
        ("output_tokens", Slot::OutputTokens),
        ("cache_read_tokens", Slot::CacheReadTokens),
        ("cache_creation_tokens", Slot::CacheCreationTokens),
        ("stop_reason", Slot::FinishReasons),
        ("ttft_ms", Slot::FirstChunkMillis),
        ("request_id", Slot::ResponseId),
        ("agent_id", Slot::AgentId),
        ("workflow.name", Slot::WorkflowName),
        ("error", Slot::StatusMessage),
        ("tool_name", Slot::ToolName),
        ("tool_use_id", Slot::ToolCallId),
        ("full_command", Slot::ToolArguments),
        ("bash_command", Slot::ToolArguments),
        ("output", Slot::ToolResult),
    ],
    cache_beside: true,
    events: &["tool.output"],
    operation,
    named: |span| operation(span.strip_prefix("claude_code.")?),
    ..Dialect::SILENT
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "llm_request" => Class::Model,
        "tool" => Class::Tool,
        "interaction" => Class::Agent,
        // Parts of a call of a tool, and programs that run beside it.
        "tool.execution" | "tool.blocked_on_user" | "hook" => Class::Action,
        _ => return None,
    })
}
