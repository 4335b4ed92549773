//! Cassettes: the recorded calls of one run, as JSON Lines.

mod chunk_text;
mod entry;
mod error;
mod header;
mod line;
mod reader;
mod redaction;
mod writer;

pub use entry::{Effects, Entry, Outcome, TokenCount};
pub use error::{CassetteError, CassetteProblem};
pub use header::{FORMAT_MAJOR, FORMAT_MINOR, Header, Origin};
pub use reader::{Cassette, IndexEntry, MAX_LINE_BYTES, Source};
pub use writer::CassetteWriter;
