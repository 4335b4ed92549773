//! Search for the recorded entry of a call.

use serde_json::Value;

use super::{Call, Replay};
use crate::cassette::CassetteError;
use crate::{Diff, Fingerprint, rename_ids};

/// Most entries that are compared with a call to find the nearest one.
const MAX_COMPARED: usize = 16;

/// Recorded entry that a call is matched with.
pub(super) enum Match {
    /// The requests are equal.
    Equal(usize),
    /// The requests differ; this entry is unused and the nearest in its lane.
    Differs(usize, Diff),
    /// No unused entry of this kind is left in the lane; perhaps one that is nearest elsewhere.
    None(Option<(usize, Diff)>),
}

impl Replay {
    /// Finds the first unused entry with an equal request, and binds the lane.
    pub(super) fn find_equal(&mut self, call: &Call<'_>, print: Fingerprint) -> Option<usize> {
        let name = self.cassette.name_number(call.name)?;
        for lane in self.bindings.candidates(call.lane, self.cassette.lanes()) {
            let unused = self.unused_places(lane, call, name);
            if let Some(at) = unused.into_iter().find(|at| self.fingerprint(*at) == Some(print)) {
                self.bind(call, at);
                return Some(at);
            }
        }
        None
    }

    /// Finds the entry of a call, and binds its lane.
    pub(super) fn find(&mut self, call: &Call<'_>, print: Fingerprint) -> Result<Match, CassetteError> {
        if let Some(at) = self.find_equal(call, print) {
            return Ok(Match::Equal(at));
        }
        let lanes = self.bindings.candidates(call.lane, self.cassette.lanes());
        let Some(name) = self.cassette.name_number(call.name) else { return Ok(Match::None(None)) };
        // The lane with its own ordinals comes first; a lane is taken from another one only where it has none.
        for lane in &lanes {
            let unused = self.unused_places(*lane, call, name);
            if let Some((at, diff)) = self.nearest(&unused, call)? {
                self.bind(call, at);
                return Ok(Match::Differs(at, diff));
            }
        }
        let of_kind = |at: &usize| {
            self.cassette.index().get(*at).is_some_and(|entry| entry.span_type == call.span_type && entry.name == name)
        };
        let all: Vec<usize> = (0..self.used.len()).filter(of_kind).collect();
        let (unused, used): (Vec<usize>, Vec<usize>) =
            all.into_iter().partition(|at| self.used.get(*at) == Some(&false));
        let near_unused = self.nearest(&unused, call)?;
        let last_used: Vec<usize> = used.into_iter().rev().collect();
        Ok(Match::None(match near_unused {
            Some(found) => Some(found),
            None => self.nearest(&last_used, call)?,
        }))
    }

    /// Returns the first unused entry of the call's kind, in the lane that it is bound to or may be bound to.
    pub(super) fn first_unused(&mut self, call: &Call<'_>) -> Option<usize> {
        let name = self.cassette.name_number(call.name)?;
        let lanes = self.bindings.candidates(call.lane, self.cassette.lanes());
        lanes.into_iter().find_map(|lane| self.unused_places(lane, call, name).first().copied())
    }

    fn bind(&mut self, call: &Call<'_>, at: usize) {
        if let Some(entry) = self.cassette.index().get(at)
            && self.bindings.get(call.lane).is_none()
        {
            let recorded = self.cassette.lane(entry).clone();
            self.bindings.bind(call.lane, &recorded);
        }
    }

    fn unused_places(&mut self, lane: usize, call: &Call<'_>, name: usize) -> Vec<usize> {
        let Some(places) = self.places.get_mut(&(lane, call.span_type, name)) else { return Vec::new() };
        let is_used = |at: &usize| self.used.get(*at).copied().unwrap_or(true);
        while places.at.get(places.first_unused).is_some_and(is_used) {
            places.first_unused += 1;
        }
        let unused = places.at.iter().skip(places.first_unused).copied().filter(|at| !is_used(at));
        unused.collect()
    }

    /// Returns the entry with the fewest differences, the first of several.
    fn nearest(&mut self, places: &[usize], call: &Call<'_>) -> Result<Option<(usize, Diff)>, CassetteError> {
        let mut nearest: Option<(usize, Diff)> = None;
        for at in places.iter().take(MAX_COMPARED) {
            if let Some(diff) = self.diff(*at, call)?
                && nearest.as_ref().is_none_or(|(_, best)| diff.total < best.total)
            {
                nearest = Some((*at, diff));
            }
        }
        Ok(nearest)
    }

    /// Compares a recorded request with that of a call.
    pub(super) fn diff(&mut self, at: usize, call: &Call<'_>) -> Result<Option<Diff>, CassetteError> {
        let Some(entry) = self.cassette.entry(at)? else { return Ok(None) };
        let mut expected = entry.request.to_value().unwrap_or_default();
        if let Some(normalize) = &self.options.normalize {
            normalize(&mut expected);
        }
        let mut got = call.request.clone();
        rename_ids(&mut expected);
        rename_ids(&mut got);
        with_model(&mut expected, entry.model.as_deref());
        with_model(&mut got, call.model);
        Ok(Some(Diff::of(&expected, &got)))
    }
}

/// Adds the model of a URL to a request, so that a diff shows it.
fn with_model(request: &mut Value, model: Option<&str>) {
    if let (Value::Object(members), Some(model)) = (request, model) {
        members.entry("model").or_insert_with(|| model.into());
    }
}
