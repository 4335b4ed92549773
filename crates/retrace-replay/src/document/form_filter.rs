//! Filter before the search for credentials that are known by their form.

use genai_redact::Place;

/// Bytes that are looked at together.
const BLOCK: usize = 16;
/// Bytes before a word that may belong to a credential in it: `Bearer `.
const BEFORE: usize = 8;

/// Returns true if `genai_redact` finds a credential by its form, or in a URL, in this text. Costs about one instruction a byte
/// where the text is prose.
///
/// A key or token holds a digit or an asterisk, or is long; a password in a URL stands before `@`, and a parameter before `=`.
/// Only the words around such bytes are searched.
pub(crate) fn may_hold(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let is_suspect = match rest.first_chunk::<BLOCK>() {
            Some(block) => is_suspect(block),
            None => {
                let mut block = [b' '; BLOCK];
                block.iter_mut().zip(rest).for_each(|(own, byte)| *own = *byte);
                is_suspect(&block)
            }
        };
        if !is_suspect {
            at += BLOCK;
            continue;
        }
        let end = (at + BLOCK).min(bytes.len());
        let begin = words_begin(bytes, at);
        at = end + bytes.get(end..).unwrap_or_default().iter().take_while(|byte| !is_space(**byte)).count();
        let words = text.get(begin..at).unwrap_or_default();
        // The parameters of a URL need not follow anything.
        if begin == 0 && words.contains('=') {
            return true;
        }
        let mut from = begin.saturating_sub(BEFORE);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        if text.get(from..at).is_none_or(|words| Place::Label.text(words).is_some()) {
            return true;
        }
    }
    false
}

/// Returns the position at which the word around `at` begins.
fn words_begin(bytes: &[u8], at: usize) -> usize {
    let before = bytes.get(..at).unwrap_or_default();
    at - before.iter().rev().take_while(|byte| !is_space(**byte)).count()
}

fn is_space(byte: u8) -> bool {
    byte <= b' '
}

/// Returns true if a part of a credential may stand in the block: a digit, `*`, `=`, `@`, or eight bytes of one word. Of a word
/// of 15 bytes or more, eight lie in one half of a block.
fn is_suspect(block: &[u8; BLOCK]) -> bool {
    // The bytes from `0` to `@` are digits and `:;<=>?@`.
    let is_mark = |byte: u8| u8::from(byte.wrapping_sub(b'0') <= b'@' - b'0') | u8::from(byte == b'*');
    let is_no_word = |byte: u8| u8::from(byte.wrapping_sub(b'!') > b'~' - b'!');
    let marks = block.iter().fold(0, |any, byte| any | is_mark(*byte));
    let gaps = u128::from_ne_bytes(block.map(is_no_word));
    let is_whole_word = gaps << u64::BITS == 0 || gaps >> u64::BITS == 0;
    marks != 0 || is_whole_word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTS: [&str; 34] = [
        "sk-",
        "AIza",
        "Bearer ",
        "basic ",
        "eyJ",
        "1//0",
        "abcdef",
        "abcdefghijklmnopqrstuvwx",
        "a",
        "1",
        "*",
        "12345678",
        "=",
        "@",
        "&",
        "?",
        "#",
        "://",
        "https://",
        "key",
        "?key=",
        "hm=",
        "user:pass@",
        "é",
        "漢字",
        " ",
        "  ",
        "\n",
        "\"",
        ".",
        "-",
        "/",
        "[redacted]",
        "words of prose ",
    ];

    #[test]
    fn prose_is_let_through_and_keys_are_not() {
        for prose in [
            "",
            "a",
            "The tide rises \"six\" metres\nin the harbour, twice a day.",
            "naïve 漢字 words",
            "2024-10-01 was rainy",
        ] {
            assert!(!may_hold(prose), "{prose}");
        }
        for key in [
            "use sk-abc***wxyz",
            "basic QWxhZGRpbjpvcGVu1",
            "https://a:b@h",
            "see https://h?key=a",
            "key=a",
            "漢字 sk-abcdefghijklmnopqrstuvwxyz",
        ] {
            assert!(may_hold(key), "{key}");
        }
    }

    #[test]
    fn a_short_key_is_found_wherever_it_begins() {
        for key in ["sk-abc***wx", "Bearer abc***xyz", "sk-abcdefg1"] {
            assert!(Place::Label.text(key).is_some(), "{key}");
            for spaces in 0..2 * BLOCK {
                let text = format!("{}{key} ", " ".repeat(spaces));
                assert!(may_hold(&text), "{text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_credential_is_let_through(parts in prop::collection::vec(0..PARTS.len(), 0..14)) {
            let text: String = parts.iter().map(|at| PARTS[*at]).collect();
            if Place::Label.text(&text).is_some() || Place::Url.text(&text).is_some() {
                prop_assert!(may_hold(&text), "{:?}", text);
            }
        }
    }
}
