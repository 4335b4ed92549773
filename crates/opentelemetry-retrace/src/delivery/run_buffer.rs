//! A run on its way: the events of it that the receiver may lack, in order.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::time::Duration;

use foldhash::HashMap;
use foldhash::fast::FixedState;
use retrace_protocol::{Id, Json, Span, SpanEnded, Status, Timestamp, Trace, TraceEnded, TracePatch};

use crate::delivery::encoded_span::EncodedSpan;

/// Bytes counted for each entry of the index, which exists twice while it grows.
const INDEX_ENTRY: usize = 2 * (size_of::<(Id, u32)>() + 1);
/// Number of slots from which on empty ones are removed.
const MANY_SLOTS: usize = 8;

/// Events of a run that are not confirmed, in memory once, whichever transport carries them.
#[derive(Debug)]
pub(crate) struct RunBuffer {
    /// Everything known of the run, its end included.
    pub trace: Trace,
    /// Steps under way and steps that are not confirmed, in the order of their first event.
    slots: Vec<Slot>,
    next_place: u32,
    /// Number of steps, their bytes, and the accepted spans that they represent.
    steps: usize,
    step_bytes: usize,
    sources: u64,
    /// Places of the steps of a run that is recorded event by event.
    index: HashMap<Id, u32>,
    /// Start of the first step, while the trace has no start.
    first_start: Option<Timestamp>,
    /// Number of the `trace_started` frame, until it is confirmed.
    pub start: Option<u64>,
    /// Number of the `trace_ended` frame, until it is confirmed.
    pub end: Option<u64>,
    /// All frames that are not confirmed, including those that later frames replace, in order.
    pub frames: VecDeque<u64>,
    /// Number of the first frame ever made for this run.
    pub first_frame: Option<u64>,
    /// True if the run belongs to another process, which sends its beginning and its end.
    pub joined: bool,
    /// Time since which no more events of the run follow, if none follow.
    pub over: Option<Duration>,
    /// True if a frame of the run was written to a connection, so that the receiver may have it.
    pub written: bool,
    /// Set if the run cannot be completed over HTTP because the receiver refused it there; the number of its
    /// first frame before that attempt.
    pub stream_only: Option<u64>,
    /// Position of the run in the order of age.
    pub serial: u64,
}

/// Place of a step; empty once the step has left.
#[derive(Debug)]
struct Slot {
    place: u32,
    step: Option<Step>,
}

/// Step of a run.
#[derive(Debug)]
pub(crate) struct Step {
    /// Last encoding of the span; `None` when the span is under way and its beginning is confirmed.
    pub span: Option<EncodedSpan>,
    /// Number of accepted spans that the step represents.
    pub sources: u32,
    /// State of its events, if they are sent as frames.
    pub events: Option<Box<StepEvents>>,
}

/// State of the events of a step.
#[derive(Debug)]
pub(crate) struct StepEvents {
    pub id: Id,
    /// Data of its `span_ended`, without the output, once the span has ended.
    pub ended: Option<SpanEnded>,
    /// Hash of the fields that the last `span_started` carried.
    started: Option<u64>,
    /// Number of the `span_started` frame, until it is confirmed.
    pub start: Option<u64>,
    /// Number of the `span_ended` frame, until it is confirmed.
    pub end: Option<u64>,
}

impl RunBuffer {
    /// Creates a run that is recorded event by event.
    pub(crate) fn new(serial: u64) -> Self {
        Self {
            trace: Trace::default(),
            slots: Vec::new(),
            next_place: 0,
            steps: 0,
            step_bytes: 0,
            sources: 0,
            index: HashMap::default(),
            first_start: None,
            start: None,
            end: None,
            frames: VecDeque::new(),
            first_frame: None,
            joined: false,
            over: None,
            written: false,
            stream_only: None,
            serial,
        }
    }

    /// Creates a run that has ended, with its spans.
    pub(crate) fn whole(trace: Trace, spans: Vec<EncodedSpan>, joined: bool) -> Self {
        let mut run = Self { trace, joined, slots: Vec::with_capacity(spans.len()), ..Self::new(0) };
        for span in spans {
            run.add(Step { sources: span.sources, span: Some(span), events: None });
        }
        run
    }

    /// Bytes of the run.
    pub(crate) fn weight(&self) -> usize {
        let slots = self.slots.capacity() * size_of::<Slot>();
        let index = self.index.capacity() * INDEX_ENTRY;
        size_of::<Self>() + index + trace_weight(&self.trace) + slots + self.step_bytes
    }

    /// Number of accepted spans in the run.
    pub(crate) fn sources(&self) -> u64 {
        self.sources
    }

    /// Returns the encoded spans that the receiver may lack, in order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &EncodedSpan> {
        self.slots.iter().filter_map(|slot| slot.step.as_ref()?.span.as_ref())
    }

    pub(crate) fn has_spans(&self) -> bool {
        self.spans().next().is_some()
    }

    /// Returns the place of the step with this id, of a run that is recorded event by event.
    pub(crate) fn place_of(&self, span: &Id) -> Option<u32> {
        self.index.get(span).copied()
    }

    /// Adds a step without any event and returns its place.
    pub(crate) fn add_step(&mut self, id: &Id, start: &Timestamp) -> u32 {
        if self.trace.started_at.is_none() && self.first_start.is_none() {
            self.first_start = Some(start.clone());
        }
        let events = StepEvents { id: id.clone(), ended: None, started: None, start: None, end: None };
        let place = self.add(Step { span: None, sources: 0, events: Some(Box::new(events)) });
        self.index.insert(id.clone(), place);
        place
    }

    fn add(&mut self, step: Step) -> u32 {
        let place = self.next_place;
        self.next_place += 1;
        self.steps += 1;
        self.step_bytes += step.weight();
        self.sources += u64::from(step.sources);
        self.slots.push(Slot { place, step: Some(step) });
        place
    }

    fn position(&self, place: u32) -> Option<usize> {
        self.slots.binary_search_by_key(&place, |slot| slot.place).ok()
    }

    pub(crate) fn step(&self, place: u32) -> Option<&Step> {
        self.slots.get(self.position(place)?)?.step.as_ref()
    }

    /// Returns all steps, each with its place.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (u32, &Step)> {
        self.slots.iter().filter_map(|slot| Some((slot.place, slot.step.as_ref()?)))
    }

    /// Changes a step.
    pub(crate) fn change<T>(&mut self, place: u32, change: impl FnOnce(&mut Step) -> T) -> Option<T> {
        let at = self.position(place)?;
        let step = self.slots.get_mut(at)?.step.as_mut()?;
        let (bytes, sources) = (step.weight(), u64::from(step.sources));
        let changed = change(step);
        self.step_bytes = self.step_bytes - bytes + step.weight();
        self.sources = self.sources - sources + u64::from(step.sources);
        Some(changed)
    }

    /// Changes the events of a step.
    pub(crate) fn change_events(&mut self, place: u32, change: impl FnOnce(&mut StepEvents)) {
        self.change(place, |step| step.events.as_deref_mut().map(change));
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<Step> {
        let at = self.position(place)?;
        let step = self.slots.get_mut(at)?.step.take()?;
        self.left(&step);
        if self.slots.len() > MANY_SLOTS && self.steps < self.slots.len() / 4 {
            self.slots.retain(|slot| slot.step.is_some());
            self.slots.shrink_to(self.steps * 2);
            self.index.shrink_to(self.index.len() * 2);
        }
        Some(step)
    }

    /// Removes the steps for which `keep` returns false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Step) -> bool) {
        for at in 0..self.slots.len() {
            let Some(slot) = self.slots.get_mut(at) else { break };
            if let Some(step) = slot.step.take_if(|step| !keep(step)) {
                self.left(&step);
            }
        }
        self.slots.retain(|slot| slot.step.is_some());
        self.slots.shrink_to_fit();
    }

    fn left(&mut self, step: &Step) {
        self.steps -= 1;
        self.step_bytes -= step.weight();
        self.sources -= u64::from(step.sources);
        if let Some(events) = &step.events {
            self.index.remove(&events.id);
        }
    }

    /// Replaces spans by what `change` returns for them, and gives each span memory of its own.
    pub(crate) fn replace_spans(&mut self, mut change: impl FnMut(&EncodedSpan) -> Option<EncodedSpan>) {
        let places: Vec<u32> = self.steps().map(|(place, _)| place).collect();
        for place in places {
            self.change(place, |step| {
                if let Some(span) = &mut step.span {
                    if let Some(changed) = change(span) {
                        *span = changed;
                    }
                    span.unshare();
                }
            });
        }
    }

    /// Drops all steps; returns the number of accepted spans in them.
    pub(crate) fn drop_steps(&mut self) -> u64 {
        self.slots = Vec::new();
        self.index = HashMap::default();
        (self.steps, self.step_bytes) = (0, 0);
        std::mem::take(&mut self.sources)
    }

    /// Updates the trace; a loss that is already marked stays.
    pub(crate) fn begins_with(&mut self, trace: Trace) {
        let lossy = self.trace.lossy.or(trace.lossy);
        self.trace = Trace { lossy, ..trace };
    }

    /// Completes the trace of a run whose beginning was dropped: it starts with its first step.
    pub(crate) fn ensure_head(&mut self, id: &Id) {
        if self.trace.missing_field().is_some() {
            let started = self.first_start.clone().unwrap_or_else(|| Timestamp::from_unix_nanos(0));
            self.trace = Trace { lossy: Some(true), ..Trace::started(id.clone(), started) };
        }
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

    /// Removes a frame that is confirmed or dropped.
    pub(crate) fn forget_frame(&mut self, seq: u64) {
        if let Ok(at) = self.frames.binary_search(&seq) {
            self.frames.remove(at);
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.over.is_some() && !self.joined && self.trace.status != Some(Status::Running)
    }

    /// Returns true if everything is confirmed and no more events follow.
    pub(crate) fn is_done(&self) -> bool {
        self.over.is_some() && self.frames.is_empty()
    }

    /// Counts the accepted spans step by step.
    pub(crate) fn count_spans(&self) -> u64 {
        self.steps().map(|(_, step)| u64::from(step.sources)).sum()
    }

    /// Corrects the counts after a panic that may have come between a change and its count.
    pub(crate) fn recount(&mut self) {
        self.sources = self.count_spans();
        self.steps = self.steps().count();
        self.step_bytes = self.steps().map(|(_, step)| step.weight()).sum();
    }
}

impl Step {
    /// Records that the span has begun.
    pub(crate) fn begins(&mut self, span: EncodedSpan, fingerprint: u64) {
        self.span = Some(span);
        if let Some(events) = &mut self.events {
            events.started = Some(fingerprint);
        }
    }

    /// Records that the span has ended; returns true if `span_started` must be sent, because the span differs
    /// from the last one sent.
    pub(crate) fn ends(&mut self, mut span: EncodedSpan, ended: Option<SpanEnded>, fingerprint: u64) -> bool {
        self.sources += span.sources;
        span.sources = self.sources;
        self.span = Some(span);
        self.events.as_mut().is_some_and(|events| {
            events.ended = ended;
            events.started.replace(fingerprint) != Some(fingerprint)
        })
    }

    /// Returns true if the receiver has confirmed the whole step.
    pub(crate) fn is_confirmed(&self) -> bool {
        let is_confirmed =
            |events: &StepEvents| events.ended.is_some() && events.start.is_none() && events.end.is_none();
        self.events.as_deref().is_some_and(is_confirmed)
    }

    /// Bytes of the step beside its slot.
    fn weight(&self) -> usize {
        let error = |events: &StepEvents| events.ended.as_ref()?.error.as_ref().map(String::len);
        let events = self.events.as_deref().map_or(0, |events| size_of::<StepEvents>() + error(events).unwrap_or(0));
        events + self.span.as_ref().map_or(0, EncodedSpan::weight)
    }
}

/// Returns the data of the `span_ended` of a span that has ended, without the output.
pub(crate) fn end_of(span: &Span) -> Option<SpanEnded> {
    Some(SpanEnded {
        id: span.id.clone(),
        trace_id: Some(span.trace_id.clone()),
        ended_at: span.ended_at.clone()?,
        output: None,
        duration_ms: span.duration_ms,
        output_tokens: span.output_tokens,
        cost: span.cost,
        error: span.error.clone(),
    })
}

/// Returns a hash of the fields that only a `span_started` carries (PROTOCOL.md section 5.3).
pub(crate) fn fingerprint(span: &Span) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    let json = |json: &'_ Option<Json>| json.as_ref().map(Json::as_str).hash(&mut hasher);
    [&span.input, &span.metadata].into_iter().for_each(json);
    (&span.name, span.span_type, &span.started_at, &span.parent_id).hash(&mut hasher);
    (&span.model, span.input_tokens, &span.agent_id, &span.agent_role, &span.parent_agent_id, &span.token_ids)
        .hash(&mut hasher);
    hasher.finish()
}

/// Bytes of all fields of a trace with variable length.
fn trace_weight(trace: &Trace) -> usize {
    let texts = [&trace.name, &trace.session_id, &trace.project_id, &trace.error];
    let texts = texts.into_iter().flatten().map(String::len).sum::<usize>();
    let json = [&trace.input, &trace.output, &trace.metadata].into_iter().flatten();
    texts + json.map(|json| json.as_str().len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::SpanType;

    fn at() -> Timestamp {
        Timestamp::from_unix_micros(1)
    }

    fn encoded(sources: u32) -> EncodedSpan {
        let span = Span::new("s".into(), "t".into(), SpanType::Action, "s", at());
        EncodedSpan::new(span, sources, usize::MAX).unwrap()
    }

    #[test]
    fn a_run_gives_back_the_room_of_steps_that_left() {
        let mut run = RunBuffer::new(0);
        let places: Vec<u32> = (0..1_000).map(|n: u32| run.add_step(&Id::from(n.to_string()), &at())).collect();
        let (last, others) = places.split_last().unwrap();
        for place in others {
            assert!(run.remove(*place).is_some());
        }
        assert!(
            run.index.capacity() < 16 && run.slots.capacity() < 16,
            "{} {}",
            run.index.capacity(),
            run.slots.capacity()
        );
        assert_eq!(run.place_of(&Id::from("999".to_owned())), Some(*last));
        assert!(run.step(*last).is_some() && run.step(0).is_none());
    }

    #[test]
    fn the_counts_of_a_run_are_those_of_its_steps() {
        let mut run = RunBuffer::whole(Trace::default(), vec![encoded(1), encoded(2), encoded(3)], false);
        let empty = RunBuffer::new(0).weight();
        let is_right = |run: &RunBuffer| {
            let bytes: usize = run.steps().map(|(_, step)| step.weight()).sum();
            assert_eq!((run.sources(), run.step_bytes), (run.count_spans(), bytes));
        };
        is_right(&run);
        let place = run.add_step(&"a".into(), &at());
        run.change(place, |step| step.ends(encoded(4), None, 1));
        is_right(&run);
        assert_eq!(run.sources(), 10);
        run.retain(|step| step.sources != 2);
        is_right(&run);
        run.replace_spans(|span| (span.sources == 3).then(|| encoded(3)));
        is_right(&run);
        assert_eq!((run.remove(place).map(|step| step.sources), run.sources()), (Some(4), 4));
        assert_eq!((run.drop_steps(), run.has_spans(), run.weight() < 2 * empty), (4, false, true));
        is_right(&run);
    }
}
