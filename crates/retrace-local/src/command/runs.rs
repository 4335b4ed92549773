//! `retrace-local runs`

use clap::Args;
use retrace_protocol::read::TracePage;
use retrace_protocol::{Id, Status, Trace, endpoint};
use serde::Deserialize;
use serde_json::Value;

use super::receiver::{Receiver, Source, plain};
use super::{Ending, print_json};
use crate::say;

/// Status of a run whose client is gone, in place of `running`.
const INTERRUPTED: &str = "interrupted";
/// Runs of one request, where the receiver cannot select them.
const PAGE: u32 = 1_000;

#[derive(Args)]
pub(crate) struct RunsCommand {
    #[command(flatten)]
    source: Source,

    /// At most so many runs, the newest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,

    /// Only runs with this status: running, interrupted (its client is gone and has not sent the end), completed or failed.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,

    /// Only runs with a failed step.
    #[arg(long)]
    failed_spans: bool,

    /// Print the answer of the receiver.
    #[arg(long)]
    json: bool,
}

/// A run as the list shows it, and what the receiver knows of it.
pub(super) struct Listed {
    pub(super) run: Trace,
    marks: Marks,
}

/// What the receiver knows of a run.
#[derive(Default, Deserialize)]
struct Marks {
    /// False if the run has not ended and its client is gone.
    live: Option<bool>,
    #[serde(default)]
    replayed: bool,
}

impl RunsCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        let receiver = self.source.open()?;
        let answer = match self.status.as_deref() {
            Some(status) if status == INTERRUPTED || status == Status::Running.as_str() => {
                self.unfinished(&receiver, status == INTERRUPTED)?
            }
            status => self.page(&receiver, status, self.limit, 0)?,
        };
        if self.json {
            return print_json(&answer);
        }
        let page: TracePage<Value> = TracePage::deserialize(&answer).map_err(|error| error.to_string())?;
        for run in &page.traces {
            say(&Listed::of(run)?.line());
        }
        let (listed, total) = (page.traces.len(), page.total);
        match total > listed as u64 {
            true => say(&format!("{listed} of {total} runs: --limit N lists more")),
            false => say(&format!("{listed} of {total} runs")),
        }
        Ok(Ending::Same)
    }

    fn page(&self, receiver: &Receiver, status: Option<&str>, limit: u32, offset: u64) -> Result<Value, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &limit.to_string());
        if offset > 0 {
            query.append_pair("offset", &offset.to_string());
        }
        if let Some(status) = status {
            query.append_pair("status", status);
        }
        if self.failed_spans {
            query.append_pair("failed_spans", "true");
        }
        Ok(receiver.get(&format!("{}?{}", endpoint::TRACES, query.finish()))?)
    }

    /// Returns the page of the runs that have not ended and whose client is gone, or is not. A receiver finds both as running.
    fn unfinished(&self, receiver: &Receiver, interrupted: bool) -> Result<Value, String> {
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let (mut found, mut total, mut offset) = (Vec::new(), 0_u64, 0);
        loop {
            // The receiver checks the limit of the first page, as it does for the other statuses.
            let limit = if offset == 0 { self.limit } else { PAGE };
            let page = self.page(receiver, Some(Status::Running.as_str()), limit, offset)?;
            let page: TracePage<Value> = TracePage::deserialize(page).map_err(|error| error.to_string())?;
            offset += page.traces.len() as u64;
            let is_last = page.traces.is_empty() || offset >= page.total;
            for run in page.traces.into_iter().filter(|run| (run["live"] == false) == interrupted) {
                total += 1;
                if found.len() < most {
                    found.push(run);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(serde_json::json!({"traces": found, "total": total, "limit": self.limit, "offset": 0}))
    }
}

impl Listed {
    /// Reads a run of an answer.
    pub(super) fn of(answer: &Value) -> Result<Self, String> {
        let unreadable = |error: serde_json::Error| format!("the receiver answered a run that cannot be read: {error}");
        let marks = Marks::deserialize(answer).map_err(unreadable)?;
        Ok(Self { run: Trace::deserialize(answer).map_err(unreadable)?, marks })
    }

    /// The run in one line.
    pub(super) fn line(&self) -> String {
        let run = &self.run;
        let id = run.id.as_ref().map(ToString::to_string).unwrap_or_default();
        let began = run.started_at.as_ref().map(ToString::to_string).unwrap_or_default();
        let began = began.get(..19).unwrap_or(&began).replace('T', " ");
        let name = plain(run.name.as_deref().unwrap_or("unnamed"));
        let replayed = if self.marks.replayed { ", replayed" } else { "" };
        format!("{began}  {:<11}  {}  {name}  {}{replayed}", self.status(), plain(&id), numbers(run))
    }

    fn status(&self) -> &'static str {
        match self.marks.live {
            Some(false) => INTERRUPTED,
            _ => self.run.status.map_or("", Status::as_str),
        }
    }
}

fn numbers(run: &Trace) -> String {
    // A run whose calls state no usage has a sum of 0, and what it took is not known.
    let tokens = run.total_tokens.filter(|tokens| *tokens > 0).map(|tokens| format!("{tokens} tokens"));
    let cost = run.total_cost.filter(|cost| *cost > 0.0).map(|cost| format!("{cost} USD"));
    // A run under way has no duration yet.
    let time = run.total_duration_ms.filter(|_| run.status != Some(Status::Running)).map(|time| format!("{time} ms"));
    [tokens, cost, time].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Reads a run with its spans.
pub(super) fn read<T: serde::de::DeserializeOwned>(receiver: &Receiver, run: &str) -> Result<T, String> {
    receiver.get(&endpoint::trace(&Id::from(run))).map_err(|refused| unknown(receiver, run, refused))
}

/// Returns the error for a run that the receiver does not have.
pub(super) fn unknown(receiver: &Receiver, run: &str, refused: super::receiver::Refused) -> String {
    match refused.status {
        404 => {
            format!("{} has no run {}: take an id from `retrace-local runs`", receiver.name(), plain(run))
        }
        _ => refused.message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_usage_is_not_zero() {
        let run = |tokens| Trace { total_tokens: tokens, total_duration_ms: Some(7), ..Trace::default() };
        let written = [Some(12), Some(0), None].map(|tokens| numbers(&run(tokens)));
        assert_eq!(written, ["12 tokens, 7 ms", "7 ms", "7 ms"]);
    }
}
