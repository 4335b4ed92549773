//! Facts that the envelopes on a tool span state beside arguments and result.

use serde_json::value::RawValue;

use crate::fields::{Field, Fields};
use crate::messages::envelope::{Envelope, arguments, result};

/// Facts that the envelopes on a tool span state beside arguments and result.
#[derive(Debug, Default)]
pub(crate) struct EnvelopeFacts {
    /// Id of the tool call.
    pub call_id: Option<String>,
    /// Text of a result that is an error.
    pub error: Option<String>,
}

impl EnvelopeFacts {
    pub(crate) fn of(fields: &Fields<'_>, tool: &str) -> Self {
        let opened = |fields: &Fields<'_>, of: [Field; 2], open: &dyn Fn(&RawValue) -> Option<Self>| {
            let held = of.into_iter().filter_map(|field| fields.get(field)).filter(|held| held.rank > 0);
            let texts = held.filter_map(|held| held.value.as_json_text()).filter(|text| text.starts_with(['{', '[']));
            let mut raw = texts.filter_map(|text| serde_json::from_str::<&RawValue>(text).ok());
            raw.find_map(open).unwrap_or_default()
        };
        let stated = |opened: Envelope<'_>| Self {
            call_id: opened.call_id.as_deref().map(str::to_owned),
            error: opened.is_error.then(|| opened.content.to_text().into_owned()),
        };
        let request = opened(fields, [Field::ToolArguments, Field::Input], &|raw| arguments(raw, tool).map(stated));
        let response = opened(fields, [Field::ToolResult, Field::Output], &|raw| result(raw).map(stated));
        Self { call_id: response.call_id.or(request.call_id), error: response.error }
    }
}
