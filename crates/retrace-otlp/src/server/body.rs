//! Bodies of requests: read whole, within limits of size, time and memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use retrace_protocol::read::Refusal;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::compression::{Compression, Unpacked};
use super::rejection::Rejection;

/// Bodies up to this size do not count against the memory limit, and are parsed on the runtime's thread: a small run
/// never waits for a large one.
const SMALL_BYTES: u64 = 64 * 1024;
/// Unit of the semaphore that limits memory, in bytes.
const UNIT_BYTES: u64 = 1024;
/// Number of bodies of the largest size that may be in memory at a time.
const LARGEST_AT_ONCE: u64 = 2;
/// Time for which the rest of a rejected body is read and discarded. A client whose connection is reset while it sends
/// does not see the response.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Limits of request bodies.
#[derive(Debug)]
pub struct Bodies {
    limit: u64,
    timeout: Duration,
    room: Arc<Semaphore>,
}

/// A complete body.
#[derive(Debug)]
pub struct Received {
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    /// Creates the limits: `limit` in bytes, and `timeout` for each whole body.
    #[must_use]
    pub fn new(limit: u64, timeout: Duration) -> Self {
        let units = limit.div_ceil(UNIT_BYTES).max(1).saturating_mul(LARGEST_AT_ONCE);
        let units = usize::try_from(units).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { limit, timeout, room: Arc::new(Semaphore::new(units)) }
    }

    /// The largest body, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Reads a JSON body, which may be compressed.
    ///
    /// Browsers send this content type to another site only after a preflight request, which no response here allows.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    pub async fn json(&self, request: Request) -> Result<Received, Rejection> {
        if !is_json(request.headers()) {
            let reason = "the body must be sent as `content-type: application/json`";
            return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        self.compressed(request).await
    }

    /// Reads a body of any kind.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    pub async fn any(&self, request: Request) -> Result<Received, Rejection> {
        self.read(request.into_body(), self.limit).await
    }

    /// Reads a body of any kind that may be compressed. The limit also applies to the decompressed size.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    pub async fn compressed(&self, request: Request) -> Result<Received, Rejection> {
        let Some(compression) = Compression::of(request.headers()) else {
            let reason = "the body must be sent without `content-encoding`, or with `gzip` or `deflate`";
            return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        };
        let received = self.any(request).await?;
        if compression == Compression::None {
            return Ok(received);
        }
        let Received { bytes, room: _room } = received;
        // Small bodies are decompressed at once. The size of others is unknown: each reserves the largest size.
        let small = usize::try_from(SMALL_BYTES.min(self.limit)).unwrap_or(usize::MAX);
        let (room, unpacked) = match compression.unpack(&bytes, small) {
            Unpacked::TooLarge if (small as u64) < self.limit => {
                let room = self.reserve(self.limit).await?;
                let limit = self.limit();
                let unpacked = tokio::task::spawn_blocking(move || compression.unpack(&bytes, limit)).await;
                (room, unpacked.map_err(|_| Rejection::busy("the server is stopping"))?)
            }
            unpacked => (None, unpacked),
        };
        match unpacked {
            Unpacked::Whole(bytes) => Ok(Received { bytes: bytes.into(), room }),
            Unpacked::TooLarge => Err(too_large(self.limit)),
            Unpacked::Damaged => {
                Err(Rejection::new(StatusCode::BAD_REQUEST, "the body is not encoded as its `content-encoding` states"))
            }
        }
    }

    /// Reads a small body of any kind and discards it.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    pub async fn discard(&self, request: Request) -> Result<(), Rejection> {
        self.read(request.into_body(), self.limit.min(SMALL_BYTES)).await.map(drop)
    }

    async fn read(&self, body: Body, limit: u64) -> Result<Received, Rejection> {
        let declared = body.size_hint().exact();
        if declared.is_some_and(|bytes| bytes > limit) {
            return Err(too_large(limit));
        }
        let room = self.reserve(declared.unwrap_or(limit)).await?;
        let collected = timeout(self.timeout, collect(body, declared, limit)).await.map_err(|_| {
            let reason = format!("the body did not arrive within {:?}", self.timeout);
            Rejection::new(StatusCode::REQUEST_TIMEOUT, reason)
        })?;
        match collected {
            Ok(Some(bytes)) => Ok(Received { bytes: bytes.into(), room }),
            Ok(None) => Err(too_large(limit)),
            Err(error) => {
                Err(Rejection::new(StatusCode::BAD_REQUEST, format!("the body did not arrive whole: {error}")))
            }
        }
    }

    /// Reads the single message of a gRPC call, after its flag and length prefix.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    #[cfg(feature = "grpc")]
    pub async fn message(&self, mut body: Incoming) -> Result<Received, Rejection> {
        const HEAD: usize = 5;
        let read = async {
            let mut bytes = Vec::new();
            let [_, length @ ..] = loop {
                if let Some(head) = bytes.first_chunk::<HEAD>() {
                    break *head;
                }
                bytes.extend_from_slice(&data(&mut body).await?);
            };
            let length = u32::from_be_bytes(length);
            if u64::from(length) > self.limit {
                return Err(too_large(self.limit));
            }
            let room = self.reserve(length.into()).await?;
            // A machine with that much memory has a `usize` of that width.
            let whole = HEAD.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            while bytes.len() < whole {
                bytes.extend_from_slice(&data(&mut body).await?);
            }
            bytes.truncate(whole);
            Ok(Received { bytes: bytes.into(), room })
        };
        timeout(self.timeout, read).await.unwrap_or_else(|_| {
            let reason = format!("the message did not arrive within {:?}", self.timeout);
            Err(Rejection::new(StatusCode::REQUEST_TIMEOUT, reason))
        })
    }

    /// Reserves memory for the decompressed message, whose size is unknown.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    #[cfg(feature = "grpc")]
    pub async fn largest(&self) -> Result<Option<OwnedSemaphorePermit>, Rejection> {
        self.reserve(self.limit).await
    }

    /// Waits for a permit for this number of bytes. Nothing is read meanwhile, which applies backpressure to the
    /// sender.
    async fn reserve(&self, bytes: u64) -> Result<Option<OwnedSemaphorePermit>, Rejection> {
        if bytes <= SMALL_BYTES {
            return Ok(None);
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        match timeout(self.timeout, Arc::clone(&self.room).acquire_many_owned(units)).await {
            Ok(Ok(room)) => Ok(Some(room)),
            Ok(Err(_)) | Err(_) => Err(Rejection::busy("too many large bodies at once")),
        }
    }
}

/// Reads a whole body; returns `None` if it exceeds `limit`.
async fn collect(mut body: Body, declared: Option<u64>, limit: u64) -> Result<Option<Vec<u8>>, axum::Error> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(declared.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > limit {
            return Ok(None);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Some(bytes))
}

/// Returns the next bytes of an incomplete message.
#[cfg(feature = "grpc")]
async fn data(body: &mut Incoming) -> Result<Bytes, Rejection> {
    let cut = |why: &dyn std::fmt::Display| {
        Rejection::new(StatusCode::BAD_REQUEST, format!("the message did not arrive whole: {why}"))
    };
    match body.frame().await {
        Some(Ok(frame)) => frame.into_data().map_err(|_| cut(&"it ends before the length that it declares")),
        Some(Err(error)) => Err(cut(&error)),
        None => Err(cut(&"it ends before the length that it declares")),
    }
}

impl Received {
    /// Wraps a decompressed message, and keeps the part of its permit that its size requires.
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn unpacked(bytes: Bytes, mut room: Option<OwnedSemaphorePermit>) -> Self {
        let units = (bytes.len() as u64).div_ceil(UNIT_BYTES);
        let kept = room.as_mut().and_then(|room| room.split(usize::try_from(units).unwrap_or(usize::MAX)));
        Self { bytes, room: kept.or(room) }
    }

    /// Returns the bytes, and the permit for their memory.
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn into_parts(self) -> (Bytes, Option<OwnedSemaphorePermit>) {
        (self.bytes, self.room)
    }

    /// Parses the body, a large one on a blocking thread, and passes on the permit for its memory.
    ///
    /// # Errors
    /// Returns the response to a body that is refused, too large, late or damaged.
    pub async fn parse<T: Send + 'static>(
        self,
        parse: fn(&[u8]) -> Result<T, Refusal>,
    ) -> Result<(T, Option<OwnedSemaphorePermit>), Rejection> {
        let Self { bytes, room } = self;
        if bytes.len() as u64 <= SMALL_BYTES {
            return Ok((parse(&bytes)?, room));
        }
        let parsed = tokio::task::spawn_blocking(move || parse(&bytes)).await;
        let parsed = parsed.map_err(|_| Rejection::busy("the server is stopping"))?;
        Ok((parsed?, room))
    }
}

fn too_large(limit: u64) -> Rejection {
    let reason = format!("the body is larger than {limit} bytes, the most that this endpoint takes");
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Incoming body of a request. If it is dropped before its end, the rest is read and discarded for a while, so that a
/// client that is still sending receives its response.
#[derive(Debug)]
pub(super) struct Draining {
    body: Option<Incoming>,
    /// The client waits for `100 Continue`: a body that is not requested is not sent.
    waits: bool,
}

impl Draining {
    /// Wraps the body of a request with these headers.
    pub(super) fn new(body: Incoming, headers: &HeaderMap) -> Self {
        Self { body: Some(body), waits: headers.contains_key(header::EXPECT) }
    }
}

impl http_body::Body for Draining {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.body.as_mut().map_or(Poll::Ready(None), |body| Pin::new(body).poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !self.waits && !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, Handle::try_current()) {
            runtime.spawn(timeout(DRAIN_TIMEOUT, drain(body)));
        }
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
