//! Associated functions without `self`: the items beside a resumable function cannot stand in an `impl` block.

struct Agent;

impl Agent {
    #[retrace::record(resumable)]
    async fn research(topic: &str) -> usize {
        topic.len()
    }

    /// A method is marked, and writes no items.
    #[retrace::record(resumable)]
    async fn method(&self, topic: &str) -> usize {
        topic.len()
    }
}

fn main() {}
