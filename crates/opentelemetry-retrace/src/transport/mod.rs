//! The way to the receiver: the one place with sockets and a thread.

mod connect;
pub(crate) mod http;
#[cfg(feature = "_rustls")]
mod proxy;
pub(crate) mod retry;
pub(crate) mod suppress;
#[cfg(feature = "_rustls")]
mod tls;
mod words;
pub(crate) mod worker;
#[cfg_attr(not(test), expect(dead_code, reason = "the worker does not use it yet"))]
pub(crate) mod ws;
