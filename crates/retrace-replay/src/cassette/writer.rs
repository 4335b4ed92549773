//! Writes cassettes.

use std::io::Write;

use super::line::{self, End};
use super::{CassetteError, CassetteProblem, Entry, Header};
use crate::secrets::Secrets;

/// Writes a cassette, one entry at a time.
///
/// A file without the last line, which [`CassetteWriter::finish`] writes, is refused as cut: write to a temporary file and rename
/// it when that succeeded.
///
/// ```
/// use retrace_protocol::{Json, SpanType};
/// use retrace_replay::cassette::{Cassette, CassetteWriter, Entry, Header};
/// use retrace_replay::Secrets;
///
/// let mut writer = CassetteWriter::begin("doc.jsonl", Vec::new(), &Header::new("pipeline"), Secrets::default())?;
/// writer.push(Entry::new(SpanType::ToolCall, "search", Json::text("tides")))?;
/// let file = writer.finish()?;
/// let cassette = Cassette::open("doc.jsonl", std::io::Cursor::new(file))?;
/// assert_eq!(cassette.index().len(), 1);
/// # Ok::<(), retrace_replay::cassette::CassetteError>(())
/// ```
#[derive(Debug)]
pub struct CassetteWriter<W> {
    file: String,
    writer: W,
    secrets: Secrets,
    entries: u64,
}

impl<W: Write> CassetteWriter<W> {
    /// Writes the header; credentials in the name of the run are replaced. `file` names the file in errors.
    ///
    /// # Errors
    /// The writer's, and [`CassetteProblem::Secret`] where a secret would still be written.
    pub fn begin(file: &str, writer: W, header: &Header, secrets: Secrets) -> Result<Self, CassetteError> {
        let mut cassette = Self { file: file.to_owned(), writer, secrets, entries: 0 };
        let mut header = header.clone();
        header.name = cassette.secrets.redact_label(&header.name);
        let header = serde_json::to_string(&header).map_err(|error| cassette.malformed(&error))?;
        if let Some(name) = cassette.secrets.find(&header) {
            let problem = CassetteProblem::Secret { name: name.to_owned(), ordinal: 0 };
            return Err(CassetteError::new(&*cassette.file, None, problem));
        }
        cassette.line(&header)?;
        Ok(cassette)
    }

    /// Writes an entry under the next ordinal, and returns that. Secrets that are known are replaced first.
    ///
    /// # Errors
    /// The writer's, and [`CassetteProblem::Secret`] where a secret would still be written, such as one in a name.
    pub fn push(&mut self, mut entry: Entry) -> Result<u64, CassetteError> {
        entry.ordinal = self.entries;
        self.secrets.redact(&mut entry);
        let line = line::write(&entry).map_err(|error| self.malformed(&error))?;
        if let Some(name) = self.secrets.find(&line) {
            let problem = CassetteProblem::Secret { name: name.to_owned(), ordinal: entry.ordinal };
            return Err(CassetteError::new(&*self.file, None, problem));
        }
        self.line(&line)?;
        self.entries += 1;
        Ok(entry.ordinal)
    }

    /// Writes the last line, flushes, and returns the writer.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> Result<W, CassetteError> {
        let end = serde_json::to_string(&End { entries: self.entries }).map_err(|error| self.malformed(&error))?;
        self.line(&end)?;
        let flushed = self.writer.flush();
        flushed.map_err(|error| CassetteError::io(&*self.file, None, error))?;
        Ok(self.writer)
    }

    fn line(&mut self, line: &str) -> Result<(), CassetteError> {
        let written = self.writer.write_all(line.as_bytes()).and_then(|()| self.writer.write_all(b"\n"));
        written.map_err(|error| CassetteError::io(&*self.file, None, error))
    }

    fn malformed(&self, error: &serde_json::Error) -> CassetteError {
        CassetteError::new(&*self.file, None, CassetteProblem::Malformed(error.to_string()))
    }
}
