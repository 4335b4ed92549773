//! Decides which spans a run carries.

use crate::options::{SpanFacts, SpanSelection};
use crate::span_reader::SpanReader;
use crate::view::{SpanView, StatusView};

impl SpanSelection {
    /// Returns true if the span is selected by its current attributes. Costs a full read of the attributes.
    pub fn selects_span<V: SpanView>(&self, span: &V) -> bool {
        self.selects(&SpanReader::new(span))
    }

    /// Returns true if the span is selected.
    pub(crate) fn selects<V: SpanView>(&self, reader: &SpanReader<'_, V>) -> bool {
        match self {
            Self::GenAi => reader.is_genai(),
            Self::All => true,
            Self::Policy(policy) => {
                let view = reader.view;
                // For a key that occurs twice the later value holds.
                let attribute =
                    |key: &str| view.attributes().filter(|(name, _)| *name == key).last().map(|(_, value)| value);
                let facts = SpanFacts {
                    is_genai: reader.is_genai(),
                    span_type: reader.span_type(),
                    name: view.name(),
                    kind: view.kind(),
                    scope: view.scope(),
                    parent: view.parent(),
                    failed: matches!(view.status(), StatusView::Error(_)),
                    attribute: &attribute,
                };
                policy.decide(&facts).unwrap_or(facts.is_genai)
            }
        }
    }
}
