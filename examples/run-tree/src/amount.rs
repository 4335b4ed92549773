//! Durations and tokens as people read them.

/// Milliseconds.
pub(crate) fn duration(ms: u64) -> String {
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10),
        _ => format!("{minutes} min {} s", rest / 1_000),
    }
}

/// A number with its thousands set apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Tokens in and out, as far as they are known.
pub(crate) fn tokens(input: Option<u64>, output: Option<u64>) -> Option<String> {
    match (input, output) {
        (None, None) => None,
        (input, output) => {
            let side = |tokens: Option<u64>| tokens.map_or_else(|| "?".to_owned(), count);
            Some(format!("{} → {} tokens", side(input), side(output)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let texts = [0, 999, 1_000, 1_239, 59_999, 60_000, 3_725_000].map(duration);
        assert_eq!(texts, ["0 ms", "999 ms", "1.00 s", "1.23 s", "59.99 s", "1 min 0 s", "62 min 5 s"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn unknown_tokens_are_not_zero() {
        assert_eq!(tokens(None, None), None);
        assert_eq!(tokens(Some(1_200), Some(0)).as_deref(), Some("1,200 → 0 tokens"));
        assert_eq!(tokens(None, Some(7)).as_deref(), Some("? → 7 tokens"));
    }
}
