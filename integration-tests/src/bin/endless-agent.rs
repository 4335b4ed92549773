//! An agent that works until it is killed, and says how much of its work the receiver has confirmed.
//!
//! With the argument `in-span` it has one span, which nothing but its name describes when it begins.

use std::error::Error;
use std::io::Write as _;

use opentelemetry::trace::{TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_retrace::RetraceSpanProcessor;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanProcessor as _};

fn main() -> Result<(), Box<dyn Error>> {
    // Where to, and with which key, stands in the environment.
    let processor = RetraceSpanProcessor::builder().with_transport("ws").build()?;
    let provider = SdkTracerProvider::builder().with_span_processor(processor.clone()).build();
    let tracer = provider.tracer("endless-agent");
    if std::env::args().nth(1).as_deref() == Some("in-span") {
        return tracer.in_span("invoke_agent endless", |agent| {
            processor.force_flush()?;
            writeln!(std::io::stdout(), "begun")?;
            // Until it is killed, for nobody writes a line.
            std::io::stdin().read_line(&mut String::new())?;
            agent.span().set_attribute(KeyValue::new("gen_ai.agent.name", "endless"));
            Ok(())
        });
    }
    let agent = [KeyValue::new("gen_ai.operation.name", "invoke_agent"), KeyValue::new("gen_ai.agent.name", "endless")];
    let agent = tracer.span_builder("agent").with_attributes(agent).start(&tracer);
    let agent = Context::new().with_span(agent);
    for step in 0_u64.. {
        let tool = [
            KeyValue::new("gen_ai.operation.name", "execute_tool"),
            KeyValue::new("gen_ai.tool.name", format!("step {step}")),
            KeyValue::new("gen_ai.tool.call.result", format!("result {step}")),
        ];
        drop(tracer.span_builder("tool").with_attributes(tool).start_with_context(&tracer, &agent));
        if step % 16 == 0 {
            // So that it is not killed before anything is confirmed; the steps between wait for nothing.
            let _ = processor.force_flush();
        }
        writeln!(std::io::stdout(), "{}", processor.stats().delivered)?;
    }
    Ok(())
}
