//! The soak in short. Alone in its process, as it counts what the process takes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::process::Command;

use integration_tests::soak::{Length, soak};

/// More than enough for memory to have reached the height at which it stays.
const RUNS: u64 = 700;

/// P32: what agents leave behind is bounded, whatever happens to their connections.
#[test]
fn pain_32_nothing_grows_and_nothing_is_unaccounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = Command::new(env!("CARGO_BIN_EXE_mortal-receiver"));
    let outcome = soak(Length::Runs(RUNS), 1, &mut receiver, dir.path(), |_, _, _| {});
    println!("{outcome:#?}");
    assert!(outcome.cuts > 0, "{outcome:?}");
    outcome.check().unwrap_or_else(|what| panic!("{what}\n{outcome:?}"));
}
