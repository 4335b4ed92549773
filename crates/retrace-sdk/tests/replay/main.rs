//! Replays, recordings and ceilings, with a client by hand: no socket is opened here.

mod ceilings;
mod failures;
mod forks;
mod memo;
mod offline;
mod provider;
#[path = "../support/mod.rs"]
mod support;
