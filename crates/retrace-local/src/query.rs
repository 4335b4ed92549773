//! Queries of stored traces. Pure: parses parameters into a query or a refusal.

mod filter;
mod order;

pub(crate) use filter::Filter;
pub(crate) use order::Order;

use retrace_protocol::Status;
use retrace_protocol::read::{self, Refusal};

/// Selects the traces of a list (PROTOCOL.md section 1): by default the newest [`TraceQuery::DEFAULT_LIMIT`] of all.
///
/// ```
/// use retrace_local::TraceQuery;
/// use retrace_protocol::Status;
///
/// let failed = TraceQuery::new().with_status(Status::Failed).with_limit(10);
/// assert_eq!((failed.limit(), failed.offset()), (10, 0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TraceQuery {
    limit: u32,
    offset: u64,
    status: Option<Status>,
    failed_spans: Option<bool>,
    filter: Filter,
    order: Order,
}

impl TraceQuery {
    /// Default number of traces on a page.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// Largest number of traces on a page. A page has fewer traces if they exceed 4 MiB; the next page begins after
    /// them.
    pub const MAX_LIMIT: u32 = 1_000;

    /// Selects the newest traces of any status.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            limit: Self::DEFAULT_LIMIT,
            offset: 0,
            status: None,
            failed_spans: None,
            filter: Filter::new(),
            order: Order::NEWEST_FIRST,
        }
    }

    /// Sets the number of traces on the page, clamped to 1 up to [`TraceQuery::MAX_LIMIT`].
    #[must_use]
    pub fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit.clamp(1, Self::MAX_LIMIT);
        self
    }

    /// Skips this number of the newest traces.
    #[must_use]
    pub const fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Selects only traces with this status.
    #[must_use]
    pub const fn with_status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Selects only traces with a failed span, or only those without. A trace can complete although one of its spans
    /// failed.
    #[must_use]
    pub const fn with_failed_spans(mut self, failed_spans: bool) -> Self {
        self.failed_spans = Some(failed_spans);
        self
    }

    /// Largest number of traces on the page.
    #[must_use]
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Number of the newest traces to skip.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Required status of the traces.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        self.status
    }

    /// Returns whether a span of the traces must have failed.
    #[must_use]
    pub const fn failed_spans(&self) -> Option<bool> {
        self.failed_spans
    }

    /// The conditions other than status and failed spans.
    pub(crate) const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Order of the list.
    pub(crate) const fn order(&self) -> Order {
        self.order
    }

    /// Returns true if the query requires the index in addition to the traces.
    pub(crate) fn needs_index(&self) -> bool {
        !self.filter.is_empty() || self.failed_spans.is_some() || self.order != Order::NEWEST_FIRST
    }

    /// Parses a query string. Unknown parameters are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut query = Self { filter: Filter::parse(text)?, order: Order::parse(text)?, ..Self::new() };
        for (name, value) in parameters(text, &[read::LIMIT, read::OFFSET, read::STATUS, read::FAILED_SPANS])? {
            match name {
                read::LIMIT => {
                    query.limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=Self::MAX_LIMIT).contains(limit))
                        .ok_or_else(|| bad(name, format!("expected a number from 1 to {}", Self::MAX_LIMIT)))?;
                }
                read::OFFSET => {
                    query.offset = value.parse().map_err(|_| bad(name, "expected a number from 0 on"))?;
                }
                read::FAILED_SPANS => {
                    let wanted = value.parse().map_err(|_| bad(name, "expected `true` or `false`"))?;
                    query.failed_spans = Some(wanted);
                }
                _ => {
                    let status = Status::from_wire(&value);
                    query.status =
                        Some(status.ok_or_else(|| bad(name, "expected `running`, `completed` or `failed`"))?);
                }
            }
        }
        Ok(query)
    }
}

impl Default for TraceQuery {
    fn default() -> Self {
        Self::new()
    }
}

/// Requested parts of a trace; all by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) content: bool,
    pub(crate) spans: bool,
}

impl Parts {
    /// Parses a query string. Unknown parameters are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parts = Self { content: true, spans: true };
        for (name, value) in parameters(text, &[read::CONTENT, read::SPANS])? {
            let value = value.parse().map_err(|_| bad(name, "expected `true` or `false`"))?;
            if name == read::CONTENT {
                parts.content = value;
            } else {
                parts.spans = value;
            }
        }
        Ok(parts)
    }
}

/// State of a trace that the client has already; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) after: u64,
    pub(crate) live: Option<bool>,
}

impl Since {
    /// Parses a query string. Unknown parameters are ignored.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut since = Self::default();
        for (name, value) in parameters(text, &[read::AFTER, read::LIVE])? {
            if name == read::AFTER {
                since.after = value.parse().map_err(|_| bad(name, "expected a number from 0 on"))?;
            } else {
                since.live = Some(value.parse().map_err(|_| bad(name, "expected `true` or `false`"))?);
            }
        }
        Ok(since)
    }
}

/// Parses a zone, in minutes east of UTC; 0 by default.
pub(crate) fn zone(text: &str) -> Result<i32, Refusal> {
    /// No place on earth is further from UTC.
    const MOST: i32 = 15 * 60;
    let mut minutes = 0;
    for (name, value) in parameters(text, &["zone"])? {
        let found = value.parse().ok().filter(|minutes| (-MOST..=MOST).contains(minutes));
        minutes = found.ok_or_else(|| bad(name, format!("expected minutes east of UTC, from -{MOST} to {MOST}")))?;
    }
    Ok(minutes)
}

/// Returns the parameters in `known`, each at most once.
fn parameters(text: &str, known: &[&'static str]) -> Result<Vec<(&'static str, String)>, Refusal> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        let Some(name) = known.iter().copied().find(|known| *known == name) else { continue };
        if found.iter().any(|(earlier, _)| *earlier == name) {
            return Err(bad(name, "given twice"));
        }
        found.push((name, value.into_owned()));
    }
    Ok(found)
}

fn bad(parameter: &str, reason: impl Into<String>) -> Refusal {
    Refusal { error: format!("query parameter `{parameter}`: {}", reason.into()), field: Some(parameter.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read() {
        assert_eq!(TraceQuery::parse(""), Ok(TraceQuery::new()));
        assert_eq!(
            TraceQuery::parse("offset=20&limit=10&status=failed&project=x"),
            Ok(TraceQuery::new().with_limit(10).with_offset(20).with_status(Status::Failed))
        );
        assert_eq!(TraceQuery::parse("failed_spans=true"), Ok(TraceQuery::new().with_failed_spans(true)));
        assert_eq!(Parts::parse("content=false"), Ok(Parts { content: false, spans: true }));
        assert_eq!(Since::parse("live=true&after=7"), Ok(Since { after: 7, live: Some(true) }));
        assert_eq!(Parts::parse("spans=false&content=true"), Ok(Parts { content: true, spans: false }));
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (text, name) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
            ("offset=x", "offset"),
            ("offset=18446744073709551616", "offset"),
            ("status=done", "status"),
            ("status=running&status=failed", "status"),
            ("failed_spans=1", "failed_spans"),
        ] {
            let refusal = TraceQuery::parse(text).unwrap_err();
            assert_eq!(refusal.field.as_deref(), Some(name), "{text}");
            assert!(refusal.error.contains(name), "{}", refusal.error);
        }
        for text in ["after=-1", "after=", "live=1", "after=1&after=1"] {
            assert!(Since::parse(text).is_err(), "{text}");
        }
        for text in ["content=no", "spans=1", "content=true&content=true"] {
            assert!(Parts::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_are_held() {
        assert_eq!(TraceQuery::new().with_limit(0).limit(), 1);
        assert_eq!(TraceQuery::new().with_limit(u32::MAX).limit(), TraceQuery::MAX_LIMIT);
    }
}
