//! A model that has learned its answers by heart.

use std::{thread, time::Duration};

use serde_json::{Value, json};

/// What a model answered to a conversation.
#[derive(Debug)]
pub(crate) struct Answer {
    pub id: String,
    /// The message, in the shape of the GenAI conventions.
    pub message: Value,
    pub finish_reason: &'static str,
    pub input_tokens: i64,
    pub output_tokens: i64,
}

/// Answers like the model of this name would, were it asked to pack for Oslo.
#[derive(Debug, Default)]
pub(crate) struct ScriptedModel {
    calls: usize,
}

impl ScriptedModel {
    pub(crate) const NAME: &str = "gpt-4o-mini";

    /// The next line of the script, after the time that a model would take to say it.
    ///
    /// A real client would send the messages; this one only counts how long they are.
    pub(crate) fn chat(&mut self, messages: &[Value]) -> Option<Answer> {
        let parts = match self.calls {
            0 => vec![
                json!({"type": "reasoning", "content": "Packing depends on the weather, so look that up first."}),
                json!({"type": "tool_call", "id": "call_1", "name": "get_weather", "arguments": {"city": "Oslo", "day": "tomorrow"}}),
            ],
            1 => vec![
                json!({"type": "tool_call", "id": "call_2", "name": "search_wardrobe", "arguments": {"warm": true, "waterproof": true}}),
            ],
            2 => vec![json!({
                "type": "text",
                "content": "Pack the grey wool coat and the blue rain shell: 3 °C with sleet. Leave the linen shirt at home.",
            })],
            _ => return None,
        };
        self.calls += 1;
        let calls_tool = parts.iter().any(|part| part["type"] == "tool_call");
        let finish_reason = if calls_tool { "tool_call" } else { "stop" };
        let message = json!({"role": "assistant", "parts": parts, "finish_reason": finish_reason});
        // About four bytes make a token.
        let tokens = |text: &str| i64::try_from(text.len() / 4).unwrap_or(i64::MAX);
        let output_tokens = tokens(&message.to_string());
        thread::sleep(Duration::from_millis(4 * output_tokens.unsigned_abs()));
        Some(Answer {
            id: format!("chatcmpl-{}", self.calls),
            finish_reason,
            input_tokens: messages.iter().map(|message| tokens(&message.to_string())).sum(),
            output_tokens,
            message,
        })
    }
}
