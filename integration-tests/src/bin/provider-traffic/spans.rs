//! Spans that have ended, to be looked at.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry::{Array, StringValue, Value};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use serde_json::Value as Json;

/// Where they come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl Spans {
    pub(crate) fn new() -> (Self, SdkTracerProvider) {
        let spans = Self::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        (spans, provider)
    }

    /// Those that have come since.
    pub(crate) fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanExporter for Spans {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
        Ok(())
    }
}

/// An attribute as JSON; null where it is not there.
pub(crate) fn attribute(span: &SpanData, key: &str) -> Json {
    let found = span.attributes.iter().rev().find(|attribute| attribute.key.as_str() == key);
    match found.map(|attribute| &attribute.value) {
        Some(Value::Bool(value)) => (*value).into(),
        Some(Value::I64(value)) => (*value).into(),
        Some(Value::F64(value)) => (*value).into(),
        Some(Value::String(value)) => value.as_str().into(),
        Some(Value::Array(Array::Bool(list))) => list.clone().into(),
        Some(Value::Array(Array::I64(list))) => list.clone().into(),
        Some(Value::Array(Array::F64(list))) => list.clone().into(),
        Some(Value::Array(Array::String(list))) => list.iter().map(StringValue::as_str).collect(),
        _ => Json::Null,
    }
}

/// An attribute that holds JSON.
pub(crate) fn content(span: &SpanData, key: &str) -> Json {
    attribute(span, key).as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Json::Null)
}
