//! Differences of two JSON values, by JSON pointer (RFC 6901).

use serde::Serialize;
use serde_json::Value;

/// Most differences that a [`Diff`] lists; further ones are counted.
pub const MAX_DIFFERENCES: usize = 64;

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// JSON pointer to the value; the one of the expected document where both have it.
    pub pointer: String,
    /// Recorded value; `None` where only the other document has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// Value of the run that is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<Value>,
}

/// Differences of two documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    /// First differences, in document order, at most [`MAX_DIFFERENCES`].
    pub differences: Vec<Difference>,
    /// Number of all differences.
    pub total: usize,
}

impl Diff {
    /// Compares two documents. Elements of lists are aligned by their equal beginnings and ends.
    ///
    /// ```
    /// use retrace_replay::Diff;
    /// use serde_json::json;
    ///
    /// let diff = Diff::of(&json!({"a": [1, 2, 3]}), &json!({"a": [1, 4, 3], "b": true}));
    /// let pointers: Vec<_> = diff.differences.iter().map(|difference| difference.pointer.as_str()).collect();
    /// assert_eq!(pointers, ["/a/1", "/b"]);
    /// ```
    #[must_use]
    pub fn of(expected: &Value, got: &Value) -> Self {
        let mut diff = Self::default();
        diff.compare(&mut String::new(), expected, got);
        diff
    }

    /// Returns true if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn add(&mut self, pointer: &str, expected: Option<&Value>, got: Option<&Value>) {
        self.total += 1;
        if self.differences.len() < MAX_DIFFERENCES {
            let (expected, got) = (expected.cloned(), got.cloned());
            self.differences.push(Difference { pointer: pointer.to_owned(), expected, got });
        }
    }

    fn compare(&mut self, pointer: &mut String, expected: &Value, got: &Value) {
        match (expected, got) {
            (Value::Object(ours), Value::Object(theirs)) => {
                for (name, value) in ours {
                    match theirs.get(name) {
                        Some(other) => self.within(pointer, name, |diff, at| diff.compare(at, value, other)),
                        None => self.within(pointer, name, |diff, at| diff.add(at, Some(value), None)),
                    }
                }
                for (name, value) in theirs.iter().filter(|(name, _)| !ours.contains_key(*name)) {
                    self.within(pointer, name, |diff, at| diff.add(at, None, Some(value)));
                }
            }
            (Value::Array(ours), Value::Array(theirs)) => self.lists(pointer, ours, theirs),
            _ if same(expected, got) => {}
            _ => self.add(pointer, Some(expected), Some(got)),
        }
    }

    fn lists(&mut self, pointer: &mut String, ours: &[Value], theirs: &[Value]) {
        let shorter = ours.len().min(theirs.len());
        let start = ours.iter().zip(theirs).take_while(|(a, b)| same(a, b)).count();
        let ends = ours.iter().rev().zip(theirs.iter().rev()).take(shorter - start);
        // Lists of one length are compared element by element: what stands at one place belongs together.
        let end = if ours.len() == theirs.len() { 0 } else { ends.take_while(|(a, b)| same(a, b)).count() };
        let middle = |list: &[Value]| list.len() - end;
        let (ours_end, theirs_end) = (middle(ours), middle(theirs));
        for at in start..ours_end.max(theirs_end) {
            let expected = ours.get(at).filter(|_| at < ours_end);
            let got = theirs.get(at).filter(|_| at < theirs_end);
            self.within(pointer, &at.to_string(), |diff, pointer| match (expected, got) {
                (Some(expected), Some(got)) => diff.compare(pointer, expected, got),
                (expected, got) => diff.add(pointer, expected, got),
            });
        }
    }

    fn within(&mut self, pointer: &mut String, name: &str, visit: impl FnOnce(&mut Self, &mut String)) {
        let length = pointer.len();
        pointer.push('/');
        match name.contains(['~', '/']) {
            true => pointer.push_str(&name.replace('~', "~0").replace('/', "~1")),
            false => pointer.push_str(name),
        }
        visit(self, pointer);
        pointer.truncate(length);
    }
}

/// Compares as fingerprints do: `1` and `1.0` are one number.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64()),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => ours == theirs,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_added_message_is_one_difference() {
        let diff = Diff::of(&json!({"messages": ["a", "b"]}), &json!({"messages": ["a", "x", "b"]}));
        assert_eq!(diff.total, 1);
        let found = &diff.differences[0];
        assert_eq!((found.pointer.as_str(), &found.expected, &found.got), ("/messages/1", &None, &Some(json!("x"))));
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let many: Vec<u32> = (0..200).collect();
        let diff = Diff::of(&json!(many), &json!(vec!["x"; 200]));
        assert_eq!((diff.differences.len(), diff.total), (MAX_DIFFERENCES, 200));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0..4i64).prop_map(Value::from), "[a/~]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c/~]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pointers_lead_to_what_differs(ours in any_json(), theirs in any_json()) {
            let diff = Diff::of(&ours, &theirs);
            prop_assert_eq!(diff.is_empty(), ours == theirs);
            for found in &diff.differences {
                if let Some(expected) = &found.expected {
                    prop_assert_eq!(ours.pointer(&found.pointer), Some(expected));
                } else {
                    prop_assert_eq!(theirs.pointer(&found.pointer), found.got.as_ref());
                }
            }
        }
    }
}
