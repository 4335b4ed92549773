//! A server that nobody is meant to reach.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Counts the connections to an address of loopback and closes each at once.
#[derive(Debug)]
pub struct Canary {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Canary {
    /// Takes any free port.
    #[must_use]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        thread::spawn(move || {
            for _ in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, connections }
    }

    /// The address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far. One of its own comes last, so that those before it have been counted.
    #[must_use]
    pub fn connections(&self) -> usize {
        let before = self.connections.load(Ordering::SeqCst);
        drop(std::net::TcpStream::connect(self.address).unwrap());
        crate::wait::until("the canary counts", || {
            Some(self.connections.load(Ordering::SeqCst)).filter(|now| *now > before)
        });
        self.connections.fetch_sub(1, Ordering::SeqCst) - 1
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self::new()
    }
}
