//! Chunks as JSON: readable, and no longer than the bytes that arrived.
//!
//! A chunk is the list of its time and its pieces. A piece is a text; `{"data":…}` for `data: …\n\n` of an event stream, with the
//! JSON verbatim; `{"event":"name","data":…}` with `event: name\n` before it; `{"json":…}` for JSON verbatim; and `{"base64":"…"}`
//! for bytes that are not UTF-8. The bytes of the chunk are those of its pieces, one after the other.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::{memchr2, memmem};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Chunk;

/// A chunk that is written.
pub(super) struct ChunkText<'a>(pub(super) &'a Chunk);

/// A chunk that was read.
pub(super) struct ReadChunk(pub(super) Chunk);

#[derive(Serialize)]
#[serde(untagged)]
enum Piece<'a> {
    Text(&'a str),
    Event {
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
        data: &'a RawValue,
    },
    Json {
        json: &'a RawValue,
    },
    Base64 {
        base64: String,
    },
}

/// Returns the text as a piece of JSON if it is JSON that stands on one line.
fn verbatim(text: &str) -> Option<&RawValue> {
    // Short scalars such as a part of a number are no document.
    let starts = text.starts_with(['{', '[']) && memchr2(b'\n', b'\r', text.as_bytes()).is_none();
    let raw: &RawValue = starts.then(|| serde_json::from_str(text).ok())??;
    (raw.get().len() == text.len()).then_some(raw)
}

fn event(text: &str) -> Option<Piece<'_>> {
    let (event, data) = match text.strip_prefix("event: ") {
        Some(rest) => {
            let (name, rest) = rest.split_once('\n')?;
            (Some(name), rest)
        }
        None => (None, text),
    };
    let data = verbatim(data.strip_prefix("data: ")?.strip_suffix("\n\n")?)?;
    Some(Piece::Event { event, data })
}

fn pieces(bytes: &[u8]) -> Vec<Piece<'_>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return vec![Piece::Base64 { base64: STANDARD.encode(bytes) }];
    };
    if let Some(json) = verbatim(text) {
        return vec![Piece::Json { json }];
    }
    let mut pieces = Vec::new();
    let (mut plain_from, mut at) = (0, 0);
    let plain = |from: usize, to: usize| text.get(from..to).filter(|text| !text.is_empty()).map(Piece::Text);
    for end in memmem::find_iter(bytes, b"\n\n").map(|at| at + 2) {
        if let Some(event) = text.get(at..end).and_then(event) {
            pieces.extend(plain(plain_from, at));
            pieces.push(event);
            plain_from = end;
        }
        at = end;
    }
    pieces.extend(plain(plain_from, text.len()));
    pieces
}

impl Serialize for ChunkText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pieces = pieces(&self.0.bytes);
        let mut list = serializer.serialize_seq(Some(pieces.len() + 1))?;
        list.serialize_element(&self.0.ms)?;
        for piece in &pieces {
            list.serialize_element(piece)?;
        }
        list.end()
    }
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
        serde_json::to_string(&ChunkText(&Chunk { ms: 7, bytes: bytes.to_vec() })).unwrap()
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
