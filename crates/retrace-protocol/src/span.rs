//! Spans: steps of a run.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::json::{is_unknown, present};
use crate::{Id, Json, Timestamp};

/// Type of a span (PROTOCOL.md section 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanType {
    /// Call of a model.
    LlmCall,
    /// Tool call, requested by a model or executed.
    ToolCall,
    /// Result of a tool.
    ToolResult,
    /// Agent, workflow or planning step.
    Reasoning,
    /// Any other action.
    Action,
    /// A failure recorded by itself.
    Error,
    /// A point from which a run can be forked.
    ForkPoint,
}

impl SpanType {
    /// All types, in the order of PROTOCOL.md.
    pub const ALL: [Self; 7] =
        [Self::LlmCall, Self::ToolCall, Self::ToolResult, Self::Reasoning, Self::Action, Self::Error, Self::ForkPoint];

    /// Returns the wire value.
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

    /// Reads a wire value; returns `None` for an unknown one.
    #[must_use]
    pub fn from_wire(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str() == value)
    }
}

/// A span: the data of a `span_started` event (PROTOCOL.md section 5.2), and an element of `spans` in an uploaded trace
/// (section 9.1).
///
/// The fields from `ended_at` on are those of a completed span. An absent field is unknown; only `output` distinguishes `null`
/// (`Some(Json::null())`: the step returned nothing) from absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Id of the span.
    pub id: Id,
    /// Id of its trace.
    pub trace_id: Id,
    /// Id of the parent span; `null` is written for a span at the top.
    #[serde(default)]
    pub parent_id: Option<Id>,
    /// Type.
    pub span_type: SpanType,
    /// Name; may be empty.
    pub name: String,
    /// Start time.
    pub started_at: Timestamp,
    /// Model of a model call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Input; `null` is not written.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub input: Option<Json>,
    /// Input tokens, including cached ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Output tokens, including reasoning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Cost in US dollars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// A JSON object; the keys with a meaning are in [`crate::metadata`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Json>,
    /// Agent that acts (section 15). Many spans of a run share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<Arc<str>>,
    /// Agent that called it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_agent_id: Option<Arc<str>>,
    /// Role or name of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_role: Option<Arc<str>>,
    /// End time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Output.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Duration in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Error; a span has failed if and only if it is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Ids of the tokens that the model wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<i64>>,
    /// Log probability of each of those tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Vec<f64>>,
}

impl Span {
    /// Creates a span that has begun.
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

    /// Merges an end into the span; absent fields of the end leave the span unchanged (sections 5.3 and 9.1).
    pub fn apply(&mut self, end: SpanEnded) {
        self.ended_at = Some(end.ended_at);
        replace(&mut self.output, end.output);
        replace(&mut self.duration_ms, end.duration_ms);
        replace(&mut self.output_tokens, end.output_tokens);
        replace(&mut self.cost, end.cost);
        replace(&mut self.error, end.error);
    }

    /// Returns the `span_ended` event of the span; `None` if it has not ended.
    ///
    /// The event always has an `output`, `null` if the span has none.
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
/// A span may end twice; the last end holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpanEnded {
    /// Id of the span.
    pub id: Id,
    /// Id of its trace; older clients omit it, and the receiver knows it from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<Id>,
    /// End time.
    pub ended_at: Timestamp,
    /// Output; `null` is written.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Duration in whole milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Output tokens, if the span was sent complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Cost in US dollars, if the span was sent complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Replaces `old` if `new` is present.
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
    fn an_end_overwrites_only_its_own_fields() {
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

    #[test]
    fn an_input_of_null_is_not_written() {
        let json = r#"{"id":"s","trace_id":"t","parent_id":null,"span_type":"action","name":"","started_at":"x"}"#;
        let mut span: Span = serde_json::from_str(json).unwrap();
        span.input = Some(Json::null());
        assert_eq!(serde_json::to_string(&span).unwrap(), json);
        let trace = crate::Trace { input: Some(Json::null()), ..crate::Trace::default() };
        assert!(!serde_json::to_string(&trace).unwrap().contains("input"));
    }
}
