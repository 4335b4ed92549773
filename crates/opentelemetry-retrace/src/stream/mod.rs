//! Runs told event by event over one connection, confirmed frame by frame (PROTOCOL.md sections 5 and 6).
//!
//! A state machine: events and acks go in, frames come out. It knows no clock, no socket and no thread. A frame keeps its
//! number and its bytes until it is confirmed; whatever was written to a connection that is gone is written again, in
//! order, to the next. A frame is made when it is written, so that what waits is held once.

mod rest;
mod run;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use foldhash::HashMap;
use retrace_protocol::{Ack, ClientFrame, EventKind, Id, Span, Status, Trace, write};
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub(crate) use self::rest::{Incomplete, Rest};
use self::run::{Run, Step};
use crate::outbox::Chunk;

/// Most frames that are written and not confirmed; what the official client keeps (section 11).
const WINDOW_FRAMES: usize = 1_000;
/// Most bytes of them, unless one frame alone is larger.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// A connection on which nothing is confirmed for so long, although something is to be, is as good as lost.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// Dropped runs that are remembered.
const DROPPED_RUNS: usize = 256;

/// What waits to be said, and to be confirmed.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Whether frames are made at all; otherwise runs are only collected.
    frames_wanted: bool,
    runs: HashMap<Id, Box<Run>>,
    by_age: BTreeMap<u64, Id>,
    /// Runs of which nothing more comes, by when that was known.
    over: BTreeSet<(Duration, u64)>,
    /// The runs that were dropped last: what still comes of them is not all.
    dropped: VecDeque<Id>,
    /// Runs of which the receiver has what it ever will, and of which only an end could say that they are not whole.
    lossy_without_end: Vec<Incomplete>,
    next_run: u64,
    /// Runs that only the stream can complete.
    stream_only: usize,
    frames: BTreeMap<u64, Frame>,
    next_seq: u64,
    /// Frames from here on were not written to the present connection.
    cursor: u64,
    /// Frames before the cursor, and their bytes.
    unconfirmed: usize,
    unconfirmed_bytes: usize,
    /// When something was confirmed last, or written when nothing was to be confirmed.
    progress: Duration,
    pending: u64,
    weight: usize,
}

/// One frame. Its text is made when it is first written.
#[derive(Debug)]
struct Frame {
    run: Id,
    says: Says,
    text: Option<Utf8Bytes>,
}

impl Frame {
    /// Bytes counted for a frame without its text: its places in two ordered tables, which take up to twice as much.
    const BYTES: usize = 2 * (size_of::<Self>() + 2 * size_of::<u64>());
}

/// What a frame says; of a span by its place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    TraceStarted,
    SpanStarted(u64),
    SpanEnded(u64),
    TraceEnded,
}

impl Stream {
    pub(crate) fn new(frames_wanted: bool) -> Self {
        Self {
            frames_wanted,
            runs: HashMap::default(),
            by_age: BTreeMap::new(),
            over: BTreeSet::new(),
            dropped: VecDeque::new(),
            lossy_without_end: Vec::new(),
            next_run: 0,
            stream_only: 0,
            frames: BTreeMap::new(),
            next_seq: 1,
            cursor: 0,
            unconfirmed: 0,
            unconfirmed_bytes: 0,
            progress: Duration::ZERO,
            pending: 0,
            weight: 0,
        }
    }

    /// A run began, or more is known of what it began with.
    pub(crate) fn begin(&mut self, id: &Id, trace: Trace) {
        self.change(id, |run| run.begins_with(trace));
        let said = self.runs.get(id).and_then(|run| run.start);
        if !self.is_unwritten(said) {
            let seq = self.enqueue(id, Says::TraceStarted);
            self.change(id, |run| run.start = seq);
        }
    }

    /// Steps come of a run that belongs to another process; `trace` is what it would be if it began with them. Of a run that
    /// began here and comes back this way, only steps are said too.
    pub(crate) fn join(&mut self, id: &Id, trace: Trace) {
        let is_known = self.runs.contains_key(id);
        let mut key = None;
        self.change(id, |run| {
            run.joined |= !is_known;
            if run.joined {
                run.begins_with(trace);
            }
            key = std::mem::take(&mut run.over).then_some((run.over_since, run.serial));
        });
        if let Some(key) = key {
            self.over.remove(&key);
        }
    }

    /// A step began.
    pub(crate) fn step_began(&mut self, id: &Id, span: &Span) {
        if self.run(id).place_of(&span.id).is_some() {
            return;
        }
        let step = Step::begun(span);
        self.weight += step.weight();
        let place = self.run(id).place(step);
        let seq = self.enqueue(id, Says::SpanStarted(place));
        self.change_step(id, place, |step| step.start = seq);
    }

    /// A step has ended; `chunk` holds it.
    pub(crate) fn step_ended(&mut self, id: &Id, span: &Span, chunk: Chunk) {
        self.pending += u64::from(chunk.sources);
        let known = self.run(id).place_of(&span.id);
        let place = known.unwrap_or_else(|| {
            let step = Step::silent(&span.id);
            self.weight += step.weight();
            self.run(id).place(step)
        });
        let mut says_more = false;
        let mut start = None;
        self.change_step(id, place, |step| {
            says_more = step.ends(chunk, span);
            start = step.start;
        });
        if says_more && !self.is_unwritten(start) {
            let seq = self.enqueue(id, Says::SpanStarted(place));
            self.change_step(id, place, |step| step.start = seq);
        }
        let seq = self.enqueue(id, Says::SpanEnded(place));
        self.change_step(id, place, |step| step.end = seq);
    }

    /// Nothing more comes of a run. One that is told as running has not ended, and no end of it is said.
    pub(crate) fn end(&mut self, id: &Id, trace: Trace, now: Duration) {
        let ended = trace.status != Some(Status::Running);
        self.is_over(id, |run| run.begins_with(trace), now);
        if ended {
            self.say_end(id);
        }
        self.forget_if_done(id);
    }

    /// Nothing more comes for now of a run that belongs to another process.
    pub(crate) fn leave(&mut self, id: &Id, trace: Trace, now: Duration) {
        self.is_over(
            id,
            |run| {
                if run.joined {
                    run.begins_with(trace);
                }
            },
            now,
        );
        self.forget_if_done(id);
    }

    fn is_over(&mut self, id: &Id, change: impl FnOnce(&mut Run), now: Duration) {
        let mut key = (now, 0);
        self.change(id, |run| {
            change(run);
            (run.over, run.over_since) = (true, now);
            key.1 = run.serial;
        });
        self.over.insert(key);
    }

    fn say_end(&mut self, id: &Id) {
        let seq = self.enqueue(id, Says::TraceEnded);
        self.change(id, |run| run.end = seq);
    }

    /// The next frame to write to the connection, if one may be written now. A frame is kept until it is confirmed, and takes no
    /// more than `room` unless no other waits for that: to write it pushes nothing out.
    pub(crate) fn next(&mut self, room: usize, now: Duration) -> Option<Utf8Bytes> {
        if self.unconfirmed >= WINDOW_FRAMES || self.unconfirmed_bytes >= WINDOW_BYTES {
            return None;
        }
        loop {
            let (seq, frame) = self.frames.range(self.cursor..).next()?;
            let (seq, is_new) = (*seq, frame.text.is_none());
            let made = frame.text.clone().or_else(|| self.text(seq, frame));
            if is_new && self.unconfirmed > 0 && made.as_ref().is_some_and(|text| text.len() > room) {
                return None;
            }
            self.cursor = seq + 1;
            let Some(text) = made else {
                // What it was about is gone.
                self.take_frame(seq);
                continue;
            };
            if self.unconfirmed == 0 {
                self.progress = now;
            }
            self.unconfirmed += 1;
            self.unconfirmed_bytes += text.len();
            if let Some(frame) = self.frames.get_mut(&seq) {
                if frame.text.is_none() {
                    self.weight += text.len();
                    frame.text = Some(text.clone());
                }
                if let Some(run) = self.runs.get_mut(&frame.run) {
                    run.written = true;
                }
            }
            return Some(text);
        }
    }

    fn text(&self, seq: u64, frame: &Frame) -> Option<Utf8Bytes> {
        let run = self.runs.get(&frame.run)?;
        let (made, written);
        let data = match frame.says {
            Says::TraceStarted => {
                made = write::to_string(&run.beginning()).ok()?;
                made.as_str()
            }
            Says::TraceEnded => {
                made = write::to_string(&run.ending()?).ok()?;
                made.as_str()
            }
            Says::SpanStarted(place) => {
                written = run.steps.get(&place)?.chunk.as_ref()?.data()?;
                &*written
            }
            Says::SpanEnded(place) => std::str::from_utf8(run.steps.get(&place)?.end_data.as_ref()?).ok()?,
        };
        Some(Utf8Bytes::from(ClientFrame::event_text(frame.says.kind(), data, seq)))
    }

    /// A frame is confirmed; tells how many accepted spans are delivered by that.
    pub(crate) fn ack(&mut self, ack: &Ack, now: Duration) -> u64 {
        let seq = ack.seq_number().or_else(|| self.oldest_about(ack.id.as_deref()?));
        let Some(seq) = seq.filter(|seq| self.frames.get(seq).is_some_and(|frame| frame.text.is_some())) else {
            return 0;
        };
        self.progress = now;
        let Some(frame) = self.take_frame(seq) else { return 0 };
        self.confirmed(&frame, seq)
    }

    /// The oldest frame written that is about this trace or span.
    fn oldest_about(&self, id: &str) -> Option<u64> {
        let written = self.frames.iter().filter(|(_, frame)| frame.text.is_some());
        written.into_iter().find(|(_, frame)| self.is_about(frame, id)).map(|(seq, _)| *seq)
    }

    fn is_about(&self, frame: &Frame, id: &str) -> bool {
        match frame.says {
            Says::TraceStarted | Says::TraceEnded => frame.run == Id::from(id),
            Says::SpanStarted(place) | Says::SpanEnded(place) => {
                self.runs.get(&frame.run).is_some_and(|run| run.place_of(&Id::from(id)) == Some(place))
            }
        }
    }

    fn confirmed(&mut self, frame: &Frame, seq: u64) -> u64 {
        let Some(run) = self.runs.get_mut(&frame.run) else { return 0 };
        let mut delivered = 0;
        match frame.says {
            Says::TraceStarted if run.start == Some(seq) => run.start = None,
            Says::TraceEnded if run.end == Some(seq) => run.end = None,
            Says::TraceStarted | Says::TraceEnded => {}
            Says::SpanStarted(place) | Says::SpanEnded(place) => {
                if let Some(step) = run.steps.get_mut(&place) {
                    self.weight -= step.weight();
                    if step.start == Some(seq) {
                        step.start = None;
                        if step.end_data.is_none() {
                            step.chunk = None;
                        }
                    }
                    if step.end == Some(seq) {
                        step.end = None;
                    }
                    self.weight += step.weight();
                    if step.is_confirmed() {
                        self.weight -= step.weight();
                        delivered = u64::from(step.sources);
                        self.pending -= delivered;
                        run.remove(place);
                    }
                }
            }
        }
        self.forget_if_done(&frame.run);
        delivered
    }

    /// The connection is gone: what was written and not confirmed is written again.
    pub(crate) fn disconnected(&mut self) {
        (self.cursor, self.unconfirmed, self.unconfirmed_bytes) = (0, 0, 0);
    }

    /// Which frames the present connection has, and of those which are confirmed.
    pub(crate) fn written(&self) -> Written {
        let unconfirmed = self.frames.range(..self.cursor).next().map(|(seq, _)| *seq);
        Written { before: self.cursor, confirmed_before: unconfirmed.unwrap_or(self.cursor) }
    }

    /// When the present connection is to be given up unless something is confirmed.
    pub(crate) fn confirmed_until(&self) -> Option<Duration> {
        (self.unconfirmed > 0).then(|| self.progress + UNCONFIRMED)
    }

    /// Drops the oldest step of which the receiver lacks something; of a trace its beginning and its end stay. Tells how many
    /// accepted spans are lost; `None` when there is no step left.
    pub(crate) fn drop_oldest_step(&mut self) -> Option<u64> {
        let of_span = |frame: &Frame| match frame.says {
            Says::SpanStarted(place) | Says::SpanEnded(place) => Some((frame.run.clone(), place)),
            Says::TraceStarted | Says::TraceEnded => None,
        };
        let waiting = self.frames.range(self.cursor..).find_map(|(_, frame)| of_span(frame));
        let (id, place) = waiting.or_else(|| self.frames.values().find_map(of_span)).or_else(|| {
            let runs = self.by_age.values().filter_map(|id| self.runs.get(id).map(|run| (id, run)));
            runs.flat_map(|(id, run)| run.steps.iter().map(move |(place, step)| (id, *place, step)))
                .find(|(_, _, step)| step.chunk.is_some())
                .map(|(id, place, _)| (id.clone(), place))
        })?;
        self.drop_step(&id, place)
    }

    fn drop_step(&mut self, id: &Id, place: u64) -> Option<u64> {
        let step = self.runs.get_mut(id)?.remove(place)?;
        self.weight -= step.weight();
        for seq in step.start.into_iter().chain(step.end) {
            self.take_frame(seq);
        }
        let lost = u64::from(step.sources);
        self.pending -= lost;
        if lost > 0 {
            self.mark_lossy(id);
        }
        self.forget_if_done(id);
        Some(lost)
    }

    /// The receiver will never take a frame: gives up what it says. Tells how many accepted spans are lost by that; `None`
    /// for a frame that was not written or is confirmed.
    pub(crate) fn refuse(&mut self, seq: u64) -> Option<u64> {
        let frame = self.frames.get(&seq).filter(|frame| frame.text.is_some())?;
        let (id, says) = (frame.run.clone(), frame.says);
        if let Says::SpanStarted(place) | Says::SpanEnded(place) = says
            && let Some(lost) = self.drop_step(&id, place)
        {
            return Some(lost);
        }
        let frame = self.take_frame(seq)?;
        Some(self.confirmed(&frame, seq))
    }

    /// Notes that something of a run is lost, and says so again if its end was said without.
    pub(crate) fn mark_lossy(&mut self, id: &Id) {
        let Some(run) = self.runs.get_mut(id) else { return };
        if run.trace.lossy.replace(true) == Some(true) {
            return;
        }
        let (ended, end) = (run.has_ended(), run.end);
        if ended && !self.is_unwritten(end) {
            self.say_end(id);
        }
    }

    /// Drops the oldest run; tells how many accepted spans are lost by that.
    pub(crate) fn drop_oldest_run(&mut self) -> Option<u64> {
        let id = self.by_age.values().next()?.clone();
        let first_frame = self.runs.get(&id)?.first_frame;
        let rest = self.take(&id)?;
        let lost = rest.sources();
        if rest.written {
            // More may come of it, or not.
            self.lossy_without_end.push(Incomplete { id: id.clone(), first_frame });
        }
        if self.dropped.len() >= DROPPED_RUNS {
            self.dropped.pop_front();
        }
        self.dropped.push_back(id);
        Some(lost)
    }

    /// Runs that are not whole, have no end to say so, and have left since the last time.
    pub(crate) fn take_lossy_without_end(&mut self) -> Vec<Incomplete> {
        std::mem::take(&mut self.lossy_without_end)
    }

    /// Runs of which nothing more comes, in the order in which that was known.
    pub(crate) fn over(&self) -> impl Iterator<Item = (&Id, &Run)> {
        let ids = self.over.iter().filter_map(|(_, serial)| self.by_age.get(serial));
        ids.filter_map(|id| Some((id, &**self.runs.get(id)?)))
    }

    /// All runs, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Id, &Run)> {
        self.by_age.values().filter_map(|id| Some((id, &**self.runs.get(id)?)))
    }

    /// What was told of the beginning of a run.
    pub(crate) fn told_of(&self, id: &Id) -> Option<Trace> {
        Some(self.runs.get(id)?.beginning())
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        self.runs.contains_key(id)
    }

    /// Runs that are known.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there is something to write or to be confirmed.
    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Whether a frame with a smaller number is left.
    pub(crate) fn has_frames_before(&self, seq: u64) -> bool {
        self.frames.first_key_value().is_some_and(|(first, _)| *first < seq)
    }

    /// Whether a run that only the stream can complete lacks what a frame with a smaller number said.
    pub(crate) fn has_stream_only_before(&self, seq: u64) -> bool {
        self.stream_only > 0 && self.over().any(|(_, run)| run.stream_only.is_some_and(|first| first < seq))
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Accepted spans that are here.
    pub(crate) fn pending(&self) -> u64 {
        self.pending
    }

    /// Counts the spans that are here again, step by step: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        self.runs.values().flat_map(|run| run.steps.values()).map(|step| u64::from(step.sources)).sum()
    }

    /// Makes the counts what is really there, after a panic that may have come between a change and its count.
    pub(crate) fn recount(&mut self) {
        self.pending = self.count_spans();
        let steps = |run: &Run| run.steps.values().map(|step| step.weight()).sum::<usize>();
        let frames = self.frames.values().map(|frame| frame.text.as_ref().map_or(0, |text| text.len()));
        self.weight = self.runs.values().map(|run| run.weight() + steps(run)).sum::<usize>()
            + frames.map(|length| Frame::BYTES + length).sum::<usize>();
    }

    /// Bytes that everything here takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, id: &Id) -> &mut Run {
        self.runs.entry(id.clone()).or_insert_with(|| {
            let mut run = Box::new(Run::new(self.next_run));
            run.trace.lossy = self.dropped.contains(id).then_some(true);
            self.by_age.insert(self.next_run, id.clone());
            self.next_run += 1;
            self.weight += run.weight();
            run
        })
    }

    fn change(&mut self, id: &Id, change: impl FnOnce(&mut Run)) {
        let run = self.run(id);
        let before = run.weight();
        change(run);
        let after = run.weight();
        self.weight = self.weight - before + after;
    }

    fn change_step(&mut self, id: &Id, place: u64, change: impl FnOnce(&mut Step)) {
        let Some(step) = self.runs.get_mut(id).and_then(|run| run.steps.get_mut(&place)) else { return };
        let before = step.weight();
        change(step);
        self.weight = self.weight - before + step.weight();
    }

    fn enqueue(&mut self, id: &Id, says: Says) -> Option<u64> {
        if !self.frames_wanted {
            return None;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        self.frames.insert(seq, Frame { run: id.clone(), says, text: None });
        self.weight += Frame::BYTES;
        let run = self.run(id);
        run.frames.insert(seq);
        run.first_frame.get_or_insert(seq);
        Some(seq)
    }

    fn is_unwritten(&self, seq: Option<u64>) -> bool {
        seq.and_then(|seq| self.frames.get(&seq)).is_some_and(|frame| frame.text.is_none())
    }

    fn take_frame(&mut self, seq: u64) -> Option<Frame> {
        let frame = self.frames.remove(&seq)?;
        let length = frame.text.as_ref().map_or(0, |text| text.len());
        self.weight -= Frame::BYTES + length;
        if seq < self.cursor && frame.text.is_some() {
            self.unconfirmed = self.unconfirmed.saturating_sub(1);
            self.unconfirmed_bytes = self.unconfirmed_bytes.saturating_sub(length);
        }
        if let Some(run) = self.runs.get_mut(&frame.run) {
            run.frames.remove(&seq);
        }
        Some(frame)
    }

    fn forget_if_done(&mut self, id: &Id) {
        if self.frames_wanted
            && self.runs.get(id).is_some_and(|run| run.is_done())
            && let Some(run) = self.remove_run(id)
            && run.written
            && !run.has_ended()
            && run.trace.lossy == Some(true)
        {
            self.lossy_without_end.push(Incomplete { id: id.clone(), first_frame: run.first_frame });
        }
    }

    fn remove_run(&mut self, id: &Id) -> Option<Box<Run>> {
        let run = self.runs.remove(id)?;
        self.by_age.remove(&run.serial);
        self.stream_only -= usize::from(run.stream_only.is_some());
        self.over.remove(&(run.over_since, run.serial));
        self.weight -= run.weight() + run.steps.values().map(|step| step.weight()).sum::<usize>();
        Some(run)
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Every frame below this number was written.
    pub before: u64,
    /// Every frame below this number is confirmed.
    pub confirmed_before: u64,
}

impl Says {
    const fn kind(self) -> EventKind {
        match self {
            Self::TraceStarted => EventKind::TraceStarted,
            Self::SpanStarted(_) => EventKind::SpanStarted,
            Self::SpanEnded(_) => EventKind::SpanEnded,
            Self::TraceEnded => EventKind::TraceEnded,
        }
    }
}

#[cfg(test)]
mod tests;
