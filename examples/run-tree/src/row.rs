//! The lines of a run and of a span.

use std::io::{self, Write};

use retrace_protocol::{Json, Span, Status, Trace};

use crate::amount;
use crate::excerpt;
use crate::style::{Style, Tone};
use crate::tree::Branch;

/// Characters of a name, of a run, a span or a model.
const NAME_CHARS: usize = 48;
const BETWEEN_FACTS: &str = " · ";
const BETWEEN_COLUMNS: &str = "  ";

/// What is said of the run as a whole.
pub(crate) struct Header {
    name: String,
    facts: Vec<String>,
    ids: Vec<String>,
    lines: Vec<Line>,
}

/// A span's row: what stands in columns, and the lines below.
pub(crate) struct Row<'a> {
    branch: Branch<'a>,
    kind: &'static str,
    name: String,
    columns: [String; 4],
    lines: Vec<Line>,
}

/// The widths of the columns.
pub(crate) struct Columns {
    kind: usize,
    name: usize,
    rest: [usize; 4],
}

struct Line {
    label: &'static str,
    text: String,
    tone: Option<Tone>,
}

impl Line {
    fn of(label: &'static str, value: Option<&Json>) -> Option<Self> {
        // A step that returned nothing says so by `null`; printed, it would only be noise.
        value.filter(|value| !value.is_null()).map(|value| Self { label, text: excerpt::value(value), tone: None })
    }

    fn error(error: Option<&str>) -> Option<Self> {
        error.map(|error| Self { label: "error", text: excerpt::line(error, excerpt::CHARS), tone: Some(Tone::Error) })
    }

    fn write(&self, out: &mut impl Write, style: Style, before: &str) -> io::Result<()> {
        let label = style.paint(Tone::Dim, &format!("{:<5}", self.label));
        let text = self.tone.map_or_else(|| self.text.clone(), |tone| style.paint(tone, &self.text));
        writeln!(out, "{}{label} {text}", style.paint(Tone::Dim, before))
    }
}

impl Header {
    pub(crate) fn of(trace: &Trace) -> Self {
        let spans = trace.spans.as_deref().unwrap_or_default();
        let stored = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let running = trace.status == Some(Status::Running);
        let facts = [
            trace.status.map(|status| status.as_str().to_owned()),
            trace.total_duration_ms.filter(|_| !running).map(amount::duration),
            trace.total_tokens.filter(|tokens| *tokens > 0).map(|tokens| format!("{} tokens", amount::count(tokens))),
            trace.total_cost.filter(|cost| *cost > 0.0).map(retrace_replay::dollars),
            trace.span_count.filter(|sent| *sent > stored).map(|sent| format!("{stored} of {sent} spans")),
            trace.lossy.filter(|lossy| *lossy).map(|_| "lossy".to_owned()),
            trace.terminated_early.filter(|early| *early).map(|_| "ended early".to_owned()),
        ];
        let ids = [
            trace.id.as_ref().map(|id| format!("trace {}", name_of(&id.as_text()))),
            trace.session_id.as_deref().map(|id| format!("session {}", name_of(id))),
            trace.project_id.as_deref().map(|id| format!("project {}", name_of(id))),
        ];
        // Runs that came from OpenTelemetry have the same on their root.
        let said_below = |of_span: fn(&Span) -> Option<&Json>, value: Option<&Json>| {
            spans.iter().any(|span| span.parent_id.is_none() && of_span(span) == value)
        };
        let input = trace.input.as_ref().filter(|input| !said_below(|span| span.input.as_ref(), Some(input)));
        let output = trace.output.as_ref().filter(|output| !said_below(|span| span.output.as_ref(), Some(output)));
        let error = trace.error.as_deref();
        let error =
            error.filter(|error| !spans.iter().any(|s| s.parent_id.is_none() && s.error.as_deref() == Some(error)));
        Self {
            name: name_of(trace.name.as_deref().unwrap_or_default()),
            facts: facts.into_iter().flatten().collect(),
            ids: ids.into_iter().flatten().collect(),
            lines: [Line::of("in", input), Line::of("out", output), Line::error(error)].into_iter().flatten().collect(),
        }
    }

    pub(crate) fn write(&self, out: &mut impl Write, style: Style) -> io::Result<()> {
        let facts: String = self.facts.iter().map(|fact| format!("{BETWEEN_FACTS}{fact}")).collect();
        writeln!(out, "{}{facts}", style.paint(Tone::Name, &self.name))?;
        writeln!(out, "{}", style.paint(Tone::Dim, &self.ids.join(BETWEEN_FACTS)))?;
        self.lines.iter().try_for_each(|line| line.write(out, style, ""))
    }
}

impl<'a> Row<'a> {
    pub(crate) fn of(branch: Branch<'a>) -> Self {
        let span = branch.span;
        let took = match (&span.ended_at, span.duration_ms) {
            (None, None) => "running".to_owned(),
            (_, ms) => ms.map(amount::duration).unwrap_or_default(),
        };
        let lines = [
            Line::of("in", span.input.as_ref()),
            Line::of("out", span.output.as_ref()),
            Line::error(span.error.as_deref()),
        ];
        Self {
            kind: span.span_type.as_str(),
            name: name_of(&span.name),
            columns: [
                took,
                span.model.as_deref().map(name_of).unwrap_or_default(),
                amount::tokens(span.input_tokens, span.output_tokens).unwrap_or_default(),
                span.cost.map(retrace_replay::dollars).unwrap_or_default(),
            ],
            lines: lines.into_iter().flatten().collect(),
            branch,
        }
    }

    pub(crate) fn write(&self, out: &mut impl Write, style: Style, columns: &Columns) -> io::Result<()> {
        let used = width(&self.branch.twig) + columns.kind + 1;
        let name = columns.name.saturating_sub(used);
        let [took, model, tokens, cost] = &self.columns;
        let [took_width, model_width, tokens_width, cost_width] = columns.rest;
        let cells = [
            right(took, took_width),
            left(model, model_width),
            right(tokens, tokens_width),
            // Costs differ in their last digits, so they stand under each other by their first.
            left(cost, cost_width),
        ];
        let cells = cells.iter().filter(|cell| !cell.is_empty()).map(|cell| format!("{BETWEEN_COLUMNS}{cell}"));
        writeln!(
            out,
            "{}{} {}{}",
            style.paint(Tone::Dim, &self.branch.twig),
            style.paint(Tone::Kind, &left(self.kind, columns.kind)),
            // The padding is not part of what is painted.
            format_args!("{}{}", style.paint(Tone::Name, &self.name), blanks(&self.name, name)),
            cells.collect::<String>().trim_end(),
        )?;
        self.lines.iter().try_for_each(|line| line.write(out, style, &self.branch.rest))
    }
}

/// How wide the columns must be for these rows.
pub(crate) fn columns(rows: &[Row<'_>]) -> Columns {
    let kind = rows.iter().map(|row| width(row.kind)).max().unwrap_or_default();
    let name = rows.iter().map(|row| width(&row.branch.twig) + kind + 1 + width(&row.name)).max().unwrap_or_default();
    let mut rest = [0; 4];
    for row in rows {
        for (widest, cell) in rest.iter_mut().zip(&row.columns) {
            *widest = width(cell).max(*widest);
        }
    }
    Columns { kind, name, rest }
}

fn name_of(text: &str) -> String {
    match excerpt::line(text, NAME_CHARS) {
        name if name.is_empty() => "(no name)".to_owned(),
        name => name,
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn blanks(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text)))
}

fn left(text: &str, columns: usize) -> String {
    format!("{text}{}", blanks(text, columns))
}

fn right(text: &str, columns: usize) -> String {
    format!("{}{text}", blanks(text, columns))
}
