//! The agents of the captures, traced with OpenTelemetry: `python/clients` has them as they were captured.
//!
//! Each is slow: what happens is told before the next thing happens, as the SDK's was.

use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracerProvider;

/// `a-plain.py`: a function that is an agent, and calls nothing.
pub(crate) fn plain(provider: &SdkTracerProvider) -> Option<Context> {
    let agent = step(
        provider,
        "plain-agent",
        &Context::new(),
        &[
            ("gen_ai.operation.name", "invoke_agent"),
            ("gen_ai.agent.name", "plain-agent"),
            ("retrace.input", r#"{"args":["life?"],"kwargs":{"depth":2}}"#),
        ],
    );
    end(provider, &agent, &[("retrace.output", r#"{"answer":42,"question":"life?"}"#)]);
    None
}

/// `f-openai-tools.py`: a model asks for a tool, which is run and fed back; then the model is thanked.
pub(crate) fn tools(provider: &SdkTracerProvider) -> Option<Context> {
    let asks = r#"{"role":"assistant","parts":[{"type":"tool_call","id":"call_abc123","name":"lookup_order","arguments":{"order_id":"A-1"}}]}"#;
    let found =
        r#"{"role":"tool","parts":[{"type":"tool_call_response","id":"call_abc123","response":{"carrier":"DHL"}}]}"#;
    let said =
        |role: &str, text: &str| format!(r#"{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}"#);
    let question = said("user", "where is my order A-1?");
    let hello = said("assistant", "Hello there!");

    let agent = step(
        provider,
        "oai-tools",
        &Context::new(),
        &[("gen_ai.operation.name", "invoke_agent"), ("gen_ai.agent.name", "oai-tools")],
    );
    chat(provider, &agent, &format!("[{question}]"), &format!("[{asks}]"), true);
    let tool = step(
        provider,
        "execute_tool lookup_order",
        &agent,
        &[
            ("gen_ai.operation.name", "execute_tool"),
            ("gen_ai.tool.name", "lookup_order"),
            ("gen_ai.tool.call.id", "call_abc123"),
            ("gen_ai.tool.call.arguments", r#"{"order_id":"A-1"}"#),
        ],
    );
    end(provider, &tool, &[("gen_ai.tool.call.result", r#"{"carrier":"DHL"}"#)]);
    chat(provider, &agent, &format!("[{question},{asks},{found}]"), &format!("[{hello}]"), true);
    let thanks = said("user", "thanks");
    chat(provider, &agent, &format!("[{question},{asks},{found},{hello},{thanks}]"), &format!("[{hello}]"), false);
    end(provider, &agent, &[("retrace.output", "Hello there!")]);
    None
}

/// `c-nested.py`: steps of all types, one failed, one made by hand, and one that never ends, which is returned.
pub(crate) fn nested(provider: &SdkTracerProvider) -> Option<Context> {
    let agent = step(
        provider,
        "nested",
        &Context::new(),
        &[
            ("gen_ai.operation.name", "invoke_agent"),
            ("gen_ai.agent.name", "nested"),
            ("retrace.input", r#"{"goal":"weather"}"#),
        ],
    );
    let kind = |kind: &'static str, name: &'static str, input: &'static str, parent: &Context| {
        let input = [("retrace.span_type", kind), ("retrace.input", input)];
        step(provider, name, parent, if input[1].1.is_empty() { &input[..1] } else { &input[..] })
    };
    let plan = kind("reasoning", "plan", "think", &agent);
    let call = kind("tool_call", "get_weather", r#"{"city":"Oslo"}"#, &plan);
    end(provider, &call, &[("retrace.output", r#"{"temp_c":4}"#)]);
    end(provider, &kind("tool_result", "get_weather", "", &call), &[("retrace.output", r#"{"temp_c":4}"#)]);
    let tides = kind("tool_call", "get_tides", r#"{"city":"Oslo"}"#, &plan);
    tides.span().set_status(Status::error("TimeoutError: upstream"));
    end(provider, &tides, &[]);
    end(provider, &plan, &[("retrace.output", "answer with weather only")]);
    end(provider, &kind("action", "send_reply", r#"{"to":"user"}"#, &agent), &[]);
    end(provider, &kind("error", "note", "soft failure", &agent), &[]);
    end(provider, &kind("fork_point", "fork here", "", &agent), &[]);
    let model = kind("llm_call", "manual-llm", "p", &agent);
    end(provider, &model, &[("retrace.model", "gpt-4o"), ("retrace.output", "done")]);
    let open = kind("tool_call", "never closed", r#"{"n":1}"#, &agent);
    let added = kind("llm_call", "added", "p", &plan);
    added.span().set_attributes([
        KeyValue::new("retrace.input_tokens", 11),
        KeyValue::new("retrace.output_tokens", 7),
        KeyValue::new("retrace.cost", 0.001_25),
        KeyValue::new("retrace.token_ids", "[1,2,3]"),
        KeyValue::new("retrace.logprobs", "[-0.1,-0.2,-0.3]"),
    ]);
    end(
        provider,
        &added,
        &[("retrace.model", "gpt-4o"), ("retrace.output", "o"), ("retrace.metadata.note", "added via add_span")],
    );
    end(provider, &agent, &[("retrace.output", "ok")]);
    Some(open)
}

fn chat(provider: &SdkTracerProvider, agent: &Context, input: &str, output: &str, with_tools: bool) {
    let tools = r#"[{"type":"function","name":"lookup_order","parameters":{"type":"object","properties":{"order_id":{"type":"string"}},"required":["order_id"]}}]"#;
    let chat = step(
        provider,
        "chat gpt-4o",
        agent,
        &[
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", "openai"),
            ("gen_ai.request.model", "gpt-4o"),
            ("gen_ai.input.messages", input),
        ],
    );
    if with_tools {
        chat.span().set_attribute(KeyValue::new("gen_ai.tool.definitions", tools));
    }
    chat.span().set_attribute(KeyValue::new("gen_ai.usage.input_tokens", 19));
    chat.span().set_attribute(KeyValue::new("gen_ai.usage.output_tokens", 5));
    end(provider, &chat, &[("gen_ai.output.messages", output)]);
}

fn step(
    provider: &SdkTracerProvider,
    name: &'static str,
    parent: &Context,
    attributes: &[(&'static str, &str)],
) -> Context {
    let attributes: Vec<_> = attributes.iter().map(|(key, value)| KeyValue::new(*key, (*value).to_owned())).collect();
    let tracer = provider.tracer("agent");
    let span = tracer.span_builder(name).with_kind(SpanKind::Internal).with_attributes(attributes);
    let step = parent.with_span(span.start_with_context(&tracer, parent));
    provider.force_flush().unwrap();
    step
}

fn end(provider: &SdkTracerProvider, step: &Context, attributes: &[(&'static str, &str)]) {
    for (key, value) in attributes {
        step.span().set_attribute(KeyValue::new(*key, (*value).to_owned()));
    }
    step.span().end();
    provider.force_flush().unwrap();
}
