//! `retrace-local export`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use retrace_protocol::{Id, endpoint};
use serde_json::json;

use super::receiver::Source;
use super::{Ending, print_json, runs};
use crate::say;

#[derive(Args)]
pub(crate) struct ExportCommand {
    /// The id of the run.
    #[arg(value_name = "RUN")]
    run: String,

    #[command(flatten)]
    source: Source,

    /// The form: the run as it is stored, a cassette, or a golden file of the official SDK.
    #[arg(long, value_enum, default_value = "run")]
    format: Format,

    /// The same as --format cassette.
    #[arg(long, conflicts_with = "format")]
    cassette: bool,

    /// The file to write; - is the standard output.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    out: PathBuf,

    /// Replace a file that exists.
    #[arg(long)]
    overwrite: bool,

    /// Print what was written as JSON. Needs a file.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Run,
    Cassette,
    Golden,
}

impl ExportCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        let is_output = self.out == Path::new("-");
        if is_output && self.json {
            return Err("--json states what was written to a file: give the file with --out".into());
        }
        let format = if self.cassette { Format::Cassette } else { self.format };
        let trace = endpoint::trace(&Id::from(self.run.as_str()));
        let (path, name) = match format {
            Format::Run => (trace, "run"),
            Format::Cassette => (format!("{trace}/cassette"), "cassette"),
            Format::Golden => (format!("{trace}/cassette?format=golden"), "golden"),
        };
        let receiver = self.source.open()?;
        let bytes = receiver.bytes(&path).map_err(|refused| runs::unknown(&receiver, &self.run, refused))?;
        if is_output {
            let mut out = std::io::stdout().lock();
            return out
                .write_all(&bytes)
                .and_then(|()| out.flush())
                .map(|()| Ending::Same)
                .map_err(|error| error.to_string());
        }
        let file = self.out.display();
        write(&self.out, &bytes, self.overwrite).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{file} exists and stays as it is: name another file with --out, or give --overwrite")
            }
            _ => format!("cannot write {file} ({error}): name another file with --out"),
        })?;
        if self.json {
            return print_json(&json!({"file": self.out, "format": name, "bytes": bytes.len()}));
        }
        say(&format!("{file}: {name}, {} bytes", bytes.len()));
        Ok(Ending::Same)
    }
}

/// Writes a file atomically.
fn write(file: &Path, bytes: &[u8], overwrite: bool) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".export-").tempfile_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.flush()?;
    if overwrite {
        temporary.persist(file)?;
    } else {
        temporary.persist_noclobber(file)?;
    }
    Ok(())
}
