use super::*;
use crate::arbitrary;
use crate::ingest;
use crate::query::TraceQuery;
use crate::testing::HANG;
use proptest::prelude::*;
use retrace_protocol::{Id, Span, SpanType, Status, Timestamp, Trace, TracePatch};
use std::time::Duration;

/// Writes like the server does, from a thread outside of a runtime.
fn write(writer: &Writer, change: Change) -> Result<Outcome, StoreError> {
    block_on(writer.write(change, None))
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn upload(trace: &Trace) -> Change {
    Change::Create(Box::new(ingest::upload(&serde_json::to_vec(trace).unwrap()).unwrap()))
}

fn run(id: &str, second: u32) -> Trace {
    let at = Timestamp::from(format!("2026-01-02T03:04:{second:02}Z").as_str());
    let span = |name: &str| Span::new(name.into(), id.into(), SpanType::Action, name, at.clone());
    Trace { spans: Some(vec![span("b"), span("a")]), ..Trace::started(id.into(), at.clone()) }
}

fn stored(reader: &Reader, id: &Id) -> Option<Trace> {
    reader.trace(id, true).unwrap().map(|stored| stored.record)
}

/// Counts all rows of the database, to prove that nothing has changed.
fn dump(reader: &Reader) -> Vec<(String, u32)> {
    let count = |connection: &Connection, table: &str| {
        let rows: u32 = connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        Ok((table.to_owned(), rows))
    };
    reader.read(|c| ["traces", "spans", "golden"].iter().map(|table| count(c, table)).collect()).unwrap()
}

proptest! {
    #[test]
    fn any_trace_comes_back_and_any_end_is_laid_over_it(
        trace in arbitrary::trace(),
        patches in prop::collection::vec(arbitrary::patch(), 0..3),
    ) {
        let (writer, reader, _) = open(None, false).unwrap();
        let id = trace.id.clone().unwrap();
        prop_assert_eq!(write(&writer, upload(&trace)).unwrap(), Outcome::Done);
        prop_assert_eq!(stored(&reader, &id), Some(trace.clone()));

        let mut expected = trace;
        for patch in patches {
            expected.apply(patch.clone().into_ended(id.clone()));
            prop_assert_eq!(write(&writer, Change::Patch(id.clone(), Box::new(patch))).unwrap(), Outcome::Done);
        }
        prop_assert_eq!(stored(&reader, &id), Some(expected.clone()));

        let page = reader.page(&TraceQuery::new()).unwrap();
        prop_assert_eq!(page.total, 1);
        prop_assert_eq!(page.traces[0].stored_spans, expected.spans.as_ref().map(|spans| spans.len() as u64));
        let outline = reader.outline(&id, true).unwrap().unwrap();
        for (head, span) in outline.spans.iter().zip(expected.spans.as_deref().unwrap()) {
            prop_assert_eq!(&head.record.id, &span.id);
            let output = span.output.as_ref().map(|output| output.as_str().len() as u64);
            prop_assert_eq!(head.content_bytes.and_then(|bytes| bytes.output), output);
            let whole = reader.span(&id, &span.id).unwrap();
            prop_assert_eq!(whole.as_ref(), Some(span));
        }

        prop_assert_eq!(write(&writer, Change::Delete(id.clone())).unwrap(), Outcome::Done);
        prop_assert!(dump(&reader).iter().all(|(_, rows)| *rows == 0));
    }
}

#[test]
fn an_id_is_taken_once() {
    let (writer, reader, _) = open(None, false).unwrap();
    assert_eq!(write(&writer, upload(&run("t", 1))).unwrap(), Outcome::Done);
    let second = Trace { name: Some("second".into()), spans: None, ..run("t", 2) };
    assert_eq!(write(&writer, upload(&second)).unwrap(), Outcome::Exists);
    assert_eq!(stored(&reader, &"t".into()), Some(run("t", 1)));
}

#[test]
fn two_traces_may_name_their_spans_alike() {
    let (writer, reader, _) = open(None, false).unwrap();
    for id in ["t", "u"] {
        assert_eq!(write(&writer, upload(&run(id, 1))).unwrap(), Outcome::Done);
    }
    write(&writer, Change::Delete("t".into())).unwrap();
    assert_eq!(stored(&reader, &"u".into()), Some(run("u", 1)), "spans keep their order, and their trace");
}

#[test]
fn what_is_not_there_is_unknown() {
    let (writer, reader, _) = open(None, false).unwrap();
    assert_eq!(write(&writer, Change::Delete("t".into())).unwrap(), Outcome::Unknown);
    assert_eq!(write(&writer, Change::Patch("t".into(), Box::default())).unwrap(), Outcome::Unknown);
    assert_eq!(stored(&reader, &"t".into()), None);
    assert!(reader.outline(&"t".into(), true).unwrap().is_none());
    assert!(reader.span(&"t".into(), &"s".into()).unwrap().is_none());
}

#[test]
fn a_list_is_newest_first_filtered_and_paged() {
    let (writer, reader, _) = open(None, false).unwrap();
    for (id, second, status) in [("old", 1, Status::Failed), ("new", 9, Status::Failed), ("mid", 5, Status::Running)] {
        let trace = Trace { status: Some(status), ..run(id, second) };
        write(&writer, upload(&trace)).unwrap();
    }
    write(&writer, upload(&run("mid2", 5))).unwrap();
    let ids = |query: &TraceQuery| {
        let page = reader.page(query).unwrap();
        let ids: Vec<String> = page.traces.iter().map(|t| t.record.id.as_ref().unwrap().to_string()).collect();
        (ids.join(" "), page.total)
    };
    assert_eq!(ids(&TraceQuery::new()), ("new mid2 mid old".into(), 4));
    assert_eq!(ids(&TraceQuery::new().with_limit(2).with_offset(1)), ("mid2 mid".into(), 4));
    assert_eq!(ids(&TraceQuery::new().with_status(Status::Failed)), ("new old".into(), 2));
    assert_eq!(ids(&TraceQuery::new().with_offset(u64::MAX)), (String::new(), 4));
    write(
        &writer,
        Change::Patch("mid".into(), Box::new(TracePatch { status: Some(Status::Failed), ..TracePatch::default() })),
    )
    .unwrap();
    assert_eq!(ids(&TraceQuery::new().with_status(Status::Failed)), ("new mid old".into(), 3));
}

#[test]
fn a_page_of_large_heads_ends_early() {
    let (writer, reader, _) = open(None, false).unwrap();
    for second in 0..5 {
        let trace = Trace { error: Some("x".repeat(1_500_000)), ..run(&second.to_string(), second) };
        write(&writer, upload(&trace)).unwrap();
    }
    let page = |offset| {
        let page = reader.page(&TraceQuery::new().with_offset(offset)).unwrap();
        (page.traces.len(), page.total)
    };
    assert_eq!([page(0), page(2), page(4)], [(2, 5), (2, 5), (1, 5)]);
    let huge = Trace { error: Some("x".repeat(9_000_000)), ..run("huge", 59) };
    write(&writer, upload(&huge)).unwrap();
    assert_eq!([page(0), page(1)], [(1, 6), (2, 6)], "one is always there, or nobody would get past it");
}

#[test]
fn a_trace_has_ended_when_it_says_so() {
    let (writer, reader, _) = open(None, false).unwrap();
    let at = Some(Timestamp::from("2026-01-02T03:05:00Z"));
    for (id, status, ended_at, ended) in [
        ("a", Some(Status::Running), None, false),
        ("b", Some(Status::Running), at.clone(), false),
        ("c", Some(Status::Completed), None, true),
        ("d", Some(Status::Failed), at.clone(), true),
        ("e", None, at, true),
        ("f", None, None, false),
    ] {
        write(&writer, upload(&Trace { status, ended_at, ..run(id, 1) })).unwrap();
        assert_eq!(reader.read(|database| ended_trace(database, &id.into())).unwrap().is_some(), ended, "{id}");
    }
}

#[test]
fn a_mark_precedes_its_trace_and_goes_with_it() {
    let (writer, reader, _) = open(None, false).unwrap();
    let golden = || reader.trace(&"t".into(), false).unwrap().unwrap().golden;
    write(&writer, Change::Golden("t".into(), true)).unwrap();
    write(&writer, upload(&run("t", 1))).unwrap();
    assert_eq!(golden(), Some(true));
    assert_eq!(reader.page(&TraceQuery::new()).unwrap().traces[0].golden, Some(true));
    write(&writer, Change::Golden("t".into(), false)).unwrap();
    assert_eq!(golden(), None);
    write(&writer, Change::Golden("t".into(), true)).unwrap();
    write(&writer, Change::Delete("t".into())).unwrap();
    assert!(dump(&reader).iter().all(|(_, rows)| *rows == 0));
}

/// A reader on the connection of the writer.
fn reader_of(connection: &Shared) -> Reader {
    let (first, others) = (Arc::clone(connection), [].into());
    Reader { first, others, waits: Arc::default(), commits: Arc::default(), pending: Arc::default() }
}

#[test]
fn a_change_that_fails_in_a_group_takes_nothing_with_it() {
    let connection = shared(schema::open_memory(false).unwrap());
    let reader = reader_of(&connection);
    lock(&connection)
        .execute_batch(
            "CREATE TRIGGER one BEFORE INSERT ON spans WHEN new.id = 'c' BEGIN SELECT raise(FAIL, 'no c'); END;
             CREATE TRIGGER all_ BEFORE INSERT ON spans WHEN new.id = 'z' BEGIN SELECT raise(ROLLBACK, 'no z'); END;",
        )
        .unwrap();
    let with_span = |id: &str, span: &str| {
        let mut trace = run(id, 1);
        trace.spans.as_mut().unwrap()[1].id = span.into();
        upload(&trace)
    };
    let commit = |changes: &[Change]| writer::commit(&mut lock(&connection), &changes.iter().collect::<Vec<_>>(), 1);

    let results = commit(&[with_span("t", "a"), with_span("u", "c"), with_span("v", "a")]);
    assert!(
        matches!(results.as_slice(), [Ok(Outcome::Done), Err(StoreError::Database(_)), Ok(Outcome::Done)]),
        "{results:?}"
    );
    assert_eq!(dump(&reader), [("traces".into(), 2), ("spans".into(), 4), ("golden".into(), 0)]);

    // The database rolls back the whole transaction: all of its changes fail, and none is stored.
    let before = dump(&reader);
    let results = commit(&[with_span("w", "a"), with_span("x", "z"), with_span("y", "a")]);
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(Result::is_err), "{results:?}");
    assert_eq!(dump(&reader), before);
    assert!(matches!(commit(&[with_span("w", "a")]).as_slice(), [Ok(Outcome::Done)]), "and the next group goes on");
}

#[test]
fn a_full_database_refuses_and_goes_on() {
    let connection = shared(schema::open_memory(false).unwrap());
    let reader = reader_of(&connection);
    let pages: u32 = lock(&connection).query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    let held: u32 =
        lock(&connection).query_row(&format!("PRAGMA max_page_count = {}", pages + 10), [], |row| row.get(0)).unwrap();
    assert_eq!(held, pages + 10);
    let mut large = run("large", 1);
    large.spans.as_mut().unwrap()[1].output = Some(retrace_protocol::Json::text(&"x".repeat(1 << 20)));
    let results = writer::commit(&mut lock(&connection), &[&upload(&large), &upload(&run("small", 2))], 1);
    assert!(results[0].is_err(), "{results:?}");
    assert_eq!(stored(&reader, &"large".into()), None);
    assert_eq!(stored(&reader, &"small".into()).is_some(), results[1].is_ok(), "what was answered is what is so");
    assert!(matches!(
        writer::commit(&mut lock(&connection), &[&upload(&run("next", 2))], 2).as_slice(),
        [Ok(Outcome::Done)]
    ));
}

#[test]
fn a_file_is_read_while_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let (writer, reader, _) = open(Some(&path), false).unwrap();
    write(&writer, upload(&run("t", 1))).unwrap();

    // Another process holds the write lock, so that the write below waits.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = writer.clone();
    let long = thread::spawn(move || write(&waiting, upload(&run("u", 1))));
    for _ in 0..100 {
        assert_eq!(stored(&reader, &"t".into()), Some(run("t", 1)));
        assert_eq!(stored(&reader, &"u".into()), None);
        thread::yield_now();
    }
    other.execute_batch("ROLLBACK").unwrap();
    // A write that waits for longer than the database does, as on a busy machine, is refused and can be repeated.
    let written = long.join().unwrap().or_else(|_| write(&writer, upload(&run("u", 1))));
    assert_eq!(written.unwrap(), Outcome::Done);
    assert_eq!(stored(&reader, &"u".into()), Some(run("u", 1)));
}

#[test]
fn a_file_is_left_whole_even_when_others_have_it_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("runs.db");
    let (writer, reader, thread) = open(Some(&path), false).unwrap();
    let other = Connection::open(&path).unwrap();
    other.query_row("SELECT count(*) FROM traces", [], |_| Ok(())).unwrap();
    write(&writer, upload(&run("t", 1))).unwrap();
    drop((writer, reader));
    thread.join().unwrap();
    let copy = dir.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let (_, reader, _) = open(Some(&copy), false).unwrap();
    assert_eq!(stored(&reader, &"t".into()), Some(run("t", 1)));
}

#[test]
fn who_waits_is_woken_by_the_commit() {
    let (writer, reader, _) = open(None, false).unwrap();
    let (looking, looked) = std::sync::mpsc::channel();
    let waiter = thread::spawn(move || {
        let deadline = Instant::now() + HANG;
        let found = reader.wait_until(deadline, |database| {
            let found = ended_trace(database, &"t".into());
            looking.send(()).unwrap();
            found
        });
        (found.unwrap(), Instant::now() < deadline)
    });
    looked.recv().unwrap();
    write(&writer, upload(&run("t", 1))).unwrap();
    looked.recv().unwrap();
    let end = TracePatch { status: Some(Status::Failed), ..TracePatch::default() };
    write(&writer, Change::Patch("t".into(), Box::new(end))).unwrap();
    let (found, in_time) = waiter.join().unwrap();
    assert_eq!(found, Some(Trace { status: Some(Status::Failed), ..run("t", 1) }));
    assert!(in_time);
}

#[test]
fn waiting_ends_at_the_deadline() {
    let (_writer, reader, _) = open(None, false).unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    assert!(reader.wait_until(deadline, |database| ended_trace(database, &"t".into())).unwrap().is_none());
    assert!(Instant::now() >= deadline);
}

#[test]
fn a_read_does_not_wait_for_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader, _) = open(Some(&dir.path().join("runs.db")), false).unwrap();
    write(&writer, upload(&run("t", 1))).unwrap();
    // Each of these reads ends only after the innermost one has.
    let depth = |_: &Connection| reader.read(|_| reader.read(|_| Ok(stored(&reader, &"t".into()).is_some())));
    assert!(reader.read(depth).unwrap());
}

#[test]
fn a_damaged_record_is_an_error_and_not_a_panic() {
    let (writer, reader, _) = open(None, false).unwrap();
    write(&writer, upload(&run("t", 1))).unwrap();
    reader.connection().execute("UPDATE spans SET head = '{' WHERE id = 'a'", []).unwrap();
    assert!(matches!(reader.trace(&"t".into(), true), Err(StoreError::Damaged(_))));
    assert!(reader.trace(&"t".into(), false).unwrap().is_some());
}

/// A span that cannot be read proves that none is.
#[test]
fn a_run_under_way_is_polled_and_listed_without_reading_its_spans() {
    let connection = shared(schema::open_memory(false).unwrap());
    let reader = reader_of(&connection);
    let under_way = Trace { status: Some(Status::Running), span_count: Some(0), ..run("t", 1) };
    writer::commit(&mut lock(&connection), &[&upload(&under_way)], 1).pop().unwrap().unwrap();
    let id = Id::from("t");
    lock(&connection)
        .execute_batch("UPDATE traces SET streamed = 1; UPDATE spans SET head = '{'; INSERT INTO joined VALUES ('t');")
        .unwrap();
    let totals = || {
        let page = reader.page(&TraceQuery::new()).unwrap().traces.remove(0);
        let (version, number) = reader.version(&id).unwrap().unwrap();
        assert_eq!((version.record.total_tokens, number), (Some(0), 1), "no totals are computed for the version");
        assert!(reader.read(|database| ended_trace(database, &id)).unwrap().is_none());
        let changes = reader.changes(&id, number).unwrap().unwrap();
        [
            page,
            changes.trace,
            reader.trace(&id, false).unwrap().unwrap(),
            reader.outline(&id, false).unwrap().unwrap().trace,
        ]
        .map(|trace| (trace.record.total_tokens, trace.record.total_cost, trace.record.span_count))
    };
    assert_eq!(totals(), [(Some(0), Some(0.0), Some(0)); 4], "not indexed yet");
    let sql = "INSERT INTO run_index (key, version, name, tokens, cost, spans, failed_spans, has_error, bytes)
               VALUES ((SELECT key FROM traces), 1, 'agent', 18, 0.25, 2, 0, 0, 0)";
    lock(&connection).execute_batch(sql).unwrap();
    assert_eq!(totals(), [(Some(18), Some(0.25), Some(2)); 4]);
    lock(&connection).execute_batch("DELETE FROM joined").unwrap();
    assert_eq!(totals(), [(Some(18), Some(0.25), Some(2)); 4]);
}
