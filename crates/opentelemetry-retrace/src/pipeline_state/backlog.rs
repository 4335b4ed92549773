//! Messages that were taken from the queue and are not read yet, in their order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use opentelemetry_sdk::trace::SpanData;
use retrace_translate::Resource;

use crate::recording::flush_handle::{FlushHandle, FlushOutcome};
use crate::recording::queue::{EventBatch, Message, SpanEvent};

/// Messages in order, and the messages read since [`Backlog::take_read`].
#[derive(Debug, Default)]
pub(super) struct Backlog {
    items: VecDeque<Item>,
    /// Number of accepted spans in the messages.
    spans: u64,
    /// Time from which everything is read at once: half of the time of a shutdown.
    urgent_from: Option<Duration>,
    /// Pieces that are read completely.
    emptied: Vec<EventBatch>,
    /// Bytes of the other spans that were read.
    read_bytes: usize,
}

#[derive(Debug)]
enum Item {
    EventBatch(EventBatch),
    /// Spans of an export, and their bytes.
    Spans(vec::IntoIter<SpanData>, usize),
    Resource(Arc<Resource>),
    Wait(Pause),
    Shutdown(Pause),
}

/// Flush or shutdown that waits for everything before it.
#[derive(Debug)]
pub(super) struct Pause {
    pub waiter: FlushHandle,
    pub until: Duration,
}

/// Next item to process.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most are spans, and a box for each would cost more than the move")]
pub(super) enum Next {
    Seen(SpanEvent),
    Resource(Arc<Resource>),
    Wait(Pause),
    Shutdown(Pause),
}

impl Backlog {
    /// Adds a message taken at `now`; a flush takes `flush_wait` at most.
    pub(super) fn push(&mut self, message: Message, flush_wait: Duration, now: Duration) {
        match message {
            Message::Seen(piece) => {
                self.spans += piece.ended();
                self.items.push_back(Item::EventBatch(piece));
            }
            Message::Spans { spans, bytes, wait } => {
                self.spans += spans.len() as u64;
                self.items.push_back(Item::Spans(spans.into_iter(), bytes));
                if let Some((waiter, within)) = wait {
                    self.items.push_back(Item::Wait(Pause { waiter, until: now + within }));
                }
            }
            Message::Resource(resource) => self.items.push_back(Item::Resource(resource)),
            Message::Flush(waiter) => {
                self.items.push_back(Item::Wait(Pause { waiter, until: now + flush_wait }));
            }
            Message::Shutdown { within, waiter, .. } => {
                self.urgent_from = Some(now + within / 2);
                self.items.push_back(Item::Shutdown(Pause { waiter, until: now + within }));
            }
        }
    }

    /// Takes the next item out.
    pub(super) fn next(&mut self) -> Option<Next> {
        loop {
            match self.items.front_mut()? {
                Item::EventBatch(piece) => {
                    if let Some(seen) = piece.pop() {
                        self.spans -= u64::from(matches!(seen, SpanEvent::Ended(_)));
                        return Some(Next::Seen(seen));
                    }
                }
                Item::Spans(spans, _) => {
                    if let Some(span) = spans.next() {
                        self.spans -= 1;
                        return Some(Next::Seen(SpanEvent::Ended(span)));
                    }
                }
                Item::Resource(_) | Item::Wait(_) | Item::Shutdown(_) => {}
            }
            match self.items.pop_front()? {
                Item::EventBatch(piece) => self.emptied.push(piece),
                Item::Spans(_, bytes) => self.read_bytes += bytes,
                Item::Resource(resource) => return Some(Next::Resource(resource)),
                Item::Wait(pause) => return Some(Next::Wait(pause)),
                Item::Shutdown(pause) => return Some(Next::Shutdown(pause)),
            }
        }
    }

    /// Number of accepted spans in the backlog.
    pub(super) fn spans(&self) -> u64 {
        self.spans
    }

    /// Counts the spans message by message: after a panic, and for tests.
    pub(super) fn count_spans(&self) -> u64 {
        let of = |item: &Item| match item {
            Item::EventBatch(piece) => piece.ended(),
            Item::Spans(spans, _) => spans.len() as u64,
            Item::Resource(_) | Item::Wait(_) | Item::Shutdown(_) => 0,
        };
        self.items.iter().map(of).sum()
    }

    /// Corrects the count after a panic.
    pub(super) fn recount(&mut self) {
        self.spans = self.count_spans();
    }

    /// Number of messages that are not read completely.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns true if a shutdown has been added.
    pub(super) fn is_closing(&self) -> bool {
        self.urgent_from.is_some()
    }

    /// Returns true if everything is read at once.
    pub(super) fn is_urgent(&self, now: Duration) -> bool {
        self.urgent_from.is_some_and(|from| from <= now)
    }

    /// Returns when the first wait expires, or everything is read at once.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.next_end().into_iter().chain(self.urgent_from.filter(|_| !self.items.is_empty())).min()
    }

    fn next_end(&self) -> Option<Duration> {
        let until = |item: &Item| if let Item::Wait(pause) = item { Some(pause.until) } else { None };
        self.items.iter().filter_map(until).min()
    }

    /// Ends the waits that expire by `now`.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<(FlushHandle, FlushOutcome)> {
        let mut over = Vec::new();
        if self.next_end().is_some_and(|end| end <= now) {
            for item in std::mem::take(&mut self.items) {
                match item {
                    Item::Wait(pause) if pause.until <= now => over.push((pause.waiter, FlushOutcome::TimedOut)),
                    item => self.items.push_back(item),
                }
            }
        }
        over
    }

    /// Takes the pieces that were read, and the bytes of the other spans that were read.
    pub(super) fn take_read(&mut self) -> (Vec<EventBatch>, usize) {
        (std::mem::take(&mut self.emptied), std::mem::take(&mut self.read_bytes))
    }
}
