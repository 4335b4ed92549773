//! Lanes of a run that goes on, bound to those of the recording.
//!
//! The ordinals of concurrent steps depend on the order in which they happen to begin, so a lane is bound by what is called in
//! it: its first call decides, and its own ordinal where that leaves a choice.

use std::collections::{HashMap, HashSet};

use crate::Lane;

/// Bindings of live lanes to recorded lanes. A recorded lane is bound once.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    recorded: HashMap<Lane, Lane>,
    taken: HashSet<Lane>,
}

impl Bindings {
    /// Returns the recorded lane that a live lane is bound to. The lane outside of all steps is bound to itself.
    pub(super) fn get(&self, live: &Lane) -> Option<&Lane> {
        match live.segments().is_empty() {
            true => Some(const { &Lane::ROOT }),
            false => self.recorded.get(live),
        }
    }

    /// Binds a lane and the lanes around it.
    pub(super) fn bind(&mut self, live: &Lane, recorded: &Lane) {
        for depth in 1..=live.segments().len() {
            let (live, recorded) = (live.truncated(depth), recorded.truncated(depth));
            if !self.recorded.contains_key(&live) {
                self.taken.insert(recorded.clone());
                self.recorded.insert(live, recorded);
            }
        }
    }

    /// Returns the recorded lanes that a live lane may be bound to, by their numbers: the one with its own ordinals first, then
    /// in order.
    pub(super) fn candidates(&self, live: &Lane, recorded: &[Lane]) -> Vec<usize> {
        if let Some(bound) = self.get(live) {
            return recorded.iter().position(|lane| lane == bound).into_iter().collect();
        }
        let depth = live.segments().len();
        let bound_depth = (0..depth).rev().find(|depth| self.get(&live.truncated(*depth)).is_some()).unwrap_or(0);
        let base = self.get(&live.truncated(bound_depth)).cloned().unwrap_or_default();
        let is_free = |lane: &Lane| (bound_depth + 1..=depth).all(|depth| !self.taken.contains(&lane.truncated(depth)));
        let fits = |lane: &Lane| lane.has_names_of(live) && lane.is_within(&base) && is_free(lane);
        let mut fitting: Vec<usize> =
            recorded.iter().enumerate().filter(|(_, lane)| fits(lane)).map(|(at, _)| at).collect();
        // Of the ordinals those below the bound lane count: the others are given.
        let own = |at: &usize| {
            let ordinals =
                |lane: &Lane| lane.segments().iter().skip(bound_depth).map(|s| s.ordinal).collect::<Vec<_>>();
            recorded.get(*at).is_some_and(|lane| ordinals(lane) == ordinals(live))
        };
        fitting.sort_by_key(|at| (!own(at), recorded.get(*at).cloned()));
        fitting
    }
}
