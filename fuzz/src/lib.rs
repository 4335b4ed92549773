//! What the targets share: spans made of anything, and what must hold of every run whatever it was made of.

pub mod any;

use std::collections::HashSet;

use retrace_protocol::json::is_strict;
use retrace_protocol::{Id, Trace};
use retrace_translate::{Dropped, EventView, Kind, LinkView, Parent, ScopeView, SpanView, StatusView, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Attribute keys that mean something to some dialect, one a line.
pub const KEYS: &str = include_str!("../keys.txt");

/// The keys of attributes, in order.
pub fn keys() -> Vec<&'static str> {
    KEYS.lines().filter(|line| !line.is_empty()).collect()
}

/// A span as the targets make them.
#[derive(Clone, Debug)]
pub struct Made {
    pub span_id: [u8; 8],
    pub parent: Parent,
    pub name: String,
    pub kind: Kind,
    pub times: (u64, u64),
    pub error: Option<String>,
    pub attributes: Vec<(String, Value<'static>)>,
    pub events: Vec<Event>,
}

/// An event of one.
#[derive(Clone, Debug)]
pub struct Event {
    pub name: String,
    pub attributes: Vec<(String, Value<'static>)>,
    pub body: Option<Value<'static>>,
}

impl SpanView for Made {
    fn trace_id(&self) -> [u8; 16] {
        [7; 16]
    }

    fn span_id(&self) -> [u8; 8] {
        self.span_id
    }

    fn parent(&self) -> Parent {
        self.parent
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn start_unix_nanos(&self) -> u64 {
        self.times.0
    }

    fn end_unix_nanos(&self) -> u64 {
        self.times.1
    }

    fn status(&self) -> StatusView<'_> {
        self.error.as_deref().map_or(StatusView::Unset, StatusView::Error)
    }

    fn attributes(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.attributes.iter().map(|(key, value)| (key.as_str(), value.clone()))
    }

    fn events(&self) -> impl Iterator<Item = EventView<'_>> {
        self.events.iter().map(|event| EventView {
            name: &event.name,
            unix_nanos: 1,
            attributes: event.attributes.iter().map(|(key, value)| (key.as_str(), value.clone())).collect(),
            body: event.body.clone(),
        })
    }

    fn links(&self) -> impl Iterator<Item = LinkView<'_>> {
        std::iter::empty()
    }

    fn scope(&self) -> ScopeView<'_> {
        ScopeView { name: "fuzz", version: "" }
    }

    fn dropped(&self) -> Dropped {
        Dropped::default()
    }
}

/// What holds of every run: its text is JSON that a strict reader takes and that reads back the same, no two spans have one
/// id, and every parent is there.
pub fn check(trace: &Trace) {
    let text = check_text(trace);
    let spans = trace.spans.as_deref().unwrap_or_default();
    let ids: HashSet<&Id> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "ids come twice: {text}");
    for span in spans {
        assert!(span.parent_id.as_ref().is_none_or(|parent| ids.contains(parent)), "a parent is missing: {text}");
        assert_eq!(Some(&span.trace_id), trace.id.as_ref());
    }
}

/// Returns the text of a value, which a strict reader takes and which reads back the same.
pub fn check_text<T: Serialize + DeserializeOwned>(value: &T) -> String {
    let text = serde_json::to_string(value).expect("it can be written");
    assert!(is_strict(&text), "{text}");
    let read: T = serde_json::from_str(&text).expect("it can be read");
    assert_eq!(serde_json::to_string(&read).expect("it can be written"), text);
    text
}

/// A model call as `model_calls` reads it: five bytes, the URL up to a line feed, the request up to a zero byte, the answer.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    pub status: u16,
    /// A place in [`CONTENT_TYPES`], modulo its length.
    pub content_type: u8,
    /// Whether the answer is complete.
    pub ends: bool,
    /// Where the answer is cut.
    pub cuts: u8,
    pub url: &'a str,
    pub request: &'a [u8],
    pub answer: &'a [u8],
}

/// The last is no content type, and none is sent.
pub const CONTENT_TYPES: &[&str] = &[
    "application/json",
    "text/event-stream; charset=utf-8",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "audio/mpeg",
    "",
];

impl<'a> Exchange<'a> {
    /// Returns `None` for what is too short, or has a URL that is no text.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (&[low, high, content_type, ends, cuts], rest) = data.split_first_chunk()?;
        let (url, rest) = split_at_byte(rest, b'\n')?;
        let (request, answer) = split_at_byte(rest, 0)?;
        Some(Exchange {
            status: u16::from_le_bytes([low, high]),
            content_type,
            ends: ends % 2 == 0,
            cuts,
            url: std::str::from_utf8(url).ok()?,
            request,
            answer,
        })
    }

    pub fn write(&self) -> Vec<u8> {
        let [low, high] = self.status.to_le_bytes();
        let head = [low, high, self.content_type, u8::from(!self.ends), self.cuts];
        [&head, self.url.as_bytes(), b"\n", self.request, b"\0", self.answer].concat()
    }

    /// Returns the answer in pieces: of one length for small values of `cuts`, else of various lengths.
    pub fn pieces(&self) -> Vec<&'a [u8]> {
        let (mut pieces, mut rest, mut state) = (Vec::new(), self.answer, self.cuts);
        while !rest.is_empty() {
            let length = if self.cuts < 16 {
                usize::from(self.cuts) + 1
            } else {
                state = state.wrapping_mul(37).wrapping_add(11);
                usize::from(state % 64)
            };
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

fn split_at_byte(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == at)?;
    Some((&bytes[..place], &bytes[place + 1..]))
}
