//! A local Retrace: the receiving half of the protocol, SQLite below it, and a page to look at runs.
//!
//! No account, no network: point any client of Retrace at [`Server::url`], and what it sends is kept here. As a library it
//! is embedded in tests and examples; the command `retrace-local serve` is the same server with a fixed address.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! let server = retrace_local::Server::start()?; // a free port of 127.0.0.1, in memory, any key
//!
//! // Any client will do; this one is written by hand.
//! let run = r#"{"id":"t","status":"completed","started_at":"2026-01-02T03:04:05Z","spans":[]}"#;
//! let mut client = TcpStream::connect(server.addr())?;
//! write!(client, "POST /api/v1/traces HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n")?;
//! write!(client, "content-type: application/json\r\ncontent-length: {}\r\n\r\n{run}", run.len())?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 201 Created"));
//!
//! let trace = server.wait_for_end(&"t".into(), Duration::from_secs(5))?.expect("it was stored");
//! assert_eq!(trace.spans, Some(Vec::new()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it answers
//! Section numbers in this documentation are those of PROTOCOL.md, the description of the official SDK's traffic.
//!
//! | call | answer |
//! |---|---|
//! | `POST /api/v1/traces` | 201; 409 when the id is taken; 400 with the field that is wrong (sections 9 and 22) |
//! | `GET /api/v1/traces?limit&offset&status` | the newest first, without spans and content |
//! | `GET /api/v1/traces/:id` | the trace with its spans, as sent; `?content=false` for its outline, `?spans=false` without |
//! | `GET /api/v1/traces/:id/spans/:span_id` | one span, as sent |
//! | `PATCH`, `DELETE /api/v1/traces/:id` | 200 and 204; 404 when there is none |
//! | `POST /api/v1/traces/:id/golden` | 200, also before the trace is there (section 20) |
//! | `POST /api/v1/enforcement/check` | `allow`: there are no policies here |
//! | `POST /api/v1/internal/logs` | 202; telemetry is thrown away |
//! | `GET /ws/v1/stream` | live events over a WebSocket, each acknowledged when it is stored (sections 4 to 7) |
//! | `GET /` | the page |
//!
//! Whatever is refused is refused with a JSON reason, and nothing of it is stored.
//!
//! # What it promises
//! * What was answered with success is committed. A file survives the process; the last moments before a crash of the
//!   *machine* may be lost.
//! * What is read back is what was sent: ids and times as text, numbers with all their digits, `null` where there was
//!   `null`. Fields that the protocol does not know are dropped; the bare words `NaN` and `Infinity`, which are no JSON,
//!   become `null` (section 3), and in a text half a surrogate pair becomes U+FFFD.
//! * It listens on loopback unless told otherwise, answers to its own name only, and lets no other site's page in.
//! * Bodies, connections, queues and waiting times are bounded.
//!
//! # Spans of other languages
//! [`translate`] turns OTLP data into the runs that the exporter of this project would send, by the same code; the command
//! `retrace-local translate` prints them. It is also how a mapping is looked into.
//!
//! # What this does not do
//! Forks, replays, enforcement policies, and receiving OTLP. It encrypts nothing: where others can
//! reach it, put something in front of it that does.

#[cfg(test)]
mod arbitrary;
mod ingest;
mod otlp;
mod query;
mod server;
mod store;

pub use otlp::{OtlpError, Translated, translate};
pub use query::TraceQuery;
pub use server::{ReadError, Server, ServerBuilder, StartError};
