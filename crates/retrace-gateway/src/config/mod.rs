//! Configuration: a TOML file, then variables that override its settings, then the defaults.

mod error;
mod explain;
mod kafka_tls;
mod read;
mod secret;
pub mod settings;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use self::error::ConfigError;
pub use self::secret::Secret;

/// A complete configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// OTLP endpoints.
    pub otlp: Otlp,
    /// Address of the admin port, if any.
    pub admin: Option<SocketAddr>,
    /// Delivery to Retrace.
    pub retrace: Retrace,
    /// Traces that wait for their last span.
    pub traces: Traces,
    /// Selection of the tenant, and limits of the pipelines.
    pub tenants: Tenants,
    /// The tenants by name. At least one.
    pub tenant: BTreeMap<String, Tenant>,
    /// Kafka, if it is used.
    pub kafka: Option<Kafka>,
    /// Filter of the log.
    pub log_level: String,
}

/// OTLP endpoints.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// Address of OTLP over HTTP, if any.
    pub http: Option<SocketAddr>,
    /// Address of OTLP over gRPC, if any.
    pub grpc: Option<SocketAddr>,
    /// Largest request, in bytes.
    pub max_body_bytes: u64,
    /// Time limit of a client.
    pub timeout: Duration,
    /// Delay after which refused clients may repeat, in seconds.
    pub retry_after: u32,
    /// Certificate chain and private key, if OTLP is encrypted.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Token that clients must send, if any.
    pub token: Option<Secret>,
}

/// Delivery to Retrace.
#[derive(Clone, Debug)]
pub struct Retrace {
    /// URL of tenants that set none.
    pub base_url: Option<String>,
    /// `ws`, `auto` or `http`.
    pub transport: String,
    /// Hosts to which clear text is allowed.
    pub cleartext_hosts: Vec<String>,
    /// False leaves out inputs and outputs. `None` leaves the decision to `RETRACE_CAPTURE_CONTENT`.
    pub capture_content: Option<bool>,
    /// True sends all spans, false those of GenAI.
    pub all_spans: bool,
    /// Memory of one pipeline, in bytes.
    pub buffer_bytes: usize,
    /// Time for which a run is kept while Retrace cannot be reached.
    pub retry_deadline: Duration,
    /// Timeout of one request.
    pub request_timeout: Duration,
    /// Directory of the spools, if any.
    pub spool_dir: Option<PathBuf>,
    /// Largest spool of one tenant, in bytes.
    pub spool_bytes: u64,
}

/// Traces that wait for their last span.
#[derive(Clone, Copy, Debug)]
pub struct Traces {
    /// Memory of spans that are not delivered yet, in bytes.
    pub buffer_bytes: usize,
    /// Wait after the last span of a trace whose root has arrived.
    pub wait: Duration,
    /// Wait after the last span of a trace whose root has not arrived.
    pub wait_without_root: Duration,
}

/// Selection of the tenant of received data.
#[derive(Clone, Debug)]
pub struct Tenants {
    /// Header with the tenant.
    pub header: Option<String>,
    /// Resource attribute with the tenant.
    pub attribute: Option<String>,
    /// Topic names before and after the tenant.
    pub topic: Option<(String, String)>,
    /// Tenant of data that names none.
    pub default: Option<String>,
    /// Largest number of open pipelines.
    pub max_open: usize,
    /// A pipeline without spans for so long is closed.
    pub idle: Duration,
}

/// A tenant: whose key and project its runs have.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The API key.
    pub api_key: Secret,
    /// The project.
    pub project_id: Option<String>,
    /// The environment.
    pub environment: Option<String>,
    /// The URL of Retrace.
    pub base_url: Option<String>,
}

/// Encoding of the messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One request as protobuf.
    Proto,
    /// One request as JSON.
    Json,
}

/// Kind of the messages of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `ExportTraceServiceRequest`.
    Traces,
    /// `ExportLogsServiceRequest`.
    Logs,
}

/// Kafka as a source.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// Bootstrap servers, separated by commas.
    pub brokers: String,
    /// Consumer group.
    pub group: String,
    /// Topics.
    pub topics: Vec<String>,
    /// Encoding of messages.
    pub encoding: Encoding,
    /// Kind of messages.
    pub signal: Signal,
    /// Topic of messages that cannot be read.
    pub dead_letter_topic: Option<String>,
    /// Session timeout of the group.
    pub session_timeout: Duration,
    /// Interval of commits.
    pub commit_interval: Duration,
    /// Largest number of unsettled messages of a partition.
    pub pause_messages: usize,
    /// Further properties of librdkafka. Any of them may be a password.
    pub properties: BTreeMap<String, Secret>,
}
