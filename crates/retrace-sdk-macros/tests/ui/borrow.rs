//! Borrow errors in a body are reported in the body.

#[retrace::record]
fn moved(topic: String) -> usize {
    drop(topic);
    topic.len()
}

#[retrace::record]
fn not_mutable(topics: Vec<String>) {
    topics.clear();
}

#[retrace::record]
fn local() -> &'static str {
    let text = String::new();
    &text
}

fn main() {}
