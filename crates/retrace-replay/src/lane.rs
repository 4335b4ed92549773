//! Lanes: the path of enclosing steps of a call.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::sync::{Arc, Mutex, PoisonError};

/// One step of a [`Lane`]: its name, and its ordinal among the steps of that name below the same parent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// Name of the step.
    pub name: Arc<str>,
    /// Ordinal, from 0, in the order in which the steps began.
    pub ordinal: u32,
}

/// Path of the named steps around a call, outermost first.
///
/// Its text separates the steps by `/` and states an ordinal above 0 after `#`: `plan/search#1`. In a name `~`, `/` and `#` are
/// written `~0`, `~1` and `~2`. The lane outside of all steps is the empty text.
///
/// ```
/// use retrace_replay::Lane;
///
/// let lane = Lane::root().child("plan", 0).child("search", 1);
/// assert_eq!(lane.to_string(), "plan/search#1");
/// assert_eq!(Lane::parse("plan/search#1"), lane);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(Vec<Segment>);

impl Lane {
    /// Lane outside of all steps.
    pub const ROOT: Self = Self(Vec::new());

    /// Returns the lane outside of all steps.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Returns the lane of a step below this one.
    #[must_use]
    pub fn child(&self, name: &str, ordinal: u32) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment { name: name.into(), ordinal });
        Self(segments)
    }

    /// Reads the text of a lane. Every text is one: an ordinal that is no number is part of the name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let unescape = |name: &str| name.replace("~2", "#").replace("~1", "/").replace("~0", "~");
        let segment = |text: &str| match text.rsplit_once('#').and_then(|(name, at)| Some((name, at.parse().ok()?))) {
            Some((name, ordinal)) => Segment { name: unescape(name).into(), ordinal },
            None => Segment { name: unescape(text).into(), ordinal: 0 },
        };
        match text.is_empty() {
            true => Self::root(),
            false => Self(text.split('/').map(segment).collect()),
        }
    }

    /// Returns the steps, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Returns true if this lane is `other` or below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Returns the lane of the first `depth` steps.
    #[must_use]
    pub fn truncated(&self, depth: usize) -> Self {
        Self(self.0.iter().take(depth).cloned().collect())
    }

    /// Returns true if both lanes have the same step names.
    #[must_use]
    pub fn has_names_of(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(ours, theirs)| ours.name == theirs.name)
    }
}

impl Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Segment { name, ordinal }) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            match name.contains(['~', '/', '#']) {
                true => f.write_str(&name.replace('~', "~0").replace('/', "~1").replace('#', "~2"))?,
                false => f.write_str(name)?,
            }
            // A lane of one step without a name would read as the root.
            if *ordinal > 0 || name.is_empty() {
                write!(f, "#{ordinal}")?;
            }
        }
        Ok(())
    }
}

/// Position of a run that goes on: its lane, and the ordinals of the steps below it. Shared by all tasks in the step.
#[derive(Debug, Default)]
pub struct LaneNode {
    lane: Lane,
    ordinals: Mutex<HashMap<Box<str>, u32>>,
}

impl LaneNode {
    /// Returns the position outside of all steps.
    #[must_use]
    pub fn root() -> Arc<Self> {
        Arc::default()
    }

    /// Begins a step below this one.
    #[must_use]
    pub fn enter(&self, name: &str) -> Arc<Self> {
        let mut ordinals = self.ordinals.lock().unwrap_or_else(PoisonError::into_inner);
        let ordinal = match ordinals.get_mut(name) {
            Some(next) => {
                *next = next.saturating_add(1);
                *next
            }
            None => *ordinals.entry(name.into()).or_default(),
        };
        Arc::new(Self { lane: self.lane.child(name, ordinal), ordinals: Mutex::default() })
    }

    /// Returns the lane.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn steps_of_one_name_are_counted_below_their_parent() {
        let root = LaneNode::root();
        let lanes = ["plan", "search", "plan"].map(|name| root.enter(name).lane().to_string());
        assert_eq!(lanes, ["plan", "search", "plan#1"]);
        let plan = root.enter("plan");
        assert_eq!(plan.enter("search").lane().to_string(), "plan#2/search");
    }

    proptest! {
        #[test]
        fn the_text_of_a_lane_is_read_back(names in proptest::collection::vec(("[a~/#0-2é]{0,5}", 0u32..3), 0..4)) {
            let lane = names.iter().fold(Lane::root(), |lane, (name, ordinal)| lane.child(name, *ordinal));
            prop_assert_eq!(Lane::parse(&lane.to_string()), lane);
        }
    }
}
