//! Ceilings of runs.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use opentelemetry::Context;
use opentelemetry_retrace::__private::warn_of_setting;
use retrace_replay::{EnforcementError, Limits, LimitsError, Used, Verdict};

use super::position::{Activity, Position, with};
use crate::carry::InContext;
use crate::enforcement::{CheckedSpan, RunChecks};
use crate::installed::Installed;

/// What the runs below one set of ceilings have used.
#[derive(Debug)]
pub(crate) struct LimitState {
    limits: Limits,
    used: Mutex<Used>,
    /// Checks by the receiver, where they are switched on.
    checks: Option<Arc<RunChecks>>,
    /// Set where the environment's ceilings cannot be read: no call leaves.
    error: Option<LimitsError>,
}

/// Ceilings of each run of the process: those of the environment, unless others are installed.
static DEFAULT: LazyLock<RwLock<Result<Limits, LimitsError>>> = LazyLock::new(|| {
    // A value that is not valid UTF-8 is no number either.
    let read = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let limits = Limits::from_environment(read);
    HAS_DEFAULT.store(limits.as_ref().map_or(true, |limits| !limits.is_empty()), Ordering::Relaxed);
    RwLock::new(limits)
});
static HAS_DEFAULT: AtomicBool = AtomicBool::new(false);

/// Returns true if each run has ceilings, or is checked by the receiver.
pub(crate) fn has_default() -> bool {
    LazyLock::force(&DEFAULT);
    HAS_DEFAULT.load(Ordering::Relaxed) || Installed::is_checked()
}

/// Warns of ceilings in the environment that cannot be read.
pub(crate) fn warn_of_environment() {
    let error = DEFAULT.read().unwrap_or_else(PoisonError::into_inner).as_ref().err().map(ToString::to_string);
    if let Some(error) = error {
        warn_of_setting(format!("{error}; until then each model call of a run is refused"));
    }
}

/// Checks of a run that begins.
fn new_checks() -> Option<Arc<RunChecks>> {
    if !Installed::is_checked() {
        return None;
    }
    Installed::with(|installed| installed.server_check.clone()).map(RunChecks::new)
}

/// Ceilings of a run that begins; `None` where there are none.
pub(crate) fn of_new_run() -> Option<Arc<LimitState>> {
    match &*DEFAULT.read().unwrap_or_else(PoisonError::into_inner) {
        Ok(limits) if limits.is_empty() && !Installed::is_checked() => None,
        Ok(limits) => Some(LimitState::new(*limits)),
        Err(error) => {
            let (limits, error) = (Limits::default(), Some(error.clone()));
            Some(Arc::new(LimitState { limits, used: Mutex::default(), checks: new_checks(), error }))
        }
    }
}

fn set_default(limits: Limits) {
    *DEFAULT.write().unwrap_or_else(PoisonError::into_inner) = Ok(limits);
    HAS_DEFAULT.store(!limits.is_empty(), Ordering::Relaxed);
}

impl LimitState {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, used: Mutex::default(), checks: new_checks(), error: None })
    }

    /// Checks of this run by the receiver.
    pub(crate) fn checks(&self) -> Option<&Arc<RunChecks>> {
        self.checks.as_ref()
    }

    /// Begins the check of a span that has ended.
    pub(crate) fn check(&self, span: &CheckedSpan) {
        if let Some(checks) = &self.checks {
            let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
            checks.begin(span, used);
        }
    }

    /// Checks the next model call, and counts it.
    pub(crate) fn begin(&self) -> Result<(), EnforcementError> {
        if let Some(refusal) = self.checks.as_ref().and_then(|checks| checks.refusal()) {
            return Err(refusal);
        }
        if let Some(error) = &self.error {
            let (verdict, reason) = (Verdict::Block, error.to_string());
            return Err(EnforcementError {
                verdict,
                reason,
                limit: None,
                used: None,
                policy_id: Some("local".to_owned()),
            });
        }
        self.limits.begin(&mut self.used.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a tool step.
    pub(crate) fn add_step(&self) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).steps += 1;
    }

    /// Adds what a call has used.
    pub(crate) fn add(&self, tokens: u64, usd: f64) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).add(tokens, usd);
    }

    /// Returns true if costs are needed.
    pub(crate) fn has_usd(&self) -> bool {
        self.limits.usd.is_some()
    }
}

/// Ceilings of a run; made by [`limits()`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "ceilings hold for what runs below them"]
pub struct LimitsBuilder {
    limits: Limits,
}

/// Begins to set ceilings. They are checked before each model call by [`clients`](super::super::clients), in all tasks and threads that
/// carry the context: a call that would exceed one is refused, and does not leave. The answer that crosses a ceiling is delivered.
///
/// ```
/// # async fn agent() {}
/// # async fn example() {
/// retrace::limits().steps(50).tokens(100_000).usd(2.0).scope(agent()).await;
/// # }
/// ```
pub fn limits() -> LimitsBuilder {
    LimitsBuilder::default()
}

impl LimitsBuilder {
    /// Sets the most model calls and tool steps: with 50, fifty calls leave.
    pub fn steps(mut self, steps: u64) -> Self {
        self.limits.steps = Some(steps);
        self
    }

    /// Sets the most input and output tokens. No call leaves once they are used.
    pub fn tokens(mut self, tokens: u64) -> Self {
        self.limits.tokens = Some(tokens);
        self
    }

    /// Sets the most US dollars, by the bundled price table (feature `prices`). No call leaves once more is used. Calls of models
    /// without a known price count as free.
    pub fn usd(mut self, dollars: f64) -> Self {
        self.limits.usd = Some(dollars);
        self
    }

    /// Runs a future below these ceilings, in the place of those around it.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        let (cx, activity) = self.context();
        let future = InContext::new(future, cx);
        async move {
            let _activity = activity;
            future.await
        }
    }

    /// Calls a closure below these ceilings.
    pub fn in_scope<T>(self, body: impl FnOnce() -> T) -> T {
        let (cx, _activity) = self.context();
        let _current = cx.attach();
        body()
    }

    /// Sets these ceilings for each run of the process that begins from now on, in the place of those of the environment.
    pub fn install(self) {
        set_default(self.limits);
    }

    fn context(self) -> (Context, Activity) {
        let cx = Context::current();
        let limits = Some(LimitState::new(self.limits));
        let position = match cx.get::<Position>() {
            Some(position) => Position { limits, ..position.clone() },
            None => Position::root(None, limits),
        };
        (with(cx, Some(position)), Activity::new())
    }
}
