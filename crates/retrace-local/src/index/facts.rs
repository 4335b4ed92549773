//! Facts of a run for filters, orders and figures.

use std::borrow::Cow;
use std::collections::BTreeMap;

use retrace_protocol::{Status, Timestamp, Trace};
use serde::Deserialize;
use serde_json::Value;

use super::Words;

/// Largest number of indexed values of one kind; more are ignored.
const PARTS: usize = 200;
/// Longest indexed value, in bytes.
const VALUE_BYTES: usize = 200;

/// Kind of a part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartKind {
    Session,
    User,
    Environment,
    Model,
    Tool,
    Agent,
    Tag,
}

impl PartKind {
    /// All kinds, each at the place of its number in the database.
    pub(crate) const ALL: [Self; 7] =
        [Self::Session, Self::User, Self::Environment, Self::Model, Self::Tool, Self::Agent, Self::Tag];

    /// Returns the kind's name in the database and in query parameters.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Environment => "environment",
            Self::Model => "model",
            Self::Tool => "tool",
            Self::Agent => "agent",
            Self::Tag => "tag",
        }
    }

    /// Returns the kind's number in packed usage.
    pub(crate) const fn as_byte(self) -> u8 {
        self as u8
    }

    /// Returns the kind with this number.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// Returns true if runs call parts of this kind, so that they have usage.
    pub(crate) const fn is_called(self) -> bool {
        matches!(self, Self::Model | Self::Tool | Self::Agent)
    }
}

/// Usage of one model, tool or agent in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cost: f64,
    pub(crate) micros: u64,
}

/// The indexed facts of a run.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) started_micros: Option<i64>,
    pub(crate) status: Option<Status>,
    pub(crate) name: String,
    pub(crate) micros: Option<u64>,
    pub(crate) tokens: u64,
    pub(crate) cost: f64,
    pub(crate) spans: u64,
    pub(crate) failed_spans: u64,
    pub(crate) has_error: bool,
    pub(crate) bytes: u64,
    pub(crate) parts: BTreeMap<(PartKind, String), Usage>,
}

/// Members of a span's head that the index uses.
#[derive(Deserialize)]
struct SpanHead<'a> {
    #[serde(borrow)]
    span_type: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    model: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cost: Option<f64>,
    agent_id: Option<String>,
    agent_role: Option<String>,
    duration_ms: Option<u64>,
    error: Option<String>,
}

impl Facts {
    /// Reads the facts of the trace. `metadata` is its JSON text.
    pub(crate) fn of_trace(trace: &Trace, metadata: Option<&str>, words: &mut Words) -> Self {
        let metadata = metadata.and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        let start = trace.started_at.as_ref().and_then(Timestamp::unix_micros);
        let end = trace.ended_at.as_ref().and_then(Timestamp::unix_micros);
        let duration = trace.total_duration_ms.filter(|millis| *millis > 0).map(|millis| millis.saturating_mul(1000));
        let mut facts = Self {
            started_micros: start.and_then(|micros| i64::try_from(micros).ok()),
            status: trace.status,
            name: trace.name.as_deref().map(clipped).unwrap_or_default().to_owned(),
            micros: duration.or_else(|| Some(end?.saturating_sub(start?))),
            tokens: trace.total_tokens.unwrap_or(0),
            cost: trace.total_cost.unwrap_or(0.0),
            has_error: trace.error.is_some() || trace.status == Some(Status::Failed),
            ..Self::default()
        };
        let stated = [
            (PartKind::Session, trace.session_id.as_deref()),
            (PartKind::User, text("user_id")),
            (PartKind::Environment, text("environment")),
        ];
        for (kind, value) in stated {
            facts.part(kind, value.unwrap_or_default(), Usage::default());
        }
        for tag in metadata.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            facts.part(PartKind::Tag, tag, Usage::default());
        }
        words.add(trace.name.as_deref().unwrap_or_default());
        words.add(trace.error.as_deref().unwrap_or_default());
        facts
    }

    /// Adds a span by its head. An invalid head counts as a span without further facts.
    pub(crate) fn add_span(&mut self, head: &str, words: &mut Words) {
        self.spans += 1;
        let Ok(span) = serde_json::from_str::<SpanHead<'_>>(head) else { return };
        let failed = span.error.is_some();
        let usage = Usage {
            calls: 1,
            errors: u64::from(failed),
            input_tokens: span.input_tokens.unwrap_or(0),
            output_tokens: span.output_tokens.unwrap_or(0),
            cost: span.cost.unwrap_or(0.0),
            micros: span.duration_ms.unwrap_or(0).saturating_mul(1000),
        };
        self.failed_spans += u64::from(failed);
        self.has_error |= failed;
        if let Some(model) = &span.model {
            self.part(PartKind::Model, model, usage);
        }
        if span.span_type == "tool_call" {
            self.part(PartKind::Tool, &span.name, usage);
        }
        if let Some(agent) = span.agent_role.as_ref().or(span.agent_id.as_ref()) {
            self.part(PartKind::Agent, agent, usage);
        }
        words.add(&span.name);
        words.add(span.error.as_deref().unwrap_or_default());
    }

    /// Sets the totals of the spans if the run has none.
    pub(crate) fn finish(&mut self) {
        let models = || self.parts.iter().filter(|((kind, _), _)| *kind == PartKind::Model).map(|(_, usage)| usage);
        if self.tokens == 0 {
            self.tokens = models().map(|usage| usage.input_tokens.saturating_add(usage.output_tokens)).sum();
        }
        if self.cost == 0.0 {
            self.cost = models().map(|usage| usage.cost).sum();
        }
        if !self.cost.is_finite() {
            self.cost = 0.0;
        }
    }

    fn part(&mut self, kind: PartKind, value: &str, more: Usage) {
        let is_full = self.parts.len() >= PARTS * 4;
        let key = (kind, clipped(value).to_owned());
        if value.is_empty() || (is_full && !self.parts.contains_key(&key)) {
            return;
        }
        let usage = self.parts.entry(key).or_default();
        usage.calls += more.calls;
        usage.errors += more.errors;
        usage.input_tokens = usage.input_tokens.saturating_add(more.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(more.output_tokens);
        usage.cost += more.cost;
        usage.micros = usage.micros.saturating_add(more.micros);
    }
}

fn clipped(text: &str) -> &str {
    text.get(..text.floor_char_boundary(VALUE_BYTES)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_number() {
        for kind in PartKind::ALL {
            assert_eq!(PartKind::from_byte(kind.as_byte()), Some(kind));
        }
        assert_eq!(PartKind::from_byte(7), None);
    }

    #[test]
    fn a_run_is_found_by_what_its_spans_used() {
        let mut words = Words::default();
        let trace = Trace { name: Some("agent".into()), ..Trace::started("t".into(), "2026-01-02T03:04:05Z".into()) };
        let metadata = r#"{"environment":"test","user_id":"u","tags":["a","b"],"other":1}"#;
        let mut facts = Facts::of_trace(&trace, Some(metadata), &mut words);
        for head in [
            r#"{"span_type":"llm_call","name":"chat","model":"m","input_tokens":3,"output_tokens":4,"cost":0.5,"duration_ms":7}"#,
            r#"{"span_type":"tool_call","name":"find","error":"no","agent_id":"x","agent_role":"planner"}"#,
            "broken",
        ] {
            facts.add_span(head, &mut words);
        }
        facts.finish();
        let of = |kind, value: &str| facts.parts.get(&(kind, value.to_owned())).copied().unwrap();
        assert_eq!((facts.spans, facts.failed_spans, facts.has_error), (3, 1, true));
        assert_eq!(facts.tokens, 7);
        assert_eq!(of(PartKind::Model, "m").micros, 7000);
        assert_eq!((of(PartKind::Tool, "find").errors, of(PartKind::Agent, "planner").calls), (1, 1));
        for (kind, value) in [(PartKind::Environment, "test"), (PartKind::User, "u"), (PartKind::Tag, "b")] {
            assert_eq!(of(kind, value), Usage::default());
        }
        assert!(!facts.parts.keys().any(|(kind, _)| *kind == PartKind::Session), "the trace has none");
        assert_eq!(words.into_text(), "agent\nchat\nfind\nno\n");
    }
}
