//! Two services and a client. The planner asks the researcher over HTTP; Retrace shows one run, the spans of both in one tree.
//!
//! Offline, with no account: the runs go to a receiver on this machine. Each service is a process of its own that knows of
//! Retrace what `install()` reads from the environment; with `NAMELESS` set, not even its own name. What ties them together
//! are the headers `traceparent` and `tracestate` of the call between them.

#![allow(clippy::print_stdout)]

mod planner;
mod researcher;
mod service;
mod spans;

use std::error::Error;
use std::process::Stdio;

use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Id, Span, Trace};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const QUESTION: &str = "When was the bridge at Remagen built, and is it worth a detour?";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        Some("planner") => planner::main().await,
        Some("researcher") => researcher::main().await,
        Some(other) => {
            Err(format!("{other:?} is no service: `planner`, `researcher`, or nothing for all of it").into())
        }
        None => all().await,
    }
}

/// Starts a receiver and both services, asks, and shows what came of it.
async fn all() -> Result<(), Box<dyn Error>> {
    let retrace = Server::start()?;
    let mut researcher = Service::start("researcher", retrace.url(), &[]).await?;
    let at = [("RESEARCHER_URL", researcher.url.as_str())];
    let mut planner = Service::start("planner", retrace.url(), &at).await?;

    println!("you:     {QUESTION}");
    let answer = reqwest::Client::new().post(format!("{}/ask", planner.url)).body(QUESTION).send().await?;
    println!("planner: {}\n", answer.error_for_status()?.text().await?);
    planner.stop().await?;
    researcher.stop().await?;

    let runs = retrace.traces(&TraceQuery::new())?.traces;
    let [run] = runs.as_slice() else { return Err(format!("one run was to come, not {}", runs.len()).into()) };
    let run = run.id.as_ref().map(|id| retrace.trace(id)).transpose()?.flatten().ok_or("the run is gone")?;
    println!();
    run_tree::print(&run)?;
    is_one_tree(&run)
}

/// An error unless the spans hang together, one at the top and every other under one that is there, and the totals of the run
/// are those of both services.
fn is_one_tree(run: &Trace) -> Result<(), Box<dyn Error>> {
    let spans = run.spans.as_deref().unwrap_or_default();
    let is_here = |id: &Id| spans.iter().any(|span| span.id == *id);
    let loose = spans.iter().filter(|span| !span.parent_id.as_ref().is_some_and(is_here)).count();
    if loose != 1 || spans.len() != planner::SPANS + researcher::SPANS {
        return Err(format!("{} spans, {loose} of them at the top: {run:?}", spans.len()).into());
    }
    let used = |span: &Span| span.input_tokens.unwrap_or(0) + span.output_tokens.unwrap_or(0);
    let tokens: u64 = spans.iter().map(used).sum();
    if run.total_tokens != Some(tokens) || run.span_count != Some(spans.len() as u64) {
        return Err(format!("{tokens} tokens in {} spans: {run:?}", spans.len()).into());
    }
    Ok(())
}

/// A service in a process of its own.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    async fn start(name: &str, retrace: &str, environment: &[(&str, &str)]) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(name)
            .envs(std::env::var_os("NAMELESS").is_none().then_some(("OTEL_SERVICE_NAME", name)))
            .env("RETRACE_API_KEY", "rt_local")
            .env("RETRACE_BASE_URL", retrace)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        let url = lines.next_line().await?.ok_or_else(|| format!("the {name} did not start"))?;
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                println!("{line}");
            }
        });
        Ok(Self { process, url })
    }

    /// Lets it end by itself: it goes when its standard input does.
    async fn stop(&mut self) -> Result<(), Box<dyn Error>> {
        drop(self.process.stdin.take());
        let status = self.process.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("a service ended with {status}").into()) }
    }
}
