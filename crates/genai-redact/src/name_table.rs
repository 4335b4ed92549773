//! Tables of names of members, each with the place of its value.

use crate::Place;
use crate::keys::{CREDENTIALS, Match};

/// Length of the longest name that a table may have.
const LONGEST: usize = 31;

/// Names of members, each with the place of its value.
///
/// Most names that are looked up are in no table. Their length and first byte rule nearly all of them out.
pub(crate) struct NameTable {
    groups: &'static [(Place, &'static [&'static str])],
    /// For each length the first bytes of the names of that length: a set of their lower five bits.
    firsts: [u32; LONGEST + 1],
}

impl NameTable {
    #[allow(clippy::indexing_slicing)] // evaluated by the compiler
    pub(crate) const fn new(groups: &'static [(Place, &'static [&'static str])]) -> Self {
        let mut firsts = [0; LONGEST + 1];
        let mut group = 0;
        while group < groups.len() {
            let names = groups[group].1;
            let mut at = 0;
            while at < names.len() {
                let name = names[at].as_bytes();
                firsts[name.len()] |= bit(name[0]);
                at += 1;
            }
            group += 1;
        }
        Self { groups, firsts }
    }

    /// Returns the names.
    #[cfg(test)]
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.groups.iter().flat_map(|(_, names)| names.iter().copied())
    }

    /// Returns the place of the value of this name; `None` for a name that is not in the table.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<Place> {
        let (firsts, first) = (self.firsts.get(name.len())?, name.as_bytes().first()?);
        if firsts & bit(*first) == 0 {
            return None;
        }
        self.groups.iter().find(|(_, names)| names.contains(&name)).map(|(place, _)| *place)
    }
}

/// Returns the bit of a byte in a set of lower five bits, which are the same for both cases of a letter.
const fn bit(byte: u8) -> u32 {
    1 << (byte & 0b1_1111)
}

/// Last three letters of the names in some tables and in [`CREDENTIALS`]. They rule out most names that are in none of them,
/// whatever their case.
pub(crate) struct NameEnds([u32; 1 << 10]);

impl NameEnds {
    #[allow(clippy::indexing_slicing)] // evaluated by the compiler
    pub(crate) const fn new(tables: &[&NameTable]) -> Self {
        let mut ends = Self([0; 1 << 10]);
        let mut at = 0;
        while at < CREDENTIALS.len() {
            if !matches!(CREDENTIALS[at].by, Match::Parameter) {
                ends.add(CREDENTIALS[at].name);
            }
            at += 1;
        }
        let mut table = 0;
        while table < tables.len() {
            let mut group = 0;
            while group < tables[table].groups.len() {
                let names = tables[table].groups[group].1;
                let mut at = 0;
                while at < names.len() {
                    ends.add(names[at]);
                    at += 1;
                }
                group += 1;
            }
            table += 1;
        }
        ends
    }

    #[allow(clippy::indexing_slicing)] // evaluated by the compiler
    const fn add(&mut self, name: &str) {
        let name = name.as_bytes();
        let [third, second, last] = [name[name.len() - 3], name[name.len() - 2], name[name.len() - 1]];
        self.0[Self::position(second, last)] |= bit(third);
    }

    const fn position(second: u8, last: u8) -> usize {
        ((last & 0b1_1111) as usize) << 5 | (second & 0b1_1111) as usize
    }

    /// Returns false only for a name that is in no table, and that no row of [`CREDENTIALS`] is the end of.
    #[inline]
    pub(crate) fn may_end(&self, name: &str) -> bool {
        let Some([third, second, last]) = name.as_bytes().last_chunk() else { return false };
        // Between letters there may be separators.
        let are_letters = third.is_ascii_alphabetic() & second.is_ascii_alphabetic() & last.is_ascii_alphabetic();
        !are_letters || self.0.get(Self::position(*second, *last)).is_some_and(|thirds| thirds & bit(*third) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let table = NameTable::new(&[(Place::Url, &["url", "uri"]), (Place::Error, &["error"])]);
        for (name, place) in [("url", Place::Url), ("uri", Place::Url), ("error", Place::Error)] {
            assert_eq!(table.get(name), Some(place), "{name}");
        }
        let long = "u".repeat(40);
        for other in ["", "u", "urls", "ur\u{e9}", "5rl", "u\0l", "Error", "errors", &long] {
            assert_eq!(table.get(other), None, "{other}");
        }
    }
}
