//! Refusals: calls that an interceptor does not let out.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use opentelemetry::KeyValue;

use super::RecordedResponse;

/// Reason for which an [`Interceptor`](super::Interceptor) does not let a call out.
///
/// It is the error that the client returns, or stands within it: [`Refusal::find`] gets it back. `tower` services have no
/// error for it, so they answer with [`Refusal::STATUS`] and a JSON error, and the refusal is among the response's extensions.
#[derive(Clone)]
pub struct Refusal {
    message: Cow<'static, str>,
    error_type: Cow<'static, str>,
    attributes: Vec<KeyValue>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Refusal {
    /// The status of a refusal where the client has no error for it: a status that clients do not retry. 408, 409, 425, 429
    /// and all from 500 on are retried by some.
    pub const STATUS: http::StatusCode = http::StatusCode::UNPROCESSABLE_ENTITY;

    /// Creates a refusal with a message for people.
    #[must_use]
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), error_type: Cow::Borrowed("refused"), attributes: Vec::new(), source: None }
    }

    /// Sets `error.type` of the span, a name of low cardinality. Default: `refused`.
    #[must_use]
    pub fn with_error_type(mut self, error_type: impl Into<Cow<'static, str>>) -> Self {
        self.error_type = error_type.into();
        self
    }

    /// Sets the error behind the refusal: its [`source`](Error::source).
    #[must_use]
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Adds an attribute to the span of the call.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value of `error.type`.
    #[must_use]
    pub fn error_type(&self) -> &str {
        &self.error_type
    }

    /// The attributes of the span.
    #[must_use]
    pub fn attributes(&self) -> &[KeyValue] {
        &self.attributes
    }

    /// Finds the refusal within a client's error: the error itself, or one of its sources.
    ///
    /// ```
    /// use opentelemetry_instrumentation_genai::interceptor::Refusal;
    ///
    /// let error: Box<dyn std::error::Error + Send + Sync> = Box::new(Refusal::new("over the ceiling"));
    /// assert_eq!(Refusal::find(&*error).map(Refusal::message), Some("over the ceiling"));
    /// ```
    #[must_use]
    pub fn find<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            next = match boxed(error) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }

    /// Returns the response that stands for the refusal where the client has no error for it.
    #[must_use]
    pub fn response(&self) -> RecordedResponse {
        let mut response = RecordedResponse::new(Self::STATUS);
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // The SDKs of OpenAI and Anthropic do what it states.
        response.headers.insert("x-should-retry", HeaderValue::from_static("false"));
        response.chunks.push((Duration::ZERO, self.body()));
        response
    }

    /// Returns the body of a response that stands for the refusal: a JSON object `error` with `message`, `type` and `code`.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let kind = &*self.error_type;
        serde_json::json!({ "error": { "message": &*self.message, "type": kind, "code": kind } }).to_string().into()
    }
}

/// The error within an error that passes on the source of what it holds, and so hides it.
#[cfg(feature = "async-openai")]
fn boxed<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<async_openai::error::OpenAIError>() {
        Some(async_openai::error::OpenAIError::Boxed(inner)) => Some(&**inner),
        _ => middleware(error),
    }
}

#[cfg(not(feature = "async-openai"))]
fn boxed<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    middleware(error)
}

#[cfg(feature = "reqwest-middleware")]
fn middleware<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match error.downcast_ref::<reqwest_middleware::Error>() {
        Some(reqwest_middleware::Error::Middleware(inner)) => Some(&**inner),
        _ => None,
    }
}

#[cfg(not(feature = "reqwest-middleware"))]
fn middleware<'e>(_: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    None
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
