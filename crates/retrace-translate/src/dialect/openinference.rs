//! OpenInference: `openinference.span.kind`, `llm.*`, `input.value`, messages flattened into
//! `llm.input_messages.N.message.*`.
//!
//! Keys follow the semantic conventions of the OpenInference specification, its older ones included.

mod messages;

use super::{Class, Dialect};
use crate::fields::Slot;
use crate::fields::{Indexed, Leaf};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("openinference.span.kind", Slot::Kind),
        ("input.value", Slot::Input),
        ("input.mime_type", Slot::InputMimeType),
        ("output.value", Slot::Output),
        ("output.mime_type", Slot::OutputMimeType),
        ("llm.provider", Slot::Provider),
        ("llm.system", Slot::System),
        ("llm.model_name", Slot::Model),
        ("embedding.model_name", Slot::Model),
        ("reranker.model_name", Slot::Model),
        ("llm.request.model_name", Slot::RequestModel),
        ("llm.response.model_name", Slot::ResponseModel),
        ("llm.invocation_parameters", Slot::Parameters),
        ("embedding.invocation_parameters", Slot::Parameters),
        ("llm.finish_reason", Slot::FinishReasons),
        ("llm.token_count.prompt", Slot::InputTokens),
        ("llm.token_count.total", Slot::TotalTokens),
        ("llm.token_count.completion", Slot::OutputTokens),
        ("llm.token_count.prompt_details.cache_read", Slot::CacheReadTokens),
        ("llm.token_count.prompt_details.cache_write", Slot::CacheCreationTokens),
        ("llm.token_count.completion_details.reasoning", Slot::ReasoningTokens),
        ("llm.cost.total", Slot::Cost),
        ("llm.input_messages", Slot::InputMessages),
        ("llm.output_messages", Slot::OutputMessages),
        ("llm.prompts", Slot::InputMessages),
        ("llm.choices", Slot::OutputMessages),
        ("llm.tools", Slot::ToolDefinitions),
        ("tool.name", Slot::ToolName),
        ("tool.id", Slot::ToolCallId),
        ("tool_call.id", Slot::ToolCallId),
        ("tool_call.function.name", Slot::ToolName),
        ("tool_call.function.arguments", Slot::ToolArguments),
        ("retrieval.documents", Slot::RetrievalDocuments),
        ("reranker.query", Slot::RetrievalQuery),
        ("reranker.output_documents", Slot::RetrievalDocuments),
    ],
    indexed: &[
        Indexed { prefix: "llm.input_messages.", slot: Slot::InputMessages, paths: ASKED },
        Indexed { prefix: "llm.output_messages.", slot: Slot::OutputMessages, paths: ANSWERED },
        Indexed { prefix: "llm.prompts.", slot: Slot::InputMessages, paths: &[("N.prompt.text", Leaf::Any)] },
        Indexed { prefix: "llm.choices.", slot: Slot::OutputMessages, paths: &[("N.completion.text", Leaf::Any)] },
        Indexed {
            prefix: "embedding.embeddings.",
            slot: Slot::InputMessages,
            paths: &[("N.embedding.text", Leaf::Any)],
        },
        Indexed { prefix: "llm.tools.", slot: Slot::ToolDefinitions, paths: &[("N.tool.json_schema", Leaf::Json)] },
        Indexed { prefix: "retrieval.documents.", slot: Slot::RetrievalDocuments, paths: DOCUMENTS },
        Indexed { prefix: "reranker.output_documents.", slot: Slot::RetrievalDocuments, paths: DOCUMENTS },
    ],
    marks: &["openinference.", "llm.", "embedding.", "reranker.", "retrieval.documents"],
    operation,
    turns: messages::turns,
    ..Dialect::SILENT
};

macro_rules! messages {
    ($role:expr) => {
        &[
            ("N.message.role", $role),
            ("N.message.content", Leaf::Any),
            ("N.message.name", Leaf::Label),
            ("N.message.tool_call_id", Leaf::Label),
            ("N.message.tool_calls.N.tool_call.id", Leaf::Label),
            ("N.message.tool_calls.N.tool_call.function.name", Leaf::Label),
            ("N.message.tool_calls.N.tool_call.function.arguments", Leaf::Any),
            ("N.message.function_call_name", Leaf::Label),
            ("N.message.function_call_arguments_json", Leaf::Any),
            ("N.message.contents.N.message_content.type", Leaf::Label),
            ("N.message.contents.N.message_content.text", Leaf::Any),
            ("N.message.contents.N.message_content.image.image.url", Leaf::Label),
            ("N.message.contents.N.message_content.audio.audio.url", Leaf::Label),
            ("N.message.contents.N.message_content.audio.audio.mime_type", Leaf::Label),
            ("N.message.contents.N.message_content.audio.audio.transcript", Leaf::Any),
            ("N.message.contents.N.tool_call.id", Leaf::Label),
            ("N.message.contents.N.tool_call.function.name", Leaf::Label),
            ("N.message.contents.N.tool_call.function.arguments", Leaf::Any),
        ]
    };
}

const ASKED: &[(&str, Leaf)] = messages!(Leaf::Label);
const ANSWERED: &[(&str, Leaf)] = messages!(Leaf::Assistant);

const DOCUMENTS: &[(&str, Leaf)] = &[
    ("N.document.id", Leaf::Any),
    ("N.document.score", Leaf::Any),
    ("N.document.content", Leaf::Any),
    ("N.document.metadata", Leaf::Json),
];

fn operation(name: &str) -> Option<Class> {
    Some(match name.to_ascii_uppercase().as_str() {
        "LLM" | "EMBEDDING" => Class::Model,
        "TOOL" => Class::Tool,
        "AGENT" | "CHAIN" => Class::Agent,
        "RETRIEVER" | "RERANKER" | "GUARDRAIL" | "EVALUATOR" | "PROMPT" | "DECISION" => Class::Action,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_the_specification_are_known() {
        for (name, class) in [
            ("LLM", Some(Class::Model)),
            ("llm", Some(Class::Model)),
            ("EMBEDDING", Some(Class::Model)),
            ("TOOL", Some(Class::Tool)),
            ("CHAIN", Some(Class::Agent)),
            ("RERANKER", Some(Class::Action)),
            ("UNKNOWN", None),
        ] {
            assert_eq!(operation(name), class, "{name}");
        }
    }
}
