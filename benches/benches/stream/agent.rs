//! The spans that are measured: those of an agent that asks a model and calls a tool, in turn.

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

/// Steps of a small run.
pub(crate) const STEPS: u64 = 5;

/// Spans of a run: the agent, and of each step a model call and a tool.
pub(crate) const fn spans(steps: u64) -> u64 {
    1 + 2 * steps
}

/// A whole run; `wait` comes before each step.
pub(crate) fn run(tracer: &SdkTracer, steps: u64, wait: impl Fn()) {
    let agent = start(tracer, "invoke_agent bench", agent(), &Context::new());
    for _ in 0..steps {
        wait();
        start(tracer, "chat gpt-4o-mini", chat(), &agent).span().end();
        start(tracer, "execute_tool search", tool(), &agent).span().end();
    }
    agent.span().end();
}

pub(crate) fn start(tracer: &SdkTracer, name: &'static str, attributes: Vec<KeyValue>, parent: &Context) -> Context {
    let span = tracer.span_builder(name).with_kind(SpanKind::Internal).with_attributes(attributes);
    parent.with_span(span.start_with_context(tracer, parent))
}

pub(crate) fn agent() -> Vec<KeyValue> {
    vec![KeyValue::new("gen_ai.operation.name", "invoke_agent"), KeyValue::new("gen_ai.agent.name", "bench")]
}

/// A model call of about 1 KB of messages.
pub(crate) fn chat() -> Vec<KeyValue> {
    let message =
        |role: &str, text: &str| format!(r#"[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]"#);
    let question = "Which of these trains still has two seats? ".repeat(16);
    vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("gen_ai.request.model", "gpt-4o-mini"),
        KeyValue::new("gen_ai.request.temperature", 0.2),
        KeyValue::new("gen_ai.request.max_tokens", 512),
        KeyValue::new("gen_ai.response.id", "chatcmpl-1"),
        KeyValue::new("gen_ai.usage.input_tokens", 180),
        KeyValue::new("gen_ai.usage.output_tokens", 40),
        KeyValue::new("server.address", "api.openai.com"),
        KeyValue::new("server.port", 443),
        KeyValue::new("gen_ai.input.messages", message("user", &question)),
        KeyValue::new("gen_ai.output.messages", message("assistant", "EN 345 at 22:50 has seven. Shall I book?")),
    ]
}

/// A tool call without a result, so that its end is one event.
pub(crate) fn tool() -> Vec<KeyValue> {
    vec![
        KeyValue::new("gen_ai.operation.name", "execute_tool"),
        KeyValue::new("gen_ai.tool.name", "search"),
        KeyValue::new("gen_ai.tool.call.id", "call_1"),
        KeyValue::new("gen_ai.tool.call.arguments", r#"{"to":"Oslo","day":"Friday"}"#),
    ]
}

/// What a client of a service says of one request: nothing of an agent.
pub(crate) fn request() -> Vec<KeyValue> {
    let order = "8c1d7f9e";
    vec![
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("url.full", format!("http://orders.internal:8080/orders/{order}?expand=lines")),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("url.template", "/orders/{id}"),
        KeyValue::new("server.address", "orders.internal".to_owned()),
        KeyValue::new("server.port", 8080),
        KeyValue::new("network.protocol.version", "1.1"),
        KeyValue::new("network.peer.address", format!("10.0.3.{}", order.len())),
        KeyValue::new("http.request.resend_count", 0),
        KeyValue::new("user_agent.original", "orders-client/2.1"),
        KeyValue::new("order.id", order.to_owned()),
    ]
}
