//! Reading the environment: one table of variables, one place that parses them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// One environment variable that this crate reads.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it sets.
    pub meaning: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What may stand in it.
    pub accepted: &'static str,
}

macro_rules! variables {
    ($($constant:ident = $name:literal, $meaning:literal, $default:literal, $accepted:literal;)*) => {
        $(pub(crate) const $constant: &str = $name;)*

        /// Every environment variable that this crate reads. A setting made in code comes first, then the variable that
        /// stands first here, then the default. An empty variable counts as unset.
        pub static VARIABLES: &[Variable] =
            &[$(Variable { name: $name, meaning: $meaning, default: $default, accepted: $accepted },)*];
    };
}

variables! {
    API_KEY = "RETRACE_API_KEY", "The API key.", "none: required", "any text without blanks";
    BASE_URL = "RETRACE_BASE_URL", "Where Retrace is.", "`https://api.retraceai.tech`",
        "`https://host[:port][/path]`; `http://` only for this machine";
    ENDPOINT = "OTEL_EXPORTER_RETRACE_ENDPOINT", "The same, in OTLP's style.", "unset", "as `RETRACE_BASE_URL`";
    PROJECT_ID = "RETRACE_PROJECT_ID", "The project that runs are filed under.", "none", "any text";
    ENVIRONMENT = "RETRACE_ENVIRONMENT", "The deployment environment of runs.",
        "the resource's `deployment.environment.name`", "any text";
    ENABLED = "RETRACE_ENABLED", "Whether anything is recorded. Off needs no API key.", "on",
        "`false`, `0` and `no` switch off";
    SDK_DISABLED = "OTEL_SDK_DISABLED", "Switches off as well.", "`false`", "`true`, `false`";
    CAPTURE_CONTENT = "RETRACE_CAPTURE_CONTENT",
        "Whether inputs and outputs are sent. Without them structure, names, tokens, cost and errors remain.", "on",
        "`true`, `1`, `yes`, `on`; `false`, `0`, `no`, `off`; anything else switches off";
    SPAN_SELECTION = "RETRACE_SPAN_SELECTION",
        "Which spans are sent: those of GenAI and the root above them, or all.", "`genai`", "`genai`, `all`";
    TRANSPORT = "RETRACE_TRANSPORT",
        "How runs are sent: live over a WebSocket, each by one HTTP request when it has ended, or whichever works.", "`auto`",
        "`auto`, `ws`, `http`";
    SAMPLE_RATE = "RETRACE_SAMPLE_RATE", "The share of runs that `RetraceSampler` keeps.", "`1`", "a number from `0` to `1`";
    SAMPLE_SEED = "RETRACE_SAMPLE_SEED",
        "Decides by the name of the root span and this seed, as Retrace's other SDKs do, instead of by the trace id.", "none",
        "any text";
    TRACES_SAMPLER = "OTEL_TRACES_SAMPLER", "Read where `RETRACE_SAMPLE_RATE` is unset.", "unset",
        "`always_on`, `always_off`, `traceidratio`, and each with `parentbased_` before it";
    TRACES_SAMPLER_ARG = "OTEL_TRACES_SAMPLER_ARG", "The share for `traceidratio`.", "`1`", "a number from `0` to `1`";
    PROPAGATORS = "OTEL_PROPAGATORS", "What `compose_from_env()` and `install()` put into headers of requests.",
        "`retrace,baggage`", "a list of `tracecontext`, `baggage`, `retrace`; `none`";
    FLUSH_TIMEOUT = "RETRACE_FLUSH_TIMEOUT", "How long a flush, an export that must wait, and a drop may take.", "`5`",
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
    BATCH_SIZE = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "Read to tell a full batch, which does not wait for delivery, from a flush, which does.", "`512`", "a whole number from 1";
}

/// An environment, and what was wrong with it.
pub(crate) struct Environment<'a> {
    read: &'a dyn Fn(&str) -> Option<OsString>,
    warnings: Vec<String>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(read: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { read, warnings: Vec::new() }
    }

    /// What to tell the user about variables that were ignored.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings
    }

    /// Something else to tell the user.
    pub(crate) fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    /// A path, in whatever encoding; empty is unset.
    pub(crate) fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        (self.read)(name).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The text of a variable; empty is unset.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        match (self.read)(name)?.into_string() {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(text),
            Err(_) => {
                self.warnings.push(format!("{name} is ignored: it is no valid UTF-8"));
                None
            }
        }
    }

    /// A variable that `parse` understands; another text is ignored with a warning.
    pub(crate) fn parsed<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(text.trim());
        if parsed.is_none() {
            let accepted = VARIABLES.iter().find(|v| v.name == name).map_or("", |variable| variable.accepted);
            self.warnings.push(format!("{name}={text:?} is ignored: use {accepted}"));
        }
        parsed
    }

    /// A switch of Retrace's, on unless it is said to be off. The rule is that of its other SDKs, so that one environment
    /// serves all.
    pub(crate) fn is_off(&mut self, name: &'static str) -> bool {
        let off = |text: &str| ["false", "0", "no"].iter().any(|off| text.eq_ignore_ascii_case(off));
        let on = |text: &str| ["true", "1", "yes"].iter().any(|on| text.eq_ignore_ascii_case(on));
        let Some(text) = self.text(name) else { return false };
        if !on(&text) && !off(&text) {
            self.warnings.push(format!("{name}={text:?} leaves it on: only false, 0 and no switch it off"));
        }
        off(&text)
    }

    /// A switch of OpenTelemetry's: only `true` is true.
    pub(crate) fn is_true(&mut self, name: &'static str) -> bool {
        let Some(text) = self.text(name) else { return false };
        if !text.eq_ignore_ascii_case("true") && !text.eq_ignore_ascii_case("false") {
            self.warnings.push(format!("{name}={text:?} counts as false: use true or false"));
        }
        text.eq_ignore_ascii_case("true")
    }

    /// A switch that guards content: what nobody understands switches it off.
    pub(crate) fn guard(&mut self, name: &'static str) -> Option<bool> {
        let text = self.text(name)?;
        let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is(["true", "1", "yes", "on"]) {
            return Some(true);
        }
        if !is(["false", "0", "no", "off"]) {
            self.warnings.push(format!("{name}={text:?} switches it off: use true or false"));
        }
        Some(false)
    }
}

/// Seconds, with a fraction.
pub(crate) fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// Whole milliseconds; 0 is no limit.
pub(crate) fn limit_millis(text: &str) -> Option<Option<Duration>> {
    let millis: u64 = text.parse().ok()?;
    Some((millis > 0).then(|| Duration::from_millis(millis)))
}

/// `name=value,name=value`, with percent-encoded values (OTLP's form).
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
    fn switches_of_retrace_follow_its_sdks() {
        for (text, off, warnings) in [
            ("false", true, 0),
            ("FALSE", true, 0),
            ("0", true, 0),
            ("No", true, 0),
            ("true", false, 0),
            ("", false, 0),
            ("off", false, 1),
            ("n", false, 1),
        ] {
            assert_eq!(with(text, |env| env.is_off(ENABLED)), (off, warnings), "{text}");
        }
    }

    #[test]
    fn switches_of_opentelemetry_are_true_only_when_they_say_so() {
        for (text, on, warnings) in [
            ("true", true, 0),
            ("True", true, 0),
            ("false", false, 0),
            ("", false, 0),
            ("1", false, 1),
            ("yes", false, 1),
        ] {
            assert_eq!(with(text, |env| env.is_true(SDK_DISABLED)), (on, warnings), "{text}");
        }
    }

    #[test]
    fn a_guard_that_is_not_understood_is_closed() {
        for (text, open, warnings) in [
            ("true", Some(true), 0),
            ("ON", Some(true), 0),
            ("off", Some(false), 0),
            ("0", Some(false), 0),
            ("flase", Some(false), 1),
            ("", None, 0),
        ] {
            assert_eq!(with(text, |env| env.guard(CAPTURE_CONTENT)), (open, warnings), "{text}");
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
