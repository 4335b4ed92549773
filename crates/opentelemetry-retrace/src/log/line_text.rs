//! Form of the text of a log line that is kept.

/// Maximum length of a line, in bytes. The rest is cut.
const LINE_BYTES: usize = 512;

/// Removes control characters from a text and cuts it to [`LINE_BYTES`].
pub(super) fn single_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > LINE_BYTES {
        line.truncate(line.floor_char_boundary(LINE_BYTES));
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bounded_and_one_line() {
        let line = single_line(&"ä\n\u{1b}".repeat(LINE_BYTES));
        assert!(line.len() <= LINE_BYTES + '…'.len_utf8() && line.ends_with('…'), "{line}");
        assert!(!line.contains(char::is_control));
    }
}
