//! Endpoints of OTLP over HTTP and gRPC, with limits of size, time and memory.
//!
//! A [`Receiver`] decides who may send, and takes the requests; [`otlp_router`] and `GrpcService` are the endpoints in front
//! of it, and [`serve`] accepts connections for them.

mod answer;
mod body;
mod compression;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "grpc")]
mod grpc_connection;
mod http;
mod listener;
mod rejection;
mod rpc_status;
#[cfg(feature = "tls")]
mod tls;
mod write_timeout;

use std::future::Future;

use axum::http::{HeaderMap, Uri};
use tokio::sync::OwnedSemaphorePermit;

pub use self::body::{Bodies, Received};
#[cfg(feature = "grpc")]
pub use self::grpc_connection::GrpcService;
pub use self::http::otlp_router;
#[cfg(not(feature = "tls"))]
pub use self::listener::Never;
pub use self::listener::{Encryption, Endpoint, Service, serve};
pub use self::rejection::Rejection;
#[cfg(feature = "tls")]
pub use self::tls::{TlsError, TlsFiles};
pub use self::write_timeout::WriteTimeout;
use crate::{OtlpRequest, Unreadable};

/// Receiver of decoded requests, behind the endpoints.
pub trait Receiver: Send + Sync + 'static {
    /// Identity of a client whose request is authorized.
    type Caller: Send + 'static;

    /// The limits of request bodies.
    fn bodies(&self) -> &Bodies;

    /// Checks the host and the origin of a gRPC call. Over HTTP the owner of the router does that.
    ///
    /// # Errors
    /// Returns the response to a call that is not for this host.
    fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Rejection>;

    /// Checks the headers of a request before its body is read.
    ///
    /// # Errors
    /// Returns the response to a request that is not authorized.
    fn authorize(&self, headers: &HeaderMap) -> Result<Self::Caller, Rejection>;

    /// Takes what a request contains, and returns the records that it does not take, with the reason. The permit is for the
    /// memory of the body; it is released when it is dropped.
    ///
    /// # Errors
    /// Returns the response to a request that cannot be taken now.
    fn take(
        &self,
        caller: Self::Caller,
        request: OtlpRequest,
        room: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = Result<Unreadable, Rejection>> + Send;
}
