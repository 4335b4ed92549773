//! Fingerprints: requests compared by what they state, not by how it is written.

use std::collections::HashMap;
use std::fmt::{self, Display};

use genai_redact::Place;
use serde_json::Value;

use crate::document::canonical::{Canonical, is_id, is_identified};

/// Hash of a request in canonical form: 128 bits of SHA-256.
///
/// The canonical form has sorted members, integral numbers as integers, and tool-call ids renamed by first appearance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub(crate) [u8; 16]);

impl Fingerprint {
    /// Computes the fingerprint of a request of this name. `model` is part of it where the request itself states none.
    /// Costs one walk and one hash over the text.
    #[must_use]
    pub fn of(name: &str, model: Option<&str>, request: &Value) -> Self {
        let mut canonical = Canonical::with_capacity(1024);
        canonical.tree(request, false);
        Self::of_canonical(name, model, &canonical)
    }

    /// Fingerprint of a request in canonical form.
    pub(crate) fn of_canonical(name: &str, model: Option<&str>, canonical: &Canonical) -> Self {
        Self(canonical.digest(name, model))
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
            let is_identified = members.get("type").and_then(Value::as_str).is_some_and(is_identified);
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
