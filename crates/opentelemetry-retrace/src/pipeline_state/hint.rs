//! Log lines that point to an application that is not instrumented, or instrumented wrongly.

use retrace_translate::SpanSelection;

use crate::pipeline_state::PipelineState;

/// Number of traces without a run that indicates that no model call is instrumented.
const TRACES_WITHOUT_RUN: u64 = 100;

/// State of the log line about traces without GenAI spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hint {
    #[default]
    None,
    /// The line is due; the number of traces that had ended.
    Due(u64),
    Given,
}

impl PipelineState {
    /// Schedules the hint if many traces have ended and none of them was a run: the application is probably
    /// not instrumented.
    pub(super) fn look_for_hint(&mut self) {
        let traces = self.recorder.unselected_runs();
        let many = if self.closing.is_some() { 1 } else { TRACES_WITHOUT_RUN };
        if traces >= many
            && !self.has_recorded
            && self.hint == Hint::None
            && self.config.options.selection == SpanSelection::GenAi
        {
            self.hint = Hint::Due(traces);
        }
    }

    /// Takes log lines about span types that do not exist, each at most once.
    pub(crate) fn take_unknown_span_types(&mut self) -> impl Iterator<Item = String> + use<> {
        self.recorder.take_unknown_span_types().into_iter().map(|value| {
            format!(
                "retrace.span_type={value:?} does not exist and is ignored: use llm_call, tool_call, tool_result, reasoning, \
                 action, error or fork_point"
            )
        })
    }

    /// Takes the log line about traces that hold no GenAI span; at most once.
    pub(crate) fn take_hint(&mut self) -> Option<String> {
        let Hint::Due(traces) = self.hint else { return None };
        self.hint = Hint::Given;
        let traces = if traces == 1 { "1 trace has".to_owned() } else { format!("{traces} traces have") };
        Some(format!(
            "{traces} ended and no span had a gen_ai.* attribute, so that nothing was sent: instrument \
             the model calls (crate opentelemetry-instrumentation-genai), or send every trace with RETRACE_SPAN_SELECTION=all"
        ))
    }
}
