//! Tolerance: which differences are no divergence.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::Diff;

/// Members whose text is prose.
const PROSE: [&str; 9] =
    ["content", "text", "input", "prompt", "instructions", "system", "output", "thinking", "system_instruction"];

/// Degree to which a request must agree with the recorded one.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Rule {
    /// Fingerprints are equal.
    #[default]
    Exact,
    /// Everything but prose agrees: the model, roles, parameters, schemas, tool calls and their arguments. Steps that are not
    /// model calls must agree exactly.
    Shape,
    /// This function returns true for the recorded request, the request of the run, and their differences.
    Custom(Check),
}

/// Compares a recorded request with that of a run.
pub type Check = Arc<dyn Fn(&Value, &Value, &Diff) -> bool + Send + Sync>;

/// Rules by the names of calls.
#[derive(Clone, Debug, Default)]
pub struct Tolerance {
    default: Rule,
    by_name: Vec<(String, Rule)>,
}

impl Tolerance {
    /// Sets the rule of calls that no pattern matches. Default: [`Rule::Exact`].
    #[must_use]
    pub fn with_default(mut self, rule: Rule) -> Self {
        self.default = rule;
        self
    }

    /// Adds the rule of calls whose name matches a pattern, in which `*` stands for any text. The first match decides.
    #[must_use]
    pub fn with(mut self, pattern: impl Into<String>, rule: Rule) -> Self {
        self.by_name.push((pattern.into(), rule));
        self
    }

    /// Returns true if every rule is [`Rule::Exact`].
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self.default, Rule::Exact) && self.by_name.iter().all(|(_, rule)| matches!(rule, Rule::Exact))
    }

    /// Returns true if the differences are no divergence.
    #[must_use]
    pub fn allows(&self, name: &str, expected: &Value, got: &Value, diff: &Diff) -> bool {
        let by_name = self.by_name.iter().find(|(pattern, _)| matches_pattern(pattern, name));
        match by_name.map_or(&self.default, |(_, rule)| rule) {
            Rule::Exact => diff.is_empty(),
            Rule::Shape => shape(expected) == shape(got),
            Rule::Custom(check) => check(expected, got, diff),
        }
    }
}

/// The value without its prose and with tool-call ids renamed.
fn shape(value: &Value) -> Value {
    let mut shape = value.clone();
    crate::rename_ids(&mut shape);
    remove_prose(&mut shape, false);
    shape
}

fn remove_prose(value: &mut Value, is_prose: bool) {
    match value {
        Value::String(text) if is_prose => text.clear(),
        Value::Array(items) => items.iter_mut().for_each(|item| remove_prose(item, is_prose)),
        Value::Object(members) => {
            // A tool definition holds names such as `text` that are no prose.
            for (name, value) in members.iter_mut().filter(|(name, _)| !is_schema(name)) {
                remove_prose(value, PROSE.contains(&name.as_str()));
            }
        }
        _ => {}
    }
}

fn is_schema(name: &str) -> bool {
    matches!(name, "tools" | "functions" | "parameters" | "input_schema" | "response_format" | "arguments" | "args")
}

/// Compares a name with a pattern in which `*` stands for any text.
fn matches_pattern(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(head) else { return false };
    let mut parts = tail.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "Exact",
            Self::Shape => "Shape",
            Self::Custom(_) => "Custom",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn allows(tolerance: &Tolerance, name: &str, expected: &Value, got: &Value) -> bool {
        tolerance.allows(name, expected, got, &Diff::of(expected, got))
    }

    #[test]
    fn patterns() {
        for (pattern, name, matches) in [
            ("chat", "chat", true),
            ("chat", "chat x", false),
            ("chat*", "chat gpt", true),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("*search", "web_search", true),
            ("*search", "searching", false),
        ] {
            assert_eq!(matches_pattern(pattern, name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn shape_ignores_prose_and_nothing_else() {
        let tolerance = Tolerance::default().with("chat*", Rule::Shape);
        let request = |text: &str, tool: &str, temperature: f64| {
            json!({"temperature": temperature, "messages": [{"role": "user", "content": text},
                {"role": "assistant", "tool_calls": [{"type": "function", "id": text, "function": {"name": tool}}]}]})
        };
        let recorded = request("hi", "search", 0.0);
        assert!(allows(&tolerance, "chat", &recorded, &request("hello", "search", 0.0)));
        assert!(!allows(&tolerance, "chat", &recorded, &request("hi", "find", 0.0)));
        assert!(!allows(&tolerance, "chat", &recorded, &request("hi", "search", 1.0)));
        assert!(!allows(&tolerance, "other", &recorded, &request("hello", "search", 0.0)));
        let arguments = |text: &str| json!({"arguments": {"text": text}});
        assert!(!allows(&tolerance, "chat", &arguments("a"), &arguments("b")));
    }

    #[test]
    fn a_closure_decides() {
        let rule = Rule::Custom(Arc::new(|_, _, diff| diff.differences.iter().all(|found| found.pointer == "/seed")));
        let tolerance = Tolerance::default().with_default(rule);
        assert!(allows(&tolerance, "chat", &json!({"seed": 1}), &json!({"seed": 2})));
        assert!(!allows(&tolerance, "chat", &json!({"seed": 1}), &json!({"seed": 1, "a": 2})));
    }
}
