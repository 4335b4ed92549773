//! The service that the conformance suite of W3C Trace Context asks for (repository `w3c/trace-context`, `test/README.md`).
//!
//! `POST /test` with `[{"url": …, "arguments": […]}, …]`: posts the arguments to each URL, from a client span of its own under
//! one server span. `w3c/run` runs the suite against it.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use clap::{Parser, ValueEnum};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, global};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_retrace::{RemoteRunContext, RetraceIdGenerator, RetracePropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A service that calls whom it is told to call.
#[derive(Parser)]
struct Arguments {
    /// Where to listen; port 0 is a free one, told on standard output.
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    /// What carries the trace.
    #[arg(long, value_enum, default_value_t = Propagator::Retrace)]
    propagator: Propagator,
}

#[derive(Clone, Copy, ValueEnum)]
enum Propagator {
    /// `RetracePropagator`.
    Retrace,
    /// The same, which says of each sampled trace that it is recorded in Retrace.
    Recording,
    /// `TraceContextPropagator` of `opentelemetry_sdk`.
    Sdk,
}

struct Service {
    propagator: Box<dyn TextMapPropagator + Send + Sync>,
    tracer: SdkTracer,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// One call to make.
#[derive(Deserialize)]
struct Call {
    url: String,
    arguments: Box<RawValue>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_id_generator(RetraceIdGenerator::default())
        .build();
    let service = Service {
        propagator: match arguments.propagator {
            Propagator::Retrace => Box::new(RetracePropagator::default()),
            Propagator::Recording => {
                let run = RemoteRunContext::new().with_session_id("session-7").with_agent_id("agent-7");
                Box::new(RetracePropagator::builder().with_runs(move |_| Some(run.clone())).build()?)
            }
            Propagator::Sdk => Box::new(TraceContextPropagator::new()),
        },
        tracer: provider.tracer("trace-context-service"),
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    global::set_tracer_provider(provider);
    let app = Router::new().route("/test", post(test)).with_state(Arc::new(service));
    let listener = tokio::net::TcpListener::bind(arguments.addr).await?;
    #[allow(clippy::print_stdout)] // How a script learns the port.
    {
        println!("http://{}/test", listener.local_addr()?);
    }
    Ok(axum::serve(listener, app).await?)
}

async fn test(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let calls: Vec<Call> = match serde_json::from_slice(&body) {
        Ok(calls) => calls,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
    };
    let caller = service.propagator.extract(&HeaderExtractor(&headers));
    let server = service.span("POST /test", SpanKind::Server, &caller);
    for call in calls {
        let client = service.span("POST", SpanKind::Client, &server);
        if let Err(error) = service.make(call, &client).await {
            return (StatusCode::BAD_GATEWAY, error.to_string());
        }
    }
    (StatusCode::OK, String::new())
}

impl Service {
    fn span(&self, name: &'static str, kind: SpanKind, parent: &Context) -> Context {
        let builder = self.tracer.span_builder(name).with_kind(kind);
        parent.with_span(self.tracer.build_with_context(builder, parent))
    }

    async fn make(&self, call: Call, cx: &Context) -> Result<(), Box<dyn Error + Send + Sync>> {
        let arguments = Bytes::from(call.arguments.get().to_owned());
        let mut request =
            Request::post(call.url).header(CONTENT_TYPE, "application/json").body(Full::new(arguments))?;
        self.propagator.inject_context(cx, &mut HeaderInjector(request.headers_mut()));
        self.client.request(request).await?;
        cx.span().end();
        Ok(())
    }
}
