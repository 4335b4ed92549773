//! Runs told while they happen, from spans of the SDK to what the local receiver has.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use integration_tests::agent;
use integration_tests::wait::{HANG, deliver};
use opentelemetry::Context;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry_retrace::{RetraceExporter, RetraceSpanProcessor, RetraceSpanProcessorBuilder, Transport};
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Status, Trace};

fn processor(server: &Server, transport: Transport) -> RetraceSpanProcessor {
    builder(server, transport).build().unwrap()
}

fn builder(server: &Server, transport: Transport) -> RetraceSpanProcessorBuilder {
    let builder = RetraceSpanProcessor::builder().with_api_key("rt_local").with_base_url(server.url());
    builder.with_transport(transport).with_flush_timeout(HANG)
}

fn stored(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::default()).unwrap();
    page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

/// A run without what differs from one to the next.
fn timeless(mut trace: Trace) -> serde_json::Value {
    let spans = trace.spans.take().unwrap();
    let place = |id: Option<&retrace_protocol::Id>| spans.iter().position(|span| Some(&span.id) == id);
    let spans: Vec<_> = spans
        .iter()
        .map(|span| {
            let parent = place(span.parent_id.as_ref());
            // A `span_ended` always says an output, if only null.
            let output = span.output.as_ref().filter(|output| !output.is_null());
            let usage = (span.input_tokens, span.output_tokens, span.cost);
            (span.span_type, &span.name, parent, &span.input, output, &span.metadata, usage)
        })
        .collect();
    let metadata = trace.metadata.as_ref();
    let run = (&trace.name, trace.status, &trace.input, &trace.output, metadata, trace.total_tokens, trace.span_count);
    serde_json::json!([format!("{run:?}"), spans.iter().map(|span| format!("{span:?}")).collect::<Vec<_>>()])
}

#[test]
fn however_a_run_is_sent_the_same_is_stored() {
    let server = Server::start().unwrap();
    let mut told = Vec::new();
    for transport in [Transport::Http, Transport::Ws, Transport::Auto] {
        let exporter = RetraceExporter::builder()
            .with_api_key("rt_local")
            .with_base_url(server.url())
            .with_transport(transport)
            .with_flush_timeout(HANG)
            .build()
            .unwrap();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
        agent::run(&provider);
        deliver(&provider, &exporter);
        assert_eq!((exporter.stats().delivered, exporter.stats().pending), (agent::SPANS, 0), "{transport:?}");
        told.push((
            format!("exporter {transport:?}"),
            server.traces(&TraceQuery::default()).unwrap().traces[0].id.clone(),
        ));

        let processor = processor(&server, transport);
        let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
        agent::run(&provider);
        provider.shutdown_with_timeout(HANG).unwrap();
        assert_eq!((processor.stats().delivered, processor.stats().pending), (agent::SPANS, 0), "{transport:?}");
        told.push((
            format!("processor {transport:?}"),
            server.traces(&TraceQuery::default()).unwrap().traces[0].id.clone(),
        ));
    }
    let runs: Vec<_> =
        told.iter().map(|(way, id)| (way, timeless(server.trace(id.as_ref().unwrap()).unwrap().unwrap()))).collect();
    for (way, run) in &runs[1..] {
        assert_eq!(run, &runs[0].1, "{way} and {}", runs[0].0);
    }
}

/// A model requests a tool, and the span of the tool has no id of the call, and maybe other arguments.
#[test]
fn a_tool_span_without_a_call_id_is_tied_to_its_call_however_it_is_sent() {
    let asks =
        r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"search","arguments":{"q":1}}]}]"#;
    let run = |provider: &SdkTracerProvider, arguments: &'static str| {
        let tracer = provider.tracer("t");
        let operation = |name: &'static str| KeyValue::new("gen_ai.operation.name", name);
        let agent = tracer.span_builder("agent").with_attributes([operation("invoke_agent")]).start(&tracer);
        let agent = Context::new().with_span(agent);
        let chat = [operation("chat"), KeyValue::new("gen_ai.output.messages", asks)];
        tracer.span_builder("chat").with_attributes(chat).start_with_context(&tracer, &agent).end();
        let tool = [
            operation("execute_tool"),
            KeyValue::new("gen_ai.tool.name", "search"),
            KeyValue::new("gen_ai.tool.call.arguments", arguments),
        ];
        tracer.span_builder("search").with_attributes(tool).start_with_context(&tracer, &agent).end();
        agent.span().end();
        provider.shutdown_with_timeout(HANG).unwrap();
    };
    let tool_calls = |server: &Server| {
        let runs = stored(server);
        let [run] = &runs[..] else { panic!("{runs:?}") };
        let spans = run.spans.as_ref().unwrap();
        spans.iter().filter(|span| span.span_type.as_str() == "tool_call").count()
    };
    for arguments in [r#"{"q":1}"#, r#"{"q":2}"#] {
        let server = Server::start().unwrap();
        let exporter = RetraceExporter::builder().with_api_key("rt_local").with_base_url(server.url()).build().unwrap();
        run(&SdkTracerProvider::builder().with_batch_exporter(exporter).build(), arguments);
        assert_eq!(tool_calls(&server), 1, "{arguments}");
        let server = Server::start().unwrap();
        let processor = processor(&server, Transport::Auto);
        run(&SdkTracerProvider::builder().with_span_processor(processor).build(), arguments);
        assert_eq!(tool_calls(&server), 1, "{arguments}, live");
    }
}

#[test]
fn pain_31_a_run_is_seen_while_it_runs() {
    let server = Server::start().unwrap();
    let signals = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&signals);
    let processor = builder(&server, Transport::Auto)
        .with_on_error(move |signal| heard.lock().unwrap().push(signal.clone()))
        .build()
        .unwrap();
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let tracer = provider.tracer("t");
    let attributes = |operation: &'static str| vec![KeyValue::new("gen_ai.operation.name", operation)];
    let agent = tracer.span_builder("agent").with_attributes(attributes("invoke_agent")).start(&tracer);
    let context = Context::new().with_span(agent);
    let mut tool =
        tracer.span_builder("tool").with_attributes(attributes("execute_tool")).start_with_context(&tracer, &context);
    provider.force_flush().unwrap();
    let run = &stored(&server)[0];
    let spans = run.spans.as_ref().unwrap();
    assert_eq!((run.status, spans.len()), (Some(Status::Running), 2));
    assert!(spans.iter().all(|span| span.ended_at.is_none()));
    tool.end();
    provider.force_flush().unwrap();
    let spans = stored(&server)[0].spans.clone().unwrap();
    assert_eq!(spans.iter().filter(|span| span.ended_at.is_some()).count(), 1);
    assert_eq!((processor.stats().delivered, processor.stats().pending), (1, 0));
    context.span().end();
    provider.shutdown_with_timeout(HANG).unwrap();
    let run = &stored(&server)[0];
    assert_eq!((run.status, run.span_count, run.lossy), (Some(Status::Completed), Some(2), None));
    assert_eq!(processor.stats().delivered, 2);
    assert!(signals.lock().unwrap().is_empty(), "{signals:?}");
}

#[test]
fn pain_34_who_works_and_for_whom_is_inherited_on_other_threads_and_after_the_parent_has_ended() {
    for transport in [Transport::Ws, Transport::Http] {
        let server = Server::start().unwrap();
        let processor = processor(&server, transport);
        let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
        let tracer = provider.tracer("agent");
        let agent = |name: &'static str, more: Vec<KeyValue>, above: &Context| {
            let own =
                [KeyValue::new("gen_ai.operation.name", "invoke_agent"), KeyValue::new("gen_ai.agent.name", name)];
            let attributes = own.into_iter().chain(more);
            above.with_span(tracer.span_builder(name).with_attributes(attributes).start_with_context(&tracer, above))
        };
        let whom = vec![KeyValue::new("gen_ai.conversation.id", "s-1"), KeyValue::new("user.id", "u-1")];
        let outer = agent("outer", whom, &Context::new());
        let inner = agent("inner", Vec::new(), &outer);
        inner.span().end();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let call = KeyValue::new("gen_ai.operation.name", "chat");
                    tracer.span_builder("chat").with_attributes([call]).start_with_context(&tracer, &inner).end();
                });
            }
        });
        outer.span().end();
        provider.shutdown_with_timeout(HANG).unwrap();
        assert_eq!((processor.stats().delivered, processor.stats().lost.total()), (6, 0), "{transport:?}");

        let runs = stored(&server);
        let [run] = &runs[..] else { panic!("{transport:?}: {runs:?}") };
        assert_eq!(run.session_id.as_deref(), Some("s-1"), "{transport:?}");
        assert_eq!(run.metadata.as_ref().unwrap().to_value().unwrap()["user_id"], "u-1", "{transport:?}");
        let calls: Vec<_> = run.spans.iter().flatten().filter(|span| span.name == "chat").collect();
        assert_eq!(calls.len(), 4, "{transport:?}");
        for call in calls {
            let agents = (call.agent_id.as_deref(), call.agent_role.as_deref(), call.parent_agent_id.as_deref());
            assert_eq!(agents, (Some("inner"), Some("inner"), Some("outer")), "{transport:?}");
        }
    }
}
