//! Reads cassettes.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};

use retrace_protocol::SpanType;

use super::line::{self, End, EntryKey};
use super::{CassetteError, CassetteProblem, Entry, FORMAT_MAJOR, Header};
use crate::{Fingerprint, Lane};

/// Most bytes of one line.
pub const MAX_LINE_BYTES: u64 = 256 * 1024 * 1024;

/// A file, or bytes in memory.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// What is kept in memory of an entry.
#[derive(Clone, Debug)]
pub struct IndexEntry {
    /// Place in the run, from 0.
    pub ordinal: u64,
    /// Number of the lane; equal for entries of one lane. See [`Cassette::lane`].
    pub lane: usize,
    /// Ordinal of a step among those of its name in its lane.
    pub step: Option<u32>,
    /// Type of the span.
    pub span_type: SpanType,
    /// Number of the name; equal for entries of one name. See [`Cassette::name`].
    pub name: usize,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// Id of the span in Retrace.
    pub span_id: Option<Box<str>>,
    /// False for a mark, which has no result.
    pub has_result: bool,
    line: u64,
    offset: u64,
}

/// An open cassette: the header, and an index of its entries. Entries are read when they are needed, one at a time.
pub struct Cassette {
    file: String,
    header: Header,
    reader: BufReader<Box<dyn Source>>,
    /// Offset of what the reader reads next, where it is known.
    position: Option<u64>,
    index: Vec<IndexEntry>,
    lanes: Vec<Lane>,
    names: Vec<Box<str>>,
}

/// Numbers texts by first appearance.
#[derive(Default)]
struct Interner {
    numbers: HashMap<Box<str>, usize>,
}

impl Interner {
    fn number(&mut self, text: &str, added: impl FnOnce(&str)) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.numbers.len();
        self.numbers.insert(text.into(), number);
        added(text);
        number
    }
}

impl Cassette {
    /// Reads the header and the keys of all entries. `file` names the file in errors.
    ///
    /// Costs one pass over the file. The memory is that of one line, and some 150 bytes for each entry.
    ///
    /// # Errors
    /// The source's; a file that is no cassette, has a newer major version, is cut, or has a line that is not valid.
    pub fn open(file: &str, source: impl Source + 'static) -> Result<Self, CassetteError> {
        let fail = |line, problem| CassetteError::new(file, line, problem);
        let mut reader: BufReader<Box<dyn Source>> = BufReader::with_capacity(64 * 1024, Box::new(source));
        let mut text = Vec::new();
        let (mut offset, mut number) = (0, 1);
        read_line(&mut reader, &mut text).map_err(|problem| on_line(file, 1, problem))?;
        let header = read_header(&text).map_err(|problem| fail(Some(1), problem))?;
        let (mut index, mut lanes, mut names) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lane_numbers, mut name_numbers) = (Interner::default(), Interner::default());
        loop {
            offset += text.len() as u64;
            number += 1;
            read_line(&mut reader, &mut text).map_err(|problem| on_line(file, number, problem))?;
            let is_cut = !text.ends_with(b"\n");
            let malformed = |reason: String| match is_cut {
                true => fail(Some(number), CassetteProblem::Cut),
                false => fail(Some(number), CassetteProblem::Malformed(reason)),
            };
            if text.is_empty() {
                return Err(fail(Some(number), CassetteProblem::Cut));
            }
            let line = std::str::from_utf8(&text).map_err(|error| malformed(error.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let key: EntryKey<'_> = match serde_json::from_str(line) {
                Ok(key) => key,
                Err(error) => match serde_json::from_str::<End>(line) {
                    Ok(End { entries }) if entries == index.len() as u64 => break,
                    Ok(End { entries }) => {
                        let problem = CassetteProblem::Count { stated: entries, found: index.len() as u64 };
                        return Err(fail(Some(number), problem));
                    }
                    Err(_) => return Err(malformed(error.to_string())),
                },
            };
            index.push(IndexEntry {
                ordinal: key.ordinal,
                lane: lane_numbers.number(&key.lane, |text| lanes.push(Lane::parse(text))),
                step: key.step,
                span_type: key.span_type(),
                name: name_numbers.number(&key.name, |text| names.push(text.into())),
                fingerprint: key.fingerprint().map_err(malformed)?,
                has_result: key.has_result(),
                span_id: key.span_id.map(String::into_boxed_str),
                line: number,
                offset,
            });
        }
        Ok(Self { file: file.to_owned(), header, reader, position: None, index, lanes, names })
    }

    /// Name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// First line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Keys of the entries, in the order of the file.
    #[must_use]
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// Lanes, by the number that [`IndexEntry::lane`] states.
    #[must_use]
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Returns the lane of an entry.
    #[must_use]
    pub fn lane(&self, entry: &IndexEntry) -> &Lane {
        static ROOT: Lane = Lane::ROOT;
        self.lanes.get(entry.lane).unwrap_or(&ROOT)
    }

    /// Returns the name of an entry.
    #[must_use]
    pub fn name(&self, entry: &IndexEntry) -> &str {
        self.names.get(entry.name).map_or("", |name| name)
    }

    /// Returns the number of a name, if an entry has it.
    #[must_use]
    pub fn name_number(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| &**known == name)
    }

    /// Reads the entry at a place of the index. `None` beyond its end.
    ///
    /// # Errors
    /// The source's, and [`CassetteProblem::Changed`] where the file is no longer the one that was opened.
    pub fn entry(&mut self, at: usize) -> Result<Option<Entry>, CassetteError> {
        let Some(indexed) = self.index.get(at) else { return Ok(None) };
        let fail = |problem| CassetteError::new(&*self.file, Some(indexed.line), problem);
        let mut text = Vec::new();
        // A seek drops what is buffered; entries are mostly used in order.
        if self.position != Some(indexed.offset) {
            self.position = None;
            let sought = self.reader.seek(SeekFrom::Start(indexed.offset));
            sought.map_err(|error| CassetteError::io(&*self.file, Some(indexed.line), error))?;
        }
        self.position = None;
        read_line(&mut self.reader, &mut text).map_err(|problem| on_line(&self.file, indexed.line, problem))?;
        self.position = Some(indexed.offset + text.len() as u64);
        let line = std::str::from_utf8(&text).map_err(|_| fail(CassetteProblem::Changed))?;
        match line::read(line) {
            Ok(entry) if entry.ordinal == indexed.ordinal && entry.fingerprint == indexed.fingerprint => {
                Ok(Some(entry))
            }
            // What was read as an index was an entry with this ordinal.
            Err(reason)
                if serde_json::from_str::<EntryKey<'_>>(line).is_ok_and(|key| key.ordinal == indexed.ordinal) =>
            {
                Err(fail(CassetteProblem::Malformed(reason)))
            }
            _ => Err(fail(CassetteProblem::Changed)),
        }
    }

    /// Replaces the fingerprints by those that `compute` returns. Reads every entry once.
    ///
    /// # Errors
    /// Those of [`Cassette::entry`].
    pub fn fingerprints_by(
        &mut self,
        mut compute: impl FnMut(&Entry) -> Fingerprint,
    ) -> Result<Vec<Fingerprint>, CassetteError> {
        let mut computed = Vec::with_capacity(self.index.len());
        for at in 0..self.index.len() {
            if let Some(entry) = self.entry(at)? {
                computed.push(compute(&entry));
            }
        }
        Ok(computed)
    }

    /// Checks that the cassette is of this run.
    ///
    /// # Errors
    /// [`CassetteProblem::AnotherRun`] where it is not. A cassette that states no run is of any.
    pub fn expect_run(&self, run_id: &str) -> Result<(), CassetteError> {
        match &self.header.run_id {
            Some(found) if found != run_id => {
                let problem = CassetteProblem::AnotherRun { expected: run_id.to_owned(), found: found.clone() };
                Err(CassetteError::new(&*self.file, Some(1), problem))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a line with its end. Empty at the end of the file.
fn read_line(reader: &mut BufReader<Box<dyn Source>>, text: &mut Vec<u8>) -> Result<(), CassetteProblem> {
    text.clear();
    let read = reader.take(MAX_LINE_BYTES + 1).read_until(b'\n', text).map_err(CassetteProblem::Io)?;
    match read as u64 > MAX_LINE_BYTES {
        true => Err(CassetteProblem::TooLong(MAX_LINE_BYTES)),
        false => Ok(()),
    }
}

fn on_line(file: &str, line: u64, problem: CassetteProblem) -> CassetteError {
    match problem {
        CassetteProblem::Io(error) => CassetteError::io(file, Some(line), error),
        problem => CassetteError::new(file, Some(line), problem),
    }
}

fn read_header(line: &[u8]) -> Result<Header, CassetteProblem> {
    if line.is_empty() {
        return Err(CassetteProblem::NotACassette);
    }
    #[derive(serde::Deserialize)]
    struct Version {
        retrace_cassette: String,
    }
    // The version decides before the other members are read: a newer one may have changed them.
    let Ok(Version { retrace_cassette: version }) = serde_json::from_slice(line) else {
        return Err(CassetteProblem::NotACassette);
    };
    match version.split('.').next().and_then(|major| major.parse::<u32>().ok()) {
        Some(major) if major > FORMAT_MAJOR => return Err(CassetteProblem::NewerVersion(version)),
        Some(_) => {}
        None => return Err(CassetteProblem::NotACassette),
    }
    serde_json::from_slice(line).map_err(|error| CassetteProblem::Malformed(error.to_string()))
}

impl fmt::Debug for Cassette {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.index.len();
        f.debug_struct("Cassette").field("file", &self.file).field("entries", &entries).finish_non_exhaustive()
    }
}
