//! Runs that are emitted while they happen: each rule by an example. What holds for all of them is in `live_properties.rs`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod endings;
mod limits;
mod stage;
mod steps;
mod totals;
