//! `retrace-local cassette`

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use retrace_local::{Server, export_cassette};
use retrace_protocol::Trace;
use retrace_replay::render::{Fidelity, StoredEntry};

use crate::{read, say};

/// Most characters of an answer that an error shows.
const MAX_WORDS: usize = 500;
/// Most bytes of a run that a receiver sends.
const MAX_RUN_BYTES: u64 = 512 * 1024 * 1024;
const TIME: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct CassetteCommand {
    /// The id of the run.
    #[arg(value_name = "RUN")]
    run: String,

    /// Read the run from this SQLite file of `retrace-local serve`.
    #[arg(long, value_name = "FILE", group = "source")]
    db: Option<PathBuf>,

    /// Read the run from the receiver at this URL.
    #[arg(long, value_name = "URL", group = "source", default_value = "http://127.0.0.1:3001")]
    url: String,

    /// Read the run from this file, the answer to GET /api/v1/traces/RUN; - is the standard input.
    #[arg(long, value_name = "FILE", group = "source")]
    file: Option<PathBuf>,

    /// The key of the receiver. Rather set it in the environment: the arguments of a process are seen by everyone on the
    /// machine.
    #[arg(long, value_name = "KEY", env = "RETRACE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,

    /// The cassette to write; without it RUN.jsonl in this directory.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Replace a file that exists.
    #[arg(long)]
    overwrite: bool,
}

impl CassetteCommand {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let trace = match (&self.db, &self.file) {
            (Some(db), _) => stored(db, &self.run)?,
            (None, Some(file)) => parse(&read(file)?, &file.display().to_string())?,
            (None, None) => received(&self.url, &self.run, self.api_key.as_deref())?,
        };
        if trace.id.as_ref().is_none_or(|id| id.to_string() != self.run) {
            return Err(format!("the run that was read is not {}: name the run of this source", self.run).into());
        }
        let out = self.out.unwrap_or_else(|| PathBuf::from(format!("{}.jsonl", file_name(&self.run))));
        let entries =
            export_cassette(&trace, &out, self.overwrite).map_err(|error| match out.exists() && !self.overwrite {
                true if out.is_file() => {
                    format!("{error}; the file exists and stays as it is: name another with --out, or give --overwrite")
                }
                _ => error.to_string(),
            })?;
        say(&summary(&entries, &out));
        Ok(())
    }
}

/// An id as the name of a file.
fn file_name(run: &str) -> String {
    run.chars().map(|each| if each.is_ascii_alphanumeric() || matches!(each, '-' | '_') { each } else { '_' }).collect()
}

fn summary(entries: &[StoredEntry], out: &Path) -> String {
    let mut lines = Vec::new();
    let mut counts = [0_usize; 3];
    for StoredEntry { entry, fidelity } in entries {
        let (place, word, reason) = match fidelity {
            Fidelity::Exact => (0, "exact", String::new()),
            Fidelity::Rebuilt(notes) if notes.is_empty() => (1, "rebuilt", String::new()),
            Fidelity::Rebuilt(notes) => (1, "rebuilt", format!(", without {}", notes.join(", "))),
            Fidelity::NotReplayable(reason) => (2, "not replayable", format!(": {reason}")),
            other => (2, "unknown", format!("{other:?}")),
        };
        if let Some(count) = counts.get_mut(place) {
            *count += 1;
        }
        let lane = entry.lane.to_string();
        let lane = if lane.is_empty() { lane } else { format!("{lane}/") };
        lines.push(format!(
            "  {:>4}  {} {lane}{}  {word}{reason}",
            entry.ordinal,
            entry.span_type.as_str(),
            entry.name
        ));
    }
    let [exact, rebuilt, not] = counts;
    lines.push(format!("{}: {exact} exact, {rebuilt} rebuilt, {not} not replayable", out.display()));
    lines.join("\n")
}

fn parse(bytes: &[u8], source: &str) -> Result<Trace, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        format!("{source}, line {}: {error}; expected a run as GET /api/v1/traces/RUN answers it", error.line())
    })
}

fn unknown(run: &str, source: &str) -> String {
    format!("{source} has no run {run}: take an id from its page or from GET /api/v1/traces")
}

fn stored(db: &Path, run: &str) -> Result<Trace, Box<dyn Error>> {
    if !db.exists() {
        return Err(format!("{}: there is no such file; name the --db of `retrace-local serve`", db.display()).into());
    }
    if db.is_dir() {
        return Err(format!("{} is a directory; name a file inside of it", db.display()).into());
    }
    let server = Server::builder().with_addr(([127, 0, 0, 1], 0).into()).with_db(db).start()?;
    let trace = server.trace(&run.into())?;
    server.stop();
    Ok(trace.ok_or_else(|| unknown(run, &db.display().to_string()))?)
}

/// Reads a run of a receiver over plain HTTP. A receiver with TLS is read by its file.
fn received(url: &str, run: &str, key: Option<&str>) -> Result<Trace, Box<dyn Error>> {
    let Some(host) = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/')) else {
        return Err(format!(
            "{url} is no http:// URL; download GET /api/v1/traces/{run} yourself and give it with --file"
        )
        .into());
    };
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let failed = |error: std::io::Error| {
        format!("cannot read {url} ({error}): start `retrace-local serve`, or name its file with --db")
    };
    let deadline = Instant::now() + TIME;
    let mut stream = TcpStream::connect(address.as_str()).map_err(failed)?;
    stream.set_write_timeout(Some(TIME)).map_err(failed)?;
    let key = key.map(|key| format!("x-retrace-key: {key}\r\n")).unwrap_or_default();
    if key.matches('\n').count() > 1 || run.chars().any(|each| each.is_whitespace() || each.is_control()) {
        return Err("the id of a run has no blanks, and a key no line breaks".into());
    }
    // HTTP/1.0: the end of the connection is the end of the body.
    let head = format!("GET /api/v1/traces/{run} HTTP/1.0\r\nhost: {host}\r\n{key}\r\n");
    stream.write_all(head.as_bytes()).map_err(failed)?;
    let answer = read_until(&mut stream, deadline).map_err(failed)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let (head, body) = end.and_then(|end| answer.split_at_checked(end)).ok_or("the receiver answered no HTTP")?;
    let status = String::from_utf8_lossy(head).split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    match status {
        Some(200) => Ok(parse(body, url)?),
        Some(404) => Err(unknown(run, url).into()),
        Some(401 | 403) => Err(format!("{url} takes another key: set RETRACE_API_KEY").into()),
        other => {
            let body = String::from_utf8_lossy(body);
            let words: String = body.trim().chars().filter(|each| !each.is_control()).take(MAX_WORDS).collect();
            Err(format!("{url} answered with status {}: {words}", other.unwrap_or(0)).into())
        }
    }
}

/// Reads to the end of a connection or to the bound, within a time for the whole.
fn read_until(stream: &mut TcpStream, deadline: Instant) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 64 * 1024];
    while (answer.len() as u64) < MAX_RUN_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend(piece.iter().take(length)),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}
