//! Connections to the receiver: direct or through a proxy, with TLS or in clear text.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::config::{BuildError, Config};

/// Timeout of connecting: name lookup, proxy and handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time of silence after which a connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(15);

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Connecting<S> = Pin<Box<dyn Future<Output = Result<S, BoxError>> + Send>>;

/// Connection.
#[cfg(feature = "_rustls")]
pub(crate) type Stream = hyper_rustls::MaybeHttpsStream<super::proxy::Hop>;
/// Connection.
#[cfg(not(feature = "_rustls"))]
pub(crate) type Stream = TokioIo<TcpStream>;

/// Connector to one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Connector(Path);

#[derive(Clone, Debug)]
enum Path {
    /// Clear text to this machine or an allowed host only, see [`crate::config::BaseUrl`]; never through a
    /// proxy.
    Clear(HttpConnector),
    #[cfg(feature = "_rustls")]
    Tls(Box<hyper_rustls::HttpsConnector<super::proxy::Route>>),
}

impl Connector {
    /// Creates the connector. It connects nowhere yet, and needs no runtime.
    pub(crate) fn new(config: &Config) -> Result<Self, BuildError> {
        if config.base_url.is_secure() { Self::secure(config) } else { Ok(Self(Path::Clear(tcp()))) }
    }

    #[cfg(feature = "_rustls")]
    fn secure(config: &Config) -> Result<Self, BuildError> {
        let certificate = config.certificate.as_ref().map(|(path, source_name)| (path.as_path(), *source_name));
        let tls = super::tls::client(certificate)?;
        let route = super::proxy::Route::to(&config.base_url, tcp(), &tls)?;
        Ok(Self::by(route, tls))
    }

    #[cfg(feature = "_rustls")]
    fn by(route: super::proxy::Route, tls: rustls::ClientConfig) -> Self {
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
        Self(Path::Tls(Box::new(builder.wrap_connector(route))))
    }

    /// Creates a connector as if the environment configured this proxy for everything.
    #[cfg(all(test, feature = "_rustls"))]
    pub(super) fn through(proxy: &str, config: &Config) -> Result<Self, BuildError> {
        let matcher = hyper_util::client::proxy::matcher::Matcher::builder().all(proxy).build();
        let tls = super::tls::client(config.certificate.as_ref().map(|(path, name)| (path.as_path(), *name)))?;
        Ok(Self::by(super::proxy::Route::by(&matcher, &config.base_url, tcp(), &tls)?, tls))
    }

    #[cfg(not(feature = "_rustls"))]
    fn secure(config: &Config) -> Result<Self, BuildError> {
        Err(BuildError::NoTls { url: config.base_url.as_str().to_owned() })
    }

    fn connect(&mut self, uri: Uri) -> Connecting<Stream> {
        match &mut self.0 {
            Path::Clear(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async move { Ok(clear(connecting.await?)) })
            }
            #[cfg(feature = "_rustls")]
            Path::Tls(tls) => tls.call(uri),
        }
    }
}

#[cfg(feature = "_rustls")]
fn clear(stream: TokioIo<TcpStream>) -> Stream {
    use hyper_rustls::MaybeHttpsStream::Http;
    Http(Http(stream))
}

#[cfg(not(feature = "_rustls"))]
fn clear(stream: TokioIo<TcpStream>) -> Stream {
    stream
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Connecting<Stream>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Path::Clear(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            #[cfg(feature = "_rustls")]
            Path::Tls(tls) => tls.poll_ready(cx),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.connect(uri);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err("timed out".into()),
            }
        })
    }
}

/// Creates a connector that tries the addresses of a host, a little apart, until one answers.
fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp
}
