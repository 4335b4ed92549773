//! Settings: from code, then from the environment, then from the defaults.

mod base_url;
mod env;
mod error;
mod sampling;
pub(crate) mod secret;
mod unknown;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use retrace_protocol::endpoint::{CLIENT_HEADER, DEFAULT_BASE_URL, KEY_HEADER};
use retrace_protocol::limits;
use retrace_translate::SpanSelection;

pub(crate) use self::base_url::BaseUrl;
pub(crate) use self::env::{Environment, PROPAGATORS, SAMPLE_RATE, Value};
pub use self::env::{VARIABLES, Variable};
pub use self::error::BuildError;
pub(crate) use self::sampling::Sampling;
pub(crate) use self::unknown::unknown_variables;
use crate::config::secret::ApiKey;
use crate::sampling::Failures;
use crate::sampling::Rule;
use crate::sampling::sample_key::SampleKey;

/// Transport of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// Streams live runs as [`Transport::Ws`], and sends runs that are whole when they arrive, as all runs of an
    /// exporter are, by requests as [`Transport::Http`]. Live runs are sent by requests too while no WebSocket can be
    /// established, and after it is lost three times within five minutes. A run that began on one transport is
    /// completed on the other. A WebSocket is opened for the first live run, or where commands are accepted.
    #[default]
    Auto,
    /// Sends each event over a WebSocket while a run is under way; each is kept until the receiver has
    /// confirmed it. While there is no connection everything waits. At a shutdown unconfirmed events are sent
    /// by HTTP.
    Ws,
    /// Sends each run as one HTTP request, when it has ended.
    Http,
}

impl Transport {
    const ALLOWED: &'static str = "`auto`, `ws`, `http`";
}

/// Error for the name of a transport that does not exist.
#[derive(Clone, PartialEq, Eq)]
pub struct UnknownTransport(String);

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for UnknownTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for UnknownTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the transport {:?} does not exist: use {}", self.0, Transport::ALLOWED)
    }
}

impl std::error::Error for UnknownTransport {}

impl From<std::convert::Infallible> for UnknownTransport {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl TryFrom<&str> for Transport {
    type Error = UnknownTransport;

    fn try_from(name: &str) -> Result<Self, UnknownTransport> {
        [("auto", Self::Auto), ("ws", Self::Ws), ("http", Self::Http)]
            .into_iter()
            .find_map(|(known, transport)| name.eq_ignore_ascii_case(known).then_some(transport))
            .ok_or_else(|| UnknownTransport(name.to_owned()))
    }
}

/// Compression of the bodies of HTTP requests. Frames of a WebSocket are not compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// Gzip at its fastest level, for bodies of 1 KiB or more. Needs the feature `gzip`.
    Gzip,
}

impl Compression {
    fn named(name: &str) -> Option<Self> {
        [("none", Self::None), ("gzip", Self::Gzip)]
            .into_iter()
            .find_map(|(known, compression)| name.eq_ignore_ascii_case(known).then_some(compression))
    }
}

/// Settings made in code; `None` for the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub api_key: Option<ApiKey>,
    pub base_url: Option<String>,
    pub project_id: Option<String>,
    pub environment: Option<String>,
    pub enabled: Option<bool>,
    pub capture_content: Option<bool>,
    pub selection: Option<SpanSelection>,
    pub transport: Option<Result<Transport, UnknownTransport>>,
    pub flush_timeout: Option<Duration>,
    pub timeout: Option<Option<Duration>>,
    pub compression: Option<Compression>,
    pub headers: Vec<(String, String)>,
    pub certificate: Option<PathBuf>,
    pub cleartext_hosts: Vec<String>,
    pub buffer_bytes: Option<usize>,
    pub body_bytes: Option<usize>,
    pub linger: Option<Duration>,
    pub keep: Option<Duration>,
    pub batch_size: Option<usize>,
    pub sample_rate: Option<f64>,
    pub sample_seed: Option<String>,
    pub sample_key: Option<SampleKey>,
    pub failures: Option<Failures>,
    pub join: Option<bool>,
    pub spool: Option<PathBuf>,
    pub spool_bytes: Option<u64>,
    pub spool_age: Option<Duration>,
    pub remote_replay: Option<bool>,
    pub remote_cassette: Option<bool>,
}

/// All settings of a pipeline, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub api_key: ApiKey,
    pub base_url: BaseUrl,
    pub project_id: Option<String>,
    pub environment: Option<String>,
    pub capture_content: bool,
    pub selection: SpanSelection,
    pub transport: Transport,
    pub flush_timeout: Duration,
    /// Timeout of one request; `None` for no limit.
    pub timeout: Option<Duration>,
    pub compression: Compression,
    /// Further headers; their values are secrets.
    pub headers: HeaderMap,
    pub certificate: Option<(PathBuf, &'static str)>,
    pub buffer_bytes: usize,
    pub body_bytes: usize,
    pub linger: Duration,
    pub keep: Duration,
    pub batch_size: usize,
    /// Rule that selects the runs that are sent; without one all are sent.
    pub rule: Option<Rule>,
    pub failures: Failures,
    pub join: bool,
    pub spool: Option<SpoolSettings>,
    /// True if the receiver may run functions of the application again.
    pub remote_replay: bool,
    /// True if cassettes that the receiver sends may be used for that.
    pub remote_cassette: bool,
}

/// Directory and bounds of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpoolSettings {
    pub dir: PathBuf,
    /// Setter or variable that names it.
    pub source_name: &'static str,
    pub max_bytes: u64,
    pub max_age: Duration,
}

/// Default values.
pub(crate) mod defaults {
    use std::time::Duration;

    /// Bytes of everything that waits: half for delivery and held spans, a quarter for the queue, eleven
    /// 64ths for open runs, and the rest for the spans that are read or written at the moment.
    pub(crate) const BUFFER_BYTES: usize = 64 * 1024 * 1024;
    /// Bytes of one body. The limit of the server is unknown; a body that it refuses is shortened further.
    pub(crate) const BODY_BYTES: usize = 32 * 1024 * 1024;
    /// Timeout of one request, OTLP's default.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
    /// Time for which a run is kept while the receiver cannot be reached.
    pub(crate) const KEEP: Duration = Duration::from_secs(15 * 60);
    /// Batch size of OpenTelemetry's batch processor.
    pub(crate) const BATCH_SIZE: usize = 512;
    /// Bytes of the spool.
    pub(crate) const SPOOL_BYTES: u64 = 256 * 1024 * 1024;
    /// Time for which a run is kept in the spool.
    pub(crate) const SPOOL_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// Smallest buffer that is accepted: single spans do not fit into a smaller one.
    pub(crate) const SMALLEST_BUFFER: usize = 64 * 1024;
}

const CODE_KEY: &str = "with_api_key";
const CODE_URL: &str = "with_base_url";
/// Problem of a key or a URL whose bytes are no text.
const NOT_UTF_8: &str = "is not valid UTF-8";

/// Returns true if the environment switches the whole SDK off.
pub(crate) fn is_sdk_disabled() -> bool {
    Environment::new(&|name| std::env::var_os(name)).is_true(env::SDK_DISABLED)
}

impl Settings {
    /// Resolves every setting; `None` when recording is switched off. Also returns the warnings about ignored
    /// variables.
    pub(crate) fn resolve(
        self,
        read: &dyn Fn(&str) -> Option<OsString>,
    ) -> (Result<Option<Config>, BuildError>, Vec<String>) {
        let mut env = Environment::new(read).with_key(self.api_key.clone());
        let config = self.decide(&mut env);
        (config, env.into_warnings())
    }

    fn decide(self, env: &mut Environment<'_>) -> Result<Option<Config>, BuildError> {
        let by_environment =
            |env: &mut Environment<'_>| !env.is_true(env::SDK_DISABLED) && env.switch(env::ENABLED).unwrap_or(true);
        if !self.enabled.unwrap_or_else(|| by_environment(env)) {
            return Ok(None);
        }
        let transport = match self.transport {
            Some(Ok(transport)) => Some(transport),
            Some(Err(UnknownTransport(value))) => {
                let (source_name, allowed) = ("with_transport", Transport::ALLOWED);
                return Err(BuildError::UnknownTransport { source_name, value, allowed });
            }
            None => env.parsed(env::TRANSPORT, |name| Transport::try_from(name).ok()),
        };

        let mut headers = env.parsed(env::HEADERS, env::pairs).unwrap_or_default();
        let from_headers = headers.iter().position(|(name, _)| name.eq_ignore_ascii_case(KEY_HEADER));
        let from_headers = from_headers.map(|at| headers.swap_remove(at).1);
        let api_key = match self.api_key {
            Some(key) => (key, CODE_KEY),
            None => match (env.value(env::API_KEY), from_headers) {
                (Some(Value::Text(key)), _) => (ApiKey::from(key), env::API_KEY),
                (Some(Value::Unreadable), _) => {
                    return Err(BuildError::InvalidApiKey { source_name: env::API_KEY, problem: NOT_UTF_8 });
                }
                (None, Some(key)) => (ApiKey::from(key), env::HEADERS),
                (None, None) => return Err(BuildError::MissingApiKey),
            },
        };
        if let Some(problem) = api_key.0.flaw() {
            return Err(BuildError::InvalidApiKey { source_name: api_key.1, problem });
        }

        // A typing error must not send content to another place than intended, so an invalid URL does not
        // fall back to the default.
        let mut allowed = self.cleartext_hosts;
        allowed.extend(env.parsed(env::ALLOW_CLEARTEXT_HOST, hosts).unwrap_or_default());
        let base_url = match self.base_url {
            Some(url) => BaseUrl::parse(&url, CODE_URL, &allowed),
            None => match (env.value(env::BASE_URL), env.value(env::ENDPOINT)) {
                (Some(url), _) => BaseUrl::from_value(url, env::BASE_URL, &allowed),
                (None, Some(url)) => BaseUrl::from_value(url, env::ENDPOINT, &allowed),
                (None, None) => BaseUrl::parse(DEFAULT_BASE_URL, "the default", &allowed),
            },
        }?;
        if base_url.is_cleartext_allowed() {
            env.warn(format!(
                "the API key and all content are sent to {} in clear text, as RETRACE_ALLOW_CLEARTEXT_HOST or \
                 with_cleartext_host allows",
                base_url.as_str()
            ));
        }

        // A compression in the environment that this build lacks is ignored: it costs bytes, not spans.
        let compression = match self.compression {
            Some(Compression::Gzip) if !cfg!(feature = "gzip") => return Err(BuildError::NoCompression),
            Some(compression) => compression,
            None => env.parsed(env::COMPRESSION, Compression::named).unwrap_or_default(),
        };
        if compression == Compression::Gzip && !cfg!(feature = "gzip") {
            env.warn("OTEL_EXPORTER_RETRACE_COMPRESSION=gzip is ignored: it needs the feature `gzip`");
        }
        let mut map = header_map(&headers, env::HEADERS)?;
        map.extend(header_map(&self.headers, "with_header")?);
        let certificate = self.certificate.map(|path| (path, "with_certificate"));
        let spool = self.spool.map(|dir| (dir, "with_spool"));
        let spool = spool.or_else(|| env.path(env::SPOOL_DIR).map(|dir| (dir, env::SPOOL_DIR)));
        Ok(Some(Config {
            api_key: api_key.0,
            base_url,
            project_id: self.project_id.or_else(|| env.text(env::PROJECT_ID)),
            environment: self.environment.or_else(|| env.text(env::ENVIRONMENT)),
            capture_content: self.capture_content.or_else(|| env.switch(env::CAPTURE_CONTENT)).unwrap_or(true),
            selection: self.selection.or_else(|| env.parsed(env::SPAN_SELECTION, selection)).unwrap_or_default(),
            transport: transport.unwrap_or_default(),
            flush_timeout: self
                .flush_timeout
                .or_else(|| env.parsed(env::FLUSH_TIMEOUT, env::seconds))
                .unwrap_or(limits::FLUSH_TIMEOUT),
            timeout: self
                .timeout
                .or_else(|| env.parsed(env::TIMEOUT, env::limit_millis))
                .unwrap_or(Some(defaults::TIMEOUT)),
            compression,
            headers: map,
            certificate: certificate.or_else(|| env.path(env::CERTIFICATE).map(|path| (path, env::CERTIFICATE))),
            buffer_bytes: at_least("with_buffer_bytes", self.buffer_bytes, defaults::BUFFER_BYTES)?,
            body_bytes: at_least("with_body_bytes", self.body_bytes, defaults::BODY_BYTES)?,
            linger: self.linger.unwrap_or(retrace_translate::RecorderLimits::LINGER),
            keep: self.keep.unwrap_or(defaults::KEEP),
            batch_size: self
                .batch_size
                .or_else(|| env.parsed(env::BATCH_SIZE, |text| text.parse().ok().filter(|size| *size > 0)))
                .unwrap_or(defaults::BATCH_SIZE),
            rule: match self.sample_rate {
                Some(rate) => Some(Rule::new(Sampling::checked(rate, "with_sample_rate")?, self.sample_seed)),
                None => env
                    .parsed(SAMPLE_RATE, sampling::rate)
                    .map(|rate| Rule::new(rate, env.text(env::SAMPLE_SEED)).yielding_to_samplers()),
            }
            .map(|rule| rule.with_key(self.sample_key)),
            failures: self.failures.unwrap_or_default(),
            join: self.join.unwrap_or(true),
            remote_replay: self.remote_replay.or_else(|| env.switch(env::ALLOW_REMOTE_REPLAY)).unwrap_or(false),
            remote_cassette: self.remote_cassette.or_else(|| env.switch(env::ALLOW_REMOTE_CASSETTE)).unwrap_or(false),
            spool: spool.map(|(dir, source_name)| SpoolSettings {
                dir,
                source_name,
                max_bytes: self.spool_bytes.unwrap_or(defaults::SPOOL_BYTES),
                max_age: self.spool_age.unwrap_or(defaults::SPOOL_AGE),
            }),
        }))
    }
}

/// Parses hosts, separated by commas.
fn hosts(text: &str) -> Option<Vec<String>> {
    let hosts = text.split(',').map(str::trim).filter(|host| !host.is_empty());
    hosts.map(|host| (!host.contains(['/', '@', ' '])).then(|| host.to_owned())).collect()
}

fn selection(name: &str) -> Option<SpanSelection> {
    if name.eq_ignore_ascii_case("genai") {
        Some(SpanSelection::GenAi)
    } else if name.eq_ignore_ascii_case("all") {
        Some(SpanSelection::All)
    } else {
        None
    }
}

fn at_least(source_name: &'static str, value: Option<usize>, default: usize) -> Result<usize, BuildError> {
    match value {
        Some(value) if value < defaults::SMALLEST_BUFFER => {
            Err(BuildError::OutOfRange { source_name, value: value.to_string(), allowed: "65536 bytes or more" })
        }
        value => Ok(value.unwrap_or(default)),
    }
}

fn header_map(headers: &[(String, String)], source_name: &'static str) -> Result<HeaderMap, BuildError> {
    const OURS: [&str; 6] =
        [KEY_HEADER, CLIENT_HEADER, "content-type", "content-length", "content-encoding", "transfer-encoding"];
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let invalid = |problem| BuildError::InvalidHeader { source_name, name: name.clone(), problem };
        let header = HeaderName::try_from(name).map_err(|_| invalid("is not a valid header name"))?;
        if OURS.contains(&header.as_str()) {
            return Err(invalid("is set by this crate"));
        }
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| invalid("has a value with bytes that are not allowed in a header"))?;
        value.set_sensitive(true);
        map.append(header, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests;
