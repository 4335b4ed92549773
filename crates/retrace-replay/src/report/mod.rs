//! Reports of replays: for machines as JSON, for people as text.

mod text;

use std::fmt::{self, Display};

use serde::Serialize;

pub use crate::call_id::CallId;
pub use crate::columns::{Style, side_by_side};
use crate::mode::Mode;
use crate::refusal::Refused;
use crate::{Diff, TokenReport};

/// Most names of executed steps that a report lists.
const MAX_EXECUTED: usize = 256;
/// Most live calls that a report lists. Later ones are counted.
const MAX_LIVE: usize = 4096;

/// A call whose request differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Recorded call.
    pub expected: CallId,
    /// Call of the run.
    pub got: CallId,
    /// Differences.
    pub diff: Diff,
}

/// Reason why a call went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveReason {
    /// It is the call at the fork point.
    ForkPoint,
    /// It comes after the fork point.
    AfterFork,
    /// Its request differs from the recorded one, and the cassette is brought up to date.
    Changed,
    /// Its tokens are compared with the recorded ones.
    Verified,
    /// No recorded call was left, and the replay is lenient.
    NothingLeft,
    /// The recorded call cannot be replayed, and the replay is lenient.
    NotReplayable,
}

/// A call that went out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveCall {
    /// Call.
    pub call: CallId,
    /// Why.
    pub reason: LiveReason,
    /// True if the fork changed its request.
    pub is_altered: bool,
    /// Tokens, where the response stated them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Cost in US dollars, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

/// A live response whose tokens were compared with the recorded ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// Call.
    pub call: CallId,
    /// How many tokens are the recorded ones.
    pub tokens: TokenReport,
}

/// Report of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Cassette.
    pub cassette: String,
    /// Number of its entries.
    pub entries: usize,
    /// Mode.
    pub mode: Mode,
    /// Number of calls that were answered from the cassette.
    pub answered: usize,
    /// Requests that differ from the recorded ones, in the order in which they were made.
    pub divergences: Vec<Divergence>,
    /// Requests that differ within the tolerance.
    pub tolerated: Vec<Divergence>,
    /// Refused call. The run fails with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refused>,
    /// Number of calls that were refused because an earlier one was.
    pub refused_later: usize,
    /// Calls that went out, the first 4,096 of them.
    pub live: Vec<LiveCall>,
    /// Number of calls that went out and are not listed.
    #[serde(skip_serializing_if = "is_zero")]
    pub live_beyond: usize,
    /// Live responses whose tokens were compared with the recorded ones.
    pub verified: Vec<Verified>,
    /// Calls to be compared of which the recording holds no token ids.
    pub unverified: Vec<CallId>,
    /// Steps whose result the fork replaced.
    pub substituted: Vec<CallId>,
    /// Recorded calls that were not made.
    pub unused: Vec<CallId>,
    /// Tool steps that were executed, since the recording holds no result of them.
    pub executed: Vec<CallId>,
    /// Calls that were equal and concurrent in the recording: answered first in, first out.
    pub ambiguities: Vec<CallId>,
}

/// Result of a replay in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All calls were answered as recorded, and all recorded calls were made.
    Same,
    /// The run differs from the recording.
    Diverged,
    /// A call was refused.
    Refused,
}

impl Report {
    pub(crate) fn new(cassette: &str, entries: usize, mode: Mode) -> Self {
        Self {
            cassette: cassette.to_owned(),
            entries,
            mode,
            answered: 0,
            divergences: Vec::new(),
            tolerated: Vec::new(),
            refusal: None,
            refused_later: 0,
            live: Vec::new(),
            live_beyond: 0,
            verified: Vec::new(),
            unverified: Vec::new(),
            substituted: Vec::new(),
            unused: Vec::new(),
            executed: Vec::new(),
            ambiguities: Vec::new(),
        }
    }

    /// Makes the report of a run that no call was made in.
    #[must_use]
    pub fn empty(cassette: &str) -> Self {
        Self::new(cassette, 0, Mode::default())
    }

    /// Notes a call that goes out. Returns its place in the list; `usize::MAX` where that is full.
    pub(crate) fn note_live(&mut self, call: LiveCall) -> usize {
        if self.live.len() < MAX_LIVE {
            self.live.push(call);
            return self.live.len() - 1;
        }
        self.live_beyond += 1;
        usize::MAX
    }

    pub(crate) fn note_executed(&mut self, call: &CallId) {
        if self.executed.len() < MAX_EXECUTED {
            self.executed.push(call.clone());
        }
    }

    /// Returns the result in one word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        // Beyond the list there are calls without a reason; calls that are verified are as many as those of the cassette.
        let is_live = self.live.iter().any(|live| live.reason != LiveReason::Verified)
            || self.live_beyond > 0 && self.live_beyond + self.live.len() > self.entries;
        let is_same = self.divergences.is_empty() && !is_live && self.unused.is_empty();
        match (&self.refusal, is_same && self.substituted.is_empty()) {
            (Some(_), _) => Verdict::Refused,
            (None, true) => Verdict::Same,
            (None, false) => Verdict::Diverged,
        }
    }

    /// Returns the report as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = json.as_object_mut() {
            members.insert("verdict".to_owned(), serde_json::to_value(self.verdict()).unwrap_or_default());
        }
        json
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's interface")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl Display for Report {
    /// The text for people, without colours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(Style::Plain))
    }
}
