//! Records the calls of a run into a cassette file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use retrace_protocol::{Json, SpanType};
use retrace_replay::cassette::{CassetteError, CassetteWriter, Entry, Header, Outcome};
use retrace_replay::replay::Normalize;
use retrace_replay::{CleanRequest, Fingerprint, Lane, Secrets, redact};
use serde_json::Value;

use super::replaced_file::ReplacedFile;

/// Hook that changes a request or a value before it is written.
pub(crate) type RedactHook = Box<dyn Fn(&mut Value) + Send>;

/// Writes entries in the order in which their calls began. An entry waits in memory until those before it have ended.
pub(crate) struct Recorder {
    path: PathBuf,
    /// What the file begins with, until the first entry is written.
    head: Option<Head>,
    writer: Option<CassetteWriter<ReplacedFile>>,
    /// First error. Nothing is written after it.
    error: Option<CassetteError>,
    next: u64,
    written: u64,
    waiting: BTreeMap<u64, Ended>,
    /// Calls that are under way, by lane and fingerprint.
    under_way: HashMap<(Lane, Fingerprint), u32>,
    redact: Option<RedactHook>,
    normalize: Option<Normalize>,
}

/// A file of which nothing is written. Its header names the run, which the first entry shows.
struct Head {
    file: ReplacedFile,
    header: Header,
    secrets: Secrets,
}

/// A call that is under way: its number, and its entry without the outcome.
#[derive(Debug)]
pub(crate) struct Begun {
    number: u64,
    ended: Ended,
    key: (Lane, Fingerprint),
}

/// An entry that is written when those before it are.
#[derive(Debug)]
struct Ended {
    entry: Entry,
    /// Its request, where that is not in the entry.
    request: Option<CleanRequest>,
}

impl Recorder {
    /// Begins a file beside the one at `path`, which stays as it is until the recording has ended.
    pub(crate) fn begin(
        path: &Path,
        mut header: Header,
        redact: Option<RedactHook>,
        normalize: Option<Normalize>,
    ) -> Result<Self, CassetteError> {
        let file = ReplacedFile::begin(path)?;
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
        Ok(Self {
            path: path.to_owned(),
            head: Some(Head { file, header, secrets }),
            writer: None,
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
        let entry = Entry::with_fingerprint(span_type, name, Json::from_serialize(&request), print);
        self.begun(lane, model, entry, None)
    }

    /// Begins a model call whose request has this body, if the adapter read it.
    pub(crate) fn model_call(&mut self, lane: &Lane, name: &str, model: Option<&str>, body: Option<&[u8]>) -> Begun {
        let is_changed = self.redact.is_some() || self.normalize.is_some();
        match body.filter(|_| !is_changed).and_then(|body| CleanRequest::read(name, model, body)) {
            Some(request) => {
                let span_type = SpanType::LlmCall;
                let entry = Entry::with_fingerprint(span_type, name, Json::null(), request.fingerprint());
                self.begun(lane, model, entry, Some(request))
            }
            None => self.call(lane, SpanType::LlmCall, name, model, body.map_or(Value::Null, parsed)),
        }
    }

    fn begun(&mut self, lane: &Lane, model: Option<&str>, mut entry: Entry, request: Option<CleanRequest>) -> Begun {
        entry.model = model.map(ToOwned::to_owned);
        entry.lane = lane.clone();
        let key = (entry.lane.clone(), entry.fingerprint);
        let under_way = self.under_way.entry(key.clone()).or_default();
        entry.concurrent = *under_way > 0 && matches!(entry.span_type, SpanType::LlmCall | SpanType::ToolCall);
        *under_way += 1;
        let number = self.next;
        self.next += 1;
        Begun { number, ended: Ended { entry, request }, key }
    }

    /// Ends a call.
    pub(crate) fn end(&mut self, begun: Begun, outcome: Outcome, fill: impl FnOnce(&mut Entry)) {
        let Begun { number, mut ended, key } = begun;
        if let Some(under_way) = self.under_way.get_mut(&key) {
            *under_way = under_way.saturating_sub(1);
            if *under_way == 0 {
                self.under_way.remove(&key);
            }
        }
        ended.entry.outcome = match (outcome, &self.redact) {
            (Outcome::Value(value), Some(redact)) => {
                let mut value = value.to_value().unwrap_or_default();
                redact(&mut value);
                Outcome::Value(Json::from_serialize(&value))
            }
            (outcome, _) => outcome,
        };
        fill(&mut ended.entry);
        self.waiting.insert(number, ended);
        self.write_waiting();
    }

    /// Records an entry of another cassette.
    pub(crate) fn copy(&mut self, entry: &Entry) {
        self.waiting.insert(self.next, Ended { entry: entry.clone(), request: None });
        self.next += 1;
        self.write_waiting();
    }

    /// Records a marked place.
    pub(crate) fn mark(&mut self, lane: &Lane, name: &str) {
        let begun = self.call(lane, SpanType::ForkPoint, name, None, Value::Null);
        self.end(begun, Outcome::Mark, |_| {});
    }

    fn write_waiting(&mut self) {
        while let Some(Ended { entry, request }) = self.waiting.remove(&self.written) {
            self.written += 1;
            self.write_head(entry.lane.segments().first().map(|run| &*run.name));
            let Some(writer) = &mut self.writer else { continue };
            let pushed = match request {
                Some(request) => writer.push_clean(entry, request),
                None => writer.push(entry),
            };
            if let Err(error) = pushed {
                self.error = Some(error);
                self.writer = None;
            }
        }
    }

    /// Writes the header, with this name where the application has given none.
    fn write_head(&mut self, name: Option<&str>) {
        let Some(Head { file, mut header, secrets }) = self.head.take() else { return };
        if header.name.is_empty() {
            header.name = name.unwrap_or_default().to_owned();
        }
        match CassetteWriter::begin(&self.path.display().to_string(), file, &header, secrets) {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => self.error = Some(error),
        }
    }

    /// Writes what is left and puts the file in its place. Calls that have not ended are left out.
    pub(crate) fn finish(&mut self) -> Result<PathBuf, CassetteError> {
        while let Some(first) = self.waiting.keys().next() {
            self.written = *first;
            self.write_waiting();
        }
        self.write_head(None);
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

/// Reads a request body as JSON; one that is none as text.
pub(crate) fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into())
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).field("written", &self.written).finish_non_exhaustive()
    }
}
