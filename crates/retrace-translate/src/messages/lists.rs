//! Lists of messages, element by element.

use std::borrow::Cow;

use serde_json::value::RawValue;
use smallvec::smallvec;

use crate::messages::{Turn, TurnPart};

/// Reads the elements of a list of messages with `read`. An element that cannot be read is kept unchanged, in a turn of its
/// own.
///
/// Returns `None` if there are elements and none of them can be read: the list is no list of messages.
pub(crate) fn each<'a>(
    elements: Vec<&'a RawValue>,
    read: impl Fn(&'a RawValue) -> Option<Turn<'a>>,
) -> Option<Vec<Turn<'a>>> {
    let mut turns = Vec::with_capacity(elements.len());
    let mut is_read = elements.is_empty();
    for raw in elements {
        match read(raw) {
            Some(turn) => {
                is_read = true;
                turns.push(turn);
            }
            None if raw.get() == "null" => {}
            None => turns.push(unknown(raw)),
        }
    }
    is_read.then_some(turns)
}

/// Returns a turn with an element of an unknown kind. Its role is the assistant's, because an element without a role is an item
/// of a model response and never a message of the user.
fn unknown(raw: &RawValue) -> Turn<'_> {
    Turn { role: Cow::Borrowed("assistant"), parts: smallvec![TurnPart::Other(raw)], ..Turn::default() }
}

/// Returns true for a turn that holds only parts of unknown kinds.
pub(crate) fn is_unknown(turn: &Turn<'_>) -> bool {
    !turn.parts.is_empty() && turn.parts.iter().all(|part| matches!(part, TurnPart::Other(_)))
}
