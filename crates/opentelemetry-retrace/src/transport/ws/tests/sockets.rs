//! The whole route, over TCP on this machine.

use tokio::net::TcpListener;

use super::*;
use crate::transport::ws::Ws;

fn ws(base_url: String) -> Ws {
    let settings = Settings { api_key: Some(KEY.into()), base_url: Some(base_url), ..Settings::default() };
    Ws::new(&config(settings)).unwrap()
}

#[tokio::test]
async fn a_connection_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ws = ws(format!("http://{}", listener.local_addr().unwrap()));
    assert!(!format!("{ws:?}").contains(KEY));
    let mut link = ws.open(false);
    let mut receiver = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    assert!(receiver.next().await.unwrap().unwrap().to_text().unwrap().contains(KEY));
    receiver.send(Message::text(r#"{"type":"auth_ok"}"#)).await.unwrap();
    assert!(matches!(next(&mut link).await, Incoming::Open));
    let serving = tokio::spawn(async move {
        let mut got = 0;
        while let Some(Ok(message)) = receiver.next().await {
            if message.is_text() {
                assert_eq!(message.to_text().unwrap(), frame(got, 50_000));
                receiver.send(Message::text(format!(r#"{{"type":"ack","id":"a","seq":{got}}}"#))).await.unwrap();
                got += 1;
            }
        }
        got
    });
    let outgoing = link.outgoing.clone();
    let sending = tokio::spawn(async move {
        for number in 0..200 {
            outgoing.send(vec![frame(number, 50_000).into()]).await.unwrap();
        }
    });
    assert!(acked(&mut link, 200).await.into_iter().eq(0..200));
    sending.await.unwrap();
    link.close();
    assert_eq!(closed(&mut link).await.0.reason, CloseReason::Ended);
    assert_eq!(serving.await.unwrap(), 200);
}

#[tokio::test]
async fn nobody_there_is_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (closed, _) = closed(&mut ws(format!("http://{address}")).open(false)).await;
    assert_eq!(closed.reason, CloseReason::NotConnected);
    assert!(closed.cause.starts_with("no connection: "), "{closed:?}");
}
