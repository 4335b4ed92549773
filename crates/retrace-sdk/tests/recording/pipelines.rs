//! Pipelines of the application, and spans of libraries.

use retrace::SpanType;
use std::time::{Duration, Instant};

use retrace::opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use retrace::opentelemetry::{Context, KeyValue, global};
use retrace::opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use retrace_local::Server;
use retrace_protocol::Status;
use serde_json::json;

use crate::support::{LIMIT, above, alone, metadata, record, record_with, span, spans, stored, value};

/// A span as a library makes it.
fn library_span(name: &'static str, attributes: &[(&'static str, &'static str)]) -> Context {
    let attributes = attributes.iter().map(|(key, value)| KeyValue::new(*key, *value));
    let tracer = global::tracer("library");
    Context::current_with_span(tracer.span_builder(name).with_attributes(attributes).start(&tracer))
}

const CHAT: &[(&str, &str)] = &[("gen_ai.operation.name", "chat"), ("gen_ai.request.model", "m")];
const AGENT: &[(&str, &str)] = &[("gen_ai.operation.name", "invoke_agent"), ("gen_ai.agent.name", "outer")];

#[test]
fn spans_of_libraries_nest_below_and_name_the_agent_of_their_scope() {
    let recording = record();
    retrace::run("pipeline").in_scope(|_| {
        retrace::agent("planner").role("Planner").in_scope(|| library_span("chat", CHAT).span().end());
        library_span("invoke", AGENT).span().end();
    });
    let run = recording.run();
    assert_eq!(above(&run, "chat"), Some("pipeline"));
    let chat = span(&run, "chat");
    assert_eq!((chat.agent_id.as_deref(), chat.agent_role.as_deref()), (Some("planner"), Some("Planner")));
    assert_eq!(span(&run, "outer").agent_id.as_deref(), Some("outer"));
}

#[test]
fn a_run_below_a_span_of_a_library_is_what_its_trace_is_about() {
    for transport in ["http", "ws"] {
        let recording = record_with(|configuration| configuration.with_transport(transport));
        {
            let _server = library_span("POST /chat", &[("http.request.method", "POST")]).attach();
            let run = retrace::run("pipeline").input("tides").metadata("version", 1).start();
            run.step("search", SpanType::ToolCall).start().end();
            run.output("spring").tag("late").fail("no");
        }
        let run = recording.run();
        assert_eq!(run.name.as_deref(), Some("pipeline"), "{transport}");
        assert_eq!((value(&run.input), value(&run.output)), (json!("tides"), json!("spring")), "{transport}");
        assert_eq!((run.status, run.error.as_deref()), (Some(Status::Failed), Some("no")), "{transport}");
        assert_eq!((metadata(&run, "version"), metadata(&run, "tags")), (json!(1), json!(["late"])), "{transport}");
        assert_eq!(above(&run, "search"), Some("pipeline"));
        assert_eq!(above(&run, "pipeline"), Some("POST /chat"));
    }
}

#[test]
fn a_step_below_a_span_of_a_library_is_a_step_of_its_run() {
    let recording = record();
    {
        let _agent = library_span("invoke_agent outer", AGENT).attach();
        retrace::step("search", SpanType::ToolCall).start().end();
    }
    let run = recording.run();
    assert_eq!((run.name.as_deref(), above(&run, "search")), (Some("outer"), Some("outer")));
}

#[test]
fn a_pipeline_that_is_there_takes_retrace_in() {
    let _alone = alone();
    let server = Server::start().unwrap();
    let elsewhere = InMemorySpanExporter::default();
    let builder = SdkTracerProvider::builder().with_simple_exporter(elsewhere.clone());
    let configuration = retrace::configure().with_api_key("rt_local").with_base_url(server.url()).with_transport("ws");
    let (builder, guard) = configuration.layer_on(builder).unwrap();
    let provider = builder.build();
    global::set_tracer_provider(provider.clone());
    retrace::run("pipeline").input("tides").in_scope(|run| {
        let began = Instant::now();
        while stored(&server).is_empty() {
            assert!(began.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(2));
        }
        let live = &stored(&server)[0];
        assert_eq!((live.status, value(&live.input)), (Some(Status::Running), json!("tides")));
        provider.tracer("library").start("chat").end();
        run.output("spring");
    });
    let names: Vec<_> = elsewhere.get_finished_spans().unwrap().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["chat", "pipeline"]);
    guard.flush().unwrap();
    provider.shutdown_with_timeout(LIMIT).unwrap();
    drop(guard);
    let runs = stored(&server);
    assert_eq!((runs.len(), value(&runs[0].input), value(&runs[0].output)), (1, json!("tides"), json!("spring")));
    assert_eq!(spans(&runs[0]).len(), 1);
}

#[test]
fn without_a_key_install_fails_and_the_application_runs_on() {
    let _alone = alone();
    let error = retrace::configure().with_base_url("http://127.0.0.1:1").install().unwrap_err().to_string();
    assert!(error.contains("RETRACE_API_KEY"), "{error}");
    let answer = retrace::run("pipeline").in_scope(|run| {
        run.output(1);
        42
    });
    assert_eq!(answer, 42);
}
