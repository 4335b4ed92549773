//! Retrace's entry in `tracestate`, by which a caller announces that it records the trace.

use std::borrow::Cow;
use std::fmt::Write as _;

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _, TraceState};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::trace_context::context::{Announced, Received};

/// Key of the entry.
pub(crate) const KEY: &str = "retrace";
/// Version of the entry that is written. An entry of another version is not read.
const FORM: &str = "1";
/// Maximum characters of the entry, key included: longer entries are the first to be cut (level 2,
/// "tracestate Limits").
pub(crate) const MAX_ENTRY: usize = 128;

/// Characters that are percent-encoded in a text. They include `,` and `=`, which end values, and `;`, which
/// ends fields.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'/').remove(b'@');

/// Context of a trace that one service records in Retrace, announced to the next, so that the spans of both
/// join in one run.
///
/// It travels as the first entry of `tracestate`, which other systems pass on unread:
///
/// ```text
/// retrace=1;p:00f067aa0ba902b7;s:session-7;a:planner
/// ```
///
/// `1` is the version of the entry. The fields may be in any order and each may be missing; unknown ones are
/// skipped.
///
/// | field | content |
/// |---|---|
/// | `p` | the span of the run under which the callee's belong, 16 hex digits; without it, the parent of `traceparent` |
/// | `s` | the session id, percent-encoded |
/// | `a` | the agent id, percent-encoded |
///
/// The entry has 128 characters at most; a session or agent id that does not fit is left out. It never holds content of a
/// span, nor the API key.
///
/// # Sending
/// [`RetracePropagatorBuilder::with_runs`](crate::RetracePropagatorBuilder::with_runs) is called for each
/// outgoing call, and [`RemoteRunContext::announce`] sets it for one `Context`. A trace that is not sampled is not
/// announced, since it is not recorded.
///
/// # Receiving
/// Exporter and processor find it in the state of each span, whichever propagator extracted it, and let the
/// spans join the caller's run. [`RemoteRunContext::received`] returns it from the `Context` that this crate's
/// propagator extracted and from those made from it, [`RemoteRunContext::in_state`] from the state of a span. The
/// caller can state anything in it: a service that strangers call switches it off
/// ([`Builder::with_joined_runs`](crate::Builder::with_joined_runs)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteRunContext {
    span_id: Option<SpanId>,
    session_id: Option<String>,
    agent_id: Option<String>,
}

impl RemoteRunContext {
    /// Creates the context of a recorded trace, without further fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the span of the run under which the callee's spans belong: the nearest one that is sent to
    /// Retrace. By default a [`RetraceSpanProcessor`](crate::RetraceSpanProcessor) of this process that has
    /// the calling span sets it. Otherwise it is the calling span, which becomes part of the run: it gets the
    /// attribute [`attributes::OUTGOING_CALL`](crate::attributes::OUTGOING_CALL).
    #[must_use]
    pub fn with_span_id(mut self, span_id: SpanId) -> Self {
        self.span_id = (span_id != SpanId::INVALID).then_some(span_id);
        self
    }

    /// Sets the session of the run. Default: none. An empty id, or one with control characters, counts as
    /// none.
    #[must_use]
    pub fn with_session_id(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = Some(session_id.into()).filter(|id| is_id(id));
        self
    }

    /// Sets the calling agent. Default: none. The same ids as for the session count as none.
    #[must_use]
    pub fn with_agent_id(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into()).filter(|id| is_id(id));
        self
    }

    /// Returns the span of the run under which the callee's spans belong; `None` when it is the parent of
    /// `traceparent`.
    #[must_use]
    pub fn span_id(&self) -> Option<SpanId> {
        self.span_id
    }

    /// Returns the session of the run.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// Returns the agent that called.
    #[must_use]
    pub fn agent_id(&self) -> Option<&str> {
        self.agent_id.as_deref()
    }

    /// Returns a `Context` from which outgoing calls announce that the trace of its span is recorded.
    ///
    /// ```
    /// use opentelemetry::Context;
    /// use opentelemetry_retrace::RemoteRunContext;
    ///
    /// # let cx = Context::new();
    /// let cx = RemoteRunContext::new().with_session_id("session-7").announce(&cx);
    /// ```
    #[must_use]
    pub fn announce(self, cx: &Context) -> Context {
        let trace_id = cx.span().span_context().trace_id();
        cx.with_value(Announced { trace_id, run: self })
    }

    /// Returns the caller's announcement for the trace of this `Context`'s span.
    #[must_use]
    pub fn received(cx: &Context) -> Option<&Self> {
        Received::of(cx)?.run.as_ref()
    }

    /// Reads the caller's announcement from the state of a span. Spans hand it down to their children.
    ///
    /// ```
    /// use opentelemetry::trace::TraceState;
    /// use opentelemetry_retrace::RemoteRunContext;
    ///
    /// let state: TraceState = "retrace=1;s:session-7,other=x".parse()?;
    /// let run = RemoteRunContext::in_state(&state).expect("our entry");
    /// assert_eq!(run.session_id(), Some("session-7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn in_state(state: &TraceState) -> Option<Self> {
        Self::parse(state.get(KEY)?)
    }

    /// Fills the fields that are not set with those of `other`.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            span_id: self.span_id.or(other.span_id),
            session_id: self.session_id.or(other.session_id),
            agent_id: self.agent_id.or(other.agent_id),
        }
    }

    /// Parses the value of the entry. Invalid fields are skipped.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut fields = value.split(';');
        if fields.next() != Some(FORM) {
            return None;
        }
        let mut run = Self::new();
        for (name, text) in fields.filter_map(|field| field.split_once(':')) {
            match name {
                "p" => run.span_id = span_id(text).or(run.span_id),
                "s" => run.session_id = run.session_id.or_else(|| decoded(text)),
                "a" => run.agent_id = run.agent_id.or_else(|| decoded(text)),
                _ => {}
            }
        }
        Some(run)
    }

    /// Formats the value of the entry.
    pub(crate) fn to_value(&self) -> String {
        let mut value = FORM.to_owned();
        if let Some(span_id) = self.span_id {
            let _ = write!(value, ";p:{span_id}");
        }
        for (name, text) in [("s", &self.session_id), ("a", &self.agent_id)] {
            let Some(text) = text else { continue };
            let text = Cow::from(utf8_percent_encode(text, ENCODED));
            if KEY.len() + 1 + value.len() + 1 + name.len() + 1 + text.len() <= MAX_ENTRY {
                let _ = write!(value, ";{name}:{text}");
            }
        }
        value
    }
}

/// Returns true if a text can be an id: it is not empty and has no control characters.
fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    is_id(&text).then(|| text.into_owned())
}

fn span_id(text: &str) -> Option<SpanId> {
    let valid = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = valid.then(|| u64::from_str_radix(text, 16).ok())??;
    (id != 0).then(|| SpanId::from(id))
}
