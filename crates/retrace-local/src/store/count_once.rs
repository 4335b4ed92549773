//! Decides which usage counts in a run with spans of several processes. Pure.
//!
//! Each process removes duplicates among its own spans only. This module applies the rules across processes: the usage
//! of a step above other steps repeats theirs; a model call around a model call, with no agent or tool between the two,
//! repeats it; and a server's span below the model call of its client repeats that.

use std::collections::HashMap;

use retrace_protocol::{Id, Span, SpanType};

/// A span, with facts of its metadata.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) span: Span,
    /// True for spans of kind SERVER.
    pub(super) is_server: bool,
    /// True if the operation is an embedding; other model calls are chats.
    pub(super) embeds: bool,
    /// Ids of the response and of the request.
    pub(super) ids: [Option<String>; 2],
}

impl Counted {
    fn reports(&self) -> bool {
        self.span.input_tokens.is_some() || self.span.output_tokens.is_some() || self.span.cost.is_some()
    }

    fn is_call(&self) -> bool {
        self.span.span_type == SpanType::LlmCall
    }

    /// Returns true if this is the server's record of the call that `client` records. Equal tokens are no evidence if
    /// an agent is between the two.
    fn serves(&self, client: &Self, is_direct: bool) -> bool {
        let shares_id = || self.ids.iter().flatten().any(|id| client.ids.iter().flatten().any(|other| other == id));
        let tokens = |of: &Self| (of.span.input_tokens, of.span.output_tokens);
        let models = || match (&self.span.model, &client.span.model) {
            (Some(own), Some(other)) => own.eq_ignore_ascii_case(other),
            _ => true,
        };
        let repeats = || tokens(self) == tokens(client) && tokens(self) != (None, None) && models();
        shares_id() || is_direct && repeats()
    }
}

/// Returns for each span whether its usage counts.
pub(super) fn counted(spans: &[Counted]) -> Vec<bool> {
    let places: HashMap<&Id, usize> = spans.iter().enumerate().map(|(at, it)| (&it.span.id, at)).collect();
    let parent = |at: usize| places.get(spans.get(at)?.span.parent_id.as_ref()?).copied();
    // Cycles of parents are valid input.
    let above = |at: usize| std::iter::successors(parent(at), |at| parent(*at)).take(spans.len());
    let echoes: Vec<bool> = (0..spans.len()).map(|at| is_echo(spans, at, above(at))).collect();
    let is_echo = |at: usize| echoes.get(at) == Some(&true);
    let mut counts: Vec<bool> = spans.iter().map(Counted::reports).collect();
    for (at, own) in spans.iter().enumerate().filter(|(_, own)| own.reports()) {
        let mut same_call = own.is_call() && !is_echo(at);
        for above in above(at).filter(|above| *above != at) {
            let Some(outer) = spans.get(above) else { break };
            let repeats = match outer.span.span_type {
                SpanType::LlmCall => same_call && outer.embeds == own.embeds && outer.reports() && !is_echo(above),
                SpanType::Reasoning | SpanType::ToolCall => {
                    same_call = false;
                    true
                }
                _ => !outer.is_server,
            };
            if let Some(counts) = counts.get_mut(above).filter(|_| repeats) {
                *counts = false;
            }
        }
        if let Some(counts) = counts.get_mut(at).filter(|_| is_echo(at)) {
            *counts = false;
        }
    }
    counts
}

/// Returns true if a span of a server repeats the usage of a call above it.
fn is_echo(spans: &[Counted], at: usize, above: impl Iterator<Item = usize>) -> bool {
    let Some(own) = spans.get(at).filter(|own| own.is_server && own.reports()) else { return false };
    let mut is_direct = true;
    for outer in above.filter(|above| *above != at).filter_map(|above| spans.get(above)) {
        match outer.span.span_type {
            SpanType::ToolCall => return false,
            SpanType::Reasoning => is_direct = false,
            _ => {}
        }
        if (outer.is_call() || outer.is_server) && outer.reports() && own.serves(outer, is_direct) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use retrace_protocol::Timestamp;

    fn span(id: &str, parent: Option<&str>, span_type: SpanType, tokens: Option<u64>) -> Counted {
        let mut span = Span::new(id.into(), "t".into(), span_type, id, Timestamp::from_unix_micros(1));
        span.parent_id = parent.map(Into::into);
        span.input_tokens = tokens;
        Counted { span, is_server: false, embeds: false, ids: [None, None] }
    }

    fn total(spans: &[Counted]) -> u64 {
        let counts = counted(spans);
        spans.iter().zip(counts).filter(|(_, counts)| *counts).filter_map(|(it, _)| it.span.input_tokens).sum()
    }

    #[test]
    fn usage_that_is_repeated_across_processes_counts_once() {
        use SpanType::{Action, LlmCall, Reasoning, ToolCall};
        let server = |id, parent, tokens| Counted { is_server: true, ..span(id, Some(parent), Action, tokens) };
        for (what, expected, spans) in [
            ("one after the other", 12, vec![span("a", None, LlmCall, Some(5)), span("b", None, LlmCall, Some(7))]),
            (
                "an agent of the caller's",
                7,
                vec![
                    span("a", None, Reasoning, Some(9)),
                    server("b", "a", None),
                    span("c", Some("b"), LlmCall, Some(7)),
                ],
            ),
            (
                "a gateway",
                7,
                vec![span("a", None, LlmCall, Some(7)), server("b", "a", None), span("c", Some("b"), LlmCall, Some(7))],
            ),
            ("a server", 7, vec![span("a", None, LlmCall, Some(7)), server("b", "a", Some(7))]),
            ("another call of a server's", 16, vec![span("a", None, LlmCall, Some(7)), server("b", "a", Some(9))]),
            (
                "a call that a tool makes",
                14,
                vec![
                    span("a", None, LlmCall, Some(7)),
                    span("b", Some("a"), ToolCall, None),
                    server("c", "b", None),
                    span("d", Some("c"), LlmCall, Some(7)),
                ],
            ),
            ("a circle", 7, vec![span("a", Some("b"), LlmCall, Some(7)), span("b", Some("a"), Action, None)]),
        ] {
            assert_eq!(total(&spans), expected, "{what}");
        }
        let mut by_id = vec![span("a", None, LlmCall, Some(7)), server("b", "a", Some(9))];
        by_id[0].ids[0] = Some("r".into());
        by_id[1].ids[1] = Some("r".into());
        assert_eq!(total(&by_id), 7);
    }
}
