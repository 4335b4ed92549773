//! Encoded spans: each record is encoded once, into bytes that both transports use.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use retrace_protocol::{Json, Span, write};

use crate::delivery::body::Body;
use crate::delivery::truncate::shorten_span;

/// Typical bytes of a span beside its content.
const SMALL_SPAN: usize = 512;
/// Values from this length on are sent without a copy: allocating large memory costs more than writing.
const LARGE: usize = 16 * 1024;

/// Overhead of shared memory, once a second owner shares it.
const SHARED: usize = 24;

/// Span, encoded as it is sent in a body.
#[derive(Clone, Debug)]
pub(crate) struct EncodedSpan {
    /// Memory that holds the JSON, alone or with other spans of the run.
    memory: Bytes,
    /// Range of the JSON with a comma before it, which the first span of a body omits.
    at: Range<usize>,
    /// Large values of the span, each with its position in the memory, in order.
    large: Vec<(usize, Bytes)>,
    /// Position and length of the output in the memory; a large output has the length 0 there.
    output: Option<(usize, usize)>,
    /// Number of accepted spans that it represents.
    pub sources: u32,
}

/// Reason why a span is not encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotEncoded {
    /// A value of it cannot be written as JSON.
    Invalid,
    /// It is longer than the limit, and cannot be shortened.
    TooLarge,
}

impl EncodedSpan {
    /// Encodes a span into memory of its own. A span of more than `max_bytes` bytes is shortened.
    pub(crate) fn new(mut span: Span, sources: u32, max_bytes: usize) -> Result<Self, NotEncoded> {
        let mut text = String::with_capacity(room(&span, LARGE));
        let output = append(&mut text, &span)?;
        let length = text.len() + output.large.iter().map(|(.., length)| length).sum::<usize>();
        let output = if length > max_bytes {
            text.clear();
            shorten_span(&mut span, length, max_bytes);
            let output = append(&mut text, &span)?;
            let shorter = text.len() + output.large.iter().map(|(.., length)| length).sum::<usize>();
            if shorter >= length {
                return Err(NotEncoded::TooLarge);
            }
            output
        } else {
            output
        };
        // The text is kept, and counts with its length.
        text.shrink_to_fit();
        let at = 0..text.len();
        Ok(Self { memory: text.into(), ..output.of(span, at, sources) })
    }

    /// Creates it from the JSON of a span, as a record of the spool holds it.
    pub(crate) fn of_data(data: &str, sources: u32) -> Self {
        let text = [",", data].concat();
        Self { at: 0..text.len(), memory: text.into(), large: Vec::new(), output: None, sources }
    }

    /// Decodes the span. Only a span that the receiver rejects in this form is decoded, to change it.
    pub(crate) fn read(&self) -> Option<Span> {
        serde_json::from_str(&self.data()?).ok()
    }

    pub(crate) fn length(&self) -> usize {
        self.at.len() + self.large.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// Bytes of the span beside its entry: its JSON, and the entries of large values.
    pub(crate) fn weight(&self) -> usize {
        SHARED + self.length() + self.large.capacity() * (size_of::<(usize, Bytes)>() + SHARED)
    }

    /// Returns the JSON of the span; a copy if it has large values.
    pub(crate) fn data(&self) -> Option<Cow<'_, str>> {
        if self.large.is_empty() {
            return std::str::from_utf8(self.memory.get(self.at.start + 1..self.at.end)?).ok().map(Cow::Borrowed);
        }
        String::from_utf8(self.pieces().concat()).ok().map(Cow::Owned)
    }

    /// Returns the JSON of the span, in the pieces in which it is in memory.
    pub(crate) fn pieces(&self) -> Vec<&[u8]> {
        let text = |at: Range<usize>| self.memory.get(at).unwrap_or_default();
        let mut pieces = Vec::with_capacity(1 + 2 * self.large.len());
        let mut begin = self.at.start + 1;
        for (at, value) in &self.large {
            pieces.extend([text(begin..*at), value]);
            begin = *at;
        }
        pieces.push(text(begin..self.at.end));
        pieces
    }

    /// Returns the JSON of the output, if the span has one.
    pub(crate) fn output(&self) -> Option<&[u8]> {
        let (at, length) = self.output?;
        match length {
            0 => self.large.iter().find(|(place, _)| *place == at).map(|(_, value)| value.as_ref()),
            length => self.memory.get(at..at + length),
        }
    }

    /// Bytes of the memory that the span keeps alive.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.memory.len() + self.large.iter().map(|(_, value)| value.len()).sum::<usize>()
    }

    /// Moves the JSON into memory of its own.
    pub(crate) fn unshare(&mut self) {
        if self.at.len() < self.memory.len() {
            let memory = self.memory.get(self.at.clone()).map(Bytes::copy_from_slice).unwrap_or_default();
            let start = self.at.start;
            let places = self.large.iter_mut().map(|(at, _)| at).chain(self.output.as_mut().map(|(at, _)| at));
            places.for_each(|at| *at -= start);
            (self.at, self.memory) = (0..memory.len(), memory);
        }
    }
}

/// Positions of the values of a span that was appended to a text.
#[derive(Debug, Default)]
struct Places {
    /// Positions of the large values, which are not in the text, each with the number of its field and its length.
    large: Vec<(usize, usize, usize)>,
    output: Option<(usize, usize)>,
}

/// Number of the output among the fields of a span that are JSON.
const OUTPUT: usize = 1;

impl Places {
    /// Creates the encoded span, without its memory.
    fn of(self, span: Span, at: Range<usize>, sources: u32) -> EncodedSpan {
        let mut large = Vec::new();
        if !self.large.is_empty() {
            let mut values = [span.input, span.output, span.metadata];
            let bytes = |json: Json| Bytes::from(Box::<str>::from(json).into_boxed_bytes());
            let mut value = |field: usize| values.get_mut(field)?.take().map(bytes);
            large = self.large.into_iter().filter_map(|(place, field, _)| Some((place, value(field)?))).collect();
        }
        EncodedSpan { memory: Bytes::new(), at, large, output: self.output, sources }
    }
}

/// Appends a comma and a span, without its large values.
fn append(text: &mut String, span: &Span) -> Result<Places, NotEncoded> {
    text.push(',');
    let mut places = Places::default();
    let values = [&span.input, &span.output, &span.metadata];
    let written = write::append_but(text, span, &mut |at, value| {
        let is_it = |json: &&Option<Json>| json.as_ref().is_some_and(|json| std::ptr::eq(json.as_str(), value));
        let Some(field) = values.iter().position(is_it) else { return false };
        let is_large = value.len() >= LARGE;
        if is_large {
            places.large.push((at, field, value.len()));
        }
        if field == OUTPUT {
            places.output = Some((at, if is_large { 0 } else { value.len() }));
        }
        is_large
    });
    written.map(|()| places).map_err(|_| NotEncoded::Invalid)
}

/// Encoder of the spans of a run: into one piece of memory, except large values.
#[derive(Debug)]
pub(crate) struct RunEncoder {
    text: String,
    /// Spans in the text, without their memory.
    spans: Vec<EncodedSpan>,
}

impl RunEncoder {
    /// Creates an encoder with capacity for these spans: growing would cost as much as writing. Calls
    /// `makes_room` with that number of bytes first.
    pub(crate) fn with_room_for<'s>(spans: impl IntoIterator<Item = &'s Span>, makes_room: impl FnOnce(usize)) -> Self {
        let (count, bytes) =
            spans.into_iter().fold((0, 0), |(count, bytes), span| (count + 1, bytes + room(span, LARGE)));
        makes_room(bytes + count * size_of::<EncodedSpan>());
        Self { text: String::with_capacity(bytes), spans: Vec::with_capacity(count) }
    }

    /// Encodes a span; returns true if it could be encoded.
    pub(crate) fn push(&mut self, span: Span, sources: u32) -> bool {
        let begin = self.text.len();
        let Ok(places) = append(&mut self.text, &span) else {
            self.text.truncate(begin);
            return false;
        };
        self.spans.push(places.of(span, begin..self.text.len(), sources));
        true
    }

    /// Returns the encoded spans, in the order in which they were pushed.
    pub(crate) fn finish(mut self) -> Vec<EncodedSpan> {
        self.text.shrink_to_fit();
        let memory = Bytes::from(self.text);
        self.spans.iter_mut().for_each(|span| span.memory = memory.clone());
        self.spans
    }
}

/// Approximate bytes of a span, without values of `large` bytes and more.
fn room(span: &Span, large: usize) -> usize {
    let length = |json: &Option<Json>| json.as_ref().map_or(0, |json| json.as_str().len());
    let lengths = [&span.input, &span.output, &span.metadata].map(length);
    SMALL_SPAN + lengths.into_iter().filter(|length| *length < large).sum::<usize>()
}

/// Adds spans to a body. Text that is contiguous in memory becomes one piece.
pub(super) fn fill<'c>(body: &mut Body, spans: impl IntoIterator<Item = &'c EncodedSpan>) {
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

    let mut spans = spans.into_iter().peekable();
    let Some(first) = spans.peek() else { return };
    // The comma before the first span is left out.
    let mut comma = 1;
    let mut text = Pending(&first.memory, first.at.start + comma..first.at.start + comma);
    for span in spans {
        let mut begin = span.at.start + std::mem::take(&mut comma);
        for (at, value) in &span.large {
            text.add(&span.memory, begin..*at, body);
            text.put(body);
            body.push(value.clone());
            begin = *at;
        }
        text.add(&span.memory, begin..span.at.end, body);
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

    fn of(spans: &[Span]) -> Vec<EncodedSpan> {
        let mut encoder = RunEncoder::with_room_for(spans, |_| ());
        assert!(spans.iter().all(|span| encoder.push(span.clone(), 1)));
        encoder.finish()
    }

    fn body(spans: &[EncodedSpan]) -> Body {
        let mut body = Body::default();
        fill(&mut body, spans);
        body
    }

    #[test]
    fn the_spans_of_a_run_are_one_piece_until_one_of_them_changes() {
        let spans = ["a", "b", "c", "d"].map(span);
        let json = |spans: &[Span]| serde_json::to_string(spans).unwrap().trim_matches(['[', ']']).to_owned();
        let mut encoded = of(&spans);
        assert_eq!((body(&encoded).to_text(), body(&encoded).count()), (json(&spans), 1));
        encoded[1] = EncodedSpan::new(spans[1].clone(), 1, usize::MAX).unwrap();
        assert_eq!((body(&encoded).to_text(), body(&encoded).count()), (json(&spans), 3));
        encoded.remove(1);
        assert_eq!(body(&encoded).count(), 2, "what stood between is not sent");
        encoded.remove(0);
        assert_eq!(body(&encoded).to_text(), json(&spans[2..]));
        let read: Vec<Span> = encoded.iter().map(|span| span.read().unwrap()).collect();
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
        let mut encoder = RunEncoder::with_room_for(&spans, |_| ());
        assert!(standing.into_iter().all(|span| encoder.push(span, 1)));
        let encoded = encoder.finish();
        let json = |spans: &[Span]| write::to_string(spans).unwrap();
        assert_eq!(format!("[{}]", body(&encoded).to_text()), json(&spans));
        // Seven pieces of text surround six large values.
        assert_eq!(body(&encoded).count(), 13);
        let read: Vec<Span> = encoded.iter().map(|span| span.read().unwrap()).collect();
        assert_eq!(read, spans);
        let of_pieces = |span: &EncodedSpan| span.pieces().concat();
        let each: Vec<_> = spans.iter().map(|span| write::to_string(span).unwrap().into_bytes()).collect();
        assert_eq!(encoded.iter().map(of_pieces).collect::<Vec<_>>(), each);
        assert!(
            encoded
                .iter()
                .zip(&spans)
                .all(|(encoded, span)| encoded.length() == 1 + json(std::slice::from_ref(span)).len() - 2)
        );
        let sent = |place: Option<*const u8>| {
            encoded.iter().flat_map(|span| &span.large).any(|(_, v)| Some(v.as_ptr()) == place)
        };
        assert_eq!(places.into_iter().map(sent).collect::<Vec<_>>(), [false, true, false, false, true, false, false]);
    }

    #[test]
    fn the_output_is_found_where_it_was_written() {
        for length in [None, Some(0), Some(9), Some(LARGE), Some(2 * LARGE)] {
            let spans = [with([Some(5), Some(3), None]), with([None, length, Some(2 * LARGE)]), with([None; 3])];
            let mut encoded = of(&spans);
            encoded.push(EncodedSpan::new(spans[1].clone(), 1, usize::MAX).unwrap());
            encoded.iter_mut().skip(1).for_each(EncodedSpan::unshare);
            let output = |span: &Span| span.output.as_ref().map(|json| json.as_str().as_bytes().to_owned());
            let expected: Vec<_> = spans.iter().chain([&spans[1]]).map(output).collect();
            let found: Vec<_> = encoded.iter().map(|span| span.output().map(<[u8]>::to_owned)).collect();
            assert_eq!(found, expected);
        }
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
