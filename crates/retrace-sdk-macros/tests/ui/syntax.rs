//! A syntax error in a body is reported in the body.

#[retrace::record]
fn broken(topic: &str) -> usize {
    let length = topic.;
    length
}

fn main() {}
