//! Replays, recordings and ceilings, with a client by hand: no socket is opened here.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod ceilings;
mod failures;
mod forks;
mod memo;
mod offline;
mod provider;
#[path = "../support/mod.rs"]
mod support;
