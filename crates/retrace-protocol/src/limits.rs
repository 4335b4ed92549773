//! Constants that the protocol defines or that its official client uses, with their section in PROTOCOL.md.

use std::time::Duration;

/// Maximum nesting of a JSON value that is sent. Readers that build trees commonly stop at 128; half of that leaves room for
/// the enclosing value.
pub const JSON_DEPTH: usize = 64;

/// Maximum length of the `error` of a trace in characters (section 5.4). This project applies it to spans as well.
pub const ERROR_CHARS: usize = 2_000;

/// Time within which a client must send its `auth` frame after opening the socket (section 4).
pub const AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of a server's pings, and the time it waits for a `pong` (section 4).
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Default time that the official client flushes at exit (section 18).
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
