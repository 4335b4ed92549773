//! Interceptor of the model calls of [`clients`](super::super::clients): answers, refuses and records them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::{SpanId, TraceContextExt as _};
use opentelemetry_instrumentation_genai::interceptor::{
    Action, CallEnd, CallId, CallView, Interceptor, Outcome as CallOutcome, Ready, RecordedResponse, Refusal,
};
use retrace_protocol::SpanType;
use retrace_replay::cassette::{Effects, Entry, Outcome, TokenCount};
use retrace_replay::replay::{Call, Decision};
use retrace_replay::{Chunk, EnforcementError, Response, StreamedCheck, response_tokens};
use serde_json::Value;

use super::limits::LimitState;
use super::position::{self, Owner, Position};
use super::recorder::{Begun, parsed};
use super::refusal::keep;
use super::session::Session;
use crate::enforcement::CheckedSpan;

/// Response headers that are recorded.
const RECORDED_HEADERS: [&str; 12] = [
    "content-type",
    "content-encoding",
    "content-language",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "x-request-id",
    "request-id",
    "openai-model",
    "openai-processing-ms",
    "x-amzn-requestid",
    "x-amzn-errortype",
];

/// Most bytes of a response body that are recorded.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Most chunks that are kept apart; later ones are appended to the last.
const MAX_CHUNKS: usize = 65_536;

/// Acts on model calls that belong to a replay, a recording or a ceiling.
#[derive(Debug, Default)]
pub(crate) struct SessionInterceptor {
    calls: Mutex<HashMap<CallId, Observed>>,
}

/// A call that was let out.
#[derive(Debug)]
struct Observed {
    session: Option<Arc<Session>>,
    limits: Option<Arc<LimitState>>,
    /// Span of the caller.
    parent: SpanId,
    ticket: usize,
    check: Option<StreamedCheck>,
    begun: Option<Begun>,
    endpoint: String,
    provider: String,
    model: Option<String>,
    response: Option<Response>,
    bytes: usize,
}

/// A call of a session that may go out.
struct Live {
    /// Absent where the body was not parsed.
    request: Option<Value>,
    /// Number of the call in the report.
    ticket: usize,
    /// Set where the tokens of the response are compared with recorded ones.
    check: Option<StreamedCheck>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Interceptor for SessionInterceptor {
    fn ready(&self, context: &Context) -> Option<Ready> {
        if !position::is_active() {
            return None;
        }
        context.get::<Position>()?.limits.as_ref()?.checks()?.ready()
    }

    fn before(&self, view: &CallView<'_>) -> Action {
        if !position::is_active() {
            return Action::Pass;
        }
        let position = match Position::owner(view.context) {
            Owner::Nobody => return Action::Pass,
            Owner::Known(position) => position,
            Owner::Unknown => {
                let message = "several replays are under way, and the call belongs to none of them: carry the context into its \
                               thread or task with `in_run()`, `retrace::spawn` or `retrace::thread`";
                return Action::Refuse(Refusal::new(message).with_error_type("replay_context"));
            }
        };
        let Some(session) = &position.session else {
            return self.pass(view, &position, None, None);
        };
        if !session.is_replay() {
            return self.pass(view, &position, Some(Live { request: None, ticket: usize::MAX, check: None }), None);
        }
        let request = view.body.bytes().map_or(Value::Null, parsed);
        let name = view.operation.as_str();
        let call = Call {
            lane: position.lane(),
            span_type: SpanType::LlmCall,
            name,
            model: view.model,
            request: request.clone(),
            effects: Effects::None,
            inner: None,
        };
        match session.decide(call) {
            Decision::Answer(entry) => {
                session.record_answer(&entry);
                answer(*entry, session)
            }
            Decision::Refuse(refused) => {
                let kind = refused.kind();
                Action::Refuse(keep(Refusal::new(refused.to_string()).with_error_type(kind).with_source(*refused)))
            }
            Decision::Live { altered, ticket, recorded_tokens } => {
                let check = (!recorded_tokens.is_empty()).then(|| StreamedCheck::new(recorded_tokens));
                self.pass(view, &position, Some(Live { request: Some(request), ticket, check }), altered)
            }
            other => {
                let message = format!("the decision {other:?} is not one about a model call");
                Action::Refuse(Refusal::new(message).with_error_type("replay_internal"))
            }
        }
    }

    fn response(&self, id: CallId, status: u16, headers: &HeaderMap, elapsed: Duration) {
        self.with(id, |observed| {
            let recorded = RECORDED_HEADERS.iter().flat_map(|name| {
                headers
                    .get_all(*name)
                    .iter()
                    .filter_map(|value| Some(((*name).to_owned(), value.to_str().ok()?.to_owned())))
            });
            observed.response =
                Some(Response { status, headers: recorded.collect(), head_ms: millis(elapsed), ..Response::default() });
        });
    }

    fn chunk(&self, id: CallId, bytes: &[u8], elapsed: Duration) {
        let mismatch = self.with(id, |observed| {
            observed.bytes = observed.bytes.saturating_add(bytes.len());
            let is_kept = observed.begun.is_some() || observed.check.is_some();
            if let Some(response) = &mut observed.response
                && is_kept
                && observed.bytes <= MAX_BODY_BYTES
            {
                let (ms, is_full) = (millis(elapsed), response.chunks.len() >= MAX_CHUNKS);
                match response.chunks.last_mut().filter(|_| is_full) {
                    Some(last) => last.bytes.extend_from_slice(bytes),
                    None if bytes.is_empty() => {}
                    None => response.chunks.push(Chunk { ms, bytes: bytes.to_vec() }),
                }
            }
            let report = observed.check.as_mut()?.push(bytes)?;
            observed.check = None;
            Some((observed.session.clone()?, observed.ticket, report))
        });
        if let Some((session, ticket, report)) = mismatch.flatten() {
            // What still comes of this response is not worth its price.
            session.end_verified(ticket, report);
            session.abort();
        }
    }

    fn end(&self, id: CallId, end: &CallEnd<'_>) {
        let observed = self.calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(observed) = observed {
            observed.end(end);
        }
    }
}

impl SessionInterceptor {
    fn with<R>(&self, id: CallId, observe: impl FnOnce(&mut Observed) -> R) -> Option<R> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&id).map(observe)
    }

    /// Lets a call out, unless a ceiling forbids it.
    fn pass(&self, view: &CallView<'_>, position: &Position, live: Option<Live>, altered: Option<Value>) -> Action {
        if let Some(limits) = &position.limits
            && let Err(error) = limits.begin()
        {
            return refuse(error);
        }
        let ticket = live.as_ref().map_or(usize::MAX, |live| live.ticket);
        let (request, check) = live.map(|live| (live.request, live.check)).unzip();
        let body = altered.as_ref().map(ToString::to_string);
        let begun = position.session.as_ref().zip(request).and_then(|(session, request)| {
            let (lane, name) = (position.lane(), view.operation.as_str());
            session.record(|recorder| match altered.or(request) {
                Some(request) => recorder.call(lane, SpanType::LlmCall, name, view.model, request),
                None => recorder.model_call(lane, name, view.model, view.body.bytes()),
            })
        });
        let observed = Observed {
            session: position.session.clone(),
            limits: position.limits.clone(),
            parent: view.context.span().span_context().span_id(),
            ticket,
            check: check.flatten(),
            begun,
            endpoint: format!("{} {}", view.method, view.url),
            provider: view.provider.to_owned(),
            model: view.model.map(ToOwned::to_owned),
            response: None,
            bytes: 0,
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(view.id, observed);
        match body {
            Some(body) => Action::PassAltered(body.into()),
            None => Action::Pass,
        }
    }
}

fn refuse(error: EnforcementError) -> Action {
    Action::Refuse(keep(Refusal::new(error.to_string()).with_error_type("enforcement").with_source(error)))
}

/// Answers with a recorded response; a recorded error of the client is an error again.
fn answer(entry: Entry, session: &Session) -> Action {
    let attributes = session.answer_attributes(&entry);
    let response = match entry.outcome {
        Outcome::Response(response) => response,
        Outcome::Error(error) => {
            let refusal = Refusal::new(format!("the recorded call failed: {error}")).with_error_type(error);
            return Action::Refuse(attributes.into_iter().fold(refusal, Refusal::with_attribute));
        }
        _ => {
            let message = format!("entry {} of the cassette holds no response; record it again", entry.ordinal);
            return Action::Refuse(Refusal::new(message).with_error_type("replay_not_replayable"));
        }
    };
    let Ok(status) = StatusCode::from_u16(response.status) else {
        let message =
            format!("entry {} of the cassette has status {}; record it again", entry.ordinal, response.status);
        return Action::Refuse(Refusal::new(message).with_error_type("replay_not_replayable"));
    };
    let mut recorded = RecordedResponse::new(status);
    for (name, value) in &response.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            recorded.headers.append(name, value);
        }
    }
    recorded.head_after = Duration::from_millis(response.head_ms);
    let chunks = response.chunks.into_iter();
    recorded.chunks = chunks.map(|Chunk { ms, bytes }| (Duration::from_millis(ms), bytes.into())).collect();
    recorded.broken = response.broken;
    recorded.pace = session.pace;
    recorded.attributes = attributes;
    Action::Answer(recorded)
}

impl Observed {
    fn end(self, end: &CallEnd<'_>) {
        let usage = &end.facts.usage;
        let (input, output) = (usage.all_input(), usage.all_output());
        let tokens = (input.is_some() || output.is_some())
            .then(|| TokenCount { input: input.unwrap_or(0), output: output.unwrap_or(0) });
        let total = tokens.map(|tokens| tokens.input.saturating_add(tokens.output));
        let needs_cost = self.begun.is_some()
            || self.limits.as_ref().is_some_and(|limits| limits.has_usd())
            || self.session.as_ref().is_some_and(|session| session.is_replay());
        let model = end.facts.model.as_deref().or(self.model.as_deref());
        let cost = match (needs_cost, model, tokens) {
            (true, Some(model), Some(tokens)) => super::price::price(&self.provider, model, tokens),
            _ => None,
        };
        if let Some(limits) = &self.limits {
            limits.add(total.unwrap_or(0), cost.unwrap_or(0.0));
            let span = end.context.span();
            let span = span.span_context();
            let span_id = if span.span_id() == self.parent { SpanId::INVALID } else { span.span_id() };
            limits.check(&CheckedSpan { trace_id: span.trace_id(), span_id, tool: None });
        }
        let Some(session) = self.session else { return };
        session.end_live(self.ticket, total, cost);
        let kept = self.response.as_ref().filter(|_| self.check.is_some() || self.begun.is_some());
        // The facts have none where no span is recorded.
        let ids = kept.map(response_tokens).unwrap_or_default();
        if let Some(check) = self.check {
            session.end_verified(self.ticket, check.finish(&ids));
        }
        let Some(begun) = self.begun else { return };
        let outcome = match (self.response, end.outcome) {
            _ if self.bytes > MAX_BODY_BYTES => {
                Outcome::NotReplayable(format!("the response is longer than {MAX_BODY_BYTES} bytes"))
            }
            (Some(response), CallOutcome::Complete) => Outcome::Response(response),
            (Some(response), CallOutcome::Failed(error)) => {
                Outcome::Response(Response { broken: Some(error.to_owned()), ..response })
            }
            (Some(response), _) => {
                Outcome::Response(Response { broken: Some("the caller dropped the response".to_owned()), ..response })
            }
            (None, CallOutcome::Failed(error)) => Outcome::Error(error.to_owned()),
            (None, _) => Outcome::NotReplayable("the call was dropped before a response came".to_owned()),
        };
        session.record(|recorder| {
            recorder.end(begun, outcome, |entry| {
                entry.endpoint = Some(self.endpoint);
                entry.tokens = tokens;
                entry.cost_usd = cost;
                entry.token_ids = ids;
            });
        });
    }
}
