//! Cache of instrumentation scopes, shared by the spans of a run.

use std::sync::Arc;

use retrace_protocol::json::without_nul;
use retrace_protocol::metadata::SpanScope;

use crate::view::ScopeView;

/// Holds the last scope; most spans of a run have the same one.
#[derive(Debug, Default)]
pub(crate) struct ScopeCache {
    last: Option<Arc<SpanScope>>,
}

impl ScopeCache {
    /// Returns the scope as metadata carries it; `None` for one without a name.
    pub(crate) fn shared(&mut self, scope: ScopeView<'_>) -> Option<Arc<SpanScope>> {
        if scope.name.is_empty() {
            return None;
        }
        let shared = |name: &str, version: &str| {
            let is_it =
                |last: &&Arc<SpanScope>| last.name == name && last.version.as_deref().unwrap_or_default() == version;
            self.last.as_ref().filter(is_it).map(Arc::clone)
        };
        if let Some(last) = shared(scope.name, scope.version) {
            return Some(last);
        }
        let (name, version) = (without_nul(scope.name), without_nul(scope.version));
        if let Some(last) = shared(&name, &version) {
            return Some(last);
        }
        let version = (!version.is_empty()).then(|| version.into_owned());
        self.last = Some(Arc::new(SpanScope { name: name.into_owned(), version }));
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_one_scope_share_it() {
        let mut scope_cache = ScopeCache::default();
        let of = |name, version| ScopeView { name, version };
        let first = scope_cache.shared(of("agent", "1.0")).unwrap();
        assert_eq!((first.name.as_str(), first.version.as_deref()), ("agent", Some("1.0")));
        assert!(Arc::ptr_eq(&first, &scope_cache.shared(of("agent", "1.0")).unwrap()));
        for (name, version) in [("agent", "1.1"), ("other", ""), ("agent", "")] {
            let next = scope_cache.shared(of(name, version)).unwrap();
            assert_eq!((next.name.as_str(), next.version.as_deref().unwrap_or_default()), (name, version));
        }
        assert_eq!(scope_cache.shared(of("", "1.0")), None);
        assert_eq!(scope_cache.shared(of("a\0", "")).unwrap().name, "a\u{FFFD}");
    }
}
