//! Fingerprints: requests compared by what they state, not by how it is written.

use std::collections::HashMap;
use std::fmt::{self, Display, Write as _};

use genai_redact::Place;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Members whose value is the id of a tool call.
const CALL_IDS: [&str; 5] = ["tool_call_id", "tool_use_id", "call_id", "toolUseId", "toolCallId"];

/// Types of the objects whose `id` a provider makes anew for each response.
const IDENTIFIED: [&str; 12] = [
    "function",
    "tool_use",
    "tool_call",
    "tool-call",
    "function_call",
    "custom",
    "custom_tool_call",
    "function_call_output",
    "server_tool_use",
    "mcp_tool_use",
    "reasoning",
    "message",
];

/// Hash of a request in canonical form: 128 bits of SHA-256.
///
/// The canonical form has sorted members, integral numbers as integers, and tool-call ids renamed by first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Computes the fingerprint of a request of this name. `model` is part of it where the request itself states none.
    /// Costs one walk and one hash over the text.
    #[must_use]
    pub fn of(name: &str, model: Option<&str>, request: &Value) -> Self {
        let mut canonical = Canonical { text: String::with_capacity(1024), ids: HashMap::new() };
        canonical.string(name);
        match model {
            Some(model) if request.get("model").is_none() => canonical.string(model),
            _ => canonical.text.push('0'),
        }
        canonical.value(request, false);
        let digest = Sha256::digest(canonical.text.as_bytes());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(byte, hashed)| *byte = hashed);
        Self(bytes)
    }

    /// Reads the 32 hexadecimal digits of a fingerprint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.len() {
            32 => u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes())),
            _ => None,
        }
    }
}

impl Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Redacts a request as it is stored and compared: credentials by name and, in every text, by form.
pub fn redact(request: &mut Value) {
    genai_redact::value(request, Place::Body);
    redact_forms(request);
}

fn redact_forms(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(redacted) = Place::Label.text(text) {
                *text = redacted;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact_forms),
        Value::Object(members) => members.values_mut().for_each(redact_forms),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Renames the tool-call ids of a request by first appearance, so that a diff shows no ids.
pub fn rename_ids(request: &mut Value) {
    rename(request, &mut HashMap::new());
}

fn rename(value: &mut Value, ids: &mut HashMap<String, usize>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, ids)),
        Value::Object(members) => {
            let is_identified = is_identified(members);
            let mut names: Vec<String> = members.keys().cloned().collect();
            names.sort_unstable();
            for name in names {
                match members.get_mut(&name) {
                    Some(Value::String(id)) if is_id(&name, is_identified) => {
                        let next = ids.len();
                        let ordinal = *ids.entry(id.clone()).or_insert(next);
                        *id = format!("#{ordinal}");
                    }
                    Some(value) => rename(value, ids),
                    None => {}
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_identified(members: &serde_json::Map<String, Value>) -> bool {
    members.get("type").and_then(Value::as_str).is_some_and(|kind| IDENTIFIED.contains(&kind))
}

fn is_id(name: &str, is_identified: bool) -> bool {
    CALL_IDS.contains(&name) || (name == "id" && is_identified)
}

/// Writes the canonical form.
struct Canonical<'a> {
    text: String,
    ids: HashMap<&'a str, usize>,
}

impl<'a> Canonical<'a> {
    fn string(&mut self, text: &str) {
        // The length in front makes a closing quote unnecessary, and escapes with it.
        let _ = write!(self.text, "{}\"", text.len());
        self.text.push_str(text);
    }

    fn value(&mut self, value: &'a Value, is_call_id: bool) {
        match value {
            Value::Null => self.text.push('n'),
            Value::Bool(value) => self.text.push(if *value { 't' } else { 'f' }),
            Value::Number(number) => {
                let integral =
                    number.as_f64().filter(|_| number.is_f64()).filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
                let _ = match integral {
                    Some(number) => write!(self.text, "{number:.0},"),
                    None => write!(self.text, "{number},"),
                };
            }
            Value::String(id) if is_call_id => {
                let next = self.ids.len();
                let ordinal = *self.ids.entry(id).or_insert(next);
                let _ = write!(self.text, "#{ordinal},");
            }
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.text.push('[');
                items.iter().for_each(|item| self.value(item, false));
                self.text.push(']');
            }
            Value::Object(members) => {
                self.text.push('{');
                let is_identified = is_identified(members);
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by_key(|(name, _)| *name);
                for (name, value) in sorted {
                    self.string(name);
                    self.value(value, is_id(name, is_identified));
                }
                self.text.push('}');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn print(value: &Value) -> Fingerprint {
        Fingerprint::of("chat", None, value)
    }

    #[test]
    fn order_of_members_and_spelling_of_numbers_do_not_matter() {
        let ours: Value = serde_json::from_str(r#"{"a":1,"b":{"c":0.5,"d":[1]}}"#).unwrap();
        let theirs: Value = serde_json::from_str(r#"{"b":{"d":[1.0],"c":5e-1},"a":1.0}"#).unwrap();
        assert_eq!(print(&ours), print(&theirs));
        assert_ne!(print(&ours), print(&json!({"a":2,"b":{"c":0.5,"d":[1]}})));
        assert_ne!(print(&json!(["ab", "c"])), print(&json!(["a", "bc"])));
    }

    #[test]
    fn tool_call_ids_are_compared_by_first_appearance() {
        let history = |first: &str, second: &str, answered: &str| {
            json!({"messages":[
                {"role":"assistant","tool_calls":[{"type":"function","id":first},{"type":"function","id":second}]},
                {"role":"tool","tool_call_id":answered,"content":"call_1"}]})
        };
        assert_eq!(print(&history("call_1", "call_2", "call_1")), print(&history("x", "y", "x")));
        assert_ne!(print(&history("call_1", "call_2", "call_1")), print(&history("x", "y", "y")));
        let mut ours = history("call_1", "call_2", "call_1");
        let mut theirs = history("x", "y", "x");
        rename_ids(&mut ours);
        rename_ids(&mut theirs);
        assert_eq!(ours, theirs);
        assert_eq!(ours.pointer("/messages/1/content"), Some(&json!("call_1")));
    }

    #[test]
    fn the_model_of_a_path_is_part_of_it() {
        let body = json!({"contents": []});
        let print = |model| Fingerprint::of("generate_content", model, &body);
        assert_ne!(print(Some("gemini-a")), print(Some("gemini-b")));
        let body = json!({"model": "a"});
        assert_eq!(Fingerprint::of("chat", Some("a"), &body), Fingerprint::of("chat", None, &body));
    }

    #[test]
    fn the_text_of_a_fingerprint_is_read_back() {
        let print = print(&json!({}));
        assert_eq!(Fingerprint::parse(&print.to_string()), Some(print));
        assert_eq!(Fingerprint::parse("abc"), None);
    }

    #[test]
    fn credentials_are_redacted_by_name_and_by_form() {
        let key = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD";
        let mut request =
            json!({"api_key": "hunter2hunter2", "messages": [{"role": "user", "content": format!("use {key} now")}]});
        redact(&mut request);
        let text = request.to_string();
        assert!(!text.contains(key) && !text.contains("hunter2"), "{text}");
    }
}
