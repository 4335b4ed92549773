//! The order of a list.

use retrace_protocol::read::Refusal;

use super::{bad, parameters};

/// Query parameter with the column of the order.
const SORT: &str = "sort";
/// Query parameter: `asc` or `desc`.
const DIRECTION: &str = "order";

/// Order of a list: a column and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// Column of the index.
    pub(crate) column: &'static str,
    pub(crate) direction: Direction,
}

/// Direction of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Ascending,
    Descending,
}

impl Direction {
    /// Returns the SQL keyword.
    pub(crate) const fn as_sql(self) -> &'static str {
        match self {
            Self::Ascending => "ASC",
            Self::Descending => "DESC",
        }
    }
}

/// Values of the query parameter, and their columns.
const COLUMNS: [(&str, &str); 7] = [
    ("started", "started_micros"),
    ("duration", "micros"),
    ("tokens", "tokens"),
    ("cost", "cost"),
    ("spans", "spans"),
    ("name", "name"),
    ("status", "status"),
];

impl Order {
    /// The default order.
    pub(crate) const NEWEST_FIRST: Self = Self { column: "started_micros", direction: Direction::Descending };

    /// Parses a query string. Unknown parameters are ignored.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut order = Self::NEWEST_FIRST;
        for (name, value) in parameters(text, &[SORT, DIRECTION])? {
            if name == SORT {
                let column = COLUMNS.iter().find(|(name, _)| *name == value);
                let names = || COLUMNS.map(|(name, _)| format!("`{name}`")).join(", ");
                order.column = column.ok_or_else(|| bad(name, format!("expected one of {}", names())))?.1;
            } else {
                order.direction = match value.as_str() {
                    "asc" => Direction::Ascending,
                    "desc" => Direction::Descending,
                    _ => return Err(bad(name, "expected `asc` or `desc`")),
                };
            }
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_and_a_bad_one_named() {
        assert_eq!(Order::parse("limit=3"), Ok(Order::NEWEST_FIRST));
        let cheapest = Order { column: "cost", direction: Direction::Ascending };
        assert_eq!(Order::parse("sort=cost&order=asc"), Ok(cheapest));
        for (text, name) in [("sort=id", "sort"), ("order=up", "order"), ("sort=cost&sort=cost", "sort")] {
            assert_eq!(Order::parse(text).unwrap_err().field.as_deref(), Some(name), "{text}");
        }
    }
}
