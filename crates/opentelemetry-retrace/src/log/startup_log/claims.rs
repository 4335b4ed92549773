//! Texts that were logged or written, for all pipelines of a process.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::fork::PerProcess;

/// Maximum number of texts that are remembered as taken or written.
const TEXTS_KEPT: usize = 256;

/// Hashes of texts; true if the text was taken or written, false while a thread offers it.
type Texts = Mutex<Vec<(u64, bool)>>;

/// Keeps several pipelines of one process from repeating each other.
static TEXTS: LazyLock<PerProcess<Texts>> = LazyLock::new(|| PerProcess::new(Mutex::default()));

/// Result of [`claim`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Mine,
    /// Another thread offers the same text at present.
    Busy,
    /// The text was taken or written before.
    Done,
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn texts() -> MutexGuard<'static, Vec<(u64, bool)>> {
    TEXTS.here(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims a text for this thread. The claim ends with [`end_claim`].
pub(super) fn claim(text: &str) -> Claim {
    let (mut texts, hash) = (texts(), hash(text));
    match texts.iter().find(|(known, _)| *known == hash) {
        Some((_, true)) => Claim::Done,
        Some((_, false)) => Claim::Busy,
        None => {
            if texts.len() < TEXTS_KEPT {
                texts.push((hash, false));
            }
            Claim::Mine
        }
    }
}

/// Ends a claim: `done` if the text was taken or written.
pub(super) fn end_claim(text: &str, done: bool) {
    let (mut texts, hash) = (texts(), hash(text));
    texts.retain(|(known, _)| *known != hash);
    if done && texts.len() < TEXTS_KEPT {
        texts.push((hash, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_claim_at_a_time_and_none_once_it_is_done() {
        assert_eq!((claim("a text"), claim("a text"), claim("another text")), (Claim::Mine, Claim::Busy, Claim::Mine));
        end_claim("a text", false);
        assert_eq!(claim("a text"), Claim::Mine);
        end_claim("a text", true);
        end_claim("a text", true);
        assert_eq!((claim("a text"), claim("another text")), (Claim::Done, Claim::Busy));
    }
}
