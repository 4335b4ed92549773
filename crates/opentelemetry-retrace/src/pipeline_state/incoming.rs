//! Messages of a connection.

use retrace_protocol::{Ack, ServerFrame};

use crate::delivery::Closed;
use crate::remote::Command;

/// Message of a connection.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The API key is accepted.
    Open,
    /// Acks that arrived together, in their order.
    Acks(Vec<Ack>),
    /// A frame other than `auth_ok`, `ping` and `ack`.
    Frame(ServerFrame),
    /// A command, and the bytes of its frame.
    Command(Command, usize),
    /// Description of a message that is no frame.
    Odd(String),
    /// The connection has ended; no message follows.
    Closed(Closed),
}
