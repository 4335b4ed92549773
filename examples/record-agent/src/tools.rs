//! The tools of the agent.

use std::fmt;

use serde_json::{Value, json};

/// The model called a tool that cannot answer.
#[derive(Debug)]
pub(crate) struct ToolError(String);

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ToolError {}

/// The tools as the model gets them.
pub(crate) fn schemas() -> Value {
    let tool = |name: &str, description: &str| {
        let port = json!({ "type": "object", "properties": { "port": { "type": "string" } }, "required": ["port"] });
        json!({ "type": "function", "function": { "name": name, "description": description, "parameters": port } })
    };
    json!([tool("tide_table", "High waters of a port."), tool("harbour_log", "Entries of the harbour master.")])
}

/// Executes the tool that a model called, under the id of that call.
pub(crate) async fn execute(id: &str, name: &str, port: &str) -> Result<Value, ToolError> {
    match name {
        "tide_table" => Ok(tide_table(id, port)),
        "harbour_log" => harbour_log(id, port).await,
        _ => Err(ToolError(format!("no tool {name}"))),
    }
}

// The type makes it a tool call instead of a reasoning step. The id joins it to the call in the model's message.
#[retrace::record(type = tool_call, effects = none, skip(id))]
fn tide_table(id: &str, port: &str) -> Value {
    retrace::current().tool_call_id(id);
    let high_water = if port == "Bergen" { ["14:20", "02:50"] } else { ["12:00", "00:25"] };
    json!({ "high_water": high_water })
}

// An `Err` is recorded as the failure of the step.
#[retrace::record(type = tool_call, effects = none, skip(id))]
async fn harbour_log(id: &str, port: &str) -> Result<Value, ToolError> {
    retrace::current().tool_call_id(id);
    Err(ToolError(format!("the log of {port} is closed")))
}
