//! Golden tests: what `#[retrace::test]` runs.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io::IsTerminal as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use retrace_replay::Tolerance;
use retrace_replay::report::{Report, Style, Verdict};

use super::cassette_builder::{ReplayError, record_cassette, recorded, replay, replayed};
use super::run::Entered;
use super::session::Session;

/// Static description of a golden test.
#[derive(Debug)]
pub struct GoldenTest {
    /// Name of the test.
    pub name: &'static str,
    /// Cassette, relative to the crate.
    pub cassette: &'static str,
    /// `CARGO_MANIFEST_DIR` of the crate.
    pub directory: &'static str,
    /// Rules of comparison.
    pub tolerance: Tolerance,
}

/// Mode of a golden test, from `RETRACE_CASSETTE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Replay,
    Record,
    Update,
}

impl Action {
    /// Reads `RETRACE_CASSETTE`. Calls must not go out where `CI` is set.
    fn of(value: Option<&str>, is_ci: bool) -> Result<Self, String> {
        let action = match value.map(str::trim).unwrap_or_default() {
            "" | "replay" => Self::Replay,
            "record" => Self::Record,
            "update" => Self::Update,
            other => return Err(format!("RETRACE_CASSETTE={other:?}; use replay, record or update")),
        };
        match is_ci && action != Self::Replay {
            true => Err(
                "RETRACE_CASSETTE asks for model calls, which are refused where CI is set; record on your machine and \
                         commit the cassette"
                    .to_owned(),
            ),
            false => Ok(action),
        }
    }

    fn of_environment() -> Result<Self, String> {
        let is_set = |name: &str| {
            std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
        };
        // A value that is not valid UTF-8 is no mode.
        let value = std::env::var_os("RETRACE_CASSETTE").map(|value| value.to_string_lossy().into_owned());
        Self::of(value.as_deref(), is_set("CI"))
    }
}

impl GoldenTest {
    fn path(&self) -> PathBuf {
        Path::new(self.directory).join(self.cassette)
    }

    fn begin(&self) -> Result<(Action, Arc<Session>), String> {
        let action = Action::of_environment()?;
        let recording = || record_cassette(self.path()).name(self.name);
        let session = match action {
            Action::Replay => replay(self.path()).tolerance(self.tolerance.clone()).begin(),
            Action::Record => recording().session(),
            Action::Update => {
                replay(self.path()).tolerance(self.tolerance.clone()).update().record(recording()).begin()
            }
        };
        match session {
            Ok(session) => Ok((action, session)),
            // A cassette that cannot be read has nothing to be updated.
            Err(error) => Err(format!(
                "{error}\nTo record it, run the test once with model calls and commit the cassette:\n  \
                 RETRACE_CASSETTE=record cargo test {name}",
                name = self.name
            )),
        }
    }

    fn end<T>(&self, action: Action, session: &Session, value: Option<T>) -> Result<T, String> {
        match action {
            Action::Record => {
                recorded(session, value).map(|recorded| recorded.value).map_err(|error| error.to_string())
            }
            Action::Update => {
                replayed(session, value).map(|replayed| replayed.value).map_err(|error| error.to_string())
            }
            Action::Replay => match replayed(session, value) {
                Ok(replayed) => self.check(replayed.value, &replayed.report),
                Err(ReplayError::Refused { report, .. }) => Err(self.failure(&report)),
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Ends a test whose body panicked. A refusal or a divergence is why it did: the report comes instead of the panic.
    fn end_panicked(&self, action: Action, session: &Session, payload: Box<dyn Any + Send>) -> String {
        let report = session.report().filter(|_| action == Action::Replay);
        match report.filter(|report| report.refusal.is_some() || !report.divergences.is_empty()) {
            Some(report) => self.failure(&report),
            None => resume_unwind(payload),
        }
    }

    fn check<T>(&self, value: T, report: &Report) -> Result<T, String> {
        match report.verdict() {
            Verdict::Same => Ok(value),
            Verdict::Diverged | Verdict::Refused => Err(self.failure(report)),
        }
    }

    fn failure(&self, report: &Report) -> String {
        let style = Style::choose(std::io::stderr().is_terminal(), std::env::var_os("NO_COLOR").as_deref());
        format!("the run differs from its golden cassette\n\n{}\n{}", report.to_text(style), self.accept())
    }

    /// How to accept a change.
    fn accept(&self) -> String {
        format!(
            "To accept the change, run the test once with model calls and commit the cassette:\n  \
             RETRACE_CASSETTE=update cargo test {name}    # the calls that changed\n  \
             RETRACE_CASSETTE=record cargo test {name}    # all calls",
            name = self.name
        )
    }
}

/// Runs a golden test that is `async`.
///
/// # Panics
/// If the run differs from its cassette: that is how a test fails.
#[expect(clippy::panic, reason = "a test fails by a panic")]
pub async fn run<F: Future>(test: &GoldenTest, body: F) -> F::Output {
    let (action, session) = test.begin().unwrap_or_else(|message| panic!("{message}"));
    let mut body = pin!(Entered::new(Arc::clone(&session)).poll(body));
    let caught = poll_fn(|task| match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(task))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(payload) => Poll::Ready(Err(payload)),
    });
    match caught.await {
        Ok(value) => test.end(action, &session, value).unwrap_or_else(|message| panic!("{message}")),
        Err(payload) => panic!("{}", test.end_panicked(action, &session, payload)),
    }
}

/// Runs a golden test that is not `async`.
///
/// # Panics
/// If the run differs from its cassette: that is how a test fails.
#[expect(clippy::panic, reason = "a test fails by a panic")]
pub fn run_sync<T>(test: &GoldenTest, body: impl FnOnce() -> T) -> T {
    let (action, session) = test.begin().unwrap_or_else(|message| panic!("{message}"));
    let entered = Entered::new(Arc::clone(&session));
    match catch_unwind(AssertUnwindSafe(|| entered.call(body))) {
        Ok(value) => test.end(action, &session, value).unwrap_or_else(|message| panic!("{message}")),
        Err(payload) => panic!("{}", test.end_panicked(action, &session, payload)),
    }
}

/// Blocks on a golden test's future: on a runtime of this thread.
///
/// # Panics
/// If no runtime can be made.
#[expect(clippy::panic, reason = "a test fails by a panic")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("no runtime for the test: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_recording_in_ci() {
        assert_eq!(Action::of(None, true), Ok(Action::Replay));
        assert_eq!(Action::of(Some("record"), false), Ok(Action::Record));
        assert!(Action::of(Some("record"), true).unwrap_err().contains("CI is set"));
        assert!(Action::of(Some("update"), true).is_err());
        assert!(Action::of(Some("rcord"), false).unwrap_err().contains("rcord"));
    }
}
