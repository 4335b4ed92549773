//! Findings, counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::corpus::{Finding, Verdict};

/// Right, wrong and missing, by instrumentation and field.
#[derive(Debug, Default)]
pub struct Table {
    cells: BTreeMap<(String, &'static str), [usize; 3]>,
    failures: Vec<String>,
}

impl Table {
    /// Adds what was found in one scenario.
    pub fn add(&mut self, variant: &str, scenario: &str, findings: Vec<Finding>) {
        for finding in findings {
            let cell = self.cells.entry((variant.to_owned(), finding.field)).or_default();
            let detail = match finding.verdict {
                Verdict::Right => {
                    cell[0] += 1;
                    continue;
                }
                Verdict::Wrong { expected, found } => {
                    cell[1] += 1;
                    format!("expected {expected}, found {found}")
                }
                Verdict::Missing { expected } => {
                    cell[2] += 1;
                    format!("expected {expected}, found nothing")
                }
            };
            self.failures.push(format!("{variant}/{scenario} {} {}: {detail}", finding.field, finding.at));
        }
    }

    /// What is not right, one line each.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// How many findings are right.
    #[must_use]
    pub fn right(&self) -> usize {
        self.cells.values().map(|[right, ..]| right).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: BTreeSet<_> = self.cells.keys().map(|(_, field)| *field).collect();
        let variants: BTreeSet<_> = self.cells.keys().map(|(variant, _)| variant.as_str()).collect();
        writeln!(f, "right/wrong/missing")?;
        for variant in variants {
            writeln!(f, "{variant}")?;
            for field in &fields {
                if let Some([right, wrong, missing]) = self.cells.get(&(variant.to_owned(), *field)) {
                    writeln!(f, "    {field:<18} {right:>4} {wrong:>4} {missing:>4}")?;
                }
            }
        }
        Ok(())
    }
}
