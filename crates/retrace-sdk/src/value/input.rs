//! The input of a run or a step.

use serde::Serialize;

use super::scratch::Scratch;
use super::{VALUE_BYTES, Value, Written};

/// Arguments of a call by name, or one value in place of them.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// A JSON object without its closing brace; empty without an argument.
    members: Scratch,
    is_cut: bool,
    replaced: Option<Value>,
}

impl Arguments {
    pub(crate) fn new() -> Self {
        Self { members: Scratch::new(), is_cut: false, replaced: None }
    }

    /// Writes what stands before the value of an argument. An identifier has nothing that JSON escapes.
    fn name(&mut self, name: &'static str) {
        self.members.push_str(if self.members.is_empty() { "{\"" } else { ",\"" });
        self.members.push_str(name);
        self.members.push_str("\":");
    }

    /// Adds an argument, whose name is an identifier of Rust. One for which there is no room is left out.
    pub(crate) fn push(&mut self, name: &'static str, value: &Value) {
        self.is_cut |= value.is_cut();
        let value = value.as_json_text();
        // Quotes, colon and comma.
        if self.members.len() + name.len() + value.len() + 4 > VALUE_BYTES {
            self.is_cut = true;
            return;
        }
        self.name(name);
        self.members.push_str(&value);
    }

    /// Adds an argument by its `Serialize`, without a text of its own.
    pub(crate) fn serialize<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) {
        let before = self.members.len();
        self.name(name);
        let written = Written::by(&mut self.members, VALUE_BYTES, value);
        self.settle(name, before, written);
    }

    /// Takes back what was written of an argument that is not whole.
    fn settle(&mut self, name: &'static str, before: usize, written: Written) {
        match written {
            Written::Whole => {}
            Written::Cut => {
                self.members.truncate(before);
                self.is_cut = true;
            }
            Written::Instead(value) => {
                self.members.truncate(before);
                self.push(name, &value);
            }
        }
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
        let object = self.members.into_text();
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
