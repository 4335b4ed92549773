//! A replay, a recording, or both, that goes on.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use opentelemetry::KeyValue;
use opentelemetry_instrumentation_genai::interceptor::Pace;
use opentelemetry_retrace::__private::{NOT_SENT, watch_not_sent};
use retrace_replay::cassette::{CassetteError, Entry};
use retrace_replay::replay::{Call, Decision, Mode, RefusalReason, Refused, Replay};
use retrace_replay::report::{CallId, Report};
use retrace_replay::{Lane, LaneNode, TokenReport};

use super::position::Activity;
use super::recorder::Recorder;
use crate::attributes;

/// Shared by all code that runs in it, through the OpenTelemetry `Context`.
#[derive(Debug)]
pub(crate) struct Session {
    replay: Option<Mutex<Replay>>,
    recorder: Option<Mutex<Recorder>>,
    mode: Mode,
    pub(crate) pace: Pace,
    leaves_out_recorded: bool,
    /// All of it happens in one run.
    is_one_run: bool,
    root: Arc<LaneNode>,
    state: Mutex<State>,
    _activity: Activity,
}

#[derive(Debug, Default)]
struct State {
    /// First refusal.
    refusal: Option<Box<Refused>>,
    /// A step was refused that has no way to state it.
    is_aborted: bool,
    waker: Option<Waker>,
}

thread_local! {
    /// A session works on this thread, and may be calling a hook of the application.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Work of a session on this thread. Hooks of the application run in it: what they call is live, and not recorded.
struct Busy(());

impl Busy {
    /// `None` inside of a hook, where the locks are held already.
    fn begin() -> Option<Self> {
        // Made only where none is: dropping one ends the work.
        (!IS_BUSY.replace(true)).then(|| Self(()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        IS_BUSY.set(false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(crate) fn new(replay: Option<Replay>, recorder: Option<Recorder>, mode: Mode, pace: Pace) -> Self {
        Self {
            replay: replay.map(Mutex::new),
            recorder: recorder.map(Mutex::new),
            mode,
            pace,
            leaves_out_recorded: false,
            is_one_run: false,
            root: LaneNode::root(),
            state: Mutex::default(),
            _activity: Activity::new(),
        }
    }

    /// Sets whether spans of what is answered before the fork point are not sent to Retrace.
    pub(crate) fn with_recorded_left_out(self, leaves_out_recorded: bool) -> Self {
        if leaves_out_recorded {
            watch_not_sent();
        }
        Self { leaves_out_recorded, ..self }
    }

    /// Sets whether all of it happens in one run.
    pub(crate) fn with_one_run(self, is_one_run: bool) -> Self {
        Self { is_one_run, ..self }
    }

    pub(crate) fn leaves_out_recorded(&self) -> bool {
        self.leaves_out_recorded
    }

    /// Attributes of the span of what an entry answers.
    pub(crate) fn answer_attributes(&self, entry: &Entry) -> Vec<KeyValue> {
        let mut attributes = vec![KeyValue::new(attributes::REPLAYED, true)];
        if self.leaves_out_recorded && self.replay.as_ref().is_some_and(|replay| lock(replay).is_before_fork(entry)) {
            attributes.push(KeyValue::new(NOT_SENT, true));
        }
        attributes
    }

    pub(crate) fn root(&self) -> Arc<LaneNode> {
        Arc::clone(&self.root)
    }

    /// Returns true if a call that is not recorded must not go out.
    pub(crate) fn is_strict(&self) -> bool {
        self.replay.is_some() && self.mode == Mode::Strict
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Decides about a call. In a recording alone every call goes out.
    pub(crate) fn decide(&self, call: Call<'_>) -> Decision {
        let Some(replay) = &self.replay else {
            return Decision::Live { altered: None, ticket: usize::MAX, recorded_tokens: Vec::new() };
        };
        let Some(_busy) = Busy::begin() else {
            let reason = RefusalReason::NotReplayable("a hook of the replay must make no call".to_owned());
            return Decision::Refuse(Box::new(Refused { call: CallId::default(), cassette: String::new(), reason }));
        };
        let decision = lock(replay).decide(call);
        if let Decision::Refuse(refused) = &decision {
            lock(&self.state).refusal.get_or_insert_with(|| refused.clone());
        }
        decision
    }

    /// Returns the recorded value of a source that differs in each run.
    pub(crate) fn value(&self, lane: &Lane, name: &str) -> Option<Entry> {
        let _busy = Busy::begin()?;
        // A file that cannot be read refuses the next call.
        lock(self.replay.as_ref()?).value(lane, name).ok().flatten()
    }

    pub(crate) fn mark(&self, position: &super::position::Position, name: &str) {
        if let Some(replay) = &self.replay {
            lock(replay).mark(position.lane(), name);
        }
        self.record(|recorder| recorder.mark(position.lane(), name));
    }

    /// Notes a step that is executed, by its own lane.
    pub(crate) fn note_executed(&self, step: &Lane) {
        self.refused_by(|replay| replay.note_executed(step));
    }

    /// Ends an outermost step of the session.
    pub(crate) fn end_step(&self, step: &Lane) {
        self.refused_by(|replay| match self.is_one_run {
            true => replay.end(),
            false => replay.end_step(step),
        });
    }

    /// Ends the session: what a fork was to change is changed by now.
    pub(crate) fn end(&self) {
        self.refused_by(Replay::end);
    }

    fn refused_by(&self, with: impl FnOnce(&mut Replay) -> Option<Refused>) {
        let Some(replay) = &self.replay else { return };
        if let Some(refused) = with(&mut lock(replay)) {
            lock(&self.state).refusal.get_or_insert_with(|| Box::new(refused));
        }
    }

    pub(crate) fn end_live(&self, ticket: usize, tokens: Option<u64>, cost_usd: Option<f64>) {
        if let Some(replay) = &self.replay {
            lock(replay).end_live(ticket, tokens, cost_usd);
        }
    }

    /// States how many tokens of a live response are the recorded ones.
    pub(crate) fn end_verified(&self, ticket: usize, tokens: TokenReport) {
        let Some(replay) = &self.replay else { return };
        let mut replay = lock(replay);
        replay.end_verified(ticket, tokens);
        if let Some(refused) = replay.report().refusal {
            lock(&self.state).refusal.get_or_insert_with(|| Box::new(refused));
        }
    }

    /// Calls `with` with the recorder, if there is one.
    pub(crate) fn record<R>(&self, with: impl FnOnce(&mut Recorder) -> R) -> Option<R> {
        let recorder = self.recorder.as_ref()?;
        let _busy = Busy::begin()?;
        Some(with(&mut lock(recorder)))
    }

    /// Records an entry that was answered from the cassette.
    pub(crate) fn record_answer(&self, entry: &Entry) {
        self.record(|recorder| recorder.copy(entry));
    }

    /// Message of the first refusal.
    pub(crate) fn poison(&self) -> Option<String> {
        lock(&self.state).refusal.as_ref().map(ToString::to_string)
    }

    /// Refuses the run for a reason that the caller found.
    pub(crate) fn poison_with(&self, call: CallId, reason: RefusalReason) -> Box<Refused> {
        let refused = Box::new(match &self.replay {
            Some(replay) => lock(replay).poison(call, reason),
            None => Refused { call, cassette: String::new(), reason },
        });
        lock(&self.state).refusal.get_or_insert_with(|| refused.clone());
        refused
    }

    pub(crate) fn refusal(&self) -> Option<Box<Refused>> {
        lock(&self.state).refusal.clone()
    }

    /// Stands for the refusal of a run that ended without one.
    pub(crate) fn unknown_refusal(&self) -> Box<Refused> {
        let reason = RefusalReason::NotReplayable("the run was ended by a refused step".to_owned());
        Box::new(Refused { call: CallId::default(), cassette: String::new(), reason })
    }

    /// Returns true if a refused step ended the run.
    pub(crate) fn is_aborted(&self) -> bool {
        lock(&self.state).is_aborted
    }

    /// Ends the run at its next poll.
    pub(crate) fn abort(&self) {
        let waker = {
            let mut state = lock(&self.state);
            state.is_aborted = true;
            state.waker.take()
        };
        // A waker may poll at once.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns true if the run is to end; else wakes the task when it is.
    pub(crate) fn poll_aborted(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        state.waker = Some(waker.clone());
        state.is_aborted
    }

    pub(crate) fn report(&self) -> Option<Report> {
        self.replay.as_ref().map(|replay| lock(replay).report())
    }

    /// Ends the recording: the file is whole or absent.
    pub(crate) fn finish_recording(&self) -> Result<Option<PathBuf>, CassetteError> {
        match self.record(Recorder::finish) {
            Some(finished) => finished.map(Some),
            None => Ok(None),
        }
    }
}
