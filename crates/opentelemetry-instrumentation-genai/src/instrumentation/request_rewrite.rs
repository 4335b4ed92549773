//! Changes to requests, each only if it is configured: trace context in the headers, and the request for usage in a stream.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::global;
use opentelemetry::propagation::Injector;

#[cfg(any(feature = "_reqwest", feature = "rig", feature = "tower"))]
use crate::api::KNOWN;
use crate::call::Call;
use crate::instrumentation::{Instrumentation, Request};
use crate::json::Json;
use crate::url::Target;

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl Instrumentation {
    /// Returns true if a request may be a model call, by its method and URL alone. Adapters call it before they read a body.
    #[cfg(any(feature = "_reqwest", feature = "rig", feature = "tower"))]
    pub(crate) fn may_be_model_call(&self, method: &str, url: &str) -> bool {
        let target = Target::of(url);
        method == "POST" && (self.has_custom_route(&target) || KNOWN.iter().any(|api| api.route(&target).is_some()))
    }

    /// Returns true if contexts are injected.
    #[cfg(feature = "async-openai")]
    pub(crate) fn propagates(&self) -> bool {
        self.settings().propagate
    }

    /// Injects the context of a call into headers if propagation is enabled.
    pub fn inject(&self, call: &Call, headers: &mut HeaderMap) {
        if self.settings().propagate {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(call.context(), &mut Headers(headers));
            });
        }
    }

    /// Returns the body with `stream_options.include_usage` if that is enabled and the body streams without it.
    pub(crate) fn rewritten_body(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        if !self.settings().include_usage || Target::of(request.url).from_end(0) != "completions" {
            return None;
        }
        let body = request.body?;
        let json = Json::parse(body)?;
        if json.get("stream").as_bool() != Some(true) || !json.get("stream_options").is_null() {
            return None;
        }
        // Inserted at the beginning, with the rest unchanged. An existing null would become a duplicate.
        if json.members().iter().any(|(key, _)| key == "stream_options") {
            return None;
        }
        let brace = body.iter().position(|byte| *byte == b'{')?;
        let (before, after) = body.split_at_checked(brace + 1)?;
        Some([before, br#""stream_options":{"include_usage":true},"#, after].concat())
    }
}

#[cfg(all(test, any(feature = "_reqwest", feature = "tower")))]
mod tests {
    use super::*;

    #[test]
    fn method_and_path_show_what_may_be_a_model_call() {
        let genai = Instrumentation::new();
        for (method, url, expected) in [
            ("POST", "https://api.openai.com/v1/chat/completions", true),
            ("POST", "http://localhost:8000/v1/messages", true),
            ("GET", "https://api.openai.com/v1/chat/completions", false),
            ("POST", "https://example.com/orders", false),
        ] {
            assert_eq!(genai.may_be_model_call(method, url), expected, "{method} {url}");
        }
    }
}
