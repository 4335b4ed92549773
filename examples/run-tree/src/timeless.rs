//! For tests of those who print runs.

/// A printed text without what differs from run to run: ids become `ID`, durations `TIME`, and blanks in a row become one.
///
/// ```
/// assert_eq!(run_tree::timeless("└─ tool_call  get_weather    12 ms\n"), "└─ tool_call get_weather TIME");
/// ```
#[must_use]
pub fn timeless(text: &str) -> String {
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    for word in line.split_whitespace() {
        match word {
            "ms" | "s" | "min" if words.last().is_some_and(|last| last.parse::<f64>().is_ok()) => {
                words.pop();
                // Minutes stand before seconds.
                if words.last() != Some(&"TIME") {
                    words.push("TIME");
                }
            }
            _ if is_uuid(word) => words.push("ID"),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

fn is_uuid(word: &str) -> bool {
    let lengths = word.split('-').map(|part| if part.bytes().all(|b| b.is_ascii_hexdigit()) { part.len() } else { 0 });
    lengths.eq([8, 4, 4, 4, 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_and_durations_go() {
        let text =
            "run · completed · 1.21 s · 1 tokens\n  trace 0af76519-16cd-43dd-8448-eb211c80319c · session s-1 ms\n";
        assert_eq!(timeless(text), "run · completed · TIME · 1 tokens\ntrace ID · session s-1 ms");
        assert_eq!(timeless("a  2 min 3 s  gpt-4o"), "a TIME gpt-4o");
    }
}
