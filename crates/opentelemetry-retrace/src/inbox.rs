//! The door between the application's threads and the worker.
//!
//! Application threads only push: a lock that nobody holds for longer than a push or a swap, no wait, no I/O. What is
//! refused because the inbox is full is counted here.

mod seen;

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use opentelemetry_sdk::trace::SpanData;
use retrace_translate::Resource;
use tokio::sync::Notify;

pub(crate) use self::seen::{Piece, Seen};
use crate::light::{Light, is_local_root};
use crate::stats::{Account, LossReason, Lost, Stats};
use crate::view::weight;
use crate::waiter::Waiter;

/// Traces remembered as incomplete until the worker takes note; of more than these the rest is not marked.
const REFUSED_TRACES: usize = 1_024;
/// How long after the last message the worker looks for more by itself. To wake it is a system call, which the thread pays
/// that ends the span; and so late, at most, is a span told that does not wake it.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// Pieces that are kept to be used again, about 1 MB.
const SPARE: usize = 32;
/// Traces of which it is known that their local root is under way.
const ROOTS: usize = 16_384;

/// Something for the worker.
pub(crate) enum Message {
    /// Spans, each at one of its ends.
    Seen(Piece),
    /// Spans that have ended, and who waits for their delivery.
    Spans { spans: Vec<SpanData>, wait: Option<Waiter> },
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
    account: Mutex<Account>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    taken: Taken,
    weight: usize,
    closed: bool,
    /// Spans taken in since the beginning.
    accepted: u64,
    /// Those of them that the worker has taken.
    processed: u64,
    /// Spans that wait, those that began among them.
    waiting: u64,
    refused: Lost,
    /// Spans that ended when nothing was taken in any more.
    too_late: u64,
    /// When the worker will look by itself; nothing when it sleeps until it is woken.
    watched_until: Option<Instant>,
    /// Of each trace how many local roots have begun, in the order of the messages, and not ended.
    roots: HashMap<[u8; 16], u32>,
    /// Emptied, to be filled again.
    spare: Vec<Piece>,
}

impl State {
    /// Whether there is room for a span. One that has ended and finds none is counted, and its trace remembered.
    fn admits(&mut self, trace_id: [u8; 16], has_ended: bool, weight: usize, limit: usize) -> Result<bool, Closed> {
        if self.closed {
            self.too_late += u64::from(has_ended);
            return Err(Closed);
        }
        let alone = self.weight == 0 && has_ended;
        let fits = alone || self.weight + weight <= limit;
        // That it began is not worth a loss: it is told when it ends.
        if !fits && has_ended {
            self.refused.add(LossReason::QueueFull, 1);
            if self.taken.incomplete.len() < REFUSED_TRACES {
                self.taken.incomplete.insert(trace_id);
            }
        }
        Ok(fits)
    }

    /// The piece that the next span goes into.
    #[inline]
    fn piece(&mut self) -> Option<&mut Piece> {
        if !matches!(self.taken.messages.last(), Some(Message::Seen(piece)) if !piece.is_full()) {
            let piece = self.spare.pop().unwrap_or_else(Piece::new);
            self.taken.messages.push(Message::Seen(piece));
        }
        match self.taken.messages.last_mut() {
            Some(Message::Seen(piece)) => Some(piece),
            _ => None,
        }
    }

    fn note_root(&mut self, trace_id: [u8; 16]) {
        // Who is forgotten is told whole.
        if self.roots.len() >= ROOTS {
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
        f.debug_struct("State").field("weight", &self.weight).field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// Nothing is taken in any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Inbox {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            state: Mutex::new(State::default()),
            account: Mutex::new(Account::default()),
            wake: Notify::new(),
        }
    }

    /// Takes spans in, as many as there is room for; tells how many were refused.
    pub(crate) fn push_spans(&self, mut spans: Vec<SpanData>, wait: Option<Waiter>) -> Result<u64, Closed> {
        let weights: Vec<usize> = spans.iter().map(weight).collect();
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        let mut room = self.limit_bytes.saturating_sub(state.weight);
        // One span larger than the whole inbox still gets through when nothing else is there.
        let alone = state.weight == 0;
        let fits = weights
            .iter()
            .enumerate()
            .take_while(|(at, weight)| {
                let fits = **weight <= room || (alone && *at == 0);
                room = room.saturating_sub(**weight);
                fits
            })
            .count();
        let refused = spans.split_off(fits);
        let missing = refused.len() as u64;
        for span in &refused {
            if state.taken.incomplete.len() < REFUSED_TRACES {
                state.taken.incomplete.insert(span.span_context.trace_id().to_bytes());
            }
        }
        state.refused.add(LossReason::QueueFull, missing);
        state.weight += weights.iter().take(fits).sum::<usize>();
        state.accepted += spans.len() as u64;
        state.waiting += spans.len() as u64;
        // Nothing is said of nothing: what is refused must not pile up either.
        if !spans.is_empty() || wait.is_some() {
            state.taken.messages.push(Message::Spans { spans, wait });
        }
        drop(state);
        self.wake.notify_one();
        drop(refused);
        Ok(missing)
    }

    /// Takes in that a span began or has ended; tells whether there was room.
    #[inline] // A span is large: each call between costs a copy of it.
    pub(crate) fn push_seen(&self, seen: Seen) -> Result<bool, Closed> {
        let (span, has_ended) = (seen.span(), matches!(seen, Seen::Ended(_)));
        let (trace_id, is_root, weight) = (trace_id(span), is_local_root(span), weight(span));
        let mut state = lock(&self.state);
        if is_root && has_ended {
            state.forget_root(trace_id);
        }
        let admitted = state.admits(trace_id, has_ended, weight, self.limit(has_ended))?;
        if !admitted {
            // Whoever ends it is not kept waiting by what becomes of it.
            drop(state);
            return Ok(false);
        }
        if is_root && !has_ended {
            state.note_root(trace_id);
        }
        if let Some(piece) = state.piece() {
            piece.push(seen);
        }
        self.came_in(state, has_ended, weight);
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
        if !lock(&self.state).admits(trace_id, true, weight(span), self.limit(true))? {
            return Ok(false);
        }
        self.push_seen(Seen::Ended(copy()))
    }

    /// The local root of a trace began which comes in when it has ended.
    pub(crate) fn root_began(&self, trace_id: [u8; 16]) {
        lock(&self.state).note_root(trace_id);
    }

    fn put_light(&self, mut state: MutexGuard<'_, State>, light: Light, has_ended: bool) -> Result<bool, Closed> {
        let weight = light.weight();
        let admitted = state.admits(light.trace_id(), has_ended, weight, self.limit(has_ended))?;
        if admitted {
            if let Some(piece) = state.piece() {
                piece.push_light(light, has_ended);
            }
            self.came_in(state, has_ended, weight);
        }
        Ok(admitted)
    }

    /// Bytes that may be in it with what comes: that a span began leaves room for its end, which says all of it again.
    fn limit(&self, has_ended: bool) -> usize {
        if has_ended { self.limit_bytes } else { self.limit_bytes / 2 }
    }

    /// Counts what came in, and wakes who is to look at it.
    #[inline]
    fn came_in(&self, mut state: MutexGuard<'_, State>, has_ended: bool, weight: usize) {
        let had_room = state.weight <= self.limit_bytes / 2;
        state.weight += weight;
        state.accepted += u64::from(has_ended);
        state.waiting += 1;
        // Who looks by itself is woken only when it would come late.
        let wakes = state.watched_until.is_none() || (had_room && state.weight > self.limit_bytes / 2);
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
        state.taken.messages.push(message);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes nothing in from now on.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
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
        (state.weight, state.waiting, state.processed) = (0, 0, state.accepted);
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

    /// Gives back what the spans came in, to be filled again.
    pub(crate) fn give_back(&self, emptied: impl IntoIterator<Item = Piece>) {
        let mut state = lock(&self.state);
        for piece in emptied {
            if state.spare.len() < SPARE && piece.is_empty() {
                state.spare.push(piece);
            }
        }
    }

    /// Resolves when something has come since the last [`Inbox::take`] and nobody is expected to look by itself.
    pub(crate) async fn something_came(&self) {
        self.wake.notified().await;
    }

    /// Says what the worker has done.
    pub(crate) fn publish(&self, account: Account) {
        *lock(&self.account) = account;
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
        let account = *lock(&self.account);
        account.stats(state.accepted, &state.refused)
    }
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
