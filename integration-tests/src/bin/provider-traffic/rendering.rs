//! Recorded responses, rebuilt from the spans that they gave: a parser reads the same from both.

use std::collections::BTreeMap;
use std::error::Error;

use opentelemetry_instrumentation_genai::{Capture, Instrumentation, Request};
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use retrace_replay::render::{Answer, Api, render};
use serde_json::{Map, Value};

use crate::exchange::Exchange;
use crate::spans::{Spans, attribute};
use crate::tally::Tally;

/// Attributes that are about the way of the response and not its content.
const OF_THE_WAY: [&str; 3] = ["gen_ai.response.time_to_first_chunk", "retrace.unread_body", "retrace.usage_missing"];

/// How many responses were rebuilt, and why others were not.
#[derive(Debug)]
pub(crate) struct Renderings {
    spans: Spans,
    genai: Instrumentation,
    _provider: SdkTracerProvider,
    rebuilt: usize,
    reasons: BTreeMap<String, usize>,
}

impl Renderings {
    pub(crate) fn new() -> Self {
        let (spans, provider) = Spans::new();
        let builder = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::SpanOnly);
        Self { spans, genai: builder.build(), _provider: provider, rebuilt: 0, reasons: BTreeMap::new() }
    }

    /// Rebuilds the response whose span this is, whole and as a stream, and holds what is read of it against the span.
    pub(crate) fn check(
        &mut self,
        exchange: &Exchange,
        api: &str,
        span: &SpanData,
        tally: &mut Tally,
    ) -> Result<(), Box<dyn Error>> {
        if exchange.status != 200 {
            return Ok(());
        }
        let expected = attributes(span);
        let Some(api) = Api::by_name(api) else {
            return self.refuse(format!("{api} has no renderer"));
        };
        let answer = match Answer::from_attributes(&expected) {
            Ok(answer) => answer,
            Err(reason) => return self.refuse(reason.to_string()),
        };
        for streamed in [false, true] {
            let rendered = match render(api, &answer, streamed) {
                Ok(rendered) => rendered,
                Err(reason) => return self.refuse(reason.to_string()),
            };
            let caller = format!("{} rebuilt, streamed: {streamed}", exchange.name);
            let mut body: Value = serde_json::from_slice(&exchange.request)?;
            if body.get("stream").is_some() || streamed {
                body["stream"] = streamed.into();
            }
            let body = body.to_string();
            let url = match (api, streamed) {
                (Api::BedrockConverse | Api::GeminiGenerateContent, _) => {
                    let model = attribute(span, "gen_ai.request.model");
                    let host = exchange.url.split('/').take(3).collect::<Vec<_>>().join("/");
                    format!("{host}{}", api.path(model.as_str().unwrap_or("m"), streamed))
                }
                _ => exchange.url.clone(),
            };
            let request = Request { method: "POST", url: &url, body: Some(body.as_bytes()) };
            let Some(mut call) = self.genai.start(&request) else {
                tally.fault(&caller, "no model call");
                continue;
            };
            call.response(200, &axum::http::HeaderMap::new());
            rendered.response.chunks.iter().for_each(|chunk| call.chunk(&chunk.bytes));
            call.end();
            let read = attributes(&self.spans.take()[0]);
            for (key, value) in &expected {
                let is_response = key.starts_with("gen_ai.response")
                    || key.starts_with("gen_ai.usage")
                    || key.starts_with("gen_ai.output.messages")
                    || key.starts_with("openai.response")
                    || key.starts_with("retrace.");
                if is_response && !OF_THE_WAY.contains(&key.as_str()) && read.get(key) != Some(value) {
                    let read = read.get(key).unwrap_or(&Value::Null);
                    tally.fault(&caller, &format!("{key}: {read} for {value}"));
                }
            }
            for key in read.keys().filter(|key| !expected.contains_key(*key) && !OF_THE_WAY.contains(&key.as_str())) {
                if key != "gen_ai.request.stream" {
                    tally.fault(&caller, &format!("{key} is more than was recorded: {}", read[key]));
                }
            }
            self.rebuilt += 1;
        }
        Ok(())
    }

    fn refuse(&mut self, reason: String) -> Result<(), Box<dyn Error>> {
        *self.reasons.entry(reason).or_default() += 1;
        Ok(())
    }

    pub(crate) fn print(&self) {
        println!("\n{} responses rebuilt and read as the recorded ones. Not rebuilt:", self.rebuilt);
        for (reason, count) in &self.reasons {
            println!("{count:6} {reason}");
        }
    }
}

fn attributes(span: &SpanData) -> Map<String, Value> {
    let keys = span.attributes.iter().map(|each| each.key.as_str());
    keys.map(|key| (key.to_owned(), attribute(span, key))).collect()
}
