#![doc = include_str!("../README.md")]

mod arguments_hash;
mod call_id;
pub mod cassette;
mod columns;
mod diff;
mod document;
mod fingerprint;
pub mod golden;
mod lane;
mod limits;
mod mode;
mod refusal;
pub mod render;
pub mod replay;
pub mod report;
mod request;
mod response;
mod secrets;
mod token_check;
mod tolerance;

pub use arguments_hash::arguments_hash;
pub use diff::{Diff, Difference, MAX_DIFFERENCES};
pub use fingerprint::{Fingerprint, redact, rename_ids};
pub use lane::{Lane, LaneNode, Segment};
pub use limits::{EnforcementError, Limits, LimitsError, Used, Verdict, dollars};
pub use request::CleanRequest;
pub use response::{Chunk, Response};
pub use secrets::Secrets;
pub use token_check::{Mismatch, StreamedCheck, TokenCheck, TokenReport, response_tokens};
pub use tolerance::{Check, Rule, Tolerance};
