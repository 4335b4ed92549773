//! vLLM: what its request spans have beside OpenTelemetry's older conventions.
//!
//! Keys follow `SpanAttributes` in `vllm/tracing.py` of its repository; times are in seconds.

use super::{Class, Dialect};
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[("gen_ai.latency.time_to_first_token", Field::TimeToFirstChunk)],
    hints: &[("gen_ai.latency.e2e", Class::Model)],
    ..Dialect::EMPTY
};
