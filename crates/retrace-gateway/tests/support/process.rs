//! The command as a process of its own.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::support::HANG;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_retrace-gateway");

/// A gateway process, and the lines of its log.
pub(crate) struct Process {
    pub(crate) child: Child,
    lines: Receiver<Value>,
    pub(crate) http: String,
    pub(crate) admin: String,
}

impl Process {
    /// Starts the command with this configuration; returns when it is ready.
    pub(crate) fn start(config: &Path) -> Self {
        let mut command = Command::new(PROGRAM);
        command.arg("--config").arg(config);
        Self::spawn(command)
    }

    /// Starts a command that becomes a gateway.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.env("RETRACE_API_KEY", "rt_secret").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                assert!(!line.contains("rt_secret"), "{line}");
                let value = serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line.clone()));
                if sender.send(value).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let mut process = Self { child, lines, http: String::new(), admin: String::new() };
        let ready = process.line("the gateway is ready");
        process.http = ready["http"].as_str().unwrap().to_owned();
        process.admin = ready["admin"].as_str().unwrap().to_owned();
        process
    }

    /// Waits for a line of the log with this message; returns its fields.
    pub(crate) fn line(&self, message: &str) -> Value {
        self.event(message)["fields"].take()
    }

    /// Waits for a line of the log with this message; returns all of it.
    pub(crate) fn event(&self, message: &str) -> Value {
        let mut before = Vec::new();
        loop {
            let line =
                self.lines.recv_timeout(HANG).unwrap_or_else(|error| panic!("{error}, no {message:?} in {before:#?}"));
            if line["fields"]["message"] == message {
                return line;
            }
            before.push(line);
        }
    }

    /// Sends SIGTERM; returns when the process has ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the command to its end; returns its status and both outputs.
pub(crate) fn output(arguments: &[&str], variables: &[(&str, &str)]) -> (ExitStatus, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (child.wait().unwrap(), out, err)
}
