//! The switches for content, and token counts that a stream does not report.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use axum::http::HeaderMap;
use integration_tests::wait::HANG;
use opentelemetry_instrumentation_genai::{Capture, Instrumentation, Request};
use opentelemetry_retrace::RetraceExporter;
use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Span, Trace};

/// The run of one streamed model call: recorded by the instrumentation, sent by the exporter. `None` is the default.
fn run(recorded: Option<Capture>, sent: Option<bool>) -> Trace {
    let server = Server::start().unwrap();
    let exporter = RetraceExporter::builder().with_api_key("rt_local").with_base_url(server.url());
    let exporter = sent.into_iter().fold(exporter, opentelemetry_retrace::RetraceExporterBuilder::with_capture_content);
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter.build().unwrap()).build();
    let genai = Instrumentation::builder().with_tracer_provider(&provider);
    let genai = recorded.into_iter().fold(genai, opentelemetry_instrumentation_genai::Builder::with_capture).build();
    let url = "https://api.openai.com/v1/chat/completions";
    let body = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hello"}],"stream":true}"#;
    let mut call = genai.start(&Request { method: "POST", url, body: Some(body) }).unwrap();
    call.response(200, &HeaderMap::new());
    call.chunk(b"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n");
    call.chunk(b"data: [DONE]\n\n");
    call.end();
    provider.shutdown_with_timeout(HANG).unwrap();
    let page = server.traces(&TraceQuery::default()).unwrap();
    server.trace(page.traces[0].id.as_ref().unwrap()).unwrap().unwrap()
}

fn call(run: &Trace) -> &Span {
    let [call] = &run.spans.as_ref().unwrap()[..] else { panic!("{run:?}") };
    call
}

/// In a pipeline by hand the instrumentation's switch decides: what it does not record, no exporter can send.
#[test]
fn content_reaches_retrace_if_the_instrumentation_records_it_and_the_exporter_is_not_switched_off() {
    for (recorded, sent, expected) in [
        (None, None, false),
        (None, Some(true), false),
        (Some(Capture::SpanOnly), None, true),
        (Some(Capture::SpanOnly), Some(false), false),
        (Some(Capture::NoContent), None, false),
    ] {
        let run = run(recorded, sent);
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(text.contains("hello"), expected, "{recorded:?} {sent:?}: {text}");
        assert_eq!(call(&run).model.as_deref(), Some("gpt-4o-mini"), "{recorded:?} {sent:?}");
    }
}

#[test]
fn a_stream_without_usage_has_neither_tokens_nor_a_cost_and_states_why() {
    let run = run(Some(Capture::SpanOnly), None);
    let call = call(&run);
    assert_eq!((call.input_tokens, call.output_tokens, call.cost), (None, None, None));
    let metadata = call.metadata.as_ref().unwrap().to_value().unwrap();
    assert_eq!(metadata["attributes"]["retrace.usage_missing"], "stream_options.include_usage", "{metadata}");
}
