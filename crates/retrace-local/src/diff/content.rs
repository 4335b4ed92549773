//! Differences of inputs and outputs.

use retrace_protocol::Json;
use retrace_replay::{Diff, Difference, rename_ids};
use serde::Serialize;
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// Largest text of a comparison by words, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Limit of the texts that one diff compares by words, in bytes.
const MAX_TEXTS_BYTES: usize = 2 * 1024 * 1024;
/// Largest value in the response, in bytes of JSON.
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Limit of the values in the response of one diff, in bytes.
const MAX_VALUES_BYTES: usize = 8 * 1024 * 1024;

/// Remaining budget of one diff, in bytes.
#[derive(Debug)]
pub(super) struct Budget {
    texts: usize,
    values: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { texts: MAX_TEXTS_BYTES, values: MAX_VALUES_BYTES }
    }
}

/// Differences of two values; at least one.
#[derive(Debug, Serialize)]
pub(super) struct ContentDiff {
    /// The first 64, in document order.
    differences: Vec<ValueDiff>,
    /// Number of all differences.
    total: usize,
}

/// One difference.
#[derive(Debug, Serialize)]
struct ValueDiff {
    /// JSON pointer (RFC 6901); empty for the whole value.
    pointer: String,
    /// Value of the first run; absent if only the second has one, or if it is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<Value>,
    /// Sizes in bytes of the values that are too large for the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    a_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b_bytes: Option<usize>,
    /// Comparison of two texts by words, in order: common parts, parts of the first, parts of the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Vec<TextPart>>,
}

/// A part of a text, as `["=", "…"]`, `["-", "…"]` or `["+", "…"]`.
#[derive(Debug, PartialEq, Serialize)]
struct TextPart(&'static str, String);

impl ContentDiff {
    /// Compares two values; returns `None` if they are equal. Ids of tool calls are compared by the order in which they
    /// appear; an absent value counts as null.
    pub(super) fn of_json(a: Option<&Json>, b: Option<&Json>, budget: &mut Budget) -> Option<Self> {
        let text = |json: Option<&Json>| json.map_or("null", Json::as_str).to_owned();
        if text(a) == text(b) {
            return None;
        }
        let value = |json: Option<&Json>| {
            let mut value = json.and_then(|json| json.to_value().ok()).unwrap_or_default();
            rename_ids(&mut value);
            value
        };
        Self::of(&value(a), &value(b), budget)
    }

    /// Compares two texts; returns `None` if they are equal.
    pub(super) fn of_text(a: Option<&str>, b: Option<&str>, budget: &mut Budget) -> Option<Self> {
        if a == b {
            return None;
        }
        let value = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        Self::of(&value(a), &value(b), budget)
    }

    fn of(a: &Value, b: &Value, budget: &mut Budget) -> Option<Self> {
        let Diff { differences, total } = Diff::of(a, b);
        let differences = differences.into_iter().map(|difference| budget.difference(difference)).collect();
        (total > 0).then_some(Self { differences, total })
    }

    /// Returns the JSON pointer to the first difference.
    pub(super) fn first_pointer(&self) -> Option<String> {
        self.differences.first().map(|difference| difference.pointer.clone())
    }
}

impl Budget {
    fn difference(&mut self, difference: Difference) -> ValueDiff {
        let Difference { pointer, expected, got } = difference;
        let text = match (&expected, &got) {
            (Some(Value::String(a)), Some(Value::String(b))) => self.words(a, b),
            _ => None,
        };
        let (a, a_bytes) = self.value(expected);
        let (b, b_bytes) = self.value(got);
        ValueDiff { pointer, a, b, a_bytes, b_bytes, text }
    }

    fn value(&mut self, value: Option<Value>) -> (Option<Value>, Option<usize>) {
        let Some(value) = value else { return (None, None) };
        let bytes = Json::from_serialize(&value).as_str().len();
        if bytes > MAX_VALUE_BYTES.min(self.values) {
            return (None, Some(bytes));
        }
        self.values -= bytes;
        (Some(value), None)
    }

    /// Compares two texts of several words.
    fn words(&mut self, a: &str, b: &str) -> Option<Vec<TextPart>> {
        let bytes = a.len() + b.len();
        let has_words = |text: &str| text.trim().contains(char::is_whitespace);
        if a.len().max(b.len()) > MAX_TEXT_BYTES || bytes > self.texts || !(has_words(a) || has_words(b)) {
            return None;
        }
        self.texts -= bytes;
        let mut parts: Vec<TextPart> = Vec::new();
        for change in TextDiff::from_words(a, b).iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Equal => "=",
                ChangeTag::Delete => "-",
                ChangeTag::Insert => "+",
            };
            match parts.last_mut() {
                Some(TextPart(last, text)) if *last == sign => text.push_str(change.value()),
                _ => parts.push(TextPart(sign, change.value().to_owned())),
            }
        }
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(a: &Value, b: &Value) -> Value {
        let (a, b) = (Json::from_serialize(a), Json::from_serialize(b));
        serde_json::to_value(ContentDiff::of_json(Some(&a), Some(&b), &mut Budget::default())).unwrap()
    }

    #[test]
    fn texts_are_compared_word_by_word() {
        let found = of(&json!({"content": "high tide at six"}), &json!({"content": "high tide at seven today"}));
        let found = &found["differences"][0];
        assert_eq!(found["pointer"], "/content");
        let parts = json!([["=", "high tide at "], ["-", "six"], ["+", "seven today"]]);
        assert_eq!(found["text"], parts);
        assert_eq!(of(&json!("six"), &json!("seven"))["differences"][0]["text"], Value::Null, "single words");
    }

    #[test]
    fn ids_of_tool_calls_are_no_difference() {
        let call = |id: &str| json!([{"type": "function", "id": id}, {"tool_call_id": id, "content": "x"}]);
        assert_eq!(of(&call("call_1"), &call("call_9")), Value::Null);
        assert_eq!(of(&json!({"a": 1, "b": 2.0}), &json!({"b": 2, "a": 1})), Value::Null);
        assert!(ContentDiff::of_json(None, Some(&Json::null()), &mut Budget::default()).is_none());
    }

    #[test]
    fn what_is_large_is_measured_and_not_repeated() {
        let large = "x y ".repeat(MAX_VALUE_BYTES / 4 + 1);
        let found = of(&json!(large), &json!("z"));
        let found = &found["differences"][0];
        assert_eq!((&found["a"], &found["a_bytes"], &found["b"]), (&Value::Null, &json!(large.len() + 2), &json!("z")));
        assert_eq!(found["text"], Value::Null);
        let mut budget = Budget { texts: 10, values: 10 };
        assert!(budget.words("a b", "a c").is_some());
        assert!(budget.words("a b", "a c").is_none(), "the budget is spent");
        assert_eq!(budget.value(Some(json!("12345"))), (Some(json!("12345")), None));
        assert_eq!(budget.value(Some(json!("12345"))), (None, Some(7)));
    }
}
