//! The instrumentation: begins the spans of model calls.

mod builder;
mod intercept;
mod request_rewrite;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use opentelemetry::global;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue};

use crate::api::{KNOWN, Route};
use crate::attributes::{self, OmittedBytes};
use crate::body::Body;
use crate::body::coding;
use crate::call::{ApiRef, Call, RecordingCall};
use crate::content_policy::{Capture, Limits};
use crate::host;
use crate::interceptor::Observer;
#[cfg(feature = "_playback")]
use crate::interceptor::Timer;
use crate::json::Json;
use crate::json::Truncator;
use crate::request::{Operation, RequestFacts};
use crate::response::ResponseFacts;
use crate::settings::{Settings, truncation_limits};
use crate::url::Target;

pub use self::builder::Builder;

/// Name of the instrumentation scope.
pub const SCOPE: &str = "opentelemetry-instrumentation-genai";

/// A request that may be a model call.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Absolute URL.
    pub url: &'a str,
    /// Whole body; `None` if it cannot be had without waiting or copying.
    pub body: Option<&'a [u8]>,
}

/// Records spans of model calls. Cheap to clone.
///
/// ```
/// use opentelemetry_instrumentation_genai::{Instrumentation, Request};
///
/// let genai = Instrumentation::new();
/// let body = br#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}"#;
/// let url = "https://api.openai.com/v1/chat/completions";
/// let mut call = genai.start(&Request { method: "POST", url, body: Some(body) }).unwrap();
/// call.response(200, &http::HeaderMap::new());
/// call.chunk(br#"{"id":"chatcmpl-1","choices":[{"index":0,"finish_reason":"#);
/// call.chunk(br#""stop","message":{"role":"assistant","content":"Hello!"}}]}"#);
/// call.end();
/// assert!(genai.start(&Request { method: "GET", url: "https://example.com/", body: None }).is_none());
/// ```
#[derive(Clone)]
pub struct Instrumentation {
    settings: Arc<Settings>,
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SCOPE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url("https://opentelemetry.io/schemas/1.41.0")
        .build()
}

impl Default for Instrumentation {
    fn default() -> Self {
        Self::new()
    }
}

impl Instrumentation {
    /// Creates an instrumentation with the global tracer provider; [`CAPTURE_VARIABLE`](crate::CAPTURE_VARIABLE) decides
    /// whether content is recorded.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder.
    pub fn builder() -> Builder {
        let settings = Settings {
            tracer: None,
            capture: Capture::NoContent,
            limits: Limits::default(),
            apis: Vec::new(),
            providers: Vec::new(),
            include_usage: false,
            propagate: false,
            interceptor: None,
            #[cfg(feature = "_playback")]
            timer: Timer::default(),
            #[cfg(feature = "metrics")]
            metrics: None,
        };
        Builder { settings, capture: None }
    }

    /// Begins the span of a model call, as a child of the current span. Returns `None` if the request is no model call.
    ///
    /// A request to a known path (`/chat/completions`) with a body of its form is a model call, whatever the host. The
    /// interceptor does not see the call; [`intercept`](Self::intercept) shows it.
    #[must_use]
    pub fn start(&self, request: &Request<'_>) -> Option<Call> {
        self.start_in(&Context::current(), request)
    }

    /// Begins the span of a model call, as a child of the span in this context.
    #[must_use]
    pub fn start_in(&self, parent: &Context, request: &Request<'_>) -> Option<Call> {
        if request.method != "POST" || parent.is_telemetry_suppressed() {
            return None;
        }
        let target = Target::of(request.url);
        let parsed = self.parse(&target, request.body).filter(|parsed| parsed.certain)?;
        Some(self.open(parent, parsed, &target, Vec::new(), None))
    }

    /// Parses a request to a known path; returns `None` if it is no model call.
    pub(crate) fn parse(&self, target: &Target<'_>, body: Option<&[u8]>) -> Option<ParsedRequest> {
        let own = self.settings.apis.iter().find_map(|api| Some((ApiRef::Custom(Arc::clone(api)), api.route(target)?)));
        let ours = || KNOWN.iter().filter_map(|api| Some((ApiRef::BuiltIn(*api), api.route(target)?)));
        let mut known = own.into_iter().chain(ours()).peekable();
        known.peek()?;
        let mut coding = body.map(coding::Decoder::of_request).unwrap_or_default();
        let unread_coding = coding.unread_coding().map(ToOwned::to_owned);
        let Some(bytes) = body.filter(|_| unread_coding.is_none()) else {
            let (api, route) = known.next()?;
            let mut facts = RequestFacts::default();
            api.api().request(target, &Json::Null, &mut facts);
            // If the body cannot be read, only a known host identifies a model call.
            let certain = self.provider(target).is_some();
            return Some(ParsedRequest { api, route, facts, cut: 0, certain, unread_coding });
        };
        let mut truncator = Truncator::new(truncation_limits(&self.settings, &[]));
        let mut document = Vec::new();
        let mut keep = |bytes: &[u8]| bytes.clone_into(&mut document);
        coding.push(bytes, &mut |bytes| truncator.push(bytes, &mut keep));
        coding.finish(&mut |bytes| truncator.push(bytes, &mut keep));
        truncator.finish(&mut keep);
        let lossy = String::from_utf8_lossy(&document);
        let json = Json::parse(lossy.as_bytes()).unwrap_or(Json::Null);
        let (api, route) = known.find(|(api, _)| api.api().accepts(&json))?;
        let mut facts = RequestFacts::default();
        api.api().request(target, &json, &mut facts);
        let cut = if self.settings.capture.is_on() { truncator.cut() } else { 0 };
        Some(ParsedRequest { api, route, facts, cut, certain: true, unread_coding: None })
    }

    /// Begins the span of a call without a request, for clients that do not expose theirs: the caller sets the known facts, and
    /// adds those of the response to [`Call::facts`].
    ///
    /// ```
    /// use opentelemetry_instrumentation_genai::{Instrumentation, Kind, Message, Operation, RequestFacts, Route};
    ///
    /// let genai = Instrumentation::new();
    /// let request = RequestFacts {
    ///     model: Some("house-1".into()),
    ///     messages: vec![Message::text("user", "hi")],
    ///     ..RequestFacts::default()
    /// };
    /// let mut call = genai.start_by_hand(Route::new(Operation::Chat, "house"), "http://localhost:7000", request);
    /// if let Some(facts) = call.facts() {
    ///     facts.usage.output = Some(3);
    ///     facts.choice(0).append(Kind::Text, "Hello!");
    ///     facts.choice(0).finish(Some("stop"));
    /// }
    /// call.end();
    /// ```
    #[must_use]
    pub fn start_by_hand(&self, route: Route, url: &str, facts: RequestFacts) -> Call {
        let parsed = ParsedRequest { api: ApiRef::None, route, facts, cut: 0, certain: true, unread_coding: None };
        self.open(&Context::current(), parsed, &Target::of(url), Vec::new(), None)
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    #[cfg(any(feature = "_reqwest", feature = "rig", feature = "tower"))]
    pub(crate) fn has_custom_route(&self, target: &Target<'_>) -> bool {
        self.settings.apis.iter().any(|api| api.route(target).is_some())
    }

    pub(crate) fn provider(&self, target: &Target<'_>) -> Option<String> {
        let stated = self.settings.providers.iter().find(|(place, _)| {
            let (host, port) = place.rsplit_once(':').unwrap_or((place, ""));
            host == target.host() && (port.is_empty() || port.parse() == Ok(target.port().unwrap_or(0)))
                || place == target.host()
        });
        stated.map(|(_, name)| name.clone()).or_else(|| host::provider(target).map(ToOwned::to_owned))
    }

    pub(crate) fn open(
        &self,
        parent: &Context,
        parsed: ParsedRequest,
        target: &Target<'_>,
        given: Vec<KeyValue>,
        observer: Option<Observer>,
    ) -> Call {
        let settings = &self.settings;
        let ParsedRequest { api, route, facts, cut, unread_coding, .. } = parsed;
        let operation: Operation = facts.operation.unwrap_or(route.operation);
        let provider = self.provider(target).unwrap_or_else(|| route.provider.to_owned());
        let name = match &facts.model {
            Some(model) => format!("{} {model}", operation.as_str()),
            None => operation.as_str().to_owned(),
        };
        let mut attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation.as_str()),
            KeyValue::new("gen_ai.provider.name", provider),
        ];
        if let Some(model) = &facts.model {
            attributes.push(KeyValue::new("gen_ai.request.model", model.clone()));
        }
        if !target.host().is_empty() {
            attributes.push(KeyValue::new("server.address", target.host().to_owned()));
            attributes.extend(target.port().map(|port| KeyValue::new("server.port", i64::from(port))));
        }
        let measured = settings.measures();
        let dimensions = if measured { attributes.clone() } else { Vec::new() };
        attributes::request(&facts, &mut attributes);
        attributes.extend(ambiguous_api(&api).map(|name| KeyValue::new("retrace.api", name)));
        attributes.extend(unread_coding.map(|coding| KeyValue::new("retrace.unread_request_body", coding)));
        attributes.extend(given);
        let global;
        let tracer = match &settings.tracer {
            Some(tracer) => tracer,
            None => {
                global = global::tracer_with_scope(scope());
                &global
            }
        };
        let started = Instant::now();
        let span = tracer
            .span_builder(name)
            .with_kind(SpanKind::Client)
            .with_attributes(attributes)
            .start_with_context(tracer, parent);
        let context = parent.with_span(span);
        let recording = context.span().is_recording();
        if !recording && !measured && observer.is_none() {
            return Call::new(context, None, None);
        }
        let capture = settings.capture.is_on() && recording;
        let stream = facts.stream;
        let choice_count = facts.choice_count;
        let mut omitted = OmittedBytes(cut);
        if capture {
            let mut content = Vec::new();
            attributes::input(facts, settings.limits.attribute, &mut content, &mut omitted);
            context.span().set_attributes(content);
        }
        let unread = api.api().unread();
        let mut response = ResponseFacts::new(capture, settings.limits.attribute);
        response.expect_choices(choice_count);
        let open = RecordingCall {
            settings: Arc::clone(settings),
            api,
            coding: coding::Decoder::default(),
            body: Body::new(truncation_limits(settings, unread)),
            facts: response,
            stream,
            status: None,
            started,
            first_chunk: None,
            omitted,
            dimensions,
        };
        Call::new(context, Some(Box::new(open)), observer)
    }
}

/// Returns the name of an API that provider, operation and `openai.api.type` do not name, since another API of the provider has
/// the same. A stored run is replayed in the format of this API.
fn ambiguous_api(api: &ApiRef) -> Option<&'static str> {
    const NAMED: [&str; 14] = [
        "openai.chat",
        "openai.responses",
        "openai.completions",
        "openai.embeddings",
        "anthropic.messages",
        "gemini.generate_content",
        "gemini.embed_content",
        "cohere.v2_chat",
        "cohere.embed",
        "ollama.chat",
        "ollama.generate",
        "ollama.embed",
        "huggingface.text_generation",
        "watsonx.text_generation",
    ];
    match api {
        // Converse has most of Bedrock's calls, and is what a reader takes a call for.
        ApiRef::BuiltIn(api) => Some(api.name()).filter(|name| *name != "bedrock.converse" && !NAMED.contains(name)),
        ApiRef::Custom(_) | ApiRef::None => None,
    }
}

/// A request to a known path.
pub(crate) struct ParsedRequest {
    pub(crate) api: ApiRef,
    pub(crate) route: Route,
    pub(crate) facts: RequestFacts,
    /// Number of bytes of content that are not in the facts.
    pub(crate) cut: u64,
    /// False if the request may be something else than a model call.
    pub(crate) certain: bool,
    /// Content coding of a body that was not read.
    pub(crate) unread_coding: Option<String>,
}

impl fmt::Debug for Instrumentation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { capture, limits, apis, .. } = &*self.settings;
        let mut formatter = formatter.debug_struct("Instrumentation");
        formatter.field("capture", capture).field("limits", limits).field("apis", apis).finish_non_exhaustive()
    }
}
