//! One request passed on, or not.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{RequestFault, Shared, reset};

pub(super) async fn relay(mut client: TcpStream, shared: &Shared) {
    let fault = shared.request_fault();
    let Some((head, length)) = read_head(&mut client).await else { return };
    let half = matches!(fault, RequestFault::ResetBody);
    let mut body = vec![0; if half { length / 2 } else { length }];
    if client.read_exact(&mut body).await.is_err() {
        return;
    }
    match fault {
        RequestFault::ResetBody => return cut(client, shared),
        RequestFault::Status(status) => {
            let answer = format!("HTTP/1.1 {status} Faulty\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            let _ = client.write_all(answer.as_bytes()).await;
            return;
        }
        RequestFault::None | RequestFault::LoseAnswer => {}
    }
    match pass_on(&head, &body, shared).await {
        Ok(answer) if matches!(fault, RequestFault::None) => {
            let _ = client.write_all(&answer).await;
        }
        _ => cut(client, shared),
    }
}

fn cut(client: TcpStream, shared: &Shared) {
    shared.counts.cuts.fetch_add(1, Ordering::Relaxed);
    reset(client);
}

/// The head without its last empty line, and how long the body is.
async fn read_head(client: &mut TcpStream) -> Option<(String, usize)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    head.truncate(head.len() - 2);
    let head = String::from_utf8(head).ok()?;
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let length = lines.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(Some(0), |(_, length)| length.trim().parse().ok())?;
    Some((head, length))
}

/// One connection for each request: where the answer ends is where the connection does.
async fn pass_on(head: &str, body: &[u8], shared: &Shared) -> std::io::Result<Vec<u8>> {
    let mut target = TcpStream::connect(shared.target()).await?;
    target.write_all(head.as_bytes()).await?;
    target.write_all(b"connection: close\r\n\r\n").await?;
    target.write_all(body).await?;
    let mut answer = Vec::new();
    target.read_to_end(&mut answer).await?;
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}
