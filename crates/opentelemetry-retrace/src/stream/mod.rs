//! Runs sent event by event over one connection and confirmed frame by frame (PROTOCOL.md sections 5 and 6).
//!
//! A state machine: events and acks go in, frames come out. It has no clock, no socket and no thread. A frame
//! keeps its number and its bytes until it is confirmed; frames written to a connection that is lost are
//! written again, in order, to the next one. A frame is encoded when it is first written, so that waiting
//! data is held once.

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

/// Maximum number of frames written and not confirmed; the same as in the official client (section 11).
const WINDOW_FRAMES: usize = 1_000;
/// Maximum bytes of those frames, unless one frame alone is larger.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// A connection counts as lost when frames wait for an ack and none arrives for this long.
const UNCONFIRMED: Duration = Duration::from_secs(30);

/// Number of dropped runs that are remembered.
const DROPPED_RUNS: usize = 256;

/// Runs and frames that wait to be written or confirmed.
#[derive(Debug)]
pub(crate) struct Stream {
    /// True if frames are made; otherwise runs are only collected.
    frames_wanted: bool,
    runs: HashMap<Id, Box<Run>>,
    by_age: BTreeMap<u64, Id>,
    /// Runs that receive no more events, ordered by the time at which that became known.
    over: BTreeSet<(Duration, u64)>,
    /// The runs dropped last: if more of one arrives, it is incomplete.
    dropped: VecDeque<Id>,
    /// Lossy runs that have left the stream, and whose end does not report the loss.
    lossy_without_end: Vec<Incomplete>,
    next_run: u64,
    /// Number of runs that only the stream can complete.
    stream_only: usize,
    frames: BTreeMap<u64, Frame>,
    next_seq: u64,
    /// Frames from this number on are not written to the present connection.
    cursor: u64,
    /// Number of frames before the cursor, and their bytes.
    unconfirmed: usize,
    unconfirmed_bytes: usize,
    /// Time of the last ack, or of the first write when no frame waited for one.
    progress: Duration,
    pending: u64,
    weight: usize,
}

/// One frame. It is encoded when it is first written.
#[derive(Debug)]
struct Frame {
    run: Id,
    says: Says,
    text: Option<Utf8Bytes>,
}

impl Frame {
    /// Bytes counted for a frame without its text: its entries in two ordered tables, which take up to twice
    /// their size.
    const BYTES: usize = 2 * (size_of::<Self>() + 2 * size_of::<u64>());
}

/// Content of a frame; a span is named by its place in the run.
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

    /// Records that a run began, or more data of its beginning.
    pub(crate) fn begin(&mut self, id: &Id, trace: Trace) {
        self.change(id, |run| run.begins_with(trace));
        let said = self.runs.get(id).and_then(|run| run.start);
        if !self.is_unwritten(said) {
            let seq = self.enqueue(id, Says::TraceStarted);
            self.change(id, |run| run.start = seq);
        }
    }

    /// Records that steps follow of a run that belongs to another process; `trace` is the trace to create if
    /// it begins with them. If a run that began in this process returns this way, only its steps are sent
    /// from here as well.
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

    /// Records that a step began.
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

    /// Records that a step has ended; `chunk` is its encoding.
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

    /// Records that no more events of a run follow. A run with the status `running` has not ended, and no
    /// `trace_ended` is sent.
    pub(crate) fn end(&mut self, id: &Id, trace: Trace, now: Duration) {
        let ended = trace.status != Some(Status::Running);
        self.is_over(id, |run| run.begins_with(trace), now);
        if ended {
            self.say_end(id);
        }
        self.forget_if_done(id);
    }

    /// Records that for now no more events follow of a run that belongs to another process.
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

    /// Returns the next frame to write to the connection, if one may be written now. A frame is kept until it
    /// is confirmed. A new frame takes at most `room` bytes, unless no other frame waits for an ack, so that
    /// writing it displaces no other data.
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
                // The step or run of this frame has been dropped.
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

    /// Handles an ack; returns the accepted spans that it completes.
    pub(crate) fn ack(&mut self, ack: &Ack, now: Duration) -> Option<Departed> {
        let seq = ack.seq_number().or_else(|| self.oldest_about(ack.id.as_deref()?));
        let seq = seq.filter(|seq| self.frames.get(seq).is_some_and(|frame| frame.text.is_some()))?;
        self.progress = now;
        let frame = self.take_frame(seq)?;
        let spans = self.confirmed(&frame, seq);
        Some(Departed { run: frame.run, spans })
    }

    /// Returns the oldest written frame about this trace or span.
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

    /// Handles the loss of the connection: unconfirmed frames are written again to the next one.
    pub(crate) fn disconnected(&mut self) {
        (self.cursor, self.unconfirmed, self.unconfirmed_bytes) = (0, 0, 0);
    }

    /// Returns up to which frame the present connection is written and confirmed.
    pub(crate) fn written(&self) -> Written {
        let unconfirmed = self.frames.range(..self.cursor).next().map(|(seq, _)| *seq);
        Written { before: self.cursor, confirmed_before: unconfirmed.unwrap_or(self.cursor) }
    }

    /// Returns the time at which the present connection counts as lost unless an ack arrives.
    pub(crate) fn confirmed_until(&self) -> Option<Duration> {
        (self.unconfirmed > 0).then(|| self.progress + UNCONFIRMED)
    }

    /// Drops the oldest step that is not fully confirmed; the beginning and the end of a trace stay. Returns
    /// the accepted spans lost, or `None` when no step is left.
    pub(crate) fn drop_oldest_step(&mut self) -> Option<Departed> {
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
        let spans = self.drop_step(&id, place)?;
        Some(Departed { run: id, spans })
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

    /// Handles a frame that the receiver rejects for good: drops its content. Returns the accepted spans
    /// lost, or `None` for a frame that is not written or is confirmed already.
    pub(crate) fn refuse(&mut self, seq: u64) -> Option<Departed> {
        let frame = self.frames.get(&seq).filter(|frame| frame.text.is_some())?;
        let (id, says) = (frame.run.clone(), frame.says);
        if let Says::SpanStarted(place) | Says::SpanEnded(place) = says
            && let Some(lost) = self.drop_step(&id, place)
        {
            return Some(Departed { run: id, spans: lost });
        }
        let frame = self.take_frame(seq)?;
        let spans = self.confirmed(&frame, seq);
        Some(Departed { run: id, spans })
    }

    /// Marks a run as lossy, and sends its end again if the end was written without the mark.
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

    /// Drops the oldest run; returns the accepted spans lost.
    pub(crate) fn drop_oldest_run(&mut self) -> Option<Departed> {
        let id = self.by_age.values().next()?.clone();
        let first_frame = self.runs.get(&id)?.first_frame;
        let rest = self.take(&id)?;
        let lost = rest.sources();
        if rest.written {
            // It is not known if more of this run follows.
            self.lossy_without_end.push(Incomplete { id: id.clone(), first_frame });
        }
        if self.dropped.len() >= DROPPED_RUNS {
            self.dropped.pop_front();
        }
        self.dropped.push_back(id.clone());
        Some(Departed { run: id, spans: lost })
    }

    /// Takes the lossy runs that have left since the last call and whose end does not report the loss.
    pub(crate) fn take_lossy_without_end(&mut self) -> Vec<Incomplete> {
        std::mem::take(&mut self.lossy_without_end)
    }

    /// Runs that receive no more events, in the order in which that became known.
    pub(crate) fn over(&self) -> impl Iterator<Item = (&Id, &Run)> {
        let ids = self.over.iter().filter_map(|(_, serial)| self.by_age.get(serial));
        ids.filter_map(|id| Some((id, &**self.runs.get(id)?)))
    }

    /// Returns all runs, oldest first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Id, &Run)> {
        self.by_age.values().filter_map(|id| Some((id, &**self.runs.get(id)?)))
    }

    /// Returns the beginning of a run as `trace_started` carries it.
    pub(crate) fn told_of(&self, id: &Id) -> Option<Trace> {
        Some(self.runs.get(id)?.beginning())
    }

    pub(crate) fn has(&self, id: &Id) -> bool {
        self.runs.contains_key(id)
    }

    /// Number of runs held.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Returns true if a frame waits to be written or confirmed.
    pub(crate) fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Returns true if a frame with a smaller number is left.
    pub(crate) fn has_frames_before(&self, seq: u64) -> bool {
        self.frames.first_key_value().is_some_and(|(first, _)| *first < seq)
    }

    /// Returns true if a frame below `seq` is missing from a run that only the stream can complete.
    pub(crate) fn has_stream_only_before(&self, seq: u64) -> bool {
        self.stream_only > 0 && self.over().any(|(_, run)| run.stream_only.is_some_and(|first| first < seq))
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Number of accepted spans held.
    pub(crate) fn pending(&self) -> u64 {
        self.pending
    }

    /// Counts the spans step by step: after a panic, and for tests.
    pub(crate) fn count_spans(&self) -> u64 {
        self.runs.values().flat_map(|run| run.steps.values()).map(|step| u64::from(step.sources)).sum()
    }

    /// Corrects the counts after a panic that may have come between a change and its count.
    pub(crate) fn recount(&mut self) {
        self.pending = self.count_spans();
        let steps = |run: &Run| run.steps.values().map(|step| step.weight()).sum::<usize>();
        let frames = self.frames.values().map(|frame| frame.text.as_ref().map_or(0, |text| text.len()));
        self.weight = self.runs.values().map(|run| run.weight() + steps(run)).sum::<usize>()
            + frames.map(|length| Frame::BYTES + length).sum::<usize>();
    }

    /// Approximate bytes of everything held.
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

/// Accepted spans of a run that leave the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departed {
    pub run: Id,
    pub spans: u64,
}

/// Progress of a connection.
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
