//! Replays, recordings and ceilings, with a client by hand: no socket is opened here.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::await_holding_lock)]

mod ceilings;
mod enforcement;
mod failures;
mod forks;
mod memo;
mod offline;
mod provider;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the other tests. The pipeline and the only replay are of the process: a run that begins while another test shuts its
/// pipeline down keeps that one waiting.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
