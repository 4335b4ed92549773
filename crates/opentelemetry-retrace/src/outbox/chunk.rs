//! Spans as they will stand in a body.

use std::ops::Range;

use bytes::Bytes;
use retrace_protocol::{Json, Span, write};

use crate::outbox::body::Body;

/// Bytes of a span beside its content, usually.
const SMALL_SPAN: usize = 512;
/// Spans from here on stand in memory of their own: fresh memory in large pieces costs more than the writing.
const LARGE_SPAN: usize = 16 * 1024;

/// A span as it will stand in a body.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// What it stands in, alone or with others of its run.
    memory: Bytes,
    /// Where its JSON is, and the comma before it: the first one in a body goes without.
    at: Range<usize>,
    /// Accepted spans that it stands for.
    pub sources: u32,
}

impl Chunk {
    pub(crate) fn new(span: &Span, sources: u32) -> Option<Self> {
        let mut chunks = Chunks::with_room_for([span]);
        chunks.push(span, sources);
        chunks.finish().pop()
    }

    /// Of the JSON of a span.
    pub(crate) fn of_data(data: &[u8], sources: u32) -> Self {
        let memory: Bytes = [b",", data].concat().into();
        Self { at: 0..memory.len(), memory, sources }
    }

    /// The span again, to change it.
    pub(crate) fn read(&self) -> Option<Span> {
        serde_json::from_slice(self.data()).ok()
    }

    pub(crate) fn length(&self) -> usize {
        self.at.len()
    }

    /// The JSON of the span.
    pub(crate) fn data(&self) -> &[u8] {
        self.memory.get(self.at.start + 1..self.at.end).unwrap_or_default()
    }

    /// Bytes of the memory that it keeps from being free.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.memory.len()
    }

    /// Whether it begins where the other ends, in the same memory.
    fn follows(&self, other: &Self) -> bool {
        self.memory.as_ptr() == other.memory.as_ptr() && self.at.start == other.at.end
    }

    /// Lets go of the memory that it stands in with others.
    pub(crate) fn unshare(&mut self) {
        if self.length() < self.memory.len() {
            *self = Self::of_data(self.data(), self.sources);
        }
    }
}

/// The spans of a run while they are written: small ones into one piece of memory.
#[derive(Debug)]
pub(crate) struct Chunks {
    finished: Vec<Chunk>,
    text: String,
    /// Where each of those in the text ends, and what it stands for.
    ends: Vec<(usize, u32)>,
}

impl Chunks {
    /// With room for spans like these: found out by growing, it would cost as much as the writing.
    pub(crate) fn with_room_for<'s>(spans: impl IntoIterator<Item = &'s Span>) -> Self {
        let rooms = spans.into_iter().map(room).filter(|room| *room < LARGE_SPAN);
        let (count, bytes) = rooms.fold((0, 0), |(count, bytes), room| (count + 1, bytes + room));
        Self { finished: Vec::new(), text: String::with_capacity(bytes), ends: Vec::with_capacity(count) }
    }

    /// Writes a span; tells whether it could be written.
    pub(crate) fn push(&mut self, span: &Span, sources: u32) -> bool {
        let room = room(span);
        if room >= LARGE_SPAN {
            self.gather();
            self.text.reserve(room);
        }
        let begin = self.text.len();
        self.text.push(',');
        if write::append(&mut self.text, span).is_err() {
            self.text.truncate(begin);
            return false;
        }
        self.ends.push((self.text.len(), sources));
        if room >= LARGE_SPAN {
            self.gather();
        }
        true
    }

    pub(crate) fn finish(mut self) -> Vec<Chunk> {
        self.gather();
        self.finished
    }

    /// Makes chunks of what is in the text.
    fn gather(&mut self) {
        if self.ends.is_empty() {
            return;
        }
        let memory = Bytes::from(std::mem::take(&mut self.text));
        let mut begin = 0;
        self.finished.extend(self.ends.drain(..).map(|(end, sources)| {
            let at = std::mem::replace(&mut begin, end)..end;
            Chunk { memory: memory.clone(), at, sources }
        }));
    }
}

/// Bytes that a span takes, roughly.
fn room(span: &Span) -> usize {
    let length = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    SMALL_SPAN + length(&span.input) + length(&span.output) + length(&span.metadata)
}

/// Puts spans into a body. Those that stand behind each other in memory are one piece of it.
pub(super) fn fill(body: &mut Body, chunks: &[Chunk]) {
    let pieces = chunks.chunk_by(|one, next| next.follows(one));
    for (at, piece) in pieces.enumerate() {
        if let [first, ..] = piece
            && let [.., last] = piece
        {
            let begin = first.at.start + usize::from(at == 0);
            body.push(first.memory.slice(begin..last.at.end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::{SpanType, Timestamp};

    fn span(name: &str) -> Span {
        Span::new("s".into(), "t".into(), SpanType::Action, name, Timestamp::from_unix_micros(1))
    }

    fn of(spans: &[Span]) -> Vec<Chunk> {
        let mut chunks = Chunks::with_room_for(spans);
        assert!(spans.iter().all(|span| chunks.push(span, 1)));
        chunks.finish()
    }

    fn body(chunks: &[Chunk]) -> Body {
        let mut body = Body::default();
        fill(&mut body, chunks);
        body
    }

    #[test]
    fn the_spans_of_a_run_are_one_piece_until_one_of_them_changes() {
        let spans = ["a", "b", "c", "d"].map(span);
        let json = |spans: &[Span]| serde_json::to_string(spans).unwrap().trim_matches(['[', ']']).to_owned();
        let mut chunks = of(&spans);
        assert_eq!((body(&chunks).to_text(), body(&chunks).count()), (json(&spans), 1));
        chunks[1] = Chunk::new(&spans[1], 1).unwrap();
        assert_eq!((body(&chunks).to_text(), body(&chunks).count()), (json(&spans), 3));
        chunks.remove(1);
        assert_eq!(body(&chunks).count(), 2, "what stood between is not sent");
        chunks.remove(0);
        assert_eq!(body(&chunks).to_text(), json(&spans[2..]));
        let read: Vec<Span> = chunks.iter().map(|chunk| chunk.read().unwrap()).collect();
        assert_eq!(read, spans[2..]);
    }

    #[test]
    fn a_large_span_stands_alone() {
        let names = ["a".to_owned(), "b".to_owned(), "l".repeat(2 * LARGE_SPAN), "c".to_owned(), "d".to_owned()];
        let spans = names.map(|name| {
            let mut span = span("s");
            span.input = Some(Json::text(&name));
            span
        });
        let chunks = of(&spans);
        assert_eq!(body(&chunks).count(), 3);
        let read: Vec<Span> = chunks.iter().map(|chunk| chunk.read().unwrap()).collect();
        assert_eq!(read, spans);
        assert_eq!(chunks[2].held(), chunks[2].length());
    }

    #[test]
    fn what_is_left_of_a_run_does_not_hold_the_memory_of_all() {
        let mut chunks = of(&["a", "b"].map(span));
        let mut left = chunks.pop().unwrap();
        let before = left.data().to_owned();
        assert!(left.held() > left.length());
        left.unshare();
        assert_eq!((left.held(), left.data()), (left.length(), &*before));
    }
}
