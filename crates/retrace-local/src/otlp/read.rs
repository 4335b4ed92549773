//! Requests out of bytes.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use thiserror::Error;

/// Why an input is no OTLP.
#[derive(Debug, Error)]
#[error("input {} is no OTLP {format}: {problem}", .input + 1)]
pub struct OtlpError {
    input: usize,
    format: &'static str,
    problem: String,
}

impl OtlpError {
    fn new(format: &'static str, problem: &impl ToString) -> Self {
        Self { input: 0, format, problem: problem.to_string() }
    }

    pub(super) fn in_input(self, input: usize) -> Self {
        Self { input, ..self }
    }

    /// Which input it was, from 0.
    #[must_use]
    pub const fn input(&self) -> usize {
        self.input
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// The requests in an input: JSON when it begins like an object, else protobuf.
pub(super) fn requests(input: &[u8]) -> Result<Vec<ExportTraceServiceRequest>, OtlpError> {
    // Some editors put a mark before text.
    let text = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => Ok(Vec::new()),
        Some(b'{') => serde_json::Deserializer::from_slice(text)
            .into_iter()
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| OtlpError::new("JSON", &error)),
        Some(_) => {
            let request = ExportTraceServiceRequest::decode(input);
            Ok(vec![request.map_err(|error| OtlpError::new("protobuf", &error))?])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

    const EMPTY: &str = r#"{"resourceSpans":[]}"#;

    #[test]
    fn json_and_protobuf_are_told_apart() {
        assert_eq!(requests(EMPTY.as_bytes()).unwrap().len(), 1);
        assert_eq!(requests(format!("\u{feff}\n {EMPTY}\n{EMPTY}\n").as_bytes()).unwrap().len(), 2);
        let request = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans::default()] };
        assert_eq!(requests(&request.encode_to_vec()).unwrap(), [request]);
        assert!(requests(b" \n").unwrap().is_empty());
    }

    #[test]
    fn what_is_neither_says_which_and_why() {
        for (input, format) in [(&b"{\"resourceSpans\":7}"[..], "JSON"), (b"{", "JSON"), (b"hello", "protobuf")] {
            let error = requests(input).unwrap_err().in_input(1).to_string();
            assert!(error.starts_with(&format!("input 2 is no OTLP {format}: ")), "{error}");
        }
    }
}
