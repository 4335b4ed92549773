//! An agent that is traced with nothing but the OpenTelemetry API and the attributes of the GenAI conventions.
//!
//! Nothing here knows of Retrace.

use std::error::Error;
use std::{thread, time::Duration};

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value as OtelValue};
use serde_json::{Value, json};

use crate::model::ScriptedModel;

const INSTRUCTIONS: &str = "You help people pack. Look things up before you answer.";

/// Answers a question, asking the model and the tools as often as it takes.
pub(crate) fn run<T: Tracer>(tracer: &T, question: &str) -> Result<String, Box<dyn Error>>
where
    T::Span: Send + Sync + 'static,
{
    let cx = start(
        tracer,
        &Context::current(),
        "invoke_agent packing-assistant",
        SpanKind::Internal,
        [
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", "packing-assistant"),
            KeyValue::new("gen_ai.conversation.id", "trip-to-oslo"),
            KeyValue::new("gen_ai.input.messages", json!([text("user", question)]).to_string()),
        ],
    );
    let mut model = ScriptedModel::default();
    let mut messages = vec![text("system", INSTRUCTIONS), text("user", question)];
    loop {
        let message = chat(tracer, &cx, &mut model, &messages)?;
        let calls: Vec<Value> = parts(&message, "tool_call").cloned().collect();
        messages.push(message.clone());
        if calls.is_empty() {
            cx.span().set_attribute(KeyValue::new("gen_ai.output.messages", json!([message]).to_string()));
            cx.span().end();
            let answer: Vec<_> = parts(&message, "text").filter_map(|part| part["content"].as_str()).collect();
            return Ok(answer.join("\n"));
        }
        for call in calls {
            let result = execute_tool(tracer, &cx, &call);
            messages.push(json!({
                "role": "tool",
                "parts": [{"type": "tool_call_response", "id": call["id"], "response": result}],
            }));
        }
    }
}

fn chat<T: Tracer>(
    tracer: &T,
    parent: &Context,
    model: &mut ScriptedModel,
    messages: &[Value],
) -> Result<Value, Box<dyn Error>>
where
    T::Span: Send + Sync + 'static,
{
    let cx = start(
        tracer,
        parent,
        "chat gpt-4o-mini",
        SpanKind::Client,
        [
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", "openai"),
            KeyValue::new("gen_ai.request.model", ScriptedModel::NAME),
            KeyValue::new("gen_ai.request.temperature", 0.2),
            KeyValue::new("gen_ai.input.messages", json!(messages).to_string()),
        ],
    );
    let answer = model.chat(messages).ok_or("the model has nothing more to say")?;
    let reasons = Array::String(vec![StringValue::from(answer.finish_reason)]);
    cx.span().set_attributes([
        KeyValue::new("gen_ai.response.id", answer.id),
        KeyValue::new("gen_ai.response.finish_reasons", OtelValue::Array(reasons)),
        KeyValue::new("gen_ai.usage.input_tokens", answer.input_tokens),
        KeyValue::new("gen_ai.usage.output_tokens", answer.output_tokens),
        KeyValue::new("gen_ai.output.messages", json!([answer.message]).to_string()),
    ]);
    cx.span().end();
    Ok(answer.message)
}

fn execute_tool<T: Tracer>(tracer: &T, parent: &Context, call: &Value) -> Value
where
    T::Span: Send + Sync + 'static,
{
    let label = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
    let cx = start(
        tracer,
        parent,
        format!("execute_tool {}", label("name")),
        SpanKind::Internal,
        [
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", label("name")),
            KeyValue::new("gen_ai.tool.call.id", label("id")),
            KeyValue::new("gen_ai.tool.call.arguments", call["arguments"].to_string()),
        ],
    );
    thread::sleep(Duration::from_millis(20));
    let result = match call["name"].as_str() {
        Some("get_weather") => json!({"sky": "sleet", "temp_c": 3, "wind_ms": 9}),
        Some("search_wardrobe") => json!(["grey wool coat", "blue rain shell"]),
        _ => json!({"error": "no such tool"}),
    };
    cx.span().set_attribute(KeyValue::new("gen_ai.tool.call.result", result.to_string()));
    cx.span().end();
    result
}

/// A span below `parent`, and the context in which it is the current one.
fn start<T: Tracer>(
    tracer: &T,
    parent: &Context,
    name: impl Into<std::borrow::Cow<'static, str>>,
    kind: SpanKind,
    attributes: impl IntoIterator<Item = KeyValue>,
) -> Context
where
    T::Span: Send + Sync + 'static,
{
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
    parent.with_span(span.start_with_context(tracer, parent))
}

fn text(role: &str, content: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "content": content}]})
}

fn parts<'m>(message: &'m Value, kind: &'m str) -> impl Iterator<Item = &'m Value> {
    message["parts"].as_array().into_iter().flatten().filter(move |part| part["type"] == kind)
}
