//! Key by which a sampler with a seed decides.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use opentelemetry::trace::SpanKind;
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// Local root of a run, with the data that a sampler has when it begins.
///
/// An exporter decides when the root has ended, by the attributes that the span has then.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RootSpan<'a> {
    /// Name of the span, such as `POST /ask`.
    pub name: &'a str,
    /// Kind of the span.
    pub kind: &'a SpanKind,
    attributes: &'a [KeyValue],
}

impl<'a> RootSpan<'a> {
    pub(crate) const fn new(name: &'a str, kind: &'a SpanKind, attributes: &'a [KeyValue]) -> Self {
        Self { name, kind, attributes }
    }

    pub(crate) fn of(span: &'a SpanData) -> Self {
        Self::new(&span.name, &span.span_kind, &span.attributes)
    }

    /// Returns the value of an attribute; the last one if there are several. Compares all keys.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<&'a Value> {
        self.attributes.iter().rev().find(|pair| pair.key.as_str() == key).map(|pair| &pair.value)
    }
}

type KeyOf = dyn Fn(&RootSpan<'_>) -> Option<String> + Send + Sync;

/// Function from a root to its key; `None` stands for its name.
#[derive(Clone)]
pub(crate) struct SampleKey(Arc<KeyOf>);

impl SampleKey {
    pub(crate) fn new(key: impl Fn(&RootSpan<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(key))
    }

    /// Returns the key of a root. If the application's function panics it is the name.
    pub(crate) fn of<'a>(&self, root: &RootSpan<'a>) -> Cow<'a, str> {
        let key = catch_unwind(AssertUnwindSafe(|| (self.0)(root))).unwrap_or_default();
        key.map_or(Cow::Borrowed(root.name), Cow::Owned)
    }
}

impl fmt::Debug for SampleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SampleKey(..)")
    }
}
