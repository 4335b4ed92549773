//! A share of all runs, and every one that fails.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;

use integration_tests::wait::{HANG, deliver};
use opentelemetry::trace::{Span as _, SpanContext, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::{Failures, RetraceExporter, RetraceSampler, RetraceSpanProcessor, RootSpan};
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};
use retrace_protocol::Id;

const RUNS: usize = 20_000;
const FAILS_EVERY: usize = 10_000;

/// One run of a service: a request and the model call in it; whether the call failed.
fn run(provider: &SdkTracerProvider, name: &'static str, fails: bool) -> SpanContext {
    let tracer = provider.tracer("service");
    let root = tracer.start_with_context(name, &Context::new());
    let context = Context::new().with_span(root);
    let mut call = tracer
        .span_builder("chat")
        .with_attributes([KeyValue::new("gen_ai.operation.name", "chat")])
        .start_with_context(&tracer, &context);
    if fails {
        call.set_status(Status::error("the model is away"));
    }
    call.end();
    context.span().end();
    context.span().span_context().clone()
}

fn stored(server: &Server) -> HashSet<Id> {
    let mut ids = HashSet::new();
    loop {
        let query = TraceQuery::new().with_limit(TraceQuery::MAX_LIMIT).with_offset(ids.len() as u64);
        let page = server.traces(&query).unwrap();
        if page.traces.is_empty() {
            return ids;
        }
        ids.extend(page.traces.into_iter().filter_map(|trace| trace.id));
    }
}

/// P33: the errors are not lost with what is not sampled.
#[test]
fn pain_33_one_per_cent_and_every_failure() {
    let server = Server::start().unwrap();
    let builder = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
    let retrace = builder.with_flush_timeout(HANG).build().unwrap();
    let provider = SdkTracerProvider::builder()
        .with_sampler(RetraceSampler::builder().with_sample_rate(0.01).build().unwrap())
        .with_span_processor(retrace.clone())
        .build();
    let mut expected = HashSet::new();
    let mut unsampled = HashSet::new();
    let mut sampled = 0;
    for n in 1..=RUNS {
        let fails = n % FAILS_EVERY == 0;
        let context = run(&provider, "POST /chat", fails);
        sampled += usize::from(context.is_sampled());
        if fails || context.is_sampled() {
            expected.insert(Id::from_otel_trace(context.trace_id().to_bytes()));
        }
        if fails && !context.is_sampled() {
            unsampled.insert(Id::from_otel_trace(context.trace_id().to_bytes()));
        }
        // No faster than the worker, in whose queue all spans of all runs come by.
        if n % 1_000 == 0 {
            provider.force_flush().unwrap();
        }
    }
    provider.shutdown_with_timeout(HANG).unwrap();
    assert!((RUNS / 200..RUNS / 50).contains(&sampled), "{sampled}");
    assert_eq!(stored(&server), expected);
    let stats = retrace.stats();
    assert!(!unsampled.is_empty());
    assert_eq!((stats.delivered, stats.lost.total(), stats.pending), (2 * expected.len() as u64, 0, 0));
    for id in &expected {
        let run = server.trace(id).unwrap().unwrap();
        let metadata = run.metadata.map(|metadata| metadata.to_value().unwrap()).unwrap_or_default();
        assert_eq!((run.spans.unwrap().len(), run.lossy), (2, None), "whole");
        let kept_for_failure = metadata["kept_for_failure"].as_bool().unwrap_or_default();
        assert_eq!(kept_for_failure, unsampled.contains(id), "{metadata}");
    }
}

/// The other exporters keep all; Retrace takes a share, decided by name as its other SDKs do.
#[test]
fn a_share_for_retrace_alone() {
    let server = Server::start().unwrap();
    let retrace = RetraceExporter::builder()
        .with_api_key("rt_local")
        .with_base_url(server.url())
        .with_sample_rate(0.5)
        .with_sample_seed("seed")
        .with_failures(Failures::Root)
        .with_flush_timeout(HANG)
        .build()
        .unwrap();
    let memory = opentelemetry_sdk::trace::InMemorySpanExporter::default();
    let provider =
        SdkTracerProvider::builder().with_simple_exporter(memory.clone()).with_batch_exporter(retrace.clone()).build();
    // Vectors of the hash: with this seed and rate the one name is always sampled and the other never.
    let kept = run(&provider, "Agent", false);
    run(&provider, "agent", false);
    run(&provider, "agent", true);
    deliver(&provider, &retrace);
    assert_eq!(memory.get_finished_spans().unwrap().len(), 6);
    assert_eq!(stored(&server), [Id::from_otel_trace(kept.trace_id().to_bytes())].into());
    assert_eq!((retrace.stats().delivered, retrace.stats().set_aside), (2, 4));
}

/// The name of a server's span decides for every agent behind it; a key tells them apart, wherever the share is taken.
#[test]
fn a_key_of_the_root_decides_in_place_of_its_name() {
    let tenant = |root: &RootSpan<'_>| root.attribute("tenant").map(ToString::to_string);
    let request = |provider: &SdkTracerProvider, tenant: &'static str| {
        let tracer = provider.tracer("service");
        let attributes = [KeyValue::new("tenant", tenant), KeyValue::new("gen_ai.operation.name", "invoke_agent")];
        tracer.span_builder("POST /ask").with_attributes(attributes).start_with_context(&tracer, &Context::new()).end();
    };
    // Vectors of the hash, as above.
    for way in ["sampler", "processor", "exporter"] {
        let server = Server::start().unwrap();
        let provider = SdkTracerProvider::builder();
        let provider = match way {
            "sampler" => {
                let sampler = RetraceSampler::builder().with_sample_rate(0.5).with_sample_seed("seed");
                let processor = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
                provider
                    .with_sampler(sampler.with_sample_key(tenant).build().unwrap())
                    .with_span_processor(processor.build().unwrap())
            }
            "processor" => {
                let processor = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
                let processor = processor.with_sample_rate(0.5).with_sample_seed("seed").with_sample_key(tenant);
                provider.with_span_processor(processor.build().unwrap())
            }
            _ => {
                let exporter = RetraceExporter::builder().with_api_key("rt_local").with_base_url(server.url());
                let exporter = exporter.with_sample_rate(0.5).with_sample_seed("seed").with_sample_key(tenant);
                provider.with_batch_exporter(exporter.build().unwrap())
            }
        };
        let provider = provider.build();
        request(&provider, "Agent");
        request(&provider, "agent");
        request(&provider, "Agent");
        provider.shutdown_with_timeout(HANG).unwrap();
        assert_eq!(stored(&server).len(), 2, "{way}");
    }
}
