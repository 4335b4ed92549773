//! Extraction and injection, rule by rule, with spans of the SDK.

#![allow(clippy::string_slice)]

mod lists;
mod runs;

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::trace::noop::NoopTracerProvider;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{KeyValue, propagation::TextMapCompositePropagator};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::BaggagePropagator;
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample};

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn parent(flags: u8) -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-{flags:02x}")
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn extract(propagator: &RetracePropagator, fields: &[(&'static str, &str)]) -> Context {
    propagator.extract_with_context(&Context::new(), &HeaderExtractor(&headers(fields)))
}

/// Injects a `Context`; returns `traceparent` and `tracestate`.
fn inject(propagator: &RetracePropagator, cx: &Context) -> (Option<String>, Option<String>) {
    let mut headers = HeaderMap::new();
    propagator.inject_context(cx, &mut HeaderInjector(&mut headers));
    let one = |name| {
        let mut values = headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned());
        let value = values.next();
        assert_eq!(values.next(), None, "one field at most");
        value
    };
    (one(TRACEPARENT), one(TRACESTATE))
}

/// Starts a span below a `Context`, with this sampler.
fn below(cx: &Context, sampler: impl ShouldSample + 'static) -> Context {
    let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
    cx.with_span(provider.tracer("test").start_with_context("span", cx))
}

fn parent_based() -> Sampler {
    Sampler::ParentBased(Box::new(Sampler::AlwaysOn))
}

/// Passes the fields through a service. Returns the flags and the `tracestate` that it sends, or `None` if it begins a new trace.
fn through(fields: &[(&'static str, &str)]) -> Option<(String, Option<String>)> {
    let propagator = RetracePropagator::default();
    let cx = below(&extract(&propagator, fields), parent_based());
    let (traceparent, state) = inject(&propagator, &cx);
    let traceparent = traceparent.unwrap();
    assert_eq!(traceparent.len(), 55);
    assert_ne!(&traceparent[36..52], "00f067aa0ba902b7", "the parent id is the span's");
    (&traceparent[3..35] == TRACE).then(|| (traceparent[53..].to_owned(), state))
}

#[test]
fn a_trace_goes_on_with_a_new_parent() {
    assert_eq!(through(&[("traceparent", &parent(1))]), Some(("01".into(), None)));
    assert_eq!(through(&[("traceparent", &parent(0))]), Some(("00".into(), None)));
}

#[test]
fn an_invalid_or_repeated_traceparent_begins_a_new_trace() {
    assert_eq!(through(&[]), None);
    assert_eq!(through(&[("traceparent", "")]), None);
    assert_eq!(through(&[("traceparent", &parent(1)), ("traceparent", &parent(1))]), None);
    assert_eq!(through(&[("traceparent", &format!("{},{}", parent(1), parent(1)))]), None);
}

#[test]
fn a_bad_traceparent_leaves_the_context_as_it_was() {
    let propagator = RetracePropagator::default();
    let before = extract(&propagator, &[("traceparent", &parent(1)), ("tracestate", "foo=1")]);
    for bad in ["", "00-", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
        let carrier = headers(&[("traceparent", bad), ("tracestate", "bar=2")]);
        let after = propagator.extract_with_context(&before, &HeaderExtractor(&carrier));
        assert_eq!(after.span().span_context(), before.span().span_context());
        assert_eq!(inject(&propagator, &after).1.as_deref(), Some("foo=1"));
    }
}

#[test]
fn without_a_traceparent_the_tracestate_is_not_read() {
    let propagator = RetracePropagator::default();
    let cx = below(&extract(&propagator, &[("tracestate", "foo=1")]), parent_based());
    assert_eq!(inject(&propagator, &cx).1, None);
}

#[test]
fn the_random_flag_is_kept_set_and_unset_and_other_flags_are_cleared() {
    for (received, sent) in [(0x02, "02"), (0x03, "03"), (0x00, "00"), (0x01, "01"), (0xff, "03"), (0xfc, "00")] {
        assert_eq!(through(&[("traceparent", &parent(received))]).unwrap().0, sent, "{received:02x}");
    }
    let propagator = RetracePropagator::builder().with_random_ids(true).build().unwrap();
    for (received, sent) in [(0x01, "01"), (0x03, "03")] {
        let cx = below(&extract(&propagator, &[("traceparent", &parent(received))]), Sampler::AlwaysOn);
        assert!(
            inject(&propagator, &cx).0.unwrap().ends_with(sent),
            "the random flag belongs to the service that began the trace"
        );
    }
}

#[test]
fn a_trace_that_begins_here_has_the_random_flag_if_configured() {
    for (random_ids, flags) in [(false, "-01"), (true, "-03")] {
        let propagator = RetracePropagator::builder().with_random_ids(random_ids).build().unwrap();
        let cx = below(&Context::new(), parent_based());
        assert!(inject(&propagator, &cx).0.unwrap().ends_with(flags));
        let remote =
            Context::new().with_remote_span_context(parent(1).parse::<Traceparent>().unwrap().to_span_context());
        assert!(inject(&propagator, &remote).0.unwrap().ends_with("-01"), "it did not begin here");
    }
}

#[test]
fn another_trace_in_the_same_context_inherits_nothing() {
    let propagator = RetracePropagator::default();
    let cx = extract(&propagator, &[("traceparent", &parent(3)), ("tracestate", "foo=1,retrace=1;s:x")]);
    let provider = SdkTracerProvider::builder().build();
    let mut span = provider.tracer("test").start_with_context("root", &Context::new());
    span.set_attribute(KeyValue::new("new", true));
    let cx = cx.with_span(span);
    let (traceparent, state) = inject(&propagator, &cx);
    assert!(traceparent.unwrap().ends_with("-01"));
    assert_eq!((state, RemoteRunContext::received(&cx)), (None, None));
}

#[test]
fn an_invalid_span_is_not_written() {
    let carrier = inject(&RetracePropagator::default(), &Context::new());
    assert_eq!(carrier, (None, None));
    let zero = SpanContext::new(TraceId::from(1), SpanId::INVALID, TraceFlags::SAMPLED, false, TraceState::NONE);
    assert_eq!(inject(&RetracePropagator::default(), &Context::new().with_remote_span_context(zero)), (None, None));
}

#[test]
fn a_span_from_elsewhere_is_passed_on_as_it_came() {
    let propagator = RetracePropagator::builder().with_runs(|_| Some(RemoteRunContext::new())).build().unwrap();
    let state = "b=2,retrace=1;s:x,a@@b=1,b=3";
    let cx = extract(&propagator, &[("traceparent", &parent(3)), ("tracestate", state)]);
    assert_eq!(inject(&propagator, &cx), (Some(parent(3)), Some(state.to_owned())));
}

#[test]
fn the_fields_are_those_that_are_written() {
    let propagator = RetracePropagator::default();
    let cx = extract(&propagator, &[("traceparent", &parent(1)), ("tracestate", "foo=1")]);
    let mut carrier = HashMap::new();
    propagator.inject_context(&cx, &mut carrier);
    let mut written: Vec<_> = carrier.keys().map(String::as_str).collect();
    written.sort_unstable();
    assert_eq!(propagator.fields().collect::<Vec<_>>(), written);
}

#[test]
fn it_works_beside_baggage_in_either_order() {
    let carrier = headers(&[("traceparent", &parent(1)), ("tracestate", "a@@b=1"), ("baggage", "user=alice")]);
    let other: Vec<Box<dyn TextMapPropagator + Send + Sync>> =
        vec![Box::new(BaggagePropagator::new()), Box::new(RetracePropagator::default())];
    for both in [RetracePropagator::default().compose_with_baggage(), TextMapCompositePropagator::new(other)] {
        let cx = both.extract_with_context(&Context::new(), &HeaderExtractor(&carrier));
        assert_eq!(cx.baggage().get("user").map(ToString::to_string).as_deref(), Some("alice"));
        let mut sent = HeaderMap::new();
        both.inject_context(&cx, &mut HeaderInjector(&mut sent));
        assert_eq!(sent, carrier);
        let mut fields: Vec<_> = both.fields().collect();
        fields.sort_unstable();
        assert_eq!(fields, ["baggage", "traceparent", "tracestate"]);
    }
}

#[test]
fn with_the_sdk_switched_off_a_trace_is_still_handed_on() {
    let propagator = RetracePropagator::default();
    let cx = extract(&propagator, &[("traceparent", &parent(3)), ("tracestate", "a@@b=1")]);
    let span = NoopTracerProvider::new().tracer("off").start_with_context("span", &cx);
    assert_eq!(inject(&propagator, &cx.with_span(span)), (Some(parent(3)), Some("a@@b=1".to_owned())));
}

/// Sampler that changes `tracestate`, as the specification allows.
#[derive(Clone, Debug)]
struct Changes(fn(&TraceState) -> TraceState);

impl ShouldSample for Changes {
    fn should_sample(
        &self,
        cx: Option<&Context>,
        _: TraceId,
        _: &str,
        _: &SpanKind,
        _: &[KeyValue],
        _: &[opentelemetry::trace::Link],
    ) -> SamplingResult {
        let state = cx.map(|cx| cx.span().span_context().trace_state().clone()).unwrap_or_default();
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: (self.0)(&state),
        }
    }
}
