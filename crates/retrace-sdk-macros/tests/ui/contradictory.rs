//! Arguments given twice, and arguments that contradict each other.

#[retrace::record(name = "a", name = "b")]
fn twice() {}

#[retrace::record(skip(a, a))]
fn skipped_twice(a: u8) {
    let _ = a;
}

#[retrace::record(skip(a), skip_all)]
fn skip_and_skip_all(a: u8) {
    let _ = a;
}

#[retrace::record(input = a, skip_all)]
fn input_and_skip_all(a: u8) {
    let _ = a;
}

#[retrace::record(input = b, skip(a))]
fn input_and_skip(a: u8, b: u8) {
    let _ = (a, b);
}

#[retrace::record(output = |out| *out, skip_output)]
fn output_and_skip_output() -> u8 {
    1
}

#[retrace::record(role = "Planner")]
fn role_without_an_agent() {}

#[retrace::record(replay)]
fn replay_without_a_type() {}

#[retrace::record(type = reasoning, replay)]
fn replay_of_no_tool() {}

#[retrace::record(type = tool_call, resumable)]
fn resumable_step() {}

#[retrace::record(type = run, effects = none)]
fn effects_of_a_run() {}

fn main() {}
