//! One line of a text, a message or any JSON value.

use retrace_protocol::Json;
use serde_json::Value;

/// Characters of an excerpt.
pub(crate) const CHARS: usize = 96;

/// `text` on one line: white space becomes a single blank, control characters go, and what is too long is cut.
pub(crate) fn line(text: &str, chars: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            gap = length > 0;
            continue;
        }
        if turns_text_around(c) {
            continue;
        }
        if length + usize::from(gap) >= chars {
            out.push('…');
            break;
        }
        if gap {
            out.push(' ');
        }
        out.push(c);
        length += 1 + usize::from(gap);
        gap = false;
    }
    out
}

/// Characters that change the direction of those around them, and so could make a line read as another one.
const fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What a span was given or returned. Of a conversation, how many messages and the last of them.
pub(crate) fn value(json: &Json) -> String {
    let text = match json.to_value() {
        Ok(Value::String(text)) => text,
        Ok(Value::Object(fields)) => match fields.get("messages").and_then(Value::as_array).map(Vec::as_slice) {
            Some([only]) => message(only),
            Some(messages @ [.., last]) => format!("({} messages) {}", messages.len(), message(last)),
            _ => json.as_str().to_owned(),
        },
        _ => json.as_str().to_owned(),
    };
    line(&text, CHARS)
}

fn message(message: &Value) -> String {
    let role = message.get("role").and_then(Value::as_str).unwrap_or("?");
    let mut text = match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts.iter().map(part).collect::<Vec<_>>().join(" "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let calls = message.get("tool_calls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let calls: Vec<_> = calls.iter().filter_map(|call| call.get("name").and_then(Value::as_str)).collect();
    if !calls.is_empty() {
        text = format!("{text} [calls {}]", calls.join(", "));
    }
    format!("{role}: {text}")
}

/// A part that is no text is told by its kind.
fn part(part: &Value) -> String {
    match (part.get("text").and_then(Value::as_str), part.get("type").and_then(Value::as_str)) {
        (Some(text), _) => text.to_owned(),
        (None, Some(kind)) => format!("[{kind}]"),
        (None, None) => part.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(value_of: &Value) -> String {
        value(&Json::from(value_of))
    }

    #[test]
    fn a_line_is_one_line_and_no_command_for_a_terminal() {
        assert_eq!(line(" a\n\n\tb \u{1b}[31mc\u{9b}0m\u{202e}d ", 96), "a b [31mc 0md");
        assert_eq!(line("", 96), "");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(line("äöü", 3), "äöü");
        assert_eq!(line("äöü ß", 3), "äöü…");
        assert_eq!(line("ab cd", 3), "ab…", "no room for the blank and a letter");
        assert_eq!(line("ab    ", 2), "ab", "nothing was lost but blanks");
        assert_eq!(of(&json!("x".repeat(1_000_000))).chars().count(), CHARS + 1);
    }

    #[test]
    fn of_a_conversation_the_last_message_is_shown() {
        let user = json!({"role": "user", "content": "Weather in Oslo?"});
        let asks =
            json!({"role": "assistant", "content": "", "tool_calls": [{"name": "get_weather"}, {"name": "log"}]});
        assert_eq!(of(&json!({"messages": [user]})), "user: Weather in Oslo?");
        assert_eq!(of(&json!({"messages": [user, asks]})), "(2 messages) assistant: [calls get_weather, log]");
        let parts = json!([{"type": "text", "text": "what is"}, {"type": "image", "uri": "x"}]);
        assert_eq!(of(&json!({"messages": [{"role": "user", "content": parts}]})), "user: what is [image]");
    }

    #[test]
    fn anything_else_is_shown_as_it_is() {
        assert_eq!(of(&json!("plain")), "plain");
        assert_eq!(of(&json!({"messages": []})), r#"{"messages":[]}"#);
        assert_eq!(of(&json!({"city": "Oslo"})), r#"{"city":"Oslo"}"#);
        assert_eq!(of(&Value::Null), "null");
        assert_eq!(of(&json!({"messages": [7]})), "?:");
    }
}
