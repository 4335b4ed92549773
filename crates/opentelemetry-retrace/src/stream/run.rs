//! A run that is told event by event: what of it the receiver may still lack.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use foldhash::fast::FixedState;
use retrace_protocol::{Id, Json, Span, Status, Timestamp, Trace, TraceEnded, TracePatch, write};

use crate::outbox::{Chunk, trace_weight};

/// What has been said of a run and is not confirmed.
#[derive(Debug)]
pub(crate) struct Run {
    /// Everything that is known of it, the end included.
    pub trace: Trace,
    /// Its steps of which something is to be said or confirmed, and those under way, in the order in which they were told.
    /// Boxed, so that a table keeps no room for large values that it does not hold.
    pub steps: BTreeMap<u64, Box<Step>>,
    places: HashMap<Id, u64>,
    next_place: u64,
    /// The number of the frame that says its beginning, while that is not confirmed.
    pub start: Option<u64>,
    /// The number of the frame that says its end, while that is not confirmed.
    pub end: Option<u64>,
    /// All frames of it that are not confirmed, those included that later ones replace.
    pub frames: BTreeSet<u64>,
    /// The number of the first frame of all that there were.
    pub first_frame: Option<u64>,
    /// It belongs to another process, which says its beginning and its end.
    pub joined: bool,
    /// Nothing more comes of it.
    pub over: bool,
    /// Since when nothing more comes.
    pub over_since: Duration,
    /// Something of it was written to a connection: the receiver may have it.
    pub written: bool,
    /// It is not to be completed over HTTP: the receiver did not take it there. With the number of its first frame before
    /// that was tried.
    pub stream_only: Option<u64>,
    /// Where it stands in the order of age.
    pub serial: u64,
}

/// Bytes counted for a run beside itself: its entries in the tables of the stream, a hash table that grows included, which
/// exists twice for that time, and its own tables as small as they get.
const TABLES: usize = 704;
/// Bytes counted for the two entries of a step in the tables of its run.
const ENTRIES: usize = 108;

/// Bytes that the data of a `span_ended` has beside its output and its error.
const END: usize = 256;

/// A span of a run.
#[derive(Debug)]
pub(crate) struct Step {
    id: Id,
    /// It, as told last; nothing when it is under way and the receiver has what was told of it.
    pub chunk: Option<Chunk>,
    /// The data of its `span_ended`, once it has ended.
    pub end_data: Option<Bytes>,
    /// What a `span_started` said of it, condensed.
    said: Option<u64>,
    /// The number of the frame that says its beginning, while that is not confirmed.
    pub start: Option<u64>,
    /// The number of the frame that says its end, while that is not confirmed.
    pub end: Option<u64>,
    /// Accepted spans that it stands for.
    pub sources: u32,
}

impl Run {
    pub(crate) fn new(serial: u64) -> Self {
        Self {
            trace: Trace::default(),
            steps: BTreeMap::new(),
            places: HashMap::default(),
            next_place: 0,
            start: None,
            end: None,
            frames: BTreeSet::new(),
            first_frame: None,
            joined: false,
            over: false,
            over_since: Duration::ZERO,
            written: false,
            stream_only: None,
            serial,
        }
    }

    /// Bytes that it takes without its steps, with its entries in the tables of the stream.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + TABLES + trace_weight(&self.trace)
    }

    pub(crate) fn place_of(&self, span: &Id) -> Option<u64> {
        self.places.get(span).copied()
    }

    /// A place for a span that has none.
    pub(crate) fn place(&mut self, step: Step) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(step.id.clone(), place);
        self.steps.insert(place, Box::new(step));
        place
    }

    pub(crate) fn remove(&mut self, place: u64) -> Option<Box<Step>> {
        let step = self.steps.remove(&place)?;
        self.places.remove(&step.id);
        if self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(self.places.len() * 2);
        }
        Some(step)
    }

    /// Notes what it began with, when that is more than before.
    pub(crate) fn begins_with(&mut self, trace: Trace) {
        let lossy = self.trace.lossy.or(trace.lossy);
        self.trace = Trace { lossy, ..trace };
    }

    /// Its beginning, as `trace_started` says it.
    pub(crate) fn beginning(&self) -> Trace {
        let trace = &self.trace;
        let id = trace.id.clone().unwrap_or_else(|| Id::from(String::new()));
        let started = trace.started_at.clone().unwrap_or_else(|| Timestamp::from_unix_nanos(0));
        Trace {
            name: trace.name.clone(),
            input: trace.input.clone(),
            metadata: trace.metadata.clone(),
            session_id: trace.session_id.clone(),
            project_id: trace.project_id.clone(),
            ..Trace::started(id, started)
        }
    }

    /// Its end, as `trace_ended` says it.
    pub(crate) fn ending(&self) -> Option<TraceEnded> {
        let trace = &self.trace;
        let end = TracePatch::of(trace).into_ended(trace.id.clone()?);
        Some(TraceEnded {
            started_at: trace.started_at.clone(),
            output: Some(end.output.unwrap_or_else(Json::null)),
            ..end
        })
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.over && !self.joined && self.trace.status != Some(Status::Running)
    }

    /// Whether the receiver has all of it, and nothing more comes.
    pub(crate) fn is_done(&self) -> bool {
        self.over && self.frames.is_empty()
    }
}

impl Step {
    /// A step under way.
    pub(crate) fn begun(span: &Span) -> Self {
        Self {
            id: span.id.clone(),
            chunk: Chunk::new(span, 0),
            end_data: None,
            said: Some(condensed(span)),
            start: None,
            end: None,
            sources: 0,
        }
    }

    /// Nothing said of it yet.
    pub(crate) fn silent(id: &Id) -> Self {
        Self { id: id.clone(), chunk: None, end_data: None, said: None, start: None, end: None, sources: 0 }
    }

    /// It has ended; tells whether its beginning is to be said, as more is known of it than was said.
    pub(crate) fn ends(&mut self, mut chunk: Chunk, span: &Span) -> bool {
        let now = condensed(span);
        self.sources += chunk.sources;
        chunk.sources = self.sources;
        self.end_data = span.to_ended().and_then(|end| {
            let output = end.output.as_ref().map_or(0, |output| output.as_str().len());
            let mut data = String::with_capacity(END + output + end.error.as_ref().map_or(0, String::len));
            write::append(&mut data, &end).ok()?;
            data.shrink_to_fit();
            Some(data.into())
        });
        self.chunk = Some(chunk);
        self.said.replace(now) != Some(now)
    }

    /// The receiver has all of it.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.end_data.is_some() && self.start.is_none() && self.end.is_none()
    }

    /// Bytes that it takes, with its entries in the tables of its run.
    pub(crate) fn weight(&self) -> usize {
        let chunk = self.chunk.as_ref().map_or(0, Chunk::weight);
        size_of::<Self>() + ENTRIES + chunk + self.end_data.as_ref().map_or(0, Bytes::len)
    }
}

/// What only a `span_started` can say of a span (PROTOCOL.md section 5.3), as one number.
fn condensed(span: &Span) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    let json = |json: &'_ Option<Json>| json.as_ref().map(Json::as_str).hash(&mut hasher);
    [&span.input, &span.metadata].into_iter().for_each(json);
    (&span.name, span.span_type.as_str(), span.started_at.as_text(), span.parent_id.as_ref()).hash(&mut hasher);
    (&span.model, span.input_tokens, &span.agent_id, &span.agent_role, &span.parent_agent_id, &span.token_ids)
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_steps_gives_back_the_room_of_those_that_left() {
        let mut run = Run::new(0);
        let places: Vec<u64> = (0..1_000).map(|n: u32| run.place(Step::silent(&Id::from(n.to_string())))).collect();
        let (last, others) = places.split_last().unwrap();
        for place in others {
            assert!(run.remove(*place).is_some());
        }
        assert!(run.places.capacity() < 8, "{}", run.places.capacity());
        assert_eq!(run.place_of(&Id::from("999".to_owned())), Some(*last));
    }
}
