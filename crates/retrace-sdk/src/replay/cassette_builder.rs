//! Builders of replays and recordings.

use std::fmt::{self, Display};
use std::fs::File;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

pub use opentelemetry_instrumentation_genai::interceptor::Pace;
use opentelemetry_retrace::Record;
use retrace_protocol::golden::GoldenStep;
use retrace_protocol::{Id, Span, Status, Timestamp};
use retrace_replay::Tolerance;
use retrace_replay::cassette::{Cassette, CassetteError, Header, Origin};
use retrace_replay::golden;
use retrace_replay::render::project;
use retrace_replay::replay::{Fork, ForkPoint, Mode, Normalize, Options, Refused, Replay, Substitutions};
use retrace_replay::report::Report;
use serde::Serialize;
use serde_json::Value;

use super::recorder::{Recorder, RedactHook};
use super::replaced_file::ReplacedFile;
use super::run::Entered;
use super::session::Session;
use crate::installed::{BeforeSend, Hook, Installed};

/// Begins to describe a replay: model calls by [`clients`](super::super::clients) and `replay` steps are answered from the cassette.
///
/// Strict by default: a call that the cassette does not answer is refused, and the run fails.
///
/// ```no_run
/// # async fn research(_: &str) -> String { String::new() }
/// # async fn example() -> Result<(), retrace::ReplayError> {
/// let replayed = retrace::replay("research.jsonl").run(async { research("tides").await }).await?;
/// println!("{}", replayed.report);
/// # Ok(())
/// # }
/// ```
pub fn replay(cassette: impl AsRef<Path>) -> ReplayBuilder {
    ReplayBuilder {
        cassette: cassette.as_ref().to_owned(),
        opened: None,
        options: Options::default(),
        substitutions: Substitutions::default(),
        at: None,
        pace: Pace::Instant,
        leaves_out_recorded: false,
        is_one_run: false,
        recording: None,
    }
}

/// Begins to describe a recording: model calls by [`clients`](super::super::clients) and `replay` steps are written to a cassette, which
/// replaces the file at `path`, without a question, when the run has ended. A test that must not replace its cassette by itself is
/// `#[retrace::test]`, which records only where `RETRACE_CASSETTE` states it.
///
/// ```no_run
/// # async fn research(_: &str) -> String { String::new() }
/// # async fn example() -> Result<(), retrace::ReplayError> {
/// let recorded = retrace::record_cassette("research.jsonl").run(async { research("tides").await }).await?;
/// println!("{}", recorded.value);
/// # Ok(())
/// # }
/// ```
pub fn record_cassette(path: impl AsRef<Path>) -> RecordingBuilder {
    RecordingBuilder { path: path.as_ref().to_owned(), name: String::new(), redact: None, normalize: None }
}

/// Describes a replay; made by [`replay`].
#[must_use = "a replay does nothing until something is run in it"]
pub struct ReplayBuilder {
    cassette: PathBuf,
    opened: Option<Cassette>,
    options: Options,
    at: Option<ForkPoint>,
    substitutions: Substitutions,
    pace: Pace,
    leaves_out_recorded: bool,
    is_one_run: bool,
    recording: Option<RecordingBuilder>,
}

/// Describes a recording; made by [`record_cassette`].
#[must_use = "a recording does nothing until something is run in it"]
pub struct RecordingBuilder {
    path: PathBuf,
    name: String,
    redact: Option<RedactHook>,
    normalize: Option<Normalize>,
}

/// Value that a replayed run returned, with the report.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replayed<T> {
    /// Value that the run returned.
    pub value: T,
    /// What was answered, what was live, and where the run diverged.
    pub report: Report,
}

/// Value that a recorded run returned, with the file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedCassette<T> {
    /// Value that the run returned.
    pub value: T,
    /// Cassette.
    pub path: PathBuf,
}

/// A replay or a recording that failed.
#[non_exhaustive]
pub enum ReplayError {
    /// The cassette cannot be read or written.
    Cassette(CassetteError),
    /// The cassette has no such fork point, or the like.
    Replay(retrace_replay::replay::ReplayError),
    /// A call was refused, whatever the run made of it.
    Refused {
        /// Call, and why.
        refused: Box<Refused>,
        /// Report of the run.
        report: Box<Report>,
    },
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cassette(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
            Self::Refused { refused, .. } => refused.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cassette(error) => Some(error),
            Self::Replay(error) => Some(error),
            Self::Refused { refused, .. } => Some(refused),
        }
    }
}

impl From<CassetteError> for ReplayError {
    fn from(error: CassetteError) -> Self {
        Self::Cassette(error)
    }
}

impl From<retrace_replay::replay::ReplayError> for ReplayError {
    fn from(error: retrace_replay::replay::ReplayError) -> Self {
        match error {
            retrace_replay::replay::ReplayError::Cassette(error) => Self::Cassette(error),
            error => Self::Replay(error),
        }
    }
}

impl ReplayBuilder {
    /// Refuses calls that the cassette does not answer. The default.
    pub fn strict(mut self) -> Self {
        self.options.mode = Mode::Strict;
        self
    }

    /// Answers a changed call by the nearest unused entry, and lets a call out for which no entry is left. The report states both.
    pub fn lenient(mut self) -> Self {
        self.options.mode = Mode::Lenient;
        self
    }

    pub(crate) fn update(mut self) -> Self {
        self.options.mode = Mode::Update;
        self
    }

    /// Answers from a cassette that is open, in the place of the file.
    pub fn cassette(mut self, cassette: Cassette) -> Self {
        self.opened = Some(cassette);
        self
    }

    /// Answers what comes before this point, and is live from there on.
    pub fn from(mut self, at: impl Into<ForkPoint>) -> Self {
        self.at = Some(at.into());
        self
    }

    /// Changes a value of the request of the model call at the fork point, by dotted path.
    ///
    /// A change that cannot be applied is an error of [`ReplayBuilder::run`], and so is one that was not applied when the run ends:
    /// the function made no call at the fork point, or it is a step without `replay`, which is executed by itself.
    ///
    /// ```
    /// use retrace::ForkPoint;
    ///
    /// let fork = retrace::replay("research.jsonl").from(ForkPoint::ModelCall(2)).set("messages.1.content", "storms");
    /// ```
    pub fn set(mut self, path: impl Into<String>, value: impl Serialize) -> Self {
        self.substitutions.edits.push((path.into(), json(value)));
        self
    }

    /// Replaces the conversation of the request at the fork point.
    pub fn messages(mut self, messages: impl Serialize) -> Self {
        self.substitutions.messages = Some(json(messages));
        self
    }

    /// Replaces the model of the request at the fork point.
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.substitutions.model = Some(model.into());
        self
    }

    /// Sets a member of the request at the fork point, such as `temperature`.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Serialize) -> Self {
        self.substitutions.parameters.insert(name.into(), json(value));
        self
    }

    /// Replaces the arguments of the tool step at the fork point, which is then executed. The step is made with
    /// [`memo_with`](crate::StepBuilder::memo_with), which is given its arguments; any other step is refused.
    pub fn tool_arguments(mut self, arguments: impl Serialize) -> Self {
        self.substitutions.tool_arguments = Some(json(arguments));
        self
    }

    /// Replaces the result of the tool step at the fork point, which is not executed. The step is recorded with `replay`, or made with
    /// [`memo`](crate::StepBuilder::memo) or [`memo_with`](crate::StepBuilder::memo_with); any other step is refused.
    pub fn tool_output(mut self, output: impl Serialize) -> Self {
        self.substitutions.tool_output = Some(json(output));
        self
    }

    /// Lets a step with effects on the world run after the fork point with other arguments than recorded.
    pub fn allow_external(mut self, name: impl Into<String>) -> Self {
        self.options.allowed.insert(name.into());
        self
    }

    /// Changes requests before they are compared, recorded and live ones alike.
    pub fn normalize(mut self, normalize: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.options.normalize = Some(Arc::new(normalize));
        self
    }

    /// Sets which differences are no divergence. Default: none.
    pub fn tolerance(mut self, tolerance: Tolerance) -> Self {
        self.options.tolerance = tolerance;
        self
    }

    /// Makes the recorded model calls again, live, and compares the token ids of their responses with the recorded ones. At the first
    /// mismatch the run ends: of a stream at the event that differs. It costs what the calls cost. Needs a provider that sends token ids.
    pub fn verify(mut self) -> Self {
        self.options.verify = true;
        self
    }

    /// Sets how fast responses are delivered. Default: at once.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Keeps the spans of what is answered before the fork point from Retrace, which has them in the run that is forked; without a
    /// fork point, those of all that is answered. They are in no count of the run. Other backends of the pipeline get them, marked
    /// `retrace.replayed`. Default: every span is sent, so that the new run is complete by itself.
    pub fn leave_out_recorded_spans(mut self) -> Self {
        self.leaves_out_recorded = true;
        self
    }

    /// States that all of it happens in one run, as of a function that is served.
    pub(crate) fn one_run(mut self) -> Self {
        self.is_one_run = true;
        self
    }

    /// Writes what happens to a cassette as well: what was answered and what was live.
    pub fn record(mut self, recording: RecordingBuilder) -> Self {
        self.recording = Some(recording);
        self
    }

    /// Runs a future in the replay. Its state is in the OpenTelemetry `Context`: carry that into tasks and threads with
    /// [`InRun`](crate::InRun). A call of a thread or a task without it belongs to the replay as well while no other one is under
    /// way in the process.
    ///
    /// # Errors
    /// A cassette or a fork point that cannot be used, and [`ReplayError::Refused`] if a call was refused, even if the run went on,
    /// or if a change at the fork point was not applied.
    pub async fn run<F: Future>(self, future: F) -> Result<Replayed<F::Output>, ReplayError> {
        let session = self.begin()?;
        let value = Entered::new(Arc::clone(&session)).poll(future).await;
        replayed(&session, value)
    }

    /// Calls a closure in the replay: [`ReplayBuilder::run`] for code that is not `async`.
    ///
    /// # Errors
    /// As [`ReplayBuilder::run`].
    pub fn run_sync<T>(self, body: impl FnOnce() -> T) -> Result<Replayed<T>, ReplayError> {
        let session = self.begin()?;
        let value = Entered::new(Arc::clone(&session)).call(body);
        replayed(&session, value)
    }

    pub(crate) fn begin(mut self) -> Result<Arc<Session>, ReplayError> {
        let cassette = match self.opened.take() {
            Some(cassette) => cassette,
            None => open(&self.cassette)?,
        };
        if cassette.header().origin == Origin::Run {
            // A run stores conversations, in one form for all providers.
            let then = self.options.normalize.take();
            self.options.normalize = Some(Arc::new(move |request| {
                *request = project(request);
                if let Some(then) = &then {
                    then(request);
                }
            }));
        }
        match self.at {
            Some(at) => self.options.fork = Some(Fork { at, substitutions: self.substitutions }),
            None if self.substitutions.is_empty() => {}
            None => {
                let names = self.substitutions.names();
                return Err(retrace_replay::replay::ReplayError::SubstitutionWithoutFork { names }.into());
            }
        }
        let recorder = match self.recording {
            Some(recording) => Some(recording.begin()?),
            None => None,
        };
        let mode = self.options.mode;
        let session = Session::new(Some(Replay::new(cassette, self.options)?), recorder, mode, self.pace);
        Ok(Arc::new(session.with_recorded_left_out(self.leaves_out_recorded).with_one_run(self.is_one_run)))
    }
}

fn json(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Opens a cassette file.
pub(crate) fn open(path: &Path) -> Result<Cassette, CassetteError> {
    let file = path.display().to_string();
    let opened = File::open(path).map_err(|error| CassetteError::io(&*file, None, error))?;
    Cassette::open(&file, opened)
}

pub(crate) fn replayed<T>(session: &Session, value: Option<T>) -> Result<Replayed<T>, ReplayError> {
    session.end();
    let report = session.report();
    match (value, session.refusal(), report) {
        (Some(value), None, Some(report)) => {
            session.finish_recording()?;
            Ok(Replayed { value, report })
        }
        (_, refused, report) => {
            let refused = refused.unwrap_or_else(|| session.unknown_refusal());
            let report = report.unwrap_or_else(|| Report::empty(&refused.cassette));
            Err(ReplayError::Refused { refused, report: Box::new(report) })
        }
    }
}

impl RecordingBuilder {
    /// Sets the name of the run in the header. Default: the name of the outermost run or step of the first entry.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Changes requests and results of steps before they are written, after the redaction of credentials.
    pub fn redact(mut self, redact: impl Fn(&mut Value) + Send + 'static) -> Self {
        self.redact = Some(Box::new(redact));
        self
    }

    /// Changes requests before their fingerprints are computed; give the same function to [`ReplayBuilder::normalize`].
    pub fn normalize(mut self, normalize: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        self.normalize = Some(Arc::new(normalize));
        self
    }

    /// Runs a future and records it. The file is written when the run has ended, also if it failed.
    ///
    /// # Errors
    /// A file that cannot be written, or a secret that would be: the file at the path is then what it was before.
    pub async fn run<F: Future>(self, future: F) -> Result<RecordedCassette<F::Output>, ReplayError> {
        let session = self.session()?;
        let value = Entered::new(Arc::clone(&session)).poll(future).await;
        recorded(&session, value)
    }

    /// Calls a closure and records it: [`RecordingBuilder::run`] for code that is not `async`.
    ///
    /// # Errors
    /// As [`RecordingBuilder::run`].
    pub fn run_sync<T>(self, body: impl FnOnce() -> T) -> Result<RecordedCassette<T>, ReplayError> {
        let session = self.session()?;
        let value = Entered::new(Arc::clone(&session)).call(body);
        recorded(&session, value)
    }

    pub(crate) fn session(self) -> Result<Arc<Session>, ReplayError> {
        Ok(Arc::new(Session::new(None, Some(self.begin()?), Mode::Lenient, Pace::Instant)))
    }

    fn begin(self) -> Result<Recorder, CassetteError> {
        Recorder::begin(&self.path, Header::new(self.name), self.redact, self.normalize)
    }
}

impl<T> RecordedCassette<T> {
    /// Writes the official SDK's golden file, version 1, of this cassette: after its redaction, and through the hook that
    /// [`with_before_send`](crate::Configuration::with_before_send) sets. A step that the hook keeps back is left out.
    ///
    /// # Errors
    /// A cassette that cannot be read, or a file that cannot be written: the file at the path is then what it was before.
    pub fn write_golden(&self, path: impl AsRef<Path>) -> Result<(), CassetteError> {
        let mut golden = golden::from_cassette(&mut open(&self.path)?, Status::Completed)?;
        let hook = Installed::with(|installed| installed.before_send.clone());
        if let Hook(Some(hook)) = hook {
            let trace = golden.trace_id.clone();
            golden.steps = golden.steps.into_iter().filter_map(|step| sent(step, &trace, &hook)).collect();
        }
        let path = path.as_ref();
        let mut file = ReplacedFile::begin(path)?;
        golden::write(&path.display().to_string(), &golden, file.writer())?;
        file.finish()
    }
}

/// Shows a step to the hook, as the span that it is. `None` where the hook keeps it back or panics.
fn sent(mut step: GoldenStep, trace: &Id, hook: &BeforeSend) -> Option<GoldenStep> {
    let id = Id::from(step.index.to_string());
    let started = Timestamp::from(SystemTime::now());
    let mut span = Span::new(id, trace.clone(), step.span_type, step.name, started);
    (span.model, span.input, span.output, span.error) = (step.model, step.input, step.output, step.error);
    let record = catch_unwind(AssertUnwindSafe(|| hook(Record::Span(Box::new(span))))).ok()??;
    let Record::Span(span) = record else { return None };
    (step.name, step.model, step.input, step.output, step.error) =
        (span.name, span.model, span.input, span.output, span.error);
    Some(step)
}

pub(crate) fn recorded<T>(session: &Session, value: Option<T>) -> Result<RecordedCassette<T>, ReplayError> {
    let path = session.finish_recording()?;
    match (value, path) {
        (Some(value), Some(path)) => Ok(RecordedCassette { value, path }),
        _ => {
            let refused = session.refusal().unwrap_or_else(|| session.unknown_refusal());
            let report = Box::new(Report::empty(&refused.cassette));
            Err(ReplayError::Refused { refused, report })
        }
    }
}

impl fmt::Debug for ReplayBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("ReplayBuilder");
        fields
            .field("cassette", &self.cassette)
            .field("options", &self.options)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RecordingBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingBuilder").field("path", &self.path).finish_non_exhaustive()
    }
}
