//! What a processor sees, in the order in which it happened.

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
    order: Vec<Kind>,
    whole: Vec<SpanData>,
    light: Vec<Light>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Began,
    Ended,
    BeganLight,
    EndedLight,
}

impl Piece {
    /// Spans that go into one.
    pub(super) const SIZE: usize = 64;

    pub(super) fn new() -> Self {
        let [order, whole, light] = [Self::SIZE; 3];
        Self { order: Vec::with_capacity(order), whole: Vec::with_capacity(whole), light: Vec::with_capacity(light) }
    }

    pub(super) fn is_full(&self) -> bool {
        self.order.len() >= Self::SIZE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    #[inline] // A span is large: each call between costs a copy of it.
    pub(super) fn push(&mut self, seen: Seen) {
        let (kind, span) = match seen {
            Seen::Began(span) => (Kind::Began, span),
            Seen::Ended(span) => (Kind::Ended, span),
        };
        self.order.push(kind);
        self.whole.push(span);
    }

    #[inline]
    pub(super) fn push_light(&mut self, light: Light, has_ended: bool) {
        self.order.push(if has_ended { Kind::EndedLight } else { Kind::BeganLight });
        self.light.push(light);
    }

    /// Takes all out of it.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Seen> {
        let (mut whole, mut light) = (self.whole.drain(..), self.light.drain(..));
        self.order.drain(..).filter_map(move |kind| {
            Some(match kind {
                Kind::Began => Seen::Began(whole.next()?),
                Kind::Ended => Seen::Ended(whole.next()?),
                Kind::BeganLight => Seen::Began(light.next()?.into()),
                Kind::EndedLight => Seen::Ended(light.next()?.into()),
            })
        })
    }
}

#[cfg(test)]
impl Piece {
    /// Where its memory is.
    pub(super) fn place(&self) -> *const SpanData {
        self.whole.as_ptr()
    }
}

#[cfg(test)]
impl FromIterator<Seen> for Piece {
    fn from_iter<I: IntoIterator<Item = Seen>>(seen: I) -> Self {
        let mut piece = Self::new();
        seen.into_iter().for_each(|seen| piece.push(seen));
        piece
    }
}
