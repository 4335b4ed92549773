//! Totals over the spans of a trace.

use retrace_protocol::{Id, Trace};
use rusqlite::{Connection, params};

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

/// Replaces the totals of a trace with spans of several processes, since those of its first process cover only that process, and of one
/// that is sent while it happens and has not ended, since its client states them at the end.
pub(super) fn over_all(database: &Connection, mut trace: Trace, is_under_way: bool) -> Result<Trace, StoreError> {
    let Some(id) = trace.id.clone() else { return Ok(trace) };
    let mut joined = database.prepare_cached("SELECT EXISTS (SELECT 1 FROM joined WHERE trace_id = ?1)")?;
    let states_none = trace.total_tokens.unwrap_or(0) == 0 && trace.total_cost.unwrap_or(0.0) == 0.0;
    if is_under_way && states_none || joined.query_row([id.as_text()], |row| row.get(0))? {
        let all = totals(database, &id, trace.span_count.is_some())?;
        (trace.total_tokens, trace.total_cost, trace.span_count) = (all.total_tokens, all.total_cost, all.span_count);
    }
    Ok(trace)
}
