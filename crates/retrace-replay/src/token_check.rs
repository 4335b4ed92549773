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
        Err(_) => body.split(|byte| *byte == b'\n').filter_map(event).collect(),
    };
    let choices: Vec<&Value> = documents.iter().filter_map(first_choice).collect();
    let ids: Vec<u64> = choices.iter().flat_map(|choice| token_ids(choice)).collect();
    if !ids.is_empty() {
        return ids;
    }
    choices.iter().flat_map(|choice| token_bytes(choice)).collect()
}

/// Document of a line of an event stream.
fn event(line: &[u8]) -> Option<Value> {
    serde_json::from_slice(line.strip_prefix(b"data:")?).ok()
}

fn first_choice(document: &Value) -> Option<&Value> {
    let is_first = |choice: &&Value| choice.get("index").is_none_or(|index| index.as_u64() == Some(0));
    document.get("choices")?.as_array()?.iter().find(is_first)
}

fn token_ids(choice: &Value) -> Vec<u64> {
    numbers(choice.get("token_ids"))
}

fn token_bytes(choice: &Value) -> Vec<u64> {
    let tokens = choice.pointer("/logprobs/content").and_then(Value::as_array).into_iter().flatten();
    tokens.flat_map(|token| numbers(token.get("bytes"))).collect()
}

/// Longest line of an event stream that is read while it comes, in bytes.
const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// Compares the tokens of a response with recorded ones while it comes: those of an event stream event by event, those of one
/// document at its end.
#[derive(Clone, Debug)]
pub struct StreamedCheck {
    check: TokenCheck,
    /// Line that has not ended.
    line: Vec<u8>,
    state: Streamed,
}

/// Kind of the tokens that came so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Streamed {
    Nothing,
    Ids,
    Bytes,
    /// The events cannot be compared one by one.
    AtTheEnd,
}

impl StreamedCheck {
    /// Begins a comparison with recorded tokens.
    #[must_use]
    pub fn new(recorded: Vec<u64>) -> Self {
        Self { check: TokenCheck::new(recorded), line: Vec::new(), state: Streamed::Nothing }
    }

    /// Takes the next bytes of the body. Returns the report once a token differs; nothing more needs to be taken then.
    pub fn push(&mut self, bytes: &[u8]) -> Option<TokenReport> {
        if self.state == Streamed::AtTheEnd {
            return None;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() > MAX_EVENT_BYTES {
                self.give_up();
                return None;
            }
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let tokens = event(&line).as_ref().and_then(first_choice).and_then(|choice| self.tokens(choice));
            if tokens.is_some_and(|tokens| self.check.push(&tokens).is_err()) {
                return Some(self.check.clone().finish());
            }
        }
        None
    }

    /// Returns the tokens of an event, of the kind that came first.
    fn tokens(&mut self, choice: &Value) -> Option<Vec<u64>> {
        let (ids, bytes) = (token_ids(choice), token_bytes(choice));
        match self.state {
            _ if ids.is_empty() && bytes.is_empty() => None,
            Streamed::Nothing | Streamed::Ids if !ids.is_empty() => {
                self.state = Streamed::Ids;
                Some(ids)
            }
            Streamed::Nothing | Streamed::Bytes if ids.is_empty() => {
                self.state = Streamed::Bytes;
                Some(bytes)
            }
            Streamed::Ids | Streamed::AtTheEnd => None,
            _ => {
                self.give_up();
                None
            }
        }
    }

    /// Compares at the end: from the beginning.
    fn give_up(&mut self) {
        let recorded = std::mem::take(&mut self.check.recorded);
        *self = Self { state: Streamed::AtTheEnd, ..Self::new(recorded) };
    }

    /// Ends the comparison with all tokens of the response, as [`response_tokens`] gives them.
    #[must_use]
    pub fn finish(mut self, tokens: &[u64]) -> TokenReport {
        if matches!(self.state, Streamed::Nothing | Streamed::AtTheEnd) {
            // The mismatch is in the report.
            let _ = self.check.push(tokens);
        }
        self.check.finish()
    }
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
    fn a_stream_is_compared_event_by_event() {
        let body = "data: {\"choices\":[{\"index\":0,\"token_ids\":[1,2]}]}\n\n\
                    data: {\"choices\":[{\"index\":0,\"token_ids\":[3]}]}\n\ndata: [DONE]\n\n";
        for piece in 1..body.len() {
            let mut check = StreamedCheck::new(vec![1, 9, 3]);
            let at = body.as_bytes().chunks(piece).position(|piece| check.push(piece).is_some()).unwrap();
            assert_eq!(at, body.find('\n').unwrap() / piece, "the first event is enough");
            let mut check = StreamedCheck::new(vec![1, 2, 3]);
            assert!(body.as_bytes().chunks(piece).all(|piece| check.push(piece).is_none()));
            assert_eq!(check.finish(&[1, 2, 3]).to_string(), "3 of 3 tokens unchanged");
        }
        let whole = r#"{"choices":[{"index":0,"token_ids":[1,2]}]}"#;
        let mut check = StreamedCheck::new(vec![1, 9]);
        assert!(check.push(whole.as_bytes()).is_none());
        assert_eq!(check.finish(&[1, 2]).to_string(), "1 of 2 tokens unchanged");
        // Bytes first and ids later: the ids count, as in a recording.
        let mut check = StreamedCheck::new(vec![7]);
        let bytes = r#"data: {"choices":[{"logprobs":{"content":[{"bytes":[7]}]}}]}"#;
        let ids = r#"data: {"choices":[{"token_ids":[7]}]}"#;
        assert!(check.push(format!("{bytes}\n{ids}\n").as_bytes()).is_none());
        assert_eq!(check.finish(&[7]).to_string(), "1 of 1 tokens unchanged");
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
