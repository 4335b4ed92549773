//! Tokens of a recorded response compared with those of a live one.

use std::fmt::{self, Display};

use serde::Serialize;

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
    fn ends_are_compared() {
        let mut check = TokenCheck::new(vec![1]);
        assert_eq!(check.push(&[1, 2]).unwrap_err().expected, None);
        assert_eq!(TokenCheck::new(vec![1]).finish().mismatch.unwrap().got, None);
        let mut check = TokenCheck::new(vec![1]);
        check.push(&[1]).unwrap();
        assert_eq!(check.finish(), TokenReport { unchanged: 1, recorded: 1, mismatch: None });
    }
}
