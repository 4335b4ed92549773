//! Modes of replays.

use serde::Serialize;

/// Decision on a call that the cassette does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused, and the run fails.
    #[default]
    Strict,
    /// It is answered by the nearest unused entry of its lane, or goes out where none is left; the report states it.
    Lenient,
    /// It goes out, and so does one whose request differs: only what is unchanged is answered. For cassettes that are brought up
    /// to date.
    Update,
}
