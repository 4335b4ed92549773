//! Rows of records in the store.
//!
//! A record is split in two: its *content* (input, output, metadata), any JSON of any size, and its *head*, the other
//! fields, as the JSON object that the protocol crate writes. Lists and trees use the head; the content of a record is
//! read only on request. The database parses neither, so a new field of the protocol requires no new column, and
//! records are read back as sent.

use retrace_protocol::{Id, Json, Span, SpanEnded, Status, Timestamp, Trace, write};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Fields;

/// The parts of a record that may be large, each as JSON text; `None` if absent, which differs from `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) input: Option<Json>,
    pub(crate) output: Option<Json>,
    pub(crate) metadata: Option<Json>,
}

/// Capacity for a typical head, in bytes.
const HEAD_BYTES: usize = 512;

/// Names of the content fields in the protocol, in the order of [`Content`].
const CONTENT: [&str; 3] = ["input", "output", "metadata"];

/// A trace without its spans.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TraceRow {
    pub(crate) id: Id,
    /// Start time in microseconds since 1970 UTC, the order of lists.
    pub(crate) started_micros: Option<i64>,
    pub(crate) status: Option<Status>,
    pub(crate) head: String,
    pub(crate) content: Content,
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpanRow {
    pub(crate) id: Id,
    /// True if the span has an error.
    pub(crate) failed: bool,
    pub(crate) head: String,
    pub(crate) content: Content,
}

impl TraceRow {
    /// Creates the row of the trace `id`, without its spans.
    pub(crate) fn new(id: Id, mut trace: Trace) -> Result<Self, serde_json::Error> {
        trace.spans = None;
        let content =
            Content { input: trace.input.take(), output: trace.output.take(), metadata: trace.metadata.take() };
        let micros = trace.started_at.as_ref().and_then(Timestamp::unix_micros);
        Ok(Self {
            head: write::to_string(&trace)?,
            started_micros: micros.and_then(|micros| i64::try_from(micros).ok()),
            status: trace.status,
            id,
            content,
        })
    }
}

impl SpanRow {
    /// Creates the row of a span.
    pub(crate) fn new(span: Span) -> Result<Self, serde_json::Error> {
        let ended = EndedSpan { span: &span, ends: &[] };
        let (head, failed) = (ended.head()?, ended.failed());
        let content = Content { input: span.input, output: span.output, metadata: span.metadata };
        Ok(Self { id: span.id, failed, head, content })
    }
}

/// A span with ends that are applied to it in their order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedSpan<'a> {
    pub(crate) span: &'a Span,
    pub(crate) ends: &'a [&'a SpanEnded],
}

impl<'a> EndedSpan<'a> {
    /// Returns the head of the ended span.
    pub(crate) fn head(self) -> Result<String, serde_json::Error> {
        let mut head = String::with_capacity(HEAD_BYTES);
        write::append(&mut head, &self)?;
        Ok(head)
    }

    /// Returns input, output and metadata of the ended span.
    pub(crate) fn content(self) -> [Option<&'a str>; 3] {
        let Span { input, output, metadata, .. } = self.span;
        [input.as_ref(), self.latest(|end| end.output.as_ref(), output.as_ref()), metadata.as_ref()]
            .map(|json| json.map(Json::as_str))
    }

    /// Returns true if the ended span has an error.
    pub(crate) fn failed(self) -> bool {
        self.latest(|end| end.error.as_ref(), self.span.error.as_ref()).is_some()
    }

    fn latest<T>(self, of_end: impl Fn(&'a SpanEnded) -> Option<T>, of_span: Option<T>) -> Option<T> {
        self.ends.iter().rev().find_map(|end| of_end(end)).or(of_span)
    }
}

/// Serializes the head only.
impl Serialize for EndedSpan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn field<S: SerializeStruct>(
            head: &mut S,
            name: &'static str,
            value: Option<&(impl Serialize + ?Sized)>,
        ) -> Result<(), S::Error> {
            value.map_or(Ok(()), |value| head.serialize_field(name, value))
        }
        // Without `..`, so that a new field is not forgotten here.
        let Span {
            id,
            trace_id,
            parent_id,
            span_type,
            name,
            started_at,
            model,
            input: _,
            input_tokens,
            output_tokens,
            cost,
            metadata: _,
            agent_id,
            parent_agent_id,
            agent_role,
            ended_at,
            output: _,
            duration_ms,
            error,
            token_ids,
            logprobs,
        } = self.span;
        let mut head = serializer.serialize_struct("Span", 18)?;
        head.serialize_field("id", id)?;
        head.serialize_field("trace_id", trace_id)?;
        head.serialize_field("parent_id", parent_id)?;
        head.serialize_field("span_type", span_type)?;
        head.serialize_field("name", name)?;
        head.serialize_field("started_at", started_at)?;
        field(&mut head, "model", model.as_ref())?;
        field(&mut head, "input_tokens", input_tokens.as_ref())?;
        field(&mut head, "output_tokens", self.latest(|end| end.output_tokens.as_ref(), output_tokens.as_ref()))?;
        field(&mut head, "cost", self.latest(|end| end.cost.as_ref(), cost.as_ref()))?;
        field(&mut head, "agent_id", agent_id.as_ref())?;
        field(&mut head, "parent_agent_id", parent_agent_id.as_ref())?;
        field(&mut head, "agent_role", agent_role.as_ref())?;
        field(&mut head, "ended_at", self.latest(|end| Some(&end.ended_at), ended_at.as_ref()))?;
        field(&mut head, "duration_ms", self.latest(|end| end.duration_ms.as_ref(), duration_ms.as_ref()))?;
        field(&mut head, "error", self.latest(|end| end.error.as_ref(), error.as_ref()))?;
        field(&mut head, "token_ids", token_ids.as_ref())?;
        field(&mut head, "logprobs", logprobs.as_ref())?;
        head.end()
    }
}

impl Content {
    /// Rebuilds the trace from `head` and this content, without spans.
    pub(crate) fn into_trace(self, head: &str) -> Result<Trace, serde_json::Error> {
        let trace: Trace = serde_json::from_str(head)?;
        Ok(Trace { input: self.input, output: self.output, metadata: self.metadata, ..trace })
    }

    /// Rebuilds the fields from `head` and this content.
    pub(crate) fn into_fields(self, head: &str) -> Result<Fields, serde_json::Error> {
        let mut fields: Fields = serde_json::from_str(head)?;
        for (name, json) in CONTENT.into_iter().zip([self.input, self.output, self.metadata]) {
            fields.extend(json.map(|json| (name.to_owned(), json)));
        }
        Ok(fields)
    }

    /// Splits fields into a head and its content.
    pub(crate) fn split(mut fields: Fields) -> Result<(String, Self), serde_json::Error> {
        let [input, output, metadata] = CONTENT.map(|name| fields.remove(name));
        Ok((write::to_string(&fields)?, Self { input, output, metadata }))
    }

    /// Rebuilds the span from `head` and this content.
    pub(crate) fn into_span(self, head: &str) -> Result<Span, serde_json::Error> {
        let span: Span = serde_json::from_str(head)?;
        Ok(Span { input: self.input, output: self.output, metadata: self.metadata, ..span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbitrary;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_are_written_as_serde_json_writes_them(span in arbitrary::span("t".into()), trace in arbitrary::trace()) {
            prop_assert_eq!(write::to_string(&span).unwrap(), serde_json::to_string(&span).unwrap());
            prop_assert_eq!(write::to_string(&trace).unwrap(), serde_json::to_string(&trace).unwrap());
        }

        #[test]
        fn the_head_of_an_ended_span_is_that_of_the_merged_one(
            span in arbitrary::span("t".into()),
            others in prop::collection::vec(arbitrary::span("t".into()), 0..3),
        ) {
            let ends: Vec<SpanEnded> = others
                .into_iter()
                .map(|Span { id, started_at: ended_at, output, duration_ms, output_tokens, cost, error, .. }| {
                    SpanEnded { id, trace_id: None, ended_at, output, duration_ms, output_tokens, cost, error }
                })
                .collect();
            let ended = EndedSpan { span: &span, ends: &ends.iter().collect::<Vec<_>>() };
            let mut merged = span.clone();
            ends.iter().for_each(|end| merged.apply(end.clone()));
            let content = [&merged.input, &merged.output, &merged.metadata].map(|json| json.as_ref().map(Json::as_str));
            prop_assert_eq!((ended.content(), ended.failed()), (content, merged.error.is_some()));
            let bare = Span { input: None, output: None, metadata: None, ..merged.clone() };
            prop_assert_eq!(ended.head().unwrap(), write::to_string(&bare).unwrap());
        }

        #[test]
        fn a_trace_is_what_its_row_says(trace in arbitrary::trace()) {
            let row = TraceRow::new(trace.id.clone().unwrap(), trace.clone()).unwrap();
            prop_assert_eq!(row.status, trace.status);
            let back = row.content.into_trace(&row.head).unwrap();
            prop_assert_eq!(back, Trace { spans: None, ..trace });
        }

        #[test]
        fn a_span_is_what_its_row_says(span in arbitrary::span("t".into())) {
            let row = SpanRow::new(span.clone()).unwrap();
            prop_assert_eq!(&row.id, &span.id);
            let (head, content) = Content::split(super::super::fields_of(&span).unwrap()).unwrap();
            prop_assert_eq!(content.into_span(&head).unwrap(), span.clone());
            let (head, content) = Content::split(row.content.clone().into_fields(&row.head).unwrap()).unwrap();
            prop_assert_eq!(content.into_span(&head).unwrap(), span.clone());
            prop_assert_eq!(row.content.into_span(&row.head).unwrap(), span);
        }
    }
}
