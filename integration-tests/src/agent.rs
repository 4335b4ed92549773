//! A small agent's spans, made through the OpenTelemetry API as an application makes them.

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracerProvider;

/// Spans of one run: the agent, two model calls, one tool.
pub const SPANS: u64 = 4;

/// Runs the agent once: it asks a model, calls the tool the model asks for, and asks again.
pub fn run(provider: &SdkTracerProvider) {
    run_reading(provider, r#"{"temp_c":4}"#);
}

/// The same, with what the tool answers.
pub fn run_reading(provider: &SdkTracerProvider, answer_of_tool: &str) {
    let tracer = provider.tracer("agent");
    let span = |name: &'static str, kind, attributes: Vec<KeyValue>, parent: &Context| {
        parent.with_span(
            tracer.span_builder(name).with_kind(kind).with_attributes(attributes).start_with_context(&tracer, parent),
        )
    };
    let agent = span(
        "invoke_agent weather",
        SpanKind::Internal,
        vec![
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", "weather"),
            KeyValue::new("gen_ai.conversation.id", "session-1"),
        ],
        &Context::new(),
    );
    let chat = |input: &'static str, output: &'static str| {
        vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", "openai"),
            KeyValue::new("gen_ai.request.model", "gpt-4o-mini"),
            KeyValue::new("gen_ai.usage.input_tokens", 100),
            KeyValue::new("gen_ai.usage.output_tokens", 20),
            KeyValue::new("gen_ai.input.messages", input),
            KeyValue::new("gen_ai.output.messages", output),
        ]
    };
    let asks = r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"get_weather","arguments":{"city":"Oslo"}}],"finish_reason":"tool_call"}]"#;
    let question = r#"[{"role":"user","parts":[{"type":"text","content":"Weather in Oslo?"}]}]"#;
    let answer = r#"[{"role":"assistant","parts":[{"type":"text","content":"4 degrees."}],"finish_reason":"stop"}]"#;
    span("chat gpt-4o-mini", SpanKind::Client, chat(question, asks), &agent).span().end();
    let tool = vec![
        KeyValue::new("gen_ai.operation.name", "execute_tool"),
        KeyValue::new("gen_ai.tool.name", "get_weather"),
        KeyValue::new("gen_ai.tool.call.id", "call_1"),
        KeyValue::new("gen_ai.tool.call.arguments", r#"{"city":"Oslo"}"#),
        KeyValue::new("gen_ai.tool.call.result", answer_of_tool.to_owned()),
    ];
    span("execute_tool get_weather", SpanKind::Internal, tool, &agent).span().end();
    span("chat gpt-4o-mini", SpanKind::Client, chat(question, answer), &agent).span().end();
    agent.span().end();
}
