//! The door between the application's threads and the worker.
//!
//! Application threads only push: a lock that nobody holds for longer than a push or a swap, no wait, no I/O. The thread of a
//! batch processor waits for room. What is refused because the inbox is full is counted here.
//!
//! The bytes of a span are taken until the worker has read it, not only until the worker has taken it over.

mod room;
mod seen;

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use opentelemetry_sdk::trace::SpanData;
use retrace_translate::Resource;
use tokio::sync::Notify;

pub(crate) use self::room::Admission;
use self::room::Line;
pub(crate) use self::seen::{Piece, Seen};
use crate::light::{Light, is_local_root};
use crate::stats::{Account, LossReason, Lost, Stats};
use crate::view::weight;
use crate::waiter::Waiter;

/// Traces remembered as incomplete until the worker takes note; of more than these the rest is not marked. Fewer in a small
/// queue, of which they take this share.
const REFUSED_TRACES: usize = 1_024;
const REFUSED_SHARE: usize = 16;
const REFUSED_BYTES: usize = 48;
/// How long after the last message the worker looks for more by itself. To wake it is a system call, which the thread pays
/// that ends the span; and so late, at most, is a span told that does not wake it.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Pieces that are kept to be used again, about 1 MB; less in a small queue, of which they take this share at most.
const SPARE: usize = 32;
const SPARE_SHARE: usize = 8;
/// Traces of which it is known that their local root is under way; fewer in a small queue, of which they take that share.
const ROOTS: usize = 16_384;
const ROOT_BYTES: usize = 64;

/// Something for the worker.
pub(crate) enum Message {
    /// Spans, each at one of its ends.
    Seen(Piece),
    /// Spans that have ended, their bytes, and who waits for their delivery for how long.
    Spans { spans: Vec<SpanData>, bytes: usize, wait: Option<(Waiter, Duration)> },
    /// What spans say about the process from now on.
    Resource(Arc<Resource>),
    /// Somebody waits until all before this is delivered or lost.
    Flush(Waiter),
    /// The same, and nothing comes after it. Whoever asked at this time goes when the rest of it is over.
    Shutdown { asked: Instant, within: Duration, waiter: Waiter },
}

/// The queue as it is now.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct Queue {
    /// Spans that are in it, those that began among them.
    pub size: u64,
    /// The most spans that fit: it is bounded in bytes, so these are as small as spans can be.
    pub capacity: u64,
    /// Spans that have ended and were taken by the worker.
    pub processed: u64,
    /// Spans that found no room.
    pub refused: u64,
    /// Spans that ended after the shutdown.
    pub too_late: u64,
}

/// What the worker takes at once.
#[derive(Default)]
pub(crate) struct Taken {
    pub messages: Vec<Message>,
    /// Traces of which spans were refused.
    pub incomplete: HashSet<[u8; 16]>,
    /// When to look again: until then not every span wakes who sleeps.
    pub look_again: Option<Instant>,
}

/// Shared by all clones of an exporter and by the worker.
#[derive(Debug)]
pub(crate) struct Inbox {
    limit_bytes: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    taken: Taken,
    /// Bytes of what is in it, and of what the worker has taken and not read.
    used: usize,
    closed: bool,
    /// The worker is gone without a shutdown.
    abandoned: bool,
    /// Exports that wait for room.
    line: Line,
    /// Accepted spans that are in it.
    queued: u64,
    /// More than spans came since the last take.
    pressing: bool,
    /// Accepted spans that the worker has taken, and that are not yet among those it counts.
    handed_over: u64,
    /// The account that the worker published last.
    account: Account,
    /// Spans taken in since the beginning.
    accepted: u64,
    /// Those of them that the worker has taken.
    processed: u64,
    /// Spans that wait, those that began among them.
    waiting: u64,
    refused: Lost,
    /// Traces that are remembered as incomplete at most.
    refused_traces: usize,
    /// Spans that ended when nothing was taken in any more.
    too_late: u64,
    /// When the worker will look by itself; nothing when it sleeps until it is woken.
    watched_until: Option<Instant>,
    /// Of each trace how many local roots have begun, in the order of the messages, and not ended.
    roots: HashMap<[u8; 16], u32>,
    /// Emptied, to be filled again, and their bytes.
    spare: Vec<Piece>,
    spare_bytes: usize,
}

impl State {
    /// Whether there is room for a span. One that has ended and finds none is counted, and its trace remembered.
    fn admits(&mut self, trace_id: [u8; 16], has_ended: bool, weight: usize, bytes: usize) -> Result<bool, Closed> {
        if self.closed {
            self.too_late += u64::from(has_ended);
            return Err(Closed);
        }
        // A span that begins leaves room for its end.
        let limit = if has_ended { bytes } else { bytes / 2 };
        // The next piece is paid for when it is begun; one that was kept is paid for already.
        let more = if self.has_place() { 0 } else { self.spare.last().map_or(Piece::bytes_for(bytes), |_| 0) };
        let alone = self.used == 0 && has_ended;
        let fits = alone || self.used + self.spare_bytes + more + weight <= limit;
        // That it began is not worth a loss: it is told when it ends.
        if !fits && has_ended {
            self.refused.add(LossReason::QueueFull, 1);
            self.is_incomplete(trace_id);
        }
        Ok(fits)
    }

    /// Remembers that spans of a trace were refused.
    fn is_incomplete(&mut self, trace_id: [u8; 16]) {
        if self.taken.incomplete.len() < self.refused_traces {
            self.taken.incomplete.insert(trace_id);
        }
    }

    /// Returns true if the last piece has a place for another span.
    #[inline]
    fn has_place(&self) -> bool {
        matches!(self.taken.messages.last(), Some(Message::Seen(piece)) if !piece.is_full())
    }

    /// The piece that the next span goes into, which takes so many bytes beside the piece.
    #[inline]
    fn piece(&mut self, content: usize, queue_bytes: usize) -> Option<&mut Piece> {
        if !self.has_place() {
            let piece = match self.spare.pop() {
                Some(piece) => {
                    self.spare_bytes -= piece.memory();
                    piece
                }
                None => Piece::of(queue_bytes),
            };
            self.used += piece.memory();
            self.taken.messages.push(Message::Seen(piece));
        }
        self.used += content;
        match self.taken.messages.last_mut() {
            Some(Message::Seen(piece)) => {
                piece.content += content;
                Some(piece)
            }
            _ => None,
        }
    }

    fn note_root(&mut self, trace_id: [u8; 16], queue_bytes: usize) {
        // Who is forgotten is told whole.
        if self.roots.len() >= ROOTS.min(queue_bytes / SPARE_SHARE / ROOT_BYTES) {
            self.roots.clear();
        }
        *self.roots.entry(trace_id).or_default() += 1;
    }

    fn forget_root(&mut self, trace_id: [u8; 16]) {
        if let Entry::Occupied(mut roots) = self.roots.entry(trace_id) {
            *roots.get_mut() -= 1;
            if *roots.get() == 0 {
                roots.remove();
            }
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("used", &self.used).field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// Nothing is taken in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Inbox {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            state: Mutex::new(State {
                refused_traces: REFUSED_TRACES.min(limit_bytes / REFUSED_SHARE / REFUSED_BYTES).max(1),
                ..State::default()
            }),
            wake: Notify::new(),
        }
    }

    /// Takes spans in, as many as there is room for. With a time `until` which it may wait, the rest waits for room.
    pub(crate) fn admit(
        &self,
        spans: Vec<SpanData>,
        wait: Option<(Waiter, Duration)>,
        until: Option<Instant>,
    ) -> Admission<'_> {
        Admission::new(self, spans, wait, until)
    }

    /// Takes in that a span began or has ended; tells whether there was room.
    #[inline] // A span is large: each call between costs a copy of it.
    pub(crate) fn push_seen(&self, seen: Seen) -> Result<bool, Closed> {
        let (span, has_ended) = (seen.span(), matches!(seen, Seen::Ended(_)));
        let (trace_id, is_root, content) = (trace_id(span), is_local_root(span), content(span));
        let mut state = lock(&self.state);
        if is_root && has_ended {
            state.forget_root(trace_id);
        }
        let admitted = state.admits(trace_id, has_ended, content, self.limit_bytes)?;
        if !admitted {
            // Whoever ends it is not kept waiting by what becomes of it.
            drop(state);
            return Ok(false);
        }
        if is_root && !has_ended {
            state.note_root(trace_id, self.limit_bytes);
        }
        let before = state.used;
        if let Some(piece) = state.piece(content, self.limit_bytes) {
            piece.push(seen);
        }
        self.came_in(state, has_ended, before);
        Ok(true)
    }

    /// Takes in that a span began below one of this process, of which no more is to be told than where it stands.
    pub(crate) fn push_beginning(&self, light: Light) -> Result<bool, Closed> {
        self.put_light(lock(&self.state), light, false)
    }

    /// Takes in a copy of a span that has ended; tells whether there was room. While the local root of its trace is under way
    /// a `light` one will do. Of what finds no room no copy is made.
    pub(crate) fn push_copy(
        &self,
        span: &SpanData,
        light: Option<Light>,
        copy: impl FnOnce() -> SpanData,
    ) -> Result<bool, Closed> {
        let trace_id = trace_id(span);
        if let Some(light) = light {
            let state = lock(&self.state);
            if state.roots.contains_key(&trace_id) {
                return self.put_light(state, light, true);
            }
        }
        if !lock(&self.state).admits(trace_id, true, content(span), self.limit_bytes)? {
            return Ok(false);
        }
        self.push_seen(Seen::Ended(copy()))
    }

    /// The local root of a trace began which comes in when it has ended.
    pub(crate) fn root_began(&self, trace_id: [u8; 16]) {
        lock(&self.state).note_root(trace_id, self.limit_bytes);
    }

    fn put_light(&self, mut state: MutexGuard<'_, State>, light: Light, has_ended: bool) -> Result<bool, Closed> {
        let content = light.content();
        let admitted = state.admits(light.trace_id(), has_ended, content, self.limit_bytes)?;
        if admitted {
            let before = state.used;
            if let Some(piece) = state.piece(content, self.limit_bytes) {
                piece.push_light(light, has_ended);
            }
            self.came_in(state, has_ended, before);
        }
        Ok(admitted)
    }

    /// Counts what came in, and wakes who is to look at it. So many bytes were taken before.
    #[inline]
    fn came_in(&self, mut state: MutexGuard<'_, State>, has_ended: bool, before: usize) {
        state.accepted += u64::from(has_ended);
        state.queued += u64::from(has_ended);
        state.waiting += 1;
        // Who looks by itself is woken only when it would come late.
        let half = self.limit_bytes / 2;
        let wakes = state.watched_until.is_none() || (before <= half && state.used > half);
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Hands over anything else.
    pub(crate) fn push(&self, message: Message) -> Result<(), Closed> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        state.closed = matches!(message, Message::Shutdown { .. });
        state.pressing |= !matches!(message, Message::Seen(_) | Message::Spans { .. });
        state.taken.messages.push(message);
        let wakers = if state.closed { state.line.everybody() } else { Vec::new() };
        drop(state);
        self.wake.notify_one();
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Takes nothing in from now on.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
    }

    /// Closes the queue after the worker ended. Spans that are left are counted as lost; exports that wait are woken.
    pub(crate) fn abandon(&self) {
        let mut state = lock(&self.state);
        state.abandoned |= !state.closed;
        state.closed = true;
        let left = state.queued + state.handed_over;
        state.account.pending += left;
        (state.queued, state.handed_over) = (0, 0);
        let pending = std::mem::take(&mut state.account.pending);
        state.account.lose(LossReason::Internal, pending);
        let (wakers, messages) = (state.line.everybody(), std::mem::take(&mut state.taken));
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        // Dropped waiters end their waits.
        drop(messages);
    }

    /// Returns true if more than spans came since the last [`Inbox::take`].
    pub(crate) fn is_pressing(&self) -> bool {
        lock(&self.state).pressing
    }

    /// Whether nothing has come since the last [`Inbox::take`].
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).taken.messages.is_empty()
    }

    /// Everything that came since the last time. What waited here while the worker was busy has waited.
    ///
    /// While spans come one after the other nobody is woken by each: who takes some is to look again when
    /// [`Taken::look_again`] says so.
    pub(crate) fn take(&self, now: Instant) -> Taken {
        let mut state = lock(&self.state);
        (state.waiting, state.processed, state.pressing) = (0, state.accepted, false);
        (state.handed_over, state.queued) = (state.handed_over + state.queued, 0);
        let mut taken = std::mem::take(&mut state.taken);
        if !taken.messages.is_empty() {
            state.watched_until = Some(now + LOOK_AGAIN);
        } else if state.watched_until.is_some_and(|until| until <= now) {
            state.watched_until = None;
        }
        taken.look_again = state.watched_until;
        drop(state);
        if let Some(Message::Shutdown { asked, within, .. }) = taken.messages.last_mut() {
            *within = within.saturating_sub(now.saturating_duration_since(*asked));
        }
        taken
    }

    /// Gives back the room of what was read: pieces, to be filled again, and the bytes of other spans. Ends the waits for room
    /// whose time is over by `now`, and returns when the next one ends.
    pub(crate) fn give_back(
        &self,
        emptied: impl IntoIterator<Item = Piece>,
        bytes: usize,
        now: Instant,
    ) -> Option<Instant> {
        let mut state = lock(&self.state);
        let before = state.used;
        state.used -= bytes;
        for mut piece in emptied {
            let memory = piece.memory();
            state.used -= memory + piece.content;
            let has_room = state.spare_bytes + memory <= self.limit_bytes / SPARE_SHARE;
            if state.spare.len() < SPARE && has_room && piece.is_empty() {
                piece.reset();
                state.spare_bytes += memory;
                state.spare.push(piece);
            }
        }
        let mut wakers = state.line.expire(now);
        if state.used < before {
            wakers.extend(state.line.has_room());
        }
        let next = state.line.next_end();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        next
    }

    /// Resolves when something has come since the last [`Inbox::take`] and nobody is expected to look by itself.
    pub(crate) async fn something_came(&self) {
        self.wake.notified().await;
    }

    /// Publishes the worker's account, which counts every span that the worker has taken.
    pub(crate) fn publish(&self, account: Account) {
        let mut state = lock(&self.state);
        (state.account, state.handed_over) = (account, 0);
    }

    /// How full it is, and what passed through.
    pub(crate) fn queue(&self) -> Queue {
        let state = lock(&self.state);
        Queue {
            size: state.waiting,
            capacity: (self.limit_bytes / size_of::<SpanData>()) as u64,
            processed: state.processed,
            refused: state.refused.by(LossReason::QueueFull),
            too_late: state.too_late,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = lock(&self.state);
        state.account.stats(state.accepted, &state.refused, state.queued + state.handed_over)
    }
}

/// Bytes of a span beside its place in a piece.
fn content(span: &SpanData) -> usize {
    weight(span).saturating_sub(size_of::<SpanData>())
}

fn trace_id(span: &SpanData) -> [u8; 16] {
    span.span_context.trace_id().to_bytes()
}

/// Nothing of ours panics while it holds one of these locks; if it did, what they guard is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
