//! `retrace-local cassette`

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use retrace_local::export_cassette;
use retrace_protocol::{Trace, endpoint};
use retrace_replay::cassette::CassetteError;
use retrace_replay::render::{Fidelity, StoredEntry};

use super::receiver::Receiver;
use crate::{read, say};

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
            (Some(db), _) => received(&Receiver::on_file(db)?, &self.run)?,
            (None, Some(file)) => parse(&read(file)?, &file.display().to_string())?,
            (None, None) => received(&Receiver::at(&self.url, self.api_key)?, &self.run)?,
        };
        if trace.id.as_ref().is_none_or(|id| id.to_string() != self.run) {
            return Err(format!("the run that was read is not {}: name the run of this source", self.run).into());
        }
        let out = self.out.unwrap_or_else(|| PathBuf::from(format!("{}.jsonl", file_name(&self.run))));
        let entries = export_cassette(&trace, &out, self.overwrite).map_err(|error| match is_there(&error) {
            true => {
                let file = out.display();
                format!("{file} exists and stays as it is: name another file with --out, or give --overwrite")
            }
            false => error.to_string(),
        })?;
        say(&summary(&entries, &out));
        Ok(())
    }
}

/// Returns true if the file is not written because there is one.
fn is_there(error: &CassetteError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::AlreadyExists)
}

/// Converts an id to a file name.
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

fn received(receiver: &Receiver, run: &str) -> Result<Trace, String> {
    receiver.get(&endpoint::trace(&run.into())).map_err(|refused| match refused.status {
        404 => unknown(run, receiver.name()),
        _ => refused.message,
    })
}
