//! `retrace-local show`

use std::collections::{HashMap, HashSet};

use clap::Args;
use retrace_protocol::{Id, Json, Span};
use serde_json::Value;

use super::receiver::{Source, plain};
use super::runs::{self, Listed};
use super::{Ending, print_json};
use crate::say;

/// Largest shown depth of a step, in levels of indentation.
const MAX_DEPTH: usize = 20;
/// Width of a line where the environment states none, in characters.
const WIDTH: usize = 120;
/// Smallest width of a line.
const MIN_WIDTH: usize = 40;

#[derive(Args)]
pub(crate) struct ShowCommand {
    /// The id of the run.
    #[arg(value_name = "RUN")]
    run: String,

    #[command(flatten)]
    source: Source,

    /// Print the run with all content, as the receiver answers it. Without it inputs and outputs are cut to the width of the
    /// terminal, which COLUMNS states.
    #[arg(long)]
    json: bool,
}

impl ShowCommand {
    pub(crate) fn run(self) -> Result<Ending, String> {
        let answer: Value = runs::read(&self.source.open()?, &self.run)?;
        if self.json {
            return print_json(&answer);
        }
        let listed = Listed::of(&answer)?;
        let run = &listed.run;
        let width =
            std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(WIDTH).max(MIN_WIDTH);
        say(&listed.line());
        say_content("  ", width, run.input.as_ref(), run.output.as_ref(), run.error.as_deref());
        for (index, step) in ordered(run.spans.as_deref().unwrap_or_default()).into_iter().enumerate() {
            say(&head(index, &step));
            let indent = " ".repeat(9 + 2 * step.depth);
            let span = step.span;
            say_content(&indent, width, span.input.as_ref(), span.output.as_ref(), span.error.as_deref());
        }
        Ok(Ending::Same)
    }
}

/// A step in the tree of its run.
pub(super) struct Step<'t> {
    pub(super) span: &'t Span,
    depth: usize,
}

/// Returns the steps of a run as a tree: each below its parent, those of one parent in the order in which they began.
pub(super) fn ordered(spans: &[Span]) -> Vec<Step<'_>> {
    let ids: HashSet<&Id> = spans.iter().map(|span| &span.id).collect();
    let mut by_start: Vec<&Span> = spans.iter().collect();
    by_start.sort_by_key(|span| span.started_at.unix_micros());
    let mut below: HashMap<Option<&Id>, Vec<&Span>> = HashMap::new();
    for span in by_start.iter().rev() {
        let parent = span.parent_id.as_ref().filter(|parent| ids.contains(parent) && **parent != span.id);
        below.entry(parent).or_default().push(span);
    }
    let (mut steps, mut seen) = (Vec::with_capacity(spans.len()), HashSet::new());
    let tops = below.remove(&None).unwrap_or_default().into_iter().rev();
    // What is left over after those without a parent has parents in a circle.
    for top in tops.chain(by_start) {
        let mut open = vec![(top, 0)];
        while let Some((span, depth)) = open.pop() {
            if seen.insert(std::ptr::from_ref(span)) {
                steps.push(Step { span, depth: depth.min(MAX_DEPTH) });
                open.extend(
                    below.remove(&Some(&span.id)).unwrap_or_default().into_iter().map(|span| (span, depth + 1)),
                );
            }
        }
    }
    steps
}

fn head(index: usize, Step { span, depth }: &Step<'_>) -> String {
    let model = span.model.as_deref().map(|model| format!(" {}", plain(model))).unwrap_or_default();
    let time = span.duration_ms.map(|time| format!(" {time} ms")).unwrap_or_default();
    let tokens = match (span.input_tokens, span.output_tokens) {
        (None, None) => String::new(),
        (input, output) => format!(" {}+{} tokens", input.unwrap_or(0), output.unwrap_or(0)),
    };
    let replayed = if is_replayed(span) { " replayed" } else { "" };
    let agent = match (&span.agent_id, &span.agent_role) {
        (None, None) => String::new(),
        (Some(id), Some(role)) if id != role => format!(" agent {} ({})", plain(id), plain(role)),
        (Some(name), _) | (None, Some(name)) => format!(" agent {}", plain(name)),
    };
    let indent = "  ".repeat(*depth);
    let (kind, name, id) = (span.span_type.as_str(), plain(&span.name), plain(&span.id.as_text()));
    format!("{index:>5}  {indent}{kind} {name}{model}{time}{tokens}{replayed}{agent}  {id}")
}

/// Returns true if a recording has answered the step.
fn is_replayed(span: &Span) -> bool {
    let metadata = span.metadata.as_ref().and_then(|metadata| metadata.to_value().ok());
    metadata.is_some_and(|metadata| metadata.get("replayed") == Some(&Value::Bool(true)))
}

/// Prints an input, an output and an error, a line each.
fn say_content(indent: &str, width: usize, input: Option<&Json>, output: Option<&Json>, error: Option<&str>) {
    for (name, value) in [("input ", input), ("output", output)] {
        if let Some(text) = value.and_then(text) {
            say(&cut(&format!("{indent}{name} {text}"), width));
        }
    }
    for (at, line) in error.into_iter().flat_map(str::lines).enumerate() {
        let name = if at == 0 { "error: " } else { "       " };
        say(&format!("{indent}{name}{}", plain(line)));
    }
}

/// A value in one line: a text as it is, any other as JSON. `None` for null.
fn text(json: &Json) -> Option<String> {
    match json.to_value().ok()? {
        Value::Null => None,
        Value::String(text) => Some(plain(&text)),
        _ => Some(plain(json.as_str())),
    }
}

fn cut(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        None => line.to_owned(),
        Some(_) => line.chars().take(width - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn span(id: &str, parent: Option<&str>, second: u8) -> Span {
        let span = json!({"id": id, "trace_id": "t", "parent_id": parent, "span_type": "reasoning", "name": id,
            "started_at": format!("2026-01-02T03:04:{second:02}Z")});
        serde_json::from_value(span).unwrap()
    }

    fn tree(spans: &[Span]) -> Vec<(String, usize)> {
        ordered(spans).iter().map(|step| (step.span.name.clone(), step.depth)).collect()
    }

    #[test]
    fn steps_stand_below_their_parents_in_the_order_of_their_start() {
        let spans = [
            span("back", Some("call"), 3),
            span("late", None, 9),
            span("second", Some("front"), 5),
            span("call", Some("front"), 2),
            span("front", None, 1),
            span("orphan", Some("gone"), 4),
        ];
        let expected = [("front", 0), ("call", 1), ("back", 2), ("second", 1), ("orphan", 0), ("late", 0)];
        assert_eq!(tree(&spans), expected.map(|(name, depth)| (name.to_owned(), depth)));
    }

    #[test]
    fn each_step_is_shown_once_whatever_its_parents_are() {
        let circle =
            [span("a", Some("b"), 1), span("b", Some("a"), 2), span("c", Some("c"), 3), span("a", Some("b"), 4)];
        let mut names: Vec<String> = tree(&circle).into_iter().map(|(name, _)| name).collect();
        names.sort();
        assert_eq!(names, ["a", "a", "b", "c"]);
        let deep: Vec<Span> =
            (0..50).map(|at| span(&at.to_string(), (at > 0).then(|| (at - 1).to_string()).as_deref(), at)).collect();
        assert_eq!(tree(&deep).iter().map(|(_, depth)| *depth).max(), Some(MAX_DEPTH));
    }

    #[test]
    fn content_is_one_line_of_the_width() {
        assert_eq!(text(&Json::from_serialize(&json!({"b": [1, "x\ny"]}))).unwrap(), r#"{"b":[1,"x\ny"]}"#);
        assert_eq!(text(&Json::text("two\nlines")).unwrap(), "two lines");
        assert_eq!(text(&Json::null()), None);
        assert_eq!((cut("äbcd", 4), cut("äbcde", 4)), ("äbcd".to_owned(), "äbc…".to_owned()));
    }
}
