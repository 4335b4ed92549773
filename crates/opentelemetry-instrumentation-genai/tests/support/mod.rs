//! Calls fed by hand, and the spans that come of them.

#![allow(dead_code)] // not every test uses all of it

pub(crate) mod apis;
pub(crate) mod frames;
pub(crate) mod intercept;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};
use opentelemetry::trace::Status;
use opentelemetry::{Array, Value};
use opentelemetry_instrumentation_genai::{Builder, Capture, Instrumentation, Request};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::{Value as Json, json};

/// Where spans go, and an instrumentation that records content.
pub(crate) struct Rig {
    pub(crate) genai: Instrumentation,
    pub(crate) spans: InMemorySpanExporter,
    pub(crate) provider: SdkTracerProvider,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder.with_capture(Capture::SpanOnly))
    }

    pub(crate) fn with(configure: impl FnOnce(Builder) -> Builder) -> Self {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let builder = Instrumentation::builder().with_tracer_provider(&provider).with_capture(Capture::NoContent);
        Self { genai: configure(builder).build(), spans, provider }
    }

    /// The spans that have ended since.
    pub(crate) fn take(&self) -> Vec<SpanData> {
        let spans = self.spans.get_finished_spans().unwrap();
        self.spans.reset();
        spans
    }

    /// The one span that has ended since.
    pub(crate) fn one(&self) -> Json {
        let spans = self.take();
        assert_eq!(spans.len(), 1, "one span for each call");
        attributes_of(&spans[0])
    }
}

/// One exchange.
#[derive(Clone, Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) url: &'a str,
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) response: String,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(url: &'a str, request: &Json, response: impl Into<String>) -> Self {
        Self { url, request: request.to_string(), status: 200, headers: Vec::new(), response: response.into() }
    }

    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its span: the same however the response is cut.
    pub(crate) fn span(&self) -> Json {
        let rig = Rig::new();
        let whole = self.through(&rig, &[self.response.as_bytes()]);
        let bytes: Vec<&[u8]> = self.response.as_bytes().chunks(1).collect();
        assert_eq!(self.through(&rig, &bytes), whole, "one byte at a time");
        for length in [2, 7, 64] {
            let pieces: Vec<&[u8]> = self.response.as_bytes().chunks(length).collect();
            assert_eq!(self.through(&rig, &pieces), whole, "{length} bytes at a time");
        }
        whole
    }

    pub(crate) fn through(&self, rig: &Rig, pieces: &[&[u8]]) -> Json {
        let request = Request { method: "POST", url: self.url, body: Some(self.request.as_bytes()) };
        let mut call = rig.genai.start(&request).expect("a model call");
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        call.response(self.status, &headers);
        pieces.iter().for_each(|piece| call.chunk(piece));
        call.end();
        let mut span = rig.one();
        span.as_object_mut().unwrap().remove("gen_ai.response.time_to_first_chunk");
        span
    }
}

/// An event stream of these events.
pub(crate) fn sse(events: &[Json]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// Returns the attributes of a span with content as JSON, its name as `name`, and the description of its error as `failed`.
pub(crate) fn attributes_of(span: &SpanData) -> Json {
    let mut members = BTreeMap::new();
    for attribute in &span.attributes {
        let value = match &attribute.value {
            Value::Bool(value) => json!(value),
            Value::I64(value) => json!(value),
            Value::F64(value) => json!(value),
            Value::String(value) => match attribute.key.as_str() {
                "gen_ai.input.messages"
                | "gen_ai.output.messages"
                | "gen_ai.system_instructions"
                | "gen_ai.tool.definitions" => serde_json::from_str(value.as_str()).expect("content is JSON"),
                _ => json!(value.as_str()),
            },
            Value::Array(Array::I64(list)) => json!(list),
            Value::Array(Array::F64(list)) => json!(list),
            Value::Array(Array::String(list)) => list.iter().map(|text| json!(text.as_str())).collect(),
            other => panic!("{other:?}"),
        };
        members.insert(attribute.key.to_string(), value);
    }
    members.insert("name".to_owned(), json!(span.name));
    if let Status::Error { description } = &span.status {
        members.insert("failed".to_owned(), json!(description));
    }
    json!(members)
}

/// Compares the expected members only; null stands for a member that must be absent.
#[track_caller]
pub(crate) fn expect(span: &Json, expected: &Json) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&span[key], value, "{key} of {span:#}");
    }
}

/// The parts of the first answer.
pub(crate) fn parts(span: &Json) -> &Json {
    &span["gen_ai.output.messages"][0]["parts"]
}
