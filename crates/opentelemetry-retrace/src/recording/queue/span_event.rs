//! Starts and ends of spans, in the order in which a processor sees them.

use std::collections::VecDeque;

use opentelemetry_sdk::trace::SpanData;

use crate::span::span_stub::SpanStub;

/// Start or end of a span.
#[derive(Debug)]
pub(crate) enum SpanEvent {
    /// Start, with the data known at that time.
    Began(SpanData),
    /// End of a span.
    Ended(SpanData),
}

impl SpanEvent {
    pub(super) fn span(&self) -> &SpanData {
        match self {
            Self::Began(span) | Self::Ended(span) => span,
        }
    }
}

/// Batch of spans in preallocated memory, which is reused and never moved while it is filled. Light copies
/// are stored apart, because the memory of a span is much of the cost of handing one over.
#[derive(Debug)]
pub(crate) struct EventBatch {
    order: VecDeque<Kind>,
    whole: VecDeque<SpanData>,
    light: VecDeque<SpanStub>,
    /// Maximum number of spans.
    size: usize,
    /// Bytes of the spans added since the last reset, beside the piece itself.
    pub(super) content: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Began,
    Ended,
    BeganLight,
    EndedLight,
}

impl EventBatch {
    /// Maximum number of spans of a piece.
    pub(super) const SIZE: usize = 64;
    /// Minimum number of spans of a piece.
    const SMALLEST: usize = 4;
    /// A piece takes no more than this share of a queue.
    const SHARE: usize = 8;

    /// Number of spans of a piece for a queue of `queue_bytes` bytes.
    fn size_for(queue_bytes: usize) -> usize {
        (queue_bytes / Self::SHARE / Self::SLOT).clamp(Self::SMALLEST, Self::SIZE)
    }

    /// Bytes of a piece for a queue of `queue_bytes` bytes.
    pub(super) fn bytes_for(queue_bytes: usize) -> usize {
        Self::size_for(queue_bytes) * Self::SLOT
    }

    /// Creates a piece for a queue of `queue_bytes` bytes.
    pub(super) fn of(queue_bytes: usize) -> Self {
        let size = Self::size_for(queue_bytes);
        Self {
            order: VecDeque::with_capacity(size),
            whole: VecDeque::with_capacity(size),
            light: VecDeque::with_capacity(size),
            size,
            content: 0,
        }
    }

    /// Bytes of one place, for a span or for a light copy.
    const SLOT: usize = size_of::<Kind>() + size_of::<SpanData>() + size_of::<SpanStub>();

    /// Bytes of the piece itself.
    pub(super) fn memory(&self) -> usize {
        self.size * Self::SLOT
    }

    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= self.size
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Number of ended spans in it.
    pub(crate) fn ended(&self) -> u64 {
        self.order.iter().filter(|kind| matches!(kind, Kind::Ended | Kind::EndedLight)).count() as u64
    }

    #[inline] // A span is large: each call between costs a copy of it.
    pub(super) fn push(&mut self, seen: SpanEvent) {
        let (kind, span) = match seen {
            SpanEvent::Began(span) => (Kind::Began, span),
            SpanEvent::Ended(span) => (Kind::Ended, span),
        };
        self.order.push_back(kind);
        self.whole.push_back(span);
    }

    #[inline]
    pub(super) fn push_light(&mut self, light: SpanStub, has_ended: bool) {
        self.order.push_back(if has_ended { Kind::EndedLight } else { Kind::BeganLight });
        self.light.push_back(light);
    }

    /// Takes the first span out.
    pub(crate) fn pop(&mut self) -> Option<SpanEvent> {
        Some(match self.order.pop_front()? {
            Kind::Began => SpanEvent::Began(self.whole.pop_front()?),
            Kind::Ended => SpanEvent::Ended(self.whole.pop_front()?),
            Kind::BeganLight => SpanEvent::Began(self.light.pop_front()?.into()),
            Kind::EndedLight => SpanEvent::Ended(self.light.pop_front()?.into()),
        })
    }

    /// Prepares the piece for reuse.
    pub(super) fn reset(&mut self) {
        // A cleared ring starts at the beginning of its memory, in one stretch.
        self.order.clear();
        self.whole.clear();
        self.light.clear();
        self.content = 0;
    }
}

#[cfg(test)]
impl EventBatch {
    /// Address of its memory.
    pub(super) fn place(&self) -> *const SpanData {
        self.whole.as_slices().0.as_ptr()
    }

    /// Takes all spans out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = SpanEvent> {
        std::iter::from_fn(|| self.pop())
    }
}

#[cfg(test)]
impl FromIterator<SpanEvent> for EventBatch {
    fn from_iter<I: IntoIterator<Item = SpanEvent>>(seen: I) -> Self {
        let mut piece = Self::of(usize::MAX);
        seen.into_iter().for_each(|seen| piece.push(seen));
        piece
    }
}
