//! Route to a receiver on another machine: direct, or through the proxy of the environment.
//!
//! `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are read as curl reads them. A connection through a proxy is a
//! tunnel: TLS is terminated by the receiver, and the proxy sees neither the API key nor the runs.

use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::connect::{BoxError, Connecting};
use crate::config::{BaseUrl, BuildError};

/// Connection to the receiver, or to the proxy, which may itself require TLS.
pub(crate) type Hop = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Route to a receiver.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Direct(HttpConnector),
    Proxy(Box<Tunnel<HttpsConnector<HttpConnector>>>),
}

impl Route {
    /// Selects the route by the environment.
    pub(crate) fn to(receiver: &BaseUrl, tcp: HttpConnector, tls: &ClientConfig) -> Result<Self, BuildError> {
        if receiver.is_loopback() {
            return Ok(Self::Direct(tcp));
        }
        Self::by(&Matcher::from_env(), receiver, tcp, tls)
    }

    /// Selects the route by a matcher.
    pub(super) fn by(
        matcher: &Matcher,
        receiver: &BaseUrl,
        tcp: HttpConnector,
        tls: &ClientConfig,
    ) -> Result<Self, BuildError> {
        let url: Option<Uri> = receiver.as_str().parse().ok();
        let Some(proxy) = url.and_then(|url| matcher.intercept(&url)) else { return Ok(Self::Direct(tcp)) };
        let uri = proxy.uri();
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(BuildError::Proxy {
                scheme: uri.scheme_str().unwrap_or_default().to_owned(),
                host: uri.host().unwrap_or_default().to_owned(),
            });
        }
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        let mut tunnel = Tunnel::new(uri.clone(), builder.wrap_connector(tcp));
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        Ok(Self::Proxy(Box::new(tunnel)))
    }
}

impl Service<Uri> for Route {
    type Response = Hop;
    type Error = BoxError;
    type Future = Connecting<Hop>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            Self::Proxy(tunnel) => tunnel.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
            Self::Proxy(tunnel) => {
                let connecting = tunnel.call(uri);
                Box::pin(async move { Ok(connecting.await?) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(matcher: &Matcher, receiver: &str) -> Result<Route, BuildError> {
        let receiver = BaseUrl::parse(receiver, "RETRACE_BASE_URL", &[]).unwrap();
        Route::by(matcher, &receiver, HttpConnector::new(), &crate::transport::tls::client(None).unwrap())
    }

    #[test]
    fn the_environment_decides() {
        let matcher = Matcher::builder().https("http://user:word@proxy:3128").no("example.org").build();
        assert!(matches!(route(&matcher, "https://api.retraceai.tech"), Ok(Route::Proxy(_))));
        assert!(matches!(route(&matcher, "https://r.example.org/x"), Ok(Route::Direct(_))));
        let shown = format!("{:?}", route(&matcher, "https://api.retraceai.tech"));
        assert!(!shown.contains("word"), "{shown}");
    }

    #[test]
    fn a_proxy_of_another_kind_is_an_error_and_not_passed_by() {
        let matcher = Matcher::builder().all("socks5://user:word@proxy:1080").build();
        let error = route(&matcher, "https://api.retraceai.tech").unwrap_err().to_string();
        assert!(error.contains("socks5") && error.contains("proxy") && !error.contains("word"), "{error}");
    }
}
