//! The way of spans from the application's threads to the recorder: the queue, tail sampling, the redaction hook, and flushes.

pub(crate) mod flush_handle;
pub(crate) mod queue;
pub(crate) mod redact;
pub(crate) mod tail_sampling;
