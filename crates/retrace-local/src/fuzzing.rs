//! Entry points for the fuzz targets, which are outside of this crate: parsers that are not public, and their
//! invariants, whose violation is a panic.

#![allow(clippy::expect_used)]

use retrace_otlp::OtlpRequest;

use crate::ingest::{self, Content, Frame};

/// Parses a body of `POST /v1/traces` or `/v1/logs`, in either encoding.
pub fn otlp(body: &[u8]) {
    let _ = OtlpRequest::from_json(body);
    let _ = (OtlpRequest::spans_from_protobuf(body), OtlpRequest::logs_from_protobuf(body));
}

/// Parses a body of `POST /api/v1/traces` or `PATCH /api/v1/traces/:id`. An accepted body must be readable from its
/// rows.
pub fn body(body: &[u8]) {
    if let Ok(upload) = ingest::upload(body) {
        let row = upload.trace;
        let trace = row.content.into_trace(&row.head).expect("a row reads back");
        assert_eq!(trace.id.as_ref(), Some(&row.id));
        for row in upload.spans {
            let span = row.content.clone().into_span(&row.head).expect("a row reads back");
            let fields = row.content.into_fields(&row.head).expect("a row reads back");
            let (head, content) = Content::split(fields).expect("fields can be split");
            assert_eq!(content.into_span(&head).expect("a row reads back"), span);
        }
    }
    let _ = ingest::patch(body);
}

/// Parses a frame of a client.
pub fn frame(text: &str) {
    if let Ok(Frame::Event(numbered)) = ingest::frame(text) {
        let _ = ingest::fields_of(&numbered.event);
    }
}
