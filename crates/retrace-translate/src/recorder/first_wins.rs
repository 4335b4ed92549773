//! What a live run says for all its spans: the word of the span nearest to the root.

use retrace_protocol::Json;

use crate::recorder::record::Said;

/// How near to the root a span stands; the nearest, then the earliest, is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub is_below_root: bool,
    pub depth: usize,
    pub start: u64,
    pub at: usize,
}

/// One thing that is said. It stays as it was told first, for spans that say the same do not repeat it.
#[derive(Debug)]
struct Claim<T> {
    by: Option<(Rank, T)>,
    is_told: bool,
}

/// What spans say for the run.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    session: Claim<String>,
    user: Claim<String>,
    name: Claim<String>,
    tags: Claim<Json>,
}

impl<T> Default for Claim<T> {
    fn default() -> Self {
        Self { by: None, is_told: false }
    }
}

impl<T: Clone> Claim<T> {
    /// Takes the value of the root, which replaces an earlier one: the trace is sent once more when the run ends.
    fn hear_root(&mut self, rank: Rank, value: Option<T>) {
        match value {
            Some(value) if !rank.is_below_root => self.by = Some((rank, value)),
            value => self.hear(rank, value),
        }
    }

    fn hear(&mut self, rank: Rank, value: Option<T>) {
        let Some(value) = value.filter(|_| !self.is_told) else { return };
        if self.by.as_ref().is_none_or(|(heard, _)| rank.at == heard.at || rank < *heard) {
            self.by = Some((rank, value));
        }
    }

    fn told(&self) -> Option<T> {
        self.current().filter(|_| self.is_told)
    }

    fn current(&self) -> Option<T> {
        self.by.as_ref().map(|(_, value)| value.clone())
    }

    fn tell(&mut self) {
        self.is_told = self.by.is_some();
    }
}

impl Claims {
    pub(crate) fn hear(&mut self, rank: Rank, said: Said) {
        self.session.hear(rank, said.session);
        self.user.hear(rank, said.user);
        self.name.hear(rank, said.name);
        self.tags.hear_root(rank, said.tags);
    }

    /// What was said so far is told now.
    pub(crate) fn tell(&mut self) {
        self.session.tell();
        self.user.tell();
        self.name.tell();
        self.tags.tell();
    }

    /// What was told.
    pub(crate) fn told(&self) -> Said {
        Said { session: self.session.told(), user: self.user.told(), name: self.name.told(), tags: self.tags.told() }
    }

    /// What was told, and what would be told now.
    pub(crate) fn current(&self) -> Said {
        Said {
            session: self.session.current(),
            user: self.user.current(),
            name: self.name.current(),
            tags: self.tags.current(),
        }
    }

    /// Bytes that it takes, roughly.
    pub(crate) fn weight(&self) -> usize {
        let text = |claim: &Claim<String>| claim.by.as_ref().map_or(0, |(_, value)| value.len());
        let tags = self.tags.by.as_ref().map_or(0, |(_, tags)| tags.as_str().len());
        text(&self.session) + text(&self.user) + text(&self.name) + tags
    }
}
