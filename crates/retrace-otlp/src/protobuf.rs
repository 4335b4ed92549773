//! OTLP as protobuf, record by record.
//!
//! A request is decoded whole. If that fails, its messages are split by their lengths, and each record is decoded
//! separately: a record that cannot be decoded does not affect the others. If a length is wrong, the rest of the same
//! message is lost.

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::DecodeError;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::json::Unreadable;

/// Records of one scope.
pub(crate) type OfScope<T> = (Option<InstrumentationScope>, Vec<T>);

/// Readable part of a damaged request.
#[derive(Debug)]
pub(crate) struct Salvaged<T> {
    pub(crate) resources: Vec<(Option<Resource>, Vec<OfScope<T>>)>,
    pub(crate) unreadable: Unreadable,
}

/// Decodes the records of a request that cannot be decoded whole; `name` is the name of a record in errors. Spans and
/// log records have the same field numbers.
///
/// # Errors
/// Returns `whole`, the error of the request, if it contains no record: the bytes are not a request.
pub(crate) fn salvage<T: prost::Message + Default>(
    bytes: &[u8],
    name: &str,
    whole: DecodeError,
) -> Result<Salvaged<T>, DecodeError> {
    let mut request = Salvaged { resources: Vec::new(), unreadable: Unreadable::default() };
    let Salvaged { resources, unreadable } = &mut request;
    let is_framed = each(bytes, &mut |field, of_resource| {
        if field != 1 {
            return;
        }
        let (mut resource, mut scopes) = (None, Vec::new());
        let framed = each(of_resource, &mut |field, message| match field {
            1 => resource = shared(message, unreadable),
            2 => scopes.push(scope(message, name, unreadable)),
            _ => {}
        });
        unreadable.add(framed.err().map(|problem| Unreadable::one(&problem)).unwrap_or_default());
        resources.push((resource, scopes));
    });
    let is_any = resources.iter().flat_map(|(_, scopes)| scopes).any(|(_, records)| !records.is_empty());
    match is_framed {
        Err(problem) if is_any => unreadable.add(Unreadable::one(&problem)),
        Ok(()) if is_any || unreadable.count > 0 => {}
        _ => return Err(whole),
    }
    Ok(request)
}

fn scope<T: prost::Message + Default>(bytes: &[u8], name: &str, unreadable: &mut Unreadable) -> OfScope<T> {
    let (mut scope, mut records, mut place) = (None, Vec::new(), 0_u64);
    let framed = each(bytes, &mut |field, message| match field {
        1 => scope = shared(message, unreadable),
        2 => {
            match T::decode(message) {
                Ok(record) => records.push(record),
                Err(error) => unreadable.add(Unreadable::one(&format_args!("{name} {place} of its scope: {error}"))),
            }
            place += 1;
        }
        _ => {}
    });
    unreadable.add(
        framed
            .err()
            .map(|problem| Unreadable::one(&format_args!("{name} {place} of its scope: {problem}")))
            .unwrap_or_default(),
    );
    (scope, records)
}

/// Decodes a message that several records share. If it cannot be decoded, it is absent with a reason; no record is
/// lost.
fn shared<T: prost::Message + Default>(bytes: &[u8], unreadable: &mut Unreadable) -> Option<T> {
    T::decode(bytes).map_err(|error| unreadable.add(Unreadable { count: 0, ..Unreadable::one(&error) })).ok()
}

/// Passes each nested message, with its field, to `found`, as far as the lengths are valid.
fn each<'a>(mut bytes: &'a [u8], found: &mut dyn FnMut(u32, &'a [u8])) -> Result<(), String> {
    while bytes.has_remaining() {
        let (field, wire_type) = decode_key(&mut bytes).map_err(|error| error.to_string())?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, field, &mut bytes, DecodeContext::default()).map_err(|error| error.to_string())?;
            continue;
        }
        let length = decode_varint(&mut bytes).map_err(|error| error.to_string())?;
        let inner = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
        let (message, rest) = inner
            .ok_or_else(|| format!("field {field} has {length} bytes by its length, and {} are there", bytes.len()))?;
        found(field, message);
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message as _;

    use crate::OtlpRequest;

    fn span(id: u8) -> Span {
        Span { trace_id: vec![7; 16], span_id: vec![id; 8], name: format!("span {id}"), ..Span::default() }
    }

    fn field(number: u8, message: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        prost::encoding::encode_varint(message.len() as u64, &mut bytes);
        [&bytes, message].concat()
    }

    /// Encodes a request with these messages, as spans of one scope, before a second scope and a second resource.
    fn request(spans: &[Vec<u8>]) -> Vec<u8> {
        let scope: Vec<u8> = spans.iter().flat_map(|span| field(2, span)).collect();
        let good = ScopeSpans { spans: vec![span(101)], ..ScopeSpans::default() }.encode_to_vec();
        let resource = [field(2, &scope), field(2, &good)].concat();
        let last = ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: vec![span(102)], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        };
        [field(1, &resource), field(1, &last.encode_to_vec())].concat()
    }

    /// Each malformed record at each position affects only itself.
    #[test]
    fn an_odd_record_costs_itself() {
        let name = |name: &[u8]| [span(9).encode_to_vec(), field(5, name)].concat();
        let whole = span(9).encode_to_vec();
        let attribute = [whole.clone(), field(9, &[field(1, b"k"), field(2, &field(1, b"\xc3("))].concat())].concat();
        for unreadable in [
            name(b"\xff\xfe"),
            attribute,
            whole[..whole.len() - 3].to_vec(),
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
            // A trace id that is a number.
            [whole.clone(), vec![0x08, 0x01]].concat(),
        ] {
            for place in 0..4 {
                let mut spans: Vec<Vec<u8>> = (1..4).map(|id| span(id).encode_to_vec()).collect();
                spans.insert(place, unreadable.clone());
                let read = OtlpRequest::spans_from_protobuf(&request(&spans)).unwrap();
                assert_eq!((read.spans.len(), read.unreadable.count), (5, 1), "{unreadable:?} at {place}");
                let reason = read.unreadable.reason.unwrap();
                assert!(reason.starts_with(&format!("span {place} of its scope: ")), "{reason}");
            }
        }
        // An id of wrong length is decoded, and belongs to no trace.
        let short = Span { span_id: vec![1; 7], ..span(9) }.encode_to_vec();
        let read = OtlpRequest::spans_from_protobuf(&request(&[short, span(1).encode_to_vec()])).unwrap();
        assert_eq!((read.spans.len(), read.malformed, read.unreadable.count), (3, 1, 0));
    }

    #[test]
    fn a_resource_that_is_odd_costs_its_attributes() {
        let mut bytes = request(&[span(1).encode_to_vec()]);
        let resource = field(1, &field(1, &field(1, b"\xff")));
        let scope = field(2, &field(2, &span(3).encode_to_vec()));
        bytes.extend(field(1, &[resource, scope].concat()));
        let read = OtlpRequest::spans_from_protobuf(&bytes).unwrap();
        assert_eq!((read.spans.len(), read.unreadable.count), (4, 0));
        assert!(read.unreadable.reason.is_some());
    }

    #[test]
    fn a_request_that_is_cut_keeps_the_spans_before() {
        let spans: Vec<Vec<u8>> = (1..4).map(|id| span(id).encode_to_vec()).collect();
        let whole = request(&spans);
        let mut most = 0;
        for end in 0..whole.len() {
            if let Ok(read) = OtlpRequest::spans_from_protobuf(&whole[..end]) {
                assert!(read.spans.len() <= 5 && read.spans.len() >= most, "{end}");
                most = read.spans.len();
            }
        }
        // The last resource is in the second half, whose length exceeds the remaining bytes.
        assert_eq!(most, 4);
        for none in [&b"hello"[..], b"\x0a\xff\xff\xff\xff\x0f", &whole[..3]] {
            OtlpRequest::spans_from_protobuf(none).unwrap_err();
        }
        let decoded = ExportTraceServiceRequest::decode(&*whole).unwrap();
        assert_eq!(decoded.resource_spans.len(), 2);
    }
}
