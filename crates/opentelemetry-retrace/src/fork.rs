//! What a process keeps for itself when it forks.
//!
//! The child of a fork has a copy of everything and none of the threads: a worker that is not there empties no queue, a
//! lock that another thread held stays held, and what waits in memory is the parent's to send. So the child touches nothing
//! of that and begins afresh.

use std::sync::OnceLock;

/// The process in which it was made. To ask costs one look at a counter, which the system raises in the child of a fork.
///
/// A process that is forked past the C library, by a bare system call, is not told from its parent.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// Nothing when the system does not tell of forks.
    #[cfg(unix)]
    guard: Option<forkguard::atfork::Guard>,
}

impl Process {
    /// This one.
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(unix)]
            guard: forkguard::atfork::Guard::try_new().ok(),
        }
    }

    /// Whether this is a child of it by now.
    #[cfg(unix)]
    pub(crate) fn is_left(&self) -> bool {
        self.guard.clone().is_some_and(|mut guard| guard.detected_fork())
    }

    /// Nothing forks here.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "there are systems that fork")]
    pub(crate) fn is_left(&self) -> bool {
        false
    }
}

/// A value of which every process has its own.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    process: Process,
    value: T,
    /// That of the child.
    next: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    /// With the value of this process.
    pub(crate) fn new(value: T) -> Self {
        Self { process: Process::current(), value, next: OnceLock::new() }
    }

    /// The value of this process. In the child of a fork it is made `afresh` by what the parent had; what that had in memory
    /// is to be left alone.
    pub(crate) fn here(&self, afresh: impl Fn(&T) -> T) -> &T {
        let mut here = self;
        while here.process.is_left() {
            here = here.next.get_or_init(|| Box::new(Self::new(afresh(&here.value))));
        }
        &here.value
    }

    /// The value of this process, unless it is the child of a fork that has none yet.
    pub(crate) fn present(&self) -> Option<&T> {
        let mut here = self;
        while here.process.is_left() {
            here = here.next.get()?;
        }
        Some(&here.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_fork_keeps_what_it_has() {
        let value = PerProcess::new(7);
        assert!(!value.process.is_left());
        assert_eq!((value.here(|_| 8), value.present()), (&7, Some(&7)));
    }
}
