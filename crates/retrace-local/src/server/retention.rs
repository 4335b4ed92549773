//! The thread that removes runs above the limits of age and size.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::store::{Change, Outcome, Prune, WeakWriter};

/// Interval of the checks.
const EVERY: Duration = Duration::from_secs(10);

/// Limits of the stored runs; none by default. Golden runs and runs in progress are never removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Retention {
    /// Maximum age of a trace since its start.
    pub(super) age: Option<Duration>,
    /// Maximum size of the database, in bytes.
    pub(super) max_bytes: Option<u64>,
}

/// Handle of the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Pruning {
    _stop: mpsc::Sender<()>,
}

impl Retention {
    /// Returns true if nothing is ever removed.
    pub(super) const fn keeps_everything(self) -> bool {
        self.age.is_none() && self.max_bytes.is_none()
    }

    /// Starts the thread, if a limit is set.
    pub(super) fn start(self, writer: WeakWriter) -> io::Result<Option<Pruning>> {
        if self.keeps_everything() {
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        thread::Builder::new().name("retrace-local-prune".into()).spawn(move || {
            loop {
                // A check that fails is repeated after the interval.
                let _ = self.make(&writer);
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Some(Pruning { _stop: stop }))
    }

    /// Removes runs until none is above the limits, in small steps between which other changes are committed.
    fn make(self, writer: &WeakWriter) -> Result<(), crate::store::StoreError> {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let now = micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let before = self.age.map(|age| now.saturating_sub(micros(age)));
        let prune = Prune { now, before, max_bytes: self.max_bytes };
        while writer.write(Change::Prune(prune))? == Outcome::Done {}
        while writer.write(Change::GiveBack)? == Outcome::Done {}
        Ok(())
    }
}
