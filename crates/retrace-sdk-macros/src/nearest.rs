//! Suggestions for misspelt words.

/// Returns the known word that is nearest to `word`, if one is near enough to be meant.
///
/// Near are words at an edit distance of at most a third of the length, the words of which `word` is a prefix or the
/// reverse, and the words other recorders use for the same.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let of_others = SYNONYMS.iter().find(|(other, _)| *other == word).map(|(_, ours)| *ours);
    if let Some(ours) = of_others.and_then(|ours| known.iter().find(|known| **known == ours)) {
        return Some(ours);
    }
    let near = |known: &&&str| {
        let shared = word.len() >= 3 && known.len() >= 3 && (known.starts_with(&word) || word.starts_with(**known));
        shared || distance(&word, known) <= known.len().max(word.len()).div_ceil(3)
    };
    known.iter().filter(near).min_by_key(|known| distance(&word, known)).copied()
}

/// Words of `tracing` and of the SDKs for other languages, and ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("args", "input"),
    ("arguments", "input"),
    ("attributes", "metadata"),
    ("err", "output"),
    ("fields", "metadata"),
    ("inputs", "input"),
    ("kind", "type"),
    ("llm", "llm_call"),
    ("llmcall", "llm_call"),
    ("outputs", "output"),
    ("result", "output"),
    ("ret", "output"),
    ("session_id", "session"),
    ("span_type", "type"),
    ("tool", "tool_call"),
    ("toolcall", "tool_call"),
    ("toolresult", "tool_result"),
    ("forkpoint", "fork_point"),
    ("user_id", "user"),
];

/// Returns the number of insertions, deletions, substitutions and swaps of neighbours between two words.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, right) in to.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut best = at(&last, column) + usize::from(left != right);
            best = best.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped = row > 0 && column > 0 && from.get(row - 1) == Some(right) && to.get(column - 1) == Some(left);
            if swapped {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("name", "nmae"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("größe", "grösse"), 2);
    }

    #[test]
    fn a_misspelt_word_has_its_nearest() {
        let known = ["name", "type", "input", "skip", "skip_all", "session", "metadata", "llm_call", "tool_call"];
        for (word, expected) in [
            ("nmae", Some("name")),
            ("nam", Some("name")),
            ("skip-all", Some("skip_all")),
            ("sessions", Some("session")),
            ("meta", Some("metadata")),
            ("fields", Some("metadata")),
            ("LlmCall", Some("llm_call")),
            ("tool_cal", Some("tool_call")),
            ("colour", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
    }
}
