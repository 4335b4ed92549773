//! Scanner of JSON text: where its values and strings end, without building them.

pub(crate) mod cursor;
pub(crate) mod escape;
pub(crate) mod string_token;
