//! The other side: a receiver in a process of its own that tells how much CPU time it has taken.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use retrace_local::Server;

use crate::sink;

/// Who receives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Confirms, and stores nothing.
    Sink,
    /// `retrace-local`, its database in memory.
    Memory,
    /// `retrace-local`, its database in a file.
    File,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sink => "sink",
            Self::Memory => "memory",
            Self::File => "file",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        [Self::Sink, Self::Memory, Self::File].into_iter().find(|side| side.name() == name).unwrap()
    }
}

/// Prints its address, and after every line that it reads the CPU time so far in seconds, until there is no more.
pub(crate) fn serve(side: Side) {
    let directory = tempfile::tempdir().unwrap();
    let server = match side {
        Side::Sink => None,
        Side::Memory => Some(Server::builder().start().unwrap()),
        Side::File => Some(Server::builder().with_db(directory.path().join("runs.db")).start().unwrap()),
    };
    let url = server.as_ref().map_or_else(|| sink::start(|_| ()), |server| server.url().to_owned());
    println!("{url}");
    for _ in std::io::stdin().lines() {
        println!("{}", cpu_seconds());
    }
}

/// User and system time of all threads of this process, those that have ended too.
pub(crate) fn cpu_seconds() -> f64 {
    cpu_time::ProcessTime::now().as_duration().as_secs_f64()
}

/// Such a process, which goes with this value.
#[derive(Debug)]
pub(crate) struct Other {
    process: Child,
    asks: ChildStdin,
    says: BufReader<ChildStdout>,
    pub url: String,
}

impl Other {
    pub(crate) fn start(side: Side) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--serve", side.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let asks = process.stdin.take().unwrap();
        let mut says = BufReader::new(process.stdout.take().unwrap());
        let url = line(&mut says);
        Self { process, asks, says, url }
    }

    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        writeln!(self.asks).unwrap();
        line(&mut self.says).parse().unwrap()
    }
}

fn line(says: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    says.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
