//! Model calls: any request and any response under the path of any API, whole and in pieces.
#![no_main]

use fuzz::{CONTENT_TYPES, Exchange};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use opentelemetry::KeyValue;
use opentelemetry_instrumentation_genai::{Capture, Instrumentation, Request};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

/// A URL of each API, and a request that the API accepts.
const APIS: &[(&str, &str)] = &[
    (
        "https://api.openai.com/v1/chat/completions",
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"a"}]}"#,
    ),
    ("https://api.openai.com/v1/responses", r#"{"model":"m","stream":true,"input":"a"}"#),
    ("https://api.openai.com/v1/completions", r#"{"model":"m","prompt":"a"}"#),
    ("https://api.openai.com/v1/embeddings", r#"{"model":"m","input":["a"]}"#),
    (
        "https://api.anthropic.com/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#,
    ),
    ("https://api.anthropic.com/v1/complete", r#"{"model":"m","max_tokens_to_sample":9,"prompt":"a"}"#),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
        r#"{"contents":[{"role":"user","parts":[{"text":"a"}]}]}"#,
    ),
    ("http://localhost:11434/api/chat", r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#),
    ("https://api.cohere.com/v2/chat", r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#),
    ("https://api.cohere.com/v1/chat", r#"{"model":"m","message":"a"}"#),
    (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3/converse",
        r#"{"messages":[{"role":"user","content":[{"text":"a"}]}]}"#,
    ),
    ("https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.titan-text/invoke", r#"{"inputText":"a"}"#),
    (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-lite/converse-stream",
        r#"{"messages":[{"role":"user","content":[{"text":"a"}]}]}"#,
    ),
    ("http://localhost:8080/generate", r#"{"inputs":"a"}"#),
    ("http://localhost:8080/completion", r#"{"prompt":"a","stream":true}"#),
    ("http://localhost:1234/api/v1/chat", r#"{"model":"m","input":"a"}"#),
    (
        "https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/meta/m",
        r#"{"messages":[{"role":"user","content":"a"}]}"#,
    ),
    ("https://api.mistral.ai/v1/conversations", r#"{"model":"m","inputs":"a","stream":true}"#),
    ("https://api.mistral.ai/v1/ocr", r#"{"model":"m","document":{"document_url":"https://x/a.pdf"}}"#),
    (
        "https://generativelanguage.googleapis.com/v1beta/models/m:embedContent",
        r#"{"content":{"parts":[{"text":"a"}]}}"#,
    ),
    ("https://generativelanguage.googleapis.com/v1beta/interactions", r#"{"model":"m","input":"a","stream":true}"#),
    (
        "https://us-central1-aiplatform.googleapis.com/v1/publishers/google/models/m:predict",
        r#"{"instances":[{"content":"a"}]}"#,
    ),
    ("http://localhost:11434/api/generate", r#"{"model":"m","prompt":"a"}"#),
    ("http://localhost:11434/api/embed", r#"{"model":"m","input":["a"]}"#),
    ("https://api.cohere.com/v2/embed", r#"{"model":"m","texts":["a"]}"#),
    ("https://api.cohere.com/v2/rerank", r#"{"model":"m","query":"a","documents":["b"]}"#),
    ("https://us-south.ml.cloud.ibm.com/ml/v1/text/generation_stream", r#"{"model_id":"m","input":"a"}"#),
    ("https://api.openai.com/v1/images/generations", r#"{"model":"m","prompt":"a"}"#),
    ("https://api.openai.com/v1/audio/speech", r#"{"model":"m","input":"a","voice":"alloy"}"#),
];

fuzz_target!(|data: &[u8]| {
    let Some(exchange) = Exchange::read(data) else { return };
    let whole = spans_of(&exchange, &[exchange.answer]);
    assert_eq!(whole, spans_of(&exchange, &exchange.pieces()), "in pieces the spans are the same");
});

/// Returns the attributes of the spans of an exchange.
fn spans_of(exchange: &Exchange<'_>, pieces: &[&[u8]]) -> Vec<Vec<KeyValue>> {
    let spans = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let builder = Instrumentation::builder().with_tracer_provider(&provider);
    let genai = builder.with_capture(Capture::SpanOnly).build();
    // A single byte is a place in the table, and no request is the one that stands there.
    let known = match exchange.url.as_bytes() {
        [place] => APIS.get(usize::from(*place)),
        _ => None,
    };
    let (url, usual) = *known.unwrap_or(&(exchange.url, ""));
    let body = if exchange.request.is_empty() { usual.as_bytes() } else { exchange.request };
    let call = genai.start(&Request { method: "POST", url, body: Some(body) });
    assert!(call.is_some() || known.is_none() || !exchange.request.is_empty(), "{url} is known");
    if let Some(mut call) = call {
        let mut headers = HeaderMap::new();
        let content_type = CONTENT_TYPES[usize::from(exchange.content_type) % CONTENT_TYPES.len()];
        if !content_type.is_empty() {
            headers.insert("content-type", HeaderValue::from_static(content_type));
        }
        call.response(exchange.status, &headers);
        pieces.iter().for_each(|piece| call.chunk(piece));
        if exchange.ends {
            call.end();
        }
    }
    let spans = spans.get_finished_spans().expect("the exporter is there");
    assert!(spans.len() <= 1, "one span for each call");
    let timeless = |pair: &KeyValue| pair.key.as_str() != "gen_ai.response.time_to_first_chunk";
    spans.into_iter().map(|span| span.attributes.into_iter().filter(timeless).collect()).collect()
}
