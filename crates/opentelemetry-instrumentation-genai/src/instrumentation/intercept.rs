//! Calls shown to the interceptor before they are sent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use bytes::Bytes;
use http::HeaderMap;
use opentelemetry::Context;

use crate::call::Call;
use crate::instrumentation::{Instrumentation, Request};
#[cfg(any(feature = "_reqwest", feature = "rig", feature = "tower"))]
use crate::interceptor::Timer;
use crate::interceptor::{
    Action, CallId, CallView, Interceptor, Observer, Ready, Refusal, RequestContent, UnreadReason,
};
use crate::url::Target;

impl Instrumentation {
    /// Begins the span of a model call as [`start`](Self::start) does, and returns what becomes of the call: what the
    /// interceptor decides, else [`Action::Pass`]. `None` for what is no model call. `headers` are those of the request.
    ///
    /// A client with an adapter of its own does what the action states:
    ///
    /// ```
    /// use http::HeaderMap;
    /// use opentelemetry_instrumentation_genai::interceptor::Action;
    /// use opentelemetry_instrumentation_genai::{Instrumentation, Request};
    ///
    /// # fn send(_: &[u8]) -> Result<(u16, Vec<u8>), Box<dyn std::error::Error>> { Ok((200, b"{}".to_vec())) }
    /// fn complete(genai: &Instrumentation, body: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    ///     let url = "https://api.openai.com/v1/chat/completions";
    ///     let request = Request { method: "POST", url, body: Some(body) };
    ///     let Some((mut call, action)) = genai.intercept(&request, &HeaderMap::new()) else {
    ///         return Ok(send(body)?.1);
    ///     };
    ///     let (status, answer) = match action {
    ///         Action::Answer(recorded) => (recorded.status.as_u16(), recorded.body().to_vec()),
    ///         Action::Refuse(refusal) => {
    ///             call.refuse(&refusal);
    ///             return Err(refusal.into());
    ///         }
    ///         Action::PassAltered(altered) => send(&altered)?,
    ///         _ => send(body)?,
    ///     };
    ///     call.response(status, &HeaderMap::new());
    ///     call.chunk(&answer);
    ///     call.end();
    ///     Ok(answer)
    /// }
    /// # let body = br#"{"model":"gpt-4o-mini","messages":[]}"#;
    /// # assert_eq!(complete(&Instrumentation::new(), body).unwrap(), b"{}");
    /// ```
    ///
    /// Blocks the thread where the interceptor has calls wait, see [`Interceptor::ready`]; async code awaits
    /// [`ready`](Self::ready) before, or calls [`intercept_in`](Self::intercept_in) after it.
    #[must_use]
    #[inline]
    pub fn intercept(&self, request: &Request<'_>, headers: &HeaderMap) -> Option<(Call, Action)> {
        let parent = Context::current();
        if let Some(ready) = self.ready(&parent) {
            block_on(ready);
        }
        self.intercept_in(&parent, request, headers, UnreadReason::Streaming)
    }

    /// Returns what calls below a context wait for, see [`Interceptor::ready`]; mostly nothing.
    #[must_use]
    #[inline]
    pub fn ready(&self, context: &Context) -> Option<Ready> {
        let interceptor = self.settings().interceptor.as_ref()?;
        // A panic ends the waiting; the interceptor may still decide.
        catch_unwind(AssertUnwindSafe(|| interceptor.ready(context))).ok().flatten()
    }

    /// Begins the span of a model call as a child of the span in this context, without waiting for [`ready`](Self::ready).
    /// `unread` is the reason for an absent body.
    #[must_use]
    #[inline]
    pub fn intercept_in(
        &self,
        parent: &Context,
        request: &Request<'_>,
        headers: &HeaderMap,
        unread: UnreadReason,
    ) -> Option<(Call, Action)> {
        match &self.settings().interceptor {
            Some(interceptor) => self.show(interceptor, parent, request, headers, unread),
            None => {
                let call = self.start_in(parent, request)?;
                let altered = self.rewritten_body(request).map(Bytes::from);
                Some((call, altered.map_or(Action::Pass, Action::PassAltered)))
            }
        }
    }

    /// Shows a call to the interceptor. Kept out of line, because most calls have no interceptor.
    #[inline(never)]
    fn show(
        &self,
        interceptor: &Arc<dyn Interceptor>,
        parent: &Context,
        request: &Request<'_>,
        headers: &HeaderMap,
        unread: UnreadReason,
    ) -> Option<(Call, Action)> {
        if request.method != "POST" {
            return None;
        }
        let target = Target::of(request.url);
        let mut parsed = self.parse(&target, request.body)?;
        let id = CallId::next();
        let provider = self.provider(&target).unwrap_or_else(|| parsed.route.provider.to_owned());
        let view = CallView {
            id,
            method: request.method,
            url: request.url,
            headers,
            body: request.body.map_or(RequestContent::Unread(unread), RequestContent::Whole),
            api: parsed.api.api().name(),
            provider: &provider,
            operation: parsed.facts.operation.unwrap_or(parsed.route.operation),
            model: parsed.facts.model.as_deref(),
            facts: &parsed.facts,
            context: parent,
        };
        let decided = catch_unwind(AssertUnwindSafe(|| interceptor.before(&view)));
        let mut action = decided.unwrap_or_else(|_| {
            Action::Refuse(Refusal::new("the interceptor panicked").with_error_type("interceptor_panic"))
        });
        if let Action::PassAltered(body) = &action {
            // The span describes the request that is sent. A body that no longer belongs to the API keeps the first facts.
            parsed = self.parse(&target, Some(body)).unwrap_or(parsed);
        }
        let attributes = match &mut action {
            Action::Answer(recorded) => std::mem::take(&mut recorded.attributes),
            Action::Refuse(refusal) => refusal.attributes().to_vec(),
            Action::Pass | Action::PassAltered(_) => Vec::new(),
        };
        let observer = match &action {
            Action::Pass | Action::PassAltered(_) => Some(Observer::new(Arc::clone(interceptor), id)),
            Action::Answer(_) | Action::Refuse(_) => None,
        };
        // A request that may be something else gets no span when it is sent, and neither does one in a suppressed context.
        let call = if parent.is_telemetry_suppressed() || !parsed.certain && observer.is_some() {
            Call::spanless(parent.clone(), observer)
        } else {
            self.open(parent, parsed, &target, attributes, observer)
        };
        let sent = match &action {
            Action::Pass => request.body,
            Action::PassAltered(body) => Some(&**body),
            Action::Answer(_) | Action::Refuse(_) => None,
        };
        if let Some(altered) = self.rewritten_body(&Request { body: sent, ..*request }) {
            action = Action::PassAltered(altered.into());
        }
        Some((call, action))
    }

    /// Returns true if an interceptor is set: bodies are worth waiting for.
    #[cfg(feature = "_reqwest")]
    pub(crate) fn intercepts(&self) -> bool {
        self.settings().interceptor.is_some()
    }

    #[cfg(any(feature = "_reqwest", feature = "rig", feature = "tower"))]
    pub(crate) fn timer(&self) -> Timer {
        self.settings().timer.clone()
    }
}

/// Wakes a thread that is blocked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks the thread until a call may be decided about.
#[cold]
fn block_on(mut ready: Ready) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    while ready.as_mut().poll(&mut context).is_pending() {
        thread::park();
    }
}
