//! Items of a stream, collected as JSON within a bound.

use super::{VALUE_BYTES, Value};

/// The beginning of a JSON list.
#[derive(Debug, Default)]
pub(crate) struct Items {
    text: String,
    /// More items came than there was room for.
    is_cut: bool,
    /// Items came that are not recorded.
    is_left_out: bool,
}

impl Items {
    /// Adds an item, if there is room for it.
    pub(crate) fn push(&mut self, item: &Value) {
        let room = VALUE_BYTES.saturating_sub(self.text.len());
        if self.is_cut || item.len() + 2 > room {
            self.is_cut = true;
            return;
        }
        let item = item.as_json_text();
        self.text.push(if self.text.is_empty() { '[' } else { ',' });
        self.text.push_str(&item);
    }

    /// States that an item came that is not recorded.
    pub(crate) fn leave_out(&mut self) {
        self.is_left_out = true;
    }

    /// States that no more items come: a list without items is an empty one.
    pub(crate) fn complete(&mut self) {
        if self.text.is_empty() && !self.is_cut && !self.is_left_out {
            self.text.push('[');
        }
    }

    /// The list; `None` if nothing was read.
    pub(crate) fn into_output(mut self) -> Option<Value> {
        if self.text.is_empty() {
            return self.is_cut.then(Value::unreadable);
        }
        self.text.push(']');
        Some(match self.is_cut {
            true => Value::cut_json_text(self.text),
            false => Value::from_json_text(self.text),
        })
    }
}
