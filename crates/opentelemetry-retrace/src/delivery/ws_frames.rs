//! Frames over one connection, confirmed one by one (PROTOCOL.md sections 5 and 6).
//!
//! A frame names an event of a run. It keeps its number and its text until it is confirmed; frames written to a
//! connection that is lost are written again, in order, to the next one. Its text is made from the encoded record
//! when it is first written, so that waiting data is held once.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use retrace_protocol::{ClientFrame, EventKind, Id, write};

use crate::delivery::encoded_span::EncodedSpan;
use crate::delivery::run_buffer::RunBuffer;

/// Maximum number of frames written and not confirmed; the same as in the official client (section 11).
pub(super) const WINDOW_FRAMES: usize = 1_000;
/// Maximum bytes of those frames, unless one frame alone is larger.
pub(super) const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// A connection counts as lost when frames wait for an ack and none arrives for this long.
const UNCONFIRMED: Duration = Duration::from_secs(30);
/// Bytes of the data of a `span_ended` beside its output.
const END: usize = 256;

/// Number of unused places in the table of frames that are kept in any case.
const SPARE: usize = 32;

/// Frames that wait to be written or confirmed, by number.
#[derive(Debug)]
pub(super) struct Frames {
    /// Ordered by number. Frames are added at the end, and acks arrive nearly in order, so that most leave at the front. One that
    /// leaves elsewhere leaves an empty place; the first place is never empty.
    frames: VecDeque<(u64, Option<Frame>)>,
    /// Number of frames.
    count: usize,
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
    /// Bytes counted for a frame without its text: its entries in two tables, which take up to twice their size.
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
            frames: VecDeque::new(),
            count: 0,
            next_seq: 1,
            cursor: 0,
            unconfirmed: 0,
            unconfirmed_bytes: 0,
            progress: Duration::ZERO,
            weight: 0,
        }
    }

    /// Returns the index of the place of a frame, or that of the next one.
    fn place(&self, seq: u64) -> Result<usize, usize> {
        let (first, _) = self.frames.front().ok_or(0_usize)?;
        let numbers_between = usize::try_from(seq.saturating_sub(*first)).unwrap_or(usize::MAX);
        // Without gaps, this is the index.
        match self.frames.get(numbers_between) {
            Some((found, _)) if *found == seq => Ok(numbers_between),
            _ => self.frames.binary_search_by_key(&seq, |(seq, _)| *seq),
        }
    }

    /// Returns the index of the first place whose frame is not written to the present connection.
    fn first_waiting(&self) -> usize {
        self.place(self.cursor).unwrap_or_else(|next| next)
    }

    /// Adds a frame and returns its number.
    pub(super) fn enqueue(&mut self, run: &Id, event: Event) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.frames.push_back((seq, Some(Frame { run: run.clone(), event, text: None })));
        self.count += 1;
        self.weight += Frame::BYTES;
        seq
    }

    /// Adds a frame to its run and returns its number.
    pub(super) fn enqueue_of(&mut self, run: &mut RunBuffer, id: &Id, event: Event) -> u64 {
        let seq = self.enqueue(id, event);
        run.frames.push_back(seq);
        run.first_frame.get_or_insert(seq);
        seq
    }

    /// Adds a frame of a step.
    pub(super) fn enqueue_step(&mut self, run: &mut RunBuffer, id: &Id, place: u32, event: fn(u32) -> Event) {
        let event = event(place);
        let seq = self.enqueue_of(run, id, event);
        run.change_events(place, |events| match event {
            Event::SpanEnded(_) => events.end = Some(seq),
            _ => events.start = Some(seq),
        });
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Frame> {
        self.frames.get(self.place(seq).ok()?)?.1.as_ref()
    }

    /// Returns true if this frame exists and was never written.
    pub(super) fn is_unwritten(&self, seq: Option<u64>) -> bool {
        seq.and_then(|seq| self.get(seq)).is_some_and(|frame| !frame.is_written())
    }

    /// Removes a frame.
    pub(super) fn take(&mut self, seq: u64) -> Option<Frame> {
        let place = self.place(seq).ok()?;
        let frame = self.frames.get_mut(place)?.1.take()?;
        self.count -= 1;
        while self.frames.front().is_some_and(|(_, frame)| frame.is_none()) {
            self.frames.pop_front();
        }
        if self.frames.len() > self.count + self.count / 4 + SPARE {
            self.frames.retain(|(_, frame)| frame.is_some());
        }
        if self.frames.capacity() > 2 * self.frames.len() + SPARE {
            self.frames.shrink_to(self.frames.len() + self.frames.len() / 4);
        }
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
        self.frames.range(self.first_waiting()..).find_map(|(seq, frame)| Some((*seq, frame.as_ref()?)))
    }

    /// Records that the frame is passed over or written with this text. Returns false, and does nothing, if a new
    /// text has more than `room` bytes while other frames wait for an ack.
    pub(super) fn write(&mut self, seq: u64, text: Option<&Bytes>, room: usize, now: Duration) -> bool {
        let place = self.place(seq).ok();
        let frame = place.and_then(|place| self.frames.get_mut(place)?.1.as_mut());
        let unwritten = frame.filter(|frame| !frame.is_written());
        let length = text.map_or(0, Bytes::len);
        if unwritten.is_some() && self.unconfirmed > 0 && length > room {
            return false;
        }
        self.cursor = seq + 1;
        if let Some(text) = text {
            if self.unconfirmed == 0 {
                self.progress = now;
            }
            self.unconfirmed += 1;
            self.unconfirmed_bytes += length;
            if let Some(frame) = unwritten {
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
        let frames = self.frames.iter().filter_map(|(seq, frame)| Some((*seq, frame.as_ref()?)));
        frames.filter(|(_, frame)| frame.is_written())
    }

    /// Returns the first frame for which `wanted` returns true; frames that are not written to the present
    /// connection come first.
    pub(super) fn find(&self, wanted: impl Fn(&Frame) -> bool) -> Option<&Frame> {
        let first_waiting = self.first_waiting();
        let all = self.frames.range(first_waiting..).chain(self.frames.range(..first_waiting));
        all.filter_map(|(_, frame)| frame.as_ref()).find(|frame| wanted(frame))
    }

    /// Handles the loss of the connection: unconfirmed frames are written again to the next one.
    pub(super) fn disconnected(&mut self) {
        (self.cursor, self.unconfirmed, self.unconfirmed_bytes) = (0, 0, 0);
    }

    /// Returns up to which frame the present connection is written and confirmed.
    pub(super) fn progress(&self) -> Written {
        let unconfirmed = self.frames.front().map(|(seq, _)| *seq).filter(|seq| *seq < self.cursor);
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
        self.frames.front().is_some_and(|(first, _)| *first < seq)
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
        let frames = || self.frames.iter().filter_map(|(_, frame)| frame.as_ref());
        self.count = frames().count();
        self.weight = frames().map(|frame| Frame::BYTES + frame.length()).sum();
    }
}

/// Returns the text of a frame, made from the encoded record. `None` if the run or the step has left.
pub(super) fn text(seq: u64, frame: &Frame, run: &RunBuffer) -> Option<Bytes> {
    if let Some(text) = &frame.text {
        return Some(text.clone());
    }
    let text = |data: &str| Some(ClientFrame::event_text(frame.event.kind(), data, seq).into());
    let bytes = |data: &[&[u8]]| Some(ClientFrame::event_bytes(frame.event.kind(), data, seq).into());
    match frame.event {
        Event::TraceStarted => text(&write::to_string(&run.beginning()).ok()?),
        Event::TraceEnded => text(&write::to_string(&run.ending()?).ok()?),
        Event::SpanStarted(place) => {
            let span = run.step(place)?.span.as_ref()?;
            bytes(&span.pieces())
        }
        Event::SpanEnded(place) => {
            let step = run.step(place)?;
            let mut end = String::with_capacity(END);
            write::append(&mut end, step.events.as_ref()?.ended.as_ref()?).ok()?;
            end.pop();
            let output = step.span.as_ref().and_then(EncodedSpan::output).unwrap_or(b"null");
            bytes(&[end.as_bytes(), br#","output":"#, output, b"}"])
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Change of the table; a frame is chosen among all numbers so far.
    #[derive(Clone, Debug)]
    enum Change {
        Enqueue,
        Write,
        Take(prop::sample::Index),
        Disconnect,
    }

    fn change() -> impl Strategy<Value = Change> {
        let take = any::<prop::sample::Index>().prop_map(Change::Take);
        prop_oneof![4 => Just(Change::Enqueue), 3 => Just(Change::Write), 3 => take, 1 => Just(Change::Disconnect)]
    }

    proptest! {
        /// The model is an ordered table of the frames, with true for those that were written, and the cursor.
        #[test]
        fn a_frame_is_found_by_its_number_whichever_others_left(changes in prop::collection::vec(change(), 0..300)) {
            let (mut frames, mut model, mut cursor) = (Frames::new(), BTreeMap::new(), 0);
            for change in changes {
                match change {
                    Change::Enqueue => {
                        let seq = frames.enqueue(&"t".into(), Event::TraceStarted);
                        model.insert(seq, false);
                    }
                    Change::Write => {
                        let next = frames.next().map(|(seq, _)| seq);
                        prop_assert_eq!(next, model.range(cursor..).next().map(|(seq, _)| *seq));
                        if let Some(seq) = next {
                            prop_assert!(frames.write(seq, Some(&Bytes::from_static(b"text")), 100, Duration::ZERO));
                            model.insert(seq, true);
                            cursor = seq + 1;
                        }
                    }
                    Change::Take(index) => {
                        let seq = index.index(usize::try_from(frames.next_seq()).unwrap()) as u64;
                        prop_assert_eq!(frames.take(seq).map(|frame| frame.is_written()), model.remove(&seq));
                    }
                    Change::Disconnect => {
                        frames.disconnected();
                        cursor = 0;
                    }
                }
                let first = model.keys().next().copied();
                let confirmed_before = first.filter(|first| *first < cursor).unwrap_or(cursor);
                prop_assert_eq!(frames.progress(), Written { before: cursor, confirmed_before });
                for seq in 0..=frames.next_seq() {
                    prop_assert_eq!(frames.get(seq).map(Frame::is_written), model.get(&seq).copied());
                    prop_assert_eq!(frames.has_before(seq), first.is_some_and(|first| first < seq));
                }
                let weight = frames.weight();
                frames.recount();
                prop_assert_eq!(frames.weight(), weight);
                prop_assert_eq!(frames.is_empty(), model.is_empty());
                prop_assert!(frames.frames.len() <= model.len() + model.len() / 4 + SPARE);
                prop_assert!(frames.frames.capacity() <= 2 * frames.frames.len() + SPARE);
            }
        }
    }
}
