//! Steps whose recorded result is used instead of executing them.

use std::fmt::{self, Display};
use std::future::{Future, pending};
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::resume_unwind;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_retrace::__private::NOT_SENT;
use retrace_protocol::{Json, SpanType};
use retrace_replay::Lane;
use retrace_replay::cassette::{Effects, Entry, Outcome};
use retrace_replay::replay::{Call, Decision, RefusalReason, Refused};
use retrace_replay::report::CallId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::recorded::Innermost;
use crate::replay::position::Position;
use crate::replay::{Aborted, Begun, Session};

/// Error of a step that a replay answers: it failed in the recording, or is refused.
///
/// The error type of a `replay` step needs `From<StepError>`, or `Serialize` and `Deserialize`. `String`, `Box<dyn Error>` and the
/// usual error wrappers have the first.
#[derive(Clone)]
pub struct StepError {
    kind: StepErrorKind,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[derive(Clone, Debug)]
enum StepErrorKind {
    Recorded(String),
    Refused(Box<Refused>),
}

impl StepError {
    pub(crate) fn recorded(message: &str) -> Self {
        Self { kind: StepErrorKind::Recorded(message.to_owned()) }
    }

    pub(crate) fn refused(refused: Box<Refused>) -> Self {
        Self { kind: StepErrorKind::Refused(refused) }
    }

    /// Returns the reason of the replay; `None` for an error that the step had in the recording.
    #[must_use]
    pub fn replay(&self) -> Option<&Refused> {
        match &self.kind {
            StepErrorKind::Refused(refused) => Some(refused),
            StepErrorKind::Recorded(_) => None,
        }
    }
}

impl Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            StepErrorKind::Recorded(message) => f.write_str(message),
            StepErrorKind::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for StepError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.replay().map(|refused| refused as &(dyn std::error::Error + 'static))
    }
}

impl From<StepError> for String {
    fn from(error: StepError) -> Self {
        error.to_string()
    }
}

/// Conversion of a step's result into an entry and back.
#[diagnostic::on_unimplemented(
    message = "the result of a `replay` step is recorded and read back, and `{T}` cannot be",
    note = "implement `serde::Serialize` and `serde::Deserialize` for it; an error type may implement `From<retrace::StepError>` instead"
)]
pub trait Codec<T> {
    /// Converts a result.
    ///
    /// # Errors
    /// The reason why it cannot be recorded.
    fn encode(&self, value: &T) -> Result<Recordable, String>;

    /// Reads a result back.
    ///
    /// # Errors
    /// The reason why it cannot be read.
    fn decode(&self, outcome: &Outcome) -> Result<T, String>;

    /// Converts a refusal into a result. `None` for a type that has no error to state it by.
    fn refuse(&self, error: StepError) -> Option<T>;
}

/// Result of a step as it is recorded.
#[derive(Debug)]
pub struct Recordable(Outcome);

/// Codec of values that are `Serialize` and `Deserialize`.
#[derive(Debug)]
pub struct BySerde;

/// Codec of a `Result` whose error is made of its message.
#[derive(Debug)]
pub struct ByMessage;

fn read<T: DeserializeOwned>(outcome: &Outcome) -> Result<T, String> {
    match outcome {
        Outcome::Value(value) => {
            serde_json::from_str(value.as_str()).map_err(|error| format!("the recorded result does not fit: {error}"))
        }
        Outcome::Error(error) => {
            Err(format!("the recorded step failed, and its type has no error to state it by: {error}"))
        }
        _ => Err("the entry holds no result".to_owned()),
    }
}

fn write<T: Serialize>(value: &T) -> Result<Recordable, String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    let value = Json::parse_strict(&text).ok_or("the result is not JSON that every reader takes")?;
    Ok(Recordable(Outcome::Value(value)))
}

impl<T: Serialize + DeserializeOwned> Codec<T> for BySerde {
    fn encode(&self, value: &T) -> Result<Recordable, String> {
        write(value)
    }

    fn decode(&self, outcome: &Outcome) -> Result<T, String> {
        read(outcome)
    }

    fn refuse(&self, _: StepError) -> Option<T> {
        None
    }
}

impl<T: Serialize + DeserializeOwned, E: From<StepError> + Display> Codec<Result<T, E>> for ByMessage {
    fn encode(&self, value: &Result<T, E>) -> Result<Recordable, String> {
        match value {
            Ok(value) => write(value),
            Err(error) => Ok(Recordable(Outcome::Error(format!("{error:#}")))),
        }
    }

    fn decode(&self, outcome: &Outcome) -> Result<Result<T, E>, String> {
        match outcome {
            Outcome::Error(error) => Ok(Err(StepError::recorded(error).into())),
            outcome => read(outcome).map(Ok),
        }
    }

    fn refuse(&self, error: StepError) -> Option<Result<T, E>> {
        Some(Err(error.into()))
    }
}

/// Finds the codec of a type: that of a `Result` by its message where its parts allow it, else that by serde.
#[derive(Debug)]
pub struct CodecOf<T>(CodecBySerde<T>);

/// Codec of any type.
#[derive(Debug)]
pub struct CodecBySerde<T>(PhantomData<fn() -> T>);

impl<T> CodecOf<T> {
    /// Makes one of a type.
    #[must_use]
    pub fn new() -> Self {
        Self(CodecBySerde(PhantomData))
    }
}

impl<T> Default for CodecOf<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned, E: From<StepError> + Display> CodecOf<Result<T, E>> {
    /// Returns the codec.
    #[must_use]
    pub fn codec(&self) -> ByMessage {
        ByMessage
    }
}

impl<T> CodecBySerde<T> {
    /// Returns the codec.
    #[must_use]
    pub fn codec(&self) -> BySerde {
        BySerde
    }
}

impl<T> Deref for CodecOf<T> {
    type Target = CodecBySerde<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A step that a session decides about.
#[derive(Debug)]
pub(crate) struct MemoCall {
    session: Arc<Session>,
    /// Lane inside of the step.
    inner: Lane,
    span_type: SpanType,
    effects: Effects,
    request: Value,
}

/// Decision on a step.
pub(crate) enum Decided<T> {
    /// It is executed, with these arguments where they are given, and recorded.
    Execute(Box<Execution>, Option<Value>),
    /// It has this result.
    Give(T),
    /// The run ends here.
    Abort(Arc<Session>),
}

/// A step that is executed. Dropped before its end it is recorded as not replayable.
#[derive(Debug)]
pub(crate) struct Execution {
    session: Arc<Session>,
    begun: Option<Begun>,
    call: CallId,
    step: u32,
    effects: Effects,
}

impl MemoCall {
    /// Describes the step of this context, if a replay or a recording is under way.
    pub(crate) fn of(cx: &Context, span_type: SpanType, effects: Effects, request: Value) -> Option<Self> {
        let position = cx.get::<Position>()?;
        let session = Arc::clone(position.session.as_ref()?);
        Some(Self { session, inner: position.lane().clone(), span_type, effects, request })
    }

    pub(crate) fn decide<T>(self, codec: &impl Codec<T>) -> Decided<T> {
        let Self { session, inner, span_type, effects, request } = self;
        let depth = inner.segments().len().saturating_sub(1);
        let lane = inner.truncated(depth);
        let Some(own) = inner.segments().last() else {
            let call = CallId::default();
            return Decided::Execute(Box::new(Execution { session, begun: None, call, step: 0, effects }), None);
        };
        let call = Call {
            lane: &lane,
            span_type,
            name: &own.name,
            model: None,
            request: request.clone(),
            effects,
            inner: Some(&inner),
        };
        let decision = session.decide(call);
        let attributes = match &decision {
            Decision::Answer(entry) => session.answer_attributes(entry),
            _ => Vec::new(),
        };
        if session.leaves_out_recorded() {
            release_start(attributes.iter().all(|attribute| attribute.key.as_str() != NOT_SENT));
        }
        match decision {
            Decision::Answer(entry) => match codec.decode(&entry.outcome) {
                Ok(value) => {
                    session.record_answer(&entry);
                    Context::map_current(|cx| cx.span().set_attributes(attributes));
                    Decided::Give(value)
                }
                Err(reason) => unusable(&session, &entry, codec, reason),
            },
            Decision::Substitute(value) => {
                let outcome = Outcome::Value(Json::from_serialize(&value));
                match codec.decode(&outcome) {
                    Ok(given) => {
                        let execution =
                            Execution::begin(&session, &lane, span_type, &own.name, request, own.ordinal, effects);
                        execution.end(Ok(Recordable(outcome)));
                        Decided::Give(given)
                    }
                    Err(reason) => {
                        let entry = Entry::new(span_type, &*own.name, Json::null());
                        unusable(&session, &entry, codec, reason)
                    }
                }
            }
            Decision::Refuse(refused) => refuse(session, codec, refused),
            Decision::Live { altered, .. } => {
                let request = altered.clone().unwrap_or(request);
                let execution = Execution::begin(&session, &lane, span_type, &own.name, request, own.ordinal, effects);
                Decided::Execute(Box::new(execution), altered)
            }
            _ => Decided::Abort(session),
        }
    }
}

/// Lets the start of the current step go on, or drops it.
fn release_start(keeps: bool) {
    if let Some(Innermost(recorded)) = Context::map_current(|cx| cx.get::<Innermost>().cloned()) {
        recorded.release_start(keeps);
    }
}

fn refuse<T>(session: Arc<Session>, codec: &impl Codec<T>, refused: Box<Refused>) -> Decided<T> {
    match codec.refuse(StepError::refused(refused)) {
        Some(value) => Decided::Give(value),
        None => Decided::Abort(session),
    }
}

/// A recorded result that the type of the step cannot hold.
fn unusable<T>(session: &Arc<Session>, entry: &Entry, codec: &impl Codec<T>, reason: String) -> Decided<T> {
    let refused = session.poison_with(CallId::of_entry(entry), RefusalReason::NotReplayable(reason));
    refuse(Arc::clone(session), codec, refused)
}

impl Execution {
    fn begin(
        session: &Arc<Session>,
        lane: &Lane,
        span_type: SpanType,
        name: &str,
        request: Value,
        step: u32,
        effects: Effects,
    ) -> Self {
        let begun = session.record(|recorder| recorder.call(lane, span_type, name, None, request));
        let lane = lane.to_string();
        let call = CallId { ordinal: None, lane, span_type: span_type.as_str(), name: name.to_owned() };
        Self { session: Arc::clone(session), begun, call, step, effects }
    }

    /// Refuses the arguments that the fork gives.
    fn refuse<T>(&self, codec: &impl Codec<T>, reason: String) -> Decided<T> {
        let refused = self.session.poison_with(self.call.clone(), RefusalReason::Substitution(reason));
        refuse(Arc::clone(&self.session), codec, refused)
    }

    /// Records the result.
    pub(crate) fn end(mut self, result: Result<Recordable, String>) {
        self.record(match result {
            Ok(Recordable(outcome)) => outcome,
            Err(reason) => Outcome::NotReplayable(reason),
        });
    }

    fn record(&mut self, outcome: Outcome) {
        if let Some(begun) = self.begun.take() {
            let (step, effects) = (self.step, self.effects);
            self.session.record(|recorder| {
                recorder.end(begun, outcome, |entry| {
                    entry.step = Some(step);
                    entry.effects = Some(effects);
                });
            });
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        self.record(Outcome::NotReplayable("the step was cancelled or panicked".to_owned()));
    }
}

/// Ends the run of a step that cannot state its refusal: the future stays pending, and `run` returns the refusal.
pub(crate) async fn abort<T>(session: Arc<Session>) -> T {
    session.abort();
    pending().await
}

/// Ends the run of a step that is not `async`: unwinds to `run`, which returns the refusal.
pub(crate) fn abort_sync(session: &Session) -> ! {
    session.abort();
    resume_unwind(Box::new(Aborted))
}

/// Runs a step, or gives its recorded result.
pub(crate) async fn memoised<F: Future>(memo: Option<MemoCall>, body: F, codec: impl Codec<F::Output>) -> F::Output {
    let Some(memo) = memo else { return body.await };
    match without_arguments(memo.decide(&codec), &codec) {
        Decided::Execute(execution, _) => {
            let value = body.await;
            execution.end(codec.encode(&value));
            value
        }
        Decided::Give(value) => value,
        Decided::Abort(session) => abort(session).await,
    }
}

/// Runs a step with its arguments or those that a fork gives, or gives its recorded result.
pub(crate) async fn memoised_with<I, F>(
    memo: Option<MemoCall>,
    arguments: I,
    body: impl FnOnce(I) -> F,
    codec: impl Codec<F::Output>,
) -> F::Output
where
    I: DeserializeOwned,
    F: Future,
{
    let Some(memo) = memo else { return body(arguments).await };
    match memo.decide(&codec) {
        Decided::Execute(execution, altered) => {
            let arguments = match altered.map(serde_json::from_value) {
                None => arguments,
                Some(Ok(altered)) => altered,
                Some(Err(error)) => {
                    let reason = format!("the arguments of the fork do not fit the step: {error}");
                    return match execution.refuse(&codec, reason) {
                        Decided::Give(value) => value,
                        Decided::Execute(..) | Decided::Abort(_) => abort(execution.session.clone()).await,
                    };
                }
            };
            let value = body(arguments).await;
            execution.end(codec.encode(&value));
            value
        }
        Decided::Give(value) => value,
        Decided::Abort(session) => abort(session).await,
    }
}

/// Refuses arguments of a fork for a step that cannot take them.
fn without_arguments<T>(decided: Decided<T>, codec: &impl Codec<T>) -> Decided<T> {
    match decided {
        Decided::Execute(execution, Some(_)) => {
            let reason =
                "its arguments cannot be replaced: only a step that is made with `memo_with` takes other arguments";
            execution.refuse(codec, reason.to_owned())
        }
        decided => decided,
    }
}

/// Runs a step that is not `async`, or gives its recorded result.
pub(crate) fn memoised_sync<T>(memo: Option<MemoCall>, body: impl FnOnce() -> T, codec: &impl Codec<T>) -> T {
    let Some(memo) = memo else { return body() };
    match without_arguments(memo.decide(codec), codec) {
        Decided::Execute(execution, _) => {
            let value = body();
            execution.end(codec.encode(&value));
            value
        }
        Decided::Give(value) => value,
        Decided::Abort(session) => abort_sync(&session),
    }
}
