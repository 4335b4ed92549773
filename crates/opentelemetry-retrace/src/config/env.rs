//! Environment variables: one table of them, and the functions that parse them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::secret::ApiKey;

/// Environment variable that this crate reads.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Variable {
    /// Name of the variable.
    pub name: &'static str,
    /// Meaning of the variable.
    pub meaning: &'static str,
    /// Value that applies if the variable is unset.
    pub default: &'static str,
    /// Values that are accepted.
    pub accepted: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $name:literal, $meaning:literal, $default:literal, $accepted:literal;)*) => {
        $(pub(crate) const $constant: &str = $name;)*

        /// Every environment variable that this crate reads. A setting made in code comes first, then the
        /// variable that is first in this table, then the default. An empty variable counts as unset.
        pub static VARIABLES: &[Variable] =
            &[$(Variable { name: $name, meaning: $meaning, default: $default, accepted: $accepted },)*];
    };
}

variables! {
    API_KEY = "RETRACE_API_KEY", "The API key.", "none: required", "any text without blanks";
    BASE_URL = "RETRACE_BASE_URL", "Where Retrace is.", "`https://api.retraceai.tech`",
        "`https://host[:port][/path]`; `http://` only for this machine and hosts of `RETRACE_ALLOW_CLEARTEXT_HOST`";
    ALLOW_CLEARTEXT_HOST = "RETRACE_ALLOW_CLEARTEXT_HOST",
        "Other hosts that `http://` is allowed to, for a receiver in a trusted network. The key and all content go there in clear text.",
        "none", "`host[:port]`, several with commas";
    ENDPOINT = "OTEL_EXPORTER_RETRACE_ENDPOINT", "Where Retrace is, in OTLP's style; read where `RETRACE_BASE_URL` is unset.", "unset", "as `RETRACE_BASE_URL`";
    PROJECT_ID = "RETRACE_PROJECT_ID", "The project that runs are filed under.", "none", "any text";
    ENVIRONMENT = "RETRACE_ENVIRONMENT", "The deployment environment of runs.",
        "the resource's `deployment.environment.name`", "any text";
    ENABLED = "RETRACE_ENABLED", "Whether anything is recorded. Off needs no API key.", "on",
        "`true`, `1`, `yes`, `on`, `y`, `enabled`; `false`, `0`, `no`, `off`, `n`, `disabled`; anything else switches off";
    SDK_DISABLED = "OTEL_SDK_DISABLED", "Switches off as well.", "`false`", "`true`, `false`";
    CAPTURE_CONTENT = "RETRACE_CAPTURE_CONTENT",
        "Whether inputs and outputs are sent. Without them structure, names, tokens, cost and errors remain.", "on",
        "as `RETRACE_ENABLED`";
    SPAN_SELECTION = "RETRACE_SPAN_SELECTION",
        "Which spans are sent: those of GenAI and the root above them, or all.", "`genai`", "`genai`, `all`";
    TRANSPORT = "RETRACE_TRANSPORT",
        "How runs are sent: live over a WebSocket, each by one HTTP request, or live by a processor, else by requests.",
        "`auto`", "`auto`, `ws`, `http`";
    SAMPLE_RATE = "RETRACE_SAMPLE_RATE",
        "The share of runs that `RetraceSampler` keeps; without one, the share that an exporter or a processor sends. Of the others those that fail are sent too, except by an exporter below a sampler.", "`1`",
        "a number from `0` to `1`, or a percentage such as `1%`";
    SAMPLE_SEED = "RETRACE_SAMPLE_SEED",
        "Decides by the name of the root span and this seed, as Retrace's other SDKs do, instead of by the trace id.", "none",
        "any text";
    TRACES_SAMPLER = "OTEL_TRACES_SAMPLER", "Read where `RETRACE_SAMPLE_RATE` is unset.", "unset",
        "`always_on`, `always_off`, `traceidratio`, and each with `parentbased_` before it";
    TRACES_SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG", "The share for `traceidratio`.", "`1`", "as `RETRACE_SAMPLE_RATE`";
    PROPAGATORS = "OTEL_PROPAGATORS", "What `compose_from_env()` and `install()` put into headers of requests.",
        "`retrace,baggage`", "a list of `tracecontext`, `baggage`, `retrace`; `none`";
    FLUSH_TIMEOUT = "RETRACE_FLUSH_TIMEOUT", "How long a flush, an export that must wait (four seconds at most), and a drop may take.", "`5`",
        "seconds, fractions allowed";
    TIMEOUT = "OTEL_EXPORTER_RETRACE_TIMEOUT", "How long one request may take.", "`10000`",
        "whole milliseconds, `0` for no limit";
    HEADERS = "OTEL_EXPORTER_RETRACE_HEADERS", "Further headers of every request. The key may stand here as `x-retrace-key`.",
        "none", "`name=value,…`, values percent-encoded";
    CERTIFICATE = "OTEL_EXPORTER_RETRACE_CERTIFICATE",
        "Certificate authorities to trust instead of the operating system's.", "none", "path of a PEM file";
    COMPRESSION = "OTEL_EXPORTER_RETRACE_COMPRESSION",
        "How bodies of HTTP requests are packed, with the feature `gzip`. A receiver that does not take it gets them plain.",
        "`none`", "`gzip`, `none`";
    SPOOL_DIR = "RETRACE_SPOOL_DIR",
        "A directory where runs that could not be delivered wait for the next start, **inputs and outputs included**.",
        "none", "path of a directory, of this receiver alone";
    ALLOW_REMOTE_REPLAY = "RETRACE_ALLOW_REMOTE_REPLAY",
        "Whether the receiver may run functions again that the application serves (`retrace::serve`).", "off", "as `RETRACE_ENABLED`";
    ALLOW_REMOTE_CASSETTE = "RETRACE_ALLOW_REMOTE_CASSETTE",
        "Whether recorded responses that the receiver sends may answer model calls and tools of such a run.", "off",
        "as `RETRACE_ENABLED`";
    BATCH_SIZE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "Read to tell a full batch, which does not wait for delivery, from a flush, which does.", "`512`", "a whole number from 1";
}

/// Values that switch a switch of Retrace on, and those that switch it off.
const ON: [&str; 6] = ["true", "1", "yes", "on", "y", "enabled"];
const OFF: [&str; 6] = ["false", "0", "no", "off", "n", "disabled"];
/// Variables whose value is, or holds, a secret.
const SECRET: [&str; 2] = [API_KEY, HEADERS];
/// Longest value that a warning repeats, in bytes. A longer one is more likely a key, or text, than a
/// setting.
const SHOWN_BYTES: usize = 32;
/// Shortest key that is searched for in values, in bytes. A shorter one, as for a local receiver, could be
/// any word.
const KEY_BYTES: usize = 8;

/// Value of a variable that is set and not empty.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    /// Bytes that are not valid UTF-8.
    Unreadable,
}

/// Environment, and the warnings about it.
pub(crate) struct Environment<'a> {
    read: &'a dyn Fn(&str) -> Option<OsString>,
    /// API key set in code.
    key: Option<ApiKey>,
    warnings: Vec<String>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(read: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { read, key: None, warnings: Vec::new() }
    }

    /// Keeps this key out of warnings, in the same way as the one in the environment.
    pub(crate) fn with_key(self, key: Option<ApiKey>) -> Self {
        Self { key, ..self }
    }

    /// Returns warnings about variables that are ignored, in the order in which they were read.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// Adds a warning. It must contain no value except one that [`Environment::shown`] returns.
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Formats a value for a warning: in quotes, or `…` if it is long or could be a key.
    pub(crate) fn shown(&self, text: &str) -> String {
        let holds = |key: &str| key.len() >= KEY_BYTES && text.contains(key);
        let is_key = text.to_ascii_lowercase().contains("rt_")
            || self.key.as_ref().is_some_and(|key| holds(key.expose()))
            || (self.read)(API_KEY).and_then(|key| key.into_string().ok()).is_some_and(|key| holds(key.trim()));
        if is_key || text.len() > SHOWN_BYTES { "…".to_owned() } else { format!("{text:?}") }
    }

    /// Returns the value of a variable; `None` if it is unset or empty.
    pub(crate) fn value(&self, name: &'static str) -> Option<Value> {
        let value = (self.read)(name).filter(|value| !value.is_empty())?;
        Some(value.into_string().map_or(Value::Unreadable, Value::Text))
    }

    /// Returns a path, in any encoding; an empty variable is unset.
    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        (self.read)(name).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// Returns the text of a variable; an empty one is unset. For settings whose default is safe: a value
    /// that is not valid UTF-8 is ignored with a warning.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            Value::Unreadable => {
                self.warn(format!("{name} is ignored: it is not valid UTF-8"));
                None
            }
        }
    }

    /// Parses a variable with `parse`; a text that it rejects is ignored with a warning.
    pub(crate) fn parsed<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let parsed = parse(text);
        if parsed.is_none() {
            let shown = if SECRET.contains(&name) { "…".to_owned() } else { self.shown(text) };
            self.warn(format!("{name}={shown} is ignored: use {}", accepted(name)));
        }
        parsed
    }

    /// Returns a protective switch of Retrace: a value that is neither on nor off switches it off, with a
    /// warning.
    pub(crate) fn switch(&mut self, name: &'static str) -> Option<bool> {
        let problem = match self.value(name)? {
            Value::Text(text) => {
                let text = text.trim();
                let is = |words: [&str; 6]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
                if text.is_empty() {
                    return None;
                }
                if is(ON) || is(OFF) {
                    return Some(is(ON));
                }
                format!("={} is neither on nor off", self.shown(text))
            }
            Value::Unreadable => " is not valid UTF-8".to_owned(),
        };
        self.warn(format!("{name}{problem}, which switches it off: use true or false"));
        Some(false)
    }

    /// Returns a switch of OpenTelemetry. By its specification everything but `true`, in any case, is false.
    pub(crate) fn is_true(&mut self, name: &'static str) -> bool {
        let problem = match self.value(name) {
            None => return false,
            Some(Value::Text(text)) => {
                let text = text.trim();
                let is = |word: &str| text.eq_ignore_ascii_case(word);
                if text.is_empty() || is("true") || is("false") {
                    return is("true");
                }
                format!("={}", self.shown(text))
            }
            Some(Value::Unreadable) => ", which is not valid UTF-8,".to_owned(),
        };
        self.warn(format!("{name}{problem} counts as false: use true or false"));
        false
    }
}

/// Returns the values that [`VARIABLES`] lists for a variable.
fn accepted(name: &str) -> &'static str {
    VARIABLES.iter().find(|variable| variable.name == name).map_or("", |variable| {
        // The table refers to another row where both accept the same.
        let same = variable.accepted.strip_prefix("as `").and_then(|rest| rest.strip_suffix('`'));
        same.map_or(variable.accepted, accepted)
    })
}

/// Parses seconds, with a fraction.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Parses whole milliseconds; 0 is no limit.
pub(crate) fn limit_millis(text: &str) -> Option<Option<Duration>> {
    let millis: u64 = text.parse().ok()?;
    Some((millis > 0).then(|| Duration::from_millis(millis)))
}

/// Parses `name=value,name=value`, with percent-encoded values (OTLP's form).
pub(crate) fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().ok()?;
            Some((name.trim().to_owned(), value.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(value: &str, read: impl FnOnce(&mut Environment<'_>) -> T) -> (T, usize) {
        let source = |_: &str| Some(OsString::from(value));
        let mut environment = Environment::new(&source);
        let result = read(&mut environment);
        (result, environment.into_warnings().len())
    }

    #[test]
    fn a_switch_that_protects_is_off_unless_it_is_clearly_on() {
        for name in [ENABLED, CAPTURE_CONTENT] {
            for word in ON {
                for text in [word.to_owned(), word.to_uppercase(), format!(" {word}\t")] {
                    assert_eq!(with(&text, |env| env.switch(name)), (Some(true), 0), "{text:?}");
                }
            }
            for word in OFF {
                for text in [word.to_owned(), word.to_uppercase(), format!("\t{word} \n")] {
                    assert_eq!(with(&text, |env| env.switch(name)), (Some(false), 0), "{text:?}");
                }
            }
            for text in ["offf", "flase", "none", "2", "-1", "\"true\"", "'on'", "true;", "null", "оff"] {
                assert_eq!(with(text, |env| env.switch(name)), (Some(false), 1), "{text:?}");
            }
            for text in ["", " ", "\t\n"] {
                assert_eq!(with(text, |env| env.switch(name)), (None, 0), "{text:?}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_switch_that_is_no_text_is_unreadable() {
        use std::os::unix::ffi::OsStringExt as _;
        let source = |_: &str| Some(OsString::from_vec(b"true\xff".to_vec()));
        let mut environment = Environment::new(&source);
        assert_eq!(environment.switch(ENABLED), Some(false));
        assert!(!environment.is_true(SDK_DISABLED));
        let warnings = environment.into_warnings();
        assert!(warnings[0].contains("RETRACE_ENABLED is not valid UTF-8, which switches it off"), "{warnings:?}");
        assert!(warnings[1].contains("OTEL_SDK_DISABLED, which is not valid UTF-8, counts as false"), "{warnings:?}");
    }

    #[test]
    fn a_warning_repeats_no_key() {
        let warning = |name: &'static str, value: &str, code: Option<&str>| {
            let source = |asks: &str| {
                let value = if asks == API_KEY { "hunter22" } else { value };
                Some(OsString::from(value))
            };
            let mut environment = Environment::new(&source).with_key(code.map(ApiKey::from));
            let _: Option<()> = environment.parsed(name, |_| None);
            let _ = environment.switch(name);
            environment.into_warnings().join("; ")
        };
        for (name, value, code) in [
            (TRANSPORT, "hunter22", None),
            (TRANSPORT, "key=hunter22", None),
            (TRANSPORT, "rt_live_0123", None),
            (SAMPLE_RATE, "RT_LIVE_0123", None),
            (ENABLED, "set in code", Some("set in code")),
            (TRANSPORT, "0123456789abcdef0123456789abcdef01", None),
            (HEADERS, "x-retrace-key", None),
        ] {
            let warning = warning(name, value, code);
            assert!(warning.contains(&format!("{name}=…")), "{warning}");
            assert!(warning.contains("use "), "{warning}");
            assert!(name == HEADERS || !warning.contains(value), "{warning}");
        }
        assert!(warning(TRANSPORT, "wss", None).contains("RETRACE_TRANSPORT=\"wss\" is ignored"));
    }

    #[test]
    fn a_warning_lists_what_is_accepted_where_the_table_refers_to_another_row() {
        let source = |_: &str| Some(OsString::from("half"));
        let mut environment = Environment::new(&source);
        let _: Option<()> = environment.parsed(TRACES_SAMPLER_ARG, |_| None);
        assert_eq!(
            environment.into_warnings(),
            ["OTEL_TRACES_SAMPLER_ARG=\"half\" is ignored: use a number from `0` to `1`, or a percentage such as `1%`"]
        );
    }

    #[test]
    fn switches_of_opentelemetry_are_true_only_when_they_say_so() {
        for (text, on, warnings) in [
            ("true", true, 0),
            ("True", true, 0),
            (" TRUE ", true, 0),
            ("false", false, 0),
            ("", false, 0),
            (" ", false, 0),
            ("1", false, 1),
            ("yes", false, 1),
        ] {
            assert_eq!(with(text, |env| env.is_true(SDK_DISABLED)), (on, warnings), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_ignored_with_a_warning() {
        for (text, expected) in
            [("2.5", Some(2_500)), ("0", Some(0)), ("-1", None), ("NaN", None), ("inf", None), ("five", None)]
        {
            let read = with(text, |env| env.parsed(FLUSH_TIMEOUT, seconds));
            let expected = expected.map(Duration::from_millis);
            assert_eq!(read, (expected, usize::from(expected.is_none())), "{text}");
        }
        for (text, expected) in [("250", Some(Some(250))), ("0", Some(None)), ("-1", None), ("1.5", None)] {
            let expected = expected.map(|millis| millis.map(Duration::from_millis));
            assert_eq!(with(text, |env| env.parsed(TIMEOUT, limit_millis)).0, expected, "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_no_text_is_ignored() {
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt as _;
            let source = |_: &str| Some(OsString::from_vec(vec![0xff]));
            let mut environment = Environment::new(&source);
            assert_eq!(environment.text(PROJECT_ID), None);
            assert_eq!(environment.into_warnings().len(), 1);
        }
    }

    #[test]
    fn lists_of_headers_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs(" a=1 , b = x%20y%2C=z ,"), Some(vec![pair("a", "1"), pair("b", "x y,=z")]));
        for bad in ["a", "a=1,b", "a=%ff"] {
            assert_eq!(pairs(bad), None, "{bad}");
        }
    }
}
