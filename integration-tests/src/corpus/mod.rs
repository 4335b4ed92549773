//! The corpus: spans of real GenAI instrumentations, and the truth about the calls they were made of.
//!
//! A scenario's spans are translated and compared with its `truth.json`, field by field, as far as `recorded` says that
//! the spans hold the value at all: what was never recorded nobody can recover.

mod score;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use self::score::{Finding, Verdict, score};
pub use self::table::Table;

/// One run of one instrumentation.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The instrumentation, with its version or mode where that matters.
    pub variant: String,
    /// What the application did.
    pub name: String,
    /// The spans, OTLP JSON.
    pub spans: PathBuf,
    /// The log records, OTLP JSON, where there are any.
    pub logs: Option<PathBuf>,
    /// What really happened.
    pub truth: Value,
}

/// Every scenario in the repository, in order.
///
/// # Panics
/// When the corpus is not where it belongs.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for variant in folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")) {
        for folder in folders(&variant) {
            let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
            let truth = fs::read_to_string(folder.join("truth.json")).unwrap();
            scenarios.push(Scenario {
                variant: name(&variant),
                name: name(&folder),
                spans: folder.join("spans.otlp.json"),
                logs: Some(folder.join("logs.otlp.json")).filter(|logs| logs.exists()),
                truth: serde_json::from_str(&truth).unwrap(),
            });
        }
    }
    scenarios
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = fs::read_dir(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}
