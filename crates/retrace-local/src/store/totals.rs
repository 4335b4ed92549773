//! Totals over the spans of a trace.

use retrace_protocol::{Id, Trace};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::count_once::{Counted, counted};
use super::{StoreError, read};

/// Sums the usage over the spans of a trace, without duplicates: the spans of one process already have only usage that
/// counts, and [`counted`] removes duplicates across processes.
pub(super) fn totals(database: &Connection, id: &Id, with_count: bool) -> Result<Trace, StoreError> {
    let spans = read::counted_spans(database, id)?;
    let count = spans.len() as u64;
    let counts = counted(&spans);
    let (mut tokens, mut cost) = (0_u64, 0.0);
    for Counted { span, .. } in spans.iter().zip(counts).filter(|(_, counts)| *counts).map(|(span, _)| span) {
        let used = span.input_tokens.unwrap_or(0).saturating_add(span.output_tokens.unwrap_or(0));
        (tokens, cost) = (tokens.saturating_add(used), cost + span.cost.unwrap_or(0.0));
    }
    Ok(Trace {
        total_tokens: Some(tokens),
        // Rounds off the error of floating-point addition.
        total_cost: Some((cost * 1e12_f64).round() / 1e12),
        span_count: with_count.then_some(count),
        ..Trace::default()
    })
}

/// Records that several processes send spans of a trace.
pub(super) fn mark_joined(database: &Connection, trace_id: &str) -> Result<(), StoreError> {
    let mut insert = database.prepare_cached("INSERT INTO joined (trace_id) VALUES (?1) ON CONFLICT DO NOTHING")?;
    insert.execute(params![trace_id])?;
    Ok(())
}

/// Source of the totals of a run that is under way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// Its spans: exact, and each is read.
    Spans,
    /// The index: one row, which may be older than the latest spans. None where the run is not indexed yet.
    Index,
}

/// Replaces the totals of a trace with spans of several processes, since those of its first process cover only that process, and of one
/// that is sent while it happens and has not ended, since its client states them at the end.
pub(super) fn over_all(
    database: &Connection,
    mut trace: Trace,
    is_under_way: bool,
    source: Source,
) -> Result<Trace, StoreError> {
    let Some(id) = trace.id.clone() else { return Ok(trace) };
    let mut joined = database.prepare_cached("SELECT EXISTS (SELECT 1 FROM joined WHERE trace_id = ?1)")?;
    let states_none = trace.total_tokens.unwrap_or(0) == 0 && trace.total_cost.unwrap_or(0.0) == 0.0;
    if is_under_way && states_none || joined.query_row([id.as_text()], |row| row.get(0))? {
        let with_count = trace.span_count.is_some();
        let all = match source {
            Source::Index if is_under_way => indexed(database, &id, with_count)?,
            Source::Index | Source::Spans => Some(totals(database, &id, with_count)?),
        };
        if let Some(all) = all {
            (trace.total_tokens, trace.total_cost, trace.span_count) =
                (all.total_tokens, all.total_cost, all.span_count);
        }
    }
    Ok(trace)
}

/// Returns the totals of the index; `None` if the run is not indexed.
fn indexed(database: &Connection, id: &Id, with_count: bool) -> Result<Option<Trace>, StoreError> {
    let sql = "SELECT tokens, cost, spans FROM run_index WHERE key = (SELECT key FROM traces WHERE id = ?1)";
    let of_row = |row: &Row<'_>| {
        let (tokens, count): (i64, i64) = (row.get(0)?, row.get(2)?);
        Ok(Trace {
            total_tokens: Some(tokens.unsigned_abs()),
            total_cost: Some(row.get(1)?),
            span_count: with_count.then_some(count.unsigned_abs()),
            ..Trace::default()
        })
    };
    Ok(database.prepare_cached(sql)?.query_row([id.as_text()], of_row).optional()?)
}
