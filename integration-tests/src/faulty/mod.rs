//! A proxy on loopback that treats what passes through it badly, as a schedule says.
//!
//! It stands between our pipeline and a receiver, and speaks WebSocket and HTTP on the same port. It knows the frames of
//! the receiver, so that it can drop, repeat and reorder acks.

mod receiver;
mod request;
mod schedule;
mod stream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

pub use self::receiver::Receiver;
pub use self::schedule::{Acks, RequestFault, Schedule, StreamFault, Way};

/// The proxy. Stops when it is dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    /// Where the receiver is at present.
    target: Mutex<SocketAddr>,
    schedule: Mutex<Schedule>,
    healed: watch::Sender<bool>,
    counts: Counts,
}

/// What passed through, and what was done to it.
#[derive(Debug, Default)]
pub struct Counts {
    /// Streams that were asked for.
    pub streams: AtomicUsize,
    /// Requests.
    pub requests: AtomicUsize,
    /// Text frames of clients that were read.
    pub frames: AtomicUsize,
    /// Acks that were not passed on, or not as they came.
    pub acks_spoilt: AtomicUsize,
    /// Connections that a fault ended.
    pub cuts: AtomicUsize,
}

impl Counts {
    fn count(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl FaultyProxy {
    /// Starts it before the receiver at this address.
    #[must_use]
    pub fn start(target: SocketAddr, schedule: Schedule) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            schedule: Mutex::new(schedule),
            healed: watch::Sender::new(false),
            counts: Counts::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let serving = Arc::clone(&shared);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(listener, address, &serving) => {}
                    _ = stopped => {}
                }
            });
        };
        thread::Builder::new().name("faulty-proxy".to_owned()).spawn(run).unwrap();
        Self { address, shared, _stop: stop }
    }

    /// Where clients find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The receiver is somewhere else from now on.
    pub fn set_target(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    /// From now on everything passes as it should. Connections that a fault has in its grip are reset.
    pub fn heal(&self) {
        self.shared.healed.send_replace(true);
    }

    /// What passed so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

impl Shared {
    fn is_healed(&self) -> bool {
        *self.healed.borrow()
    }

    fn target(&self) -> SocketAddr {
        *self.target.lock().unwrap()
    }

    fn stream_fault(&self) -> StreamFault {
        if self.is_healed() { StreamFault::None } else { self.schedule.lock().unwrap().next_stream() }
    }

    fn request_fault(&self) -> RequestFault {
        if self.is_healed() { RequestFault::None } else { self.schedule.lock().unwrap().next_request() }
    }

    fn refusal(&self) -> Option<Duration> {
        if self.is_healed() { None } else { self.schedule.lock().unwrap().next_refusal() }
    }

    /// Resolves when nothing is to go wrong any more.
    async fn heals(&self) {
        // The sender lives as long as this.
        let _ = self.healed.subscribe().wait_for(|healed| *healed).await;
    }
}

async fn accept(mut listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if let Some(pause) = shared.refusal() {
            Counts::count(&shared.counts.cuts);
            reset(client);
            drop(listener);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.heals() => {}
            }
            listener = TcpListener::bind(address).await.expect("nobody else takes the port meanwhile");
            continue;
        }
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let mut start = [0; 7];
            while client.peek(&mut start).await.is_ok_and(|read| (1..start.len()).contains(&read)) {
                tokio::task::yield_now().await;
            }
            if &start == b"GET /ws" {
                Counts::count(&shared.counts.streams);
                stream::relay(client, &shared).await;
            } else if start[0] != 0 {
                Counts::count(&shared.counts.requests);
                request::relay(client, &shared).await;
            }
        });
    }
}

/// Closing it is a reset from now on.
fn resets(socket: &TcpStream) {
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

fn reset(socket: TcpStream) {
    resets(&socket);
    drop(socket);
}
