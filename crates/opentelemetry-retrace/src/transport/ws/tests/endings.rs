//! Ends of an open connection.

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::transport::ws::INCOMING;
use crate::transport::ws::socket::MESSAGE_BYTES;

#[tokio::test(start_paused = true)]
async fn the_code_of_a_close_decides() {
    for (code, reason) in [
        (1000, CloseReason::Lost),
        (1001, CloseReason::Lost),
        (1011, CloseReason::Lost),
        (1012, CloseReason::Lost),
        (4001, CloseReason::Unauthorized),
        (4002, CloseReason::Lost),
        (4003, CloseReason::NoStream),
        (4999, CloseReason::Lost),
    ] {
        let (mut link, mut receiver) = opened().await;
        receiver.send(close_frame(code, "rt_secret\n")).await.unwrap();
        let (closed, took) = closed(&mut link).await;
        assert_eq!((closed.reason, took), (reason, 0), "{code}");
        assert!(closed.cause.contains(&code.to_string()), "{closed:?}");
        assert_eq!(closed.peer_message.as_deref(), Some("…"));
        assert!(matches!(read(&mut receiver).await, Message::Close(Some(_))), "it was answered");
        assert!(link.outgoing.reserve().await.is_err());
    }
    let (mut link, mut receiver) = opened().await;
    receiver.send(Message::Close(None)).await.unwrap();
    let (closed, _) = closed(&mut link).await;
    assert_eq!((closed.reason, closed.peer_message), (CloseReason::Lost, None));
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_close_frame_is_a_loss() {
    let (mut link, receiver) = opened().await;
    drop(receiver);
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Lost, 0));
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_the_end_is_still_given() {
    let (mut link, mut receiver) = opened().await;
    let sending = {
        let outgoing = link.outgoing.clone();
        tokio::spawn(async move { while outgoing.send(vec![frame(0, 10_000).into()]).await.is_ok() {} })
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..20 {
        say(&mut receiver, r#"{"type":"ack","id":"a","seq":1}"#).await;
    }
    receiver.send(close_frame(4001, "")).await.unwrap();
    drop(receiver);
    assert_eq!(acked(&mut link, 20).await, [1; 20]);
    assert_eq!(closed(&mut link).await.0.reason, CloseReason::Unauthorized, "though nothing could be written any more");
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_found_out_after_thirty_seconds() {
    let (mut link, receiver) = opened().await;
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Lost, 30), "{closed:?}");
    drop(receiver);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_merely_quiet_is_asked_and_kept() {
    let (mut link, mut receiver) = opened().await;
    let began = Instant::now();
    for asked in 1..=5 {
        assert!(matches!(read(&mut receiver).await, Message::Ping(_)));
        assert_eq!(began.elapsed().as_secs(), 15 * asked);
        receiver.flush().await.unwrap();
    }
    // A receiver that sends something gets no ping.
    for _ in 0..20 {
        say(&mut receiver, r#"{"type":"ping"}"#).await;
        assert_eq!(read_text(&mut receiver).await, r#"{"type":"pong"}"#);
        tokio::time::sleep(Duration::from_secs(14)).await;
    }
    assert!(link.incoming.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_is_given_up_though_it_talks() {
    let (mut link, mut receiver) = opened().await;
    let sending = {
        let outgoing = link.outgoing.clone();
        tokio::spawn(async move { while outgoing.send(vec![frame(0, 10_000).into()]).await.is_ok() {} })
    };
    let talking = tokio::spawn(async move {
        while receiver.send(Message::Pong(Vec::new().into())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Lost, 30), "{closed:?}");
    sending.await.unwrap();
    talking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_is_no_dead_one() {
    let (mut link, mut receiver) = opened().await;
    let sent = frame(0, 200_000);
    put(&link, &sent).await;
    // The receiver reads one pipe length at a time, with long pauses: four minutes for one frame.
    let slow = async {
        let mut got = Vec::new();
        while got.len() < sent.len() {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let mut piece = [0; PIPE];
            let read = tokio::io::AsyncReadExt::read(receiver.get_mut(), &mut piece).await.unwrap();
            got.extend_from_slice(&piece[..read]);
            receiver.get_mut().write_all(b"\x8a\x00").await.unwrap();
        }
    };
    tokio::select! {
        () = slow => {}
        ended = next(&mut link) => panic!("{ended:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn time_in_which_there_is_nothing_to_write_is_no_stall() {
    let (mut link, mut receiver) = opened().await;
    // The frame fills the pipe together with its head.
    let fill = "z".repeat(PIPE - 8);
    put(&link, &fill).await;
    for _ in 0..6 {
        receiver.send(Message::Pong(Vec::new().into())).await.unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    put(&link, "late").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(read_text(&mut receiver).await, fill.as_str());
    assert_eq!(read_text(&mut receiver).await, "late");
    assert!(link.incoming.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_or_against_the_rules_ends_the_connection() {
    for (bytes, code, what) in [
        (&b"\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x01"[..], 1009, "1048577"),
        (b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 1009, "bytes"),
        (b"\xc1\x00", 1002, "rules"),
        (b"\x81\x01\xff", 1007, "rules"),
    ] {
        let (mut link, mut receiver) = opened().await;
        receiver.get_mut().write_all(bytes).await.unwrap();
        let (closed, took) = closed(&mut link).await;
        assert_eq!((closed.reason, took), (CloseReason::Lost, 0), "{closed:?}");
        assert!(closed.cause.contains(what), "{closed:?}");
        let Message::Close(Some(told)) = read(&mut receiver).await else { panic!("nothing was said") };
        assert_eq!(u16::from(told.code), code);
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_message_is_read() {
    let (mut link, mut receiver) = opened().await;
    let head = r#"{"type":"x","x":""#;
    let text = format!("{head}{}\"}}", "y".repeat(MESSAGE_BYTES - head.len() - 2));
    let saying = tokio::spawn(async move {
        say(&mut receiver, &text).await;
        receiver
    });
    assert!(matches!(next(&mut link).await, Incoming::Frame(_)));
    saying.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_was_put_then_1000_and_hears_the_rest() {
    let (mut link, mut receiver) = opened().await;
    for number in 0..8 {
        put(&link, &frame(number, 30_000)).await;
    }
    link.close();
    link.close();
    for number in 0..8 {
        assert_eq!(read_text(&mut receiver).await, frame(number, 30_000));
    }
    let Message::Close(Some(close)) = read(&mut receiver).await else { panic!("no close frame") };
    assert_eq!(u16::from(close.code), 1000);
    assert!(link.outgoing.reserve().await.is_err(), "it takes nothing more");
    // The library answers by itself; the bytes before that in the pipe are written by hand.
    receiver.get_mut().write_all(b"\x81\x0e{\"type\":\"ack\"}").await.unwrap();
    assert!(receiver.next().await.is_none_or(|end| end.is_err()));
    assert!(matches!(next(&mut link).await, Incoming::Acks(_)));
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Ended, 0));
}

#[tokio::test(start_paused = true)]
async fn a_close_that_nobody_answers_ends_soon() {
    let (mut link, receiver) = opened().await;
    put(&link, "last").await;
    link.close();
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Ended, 2));
    drop(receiver);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_end_is_given_though_there_was_no_place() {
    let (mut link, mut receiver) = opened().await;
    for _ in 0..INCOMING + 5 {
        say(&mut receiver, r#"{"type":"news"}"#).await;
    }
    link.close();
    tokio::time::sleep(Duration::from_secs(10)).await;
    for _ in 0..=INCOMING {
        assert!(matches!(next(&mut link).await, Incoming::Frame(_)));
    }
    assert_eq!(closed(&mut link).await.0.reason, CloseReason::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_answered_by_hanging_up_is_one() {
    let (mut link, receiver) = opened().await;
    link.close();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(receiver);
    let (closed, took) = closed(&mut link).await;
    assert_eq!((closed.reason, took), (CloseReason::Ended, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_link_is_a_dropped_connection() {
    let (link, mut receiver) = opened().await;
    put(&link, "last").await;
    assert_eq!(read_text(&mut receiver).await, "last");
    drop(link);
    assert!(receiver.next().await.unwrap().is_err(), "no close frame");

    let (link, mut receiver) = keyed().await;
    drop(link);
    assert!(receiver.next().await.unwrap().is_err());
}
