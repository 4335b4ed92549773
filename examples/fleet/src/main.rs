//! A fleet on one machine: three services in two languages, a Kafka broker (the mock cluster of librdkafka), two gateways of
//! one consumer group, and a receiver. Ends by itself, with counts.
//!
//! ```console
//! $ cargo run -p example-fleet
//! ```

mod collector;
mod services;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use retrace_gateway::{Config, Gateway};
use retrace_local::{Server, TraceQuery};
use tokio::net::TcpListener;

use crate::collector::TOPIC;
use crate::services::{Failure, provider, run_agent};

/// Runs of the agent.
const RUNS: u64 = 20;
/// Spans of one run: the agent, its model call, two calls and their servers, the tool of the one and the model call of the
/// other.
const SPANS: usize = 8;
/// Limit of the whole example.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let receiver = Server::start()?;
    let broker = MockCluster::new(1)?;
    broker.create_topic(TOPIC, 4, 1)?;
    let gateways = [
        gateway(&receiver, &broker.bootstrap_servers()).await?,
        gateway(&receiver, &broker.bootstrap_servers()).await?,
    ];

    let producer = ClientConfig::new().set("bootstrap.servers", broker.bootstrap_servers()).create()?;
    let collector = format!("http://{}", serve(collector::router(producer)).await?);
    let (front, writer) = (provider("front", &collector)?, provider("writer", &collector)?);
    let write = format!("http://{}/write", serve(services::writer(&writer)).await?);
    let mut search = Python::start(&collector)?;
    let url = format!("http://127.0.0.1:{}/search", search.port()?);

    let agents = tokio::task::spawn_blocking(move || -> Result<(), Failure> {
        for run in 0..RUNS {
            run_agent(&front, &format!("question {run}"), &url, &write)?;
        }
        front.shutdown()?;
        writer.shutdown()?;
        Ok(())
    });
    agents.await??;
    wait_for_runs(&receiver).await?;

    let mut out = std::io::stdout();
    for (place, gateway) in gateways.into_iter().enumerate() {
        for (tenant, totals) in gateway.stop(Duration::from_secs(10)).await {
            let lost: u64 = totals.lost.values().sum();
            let (accepted, delivered, aside) = (totals.accepted, totals.delivered, totals.set_aside);
            writeln!(
                out,
                "gateway {}, tenant {tenant}: {accepted} spans accepted, {delivered} delivered, {lost} lost, {aside} set aside",
                place + 1
            )?;
        }
    }
    let page = receiver.traces(&TraceQuery::new())?;
    let mut spans = 0;
    for run in &page.traces {
        let Some(id) = &run.id else { continue };
        spans += receiver.trace(id)?.and_then(|run| run.spans).map_or(0, |spans| spans.len());
    }
    writeln!(out, "receiver: {} runs, {spans} spans of three services", page.total)?;
    if (page.total, spans) != (RUNS, SPANS * usize::try_from(RUNS)?) {
        return Err(format!("expected {RUNS} runs with {SPANS} spans each").into());
    }
    Ok(())
}

/// Starts a gateway that reads from the broker. Every span is sent, so that the calls between services show.
async fn gateway(receiver: &Server, brokers: &str) -> Result<Gateway, Failure> {
    let text = format!(
        "otlp = {{ http = \"\", grpc = \"\" }}\nadmin = {{ listen = \"127.0.0.1:0\" }}\n\
         traces = {{ wait_seconds = 6 }}\n\
         retrace = {{ base_url = \"{}\", span_selection = \"all\" }}\n\
         kafka = {{ brokers = [\"{brokers}\"], topics = [\"{TOPIC}\"], session_timeout_seconds = 6 }}",
        receiver.url()
    );
    let variables = |name: &str| (name == "RETRACE_API_KEY").then(|| "rt_local".to_owned());
    Ok(Gateway::start(Config::parse("the example", &text, &[], &variables)?).await?)
}

/// Serves on a free port.
async fn serve(router: Router) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(addr)
}

async fn wait_for_runs(receiver: &Server) -> Result<(), Failure> {
    let began = Instant::now();
    while receiver.traces(&TraceQuery::new())?.total < RUNS {
        if began.elapsed() > LIMIT {
            return Err("the runs have not arrived".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The service in Python, which ends with its standard input.
struct Python(Child);

impl Python {
    fn start(collector: &str) -> Result<Self, Failure> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/search.py");
        let mut python = Command::new("python3");
        python.arg(script).arg(collector).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Self(python.spawn().map_err(|error| format!("python3: {error}"))?))
    }

    fn port(&mut self) -> Result<u16, Failure> {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().ok_or("no output")?).read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
