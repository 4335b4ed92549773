//! Prints a run as a tree, for people: what the examples show at their end.
//!
//! ```
//! use retrace_protocol::{Span, SpanType, Timestamp, Trace};
//! use run_tree::Style;
//!
//! let began = Timestamp::from("2026-11-22T11:05:48Z");
//! let mut trace = Trace::started("t".into(), began.clone());
//! trace.name = Some("weather".to_owned());
//! trace.spans = Some(vec![Span::new("a".into(), "t".into(), SpanType::ToolCall, "get_weather", began)]);
//!
//! let mut text = Vec::new();
//! run_tree::write(&mut text, &trace, Style::Plain)?;
//! assert_eq!(
//!     String::from_utf8(text)?,
//!     "weather · running\n\
//!      trace t\n\
//!      └─ tool_call get_weather  running\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every span is printed once, whatever its parent is: one that is not there, or itself. Control characters of names and
//! contents are not passed on, so that nothing that a model writes reaches the terminal as a command.
//!
//! # What this does not do
//! It does not know how wide a terminal is, nor that some characters take two columns.

mod amount;
mod example;
mod excerpt;
mod row;
mod style;
mod timeless;
mod tree;

use std::io::{self, IsTerminal as _, Write};

use retrace_protocol::Trace;

pub use example::run_example;
pub use style::Style;
pub use timeless::timeless;

use row::{Header, Row};

/// Prints a run to the standard output, in colours when that is a terminal.
///
/// # Errors
/// Those of the standard output.
pub fn print(trace: &Trace) -> io::Result<()> {
    let out = io::stdout().lock();
    let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    write(out, trace, if colours { Style::Coloured } else { Style::Plain })
}

/// Writes a run.
///
/// # Errors
/// Those of `out`.
pub fn write(mut out: impl Write, trace: &Trace, style: Style) -> io::Result<()> {
    let spans = trace.spans.as_deref().unwrap_or_default();
    Header::of(trace).write(&mut out, style)?;
    let rows: Vec<Row<'_>> = tree::branches(spans).into_iter().map(Row::of).collect();
    let columns = row::columns(&rows);
    for row in &rows {
        row.write(&mut out, style, &columns)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
