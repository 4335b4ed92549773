//! Attributes of general conventions that say something about any span, GenAI or not.

use super::Dialect;
use crate::fields::Slot;

pub(super) static DIALECT: Dialect = Dialect {
    keys: &[
        ("error.type", Slot::ErrorType),
        ("session.id", Slot::SessionId),
        ("user.id", Slot::UserId),
        ("enduser.id", Slot::UserId),
        ("agent.name", Slot::AgentName),
        ("tag.tags", Slot::Tags),
        ("metadata", Slot::UserMetadataObject),
    ],
    ..Dialect::SILENT
};
