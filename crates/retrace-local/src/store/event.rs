//! Events of runs that are told as they happen, and uploads of such runs: every one may come twice, late, or first.
//!
//! [`Word`] decides who has the last word about a field; here the words meet the tables. A trace appears with its first
//! lifecycle event, started or ended. Spans are kept from the first moment, and are seen when their trace appears. An
//! end whose span has not started waits in `early_ends` and is no span before it has.

use retrace_protocol::{Event, Id, Span, SpanEnded, Status, Timestamp, Trace, TraceEnded, TracePatch};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::StoreError;
use super::job::text;
use super::read;
use crate::ingest::{Clocks, Content, Fields, Numbered, SpanRow, Upload, Word, fields_of};

/// Stores one event (PROTOCOL.md sections 5 and 22).
pub(super) fn store(database: &Connection, told: &Numbered, version: i64) -> Result<(), StoreError> {
    let event = Told { database, seq: told.seq, version, way: Way::Stream };
    match &told.event {
        Event::TraceStarted(trace) => event.trace_started(trace),
        Event::SpanStarted(span) => event.span_started(span),
        Event::SpanEnded(end) => event.span_ended(end),
        Event::TraceEnded(end) => event.trace_ended(end),
    }
}

/// Adds spans to a run that another process records; false when nothing is known of it yet. Then it shows what the upload
/// says, until that process says more.
pub(super) fn join_upload(database: &Connection, upload: &Upload, version: i64) -> Result<bool, StoreError> {
    let id = upload.trace.id.as_text();
    let mut update = database.prepare_cached(
        "UPDATE traces SET version = ?2, head = CASE WHEN ?3 THEN json_set(head, '$.lossy', json('true')) ELSE head END
         WHERE id = ?1",
    )?;
    let sent = upload.trace.content.clone().into_trace(&upload.trace.head)?;
    let is_known = update.execute(params![id, version, sent.lossy == Some(true)])? > 0;
    if !is_known {
        let event = Told { database, seq: None, version, way: Way::Joined };
        event.trace(&upload.trace.id, Word::new(fields_of(&sent)?, None))?;
    }
    add_spans(database, upload, version)?;
    Ok(is_known)
}

/// Lays an upload over a run that began over a WebSocket, or of which only spans of other processes are known, and that has not
/// ended, or over one that only OTLP has told; false when there is no such run.
pub(super) fn merge_upload(database: &Connection, upload: &Upload, version: i64) -> Result<bool, StoreError> {
    let trace = &upload.trace;
    let known: Option<(bool, bool, String)> = database
        .prepare_cached("SELECT streamed, otlp, head FROM traces WHERE id = ?1")?
        .query_row([trace.id.as_text()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((true, only_otlp, head)) = known else { return Ok(false) };
    if !only_otlp && read::has_ended(&serde_json::from_str(&head)?) {
        return Ok(false);
    }
    let event = Told { database, seq: None, version, way: Way::Upload };
    let sent = trace.content.clone().into_trace(&trace.head)?;
    let mut word = Word::new(fields_of(&sent)?, None);
    if !read::has_ended(&sent) {
        word.weak = end_of(&sent)?;
    }
    event.trace(&trace.id, word)?;
    add_spans(database, upload, version)?;
    Ok(true)
}

/// Stores the spans of an upload where some of them may be known from before.
pub(super) fn add_spans(database: &Connection, upload: &Upload, version: i64) -> Result<(), StoreError> {
    let event = Told { database, seq: None, version, way: Way::Upload };
    for row in &upload.spans {
        event.span_started(&row.content.clone().into_span(&row.head)?)?;
    }
    Ok(())
}

/// Whether anything is known of the spans of a trace.
pub(super) fn has_spans(database: &Connection, id: &Id) -> Result<bool, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM spans WHERE trace_id = ?1) OR EXISTS (SELECT 1 FROM early_ends WHERE trace_id = ?1)",
    )?;
    Ok(statement.query_row([id.as_text()], |row| row.get(0))?)
}

/// The fields that a trace says and that are an end's to say.
fn end_of(trace: &Trace) -> Result<Vec<String>, StoreError> {
    Ok(fields_of(&TracePatch::of(trace))?.into_keys().collect())
}

/// One event on its way into the tables.
struct Told<'a> {
    database: &'a Connection,
    seq: Option<u64>,
    version: i64,
    way: Way,
}

/// How what is told of a trace came; the numbers stand in the column `streamed`.
#[derive(Clone, Copy)]
enum Way {
    /// By requests, as the process that records it sends it.
    Upload = 0,
    /// Over a WebSocket: whether it is under way is seen from the connection.
    Stream = 1,
    /// With spans of another process than the one that records it.
    Joined = 2,
}

/// A row that is to be laid over.
pub(super) struct Known {
    key: i64,
    pub(super) fields: Fields,
    pub(super) clocks: Clocks,
}

impl Told<'_> {
    fn trace_started(&self, trace: &Trace) -> Result<(), StoreError> {
        // Checked before it came here: a start has an id.
        let Some(id) = &trace.id else { return Ok(()) };
        let alone = Trace { spans: None, ..trace.clone() };
        // That it runs, and that it has cost nothing yet, is no news once anything else is known.
        let weak = end_of(&alone)?;
        self.trace(id, Word { weak, ..Word::new(fields_of(&alone)?, self.seq) })?;
        trace.spans.iter().flatten().try_for_each(|span| self.span_started(span))
    }

    fn trace_ended(&self, end: &TraceEnded) -> Result<(), StoreError> {
        self.trace(&end.id, Word::new(fields_of(end)?, self.seq))
    }

    fn trace(&self, id: &Id, word: Word) -> Result<(), StoreError> {
        let known = self
            .database
            .prepare_cached("SELECT key, head, input, output, metadata, clocks FROM traces WHERE id = ?1")?
            .query_row([id.as_text()], |row| Ok(Known::read(row)))
            .optional()?
            .transpose()?;
        let is_known = known.is_some();
        let (mut fields, mut clocks) = known.map(|known| (known.fields, known.clocks)).unwrap_or_default();
        if !word.lay_over(&mut fields, &mut clocks) && is_known {
            return Ok(());
        }
        let (head, content) = Content::split(fields)?;
        let record: Trace = serde_json::from_str(&head)?;
        let micros = record.started_at.as_ref().and_then(Timestamp::unix_micros);
        let micros = micros.and_then(|micros| i64::try_from(micros).ok());
        let status = record.status.map(Status::as_str);
        let clocks = serde_json::to_string(&clocks)?;
        let Content { input, output, metadata } = &content;
        let row = params![
            id.as_text(),
            micros,
            status,
            head,
            text(input),
            text(output),
            text(metadata),
            clocks,
            self.version,
            self.way as i64
        ];
        let statement = if is_known {
            "UPDATE traces SET started_micros = ?2, status = ?3, head = ?4, input = ?5, output = ?6, metadata = ?7,
                 clocks = ?8, version = ?9, otlp = 0, streamed = CASE streamed WHEN 2 THEN ?10 ELSE streamed END WHERE id = ?1"
        } else {
            "INSERT INTO traces (id, started_micros, status, head, input, output, metadata, clocks, version, streamed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        };
        self.database.prepare_cached(statement)?.execute(row)?;
        Ok(())
    }

    fn span_started(&self, span: &Span) -> Result<(), StoreError> {
        let (trace_id, id) = (span.trace_id.as_text(), span.id.as_text());
        let known = self
            .database
            .prepare_cached(
                "SELECT key, head, input, output, metadata, clocks FROM spans WHERE trace_id = ?1 AND id = ?2",
            )?
            .query_row([&trace_id, &id], |row| Ok(Known::read(row)))
            .optional()?
            .transpose()?;
        // Spans are listed by the number of their start; those of an upload come after all that have one.
        let place = self.seq.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX));
        if let Some(Known { key, mut fields, mut clocks }) = known {
            if Word::new(fields_of(span)?, self.seq).lay_over(&mut fields, &mut clocks) {
                self.update_span(key, fields, &clocks)?;
            }
            self.database
                .prepare_cached("UPDATE spans SET seq = ?2 WHERE key = ?1 AND seq > ?2")?
                .execute(params![key, place])?;
            return Ok(());
        }
        let mut row = SpanRow::new(span.clone())?;
        let mut clocks = Clocks::all(self.seq);
        for early in self.early_ends(&trace_id, &id)? {
            let mut fields = row.content.into_fields(&row.head)?;
            early.lay_over(&mut fields, &mut clocks);
            (row.head, row.content) = Content::split(fields)?;
        }
        let Content { input, output, metadata } = &row.content;
        self.database
            .prepare_cached(
                "INSERT INTO spans (trace_id, id, head, input, output, metadata, clocks, seq, version)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                trace_id,
                id,
                row.head,
                text(input),
                text(output),
                text(metadata),
                serde_json::to_string(&clocks)?,
                place,
                self.version
            ])?;
        Ok(())
    }

    fn span_ended(&self, end: &SpanEnded) -> Result<(), StoreError> {
        let id = end.id.as_text();
        let found = match &end.trace_id {
            Some(trace_id) => self
                .database
                .prepare_cached(
                    "SELECT key, head, input, output, metadata, clocks FROM spans WHERE trace_id = ?1 AND id = ?2",
                )?
                .query_row([&trace_id.as_text(), &id], |row| Ok(Known::read(row)))
                .optional()?,
            // The latest of that name, should there be several.
            None => self
                .database
                .prepare_cached(
                    "SELECT key, head, input, output, metadata, clocks FROM spans INDEXED BY spans_by_id
                     WHERE id = ?1 AND clocks IS NOT NULL ORDER BY key DESC LIMIT 1",
                )?
                .query_row([&id], |row| Ok(Known::read(row)))
                .optional()?,
        };
        // Whose end it is, the span knows already.
        let alone = SpanEnded { trace_id: None, ..end.clone() };
        let word = Word::new(fields_of(&alone)?, self.seq);
        if let Some(known) = found {
            let Known { key, mut fields, mut clocks } = known?;
            if word.lay_over(&mut fields, &mut clocks) {
                self.update_span(key, fields, &clocks)?;
            }
            return Ok(());
        }
        let trace_id = end.trace_id.as_ref().map(Id::as_text).unwrap_or_default();
        let waiting: Option<(String, String)> = self
            .database
            .prepare_cached("SELECT fields, clocks FROM early_ends WHERE trace_id = ?1 AND id = ?2")?
            .query_row([&trace_id, &id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (mut fields, mut clocks) = match waiting {
            Some((fields, clocks)) => (serde_json::from_str(&fields)?, serde_json::from_str(&clocks)?),
            None => (Fields::new(), Clocks::default()),
        };
        word.lay_over(&mut fields, &mut clocks);
        self.database
            .prepare_cached("INSERT OR REPLACE INTO early_ends (trace_id, id, fields, clocks) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![trace_id, id, serde_json::to_string(&fields)?, serde_json::to_string(&clocks)?])?;
        Ok(())
    }

    fn update_span(&self, key: i64, fields: Fields, clocks: &Clocks) -> Result<(), StoreError> {
        let (head, content) = Content::split(fields)?;
        let Content { input, output, metadata } = &content;
        self.database
            .prepare_cached(
                "UPDATE spans SET head = ?2, input = ?3, output = ?4, metadata = ?5, clocks = ?6, version = ?7, otlp = 0
                 WHERE key = ?1",
            )?
            .execute(params![
                key,
                head,
                text(input),
                text(output),
                text(metadata),
                serde_json::to_string(clocks)?,
                self.version
            ])?;
        Ok(())
    }

    /// Takes the ends of a span that came before its start.
    fn early_ends(&self, trace_id: &str, id: &str) -> Result<Vec<Word>, StoreError> {
        let mut statement = self
            .database
            .prepare_cached("SELECT fields, clocks FROM early_ends WHERE trace_id IN (?1, '') AND id = ?2")?;
        let mut rows = statement.query([trace_id, id])?;
        let mut words = Vec::new();
        while let Some(row) = rows.next()? {
            let (fields, clocks): (String, String) = (row.get(0)?, row.get(1)?);
            let word = Word::new(serde_json::from_str(&fields)?, Some(0));
            words.push(Word { clocks: serde_json::from_str(&clocks)?, ..word });
        }
        if !words.is_empty() {
            self.database
                .prepare_cached("DELETE FROM early_ends WHERE trace_id IN (?1, '') AND id = ?2")?
                .execute([trace_id, id])?;
        }
        Ok(words)
    }
}

impl Known {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, StoreError> {
        let head: String = row.get(1)?;
        let content =
            Content { input: read::json(row, 2)?, output: read::json(row, 3)?, metadata: read::json(row, 4)? };
        let clocks: Option<String> = row.get(5)?;
        let clocks = clocks.map(|clocks| serde_json::from_str(&clocks)).transpose()?.unwrap_or_default();
        Ok(Self { key: row.get(0)?, fields: content.into_fields(&head)?, clocks })
    }
}
