//! Bodies of requests: views on the encoded records of a run.

use bytes::Bytes;
use retrace_protocol::write;

use crate::delivery::body::Body;
use crate::delivery::encoded_span::fill;
use crate::delivery::request::{Content, Request, joined_head};

/// Bytes of a trace as JSON beside its input and its output; most traces take less.
const HEAD: usize = 512;

/// Returns the body of a request. The encoded spans of a run are not copied.
pub(super) fn body(request: &Request) -> Body {
    let mut body = Body::default();
    match &request.content {
        Content::Patch { patch, .. } => body.push(write::to_string(patch).unwrap_or_default().into()),
        Content::Create(run) => {
            let mut head = String::with_capacity(HEAD);
            // Every value of a trace can be written as JSON.
            let _ = match run.joined {
                true => write::append(&mut head, &joined_head(&run.trace)),
                false => write::append(&mut head, &run.trace),
            };
            head.pop();
            head.push_str(r#","spans":["#);
            body.push(head.into());
            fill(&mut body, run.spans());
            body.push(Bytes::from_static(b"]}"));
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use retrace_protocol::{Id, Span, SpanType, Timestamp, Trace};

    use super::*;
    use crate::delivery::encoded_span::EncodedSpan;
    use crate::delivery::run_buffer::RunBuffer;

    #[test]
    fn a_body_is_the_trace_with_its_spans() {
        for spans in 0..3 {
            let at = Timestamp::from_unix_micros(1);
            let encoded = |n: usize| {
                let span = Span::new(Id::from(n.to_string()), "t".into(), SpanType::Action, "s", at.clone());
                EncodedSpan::new(span, 1, usize::MAX).unwrap()
            };
            let run =
                RunBuffer::whole(Trace::started("t".into(), at.clone()), (0..spans).map(encoded).collect(), false);
            let request = Request::new("t".into(), Content::Create(Box::new(run)), Duration::ZERO);
            let trace: Trace = serde_json::from_str(&body(&request).to_text()).unwrap();
            assert_eq!(trace.spans.unwrap().len(), spans);
            assert_eq!(request.sources(), spans as u64);
            assert!(request.weight() as u64 >= body(&request).length() / 2);
        }
    }
}
