//! What lists, searches and figures need of a run, drawn from its rows. Pure: no database, no clock.

mod facts;
mod words;

pub(crate) use facts::Facts;
pub(crate) use words::Words;
