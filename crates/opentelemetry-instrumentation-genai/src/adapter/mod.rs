//! Adapters for HTTP clients: one file and one feature for each client.

#[cfg(feature = "async-openai")]
pub mod async_openai;
#[cfg(feature = "http-body")]
pub mod http_body;
#[cfg(any(feature = "_reqwest", feature = "tower"))]
pub(crate) mod request_body;
#[cfg(feature = "_reqwest")]
pub(crate) mod reqwest;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
#[cfg(feature = "rig")]
pub mod rig;
#[cfg(feature = "tower")]
pub mod tower;
