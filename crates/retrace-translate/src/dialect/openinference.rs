//! OpenInference: `openinference.span.kind`, `llm.*`, `input.value`, messages flattened into `llm.input_messages.N.message.*`.
//!
//! Keys follow the semantic conventions of the OpenInference specification, including older ones.

mod messages;

use super::{Class, Dialect};
use crate::fields::Field;
use crate::fields::{FlattenedKey, LeafType};

pub(super) static DIALECT: Dialect = Dialect {
    genai: true,
    keys: &[
        ("openinference.span.kind", Field::Kind),
        ("input.value", Field::Input),
        ("input.mime_type", Field::InputMimeType),
        ("output.value", Field::Output),
        ("output.mime_type", Field::OutputMimeType),
        ("llm.provider", Field::Provider),
        ("llm.system", Field::System),
        ("llm.model_name", Field::Model),
        ("embedding.model_name", Field::Model),
        ("reranker.model_name", Field::Model),
        ("llm.request.model_name", Field::RequestModel),
        ("llm.response.model_name", Field::ResponseModel),
        ("llm.invocation_parameters", Field::Parameters),
        ("embedding.invocation_parameters", Field::Parameters),
        ("llm.finish_reason", Field::FinishReasons),
        ("llm.token_count.prompt", Field::InputTokens),
        ("llm.token_count.total", Field::TotalTokens),
        ("llm.token_count.completion", Field::OutputTokens),
        ("llm.token_count.prompt_details.cache_read", Field::CacheReadTokens),
        ("llm.token_count.prompt_details.cache_write", Field::CacheCreationTokens),
        ("llm.token_count.completion_details.reasoning", Field::ReasoningTokens),
        ("llm.cost.total", Field::Cost),
        ("llm.input_messages", Field::InputMessages),
        ("llm.output_messages", Field::OutputMessages),
        ("llm.prompts", Field::InputMessages),
        ("llm.choices", Field::OutputMessages),
        ("llm.tools", Field::ToolDefinitions),
        ("tool.name", Field::ToolName),
        ("tool.id", Field::ToolCallId),
        ("tool_call.id", Field::ToolCallId),
        ("tool_call.function.name", Field::ToolName),
        ("tool_call.function.arguments", Field::ToolArguments),
        ("retrieval.documents", Field::RetrievalDocuments),
        ("reranker.query", Field::RetrievalQuery),
        ("reranker.output_documents", Field::RetrievalDocuments),
    ],
    flattened: &[
        FlattenedKey { prefix: "llm.input_messages.", field: Field::InputMessages, paths: ASKED },
        FlattenedKey { prefix: "llm.output_messages.", field: Field::OutputMessages, paths: ANSWERED },
        FlattenedKey {
            prefix: "llm.prompts.",
            field: Field::InputMessages,
            paths: &[("N.prompt.text", LeafType::Any)],
        },
        FlattenedKey {
            prefix: "llm.choices.",
            field: Field::OutputMessages,
            paths: &[("N.completion.text", LeafType::Any)],
        },
        FlattenedKey {
            prefix: "embedding.embeddings.",
            field: Field::InputMessages,
            paths: &[("N.embedding.text", LeafType::Any)],
        },
        FlattenedKey {
            prefix: "llm.tools.",
            field: Field::ToolDefinitions,
            paths: &[("N.tool.json_schema", LeafType::Json)],
        },
        FlattenedKey { prefix: "retrieval.documents.", field: Field::RetrievalDocuments, paths: DOCUMENTS },
        FlattenedKey { prefix: "reranker.output_documents.", field: Field::RetrievalDocuments, paths: DOCUMENTS },
    ],
    marks: &["openinference.", "llm.", "embedding.", "reranker.", "retrieval.documents"],
    operation,
    turns: messages::turns,
    ..Dialect::EMPTY
};

macro_rules! messages {
    ($role:expr) => {
        &[
            ("N.message.role", $role),
            ("N.message.content", LeafType::Any),
            ("N.message.name", LeafType::Label),
            ("N.message.tool_call_id", LeafType::Label),
            ("N.message.tool_calls.N.tool_call.id", LeafType::Label),
            ("N.message.tool_calls.N.tool_call.function.name", LeafType::Label),
            ("N.message.tool_calls.N.tool_call.function.arguments", LeafType::Any),
            ("N.function.N", LeafType::Json),
            ("N.message.function_call_name", LeafType::Label),
            ("N.message.function_call_arguments_json", LeafType::Any),
            ("N.message.contents.N.message_content.type", LeafType::Label),
            ("N.message.contents.N.message_content.text", LeafType::Any),
            ("N.message.contents.N.message_content.image.image.url", LeafType::Label),
            ("N.message.contents.N.message_content.audio.audio.url", LeafType::Label),
            ("N.message.contents.N.message_content.audio.audio.mime_type", LeafType::Label),
            ("N.message.contents.N.message_content.audio.audio.transcript", LeafType::Any),
            ("N.message.contents.N.tool_call.id", LeafType::Label),
            ("N.message.contents.N.tool_call.function.name", LeafType::Label),
            ("N.message.contents.N.tool_call.function.arguments", LeafType::Any),
        ]
    };
}

const ASKED: &[(&str, LeafType)] = messages!(LeafType::Label);
const ANSWERED: &[(&str, LeafType)] = messages!(LeafType::Assistant);

const DOCUMENTS: &[(&str, LeafType)] = &[
    ("N.document.id", LeafType::Any),
    ("N.document.score", LeafType::Any),
    ("N.document.content", LeafType::Any),
    ("N.document.metadata", LeafType::Json),
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
