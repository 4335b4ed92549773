//! Every vector of `traceparent-vectors.json`, made for this project, is met; and the plain functions do what they say.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_retrace::RetracePropagator;
use opentelemetry_retrace::traceparent::{
    Traceparent, extract_traceparent, format_traceparent, get_traceparent, inject_traceparent, parse_traceparent,
    set_trace_context,
};
use serde_json::{Value, json};

fn vectors(kind: &str, count: usize) -> Vec<Value> {
    let mut vectors: Value = serde_json::from_str(include_str!("traceparent-vectors.json")).unwrap();
    let Value::Array(vectors) = vectors[kind].take() else { panic!("no vectors {kind}") };
    assert_eq!(vectors.len(), count);
    vectors
}

#[test]
fn every_header_is_read_as_the_w3c_says() {
    for vector in vectors("parse", 59) {
        let header = vector["header"].as_str().unwrap();
        let read = parse_traceparent(header).map(|parent| {
            json!({
                "version": &header.trim()[..2],
                "trace_id": parent.trace_id().to_string(),
                "parent_id": parent.parent_id().to_string(),
                "flags": &header.trim()[53..55],
                "sampled": parent.is_sampled(),
                "random": parent.is_random(),
            })
        });
        assert_eq!(read.unwrap_or(Value::Null), vector["w3c"], "{vector}");
    }
}

#[test]
fn every_header_has_the_same_meaning_to_the_propagator() {
    for vector in vectors("parse", 59) {
        let header = vector["header"].as_str().unwrap();
        // What no server lets through comes as a header that is not ASCII, or not at all.
        let Ok(value) = HeaderValue::from_str(header) else {
            assert_eq!(vector["w3c"], Value::Null);
            continue;
        };
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", value);
        for cx in [extract_traceparent(&headers), RetracePropagator::default().extract(&HeaderExtractor(&headers))] {
            let span = cx.span();
            assert_eq!(span.span_context().is_valid(), !vector["w3c"].is_null(), "{vector}");
            assert_eq!(span.span_context().is_sampled(), vector["w3c"]["sampled"] == true, "{vector}");
            assert_eq!(span.span_context().trace_flags().to_u8() & 2 != 0, vector["w3c"]["random"] == true, "{vector}");
        }
    }
}

#[test]
fn ids_of_retrace_are_written_as_its_sdks_write_them() {
    for vector in vectors("emit", 4) {
        let ids = (vector["trace_id"].as_str().unwrap(), vector["span_id"].as_str().unwrap());
        let parent = Traceparent::from_retrace(ids.0, ids.1).unwrap();
        assert_eq!(vector["traceparent"], parent.to_string());
        let _guard = set_trace_context(ids.0, ids.1).unwrap();
        assert_eq!(vector["traceparent"], get_traceparent().unwrap());
    }
}

#[test]
fn ids_come_back_from_a_traceparent() {
    let parent = parse_traceparent("00-e8b6c1d24b9248599cc2a7225b67e364-102f5a3a314044ba-01").unwrap();
    assert_eq!(parent.retrace_trace_id(), "e8b6c1d2-4b92-4859-9cc2-a7225b67e364");
    assert_eq!(parent.retrace_span_id().unwrap(), "102f5a3a-3140-44ba-9cc2-a7225b67e364");
}

#[test]
fn a_context_passes_through_the_headers_and_back() {
    let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02";
    let mut incoming = HeaderMap::new();
    incoming.insert("TraceParent", HeaderValue::from_static(header));
    incoming.append("tracestate", HeaderValue::from_static("a@b@c=1"));
    incoming.append("tracestate", HeaderValue::from_static("d=2"));
    let _guard = extract_traceparent(&incoming).attach();
    assert_eq!(get_traceparent().unwrap(), header);

    let mut outgoing = HeaderMap::new();
    inject_traceparent(&mut outgoing);
    assert_eq!(
        (&outgoing["traceparent"], &outgoing["tracestate"]),
        (&header.parse().unwrap(), &"a@b@c=1,d=2".parse().unwrap())
    );
    let mut stock = HeaderMap::new();
    RetracePropagator::default().inject(&mut HeaderInjector(&mut stock));
    assert_eq!(stock, outgoing);
}

#[test]
fn headers_that_are_used_again_keep_nothing_of_the_call_before() {
    let trace = "e8b6c1d2-4b92-4859-9cc2-a7225b67e364";
    let mut headers = HeaderMap::new();
    headers.append("traceparent", HeaderValue::from_static("old"));
    headers.append("traceparent", HeaderValue::from_static("older"));
    headers.append("tracestate", HeaderValue::from_static("old=1"));
    let before = headers.clone();
    inject_traceparent(&mut headers);
    assert_eq!(headers, before, "there is no span");
    let _guard = set_trace_context(trace, trace).unwrap();
    inject_traceparent(&mut headers);
    assert_eq!(headers.len(), 1);
    assert_eq!(headers["traceparent"], "00-e8b6c1d24b9248599cc2a7225b67e364-e8b6c1d24b924859-01");
}

#[test]
fn fields_that_are_not_ascii_are_seen() {
    let parent = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let odd = HeaderValue::from_bytes(b"foo=\xff").unwrap();
    let mut headers = HeaderMap::new();
    headers.append("traceparent", parent);
    headers.append("tracestate", HeaderValue::from_static("bar=1"));
    headers.append("tracestate", odd.clone());
    let cx = extract_traceparent(&headers);
    assert!(cx.span().span_context().is_valid());
    assert_eq!(cx.span().span_context().trace_state().header(), "", "one of its fields is wrong");
    headers.append("traceparent", odd);
    assert!(!extract_traceparent(&headers).span().span_context().is_valid(), "there are two");
}

#[test]
fn without_a_trace_there_is_nothing_to_say() {
    assert_eq!(get_traceparent(), None);
    assert_eq!(format_traceparent(&SpanContext::NONE), None);
    assert!(set_trace_context("run-7", "span-7").is_none());
    let span = parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap().to_span_context();
    assert_eq!(format_traceparent(&span).unwrap(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert!(span.is_remote() && !Context::current().has_active_span());
}
