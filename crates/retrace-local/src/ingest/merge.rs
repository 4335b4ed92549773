//! Records that are told in several events: who has the last word about a field. Pure.
//!
//! Every event may come twice, and after a reconnect in another order (PROTOCOL.md section 6). So that all orders lead to
//! the same record, the word with the highest number holds, field by field: numbers count up within the process that
//! sends them, whatever its connections do. What an event leaves out it says nothing about. Words without a number (older
//! clients, HTTP) and words with the same number hold in the order they come.

use std::collections::BTreeMap;

use retrace_protocol::{Json, write};
use serde::{Deserialize, Serialize};

/// The fields of a record, each as JSON text.
pub(crate) type Fields = BTreeMap<String, Json>;

/// The numbers that a record's fields were said with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Clocks {
    /// Of every field that is not named in `fields`.
    #[serde(rename = "0", default, skip_serializing_if = "is_zero")]
    base: u64,
    #[serde(flatten)]
    fields: BTreeMap<String, u64>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What an event says about a record.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) fields: Fields,
    pub(crate) clocks: Clocks,
    /// Without a number: holds over everything that came before, and gives way to everything that comes after.
    pub(crate) by_arrival: bool,
    /// Fields that hold only while nobody else has said them.
    pub(crate) weak: Vec<String>,
}

/// The fields that the protocol crate writes for a record.
pub(crate) fn fields_of<T: Serialize>(record: &T) -> Result<Fields, serde_json::Error> {
    serde_json::from_str(&write::to_string(record)?)
}

impl Clocks {
    /// Every field was said with this number.
    pub(crate) fn all(seq: Option<u64>) -> Self {
        Self { base: seq.unwrap_or(0), fields: BTreeMap::new() }
    }

    /// These fields were said with this number.
    pub(crate) fn say<'f>(&mut self, fields: impl Iterator<Item = &'f String>, seq: Option<u64>) {
        fields.for_each(|field| self.set(field, seq.unwrap_or(0)));
    }

    fn of(&self, field: &str) -> u64 {
        self.fields.get(field).copied().unwrap_or(self.base)
    }

    fn set(&mut self, field: &str, number: u64) {
        if number == self.base {
            self.fields.remove(field);
        } else {
            self.fields.insert(field.to_owned(), number);
        }
    }
}

impl Word {
    /// Fields said with the number `seq`, or without one.
    pub(crate) fn new(fields: Fields, seq: Option<u64>) -> Self {
        Self { fields, clocks: Clocks::all(seq), by_arrival: seq.is_none(), weak: Vec::new() }
    }

    /// Lays the word over a record; false when that changes nothing.
    pub(crate) fn lay_over(self, record: &mut Fields, clocks: &mut Clocks) -> bool {
        let mut changed = false;
        for (name, value) in self.fields {
            let weak = self.weak.contains(&name);
            let number = if weak { 0 } else { self.clocks.of(&name) };
            let known = record.get(&name);
            let holds = known.is_none() || !weak && (self.by_arrival || number >= clocks.of(&name));
            if !holds {
                continue;
            }
            if !self.by_arrival || known.is_none() {
                changed |= clocks.of(&name) != number;
                clocks.set(&name, number);
            }
            if known.is_none_or(|known| *known != value) {
                record.insert(name, value);
                changed = true;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fields(value: &serde_json::Value) -> Fields {
        fields_of(value).unwrap()
    }

    fn told(words: &[(serde_json::Value, Option<u64>)]) -> serde_json::Value {
        let (mut record, mut clocks) = (Fields::new(), Clocks::default());
        for (said, seq) in words {
            Word::new(fields(said), *seq).lay_over(&mut record, &mut clocks);
            // Kept as text between two words, as the store does.
            clocks = serde_json::from_str(&serde_json::to_string(&clocks).unwrap()).unwrap();
        }
        serde_json::to_value(record).unwrap()
    }

    #[test]
    fn the_highest_number_holds_field_by_field() {
        let words = [(json!({"a": 1, "b": 1}), Some(1)), (json!({"b": 2}), Some(2)), (json!({"a": 3}), Some(3))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let words: Vec<_> = order.iter().map(|at| words[*at].clone()).collect();
            assert_eq!(told(&words), json!({"a": 3, "b": 2}), "{order:?}");
        }
    }

    #[test]
    fn without_numbers_the_last_one_holds() {
        assert_eq!(told(&[(json!({"a": 1, "b": 1}), None), (json!({"a": 2}), None)]), json!({"a": 2, "b": 1}));
        assert_eq!(told(&[(json!({"a": 1}), Some(9)), (json!({"a": 2}), None)]), json!({"a": 2}));
        assert_eq!(told(&[(json!({"a": 1}), Some(9)), (json!({"a": null}), Some(9))]), json!({"a": null}));
    }

    #[test]
    fn a_weak_word_holds_only_while_nobody_else_speaks() {
        let (mut record, mut clocks) = (fields(&json!({"status": "completed"})), Clocks::all(Some(1)));
        let late = |seq| Word {
            weak: vec!["status".into(), "total".into()],
            ..Word::new(fields(&json!({"status": "running", "total": 0})), seq)
        };
        assert!(late(Some(9)).lay_over(&mut record, &mut clocks), "the total is news");
        assert!(!late(None).lay_over(&mut record, &mut clocks));
        assert!(Word::new(fields(&json!({"total": 7})), Some(2)).lay_over(&mut record, &mut clocks));
        assert_eq!(serde_json::to_value(&record).unwrap(), json!({"status": "completed", "total": 7}));
    }

    proptest! {
        #[test]
        fn every_order_and_repetition_tells_the_same(
            words in prop::collection::vec(prop::collection::btree_map("[abc]", 0..9_u8, 0..3), 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let words: Vec<_> = words.iter().zip(1..).map(|(said, seq)| (json!(said), Some(seq))).collect();
            let mut shuffled: Vec<_> = order.iter().map(|at| at.get(&words).clone()).collect();
            shuffled.extend(words.iter().rev().cloned());
            prop_assert_eq!(told(&shuffled), told(&words));
        }
    }
}
