//! Runs on their way to the receiver: one ledger, two transports.
//!
//! Pure: no clock, no socket, no thread. Events of runs go in as records, which are encoded once. The [`Ledger`] holds
//! each run in one [`run_buffer::RunBuffer`] until all of it is confirmed, spooled or lost. Frames ([`ws_frames`]) and
//! bodies ([`http_body`]) are views on it, and the transport policy decides which of the two carries a run: a
//! fallback copies no record and reads none again. Only a record that the receiver rejects as it is, by 409 or 413, and
//! a record of the spool are decoded.

mod body;
mod closing;
mod connection;
mod deadlines;
mod encoded_span;
mod exchange;
mod handover;
mod http_body;
mod ledger;
mod notice;
mod record;
mod request;
mod requests;
mod retry;
mod room;
mod run_buffer;
mod spooling;
mod streamed;
mod transport_policy;
mod truncate;
mod ws_frames;

#[cfg(test)]
mod tests;

pub(crate) use self::body::Body;
#[cfg(test)]
pub(crate) use self::encoded_span::EncodedSpan;
pub(crate) use self::encoded_span::RunEncoder;
pub(crate) use self::exchange::{Answer, CloseReason, Closed, Method, Sending};
pub(crate) use self::ledger::{Ledger, LedgerLimits, Mark};
pub(crate) use self::notice::{Cause, Notice};
pub(crate) use self::record::RecordName;
pub(crate) use self::retry::{Verdict, verdict};
pub(crate) use self::spooling::Leaving;
pub(crate) use self::ws_frames::Written;
