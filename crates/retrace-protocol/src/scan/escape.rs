//! Search for the bytes that a JSON string cannot hold as they are: a quote, a backslash and the control characters.

/// Number of bytes that are checked at a time.
const BLOCK: usize = 16;
const WORD: usize = 8;
const HALF: usize = 4;

/// Returns the position from `at` on of the first byte that a JSON string escapes; the length of `text` if there is none.
///
/// Most strings are short: their end is in the first word.
#[inline]
pub(crate) fn plain_end(text: &[u8], at: usize) -> usize {
    #[inline(never)]
    fn of_long(text: &[u8], at: usize) -> usize {
        plain_end_of_long(text, at)
    }
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk().map(plain_in_word) {
        Some(WORD) => of_long(text, at + WORD),
        Some(plain) => at + plain,
        None => at + plain_in_short(rest),
    }
}

/// Returns the position from `at` on of the quote that ends a string without escapes if it is within a word; `None` if it is
/// further away, or if anything else comes first.
#[inline(always)]
pub(crate) fn near_quote(text: &[u8], at: usize) -> Option<usize> {
    let end = at + plain_in_word(text.get(at..)?.first_chunk()?);
    (*text.get(end)? == b'"').then_some(end)
}

/// Returns the same as [`plain_end`] at lower cost for a long text.
#[inline(always)]
pub(crate) fn plain_end_of_long(text: &[u8], mut at: usize) -> usize {
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<BLOCK>) {
        if has_escaped(block) {
            return at + plain_in_words(block);
        }
        at += BLOCK;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + if rest.len() < WORD { plain_in_short(rest) } else { plain_in_words(rest) }
}

/// Returns the number of bytes before the first one that is escaped, in one or two words, which may overlap.
#[inline(always)]
fn plain_in_words(text: &[u8]) -> usize {
    match text.first_chunk().map_or(0, plain_in_word) {
        WORD => (text.len() + text.last_chunk().map_or(WORD, plain_in_word)).saturating_sub(WORD),
        plain => plain,
    }
}

/// Returns the number of bytes before the first one that is escaped, in less than a word.
#[inline]
fn plain_in_short(text: &[u8]) -> usize {
    if let (Some(begin), Some(end)) = (text.first_chunk(), text.last_chunk()) {
        let both = u64::from(u32::from_le_bytes(*begin)) | u64::from(u32::from_le_bytes(*end)) << u32::BITS;
        return match plain_in_word(&both.to_le_bytes()) {
            plain @ 0..HALF => plain,
            plain => (text.len() + plain).saturating_sub(WORD),
        };
    }
    text.iter().position(|byte| is_escaped(*byte)).unwrap_or(text.len())
}

/// Without a branch, so that all bytes are checked at once.
#[inline]
fn has_escaped(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(false, |any, byte| any | is_escaped(*byte))
}

/// Returns the number of bytes of a word, from the lowest on, before the first one that is escaped.
#[inline]
const fn plain_in_word(word: &[u8; WORD]) -> usize {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_le_bytes(*word);
    // A subtraction borrows from the next byte only where it marks the one before.
    let quote_or_control = (word ^ (ONES * 2)).wrapping_sub(ONES * (b' ' as u64 + 1));
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let marks = (quote_or_control | backslash) & !word & HIGH;
    (marks.trailing_zeros() / u8::BITS) as usize
}

/// With its second bit flipped, the quote is a blank and follows the control characters: two comparisons instead of three.
const fn is_escaped(byte: u8) -> bool {
    ((byte ^ 2) <= b' ') | (byte == b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_escaped_byte_is_found(
            mut text in prop::collection::vec(any::<u8>(), 0..80),
            plain in 0_usize..80,
            begin in 0_usize..20,
        ) {
            text.iter_mut().take(plain).filter(|byte| is_escaped(**byte)).for_each(|byte| *byte ^= 0x80);
            let begin = begin.min(text.len());
            let first = text[begin..].iter().position(|byte| is_escaped(*byte));
            let end = first.map_or(text.len(), |first| begin + first);
            prop_assert_eq!(plain_end(&text, begin), end);
            prop_assert_eq!(plain_end_of_long(&text, begin), end);
            if let Some(quote) = near_quote(&text, begin) {
                prop_assert_eq!((quote, text[quote]), (end, b'"'));
            }
        }
    }
}
