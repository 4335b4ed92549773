//! One WebSocket passed on frame by frame, as far as its fault lets it.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use retrace_protocol::ServerFrame;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async_with_config};

use super::{Acks, Counts, Shared, StreamFault, Way, reset, resets};

type Socket = WebSocketStream<TcpStream>;

/// Acks that are held to be mixed, and how long the first waits for others.
const MIXED: usize = 8;
const MIXED_WITHIN: Duration = Duration::from_millis(3);
/// Every so many frames a slow reader rests.
const SLOW: usize = 16;

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A side ended it.
    Natural,
    /// The fault did.
    Cut,
    /// Nothing passes any more.
    HalfOpen,
}

pub(super) async fn relay(client: TcpStream, shared: &Shared) {
    let fault = shared.stream_fault();
    if matches!(fault, StreamFault::ResetUpgrade) {
        Counts::count(&shared.counts.cuts);
        return reset(client);
    }
    if fault.resets() {
        resets(&client);
    }
    let Some((client, target)) = connect(client, shared).await else { return };
    if matches!(fault, StreamFault::ResetUpgraded) {
        return Counts::count(&shared.counts.cuts);
    }
    let (mut to_client, mut from_client) = client.split();
    let (mut to_target, mut from_target) = target.split();
    let passing = Passing { fault, shared, stalled_until: OnceLock::new() };
    let end = tokio::select! {
        end = passing.up(&mut from_client, &mut to_target) => end,
        end = passing.down(&mut from_target, &mut to_client) => end,
        () = shared.heals(), if !matches!(fault, StreamFault::None) => End::Cut,
    };
    if end != End::Natural {
        Counts::count(&shared.counts.cuts);
    }
    if end == End::HalfOpen {
        let Ok(client) = to_client.reunite(from_client) else { return };
        let mut client = client.into_inner();
        let swallow = async {
            let mut bytes = [0; 4096];
            while client.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
        };
        tokio::select! {
            () = swallow => {}
            () = shared.heals() => {}
        }
        reset(client);
    }
}

/// The receiver first: a client that is let in before is told nothing wrong.
async fn connect(client: TcpStream, shared: &Shared) -> Option<(Socket, Socket)> {
    let no_limits = Some(WebSocketConfig::default().max_message_size(None).max_frame_size(None));
    let address = shared.target();
    let target = TcpStream::connect(address).await.ok()?;
    let url = format!("ws://{address}/ws/v1/stream");
    let (target, _) = client_async_with_config(url, target, no_limits).await.ok()?;
    let client = accept_async_with_config(client, no_limits).await.ok()?;
    Some((client, target))
}

struct Passing<'a> {
    fault: StreamFault,
    shared: &'a Shared,
    stalled_until: OnceLock<Instant>,
}

impl Passing<'_> {
    async fn up(&self, from: &mut SplitStream<Socket>, to: &mut SplitSink<Socket, Message>) -> End {
        let mut frames = 0;
        while let Some(Ok(message)) = from.next().await {
            if message.is_text() {
                frames += 1;
                Counts::count(&self.shared.counts.frames);
            }
            match self.fault {
                StreamFault::Cut { way: Way::Up, after, .. } if frames > after => return End::Cut,
                StreamFault::HalfOpen { after } if frames > after => return End::HalfOpen,
                StreamFault::Stall { after, pause } if frames == after + 1 => {
                    self.stalled_until.get_or_init(|| Instant::now() + pause);
                }
                StreamFault::SlowReader if frames.is_multiple_of(SLOW) => sleep(Duration::from_millis(1)).await,
                _ => {}
            }
            self.stall().await;
            if to.send(message).await.is_err() {
                break;
            }
            if matches!(self.fault, StreamFault::ResetAuth) {
                return End::Cut;
            }
        }
        End::Natural
    }

    async fn down(&self, from: &mut SplitStream<Socket>, to: &mut SplitSink<Socket, Message>) -> End {
        let mut frames = 0;
        let mut acks = Spoilt::default();
        loop {
            let next = match acks.due {
                Some(due) => match timeout(due.saturating_duration_since(Instant::now()), from.next()).await {
                    Ok(next) => next,
                    Err(_) => {
                        for message in acks.release() {
                            if to.send(message).await.is_err() {
                                return End::Natural;
                            }
                        }
                        continue;
                    }
                },
                None => from.next().await,
            };
            let Some(Ok(message)) = next else { return End::Natural };
            frames += usize::from(message.is_text());
            let (how, cut) = match self.fault {
                StreamFault::Cut { way: Way::Down, after, .. } => (None, after),
                StreamFault::Acks { how, cut } => (Some(how), cut),
                _ => (None, usize::MAX),
            };
            if frames > cut {
                return End::Cut;
            }
            self.stall().await;
            let is_ack =
                || message.to_text().is_ok_and(|text| matches!(ServerFrame::parse(text), Ok(ServerFrame::Ack(_))));
            let passed = match how {
                Some(how) if is_ack() => {
                    self.shared.counts.acks_spoilt.fetch_add(1, Ordering::Relaxed);
                    acks.spoil(how, message)
                }
                _ => vec![message],
            };
            for message in passed {
                if to.send(message).await.is_err() {
                    return End::Natural;
                }
            }
        }
    }

    async fn stall(&self) {
        if let Some(until) = self.stalled_until.get() {
            sleep_until(*until).await;
        }
    }
}

/// Acks on their way through a spoiler.
#[derive(Default)]
struct Spoilt {
    seen: usize,
    held: VecDeque<Message>,
    due: Option<Instant>,
}

impl Spoilt {
    /// What is passed on for this ack.
    fn spoil(&mut self, how: Acks, ack: Message) -> Vec<Message> {
        self.seen += 1;
        match how {
            Acks::DropAll => Vec::new(),
            Acks::Drop if self.seen.is_multiple_of(3) => Vec::new(),
            Acks::Drop => vec![ack],
            Acks::Duplicate => {
                self.held.push_back(ack.clone());
                let old = if self.held.len() > MIXED { self.held.pop_front() } else { None };
                [ack.clone(), ack].into_iter().chain(old).collect()
            }
            Acks::Reorder => {
                self.held.push_back(ack);
                if self.held.len() >= MIXED {
                    return self.release();
                }
                self.due.get_or_insert_with(|| Instant::now() + MIXED_WITHIN);
                Vec::new()
            }
        }
    }

    /// Those that are held, the last first.
    fn release(&mut self) -> Vec<Message> {
        self.due = None;
        self.held.drain(..).rev().collect()
    }
}

impl StreamFault {
    /// Whether the client is to see a reset, however the connection ends.
    fn resets(self) -> bool {
        !matches!(self, Self::None | Self::Stall { .. } | Self::SlowReader | Self::Cut { reset: false, .. })
    }
}
