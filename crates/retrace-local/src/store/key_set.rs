//! Sets of runs, by their keys.

use std::collections::BTreeMap;

/// Keys of one chunk.
const CHUNK: i64 = 1 << 16;
const WORDS: usize = 1 << 10;

/// A set of keys, one bit for each. A chunk of 65,536 keys takes 8 KiB if at least one key is in the set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct KeySet {
    chunks: BTreeMap<i64, Box<[u64; WORDS]>>,
}

impl KeySet {
    pub(super) fn insert(&mut self, key: i64) {
        let (chunk, word, bit) = place(key);
        let words = self.chunks.entry(chunk).or_insert_with(|| Box::new([0; WORDS]));
        if let Some(word) = words.get_mut(word) {
            *word |= bit;
        }
    }

    pub(super) fn contains(&self, key: i64) -> bool {
        let (chunk, word, bit) = place(key);
        self.chunks.get(&chunk).and_then(|words| words.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// Number of keys.
    pub(super) fn len(&self) -> u64 {
        self.chunks.values().flat_map(|words| words.iter()).map(|word| u64::from(word.count_ones())).sum()
    }

    /// Removes the keys that `other` lacks.
    pub(super) fn retain(&mut self, other: &Self) {
        self.chunks.retain(|chunk, _| other.chunks.contains_key(chunk));
        self.combine(other, |word, other| word & other);
    }

    /// Removes the keys that `other` has.
    pub(super) fn remove(&mut self, other: &Self) {
        self.combine(other, |word, other| word & !other);
    }

    /// The keys, lowest first.
    pub(super) fn keys(&self) -> impl Iterator<Item = i64> + '_ {
        self.chunks.iter().flat_map(|(chunk, words)| {
            let firsts = (chunk * CHUNK..).step_by(64);
            words.iter().zip(firsts).filter(|(word, _)| **word != 0).flat_map(|(word, first)| {
                // Each step removes the lowest bit.
                let rest = std::iter::successors(Some(*word), |word| Some(word & word.wrapping_sub(1)));
                rest.take_while(|word| *word != 0).map(move |word| first + i64::from(word.trailing_zeros()))
            })
        })
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (chunk, words) in &mut self.chunks {
            let Some(others) = other.chunks.get(chunk) else { continue };
            words.iter_mut().zip(others.iter()).for_each(|(word, other)| *word = with(*word, *other));
        }
    }
}

/// Returns the chunk of a key, the word in the chunk, and the bit in the word.
fn place(key: i64) -> (i64, usize, u64) {
    let within = key.rem_euclid(CHUNK).unsigned_abs();
    (key.div_euclid(CHUNK), usize::try_from(within / 64).unwrap_or_default(), 1 << (within % 64))
}

impl FromIterator<i64> for KeySet {
    fn from_iter<I: IntoIterator<Item = i64>>(keys: I) -> Self {
        let mut set = Self::default();
        keys.into_iter().for_each(|key| set.insert(key));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn any_keys() -> impl Strategy<Value = BTreeSet<i64>> {
        let key = prop_oneof![0..200_i64, CHUNK - 70..CHUNK + 70, any::<i64>().prop_map(|key| key >> 2)];
        prop::collection::btree_set(key, 0..30)
    }

    proptest! {
        #[test]
        fn it_is_a_set(one in any_keys(), two in any_keys()) {
            let (set, other): (KeySet, KeySet) = (one.iter().copied().collect(), two.iter().copied().collect());
            prop_assert_eq!(set.len(), one.len() as u64);
            prop_assert!(set.keys().eq(one.iter().copied()));
            prop_assert!(two.iter().all(|key| set.contains(*key) == one.contains(key)));
            let (mut both, mut rest) = (set.clone(), set);
            both.retain(&other);
            rest.remove(&other);
            prop_assert!(both.keys().eq(one.intersection(&two).copied()));
            prop_assert!(rest.keys().eq(one.difference(&two).copied()));
        }
    }
}
