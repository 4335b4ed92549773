//! What the recipes record: an agent, by spans of OpenTelemetry.

pub mod http;

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Status, TraceContextExt as _, Tracer};

/// An agent that calls a model once, recorded as usual: its spans are described after they have begun.
pub fn agent<T: Tracer>(tracer: &T)
where
    T::Span: Send + Sync + 'static,
{
    tracer.in_span("invoke_agent planner", |agent| {
        chat(tracer, false);
        agent.span().set_attributes([
            KeyValue::new("gen_ai.operation.name", "invoke_agent"),
            KeyValue::new("gen_ai.agent.name", "planner"),
            KeyValue::new("retrace.metadata.environment", "staging"),
        ]);
    });
}

/// A model call below the span of the current context.
pub fn chat<T: Tracer>(tracer: &T, fails: bool) {
    let mut chat = tracer.start("chat gpt-4o-mini");
    chat.set_attributes([
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", "openai"),
        KeyValue::new("gen_ai.request.model", "gpt-4o-mini"),
        KeyValue::new("gen_ai.usage.input_tokens", 100),
        KeyValue::new("gen_ai.usage.output_tokens", 10),
    ]);
    if fails {
        chat.set_status(Status::error("the model is away"));
    }
}
