//! As much of HTTP as two services need.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Error, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Sends a request with these headers, and waits for the end of its answer.
pub fn call(service: SocketAddr, headers: &HashMap<String, String>) -> Result<()> {
    let mut stream = TcpStream::connect(service)?;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "POST /ask HTTP/1.1\r\nhost: {service}\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 204") { Ok(()) } else { Err(Error::other(answer)) }
}

/// Handles one request by its headers.
pub fn serve_one(listener: &TcpListener, handle: impl FnOnce(HashMap<String, String>)) -> Result<()> {
    let (stream, _) = listener.accept()?;
    let mut headers = HashMap::new();
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    handle(headers);
    (&stream).write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
}
