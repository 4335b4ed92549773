//! Frames of events, read in one pass.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::{Event, EventKind};

/// An event with its number.
#[derive(Debug)]
pub(crate) struct EventFrame {
    pub(crate) event: Event,
    pub(crate) seq: Option<u64>,
}

/// Reads a frame whose first field is the type of an event and whose second is its data, the order in which clients write
/// them. Any other frame is an error, also a valid one.
impl<'de> Deserialize<'de> for EventFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FrameVisitor)
    }
}

struct FrameVisitor;

impl<'de> Visitor<'de> for FrameVisitor {
    type Value = EventFrame;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event with its type first and its data next")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<EventFrame, A::Error> {
        let other_order = || A::Error::custom("another order of fields");
        let Some(("type", kind)) = fields.next_entry::<&str, &str>()? else { return Err(other_order()) };
        let kind = EventKind::from_wire(kind).ok_or_else(|| A::Error::custom("no event"))?;
        let Some("data") = fields.next_key::<&str>()? else { return Err(other_order()) };
        let event = match kind {
            EventKind::TraceStarted => Event::TraceStarted(fields.next_value()?),
            EventKind::SpanStarted => Event::SpanStarted(fields.next_value()?),
            EventKind::SpanEnded => Event::SpanEnded(fields.next_value()?),
            EventKind::TraceEnded => Event::TraceEnded(fields.next_value()?),
        };
        let mut seq = None;
        while let Some(name) = fields.next_key::<&str>()? {
            match name {
                "type" | "data" => return Err(other_order()),
                "seq" if seq.is_some() => return Err(A::Error::duplicate_field("seq")),
                "seq" => seq = Some(fields.next_value()?),
                _ => _ = fields.next_value::<IgnoredAny>()?,
            }
        }
        Ok(EventFrame { event, seq: seq.flatten() })
    }
}
