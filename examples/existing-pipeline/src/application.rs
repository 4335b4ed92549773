//! What the application does, and how it traces that: with OpenTelemetry alone. It knows no backend.

use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanKind, Tracer as _, get_active_span, mark_span_as_active};
use opentelemetry::{ContextGuard, Value};
use opentelemetry_sdk::trace::SdkTracer;
use serde_json::{Value as Json, json};

/// What the spans of [`get_health`] and [`post_chat`] are called, and which of them a run in Retrace consists of: those of
/// GenAI, and the root above them.
pub(crate) const SPANS: [(&str, bool); 10] = [
    ("GET /health", false),
    ("POST /chat", true),
    ("SELECT customers", false),
    ("answer", false),
    ("invoke_agent support", true),
    ("chat gpt-4o-mini", true),
    ("execute_tool find_order", true),
    ("SELECT orders", false),
    ("chat gpt-4o-mini", true),
    ("INSERT messages", false),
];

/// A request that has nothing to do with agents.
pub(crate) fn get_health(tracer: &SdkTracer) {
    let _request = request(tracer, "GET /health", "GET");
}

/// A request that an agent answers.
pub(crate) fn post_chat(tracer: &SdkTracer, question: &str) -> String {
    let _request = request(tracer, "POST /chat", "POST");
    query(tracer, "SELECT customers");
    let answer = {
        let _step = span(tracer, "answer", SpanKind::Internal, []);
        agent(tracer, question)
    };
    query(tracer, "INSERT messages");
    answer
}

/// Asks the model, looks up what the model wants to know, and asks again.
fn agent(tracer: &SdkTracer, question: &str) -> String {
    let _agent = span(
        tracer,
        "invoke_agent support",
        SpanKind::Internal,
        [
            ("gen_ai.operation.name", "invoke_agent".into()),
            ("gen_ai.agent.name", "support".into()),
            ("gen_ai.conversation.id", "conversation-7".into()),
        ],
    );
    let answer = "It is on its way: DHL has it.";
    let call = json!({"type": "tool_call", "id": "call_1", "name": "find_order", "arguments": {"order": "A-1"}});
    let mut messages = vec![json!({"role": "user", "parts": [{"type": "text", "content": question}]})];

    let asks = json!({"role": "assistant", "parts": [call], "finish_reason": "tool_call"});
    model(tracer, &messages, &asks, 93, 17);
    let found = json!({"type": "tool_call_response", "id": "call_1", "response": find_order(tracer)});
    messages.extend([asks, json!({"role": "tool", "parts": [found]})]);
    let says = json!({"role": "assistant", "parts": [{"type": "text", "content": answer}], "finish_reason": "stop"});
    model(tracer, &messages, &says, 131, 12);
    answer.to_owned()
}

/// One call of the model. It answers from a script, after about the time of a very small one.
fn model(tracer: &SdkTracer, input: &[Json], output: &Json, input_tokens: i64, output_tokens: i64) {
    let _call = span(
        tracer,
        "chat gpt-4o-mini",
        SpanKind::Client,
        [
            ("gen_ai.operation.name", "chat".into()),
            ("gen_ai.provider.name", "openai".into()),
            ("gen_ai.request.model", "gpt-4o-mini".into()),
            ("gen_ai.input.messages", json!(input).to_string().into()),
            ("gen_ai.output.messages", json!([output]).to_string().into()),
            ("gen_ai.usage.input_tokens", input_tokens.into()),
            ("gen_ai.usage.output_tokens", output_tokens.into()),
        ],
    );
    thread::sleep(Duration::from_millis(20));
}

/// The tool, which asks the database.
fn find_order(tracer: &SdkTracer) -> Json {
    let _tool = span(
        tracer,
        "execute_tool find_order",
        SpanKind::Internal,
        [
            ("gen_ai.operation.name", "execute_tool".into()),
            ("gen_ai.tool.name", "find_order".into()),
            ("gen_ai.tool.call.id", "call_1".into()),
            ("gen_ai.tool.call.arguments", json!({"order": "A-1"}).to_string().into()),
        ],
    );
    query(tracer, "SELECT orders");
    let found = json!({"carrier": "DHL", "order": "A-1", "status": "shipped"});
    get_active_span(|span| span.set_attribute(KeyValue::new("gen_ai.tool.call.result", found.to_string())));
    found
}

fn request(tracer: &SdkTracer, name: &'static str, method: &'static str) -> ContextGuard {
    span(
        tracer,
        name,
        SpanKind::Server,
        [("http.request.method", method.into()), ("http.response.status_code", 200.into())],
    )
}

/// One question to the database.
fn query(tracer: &SdkTracer, name: &'static str) {
    let attributes = [("db.system.name", "postgresql".into()), ("db.query.summary", name.into())];
    let _query = span(tracer, name, SpanKind::Client, attributes);
    thread::sleep(Duration::from_millis(2));
}

/// A span that is active, and so the parent of others, until what is returned here is dropped.
fn span<const N: usize>(
    tracer: &SdkTracer,
    name: &'static str,
    kind: SpanKind,
    attributes: [(&'static str, Value); N],
) -> ContextGuard {
    let attributes = attributes.map(|(key, value)| KeyValue::new(key, value));
    let span = tracer.span_builder(name).with_kind(kind).with_attributes(attributes).start(tracer);
    mark_span_as_active(span)
}
