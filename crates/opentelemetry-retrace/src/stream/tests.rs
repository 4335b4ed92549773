use super::*;
use retrace_protocol::{Event, Json, SpanType, Timestamp};

fn id() -> Id {
    "t".into()
}

fn at(micros: u64) -> Timestamp {
    Timestamp::from_unix_micros(micros)
}

fn spans(departed: Option<Departed>) -> u64 {
    departed.map_or(0, |departed| departed.spans)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn trace() -> Trace {
    Trace { name: Some("agent".into()), ..Trace::started(id(), at(1)) }
}

fn ended() -> Trace {
    Trace { status: Some(Status::Completed), ended_at: Some(at(9)), span_count: Some(1), ..trace() }
}

fn begun(name: &str) -> Span {
    Span::new(name.into(), id(), SpanType::ToolCall, name, at(2))
}

fn done(name: &str) -> Span {
    Span { ended_at: Some(at(3)), output: Some(Json::text("out")), duration_ms: Some(1), ..begun(name) }
}

fn end_step(stream: &mut Stream, span: &Span) {
    stream.step_ended(&id(), span, Chunk::new(span, 1).unwrap());
}

/// Creates a whole run of these steps.
fn told(steps: &[&str]) -> Stream {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    for name in steps {
        end_step(&mut stream, &done(name));
    }
    stream.end(&id(), ended(), secs(0));
    stream
}

fn written(stream: &mut Stream) -> Vec<String> {
    std::iter::from_fn(|| stream.next(usize::MAX, secs(0))).map(|text| text.as_str().to_owned()).collect()
}

/// Returns type, id and number of each frame.
fn said(texts: &[String]) -> Vec<(&'static str, String, u64)> {
    texts
        .iter()
        .map(|text| {
            let ClientFrame::Event { event, seq } = ClientFrame::parse(text).unwrap() else { panic!("{text}") };
            (event.kind().as_str(), event.id().unwrap().to_string(), seq.unwrap())
        })
        .collect()
}

fn ack(stream: &mut Stream, seq: u64) -> u64 {
    spans(stream.ack(&Ack::new("", Some(seq)), secs(0)))
}

#[test]
fn a_run_is_told_in_order_and_delivered_by_its_acks() {
    let mut stream = told(&["a", "b"]);
    let texts = written(&mut stream);
    let expected = [
        ("trace_started", "t".to_owned(), 1),
        ("span_started", "a".to_owned(), 2),
        ("span_ended", "a".to_owned(), 3),
        ("span_started", "b".to_owned(), 4),
        ("span_ended", "b".to_owned(), 5),
        ("trace_ended", "t".to_owned(), 6),
    ];
    assert_eq!(said(&texts), expected);
    assert_eq!((ack(&mut stream, 3), ack(&mut stream, 3), ack(&mut stream, 2)), (0, 0, 1), "both halves, once");
    assert_eq!((ack(&mut stream, 4), ack(&mut stream, 5), stream.pending()), (0, 1, 0));
    assert!(stream.has(&id()));
    assert_eq!((ack(&mut stream, 1), ack(&mut stream, 6)), (0, 0));
    assert!(!stream.has(&id()) && !stream.has_frames());
    assert_eq!(stream.weight(), 0);
}

#[test]
fn an_ack_without_a_number_confirms_the_oldest_frame_of_that_id() {
    let mut stream = told(&["a"]);
    written(&mut stream);
    let by_id = |stream: &mut Stream, id: &str| spans(stream.ack(&Ack::new(id, None), secs(0)));
    assert_eq!((by_id(&mut stream, "a"), by_id(&mut stream, "x"), by_id(&mut stream, "a")), (0, 0, 1));
    by_id(&mut stream, "t");
    assert!(stream.has(&id()));
    by_id(&mut stream, "t");
    assert!(!stream.has(&id()));
}

#[test]
fn what_was_not_written_cannot_be_confirmed() {
    let mut stream = told(&["a"]);
    assert_eq!((ack(&mut stream, 2), ack(&mut stream, 3), stream.pending()), (0, 0, 1));
    assert_eq!(written(&mut stream).len(), 4);
}

#[test]
fn after_a_reconnect_the_same_bytes_go_first() {
    let mut stream = told(&["a"]);
    let before = written(&mut stream);
    ack(&mut stream, 2);
    stream.disconnected();
    // More of the beginning is known by now, and is sent in frames of its own.
    stream.begin(&id(), Trace { name: Some("other".into()), ..trace() });
    let after = written(&mut stream);
    assert_eq!(after[..3], [before[0].clone(), before[2].clone(), before[3].clone()]);
    assert_eq!(said(&after)[3], ("trace_started", "t".to_owned(), 5));
    assert!(after[3].contains("other"));
}

#[test]
fn a_step_that_was_told_as_begun_only_ends() {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    stream.step_began(&id(), &begun("a"));
    let first = written(&mut stream);
    assert!(!first[1].contains("ended_at"));
    end_step(&mut stream, &done("a"));
    assert_eq!(said(&written(&mut stream)), [("span_ended", "a".to_owned(), 3)]);
}

#[test]
fn a_step_of_which_more_became_known_is_told_again() {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    stream.step_began(&id(), &begun("a"));
    written(&mut stream);
    end_step(&mut stream, &Span { input: Some(Json::text("in")), ..done("a") });
    let texts = written(&mut stream);
    assert_eq!(said(&texts), [("span_started", "a".to_owned(), 3), ("span_ended", "a".to_owned(), 4)]);
    assert!(texts[0].contains(r#""input":"in""#));
    assert_eq!((ack(&mut stream, 2), ack(&mut stream, 4), ack(&mut stream, 3)), (0, 0, 1), "the last telling counts");
}

#[test]
fn what_was_not_written_yet_is_said_once_and_as_it_is_known_by_then() {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    stream.step_began(&id(), &begun("a"));
    stream.begin(&id(), Trace { name: Some("better".into()), ..trace() });
    end_step(&mut stream, &Span { input: Some(Json::text("in")), ..done("a") });
    let texts = written(&mut stream);
    assert_eq!(texts.len(), 3);
    assert!(texts[0].contains("better") && texts[1].contains(r#""input":"in""#));
}

#[test]
fn the_window_is_bounded_and_opens_with_acks() {
    let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let mut stream = told(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(written(&mut stream).len(), WINDOW_FRAMES);
    ack(&mut stream, 2);
    ack(&mut stream, 999);
    assert_eq!(said(&written(&mut stream)).iter().map(|(.., seq)| *seq).collect::<Vec<_>>(), [1_001, 1_002]);
    assert!(stream.confirmed_until().is_some());
}

#[test]
fn a_large_frame_gets_through_alone() {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    for name in ["a", "b"] {
        let large = Span { input: Some(Json::text(&"x".repeat(WINDOW_BYTES))), ..done(name) };
        end_step(&mut stream, &large);
    }
    assert_eq!(written(&mut stream).len(), 2);
    assert_eq!((ack(&mut stream, 1), written(&mut stream).len()), (0, 0));
    assert_eq!((ack(&mut stream, 2), written(&mut stream).len()), (0, 2));
}

#[test]
fn the_oldest_step_goes_first_and_the_run_says_so() {
    let mut stream = told(&["a", "b"]);
    assert_eq!(stream.drop_oldest_step().map(|departed| departed.spans), Some(1));
    let texts = written(&mut stream);
    assert_eq!(
        said(&texts).iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(),
        ["trace_started", "span_started", "span_ended", "trace_ended"]
    );
    assert!(texts[1].contains(r#""b""#) && texts[3].contains(r#""lossy":true"#) && texts[3].contains(r#""seq":6"#));
    // Its end was sent without the mark, so it is sent again.
    let mut stream = told(&["a", "b"]);
    written(&mut stream);
    assert_eq!(stream.drop_oldest_step().map(|departed| departed.spans), Some(1));
    let again = written(&mut stream);
    assert_eq!(said(&again), [("trace_ended", "t".to_owned(), 7)]);
    assert!(again[0].contains(r#""lossy":true"#));
    assert_eq!(
        (
            stream.drop_oldest_step().map(|departed| departed.spans),
            stream.drop_oldest_step().map(|departed| departed.spans),
            stream.pending()
        ),
        (Some(1), None, 0)
    );
}

#[test]
fn a_dropped_beginning_is_told_with_its_end() {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    stream.step_began(&id(), &begun("a"));
    assert_eq!(stream.drop_oldest_step().map(|departed| departed.spans), Some(0), "nothing is lost");
    end_step(&mut stream, &done("a"));
    assert_eq!(written(&mut stream).len(), 3);
}

#[test]
fn the_rest_of_a_run_is_what_was_not_confirmed() {
    let mut stream = told(&["a", "b"]);
    written(&mut stream);
    for seq in [1, 2, 3, 5] {
        ack(&mut stream, seq);
    }
    let rest = stream.take(&id()).unwrap();
    assert_eq!((rest.begun, rest.written, rest.sources(), rest.first_frame), (true, true, 1, Some(4)));
    assert_eq!(rest.chunks[0].read().unwrap(), done("b"));
    assert_eq!((stream.weight(), stream.pending(), stream.has_frames()), (0, 0, false));
    stream.put_back(&id(), rest, secs(1));
    let kinds: Vec<_> = said(&written(&mut stream)).into_iter().map(|(kind, id, _)| (kind, id)).collect();
    assert_eq!(
        kinds,
        [
            ("trace_started", "t".to_owned()),
            ("span_started", "b".to_owned()),
            ("span_ended", "b".to_owned()),
            ("trace_ended", "t".to_owned())
        ]
    );
}

#[test]
fn frames_read_back_as_what_was_told() {
    let mut stream = told(&["a"]);
    let events: Vec<Event> = written(&mut stream)
        .iter()
        .map(|text| match ClientFrame::parse(text).unwrap() {
            ClientFrame::Event { event, .. } => event,
            other => panic!("{other:?}"),
        })
        .collect();
    let [Event::TraceStarted(start), Event::SpanStarted(span), Event::SpanEnded(end), Event::TraceEnded(over)] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(**start, trace());
    assert_eq!(**span, done("a"));
    assert_eq!(Some(&**end), done("a").to_ended().as_ref());
    assert_eq!(
        (over.status, over.started_at.clone(), over.output.clone()),
        (Some(Status::Completed), Some(at(1)), Some(Json::null()))
    );
}

#[test]
fn without_a_stream_runs_are_collected() {
    let mut stream = Stream::new(false);
    stream.begin(&id(), trace());
    stream.step_began(&id(), &begun("a"));
    end_step(&mut stream, &done("a"));
    stream.step_began(&id(), &begun("b"));
    assert!(stream.next(usize::MAX, secs(0)).is_none() && stream.over().next().is_none());
    stream.end(&id(), ended(), secs(0));
    assert_eq!(stream.over().count(), 1);
    let rest = stream.take(&id()).unwrap();
    assert_eq!((rest.written, rest.begun, rest.chunks.len(), rest.sources()), (false, false, 2, 1));
}

#[test]
fn a_run_whose_beginning_was_dropped_is_still_a_run() {
    let mut stream = Stream::new(true);
    stream.begin(&id(), trace());
    end_step(&mut stream, &done("a"));
    assert_eq!(stream.drop_oldest_run().map(|departed| departed.spans), Some(1));
    end_step(&mut stream, &done("b"));
    let rest = stream.take(&id()).unwrap();
    stream.begin(&id(), trace());
    assert_eq!(stream.take(&id()).unwrap().trace.lossy, Some(true));
    assert_eq!((rest.trace.missing_field(), rest.trace.lossy, rest.trace.started_at), (None, Some(true), Some(at(2))));
}

#[test]
fn what_the_receiver_refuses_is_not_said_again() {
    let mut stream = told(&["a", "b"]);
    assert_eq!(stream.refuse(3).map(|departed| departed.spans), None, "it was not written");
    written(&mut stream);
    assert_eq!(
        (
            stream.refuse(3).map(|departed| departed.spans),
            stream.refuse(3).map(|departed| departed.spans),
            stream.pending()
        ),
        (Some(1), None, 1)
    );
    assert_eq!(stream.refuse(1).map(|departed| departed.spans), Some(0), "no span depends on a beginning");
    stream.disconnected();
    let again = written(&mut stream);
    assert_eq!(
        said(&again).iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(),
        ["span_started", "span_ended", "trace_ended", "trace_ended"]
    );
    assert!(again[3].contains(r#""lossy":true"#));
}

#[test]
fn of_the_run_of_another_process_only_steps_are_said() {
    let mut stream = Stream::new(true);
    stream.join(&id(), trace());
    stream.step_began(&id(), &begun("a"));
    end_step(&mut stream, &done("a"));
    stream.leave(&id(), ended(), secs(0));
    let texts = written(&mut stream);
    assert_eq!(said(&texts), [("span_started", "a".to_owned(), 1), ("span_ended", "a".to_owned(), 2)]);
    // Another call of the same run comes before the first is confirmed.
    stream.join(&id(), trace());
    assert_eq!(ack(&mut stream, 1) + ack(&mut stream, 2), 1);
    end_step(&mut stream, &done("b"));
    assert_eq!(stream.over().count(), 0);
    stream.leave(&id(), Trace { lossy: Some(true), ..ended() }, secs(1));
    assert_eq!(said(&written(&mut stream)).len(), 2);
    assert_eq!(ack(&mut stream, 3) + ack(&mut stream, 4), 1);
    assert_eq!((stream.len(), stream.weight(), stream.pending()), (0, 0, 0));
    assert_eq!(
        stream.take_lossy_without_end(),
        [Incomplete { id: id(), first_frame: Some(1) }],
        "nobody else says that it is not whole"
    );
}

#[test]
fn what_is_left_of_the_run_of_another_process_is_what_it_would_be_alone() {
    let mut stream = Stream::new(false);
    stream.join(&id(), trace());
    end_step(&mut stream, &done("a"));
    stream.leave(&id(), ended(), secs(0));
    let rest = stream.take(&id()).unwrap();
    assert!(rest.joined && rest.trace.status == Some(Status::Completed) && rest.chunks.len() == 1);
}
