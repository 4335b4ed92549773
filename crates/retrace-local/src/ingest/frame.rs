//! Frames of a WebSocket: from text to checked events (PROTOCOL.md sections 4 and 5).

use std::borrow::Cow;

use retrace_protocol::json::{non_finite_to_null, without_lone_surrogates};
use retrace_protocol::{Auth, ClientFrame, Envelope, Event, EventKind, Span, SpanEnded, Trace, TraceEnded};

use super::check;

/// A frame of a client.
#[derive(Debug)]
pub(crate) enum Frame {
    Auth(Auth),
    Pong,
    Event(Numbered),
    /// A frame of an unknown type, which is ignored.
    Unknown,
}

/// An event that passed all checks, with its sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) event: Event,
    pub(crate) seq: Option<u64>,
}

/// Error of a rejected frame. The reason names a field and never contains its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame {
    pub(crate) reason: String,
    /// The frame's sequence number, if it could be read.
    pub(crate) seq: Option<u64>,
}

/// Longest field name in a reason, in characters.
const FIELD_CHARS: usize = 100;

/// Parses one text frame, with the same deviations from JSON as a body.
///
/// # Errors
/// Returns a [`BadFrame`] if the text is not valid JSON, if a field of an event is missing or of the wrong type, or if
/// an id or a time is invalid.
pub(crate) fn frame(text: &str) -> Result<Frame, BadFrame> {
    if let Ok(frame) = ClientFrame::parse(text) {
        return checked(frame);
    }
    let finite = non_finite_to_null(text);
    if let Cow::Owned(text) = &finite
        && let Ok(frame) = ClientFrame::parse(text)
    {
        return checked(frame);
    }
    let whole = without_lone_surrogates(&finite);
    if let Cow::Owned(text) = &whole
        && let Ok(frame) = ClientFrame::parse(text)
    {
        return checked(frame);
    }
    diagnosis(&whole)
}

fn checked(frame: ClientFrame) -> Result<Frame, BadFrame> {
    let (event, seq) = match frame {
        ClientFrame::Auth(auth) => return Ok(Frame::Auth(auth)),
        ClientFrame::Pong => return Ok(Frame::Pong),
        ClientFrame::Unknown(_) => return Ok(Frame::Unknown),
        ClientFrame::Event { event, seq } => (event, seq),
    };
    let refused = match &event {
        Event::TraceStarted(trace) => check::trace(trace).map(drop),
        Event::SpanStarted(span) => check::span(span),
        Event::SpanEnded(end) => check::span_ended(end),
        Event::TraceEnded(end) => check::trace_ended(end),
    };
    match refused {
        Ok(()) => Ok(Frame::Event(Numbered { event, seq })),
        // The reasons of these checks contain no client data.
        Err(refusal) => {
            let field = refusal.field.unwrap_or_default();
            Err(BadFrame { reason: about(event.kind(), &field, &refusal.error), seq })
        }
    }
}

/// Finds the defect of a frame that could not be parsed.
fn diagnosis(text: &str) -> Result<Frame, BadFrame> {
    // Serde also deserializes a struct from an array; this protocol requires an object.
    if !text.trim_start().starts_with('{') {
        return Err(BadFrame { reason: "the frame is not a JSON object".into(), seq: None });
    }
    let envelope: Envelope<'_> = match read(text) {
        Ok(envelope) => envelope,
        Err(Flaw::NotJson) => return Err(BadFrame { reason: "the frame is not JSON".into(), seq: None }),
        Err(Flaw::Field(field, wrong)) => {
            return Err(BadFrame { reason: format!("field `{field}` of the frame {wrong}"), seq: None });
        }
    };
    let seq = envelope.seq;
    let Some(kind) = EventKind::from_wire(&envelope.kind) else {
        // A frame of an unknown type may have any shape.
        return match read::<serde::de::IgnoredAny>(text) {
            Ok(_) => Ok(Frame::Unknown),
            Err(_) => Err(BadFrame { reason: "the frame is not JSON".into(), seq }),
        };
    };
    let Some(data) = envelope.data else {
        return Err(BadFrame { reason: about(kind, "data", "is missing"), seq });
    };
    let flaw = match kind {
        EventKind::TraceStarted => read::<Trace>(data.get()).err(),
        EventKind::SpanStarted => read::<Span>(data.get()).err(),
        EventKind::SpanEnded => read::<SpanEnded>(data.get()).err(),
        EventKind::TraceEnded => read::<TraceEnded>(data.get()).err(),
    };
    let reason = match flaw {
        Some(Flaw::Field(field, wrong)) => about(kind, &field, wrong),
        Some(Flaw::NotJson) | None => about(kind, "data", "cannot be read"),
    };
    Err(BadFrame { reason, seq })
}

fn about(kind: EventKind, field: &str, wrong: &str) -> String {
    format!("`{}` refused: field `{field}` {wrong}", kind.as_str())
}

enum Flaw {
    NotJson,
    Field(String, &'static str),
}

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Flaw> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = path.trim_end_matches('?').trim_end_matches('.').to_owned();
        let error = error.into_inner();
        if !error.is_data() {
            return Flaw::NotJson;
        }
        let reason = error.to_string();
        let missing = reason.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        let field = match (path.as_str(), missing) {
            ("", None) => "data".to_owned(),
            ("", Some(missing)) => missing.to_owned(),
            (path, None) => path.to_owned(),
            (path, Some(missing)) => format!("{path}.{missing}"),
        };
        let field = field.chars().take(FIELD_CHARS).collect();
        Flaw::Field(field, if missing.is_some() { "is missing" } else { "is of another type than this field has" })
    })?;
    reader.end().map_err(|_| Flaw::NotJson)?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-01-02T03:04:05Z";

    fn refused(text: &str) -> BadFrame {
        frame(text).unwrap_err()
    }

    #[test]
    fn a_refusal_names_the_field_and_never_what_it_holds() {
        let cases = [
            (r#"{"type":"span_started","data":{"id":"SECRET"},"seq":7}"#, "`trace_id` is missing"),
            (r#"{"type":"span_started","data":{"id":{"SECRET":1}},"seq":7}"#, "`id` is of another type"),
            (r#"{"type":"trace_started","data":{"id":"t","status":"SECRET"},"seq":7}"#, "`status` is of another type"),
            (r#"{"type":"trace_started","data":{"id":"t","started_at":"SECRET"},"seq":7}"#, "`started_at` not a time"),
            (r#"{"type":"trace_started","data":{"id":"t"},"seq":7}"#, "`started_at` missing field"),
            (r#"{"type":"trace_ended","data":{"id":"","output":"SECRET"},"seq":7}"#, "`id` the id is empty"),
            (r#"{"type":"trace_ended","data":{"id":"t","total_tokens":"SECRET"},"seq":7}"#, "`total_tokens` is of"),
            (r#"{"type":"span_ended","data":{"id":"s","ended_at":"SECRET"},"seq":7}"#, "`ended_at` not a time"),
            (r#"{"type":"span_ended","seq":7}"#, "`data` is missing"),
            (r#"{"type":"span_ended","data":["SECRET"],"seq":7}"#, "`data`"),
        ];
        for (text, about) in cases {
            let bad = refused(text);
            assert!(bad.reason.contains(about), "{text}: {}", bad.reason);
            assert!(!bad.reason.contains("SECRET"), "{}", bad.reason);
            assert_eq!(bad.seq, Some(7), "{text}");
        }
        for text in
            ["", "SECRET", "[1]", "null", "{\"type\":\"SECRET", "{\"SECRET\":1}", r#"{"type":"span_ended","seq":-1}"#]
        {
            let bad = refused(text);
            assert!(!bad.reason.contains("SECRET") && bad.seq.is_none(), "{text}: {}", bad.reason);
        }
    }

    #[test]
    fn what_is_almost_json_is_read_and_what_is_unknown_passed_over() {
        let text = format!(
            r#"{{"type":"trace_started","data":{{"id":"t","started_at":"{AT}","input":[NaN,-Infinity],"name":"a\udcff"}}}}"#
        );
        let Ok(Frame::Event(Numbered { event: Event::TraceStarted(trace), seq: None })) = frame(&text) else {
            panic!("{:?}", frame(&text))
        };
        assert_eq!(trace.input.unwrap().as_str(), "[null,null]");
        assert_eq!(trace.name.as_deref(), Some("a\u{FFFD}"));

        let deep = format!(r#"{{"type":"new","data":{}{}}}"#, "[".repeat(500), "]".repeat(500));
        for unknown in [r#"{"type":"new","data":7,"seq":1}"#, &deep] {
            assert!(matches!(frame(unknown), Ok(Frame::Unknown)), "{unknown}");
        }
        assert!(matches!(frame(r#"{"type":"pong"}"#), Ok(Frame::Pong)));
    }
}
