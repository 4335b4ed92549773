//! The door between the application's threads and the worker.
//!
//! Application threads only push: a lock that nobody holds for longer than a push or a swap, no wait, no I/O. What is
//! refused because the inbox is full is counted here.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_sdk::trace::SpanData;
use retrace_translate::Resource;
use tokio::sync::Notify;

use crate::stats::{Account, LossReason, Lost, Stats};
use crate::view::weight;
use crate::waiter::Waiter;

/// Traces remembered as incomplete until the worker takes note; of more than these the rest is not marked.
const REFUSED_TRACES: usize = 1_024;

/// What a processor sees of a span.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It began; as far as it is known then.
    Began(SpanData),
    /// It has ended.
    Ended(SpanData),
}

/// Something for the worker.
pub(crate) enum Message {
    /// Spans, each at one of its ends.
    Seen(Vec<Seen>),
    /// Spans that have ended, and who waits for their delivery.
    Spans { spans: Vec<SpanData>, wait: Option<Waiter> },
    /// What spans say about the process from now on.
    Resource(Arc<Resource>),
    /// Somebody waits until all before this is delivered or lost.
    Flush(Waiter),
    /// The same, and nothing comes after it. Whoever asked at this time goes when the rest of it is over.
    Shutdown { asked: Instant, within: Duration, waiter: Waiter },
}

/// What the worker takes at once.
#[derive(Default)]
pub(crate) struct Taken {
    pub messages: Vec<Message>,
    /// Traces of which spans were refused.
    pub incomplete: HashSet<[u8; 16]>,
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
    refused: Lost,
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
    pub(crate) fn push_seen(&self, seen: Seen) -> Result<bool, Closed> {
        // That a span began leaves room for its end, which says all of it again.
        let (span, accepted, limit_bytes) = match &seen {
            Seen::Began(span) => (span, 0, self.limit_bytes / 2),
            Seen::Ended(span) => (span, 1, self.limit_bytes),
        };
        let weight = weight(span);
        let trace_id = span.span_context.trace_id().to_bytes();
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Closed);
        }
        let alone = state.weight == 0 && accepted > 0;
        if !alone && state.weight + weight > limit_bytes {
            // That it began is not worth a loss: it is told when it ends.
            if accepted > 0 {
                state.refused.add(LossReason::QueueFull, accepted);
                if state.taken.incomplete.len() < REFUSED_TRACES {
                    state.taken.incomplete.insert(trace_id);
                }
            }
            return Ok(false);
        }
        state.weight += weight;
        state.accepted += accepted;
        match state.taken.messages.last_mut() {
            Some(Message::Seen(more)) => more.push(seen),
            _ => state.taken.messages.push(Message::Seen(vec![seen])),
        }
        drop(state);
        self.wake.notify_one();
        Ok(true)
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

    /// Everything that came since the last time. What waited here while the worker was busy has waited.
    pub(crate) fn take(&self, now: Instant) -> Taken {
        let mut state = lock(&self.state);
        state.weight = 0;
        let mut taken = std::mem::take(&mut state.taken);
        drop(state);
        if let Some(Message::Shutdown { asked, within, .. }) = taken.messages.last_mut() {
            *within = within.saturating_sub(now.saturating_duration_since(*asked));
        }
        taken
    }

    /// Resolves when something has come since the last [`Inbox::take`].
    pub(crate) async fn something_came(&self) {
        self.wake.notified().await;
    }

    /// Says what the worker has done.
    pub(crate) fn publish(&self, account: Account) {
        *lock(&self.account) = account;
    }

    pub(crate) fn stats(&self) -> Stats {
        let state = lock(&self.state);
        let account = *lock(&self.account);
        account.stats(state.accepted, &state.refused)
    }
}

/// Nothing of ours panics while it holds one of these locks; if it did, what they guard is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::span_data;

    #[test]
    fn what_does_not_fit_is_refused_and_counted_and_its_trace_is_known() {
        let one = weight(&span_data(1, 0, "s"));
        let inbox = Inbox::new(one * 3);
        let spans = |range: std::ops::Range<u64>| range.map(|n| span_data(n, 0, "s")).collect::<Vec<_>>();
        assert_eq!(inbox.push_spans(spans(1..3), None), Ok(0));
        assert_eq!(inbox.push_spans(spans(3..6), None), Ok(2));
        let stats = inbox.stats();
        assert_eq!((stats.accepted, stats.pending, stats.lost.by(LossReason::QueueFull)), (5, 3, 2));
        let taken = inbox.take(Instant::now());
        assert_eq!((taken.messages.len(), taken.incomplete.len()), (2, 1));
        assert_eq!(inbox.push_spans(spans(6..8), None), Ok(0), "what was taken makes room");
    }

    #[test]
    fn a_span_larger_than_the_inbox_gets_through_alone() {
        let inbox = Inbox::new(10);
        assert_eq!(inbox.push_spans(vec![span_data(1, 0, "s"), span_data(2, 0, "s")], None), Ok(1));
        assert_eq!(inbox.push_spans(vec![span_data(3, 0, "s")], None), Ok(1));
    }

    #[test]
    fn that_a_large_span_began_does_not_keep_its_end_out() {
        let large = || {
            let mut span = span_data(1, 0, "s");
            span.attributes = vec![opentelemetry::KeyValue::new("k", "x".repeat(10_000))];
            span
        };
        for (limit, begins) in [(15_000, false), (25_000, true), (9_000, false)] {
            let inbox = Inbox::new(limit);
            assert_eq!(inbox.push_seen(Seen::Began(large())), Ok(begins), "{limit}");
            assert_eq!(inbox.push_seen(Seen::Ended(large())), Ok(true), "{limit}");
            assert_eq!((inbox.stats().accepted, inbox.stats().lost.total()), (1, 0));
        }
    }

    #[test]
    fn nothing_comes_in_after_the_end() {
        let inbox = Inbox::new(1_000_000);
        let (waiter, _) = Waiter::blocking();
        let asked = Instant::now();
        inbox.push(Message::Shutdown { asked, within: Duration::from_secs(5), waiter }).unwrap();
        assert_eq!(inbox.push_spans(vec![span_data(1, 0, "s")], None), Err(Closed));
        let (waiter, _) = Waiter::blocking();
        assert_eq!(inbox.push(Message::Flush(waiter)).err(), Some(Closed));
        assert_eq!(inbox.stats().accepted, 0);
        let taken = inbox.take(asked + Duration::from_secs(2));
        let [Message::Shutdown { within, .. }] = &taken.messages[..] else { panic!("one message") };
        assert_eq!(*within, Duration::from_secs(3), "a busy worker has the less time for it");
    }
}
