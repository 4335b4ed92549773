//! An agent that is traced with nothing but the OpenTelemetry API and the attributes of the GenAI conventions.
//!
//! Nothing here knows of Retrace. Its model has learned its answers by heart, and so have its tools.

use std::error::Error;

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer};
use opentelemetry::{Context, KeyValue};
use serde_json::{Value, json};

pub(crate) const QUESTION: &str = "Two seats on the night train to Oslo on Friday, and a room near the station.";
pub(crate) const NAME: &str = "trip-planner";
const MODEL: &str = "gpt-4o-mini";

/// What the tools find, in the order in which the model asks for them.
const TOOLS: [(&str, &str, &str); 3] = [
    ("search_trains", r#"{"to":"Oslo","day":"Friday"}"#, r#"[{"train":"EN 345","departs":"22:50","seats":7}]"#),
    ("search_rooms", r#"{"near":"Oslo S","nights":2}"#, r#"[{"hotel":"Perron","price":120}]"#),
    ("book_seats", r#"{"train":"EN 345","seats":2}"#, r#"{"booking":"K7Q2","coach":21}"#),
];
const ANSWER: &str = "Booked: EN 345 on Friday at 22:50, coach 21, K7Q2. Hotel Perron has a room for 120.";

/// Spans of a run: the agent, a model call before each tool and one at the end, the tools.
pub(crate) const SPANS: u64 = 2 + 2 * TOOLS.len() as u64;

/// What the agent waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Model,
    Tool(&'static str),
}

/// Answers the question. Each span is open while `work` does what takes the time.
pub(crate) fn run<T: Tracer>(
    tracer: &T,
    mut work: impl FnMut(Work) -> Result<(), Box<dyn Error>>,
) -> Result<&'static str, Box<dyn Error>>
where
    T::Span: Send + Sync + 'static,
{
    let question = text("user", QUESTION);
    let agent = vec![
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        KeyValue::new("gen_ai.agent.name", NAME),
        KeyValue::new("gen_ai.input.messages", json!([question]).to_string()),
    ];
    let agent = start(tracer, &Context::current(), format!("invoke_agent {NAME}"), SpanKind::Internal, agent);
    let mut messages = vec![question];
    for (call, (name, arguments, result)) in TOOLS.into_iter().enumerate() {
        let id = format!("call_{}", call + 1);
        let part = json!({"type": "tool_call", "id": id, "name": name, "arguments": json(arguments)});
        let asks = json!({"role": "assistant", "parts": [part], "finish_reason": "tool_call"});
        chat(tracer, &agent, &messages, &asks, &mut work)?;
        messages.push(asks);

        let tool = vec![
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", name),
            KeyValue::new("gen_ai.tool.call.id", id.clone()),
            KeyValue::new("gen_ai.tool.call.arguments", arguments),
        ];
        let tool = start(tracer, &agent, format!("execute_tool {name}"), SpanKind::Internal, tool);
        work(Work::Tool(name))?;
        tool.span().set_attribute(KeyValue::new("gen_ai.tool.call.result", result));
        tool.span().end();
        let part = json!({"type": "tool_call_response", "id": id, "response": json(result)});
        messages.push(json!({"role": "tool", "parts": [part]}));
    }
    let mut answer = text("assistant", ANSWER);
    answer["finish_reason"] = "stop".into();
    chat(tracer, &agent, &messages, &answer, &mut work)?;
    agent.span().set_attribute(KeyValue::new("gen_ai.output.messages", json!([answer]).to_string()));
    agent.span().end();
    Ok(ANSWER)
}

fn chat<T: Tracer>(
    tracer: &T,
    parent: &Context,
    messages: &[Value],
    answer: &Value,
    work: &mut impl FnMut(Work) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>>
where
    T::Span: Send + Sync + 'static,
{
    let (input, output) = (json!(messages).to_string(), json!([answer]).to_string());
    let attributes = vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("gen_ai.request.model", MODEL),
        KeyValue::new("gen_ai.usage.input_tokens", tokens(&input)),
        KeyValue::new("gen_ai.input.messages", input),
    ];
    let chat = start(tracer, parent, format!("chat {MODEL}"), SpanKind::Client, attributes);
    work(Work::Model)?;
    chat.span().set_attribute(KeyValue::new("gen_ai.usage.output_tokens", tokens(&output)));
    chat.span().set_attribute(KeyValue::new("gen_ai.output.messages", output));
    chat.span().end();
    Ok(())
}

/// A span below `parent`, and the context in which it is the current one.
fn start<T: Tracer>(tracer: &T, parent: &Context, name: String, kind: SpanKind, attributes: Vec<KeyValue>) -> Context
where
    T::Span: Send + Sync + 'static,
{
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
    parent.with_span(span.start_with_context(tracer, parent))
}

fn text(role: &str, content: &str) -> Value {
    json!({"role": role, "parts": [{"type": "text", "content": content}]})
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// About four bytes make one.
fn tokens(text: &str) -> i64 {
    i64::try_from(text.len() / 4).unwrap_or(i64::MAX)
}
