//! `stream` where there is no stream.

use std::future::Future;

#[retrace::record(stream)]
fn nothing() {}

#[retrace::record(stream)]
fn never() -> ! {
    std::process::exit(0)
}

#[retrace::record(stream)]
fn items() -> Vec<u8> {
    vec![1]
}

#[retrace::record(stream)]
async fn items_later() -> Result<Vec<u8>, std::io::Error> {
    Ok(vec![1])
}

#[retrace::record(stream)]
fn future() -> impl Future<Output = u8> {
    let one = 1;
    async move { one }
}

fn main() {}
