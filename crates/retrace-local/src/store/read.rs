//! Reads of stored records.

use retrace_protocol::metadata::FORK_OF;
use retrace_protocol::read::{Changes, ContentBytes, Outline, Stored, TracePage};
use retrace_protocol::{Id, Json, Span, Status, Trace};
use rusqlite::{Connection, OptionalExtension as _, Row, Rows, ToSql, params};
use serde_json::value::RawValue;

use super::count_once::Counted;
use super::totals::{Source, over_all};
use super::{Reader, StoreError};
use crate::ingest::{Content, MAX_ID_BYTES};
use crate::query::TraceQuery;

/// The columns of a head with the sizes of its content. SQLite reads sizes from the record's header, without the
/// content.
const HEAD: &str = "head, octet_length(input), octet_length(output), octet_length(metadata)";
/// The columns of a trace's head, whether the trace began over a WebSocket, and marks of its metadata: [`HEAD_COLUMNS`] together.
///
/// Clients send the metadata: it may be invalid for SQLite's JSON functions.
pub(super) const TRACE_HEAD: &str =
    "head, octet_length(input), octet_length(output), octet_length(metadata), streamed = 1,
    coalesce(json_extract(CASE WHEN json_valid(metadata) THEN metadata END, '$.kept_for_failure') = 1, 0),
    coalesce(json_type(CASE WHEN json_valid(metadata) THEN metadata END, '$.replayed') = 'true', 0),
    CASE json_type(CASE WHEN json_valid(metadata) THEN metadata END, '$._fork_of') WHEN 'text'
        THEN json_extract(metadata, '$._fork_of') END";
/// Number of columns of [`TRACE_HEAD`].
const HEAD_COLUMNS: usize = 8;
/// A page of a list ends early if its heads exceed this size, in bytes. A typical head has a few hundred.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Condition of the index of failed spans.
pub(super) const FAILED: &str = "failed = 1";
/// Limits of the tool results for one conversation: their number, and the size of each, in bytes.
const ANSWERS: u32 = 1_000;
const ANSWER_BYTES: u32 = 50_000;
/// The columns of a whole record.
const RECORD: &str = "head, input, output, metadata";

impl Reader {
    /// Returns one page of the traces that `query` selects, newest first, heads only.
    pub(crate) fn page(&self, query: &TraceQuery) -> Result<TracePage<Stored<Trace>>, StoreError> {
        self.read(|database| page(database, query))
    }

    /// Returns a whole trace, with its spans if `with_spans` is set.
    pub(crate) fn trace(&self, id: &Id, with_spans: bool) -> Result<Option<Stored<Trace>>, StoreError> {
        self.read(|database| trace(database, id, with_spans))
    }

    /// Returns a trace and, if `with_spans` is set, its spans, without content.
    pub(crate) fn outline(&self, id: &Id, with_spans: bool) -> Result<Option<Outline>, StoreError> {
        self.read(|database| outline(database, id, with_spans))
    }

    /// Returns the head of a trace with the totals that it states, and the version of the latest commit that affected it or its spans.
    pub(crate) fn version(&self, id: &Id) -> Result<Option<(Stored<Trace>, u64)>, StoreError> {
        self.read(|database| version(database, id))
    }

    /// Returns the parts of a trace that were committed after the version `after`; the whole trace if it has no such
    /// version.
    pub(crate) fn changes(&self, id: &Id, after: u64) -> Result<Option<Changes>, StoreError> {
        self.read(|database| changes(database, id, after))
    }

    /// Returns the spans of a trace that have a tool call id, each with that id, without large outputs.
    pub(crate) fn answers(&self, trace_id: &Id) -> Result<Vec<(String, Span)>, StoreError> {
        const CALL: &str = "json_extract(CASE WHEN json_valid(metadata) THEN metadata END, '$.tool_call_id')";
        self.read(|database| {
            let sql = format!(
                "SELECT head, NULL, CASE WHEN octet_length(output) <= {ANSWER_BYTES} THEN output END, NULL, {CALL}
                 FROM spans INDEXED BY spans_by_trace
                 WHERE trace_id = ?1 AND typeof({CALL}) = 'text' ORDER BY seq, key LIMIT {ANSWERS}"
            );
            all(database, &sql, params![trace_id.as_text()], |row| Ok((row.get(4)?, whole_span(row)?)))
        })
    }

    /// Returns a whole span.
    pub(crate) fn span(&self, trace_id: &Id, id: &Id) -> Result<Option<Span>, StoreError> {
        self.read(|database| {
            let sql = format!("SELECT {RECORD} FROM spans WHERE trace_id = ?1 AND id = ?2");
            one(database, &sql, params![trace_id.as_text(), id.as_text()], whole_span)
        })
    }
}

fn page(database: &Connection, query: &TraceQuery) -> Result<TracePage<Stored<Trace>>, StoreError> {
    let status = query.status().map(Status::as_str);
    let of_status = if status.is_some() { "status = ?1" } else { "?1 IS NULL" };
    let filter = match query.failed_spans() {
        None => format!("WHERE {of_status}"),
        Some(true) => format!("WHERE {of_status} AND id IN (SELECT trace_id FROM spans WHERE {FAILED})"),
        Some(false) => format!("WHERE {of_status} AND id NOT IN (SELECT trace_id FROM spans WHERE {FAILED})"),
    };
    let total: i64 = database
        .prepare_cached(&format!("SELECT count(*) FROM traces {filter}"))?
        .query_row([status], |row| row.get(0))?;
    let sql = format!(
        "SELECT {TRACE_HEAD}, (SELECT count(*) FROM spans WHERE trace_id = traces.id),
            EXISTS (SELECT 1 FROM golden WHERE trace_id = traces.id),
            (SELECT count(*) FROM spans WHERE trace_id = traces.id AND {FAILED})
         FROM traces {filter} ORDER BY started_micros DESC, key DESC LIMIT ?2 OFFSET ?3"
    );
    // An offset beyond the range of the database yields an empty page.
    let offset = i64::try_from(query.offset()).unwrap_or(i64::MAX);
    let mut statement = database.prepare_cached(&sql)?;
    let traces = rows_of_page(database, statement.query(params![status, query.limit(), offset])?)?;
    Ok(TracePage { traces, total: total.unsigned_abs(), limit: u64::from(query.limit()), offset: query.offset() })
}

/// Reads the traces of a page from rows of [`TRACE_HEAD`], the number of spans, the golden mark, and the number of
/// failed spans.
pub(super) fn rows_of_page(database: &Connection, mut rows: Rows<'_>) -> Result<Vec<Stored<Trace>>, StoreError> {
    let (mut traces, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += head(row)?.len();
        if bytes > PAGE_BYTES && !traces.is_empty() {
            break;
        }
        let spans: i64 = row.get(HEAD_COLUMNS)?;
        let trace = head_of_trace(row)?;
        let record = over_all(database, trace.record, trace.live.is_some(), Source::Index)?;
        let (stored_spans, golden) = (Some(spans.unsigned_abs()), marked(row.get(HEAD_COLUMNS + 1)?));
        let failed: i64 = row.get(HEAD_COLUMNS + 2)?;
        let failed_spans = (failed > 0).then_some(failed.unsigned_abs());
        traces.push(Stored { record, stored_spans, failed_spans, golden, ..trace });
    }
    Ok(traces)
}

/// Returns a trace without its spans and without the marks of the receiver.
pub(super) fn trace_record(database: &Connection, id: &Id) -> Result<Option<Trace>, StoreError> {
    let sql = format!("SELECT {RECORD} FROM traces WHERE id = ?1");
    one(database, &sql, params![id.as_text()], |row| Ok(content(row)?.into_trace(head(row)?)?))
}

/// Returns a whole trace, with its spans if `with_spans` is set.
fn trace(database: &Connection, id: &Id, with_spans: bool) -> Result<Option<Stored<Trace>>, StoreError> {
    let sql = format!("SELECT {RECORD}, streamed = 1 FROM traces WHERE id = ?1");
    let whole = |row: &Row<'_>| Ok((content(row)?.into_trace(head(row)?)?, row.get(4)?));
    let Some((record, streamed)) = one(database, &sql, params![id.as_text()], whole)? else { return Ok(None) };
    let live = not_yet_live(&record, streamed);
    let mut record = over_all(database, record, live.is_some(), source(with_spans))?;
    if with_spans {
        record.spans = Some(spans(database, id, RECORD, whole_span)?);
    }
    let metadata = record.metadata.as_ref().and_then(|metadata| metadata.to_value().ok());
    let stated = |name: &str| metadata.as_ref()?.get(name);
    let replayed = marked(stated("replayed") == Some(&true.into()));
    let fork_of = stated(FORK_OF).and_then(|id| origin(id.as_str()?));
    Ok(Some(Stored { record, live, replayed, fork_of, golden: is_golden(database, id)?, ..Stored::default() }))
}

/// Returns a whole trace if it has ended. Reads only its head otherwise.
pub(crate) fn ended_trace(database: &Connection, id: &Id) -> Result<Option<Trace>, StoreError> {
    match trace_head(database, id)? {
        Some(head) if has_ended(&head.record) => Ok(trace(database, id, true)?.map(|stored| stored.record)),
        _ => Ok(None),
    }
}

/// Returns true if the trace has ended: the status decides, or, without one, the presence of an end time.
pub(super) fn has_ended(trace: &Trace) -> bool {
    trace.status.map_or(trace.ended_at.is_some(), |status| status != Status::Running)
}

fn outline(database: &Connection, id: &Id, with_spans: bool) -> Result<Option<Outline>, StoreError> {
    let Some(trace) = trace_head(database, id)? else { return Ok(None) };
    let trace = with_totals(database, trace, source(with_spans))?;
    let spans = if with_spans { spans(database, id, HEAD, head_of_span)? } else { Vec::new() };
    Ok(Some(Outline { trace, spans }))
}

/// Returns the head of a trace with the totals that it states, and its version. Reads no spans: clients poll it.
pub(super) fn version(database: &Connection, id: &Id) -> Result<Option<(Stored<Trace>, u64)>, StoreError> {
    let Some(trace) = trace_head(database, id)? else { return Ok(None) };
    let newest: i64 = database
        .prepare_cached(
            "SELECT max(version, coalesce((SELECT max(version) FROM spans WHERE trace_id = ?1), 0))
             FROM traces WHERE id = ?1",
        )?
        .query_row([id.as_text()], |row| row.get(0))?;
    Ok(Some((trace, newest.unsigned_abs())))
}

fn changes(database: &Connection, id: &Id, after: u64) -> Result<Option<Changes>, StoreError> {
    let Some((trace, version)) = version(database, id)? else { return Ok(None) };
    let trace = with_totals(database, trace, Source::Index)?;
    // Rows from before the introduction of versions have version 0, and are part of the whole.
    let known = if (1..=version).contains(&after) { i64::try_from(after).unwrap_or(-1) } else { -1 };
    let sql = format!(
        "SELECT {HEAD} FROM spans INDEXED BY spans_by_trace WHERE trace_id = ?1 AND version > ?2 ORDER BY seq, key"
    );
    let spans = all(database, &sql, params![id.as_text(), known], head_of_span)?;
    Ok(Some(Changes { trace, spans, version }))
}

/// Returns where the totals of a run under way come from: from its spans only if these are read as well.
fn source(with_spans: bool) -> Source {
    if with_spans { Source::Spans } else { Source::Index }
}

fn with_totals(database: &Connection, trace: Stored<Trace>, source: Source) -> Result<Stored<Trace>, StoreError> {
    let record = over_all(database, trace.record, trace.live.is_some(), source)?;
    Ok(Stored { record, ..trace })
}

/// Returns the head of a trace with the totals that it states.
fn trace_head(database: &Connection, id: &Id) -> Result<Option<Stored<Trace>>, StoreError> {
    let sql = format!("SELECT {TRACE_HEAD} FROM traces WHERE id = ?1");
    let trace = one(database, &sql, params![id.as_text()], head_of_trace)?;
    let Some(trace) = trace else { return Ok(None) };
    Ok(Some(Stored { golden: is_golden(database, id)?, ..trace }))
}

fn head_of_span(row: &Row<'_>) -> Result<Stored<Span>, StoreError> {
    let record = Content::default().into_span(head(row)?)?;
    // The page does not draw these fields, which are as long as the output of a model.
    let record = Span { token_ids: None, logprobs: None, ..record };
    Ok(Stored {
        record,
        stored_spans: None,
        failed_spans: None,
        kept_for_failure: None,
        replayed: None,
        fork_of: None,
        live: None,
        golden: None,
        content_bytes: content_bytes(row)?,
    })
}

/// Returns the spans of a trace without content, with the facts of their metadata that affect the usage.
pub(super) fn counted_spans(database: &Connection, id: &Id) -> Result<Vec<Counted>, StoreError> {
    /// Clients send the metadata: it may be invalid for SQLite's JSON functions.
    const OF_METADATA: &str = "json_extract(CASE WHEN json_valid(metadata) THEN metadata END,
        '$.otel.kind', '$.operation', '$.response_id', '$.attributes.\"gen_ai.request.id\"')";
    spans(database, id, &format!("head, {OF_METADATA}"), |row| {
        let span = Content::default().into_span(head(row)?)?;
        let text: Option<String> = row.get(1)?;
        let fields: [Option<serde_json::Value>; 4] =
            text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let [kind, operation, response_id, request_id] = fields.map(|field| field?.as_str().map(str::to_owned));
        Ok(Counted {
            span,
            is_server: kind.as_deref() == Some("server"),
            embeds: operation.is_some_and(|operation| operation.to_ascii_lowercase().contains("embed")),
            ids: [response_id, request_id],
        })
    })
}

fn spans<T>(
    database: &Connection,
    id: &Id,
    columns: &str,
    read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let sql = format!("SELECT {columns} FROM spans INDEXED BY spans_by_trace WHERE trace_id = ?1 ORDER BY seq, key");
    all(database, &sql, params![id.as_text()], read)
}

fn is_golden(database: &Connection, id: &Id) -> Result<Option<bool>, StoreError> {
    let mut statement = database.prepare_cached("SELECT EXISTS (SELECT 1 FROM golden WHERE trace_id = ?1)")?;
    Ok(marked(statement.query_row([id.as_text()], |row| row.get(0))?))
}

/// Returns `live` of a run: `Some(false)` for one that began over a WebSocket and has not ended; the registry of live
/// runs may then set it to `true`.
fn not_yet_live(trace: &Trace, streamed: bool) -> Option<bool> {
    (streamed && !has_ended(trace)).then_some(false)
}

/// Returns a mark for a response, in which an absent mark means false.
fn marked(is_marked: bool) -> Option<bool> {
    is_marked.then_some(true)
}

fn whole_span(row: &Row<'_>) -> Result<Span, StoreError> {
    Ok(content(row)?.into_span(head(row)?)?)
}

fn head_of_trace(row: &Row<'_>) -> Result<Stored<Trace>, StoreError> {
    let record = Content::default().into_trace(head(row)?)?;
    let live = not_yet_live(&record, row.get(4)?);
    let (kept_for_failure, replayed) = (marked(row.get(5)?), marked(row.get(6)?));
    // SQLite makes invalid UTF-8 of an unpaired surrogate, which content may have.
    let fork_of = row.get_ref(7)?.as_str().ok().and_then(origin);
    let content_bytes = content_bytes(row)?;
    Ok(Stored { record, live, kept_for_failure, replayed, fork_of, content_bytes, ..Stored::default() })
}

/// Returns the id of the trace that a fork states in its metadata; `None` for a text that no stored trace has as its id.
fn origin(text: &str) -> Option<Id> {
    (1..=MAX_ID_BYTES).contains(&text.len()).then(|| Id::from(text))
}

fn head<'a>(row: &'a Row<'_>) -> Result<&'a str, StoreError> {
    Ok(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)
}

fn content(row: &Row<'_>) -> Result<Content, StoreError> {
    Ok(Content { input: json(row, 1)?, output: json(row, 2)?, metadata: json(row, 3)? })
}

pub(super) fn json(row: &Row<'_>, column: usize) -> Result<Option<Json>, StoreError> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(RawValue::from_string).transpose()?.map(Json::from))
}

fn content_bytes(row: &Row<'_>) -> Result<Option<ContentBytes>, StoreError> {
    let size = |column| row.get::<_, Option<i64>>(column).map(|size| size.map(i64::unsigned_abs));
    let bytes = ContentBytes { input: size(1)?, output: size(2)?, metadata: size(3)? };
    Ok((bytes != ContentBytes::default()).then_some(bytes))
}

fn one<T>(
    database: &Connection,
    sql: &str,
    parameters: &[&dyn ToSql],
    read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let mut statement = database.prepare_cached(sql)?;
    statement.query_row(parameters, |row| Ok(read(row))).optional()?.transpose()
}

fn all<T>(
    database: &Connection,
    sql: &str,
    parameters: &[&dyn ToSql],
    mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut statement = database.prepare_cached(sql)?;
    let mut rows = statement.query(parameters)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}
