//! Cassettes of stored runs.

use std::io::Write as _;
use std::path::Path;

use retrace_protocol::Trace;
use retrace_replay::Secrets;
use retrace_replay::cassette::{CassetteError, CassetteProblem, CassetteWriter, Header, Origin};
use retrace_replay::render::{StoredEntry, entries};

/// Writes the model calls and tools of a run into a cassette, and returns the entries with how far each is that of the run.
///
/// The file appears whole, with its last line, or not at all. An existing file stays unless `overwrite` is set.
///
/// # Errors
/// A file that exists, a directory, a missing permission, a full disk, and a secret that would be written.
pub fn export_cassette(trace: &Trace, file: &Path, overwrite: bool) -> Result<Vec<StoredEntry>, CassetteError> {
    let name = file.display().to_string();
    let io = |error| CassetteError::io(&*name, None, error);
    if file.is_dir() {
        return Err(CassetteError::new(&*name, None, CassetteProblem::IsDirectory));
    }
    let entries = entries(trace);
    let mut header = Header::new(trace.name.clone().unwrap_or_default());
    header.run_id = trace.id.as_ref().map(ToString::to_string);
    header.recorded_at = trace.started_at.as_ref().map(ToString::to_string);
    header.recorder = Some(concat!("retrace-local ", env!("CARGO_PKG_VERSION")).to_owned());
    header.origin = Origin::Run;
    let mut secrets = Secrets::default();
    secrets.add_environment(
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
    );
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".cassette-").tempfile_in(folder).map_err(io)?;
    let mut writer = CassetteWriter::begin(&name, std::io::BufWriter::new(temporary), &header, secrets)?;
    for StoredEntry { entry, .. } in &entries {
        writer.push(entry.clone())?;
    }
    let mut temporary = writer.finish()?.into_inner().map_err(|error| io(error.into_error()))?;
    temporary.flush().map_err(io)?;
    let kept = if overwrite { temporary.persist(file) } else { temporary.persist_noclobber(file) };
    kept.map(|_| entries).map_err(|error| io(error.error))
}
