//! Attributes of general conventions that apply to any span.

use super::Dialect;
use crate::fields::Field;

pub(super) static DIALECT: Dialect = Dialect {
    keys: &[
        ("error.type", Field::ErrorType),
        ("session.id", Field::SessionId),
        ("user.id", Field::UserId),
        ("enduser.id", Field::UserId),
        ("agent.name", Field::AgentName),
        ("tag.tags", Field::Tags),
        ("metadata", Field::UserMetadataObject),
    ],
    ..Dialect::EMPTY
};
