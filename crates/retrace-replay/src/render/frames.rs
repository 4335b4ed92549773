//! Frames of `application/vnd.amazon.eventstream`: a prelude with the lengths and their checksum, headers, the payload and a
//! checksum of all. <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html>

use serde_json::Value;

/// Type of a header whose value is a text.
const TEXT: u8 = 7;
/// Prelude and checksum.
const OVERHEAD: usize = 16;

/// Writes a frame of an event of this type. Texts of headers are short, and payloads below 16 MiB.
pub(super) fn event(kind: &str, payload: &Value) -> Vec<u8> {
    let payload = payload.to_string();
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", kind), (":content-type", "application/json"), (":message-type", "event")] {
        headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        headers.extend(name.bytes());
        headers.push(TEXT);
        headers.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        headers.extend(value.bytes());
    }
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(OVERHEAD + headers.len() + payload.len());
    frame.extend(length(OVERHEAD + headers.len() + payload.len()));
    frame.extend(length(headers.len()));
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(payload.bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}
