//! The table "From Python" of the README: every Rust cell compiles, and every row has a test of its name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cells;
mod model;
mod providers;
mod table;
