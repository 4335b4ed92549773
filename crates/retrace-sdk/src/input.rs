//! The input of a run or a step.

use crate::value::{VALUE_BYTES, Value, quoted};

/// Arguments of a call by name, or one value in place of them.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// The members of a JSON object.
    members: String,
    is_cut: bool,
    replaced: Option<Value>,
}

impl Arguments {
    /// Adds an argument. One for which there is no room is left out.
    pub(crate) fn push(&mut self, name: &str, value: &Value) {
        let separator = if self.members.is_empty() { "" } else { "," };
        let member = format!("{separator}{}:{}", quoted(name), value.as_json_text());
        self.is_cut |= value.is_cut();
        if self.members.len() + member.len() > VALUE_BYTES {
            self.is_cut = true;
        } else {
            self.members.push_str(&member);
        }
    }

    /// States the input, in place of the arguments.
    pub(crate) fn replace(&mut self, value: Value) {
        self.replaced = Some(value);
    }

    /// The input: an object of the arguments; for a call that can be run again the arguments as the protocol has them.
    pub(crate) fn into_input(self, is_resumable: bool) -> Option<Value> {
        if let Some(value) = self.replaced {
            return Some(if is_resumable { resumable(&value) } else { value });
        }
        if self.members.is_empty() && !is_resumable {
            return None;
        }
        let object = format!("{{{}}}", self.members);
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
