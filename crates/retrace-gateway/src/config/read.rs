//! Reads the configuration from a file and the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::settings::{FILE_VARIABLE, Kind, PREFIX, SETTINGS, Setting, TENANT, nearest};
use super::{Config, ConfigError, Encoding, Kafka, Otlp, Retrace, Secret, Signal, Tenant, Tenants, Traces, kafka_tls};

/// Name of the tenant without any `[[tenant]]`.
const DEFAULT_TENANT: &str = "default";
/// Variable with the API key of that tenant.
const API_KEY: &str = "RETRACE_API_KEY";
/// Variable of the exporter with the directory of its spool.
const SPOOL_DIR: &str = "RETRACE_SPOOL_DIR";
/// Name of the environment in errors.
const ENVIRONMENT: &str = "environment";

/// Looks up a variable.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads the file, if one is named, and the environment of the process.
    ///
    /// # Errors
    /// Returns an error for a file that cannot be read, a name that does not exist, and a value that cannot be used.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?
            }
            None => String::new(),
        };
        let place = file.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
        let names: Vec<String> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        Self::parse(&place, &text, &names, &|name| std::env::var(name).ok())
    }

    /// Reads a text; `names` are the names of all variables, and `place` is the name of the text in errors.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(place: &str, text: &str, names: &[String], variables: Variables<'_>) -> Result<Self, ConfigError> {
        let mut file: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            place: place.to_owned(),
            problem: syntax_problem(text, &error),
        })?;
        check_names(place, &file)?;
        override_by(&mut file, names, variables)?;
        Values { file: &file, variables }.config()
    }
}

/// Describes a syntax error by its line. The line itself is left out: it may hold a password.
fn syntax_problem(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let problem = error.message().lines().next().unwrap_or_default();
    line.map_or_else(|| problem.to_owned(), |line| format!("line {line}: {problem}"))
}

/// Checks that each table and key exists.
fn check_names(place: &str, file: &Table) -> Result<(), ConfigError> {
    let unknown =
        |name: String, nearest: Option<String>| ConfigError::Unknown { place: place.to_owned(), name, nearest };
    for (table, content) in file {
        if !SETTINGS.iter().any(|setting| setting.table == table) {
            let near = nearest(table, SETTINGS.iter().map(|setting| setting.table)).map(str::to_owned);
            return Err(unknown(table.clone(), near));
        }
        let tables: Vec<&Table> = match content {
            Value::Table(keys) if table != TENANT => vec![keys],
            Value::Array(list) if table == TENANT => list.iter().filter_map(Value::as_table).collect(),
            _ if table == TENANT => return Err(ConfigError::value(TENANT, "each tenant is a table [[tenant]]")),
            _ => return Err(ConfigError::value(table, format!("is a table: write [{table}]"))),
        };
        for key in tables.into_iter().flat_map(Table::keys) {
            let mut known = SETTINGS.iter().filter(|setting| setting.table == table).map(|setting| setting.key);
            if !known.clone().any(|known| known == key) {
                let near = nearest(key, &mut known).map(|near| format!("{table}.{near}"));
                return Err(unknown(format!("{table}.{key}"), near));
            }
        }
    }
    Ok(())
}

/// Replaces the settings for which a variable is set. An unknown variable of the gateway is an error.
fn override_by(file: &mut Table, names: &[String], variables: Variables<'_>) -> Result<(), ConfigError> {
    let known: Vec<(String, &Setting)> = SETTINGS.iter().filter_map(|each| Some((each.variable()?, each))).collect();
    for name in names.iter().filter(|name| name.starts_with(PREFIX) && *name != FILE_VARIABLE) {
        let Some((_, setting)) = known.iter().find(|(known, _)| known == name) else {
            let near = nearest(name, known.iter().map(|(known, _)| known.as_str())).map(str::to_owned);
            return Err(ConfigError::Unknown { place: ENVIRONMENT.to_owned(), name: name.clone(), nearest: near });
        };
        let Some(text) = variables(name) else { return Err(ConfigError::value(name, "is not valid UTF-8")) };
        let value = match setting.kind {
            Kind::Text | Kind::Table => Some(Value::String(text)),
            Kind::Number => text.trim().parse().ok().map(Value::Integer),
            Kind::Seconds => text.trim().parse().ok().map(Value::Float),
            Kind::Switch => text.trim().parse().ok().map(Value::Boolean),
            Kind::List => {
                let each = text.split(',').map(str::trim).filter(|each| !each.is_empty());
                Some(Value::Array(each.map(|each| Value::String(each.to_owned())).collect()))
            }
        };
        let value = value.ok_or_else(|| ConfigError::value(name, expected(setting.kind)))?;
        let table = file.entry(setting.table).or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(table) = table {
            table.insert(setting.key.to_owned(), value);
        }
    }
    Ok(())
}

const fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "expected a text",
        Kind::Number => "expected a whole number, 0 or more",
        Kind::Seconds => "expected a number of seconds, 0 or more",
        Kind::Switch => "expected true or false",
        Kind::List => "expected a list of texts",
        Kind::Table => "expected a table of texts",
    }
}

/// Reads a secret from a file; `name` is that of the setting.
fn secret_file(name: &str, path: &str) -> Result<Secret, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::value(name, format!("cannot read {path}: {error}")))?;
    if text.trim().is_empty() {
        return Err(ConfigError::value(name, format!("{path} is empty")));
    }
    Ok(Secret::new(text.trim()))
}

/// The settings of a file, with their defaults.
struct Values<'a> {
    file: &'a Table,
    variables: Variables<'a>,
}

impl Values<'_> {
    fn value(&self, table: &str, key: &str) -> Option<&Value> {
        self.file.get(table)?.as_table()?.get(key)
    }

    /// Returns the default as text.
    fn default(table: &str, key: &str) -> &'static str {
        SETTINGS.iter().find(|each| each.table == table && each.key == key).map_or("", |each| each.default)
    }

    fn read<T>(
        &self,
        table: &str,
        key: &str,
        kind: Kind,
        read: impl Fn(&Value) -> Option<T>,
        default: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let read = match self.value(table, key) {
            Some(value) => read(value),
            None => default(Self::default(table, key)),
        };
        read.ok_or_else(|| ConfigError::value(format!("{table}.{key}"), expected(kind)))
    }

    fn text(&self, table: &str, key: &str) -> Result<Option<String>, ConfigError> {
        let text =
            self.read(table, key, Kind::Text, |value| value.as_str().map(str::to_owned), |text| Some(text.into()));
        Ok(text?).map(|text: String| Some(text).filter(|text| !text.is_empty()))
    }

    fn number(&self, table: &str, key: &str, least: u64) -> Result<u64, ConfigError> {
        let read = |value: &Value| value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number = self.read(table, key, Kind::Number, read, |text| text.parse().ok())?;
        if number < least {
            return Err(ConfigError::value(
                format!("{table}.{key}"),
                format!("{number} is too small; at least {least}"),
            ));
        }
        Ok(number)
    }

    /// Returns a number of bytes, messages or tenants.
    fn size(&self, table: &str, key: &str, least: u64) -> Result<usize, ConfigError> {
        Ok(usize::try_from(self.number(table, key, least)?).unwrap_or(usize::MAX))
    }

    fn seconds(&self, table: &str, key: &str) -> Result<Duration, ConfigError> {
        #[allow(clippy::cast_precision_loss)] // durations are far smaller
        let read = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        let seconds = self.read(table, key, Kind::Seconds, read, |text| text.parse().ok())?;
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| ConfigError::value(format!("{table}.{key}"), expected(Kind::Seconds)))
    }

    fn switch(&self, table: &str, key: &str) -> Result<bool, ConfigError> {
        self.read(table, key, Kind::Switch, Value::as_bool, |text| text.parse().ok())
    }

    fn list(&self, table: &str, key: &str) -> Result<Vec<String>, ConfigError> {
        let read = |value: &Value| {
            let list = value.as_array()?.iter();
            list.map(|each| each.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        };
        self.read(table, key, Kind::List, read, |text| {
            Some(text.split(',').filter(|each| !each.is_empty()).map(str::to_owned).collect())
        })
    }

    fn address(&self, table: &str, key: &str) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(text) = self.text(table, key)? else { return Ok(None) };
        let parsed = text.parse().map_err(|_| {
            ConfigError::value(format!("{table}.{key}"), format!("{text:?} is no address: write it as 127.0.0.1:4318"))
        });
        parsed.map(Some)
    }

    /// Reads one of several words.
    fn word<T: Copy>(&self, table: &str, key: &str, words: &[(&str, T)]) -> Result<T, ConfigError> {
        let text = self.text(table, key)?.unwrap_or_default();
        words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
            let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            ConfigError::value(format!("{table}.{key}"), format!("{text:?} is none of {}", allowed.join(", ")))
        })
    }

    fn secret(&self, name: &str, variable: &str) -> Result<Secret, ConfigError> {
        let text = (self.variables)(variable).filter(|text| !text.trim().is_empty());
        let text =
            text.ok_or_else(|| ConfigError::value(name, format!("the variable {variable} is not set or empty")))?;
        Ok(Secret::new(text.trim()))
    }

    fn config(&self) -> Result<Config, ConfigError> {
        let tenant = self.tenants()?;
        let default = match self.text("tenants", "default")? {
            Some(name) if tenant.contains_key(&name) => Some(name),
            Some(name) => {
                let near =
                    nearest(&name, tenant.keys().map(String::as_str)).map(|near| format!(": did you mean {near:?}?"));
                let near = near.unwrap_or_default();
                return Err(ConfigError::value(
                    "tenants.default",
                    format!("there is no [[tenant]] named {name:?}{near}"),
                ));
            }
            None if self.file.get(TENANT).is_none() => Some(DEFAULT_TENANT.to_owned()),
            None => None,
        };
        let topic = self.text("tenants", "topic_pattern")?.map(|pattern| match pattern.split_once('*') {
            Some((before, after)) if !after.contains('*') => Ok((before.to_owned(), after.to_owned())),
            _ => Err(ConfigError::value("tenants.topic_pattern", "has one `*`, in place of the tenant")),
        });
        Ok(Config {
            otlp: self.otlp()?,
            admin: self.address("admin", "listen")?,
            retrace: self.retrace()?,
            traces: Traces {
                buffer_bytes: self.size("traces", "buffer_bytes", 64 * 1024)?,
                wait: self.seconds("traces", "wait_seconds")?,
                wait_without_root: self.seconds("traces", "wait_without_root_seconds")?,
            },
            tenants: Tenants {
                header: self.text("tenants", "header")?.map(|name| name.to_ascii_lowercase()),
                attribute: self.text("tenants", "attribute")?,
                topic: topic.transpose()?,
                default,
                max_open: self.size("tenants", "max_open", 1)?,
                idle: self.seconds("tenants", "idle_seconds")?,
            },
            tenant,
            kafka: self.kafka()?,
            log_level: self.text("log", "level")?.unwrap_or_else(|| "info".to_owned()),
        })
    }

    fn otlp(&self) -> Result<Otlp, ConfigError> {
        let tls = match (self.text("otlp", "certificate")?, self.text("otlp", "key")?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => return Err(ConfigError::value("otlp.certificate", "needs otlp.key, and the other way round")),
        };
        let variable = self.text("otlp", "token_env")?;
        Ok(Otlp {
            http: self.address("otlp", "http")?,
            grpc: self.address("otlp", "grpc")?,
            max_body_bytes: self.number("otlp", "max_body_bytes", 1024)?,
            timeout: self.seconds("otlp", "timeout_seconds")?,
            retry_after: u32::try_from(self.number("otlp", "retry_after_seconds", 0)?).unwrap_or(u32::MAX),
            tls,
            token: variable.map(|variable| self.secret("otlp.token_env", &variable)).transpose()?,
        })
    }

    fn retrace(&self) -> Result<Retrace, ConfigError> {
        let words = [("ws", "ws"), ("auto", "auto"), ("http", "http")];
        Ok(Retrace {
            base_url: self.text("retrace", "base_url")?,
            transport: self.word("retrace", "transport", &words)?.to_owned(),
            cleartext_hosts: self.list("retrace", "cleartext_hosts")?,
            capture_content: match self.value("retrace", "capture_content") {
                Some(_) => Some(self.switch("retrace", "capture_content")?),
                None => None,
            },
            all_spans: self.word("retrace", "span_selection", &[("genai", false), ("all", true)])?,
            buffer_bytes: self.size("retrace", "buffer_bytes", 1 << 20)?,
            retry_deadline: self.seconds("retrace", "retry_deadline_seconds")?,
            request_timeout: self.seconds("retrace", "request_timeout_seconds")?,
            // The gateway reads the variable of the exporter itself: otherwise all tenants would share one spool.
            spool_dir: self.text("retrace", "spool_dir")?.or_else(|| (self.variables)(SPOOL_DIR)).map(PathBuf::from),
            spool_bytes: self.number("retrace", "spool_bytes", 0)?,
        })
    }

    fn kafka(&self) -> Result<Option<Kafka>, ConfigError> {
        let brokers = self.list("kafka", "brokers")?.join(",");
        if brokers.is_empty() {
            return Ok(None);
        }
        if !cfg!(feature = "kafka") {
            return Err(ConfigError::value(
                "kafka.brokers",
                "this build has no Kafka: build it with the feature `kafka`",
            ));
        }
        let properties = self.kafka_properties()?;
        let topics = self.list("kafka", "topics")?;
        if topics.is_empty() {
            return Err(ConfigError::value("kafka.topics", "names no topic"));
        }
        let encodings = [("otlp_proto", Encoding::Proto), ("otlp_json", Encoding::Json)];
        Ok(Some(Kafka {
            brokers,
            group: self.text("kafka", "group")?.unwrap_or_default(),
            topics,
            encoding: self.word("kafka", "encoding", &encodings)?,
            signal: self.word("kafka", "signal", &[("traces", Signal::Traces), ("logs", Signal::Logs)])?,
            dead_letter_topic: self.text("kafka", "dead_letter_topic")?,
            session_timeout: self.seconds("kafka", "session_timeout_seconds")?,
            commit_interval: self.seconds("kafka", "commit_interval_seconds")?,
            pause_messages: self.size("kafka", "pause_messages", 1)?,
            properties,
        }))
    }

    /// Returns the properties of librdkafka, each from one of three tables.
    fn kafka_properties(&self) -> Result<BTreeMap<String, Secret>, ConfigError> {
        let mut properties = BTreeMap::new();
        for source in ["properties", "properties_env", "properties_file"] {
            let setting = format!("kafka.{source}");
            let Some(value) = self.value("kafka", source) else { continue };
            let table = value.as_table().ok_or_else(|| ConfigError::value(&setting, expected(Kind::Table)))?;
            for (property, value) in table {
                let text = value.as_str().ok_or_else(|| ConfigError::value(&setting, expected(Kind::Table)))?;
                let place = || format!("{setting}: {property}");
                let value = match source {
                    "properties_env" => self.secret(&place(), text)?,
                    "properties_file" => secret_file(&place(), text)?,
                    _ => Secret::new(text),
                };
                if let Some(problem) = kafka_tls::problem(property, &value) {
                    return Err(ConfigError::value(place(), problem));
                }
                if properties.insert(property.clone(), value).is_some() {
                    return Err(ConfigError::value(place(), "is in another table of properties as well"));
                }
            }
        }
        Ok(properties)
    }

    fn tenants(&self) -> Result<BTreeMap<String, Tenant>, ConfigError> {
        let Some(list) = self.file.get(TENANT).and_then(Value::as_array) else {
            let api_key = self.secret("tenant", API_KEY).map_err(|_| {
                ConfigError::value(
                    TENANT,
                    format!("there is none: add a [[tenant]], or set {API_KEY} for a single one"),
                )
            })?;
            let only = Tenant { api_key, project_id: None, environment: None, base_url: None };
            return Ok([(DEFAULT_TENANT.to_owned(), only)].into());
        };
        let mut tenants = BTreeMap::new();
        for (place, table) in list.iter().enumerate() {
            let name = format!("tenant {}", place + 1);
            let text = |key: &str| match table.get(key) {
                None => Ok(None),
                Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
                Some(_) => Err(ConfigError::value(format!("{name}: {key}"), "expected a text that is not empty")),
            };
            let id = text("name")?.ok_or_else(|| ConfigError::value(&name, "has no `name`"))?;
            let api_key = match (text("api_key_env")?, text("api_key_file")?) {
                (Some(variable), None) => self.secret(&format!("tenant {id:?}: api_key_env"), &variable)?,
                (None, Some(path)) => secret_file(&format!("tenant {id:?}: api_key_file"), &path)?,
                _ => {
                    let problem = "needs `api_key_env` or `api_key_file`, not both";
                    return Err(ConfigError::value(format!("tenant {id:?}"), problem));
                }
            };
            let (project_id, environment, base_url) = (text("project_id")?, text("environment")?, text("base_url")?);
            if tenants.insert(id.clone(), Tenant { api_key, project_id, environment, base_url }).is_some() {
                return Err(ConfigError::value(format!("tenant {id:?}"), "is there twice"));
            }
        }
        if tenants.is_empty() {
            return Err(ConfigError::value(TENANT, "the list is empty"));
        }
        Ok(tenants)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
