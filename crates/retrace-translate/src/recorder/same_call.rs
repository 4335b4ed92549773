//! Decides whether two spans with usage record the same model call.
//!
//! Four kinds of evidence exist:
//!
//! * **Nesting.** A model call around a model call of the same operation, with no agent or tool between the two, is one call.
//! * **The provider's id of the answer.** Two model calls with the same response id are one call when one stands above the other
//!   with no tool in between, or when they overlap in time ([`overlap`]). Calls one after the other are several calls: fixtures and
//!   caching gateways give one id to many answers.
//! * **Two libraries side by side.** A model call without a response id, and one with it from another instrumentation scope, below
//!   the same parent, the second within the time of the first, are one call if their counts are equal ([`CallIdentity::repeats`]).
//! * **The server's own record.** A span of kind SERVER below the model call of its client repeats it ([`CallIdentity::serves`]).

/// Start and end of a span, in nanoseconds since 1970 UTC.
pub(crate) type Interval = (u64, u64);

/// Returns true if two spans share more than a point in time: each begins before the other ends.
///
/// A span without duration overlaps one that it lies strictly within. An end before the start counts as the start.
pub(crate) fn overlap(one: Interval, other: Interval) -> bool {
    one.0 < other.1.max(other.0) && other.0 < one.1.max(one.0)
}

/// Relation between two spans in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lineage {
    /// Neither is an ancestor of the other.
    Unrelated,
    /// One is an ancestor of the other.
    Ancestor,
    /// One is an ancestor of the other, with a tool between the two: the tool made the inner call.
    ThroughTool,
}

/// Returns true if two model calls with the same response id are one call.
pub(crate) fn is_one_answer(line: Lineage, one: Interval, other: Interval) -> bool {
    match line {
        Lineage::Ancestor => true,
        Lineage::ThroughTool => false,
        Lineage::Unrelated => overlap(one, other),
    }
}

/// Features by which a span is compared with one above it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallIdentity<'a> {
    /// The span is of kind SERVER.
    pub is_server: bool,
    /// Response id and request id.
    pub ids: [Option<&'a str>; 2],
    /// Response model and request model.
    pub models: [Option<&'a str>; 2],
    pub operation: Option<&'a str>,
    /// Input and output tokens.
    pub tokens: [Option<u64>; 2],
}

impl CallIdentity<'_> {
    /// Returns true if this span, which is below `client`, is a server's record of the same call.
    ///
    /// It is of kind SERVER and shares an id with the client span; or the tokens of the two are equal and neither their
    /// operations nor their models contradict each other. Equal tokens are no evidence if `is_direct` is false, which means
    /// that an agent or a tool is between the two.
    pub(crate) fn serves(&self, client: &CallIdentity<'_>, is_direct: bool) -> bool {
        if !self.is_server {
            return false;
        }
        if shares(&self.ids, &client.ids, |one, other| one == other) {
            return true;
        }
        is_direct && self.agrees(client) && self.tokens.iter().any(Option::is_some)
    }

    /// Returns true if this span and `other`, which is recorded by another library, have both counts alike and neither operation
    /// nor model contradicts.
    pub(crate) fn repeats(&self, other: &CallIdentity<'_>) -> bool {
        self.tokens.iter().all(Option::is_some) && self.agrees(other)
    }

    /// Returns true if the tokens are equal and neither operations nor models contradict each other.
    fn agrees(&self, other: &CallIdentity<'_>) -> bool {
        let is_known = |models: &[Option<&str>; 2]| models.iter().any(Option::is_some);
        let models = !is_known(&self.models)
            || !is_known(&other.models)
            || shares(&self.models, &other.models, str::eq_ignore_ascii_case);
        let operations = match (&self.operation, &other.operation) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        };
        operations && models && self.tokens == other.tokens
    }
}

fn shares(own: &[Option<&str>; 2], other: &[Option<&str>; 2], is_same: impl Fn(&str, &str) -> bool) -> bool {
    own.iter().flatten().any(|one| other.iter().flatten().any(|other| is_same(one, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_spans_do_not_overlap() {
        for (one, other, expected) in [
            ((0, 10), (5, 15), true),
            ((0, 10), (2, 3), true),
            ((0, 10), (0, 10), true),
            ((0, 10), (10, 20), false),
            ((0, 10), (11, 20), false),
            ((5, 5), (0, 10), true),
            ((5, 5), (5, 10), false),
            ((5, 5), (5, 5), false),
            ((5, 1), (0, 10), true),
        ] {
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_server_repeats_its_client_by_id_or_by_what_it_counts() {
        let span = |id: &'static str, model: &'static str, tokens: u64| CallIdentity {
            is_server: true,
            ids: [Some(id), None],
            models: [Some(model), None],
            operation: Some("chat"),
            tokens: [Some(tokens), Some(1)],
        };
        let client = span("a", "m", 7);
        assert!(span("a", "other", 9).serves(&client, false));
        assert!(span("b", "M", 7).serves(&client, true));
        assert!(!span("b", "m", 7).serves(&client, false));
        assert!(!span("b", "m", 8).serves(&client, true) && !span("b", "n", 7).serves(&client, true));
        assert!(!CallIdentity { is_server: false, ..span("a", "m", 7) }.serves(&client, true));
        let unnamed = CallIdentity { models: [None, None], operation: None, ..span("b", "", 7) };
        assert!(unnamed.serves(&client, true));
        let without_usage = CallIdentity { is_server: true, ..CallIdentity::default() };
        assert!(!without_usage.serves(&CallIdentity::default(), true));
    }
}
