//! Rows of records in the store.
//!
//! A record is split in two: its *content* (input, output, metadata), any JSON of any size, and its *head*, the other
//! fields, as the JSON object that the protocol crate writes. Lists and trees use the head; the content of a record is
//! read only on request. The database parses neither, so a new field of the protocol requires no new column, and
//! records are read back as sent.

use retrace_protocol::{Id, Json, Span, Status, Timestamp, Trace, write};

use super::Fields;

/// The parts of a record that may be large, each as JSON text; `None` if absent, which differs from `null`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) input: Option<Json>,
    pub(crate) output: Option<Json>,
    pub(crate) metadata: Option<Json>,
}

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
    pub(crate) fn new(mut span: Span) -> Result<Self, serde_json::Error> {
        let content = Content { input: span.input.take(), output: span.output.take(), metadata: span.metadata.take() };
        Ok(Self { head: write::to_string(&span)?, id: span.id, content })
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
