//! Errors of the provider that answers from a cassette.

use std::io;
use std::net::SocketAddr;

use retrace_replay::cassette::CassetteError;

/// A [`ReplayServer`](super::ReplayServer) cannot be started: what was wrong, and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayServerError {
    /// The cassette cannot be read.
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    /// Other machines could reach the address.
    #[error(
        "{addr} can be reached from other machines: listen on 127.0.0.1 or [::1], or allow remote clients explicitly"
    )]
    NotLoopback {
        /// Address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {addr} ({source}): end the program that listens there, or choose another port (0 takes any free one)"
    )]
    Listen {
        /// Address.
        addr: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
    /// The system has no thread left.
    #[error("cannot start ({0}): the system is out of threads or files; end other programs and try again")]
    System(io::Error),
}
