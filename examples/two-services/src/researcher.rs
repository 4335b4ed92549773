//! The service that is called by the other one. It does nothing for that to be seen: its spans join the caller's run because
//! the caller says that there is one.

use std::error::Error;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use serde_json::json;

use crate::{service, spans};

/// What the run has of it: the request, the agent, two model calls, a tool and its result.
pub(crate) const SPANS: usize = 6;

pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let retrace = opentelemetry_retrace::install()?;
    service::serve(Router::new().route("/research", post(research))).await?;
    service::say_delivered("researcher", &retrace)
}

async fn research(headers: HeaderMap, question: String) -> &'static str {
    let request = spans::start(&service::caller(&headers), "POST /research".to_owned(), SpanKind::Server, Vec::new());
    let agent = spans::agent(&request, "researcher");
    let arguments = json!({"words": ["Remagen", "bridge"]});
    spans::chat(&agent, &question, &spans::call("call_a", "search_archive", &arguments));
    let tool = spans::tool(&agent, "call_a", "search_archive", &arguments);
    spans::returned(&tool, "Ludendorff Bridge, 1916-1918");
    let answer = "It was built from 1916 to 1918.";
    spans::chat(&agent, "Ludendorff Bridge, 1916-1918", &spans::text(answer));
    agent.span().end();
    request.span().end();
    answer
}
