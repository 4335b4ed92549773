//! Incremental reader of response bodies: finds the documents in them, whatever the content type.
//!
//! The first byte of a body shows its format, not the content type: providers send errors of a stream as plain JSON, lines of
//! JSON as `application/json`, and event streams as `text/plain`.

pub(crate) mod coding;
#[cfg(feature = "bedrock")]
mod eventstream;
mod sse;

use crate::json::{Json, TruncationLimits, Truncator};

/// End of the event streams of many providers; no JSON.
const DONE: &[u8] = b"[DONE]";

/// Media type of frames, which begin with the first byte of a length below 16 MiB.
#[cfg(not(feature = "bedrock"))]
const FRAMES: &str = "application/vnd.amazon.eventstream";

/// An item found in a body.
#[derive(Debug)]
pub(crate) enum BodyItem<'a> {
    /// A document.
    Document(Json<'a>),
    /// The end of a stream.
    Done,
    /// A stream that ends with an error of this type.
    #[cfg(feature = "bedrock")]
    Failed(&'a str, Option<&'a str>),
}

#[derive(Debug)]
enum Format {
    /// Only blanks so far.
    Unknown,
    /// A document, lines of documents, or a list of them.
    Documents,
    Events {
        reader: sse::Reader,
        head: Head,
    },
    /// Frames of an event stream of AWS.
    #[cfg(feature = "bedrock")]
    Frames(eventstream::Decoder),
    /// Frames of an event stream of AWS, which are not read without the feature `bedrock`.
    #[cfg(not(feature = "bedrock"))]
    Frames,
}

/// First bytes of an event's data, by which `[DONE]` is recognised.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; 8],
    length: usize,
}

/// Reader of one body.
#[derive(Debug)]
pub(crate) struct Body {
    format: Format,
    truncator: Truncator,
    seen: u64,
    unread: u64,
}

impl Body {
    pub(crate) fn new(limits: TruncationLimits) -> Self {
        Self { format: Format::Unknown, truncator: Truncator::new(limits), seen: 0, unread: 0 }
    }

    /// Returns true for a stream of events.
    pub(crate) fn is_events(&self) -> bool {
        match self.format {
            Format::Events { .. } => true,
            #[cfg(feature = "bedrock")]
            Format::Frames(_) => true,
            _ => false,
        }
    }

    /// Returns true if the body is damaged or breaks off where it cannot end.
    pub(crate) fn is_broken(&self) -> bool {
        match &self.format {
            #[cfg(feature = "bedrock")]
            Format::Frames(decoder) => decoder.is_broken(),
            _ => false,
        }
    }

    /// Returns the media type of a body that is not read.
    pub(crate) fn unread_type(&self) -> Option<&'static str> {
        match self.format {
            #[cfg(not(feature = "bedrock"))]
            Format::Frames => Some(FRAMES),
            _ => None,
        }
    }

    /// Number of bytes of texts that were left out.
    pub(crate) fn cut(&self) -> u64 {
        let skipped = match &self.format {
            #[cfg(feature = "bedrock")]
            Format::Frames(decoder) => decoder.skipped(),
            _ => 0,
        };
        self.truncator.cut().saturating_add(skipped)
    }

    /// Number of documents that were read.
    pub(crate) fn documents(&self) -> u64 {
        self.seen
    }

    /// Reads the next bytes; calls `emit` with each item.
    pub(crate) fn push(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(BodyItem<'_>)) {
        if let Format::Unknown = self.format {
            // A byte order mark, or blanks.
            let skip = bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0xEF | 0xBB | 0xBF));
            let Some(skip) = skip else { return };
            bytes = bytes.get(skip..).unwrap_or_default();
            self.format = match bytes.first() {
                Some(b'{' | b'[') => Format::Documents,
                #[cfg(feature = "bedrock")]
                Some(0) => Format::Frames(eventstream::Decoder::default()),
                #[cfg(not(feature = "bedrock"))]
                Some(0) => Format::Frames,
                _ => Format::Events { reader: sse::Reader::new(), head: Head::default() },
            };
        }
        let Self { format, truncator, seen, unread } = self;
        #[cfg(feature = "bedrock")]
        if let Format::Frames(decoder) = format {
            return decoder.push(bytes, &mut |found| frame(&found, truncator, (seen, unread), emit));
        }
        let mut document = |bytes: &[u8], whole: Option<&Truncator>| read(bytes, whole, seen, unread, emit);
        match format {
            Format::Documents => sift(bytes, truncator, &mut document),
            Format::Events { reader, head } => {
                let mut done = false;
                reader.push(bytes, &mut |piece| event(piece, head, truncator, &mut document, &mut done));
                if done {
                    emit(BodyItem::Done);
                }
            }
            _ => {}
        }
    }

    /// Ends the body; emits what remains of an open document.
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(BodyItem<'_>)) {
        let Self { format, truncator, seen, unread } = self;
        let mut done = false;
        let mut document = |bytes: &[u8], whole: Option<&Truncator>| read(bytes, whole, seen, unread, emit);
        match format {
            Format::Documents => truncator.finish(&mut |bytes| _ = document(bytes, None)),
            // An incomplete event is dropped: its data may be half a number.
            Format::Events { reader, head } => {
                reader.finish(&mut |piece| event(piece, head, truncator, &mut document, &mut done));
            }
            _ => {}
        }
        if done {
            emit(BodyItem::Done);
        }
    }
}

/// Handles one document; returns false if it is none. A document with a truncator has not passed through it, and is accepted
/// only if that makes no difference; without one, an unreadable document is counted.
type Take<'a> = &'a mut dyn FnMut(&[u8], Option<&Truncator>) -> bool;

fn read(
    bytes: &[u8],
    whole: Option<&Truncator>,
    seen: &mut u64,
    unread: &mut u64,
    emit: &mut dyn FnMut(BodyItem<'_>),
) -> bool {
    let mut json = Json::parse(bytes);
    let lossy;
    if let Some(truncator) = whole {
        json = json.filter(|json| truncator.keeps_all(json, bytes.len()));
    } else if json.is_none() {
        lossy = String::from_utf8_lossy(bytes).into_owned();
        json = Json::parse(lossy.as_bytes());
        *unread += u64::from(json.is_none());
    }
    let Some(json) = json else { return false };
    *seen += 1;
    emit(BodyItem::Document(json));
    true
}

/// A short document in one chunk, like most of a stream, needs no truncator.
fn sift(bytes: &[u8], truncator: &mut Truncator, document: Take<'_>) {
    let trimmed = bytes.trim_ascii();
    let whole = truncator.is_between() && trimmed.starts_with(b"{") && trimmed.ends_with(b"}");
    if !(whole && truncator.is_short(trimmed.len()) && document(trimmed, Some(&*truncator))) {
        truncator.push(bytes, &mut |bytes| _ = document(bytes, None));
    }
}

fn event(piece: sse::Piece<'_>, head: &mut Head, truncator: &mut Truncator, document: Take<'_>, done: &mut bool) {
    match piece {
        sse::Piece::Data(data) => {
            for (place, byte) in head.bytes.iter_mut().skip(head.length).zip(data) {
                *place = *byte;
                head.length += 1;
            }
            sift(data, truncator, document);
        }
        sse::Piece::End => {
            *done |= head.bytes.get(..head.length).is_some_and(|bytes| bytes.trim_ascii() == DONE);
            head.length = 0;
            truncator.reset();
        }
    }
}

/// A chunk of `invoke-with-response-stream`: a document of the model in base64.
#[cfg(feature = "bedrock")]
#[derive(serde::Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    bytes: std::borrow::Cow<'a, str>,
}

/// Reads a frame. An event becomes an object with one member named after the event, as the AWS SDKs show it; a chunk becomes
/// the document in it.
#[cfg(feature = "bedrock")]
fn frame(
    frame: &eventstream::Frame<'_>,
    truncator: &mut Truncator,
    (seen, unread): (&mut u64, &mut u64),
    emit: &mut dyn FnMut(BodyItem<'_>),
) {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    let chunk =
        |bytes| serde_json::from_slice::<Chunk<'_>>(bytes).ok().and_then(|chunk| STANDARD.decode(&*chunk.bytes).ok());
    match frame.message_type {
        "event" if frame.name == "chunk" => match chunk(frame.payload) {
            Some(bytes) => {
                sift(&bytes, truncator, &mut |bytes, whole| read(bytes, whole, seen, unread, emit));
            }
            None => *unread += 1,
        },
        "event" => {
            let mut named = |found: BodyItem<'_>| match found {
                BodyItem::Document(json) => emit(BodyItem::Document(Json::Object(vec![(frame.name.into(), json)]))),
                found => emit(found),
            };
            sift(frame.payload, truncator, &mut |bytes, whole| read(bytes, whole, seen, unread, &mut named));
        }
        "exception" | "error" => {
            let json = Json::parse(frame.payload).unwrap_or(Json::Null);
            let message = json.first(&["message", "Message", "originalMessage"]).filled();
            let name = if frame.name.is_empty() { frame.message_type } else { frame.name };
            emit(BodyItem::Failed(name, frame.error_message.or(message)));
        }
        _ => {}
    }
    truncator.reset();
}
