//! `retrace-local runs` and `retrace-local show`

use clap::Args;
use retrace_protocol::read::TracePage;
use retrace_protocol::{Id, Span, Trace, endpoint};
use serde_json::Value;

use super::receiver::{Receiver, Source, plain};
use super::{Ending, print_json};
use crate::say;

/// Largest shown depth of a step, in levels of indentation.
const MAX_DEPTH: usize = 20;

#[derive(Args)]
pub(crate) struct RunsCommand {
    #[command(flatten)]
    source: Source,

    /// At most so many runs, the newest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,

    /// Only runs with this status: running, completed or failed.
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,

    /// Only runs with a failed step.
    #[arg(long)]
    failed_spans: bool,

    /// Print the answer of the receiver.
    #[arg(long)]
    json: bool,
}

impl RunsCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &self.limit.to_string());
        if let Some(status) = &self.status {
            query.append_pair("status", status);
        }
        if self.failed_spans {
            query.append_pair("failed_spans", "true");
        }
        let path = format!("{}?{}", endpoint::TRACES, query.finish());
        let answer: Value = self.source.open()?.get(&path)?;
        if self.json {
            return print_json(&answer);
        }
        let page: TracePage = serde_json::from_value(answer).map_err(|error| error.to_string())?;
        for run in &page.traces {
            say(&line(run));
        }
        say(&format!("{} of {} runs", page.traces.len(), page.total));
        Ok(Ending::Same)
    }
}

fn line(run: &Trace) -> String {
    let id = run.id.as_ref().map(ToString::to_string).unwrap_or_default();
    let began = run.started_at.as_ref().map(ToString::to_string).unwrap_or_default();
    let began = began.get(..19).unwrap_or(&began).replace('T', " ");
    let name = plain(run.name.as_deref().unwrap_or("unnamed"));
    format!("{began}  {:<9}  {}  {name}  {}", status(run), plain(&id), numbers(run))
}

fn status(run: &Trace) -> &'static str {
    run.status.map_or("", retrace_protocol::Status::as_str)
}

fn numbers(run: &Trace) -> String {
    let tokens = run.total_tokens.map(|tokens| format!("{tokens} tokens"));
    let cost = run.total_cost.filter(|cost| *cost > 0.0).map(|cost| format!("{cost} USD"));
    let time = run.total_duration_ms.map(|time| format!("{time} ms"));
    [tokens, cost, time].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[derive(Args)]
pub(crate) struct ShowCommand {
    /// The id of the run.
    #[arg(value_name = "RUN")]
    run: String,

    #[command(flatten)]
    source: Source,

    /// Print the run with all content, as the receiver answers it.
    #[arg(long)]
    json: bool,
}

impl ShowCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        let receiver = self.source.open()?;
        if self.json {
            let answer: Value = read(&receiver, &self.run)?;
            return print_json(&answer);
        }
        let run: Trace = read(&receiver, &self.run)?;
        say(&line(&run));
        if let Some(error) = &run.error {
            say(&format!("  error: {}", plain(error)));
        }
        let spans = run.spans.as_deref().unwrap_or_default();
        for (index, span) in spans.iter().enumerate() {
            say(&step(index, span, depth(span, spans)));
        }
        Ok(Ending::Same)
    }
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

fn depth(span: &Span, spans: &[Span]) -> usize {
    let parent = |span: &Span| {
        let id = span.parent_id.as_ref()?;
        spans.iter().find(|other| other.id == *id)
    };
    // Parents may form a cycle.
    std::iter::successors(parent(span), |span| parent(span)).take(MAX_DEPTH).count()
}

fn step(index: usize, span: &Span, depth: usize) -> String {
    let model = span.model.as_deref().map(|model| format!(" {}", plain(model))).unwrap_or_default();
    let time = span.duration_ms.map(|time| format!(" {time} ms")).unwrap_or_default();
    let tokens = match (span.input_tokens, span.output_tokens) {
        (None, None) => String::new(),
        (input, output) => format!(" {}+{} tokens", input.unwrap_or(0), output.unwrap_or(0)),
    };
    let error = span.error.as_deref().map(|error| format!("\n        error: {}", plain(error))).unwrap_or_default();
    let indent = "  ".repeat(depth);
    let (kind, name, id) = (span.span_type.as_str(), plain(&span.name), plain(&span.id.as_text()));
    format!("{index:>5}  {indent}{kind} {name}{model}{time}{tokens}  {id}{error}")
}
