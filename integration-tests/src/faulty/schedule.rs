//! What goes wrong, and when: drawn from a seed, or written down.

use std::collections::VecDeque;
use std::time::Duration;

/// What goes wrong with one WebSocket.
#[derive(Clone, Copy, Debug, Default)]
pub enum StreamFault {
    /// Nothing.
    #[default]
    None,
    /// Reset before the upgrade is answered.
    ResetUpgrade,
    /// Reset after the upgrade, before anything is read.
    ResetUpgraded,
    /// The key is passed on, and the connection reset before the receiver's answer comes through.
    ResetAuth,
    /// Ended after so many text frames.
    Cut {
        /// Whose frames count.
        way: Way,
        /// How many.
        after: usize,
        /// By a reset, rather than in good order of TCP.
        reset: bool,
    },
    /// Nothing passes for a while.
    Stall {
        /// After so many frames of the client.
        after: usize,
        /// How long.
        pause: Duration,
    },
    /// Nothing passes any more, and nothing says so. Ended when the proxy heals.
    HalfOpen {
        /// After so many frames of the client.
        after: usize,
    },
    /// Acks are spoilt, until the connection is reset.
    Acks {
        /// How.
        how: Acks,
        /// After so many frames of the receiver.
        cut: usize,
    },
    /// The client's frames are read slowly.
    SlowReader,
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client.
    Up,
    /// From the receiver.
    Down,
}

/// What happens to acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Every third is dropped.
    Drop,
    /// All of them are dropped.
    DropAll,
    /// Each comes twice, and some old ones again.
    Duplicate,
    /// Some at a time come in another order.
    Reorder,
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, Default)]
pub enum RequestFault {
    /// Nothing.
    #[default]
    None,
    /// Answered so, and not passed on.
    Status(u16),
    /// Reset in the middle of the body.
    ResetBody,
    /// Passed on, and the answer does not come through.
    LoseAnswer,
}

/// What goes wrong with which connection, in the order in which they come.
#[derive(Debug, Default)]
pub struct Schedule {
    streams: VecDeque<StreamFault>,
    requests: VecDeque<RequestFault>,
    /// Before which connection none is taken, and for how long.
    refusals: VecDeque<(usize, Duration)>,
    connections: usize,
}

impl Schedule {
    /// These faults, and then none.
    #[must_use]
    pub fn of(
        streams: impl IntoIterator<Item = StreamFault>,
        requests: impl IntoIterator<Item = RequestFault>,
    ) -> Self {
        Self { streams: streams.into_iter().collect(), requests: requests.into_iter().collect(), ..Self::default() }
    }

    /// So many faults of either kind, drawn from a seed.
    #[must_use]
    pub fn seeded(seed: u64, faults: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let millis = |random: &mut fastrand::Rng, most| Duration::from_millis(random.u64(1..most));
        Self {
            streams: (0..faults).map(|_| stream_fault(&mut random)).collect(),
            requests: (0..faults).map(|_| request_fault(&mut random)).collect(),
            refusals: (0..faults / 4).map(|_| (random.usize(0..2 * faults), millis(&mut random, 80))).collect(),
            connections: 0,
        }
    }

    pub(super) fn next_stream(&mut self) -> StreamFault {
        self.streams.pop_front().unwrap_or_default()
    }

    pub(super) fn next_request(&mut self) -> RequestFault {
        self.requests.pop_front().unwrap_or_default()
    }

    pub(super) fn next_refusal(&mut self) -> Option<Duration> {
        self.connections += 1;
        let at = self.refusals.iter().position(|(at, _)| *at == self.connections)?;
        self.refusals.remove(at).map(|(_, pause)| pause)
    }
}

fn stream_fault(random: &mut fastrand::Rng) -> StreamFault {
    let after = if random.bool() { random.usize(0..12) } else { random.usize(0..150) };
    let cut = random.usize(1..150);
    let way = if random.bool() { Way::Up } else { Way::Down };
    match random.u8(0..20) {
        0 => StreamFault::None,
        1 => StreamFault::ResetUpgrade,
        2 => StreamFault::ResetUpgraded,
        3 => StreamFault::ResetAuth,
        4..=9 => StreamFault::Cut { way, after, reset: random.bool() },
        10..=11 => StreamFault::Stall { after, pause: Duration::from_millis(random.u64(1..150)) },
        12 => StreamFault::HalfOpen { after },
        13 => StreamFault::SlowReader,
        14..=15 => StreamFault::Acks { how: Acks::Drop, cut },
        16 => StreamFault::Acks { how: Acks::DropAll, cut },
        17 => StreamFault::Acks { how: Acks::Duplicate, cut },
        _ => StreamFault::Acks { how: Acks::Reorder, cut },
    }
}

fn request_fault(random: &mut fastrand::Rng) -> RequestFault {
    match random.u8(0..6) {
        0 => RequestFault::None,
        1 => RequestFault::Status(503),
        2 => RequestFault::Status(500),
        3 => RequestFault::ResetBody,
        _ => RequestFault::LoseAnswer,
    }
}
