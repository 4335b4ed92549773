//! Refusals found within the errors of clients.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use opentelemetry_instrumentation_genai::interceptor::Refusal;
use retrace_replay::EnforcementError;
use retrace_replay::replay::Refused;

/// Most refusals that are kept for clients whose errors are text.
const KEPT: usize = 64;

/// The latest refusals, for errors of which only the text is left.
static LATEST: Mutex<VecDeque<Refusal>> = Mutex::new(VecDeque::new());

/// Keeps a refusal to be found by its text.
pub(crate) fn keep(refusal: Refusal) -> Refusal {
    let mut latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    latest.truncate(KEPT - 1);
    latest.push_front(refusal.clone());
    refusal
}

/// A model call that did not leave: see [`refusal`]. Its text is that of [`RefusedCall::message`], the reason for people.
#[derive(Clone)]
pub struct RefusedCall {
    refusal: Refusal,
}

impl fmt::Display for RefusedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for RefusedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for RefusedCall {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.refusal.source()
    }
}

/// Finds out if an error of a client is a refusal: by a ceiling, or by a replay. Nothing was sent then.
///
/// Finds it through the sources of the error, and in the boxes of the clients that [`clients`](super::super::clients) knows. An error that
/// keeps only the text of its causes, as those of rig's agents do, is compared with the latest refusals of the process.
///
/// ```
/// fn is_over_budget(error: &(dyn std::error::Error + 'static)) -> bool {
///     retrace::refusal(error).is_some_and(|refused| refused.enforcement().is_some())
/// }
/// # assert!(!is_over_budget(&std::fmt::Error));
///
/// fn report(error: &(dyn std::error::Error + 'static)) {
///     match retrace::refusal(error) {
///         Some(refused) => eprintln!("no call was made: {refused}"),
///         None => eprintln!("the call failed: {error}"),
///     }
/// }
/// # report(&std::fmt::Error);
/// ```
#[must_use]
pub fn refusal(error: &(dyn Error + 'static)) -> Option<RefusedCall> {
    if let Some(refusal) = Refusal::find(error) {
        return Some(RefusedCall { refusal: refusal.clone() });
    }
    let text = error.to_string();
    let latest = LATEST.lock().unwrap_or_else(PoisonError::into_inner);
    let refusal = latest.iter().find(|refusal| text.contains(refusal.message()))?.clone();
    Some(RefusedCall { refusal })
}

impl RefusedCall {
    /// Returns the message for people.
    #[must_use]
    pub fn message(&self) -> &str {
        self.refusal.message()
    }

    /// Returns the ceiling or the policy that refused it.
    #[must_use]
    pub fn enforcement(&self) -> Option<&EnforcementError> {
        self.refusal.source()?.downcast_ref()
    }

    /// Returns the reason of the replay that refused it.
    #[must_use]
    pub fn replay(&self) -> Option<&Refused> {
        self.refusal.source()?.downcast_ref()
    }
}
