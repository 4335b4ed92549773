//! What a processor sees, in the order in which it happened.

use std::collections::VecDeque;

use opentelemetry_sdk::trace::SpanData;

use crate::light::Light;

/// A span at one of its ends.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It began; as far as it is known then.
    Began(SpanData),
    /// It has ended.
    Ended(SpanData),
}

impl Seen {
    pub(super) fn span(&self) -> &SpanData {
        match self {
            Self::Began(span) | Self::Ended(span) => span,
        }
    }
}

/// Spans that are handed over in one piece: memory that is used again, and never moved while it grows. What is light stands
/// apart, because the memory of a span is much of what it costs to hand one over.
#[derive(Debug)]
pub(crate) struct Piece {
    order: VecDeque<Kind>,
    whole: VecDeque<SpanData>,
    light: VecDeque<Light>,
    /// Spans that fit.
    size: usize,
    /// Bytes of the spans that were put in since it was last emptied, beside the piece itself.
    pub(super) content: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Began,
    Ended,
    BeganLight,
    EndedLight,
}

impl Piece {
    /// Most spans that go into one.
    pub(super) const SIZE: usize = 64;
    /// Fewest.
    const SMALLEST: usize = 4;
    /// A piece takes no more than this share of a queue.
    const SHARE: usize = 8;

    /// Spans that go into a piece of a queue of so many bytes.
    fn size_for(queue_bytes: usize) -> usize {
        (queue_bytes / Self::SHARE / Self::SLOT).clamp(Self::SMALLEST, Self::SIZE)
    }

    /// Bytes of a piece for a queue of so many bytes.
    pub(super) fn bytes_for(queue_bytes: usize) -> usize {
        Self::size_for(queue_bytes) * Self::SLOT
    }

    /// A piece for a queue of so many bytes.
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

    /// Bytes of one place, which may be for a span or for a light one.
    const SLOT: usize = size_of::<Kind>() + size_of::<SpanData>() + size_of::<Light>();

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

    /// Spans in it that have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.order.iter().filter(|kind| matches!(kind, Kind::Ended | Kind::EndedLight)).count() as u64
    }

    #[inline] // A span is large: each call between costs a copy of it.
    pub(super) fn push(&mut self, seen: Seen) {
        let (kind, span) = match seen {
            Seen::Began(span) => (Kind::Began, span),
            Seen::Ended(span) => (Kind::Ended, span),
        };
        self.order.push_back(kind);
        self.whole.push_back(span);
    }

    #[inline]
    pub(super) fn push_light(&mut self, light: Light, has_ended: bool) {
        self.order.push_back(if has_ended { Kind::EndedLight } else { Kind::BeganLight });
        self.light.push_back(light);
    }

    /// Takes the first out of it.
    pub(crate) fn pop(&mut self) -> Option<Seen> {
        Some(match self.order.pop_front()? {
            Kind::Began => Seen::Began(self.whole.pop_front()?),
            Kind::Ended => Seen::Ended(self.whole.pop_front()?),
            Kind::BeganLight => Seen::Began(self.light.pop_front()?.into()),
            Kind::EndedLight => Seen::Ended(self.light.pop_front()?.into()),
        })
    }

    /// Makes it ready to be filled again.
    pub(super) fn reset(&mut self) {
        // A ring that is cleared begins at its beginning, in one stretch of memory.
        self.order.clear();
        self.whole.clear();
        self.light.clear();
        self.content = 0;
    }
}

#[cfg(test)]
impl Piece {
    /// Where its memory is.
    pub(super) fn place(&self) -> *const SpanData {
        self.whole.as_slices().0.as_ptr()
    }

    /// Takes all out of it.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Seen> {
        std::iter::from_fn(|| self.pop())
    }
}

#[cfg(test)]
impl FromIterator<Seen> for Piece {
    fn from_iter<I: IntoIterator<Item = Seen>>(seen: I) -> Self {
        let mut piece = Self::of(usize::MAX);
        seen.into_iter().for_each(|seen| piece.push(seen));
        piece
    }
}
