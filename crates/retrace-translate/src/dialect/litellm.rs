//! LiteLLM: what its OpenTelemetry callback writes beside the conventions.
//!
//! Keys follow `litellm/integrations/opentelemetry.py`. The usage of a response is the text form of a Python object.

use super::Dialect;
use crate::fields::Field;
use crate::fields::Nested;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[("gen_ai.cost.total_cost", Field::Cost)],
    nested: &[Nested { key: "metadata.usage_object", members: &[("", Field::ProviderUsage)] }],
    marks: &["litellm."],
    ..Dialect::EMPTY
};
