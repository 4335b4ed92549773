//! A service that calls another one over HTTP: one run, by `install()` and by README's recipe beside an exporter and a processor.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use integration_tests::wait::{HANG, flush};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_retrace::{
    Installer, RemoteRunContext, RetraceExporter, RetracePropagator, RetraceSpanProcessor, attributes,
};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _, SpanProcessor as _};
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Status, Trace};

/// How a service sends its spans to Retrace.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pipeline {
    /// `install()`, with the propagator that it sets.
    Install,
    /// `install()`, and the recipe's propagator in place of it.
    InstallAndRecipe,
    Exporter,
    Processor,
}

struct Service {
    provider: SdkTracerProvider,
    stop: Box<dyn FnOnce()>,
}

impl Service {
    fn new(pipeline: Pipeline, server: &Server) -> Self {
        match pipeline {
            Pipeline::Install | Pipeline::InstallAndRecipe => {
                let processor = RetraceSpanProcessor::builder().with_base_url(server.url()).with_api_key("rt_local");
                let guard = Installer::new().with_processor(processor.with_flush_timeout(HANG)).install().unwrap();
                Self { provider: guard.provider().unwrap().clone(), stop: Box::new(move || guard.shutdown().unwrap()) }
            }
            Pipeline::Exporter => {
                let exporter = RetraceExporter::builder().with_base_url(server.url()).with_api_key("rt_local");
                let exporter = exporter.with_flush_timeout(HANG).build().unwrap();
                let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
                let of_flush = provider.clone();
                let stop = Box::new(move || {
                    flush(&of_flush);
                    exporter.shutdown_with_timeout(HANG).unwrap();
                });
                Self { provider, stop }
            }
            Pipeline::Processor => {
                let processor = RetraceSpanProcessor::builder().with_base_url(server.url()).with_api_key("rt_local");
                let processor = processor.with_flush_timeout(HANG).build().unwrap();
                let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
                Self { provider, stop: Box::new(move || processor.shutdown_with_timeout(HANG).unwrap()) }
            }
        }
    }
}

/// Answers calls of `POST /ask` with a model call below a span of its own.
async fn serve(provider: SdkTracerProvider) -> SocketAddr {
    let answer = move |headers: HeaderMap| async move {
        let tracer = provider.tracer("callee");
        let above = RetracePropagator::default().extract_with_context(&Context::new(), &HeaderExtractor(&headers));
        let request = tracer.span_builder("POST /ask").with_kind(SpanKind::Server);
        let request = above.with_span(request.start_with_context(&tracer, &above));
        let call = [KeyValue::new("gen_ai.operation.name", "chat"), KeyValue::new("gen_ai.usage.output_tokens", 10)];
        drop(tracer.span_builder("chat m").with_attributes(call).start_with_context(&tracer, &request));
        request.span().end();
        "an answer"
    };
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/ask", post(answer))).await });
    addr
}

/// An agent that calls the other service. Its attributes are set after its start, as usual, or with it.
async fn ask(caller: &SdkTracerProvider, callee: SocketAddr, run_name: Option<&'static str>, late: bool) {
    let tracer = caller.tracer("caller");
    let agent = [
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        KeyValue::new("gen_ai.agent.name", "planner"),
        KeyValue::new("gen_ai.conversation.id", "s-1"),
    ];
    let agent = agent.into_iter().chain(run_name.map(|name| KeyValue::new(attributes::TRACE_NAME, name)));
    let (at_start, after): (Vec<_>, Vec<_>) =
        if late { (Vec::new(), agent.collect()) } else { (agent.collect(), Vec::new()) };
    let span = tracer.span_builder("job").with_attributes(at_start).start(&tracer);
    let job = Context::new().with_span(span);
    let request = tracer.span_builder("POST").with_kind(SpanKind::Client);
    let request = request.with_attributes([KeyValue::new("http.request.method", "POST")]);
    let request = job.with_span(request.start_with_context(&tracer, &job));
    let mut headers = HeaderMap::new();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&request, &mut HeaderInjector(&mut headers));
    });
    let client = reqwest::Client::new().post(format!("http://{callee}/ask")).headers(headers);
    assert_eq!(client.send().await.unwrap().text().await.unwrap(), "an answer");
    request.span().end();
    job.span().set_attributes(after);
    job.span().end();
}

fn runs(server: &Server) -> Vec<Trace> {
    let page = server.traces(&TraceQuery::default()).unwrap();
    page.traces.iter().map(|trace| server.trace(trace.id.as_ref().unwrap()).unwrap().unwrap()).collect()
}

/// Every combination, one after the other: `install()` and propagators are global.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_calls_is_part_of_its_run_in_every_combination() {
    let callers = [Pipeline::Install, Pipeline::InstallAndRecipe, Pipeline::Exporter, Pipeline::Processor];
    for caller_by in callers {
        for callee_by in [Pipeline::Exporter, Pipeline::Processor] {
            for (run_name, late) in [(None, false), (None, true), (Some("trip"), false), (Some("trip"), true)] {
                // What begins as no GenAI span is not known to be sent, and `install()` announces nothing of it.
                if caller_by == Pipeline::Install && late {
                    continue;
                }
                let what = format!("{caller_by:?} calls {callee_by:?}, {run_name:?}, attributes late: {late}");
                let server = Server::start().unwrap();
                let (caller, callee) = (Service::new(caller_by, &server), Service::new(callee_by, &server));
                if caller_by != Pipeline::Install {
                    let recipe =
                        RetracePropagator::builder().with_runs(|_| Some(RemoteRunContext::new())).build().unwrap();
                    global::set_text_map_propagator(recipe.compose_from_env());
                }
                let addr = serve(callee.provider.clone()).await;
                ask(&caller.provider, addr, run_name, late).await;
                tokio::task::block_in_place(|| {
                    (callee.stop)();
                    (caller.stop)();
                });
                let runs = runs(&server);
                let [run] = &runs[..] else { panic!("{what}: {runs:?}") };
                let spans = run.spans.as_ref().unwrap();
                let has = |id| spans.iter().any(|span| Some(&span.id) == id);
                let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
                assert!(names.contains(&"chat m") && names.contains(&"POST /ask"), "{what}: {names:?}");
                let roots: Vec<_> = spans.iter().filter(|span| span.parent_id.is_none()).collect();
                assert_eq!(roots.len(), 1, "{what}: {roots:?}");
                assert!(spans.iter().all(|span| span.parent_id.is_none() || has(span.parent_id.as_ref())), "{what}");
                assert_eq!((run.status, run.total_tokens), (Some(Status::Completed), Some(10)), "{what}: {run:?}");
                assert_eq!(run.name.as_deref(), Some(run_name.unwrap_or("planner")), "{what}");
                assert_eq!(run.session_id.as_deref(), Some("s-1"), "{what}");
            }
        }
    }
}
