//! Every number that the protocol fixes or that its official client uses, with its place in PROTOCOL.md.

use std::time::Duration;

/// Deepest nesting of a JSON value that leaves us. A reader that builds trees commonly stops at 128; half of that leaves
/// room for what the value is embedded in.
pub const JSON_DEPTH: usize = 64;

/// Longest `error` of a trace, in characters (section 5.4). Ours keeps to it for spans as well.
pub const ERROR_CHARS: usize = 2_000;

/// A client must send its `auth` frame within this time of opening the socket (section 4).
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a server pings, and how long it waits for the `pong` (section 4).
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long the official client flushes at exit unless told otherwise (section 18).
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
