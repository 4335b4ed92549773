//! Export of stored runs as cassettes.

use std::io::Write as _;
use std::path::Path;

use retrace_protocol::Trace;
use retrace_replay::cassette::{CassetteError, CassetteProblem};
use retrace_replay::render::StoredEntry;

use crate::fork::cassette;

/// Writes the model calls and tools of a run to a cassette, and returns its entries, each with its fidelity to the run.
///
/// The file is written atomically. An existing file is kept unless `overwrite` is set.
///
/// # Errors
/// Returns an error if the file exists or is a directory, if it cannot be written, or if the cassette would contain a
/// secret.
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
