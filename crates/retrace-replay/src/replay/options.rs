//! Settings of a replay.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::fork::Fork;
use crate::mode::Mode;
use crate::tolerance::Tolerance;

/// Changes a request before it is compared, such as by removing a time. Applied to recorded and to live requests alike.
pub type Normalize = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// Settings of a replay.
#[derive(Clone, Default)]
pub struct Options {
    /// Decision on a call that the cassette does not answer.
    pub mode: Mode,
    /// Point from which the run is live.
    pub fork: Option<Fork>,
    /// Changes requests before they are compared.
    pub normalize: Option<Normalize>,
    /// Names of steps with effects on the world that may run after the fork point with other arguments.
    pub allowed: BTreeSet<String>,
    /// Differences that are no divergence.
    pub tolerance: Tolerance,
    /// Recorded model calls go out, and the token ids of their responses are compared with the recorded ones.
    pub verify: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Options");
        fields.field("mode", &self.mode).field("fork", &self.fork).field("allowed", &self.allowed);
        fields
            .field("tolerance", &self.tolerance)
            .field("verify", &self.verify)
            .field("normalize", &self.normalize.is_some())
            .finish()
    }
}
