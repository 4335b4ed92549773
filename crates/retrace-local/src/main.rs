//! The command `retrace-local`: parses arguments and prints lines; the library does the rest.

mod command;

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
#[cfg(feature = "grpc")]
use retrace_local::StartError;
use retrace_local::{Policies, Server, ServerBuilder};
use retrace_protocol::Trace;
use retrace_translate::{Options, SpanSelection};
use serde::Serialize;

/// A local Retrace: receives runs of agents over its own protocol and over OTLP, keeps them in SQLite, and shows them on a page.
#[derive(Parser)]
#[command(name = "retrace-local", version, arg_required_else_help = true)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Receive runs until Ctrl-C or SIGTERM, and show them on a page at the printed address.
    ///
    /// Takes what Retrace's clients send, OTLP over gRPC at port 4317, and at the same address OTLP over HTTP: spans on /v1/traces and log records on
    /// /v1/logs, as protobuf or JSON, plain or compressed. The environment that makes an application send it there is printed.
    Serve(Serve),
    /// Print the runs in OTLP data as the exporter would send them.
    ///
    /// Reads OTLP requests with spans and with log records, as protobuf or as JSON, recognised by their content, and prints
    /// {"traces":[…]}, each trace with its spans.
    Translate(Translate),
    /// Answer model calls from a cassette, as a provider, until Ctrl-C or SIGTERM. Ends with status 1 if a call was refused.
    Replay(command::ReplayCommand),
    /// Write a stored run as a cassette, and list what of it is exact, rebuilt or not replayable.
    Cassette(command::CassetteCommand),
    /// List stored runs, the newest first. Ends with status 2 if they cannot be read, as do the following.
    Runs(command::RunsCommand),
    /// Show one run: its steps, with the numbers and ids by which they are forked.
    Show(command::ShowCommand),
    /// Have a connected agent execute a run again from one of its steps, with something changed there.
    Fork(command::ForkCommand),
    /// Compare two runs. Ends with status 0 when they are the same, 1 when they differ.
    Diff(command::DiffCommand),
    /// Write a run to a file: as it is stored, as a cassette or as a golden file.
    Export(command::ExportCommand),
}

#[derive(Args)]
struct Translate {
    /// The files to read together; - is the standard input.
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    translation: Translation,
}

/// How OTLP is translated.
#[derive(Args)]
struct Translation {
    /// Which spans become part of a run: those of GenAI and the root above them, or all.
    #[arg(long, value_enum, default_value = "genai")]
    spans: Spans,

    /// Leave inputs and outputs out.
    #[arg(long)]
    no_content: bool,

    /// The project to file runs under.
    #[arg(long, value_name = "ID")]
    project_id: Option<String>,

    /// The deployment environment of runs, instead of the resource's.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Spans {
    Genai,
    All,
}

#[derive(Args)]
struct Serve {
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3001", value_parser = address)]
    addr: SocketAddr,

    /// Keep runs in this SQLite file, created if need be; without it, or with `:memory:`, they are in memory and gone at the
    /// end.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,

    /// Require this key of every client; without it any key is taken, and none too. Rather set it in the environment: the
    /// arguments of a process are seen by everyone on the machine.
    #[arg(long, value_name = "KEY", env = "RETRACE_LOCAL_API_KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// Remove runs that began longer ago, such as 30d or 12h; golden ones and those under way are kept.
    #[arg(long, value_name = "TIME", value_parser = command::age)]
    keep: Option<Duration>,

    /// Remove the oldest runs while the database is larger, such as 5GB or 500MiB; golden ones and those under way are kept.
    #[arg(long, value_name = "SIZE", value_parser = command::size)]
    max_size: Option<u64>,

    /// Refuse bodies that are larger.
    #[arg(long, value_name = "N", default_value_t = ServerBuilder::DEFAULT_MAX_BODY_BYTES)]
    max_body_bytes: u64,

    /// Where to listen for OTLP over gRPC; port 0 takes any free port. Default: port 4317 beside --addr if it is free, or any free
    /// port if --addr takes any.
    #[cfg(feature = "grpc")]
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    grpc_addr: Option<SocketAddr>,

    /// Take no OTLP over gRPC.
    #[cfg(feature = "grpc")]
    #[arg(long, conflicts_with = "grpc_addr")]
    no_grpc: bool,

    /// Allow an address that other machines can reach. Without --tls-cert content then travels in clear text, and without a key
    /// everyone on the network can read, change and delete it.
    #[arg(long)]
    allow_remote: bool,

    /// One more name under which this receiver may be addressed, such as that of a container; can be given repeatedly.
    #[arg(long, value_name = "NAME")]
    host_name: Vec<String>,

    /// Speak HTTPS with the certificate in this PEM file.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, a PEM file.
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Block and hold calls by the policies of this JSON file; docs/ENFORCEMENT.md describes it.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Of spans that come over OTLP")]
    translation: Translation,
}

fn main() -> ExitCode {
    let done = match Command::parse().what {
        What::Serve(serve) => serve.run(),
        What::Translate(translate) => translate.run(),
        What::Replay(replay) => replay.run(),
        What::Cassette(cassette) => cassette.run(),
        What::Runs(runs) => return command::status(runs.run()),
        What::Show(show) => return command::status(show.run()),
        What::Fork(fork) => return command::status(fork.run()),
        What::Diff(diff) => return command::status(diff.run()),
        What::Export(export) => return command::status(export.run()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

impl Serve {
    fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        let mut server = Server::builder()
            .with_addr(self.addr)
            .with_max_body_bytes(self.max_body_bytes)
            .with_allow_remote(self.allow_remote)
            .with_otlp_options(self.translation.into());
        for name in self.host_name {
            server = server.with_host_name(name);
        }
        #[cfg(feature = "tls")]
        if let (Some(certificate), Some(key)) = (self.tls_cert, self.tls_key) {
            server = server.with_tls(certificate, key);
        }
        if let Some(path) = &self.policy {
            server = server.with_policies(Policies::read(path)?);
        }
        let has_key = self.api_key.is_some();
        if let Some(key) = self.api_key {
            server = server.with_api_key(key);
        }
        if let Some(age) = self.keep {
            server = server.with_keep(age);
        }
        if let Some(bytes) = self.max_size {
            server = server.with_max_db_bytes(bytes);
        }
        // SQLite's name of a database in memory.
        let db = self.db.filter(|path| path.as_os_str() != ":memory:");
        if let Some(path) = &db {
            server = server.with_db(path);
        }
        // Registered before the server prints its address, so that a caller that waits for the address may stop it at
        // once.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = runtime.block_on(async { Stop::new() })?;
        #[cfg(feature = "grpc")]
        let server = start(server, self.addr, self.grpc_addr, self.no_grpc)?;
        #[cfg(not(feature = "grpc"))]
        let server = server.start()?;

        let key = if has_key { "…" } else { "rt_local" };
        let headers = if has_key { " OTEL_EXPORTER_OTLP_HEADERS=x-retrace-key=…" } else { "" };
        say(&format!(
            "Retrace, local: {url}
  runs are kept  {kept}
  to send here   RETRACE_BASE_URL={url} RETRACE_API_KEY={key}
  or over OTLP   OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_EXPORTER_OTLP_ENDPOINT={otlp}{headers}{grpc}
  to stop        Ctrl-C",
            url = server.url(),
            otlp = server.otlp_url(),
            grpc = server.grpc_url().map_or_else(String::new, |url| format!(
                "\n  or over gRPC   OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_ENDPOINT={url}{headers}"
            )),
            kept = db.map_or("in memory".into(), |path| path.display().to_string()),
        ));
        if let Some(reason) = server.read_only() {
            complain(reason);
        }
        if !server.addr().ip().is_loopback() {
            let open = if has_key { "" } else { ", and no key is asked for" };
            let plain = if server.url().starts_with("https:") { "" } else { "; nothing is encrypted" };
            complain(&format!("other machines can reach this receiver{open}{plain}"));
        }

        runtime.block_on(stop.requested());
        server.stop();
        Ok(())
    }
}

/// Default port of OTLP over gRPC.
#[cfg(feature = "grpc")]
const GRPC_PORT: u16 = 4317;

/// Starts with gRPC. If the default port is in use and no other was given, the server starts without gRPC.
#[cfg(feature = "grpc")]
fn start(
    server: ServerBuilder,
    addr: SocketAddr,
    grpc_addr: Option<SocketAddr>,
    no_grpc: bool,
) -> Result<Server, StartError> {
    if no_grpc {
        return server.start();
    }
    let usual = SocketAddr::new(addr.ip(), if addr.port() == 0 { 0 } else { GRPC_PORT });
    match server.clone().with_grpc_addr(grpc_addr.unwrap_or(usual)).start() {
        Err(StartError::AddrInUse { addr }) if grpc_addr.is_none() && addr == usual => {
            complain(&format!("OTLP over gRPC is off, since {addr} is in use: --grpc-addr sets another address"));
            server.start()
        }
        started => started,
    }
}

impl Translate {
    fn run(self) -> Result<(), Box<dyn std::error::Error>> {
        let inputs = self.files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        let options = self.translation.into();
        let translated = retrace_local::translate(inputs.iter().map(Vec::as_slice), options).map_err(|error| {
            let file = self.files.get(error.input()).map_or_else(String::new, |file| file.display().to_string());
            format!("{file}: {error}")
        })?;
        if translated.malformed > 0 {
            complain(&format!(
                "{} records are left out: their ids are malformed, or they cannot be read",
                translated.malformed
            ));
        }
        if translated.traces.is_empty() {
            complain(&nothing_translated(translated.set_aside));
        }
        say(&serde_json::to_string_pretty(&Traces { traces: &translated.traces })?);
        Ok(())
    }
}

/// Reason for which there is no run.
fn nothing_translated(set_aside: u64) -> String {
    match set_aside {
        0 => "the input holds no span: expected OTLP, as JSON with `resourceSpans` or `resourceLogs` or as protobuf"
            .to_owned(),
        _ => format!("none of the {set_aside} spans is one of GenAI: give --spans all to translate them too"),
    }
}

impl From<Translation> for Options {
    fn from(translation: Translation) -> Self {
        let mut options = Self::default();
        options.selection = match translation.spans {
            Spans::Genai => SpanSelection::GenAi,
            Spans::All => SpanSelection::All,
        };
        options.capture_content = !translation.no_content;
        options.project_id = translation.project_id;
        options.environment = translation.environment;
        options
    }
}

/// Output of `translate`.
#[derive(Serialize)]
struct Traces<'a> {
    traces: &'a [Trace],
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map(|_| bytes).map_err(|error| format!("{}: {error}", file.display()))
}

/// Prints a line. A closed output is not an error.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "retrace-local: {text}");
}

/// Signals that stop a server gracefully.
struct Stop {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn requested(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn requested(self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Parses an address, or a name and a port: returns the first address of the name, IPv4 before IPv6.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("{error}; expected one such as 127.0.0.1:3001"))?;
    found.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| "this name stands for no address".to_owned())
}
