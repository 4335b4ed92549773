//! Errors of the provider that answers from a cassette.

use std::io;
use std::net::SocketAddr;

use retrace_replay::cassette::CassetteError;

/// Error of the start of a [`ReplayServer`](super::ReplayServer). The message has the cause and a remedy.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ReplayServerError {
    /// The cassette cannot be read.
    #[error(transparent)]
    Cassette(#[from] CassetteError),
    /// Other machines can reach the address.
    #[error(
        "{addr} can be reached from other machines: listen on 127.0.0.1 or [::1], or allow remote clients by `--allow-remote` \
         (in code `allow_remote`)"
    )]
    NotLoopback {
        /// Address.
        addr: SocketAddr,
    },
    /// The system rejects the address.
    #[error(
        "cannot listen on {addr} ({source}): end the program that listens there, or choose another port (0 takes any free one)"
    )]
    Listen {
        /// Address.
        addr: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The system has no thread left.
    #[error("cannot start ({0}): the system is out of threads or files; end other programs and try again")]
    System(io::Error),
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for ReplayServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}
