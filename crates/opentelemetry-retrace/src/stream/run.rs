//! A run that is sent event by event: the parts of it that the receiver may still lack.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use foldhash::fast::FixedState;
use retrace_protocol::{Id, Json, Span, Status, Timestamp, Trace, TraceEnded, TracePatch, write};

use crate::outbox::{Chunk, trace_weight};

/// Events of a run that are not confirmed.
#[derive(Debug)]
pub(crate) struct Run {
    /// Everything known of the run, its end included.
    pub trace: Trace,
    /// Steps under way and steps that are not confirmed, in the order of their first event. Boxed, so that
    /// the table reserves no space for large values that it does not hold.
    pub steps: BTreeMap<u64, Box<Step>>,
    places: HashMap<Id, u64>,
    next_place: u64,
    /// Number of the `trace_started` frame, until it is confirmed.
    pub start: Option<u64>,
    /// Number of the `trace_ended` frame, until it is confirmed.
    pub end: Option<u64>,
    /// All frames that are not confirmed, including those that later frames replace.
    pub frames: BTreeSet<u64>,
    /// Number of the first frame ever made for this run.
    pub first_frame: Option<u64>,
    /// True if the run belongs to another process, which sends its beginning and its end.
    pub joined: bool,
    /// True if no more events of the run follow.
    pub over: bool,
    /// Time since which no more events follow.
    pub over_since: Duration,
    /// True if a frame of the run was written to a connection, so that the receiver may have it.
    pub written: bool,
    /// Set if the run cannot be completed over HTTP because the receiver refused it there; the number of its
    /// first frame before that attempt.
    pub stream_only: Option<u64>,
    /// Position of the run in the order of age.
    pub serial: u64,
}

/// Bytes counted for a run beside itself: its entries in the tables of the stream, including a hash table
/// that exists twice while it grows, and its own tables at their smallest size.
const TABLES: usize = 704;
/// Bytes counted for the two entries of a step in the tables of its run.
const ENTRIES: usize = 108;

/// Bytes of the data of a `span_ended` beside its output and its error.
const END: usize = 256;

/// Step of a run.
#[derive(Debug)]
pub(crate) struct Step {
    id: Id,
    /// Last encoding of the span; `None` when the span is under way and its beginning is confirmed.
    pub chunk: Option<Chunk>,
    /// Data of its `span_ended`, once the span has ended.
    pub end_data: Option<Bytes>,
    /// Hash of the fields that the last `span_started` carried.
    said: Option<u64>,
    /// Number of the `span_started` frame, until it is confirmed.
    pub start: Option<u64>,
    /// Number of the `span_ended` frame, until it is confirmed.
    pub end: Option<u64>,
    /// Number of accepted spans that the step represents.
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

    /// Bytes of the run without its steps, with its entries in the tables of the stream.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + TABLES + trace_weight(&self.trace)
    }

    pub(crate) fn place_of(&self, span: &Id) -> Option<u64> {
        self.places.get(span).copied()
    }

    /// Adds a step and returns its place.
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

    /// Updates the trace; a loss that is already marked stays.
    pub(crate) fn begins_with(&mut self, trace: Trace) {
        let lossy = self.trace.lossy.or(trace.lossy);
        self.trace = Trace { lossy, ..trace };
    }

    /// Returns the beginning as `trace_started` carries it.
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

    /// Returns the end as `trace_ended` carries it.
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

    /// Returns true if everything is confirmed and no more events follow.
    pub(crate) fn is_done(&self) -> bool {
        self.over && self.frames.is_empty()
    }
}

impl Step {
    /// Creates a step under way.
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

    /// Creates a step without any event.
    pub(crate) fn silent(id: &Id) -> Self {
        Self { id: id.clone(), chunk: None, end_data: None, said: None, start: None, end: None, sources: 0 }
    }

    /// Ends the step; returns true if `span_started` must be sent, because the span differs from the last one
    /// sent.
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

    /// Returns true if the receiver has confirmed the whole step.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.end_data.is_some() && self.start.is_none() && self.end.is_none()
    }

    /// Bytes of the step, with its entries in the tables of its run.
    pub(crate) fn weight(&self) -> usize {
        let chunk = self.chunk.as_ref().map_or(0, Chunk::weight);
        size_of::<Self>() + ENTRIES + chunk + self.end_data.as_ref().map_or(0, Bytes::len)
    }
}

/// Hash of the fields that only a `span_started` carries (PROTOCOL.md section 5.3).
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
