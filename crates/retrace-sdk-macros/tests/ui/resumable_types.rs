//! Arguments that cannot be read, and a future that cannot be sent.

struct Client;

#[retrace::record(resumable)]
async fn with_client(_client: &Client, _topic: &str) {}

#[retrace::record(resumable)]
async fn not_send(_topic: &str) {
    let shared = std::rc::Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
}

fn main() {
    let _ = retrace::resumable!(with_client);
    let _ = retrace::resumable!(not_send);
}
