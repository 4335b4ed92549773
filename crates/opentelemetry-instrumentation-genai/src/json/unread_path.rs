//! Paths of a response whose values are counted and not kept.

/// Path from the top of a document to a value: member names, and `ANY` for each element of a list.
pub type UnreadPath = &'static [&'static str];

/// Stands for each element of a list in an [`UnreadPath`].
pub(crate) const ANY: &str = "*";

/// Set of paths that the position of a value has followed so far: a bit for each path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathSet(u64);

impl PathSet {
    /// No path.
    pub(crate) const NONE: Self = Self(0);

    /// Returns all paths, before the first step. Paths beyond the 64th are ignored.
    pub(crate) fn all(paths: &[UnreadPath]) -> Self {
        let count = u32::try_from(paths.len()).unwrap_or(u64::BITS);
        Self(u64::MAX.checked_shr(u64::BITS.saturating_sub(count)).unwrap_or(0))
    }

    /// Returns the paths that continue with this step, `depth` steps from the top.
    pub(crate) fn step(self, paths: &[UnreadPath], depth: usize, step: &[u8]) -> Self {
        self.keep(paths, |path| path.get(depth).is_some_and(|own| own.as_bytes() == step))
    }

    /// Returns true if a path ends `depth` steps from the top.
    pub(crate) fn end(self, paths: &[UnreadPath], depth: usize) -> bool {
        self.keep(paths, |path| path.len() == depth) != Self::NONE
    }

    fn keep(self, paths: &[UnreadPath], holds: impl Fn(UnreadPath) -> bool) -> Self {
        let (mut left, mut kept) = (self.0, 0);
        while left != 0 {
            let lowest = left & left.wrapping_neg();
            let place = usize::try_from(left.trailing_zeros()).unwrap_or(usize::MAX);
            if paths.get(place).is_some_and(|path| holds(path)) {
                kept |= lowest;
            }
            left ^= lowest;
        }
        Self(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed_step_by_step() {
        const PATHS: &[UnreadPath] = &[&["a", "*", "b"], &["a", "b"], &["c"]];
        let top = PathSet::all(PATHS);
        let a = top.step(PATHS, 0, b"a");
        assert!(!a.end(PATHS, 1) && top.step(PATHS, 0, b"c").end(PATHS, 1));
        assert!(a.step(PATHS, 1, b"b").end(PATHS, 2));
        assert!(a.step(PATHS, 1, ANY.as_bytes()).step(PATHS, 2, b"b").end(PATHS, 3));
        assert_eq!(top.step(PATHS, 0, b"b"), PathSet::NONE);
        let path: UnreadPath = &["a"];
        assert_eq!(
            (PathSet::all(&[]), PathSet::all(&[path; 64]), PathSet::all(&[path])),
            (PathSet::NONE, PathSet(u64::MAX), PathSet(1))
        );
    }
}
