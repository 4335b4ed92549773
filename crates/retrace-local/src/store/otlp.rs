//! Storage of OTLP runs: each emission of a run contains everything that the buffer holds of it.
//!
//! Data that only OTLP has sent is replaced. Data of the same trace that arrived over the Retrace wire protocol stays,
//! and the emission is added to it; the same holds for data that an earlier process stored, or this process before it
//! dropped the trace from the buffer.

use std::collections::HashMap;

use retrace_otlp::{Emission, EmissionPart};
use retrace_protocol::{Id, Span, Timestamp, Trace, write};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::StoreError;
use super::event::Known;
use super::job::{Outcome, text};
use super::read::has_ended;
use super::totals::totals;
use crate::ingest::{Content, FieldUpdate, SpanRow, TraceRow, Upload, fields_of};

/// A run received over OTLP, as rows.
#[derive(Debug)]
pub(crate) struct OtlpRun {
    upload: Upload,
    /// Sort position of each span.
    places: Vec<i64>,
    gone: Vec<Id>,
    orphans: HashMap<Id, Id>,
    has_root: bool,
    part: EmissionPart,
}

impl OtlpRun {
    pub(crate) fn new(emission: Emission) -> Result<Self, serde_json::Error> {
        let Emission { run, gone, orphans, has_root, part } = emission;
        let spans: Vec<Span> = run.spans.into_iter().map(|recorded| recorded.span).collect();
        // Spans with equal start times keep their order.
        let mut next = 0;
        let mut place = |span: &Span| {
            let place = micros(Some(&span.started_at)).unwrap_or(0).max(next);
            next = place.saturating_add(1);
            place
        };
        let places = spans.iter().map(&mut place).collect();
        let id = run.trace.id.clone().unwrap_or_else(|| "".into());
        let trace = TraceRow::new(id, run.trace)?;
        let spans = spans.into_iter().map(SpanRow::new).collect::<Result<_, _>>()?;
        let orphans = orphans.into_iter().collect();
        Ok(Self { upload: Upload { trace, spans, joined: false }, places, gone, orphans, has_root, part })
    }

    /// Returns the id of the trace.
    pub(super) const fn id(&self) -> &Id {
        &self.upload.trace.id
    }

    /// Stores the run; returns [`Outcome::Merged`] if the run was added to a trace of another origin.
    pub(super) fn store(&self, database: &Connection, version: i64) -> Result<Outcome, StoreError> {
        self.store_spans(database, version)?;
        let id = self.upload.trace.id.as_text();
        let known: Option<(bool, Known)> = database
            .prepare_cached("SELECT key, head, input, output, metadata, clocks, otlp FROM traces WHERE id = ?1")?
            .query_row([&id], |row| Ok((row.get(6)?, Known::read(row))))
            .optional()?
            .map(|(otlp, known)| known.map(|known| (otlp, known)))
            .transpose()?;
        let Some((is_ours, known)) = known else {
            self.insert_trace(database, version)?;
            return Ok(Outcome::Done);
        };
        if is_ours && self.part == EmissionPart::Whole {
            let Content { input, output, metadata } = &self.upload.trace.content;
            update(database, &id, &self.upload.trace.head, [input, output, metadata].map(text), version)?;
            return Ok(Outcome::Done);
        }
        self.add_to(database, known, is_ours, version)?;
        Ok(Outcome::Merged)
    }

    fn store_spans(&self, database: &Connection, version: i64) -> Result<(), StoreError> {
        let trace_id = self.upload.trace.id.as_text();
        let mut insert = database.prepare_cached(
            "INSERT INTO spans (trace_id, id, head, input, output, metadata, seq, version, failed, otlp)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1)
             ON CONFLICT (trace_id, id) DO UPDATE SET
                 (head, input, output, metadata, seq, version, failed) =
                 (excluded.head, excluded.input, excluded.output, excluded.metadata, excluded.seq, excluded.version,
                  excluded.failed)
             WHERE otlp AND (head, input, output, metadata)
                 IS NOT (excluded.head, excluded.input, excluded.output, excluded.metadata)",
        )?;
        for (span, place) in self.upload.spans.iter().zip(&self.places) {
            let Content { input, output, metadata } = &span.content;
            let (input, output, metadata) = (text(input), text(output), text(metadata));
            let adopted = self.adopted(database, span)?;
            let head = adopted.as_ref().unwrap_or(&span.head);
            let id = span.id.as_text();
            insert.execute(params![trace_id, id, head, input, output, metadata, place, version, span.failed])?;
        }
        let mut delete = database.prepare_cached("DELETE FROM spans WHERE trace_id = ?1 AND id = ?2 AND otlp")?;
        for id in &self.gone {
            delete.execute([&trace_id, &id.as_text()])?;
        }
        Ok(())
    }

    /// Returns the head of a span whose parent is stored but not in the buffer.
    fn adopted(&self, database: &Connection, row: &SpanRow) -> Result<Option<String>, StoreError> {
        let Some(parent) = self.orphans.get(&row.id).filter(|_| self.part != EmissionPart::Whole) else {
            return Ok(None);
        };
        let mut known =
            database.prepare_cached("SELECT EXISTS (SELECT 1 FROM spans WHERE trace_id = ?1 AND id = ?2)")?;
        let is_stored: bool = known.query_row([self.upload.trace.id.as_text(), parent.as_text()], |row| row.get(0))?;
        let mut span: Span = serde_json::from_str(&row.head)?;
        if !is_stored || span.parent_id.is_some() {
            return Ok(None);
        }
        span.parent_id = Some(parent.clone());
        Ok(Some(write::to_string(&span)?))
    }

    fn insert_trace(&self, database: &Connection, version: i64) -> Result<(), StoreError> {
        let TraceRow { id, started_micros, status, head, content } = &self.upload.trace;
        let Content { input, output, metadata } = content;
        let status = status.map(retrace_protocol::Status::as_str);
        database
            .prepare_cached(
                "INSERT INTO traces (id, started_micros, status, head, input, output, metadata, version, streamed, otlp)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, 1)",
            )?
            .execute(params![
                id.as_text(),
                started_micros,
                status,
                head,
                text(input),
                text(output),
                text(metadata),
                version
            ])?;
        Ok(())
    }

    /// Sets the fields that the stored trace lacks; sets all fields if the root span or the end has arrived only now.
    fn add_to(&self, database: &Connection, known: Known, is_ours: bool, version: i64) -> Result<(), StoreError> {
        let row = &self.upload.trace;
        let Known { mut fields, mut clocks, .. } = known;
        let before: Trace = serde_json::from_str(&Content::split(fields.clone())?.0)?;
        let sent = row.content.clone().into_trace(&row.head)?;
        let mut update_all = FieldUpdate::new(fields_of(&sent)?, None);
        if !(is_ours && (self.has_root || !has_ended(&before) && has_ended(&sent))) {
            update_all.weak = update_all.fields.keys().cloned().collect();
        }
        update_all.apply_to(&mut fields, &mut clocks);
        if is_ours {
            fields.extend(fields_of(&totals(database, &row.id, before.span_count.or(sent.span_count).is_some())?)?);
        }
        let (head, content) = Content::split(fields)?;
        let Content { input, output, metadata } = &content;
        update(database, &row.id.as_text(), &head, [input, output, metadata].map(text), version)
    }
}

/// Updates the row of a trace, if it differs.
fn update(
    database: &Connection,
    id: &str,
    head: &str,
    [input, output, metadata]: [Option<&str>; 3],
    version: i64,
) -> Result<(), StoreError> {
    let record: Trace = serde_json::from_str(head)?;
    let status = record.status.map(retrace_protocol::Status::as_str);
    database
        .prepare_cached(
            "UPDATE traces SET started_micros = ?2, status = ?3, head = ?4, input = ?5, output = ?6, metadata = ?7,
                 version = ?8
             WHERE id = ?1 AND (head, input, output, metadata) IS NOT (?4, ?5, ?6, ?7)",
        )?
        .execute(params![id, micros(record.started_at.as_ref()), status, head, input, output, metadata, version])?;
    Ok(())
}

fn micros(at: Option<&Timestamp>) -> Option<i64> {
    at.and_then(Timestamp::unix_micros).and_then(|micros| i64::try_from(micros).ok())
}
