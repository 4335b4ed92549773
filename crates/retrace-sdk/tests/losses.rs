//! An application without a subscriber learns on standard error what was lost and why: whether the guard is dropped or the process
//! exits. Each case is a process of its own.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use opentelemetry_sdk::trace::SdkTracerProvider;
use retrace_local::Server;
use socket2::{Domain, Socket, Type};

/// Set in the child: how it ends.
const CASE: &str = "LOSSES_CASE";

#[retrace::record]
fn research(topic: &str) -> String {
    topic.to_uppercase()
}

/// Runs in the child: records a run, and ends in the way named.
fn record_and_end(case: &str) {
    match case {
        "drop" => {
            let _retrace = retrace::install().unwrap();
            assert_eq!(research("tides"), "TIDES");
        }
        "exit" => {
            let _retrace = retrace::install().unwrap();
            assert_eq!(research("tides"), "TIDES");
            std::process::exit(0);
        }
        "let _" => {
            // README's recipe with a pattern that keeps nothing.
            let _ = retrace::install().unwrap();
            assert_eq!(research("tides"), "TIDES");
            assert_eq!(research("storms"), "STORMS");
        }
        "late" => {
            let retrace = retrace::install().unwrap();
            assert_eq!(research("tides"), "TIDES");
            drop(retrace);
            assert_eq!(research("storms"), "STORMS");
        }
        "shutdown" => {
            let (builder, retrace) = retrace::layer_on(SdkTracerProvider::builder()).unwrap();
            let provider = builder.build();
            provider.shutdown().unwrap();
            retrace.shutdown().unwrap();
            let retrace = retrace::install().unwrap();
            retrace.provider().unwrap().shutdown().unwrap();
            retrace.shutdown().unwrap();
        }
        "serve" => {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _retrace = retrace::install().unwrap();
            // It is awaited here, so that the refusal has come.
            runtime.block_on(async {
                let serving = retrace::serve([]).spawn();
                serving.await.unwrap_err();
            });
        }
        other => panic!("{other} is no case"),
    }
}

/// Lines of this crate on the standard error of a process that records to `url`.
fn written(case: &str, url: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "losses_are_written_to_standard_error", "--nocapture"]).env(CASE, case);
    child.env("RETRACE_API_KEY", "rt_test").env("RETRACE_BASE_URL", url);
    let output = child.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    errors.lines().filter_map(|line| line.strip_prefix("opentelemetry-retrace: ")).map(str::to_owned).collect()
}

/// Returns the URL of a web server that answers every request with its page.
fn web_server() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer_with_a_page(connection));
        }
    });
    url
}

/// Answers the requests of one connection. A body is read as far as its length says.
fn answer_with_a_page(connection: TcpStream) -> Option<()> {
    const PAGE: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: 7\r\n\r\n<html/>";
    let mut requests = BufReader::new(connection.try_clone().ok()?);
    let mut responses = connection;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if requests.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        std::io::copy(&mut requests.by_ref().take(length), &mut std::io::sink()).ok()?;
        responses.write_all(PAGE).ok()?;
    }
}

#[test]
fn losses_are_written_to_standard_error() {
    if let Ok(case) = std::env::var(CASE) {
        return record_and_end(&case);
    }
    let keyed = Server::builder().with_api_key("rt_other").start().unwrap();
    let free = Server::start().unwrap();
    // Nobody listens there, and nobody else can.
    let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    held.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let nobody = held.local_addr().unwrap().as_socket().unwrap();
    let page = web_server();
    let ways: &[&str] = if cfg!(unix) { &["drop", "exit"] } else { &["drop"] };
    for way in ways {
        let is = |lines: &[String], texts: &[&str]| {
            assert_eq!(lines.len(), texts.len(), "{way}: {lines:#?}");
            assert!(lines.iter().zip(texts).all(|(line, text)| line.contains(text)), "{way}: {lines:#?}");
        };
        let started = "runs are sent to ";
        let lost = "1 spans lost: the receiver was never reached before the shutdown; set RETRACE_SPOOL_DIR";
        is(&written(way, &format!("http://{nobody}")), &["1 spans are kept and tried again", lost, started]);
        is(&written(way, keyed.url()), &["401 Unauthorized: check RETRACE_API_KEY; run ", started]);
        let wrong = "/wrong/api/v1/traces answered 404 Not Found: check the host and the path of RETRACE_BASE_URL";
        is(&written(way, &format!("{}/wrong", free.url())), &[wrong, started]);
        let page_text = "/api/v1/traces answered 200 OK with a web page: check the host of RETRACE_BASE_URL";
        is(&written(way, &page), &[page_text, lost, started]);
        // Without a loss there is nothing to report.
        is(&written(way, free.url()), &[started]);
    }
    let dropped = written("let _", free.url());
    let texts = ["runs are sent to ", "a run begins after the guard of install() was dropped, and is not recorded"];
    assert!(dropped.len() == 2 && dropped.iter().zip(texts).all(|(line, text)| line.starts_with(text)), "{dropped:#?}");
    for quiet in ["late", "shutdown"] {
        let lines = written(quiet, free.url());
        assert!(lines.iter().all(|line| line.starts_with("runs are sent to ")), "{quiet}: {lines:#?}");
    }
    let refused = written("serve", free.url());
    assert!(refused[0].starts_with("no function is served: set RETRACE_ALLOW_REMOTE_REPLAY=true"), "{refused:#?}");
}
