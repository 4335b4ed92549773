//! The two things that may be added to a request, each only when it was asked for.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::global;
use opentelemetry::propagation::Injector;

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
    /// Whether a request could be a model call, by its URL alone. Cheap; for those who must work to see a body.
    #[must_use]
    pub fn is_candidate(&self, method: &str, url: &str) -> bool {
        let target = Target::of(url);
        method == "POST" && (self.own_route(&target) || KNOWN.iter().any(|api| api.route(&target).is_some()))
    }

    /// Whether contexts are injected.
    #[must_use]
    pub fn propagates(&self) -> bool {
        self.inner().propagate
    }

    /// Injects the context of a call into headers, where that was asked for.
    pub fn inject(&self, call: &Call, headers: &mut HeaderMap) {
        if self.inner().propagate {
            global::get_text_map_propagator(|propagator| {
                propagator.inject_context(call.context(), &mut Headers(headers));
            });
        }
    }

    /// The body that also asks for the token counts of a stream, where that was asked for and the caller did not.
    #[must_use]
    pub fn altered(&self, request: &Request<'_>) -> Option<Vec<u8>> {
        if !self.inner().include_usage || Target::of(request.url).from_end(0) != "completions" {
            return None;
        }
        let body = request.body?;
        let json = Json::parse(body)?;
        if json.get("stream").as_bool() != Some(true) || !json.get("stream_options").is_null() {
            return None;
        }
        // Written in at the beginning; all else stays as it is. A null that stands there already would stand twice.
        if json.members().iter().any(|(key, _)| key == "stream_options") {
            return None;
        }
        let brace = body.iter().position(|byte| *byte == b'{')?;
        let (before, after) = body.split_at_checked(brace + 1)?;
        Some([before, br#""stream_options":{"include_usage":true},"#, after].concat())
    }
}
