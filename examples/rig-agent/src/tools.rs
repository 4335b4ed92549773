//! What the agent can look up.

#![allow(clippy::needless_pass_by_value)] // rig parses the arguments and gives them away.

use rig::tool::ToolExecutionError;

const CONNECTIONS: &str =
    r#"[{"by":"train","leaves":"08:25","arrives":"15:10"},{"by":"plane","leaves":"14:00","arrives":"14:55"}]"#;

/// Tomorrow's connections between two cities.
#[rig::rig_tool]
pub(crate) fn timetable(
    /// Where the trip begins.
    from: String,
    /// Where it leads.
    to: String,
) -> Result<String, ToolExecutionError> {
    if from == to {
        return Err(ToolExecutionError::other("a trip leads somewhere else"));
    }
    Ok(CONNECTIONS.to_owned())
}

/// Tomorrow's weather in a city.
#[rig::rig_tool]
pub(crate) fn get_weather(
    /// The city.
    city: String,
) -> Result<String, ToolExecutionError> {
    Ok(format!("{city}: fog until noon, 4 °C"))
}
