//! An exchange with every API: a request with tools, a whole answer, and the answer as a stream.
//!
//! A unit test of `src/api/mod.rs` requires a URL here for every API.

use serde_json::{Value as Json, json};

/// How the documents of a stream follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    Events,
    Lines,
    List,
}

/// The exchange with one API. `given` is the arguments of the tool that the answer calls.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) url: &'static str,
    pub(crate) request: Json,
    pub(crate) whole: Json,
    pub(crate) stream: Vec<Json>,
    pub(crate) framing: Framing,
}

impl Known {
    /// The answer as a stream.
    pub(crate) fn framed(&self) -> String {
        framed(&self.stream, self.framing)
    }
}

pub(crate) fn framed(documents: &[Json], framing: Framing) -> String {
    match framing {
        Framing::Events => super::sse(documents),
        Framing::Lines => documents.iter().map(|document| format!("{document}\n")).collect(),
        Framing::List => serde_json::to_string_pretty(documents).unwrap(),
    }
}

/// An exchange with every API that is known.
pub(crate) fn known(given: &Json) -> Vec<Known> {
    let known = |url, request, whole, stream, framing| Known { url, request, whole, stream, framing };
    let text = given.to_string();
    let schema =
        json!({ "type": "object", "properties": { "values": { "type": "array" }, "api_key": { "type": "string" } } });
    let function =
        json!({ "type": "function", "function": { "name": "f", "description": "does f", "parameters": schema } });
    let flat = json!({ "type": "function", "name": "f", "parameters": schema });
    let hosted = json!({ "type": "mcp", "server_label": "s", "server_url": "https://mcp.example/sse" });
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 });
    let token = json!({ "token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{ "token": "b", "logprob": -1.5, "bytes": [98] }] });
    let vector = json!([0.1, -2, 3e-4]);
    let call = json!({ "id": "c1", "type": "function", "function": { "name": "f", "arguments": text } });
    let chunk = |delta: Json| json!({ "id": "r1", "model": "m", "choices": [{ "index": 0, "delta": delta, "logprobs": { "content": [token] } }] });
    let chat = json!({ "model": "m", "messages": messages, "tools": [function, hosted] });
    let message = json!({ "role": "assistant", "content": "Hello", "tool_calls": [call] });
    let block = json!({ "type": "tool_use", "id": "c1", "name": "f", "input": given });
    let item = json!({ "type": "function_call", "call_id": "c1", "name": "f", "arguments": text });
    let answered = json!({ "type": "message", "role": "assistant", "content": [{ "type": "output_text", "text": "Hello", "logprobs": [token] }] });
    let whole_response = json!({ "object": "response", "id": "r1", "model": "m", "status": "completed", "tools": [hosted], "output": [answered, item,
        { "type": "mcp_call", "id": "c2", "name": "g", "arguments": text, "output": "done" }], "usage": { "input_tokens": 3, "output_tokens": 2 } });
    let part = json!({ "functionCall": { "id": "c1", "name": "f", "args": given } });
    let candidates = json!({ "responseId": "r1", "candidates": [{ "content": { "role": "model", "parts": [{ "text": "Hello" }, part] }, "finishReason": "STOP",
        "logprobsResult": { "topCandidates": [{ "candidates": [{ "token": "b" }] }], "chosenCandidates": [{ "token": "a", "logProbability": -0.5 }] } }],
        "usageMetadata": { "promptTokenCount": 3 } });
    let cohere_call = json!({ "name": "f", "parameters": given });
    let ollama = json!({ "model": "m", "message": { "role": "assistant", "content": "Hello", "tool_calls": [{ "function": { "name": "f", "arguments": given } }] },
        "logprobs": [token], "done": true, "done_reason": "stop", "eval_count": 2 });
    let generated =
        json!({ "model": "m", "response": "Hello", "context": [1, 2, 3], "logprobs": [token], "done": true });
    let converse = json!({ "output": { "message": { "role": "assistant", "content": [{ "text": "Hello" },
        { "toolUse": { "toolUseId": "c1", "name": "f", "input": given } }] } }, "stopReason": "tool_use", "usage": { "inputTokens": 3, "outputTokens": 2, "totalTokens": 5 } });
    let spec = json!({ "toolConfig": { "tools": [{ "toolSpec": { "name": "f", "inputSchema": { "json": schema } } }, { "systemTool": { "name": "s" } }] },
        "messages": [{ "role": "user", "content": [{ "text": "hi" }] }] });
    let anthropic = json!({ "model": "m", "max_tokens": 9, "messages": messages, "tools": [{ "name": "f", "input_schema": schema }, { "type": "mcp_toolset", "mcp_server_name": "s" }],
        "mcp_servers": [{ "type": "url", "name": "s", "url": "https://mcp.example/sse" }] });
    let claude = json!({ "type": "message", "id": "r1", "model": "m", "role": "assistant", "content": [{ "type": "text", "text": "Hello" }, block,
        { "type": "server_tool_use", "id": "c2", "name": "web_search", "input": given }], "stop_reason": "tool_use", "usage": { "input_tokens": 3, "output_tokens": 2 } });
    let claude_stream = vec![
        json!({ "type": "message_start", "message": { "id": "r1", "model": "m", "content": [], "usage": { "input_tokens": 3 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "tool_use", "id": "c1", "name": "f", "input": {} } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "input_json_delta", "partial_json": text } }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "server_tool_use", "id": "c2", "name": "g", "input": given } }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 2 } }),
        json!({ "type": "message_stop" }),
    ];
    let mut bedrock_claude = anthropic.clone();
    bedrock_claude["anthropic_version"] = "bedrock-2023-05-31".into();
    let completion = json!({ "id": "r1", "choices": [{ "index": 0, "text": "Hello", "finish_reason": "stop", "prompt_token_ids": [7],
        "logprobs": { "tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{ "b": -1.5 }] } }], "usage": usage });
    let embedded = json!({ "model": "m", "data": [{ "index": 0, "embedding": vector }, { "index": 1, "embedding": "AACAPwAAAEAAAEBA" }], "usage": usage });
    let tgi = json!({ "generated_text": "Hello", "details": { "finish_reason": "length", "generated_tokens": 1, "prefill": [{ "id": 1 }],
        "tokens": [{ "id": 7, "text": "Hello", "logprob": -0.5 }], "top_tokens": [[{ "id": 8 }]] } });
    let watsonx = json!({ "model_id": "m", "results": [{ "generated_text": "Hello", "generated_token_count": 1, "stop_reason": "eos_token",
        "generated_tokens": [{ "text": "Hello", "logprob": -0.5, "top_tokens": [{ "text": "b" }] }] }] });
    let gemini = json!({ "contents": [{ "role": "user", "parts": [{ "text": "hi" }] }],
        "tools": [{ "functionDeclarations": [{ "name": "f", "parameters": schema }] }, { "googleMaps": { "enableWidget": false } }] });
    let mut streamed_chat = chat.clone();
    streamed_chat["stream"] = true.into();
    vec![
        known(
            "https://api.openai.com/v1/chat/completions",
            streamed_chat,
            json!({ "id": "r1", "model": "m", "prompt_token_ids": [7], "choices": [{ "index": 0, "message": message, "logprobs": { "content": [token] }, "finish_reason": "stop" }], "usage": usage }),
            vec![
                chunk(json!({ "role": "assistant", "content": "Hel" })),
                chunk(json!({ "content": "lo" })),
                chunk(
                    json!({ "tool_calls": [{ "index": 0, "id": "c1", "function": { "name": "f", "arguments": text } }] }),
                ),
                json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }], "usage": usage }),
            ],
            Framing::Events,
        ),
        known(
            "https://api.openai.com/v1/responses",
            json!({ "model": "m", "input": [{ "role": "user", "content": "hi" }, { "type": "mcp_list_tools", "tools": [flat] }], "tools": [flat, hosted] }),
            whole_response.clone(),
            vec![
                json!({ "type": "response.created", "response": { "id": "r1", "model": "m", "status": "in_progress" } }),
                json!({ "type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello", "logprobs": [token] }),
                json!({ "type": "response.output_item.done", "output_index": 1, "item": item }),
                json!({ "type": "response.completed", "response": whole_response }),
            ],
            Framing::Events,
        ),
        known(
            "https://api.openai.com/v1/completions",
            json!({ "model": "m", "prompt": "hi" }),
            completion.clone(),
            vec![completion],
            Framing::Events,
        ),
        known(
            "https://api.openai.com/v1/embeddings",
            json!({ "model": "m", "input": ["hi"] }),
            embedded.clone(),
            vec![embedded],
            Framing::Lines,
        ),
        known(
            "https://api.anthropic.com/v1/messages",
            anthropic.clone(),
            claude.clone(),
            claude_stream.clone(),
            Framing::Events,
        ),
        known(
            "https://api.anthropic.com/v1/complete",
            json!({ "model": "m", "prompt": "hi", "max_tokens_to_sample": 9 }),
            json!({ "type": "completion", "completion": "Hello", "stop_reason": "stop_sequence" }),
            vec![json!({ "type": "completion", "completion": "Hello", "stop_reason": "stop_sequence" })],
            Framing::Events,
        ),
        known(
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent",
            gemini,
            candidates.clone(),
            vec![candidates],
            Framing::List,
        ),
        known(
            "https://generativelanguage.googleapis.com/v1beta/models/m:embedContent",
            json!({ "content": { "parts": [{ "text": "hi" }] } }),
            json!({ "embedding": { "values": vector } }),
            vec![json!({ "embeddings": [{ "values": vector }] })],
            Framing::Lines,
        ),
        known("http://localhost:11434/api/chat", chat.clone(), ollama.clone(), vec![ollama], Framing::Lines),
        known(
            "http://localhost:11434/api/generate",
            json!({ "model": "m", "prompt": "hi" }),
            generated.clone(),
            vec![generated],
            Framing::Lines,
        ),
        known(
            "http://localhost:11434/api/embed",
            json!({ "model": "m", "input": ["hi"] }),
            json!({ "embeddings": [vector] }),
            vec![json!({ "embedding": vector })],
            Framing::Lines,
        ),
        known(
            "https://api.cohere.com/v2/chat",
            chat.clone(),
            json!({ "id": "r1", "message": { "content": [{ "type": "text", "text": "Hello" }], "tool_calls": [call] }, "finish_reason": "COMPLETE" }),
            vec![
                json!({ "type": "content-delta", "index": 0, "delta": { "message": { "content": { "text": "Hello" } } } }),
                json!({ "type": "tool-call-start", "index": 0, "delta": { "message": { "tool_calls": call } } }),
                json!({ "type": "message-end", "delta": { "finish_reason": "COMPLETE", "usage": {} } }),
            ],
            Framing::Events,
        ),
        known(
            "https://api.cohere.com/v1/chat",
            json!({ "model": "m", "message": "hi", "tools": [{ "name": "f", "description": "does f", "parameter_definitions": { "api_key": { "type": "str" } } }] }),
            json!({ "text": "Hello", "generation_id": "r1", "tool_calls": [cohere_call], "finish_reason": "COMPLETE" }),
            vec![
                json!({ "event_type": "tool-calls-generation", "tool_calls": [cohere_call] }),
                json!({ "event_type": "stream-end", "finish_reason": "COMPLETE", "response": { "text": "Hello" } }),
            ],
            Framing::Lines,
        ),
        known(
            "https://api.cohere.com/v1/embed",
            json!({ "model": "m", "texts": ["hi"] }),
            json!({ "id": "r1", "embeddings": { "float": [vector], "base64": ["AACAPwAAAEA="] } }),
            vec![json!({ "id": "r1", "embeddings": [vector] })],
            Framing::Lines,
        ),
        known(
            "https://api.cohere.com/v1/rerank",
            json!({ "model": "m", "query": "hi", "documents": ["a"] }),
            json!({ "id": "r1", "results": [{ "index": 0, "relevance_score": 0.5 }] }),
            vec![json!({ "id": "r1", "results": [] })],
            Framing::Lines,
        ),
        known(
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse",
            spec,
            converse.clone(),
            vec![converse.clone()],
            Framing::Lines,
        ),
        known(
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke",
            bedrock_claude,
            claude,
            claude_stream,
            Framing::Lines,
        ),
        known(
            "https://bedrock-runtime.us-east-1.amazonaws.com/model/embed/invoke",
            json!({ "inputText": "hi" }),
            json!({ "embedding": vector, "inputTextTokenCount": 1 }),
            vec![json!({ "embeddings": [vector] }), converse],
            Framing::Lines,
        ),
        known("http://localhost:8080/generate", json!({ "inputs": "hi" }), tgi.clone(), vec![tgi], Framing::Events),
        known(
            "https://us-south.ml.cloud.ibm.com/ml/v1/text/generation_stream",
            json!({ "model_id": "m", "input": "hi" }),
            watsonx.clone(),
            vec![watsonx],
            Framing::Events,
        ),
        known(
            "https://generativelanguage.googleapis.com/v1beta/interactions",
            json!({ "model": "m", "input": "hi", "stream": true, "tools": [flat] }),
            json!({ "id": "r1", "model": "m", "status": "requires_action", "outputs": [{ "type": "text", "text": "Hello" },
                { "type": "function_call", "id": "c1", "name": "f", "arguments": given }], "usage": { "total_input_tokens": 3, "total_output_tokens": 2 } }),
            vec![
                json!({ "event_type": "content.delta", "index": 0, "delta": { "type": "text", "text": "Hello" } }),
                json!({ "event_type": "content.delta", "index": 1, "delta": { "type": "function_call", "id": "c1", "name": "f", "arguments": given } }),
                json!({ "event_type": "interaction.complete", "interaction": { "id": "r1", "model": "m", "status": "completed" } }),
            ],
            Framing::Events,
        ),
        known(
            "https://us-central1-aiplatform.googleapis.com/v1/publishers/google/models/m:predict",
            json!({ "instances": [{ "content": "hi" }] }),
            json!({ "predictions": [{ "embeddings": { "values": vector, "statistics": { "token_count": 3 } } }] }),
            vec![json!({ "predictions": [{ "embeddings": { "values": vector } }] })],
            Framing::Lines,
        ),
        known(
            "https://api.mistral.ai/v1/conversations",
            json!({ "model": "m", "inputs": "hi", "stream": true }),
            json!({ "conversation_id": "r1", "outputs": [{ "type": "message.output", "content": "Hello" },
                { "type": "function.call", "tool_call_id": "c1", "name": "f", "arguments": text }], "usage": usage }),
            vec![
                json!({ "type": "message.output.delta", "output_index": 0, "content_index": 0, "content": "Hello" }),
                json!({ "type": "function.call.delta", "output_index": 1, "tool_call_id": "c1", "name": "f", "arguments": text }),
                json!({ "type": "conversation.response.done", "usage": usage }),
            ],
            Framing::Events,
        ),
        known(
            "https://api.mistral.ai/v1/ocr",
            json!({ "model": "m", "document": { "type": "document_url", "document_url": "https://x/a.pdf" } }),
            json!({ "pages": [{ "index": 0, "markdown": "Hello", "images": [{ "image_base64": "AAAA" }] }], "model": "m" }),
            vec![json!({ "pages": [] })],
            Framing::Lines,
        ),
        known(
            "http://localhost:8080/completion",
            json!({ "prompt": "hi", "stream": true }),
            json!({ "content": "Hello", "stop": true, "model": "m", "tokens_predicted": 2, "tokens_evaluated": 3, "stop_type": "eos" }),
            vec![
                json!({ "content": "Hello", "stop": false, "tokens": [1] }),
                json!({ "content": "", "stop": true, "stop_type": "eos", "tokens_predicted": 2 }),
            ],
            Framing::Events,
        ),
        known(
            "http://localhost:1234/api/v1/chat",
            json!({ "model": "m", "input": "hi" }),
            json!({ "model_instance_id": "m", "response_id": "r1", "output": [{ "type": "message", "content": "Hello" },
                { "type": "tool_call", "tool": "f", "arguments": given, "output": "done" }], "stats": { "input_tokens": 3, "total_output_tokens": 2 } }),
            vec![json!({ "type": "message.delta", "content": "Hello" })],
            Framing::Events,
        ),
        known(
            "https://api.cloudflare.com/client/v4/accounts/a/ai/run/@cf/meta/m",
            chat,
            json!({ "result": { "response": "Hello", "tool_calls": [{ "name": "f", "arguments": given }], "usage": usage }, "success": true }),
            vec![json!({ "response": "Hel" }), json!({ "response": "lo", "usage": usage })],
            Framing::Events,
        ),
        known(
            "https://api.openai.com/v1/images/generations",
            json!({ "model": "m", "prompt": "hi" }),
            json!({ "created": 1, "data": [{ "b64_json": "AAAA" }], "usage": { "input_tokens": 3, "output_tokens": 2 } }),
            vec![json!({ "type": "image_generation.completed", "b64_json": "AAAA" })],
            Framing::Events,
        ),
        // Its answers are sound, except for errors.
        known(
            "https://api.openai.com/v1/audio/speech",
            json!({ "model": "m", "input": "hi", "voice": "alloy" }),
            json!({ "error": { "message": "no such voice" } }),
            vec![json!({ "error": { "message": "no such voice" } })],
            Framing::Lines,
        ),
    ]
}
