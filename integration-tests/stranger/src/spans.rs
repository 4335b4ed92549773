//! Spans of `tracing` around and below recorded calls.

#[retrace::record]
fn recorded(text: &str) -> usize {
    below(text)
}

#[tracing::instrument]
fn below(text: &str) -> usize {
    innermost(text)
}

#[retrace::record(type = tool_call)]
fn innermost(text: &str) -> usize {
    text.len()
}

/// A recorded call inside of a span, with a span and another call below.
#[tracing::instrument]
pub fn record_inside_of_tracing() {
    recorded("outside: tracing");
}

/// A span inside of a recorded run, with another call below.
pub fn tracing_inside_of_record() {
    let run = retrace::run("outside").start();
    run.output(below("outside: record"));
}
