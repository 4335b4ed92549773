//! Refused calls.

use std::fmt::{self, Display};

use serde::Serialize;

use crate::call_id::CallId;
use crate::columns::side_by_side;
use crate::{Diff, TokenReport};

/// Text of a refusal that an earlier one causes.
#[doc(hidden)]
pub const POISONED: &str = "an earlier call of this run was refused. Correct that one first.";

/// Reason why a replay refused a call.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalReason {
    /// The request differs from the recorded one.
    Differs {
        /// Recorded call that was next.
        expected: CallId,
        /// Differences of the requests.
        diff: Diff,
    },
    /// The request of a call before the fork point differs from the recorded one.
    DiffersBeforeFork {
        /// Recorded call that was next.
        expected: CallId,
        /// Differences of the requests.
        diff: Diff,
    },
    /// No recorded call is left.
    NothingLeft {
        /// Recorded call that is nearest, used or not.
        nearest: Option<CallId>,
        /// Differences from the nearest.
        diff: Option<Diff>,
    },
    /// The recorded call cannot be replayed, for this reason.
    NotReplayable(String),
    /// A step with effects on the world has other arguments after the fork point.
    External {
        /// Recorded call that was next.
        expected: Option<CallId>,
        /// Differences of the arguments.
        diff: Option<Diff>,
    },
    /// A substitution at the fork point cannot be applied.
    Substitution(String),
    /// The changes at the fork point are not applied.
    NotApplied {
        /// Names of what was to be changed.
        names: Vec<String>,
        /// The step at the fork point is executed without being answered or changed by a replay.
        is_executed: bool,
    },
    /// The tokens of a live response are not the recorded ones.
    Tokens(TokenReport),
    /// The cassette cannot be read.
    Cassette(String),
    /// An earlier call was refused.
    Poisoned,
}

/// A call that a replay refused. The first refusal fails the run: all later calls are refused as well.
#[derive(Clone, PartialEq, Serialize)]
pub struct Refused {
    /// Call.
    pub call: CallId,
    /// Cassette.
    pub cassette: String,
    /// Why.
    pub reason: RefusalReason,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Refused {
    /// Short name of the reason, of few values: for `error.type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.reason {
            RefusalReason::Differs { .. } | RefusalReason::DiffersBeforeFork { .. } => "replay_differs",
            RefusalReason::NothingLeft { .. } => "replay_nothing_left",
            RefusalReason::NotReplayable(_) => "replay_not_replayable",
            RefusalReason::External { .. } => "replay_external",
            RefusalReason::Substitution(_) | RefusalReason::NotApplied { .. } => "replay_substitution",
            RefusalReason::Tokens(_) => "replay_tokens",
            RefusalReason::Cassette(_) => "replay_cassette",
            RefusalReason::Poisoned => "replay_poisoned",
        }
    }
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, cassette, reason } = self;
        write!(f, "replay of {cassette} refused {call}: ")?;
        match reason {
            RefusalReason::Differs { expected, diff } => {
                write!(f, "the request differs from {expected}\n{}", side_by_side(diff))?;
                f.write_str("Record the cassette again if the change is intended.")
            }
            RefusalReason::DiffersBeforeFork { expected, diff } => {
                write!(f, "the request differs from {expected}\n{}", side_by_side(diff))?;
                f.write_str(
                    "What comes before the fork point is answered as it was recorded: fork at this call or before it, or in the \
                     lenient mode, which answers it all the same.",
                )
            }
            RefusalReason::NothingLeft { nearest: Some(nearest), diff } => {
                write!(f, "no recorded call is left; the nearest is {nearest}")?;
                match diff {
                    Some(diff) if !diff.is_empty() => write!(f, "\n{}", side_by_side(diff))?,
                    _ => f.write_str(", which was used already or has another lane. ")?,
                }
                f.write_str("Record the cassette again if the call is intended.")
            }
            RefusalReason::NothingLeft { nearest: None, .. } => {
                f.write_str("the cassette has no call of this kind. Record it again if the call is intended.")
            }
            RefusalReason::NotReplayable(reason) => {
                write!(f, "the recorded call cannot be replayed: {reason}. Record a tape of the run instead.")
            }
            RefusalReason::External { expected, diff } => {
                f.write_str("the step has effects on the world and other arguments than recorded")?;
                if let (Some(expected), Some(diff)) = (expected, diff) {
                    write!(f, " in {expected}\n{}", side_by_side(diff))?;
                }
                write!(
                    f,
                    ". Allow it with `allow_external({:?})`, or state its effects as `none` or `idempotent`.",
                    call.name
                )
            }
            RefusalReason::Substitution(error) => write!(f, "{error}. Correct the substitution."),
            RefusalReason::NotApplied { names, is_executed: true } => write!(
                f,
                "{} at the fork point cannot be changed: the step is executed by itself. Add `replay` to its `#[record]` to change \
                 its output, or make it with `memo_with` to change its arguments too.",
                quoted(names)
            ),
            RefusalReason::NotApplied { names, is_executed: false } => write!(
                f,
                "{} at the fork point was not changed: the run made no such call. A step has to be recorded with `replay`, `memo` \
                 or `memo_with`, and a model call by one of `retrace::clients`; else fork at another call.",
                quoted(names)
            ),
            RefusalReason::Tokens(tokens) => {
                write!(f, "{tokens}. The model, its version or its sampling differ from those of the recording.")
            }
            RefusalReason::Cassette(error) => f.write_str(error),
            RefusalReason::Poisoned => f.write_str(POISONED),
        }
    }
}

impl std::error::Error for Refused {}

/// Names in a sentence.
pub(crate) fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
