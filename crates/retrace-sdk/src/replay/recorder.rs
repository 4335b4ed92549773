//! Records the calls of a run into a cassette file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use retrace_protocol::{Json, SpanType};
use retrace_replay::cassette::{CassetteError, CassetteWriter, Entry, Header, Outcome};
use retrace_replay::replay::Normalize;
use retrace_replay::{Fingerprint, Lane, Secrets, redact};
use serde_json::Value;

use super::replaced_file::ReplacedFile;

/// Hook that changes a request or a value before it is written.
pub(crate) type RedactHook = Box<dyn Fn(&mut Value) + Send>;

/// Writes entries in the order in which their calls began. An entry waits in memory until those before it have ended.
pub(crate) struct Recorder {
    path: PathBuf,
    writer: Option<CassetteWriter<ReplacedFile>>,
    /// First error. Nothing is written after it.
    error: Option<CassetteError>,
    next: u64,
    written: u64,
    waiting: BTreeMap<u64, Entry>,
    /// Calls that are under way, by lane and fingerprint.
    under_way: HashMap<(Lane, Fingerprint), u32>,
    redact: Option<RedactHook>,
    normalize: Option<Normalize>,
}

/// A call that is under way: its number, and its entry without the outcome.
#[derive(Debug)]
pub(crate) struct Begun {
    number: u64,
    entry: Entry,
    key: (Lane, Fingerprint),
}

impl Recorder {
    /// Begins a file beside the one at `path`, which stays as it is until the recording has ended.
    pub(crate) fn begin(
        path: &Path,
        mut header: Header,
        redact: Option<RedactHook>,
        normalize: Option<Normalize>,
    ) -> Result<Self, CassetteError> {
        let file = path.display().to_string();
        let opened = ReplacedFile::begin(path)?;
        header.recorder = Some(concat!("retrace-sdk ", env!("CARGO_PKG_VERSION")).to_owned());
        header.recorded_at = Some(retrace_protocol::Timestamp::from(std::time::SystemTime::now()).to_string());
        header.normalized = normalize.is_some();
        if redact.is_some() {
            header.redaction.push("application".to_owned());
        }
        let mut secrets = Secrets::default();
        let variables = std::env::vars_os();
        secrets.add_environment(
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        let writer = CassetteWriter::begin(&file, opened, &header, secrets)?;
        Ok(Self {
            path: path.to_owned(),
            writer: Some(writer),
            error: None,
            next: 0,
            written: 0,
            waiting: BTreeMap::new(),
            under_way: HashMap::new(),
            redact,
            normalize,
        })
    }

    /// Begins a call. `request` is redacted here.
    pub(crate) fn call(
        &mut self,
        lane: &Lane,
        span_type: SpanType,
        name: &str,
        model: Option<&str>,
        mut request: Value,
    ) -> Begun {
        redact(&mut request);
        // Before the application's hook, which a replay need not have.
        let print = match &self.normalize {
            Some(normalize) => {
                let mut normalized = request.clone();
                normalize(&mut normalized);
                Fingerprint::of(name, model, &normalized)
            }
            None => Fingerprint::of(name, model, &request),
        };
        if let Some(redact) = &self.redact {
            redact(&mut request);
        }
        let mut entry = Entry::with_fingerprint(span_type, name, Json::from_serialize(&request), print);
        entry.model = model.map(ToOwned::to_owned);
        entry.lane = lane.clone();
        let key = (entry.lane.clone(), entry.fingerprint);
        let under_way = self.under_way.entry(key.clone()).or_default();
        entry.concurrent = *under_way > 0 && matches!(span_type, SpanType::LlmCall | SpanType::ToolCall);
        *under_way += 1;
        let number = self.next;
        self.next += 1;
        Begun { number, entry, key }
    }

    /// Ends a call.
    pub(crate) fn end(&mut self, begun: Begun, outcome: Outcome, fill: impl FnOnce(&mut Entry)) {
        let Begun { number, mut entry, key } = begun;
        if let Some(under_way) = self.under_way.get_mut(&key) {
            *under_way = under_way.saturating_sub(1);
            if *under_way == 0 {
                self.under_way.remove(&key);
            }
        }
        entry.outcome = match (outcome, &self.redact) {
            (Outcome::Value(value), Some(redact)) => {
                let mut value = value.to_value().unwrap_or_default();
                redact(&mut value);
                Outcome::Value(Json::from_serialize(&value))
            }
            (outcome, _) => outcome,
        };
        fill(&mut entry);
        self.waiting.insert(number, entry);
        self.write_waiting();
    }

    /// Records an entry of another cassette.
    pub(crate) fn copy(&mut self, entry: &Entry) {
        self.waiting.insert(self.next, entry.clone());
        self.next += 1;
        self.write_waiting();
    }

    /// Records a marked place.
    pub(crate) fn mark(&mut self, lane: &Lane, name: &str) {
        let begun = self.call(lane, SpanType::ForkPoint, name, None, Value::Null);
        self.end(begun, Outcome::Mark, |_| {});
    }

    fn write_waiting(&mut self) {
        while let Some(entry) = self.waiting.remove(&self.written) {
            self.written += 1;
            let Some(writer) = &mut self.writer else { continue };
            if let Err(error) = writer.push(entry) {
                self.error = Some(error);
                self.writer = None;
            }
        }
    }

    /// Writes what is left and puts the file in its place. Calls that have not ended are left out.
    pub(crate) fn finish(&mut self) -> Result<PathBuf, CassetteError> {
        while let Some(first) = self.waiting.keys().next() {
            self.written = *first;
            self.write_waiting();
        }
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Some(writer) = self.writer.take() else {
            let ended = io::Error::other("the recording has ended already");
            return Err(CassetteError::io(self.path.display().to_string(), None, ended));
        };
        writer.finish()?.finish()?;
        Ok(self.path.clone())
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).field("written", &self.written).finish_non_exhaustive()
    }
}
