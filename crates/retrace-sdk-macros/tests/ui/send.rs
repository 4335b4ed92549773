//! A future that is not `Send` is reported by the value that it holds.

use std::rc::Rc;

#[retrace::record]
async fn holds_an_rc() -> usize {
    let shared = Rc::new(1);
    std::future::ready(()).await;
    *shared
}

fn is_send(_: impl Send) {}

fn main() {
    is_send(holds_an_rc());
}
