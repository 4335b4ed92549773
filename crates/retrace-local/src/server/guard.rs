//! Keeps web pages out of a receiver that listens on the same machine as a browser.
//!
//! A page of any site can make a browser send requests to loopback. It cannot read the responses, because no response
//! allows that, but it could write; with DNS rebinding to 127.0.0.1 it could also read. The check of `Origin`, which
//! browsers set on each write, stops the first; the check of `Host`, which names the requested host, stops the second.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, header};

/// Host names under which this receiver accepts requests.
#[derive(Debug)]
pub(crate) struct Hosts {
    bound: IpAddr,
    names: Vec<String>,
}

/// Reason for which a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stranger {
    #[error("the request has not exactly one `Host`")]
    NoHost,
    #[error("`Host` names another machine than this receiver; a name can be allowed when it is started")]
    Host,
    #[error("a page of another site sent this request")]
    Origin,
}

impl Hosts {
    pub(crate) fn new(bound: IpAddr, names: Vec<String>) -> Self {
        Self { bound, names }
    }

    /// Accepts a request that names this receiver as its host and does not come from another site's page.
    pub(crate) fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Stranger::NoHost) };
        let host = authority(host).ok_or(Stranger::Host)?;
        if ![Some(&host), uri.authority()].into_iter().flatten().all(|authority| self.knows(authority.host())) {
            return Err(Stranger::Host);
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if !is_from(origin, &host) => Err(Stranger::Origin),
            _ => Ok(()),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse::<IpAddr>();
        match address {
            // An address cannot resolve to another one; a receiver bound to all addresses does not know its own.
            Ok(address) => address.is_loopback() || address == self.bound || self.bound.is_unspecified(),
            Err(_) => {
                let is = |name: &str| host.eq_ignore_ascii_case(name);
                is("localhost")
                    || host.to_ascii_lowercase().ends_with(".localhost")
                    || self.names.iter().any(|name| is(name))
            }
        }
    }
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    let authority: Authority = value.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

/// Returns true if a page of this receiver sent the request.
fn is_from(origin: &HeaderValue, host: &Authority) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> Result<(), Stranger> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Hosts::new(bound.parse().unwrap(), vec!["devbox".into()]).admit(&uri.parse().unwrap(), &map)
    }

    #[test]
    fn requests_name_the_receiver() {
        for host in
            ["localhost:3001", "LOCALHOST", "a.localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:3001", "devbox"]
        {
            assert_eq!(check("127.0.0.1", "/", &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "10.0.0.1:3001", "0.0.0.0", "[::2]", "a@localhost", "x y"]
        {
            assert_eq!(check("127.0.0.1", "/", &[("host", host)]), Err(Stranger::Host), "{host}");
        }
        assert_eq!(check("127.0.0.1", "/", &[]), Err(Stranger::NoHost));
        assert_eq!(check("127.0.0.1", "/", &[("host", "localhost"), ("host", "localhost")]), Err(Stranger::NoHost));
        assert_eq!(check("127.0.0.1", "http://evil.example/", &[("host", "localhost")]), Err(Stranger::Host));
        assert_eq!(check("127.0.0.1", "http://localhost:1/", &[("host", "localhost")]), Ok(()));
    }

    #[test]
    fn requests_from_elsewhere_name_an_address() {
        assert_eq!(check("0.0.0.0", "/", &[("host", "192.168.1.5:3001")]), Ok(()));
        assert_eq!(check("192.168.1.5", "/", &[("host", "192.168.1.5:3001")]), Ok(()));
        assert_eq!(check("192.168.1.5", "/", &[("host", "192.168.1.6:3001")]), Err(Stranger::Host));
        assert_eq!(check("0.0.0.0", "/", &[("host", "evil.example")]), Err(Stranger::Host));
    }

    #[test]
    fn only_its_own_page_may_send() {
        let from = |origin| check("127.0.0.1", "/", &[("host", "localhost:3001"), ("origin", origin)]);
        assert_eq!(from("http://localhost:3001"), Ok(()));
        for origin in ["http://localhost:3002", "http://127.0.0.1:3001", "https://evil.example", "null", ""] {
            assert_eq!(from(origin), Err(Stranger::Origin), "{origin}");
        }
    }
}
