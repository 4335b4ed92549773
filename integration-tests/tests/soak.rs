//! The soak in short. Alone in its process, as it counts what the process takes.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use integration_tests::soak::soak;

/// P32: what agents leave behind is bounded, whatever happens to their connections.
#[test]
fn pain_32_nothing_grows_and_nothing_is_unaccounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut receiver = Command::new(env!("CARGO_BIN_EXE_mortal-receiver"));
    let outcome = soak(Duration::from_secs(20), 1, &mut receiver, dir.path(), |_, _, _| {});
    assert!(outcome.cuts > 0, "{outcome:?}");
    outcome.check().unwrap_or_else(|what| panic!("{what}\n{outcome:?}"));
}
