//! What was right, wrong and missing.

use std::collections::BTreeMap;

/// How a fact was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    Missing,
    /// Not to be had, or not to be told; with the reason.
    Excepted(&'static str),
}

#[derive(Debug, Default)]
struct Counts {
    right: u64,
    wrong: u64,
    missing: u64,
    excepted: u64,
}

/// All verdicts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    providers: BTreeMap<String, Counts>,
    fields: BTreeMap<String, Counts>,
    exceptions: BTreeMap<(String, &'static str), u64>,
    faults: Vec<String>,
}

const SHOWN: usize = 40;

impl Tally {
    /// Notes a verdict.
    pub(crate) fn note(&mut self, provider: &str, field: &str, verdict: Verdict) {
        for counts in [self.providers.entry(provider.to_owned()), self.fields.entry(field.to_owned())] {
            let counts = counts.or_default();
            match verdict {
                Verdict::Right => counts.right += 1,
                Verdict::Wrong => counts.wrong += 1,
                Verdict::Missing => counts.missing += 1,
                Verdict::Excepted(_) => counts.excepted += 1,
            }
        }
        if let Verdict::Excepted(reason) = verdict {
            *self.exceptions.entry((field.to_owned(), reason)).or_default() += 1;
        }
    }

    /// Notes what must not be.
    pub(crate) fn fault(&mut self, place: &str, what: &str) {
        self.faults.push(format!("{place}: {what}"));
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
            && self
                .fields
                .values()
                .all(|counts| counts.wrong + counts.missing == 0 && counts.right + counts.excepted > 0)
    }

    pub(crate) fn print(&self) {
        for (title, rows) in [("provider", &self.providers), ("field", &self.fields)] {
            println!("\n{title:<30} {:>9} {:>9} {:>9} {:>9}", "right", "wrong", "missing", "excepted");
            for (name, Counts { right, wrong, missing, excepted }) in rows {
                println!("{name:<30} {right:>9} {wrong:>9} {missing:>9} {excepted:>9}");
            }
        }
        let total = |of: fn(&Counts) -> u64| self.fields.values().map(of).sum::<u64>();
        let (right, all) = (total(|counts| counts.right), total(|counts| counts.right + counts.wrong + counts.missing));
        #[allow(clippy::cast_precision_loss)] // for a person to read
        let share = if all == 0 { 0.0 } else { right as f64 * 100.0 / all as f64 };
        println!("\n{right} of {all} facts right: {share:.3} %");
        println!("\nExceptions:");
        for ((field, reason), count) in &self.exceptions {
            println!("{count:>6} {field}: {reason}");
        }
        if self.faults.is_empty() {
            println!("\nNo faults.");
        } else {
            println!("\n{} faults:", self.faults.len());
            self.faults.iter().take(SHOWN).for_each(|fault| println!("  {fault}"));
        }
    }
}
