//! Groups the events of one commit by record, so that each record is written once. Pure.
//!
//! Within a record, events keep their order of arrival; records do not depend on each other.

use std::collections::HashMap;

use retrace_protocol::{Event, Id};

use crate::ingest::Numbered;

/// Groups events: all events of a trace, and each start of a span with the ends that follow it. A group has the
/// position of its first event.
pub(super) fn coalesce(events: &[Numbered]) -> Vec<Vec<&Numbered>> {
    // Such events find or create their spans in another way than the others.
    let apart = events.iter().any(|numbered| match &numbered.event {
        Event::TraceStarted(trace) => trace.spans.as_ref().is_some_and(|spans| !spans.is_empty()),
        Event::SpanEnded(end) => end.trace_id.is_none(),
        Event::SpanStarted(_) | Event::TraceEnded(_) => false,
    });
    if apart {
        return events.iter().map(|numbered| vec![numbered]).collect();
    }
    let mut groups: Vec<Vec<&Numbered>> = Vec::with_capacity(events.len());
    let mut traces: HashMap<&Id, usize> = HashMap::new();
    let mut spans: HashMap<(&Id, &Id), usize> = HashMap::with_capacity(events.len());
    for numbered in events {
        let new = groups.len();
        let place = match &numbered.event {
            Event::SpanStarted(span) => {
                spans.insert((&span.trace_id, &span.id), new);
                new
            }
            Event::SpanEnded(end) => {
                let start = end.trace_id.as_ref().and_then(|trace_id| spans.get(&(trace_id, &end.id)));
                start.copied().unwrap_or(new)
            }
            Event::TraceStarted(_) | Event::TraceEnded(_) => {
                numbered.event.id().map_or(new, |id| *traces.entry(id).or_insert(new))
            }
        };
        match groups.get_mut(place) {
            Some(group) => group.push(numbered),
            None => groups.push(vec![numbered]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Change, writer};
    use proptest::prelude::*;
    use retrace_protocol::ClientFrame;
    use rusqlite::Connection;

    const AT: &str = "2026-01-02T03:04:05Z";

    fn event(kind: &str, data: &str, seq: Option<u64>) -> Numbered {
        let seq = seq.map_or_else(String::new, |seq| format!(r#","seq":{seq}"#));
        let text = format!(r#"{{"type":"{kind}","data":{{{data}}}{seq}}}"#);
        let ClientFrame::Event { event, seq } = ClientFrame::parse(&text).unwrap() else { panic!("{text}") };
        Numbered { event, seq }
    }

    /// An event of one of a few records, with a random subset of its fields.
    fn any_event() -> impl Strategy<Value = Numbered> {
        let numbers = prop::option::weighted(0.8, 0..6_u64);
        (0..5_u8, 0..2_u8, 0..2_u8, any::<[bool; 3]>(), 0..9_u8, numbers).prop_map(
            |(kind, trace, span, [one, two, three], value, seq)| {
                let given = |is_given: bool, field: String| if is_given { format!(",{field}") } else { String::new() };
                let output = given(one, format!(r#""output":"o{value}""#));
                let error = given(two, format!(r#""error":"e{value}""#));
                let started = format!(r#""started_at":"{AT}""#);
                let of = format!(r#""id":"s{span}","trace_id":"t{trace}""#);
                let name = format!(r#""name":"n{value}","span_type":"action""#);
                let model = given(three, format!(r#""model":"m{value}""#));
                let tokens = given(two, format!(r#""total_tokens":{value},"status":"failed""#));
                match kind {
                    0 => event("trace_started", &format!(r#""id":"t{trace}",{started}{output}{tokens}"#), seq),
                    1 => event("trace_ended", &format!(r#""id":"t{trace}"{output}{error}{tokens}"#), seq),
                    2 => event("span_started", &format!("{of},{name},{started}{output}{model}"), seq),
                    // Older clients omit the trace id.
                    3 if one && two && three => {
                        event("span_ended", &format!(r#""id":"s{span}","ended_at":"{AT}"{output}"#), seq)
                    }
                    _ => event("span_ended", &format!(r#"{of},"ended_at":"{AT}"{output}{error}"#), seq),
                }
            },
        )
    }

    /// Returns all stored rows, independent of the order of fields.
    fn dump(connection: &Connection) -> Vec<serde_json::Value> {
        let columns = "input, output, metadata, clocks, version";
        let sql = format!(
            "SELECT id, '', 0, head, {columns} FROM traces
             UNION ALL SELECT id, trace_id, seq, head, {columns} FROM spans
             UNION ALL SELECT id, trace_id, 0, fields, clocks, '', '', '', 0 FROM early_ends ORDER BY 2, 1"
        );
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| {
            let head: serde_json::Value = serde_json::from_str(&row.get::<_, String>(3)?).unwrap();
            let json = |at: usize| row.get::<_, Option<String>>(at);
            let (id, trace, seq): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(serde_json::json!([id, trace, seq, head, json(4)?, json(5)?, json(6)?, json(7)?]))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    fn stored<'a>(commits: impl Iterator<Item = &'a [Numbered]>) -> Vec<serde_json::Value> {
        let mut connection = super::super::schema::open_memory(false).unwrap();
        for events in commits {
            let results = writer::commit(&mut connection, &[&Change::Events(events.to_vec())], 1);
            assert!(results.iter().all(Result::is_ok), "{results:?}");
        }
        dump(&connection)
    }

    proptest! {
        #[test]
        fn what_is_committed_together_is_stored_as_if_it_came_one_by_one(
            events in prop::collection::vec(any_event(), 0..12),
            cut in any::<prop::sample::Index>(),
        ) {
            let one_by_one = stored(events.chunks(1));
            let (before, after) = events.split_at(cut.index(events.len() + 1));
            prop_assert_eq!(stored([before, after].into_iter()), one_by_one);
        }
    }

    #[test]
    fn a_start_takes_the_ends_that_follow_it_and_a_trace_all_of_its_own() {
        let start = |span: &str| {
            event(
                "span_started",
                &format!(r#""id":"{span}","trace_id":"t","name":"","span_type":"action","started_at":"{AT}""#),
                None,
            )
        };
        let end = |span: &str| event("span_ended", &format!(r#""id":"{span}","trace_id":"t","ended_at":"{AT}""#), None);
        let run = || event("trace_ended", r#""id":"t""#, None);
        let events = [run(), end("a"), start("a"), start("b"), end("a"), start("a"), end("a"), end("b"), run()];
        let places: Vec<Vec<usize>> = coalesce(&events)
            .iter()
            .map(|group| {
                group.iter().map(|numbered| events.iter().position(|it| std::ptr::eq(it, *numbered)).unwrap()).collect()
            })
            .collect();
        assert_eq!(places, [vec![0, 8], vec![1], vec![2, 4], vec![3, 7], vec![5, 6]]);
        // An event that finds or creates its span in another way keeps its position among the others.
        let untold = event("span_ended", &format!(r#""id":"a","ended_at":"{AT}""#), None);
        let whole = r#"{"id":"a","trace_id":"t","name":"","span_type":"action","started_at":"2026-01-02T03:04:05Z"}"#;
        let bringing = event("trace_started", &format!(r#""id":"t","started_at":"{AT}","spans":[{whole}]"#), None);
        for other in [untold, bringing] {
            let events = [start("a"), other, end("a")];
            assert!(coalesce(&events).iter().map(Vec::len).eq([1, 1, 1]));
        }
    }
}
