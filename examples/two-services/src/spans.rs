//! Spans by OpenTelemetry's GenAI conventions, of models that have learned their answers by heart.

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use serde_json::{Value, json};

const MODEL: &str = "gpt-4o-mini";

/// A span below `parent`, and the context in which it is the current one.
pub(crate) fn start(parent: &Context, name: String, kind: SpanKind, attributes: Vec<KeyValue>) -> Context {
    let tracer = global::tracer("two-services");
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
    parent.with_span(span.start_with_context(&tracer, parent))
}

pub(crate) fn agent(parent: &Context, name: &'static str) -> Context {
    let attributes =
        vec![KeyValue::new("gen_ai.operation.name", "invoke_agent"), KeyValue::new("gen_ai.agent.name", name)];
    start(parent, format!("invoke_agent {name}"), SpanKind::Internal, attributes)
}

/// Asks the model, which answers as it is told.
pub(crate) fn chat(parent: &Context, asked: &str, answer: &Value) {
    let input = json!([{"role": "user", "parts": [{"type": "text", "content": asked}]}]).to_string();
    let output = json!([{"role": "assistant", "parts": [answer], "finish_reason": "stop"}]).to_string();
    let attributes = vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("gen_ai.request.model", MODEL),
        KeyValue::new("gen_ai.usage.input_tokens", tokens(&input)),
        KeyValue::new("gen_ai.usage.output_tokens", tokens(&output)),
        KeyValue::new("gen_ai.input.messages", input),
        KeyValue::new("gen_ai.output.messages", output),
    ];
    start(parent, format!("chat {MODEL}"), SpanKind::Client, attributes).span().end();
}

pub(crate) fn text(content: &str) -> Value {
    json!({"type": "text", "content": content})
}

pub(crate) fn call(id: &str, tool: &str, arguments: &Value) -> Value {
    json!({"type": "tool_call", "id": id, "name": tool, "arguments": arguments})
}

/// A tool at work, until the span of the context ends.
pub(crate) fn tool(parent: &Context, id: &'static str, name: &'static str, arguments: &Value) -> Context {
    let attributes = vec![
        KeyValue::new("gen_ai.operation.name", "execute_tool"),
        KeyValue::new("gen_ai.tool.name", name),
        KeyValue::new("gen_ai.tool.call.id", id),
        KeyValue::new("gen_ai.tool.call.arguments", arguments.to_string()),
    ];
    start(parent, format!("execute_tool {name}"), SpanKind::Internal, attributes)
}

pub(crate) fn returned(tool: &Context, result: &str) {
    tool.span().set_attribute(KeyValue::new("gen_ai.tool.call.result", json!({"found": result}).to_string()));
    tool.span().end();
}

/// About four bytes make one.
fn tokens(text: &str) -> i64 {
    i64::try_from(text.len() / 4).unwrap_or(i64::MAX)
}
