//! The way to the receiver: the one place with sockets and a thread.

pub(crate) mod http;
pub(crate) mod retry;
pub(crate) mod suppress;
#[cfg(feature = "_rustls")]
mod tls;
pub(crate) mod worker;
