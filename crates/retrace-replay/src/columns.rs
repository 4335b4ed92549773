//! Differences side by side.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Diff;

/// Width of one column in characters.
const WIDTH: usize = 52;
/// Most lines of one difference.
const LINES: usize = 8;
/// Most differences that are shown.
const SHOWN: usize = 6;

/// Colours of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// None.
    #[default]
    Plain,
    /// ANSI escape sequences.
    Ansi,
}

impl Style {
    /// Chooses colours for a terminal that `NO_COLOR` (<https://no-color.org>) does not forbid: pass the variable's value.
    #[must_use]
    pub fn choose(is_terminal: bool, no_color: Option<&std::ffi::OsStr>) -> Self {
        match is_terminal && no_color.is_none_or(std::ffi::OsStr::is_empty) {
            true => Self::Ansi,
            false => Self::Plain,
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }
}

/// Shows differences, expected and got side by side, one after the other.
#[must_use]
pub fn side_by_side(diff: &Diff) -> String {
    columns(diff, Style::Plain)
}

pub(crate) fn columns(diff: &Diff, style: Style) -> String {
    let mut text = String::new();
    for found in diff.differences.iter().take(SHOWN) {
        let pointer = if found.pointer.is_empty() { "(the whole request)" } else { &found.pointer };
        let _ = writeln!(text, "  at {}", style.bold(pointer));
        let (expected, got) = excerpts(found.expected.as_ref(), found.got.as_ref());
        let head = pad("expected", WIDTH);
        let _ = writeln!(text, "  - {} | + {}", style.red(&head), style.green("got"));
        let (expected, got) = (wrap(&expected), wrap(&got));
        for at in 0..expected.len().max(got.len()) {
            let cell = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
            let left = style.red(&pad(&cell(&expected), WIDTH));
            let _ = writeln!(text, "    {left} |   {}", style.green(&cell(&got)));
        }
    }
    if diff.total > diff.differences.len().min(SHOWN) {
        let _ = writeln!(text, "  and {} more differences", diff.total - diff.differences.len().min(SHOWN));
    }
    text
}

/// The texts of two values, of long ones what surrounds their first difference.
fn excerpts(expected: Option<&Value>, got: Option<&Value>) -> (String, String) {
    let text = |value: Option<&Value>| match value {
        None => "(absent)".to_owned(),
        Some(value) => value.to_string(),
    };
    let (expected, got) = (text(expected), text(got));
    let room = WIDTH * LINES;
    if expected.chars().count() <= room && got.chars().count() <= room {
        return (expected, got);
    }
    let same = expected.chars().zip(got.chars()).take_while(|(ours, theirs)| ours == theirs).count();
    let from = same.saturating_sub(WIDTH);
    let excerpt = |text: &str| {
        let mut excerpt: String = text.chars().skip(from).take(room - 2).collect();
        if from > 0 {
            excerpt.insert(0, '…');
        }
        if text.chars().count() > from + room - 2 {
            excerpt.push('…');
        }
        excerpt
    };
    (excerpt(&expected), excerpt(&got))
}

/// Breaks a text into lines of a column, at a space where one is near.
fn wrap(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut width = 0;
    for word in text.split_inclusive(' ') {
        let length = word.chars().count();
        if width > 0 && width + length > WIDTH && length <= WIDTH / 2 {
            lines.push(String::new());
            width = 0;
        }
        for character in word.chars() {
            if width == WIDTH {
                lines.push(String::new());
                width = 0;
            }
            width += 1;
            if let Some(line) = lines.last_mut() {
                line.push(if character.is_control() { '\u{fffd}' } else { character });
            }
        }
    }
    lines
}

fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn expected_and_got_stand_side_by_side() {
        let text = side_by_side(&Diff::of(&json!({"a": "tides", "b": 1}), &json!({"a": "storms"})));
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0], "  at /a");
        assert!(lines[2].contains("\"tides\"") && lines[2].ends_with("|   \"storms\""), "{text}");
        assert!(text.contains("at /b") && text.contains("(absent)"), "{text}");
    }

    #[test]
    fn long_texts_are_shown_around_their_first_difference() {
        let long = "x".repeat(5000);
        let text = side_by_side(&Diff::of(&json!(format!("{long}a{long}")), &json!(format!("{long}b{long}"))));
        assert!(text.len() < 3000 && text.contains("xa") && text.contains("xb") && text.contains('…'), "{text}");
    }
}
