#![doc = include_str!("../README.md")]

mod json;
mod keys;
mod name_table;
mod place;
mod text;
mod value;

pub use json::{has_credential, json};
pub use keys::{CREDENTIALS, Credential, Match, is_credential, is_credential_parameter};
pub use place::Place;
pub use text::{error, url};
pub use value::value;

/// Text that stands in the place of a credential.
pub const MARKER: &str = "[redacted]";
