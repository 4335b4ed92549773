//! Microsoft's Agent Framework and AG2: what they write beside OpenTelemetry's conventions.
//!
//! The workflow spans of the Agent Framework follow `python/packages/core/agent_framework/observability.py` of its repository.
//! `ag2.*` follows `tracing/OTEL_GENAI_CONVENTION_AG2.md` of AG2. AutoGen's spans of agents and tools follow the conventions;
//! its spans of messages between agents, `autogen process ...`, are no GenAI spans.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[("ag2.span.type", Field::Kind), ("agent_framework.function.name", Field::ToolName)],
    scopes: &["agent_framework"],
    own: &[("workflow.name", Field::WorkflowName), ("executor.id", Field::EntityName)],
    named,
    marks: &["ag2.", "agent_framework."],
    operation,
    ..Dialect::EMPTY
};

fn operation(kind: &str) -> Option<Class> {
    Some(match kind {
        "llm" => Class::Model,
        "tool" => Class::Tool,
        "conversation" | "agent" => Class::Agent,
        "handoff" => Class::Action,
        _ => return None,
    })
}

fn named(span: &str) -> Option<Class> {
    let begins = |begin: &str| span.starts_with(begin);
    if begins("workflow.run") || begins("executor.process") {
        return Some(Class::Agent);
    }
    let is_plumbing = ["workflow.build", "edge_group.process", "message.send"].into_iter().any(begins);
    is_plumbing.then_some(Class::Action)
}
