#![doc = include_str!("../README.md")]

pub mod render;
mod response;

pub use response::{Chunk, Response};
