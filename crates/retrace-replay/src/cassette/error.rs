//! Errors of cassette files.

use std::fmt::{self, Display};
use std::io;

/// A cassette cannot be read or written: the file, the line, what is wrong, and the remedy.
pub struct CassetteError {
    file: String,
    line: Option<u64>,
    problem: CassetteProblem,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for CassetteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// Fault of a cassette.
#[derive(Debug)]
#[non_exhaustive]
pub enum CassetteProblem {
    /// The file cannot be opened, read, written or renamed.
    Io(io::Error),
    /// The path is a directory.
    IsDirectory,
    /// The first line is not the header of a cassette.
    NotACassette,
    /// The format has a newer major version.
    NewerVersion(String),
    /// The file ends before its last line.
    Cut,
    /// The last line states another number of entries than the file has.
    Count {
        /// Number that the last line states.
        stated: u64,
        /// Number of entries read.
        found: u64,
    },
    /// A line is longer than a reader takes, in bytes.
    TooLong(u64),
    /// A line is not valid JSON, or misses a member.
    Malformed(String),
    /// The cassette is of another run than the one it is used for.
    AnotherRun {
        /// Run that was expected.
        expected: String,
        /// Run of the cassette.
        found: String,
    },
    /// The file changed after it was opened.
    Changed,
    /// A secret would be written.
    Secret {
        /// Name of the secret; never its value.
        name: String,
        /// Entry that holds it.
        ordinal: u64,
    },
}

impl CassetteError {
    /// Makes an error of a file.
    #[must_use]
    pub fn new(file: impl Into<String>, line: Option<u64>, problem: CassetteProblem) -> Self {
        Self { file: file.into(), line, problem }
    }

    /// Makes an error of an I/O error. That of a directory becomes [`CassetteProblem::IsDirectory`].
    #[must_use]
    pub fn io(file: impl Into<String>, line: Option<u64>, error: io::Error) -> Self {
        let problem = match error.kind() {
            io::ErrorKind::IsADirectory => CassetteProblem::IsDirectory,
            _ => CassetteProblem::Io(error),
        };
        Self::new(file, line, problem)
    }

    /// File.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Line, from 1, where one is at fault.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        self.line
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> &CassetteProblem {
        &self.problem
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match &self.problem {
            CassetteProblem::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => "record it first, with RETRACE_CASSETTE=record or retrace::record_cassette",
                io::ErrorKind::PermissionDenied => "give this user permission to the file and its directory",
                io::ErrorKind::StorageFull => "free space on the disk, then record it again",
                _ => "check the path and the disk, then try again",
            },
            CassetteProblem::IsDirectory => "name a file inside of the directory",
            CassetteProblem::NotACassette => "name a file that retrace recorded, or record it again",
            CassetteProblem::NewerVersion(_) => "update the retrace crates, or record it again with this version",
            CassetteProblem::Cut => "restore the file from version control, or record it again",
            CassetteProblem::Count { .. } => {
                "restore the file; after an edit by hand, correct the number in the last line"
            }
            CassetteProblem::TooLong(_) => "record it again with smaller requests and responses",
            CassetteProblem::Malformed(_) => "restore the file from version control, or record it again",
            CassetteProblem::AnotherRun { .. } => "name the cassette of this run, or record it again",
            CassetteProblem::Changed => "leave the file alone during a replay, and run it again",
            CassetteProblem::Secret { .. } => "remove the secret from the call, or redact it with `redact`",
        }
    }
}

impl Display for CassetteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cassette {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        f.write_str(": ")?;
        match &self.problem {
            CassetteProblem::Io(error) => write!(f, "{error}"),
            CassetteProblem::IsDirectory => f.write_str("is a directory"),
            CassetteProblem::NotACassette => f.write_str("the first line is not the header of a cassette"),
            CassetteProblem::NewerVersion(version) => {
                write!(f, "has format version {version}; this version reads up to {}.x", super::FORMAT_MAJOR)
            }
            CassetteProblem::Cut => f.write_str("the file is cut: its last line is missing"),
            CassetteProblem::Count { stated, found } => write!(f, "states {stated} entries and has {found}"),
            CassetteProblem::TooLong(limit) => write!(f, "the line is longer than {limit} bytes"),
            CassetteProblem::Malformed(reason) => write!(f, "the line is not valid: {reason}"),
            CassetteProblem::AnotherRun { expected, found } => write!(f, "is of run {found}, not of {expected}"),
            CassetteProblem::Changed => f.write_str("the file changed while it was in use"),
            CassetteProblem::Secret { name, ordinal } => {
                write!(f, "entry {ordinal} holds the secret {name}; nothing was written")
            }
        }?;
        write!(f, "; {}", self.remedy())
    }
}

impl std::error::Error for CassetteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            CassetteProblem::Io(error) => Some(error),
            _ => None,
        }
    }
}
