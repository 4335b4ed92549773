//! Exports that wait for room in the queue, in the order in which they came.
//!
//! An export that may wait hands its spans over as room is made. The worker wakes it after it has read spans, and when its
//! wait expires; a shutdown and the end of the worker wake it too. It does not poll.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;

use super::{Closed, Message, Queue, State, lock, trace_id};
use crate::recording::flush_handle::FlushHandle;
use crate::span::view::weight;
use crate::stats::{LossReason, Lost};

/// A message of an export takes no more than this share of the queue, so that room is made before all of a
/// batch is read.
const SHARE: usize = 8;

/// Bytes of a message beside its spans. It has a place in the queue and one in the list that the worker reads;
/// both may have as many spare places as used ones.
pub(super) const MESSAGE: usize = 4 * size_of::<Message>();

/// Exports that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Place>,
    next_ticket: u64,
    /// True if an export waited in vain, and no room was made since: other exports do not wait.
    in_vain: bool,
}

#[derive(Debug)]
struct Place {
    ticket: u64,
    until: Instant,
    is_over: bool,
    waker: Waker,
}

impl Line {
    /// Returns true if an export may hand over spans now. Exports that came before it go first.
    fn is_first(&self, ticket: Option<u64>) -> bool {
        self.waiting.front().is_none_or(|first| Some(first.ticket) == ticket)
    }

    fn join(&mut self, until: Instant, waker: &Waker) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Place { ticket, until, is_over: false, waker: waker.clone() });
        ticket
    }

    fn stays(&mut self, ticket: u64, waker: &Waker) {
        if let Some(place) = self.waiting.iter_mut().find(|place| place.ticket == ticket) {
            place.waker.clone_from(waker);
        }
    }

    fn is_over(&self, ticket: Option<u64>) -> bool {
        self.waiting.iter().any(|place| Some(place.ticket) == ticket && place.is_over)
    }

    /// Removes an export; returns the waker of the next one, which may find room.
    fn leave(&mut self, ticket: u64) -> Option<Waker> {
        self.waiting.retain(|place| place.ticket != ticket);
        self.first()
    }

    fn first(&self) -> Option<Waker> {
        self.waiting.front().map(|first| first.waker.clone())
    }

    /// Records that there is more room; returns the waker of the first export.
    pub(super) fn has_room(&mut self) -> Option<Waker> {
        self.in_vain = false;
        self.first()
    }

    /// Ends the waits that expire by `now`; returns their wakers.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let over = self.waiting.iter_mut().filter(|place| place.until <= now && !place.is_over);
        let wakers = over.map(|place| {
            place.is_over = true;
            place.waker.clone()
        });
        wakers.collect()
    }

    /// Returns when the next wait expires.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.waiting.iter().filter(|place| !place.is_over).map(|place| place.until).min()
    }

    /// Returns the wakers of all exports that wait.
    pub(super) fn everybody(&self) -> Vec<Waker> {
        self.waiting.iter().map(|place| place.waker.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Waker of a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Future that hands the spans of an export over to the queue; ready when each is accepted or refused.
///
/// Returns the refused spans by reason, or [`Closed`] if the queue was closed before, in which case no span
/// is counted. Spans that are left when it is dropped are refused.
#[derive(Debug)]
pub(crate) struct Admission<'i> {
    queue: &'i Queue,
    spans: VecDeque<SpanData>,
    /// Bytes of each span.
    weights: VecDeque<usize>,
    wait: Option<(FlushHandle, Duration)>,
    /// End of the wait for room; without one it does not wait.
    until: Option<Instant>,
    ticket: Option<u64>,
}

impl<'i> Admission<'i> {
    pub(super) fn new(
        queue: &'i Queue,
        spans: Vec<SpanData>,
        wait: Option<(FlushHandle, Duration)>,
        until: Option<Instant>,
    ) -> Self {
        let weights = spans.iter().map(weight).collect();
        Self { queue, spans: spans.into(), weights, wait, until, ticket: None }
    }

    /// Blocks this thread, until `until` at the latest, whatever the worker does.
    pub(crate) fn block(&mut self, until: Instant) -> Result<Lost, Closed> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(lost) = Pin::new(&mut *self).poll(&mut context) {
                return lost;
            }
            match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => self.end(),
                left => thread::park_timeout(left),
            }
        }
    }

    /// Ends the wait now: spans without room are refused.
    fn end(&self) {
        if let Some(ticket) = self.ticket
            && let Some(place) = lock(&self.queue.state).line.waiting.iter_mut().find(|place| place.ticket == ticket)
        {
            place.is_over = true;
        }
    }

    /// Hands over as many spans as there is room for; returns true if none is left.
    fn hand_over(&mut self, state: &mut State) -> bool {
        let limit = self.queue.limit_bytes;
        while let Some(first) = self.weights.front() {
            // A span larger than the whole queue is accepted when the queue is empty.
            let (mut bytes, taken) = (MESSAGE + *first, state.used + state.spare_bytes);
            if state.used > 0 && taken + bytes > limit {
                return false;
            }
            let room = (limit / SHARE).min(limit.saturating_sub(taken));
            let mut fits = |weight: usize| {
                let fits = bytes + weight <= room;
                bytes += if fits { weight } else { 0 };
                fits
            };
            let count = 1 + self.weights.iter().skip(1).take_while(|weight| fits(**weight)).count();
            self.weights.drain(..count);
            let spans = self.take(count);
            (state.used, state.queued) = (state.used + bytes, state.queued + count as u64);
            (state.accepted, state.waiting) = (state.accepted + count as u64, state.waiting + count as u64);
            let wait = if self.weights.is_empty() { self.take_wait() } else { None };
            state.pressing |= wait.is_some();
            state.taken.messages.push(Message::Spans { spans, bytes, wait });
        }
        if let Some(wait) = self.take_wait() {
            state.pressing = true;
            state.taken.messages.push(Message::Spans { spans: Vec::new(), bytes: 0, wait: Some(wait) });
        }
        true
    }

    /// Takes the wait for delivery, with the time that the wait for room has left.
    fn take_wait(&mut self) -> Option<(FlushHandle, Duration)> {
        let (waiter, within) = self.wait.take()?;
        let left =
            self.until.filter(|_| self.ticket.is_some()).map(|until| until.saturating_duration_since(Instant::now()));
        Some((waiter, left.unwrap_or(within)))
    }

    /// Takes the first spans, in no more memory than is counted for them.
    fn take(&mut self, count: usize) -> Vec<SpanData> {
        if count == self.spans.len() {
            let mut spans = Vec::from(std::mem::take(&mut self.spans));
            spans.shrink_to_fit();
            return spans;
        }
        let mut spans = Vec::with_capacity(count);
        spans.extend(self.spans.drain(..count));
        spans
    }

    /// Counts the remaining spans as lost.
    fn refuse(&mut self, state: &mut State, reason: LossReason) -> Lost {
        let mut lost = Lost::default();
        lost.add(reason, self.spans.len() as u64);
        state.refused.add(reason, self.spans.len() as u64);
        for span in &self.spans {
            state.is_incomplete(trace_id(span));
        }
        (self.spans, self.weights, self.wait) = (VecDeque::new(), VecDeque::new(), None);
        lost
    }
}

impl Future for Admission<'_> {
    type Output = Result<Lost, Closed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Lost, Closed>> {
        let this = self.get_mut();
        let queue = this.queue;
        let mut state = lock(&queue.state);
        let before = state.taken.messages.len();
        let refused = if state.closed {
            if this.ticket.is_none() {
                return Poll::Ready(Err(Closed));
            }
            // The export began before the queue was closed.
            let reason = end_of(&state);
            Some(this.refuse(&mut state, reason))
        } else if state.line.is_first(this.ticket) && this.hand_over(&mut state) {
            Some(Lost::default())
        } else if this.until.is_none() || (this.ticket.is_none() && state.line.in_vain) {
            Some(this.refuse(&mut state, LossReason::QueueFull))
        } else if state.line.is_over(this.ticket) {
            state.line.in_vain = true;
            Some(this.refuse(&mut state, LossReason::QueueFull))
        } else {
            None
        };
        let next = match (&refused, this.ticket, this.until) {
            (Some(_), ticket, _) => {
                this.ticket = None;
                ticket.and_then(|ticket| state.line.leave(ticket))
            }
            (None, Some(ticket), _) => {
                state.line.stays(ticket, cx.waker());
                None
            }
            (None, None, until) => {
                this.ticket = until.map(|until| state.line.join(until, cx.waker()));
                None
            }
        };
        let has_come = state.taken.messages.len() > before;
        drop(state);
        if has_come || refused.is_none() {
            // The worker also learns when the wait expires.
            queue.wake.notify_one();
        }
        if let Some(next) = next {
            next.wake();
        }
        refused.map_or(Poll::Pending, |refused| Poll::Ready(Ok(refused)))
    }
}

/// Reason for the loss of spans that waited when the queue was closed.
fn end_of(state: &State) -> LossReason {
    if state.abandoned { LossReason::Internal } else { LossReason::Shutdown }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = lock(&self.queue.state);
        let reason = if state.closed { end_of(&state) } else { LossReason::QueueFull };
        self.refuse(&mut state, reason);
        let next = state.line.leave(ticket);
        drop(state);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
mod tests;
