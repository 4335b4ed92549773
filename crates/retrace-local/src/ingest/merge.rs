//! Merge of several events of one record: decides which event determines a field. Pure.
//!
//! Each event may arrive twice, and in another order after a reconnect (PROTOCOL.md section 6). All orders lead to the
//! same record because the event with the highest sequence number determines a field, field by field: numbers increase
//! within the process that sends them, across all its connections. A field that is absent from an event is unchanged.
//! Events without a number (older clients, HTTP) and events with equal numbers apply in order of arrival.

use std::borrow::Cow;
use std::collections::BTreeMap;

use retrace_protocol::{Json, write};
use serde::{Deserialize, Serialize, Serializer};

/// The fields of a record, each as JSON text.
pub(crate) type Fields = BTreeMap<String, Json>;

/// Sequence numbers of the events that determined a record's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "BTreeMap<FieldName, u64>")]
pub(crate) struct FieldVersions {
    /// Number of each field that is not named in `fields`.
    base: u64,
    fields: BTreeMap<FieldName, u64>,
}

type FieldName = Cow<'static, str>;

/// Name of `base` among the names of fields, which is no name of a field.
const BASE: &str = "0";

impl From<BTreeMap<FieldName, u64>> for FieldVersions {
    fn from(mut fields: BTreeMap<FieldName, u64>) -> Self {
        Self { base: fields.remove(BASE).unwrap_or_default(), fields }
    }
}

impl Serialize for FieldVersions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let base = (self.base != 0).then_some((BASE, &self.base));
        serializer.collect_map(base.into_iter().chain(self.fields.iter().map(|(name, number)| (&**name, number))))
    }
}

/// Fields that an event sets on a record.
#[derive(Debug)]
pub(crate) struct FieldUpdate {
    pub(crate) fields: Fields,
    pub(crate) clocks: FieldVersions,
    /// The event has no number: it overrides everything that arrived before, and yields to everything that arrives
    /// after.
    pub(crate) by_arrival: bool,
    /// Fields that apply only while no other event has set them.
    pub(crate) weak: Vec<String>,
}

/// Returns the fields that the protocol crate writes for a record.
pub(crate) fn fields_of<T: Serialize>(record: &T) -> Result<Fields, serde_json::Error> {
    serde_json::from_str(&write::to_string(record)?)
}

impl FieldVersions {
    /// Assigns this number to all fields.
    pub(crate) fn all(seq: Option<u64>) -> Self {
        Self { base: seq.unwrap_or(0), fields: BTreeMap::new() }
    }

    /// Assigns this number to the given fields.
    pub(crate) fn set_all(&mut self, fields: impl Iterator<Item = &'static str>, seq: Option<u64>) {
        fields.for_each(|field| self.set(field, seq.unwrap_or(0)));
    }

    fn of(&self, field: &str) -> u64 {
        self.fields.get(field).copied().unwrap_or(self.base)
    }

    fn set(&mut self, field: impl Into<FieldName>, number: u64) {
        let field = field.into();
        if number == self.base {
            self.fields.remove(&field);
        } else {
            self.fields.insert(field, number);
        }
    }
}

impl FieldUpdate {
    /// Creates an update of `fields` with the number `seq`, or without one.
    pub(crate) fn new(fields: Fields, seq: Option<u64>) -> Self {
        Self { fields, clocks: FieldVersions::all(seq), by_arrival: seq.is_none(), weak: Vec::new() }
    }

    /// Applies the update to a record; returns false if that changes nothing.
    pub(crate) fn apply_to(self, record: &mut Fields, clocks: &mut FieldVersions) -> bool {
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
                clocks.set(name.clone(), number);
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

    fn merged(words: &[(serde_json::Value, Option<u64>)]) -> serde_json::Value {
        let (mut record, mut clocks) = (Fields::new(), FieldVersions::default());
        for (fields_of_one, seq) in words {
            FieldUpdate::new(fields(fields_of_one), *seq).apply_to(&mut record, &mut clocks);
            // Serialized between two updates, as the store does.
            clocks = serde_json::from_str(&serde_json::to_string(&clocks).unwrap()).unwrap();
        }
        serde_json::to_value(record).unwrap()
    }

    #[test]
    fn the_highest_number_holds_field_by_field() {
        let words = [(json!({"a": 1, "b": 1}), Some(1)), (json!({"b": 2}), Some(2)), (json!({"a": 3}), Some(3))];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let words: Vec<_> = order.iter().map(|at| words[*at].clone()).collect();
            assert_eq!(merged(&words), json!({"a": 3, "b": 2}), "{order:?}");
        }
    }

    #[test]
    fn without_numbers_the_last_one_holds() {
        assert_eq!(merged(&[(json!({"a": 1, "b": 1}), None), (json!({"a": 2}), None)]), json!({"a": 2, "b": 1}));
        assert_eq!(merged(&[(json!({"a": 1}), Some(9)), (json!({"a": 2}), None)]), json!({"a": 2}));
        assert_eq!(merged(&[(json!({"a": 1}), Some(9)), (json!({"a": null}), Some(9))]), json!({"a": null}));
    }

    #[test]
    fn a_weak_word_holds_only_while_nobody_else_speaks() {
        let (mut record, mut clocks) = (fields(&json!({"status": "completed"})), FieldVersions::all(Some(1)));
        let late = |seq| FieldUpdate {
            weak: vec!["status".into(), "total".into()],
            ..FieldUpdate::new(fields(&json!({"status": "running", "total": 0})), seq)
        };
        assert!(late(Some(9)).apply_to(&mut record, &mut clocks), "the total is news");
        assert!(!late(None).apply_to(&mut record, &mut clocks));
        assert!(FieldUpdate::new(fields(&json!({"total": 7})), Some(2)).apply_to(&mut record, &mut clocks));
        assert_eq!(serde_json::to_value(&record).unwrap(), json!({"status": "completed", "total": 7}));
    }

    #[test]
    fn numbers_of_fields_are_written_and_read() {
        let mut clocks = FieldVersions::all(Some(7));
        clocks.set("b", 9);
        clocks.set("a", 8);
        for (clocks, text) in [
            (clocks, r#"{"0":7,"a":8,"b":9}"#),
            (FieldVersions::all(Some(7)), r#"{"0":7}"#),
            (FieldVersions::default(), "{}"),
        ] {
            assert_eq!(write::to_string(&clocks).unwrap(), text);
            assert_eq!(serde_json::from_str::<FieldVersions>(text).unwrap(), clocks);
        }
    }

    proptest! {
        #[test]
        fn every_order_and_repetition_tells_the_same(
            words in prop::collection::vec(prop::collection::btree_map("[abc]", 0..9_u8, 0..3), 1..6),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let words: Vec<_> = words.iter().zip(1..).map(|(fields_of_one, seq)| (json!(fields_of_one), Some(seq))).collect();
            let mut shuffled: Vec<_> = order.iter().map(|at| at.get(&words).clone()).collect();
            shuffled.extend(words.iter().rev().cloned());
            prop_assert_eq!(merged(&shuffled), merged(&words));
        }
    }
}
