//! Frames over one connection, confirmed one by one (PROTOCOL.md sections 5 and 6).
//!
//! A frame names an event of a run. It keeps its number and its text until it is confirmed; frames written to a
//! connection that is lost are written again, in order, to the next one. Its text is made from the encoded record
//! when it is first written, so that waiting data is held once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use retrace_protocol::{ClientFrame, EventKind, Id, write};

use crate::delivery::run_buffer::{RunBuffer, Step};

/// Maximum number of frames written and not confirmed; the same as in the official client (section 11).
pub(super) const WINDOW_FRAMES: usize = 1_000;
/// Maximum bytes of those frames, unless one frame alone is larger.
pub(super) const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// A connection counts as lost when frames wait for an ack and none arrives for this long.
const UNCONFIRMED: Duration = Duration::from_secs(30);
/// Bytes of the data of a `span_ended` beside its output.
const END: usize = 256;

/// Frames that wait to be written or confirmed, by number.
#[derive(Debug)]
pub(super) struct Frames {
    frames: BTreeMap<u64, Frame>,
    next_seq: u64,
    /// Frames from this number on are not written to the present connection.
    cursor: u64,
    /// Number of frames before the cursor, and their bytes.
    unconfirmed: usize,
    unconfirmed_bytes: usize,
    /// Time of the last ack, or of the first write when no frame waited for one.
    progress: Duration,
    weight: usize,
}

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub run: Id,
    pub event: Event,
    /// Text, once it was written.
    text: Option<Bytes>,
}

impl Frame {
    /// Bytes counted for a frame without its text: its entries in two ordered tables, which take up to twice
    /// their size.
    const BYTES: usize = 2 * (size_of::<Self>() + 2 * size_of::<u64>());

    pub(super) fn is_written(&self) -> bool {
        self.text.is_some()
    }

    fn length(&self) -> usize {
        self.text.as_ref().map_or(0, Bytes::len)
    }
}

/// Event that a frame carries; a span is named by its place in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    TraceStarted,
    SpanStarted(u32),
    SpanEnded(u32),
    TraceEnded,
}

/// Progress of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Every frame below this number was written.
    pub before: u64,
    /// Every frame below this number is confirmed.
    pub confirmed_before: u64,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self {
            frames: BTreeMap::new(),
            next_seq: 1,
            cursor: 0,
            unconfirmed: 0,
            unconfirmed_bytes: 0,
            progress: Duration::ZERO,
            weight: 0,
        }
    }

    /// Adds a frame and returns its number.
    pub(super) fn enqueue(&mut self, run: &Id, event: Event) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.frames.insert(seq, Frame { run: run.clone(), event, text: None });
        self.weight += Frame::BYTES;
        seq
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Frame> {
        self.frames.get(&seq)
    }

    /// Returns true if this frame exists and was never written.
    pub(super) fn is_unwritten(&self, seq: Option<u64>) -> bool {
        seq.and_then(|seq| self.frames.get(&seq)).is_some_and(|frame| !frame.is_written())
    }

    /// Removes a frame.
    pub(super) fn take(&mut self, seq: u64) -> Option<Frame> {
        let frame = self.frames.remove(&seq)?;
        self.weight -= Frame::BYTES + frame.length();
        if seq < self.cursor && frame.is_written() {
            self.unconfirmed = self.unconfirmed.saturating_sub(1);
            self.unconfirmed_bytes = self.unconfirmed_bytes.saturating_sub(frame.length());
        }
        Some(frame)
    }

    /// Returns the next frame to write, if the window is open.
    pub(super) fn next(&self) -> Option<(u64, &Frame)> {
        if self.unconfirmed >= WINDOW_FRAMES || self.unconfirmed_bytes >= WINDOW_BYTES {
            return None;
        }
        self.frames.range(self.cursor..).next().map(|(seq, frame)| (*seq, frame))
    }

    /// Records that the frame is passed over or written with this text. Returns false, and does nothing, if a new
    /// text has more than `room` bytes while other frames wait for an ack.
    pub(super) fn write(&mut self, seq: u64, text: Option<&Bytes>, room: usize, now: Duration) -> bool {
        let is_new = self.frames.get(&seq).is_some_and(|frame| !frame.is_written());
        let length = text.map_or(0, Bytes::len);
        if is_new && self.unconfirmed > 0 && length > room {
            return false;
        }
        self.cursor = seq + 1;
        if let Some(text) = text {
            if self.unconfirmed == 0 {
                self.progress = now;
            }
            self.unconfirmed += 1;
            self.unconfirmed_bytes += length;
            if let Some(frame) = self.frames.get_mut(&seq).filter(|_| is_new) {
                self.weight += length;
                frame.text = Some(text.clone());
            }
        }
        true
    }

    /// Records an ack.
    pub(super) fn confirmed(&mut self, now: Duration) {
        self.progress = now;
    }

    /// Returns the frames that were written, in order.
    pub(super) fn written_frames(&self) -> impl Iterator<Item = (u64, &Frame)> {
        self.frames.iter().filter(|(_, frame)| frame.is_written()).map(|(seq, frame)| (*seq, frame))
    }

    /// Returns the first frame for which `wanted` returns true; frames that are not written to the present
    /// connection come first.
    pub(super) fn find(&self, wanted: impl Fn(&Frame) -> bool) -> Option<&Frame> {
        let waiting = self.frames.range(self.cursor..).map(|(_, frame)| frame).find(|frame| wanted(frame));
        waiting.or_else(|| self.frames.values().find(|frame| wanted(frame)))
    }

    /// Handles the loss of the connection: unconfirmed frames are written again to the next one.
    pub(super) fn disconnected(&mut self) {
        (self.cursor, self.unconfirmed, self.unconfirmed_bytes) = (0, 0, 0);
    }

    /// Returns up to which frame the present connection is written and confirmed.
    pub(super) fn progress(&self) -> Written {
        let unconfirmed = self.frames.range(..self.cursor).next().map(|(seq, _)| *seq);
        Written { before: self.cursor, confirmed_before: unconfirmed.unwrap_or(self.cursor) }
    }

    /// Returns the time at which the present connection counts as lost unless an ack arrives.
    pub(super) fn confirmed_until(&self) -> Option<Duration> {
        (self.unconfirmed > 0).then(|| self.progress + UNCONFIRMED)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns true if a frame with a smaller number is left.
    pub(super) fn has_before(&self, seq: u64) -> bool {
        self.frames.first_key_value().is_some_and(|(first, _)| *first < seq)
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Bytes of all frames.
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    /// Corrects the count after a panic.
    pub(super) fn recount(&mut self) {
        self.weight = self.frames.values().map(|frame| Frame::BYTES + frame.length()).sum();
    }
}

/// Returns the text of a frame: a view on the encoded record. `None` if the run or the step has left.
pub(super) fn text(seq: u64, frame: &Frame, run: &RunBuffer) -> Option<Bytes> {
    if let Some(text) = &frame.text {
        return Some(text.clone());
    }
    let text = |data: &str| Some(ClientFrame::event_text(frame.event.kind(), data, seq).into());
    match frame.event {
        Event::TraceStarted => text(&write::to_string(&run.beginning()).ok()?),
        Event::TraceEnded => text(&write::to_string(&run.ending()?).ok()?),
        Event::SpanStarted(place) => text(&run.step(place)?.span.as_ref()?.data()?),
        Event::SpanEnded(place) => text(&span_ended(run.step(place)?)?),
    }
}

/// Returns the data of the `span_ended` of a step: its end, with the output of the encoded span.
fn span_ended(step: &Step) -> Option<String> {
    let ended = step.events.as_ref()?.ended.as_ref()?;
    let output = step.span.as_ref().and_then(|span| span.output()).unwrap_or("null");
    let mut data = String::with_capacity(END + output.len());
    write::append(&mut data, ended).ok()?;
    data.pop();
    data.push_str(r#","output":"#);
    data.push_str(output);
    data.push('}');
    Some(data)
}

impl Event {
    const fn kind(self) -> EventKind {
        match self {
            Self::TraceStarted => EventKind::TraceStarted,
            Self::SpanStarted(_) => EventKind::SpanStarted,
            Self::SpanEnded(_) => EventKind::SpanEnded,
            Self::TraceEnded => EventKind::TraceEnded,
        }
    }

    /// Returns the place of the span that the event is about.
    pub(super) const fn place(self) -> Option<u32> {
        match self {
            Self::SpanStarted(place) | Self::SpanEnded(place) => Some(place),
            Self::TraceStarted | Self::TraceEnded => None,
        }
    }
}
