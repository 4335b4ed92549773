//! Writes cassettes.

use std::io::Write;

use super::line::{self, End};
use super::{CassetteError, CassetteProblem, Entry, Header, MAX_LINE_BYTES};
use crate::CleanRequest;
use crate::secrets::Secrets;

/// Most memory that is kept for the next line, in bytes.
const MAX_BUFFER_BYTES: usize = 256 * 1024;

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
    lines: u64,
    max_line_bytes: u64,
    /// Memory of the next line.
    buffer: Vec<u8>,
}

impl<W: Write> CassetteWriter<W> {
    /// Writes the header; credentials in the name of the run are replaced. `file` names the file in errors.
    ///
    /// # Errors
    /// The writer's, and [`CassetteProblem::Secret`] where a secret would still be written.
    pub fn begin(file: &str, writer: W, header: &Header, secrets: Secrets) -> Result<Self, CassetteError> {
        let max_line_bytes = MAX_LINE_BYTES;
        let mut cassette =
            Self { file: file.to_owned(), writer, secrets, entries: 0, lines: 0, max_line_bytes, buffer: Vec::new() };
        let mut header = header.clone();
        header.name = cassette.secrets.redact_label(&header.name);
        let header = serde_json::to_string(&header).map_err(|error| cassette.malformed(&error))?;
        if let Some(name) = cassette.secrets.find(header.as_bytes()) {
            let problem = CassetteProblem::Secret { name: name.to_owned(), ordinal: 0 };
            return Err(CassetteError::new(&*cassette.file, None, problem));
        }
        cassette.line(header.as_bytes())?;
        Ok(cassette)
    }

    /// Writes an entry under the next ordinal, and returns that. Secrets that are known are replaced first. A compressed response, in
    /// which none can be found, is written as not replayable.
    ///
    /// # Errors
    /// The writer's, [`CassetteProblem::TooLong`] for an entry that no reader takes, and [`CassetteProblem::Secret`] where a secret would still be written, such as one in a name.
    pub fn push(&mut self, mut entry: Entry) -> Result<u64, CassetteError> {
        self.secrets.redact_request(&mut entry);
        self.push_redacted(entry)
    }

    /// [`CassetteWriter::push`] for an entry whose request holds no credentials but the secrets that are known: it is read no more.
    /// The fingerprint and the request of the entry are replaced by those of `request`.
    ///
    /// # Errors
    /// As [`CassetteWriter::push`].
    pub fn push_clean(&mut self, mut entry: Entry, request: CleanRequest) -> Result<u64, CassetteError> {
        entry.fingerprint = request.fingerprint;
        entry.request = self.secrets.redact_clean(request.json);
        self.push_redacted(entry)
    }

    fn push_redacted(&mut self, mut entry: Entry) -> Result<u64, CassetteError> {
        entry.ordinal = self.entries;
        let documents = self.secrets.redact_others(&mut entry);
        let mut line = std::mem::take(&mut self.buffer);
        line.clear();
        let written = line::append(&mut line, &entry, &documents).map_err(|error| self.malformed(&error));
        let pushed = written.and_then(|()| match self.secrets.find(&line) {
            Some(name) => {
                let problem = CassetteProblem::Secret { name: name.to_owned(), ordinal: entry.ordinal };
                Err(CassetteError::new(&*self.file, None, problem))
            }
            None => self.line(&line),
        });
        if line.capacity() <= MAX_BUFFER_BYTES {
            self.buffer = line;
        }
        pushed?;
        self.entries += 1;
        Ok(entry.ordinal)
    }

    /// Writes the last line, flushes, and returns the writer.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> Result<W, CassetteError> {
        let end = serde_json::to_string(&End { entries: self.entries }).map_err(|error| self.malformed(&error))?;
        self.line(end.as_bytes())?;
        let flushed = self.writer.flush();
        flushed.map_err(|error| CassetteError::io(&*self.file, None, error))?;
        Ok(self.writer)
    }

    /// Writes a line that a reader takes.
    fn line(&mut self, line: &[u8]) -> Result<(), CassetteError> {
        if line.len() as u64 >= self.max_line_bytes {
            let problem = CassetteProblem::TooLong(self.max_line_bytes);
            return Err(CassetteError::new(&*self.file, Some(self.lines + 1), problem));
        }
        self.lines += 1;
        let written = self.writer.write_all(line).and_then(|()| self.writer.write_all(b"\n"));
        written.map_err(|error| CassetteError::io(&*self.file, None, error))
    }

    fn malformed(&self, error: &serde_json::Error) -> CassetteError {
        CassetteError::new(&*self.file, None, CassetteProblem::Malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use retrace_protocol::{Json, SpanType};

    use super::super::{Cassette, Outcome};
    use super::*;
    use crate::{Chunk, Response};

    #[test]
    fn a_line_that_no_reader_takes_is_not_written() {
        let mut writer = CassetteWriter::begin("a.jsonl", Vec::new(), &Header::new("a"), Secrets::default()).unwrap();
        writer.max_line_bytes = 200;
        let entry = |length: usize| Entry::new(SpanType::ToolCall, "a", Json::text(&"x".repeat(length)));
        writer.push(entry(1)).unwrap();
        let error = writer.push(entry(200)).unwrap_err().to_string();
        assert!(error.contains("a.jsonl") && error.contains("line 3") && error.contains("200"), "{error}");
    }

    #[test]
    fn a_compressed_response_is_not_written() {
        let mut writer = CassetteWriter::begin("a.jsonl", Vec::new(), &Header::new("a"), Secrets::default()).unwrap();
        for coding in ["gzip", "Identity", ""] {
            let mut entry = Entry::new(SpanType::LlmCall, "chat", Json::null());
            let headers = vec![("content-encoding".to_owned(), coding.to_owned())];
            let chunks = vec![Chunk { ms: 0, bytes: b"sk-hidden".to_vec() }];
            entry.outcome = Outcome::Response(Response { status: 200, headers, chunks, ..Response::default() });
            writer.push(entry).unwrap();
        }
        let mut cassette = Cassette::open("a.jsonl", Cursor::new(writer.finish().unwrap())).unwrap();
        let outcome = cassette.entry(0).unwrap().unwrap().outcome;
        assert!(matches!(&outcome, Outcome::NotReplayable(reason) if reason.contains("gzip")), "{outcome:?}");
        assert!(matches!(cassette.entry(1).unwrap().unwrap().outcome, Outcome::Response(_)));
    }
}
