//! Transport to the receiver: the only module with sockets and a thread.

pub(crate) mod client;
mod clock;
mod compress;
mod connect;
pub(crate) mod http;
#[cfg(feature = "_rustls")]
mod proxy;
pub(crate) mod requests;
pub(crate) mod spool;
pub(crate) mod suppress;
#[cfg(feature = "_rustls")]
mod tls;
mod words;
pub(crate) mod worker;
pub(crate) mod ws;
