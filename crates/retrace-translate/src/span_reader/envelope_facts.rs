//! Facts that the envelopes on a tool span state beside arguments and result.

use serde_json::value::RawValue;

use crate::fields::{Slot, Slots};
use crate::messages::envelope::{Opened, arguments, result};

/// What the envelopes on the span of a tool state beside their content.
#[derive(Debug, Default)]
pub(crate) struct Enveloped {
    /// Id of the tool call.
    pub call_id: Option<String>,
    /// Text of a result that is an error.
    pub error: Option<String>,
}

impl Enveloped {
    pub(crate) fn of(slots: &Slots<'_>, tool: &str) -> Self {
        let opened = |slots: &Slots<'_>, of: [Slot; 2], open: &dyn Fn(&RawValue) -> Option<Self>| {
            let held = of.into_iter().filter_map(|slot| slots.get(slot)).filter(|held| held.rank > 0);
            let texts = held.filter_map(|held| held.value.as_json_text()).filter(|text| text.starts_with(['{', '[']));
            let mut raw = texts.filter_map(|text| serde_json::from_str::<&RawValue>(text).ok());
            raw.find_map(open).unwrap_or_default()
        };
        let stated = |opened: Opened<'_>| Self {
            call_id: opened.call_id.as_deref().map(str::to_owned),
            error: opened.is_error.then(|| opened.content.to_text().into_owned()),
        };
        let asked = opened(slots, [Slot::ToolArguments, Slot::Input], &|raw| arguments(raw, tool).map(stated));
        let answered = opened(slots, [Slot::ToolResult, Slot::Output], &|raw| result(raw).map(stated));
        Self { call_id: answered.call_id.or(asked.call_id), error: answered.error }
    }
}
