//! Span types that applications state and that do not exist.

use std::mem;

use crate::attributes::SPAN_TYPE;
use crate::span_reader::stated_type;
use crate::view::{SpanView, Value};

/// Values that are remembered, so that each is returned once.
const VALUES: usize = 8;
/// Bytes of a value that are kept.
const VALUE_BYTES: usize = 40;

/// Unknown values of `retrace.span_type`.
#[derive(Debug, Default)]
pub(crate) struct UnknownTypes {
    seen: Vec<String>,
    new: Vec<String>,
}

impl UnknownTypes {
    /// Takes note of the type that a span states, if there is no such type.
    pub(crate) fn look_at<V: SpanView>(&mut self, span: &V) {
        if self.seen.len() >= VALUES {
            return;
        }
        let mut stated = None;
        span.attributes().for_each(|(key, value)| {
            if key == SPAN_TYPE {
                stated = Some(value);
            }
        });
        let Some(stated) = stated.as_ref().and_then(Value::as_text) else { return };
        if stated_type(stated).is_some() {
            return;
        }
        let value: String = stated.get(..stated.floor_char_boundary(VALUE_BYTES)).unwrap_or_default().to_owned();
        if !self.seen.contains(&value) {
            self.seen.push(value.clone());
            self.new.push(value);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<String> {
        mem::take(&mut self.new)
    }
}
