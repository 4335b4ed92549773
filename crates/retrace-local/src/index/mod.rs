//! Facts and words of a run for lists, searches and figures, derived from its rows. Pure: no database, no clock.

mod facts;
mod words;

pub(crate) use facts::{Facts, PartKind, Usage};
pub(crate) use words::Words;
