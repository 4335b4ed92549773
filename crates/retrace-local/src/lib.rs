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
//! Section numbers in this documentation are those of `docs/PROTOCOL.md`, the description of
//! the official SDK's traffic.
//!
//! | call | answer |
//! |---|---|
//! | `GET /ws/v1/stream` | a WebSocket for events, see below (sections 4 to 7) |
//! | `POST /api/v1/traces` | 201; 200 when it completes a run, see below; 409 when the id is taken; 400 with the field that is wrong (sections 9 and 22) |
//! | `GET /api/v1/traces?limit&offset&status&failed_spans` | the newest first, without spans and content |
//! | `GET /api/v1/traces/:id` | the trace with its spans, as sent; `?content=false` for its outline, `?spans=false` without |
//! | `GET /api/v1/traces/:id/spans/:span_id` | one span, as sent |
//! | `GET /api/v1/traces/:id/changes?after&live` | what is newer than `after` without content, once there is something ([`retrace_protocol::read::Changes`]) |
//! | `PATCH`, `DELETE /api/v1/traces/:id` | 200 and 204; 404 when there is none |
//! | `POST /api/v1/traces/:id/golden` | 200, also before the trace is there (section 20) |
//! | `GET /api/v1/traces/:id/eligibility` | whether the run can be replayed byte for byte, and what stands against it (section 12) |
//! | `GET /api/v1/traces/:id/cassette?format` | a recording of the run, as a file |
//! | `POST /api/v1/traces/:id/replay` | 202 when an agent was asked to replay the run (section 19) |
//! | `POST`, `GET /api/v1/forks`, `GET /api/v1/forks/:id` | forks, see below |
//! | `POST /api/v1/forks/:id/replay`, `…/replay/claim` | 202 when an agent was asked to execute the fork; its claims: 200, 409 |
//! | `GET /api/v1/forks/:id/diff`, `/api/v1/diff?a&b` | two runs compared |
//! | `POST /api/v1/enforcement/check` | the verdict of [`ServerBuilder::with_policies`]; `allow` without policies (section 20) |
//! | `GET /api/v1/enforcement/holds`, `/:id` | holds with their status; 404 for one that is not known |
//! | `POST /api/v1/enforcement/holds/:id` | `{"decision": "approve"}` or `"deny"`: 200; 409 when it is decided or has expired |
//! | `POST /api/v1/internal/logs` | 202; telemetry is thrown away |
//! | `POST /v1/traces`, `/v1/logs` | 200; spans and log records over OTLP, see below |
//! | `POST /v1/metrics` | 200; metrics are thrown away |
//! | `GET /` | the page |
//!
//! Whatever is refused is refused with a JSON reason, and nothing of it is stored.
//!
//! # Runs over a WebSocket
//! The first frame must be `auth`, within 5 s, and is answered by `auth_ok`, the first frame that is sent; a wrong key or
//! anything else closes with 4001. Events are acked one by one if the client asked for it, after the commit that stores
//! them; those that wait together are committed together. An event that is refused gets an `error` with the name of the
//! field and its `seq`, no ack, and stops nothing. A `ping` goes out every 30 s; without a `pong` for as long the close code
//! is 4002. An `Origin` closes with 4003, a frame above the limit for bodies with 1009, what is no text with 1003, what
//! could not be stored with 1011, and a stop of the receiver with 1001.
//!
//! **Events may come twice, late and in any order**, over one connection or several, and end in the same record: of all
//! that was said about a field, the word with the highest `seq` holds (without numbers, the last to come), and what an
//! event leaves out it does not change. A `trace_started` never takes back what an end said. A span whose trace is not
//! known is kept, can be asked for by itself, and shows when its trace comes, started, ended or uploaded; until then
//! there is no trace to list. The end of a span that never starts is no span. A `trace_ended` makes a trace of its own.
//!
//! **A run that began over a WebSocket and has not ended** has `live` beside its fields: `true` while a connection is open
//! that has sent events of it, `false` when there is none. It then is interrupted: its status stays `running`, for nobody
//! has said how it ended, and it goes on when its client comes back.
//!
//! **It is completed over HTTP** by a `PATCH`, or by a `POST` of the whole, which is merged into what is there by the rules
//! above and answered 200. The documentation leaves open what the hosted API does there (section 25, question 2); a
//! client whose socket is gone for good loses nothing this way. Every other `POST` of a known id, of a run that has ended
//! or that was posted before, is a 409.
//!
//! # What it promises
//! * What was answered with success is committed, but for what comes over OTLP. A file survives the process; the last moments before a crash of the
//!   *machine* may be lost.
//! * What is read back is what was sent: ids and times as text, numbers with all their digits, `null` where there was
//!   `null`. Fields that the protocol does not know are dropped; the bare words `NaN` and `Infinity`, which are no JSON,
//!   become `null` (section 3), and in a text half a surrogate pair becomes U+FFFD.
//! * It listens on loopback unless told otherwise, answers to its own name only, and lets no other site's page in.
//! * Bodies, connections, queues and waiting times are bounded.
//!
//! # Spans of other languages
//! Any application that sends OTLP over HTTP shows up: `OTEL_EXPORTER_OTLP_ENDPOINT` is [`Server::otlp_url`], the protocol
//! `http/protobuf` or `http/json`, plain or compressed with gzip or deflate. Where a key is asked for, it is asked for here
//! too, under the same names (`OTEL_EXPORTER_OTLP_HEADERS=x-retrace-key=…`). Spans become runs by the code of the exporter of
//! this project, with the options of [`ServerBuilder::with_otlp_options`]; log records that have a name and a span are events
//! of that span, others are passed over.
//!
//! Everything of one trace is one run, whichever services send it and however late. A run is stored a quarter of a second
//! after something of it came (later when it is long), as running until a local root has ended, and told anew when more comes.
//! What was answered is held in memory until then: a stop stores it, a crash loses it. A trace is held for ten minutes after
//! the last of it came, within [`ServerBuilder::with_otlp_bytes`]; what comes later, or after a restart, is added to the
//! stored run. A run that the Retrace wire told as well keeps the words of the wire, and has the spans of both.
//!
//! Requests are answered as OTLP asks, in their own encoding: 200 with the number of spans whose ids are malformed and
//! of records that cannot be read, and the reason, should there be any: such a record costs none of its neighbours; 400, 401, 413 and 415 with a `Status` that says why; 429 and 503 with `Retry-After` while the receiver cannot
//! take more.
//!
//! [`translate`] turns OTLP data into the runs that the exporter of this project would send, by the same code; the command
//! `retrace-local translate` prints them. It is also how a mapping is looked into.
//!
//! # Forks
//! A run is forked at one of its spans: `POST /api/v1/forks` stores what is changed there, and `POST /api/v1/forks/:id/replay` sends a
//! `resume` frame to a connection that authenticated with `resumable: true`: the newest that has recorded a run of the same name and
//! project, else of the same name, else the newest of all. Its agent claims the execution, and the run that it records is linked by
//! its metadata. The lease of an execution holds for [`ServerBuilder::DEFAULT_FORK_LEASE`] after it was started and after each claim;
//! then it is expired. A newer execution supersedes an older one, whose claims are answered 409. An agent whose connection closes
//! in the middle leaves an execution that failed; it goes on when it claims again or its run arrives. `docs/RECEIVER.md` has all
//! bodies and answers.
//!
//! # Comparisons
//! `GET /api/v1/diff?a&b` pairs the steps of two runs by type and name, and answers `{a, b, fork?, same, first_divergence?, counts, input?,
//! output?, error?, steps}`. A step is `{status, diverges, moved?, a?, b?, changes?}`, its status `same`, `changed`, `added`, `removed` or
//! `replayed`; each of its changes lists differences by JSON pointer, those of texts word by word. `docs/RECEIVER.md` has every member.
//!
//! # Cassettes
//! With the feature `replay`, `export_cassette` writes a stored run as a cassette, and `ReplayServer` is a provider that answers
//! clients of any language from one: `retrace-local cassette` and `retrace-local replay` are these two as commands.
//!
//! # What this does not do
//! It sends no `halt` frames. Without [`ServerBuilder::with_tls`] it encrypts nothing.

#[cfg(test)]
mod arbitrary;
#[cfg(feature = "replay")]
mod cassette_export;
mod diff;
mod fork;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod ingest;
mod otlp;
mod policy;
#[cfg(feature = "replay")]
mod provider;
mod query;
mod server;
mod store;
#[cfg(test)]
mod testing;

#[cfg(feature = "replay")]
pub use cassette_export::export_cassette;
pub use otlp::{OtlpError, Translated, translate};
pub use policy::{Policies, PolicyError};
#[cfg(feature = "replay")]
pub use provider::{Pace, ReplayServer, ReplayServerError, ReplaySettings};
pub use query::TraceQuery;
pub use server::{ReadError, Server, ServerBuilder, StartError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
