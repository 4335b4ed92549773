#![doc = include_str!("../README.md")]

pub mod cassette;
mod diff;
mod fingerprint;
mod lane;
pub mod render;
mod response;
mod secrets;

pub use diff::{Diff, Difference, MAX_DIFFERENCES};
pub use fingerprint::{Fingerprint, redact, rename_ids};
pub use lane::{Lane, LaneNode, Segment};
pub use response::{Chunk, Response};
pub use secrets::Secrets;
