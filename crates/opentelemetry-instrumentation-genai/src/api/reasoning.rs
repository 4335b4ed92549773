//! Reasoning under the names that servers of the chat API use.

use std::borrow::Cow;

use crate::json::Json;
use crate::message::Part;

/// Members that hold reasoning, the more common first.
const NAMES: [&str; 5] = ["reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details"];
/// Members of an entry that hold its text.
const TEXTS: [&str; 5] = ["text", "thinking", "summary", "content", "reasoning"];

/// Returns the reasoning of a message or a delta: the first name with text, since gateways repeat it under several.
pub(super) fn of<'a>(message: &'a Json<'_>) -> Option<Cow<'a, str>> {
    NAMES.iter().map(|name| text(message.get(name))).find(|text| !text.is_empty())
}

/// Reasoning of a part of the content: its summary, or its text.
pub(super) fn of_part<'a>(part: &'a Json<'_>) -> Cow<'a, str> {
    text(part.first(&["summary", "content", "text", "reasoning"]))
}

/// Reads a text, an entry with a text, or a list of them. Entries without text, such as encrypted ones, add none.
fn text<'a>(json: &'a Json<'_>) -> Cow<'a, str> {
    let entry = |entry: &'a Json<'_>| entry.as_str().or_else(|| TEXTS.iter().find_map(|name| entry.get(name).filled()));
    match json {
        Json::Array(entries) => entries.iter().filter_map(entry).collect::<String>().into(),
        other => entry(other).unwrap_or_default().into(),
    }
}

/// Tags around reasoning, the second of gpt-oss on Bedrock.
const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<reasoning>", "</reasoning>")];

/// Takes a text of an answer apart: reasoning and the rest. A block that is not closed reaches to the end. The prompt of some
/// models opens it, so that the answer has but the end, on a line of its own.
fn taken_apart(text: &str) -> Option<(&str, &str)> {
    let begun = TAGS.iter().find_map(|(begin, end)| Some((text.trim_start().strip_prefix(begin)?, end)));
    if let Some((rest, end)) = begun {
        return Some(rest.split_once(end).unwrap_or((rest, "")));
    }
    let (thought, answer) = text.split_once("</think>").filter(|(thought, _)| !thought.contains("<think>"))?;
    (thought.ends_with('\n') && answer.starts_with(['\r', '\n'])).then_some((thought, answer))
}

/// Splits reasoning in tags from the beginning of the text of an answer. Where an API states reasoning apart, tags are part of the
/// text.
pub(crate) fn split_think(parts: Vec<Part>) -> Vec<Part> {
    if parts.iter().any(|part| matches!(part, Part::Reasoning(_))) {
        return parts;
    }
    let mut split = Vec::with_capacity(parts.len());
    let mut begun = false;
    for part in parts {
        match part {
            Part::Text(text) if !begun => {
                begun = !text.trim().is_empty();
                let mut answer = text.as_str();
                // Reasoning that is empty may have more behind it.
                while let Some((thought, rest)) = taken_apart(answer) {
                    let thought = thought.trim_matches(['\r', '\n']);
                    answer = rest.trim_start_matches(['\r', '\n']);
                    if !thought.trim().is_empty() {
                        split.push(Part::Reasoning(thought.to_owned()));
                        break;
                    }
                }
                if !answer.is_empty() || text.is_empty() {
                    split.push(Part::Text(answer.to_owned()));
                }
            }
            part => split.push(part),
        }
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn thought(text: &str) -> Part {
        Part::Reasoning(text.to_owned())
    }

    #[test]
    fn what_is_split_is_not_split_again() {
        for (given, expected) in [
            ("<think>a</think>b", vec![thought("a"), text("b")]),
            ("<think>a</think><think>b</think>c", vec![thought("a"), text("<think>b</think>c")]),
            ("a\n</think>\nb\n</think>\nc", vec![thought("a"), text("b\n</think>\nc")]),
            ("<think>\n</think>\n<think>b</think>c", vec![thought("b"), text("c")]),
            ("<think></think>", vec![]),
            ("a", vec![text("a")]),
            ("", vec![text("")]),
        ] {
            let split = split_think(vec![text(given)]);
            assert_eq!(split, expected, "{given:?}");
            assert_eq!(split_think(split), expected, "{given:?}");
        }
    }

    #[test]
    fn tags_beside_reasoning_that_is_stated_apart_are_text() {
        let parts = vec![thought("hm"), text("<think> is a tag that some models write.")];
        assert_eq!(split_think(parts.clone()), parts);
    }
}
