#![doc = include_str!("../README.md")]

mod counts;
mod table;

pub use counts::Counts;
pub use table::{Parts, Path, SHAPES, Shape};

/// Reads one usage object.
///
/// `count` returns the count at a path of member names, such as `["prompt_tokens_details", "cached_tokens"]`, or `None` where
/// there is none. Returns `None` for an object without any count that the table knows. Costs a call of `count` for each path of
/// the rows that are tried, at most some eighty.
#[must_use]
pub fn read(count: impl Fn(&[&str]) -> Option<u64>) -> Option<Counts> {
    let largest = |paths: &[Path]| paths.iter().filter_map(|path| count(path)).max();
    SHAPES.iter().find_map(|shape| shape.read(&largest))
}
