//! Functions that cannot be served.

#[retrace::record]
async fn recorded(_topic: &str) {}

fn plain() {}

#[retrace::record(resumable)]
fn generic<T: std::fmt::Debug>(_topic: T) {}

fn main() {
    let _ = retrace::resumable!(recorded);
    let _ = retrace::resumable!(plain);
    let _ = retrace::resumable!(generic);
    let _ = retrace::resumable!(missing);
}
