//! Selection of the spans that become part of a run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use retrace_protocol::SpanType;

use crate::view::{Kind, Parent, ScopeView, Value};

/// Selects the spans that become part of a run.
///
/// The tree stays connected: a run keeps its local root, and a span whose parent is not selected becomes a child of its nearest
/// selected ancestor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanSelection {
    /// Runs that contain a GenAI span, with their GenAI spans and their local root. The default.
    #[default]
    GenAi,
    /// Every span.
    All,
    /// Runs that contain a span that the policy selects, with the selected spans and the local root.
    Policy(SpanPolicy),
}

impl SpanSelection {
    /// Selects spans by a function. [`SpanFacts`] has an example.
    pub fn policy(decide: impl Fn(&SpanFacts<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::Policy(SpanPolicy(Arc::new(decide)))
    }
}

/// A function that selects spans.
///
/// It is called on the worker thread when a span has ended, and in live runs also when it begins; there a span stays selected.
/// If runs are announced to other services, it is also called on the thread that begins the span. If the function panics, the
/// span is selected if it is a GenAI span.
#[derive(Clone)]
pub struct SpanPolicy(Arc<dyn Fn(&SpanFacts<'_>) -> bool + Send + Sync>);

impl SpanPolicy {
    pub(crate) fn decide(&self, facts: &SpanFacts<'_>) -> Option<bool> {
        catch_unwind(AssertUnwindSafe(|| (self.0)(facts))).ok()
    }
}

impl fmt::Debug for SpanPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpanPolicy(..)")
    }
}

/// Two policies are equal if they share one function.
impl PartialEq for SpanPolicy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SpanPolicy {}

/// Facts about a span on which a policy decides.
///
/// ```
/// use retrace_translate::{Options, SpanSelection};
///
/// // GenAI spans as ever, and the queries that their tools make; no health checks, whatever they call.
/// let mut options = Options::default();
/// options.selection = SpanSelection::policy(|span| {
///     let is_query = span.attribute("db.system.name").is_some();
///     (span.is_genai || is_query) && span.name != "health"
/// });
/// ```
#[non_exhaustive]
pub struct SpanFacts<'a> {
    /// True if the span has attributes of a GenAI dialect: the criterion of [`SpanSelection::GenAi`].
    pub is_genai: bool,
    /// Type of the span in Retrace.
    pub span_type: SpanType,
    /// Name of the span in OpenTelemetry.
    pub name: &'a str,
    /// Span kind.
    pub kind: Kind,
    /// Instrumentation scope.
    pub scope: ScopeView<'a>,
    /// Parent of the span.
    pub parent: Parent,
    /// True if the status is an error.
    pub failed: bool,
    pub(crate) attribute: &'a dyn Fn(&str) -> Option<Value<'a>>,
}

impl<'a> SpanFacts<'a> {
    /// Returns the value of an attribute. Costs a comparison with each key.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<Value<'a>> {
        (self.attribute)(key)
    }
}

impl fmt::Debug for SpanFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanFacts")
            .field("is_genai", &self.is_genai)
            .field("span_type", &self.span_type)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}
