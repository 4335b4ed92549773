//! Spans: one step of a run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::present;
use crate::{Id, Json, Timestamp};

/// What a span is (PROTOCOL.md section 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanType {
    /// A call of a model.
    LlmCall,
    /// A tool that a model asked for, or that ran.
    ToolCall,
    /// What a tool answered.
    ToolResult,
    /// An agent, a workflow, or a step of planning.
    Reasoning,
    /// Anything else that was done.
    Action,
    /// A failure noted on its own.
    Error,
    /// A place where a run can be forked.
    ForkPoint,
}

impl SpanType {
    /// All of them, in the order of PROTOCOL.md.
    pub const ALL: [Self; 7] =
        [Self::LlmCall, Self::ToolCall, Self::ToolResult, Self::Reasoning, Self::Action, Self::Error, Self::ForkPoint];

    /// The value on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LlmCall => "llm_call",
            Self::ToolCall => "tool_call",
            Self::ToolResult => "tool_result",
            Self::Reasoning => "reasoning",
            Self::Action => "action",
            Self::Error => "error",
            Self::ForkPoint => "fork_point",
        }
    }

    /// The type that this wire value names.
    #[must_use]
    pub fn from_wire(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == value)
    }
}

/// A span: the data of a `span_started` event (PROTOCOL.md section 5.2), and an element of `spans` in an uploaded trace
/// (section 9.1).
///
/// The fields from `ended_at` on are those of a span that is already complete. Absent means unknown; `output` alone tells
/// `null` (`Some(Json::null())`: the step returned nothing) from absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// This span.
    pub id: Id,
    /// The trace it belongs to.
    pub trace_id: Id,
    /// The span around it; always written, `null` for a span at the top.
    #[serde(default)]
    pub parent_id: Option<Id>,
    /// What it is.
    pub span_type: SpanType,
    /// What it is called; may be empty.
    pub name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// The model, for a call of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Json>,
    /// Tokens in, cached ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens out, reasoning included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// A JSON object; the keys with a meaning are in [`crate::metadata`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// The agent that did this (section 15). Many spans of a run share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<Arc<str>>,
    /// The agent above that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_agent_id: Option<Arc<str>>,
    /// The agent's role or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<Arc<str>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What it returned.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// How long it took, in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Why it failed; a span failed exactly when this is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Ids of the tokens the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<i64>>,
    /// Log-probability of each of those tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<f64>>,
}

impl Span {
    /// A span that has begun and of which nothing else is known.
    #[must_use]
    pub fn new(id: Id, trace_id: Id, span_type: SpanType, name: impl Into<String>, started_at: Timestamp) -> Self {
        Self {
            id,
            trace_id,
            parent_id: None,
            span_type,
            name: name.into(),
            started_at,
            model: None,
            input: None,
            input_tokens: None,
            output_tokens: None,
            cost: None,
            metadata: None,
            agent_id: None,
            parent_agent_id: None,
            agent_role: None,
            ended_at: None,
            output: None,
            duration_ms: None,
            error: None,
            token_ids: None,
            logprobs: None,
        }
    }

    /// Lays an end over the span, field by field: what the end does not say stays (sections 5.3 and 9.1).
    pub fn apply(&mut self, end: SpanEnded) {
        self.ended_at = Some(end.ended_at);
        replace(&mut self.output, end.output);
        replace(&mut self.duration_ms, end.duration_ms);
        replace(&mut self.output_tokens, end.output_tokens);
        replace(&mut self.cost, end.cost);
        replace(&mut self.error, end.error);
    }

    /// The `span_ended` event that goes with this span; `None` while it has not ended.
    ///
    /// `output` is always said there, `null` when the span has none.
    #[must_use]
    pub fn to_ended(&self) -> Option<SpanEnded> {
        Some(SpanEnded {
            id: self.id.clone(),
            trace_id: Some(self.trace_id.clone()),
            ended_at: self.ended_at.clone()?,
            output: Some(self.output.clone().unwrap_or_else(Json::null)),
            duration_ms: self.duration_ms,
            output_tokens: self.output_tokens,
            cost: self.cost,
            error: self.error.clone(),
        })
    }
}

/// The data of a `span_ended` event (PROTOCOL.md section 5.3).
///
/// The same span may end twice; the last end holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEnded {
    /// The span.
    pub id: Id,
    /// Its trace; older clients leave it out, and the receiver remembers it from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Id>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What it returned; written even when it is `null`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// How long it took, in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Tokens out, when the span was sent complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// US dollars, when the span was sent complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Overwrites `old` when there is something to overwrite it with.
pub(crate) fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_value_of_each_type_is_what_serde_writes() {
        for span_type in SpanType::ALL {
            assert_eq!(serde_json::to_value(span_type).unwrap(), span_type.as_str());
            assert_eq!(SpanType::from_wire(span_type.as_str()), Some(span_type));
        }
        assert_eq!(SpanType::from_wire("LLM_CALL"), None);
    }

    #[test]
    fn an_end_overwrites_only_what_it_says() {
        let at = Timestamp::from_unix_micros(1);
        let mut span = Span::new("s".into(), "t".into(), SpanType::ToolCall, "look", at.clone());
        span.cost = Some(0.5);
        span.output = Some(Json::text("old"));
        let end = |output| SpanEnded {
            id: "s".into(),
            trace_id: None,
            ended_at: at.clone(),
            output,
            duration_ms: Some(3),
            output_tokens: None,
            cost: None,
            error: None,
        };
        span.apply(end(None));
        assert_eq!((span.cost, span.duration_ms), (Some(0.5), Some(3)));
        assert_eq!(span.output, Some(Json::text("old")));
        span.apply(end(Some(Json::null())));
        assert_eq!(span.output, Some(Json::null()), "null is an answer");
    }

    #[test]
    fn null_is_absent_but_for_output() {
        let json = r#"{"id":"s","trace_id":"t","parent_id":null,"span_type":"action","name":"","started_at":"x",
            "input":null,"cost":null,"error":null,"output":null,"metadata":null,"ended_at":null}"#;
        let span: Span = serde_json::from_str(json).unwrap();
        assert_eq!(
            serde_json::to_string(&span).unwrap(),
            r#"{"id":"s","trace_id":"t","parent_id":null,"span_type":"action","name":"","started_at":"x","output":null}"#
        );
    }
}
