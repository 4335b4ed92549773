//! A model call: its request is known, its response arrives, and one span is recorded at its end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use crate::api::{Api, Route};
use crate::attributes::{self, OmittedBytes};
use crate::body::coding;
use crate::body::{Body, BodyItem};
use crate::interceptor::{Observer, Outcome, Refusal};
use crate::json::Json;
use crate::request::RequestFacts;
use crate::response::ResponseFacts;
use crate::settings::Settings;
use crate::url::Target;

/// An open model call.
///
/// Pass it everything that arrives: [`Call::response`], then each [`Call::chunk`], then [`Call::end`] or [`Call::fail`]. A call
/// that is dropped instead also ends its span, marked `retrace.partial` unless the response is complete, which it is when each
/// choice has its finish reason. So a dropped future, an aborted task and a stream that is not read to its end all leave one
/// finished span.
///
/// Cost: one pass over the bytes, no copy of a large body. If the span is not recorded, nothing is read.
pub struct Call {
    open: Option<Box<RecordingCall>>,
    observer: Option<Box<Observer>>,
    /// Context with the span of the call, or that of the caller if the call has no span.
    context: Context,
    spanless: bool,
}

pub(crate) enum ApiRef {
    BuiltIn(&'static dyn Api),
    Custom(Arc<dyn Api>),
    /// A call without a body.
    None,
}

/// An API that reads nothing.
#[derive(Debug)]
struct NoApi;

impl Api for NoApi {
    fn route(&self, _: &Target<'_>) -> Option<Route> {
        None
    }

    fn request(&self, _: &Target<'_>, _: &Json<'_>, _: &mut RequestFacts) {}

    fn response(&self, _: &Json<'_>, _: &mut ResponseFacts) {}
}

impl ApiRef {
    pub(crate) fn api(&self) -> &dyn Api {
        match self {
            Self::BuiltIn(api) => *api,
            Self::Custom(api) => &**api,
            Self::None => &NoApi,
        }
    }
}

/// State that exists only while the call is recorded.
pub(crate) struct RecordingCall {
    pub(crate) settings: Arc<Settings>,
    pub(crate) api: ApiRef,
    pub(crate) coding: coding::Decoder,
    pub(crate) body: Body,
    pub(crate) facts: ResponseFacts,
    /// True if the request asks for a stream.
    pub(crate) stream: bool,
    pub(crate) status: Option<u16>,
    pub(crate) started: Instant,
    pub(crate) first_chunk: Option<Duration>,
    /// Omitted content of the request.
    pub(crate) omitted: OmittedBytes,
    /// Dimensions of the metrics.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code))]
    pub(crate) dimensions: Vec<KeyValue>,
}

impl Call {
    pub(crate) fn new(context: Context, open: Option<Box<RecordingCall>>, observer: Option<Observer>) -> Self {
        Self { open, observer: observer.map(Box::new), context, spanless: false }
    }

    /// A call that an interceptor may observe and that has no span.
    pub(crate) fn spanless(context: Context, observer: Option<Observer>) -> Self {
        Self { open: None, observer: observer.map(Box::new), context, spanless: true }
    }

    /// Returns the context with the span of the call: spans opened while it is current become children.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns true if the call is recorded or observed. Otherwise no other method needs to be called.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.open.is_some() || self.observer.is_some()
    }

    /// Notes the head of the response.
    pub fn response(&mut self, status: u16, headers: &HeaderMap) {
        if let Some(observer) = &mut self.observer {
            observer.response(status, headers);
        }
        let Some(open) = &mut self.open else { return };
        open.status = Some(status);
        open.coding = coding::Decoder::of(headers);
        open.api.api().headers(headers, &mut open.facts);
    }

    /// Reads the next bytes of the body, in chunks of any length.
    pub fn chunk(&mut self, bytes: &[u8]) {
        self.chunk_at(bytes, Instant::now);
    }

    pub(crate) fn chunk_at(&mut self, bytes: &[u8], now: impl FnOnce() -> Instant) {
        if let Some(observer) = &mut self.observer {
            observer.chunk(bytes);
        }
        let Some(open) = &mut self.open else { return };
        let mut coding = std::mem::take(&mut open.coding);
        coding.push(bytes, &mut |bytes| open.read(|body, emit| body.push(bytes, emit)));
        open.coding = coding;
        if open.first_chunk.is_none() && open.body.documents() > 0 {
            open.first_chunk = Some(now().saturating_duration_since(open.started));
        }
    }

    /// Returns the facts of the response so far, to be read or added to. `None` if the call is not recorded.
    pub fn facts(&mut self) -> Option<&mut ResponseFacts> {
        self.open.as_deref_mut().map(|open| &mut open.facts)
    }

    /// Returns true if the response is complete, although the body may continue.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.facts.complete)
    }

    /// Ends the call at the end of the body.
    pub fn end(mut self) {
        self.finish(Outcome::Complete);
    }

    /// Ends the call before the end of the body. The error is a name of low cardinality: `timeout`, a type.
    pub fn fail(mut self, error: &str) {
        self.finish(Outcome::Failed(error));
    }

    /// Ends a call that the interceptor refused: nothing was sent.
    pub fn refuse(self, refusal: &Refusal) {
        self.fail(refusal.error_type());
    }

    fn finish(&mut self, outcome: Outcome<'_>) {
        let span = self.context.span();
        let facts = self.open.take().map(|open| open.finish(outcome, &span));
        if !self.spanless {
            span.end();
        }
        if let Some(observer) = self.observer.take() {
            observer.end(outcome, &facts.unwrap_or_default(), &self.context);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Has no effect after an end: a span ends once.
        self.finish(Outcome::Dropped);
    }
}

impl RecordingCall {
    fn read(&mut self, feed: impl FnOnce(&mut Body, &mut dyn FnMut(BodyItem<'_>))) {
        let Self { api, body, facts, stream, .. } = self;
        if let ApiRef::None = api {
            return;
        }
        let api = api.api();
        let mut whole = false;
        feed(body, &mut |found| match found {
            BodyItem::Document(json) => {
                api.response(&json, facts);
                whole = true;
            }
            BodyItem::Done => facts.complete = true,
            #[cfg(feature = "bedrock")]
            BodyItem::Failed(kind, message) => facts.fail(None, Some(kind), message),
        });
        // A single document, if none is to follow.
        facts.complete |= whole && !*stream && !body.is_events();
    }

    fn finish(mut self: Box<Self>, end: Outcome<'_>, span: &opentelemetry::trace::SpanRef<'_>) -> ResponseFacts {
        let complete = self.facts.complete;
        // Checked before a truncated document is closed, because closing adds what was not received.
        let finished = self.facts.all_finished();
        let mut coding = std::mem::take(&mut self.coding);
        coding.finish(&mut |bytes| self.read(|body, emit| body.push(bytes, emit)));
        self.read(Body::finish);
        self.facts.close();
        let failed_status = self.status.filter(|status| *status >= 400);
        let facts = &self.facts;
        let error = match end {
            Outcome::Failed(error) => Some(error.to_owned()),
            _ => facts
                .failure
                .as_ref()
                .map(|failure| {
                    let named = |text: &&String| !text.bytes().all(|byte| byte.is_ascii_digit());
                    let stated = failure.code.as_ref().filter(named).or(failure.kind.as_ref().filter(named));
                    let status = || failed_status.map(|status| status.to_string());
                    stated.or(failure.code.as_ref()).cloned().or_else(status).unwrap_or_else(|| "_OTHER".to_owned())
                })
                .or_else(|| failed_status.map(|status| status.to_string())),
        };
        // An error may quote keys and URLs.
        let error = error.map(|error| genai_redact::error(&error).into_owned());
        // A stream that ends without its final event was truncated, unless it is of a kind that has none.
        let partial = match end {
            Outcome::Complete => {
                let streamed = self.body.is_events() || (self.stream && self.body.documents() > 1);
                let unsaid = streamed && error.is_none();
                let broken = (self.body.is_broken() || coding.is_broken()) && error.is_none();
                facts.given_up || broken || unsaid && !(facts.complete || facts.all_finished() || facts.open_ended)
            }
            Outcome::Failed(_) | Outcome::Dropped => !complete && !finished,
        };
        let limit = self.settings.limits.attribute;
        let mut attributes = Vec::with_capacity(16);
        attributes::response(facts, &mut attributes);
        if let Some(first) = self.first_chunk.filter(|_| self.stream) {
            attributes.push(KeyValue::new("gen_ai.response.time_to_first_chunk", first.as_secs_f64()));
        }
        if let Some(status) = self.status {
            attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        let mut omitted = OmittedBytes(self.omitted.0);
        if facts.captures() {
            attributes.extend(attributes::output(facts, error.is_some(), limit, &mut omitted));
            omitted.0 += facts.cut() + self.body.cut();
        }
        if omitted.0 > 0 {
            attributes.push(KeyValue::new("retrace.omitted_bytes", i64::try_from(omitted.0).unwrap_or(i64::MAX)));
        }
        if let Some(unread) = coding.unread_coding().or(self.body.unread_type()) {
            attributes.push(KeyValue::new("retrace.unread_body", unread.to_owned()));
        }
        if partial {
            attributes.push(KeyValue::new("retrace.partial", true));
        }
        // Unknown is not zero: the span has no counts, and states why.
        let is_uncounted = facts.usage.all_input().is_none() && facts.usage.all_output().is_none();
        if is_uncounted && self.body.is_events() && !partial && error.is_none() {
            attributes.push(KeyValue::new(USAGE_MISSING, missing_usage(self.api.api().name())));
        }
        if let Some(error) = &error {
            attributes.push(KeyValue::new("error.type", error.clone()));
            // The message of a provider may quote the request.
            let message = facts.failure.as_ref().and_then(|failure| failure.message.as_deref());
            let message = message.filter(|_| facts.captures()).map(|message| genai_redact::error(message).into_owned());
            span.set_status(Status::error(message.unwrap_or_else(|| error.clone())));
        }
        #[cfg(feature = "metrics")]
        self.measure(error.as_deref());
        span.set_attributes(attributes);
        self.facts
    }

    #[cfg(feature = "metrics")]
    fn measure(&self, error: Option<&str>) {
        if let Some(metrics) = &self.settings.metrics {
            let first = self.first_chunk.filter(|_| self.stream);
            metrics.record(&self.dimensions, &self.facts, self.started.elapsed(), first, error);
        }
    }
}

/// Attribute of a streamed call whose response has no token counts: the missing request field.
const USAGE_MISSING: &str = "retrace.usage_missing";

/// Names what a request of this API lacks if its stream has no token counts.
fn missing_usage(api: &str) -> &'static str {
    match api {
        "openai.chat" | "openai.completions" => "stream_options.include_usage",
        _ => "not reported",
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Call").field("recording", &self.is_recording()).finish_non_exhaustive()
    }
}
