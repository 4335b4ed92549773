//! A local Retrace: the receiver of the protocol, a SQLite database, and a page to inspect runs.
//!
//! It needs no account and no network: any client of Retrace connects to [`Server::url`], and the receiver stores the
//! runs that it sends. As a library it is embedded in tests and examples; the command `retrace-local serve` is the same
//! server with a fixed address.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! let server = retrace_local::Server::start()?; // a free port of 127.0.0.1, in memory, any key
//!
//! // Any client works; this one is written by hand.
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
//! # API
//! Section numbers in this documentation refer to `docs/PROTOCOL.md`, which describes the traffic of the official SDK.
//!
//! | request | response |
//! |---|---|
//! | `GET /ws/v1/stream` | a WebSocket for events, see below (sections 4 to 7) |
//! | `POST /api/v1/traces` | 201; 200 when it completes a run, see below; 409 when the id exists; 400 with the invalid field (sections 9 and 22) |
//! | `GET /api/v1/traces?limit&offset&status&failed_spans` | the newest first, without spans and content; see below for more parameters |
//! | `GET /api/v1/traces/:id` | the trace with its spans, as sent; `?content=false` for its outline, `?spans=false` without |
//! | `GET /api/v1/traces/:id/spans/:span_id` | one span, as sent |
//! | `GET /api/v1/traces/:id/changes?after&live` | the changes after the version `after`, without content, as a long poll ([`retrace_protocol::read::Changes`]) |
//! | `PATCH`, `DELETE /api/v1/traces/:id` | 200 and 204; 404 when the trace does not exist |
//! | `POST /api/v1/traces/:id/golden` | 200, also before the trace exists (section 20) |
//! | `GET /api/v1/traces/:id/conversation`, `…/spans/:span_id/conversation` | its messages in one shape, with Markdown as a tree |
//! | `GET /api/v1/traces/:id/otlp` | the trace as OTLP JSON |
//! | `GET /api/v1/sessions`, `/api/v1/numbers?zone`, `/api/v1/values` | sessions, figures, and the values of filters |
//! | `POST /api/v1/bulk/delete`, `/api/v1/bulk/export` `{"ids":[…]}` | the number of removed runs; one trace per line. At most 1,000 ids |
//! | `GET /api/v1/traces/:id/eligibility` | the eligibility of the run for a byte-exact replay, and the reasons if it cannot (section 12) |
//! | `GET /api/v1/traces/:id/cassette?format` | a recording of the run, as a file |
//! | `POST /api/v1/traces/:id/replay` | 202 when a `replay` frame was sent to an agent (section 19) |
//! | `POST`, `GET /api/v1/forks`, `GET /api/v1/forks/:id` | forks, see below |
//! | `POST /api/v1/forks/:id/replay`, `…/replay/claim` | 202 when a `resume` frame was sent to an agent; its claims: 200, 409 |
//! | `GET /api/v1/forks/:id/diff`, `/api/v1/diff?a&b` | two runs compared |
//! | `POST /api/v1/enforcement/check` | the verdict of [`ServerBuilder::with_policies`]; `allow` without policies (section 20) |
//! | `GET /api/v1/enforcement/holds`, `/:id` | holds with their status; 404 for an unknown hold |
//! | `POST /api/v1/enforcement/holds/:id` | `{"decision": "approve"}` or `"deny"`: 200; 409 when it is decided or has expired |
//! | `POST /api/v1/internal/logs` | 202; telemetry is discarded |
//! | `POST /v1/traces`, `/v1/logs` | 200; spans and log records over OTLP, see below |
//! | `POST /v1/metrics` | 200; metrics are discarded |
//! | `GET /` | the page |
//!
//! Each refused request is answered with a JSON reason, and none of its data is stored.
//!
//! # Finding runs
//! The list, the sessions and the figures accept the same parameters, and each parameter adds a condition: `q` (words
//! that all occur in names, inputs, outputs or errors; the last one may be a prefix), `status`, `from` and `to`
//! (times), `model`, `tool`, `agent` and `tag` (repeatable: one of the values), `session`, `user`, `environment`,
//! `min_` and `max_` of `cost`, `tokens`, `ms` and `spans`, `has_error`, `golden`. The list also has an order: `sort`
//! by `started`, `duration`, `tokens`, `cost`, `spans`, `name` or `status`, and `order=asc`.
//!
//! An index answers these queries. A thread updates it after each commit. A query waits at most one second for the
//! index, and its answer has `"incomplete": true` if some runs are not indexed by then. The index covers 512 KiB of
//! text per run and 64 KiB per text; of a run in progress it covers names and errors.
//!
//! # Runs over a WebSocket
//! The first frame must be `auth`, within 5 s; the first response is `auth_ok`. A wrong key or another first frame
//! closes the connection with 4001. If the client requests acks, each event is acked after the commit that stores it;
//! events that wait in the queue are committed together. A rejected event is answered by an `error` with the name of
//! the field and its `seq`; it gets no ack, and the session continues. The server sends a `ping` every 30 s; without a
//! `pong` within 30 s it closes with 4002. A connection with an `Origin` closes with 4003, a frame above the body limit
//! with 1009, a frame that is not text with 1003, a failed commit with 1011, and a stop of the receiver with 1001.
//!
//! **Events may arrive twice, late and in any order**, over one connection or several, and lead to the same record: the
//! event with the highest `seq` determines a field (without numbers, the latest to arrive), and a field that is absent
//! from an event is unchanged. A `trace_started` never overrides a `trace_ended`. A span of an unknown trace is stored,
//! can be requested by its id, and is part of its trace once that is started, ended or uploaded; until then the trace
//! is not listed. The end of a span that never starts is not a span. A `trace_ended` creates its trace.
//!
//! **A run that began over a WebSocket and has not ended** has `live` beside its fields: `true` while a connection is
//! open that has sent events of it, otherwise `false`. In that case the run is interrupted: its status stays `running`,
//! because no end has arrived, and it continues when its client reconnects.
//!
//! **Such a run is completed over HTTP** by a `PATCH`, or by a `POST` of the whole run, which is merged by the rules
//! above and answered 200. The protocol documentation does not define the behavior of the hosted API in this case
//! (section 25, question 2); a client that loses its WebSocket for good loses no data this way. Every other `POST` of a
//! known id, of a run that has ended or that was posted before, is answered 409.
//!
//! # Guarantees
//! * Data that was answered with success is committed, except for OTLP. A database file survives the process; the last
//!   moments before a crash of the *machine* may be lost.
//! * Records are read back as they were sent: ids and times as text, numbers with all their digits, `null` where there
//!   was `null`. Fields that the protocol does not define are dropped; the bare words `NaN` and `Infinity`, which are
//!   not valid JSON, become `null` (section 3), and an unpaired surrogate in a text becomes U+FFFD.
//! * The server listens on loopback by default, accepts requests only under its own host name, and rejects requests
//!   from pages of other sites.
//! * Bodies, connections, queues and waiting times are bounded. The database is bounded with
//!   [`ServerBuilder::with_keep`] and [`ServerBuilder::with_max_db_bytes`].
//!
//! # Spans of other languages
//! Any application that sends OTLP over HTTP can record runs: `OTEL_EXPORTER_OTLP_ENDPOINT` is [`Server::otlp_url`],
//! the protocol `http/protobuf` or `http/json`, plain or compressed with gzip or deflate. If the server requires an API
//! key, OTLP requests require it too, under the same header names (`OTEL_EXPORTER_OTLP_HEADERS=x-retrace-key=…`). The
//! translation of spans into runs is that of this project's exporter, with the options of
//! [`ServerBuilder::with_otlp_options`]; log records that have a name and a span are events of that span, others are
//! ignored.
//!
//! All spans of one trace form one run, from any number of services and at any delay. A run is stored a quarter of a
//! second after its first data arrives (later if it is long), with status `running` until a local root has ended, and
//! is updated when more arrives. Until then accepted data is only in memory: a stop stores it, a crash loses it. A
//! trace stays in memory for ten minutes after its last data, within [`ServerBuilder::with_otlp_bytes`]; data that
//! arrives later, or after a restart, is added to the stored run. A run that also arrived over the Retrace wire
//! protocol keeps the fields of that protocol, and has the spans of both.
//!
//! Requests are answered as the OTLP specification requires, in their own encoding: 200 with a partial success that has
//! the number of spans with malformed ids and of records that cannot be decoded, and the reason (the other records of
//! the request are accepted); 400, 401, 413 and 415 with a `Status` that has the reason; 429 and 503 with `Retry-After`
//! while the receiver is overloaded.
//!
//! [`translate`] converts OTLP data into the runs that the exporter of this project would send, with the same code; the
//! command `retrace-local translate` prints them, for example to inspect a mapping.
//!
//! # Forks
//! A run is forked at one of its spans: `POST /api/v1/forks` stores the changes, and `POST /api/v1/forks/:id/replay`
//! sends a `resume` frame to a connection that authenticated with `resumable: true`: the newest that has recorded a run
//! of the same name and project, else of the same name, else the newest of all. Its agent claims the execution, and the
//! run that it records is linked by its metadata. The lease of an execution lasts for
//! [`ServerBuilder::DEFAULT_FORK_LEASE`] after its start and after each claim; then the execution is expired. A newer
//! execution supersedes an older one, whose claims are answered 409. If the connection of an agent closes before its
//! run has ended, the execution has failed; it continues when the agent claims it again or the run arrives.
//! `docs/RECEIVER.md` describes all bodies and responses.
//!
//! # Comparisons
//! `GET /api/v1/diff?a&b` pairs the steps of two runs by type and name. The response is `{a, b, fork?, same,
//! first_divergence?, counts, input?, output?, error?, steps}`. A step is `{status, diverges, moved?, a?, b?,
//! changes?}` with the status `same`, `changed`, `added`, `removed` or `replayed`; its changes are differences by JSON
//! pointer, those of texts word by word. `docs/RECEIVER.md` describes every member.
//!
//! # Cassettes
//! With the feature `replay`, `export_cassette` writes a stored run as a cassette, and `ReplayServer` is a provider
//! that answers clients of any language from a cassette: `retrace-local cassette` and `retrace-local replay` are the
//! same functions as commands.
//!
//! # Limitations
//! The server sends no `halt` frames. Without [`ServerBuilder::with_tls`] connections are not encrypted.

#[cfg(test)]
mod arbitrary;
#[cfg(feature = "replay")]
mod cassette_export;
mod conversation;
mod diff;
mod fork;
#[cfg(feature = "_fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod ingest;
mod otlp_export;
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
pub use policy::{Policies, PolicyError};
#[cfg(feature = "replay")]
pub use provider::{Pace, ReplayServer, ReplayServerError, ReplaySettings};
pub use query::TraceQuery;
pub use retrace_otlp::{OtlpError, Translated, translate};
pub use server::{ReadError, Server, ServerBuilder, StartError};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
