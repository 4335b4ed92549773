//! The receiver that a subcommand reads from: a running one, or one that is started on a database file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use retrace_local::Server;
use retrace_protocol::endpoint::KEY_HEADER;
use retrace_protocol::read::Refusal;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Largest response, in bytes.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// Longest part of a response in an error, in characters.
const MAX_WORDS: usize = 500;
/// Time limit of one request, above the receiver's limit of a long poll.
const TIME: Duration = Duration::from_secs(120);

/// Where runs are read.
#[derive(Args)]
pub(crate) struct Source {
    /// Read from this SQLite file of `retrace-local serve`.
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    db: Option<PathBuf>,

    /// Read from the receiver at this URL.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3001")]
    url: String,

    /// The key of the receiver. Rather set it in the environment: the arguments of a process are seen by everyone on the
    /// machine.
    #[arg(long, value_name = "KEY", env = "RETRACE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

impl Source {
    pub(crate) const fn is_file(&self) -> bool {
        self.db.is_some()
    }

    pub(crate) fn open(&self) -> Result<Receiver, String> {
        match &self.db {
            Some(db) => Receiver::on_file(db),
            None => Receiver::at(&self.url, self.api_key.clone()),
        }
    }
}

/// Client of a receiver.
pub(crate) struct Receiver {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
    /// Name of the receiver in errors.
    name: String,
    /// Server of a database file, stopped at the end.
    _server: Option<Server>,
}

/// An error response.
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.message
    }
}

impl Receiver {
    /// Connects to a running receiver. A receiver with HTTPS is read by its database file.
    pub(crate) fn at(url: &str, key: Option<String>) -> Result<Self, String> {
        if !url.starts_with("http://") {
            return Err(format!(
                "{url} is no http:// URL; name the file of its database with --db, or download GET /api/v1/traces/RUN and give \
                 it to `retrace-local cassette` with --file"
            ));
        }
        let url = url.trim_end_matches('/').to_owned();
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).timeout_global(Some(TIME));
        // Requests go directly to the address, without the proxy of the environment.
        let agent = config.proxy(None).build().into();
        Ok(Self { agent, name: url.clone(), url, key, _server: None })
    }

    /// Starts a receiver on a database file, for this process only.
    pub(crate) fn on_file(db: &Path) -> Result<Self, String> {
        if !db.exists() {
            return Err(format!("{}: there is no such file; name the --db of `retrace-local serve`", db.display()));
        }
        if db.is_dir() {
            return Err(format!("{} is a directory; name a file inside of it", db.display()));
        }
        let key = uuid::Uuid::new_v4().to_string();
        let server = Server::builder().with_db(db).with_api_key(&key).start().map_err(|error| error.to_string())?;
        if let Some(reason) = server.read_only() {
            crate::complain(reason);
        }
        let receiver = Self::at(server.url(), Some(key))?;
        Ok(Self { name: db.display().to_string(), _server: Some(server), ..receiver })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        let bytes = self.send("GET", path, None)?;
        self.parse(&bytes)
    }

    pub(crate) fn bytes(&self, path: &str) -> Result<Vec<u8>, Refused> {
        self.send("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Refused> {
        let bytes = self.send("POST", path, Some(body))?;
        self.parse(&bytes)
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Refused> {
        serde_json::from_slice(bytes).map_err(|error| {
            let name = &self.name;
            self.refused(
                0,
                format!("{name} did not answer as a receiver does ({error}): check the URL and its version"),
            )
        })
    }

    fn refused(&self, status: u16, message: String) -> Refused {
        Refused { status, message }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>, Refused> {
        let name = &self.name;
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header(KEY_HEADER, key);
        }
        let sent = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body.to_string().into_bytes());
                request.map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
        };
        let failed = |error: ureq::Error| {
            self.refused(
                0,
                format!("cannot read {name} ({error}): start `retrace-local serve`, or name its address with --url or its file with --db"),
            )
        };
        let mut response = sent.map_err(failed)?;
        let status = response.status().as_u16();
        let bytes = response.body_mut().with_config().limit(MAX_BYTES).read_to_vec().map_err(failed)?;
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        let message = match (status, serde_json::from_slice::<Refusal>(&bytes)) {
            (401 | 403, _) => format!("{name} takes another key: set RETRACE_API_KEY"),
            (_, Ok(refusal)) => format!("{name}: {}", plain(&refusal.error)),
            _ => {
                let words: String = plain(&String::from_utf8_lossy(&bytes)).chars().take(MAX_WORDS).collect();
                format!("{name} answered with status {status}: {words}")
            }
        };
        Err(self.refused(status, message))
    }
}

/// Replaces control characters, which a terminal would interpret.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|each| if each.is_control() { ' ' } else { each }).collect()
}
