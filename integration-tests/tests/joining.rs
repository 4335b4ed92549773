//! Two services that record one trace: one run where the caller announces it, two that know of each other where it does not.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashMap;

use integration_tests::wait::{HANG, flush};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::{RetraceExporter, RetracePropagator, RetraceSpanProcessor, Stats};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _, SpanProcessor as _, TracerProviderBuilder};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Span, Status, Trace};

/// One of the two, as a process of its own would be.
struct Service {
    provider: SdkTracerProvider,
    propagator: RetracePropagator,
    stats: Box<dyn Fn() -> Stats>,
    /// Shuts the way in down: an exporter has five seconds when the SDK does.
    shut_down: Box<dyn Fn() -> OTelSdkResult>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum WayIn {
    Processor,
    Exporter,
}

impl Service {
    /// Without a name the resource is the SDK's own, as that of an application that sets none.
    fn new(name: Option<&'static str>, server: &Server, way: WayIn, transport: &'static str, rate: f64) -> Self {
        let provider = |add: &dyn Fn(TracerProviderBuilder) -> TracerProviderBuilder| {
            let resource = match name {
                Some(name) => Resource::builder_empty().with_service_name(name),
                None => Resource::builder_empty().with_attribute(KeyValue::new("service.name", "unknown_service")),
            };
            add(SdkTracerProvider::builder().with_resource(resource.build())).build()
        };
        let configured = (server.url(), "rt_local");
        match way {
            WayIn::Processor => {
                let builder = RetraceSpanProcessor::builder().with_base_url(configured.0).with_api_key(configured.1);
                let processor =
                    builder.with_transport(transport).with_sample_rate(rate).with_flush_timeout(HANG).build().unwrap();
                Self {
                    provider: provider(&|builder| builder.with_span_processor(processor.clone())),
                    propagator: RetracePropagator::builder().with_runs(processor.announcer()).build().unwrap(),
                    stats: Box::new({
                        let processor = processor.clone();
                        move || processor.stats()
                    }),
                    shut_down: Box::new(move || processor.shutdown_with_timeout(HANG)),
                }
            }
            WayIn::Exporter => {
                let builder = RetraceExporter::builder().with_base_url(configured.0).with_api_key(configured.1);
                let exporter =
                    builder.with_transport(transport).with_sample_rate(rate).with_flush_timeout(HANG).build().unwrap();
                Self {
                    provider: provider(&|builder| builder.with_batch_exporter(exporter.clone())),
                    propagator: RetracePropagator::default(),
                    stats: Box::new({
                        let exporter = exporter.clone();
                        move || exporter.stats()
                    }),
                    shut_down: Box::new(move || exporter.shutdown_with_timeout(HANG)),
                }
            }
        }
    }

    fn span(&self, parent: &Context, name: &'static str, attributes: &[(&'static str, &'static str)]) -> Context {
        let tracer = self.provider.tracer("test");
        let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
        let kind = if name.starts_with("POST") { SpanKind::Server } else { SpanKind::Internal };
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        parent.with_span(builder.start_with_context(&tracer, parent))
    }

    fn chat(&self, parent: &Context) {
        let chat = self.span(parent, "chat m", &[("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "m")]);
        chat.span().set_attribute(KeyValue::new("gen_ai.usage.output_tokens", 10));
        chat.span().end();
    }

    fn stop(self) {
        flush(&self.provider);
        (self.shut_down)().unwrap();
        let stats = (self.stats)();
        assert_eq!((stats.delivered, stats.lost.total(), stats.pending), (stats.accepted, 0, 0), "{stats:?}");
    }
}

/// An agent of one service calls the other twice. `hand_on` says what of the headers reaches it.
fn call(caller: &Service, callee: &Service, hand_on: impl Fn(&Context) -> HashMap<String, String>) {
    let agent = [
        ("gen_ai.operation.name", "invoke_agent"),
        ("gen_ai.agent.name", "planner"),
        ("gen_ai.conversation.id", "s-1"),
    ];
    let agent = caller.span(&Context::new(), "invoke_agent planner", &agent);
    for _ in 0..2 {
        let tool =
            caller.span(&agent, "ask", &[("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", "ask")]);
        let http = caller.span(&tool, "GET", &[]);
        let extracted = callee.propagator.extract_with_context(&Context::new(), &hand_on(&http));
        let request = callee.span(&extracted, "POST /ask", &[]);
        callee.chat(&request);
        for ended in [request, http, tool] {
            ended.span().end();
        }
    }
    agent.span().end();
}

fn runs(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::default()).unwrap();
    page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

fn named<'a>(run: &'a Trace, name: &str) -> Vec<&'a Span> {
    run.spans.iter().flatten().filter(|span| span.name == name).collect()
}

#[test]
fn what_is_announced_is_one_run_whatever_the_way() {
    for (caller_by, callee_by, way) in [
        ("ws", "ws", WayIn::Processor),
        ("ws", "http", WayIn::Processor),
        ("http", "ws", WayIn::Processor),
        ("http", "http", WayIn::Processor),
        ("auto", "auto", WayIn::Exporter),
        ("http", "http", WayIn::Exporter),
    ] {
        let server = Server::start().unwrap();
        let caller = Service::new(Some("caller"), &server, WayIn::Processor, caller_by, 1.0);
        // What a caller records is recorded, whatever is sampled here.
        let callee = Service::new(Some("callee"), &server, way, callee_by, 0.0);
        call(&caller, &callee, |cx| {
            let mut headers = HashMap::new();
            caller.propagator.inject_context(cx, &mut headers);
            headers
        });
        callee.stop();
        caller.stop();
        let runs = runs(&server);
        let [run] = &runs[..] else { panic!("{caller_by}/{callee_by}: {runs:?}") };
        assert_eq!((run.name.as_deref(), run.status), (Some("planner"), Some(Status::Completed)));
        assert_eq!((run.session_id.as_deref(), run.lossy), (Some("s-1"), None));
        assert_eq!(run.total_tokens, Some(20), "of both services");
        let (tools, requests, chats) = (named(run, "ask"), named(run, "POST /ask"), named(run, "chat m"));
        assert_eq!((tools.len(), requests.len(), chats.len()), (2, 2, 2), "{caller_by}/{callee_by} {way:?}: {run:?}");
        for request in &requests {
            assert!(tools.iter().any(|tool| request.parent_id.as_ref() == Some(&tool.id)), "{request:?}");
            assert!(request.metadata.as_ref().unwrap().as_str().contains(r#""service":{"name":"callee"}"#));
        }
        for chat in chats {
            assert!(requests.iter().any(|request| chat.parent_id.as_ref() == Some(&request.id)), "{chat:?}");
            assert_eq!(chat.agent_id.as_deref(), Some("planner"), "nobody else says who it is");
        }
    }
}

/// The totals of a joined run are those of all its spans, whether its services have names or not, however they send and in
/// whatever order they stop.
#[test]
fn the_totals_of_a_joined_run_need_no_names() {
    let names = [(Some("caller"), Some("callee")), (Some("caller"), None), (None, Some("callee")), (None, None)];
    let transports = ["ws", "http"];
    for ((of_caller, of_callee), way) in
        names.into_iter().flat_map(|names| [WayIn::Processor, WayIn::Exporter].map(|way| (names, way)))
    {
        for (caller_by, callee_by) in transports.into_iter().flat_map(|by| transports.map(|other| (by, other))) {
            for caller_stops_first in [false, true] {
                let server = Server::start().unwrap();
                let caller = Service::new(of_caller, &server, WayIn::Processor, caller_by, 1.0);
                let callee = Service::new(of_callee, &server, way, callee_by, 0.0);
                call(&caller, &callee, |cx| {
                    let mut headers = HashMap::new();
                    caller.propagator.inject_context(cx, &mut headers);
                    headers
                });
                let (first, last) = if caller_stops_first { (caller, callee) } else { (callee, caller) };
                first.stop();
                last.stop();
                let what = format!(
                    "{of_caller:?} by {caller_by}, {of_callee:?} by {callee_by} {way:?}, first: {caller_stops_first}"
                );
                let [run] = &runs(&server)[..] else { panic!("{what}: {:?}", runs(&server)) };
                let spans = run.spans.as_ref().unwrap().len() as u64;
                assert_eq!((run.total_tokens, run.span_count), (Some(20), Some(spans)), "{what}");
                assert_eq!((spans, run.status), (7, Some(Status::Completed)), "{what}: {run:?}");
                let page = server.traces(&TraceQuery::default()).unwrap();
                let listed = page.traces.first().unwrap();
                assert_eq!((listed.total_tokens, listed.span_count), (Some(20), Some(spans)), "{what}, in the list");
            }
        }
    }
}

/// With a propagator that says nothing of runs, both have a right to the id of the trace.
#[test]
fn what_nobody_announces_is_two_runs_and_nothing_is_lost() {
    let server = Server::start().unwrap();
    let caller = Service::new(Some("caller"), &server, WayIn::Exporter, "http", 1.0);
    let callee = Service::new(Some("callee"), &server, WayIn::Exporter, "http", 1.0);
    call(&caller, &callee, |cx| {
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(cx, &mut headers);
        headers
    });
    callee.stop();
    caller.stop();
    let runs = runs(&server);
    let [a, b] = &runs[..] else { panic!("{runs:?}") };
    assert!([a, b].iter().all(|run| run.status == Some(Status::Completed)));
    assert_eq!(named(a, "chat m").len() + named(b, "chat m").len(), 2);
    let of_trace = [a, b].into_iter().find(|run| named(run, "ask").is_empty()).unwrap();
    let other = [a, b].into_iter().find(|run| run.id != of_trace.id).unwrap();
    // Who came first has the id; the other says where it belongs.
    let continues = format!(r#""continues":"{}""#, of_trace.id.as_ref().unwrap());
    assert!(other.metadata.as_ref().unwrap().as_str().contains(&continues), "{other:?}");
    assert_eq!(named(other, "ask").len(), 2);
}
