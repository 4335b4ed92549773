//! Registry of live runs: those of which an open connection has sent events.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use retrace_protocol::read::Stored;
use retrace_protocol::{Id, Trace};
use tokio::sync::watch;

/// Largest number of live runs of one connection; further runs are stored, but not shown as live.
const MAX_RUNS: usize = 10_000;

/// The live runs, each with its number of connections. In memory only: after a restart no connection is open.
#[derive(Debug, Default)]
pub(in crate::server) struct Live {
    runs: Mutex<HashMap<Id, usize>>,
    news: watch::Sender<()>,
}

/// The live runs of one connection, or of the OTLP recorder. When it is dropped, its runs are no longer live through
/// it.
#[derive(Debug)]
pub(in crate::server) struct ChangeNotifier {
    live: Arc<Live>,
    runs: HashSet<Id>,
}

impl Live {
    /// Registers a connection.
    pub(in crate::server) fn notifier(self: &Arc<Self>) -> ChangeNotifier {
        ChangeNotifier { live: Arc::clone(self), runs: HashSet::new() }
    }

    /// Sets `live` of a run that may be live.
    pub(in crate::server) fn mark(&self, trace: &mut Stored<Trace>) {
        if let (Some(live), Some(id)) = (&mut trace.live, &trace.record.id) {
            *live = self.runs().contains_key(id);
        }
    }

    /// Returns a receiver that is notified when a run becomes live or ceases to be.
    pub(in crate::server) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<Id, usize>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeNotifier {
    /// Marks a run as live: the connection has sent an event of it.
    pub(in crate::server) fn changed(&mut self, run: &Id) {
        if self.runs.contains(run) || self.runs.len() >= MAX_RUNS {
            return;
        }
        self.runs.insert(run.clone());
        *self.live.runs().entry(run.clone()).or_default() += 1;
        self.live.news.send_replace(());
    }

    /// Marks a run as ended.
    pub(in crate::server) fn ends(&mut self, run: &Id) {
        if self.runs.remove(run) {
            self.live.leave(std::iter::once(run));
        }
    }
}

impl Live {
    fn leave<'a>(&self, left: impl Iterator<Item = &'a Id>) {
        let mut runs = self.runs();
        for run in left {
            if let Some(connections) = runs.get_mut(run) {
                *connections -= 1;
                if *connections == 0 {
                    runs.remove(run);
                }
            }
        }
        drop(runs);
        self.news.send_replace(());
    }
}

impl Drop for ChangeNotifier {
    fn drop(&mut self) {
        self.live.leave(self.runs.iter());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_live(live: &Live, id: &str) -> bool {
        let record = Trace { id: Some(id.into()), ..Trace::default() };
        let mut stored = Stored { record, live: Some(false), ..Stored::default() };
        live.mark(&mut stored);
        stored.live.unwrap()
    }

    #[test]
    fn a_run_is_live_while_anyone_tells_it() {
        let live = Arc::new(Live::default());
        let mut news = live.news();
        let (mut one, mut other) = (live.notifier(), live.notifier());
        one.changed(&"t".into());
        one.changed(&"t".into());
        other.changed(&"t".into());
        one.changed(&"u".into());
        assert!(news.has_changed().unwrap());
        drop(other);
        assert!(is_live(&live, "t") && is_live(&live, "u") && !is_live(&live, "v"));
        one.ends(&"u".into());
        assert!(is_live(&live, "t") && !is_live(&live, "u"));
        news.mark_unchanged();
        drop(one);
        assert!(!is_live(&live, "t") && news.has_changed().unwrap());
        assert!(live.runs().is_empty(), "nothing is kept of what is over");
    }

    #[test]
    fn a_run_that_cannot_be_live_is_not() {
        let live = Arc::new(Live::default());
        let mut notifier = live.notifier();
        notifier.changed(&"t".into());
        let mut ended = Stored { record: Trace { id: Some("t".into()), ..Trace::default() }, ..Stored::default() };
        live.mark(&mut ended);
        assert_eq!(ended.live, None);
        for run in 0..2 * MAX_RUNS {
            notifier.changed(&run.to_string().as_str().into());
        }
        assert_eq!(live.runs().len(), MAX_RUNS);
    }
}
