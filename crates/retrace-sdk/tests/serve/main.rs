//! Functions that a receiver runs again, against a scripted one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    unreachable_pub,
    missing_docs
)]

mod captures;
mod opt_in;
mod peer;
#[path = "../replay/provider.rs"]
#[expect(dead_code, reason = "this program uses a part of it")]
mod provider;
mod recordings;
mod schedules;
#[path = "../support/mod.rs"]
mod support;

use std::sync::MutexGuard;
use std::time::Duration;

use retrace::{Configuration, Guard, Resumable, ServeBuilder};
use serde_json::{Value, json};

use peer::Peer;
use support::{LIMIT, alone};

/// A pipeline to a scripted receiver.
struct Served {
    peer: Peer,
    guard: Option<Guard>,
    runtime: tokio::runtime::Runtime,
    _alone: MutexGuard<'static, ()>,
}

impl Served {
    fn start() -> Self {
        Self::with(|configuration| configuration.with_remote_replay(true).with_remote_cassette(true))
    }

    fn with(change: impl FnOnce(Configuration) -> Configuration) -> Self {
        let alone = alone();
        let peer = Peer::start();
        let configuration = retrace::configure()
            .with_api_key("rt_capture_key")
            .with_base_url(peer.url())
            .with_flush_timeout(LIMIT)
            .with_linger(Duration::ZERO);
        let guard = change(configuration).install().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { peer, guard: Some(guard), runtime, _alone: alone }
    }

    /// Serves functions until what is returned is dropped.
    fn serve(&self, functions: impl IntoIterator<Item = Resumable>) -> retrace::Serving {
        self.serve_with(retrace::serve(functions))
    }

    fn serve_with(&self, serve: ServeBuilder) -> retrace::Serving {
        let _entered = self.runtime.enter();
        let serving = serve.spawn();
        self.peer.wait_served_after(0);
        serving
    }

    fn shut_down(&mut self) {
        self.guard.take().unwrap().shutdown().unwrap();
    }
}

/// The data of a `resume` frame as it was captured, with changes.
fn resume(name: &str, changes: Value) -> Value {
    let mut data = json!({
        "forkId": "7b0c0e0e-1111-4222-8333-444455556666", "traceId": "aef506d5-d83d-440a-b416-47ef9016d1d0",
        "traceName": name, "forkPointSpanId": "00000000-0000-4000-8000-000000000001", "forkPointIndex": 1,
        "modifiedInput": {"question": "new?", "allow_shell": true}, "originalArgs": [],
        "originalKwargs": {"question": "old?"}, "cassette": null, "executionId": "exec-1"
    });
    data.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    json!({"type": "resume", "data": data})
}
