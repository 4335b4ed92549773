//! Encoded spans.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use retrace_protocol::{Json, Span, write};

use crate::outbox::body::Body;

/// Typical bytes of a span beside its content.
const SMALL_SPAN: usize = 512;
/// Values from this length on are sent without a copy: allocating large memory costs more than writing.
const LARGE: usize = 16 * 1024;

/// Overhead of shared memory, once a second owner shares it.
const SHARED: usize = 24;

/// Span, encoded as it is sent in a body.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// Memory that holds the JSON, alone or with other spans of the run.
    memory: Bytes,
    /// Range of the JSON with a comma before it, which the first span of a body omits.
    at: Range<usize>,
    /// Large values of the span, each with its position in the memory, in order.
    large: Vec<(usize, Bytes)>,
    /// Number of accepted spans that it represents.
    pub sources: u32,
}

impl Chunk {
    /// Encodes a span into memory of its own.
    pub(crate) fn new(span: &Span, sources: u32) -> Option<Self> {
        let mut text = String::with_capacity(room(span, usize::MAX));
        text.push(',');
        write::append(&mut text, span).ok()?;
        // The text is kept, and counts with its length.
        text.shrink_to_fit();
        Some(Self::of_text(text, sources))
    }

    /// Creates a chunk from the JSON of a span.
    pub(crate) fn of_data(data: &str, sources: u32) -> Self {
        Self::of_text([",", data].concat(), sources)
    }

    fn of_text(text: String, sources: u32) -> Self {
        Self { at: 0..text.len(), memory: text.into(), large: Vec::new(), sources }
    }

    /// Decodes the span, to change it.
    pub(crate) fn read(&self) -> Option<Span> {
        serde_json::from_str(&self.data()?).ok()
    }

    pub(crate) fn length(&self) -> usize {
        self.at.len() + self.large.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// Bytes of the chunk: itself, its JSON, and its entries of large values.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + SHARED + self.length() + self.large.capacity() * (size_of::<(usize, Bytes)>() + SHARED)
    }

    /// Returns the JSON of the span; a copy if it has large values.
    pub(crate) fn data(&self) -> Option<Cow<'_, str>> {
        if self.large.is_empty() {
            return std::str::from_utf8(self.memory.get(self.at.start + 1..self.at.end)?).ok().map(Cow::Borrowed);
        }
        let mut body = Body::default();
        fill(&mut body, std::slice::from_ref(self));
        let pieces: Vec<&[u8]> = body.pieces().map(AsRef::as_ref).collect();
        String::from_utf8(pieces.concat()).ok().map(Cow::Owned)
    }

    /// Bytes of the memory that the chunk keeps alive.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.memory.len() + self.large.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// Moves the JSON into memory of its own.
    pub(crate) fn unshare(&mut self) {
        if self.at.len() < self.memory.len() {
            let memory = self.memory.get(self.at.clone()).map(Bytes::copy_from_slice).unwrap_or_default();
            self.large.iter_mut().for_each(|(at, _)| *at -= self.at.start);
            (self.at, self.memory) = (0..memory.len(), memory);
        }
    }
}

/// Encoder of the spans of a run: into one piece of memory, except large values.
#[derive(Debug)]
pub(crate) struct Chunks {
    text: String,
    /// Chunks in the text, without their memory.
    chunks: Vec<Chunk>,
}

impl Chunks {
    /// Creates an encoder with capacity for these spans: growing would cost as much as writing. Calls
    /// `makes_room` with that number of bytes first.
    pub(crate) fn with_room_for<'s>(spans: impl IntoIterator<Item = &'s Span>, makes_room: impl FnOnce(usize)) -> Self {
        let (count, bytes) =
            spans.into_iter().fold((0, 0), |(count, bytes), span| (count + 1, bytes + room(span, LARGE)));
        makes_room(bytes + count * size_of::<Chunk>());
        Self { text: String::with_capacity(bytes), chunks: Vec::with_capacity(count) }
    }

    /// Encodes a span; returns true if it could be encoded.
    pub(crate) fn push(&mut self, span: Span, sources: u32) -> bool {
        let begin = self.text.len();
        self.text.push(',');
        let mut places = [None; 3];
        let values = [&span.input, &span.output, &span.metadata];
        let written = write::append_but(&mut self.text, &span, &mut |at, text| {
            let is_it = |value: &&Option<Json>| value.as_ref().is_some_and(|json| std::ptr::eq(json.as_str(), text));
            let place = values.iter().position(is_it).and_then(|value| places.get_mut(value));
            place.filter(|_| text.len() >= LARGE).is_some_and(|place| place.replace(at).is_none())
        });
        if written.is_err() {
            self.text.truncate(begin);
            return false;
        }
        let values = [span.input, span.output, span.metadata].into_iter().zip(places);
        let bytes = |json: Json| Bytes::from(Box::<str>::from(json).into_boxed_bytes());
        let mut large: Vec<_> = values.filter_map(|(json, place)| Some((place?, bytes(json?)))).collect();
        large.sort_by_key(|(place, _)| *place);
        self.chunks.push(Chunk { memory: Bytes::new(), at: begin..self.text.len(), large, sources });
        true
    }

    pub(crate) fn finish(mut self) -> Vec<Chunk> {
        self.text.shrink_to_fit();
        self.chunks.shrink_to_fit();
        let memory = Bytes::from(self.text);
        self.chunks.iter_mut().for_each(|chunk| chunk.memory = memory.clone());
        self.chunks
    }
}

/// Approximate bytes of a span, without values of `large` bytes and more.
fn room(span: &Span, large: usize) -> usize {
    let length = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    let lengths = [&span.input, &span.output, &span.metadata].map(length);
    SMALL_SPAN + lengths.into_iter().filter(|length| *length < large).sum::<usize>()
}

/// Adds spans to a body. Text that is contiguous in memory becomes one piece.
pub(super) fn fill(body: &mut Body, chunks: &[Chunk]) {
    /// Text that is not added yet.
    struct Pending<'c>(&'c Bytes, Range<usize>);

    impl<'c> Pending<'c> {
        fn add(&mut self, memory: &'c Bytes, at: Range<usize>, body: &mut Body) {
            if self.0.as_ptr() == memory.as_ptr() && self.1.end == at.start {
                self.1.end = at.end;
            } else {
                self.put(body);
                *self = Self(memory, at);
            }
        }

        fn put(&mut self, body: &mut Body) {
            body.push(self.0.slice(self.1.clone()));
            self.1.start = self.1.end;
        }
    }

    let Some(first) = chunks.first() else { return };
    // The comma before the first span is left out.
    let mut text = Pending(&first.memory, first.at.start + 1..first.at.start + 1);
    for (n, chunk) in chunks.iter().enumerate() {
        let mut begin = chunk.at.start + usize::from(n == 0);
        for (at, value) in &chunk.large {
            text.add(&chunk.memory, begin..*at, body);
            text.put(body);
            body.push(value.clone());
            begin = *at;
        }
        text.add(&chunk.memory, begin..chunk.at.end, body);
    }
    text.put(body);
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::{SpanType, Timestamp};

    fn span(name: &str) -> Span {
        Span::new("s".into(), "t".into(), SpanType::Action, name, Timestamp::from_unix_micros(1))
    }

    fn of(spans: &[Span]) -> Vec<Chunk> {
        let mut chunks = Chunks::with_room_for(spans, |_| ());
        assert!(spans.iter().all(|span| chunks.push(span.clone(), 1)));
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

    /// Creates a span with values of these lengths as its input, its output and its metadata.
    fn with(lengths: [Option<usize>; 3]) -> Span {
        let [input, output, metadata] = lengths.map(|length| Some(Json::text(&"l".repeat(length?))));
        Span { input, output, metadata, ..span("s") }
    }

    #[test]
    fn large_values_are_sent_from_where_they_stand() {
        let (none, long) = ([None; 3], Some(2 * LARGE));
        let lengths =
            [none, [Some(9), long, None], none, none, [long; 3], [None, None, long], [Some(LARGE - 2), None, None]];
        let spans = lengths.map(with);
        let standing = spans.clone();
        let places: Vec<_> =
            standing.iter().map(|span| span.output.as_ref().map(|json| json.as_str().as_ptr())).collect();
        let mut chunks = Chunks::with_room_for(&spans, |_| ());
        assert!(standing.into_iter().all(|span| chunks.push(span, 1)));
        let chunks = chunks.finish();
        let json = |spans: &[Span]| write::to_string(spans).unwrap();
        assert_eq!(format!("[{}]", body(&chunks).to_text()), json(&spans));
        // Seven pieces of text surround six large values.
        assert_eq!(body(&chunks).count(), 13);
        let read: Vec<Span> = chunks.iter().map(|chunk| chunk.read().unwrap()).collect();
        assert_eq!(read, spans);
        assert!(
            chunks
                .iter()
                .zip(&spans)
                .all(|(chunk, span)| chunk.length() == 1 + json(std::slice::from_ref(span)).len() - 2)
        );
        let sent = |place: Option<*const u8>| {
            chunks.iter().flat_map(|chunk| &chunk.large).any(|(_, v)| Some(v.as_ptr()) == place)
        };
        assert_eq!(places.into_iter().map(sent).collect::<Vec<_>>(), [false, true, false, false, true, false, false]);
    }

    #[test]
    fn what_is_left_of_a_run_does_not_hold_the_memory_of_all() {
        let spans = [with([None; 3]), with([None, Some(LARGE), Some(LARGE)])];
        for at in [0, 1] {
            let mut left = of(&spans).remove(at);
            assert!(left.held() > left.length());
            left.unshare();
            assert_eq!((left.held(), left.read()), (left.length(), spans.get(at).cloned()));
            assert_eq!(body(&[left]).to_text(), write::to_string(&spans[at]).unwrap());
        }
    }
}
