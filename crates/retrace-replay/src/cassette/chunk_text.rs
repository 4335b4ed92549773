//! Chunks as JSON: readable, and no longer than the bytes that arrived.
//!
//! A chunk is the list of its time and its pieces. A piece is a text; `{"data":…}` for `data: …\n\n` of an event stream, with the
//! JSON verbatim; `{"event":"name","data":…}` with `event: name\n` before it; `{"json":…}` for JSON verbatim; and `{"base64":"…"}`
//! for bytes that are not UTF-8. The bytes of the chunk are those of its pieces, one after the other.

use std::ops::Range;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr2;
use memchr::memmem::Finder;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Chunk;

/// A chunk that was read.
pub(super) struct ReadChunk(pub(super) Chunk);

/// Writes the chunks of a body, one after the other.
pub(super) struct ChunkWriter<'d> {
    /// Positions of documents in the body that are known to be JSON without line ends, and end after what is written.
    documents: &'d [Range<usize>],
    /// Position of the next chunk.
    at: usize,
}

impl<'d> ChunkWriter<'d> {
    /// `documents` are in order.
    pub(super) fn new(documents: &'d [Range<usize>]) -> Self {
        Self { documents, at: 0 }
    }

    /// Appends the next chunk.
    pub(super) fn append(&mut self, line: &mut Vec<u8>, chunk: &Chunk) -> serde_json::Result<()> {
        let bytes = chunk.bytes.as_slice();
        line.push(b'[');
        serde_json::to_writer(&mut *line, &chunk.ms)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if self.is_verbatim(text, 0) => push_verbatim(line, b",{\"json\":", text),
            Ok(text) => self.append_pieces(line, text)?,
            Err(_) => {
                line.extend_from_slice(b",{\"base64\":\"");
                line.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                line.extend_from_slice(b"\"}");
            }
        }
        line.push(b']');
        self.at += bytes.len();
        Ok(())
    }

    fn append_pieces(&mut self, line: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
        let (mut plain_from, mut begin) = (0, 0);
        let plain = |line: &mut Vec<u8>, from: usize, to: usize| match text.get(from..to) {
            None | Some("") => Ok(()),
            Some(plain) => {
                line.push(b',');
                serde_json::to_writer(line, plain)
            }
        };
        for end in BLANK_LINE.find_iter(text.as_bytes()).map(|at| at + 2) {
            if let Some((event, at, data)) = text.get(begin..end).and_then(event)
                && self.is_verbatim(data, begin + at)
            {
                plain(line, plain_from, begin)?;
                match event {
                    Some(event) => {
                        line.extend_from_slice(b",{\"event\":");
                        serde_json::to_writer(&mut *line, event)?;
                        push_verbatim(line, b",\"data\":", data);
                    }
                    None => push_verbatim(line, b",{\"data\":", data),
                }
                plain_from = end;
            }
            begin = end;
        }
        plain(line, plain_from, text.len())
    }

    /// Returns true if a text, so far from the begin of the chunk, is JSON that stands on one line.
    fn is_verbatim(&mut self, text: &str, from: usize) -> bool {
        let begin = self.at + from;
        while let Some((_, rest)) = self.documents.split_first().filter(|(first, _)| first.end <= begin) {
            self.documents = rest;
        }
        if self.documents.first() == Some(&(begin..begin + text.len())) {
            return true;
        }
        // Short scalars such as a part of a number are no document.
        let starts = text.starts_with(['{', '[']) && memchr2(b'\n', b'\r', text.as_bytes()).is_none();
        let raw = if starts { serde_json::from_str::<&RawValue>(text).ok() } else { None };
        raw.is_some_and(|raw| raw.get().len() == text.len())
    }
}

/// Search for the ends of events.
static BLANK_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

fn push_verbatim(line: &mut Vec<u8>, before: &[u8], json: &str) {
    line.extend_from_slice(before);
    line.extend_from_slice(json.as_bytes());
    line.push(b'}');
}

/// Splits an event into its name, and the position and the text of its data.
fn event(text: &str) -> Option<(Option<&str>, usize, &str)> {
    const DATA: &str = "data: ";
    const EVENT: &str = "event: ";
    let (event, at) = match text.strip_prefix(EVENT) {
        Some(rest) => {
            let (name, _) = rest.split_once('\n')?;
            (Some(name), EVENT.len() + name.len() + 1)
        }
        None => (None, 0),
    };
    let data = text.get(at..)?.strip_prefix(DATA)?.strip_suffix("\n\n")?;
    Some((event, at + DATA.len(), data))
}

#[derive(Deserialize)]
struct ObjectPiece<'a> {
    #[serde(default)]
    event: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    json: Option<&'a RawValue>,
    #[serde(default)]
    base64: Option<String>,
}

impl ObjectPiece<'_> {
    fn append(&self, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
        match self {
            Self { data: Some(data), event, json: None, base64: None } => {
                if let Some(event) = event {
                    bytes.extend([b"event: ", event.as_bytes(), b"\n"].concat());
                }
                bytes.extend([b"data: ", data.get().as_bytes(), b"\n\n"].concat());
                Ok(())
            }
            Self { json: Some(json), data: None, event: None, base64: None } => {
                bytes.extend(json.get().as_bytes());
                Ok(())
            }
            Self { base64: Some(base64), data: None, event: None, json: None } => {
                STANDARD.decode_vec(base64, bytes).map_err(|_| "a chunk's `base64` is not valid Base64")
            }
            _ => Err("a piece of a chunk has none of `data`, `json` and `base64`, or several"),
        }
    }
}

impl<'de> Deserialize<'de> for ReadChunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChunkVisitor;

        impl<'de> Visitor<'de> for ChunkVisitor {
            type Value = ReadChunk;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a chunk: a list of its time in milliseconds and its pieces")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ReadChunk, A::Error> {
                let ms = list.next_element()?.ok_or_else(|| A::Error::custom("a chunk has no time"))?;
                let mut bytes = Vec::new();
                while let Some(raw) = list.next_element::<&RawValue>()? {
                    match raw.get().starts_with('"') {
                        true => {
                            let text: String = serde_json::from_str(raw.get()).map_err(A::Error::custom)?;
                            bytes.extend(text.as_bytes());
                        }
                        false => {
                            let piece: ObjectPiece<'_> = serde_json::from_str(raw.get()).map_err(A::Error::custom)?;
                            piece.append(&mut bytes).map_err(A::Error::custom)?;
                        }
                    }
                }
                Ok(ReadChunk(Chunk { ms, bytes }))
            }
        }

        deserializer.deserialize_seq(ChunkVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> String {
        let mut line = Vec::new();
        ChunkWriter::new(&[]).append(&mut line, &Chunk { ms: 7, bytes: bytes.to_vec() }).unwrap();
        String::from_utf8(line).unwrap()
    }

    fn read(text: &str) -> Chunk {
        serde_json::from_str::<ReadChunk>(text).unwrap().0
    }

    #[test]
    fn events_are_written_as_their_json() {
        let bytes = b"data: {\"a\": 1.0}\n\nevent: stop\ndata: {\"b\":[]}\n\ndata: [DONE]\n\n";
        let text = written(bytes);
        assert_eq!(text, r#"[7,{"data":{"a": 1.0}},{"event":"stop","data":{"b":[]}},"data: [DONE]\n\n"]"#);
        assert_eq!(read(&text), Chunk { ms: 7, bytes: bytes.to_vec() });
    }

    #[test]
    fn documents_texts_and_bytes() {
        assert_eq!(written(br#"{"a":"\u00e9"}"#), r#"[7,{"json":{"a":"\u00e9"}}]"#);
        assert_eq!(written(b"{\n}"), r#"[7,"{\n}"]"#);
        assert_eq!(written(&[0xff]), r#"[7,{"base64":"/w=="}]"#);
        assert_eq!(written(b""), "[7]");
    }

    const PARTS: [&[u8]; 11] = [
        b"data: ",
        b"event: x\n",
        b"\n\n",
        b"\r\n",
        b"{\"a\":[1]}",
        b"{",
        b" ",
        b"[DONE]",
        b"\xff",
        "é".as_bytes(),
        b"event: ",
    ];

    proptest! {
        #[test]
        fn bytes_come_back(parts in proptest::collection::vec(0..PARTS.len(), 0..12)) {
            let bytes = parts.iter().map(|at| PARTS[*at]).collect::<Vec<_>>().concat();
            let text = written(&bytes);
            prop_assert!(!text.contains('\n'));
            prop_assert_eq!(read(&text).bytes, bytes);
        }
    }
}
