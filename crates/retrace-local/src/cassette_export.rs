//! Cassettes of stored runs.

use std::io::Write as _;
use std::path::Path;

use retrace_protocol::Trace;
use retrace_replay::cassette::{CassetteError, CassetteProblem};
use retrace_replay::render::StoredEntry;

use crate::fork::cassette;

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
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new().prefix(".cassette-").tempfile_in(folder).map_err(io)?;
    let (writer, entries) = cassette::write(trace, &name, std::io::BufWriter::new(temporary))?;
    let mut temporary = writer.into_inner().map_err(|error| io(error.into_error()))?;
    temporary.flush().map_err(io)?;
    let kept = if overwrite { temporary.persist(file) } else { temporary.persist_noclobber(file) };
    kept.map(|_| entries).map_err(|error| io(error.error))
}
