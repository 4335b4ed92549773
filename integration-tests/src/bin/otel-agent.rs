//! The agent of `python/clients/agent.py`, traced with OpenTelemetry: the same question, model, tool and answers.

use std::error::Error;
use std::sync::mpsc::channel;

use integration_tests::wait::{HANG, SPENT, flush, until};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter as _};

const QUESTION: &str = r#"[{"role":"user","parts":[{"type":"text","content":"Weather in Oslo?"}]}]"#;
const ASKS: &str = r#"[{"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"get_weather","arguments":{"city":"Oslo"}}],"finish_reason":"tool_call"}]"#;
const HISTORY: &str = r#"[{"role":"user","parts":[{"type":"text","content":"Weather in Oslo?"}]},
    {"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"get_weather","arguments":{"city":"Oslo"}}]},
    {"role":"tool","parts":[{"type":"tool_call_response","id":"call_1","response":{"temp_c":4}}]}]"#;
const ANSWER: &str =
    r#"[{"role":"assistant","parts":[{"type":"text","content":"4 degrees."}],"finish_reason":"stop"}]"#;
const TOOLS: &str = r#"[{"type":"function","name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]"#;

fn main() -> Result<(), Box<dyn Error>> {
    // Where to, and with which key, stands in the environment.
    let (failing, failed) = channel();
    let exporter = RetraceExporter::builder()
        .with_on_error(move |signal| failing.send(signal.code).unwrap_or_default())
        .build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.clone()).build();
    run(&provider);
    flush(&provider);
    // It waits for a receiver that answers, and not for one whose attempts fail.
    until("the spans are delivered, or an attempt has failed", || {
        (exporter.stats().pending == 0 || failed.try_recv().is_ok()).then_some(())
    });
    exporter.shutdown_with_timeout(if exporter.stats().pending == 0 { HANG } else { SPENT })?;
    let stats = exporter.stats();
    if stats.delivered != stats.accepted {
        return Err(format!("not all was delivered: {stats:?}").into());
    }
    Ok(())
}

fn run(provider: &SdkTracerProvider) {
    let tracer = provider.tracer("otel-agent");
    let span = |name: &'static str, kind, attributes: Vec<KeyValue>, parent: &Context| {
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        parent.with_span(builder.start_with_context(&tracer, parent))
    };
    let agent = vec![
        KeyValue::new("gen_ai.operation.name", "invoke_agent"),
        KeyValue::new("gen_ai.agent.name", "weather"),
        KeyValue::new("gen_ai.conversation.id", "session-1"),
    ];
    let chat = |input: &'static str, output: &'static str| {
        vec![
            KeyValue::new("gen_ai.operation.name", "chat"),
            KeyValue::new("gen_ai.provider.name", "openai"),
            KeyValue::new("gen_ai.request.model", "gpt-4o-mini"),
            KeyValue::new("gen_ai.request.temperature", 0.2),
            KeyValue::new("gen_ai.tool.definitions", TOOLS),
            KeyValue::new("gen_ai.usage.input_tokens", 100),
            KeyValue::new("gen_ai.usage.output_tokens", 20),
            KeyValue::new("gen_ai.input.messages", input),
            KeyValue::new("gen_ai.output.messages", output),
        ]
    };
    let tool = vec![
        KeyValue::new("gen_ai.operation.name", "execute_tool"),
        KeyValue::new("gen_ai.tool.name", "get_weather"),
        KeyValue::new("gen_ai.tool.call.id", "call_1"),
        KeyValue::new("gen_ai.tool.call.arguments", r#"{"city":"Oslo"}"#),
        KeyValue::new("gen_ai.tool.call.result", r#"{"temp_c":4}"#),
    ];
    let agent = span("invoke_agent weather", SpanKind::Internal, agent, &Context::new());
    span("chat gpt-4o-mini", SpanKind::Client, chat(QUESTION, ASKS), &agent).span().end();
    span("execute_tool get_weather", SpanKind::Internal, tool, &agent).span().end();
    span("chat gpt-4o-mini", SpanKind::Client, chat(HISTORY, ANSWER), &agent).span().end();
    agent.span().end();
}
