//! Forks of stored runs: the process that recorded a run executes it again, with a change at one span (PROTOCOL.md
//! section 19). Pure: records in, commands and answers out.
//!
//! [`NewFork`] is a validated request, [`Fork`] a stored fork with its executions, [`command`] creates the frames for
//! an agent, [`eligibility`] checks whether a run can be replayed byte for byte, and [`cassette`] creates recordings of
//! a run.

pub(crate) mod cassette;
pub(crate) mod command;
pub(crate) mod eligibility;
mod request;

pub(crate) use request::{NewFork, new_fork};

use std::time::Duration;

use retrace_protocol::{Id, Json, Status, Timestamp};
use serde::{Deserialize, Serialize};

/// Default lease without a heartbeat: three heartbeats of the official client.
pub(crate) const LEASE: Duration = Duration::from_secs(900);

/// Treatment of calls that differ from the recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Calls before the fork point are answered from the recording, and a call that differs from it is rejected.
    #[default]
    Strict,
    /// Calls before the fork point are answered from the recording, and a call that differs is reported.
    Lenient,
    /// No recording is sent: everything is executed again.
    Live,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Lenient => "lenient",
            Self::Live => "live",
        }
    }

    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        [Self::Strict, Self::Lenient, Self::Live].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// Status of a fork or of one of its executions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ForkStatus {
    /// Stored, and not executed yet. Only for a fork.
    Created,
    /// A command was sent to an agent, and its lease has not ended.
    Running,
    /// The recorded run has completed.
    Completed,
    /// The recorded run has failed, or the agent has disconnected.
    Failed,
    /// A newer execution of the same fork has begun. Only for an execution.
    Superseded,
    /// The lease ended without a heartbeat and before the run ended.
    Expired,
}

impl ForkStatus {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Expired => "expired",
        }
    }

    /// Parses a stored status. An unknown status of a newer receiver counts as failed.
    pub(crate) fn from_stored(text: &str) -> Self {
        [Self::Created, Self::Running, Self::Completed, Self::Superseded, Self::Expired]
            .into_iter()
            .find(|status| status.as_str() == text)
            .unwrap_or(Self::Failed)
    }

    /// Returns the status of an execution whose run has this status.
    pub(crate) const fn of_run(status: Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
        }
    }
}

/// One execution of a fork.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Execution {
    pub(crate) id: String,
    pub(crate) status: ForkStatus,
    pub(crate) started_at: Timestamp,
    /// Time of the latest claim of the agent; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_at: Option<Timestamp>,
    pub(crate) lease_expires_at: Timestamp,
    /// Id of the recorded run, once it has arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result_trace_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A stored fork. It also has the members of its newest execution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fork {
    pub(crate) id: String,
    pub(crate) trace_id: Id,
    pub(crate) span_id: Id,
    pub(crate) mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) modified_input: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) substitutions: Option<Json>,
    pub(crate) status: ForkStatus,
    pub(crate) created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) execution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claimed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lease_expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) result_trace_id: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// All executions, oldest first.
    pub(crate) executions: Vec<Execution>,
    /// Increases with every change; a client can wait for the next one.
    pub(crate) version: u64,
}

impl Fork {
    /// Returns the time at which the status changes without an event, in microseconds since 1970.
    pub(crate) fn lease_micros(&self) -> Option<u64> {
        match self.status {
            ForkStatus::Running => self.lease_expires_at.as_ref()?.unix_micros(),
            _ => None,
        }
    }
}

/// Returns the microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
