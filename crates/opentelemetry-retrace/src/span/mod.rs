//! Spans of the SDK: views on them, stubs of those that are not selected, and hints about those that begin.

pub(crate) mod not_sent;
pub(crate) mod span_stub;
pub(crate) mod start_hint;
pub(crate) mod view;
