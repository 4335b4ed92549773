//! A post as it is kept on disk: a checksum, and the data to make the same request again.

use std::fmt;
use std::time::Duration;

use retrace_protocol::{Id, Trace, TracePatch};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::outbox::chunk::Chunk;
use crate::outbox::post::{Post, Request};

/// First bytes of every record; the last one is the version.
const MAGIC: &[u8; 8] = b"RETRACE\x01";
/// Length of magic and checksum.
const HEAD: usize = MAGIC.len() + size_of::<u32>();

/// Name of a record: names sort by age, and contain the number of spans lost with a record that cannot be
/// read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordName {
    /// Milliseconds since 1970.
    pub since: u64,
    /// Distinguishes records of one millisecond.
    pub serial: u64,
    /// Number of accepted spans in it.
    pub spans: u64,
    /// True if the record was read before, so that it may have been sent before.
    pub tried: bool,
}

impl RecordName {
    const ENDS: [&str; 2] = [".run", ".tried"];

    /// Parses the name of a file; `None` for a file of another kind.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let [whole, tried] = Self::ENDS.map(|end| name.strip_suffix(end));
        let mut parts = whole.or(tried)?.split('-');
        let (since, serial, spans) = (parts.next()?, parts.next()?, parts.next()?);
        let name = Self {
            since: since.parse().ok()?,
            serial: u64::from_str_radix(serial, 16).ok()?,
            spans: spans.parse().ok()?,
            tried: tried.is_some(),
        };
        parts.next().is_none().then_some(name)
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [whole, tried] = Self::ENDS;
        let end = if self.tried { tried } else { whole };
        write!(f, "{:013}-{:016x}-{}{end}", self.since, self.serial, self.spans)
    }
}

#[derive(Serialize, Deserialize)]
struct Written {
    id: Id,
    trace: Option<Trace>,
    patch: Option<TracePatch>,
    missing: u64,
    spans: Vec<(u32, Box<RawValue>)>,
    begun: bool,
    joined: bool,
    may_have_landed: bool,
    taken: Option<Id>,
}

/// Encodes a record.
pub(crate) fn encode(post: &Post) -> Option<Vec<u8>> {
    let mut written = Written {
        id: post.id.clone(),
        trace: None,
        patch: None,
        missing: 0,
        spans: Vec::new(),
        begun: post.begun,
        joined: post.joined,
        may_have_landed: post.may_have_landed || post.in_flight,
        taken: post.taken.clone(),
    };
    match &post.request {
        Request::Create { trace, chunks } => {
            written.trace = Some((**trace).clone());
            let span = |chunk: &Chunk| Some((chunk.sources, serde_json::from_str(&chunk.data()?).ok()?));
            written.spans = chunks.iter().map(span).collect::<Option<_>>()?;
        }
        Request::Patch { patch, missing } => (written.patch, written.missing) = (Some((**patch).clone()), *missing),
    }
    let mut bytes = [&MAGIC[..], &[0; HEAD - MAGIC.len()]].concat();
    serde_json::to_writer(&mut bytes, &written).ok()?;
    let checksum = crc32fast::hash(bytes.get(HEAD..)?).to_le_bytes();
    bytes.get_mut(MAGIC.len()..HEAD)?.copy_from_slice(&checksum);
    Some(bytes)
}

/// Decodes a record; `None` when a single bit differs.
pub(crate) fn decode(bytes: &[u8], name: RecordName, now: Duration) -> Option<Post> {
    let (head, json) = bytes.split_at_checked(HEAD)?;
    let checksum = head.strip_prefix(&MAGIC[..])?;
    if checksum != crc32fast::hash(json).to_le_bytes() {
        return None;
    }
    let Written { id, trace, patch, missing, spans, begun, joined, may_have_landed, taken } =
        serde_json::from_slice(json).ok()?;
    let request = match (trace, patch) {
        (Some(trace), None) => Request::Create {
            trace: Box::new(trace),
            chunks: spans.iter().map(|(sources, span)| Chunk::of_data(span.get(), *sources)).collect(),
        },
        (None, Some(patch)) => Request::Patch { patch: Box::new(patch), missing },
        _ => return None,
    };
    let may_have_landed = may_have_landed || name.tried;
    let post = Post { may_have_landed, begun, joined, taken, ..Post::new(id, request, now) };
    (post.sources() == name.spans).then(|| Post { spooled_as: Some(name), ..post })
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::{Span, SpanType, Timestamp};

    fn post() -> Post {
        let at = Timestamp::from_unix_micros(1);
        let span = Span::new("s".into(), "t".into(), SpanType::Action, "ein Schritt", at.clone());
        let chunks = vec![Chunk::new(&span, 1).unwrap(), Chunk::new(&span, 2).unwrap()];
        let request = Request::Create { trace: Box::new(Trace::started("t".into(), at)), chunks };
        Post { begun: true, taken: Some("u".into()), ..Post::new("t".into(), request, Duration::ZERO) }
    }

    fn name() -> RecordName {
        RecordName { since: 1_790_000_000_123, serial: 0xabc, spans: 3, tried: false }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let patch = TracePatch { lossy: Some(true), ..TracePatch::default() };
        let patch = Post::new("t".into(), Request::Patch { patch: Box::new(patch), missing: 3 }, Duration::ZERO);
        for post in [post(), patch] {
            let read = decode(&encode(&post).unwrap(), name(), Duration::ZERO).unwrap();
            assert_eq!(read.body().to_text(), post.body().to_text());
            assert_eq!((read.begun, read.joined, &read.taken, &read.id), (post.begun, false, &post.taken, &post.id));
            assert_eq!((read.may_have_landed, read.sources()), (false, 3));
            let tried = RecordName { tried: true, ..name() };
            assert!(decode(&encode(&post).unwrap(), tried, Duration::ZERO).unwrap().may_have_landed);
        }
    }

    /// P14: a record that was cut anywhere, or in which any bit differs, is not decoded.
    #[test]
    fn pain_14_a_damaged_record_is_known() {
        let whole = encode(&post()).unwrap();
        for length in 0..whole.len() {
            assert!(decode(&whole[..length], name(), Duration::ZERO).is_none(), "{length}");
        }
        for at in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(decode(&bytes, name(), Duration::ZERO).is_none(), "bit {at}");
        }
        assert!(decode(&whole, RecordName { spans: 4, ..name() }, Duration::ZERO).is_none());
    }

    #[test]
    fn names_sort_by_age_and_those_of_others_are_left_alone() {
        for tried in [false, true] {
            let name = RecordName { tried, ..name() };
            assert_eq!(RecordName::parse(&name.to_string()), Some(name));
        }
        assert!(RecordName { since: 2, ..name() } < RecordName { since: 10, serial: 0, ..name() });
        for other in ["lock", "a.run", "1-2.run", "1-2-3-4.run", "1-x-3.run", "1790000000123-abc-3.tmp", ""] {
            assert_eq!(RecordName::parse(other), None, "{other}");
        }
    }
}
