//! Constants of the unit tests.

use std::time::Duration;

/// Limit of every wait in real time, far above what the slowest machine takes: a test that reaches it hangs.
pub(crate) const HANG: Duration = Duration::from_secs(120);
