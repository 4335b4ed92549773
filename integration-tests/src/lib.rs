//! What the whole-system tests share.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

pub mod agent;
pub mod canary;
pub mod corpus;
pub mod faulty;
pub mod nobody;
pub mod scripted;
pub mod sink;
pub mod soak;
pub mod wait;
pub mod workload;
