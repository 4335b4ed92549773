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

/// Splits reasoning in tags from the beginning of the text of an answer.
pub(crate) fn split_think(parts: Vec<Part>) -> Vec<Part> {
    let mut split = Vec::with_capacity(parts.len());
    let mut begun = false;
    for part in parts {
        match part {
            Part::Text(text) if !begun => {
                begun = !text.trim().is_empty();
                match taken_apart(&text) {
                    Some((thought, answer)) => {
                        let thought = thought.trim_matches(['\r', '\n']);
                        let answer = answer.trim_start_matches(['\r', '\n']);
                        if !thought.trim().is_empty() {
                            split.push(Part::Reasoning(thought.to_owned()));
                        }
                        if !answer.is_empty() {
                            split.push(Part::Text(answer.to_owned()));
                        }
                    }
                    None => split.push(Part::Text(text)),
                }
            }
            part => split.push(part),
        }
    }
    split
}
