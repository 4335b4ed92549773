//! Interceptors: code that sees each model call before it is sent, and may answer or refuse it.
//!
//! An [`Interceptor`] is set with [`Builder::with_interceptor`](crate::Builder::with_interceptor). Every adapter shows it the
//! calls that [`Instrumentation::intercept`](crate::Instrumentation::intercept) finds to be model calls. The interceptor
//! returns an [`Action`]: the call is sent as it is, sent with another body, answered by a [`RecordedResponse`] or refused.
//! It then observes what comes of the calls that are sent. Without an interceptor a call costs one comparison more.
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use opentelemetry_instrumentation_genai::Instrumentation;
//! use opentelemetry_instrumentation_genai::interceptor::{Action, CallView, Interceptor, Refusal};
//!
//! /// Refuses every call beyond a number of them.
//! struct Ceiling {
//!     left: AtomicU64,
//! }
//!
//! impl Interceptor for Ceiling {
//!     fn before(&self, call: &CallView<'_>) -> Action {
//!         let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
//!         match left {
//!             Ok(_) => Action::Pass,
//!             Err(_) => Action::Refuse(Refusal::new(format!("no call is left for {}", call.provider))),
//!         }
//!     }
//! }
//!
//! let genai = Instrumentation::builder().with_interceptor(Ceiling { left: AtomicU64::new(10) }).build();
//! # drop(genai);
//! ```

mod observer;
#[cfg(feature = "_playback")]
mod playback;
mod recorded;
mod refusal;
#[cfg(feature = "_playback")]
mod timer;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry::Context;

use crate::request::{Operation, RequestFacts};
use crate::response::ResponseFacts;

pub(crate) use observer::Observer;
#[cfg(feature = "_playback")]
pub(crate) use playback::Playback;
#[cfg(feature = "_playback")]
pub use playback::PlaybackError;
pub use recorded::{Pace, RecordedResponse};
pub use refusal::Refusal;
#[cfg(any(feature = "rig", feature = "tower"))]
pub(crate) use timer::Sleep;
#[cfg(feature = "_playback")]
pub(crate) use timer::Timer;

/// Sees model calls before they are sent.
///
/// All methods are called on the application's threads and tasks, so they must not block. A panic in
/// [`before`](Self::before) refuses the call, and a panic in another method ends the observation of that call.
pub trait Interceptor: Send + Sync + 'static {
    /// Returns what calls below a context wait for before [`before`](Self::before) decides about them, such as the answer of a
    /// server. Adapters await it: those on `reqwest` and `rig` for each call, that on `tower` in `poll_ready`, for the context that is
    /// current there. [`Instrumentation::intercept`](crate::Instrumentation::intercept) blocks its thread until it is ready. By
    /// default nothing is waited for.
    fn ready(&self, context: &Context) -> Option<Ready> {
        let _ = context;
        None
    }

    /// Decides about a call. It is called once for each attempt that reaches the adapter, before the span of the call
    /// begins and before anything is sent.
    fn before(&self, call: &CallView<'_>) -> Action;

    /// Observes the head of the response to a call that was sent, `elapsed` after [`before`](Self::before) returned.
    fn response(&self, id: CallId, status: u16, headers: &HeaderMap, elapsed: Duration) {
        let _ = (id, status, headers, elapsed);
    }

    /// Observes a chunk of the response's body as the client receives it, `elapsed` after [`before`](Self::before)
    /// returned. The bytes are decompressed only where the client decompresses below the adapter.
    fn chunk(&self, id: CallId, bytes: &[u8], elapsed: Duration) {
        let _ = (id, bytes, elapsed);
    }

    /// Observes the end of a call that was sent. It is called once for each call that was passed, whatever becomes of it.
    fn end(&self, id: CallId, end: &CallEnd<'_>) {
        let _ = (id, end);
    }
}

/// Future that a call awaits before the interceptor decides about it.
pub type Ready = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Identifies a call within the process. No two calls share an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

impl CallId {
    /// The id as a number: 1 for the first call of the process.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    pub(crate) fn next() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A model call that is about to be sent.
/// `Debug` shows no credential and no content: names of headers, the URL without its secrets, the length of the body.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct CallView<'a> {
    /// Identifies the call in the later methods of the [`Interceptor`].
    pub id: CallId,
    /// The method of the request.
    pub method: &'a str,
    /// The URL of the request, absolute.
    pub url: &'a str,
    /// The headers of the request, credentials included. The client may add others below the adapter.
    pub headers: &'a HeaderMap,
    /// The body of the request.
    pub body: RequestContent<'a>,
    /// The API of the request: [`Api::name`](crate::Api::name).
    pub api: &'static str,
    /// The provider, as in `gen_ai.provider.name`.
    pub provider: &'a str,
    /// The operation, as in `gen_ai.operation.name`.
    pub operation: Operation,
    /// The model that is requested, where the request names one.
    pub model: Option<&'a str>,
    /// The parsed request. Texts are cut as on spans; without content capture at 512 bytes. Empty where the body is unread.
    pub facts: &'a RequestFacts,
    /// The OpenTelemetry context below which the call is made. It holds the parent span, not the span of the call.
    pub context: &'a Context,
}

impl fmt::Debug for CallView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallView")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("url", &genai_redact::url(self.url))
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body", &self.body)
            .field("api", &self.api)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Unread(reason) => f.debug_tuple("Unread").field(reason).finish(),
        }
    }
}

/// The body of a request, as far as the adapter has it before the request is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestContent<'a> {
    /// The whole body, as it is sent.
    Whole(&'a [u8]),
    /// The body was not read.
    Unread(UnreadReason),
}

impl<'a> RequestContent<'a> {
    /// The whole body, where it was read.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Whole(bytes) => Some(bytes),
            Self::Unread(_) => None,
        }
    }
}

/// Reason for which the body of a request was not read before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnreadReason {
    /// The body is a stream that the adapter cannot wait for.
    Streaming,
    /// The body is longer than this number of bytes.
    TooLong(usize),
}

impl fmt::Display for UnreadReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streaming => formatter.write_str("the request body is a stream"),
            Self::TooLong(limit) => write!(formatter, "the request body is longer than {limit} bytes"),
        }
    }
}

/// Decision on a call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Action {
    /// The request is sent as it is.
    #[default]
    Pass,
    /// The request is sent with this body. `Content-Length` is adjusted where the request has it.
    PassAltered(Bytes),
    /// The request is not sent; the client receives this response.
    Answer(RecordedResponse),
    /// The request is not sent; the client receives an error that it does not retry.
    Refuse(Refusal),
}

/// The end of a call that was sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEnd<'a> {
    /// The way in which the call ended.
    pub outcome: Outcome<'a>,
    /// Time since [`Interceptor::before`] returned.
    pub elapsed: Duration,
    /// Facts of the response: usage, model, finish reasons. It is filled for calls without a recorded span too.
    pub facts: &'a ResponseFacts,
    /// The context with the span of the call; that of the caller where the call has none.
    pub context: &'a Context,
}

/// The way in which a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// The body of the response ended.
    Complete,
    /// The call failed before the body ended: an error of the connection, a time limit. The name is of low cardinality.
    Failed(&'a str),
    /// The caller dropped the call before the body ended.
    Dropped,
}
