//! What the targets share: spans made of anything, and what must hold of every run whatever it was made of.

use std::collections::HashSet;

use retrace_protocol::json::is_strict;
use retrace_protocol::{Id, Trace};
use retrace_translate::{Dropped, EventView, Kind, LinkView, Parent, ScopeView, SpanView, StatusView, Value};

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
    let text = serde_json::to_string(trace).expect("it can be written");
    assert!(is_strict(&text), "{text}");
    let read: Trace = serde_json::from_str(&text).expect("it can be read");
    assert_eq!(serde_json::to_string(&read).expect("it can be written"), text);
    let spans = trace.spans.as_deref().unwrap_or_default();
    let ids: HashSet<&Id> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), spans.len(), "ids come twice: {text}");
    for span in spans {
        assert!(span.parent_id.as_ref().is_none_or(|parent| ids.contains(parent)), "a parent is missing: {text}");
        assert_eq!(Some(&span.trace_id), trace.id.as_ref());
    }
}
