//! Reports as text for people.

use std::fmt::Write as _;

use super::{CallId, LiveReason, Report, Style, Verdict};
use crate::columns::columns;
use crate::limits::dollars;
use crate::refusal::RefusalReason;

/// Most calls of one kind that are listed.
const LISTED: usize = 12;

impl Report {
    /// Returns the text for people: the result, the first divergence with expected and got side by side, then what else is to be
    /// known, a line for each.
    #[must_use]
    pub fn to_text(&self, style: Style) -> String {
        let mut text = String::new();
        let verdict = match self.verdict() {
            Verdict::Same => style.green("same as recorded"),
            Verdict::Diverged => style.yellow("differs from the recording"),
            Verdict::Refused => style.red("refused"),
        };
        let _ = writeln!(text, "replay of {}: {}", style.bold(&self.cassette), verdict);
        let _ = writeln!(
            text,
            "  {} of {} entries answered, {} live, {} unused",
            self.answered,
            self.entries,
            self.live.len() + self.live_beyond,
            self.unused.len()
        );
        if let Some(first) = self.divergences.first() {
            let _ = writeln!(text, "  first divergence: {} differs from {}", first.got, first.expected);
            text.push_str(&columns(&first.diff, style));
            if self.divergences.len() > 1 {
                let _ = writeln!(text, "  and {} more divergences", self.divergences.len() - 1);
            }
        }
        if let Some(refused) = &self.refusal
            && !matches!(refused.reason, RefusalReason::Differs { .. })
        {
            let _ = writeln!(text, "  {}", refused.to_string().trim_end().replace('\n', "\n  "));
        }
        if self.refused_later > 0 {
            let _ = writeln!(text, "  {} later calls refused", self.refused_later);
        }
        for live in self.live.iter().take(LISTED) {
            let reason = match live.reason {
                LiveReason::ForkPoint if live.is_altered => "fork point, changed",
                LiveReason::ForkPoint => "fork point",
                LiveReason::AfterFork => "after the fork point",
                LiveReason::Changed => "changed",
                LiveReason::Verified => "verified",
                LiveReason::NothingLeft => "no entry left",
                LiveReason::NotReplayable => "entry not replayable",
            };
            let tokens = live.tokens.map(|tokens| format!(", {tokens} tokens")).unwrap_or_default();
            let cost = live.cost_usd.map(|cost| format!(", {}", dollars(cost))).unwrap_or_default();
            let _ = writeln!(text, "  live: {} ({reason}{tokens}{cost})", live.call);
        }
        more(&mut text, self.live.len() + self.live_beyond, "live calls");
        for verified in self.verified.iter().take(LISTED) {
            let _ = writeln!(text, "  verified: {}: {}", verified.call, verified.tokens);
        }
        list(&mut text, "not verified, no token ids are recorded", &self.unverified);
        list(&mut text, "result substituted", &self.substituted);
        list(&mut text, "unused", &self.unused);
        list(&mut text, "executed, no result is recorded", &self.executed);
        list(&mut text, "ambiguous, answered first in, first out", &self.ambiguities);
        for found in self.tolerated.iter().take(LISTED) {
            let _ = writeln!(text, "  within the tolerance: {} ({} differences)", found.got, found.diff.total);
        }
        text
    }
}

fn list(text: &mut String, label: &str, calls: &[CallId]) {
    for call in calls.iter().take(LISTED) {
        let _ = writeln!(text, "  {label}: {call}");
    }
    more(text, calls.len(), label);
}

fn more(text: &mut String, count: usize, what: &str) {
    if count > LISTED {
        let _ = writeln!(text, "  and {} more: {what}", count - LISTED);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn no_color_is_respected() {
        assert_eq!(Style::choose(true, None), Style::Ansi);
        assert_eq!(Style::choose(true, Some(OsStr::new(""))), Style::Ansi);
        assert_eq!(Style::choose(true, Some(OsStr::new("1"))), Style::Plain);
        assert_eq!(Style::choose(false, None), Style::Plain);
    }
}
