//! A request as it is kept on disk: a checksum, and the data to make the same request again.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use retrace_protocol::{Id, Trace, TracePatch};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::delivery::encoded_span::EncodedSpan;
use crate::delivery::request::{Content, Request};
use crate::delivery::run_buffer::RunBuffer;

/// First bytes of every record; the last one is the version.
const MAGIC: &[u8; 8] = b"RETRACE\x01";
/// Length of magic and checksum.
const HEAD: usize = MAGIC.len() + size_of::<u32>();
/// Length of the end of a record whose list of spans is empty: `]}`.
const EMPTY_LIST_END: usize = 2;

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
struct Written<'w> {
    id: Id,
    trace: Option<Cow<'w, Trace>>,
    patch: Option<Cow<'w, TracePatch>>,
    missing: u64,
    begun: bool,
    joined: bool,
    may_have_landed: bool,
    taken: Option<Id>,
    /// The last field: the encoded spans are added to it.
    spans: Vec<(u32, Box<RawValue>)>,
}

/// Encodes a record. The encoded spans of a run are copied.
pub(crate) fn encode(request: &Request) -> Option<Vec<u8>> {
    let (trace, patch, missing) = match &request.content {
        Content::Create(run) => (Some(Cow::Borrowed(&run.trace)), None, 0),
        Content::Patch { patch, missing } => (None, Some(Cow::Borrowed(&**patch)), *missing),
    };
    let written = Written {
        id: request.id.clone(),
        trace,
        patch,
        missing,
        begun: request.begun,
        joined: request.is_joined(),
        may_have_landed: request.may_have_landed || request.in_flight,
        taken: request.taken.clone(),
        spans: Vec::new(),
    };
    let mut bytes = [&MAGIC[..], &[0; HEAD - MAGIC.len()]].concat();
    serde_json::to_writer(&mut bytes, &written).ok()?;
    bytes.truncate(bytes.len() - EMPTY_LIST_END);
    for (n, span) in request.run().into_iter().flat_map(RunBuffer::spans).enumerate() {
        let comma = if n == 0 { "" } else { "," };
        write!(bytes, "{comma}[{},{}]", span.sources, span.data()?).ok()?;
    }
    bytes.extend_from_slice(b"]}");
    let checksum = crc32fast::hash(bytes.get(HEAD..)?).to_le_bytes();
    bytes.get_mut(MAGIC.len()..HEAD)?.copy_from_slice(&checksum);
    Some(bytes)
}

/// Decodes a record; `None` when a single bit differs.
pub(crate) fn decode(bytes: &[u8], name: RecordName, now: Duration) -> Option<Request> {
    let (head, json) = bytes.split_at_checked(HEAD)?;
    let checksum = head.strip_prefix(&MAGIC[..])?;
    if checksum != crc32fast::hash(json).to_le_bytes() {
        return None;
    }
    let Written { id, trace, patch, missing, spans, begun, joined, may_have_landed, taken } =
        serde_json::from_slice(json).ok()?;
    let content = match (trace, patch) {
        (Some(trace), None) => {
            let spans = spans.iter().map(|(sources, span)| EncodedSpan::of_data(span.get(), *sources)).collect();
            Content::Create(Box::new(RunBuffer::whole(trace.into_owned(), spans, joined)))
        }
        (None, Some(patch)) => Content::Patch { patch: Box::new(patch.into_owned()), missing },
        _ => return None,
    };
    let may_have_landed = may_have_landed || name.tried;
    let request = Request { may_have_landed, begun, taken, ..Request::new(id, content, now) };
    (request.sources() == name.spans).then(|| Request { spooled_as: Some(name), ..request })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::http_body::body;
    use retrace_protocol::{Span, SpanType, Timestamp};

    fn request() -> Request {
        let at = Timestamp::from_unix_micros(1);
        let span = Span::new("s".into(), "t".into(), SpanType::Action, "ein Schritt", at.clone());
        let spans = [1, 2].map(|sources| EncodedSpan::new(span.clone(), sources, usize::MAX).unwrap()).into();
        let run = RunBuffer::whole(Trace::started("t".into(), at), spans, false);
        let content = Content::Create(Box::new(run));
        Request { begun: true, taken: Some("u".into()), ..Request::new("t".into(), content, Duration::ZERO) }
    }

    fn name() -> RecordName {
        RecordName { since: 1_790_000_000_123, serial: 0xabc, spans: 3, tried: false }
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let patch = TracePatch { lossy: Some(true), ..TracePatch::default() };
        let content = Content::Patch { patch: Box::new(patch), missing: 3 };
        for request in [request(), Request::new("t".into(), content, Duration::ZERO)] {
            let read = decode(&encode(&request).unwrap(), name(), Duration::ZERO).unwrap();
            assert_eq!(body(&read).to_text(), body(&request).to_text());
            assert_eq!(
                (read.begun, read.is_joined(), &read.taken, &read.id),
                (request.begun, false, &request.taken, &request.id)
            );
            assert_eq!((read.may_have_landed, read.sources()), (false, 3));
            let tried = RecordName { tried: true, ..name() };
            assert!(decode(&encode(&request).unwrap(), tried, Duration::ZERO).unwrap().may_have_landed);
        }
    }

    /// P14: a record that was cut anywhere, or in which any bit differs, is not decoded.
    #[test]
    fn pain_14_a_damaged_record_is_known() {
        let whole = encode(&request()).unwrap();
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
