//! Lease of a fork: claimed before the fork runs, and again while it runs.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

/// Answer of the receiver to the claim of a fork.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Claim {
    /// The fork may run while this lease is kept.
    Held(Lease),
    /// A newer replay has taken its place.
    Superseded,
    /// The worker that claims forks is gone.
    ShutDown,
}

/// Claimed fork. It is claimed again in each interval until the lease is dropped.
#[derive(Debug)]
pub struct Lease {
    superseded: oneshot::Receiver<()>,
}

impl Lease {
    /// Waits until a newer replay takes the fork's place. Never returns while none does.
    pub async fn superseded(&mut self) {
        match (&mut self.superseded).await {
            Ok(()) => {}
            // The worker is gone, and the fork is no longer claimed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Result of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// Any result except a 409.
    Yes,
    No,
}

/// Claims once, and again in each interval for as long as the lease is kept.
pub(super) async fn hold<F: Future<Output = Claimed>>(
    claim: impl Fn() -> F,
    interval: Duration,
    reply: oneshot::Sender<Claim>,
) {
    if claim().await == Claimed::No {
        let _ = reply.send(Claim::Superseded);
        return;
    }
    let (mut supersede, superseded) = oneshot::channel();
    if reply.send(Claim::Held(Lease { superseded })).is_err() {
        return;
    }
    loop {
        tokio::select! {
            () = supersede.closed() => return,
            () = sleep(interval) => {}
        }
        if claim().await == Claimed::No {
            let _ = supersede.send(());
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::super::HEARTBEAT;
    use super::*;

    /// Holds a lease against a receiver that answers 409 to the claim of this number, from 0.
    async fn run(superseded_at: Option<u32>, dropped_after: Option<Duration>) -> (u32, Duration, bool) {
        let claims = Cell::new(0);
        let claim = || {
            let number = claims.replace(claims.get() + 1);
            ready(if Some(number) == superseded_at { Claimed::No } else { Claimed::Yes })
        };
        let (reply, claimed) = oneshot::channel();
        let began = Instant::now();
        let run = async {
            let Ok(Claim::Held(mut lease)) = claimed.await else { return true };
            match dropped_after {
                Some(after) => tokio::time::timeout(after, lease.superseded()).await.is_ok(),
                None => {
                    lease.superseded().await;
                    true
                }
            }
        };
        let ((), superseded) = tokio::join!(hold(claim, HEARTBEAT, reply), run);
        (claims.get(), began.elapsed(), superseded)
    }

    fn paused() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    proptest! {
        #[test]
        fn a_fork_is_claimed_in_each_interval_until_a_409_or_its_end(
            superseded_at in proptest::option::of(0_u32..6),
            runs_for in 0_u64..1_500,
        ) {
            let runs_for = Duration::from_secs(runs_for);
            let (claims, took, superseded) = paused().block_on(run(superseded_at, Some(runs_for)));
            let in_time = u32::try_from(runs_for.as_secs() / HEARTBEAT.as_secs()).unwrap();
            // At the same moment either may come first.
            prop_assume!(superseded_at.is_none_or(|at| HEARTBEAT * at != runs_for || at == 0));
            prop_assume!(!runs_for.as_secs().is_multiple_of(HEARTBEAT.as_secs()) || superseded_at == Some(0));
            match superseded_at.filter(|at| *at <= in_time) {
                Some(at) => prop_assert_eq!((claims, took.as_secs(), superseded), (at + 1, u64::from(at) * 300, true)),
                None => prop_assert_eq!((claims, superseded), (in_time + 1, false)),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_replay_ends_the_lease_at_the_second_claim() {
        assert_eq!(run(Some(1), None).await, (2, HEARTBEAT, true));
    }
}
