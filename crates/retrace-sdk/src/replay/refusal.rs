//! Refusals found within the errors of clients.

use std::error::Error;

use opentelemetry_instrumentation_genai::interceptor::Refusal;
use retrace_replay::EnforcementError;
use retrace_replay::replay::Refused;

/// A model call that did not leave: see [`refusal`].
#[derive(Clone, Copy, Debug)]
pub struct RefusedCall<'e> {
    refusal: &'e Refusal,
}

/// Finds out if an error of a client is a refusal: by a ceiling, or by a replay. Nothing was sent then.
///
/// Finds it through the sources of the error, and in the boxes of the clients that [`clients`](crate::clients) knows.
///
/// ```
/// fn is_over_budget(error: &(dyn std::error::Error + 'static)) -> bool {
///     retrace::refusal(error).is_some_and(|refused| refused.enforcement().is_some())
/// }
/// # assert!(!is_over_budget(&std::fmt::Error));
/// ```
#[must_use]
pub fn refusal<'e>(error: &'e (dyn Error + 'static)) -> Option<RefusedCall<'e>> {
    Refusal::find(error).map(|refusal| RefusedCall { refusal })
}

impl<'e> RefusedCall<'e> {
    /// Returns the message for people.
    #[must_use]
    pub fn message(&self) -> &'e str {
        self.refusal.message()
    }

    /// Returns the ceiling or the policy that refused it.
    #[must_use]
    pub fn enforcement(&self) -> Option<&'e EnforcementError> {
        self.refusal.source()?.downcast_ref()
    }

    /// Returns the reason of the replay that refused it.
    #[must_use]
    pub fn replay(&self) -> Option<&'e Refused> {
        self.refusal.source()?.downcast_ref()
    }
}
