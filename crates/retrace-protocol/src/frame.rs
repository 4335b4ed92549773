//! WebSocket text frames in both directions (PROTOCOL.md sections 4 to 7).

mod event_frame;

use std::borrow::Cow;
use std::fmt;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use self::event_frame::EventFrame;
use crate::command::{Replay, Resume};
use crate::{Event, EventKind, Id, write};

/// The first frame of a client.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// The API key; opaque.
    pub api_key: String,
    /// The server may send `resume` and `replay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumable: Option<bool>,
    /// 1 if the client supports leases. Older clients omit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay_generation: Option<u32>,
    /// Requests one `ack` for each event. Older clients omit it and get none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acks: Option<bool>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("api_key", &"…")
            .field("resumable", &self.resumable)
            .field("replay_generation", &self.replay_generation)
            .field("acks", &self.acks)
            .finish()
    }
}

/// A frame from a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    /// The first frame; not numbered and not acknowledged.
    Auth(Auth),
    /// The answer to a `ping`.
    Pong,
    /// An event with its number; the oldest clients send no number.
    Event {
        /// The event.
        event: Event,
        /// Number from 1; one counter for each process, which a reconnect does not reset.
        seq: Option<u64>,
    },
    /// A frame of an unknown type.
    Unknown(Map<String, Value>),
}

/// A client frame with unread data: what can be inspected if [`ClientFrame::parse`] fails.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope<'a> {
    /// Type of the frame.
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    /// The data of an event, as JSON text.
    #[serde(default, borrow)]
    pub data: Option<&'a RawValue>,
    /// The number of an event.
    #[serde(default)]
    pub seq: Option<u64>,
}

impl ClientFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// Text that is no JSON object with a `type`, or an event whose data lacks a required field. The Python SDK may write
    /// `NaN`: see [`crate::json::non_finite_to_null`].
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if let Ok(EventFrame { event, seq }) = serde_json::from_str(text) {
            return Ok(Self::Event { event, seq });
        }
        Self::parse_any(text)
    }

    /// Reads a frame with its fields in any order. Data is read twice: to find its end, and as that of its type.
    fn parse_any(text: &str) -> Result<Self, serde_json::Error> {
        let head: Envelope<'_> = serde_json::from_str(text)?;
        if let Some(kind) = EventKind::from_wire(&head.kind) {
            let data = head.data.ok_or_else(|| <serde_json::Error as serde::de::Error>::missing_field("data"))?.get();
            let event = match kind {
                EventKind::TraceStarted => Event::TraceStarted(serde_json::from_str(data)?),
                EventKind::SpanStarted => Event::SpanStarted(serde_json::from_str(data)?),
                EventKind::SpanEnded => Event::SpanEnded(serde_json::from_str(data)?),
                EventKind::TraceEnded => Event::TraceEnded(serde_json::from_str(data)?),
            };
            return Ok(Self::Event { event, seq: head.seq });
        }
        Ok(match &*head.kind {
            "auth" => Self::Auth(serde_json::from_str(text)?),
            "pong" => Self::Pong,
            _ => Self::Unknown(serde_json::from_str(text)?),
        })
    }
}

impl ClientFrame {
    /// Returns the text of an event frame whose data is JSON already: the serialisation of the same [`ClientFrame::Event`],
    /// without reading the data.
    #[must_use]
    pub fn event_text(kind: EventKind, data: &str, seq: u64) -> String {
        let mut digits = itoa::Buffer::new();
        let (head, tail) = around_data(kind, digits.format(seq));
        // Allocated exactly, because a frame is kept until it is acknowledged.
        [head.concat().as_str(), data, tail.concat().as_str()].concat()
    }

    /// Returns the bytes of [`ClientFrame::event_text`] for data in several pieces.
    #[must_use]
    pub fn event_bytes(kind: EventKind, data: &[&[u8]], seq: u64) -> Vec<u8> {
        let mut digits = itoa::Buffer::new();
        let (head, tail) = around_data(kind, digits.format(seq));
        let (head, tail) = (head.map(str::as_bytes), tail.map(str::as_bytes));
        let parts: [&[&[u8]]; 3] = [&head, data, &tail];
        let length = parts.iter().flat_map(|part| part.iter()).map(|piece| piece.len()).sum();
        let mut bytes = Vec::with_capacity(length);
        for part in parts {
            part.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        bytes
    }
}

/// Returns what is before and after the data of an event frame.
fn around_data(kind: EventKind, seq: &str) -> ([&str; 3], [&str; 3]) {
    ([r#"{"type":""#, kind.as_str(), r#"","data":"#], [r#","seq":"#, seq, "}"])
}

impl Serialize for ClientFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auth(auth) => tagged(serializer, "auth", |map| flatten(map, auth)),
            Self::Pong => tagged(serializer, "pong", |_| Ok(())),
            Self::Event { event, seq } => tagged(serializer, event.kind().as_str(), |map| {
                map.serialize_entry("data", event)?;
                seq.map_or(Ok(()), |seq| map.serialize_entry("seq", &seq))
            }),
            Self::Unknown(frame) => frame.serialize(serializer),
        }
    }
}

/// A frame from a server. Unknown fields are kept in `other`.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerFrame {
    /// The key was accepted; always the first frame.
    AuthOk {
        /// Other fields.
        other: Map<String, Value>,
    },
    /// One event was ingested.
    Ack(Ack),
    /// Asks for a `pong`.
    Ping {
        /// Other fields.
        other: Map<String, Value>,
    },
    /// An error; see [`crate::Signal::from_error`].
    Error {
        /// Description.
        error: Option<String>,
        /// Other fields.
        other: Map<String, Value>,
    },
    /// Stop recording; see [`crate::Signal::from_halt`].
    Halt {
        /// Reason, in `data`.
        reason: Option<String>,
        /// Other fields of `data`.
        data: Map<String, Value>,
        /// Other fields of the frame.
        other: Map<String, Value>,
    },
    /// Run again from a fork point.
    Resume {
        /// The command.
        data: Box<Resume>,
        /// Other fields of the frame.
        other: Map<String, Value>,
    },
    /// Run again from a recording.
    Replay {
        /// The command.
        data: Box<Replay>,
        /// Other fields of the frame.
        other: Map<String, Value>,
    },
    /// An event of another connection of the account; older servers send these, clients ignore them.
    LiveFeed {
        /// Kind of the event.
        kind: EventKind,
        /// The frame without its type.
        other: Map<String, Value>,
    },
    /// A frame of an unknown type, or of a known type in another form; to be logged and ignored.
    Unknown(Map<String, Value>),
}

/// The acknowledgement of one event (section 6). Not cumulative.
#[derive(Clone, Debug, PartialEq)]
pub struct Ack {
    /// `data.id` of the event, if present.
    pub id: Option<String>,
    /// Number of the event, in any type that the server writes.
    pub seq: Option<Value>,
    /// Other fields.
    pub other: Map<String, Value>,
}

impl Ack {
    /// Creates the ack of the event `id` with the number `seq`.
    #[must_use]
    pub fn new(id: impl Into<String>, seq: Option<u64>) -> Self {
        Self { id: Some(id.into()), seq: seq.map(Value::from), other: Map::new() }
    }

    /// Returns the text of the frame that acknowledges the event `id` with the number `seq`: the serialisation of the same
    /// [`ServerFrame::Ack`].
    ///
    /// ```
    /// use retrace_protocol::{Ack, ServerFrame};
    ///
    /// let frame = ServerFrame::Ack(Ack::new("s", Some(7)));
    /// assert_eq!(Ack::text(&"s".into(), Some(7)), serde_json::to_string(&frame)?);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn text(id: &Id, seq: Option<u64>) -> String {
        #[derive(Serialize)]
        struct AckFrame<'a> {
            #[serde(rename = "type")]
            kind: &'static str,
            id: &'a Id,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq: Option<u64>,
        }
        // An id is written without an error.
        write::to_string(&AckFrame { kind: "ack", id, seq }).unwrap_or_default()
    }

    /// Returns the number if it is one: then exactly that frame is acknowledged, and `id` is irrelevant. Otherwise the oldest
    /// unacknowledged frame for `id` is.
    #[must_use]
    pub fn seq_number(&self) -> Option<u64> {
        self.seq.as_ref()?.as_u64()
    }
}

impl ServerFrame {
    /// Reads a text frame.
    ///
    /// # Errors
    /// Text that is no JSON object with a string `type`. A frame of a known type in an unexpected form is no error: it becomes
    /// [`ServerFrame::Unknown`].
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        // Fast path: there is an ack for every event, and nearly all have this form.
        if let Some((id, seq)) = read_plain_ack(text) {
            return Ok(Self::Ack(Ack::new(id, Some(seq))));
        }
        serde_json::from_str(text)
    }
}

/// Reads an ack of the usual form: `type`, `id` without escapes, and a `seq` that is a number, in this order. Returns `None` for
/// any other text, also for an ack of another form.
fn read_plain_ack(text: &str) -> Option<(&str, u64)> {
    /// Returns the rest after white space.
    fn after_space(mut text: &[u8]) -> &[u8] {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
            text = rest;
        }
        text
    }
    /// Returns the rest after these tokens, with white space before each.
    fn after<'t>(text: &'t [u8], tokens: &[&str]) -> Option<&'t [u8]> {
        tokens.iter().try_fold(text, |rest, token| after_space(rest).strip_prefix(token.as_bytes()))
    }
    let bytes = text.as_bytes();
    // First the form without white space.
    let id = bytes.strip_prefix(br#"{"type":"ack","id":""#);
    let id = id.or_else(|| after(bytes, &["{", r#""type""#, ":", r#""ack""#, ",", r#""id""#, ":", "\""]))?;
    let length = id.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
    let begin = text.len() - id.len();
    let seq = after(id.get(length..)?, &["\"", ",", r#""seq""#, ":"]).map(after_space)?;
    let digits = seq.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = seq.split_at_checked(digits)?;
    let is_number = matches!(number, [b'0'] | [b'1'..=b'9', ..]);
    let is_whole = after(rest, &["}"]).is_some_and(|rest| after_space(rest).is_empty());
    if !is_number || !is_whole {
        return None;
    }
    Some((text.get(begin..begin + length)?, std::str::from_utf8(number).ok()?.parse().ok()?))
}

impl<'de> Deserialize<'de> for ServerFrame {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole: Map<String, Value> = Map::deserialize(deserializer)?;
        let Some(kind) = whole.get("type").and_then(Value::as_str) else {
            return Err(D::Error::custom("a frame needs a string `type`"));
        };
        let known = match kind {
            "auth_ok" | "ack" | "ping" | "error" | "halt" | "resume" | "replay" => kind.to_owned(),
            other => {
                return Ok(match EventKind::from_wire(other) {
                    Some(kind) => Self::LiveFeed { kind, other: without_type(whole) },
                    None => Self::Unknown(whole),
                });
            }
        };
        // A known type in another form is passed on instead of rejected, so that the connection survives it.
        Ok(Self::read(&known, without_type(whole.clone())).unwrap_or(Self::Unknown(whole)))
    }
}

fn without_type(mut frame: Map<String, Value>) -> Map<String, Value> {
    frame.remove("type");
    frame
}

/// Takes a field; returns `Err` if it is no text, `Ok(None)` if it is absent.
fn take_text(map: &mut Map<String, Value>, key: &str) -> Result<Option<String>, ()> {
    match map.remove(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(()),
    }
}

impl ServerFrame {
    fn read(kind: &str, mut other: Map<String, Value>) -> Result<Self, ()> {
        Ok(match kind {
            "auth_ok" => Self::AuthOk { other },
            "ping" => Self::Ping { other },
            "ack" => Self::Ack(Ack { id: take_text(&mut other, "id")?, seq: other.remove("seq"), other }),
            "error" => Self::Error { error: take_text(&mut other, "error")?, other },
            "halt" => {
                let mut data = match other.remove("data") {
                    Some(Value::Object(data)) => data,
                    None => Map::new(),
                    Some(_) => return Err(()),
                };
                Self::Halt { reason: take_text(&mut data, "reason")?, data, other }
            }
            "resume" => Self::Resume { data: from_field(&mut other)?, other },
            "replay" => Self::Replay { data: from_field(&mut other)?, other },
            _ => return Err(()),
        })
    }
}

fn from_field<T: serde::de::DeserializeOwned>(other: &mut Map<String, Value>) -> Result<Box<T>, ()> {
    serde_json::from_value(other.remove("data").ok_or(())?).map(Box::new).map_err(|_| ())
}

impl Serialize for ServerFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AuthOk { other } => tagged(serializer, "auth_ok", |map| flatten(map, other)),
            Self::Ping { other } => tagged(serializer, "ping", |map| flatten(map, other)),
            Self::Ack(ack) => tagged(serializer, "ack", |map| {
                entry_if(map, "id", ack.id.as_ref())?;
                entry_if(map, "seq", ack.seq.as_ref())?;
                flatten(map, &ack.other)
            }),
            Self::Error { error, other } => tagged(serializer, "error", |map| {
                entry_if(map, "error", error.as_ref())?;
                flatten(map, other)
            }),
            Self::Halt { reason, data, other } => tagged(serializer, "halt", |map| {
                let mut data = data.clone();
                data.extend(reason.clone().map(|reason| ("reason".to_owned(), Value::String(reason))));
                if !data.is_empty() {
                    map.serialize_entry("data", &data)?;
                }
                flatten(map, other)
            }),
            Self::Resume { data, other } => tagged(serializer, "resume", |map| {
                map.serialize_entry("data", data)?;
                flatten(map, other)
            }),
            Self::Replay { data, other } => tagged(serializer, "replay", |map| {
                map.serialize_entry("data", data)?;
                flatten(map, other)
            }),
            Self::LiveFeed { kind, other } => tagged(serializer, kind.as_str(), |map| flatten(map, other)),
            Self::Unknown(frame) => frame.serialize(serializer),
        }
    }
}

/// Writes `{"type": kind, …}`.
fn tagged<S: Serializer>(
    serializer: S,
    kind: &str,
    rest: impl FnOnce(&mut S::SerializeMap) -> Result<(), S::Error>,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("type", kind)?;
    rest(&mut map)?;
    map.end()
}

fn entry_if<M: SerializeMap>(map: &mut M, key: &str, value: Option<&impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(key, value))
}

/// Writes the fields of `value` into the map that is being written. Goes through a tree: meant for small values.
fn flatten<M: SerializeMap>(map: &mut M, value: &impl Serialize) -> Result<(), M::Error> {
    let Value::Object(fields) = serde_json::to_value(value).map_err(M::Error::custom)? else { return Ok(()) };
    fields.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))
}

#[cfg(test)]
mod tests;
