//! The input of a run or a step.

use crate::value::{VALUE_BYTES, Value, quoted};

/// Arguments of a call by name, or one value in place of them.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// A JSON object without its closing brace; empty without an argument.
    members: String,
    is_cut: bool,
    replaced: Option<Value>,
}

impl Arguments {
    /// Adds an argument. One for which there is no room is left out.
    pub(crate) fn push(&mut self, name: &str, value: &Value) {
        self.is_cut |= value.is_cut();
        let value = value.as_json_text();
        // Quotes, colon and comma.
        if self.members.len() + name.len() + value.len() + 4 > VALUE_BYTES {
            self.is_cut = true;
            return;
        }
        self.members.reserve(name.len() + value.len() + 5);
        self.members.push(if self.members.is_empty() { '{' } else { ',' });
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.members.push('"');
            self.members.push_str(name);
            self.members.push('"');
        } else {
            self.members.push_str(&quoted(name));
        }
        self.members.push(':');
        self.members.push_str(&value);
    }

    /// States the input, in place of the arguments.
    pub(crate) fn replace(&mut self, value: Value) {
        self.replaced = Some(value);
    }

    /// The input: an object of the arguments; for a call that can be run again the arguments as the protocol has them.
    pub(crate) fn into_input(mut self, is_resumable: bool) -> Option<Value> {
        if let Some(value) = self.replaced {
            return Some(if is_resumable { resumable(&value) } else { value });
        }
        if self.members.is_empty() && !is_resumable {
            return None;
        }
        self.members.push_str(if self.members.is_empty() { "{}" } else { "}" });
        let object = self.members;
        let text = if is_resumable { format!(r#"{{"args":[],"kwargs":{object}}}"#) } else { object };
        Some(if self.is_cut { Value::cut_json_text(text) } else { Value::from_json_text(text) })
    }
}

/// The input of a run that can be run again: an object as arguments by name, anything else as the first positional one.
pub(crate) fn resumable(value: &Value) -> Value {
    let is_cut = value.is_cut();
    let text = match value.is_object() && !is_cut {
        true => format!(r#"{{"args":[],"kwargs":{}}}"#, value.as_json_text()),
        false => format!(r#"{{"args":[{}],"kwargs":{{}}}}"#, value.as_json_text()),
    };
    if is_cut { Value::cut_json_text(text) } else { Value::from_json_text(text) }
}
