//! Table of all settings: their names in the file and in the environment, their defaults and meanings.

/// Prefix of the variables that set a setting.
pub const PREFIX: &str = "RETRACE_GATEWAY_";
/// Variable with the path of the file.
pub const FILE_VARIABLE: &str = "RETRACE_GATEWAY_CONFIG";

/// Kind of a value, which determines how a variable is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// A duration in seconds, with or without a fraction.
    Seconds,
    /// `true` or `false`.
    Switch,
    /// A list of texts; comma-separated in a variable.
    List,
    /// A table of texts, only in the file.
    Table,
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Table of the file, empty for the list of tenants.
    pub table: &'static str,
    /// Key in the table.
    pub key: &'static str,
    /// Kind of its value.
    pub kind: Kind,
    /// Default, as it is shown.
    pub default: &'static str,
    /// Meaning, units and limits.
    pub meaning: &'static str,
}

impl Setting {
    /// Returns the variable that sets it, such as `RETRACE_GATEWAY_OTLP_HTTP`; `None` for a setting of the file alone.
    #[must_use]
    pub fn variable(&self) -> Option<String> {
        let is_plain = self.kind != Kind::Table && self.table != TENANT;
        is_plain.then(|| format!("{PREFIX}{}_{}", self.table, self.key).to_uppercase())
    }
}

/// Name of the tables of tenants.
pub const TENANT: &str = "tenant";

macro_rules! settings {
    ($($table:literal { $($key:literal $kind:ident $default:literal $meaning:literal)* })*) => {
        &[$($(Setting { table: $table, key: $key, kind: Kind::$kind, default: $default, meaning: $meaning },)*)*]
    };
}

/// All settings.
pub const SETTINGS: &[Setting] = settings! {
    "otlp" {
        "http" Text "127.0.0.1:4318" "address of OTLP over HTTP; empty for none"
        "grpc" Text "127.0.0.1:4317" "address of OTLP over gRPC; empty for none"
        "max_body_bytes" Number "16777216" "largest request, also after decompression; up to two of them are in memory at a time"
        "timeout_seconds" Seconds "60" "time limit of a client for a request and for each part of a response"
        "retry_after_seconds" Number "5" "delay after which a refused client may repeat (Retry-After, RetryInfo)"
        "certificate" Text "" "PEM file of the certificate chain; OTLP is then encrypted"
        "key" Text "" "PEM file of the private key"
        "token_env" Text "" "variable with a token that clients must send as `Authorization: Bearer`; empty for none"
    }
    "admin" {
        "listen" Text "127.0.0.1:9464" "address of /metrics, /healthz and /readyz; empty for none"
    }
    "retrace" {
        "base_url" Text "" "URL of Retrace for all tenants that set none; by default RETRACE_BASE_URL, then the hosted API"
        "transport" Text "ws" "ws, auto or http; only over ws a repeated delivery never makes a second run"
        "cleartext_hosts" List "" "hosts other than this machine to which http is allowed, such as retrace:3001"
        "capture_content" Switch "" "false leaves out inputs and outputs of models and tools; by default RETRACE_CAPTURE_CONTENT, then true"
        "span_selection" Text "genai" "genai or all"
        "buffer_bytes" Number "67108864" "memory of the pipeline of one tenant"
        "retry_deadline_seconds" Seconds "900" "how long a run is kept while Retrace cannot be reached; with Kafka at least a week is sensible, because an expired run is lost"
        "request_timeout_seconds" Seconds "10" "timeout of one request"
        "spool_dir" Text "" "directory in which undelivered runs wait, one subdirectory for each tenant; by default RETRACE_SPOOL_DIR, then none"
        "spool_bytes" Number "268435456" "largest spool of one tenant"
    }
    "traces" {
        "buffer_bytes" Number "134217728" "memory of spans that are not delivered yet, over all tenants; beyond it OTLP is answered 429 and Kafka is paused"
        "wait_seconds" Seconds "10" "how long a trace whose root has arrived waits for more spans after its last one"
        "wait_without_root_seconds" Seconds "60" "the same for a trace whose root has not arrived"
    }
    "tenants" {
        "header" Text "" "name of the header, or gRPC metadata, with the tenant"
        "attribute" Text "" "name of the resource attribute with the tenant; used where the header is absent"
        "topic_pattern" Text "" "topic names with `*` in place of the tenant, such as otlp.*.spans"
        "default" Text "" "tenant of data that names none; empty refuses such data. Without any [[tenant]] it is `default`"
        "max_open" Number "64" "largest number of pipelines at a time; the one that is idle the longest is closed for a new one"
        "idle_seconds" Seconds "600" "a pipeline without spans for so long is closed"
    }
    "tenant" {
        "name" Text "" "name by which data names it"
        "api_key_env" Text "" "variable with its API key"
        "api_key_file" Text "" "file with its API key"
        "project_id" Text "" "project of its runs"
        "environment" Text "" "environment of its runs, by default that of the resource"
        "base_url" Text "" "its URL of Retrace"
    }
    "kafka" {
        "brokers" List "" "bootstrap servers; without any Kafka is not used"
        "group" Text "retrace-gateway" "consumer group"
        "topics" List "otlp_spans" "topics to read; a name that begins with ^ is a regular expression"
        "encoding" Text "otlp_proto" "otlp_proto or otlp_json, as the Collector's exporter writes them"
        "signal" Text "traces" "traces or logs; with otlp_json both are recognized"
        "dead_letter_topic" Text "" "topic of messages that cannot be read; empty counts them and goes on"
        "session_timeout_seconds" Seconds "30" "after so long without a sign of life the partitions of an instance go to others"
        "commit_interval_seconds" Seconds "1" "how often settled offsets are committed"
        "pause_messages" Number "20000" "messages of one partition that may be unsettled; beyond it the partition is paused"
        "properties" Table "" "further properties of librdkafka, such as { \"security.protocol\" = \"SASL_SSL\" }; TLS and SCRAM need a build with `kafka-tls`"
        "properties_env" Table "" "properties whose values are in variables, such as { \"sasl.password\" = \"KAFKA_PASSWORD\" }; blanks around a value are left out"
        "properties_file" Table "" "properties whose values are in files, such as { \"ssl.key.password\" = \"/run/secrets/kafka\" }; likewise"
    }
    "log" {
        "level" Text "info" "a filter of tracing, such as info or retrace_gateway=debug; what HTTP libraries log below info is left out, because it holds headers"
    }
};

/// Largest edit distance to a name that is suggested.
const NEAR: usize = 4;

/// Returns the nearest of `known`, if one is near.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let nearest = known.map(|known| (strsim::damerau_levenshtein(name, known), known)).min()?;
    (nearest.0 <= NEAR).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_there_once_and_has_a_variable() {
        let mut names: Vec<_> = SETTINGS.iter().map(|each| (each.table, each.key)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        assert_eq!(SETTINGS[0].variable().as_deref(), Some("RETRACE_GATEWAY_OTLP_HTTP"));
        assert!(SETTINGS.iter().all(|each| each.table != TENANT || each.variable().is_none()));
    }

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = || SETTINGS.iter().map(|each| each.key);
        assert_eq!(nearest("wait_second", known()), Some("wait_seconds"));
        assert_eq!(nearest("something_else_entirely", known()), None);
    }
}
