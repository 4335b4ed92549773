//! As much of HTTP as two services need.

use std::io::{BufRead as _, BufReader, Error, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Sends a request with these headers, and waits for the end of its answer.
pub fn call(service: SocketAddr, headers: &HeaderMap) -> Result<()> {
    let mut stream = TcpStream::connect(service)?;
    let line = |(name, value): (_, &HeaderValue)| format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    let headers: String = headers.iter().map(|header: (&HeaderName, _)| line(header)).collect();
    write!(stream, "POST /ask HTTP/1.1\r\nhost: {service}\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 204") { Ok(()) } else { Err(Error::other(answer)) }
}

/// Handles one request by its headers.
pub fn serve_one(listener: &TcpListener, handle: impl FnOnce(HeaderMap)) -> Result<()> {
    let (stream, _) = listener.accept()?;
    let mut headers = HeaderMap::new();
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            let value = HeaderValue::from_str(value.trim()).map_err(Error::other)?;
            headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(Error::other)?, value);
        }
    }
    handle(headers);
    (&stream).write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
}
