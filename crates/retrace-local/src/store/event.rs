//! Storage of events of live runs, and of uploads of such runs: each may arrive twice, late, or first.
//!
//! [`FieldUpdate`] decides which event determines a field; this module applies the updates to the tables. A trace appears with
//! its first lifecycle event, started or ended. Spans are stored from the first event on, and become visible when their
//! trace appears. The end of a span that has not started waits in `early_ends`, and is applied when the start
//! arrives.

use std::cell::Cell;

use retrace_protocol::metadata::SpanOrigin;
use retrace_protocol::{Event, Id, Json, Span, SpanEnded, Status, Timestamp, Trace, TraceEnded, write};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::coalesce::coalesce;
use super::job::text;
use super::read;
use super::totals::mark_joined;
use crate::ingest::{
    Content, EndedSpan, FieldUpdate, FieldVersions, Fields, Numbered, TraceRow, Upload, field_names, fields_of,
};

/// Stores events (PROTOCOL.md sections 5 and 22). A record that several events concern is written once.
pub(super) fn store(database: &Connection, events: &[Numbered], version: i64) -> Result<(), StoreError> {
    let writer = EventWriter::new(database, version, Way::Stream);
    for group in coalesce(events) {
        let Some((first, rest)) = group.split_first() else { continue };
        match &first.event {
            Event::SpanStarted(span) => writer.span_started(span, first.seq, rest)?,
            Event::SpanEnded(end) => writer.span_ended(end, first.seq)?,
            Event::TraceStarted(_) | Event::TraceEnded(_) => writer.trace_events(&group)?,
        }
    }
    Ok(())
}

/// Adds spans to a run that another process records; returns false if the run is not known yet. Then the run shows the
/// fields of the upload until that process sends its own.
pub(super) fn join_upload(database: &Connection, upload: &Upload, version: i64) -> Result<bool, StoreError> {
    let id = upload.trace.id.as_text();
    let mut update = database.prepare_cached(
        "UPDATE traces SET version = ?2, head = CASE WHEN ?3 THEN json_set(head, '$.lossy', json('true')) ELSE head END
         WHERE id = ?1",
    )?;
    let sent = upload.trace.content.clone().into_trace(&upload.trace.head)?;
    let is_known = update.execute(params![id, version, sent.lossy == Some(true)])? > 0;
    if !is_known {
        let event = EventWriter::new(database, version, Way::Joined);
        event.trace(&upload.trace.id, vec![FieldUpdate::new(fields_of(&sent)?, None)])?;
    }
    mark_joined(database, &id)?;
    add_spans(database, upload, version)?;
    Ok(is_known)
}

/// Merges an upload into a run that has not ended and that began over a WebSocket or has only spans of other processes,
/// or into a run that has only OTLP data; returns false if there is no such run.
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
    let event = EventWriter::new(database, version, Way::Upload);
    let sent = trace.content.clone().into_trace(&trace.head)?;
    let mut update = FieldUpdate::new(fields_of(&sent)?, None);
    if !read::has_ended(&sent) {
        update.weak = field_names::of_trace_patch(&update.fields);
    }
    event.trace(&trace.id, vec![update])?;
    add_spans(database, upload, version)?;
    Ok(true)
}

/// Stores the spans of an upload to a run that may contain some of them.
pub(super) fn add_spans(database: &Connection, upload: &Upload, version: i64) -> Result<(), StoreError> {
    let event = EventWriter::new(database, version, Way::Upload);
    for row in &upload.spans {
        event.span_started(&row.content.clone().into_span(&row.head)?, None, &[])?;
    }
    Ok(())
}

/// Returns true if another process than the one that began the run joined it with this span. Clients before
/// `metadata.otel.joined` only name a service.
fn joins(span: &Span) -> bool {
    #[derive(Deserialize)]
    struct Metadata {
        otel: Option<SpanOrigin>,
    }
    // A substring search classifies most spans without a parse.
    let is_candidate = |json: &&Json| json.as_str().contains("\"service\":") || json.as_str().contains("\"joined\":");
    let read = |json: &Json| serde_json::from_str::<Metadata>(json.as_str()).ok();
    let origin = span.metadata.as_ref().filter(is_candidate).and_then(read).and_then(|metadata| metadata.otel);
    origin.is_some_and(|otel| otel.joined || otel.service.is_some())
}

/// Returns true if spans or ends of spans of a trace are stored.
pub(super) fn has_spans(database: &Connection, id: &Id) -> Result<bool, StoreError> {
    let mut statement = database.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM spans WHERE trace_id = ?1) OR EXISTS (SELECT 1 FROM early_ends WHERE trace_id = ?1)",
    )?;
    Ok(statement.query_row([id.as_text()], |row| row.get(0))?)
}

/// Applies events to the tables.
struct EventWriter<'a> {
    database: &'a Connection,
    version: i64,
    way: Way,
    /// True if `early_ends` has rows; `None` until the first query.
    early_ends: Cell<Option<bool>>,
}

/// Origin of a trace's data; the column `streamed` holds the numbers.
#[derive(Clone, Copy)]
enum Way {
    /// Requests of the process that records the trace.
    Upload = 0,
    /// A WebSocket: the connection shows whether the trace is live.
    Stream = 1,
    /// Spans of another process than the one that records the trace.
    Joined = 2,
}

/// Columns of a span that depend on its fields.
struct SpanColumns<'a> {
    head: String,
    /// Input, output and metadata.
    content: [Option<&'a str>; 3],
    failed: bool,
}

/// Field of a failed span.
const ERROR: &str = "error";

/// A stored row that an update applies to.
pub(super) struct Known {
    key: i64,
    pub(super) fields: Fields,
    pub(super) clocks: FieldVersions,
}

impl<'a> EventWriter<'a> {
    fn new(database: &'a Connection, version: i64, way: Way) -> Self {
        Self { database, version, way, early_ends: Cell::new(None) }
    }

    /// Stores the events of one trace, in order of arrival.
    fn trace_events(&self, group: &[&Numbered]) -> Result<(), StoreError> {
        // An earlier check ensures that a start has an id.
        let Some(id) = group.first().and_then(|numbered| numbered.event.id()) else { return Ok(()) };
        if self.insert_ended_trace(id, group)? {
            return Ok(());
        }
        let mut updates = Vec::with_capacity(group.len());
        let mut spans = Vec::new();
        for numbered in group {
            match &numbered.event {
                Event::TraceStarted(trace) => {
                    let alone = Trace { spans: None, ..(**trace).clone() };
                    let fields = fields_of(&alone)?;
                    // The status `running` and zero totals apply only while no other event has set these fields.
                    let weak = field_names::of_trace_patch(&fields);
                    updates.push(FieldUpdate { weak, ..FieldUpdate::new(fields, numbered.seq) });
                    spans.extend(trace.spans.iter().flatten().map(|span| (span, numbered.seq)));
                }
                Event::TraceEnded(end) => updates.push(FieldUpdate::new(fields_of(end)?, numbered.seq)),
                Event::SpanStarted(_) | Event::SpanEnded(_) => {}
            }
        }
        self.trace(id, updates)?;
        spans.into_iter().try_for_each(|(span, seq)| self.span_started(span, seq, &[]))
    }

    /// Inserts a trace that may have ended already; returns false if the events are not a start and the ends that follow
    /// it, or if a trace with that id exists.
    fn insert_ended_trace(&self, id: &Id, group: &[&Numbered]) -> Result<bool, StoreError> {
        let Some((first, ends)) = group.split_first() else { return Ok(false) };
        let Event::TraceStarted(start) = &first.event else { return Ok(false) };
        let has_spans = start.spans.as_ref().is_some_and(|spans| !spans.is_empty());
        if has_spans || first.seq.is_none() || !group.iter().map(|numbered| numbered.seq).is_sorted() {
            return Ok(false);
        }
        // Each end overrides all before it: no field needs a comparison of numbers.
        let mut trace = Trace::clone(start);
        let mut clocks = FieldVersions::default();
        clocks.set_all(field_names::of_trace_start(start), first.seq);
        for numbered in ends {
            let Event::TraceEnded(end) = &numbered.event else { return Ok(false) };
            clocks.set_all(field_names::of_trace_end(end), numbered.seq);
            trace.apply(TraceEnded::clone(end));
        }
        let TraceRow { started_micros, status, head, content, .. } = TraceRow::new(id.clone(), trace)?;
        self.insert_trace(id, started_micros, status, &head, texts(&content), &clocks)
    }

    /// Inserts a trace; returns false if one with that id exists.
    fn insert_trace(
        &self,
        id: &Id,
        started_micros: Option<i64>,
        status: Option<Status>,
        head: &str,
        [input, output, metadata]: [Option<&str>; 3],
        clocks: &FieldVersions,
    ) -> Result<bool, StoreError> {
        let added = self
            .database
            .prepare_cached(
                "INSERT INTO traces (id, started_micros, status, head, input, output, metadata, clocks, version, streamed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING",
            )?
            .execute(params![
                id.as_text(),
                started_micros,
                status.map(Status::as_str),
                head,
                input,
                output,
                metadata,
                write::to_string(clocks)?,
                self.version,
                self.way as i64
            ])?;
        Ok(added > 0)
    }

    fn trace(&self, id: &Id, updates: Vec<FieldUpdate>) -> Result<(), StoreError> {
        let known = self
            .database
            .prepare_cached("SELECT key, head, input, output, metadata, clocks FROM traces WHERE id = ?1")?
            .query_row([id.as_text()], |row| Ok(Known::read(row)))
            .optional()?
            .transpose()?;
        let is_known = known.is_some();
        let (mut fields, mut clocks) = known.map(|known| (known.fields, known.clocks)).unwrap_or_default();
        let mut is_news = false;
        for update in updates {
            is_news |= update.apply_to(&mut fields, &mut clocks);
        }
        if !is_news && is_known {
            return Ok(());
        }
        let started_at: Option<Timestamp> = field(&fields, "started_at")?;
        let micros = started_at.and_then(|at| at.unix_micros()).and_then(|micros| i64::try_from(micros).ok());
        let status: Option<Status> = field(&fields, "status")?;
        let (head, content) = Content::split(fields)?;
        let content = texts(&content);
        if !is_known {
            return self.insert_trace(id, micros, status, &head, content, &clocks).map(drop);
        }
        let [input, output, metadata] = content;
        let (status, clocks) = (status.map(Status::as_str), write::to_string(&clocks)?);
        let (version, way) = (self.version, self.way as i64);
        self.database
            .prepare_cached(
                "UPDATE traces SET started_micros = ?2, status = ?3, head = ?4, input = ?5, output = ?6, metadata = ?7,
                     clocks = ?8, version = ?9, otlp = 0, streamed = CASE streamed WHEN 2 THEN ?10 ELSE streamed END
                 WHERE id = ?1",
            )?
            .execute(params![id.as_text(), micros, status, head, input, output, metadata, clocks, version, way])?;
        Ok(())
    }

    /// Stores the start of a span, and the ends that are already known.
    fn span_started(&self, span: &Span, seq: Option<u64>, ends: &[&Numbered]) -> Result<(), StoreError> {
        let (trace_id, id) = (span.trace_id.as_text(), span.id.as_text());
        // Nearly all spans are new, and no earlier event concerns them.
        if !self.has_early_ends()? && self.insert_ended(span, seq, ends)? {
            return Ok(());
        }
        let known = self
            .database
            .prepare_cached(
                "SELECT key, head, input, output, metadata, clocks FROM spans WHERE trace_id = ?1 AND id = ?2",
            )?
            .query_row([&trace_id, &id], |row| Ok(Known::read(row)))
            .optional()?
            .transpose()?;
        let (key, mut fields, mut clocks) = match known {
            Some(Known { key, fields, clocks }) => (Some(key), fields, clocks),
            None => (None, Fields::new(), FieldVersions::all(seq)),
        };
        let mut is_news = FieldUpdate::new(fields_of(span)?, seq).apply_to(&mut fields, &mut clocks);
        let early = if key.is_none() { self.early_ends(&trace_id, &id)? } else { Vec::new() };
        let ends = ends.iter().filter_map(|numbered| update_of_end(numbered).transpose());
        for update in early.into_iter().map(Ok).chain(ends) {
            is_news |= update?.apply_to(&mut fields, &mut clocks);
        }
        let Some(key) = key else {
            return self.insert_fields(span, seq, fields, &clocks).map(drop);
        };
        if is_news {
            self.update_span(key, fields, &clocks)?;
        }
        self.database
            .prepare_cached("UPDATE spans SET seq = ?2 WHERE key = ?1 AND seq > ?2")?
            .execute(params![key, place(seq)])?;
        Ok(())
    }

    /// Inserts a span that may have ended already; returns false if a span with that id exists.
    fn insert_ended(&self, span: &Span, seq: Option<u64>, ends: &[&Numbered]) -> Result<bool, StoreError> {
        let mut clocks = FieldVersions::all(seq);
        if seq.is_some() && std::iter::once(seq).chain(ends.iter().map(|numbered| numbered.seq)).is_sorted() {
            // Each end overrides all before it: no field needs a comparison of numbers.
            let mut in_order = Vec::with_capacity(ends.len());
            for numbered in ends {
                if let Event::SpanEnded(end) = &numbered.event {
                    clocks.set_all(field_names::of_span_end(end), numbered.seq);
                    in_order.push(&**end);
                }
            }
            let ended = EndedSpan { span, ends: &in_order };
            let columns = SpanColumns { head: ended.head()?, content: ended.content(), failed: ended.failed() };
            return self.insert_span(span, seq, &columns, &clocks);
        }
        let mut fields = fields_of(span)?;
        for numbered in ends {
            if let Some(update) = update_of_end(numbered)? {
                update.apply_to(&mut fields, &mut clocks);
            }
        }
        self.insert_fields(span, seq, fields, &clocks)
    }

    /// Inserts a span with these fields; returns false if a span with that id exists.
    fn insert_fields(
        &self,
        span: &Span,
        seq: Option<u64>,
        fields: Fields,
        clocks: &FieldVersions,
    ) -> Result<bool, StoreError> {
        let failed = fields.contains_key(ERROR);
        let (head, content) = Content::split(fields)?;
        self.insert_span(span, seq, &SpanColumns { head, content: texts(&content), failed }, clocks)
    }

    /// Inserts a span; returns false if a span with that id exists.
    fn insert_span(
        &self,
        span: &Span,
        seq: Option<u64>,
        columns: &SpanColumns<'_>,
        clocks: &FieldVersions,
    ) -> Result<bool, StoreError> {
        let SpanColumns { head, content: [input, output, metadata], failed } = columns;
        let trace_id = span.trace_id.as_text();
        let added = self
            .database
            .prepare_cached(
                "INSERT INTO spans (trace_id, id, head, input, output, metadata, clocks, seq, version, failed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (trace_id, id) DO NOTHING",
            )?
            .execute(params![
                trace_id,
                span.id.as_text(),
                head,
                input,
                output,
                metadata,
                write::to_string(clocks)?,
                place(seq),
                self.version,
                failed
            ])?;
        if added > 0 && joins(span) {
            mark_joined(self.database, &trace_id)?;
        }
        Ok(added > 0)
    }

    fn span_ended(&self, end: &SpanEnded, seq: Option<u64>) -> Result<(), StoreError> {
        let id = end.id.as_text();
        let found = match &end.trace_id {
            Some(trace_id) => self
                .database
                .prepare_cached(
                    "SELECT key, head, input, output, metadata, clocks FROM spans WHERE trace_id = ?1 AND id = ?2",
                )?
                .query_row([&trace_id.as_text(), &id], |row| Ok(Known::read(row)))
                .optional()?,
            None => self.latest_span(&id)?,
        };
        let update = FieldUpdate::new(fields_of(&alone(end))?, seq);
        if let Some(known) = found {
            let Known { key, mut fields, mut clocks } = known?;
            if update.apply_to(&mut fields, &mut clocks) {
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
            None => (Fields::new(), FieldVersions::default()),
        };
        update.apply_to(&mut fields, &mut clocks);
        self.database
            .prepare_cached("INSERT OR REPLACE INTO early_ends (trace_id, id, fields, clocks) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![trace_id, id, write::to_string(&fields)?, write::to_string(&clocks)?])?;
        self.early_ends.set(Some(true));
        Ok(())
    }

    fn has_early_ends(&self) -> Result<bool, StoreError> {
        if let Some(known) = self.early_ends.get() {
            return Ok(known);
        }
        let mut statement = self.database.prepare_cached("SELECT EXISTS (SELECT 1 FROM early_ends)")?;
        let found = statement.query_row([], |row| row.get(0))?;
        self.early_ends.set(Some(found));
        Ok(found)
    }

    /// Returns the span of an end that has no trace id: the latest span with that id if there are several.
    fn latest_span(&self, id: &str) -> Result<Option<Result<Known, StoreError>>, StoreError> {
        // The index exists only after such an end has arrived.
        self.database
            .prepare_cached("CREATE INDEX IF NOT EXISTS spans_by_id ON spans (id) WHERE clocks IS NOT NULL")?
            .execute([])?;
        let mut latest = self.database.prepare_cached(
            "SELECT key, head, input, output, metadata, clocks FROM spans INDEXED BY spans_by_id
             WHERE id = ?1 AND clocks IS NOT NULL ORDER BY key DESC LIMIT 1",
        )?;
        Ok(latest.query_row([id], |row| Ok(Known::read(row))).optional()?)
    }

    fn update_span(&self, key: i64, fields: Fields, clocks: &FieldVersions) -> Result<(), StoreError> {
        let failed = fields.contains_key(ERROR);
        let (head, content) = Content::split(fields)?;
        let Content { input, output, metadata } = &content;
        self.database
            .prepare_cached(
                "UPDATE spans SET head = ?2, input = ?3, output = ?4, metadata = ?5, clocks = ?6, version = ?7, failed = ?8,
                     otlp = 0 WHERE key = ?1",
            )?
            .execute(params![
                key,
                head,
                text(input),
                text(output),
                text(metadata),
                write::to_string(clocks)?,
                self.version,
                failed
            ])?;
        Ok(())
    }

    /// Removes and returns the ends of a span that arrived before its start.
    fn early_ends(&self, trace_id: &str, id: &str) -> Result<Vec<FieldUpdate>, StoreError> {
        let mut statement = self
            .database
            .prepare_cached("SELECT fields, clocks FROM early_ends WHERE trace_id IN (?1, '') AND id = ?2")?;
        let mut rows = statement.query([trace_id, id])?;
        let mut updates = Vec::new();
        while let Some(row) = rows.next()? {
            let (fields, clocks): (String, String) = (row.get(0)?, row.get(1)?);
            let update = FieldUpdate::new(serde_json::from_str(&fields)?, Some(0));
            updates.push(FieldUpdate { clocks: serde_json::from_str(&clocks)?, ..update });
        }
        if !updates.is_empty() {
            self.database
                .prepare_cached("DELETE FROM early_ends WHERE trace_id IN (?1, '') AND id = ?2")?
                .execute([trace_id, id])?;
        }
        Ok(updates)
    }
}

/// Reads a field of a record.
fn field<T: DeserializeOwned>(fields: &Fields, name: &str) -> Result<Option<T>, StoreError> {
    Ok(fields.get(name).map(|json| serde_json::from_str(json.as_str())).transpose()?)
}

fn texts(content: &Content) -> [Option<&str>; 3] {
    let Content { input, output, metadata } = content;
    [input, output, metadata].map(text)
}

/// Returns the update that an end makes to its span.
fn update_of_end(numbered: &Numbered) -> Result<Option<FieldUpdate>, StoreError> {
    match &numbered.event {
        Event::SpanEnded(end) => Ok(Some(FieldUpdate::new(fields_of(&alone(end))?, numbered.seq))),
        _ => Ok(None),
    }
}

/// Removes the trace id, which the span already has.
fn alone(end: &SpanEnded) -> SpanEnded {
    SpanEnded { trace_id: None, ..end.clone() }
}

/// Returns the sort position: spans are ordered by the number of their start; those of an upload follow all numbered
/// ones.
fn place(seq: Option<u64>) -> i64 {
    seq.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX))
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
