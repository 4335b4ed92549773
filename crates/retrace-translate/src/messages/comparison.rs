//! Compares two readings of the same messages: flattened keys, and the whole request or response beside them.

use foldhash::HashSet;
use serde_json::value::RawValue;

use super::{STRINGS, Source, Turn, TurnPart, role_of};

/// Returns true if one reading of messages has all that another has, and more.
pub(crate) fn has_more(one: &[Turn<'_>], other: &[Turn<'_>]) -> bool {
    let roles = |turns: &[Turn<'_>]| turns.iter().map(|turn| role_of(turn.role.clone()).into_owned()).collect();
    let [known, needed]: [HashSet<String>; 2] = [roles(one), roles(other)];
    if !needed.is_subset(&known) {
        return false;
    }
    let (one, other) = (measure(one), measure(other));
    let is_less = one.iter().zip(&other).any(|(one, other)| one < other);
    !is_less && one != other
}

/// Texts of messages that are sought as parts of the texts of a whole request. With more of them, the request is not taken for the
/// same messages.
const PARTS_SOUGHT: usize = 64;

/// Returns true if every text and number of the messages is in a JSON text, in whatever form.
pub(crate) fn is_repeated(turns: &[Turn<'_>], whole: &str) -> bool {
    let Ok(whole) = serde_json::from_str::<serde_json::Value>(whole) else { return false };
    let mut all = Vec::new();
    leaves(whole, STRINGS, &mut all);
    let joined = all.join("\n");
    let all: HashSet<&str> = all.iter().map(String::as_str).collect();
    let mut texts = Vec::new();
    for turn in turns {
        texts.extend(turn.name.iter().chain(&turn.finish_reason).map(|label| label.clone().into_owned()));
        for part in &turn.parts {
            let mut value = |raw: &RawValue| {
                leaves(serde_json::from_str(raw.get()).unwrap_or_default(), STRINGS, &mut texts);
            };
            match part {
                TurnPart::Empty => {}
                TurnPart::Text(text) | TurnPart::Reasoning(text) | TurnPart::Refusal(text) => {
                    leaves(serde_json::Value::String(text.decoded().into_owned()), STRINGS, &mut texts);
                }
                TurnPart::ToolCall { id, name, arguments } => {
                    arguments.iter().copied().for_each(&mut value);
                    texts.extend(id.iter().chain([name]).map(|label| label.clone().into_owned()));
                }
                TurnPart::ToolResult { id, name, result } => {
                    result.iter().copied().for_each(&mut value);
                    texts.extend(id.iter().chain(name).map(|label| label.clone().into_owned()));
                }
                TurnPart::Media { source, .. } => match source {
                    Source::Uri(at) | Source::File(at) | Source::Base64(at) => texts.push(at.clone().into_owned()),
                    Source::Unknown => {}
                },
                TurnPart::Other(raw) => value(raw),
            }
        }
    }
    // Most texts stand alone. A search for each of the others reads all, which is done a few times only.
    let parts: HashSet<&str> = texts.iter().map(String::as_str).filter(|text| !all.contains(text)).collect();
    parts.len() <= PARTS_SOUGHT && parts.iter().all(|text| joined.contains(text))
}

/// Collects the texts and numbers in a value, also those in JSON that is quoted.
fn leaves(value: serde_json::Value, quotes: usize, out: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => {
            let inner = Some(&text).filter(|text| quotes > 0 && text.trim_start().starts_with(['{', '[', '"']));
            match inner.and_then(|text| serde_json::from_str(text).ok()) {
                Some(inner) => leaves(inner, quotes - 1, out),
                None => out.push(text),
            }
        }
        serde_json::Value::Array(list) => list.into_iter().for_each(|value| leaves(value, quotes, out)),
        serde_json::Value::Object(members) => members.into_iter().for_each(|(name, value)| {
            // A name of OpenInference without a meaning.
            if name != "message_content" {
                out.push(name);
            }
            leaves(value, quotes, out);
        }),
        serde_json::Value::Null => {}
        other => out.push(other.to_string()),
    }
}

/// Counts what messages have: messages, characters of text, thoughts, calls and results, their ids, media.
fn measure(turns: &[Turn<'_>]) -> [usize; 6] {
    let mut counts = [0; 6];
    let [messages, characters, thoughts, tools, ids, media] = &mut counts;
    for turn in turns {
        // The results of several tools may stand in one message or in several.
        let is_result = |part: &TurnPart<'_>| matches!(part, TurnPart::ToolResult { .. });
        *messages += usize::from(!turn.parts.iter().any(is_result));
        for part in &turn.parts {
            match part {
                TurnPart::Text(text) | TurnPart::Refusal(text) => *characters += text.decoded().len(),
                TurnPart::Reasoning(text) => *thoughts += text.decoded().len(),
                TurnPart::ToolCall { id, .. } | TurnPart::ToolResult { id, .. } => {
                    *tools += 1;
                    *ids += usize::from(id.is_some());
                }
                TurnPart::Media { .. } => *media += 1,
                TurnPart::Empty | TurnPart::Other(_) => {}
            }
        }
    }
    counts
}
