//! State that each process has for itself after a fork.
//!
//! The child of a fork has a copy of all memory and none of the threads: the copied queue has no worker, a
//! lock that another thread held stays locked, and the waiting data is the parent's to send. The child
//! therefore touches none of it and starts with new state.

use std::sync::OnceLock;

/// Identity of the process that created it. The check reads one counter, which the system increments in the
/// child of a fork.
///
/// A fork that bypasses the C library, by a bare system call, is not detected.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// `None` when the system does not report forks.
    #[cfg(unix)]
    guard: Option<forkguard::atfork::Guard>,
}

impl Process {
    /// Returns the identity of this process.
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(unix)]
            guard: forkguard::atfork::Guard::try_new().ok(),
        }
    }

    /// Returns true if this process is a child forked after the value was created.
    #[cfg(unix)]
    pub(crate) fn is_left(&self) -> bool {
        self.guard.clone().is_some_and(|mut guard| guard.detected_fork())
    }

    /// This system has no fork.
    #[cfg(not(unix))]
    #[expect(clippy::unused_self, reason = "there are systems that fork")]
    pub(crate) fn is_left(&self) -> bool {
        false
    }
}

/// Value that exists once per process.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    process: Process,
    value: T,
    /// Value of the child.
    next: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    /// Creates it with the value of this process.
    pub(crate) fn new(value: T) -> Self {
        Self { process: Process::current(), value, next: OnceLock::new() }
    }

    /// Returns the value of this process. In the child of a fork `afresh` creates it from the parent's value,
    /// whose shared state must not be touched.
    pub(crate) fn here(&self, afresh: impl Fn(&T) -> T) -> &T {
        let mut here = self;
        while here.process.is_left() {
            here = here.next.get_or_init(|| Box::new(Self::new(afresh(&here.value))));
        }
        &here.value
    }

    /// Returns the value of this process, or `None` in the child of a fork that has none yet.
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
