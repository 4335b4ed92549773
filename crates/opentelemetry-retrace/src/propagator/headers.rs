//! HTTP headers as a carrier.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};

use crate::propagator::{RetracePropagator, TRACEPARENT, TRACESTATE};

impl RetracePropagator {
    /// Writes the current `Context` into the headers of a request. Values of another `Context` are removed.
    /// Without a valid span the headers stay unchanged.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use opentelemetry_retrace::RetracePropagator;
    ///
    /// let propagator = RetracePropagator::default();
    /// let mut headers = HeaderMap::new();
    /// propagator.inject_headers(&mut headers);
    /// assert!(headers.is_empty(), "there is no span");
    /// ```
    pub fn inject_headers(&self, headers: &mut HeaderMap) {
        Context::map_current(|cx| self.inject_headers_of(cx, headers));
    }

    /// Does the same as [`RetracePropagator::inject_headers`] for a `Context` other than the current one.
    pub fn inject_headers_of(&self, cx: &Context, headers: &mut HeaderMap) {
        if self.traceparent(cx).is_some() {
            headers.remove(TRACEPARENT);
            headers.remove(TRACESTATE);
        }
        self.inject_context(cx, &mut Writer(headers));
    }

    /// Reads the headers of a request into a `Context` made from the current one, from which spans of this
    /// service are started.
    ///
    /// It is stricter than `HeaderExtractor`, which leaves out fields that are not ASCII: here they make the
    /// whole header invalid.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue};
    /// use opentelemetry::trace::TraceContextExt as _;
    /// use opentelemetry_retrace::RetracePropagator;
    ///
    /// let mut headers = HeaderMap::new();
    /// let parent = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    /// headers.insert("traceparent", parent);
    /// let cx = RetracePropagator::default().extract_headers(&headers);
    /// assert_eq!(cx.span().span_context().span_id().to_string(), "00f067aa0ba902b7");
    /// ```
    #[must_use]
    pub fn extract_headers(&self, headers: &HeaderMap) -> Context {
        self.extract(&Reader(headers))
    }
}

struct Writer<'a>(&'a mut HeaderMap);

impl Injector for Writer<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Replacement for a value that is not ASCII; no field accepts it.
const INVALID: &str = "\u{7f}";

struct Reader<'a>(&'a HeaderMap);

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.to_str().unwrap_or(INVALID))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.get_all(key).iter().map(|value| value.to_str().unwrap_or(INVALID)).collect();
        (!values.is_empty()).then_some(values)
    }
}
