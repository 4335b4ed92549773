//! A receiver that can be stopped and started again with what it has stored.

use std::net::SocketAddr;
use std::path::PathBuf;

use retrace_local::{Server, TraceQuery};
use retrace_protocol::{Id, Trace};

/// A real receiver on a file.
#[derive(Debug)]
pub struct Receiver {
    db: PathBuf,
    /// There unless it is being started again.
    server: Option<Server>,
}

impl Receiver {
    /// Starts on this file.
    #[must_use]
    pub fn start(db: impl Into<PathBuf>) -> Self {
        let db = db.into();
        let server = Some(Server::builder().with_db(&db).start().unwrap());
        Self { db, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server().addr()
    }

    /// Stops, and starts at another address with what was stored.
    pub fn restart(&mut self) -> SocketAddr {
        drop(self.server.take());
        self.server = Some(Server::builder().with_db(&self.db).start().unwrap());
        self.addr()
    }

    /// All runs whole.
    #[must_use]
    pub fn traces(&self) -> Vec<Trace> {
        let mut all = Vec::new();
        loop {
            let query = TraceQuery::new().with_limit(TraceQuery::MAX_LIMIT).with_offset(all.len() as u64);
            let page = self.server().traces(&query).unwrap();
            if page.traces.is_empty() {
                return all;
            }
            all.extend(page.traces.iter().filter_map(|trace| self.trace(trace.id.as_ref()?)));
        }
    }

    /// One run whole.
    #[must_use]
    pub fn trace(&self, id: &Id) -> Option<Trace> {
        self.server().trace(id).unwrap()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }
}
