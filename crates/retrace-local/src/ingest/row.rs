//! Records as the store keeps them, and back.
//!
//! A record is split in two: its *content* (input, output, metadata), any JSON of any size, and its *head*, all the rest,
//! as the JSON object that the protocol crate writes. The head is what a list and a tree need; the content of one record
//! is read when somebody looks at it. Neither is looked into by the database, so a new field of the protocol needs no
//! new column, and what comes back is what was sent.

use retrace_protocol::{Id, Json, Span, Status, Timestamp, Trace, write};

use super::Fields;

/// The parts of a record that may be large, each as JSON text; `None` when absent, which `null` is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) input: Option<Json>,
    pub(crate) output: Option<Json>,
    pub(crate) metadata: Option<Json>,
}

/// The names of the three on the wire, in the order of [`Content`].
const CONTENT: [&str; 3] = ["input", "output", "metadata"];

/// A trace without its spans.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TraceRow {
    pub(crate) id: Id,
    /// When it began, in microseconds since 1970 UTC: what lists are ordered by.
    pub(crate) started_micros: Option<i64>,
    pub(crate) status: Option<Status>,
    pub(crate) head: String,
    pub(crate) content: Content,
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SpanRow {
    pub(crate) id: Id,
    pub(crate) head: String,
    pub(crate) content: Content,
}

impl TraceRow {
    /// The row of the trace `id`, of which spans are no part.
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
    /// The row of a span.
    pub(crate) fn new(mut span: Span) -> Result<Self, serde_json::Error> {
        let content = Content { input: span.input.take(), output: span.output.take(), metadata: span.metadata.take() };
        Ok(Self { head: write::to_string(&span)?, id: span.id, content })
    }
}

impl Content {
    /// The trace that `head` and this content were split from, without spans.
    pub(crate) fn into_trace(self, head: &str) -> Result<Trace, serde_json::Error> {
        let trace: Trace = serde_json::from_str(head)?;
        Ok(Trace { input: self.input, output: self.output, metadata: self.metadata, ..trace })
    }

    /// The fields that `head` and this content were split from.
    pub(crate) fn into_fields(self, head: &str) -> Result<Fields, serde_json::Error> {
        let mut fields: Fields = serde_json::from_str(head)?;
        for (name, json) in CONTENT.into_iter().zip([self.input, self.output, self.metadata]) {
            fields.extend(json.map(|json| (name.to_owned(), json)));
        }
        Ok(fields)
    }

    /// Splits fields into a head and this.
    pub(crate) fn split(mut fields: Fields) -> Result<(String, Self), serde_json::Error> {
        let [input, output, metadata] = CONTENT.map(|name| fields.remove(name));
        Ok((write::to_string(&fields)?, Self { input, output, metadata }))
    }

    /// The span that `head` and this content were split from.
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
