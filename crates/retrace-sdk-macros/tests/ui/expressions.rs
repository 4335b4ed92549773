//! Errors in expressions of the attribute are reported in the attribute.

#[retrace::record(input = query)]
fn unknown_name(topic: &str) -> usize {
    topic.len()
}

#[retrace::record(output = |out| out.undefined())]
fn unknown_method() -> usize {
    1
}

#[retrace::record(session = topic.undefined)]
fn unknown_field(topic: &str) -> usize {
    topic.len()
}

#[retrace::record(name = topic)]
fn name_that_is_no_constant(topic: &'static str) -> usize {
    topic.len()
}

#[retrace::record(tags(1 + 1))]
fn tag_of_another_type() {}

fn main() {}
