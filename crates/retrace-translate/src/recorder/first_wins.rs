//! Labels of a live run, stated by its spans: the value of the span nearest to the root wins.

use retrace_protocol::Json;

use crate::recorder::record::RunLabels;

/// Precedence of a span: nearest to the root first, then earliest start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub is_below_root: bool,
    pub depth: usize,
    pub start: u64,
    pub at: usize,
}

/// The value with the lowest rank so far. Once frozen it does not change: spans that were emitted omit labels equal to it.
#[derive(Debug)]
struct FirstWins<T> {
    winner: Option<(Rank, T)>,
    is_frozen: bool,
}

/// A [`FirstWins`] for each label of a run.
#[derive(Debug, Default)]
pub(crate) struct RunLabelClaims {
    session: FirstWins<String>,
    user: FirstWins<String>,
    name: FirstWins<String>,
    tags: FirstWins<Json>,
}

impl<T> Default for FirstWins<T> {
    fn default() -> Self {
        Self { winner: None, is_frozen: false }
    }
}

impl<T: Clone> FirstWins<T> {
    /// Offers a value. That of the root wins even over a frozen one, because the trace is sent again when the run ends.
    fn offer_root(&mut self, rank: Rank, value: Option<T>) {
        match value {
            Some(value) if !rank.is_below_root => self.winner = Some((rank, value)),
            value => self.offer(rank, value),
        }
    }

    fn offer(&mut self, rank: Rank, value: Option<T>) {
        let Some(value) = value.filter(|_| !self.is_frozen) else { return };
        if self.winner.as_ref().is_none_or(|(winner, _)| rank.at == winner.at || rank < *winner) {
            self.winner = Some((rank, value));
        }
    }

    fn frozen(&self) -> Option<T> {
        self.current().filter(|_| self.is_frozen)
    }

    fn current(&self) -> Option<T> {
        self.winner.as_ref().map(|(_, value)| value.clone())
    }

    fn freeze(&mut self) {
        self.is_frozen = self.winner.is_some();
    }
}

impl RunLabelClaims {
    /// Offers the labels that a span states.
    pub(crate) fn offer(&mut self, rank: Rank, labels: RunLabels) {
        self.session.offer(rank, labels.session);
        self.user.offer(rank, labels.user);
        self.name.offer(rank, labels.name);
        self.tags.offer_root(rank, labels.tags);
    }

    /// Freezes the labels that have a value: the start of the run is emitted with them.
    pub(crate) fn freeze(&mut self) {
        self.session.freeze();
        self.user.freeze();
        self.name.freeze();
        self.tags.freeze();
    }

    /// The frozen labels.
    pub(crate) fn frozen(&self) -> RunLabels {
        RunLabels {
            session: self.session.frozen(),
            user: self.user.frozen(),
            name: self.name.frozen(),
            tags: self.tags.frozen(),
        }
    }

    /// All labels, frozen or not.
    pub(crate) fn current(&self) -> RunLabels {
        RunLabels {
            session: self.session.current(),
            user: self.user.current(),
            name: self.name.current(),
            tags: self.tags.current(),
        }
    }

    /// Approximate size in bytes.
    pub(crate) fn weight(&self) -> usize {
        let text = |label: &FirstWins<String>| label.winner.as_ref().map_or(0, |(_, value)| value.len());
        let tags = self.tags.winner.as_ref().map_or(0, |(_, tags)| tags.as_str().len());
        text(&self.session) + text(&self.user) + text(&self.name) + tags
    }
}
