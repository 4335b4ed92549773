//! Bedrock's Converse and the bodies of `InvokeModel`.

use serde_json::{Value, json};

use super::*;

fn url(model: &str, method: &str) -> String {
    format!("https://bedrock-runtime.us-east-1.amazonaws.com/model/{model}/{method}")
}

fn converse(request: &Value, response: &Value) -> Value {
    Exchange::new(&url("nova-2", "converse"), request, response.to_string()).span()
}

#[test]
fn tools_that_the_provider_ran() {
    let call = json!({ "toolUse": { "toolUseId": "s1", "name": "interpreter", "type": "server_tool_use", "input": { "code": "1+1" } } });
    let result = json!({ "toolResult": { "toolUseId": "s1", "type": "interpreter_result", "status": "success", "content": [{ "json": { "out": "2" } }] } });
    let own = json!({ "toolUse": { "toolUseId": "t1", "name": "say", "input": { "x": 2 } } });
    let content = json!([call, result, own]);
    let answer =
        json!({ "output": { "message": { "role": "assistant", "content": content } }, "stopReason": "tool_use" });
    let history = json!({ "messages": [{ "role": "user", "content": [{ "text": "1+1?" }] }, { "role": "assistant", "content": content },
        { "role": "user", "content": [{ "toolResult": { "toolUseId": "t1", "content": [{ "text": "a" }, { "text": "b" }] } }] }] });
    let span = converse(&history, &answer);
    for parts in [parts(&span), &span["gen_ai.input.messages"][1]["parts"]] {
        let [call, result, own] = parts.as_array().unwrap().as_slice() else { panic!("{span:#}") };
        assert_eq!(
            (&call["type"], &call["id"], &call["name"]),
            (&json!("server_tool_call"), &json!("s1"), &json!("interpreter"))
        );
        assert_eq!(call["server_tool_call"]["input"], json!({ "code": "1+1" }));
        assert_eq!((&result["type"], &result["id"]), (&json!("server_tool_call_response"), &json!("s1")));
        assert_eq!(result["server_tool_call_response"]["content"], json!([{ "json": { "out": "2" } }]));
        assert_eq!(own, &json!({ "type": "tool_call", "id": "t1", "name": "say", "arguments": { "x": 2 } }));
    }
    let returned = &span["gen_ai.input.messages"][2]["parts"][0];
    assert_eq!(returned, &json!({ "type": "tool_call_response", "id": "t1", "response": "ab" }));
}

#[test]
fn parameters_wherever_they_are() {
    for fields in [json!({ "inferenceConfig": { "topK": 20 } }), json!({ "top_k": 20 }), json!({ "topK": 20 })] {
        let request = json!({ "messages": [], "inferenceConfig": { "temperature": 0.5 }, "additionalModelRequestFields": fields });
        let expected = json!({ "gen_ai.request.top_k": 20.0, "gen_ai.request.temperature": 0.5 });
        expect(&converse(&request, &json!({})), &expected);
    }
}

#[test]
fn embeddings_of_every_house() {
    let text = json!([{ "type": "text", "content": "tide" }]);
    let single = |body: Value| json!({ "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": body });
    for (request, response, dimensions, parts) in [
        (
            single(json!({ "text": { "value": "tide", "truncationMode": "END" }, "embeddingDimension": 4 })),
            json!({ "embeddings": [{ "embeddingType": "TEXT", "embedding": [1, 2, 3] }] }),
            3,
            text.clone(),
        ),
        (
            json!({ "schemaVersion": "nova-multimodal-embed-v1", "taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": { "image": { "format": "png", "source": { "bytes": "AAAA" } } } }),
            json!({ "embeddings": [{ "embedding": [1, 2] }] }),
            2,
            json!([{ "type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA" }]),
        ),
        (
            json!({ "texts": ["tide"], "input_type": "search_query", "output_dimension": 8 }),
            json!({ "id": "r1", "response_type": "embeddings_by_type", "embeddings": { "float": [[1, 2, 3, 4]] } }),
            4,
            text.clone(),
        ),
        (
            json!({ "texts": ["tide"], "input_type": "search_query" }),
            json!({ "id": "r1", "embeddings": [[1, 2, 3]], "texts": ["tide"] }),
            3,
            text.clone(),
        ),
        (
            json!({ "texts": ["tide"], "input_type": "search_query", "embedding_types": ["binary"] }),
            json!({ "id": "r1", "embeddings": { "binary": [[1, 2]] } }),
            16,
            text.clone(),
        ),
        (
            json!({ "inputText": "tide", "dimensions": 256, "normalize": true }),
            json!({ "embedding": [1, 2, 3, 4, 5], "inputTextTokenCount": 3, "embeddingsByType": { "float": [1, 2, 3, 4, 5] } }),
            5,
            text,
        ),
    ] {
        let exchange_url = url("m.embed-v1%3A0", "invoke");
        let exchange = Exchange::new(&exchange_url, &request, response.to_string());
        let span = exchange.header("x-amzn-bedrock-input-token-count", "3").span();
        let id = response.get("id");
        expect(
            &span,
            &json!({ "gen_ai.operation.name": "embeddings", "gen_ai.embeddings.dimension.count": dimensions, "gen_ai.usage.input_tokens": 3,
                "gen_ai.response.id": id, "retrace.omitted_bytes": null }),
        );
        assert_eq!(span["gen_ai.input.messages"][0]["parts"], parts, "{request}");
    }
}

#[test]
fn choices_that_are_texts() {
    let body = json!({ "choices": [{ "text": "Hi", "stop_reason": "stop" }] });
    let exchange_url = url("us.deepseek.r1-v1%3A0", "invoke");
    let span = Exchange::new(&exchange_url, &json!({ "prompt": "hi", "max_tokens": 9 }), body.to_string()).span();
    expect(&span, &json!({ "gen_ai.response.finish_reasons": ["stop"] }));
    assert_eq!(parts(&span)[0]["content"], "Hi");
}
