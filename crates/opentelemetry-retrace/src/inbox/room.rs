//! Exports that wait for room in the queue, in the order in which they came.
//!
//! An export that may wait hands its spans over as room is made. The worker wakes it after it has read spans, and when its time
//! is over; a shutdown and the end of the worker wake it too. It does not poll.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;

use super::{Closed, Inbox, Message, State, lock, trace_id};
use crate::stats::{LossReason, Lost};
use crate::view::weight;
use crate::waiter::Waiter;

/// A message of an export takes no more than this share of the queue, so that room is made before all of a batch is read.
const SHARE: usize = 8;

/// The exports that wait.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Place>,
    next_ticket: u64,
    /// An export waited in vain, and no room was made since: others do not wait.
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

    /// Leaves the line; returns the waker of the next export, which may find room.
    fn leave(&mut self, ticket: u64) -> Option<Waker> {
        self.waiting.retain(|place| place.ticket != ticket);
        self.first()
    }

    fn first(&self) -> Option<Waker> {
        self.waiting.front().map(|first| first.waker.clone())
    }

    /// Notes that there is more room; returns the waker of the first export.
    pub(super) fn has_room(&mut self) -> Option<Waker> {
        self.in_vain = false;
        self.first()
    }

    /// Ends the waits whose time is over by `now`; returns their wakers.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Waker> {
        let over = self.waiting.iter_mut().filter(|place| place.until <= now && !place.is_over);
        let wakers = over.map(|place| {
            place.is_over = true;
            place.waker.clone()
        });
        wakers.collect()
    }

    /// When the next wait ends.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.waiting.iter().filter(|place| !place.is_over).map(|place| place.until).min()
    }

    /// The wakers of all exports that wait.
    pub(super) fn everybody(&self) -> Vec<Waker> {
        self.waiting.iter().map(|place| place.waker.clone()).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The spans of an export on their way into the queue: a future that is ready when each is in it or refused.
///
/// Returns the spans that were refused, by reason, or [`Closed`] if the queue was closed before, in which case nothing is
/// counted. Spans that are left when it is dropped are refused.
#[derive(Debug)]
pub(crate) struct Admission<'i> {
    inbox: &'i Inbox,
    spans: VecDeque<SpanData>,
    /// The bytes of each.
    weights: VecDeque<usize>,
    wait: Option<(Waiter, Duration)>,
    /// Until when it waits for room; it does not wait without.
    until: Option<Instant>,
    ticket: Option<u64>,
}

impl<'i> Admission<'i> {
    pub(super) fn new(
        inbox: &'i Inbox,
        spans: Vec<SpanData>,
        wait: Option<(Waiter, Duration)>,
        until: Option<Instant>,
    ) -> Self {
        let weights = spans.iter().map(weight).collect();
        Self { inbox, spans: spans.into(), weights, wait, until, ticket: None }
    }

    /// Waits on this thread, as long as `until` and no longer, whatever the worker does.
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

    /// Ends the wait now: what finds no room is refused.
    fn end(&self) {
        if let Some(ticket) = self.ticket
            && let Some(place) = lock(&self.inbox.state).line.waiting.iter_mut().find(|place| place.ticket == ticket)
        {
            place.is_over = true;
        }
    }

    /// Hands over as many spans as there is room for; returns true if none is left.
    fn hand_over(&mut self, state: &mut State) -> bool {
        let limit = self.inbox.limit_bytes;
        while let Some(first) = self.weights.front() {
            // One span larger than the whole queue still gets through when nothing else is there.
            let (mut bytes, taken) = (*first, state.used + state.spare_bytes);
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

    /// The wait for delivery, which has the time that the wait for room left it.
    fn take_wait(&mut self) -> Option<(Waiter, Duration)> {
        let (waiter, within) = self.wait.take()?;
        let left =
            self.until.filter(|_| self.ticket.is_some()).map(|until| until.saturating_duration_since(Instant::now()));
        Some((waiter, left.unwrap_or(within)))
    }

    /// The first spans, in no more memory than is counted for them.
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

    /// Counts what is left as lost.
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
        let inbox = this.inbox;
        let mut state = lock(&inbox.state);
        let before = state.taken.messages.len();
        let refused = if state.closed {
            if this.ticket.is_none() {
                return Poll::Ready(Err(Closed));
            }
            // It came before the end.
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
            // The worker also learns until when somebody waits.
            inbox.wake.notify_one();
        }
        if let Some(next) = next {
            next.wake();
        }
        refused.map_or(Poll::Pending, |refused| Poll::Ready(Ok(refused)))
    }
}

/// The reason for which spans are lost that waited when the queue was closed.
fn end_of(state: &State) -> LossReason {
    if state.abandoned { LossReason::Internal } else { LossReason::Shutdown }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = lock(&self.inbox.state);
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
