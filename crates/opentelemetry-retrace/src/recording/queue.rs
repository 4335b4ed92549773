//! Bounded queue from application threads to the worker.
//!
//! Application threads only push: each push takes a lock that is held no longer than a push or a swap, and
//! neither waits nor does I/O. The thread of a batch processor waits for room. Spans refused because the
//! queue is full are counted here.
//!
//! The bytes of a span are reserved until the worker has read it, not only until the worker has taken it.

mod room;
mod span_event;

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
pub(crate) use self::span_event::{EventBatch, SpanEvent};
use crate::recording::flush_handle::FlushHandle;
use crate::span::span_stub::{SpanStub, is_local_root};
use crate::span::view::weight;
use crate::stats::{Account, LossReason, Lost, Stats};

/// Maximum number of traces remembered as incomplete until the worker takes them; further traces are not
/// marked. A small queue has a lower maximum, at which they take this share of its bytes.
const REFUSED_TRACES: usize = 1_024;
const REFUSED_SHARE: usize = 16;
const REFUSED_BYTES: usize = 48;
/// Interval after a message at which the worker polls the queue by itself. A wake-up is a system call on the
/// thread that ends the span; a span that does not wake the worker is read at most this much later.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Pieces kept for reuse, about 1 MB; in a small queue they take this share of its bytes at most.
const SPARE: usize = 32;
const SPARE_SHARE: usize = 8;
/// Traces whose local root is known to be under way; in a small queue they take the same share of its bytes
/// at most.
const ROOTS: usize = 16_384;
const ROOT_BYTES: usize = 64;

/// Message to the worker.
pub(crate) enum Message {
    /// Spans that began or ended.
    Seen(EventBatch),
    /// Spans that have ended, their bytes, and the handle and the timeout of an export that waits for their
    /// delivery.
    Spans { spans: Vec<SpanData>, bytes: usize, wait: Option<(FlushHandle, Duration)> },
    /// Resource that applies to spans from now on.
    Resource(Arc<Resource>),
    /// Flush: completes when everything before it is delivered or lost.
    Flush(FlushHandle),
    /// Shutdown: as a flush, and no message follows. `called` is the time of the call; the time that the
    /// message waits in the queue counts towards `within`.
    Shutdown { called: Instant, within: Duration, waiter: FlushHandle },
}

/// Snapshot of the queue for metrics.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "metrics"), allow(dead_code))]
pub(crate) struct QueueStats {
    /// Number of spans in it, started spans included.
    pub size: u64,
    /// Maximum number of spans that fit. The queue is bounded in bytes, so this assumes spans of the smallest
    /// size.
    pub capacity: u64,
    /// Number of ended spans that the worker has taken.
    pub processed: u64,
    /// Number of spans that found no room.
    pub refused: u64,
    /// Number of spans that ended after the shutdown.
    pub too_late: u64,
}

/// Everything that the worker takes at once.
#[derive(Default)]
pub(crate) struct Taken {
    pub messages: Vec<Message>,
    /// Traces with refused spans.
    pub incomplete: HashSet<[u8; 16]>,
    /// Time at which to poll again; until then a span does not wake the worker.
    pub look_again: Option<Instant>,
}

/// Queue, shared by all clones of an exporter or a processor and by the worker.
#[derive(Debug)]
pub(crate) struct Queue {
    limit_bytes: usize,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    taken: Taken,
    /// Bytes of the queue, and of what the worker has taken but not read.
    used: usize,
    closed: bool,
    /// True if the worker ended without a shutdown.
    abandoned: bool,
    /// Exports that wait for room.
    line: Line,
    /// Number of accepted spans in the queue.
    queued: u64,
    /// True if a message other than spans came since the last take.
    pressing: bool,
    /// Number of accepted spans that the worker has taken but not yet included in its account.
    handed_over: u64,
    /// Account that the worker published last.
    account: Account,
    /// Number of spans accepted since the start.
    accepted: u64,
    /// Number of accepted spans that the worker has taken.
    processed: u64,
    /// Number of waiting spans, started spans included.
    waiting: u64,
    refused: Lost,
    /// Maximum number of traces remembered as incomplete.
    refused_traces: usize,
    /// Number of spans that ended after the queue was closed.
    too_late: u64,
    /// Time at which the worker polls by itself; `None` when it sleeps until it is woken.
    watched_until: Option<Instant>,
    /// Number of local roots per trace that have begun, in the order of the messages, and not ended.
    roots: HashMap<[u8; 16], u32>,
    /// Empty pieces for reuse, and their bytes.
    spare: Vec<EventBatch>,
    spare_bytes: usize,
}

impl State {
    /// Returns true if there is room for a span. An ended span that finds none is counted, and its trace
    /// remembered.
    fn admits(&mut self, trace_id: [u8; 16], has_ended: bool, weight: usize, bytes: usize) -> Result<bool, Closed> {
        if self.closed {
            self.too_late += u64::from(has_ended);
            return Err(Closed);
        }
        // A span that begins leaves room for its end.
        let limit = if has_ended { bytes } else { bytes / 2 };
        // The bytes of the next piece are counted when it is begun; those of a kept piece are counted
        // already.
        let more = if self.has_place() { 0 } else { self.spare.last().map_or(EventBatch::bytes_for(bytes), |_| 0) };
        let alone = self.used == 0 && has_ended;
        let fits = alone || self.used + self.spare_bytes + more + weight <= limit;
        // A start without room is no loss: the end of the span carries all of it.
        if !fits && has_ended {
            self.refused.add(LossReason::QueueFull, 1);
            self.is_incomplete(trace_id);
        }
        Ok(fits)
    }

    /// Remembers that spans of a trace are refused.
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

    /// Returns the piece for the next span, and counts `content` bytes beside the piece.
    #[inline]
    fn piece(&mut self, content: usize, queue_bytes: usize) -> Option<&mut EventBatch> {
        if !self.has_place() {
            let piece = match self.spare.pop() {
                Some(piece) => {
                    self.spare_bytes -= piece.memory();
                    piece
                }
                None => EventBatch::of(queue_bytes),
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
        // After a clear, spans are copied whole.
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

/// The queue is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Queue {
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

    /// Accepts as many spans as there is room for. With a time `until` which it may wait, the others wait for
    /// room.
    pub(crate) fn admit(
        &self,
        spans: Vec<SpanData>,
        wait: Option<(FlushHandle, Duration)>,
        until: Option<Instant>,
    ) -> Admission<'_> {
        Admission::new(self, spans, wait, until)
    }

    /// Accepts a span that began or ended; returns whether there was room.
    #[inline] // A span is large: each call between costs a copy of it.
    pub(crate) fn push_seen(&self, seen: SpanEvent) -> Result<bool, Closed> {
        let (span, has_ended) = (seen.span(), matches!(seen, SpanEvent::Ended(_)));
        let (trace_id, is_root, content) = (trace_id(span), is_local_root(span), content(span));
        let mut state = lock(&self.state);
        if is_root && has_ended {
            state.forget_root(trace_id);
        }
        let admitted = state.admits(trace_id, has_ended, content, self.limit_bytes)?;
        if !admitted {
            // The lock is released before the span is dropped.
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

    /// Accepts the start of a span below another one of this process, of which only the position is kept.
    pub(crate) fn push_beginning(&self, light: SpanStub) -> Result<bool, Closed> {
        self.put_light(lock(&self.state), light, false)
    }

    /// Accepts a copy of a span that has ended; returns whether there was room. While the local root of its
    /// trace is under way, the `light` copy is used if there is one. No copy is made of a span without room.
    pub(crate) fn push_copy(
        &self,
        span: &SpanData,
        light: Option<SpanStub>,
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
        self.push_seen(SpanEvent::Ended(copy()))
    }

    /// Records that the local root of a trace began which is pushed when it ends.
    pub(crate) fn root_began(&self, trace_id: [u8; 16]) {
        lock(&self.state).note_root(trace_id, self.limit_bytes);
    }

    fn put_light(&self, mut state: MutexGuard<'_, State>, light: SpanStub, has_ended: bool) -> Result<bool, Closed> {
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

    /// Counts an accepted span and wakes the worker if necessary. `before` is the number of bytes in use
    /// before.
    #[inline]
    fn came_in(&self, mut state: MutexGuard<'_, State>, has_ended: bool, before: usize) {
        state.accepted += u64::from(has_ended);
        state.queued += u64::from(has_ended);
        state.waiting += 1;
        // A worker that polls by itself is woken only when the queue becomes half full.
        let half = self.limit_bytes / 2;
        let wakes = state.watched_until.is_none() || (before <= half && state.used > half);
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Pushes any other message.
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

    /// Closes the queue.
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
        // Dropping the flush handles ends their waits.
        drop(messages);
    }

    /// Returns true if a message other than spans came since the last [`Queue::take`].
    pub(crate) fn is_pressing(&self) -> bool {
        lock(&self.state).pressing
    }

    /// Returns true if no message has come since the last [`Queue::take`].
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).taken.messages.is_empty()
    }

    /// Takes every message that came since the last call. Spans that came while the worker was busy need no
    /// further wait.
    ///
    /// While spans come in sequence, they do not wake the worker one by one: the caller polls again at
    /// [`Taken::look_again`].
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
        if let Some(Message::Shutdown { called, within, .. }) = taken.messages.last_mut() {
            *within = within.saturating_sub(now.saturating_duration_since(*called));
        }
        taken
    }

    /// Returns the room of messages that were read: pieces, for reuse, and the bytes of other spans. Ends the
    /// waits for room that expire by `now`, and returns when the next one expires.
    pub(crate) fn give_back(
        &self,
        emptied: impl IntoIterator<Item = EventBatch>,
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

    /// Resolves when a message has come since the last [`Queue::take`] and no poll is due.
    pub(crate) async fn something_came(&self) {
        self.wake.notified().await;
    }

    /// Publishes the worker's account, which counts every span that the worker has taken.
    pub(crate) fn publish(&self, account: Account) {
        let mut state = lock(&self.state);
        (state.account, state.handed_over) = (account, 0);
    }

    /// Returns a snapshot of the queue for metrics.
    pub(crate) fn queue_stats(&self) -> QueueStats {
        let state = lock(&self.state);
        QueueStats {
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

/// Locks a mutex. No code panics while it holds one; if it did, the guarded value would still be consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
