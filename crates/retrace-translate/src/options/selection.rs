//! Which spans become part of a run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use retrace_protocol::SpanType;

use crate::view::{Kind, Parent, ScopeView, Value};

/// Which spans become part of a run.
///
/// Whatever is left out, the tree stays whole: a run keeps its local root, and a span whose parent is left out hangs from
/// its nearest ancestor that is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanSelection {
    /// Runs that contain a GenAI span; of them the GenAI spans and the local root. The default.
    #[default]
    GenAi,
    /// Every span.
    All,
    /// Runs that contain a span for which the policy says yes; of them those spans and the local root.
    Policy(SpanPolicy),
}

impl SpanSelection {
    /// Selects by a decision of the application's. [`SpanFacts`] has an example.
    pub fn policy(decide: impl Fn(&SpanFacts<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self::Policy(SpanPolicy(Arc::new(decide)))
    }
}

/// A decision of the application's about one span.
///
/// It is asked on the worker's thread when a span has ended, and in live runs when it begins too; there a span that was
/// selected once stays. Where runs are announced to other services it is also asked on the thread that begins the span. A
/// policy that panics decides nothing: the span is then selected if it is a GenAI span.
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

/// Two are equal when they are one.
impl PartialEq for SpanPolicy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SpanPolicy {}

/// What a policy decides by.
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
    /// Whether some GenAI dialect is spoken on the span: what [`SpanSelection::GenAi`] asks.
    pub is_genai: bool,
    /// What Retrace would call it.
    pub span_type: SpanType,
    /// Its name in OpenTelemetry.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// The library or the part of the application that made it.
    pub scope: ScopeView<'a>,
    /// The span around it.
    pub parent: Parent,
    /// Whether its status is an error.
    pub failed: bool,
    pub(crate) attribute: &'a dyn Fn(&str) -> Option<Value<'a>>,
}

impl<'a> SpanFacts<'a> {
    /// The value of an attribute. Takes a look at each.
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
