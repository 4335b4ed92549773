//! Items that cannot be recorded.

#[retrace::record]
struct Agent {
    name: String,
}

#[retrace::record]
enum Kind {
    One,
}

#[retrace::record]
impl Agent {
    fn name(&self) -> &str {
        &self.name
    }
}

#[retrace::record]
trait Tool {
    fn call(&self);
}

trait Search {
    #[retrace::record]
    fn search(&self, query: &str) -> usize;
}

#[retrace::record]
const LIMIT: usize = 3;

#[retrace::record]
const fn limit() -> usize {
    3
}

#[retrace::record]
mod inner {}

fn main() {
    let _ = (limit(), LIMIT, Kind::One, Agent { name: String::new() }.name());
}
