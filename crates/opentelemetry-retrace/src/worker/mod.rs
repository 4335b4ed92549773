//! Workers: the builder of a pipeline, the settings that a worker starts from, and its handle.

pub(crate) mod builder;
pub(crate) mod worker_config;
pub(crate) mod worker_handle;
