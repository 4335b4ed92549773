//! The command `retrace-gateway`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use retrace_gateway::{Config, Gateway};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Receives OTLP, or reads it from Kafka, and delivers it to Retrace as runs.
#[derive(Debug, Parser)]
#[command(name = "retrace-gateway", version)]
struct Arguments {
    /// File with the configuration.
    #[arg(long, env = "RETRACE_GATEWAY_CONFIG")]
    config: Option<PathBuf>,
    /// Explains the configuration and exits.
    #[arg(long)]
    check: bool,
    /// Time limit of a stop for deliveries, in seconds.
    #[arg(long, default_value_t = 25)]
    drain_seconds: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::load(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(error) => return failure(&error),
    };
    if arguments.check {
        let written = io::stdout().write_all(config.explain().as_bytes());
        return written.map_or_else(|error| failure(&error), |()| ExitCode::SUCCESS);
    }
    let filter = match log_filter(&config.log_level) {
        Ok(filter) => filter,
        Err(error) => return failure(&format!("log.level: {error}")),
    };
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error),
    };
    let drain = Duration::from_secs(arguments.drain_seconds);
    let code = runtime.block_on(run(config, drain));
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Returns the filter of the log. Lines of HTTP libraries below `info` are left out: they hold headers, and keys in them.
fn log_filter(level: &str) -> Result<EnvFilter, ParseError> {
    let libraries =
        ["h2=info", "hyper=info", "hyper_util=info", "rustls=info", "tonic=info", "tower=info", "tungstenite=info"];
    libraries
        .into_iter()
        .try_fold(EnvFilter::try_new(level)?, |filter, directive| Ok(filter.add_directive(directive.parse()?)))
}

async fn run(config: Config, drain: Duration) -> ExitCode {
    let stopped = match stop_signal() {
        Ok(stopped) => stopped,
        Err(error) => return failure(&error),
    };
    let gateway = match Gateway::start(config).await {
        Ok(gateway) => gateway,
        Err(error) => return failure(&error),
    };
    let [http, grpc, admin] = [gateway.http_addr(), gateway.grpc_addr(), gateway.admin_addr()]
        .map(|addr| addr.map(|addr| addr.to_string()).unwrap_or_default());
    tracing::info!(http, grpc, admin, "the gateway is ready");
    stopped.await;
    tracing::info!("the gateway stops");
    for (tenant, totals) in gateway.stop(drain).await {
        let lost: u64 = totals.lost.values().sum();
        let (accepted, delivered, pending) = (totals.accepted, totals.delivered, totals.pending);
        let (spooled, reasons) = (totals.spooled, format!("{:?}", totals.lost));
        tracing::info!(tenant, accepted, delivered, lost, reasons, spooled, pending, "spans of a tenant");
    }
    ExitCode::SUCCESS
}

/// Returns a future that completes at SIGTERM or SIGINT.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

fn failure(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "retrace-gateway: {error}");
    ExitCode::from(2)
}
