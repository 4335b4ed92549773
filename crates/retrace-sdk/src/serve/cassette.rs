//! Recordings that a receiver sends.

use std::collections::HashMap;
use std::io::{Cursor, Seek as _, SeekFrom};
use std::sync::Arc;

use retrace_protocol::{Id, Json, Span, SpanType, Timestamp, Trace};
use retrace_replay::cassette::{Cassette, CassetteWriter, Header, Origin};
use retrace_replay::render::{StoredEntry, entries};
use retrace_replay::{Lane, Rule, Secrets, Tolerance};
use serde_json::{Map, Value, json};

/// Names under which other clients of Retrace record model calls, each with the provider (PROTOCOL.md section 14).
const FOREIGN_CALLS: [(&str, &str); 4] = [
    ("openai.chat.completions.create", "openai"),
    ("anthropic.messages.create", "anthropic"),
    ("retrace.ai.generate", "gcp.gemini"),
    ("gemini.generate_content", "gcp.gemini"),
];

/// A recorded run, and how its calls are matched.
pub(crate) struct Recording {
    pub(crate) cassette: Cassette,
    /// Calls are matched in order, whatever they request: the recording holds no requests.
    pub(crate) matches_in_order: bool,
    /// Recorded spans in order.
    places: Vec<Place>,
    entries: usize,
}

/// A recorded span among the entries.
#[derive(Debug)]
struct Place {
    id: Id,
    /// Entry of the span, else the first one that is not before it.
    entry: usize,
    /// The entry is that of the span.
    is_own: bool,
}

/// Position from which a run is live.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LiveFrom {
    /// This entry, of the span at the fork point or the first one after it.
    Entry {
        /// Its ordinal.
        ordinal: u64,
        /// It is the entry of the span.
        is_own: bool,
    },
    /// After the last entry.
    End,
}

impl Recording {
    /// Reads the `cassette` of a frame, of a run that the function of this name recorded.
    ///
    /// # Errors
    /// The reason why it cannot be used.
    pub(crate) fn read(cassette: &Value, function: &str) -> Result<Self, String> {
        let list = cassette.as_array().ok_or("the recording of the receiver is no list")?;
        let has_spans = list.iter().all(|entry| entry.get("id").is_some() && entry.get("started_at").is_some());
        let spans = list.iter().enumerate().map(|(at, entry)| span(entry, at, has_spans));
        let spans: Vec<Span> = spans.collect::<Result<_, _>>()?;
        let matches_in_order = !spans.iter().any(|span| span.input.is_some());
        let order: Vec<Id> = spans.iter().map(|span| span.id.clone()).collect();
        let trace = Trace { spans: Some(spans), ..Trace::default() };
        let mut stored = entries(&trace);
        if !has_spans {
            // Calls that the function makes itself: nothing more is known.
            stored.iter_mut().for_each(|stored| stored.entry.lane = Lane::root().child(function, 0));
        }
        let places = places(&order, &stored);
        let entries = stored.len();
        Ok(Self { cassette: open(stored)?, matches_in_order, places, entries })
    }

    /// Finds the position of a fork: by the span, else by its place in the run.
    ///
    /// # Errors
    /// The recording has no such span.
    pub(crate) fn live_from(&self, span_id: &str, index: Option<&Value>) -> Result<LiveFrom, String> {
        let by_index = || index.and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        let place = self.places.iter().find(|place| place.id.as_text() == span_id);
        let place = place.or_else(|| self.places.get(by_index()?));
        match place {
            Some(Place { entry, is_own, .. }) if *entry < self.entries => {
                Ok(LiveFrom::Entry { ordinal: *entry as u64, is_own: *is_own })
            }
            Some(_) => Ok(LiveFrom::End),
            None => Err("the recording of the receiver has no span at the fork point".to_owned()),
        }
    }
}

/// Accepts every difference.
pub(crate) fn any_request() -> Tolerance {
    Tolerance::default().with_default(Rule::Custom(Arc::new(|_, _, _| true)))
}

/// The spans in order, each with its entry, else the first one that is not before it.
fn places(order: &[Id], stored: &[StoredEntry]) -> Vec<Place> {
    let by_span: HashMap<&str, usize> =
        stored.iter().enumerate().filter_map(|(at, stored)| Some((stored.entry.span_id.as_deref()?, at))).collect();
    let mut next = stored.len();
    let mut places: Vec<Place> = order
        .iter()
        .rev()
        .map(|id| {
            let own = by_span.get(&*id.as_text()).copied();
            next = next.min(own.unwrap_or(next));
            Place { id: id.clone(), entry: own.unwrap_or(next), is_own: own.is_some() }
        })
        .collect();
    places.reverse();
    places
}

/// Reads an entry as the span that it was recorded from.
fn span(entry: &Value, at: usize, is_span: bool) -> Result<Span, String> {
    let malformed =
        |error: serde_json::Error| format!("entry {at} of the receiver's recording cannot be read: {error}");
    let mut entry =
        entry.as_object().cloned().ok_or_else(|| format!("entry {at} of the receiver's recording is no object"))?;
    let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(raw) = entry.remove("output_raw").filter(|raw| !raw.is_null()) {
        entry.insert("output".to_owned(), raw);
    }
    if !is_span {
        let started = Timestamp::from_unix_micros(at as u64).to_string();
        let added = json!({"id": format!("{at}"), "trace_id": "", "started_at": started});
        entry.extend(added.as_object().cloned().unwrap_or_default());
    }
    let mut span: Span = serde_json::from_value(Value::Object(entry)).map_err(malformed)?;
    let foreign = FOREIGN_CALLS.iter().find(|(foreign, _)| span.span_type == SpanType::LlmCall && name == *foreign);
    if let Some((_, provider)) = foreign {
        let metadata = span.metadata.as_ref().and_then(|metadata| metadata.to_value().ok());
        let mut metadata: Map<String, Value> =
            metadata.and_then(|value| value.as_object().cloned()).unwrap_or_default();
        metadata.entry("operation").or_insert_with(|| "chat".into());
        metadata.entry("provider").or_insert_with(|| (*provider).into());
        span.metadata = Some(Json::from_serialize(&metadata));
    }
    Ok(span)
}

/// Opens a cassette of entries, in memory.
fn open(stored: Vec<StoredEntry>) -> Result<Cassette, String> {
    const FILE: &str = "the receiver's recording";
    let mut header = Header::new("");
    header.origin = Origin::Run;
    let unusable = |error: retrace_replay::cassette::CassetteError| error.to_string();
    let mut writer =
        CassetteWriter::begin(FILE, Cursor::new(Vec::new()), &header, Secrets::default()).map_err(unusable)?;
    for StoredEntry { entry, .. } in stored {
        writer.push(entry).map_err(unusable)?;
    }
    let mut written = writer.finish().map_err(unusable)?;
    written.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    Cassette::open(FILE, written).map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, parent: Option<&str>, span_type: &str, name: &str, second: u64) -> Value {
        json!({"id": id, "trace_id": "t", "parent_id": parent, "span_type": span_type, "name": name, "input": {"q": 1},
            "started_at": format!("2026-01-02T03:04:0{second}Z"), "output": "o", "unknown": {}})
    }

    #[test]
    fn a_fork_point_is_the_first_call_that_is_not_before_it() {
        let cassette = json!([
            entry("r", None, "reasoning", "agent", 0),
            entry("a", Some("r"), "tool_call", "look", 1),
            entry("p", Some("r"), "reasoning", "plan", 2),
            entry("b", Some("p"), "tool_call", "look", 3),
            entry("e", Some("r"), "fork_point", "end", 4),
        ]);
        let recording = Recording::read(&cassette, "agent").unwrap();
        assert!(!recording.matches_in_order);
        for (span, index, expected) in [
            ("r", None, Ok(LiveFrom::Entry { ordinal: 0, is_own: false })),
            ("a", None, Ok(LiveFrom::Entry { ordinal: 0, is_own: true })),
            ("p", None, Ok(LiveFrom::Entry { ordinal: 1, is_own: false })),
            ("b", None, Ok(LiveFrom::Entry { ordinal: 1, is_own: true })),
            ("e", None, Ok(LiveFrom::End)),
            ("gone", Some(3), Ok(LiveFrom::Entry { ordinal: 1, is_own: true })),
            ("gone", Some(9), Err(())),
            ("gone", None, Err(())),
        ] {
            let found = recording.live_from(span, index.map(Value::from).as_ref());
            assert_eq!(found.map_err(|_| ()), expected, "{span}");
        }
    }

    #[test]
    fn entries_of_other_clients_are_calls_of_the_function_in_order() {
        let cassette = json!([
            {"name": "openai.chat.completions.create", "span_type": "llm_call", "output": "recorded answer", "input_tokens": 1},
            {"name": "look", "span_type": "tool_call", "output": "cut", "output_raw": {"whole": true}},
        ]);
        let mut recording = Recording::read(&cassette, "agent").unwrap();
        assert!(recording.matches_in_order);
        let call = recording.cassette.entry(0).unwrap().unwrap();
        assert_eq!((call.name.as_str(), call.lane.to_string().as_str()), ("chat", "agent"));
        assert!(matches!(call.outcome, retrace_replay::cassette::Outcome::Response(_)), "{call:?}");
        let tool = recording.cassette.entry(1).unwrap().unwrap();
        assert!(format!("{:?}", tool.outcome).contains("whole"), "{tool:?}");
    }

    #[test]
    fn what_is_no_recording_is_refused_with_a_reason() {
        for cassette in [json!(7), json!("x"), json!({}), json!([7]), json!([{"name": "x"}]), json!([{"span_type": 1}])]
        {
            assert!(Recording::read(&cassette, "agent").is_err(), "{cassette}");
        }
        assert!(Recording::read(&json!([]), "agent").is_ok());
    }
}
