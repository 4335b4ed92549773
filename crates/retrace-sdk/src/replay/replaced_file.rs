//! Files that are replaced as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use retrace_replay::cassette::CassetteError;

/// Bytes that are written at once: a recorded call has some ten thousand.
const BUFFER_BYTES: usize = 256 * 1024;

/// Temporary file beside the one that it replaces. Removed when it is dropped.
#[derive(Debug)]
pub(crate) struct ReplacedFile {
    path: PathBuf,
    temporary: PathBuf,
    writer: BufWriter<File>,
}

impl ReplacedFile {
    /// Begins a file. Makes its directory.
    pub(crate) fn begin(path: &Path) -> Result<Self, CassetteError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let fail = |error| CassetteError::io(path.display().to_string(), None, error);
        if path.is_dir() {
            return Err(fail(io::ErrorKind::IsADirectory.into()));
        }
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(fail)?;
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = PathBuf::from(temporary);
        let file = File::options().write(true).create_new(true).open(&temporary).map_err(fail)?;
        Ok(Self { path: path.to_owned(), temporary, writer: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    /// Returns the writer.
    pub(crate) fn writer(&mut self) -> &mut BufWriter<File> {
        &mut self.writer
    }

    /// Puts the file in its place.
    pub(crate) fn finish(mut self) -> Result<(), CassetteError> {
        let fail = |error| CassetteError::io(self.path.display().to_string(), None, error);
        self.writer.flush().map_err(fail)?;
        self.writer.get_ref().sync_all().map_err(fail)?;
        fs::rename(&self.temporary, &self.path).map_err(fail)
    }
}

impl Drop for ReplacedFile {
    /// Removes the temporary file. After a rename there is none.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

impl io::Write for ReplacedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
