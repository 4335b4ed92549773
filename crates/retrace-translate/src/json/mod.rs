//! Reading, repair, shortening and redaction of JSON, independent of its meaning.

mod hex;
mod object;
mod redact;
mod repair;
mod shorten;
mod text;

pub(crate) use self::hex::hex;
pub(crate) use self::object::{JsonObject, elements};
pub(crate) use self::redact::{redacted, redacted_text};
pub use self::repair::repair;
pub use self::shorten::{Shortened, shorten};
pub(crate) use self::text::{label_of, text_of};
