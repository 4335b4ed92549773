//! Tokens of a recorded response compared with those of a live one.

use std::fmt::{self, Display};

use memchr::memmem;
use serde::Serialize;
use serde_json::Value;

use crate::Response;

/// Returns the token ids of the first answer of a response; where it has none, the bytes of the tokens in its log-probabilities.
/// Empty where it has neither. Reads the formats of OpenAI's chat and text completions and of those who follow them, whole or
/// streamed. Costs a parse of the body only where it has one of the two.
#[must_use]
pub fn response_tokens(response: &Response) -> Vec<u64> {
    let body = response.body();
    let has = |name: &str| memmem::find(&body, name.as_bytes()).is_some();
    if !has("\"token_ids\"") && !has("\"bytes\"") {
        return Vec::new();
    }
    let documents: Vec<Value> = match serde_json::from_slice(&body) {
        Ok(document) => vec![document],
        Err(_) => {
            let lines = body.split(|byte| *byte == b'\n');
            lines.filter_map(|line| serde_json::from_slice(line.strip_prefix(b"data:")?).ok()).collect()
        }
    };
    let first = |document: &Value| {
        let choices = document.get("choices")?.as_array()?;
        let is_first = |choice: &&Value| choice.get("index").is_none_or(|index| index.as_u64() == Some(0));
        choices.iter().find(is_first).cloned()
    };
    let choices: Vec<Value> = documents.iter().filter_map(first).collect();
    let ids: Vec<u64> = choices.iter().flat_map(|choice| numbers(choice.get("token_ids"))).collect();
    if !ids.is_empty() {
        return ids;
    }
    let tokens = choices.iter().filter_map(|choice| choice.pointer("/logprobs/content")?.as_array()).flatten();
    tokens.flat_map(|token| numbers(token.get("bytes"))).collect()
}

fn numbers(list: Option<&Value>) -> Vec<u64> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64).collect()
}

/// Compares token ids as they arrive, and stops at the first mismatch. Equal tokens do not make a model deterministic.
#[derive(Clone, Debug)]
pub struct TokenCheck {
    recorded: Vec<u64>,
    unchanged: usize,
    mismatch: Option<Mismatch>,
}

/// First token that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Place of the token in the response, from 0.
    pub at: usize,
    /// Recorded token; `None` where the recording has ended.
    pub expected: Option<u64>,
    /// Live token; `None` where the response has ended.
    pub got: Option<u64>,
}

/// Result of a comparison: `n of N tokens unchanged`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TokenReport {
    /// Tokens before the first mismatch.
    pub unchanged: usize,
    /// Tokens of the recording.
    pub recorded: usize,
    /// First mismatch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
}

impl TokenCheck {
    /// Begins a comparison with recorded tokens.
    #[must_use]
    pub fn new(recorded: Vec<u64>) -> Self {
        Self { recorded, unchanged: 0, mismatch: None }
    }

    /// Compares the next tokens.
    ///
    /// # Errors
    /// The first mismatch; also for all later tokens.
    pub fn push(&mut self, tokens: &[u64]) -> Result<(), Mismatch> {
        for got in tokens.iter().copied() {
            if let Some(mismatch) = self.mismatch {
                return Err(mismatch);
            }
            let expected = self.recorded.get(self.unchanged).copied();
            match expected == Some(got) {
                true => self.unchanged += 1,
                false => self.mismatch = Some(Mismatch { at: self.unchanged, expected, got: Some(got) }),
            }
        }
        self.mismatch.map_or(Ok(()), Err)
    }

    /// Ends the comparison. A response that ends early is a mismatch at its end.
    #[must_use]
    pub fn finish(self) -> TokenReport {
        let Self { recorded, unchanged, mismatch } = self;
        let missing =
            recorded.get(unchanged).map(|expected| Mismatch { at: unchanged, expected: Some(*expected), got: None });
        TokenReport { unchanged, recorded: recorded.len(), mismatch: mismatch.or(missing) }
    }
}

impl Display for TokenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} tokens unchanged", self.unchanged, self.recorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mismatch_ends_it() {
        let mut check = TokenCheck::new(vec![1, 2, 3, 4]);
        assert_eq!(check.push(&[1, 2]), Ok(()));
        let mismatch = Mismatch { at: 2, expected: Some(3), got: Some(9) };
        assert_eq!(check.push(&[9, 4]), Err(mismatch));
        assert_eq!(check.push(&[3]), Err(mismatch));
        let report = check.finish();
        assert_eq!((report.to_string().as_str(), report.mismatch), ("2 of 4 tokens unchanged", Some(mismatch)));
    }

    #[test]
    fn tokens_of_responses() {
        let response = |chunks: &[&str]| {
            let chunks = chunks.iter().map(|chunk| crate::Chunk { ms: 0, bytes: chunk.as_bytes().to_vec() }).collect();
            Response { status: 200, chunks, ..Response::default() }
        };
        let streamed = [
            "data: {\"choices\":[{\"index\":1,\"token_ids\":[9]},{\"index\":0,\"token_ids\":[1,2]}]}\n",
            "\ndata: {\"choices\":[{\"index\":0,\"token_ids\":[3]}]}\n\ndata: [DONE]\n\n",
        ];
        assert_eq!(response_tokens(&response(&streamed)), [1, 2, 3]);
        let logprobs =
            r#"{"choices":[{"index":0,"logprobs":{"content":[{"bytes":[72,105]},{"bytes":[33]},{"bytes":null}]}}]}"#;
        assert_eq!(response_tokens(&response(&[logprobs])), [72, 105, 33]);
        assert_eq!(response_tokens(&response(&["{\"choices\":[]}"])), [0; 0]);
        assert_eq!(response_tokens(&response(&["\"token_ids\""])), [0; 0]);
    }

    #[test]
    fn ends_are_compared() {
        let mut check = TokenCheck::new(vec![1]);
        assert_eq!(check.push(&[1, 2]).unwrap_err().expected, None);
        assert_eq!(TokenCheck::new(vec![1]).finish().mismatch.unwrap().got, None);
        let mut check = TokenCheck::new(vec![1]);
        check.push(&[1]).unwrap();
        assert_eq!(check.finish(), TokenReport { unchanged: 1, recorded: 1, mismatch: None });
    }
}
