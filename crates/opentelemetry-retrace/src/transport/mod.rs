//! Transport to the receiver: the only module with sockets and a thread.

pub(crate) mod client;
mod compress;
mod connect;
pub(crate) mod http;
mod peer_message;
#[cfg(feature = "_rustls")]
mod proxy;
pub(crate) mod requests;
pub(crate) mod spool;
mod suspend_aware_clock;
#[cfg(feature = "_rustls")]
pub(crate) mod tls;
pub(crate) mod worker;
pub(crate) mod ws;
