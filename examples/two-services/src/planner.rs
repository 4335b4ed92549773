//! The service that is asked. What it does not know it asks the researcher.

use std::error::Error;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, TraceContextExt as _};
use serde_json::json;

use crate::{service, spans};

/// What the run has of it: the request, the agent, two model calls, a tool and its result.
pub(crate) const SPANS: usize = 6;

pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    // All that a service needs: where to send runs to and under which name is in the environment.
    let retrace = opentelemetry_retrace::install()?;
    service::serve(Router::new().route("/ask", post(ask))).await?;
    service::say_delivered("planner", &retrace)
}

async fn ask(headers: HeaderMap, question: String) -> (StatusCode, String) {
    let request = spans::start(&service::caller(&headers), "POST /ask".to_owned(), SpanKind::Server, Vec::new());
    let agent = spans::agent(&request, "planner");
    agent.span().set_attribute(KeyValue::new("gen_ai.conversation.id", "trip-7"));
    let arguments = json!({"about": "the bridge at Remagen"});
    spans::chat(&agent, &question, &spans::call("call_1", "ask_researcher", &arguments));

    let tool = spans::tool(&agent, "call_1", "ask_researcher", &arguments);
    // The span of the call itself is none of GenAI, and not part of the run.
    let outgoing = spans::start(&tool, "POST".to_owned(), SpanKind::Client, Vec::new());
    let found = research(&arguments.to_string(), service::headers(&outgoing)).await;
    outgoing.span().end();
    let (status, answer) = match found {
        Ok(found) => {
            spans::returned(&tool, &found);
            let answer = format!("{found} Two towers and a museum are left: worth an hour.");
            spans::chat(&agent, &found, &spans::text(&answer));
            (StatusCode::OK, answer)
        }
        Err(error) => {
            tool.span().set_status(opentelemetry::trace::Status::error(error.to_string()));
            tool.span().end();
            (StatusCode::BAD_GATEWAY, error.to_string())
        }
    };
    agent.span().end();
    request.span().end();
    (status, answer)
}

async fn research(question: &str, headers: HeaderMap) -> Result<String, Box<dyn Error + Send + Sync>> {
    let url = std::env::var("RESEARCHER_URL").map_err(|_| "RESEARCHER_URL is to name the researcher")?;
    let request = reqwest::Client::new().post(format!("{url}/research")).headers(headers).body(question.to_owned());
    Ok(request.send().await?.error_for_status()?.text().await?)
}
