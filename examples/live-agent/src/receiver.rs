//! A receiver that can be stopped and started again, with what it has on file.

use std::error::Error;
use std::net::SocketAddr;

use retrace_local::{Server, TraceQuery};
use retrace_protocol::Trace;
use tempfile::TempDir;

/// A receiver on this machine, or the place where it was.
#[derive(Debug)]
pub(crate) struct Receiver {
    directory: TempDir,
    addr: SocketAddr,
    url: String,
    /// Nothing while it is stopped.
    server: Option<Server>,
}

impl Receiver {
    /// Starts one on any free port, with an empty database in a directory that goes with it.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let server = Server::builder().with_db(directory.path().join("runs.db")).start()?;
        Ok(Self { addr: server.addr(), url: server.url().to_owned(), directory, server: Some(server) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) const fn is_there(&self) -> bool {
        self.server.is_some()
    }

    /// Ends it. Whoever is connected loses the connection, whoever comes is refused.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it where it was, with what it had.
    pub(crate) fn start_again(&mut self) -> Result<(), Box<dyn Error>> {
        let db = self.directory.path().join("runs.db");
        self.server = Some(Server::builder().with_addr(self.addr).with_db(db).start()?);
        Ok(())
    }

    /// The run that it has, as it has it now.
    pub(crate) fn run(&self) -> Result<Option<Trace>, Box<dyn Error>> {
        let Some(server) = &self.server else { return Ok(None) };
        let newest = server.traces(&TraceQuery::new().with_limit(1))?.traces.pop();
        let Some(id) = newest.and_then(|trace| trace.id) else { return Ok(None) };
        Ok(server.trace(&id)?)
    }
}
