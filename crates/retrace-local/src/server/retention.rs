//! The thread that removes what is older, or more, than is to be kept.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::store::{Change, Outcome, Prune, WeakWriter};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(10);

/// What is kept; everything by default. Golden traces and those under way are kept always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Retention {
    /// How long a trace is kept after it began.
    pub(super) age: Option<Duration>,
    /// How large the database may be, in bytes.
    pub(super) max_bytes: Option<u64>,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(super) struct Pruning {
    _stop: mpsc::Sender<()>,
}

impl Retention {
    /// Returns true if nothing is ever removed.
    pub(super) const fn keeps_everything(self) -> bool {
        self.age.is_none() && self.max_bytes.is_none()
    }

    /// Starts the thread, if there is anything for it to do.
    pub(super) fn start(self, writer: WeakWriter) -> io::Result<Option<Pruning>> {
        if self.keeps_everything() {
            return Ok(None);
        }
        let (stop, stopped) = mpsc::channel();
        thread::Builder::new().name("retrace-local-prune".into()).spawn(move || {
            loop {
                // A database that fails now may work later; one that is closed ends the wait.
                let _ = self.make(&writer);
                match stopped.recv_timeout(EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Some(Pruning { _stop: stop }))
    }

    /// Removes, in small steps between which others write, until nothing is left to remove.
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
