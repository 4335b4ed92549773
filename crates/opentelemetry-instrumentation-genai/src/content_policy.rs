//! Content capture: its switch and its limits.

use std::ffi::OsString;

/// Environment variable for content capture, used if no code sets it; the same as in the instrumentations of other languages.
pub const CAPTURE_VARIABLE: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

/// Content capture: controls whether prompts and completions are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Capture {
    /// Content is not recorded. The default.
    #[default]
    NoContent,
    /// Content is recorded on spans, as `gen_ai.input.messages`, `gen_ai.output.messages` and so on.
    SpanOnly,
}

impl Capture {
    /// Reads a value of [`CAPTURE_VARIABLE`], in any case: `SPAN_ONLY`, `SPAN_AND_EVENT` and `true` record content on spans;
    /// `NO_CONTENT`, `EVENT_ONLY` (there are no events here), `false` and everything else do not.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        match value.trim().to_ascii_lowercase().as_str() {
            "span_only" | "span_and_event" | "true" | "1" => Self::SpanOnly,
            _ => Self::NoContent,
        }
    }

    /// Reads [`CAPTURE_VARIABLE`] from the environment; a value that is not valid UTF-8 records no content.
    pub(crate) fn from_environment(value: Option<OsString>) -> Self {
        value.and_then(|value| value.into_string().ok()).map_or(Self::NoContent, |value| Self::parse(&value))
    }

    pub(crate) fn is_on(self) -> bool {
        self == Self::SpanOnly
    }
}

/// Limits of recorded content in bytes. Content beyond them is cut and counted (`retrace.omitted_bytes`), and what is kept
/// stays valid JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Limit of each text, such as a message or an image in base64. Default: [`Limits::TEXT`].
    pub text: usize,
    /// Limit of each attribute with content. Default: [`Limits::ATTRIBUTE`].
    pub attribute: usize,
}

impl Limits {
    /// 128 KiB
    pub const TEXT: usize = 128 * 1024;
    /// 1 MiB
    pub const ATTRIBUTE: usize = 1024 * 1024;
    /// Limit of a text without content capture: names and ids are shorter.
    pub(crate) const NAME: usize = 512;
}

impl Default for Limits {
    fn default() -> Self {
        Self { text: Self::TEXT, attribute: Self::ATTRIBUTE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_understood_records_nothing() {
        for on in ["SPAN_ONLY", "span_and_event", " true "] {
            assert_eq!(Capture::parse(on), Capture::SpanOnly, "{on}");
        }
        for off in ["", "NO_CONTENT", "EVENT_ONLY", "false", "yes please"] {
            assert_eq!(Capture::parse(off), Capture::NoContent, "{off}");
        }
        assert_eq!(Capture::from_environment(None), Capture::NoContent);
        assert_eq!(Capture::from_environment(Some("Span_Only".into())), Capture::SpanOnly);
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStringExt as _;
            let value = OsString::from_vec(b"true\xff".to_vec());
            assert_eq!(Capture::from_environment(Some(value)), Capture::NoContent);
        }
    }
}
