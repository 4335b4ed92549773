//! Cohere, Vertex and embeddings.

use serde_json::{Value, json};

use super::*;

#[test]
fn cohere_documents_and_images() {
    let documents = json!([{ "id": "d1", "data": { "text": "Dock Seven." } }, "Dock Three."]);
    let v2 = json!({ "model": "m", "documents": documents, "messages": [{ "role": "user", "content": "which?" }] });
    let v1 = json!({ "model": "m", "documents": documents, "message": "which?" });
    for (url, request) in [("https://api.cohere.com/v2/chat", v2), ("https://api.cohere.com/v1/chat", v1)] {
        let span = Exchange::new(url, &request, "{}").span();
        let [read, question] = span["gen_ai.input.messages"].as_array().unwrap().as_slice() else { panic!("{span:#}") };
        assert_eq!(read["parts"][0]["data"]["text"], "Dock Seven.");
        assert_eq!(read["parts"][1]["content"], "Dock Three.");
        assert_eq!(question["parts"][0]["content"], "which?");
    }
    let image = "data:image/gif;base64,AAAA";
    let blob = json!({ "type": "blob", "modality": "image", "mime_type": "image/gif", "content": "AAAA" });
    let parts_of = |body: Value| {
        let span = Exchange::new("https://api.cohere.com/v2/embed", &body, "{}").span();
        span["gen_ai.input.messages"][0]["parts"].clone()
    };
    assert_eq!(parts_of(json!({ "model": "m", "images": [image] })), json!([blob]));
    let content = json!([{ "type": "text", "text": "a" }, { "type": "image_url", "image_url": { "url": image } }]);
    let expected = json!([{ "type": "text", "content": "a" }, blob]);
    assert_eq!(parts_of(json!({ "model": "m", "inputs": [{ "content": content }] })), expected);
}

#[test]
fn embeddings_on_vertex_and_in_base64() {
    let url = "https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/gemini-embedding-001:predict";
    let prediction =
        |count: u64| json!({ "embeddings": { "values": [0.1, 0.2, 0.3], "statistics": { "token_count": count } } });
    let body = json!({ "predictions": [prediction(4), prediction(3)] });
    let request = json!({ "instances": [{ "content": "a" }, { "content": "b" }] });
    let span = Exchange::new(url, &request, body.to_string()).span();
    expect(
        &span,
        &json!({ "gen_ai.operation.name": "embeddings", "gen_ai.request.model": "gemini-embedding-001", "gen_ai.provider.name": "gcp.vertex_ai",
            "gen_ai.embeddings.dimension.count": 3, "gen_ai.usage.input_tokens": 7, "retrace.omitted_bytes": null }),
    );
    assert_eq!(span["gen_ai.input.messages"][1]["parts"][0]["content"], "b");
    let body =
        json!({ "data": [{ "embedding": "LGqyvKvVET2BNay81bEcPQ==", "index": 0 }], "usage": { "total_tokens": 4 } });
    let request = json!({ "model": "voyage-3.5", "input": ["a"], "encoding_format": "base64" });
    let span = Exchange::new("https://api.voyageai.com/v1/embeddings", &request, body.to_string()).span();
    expect(&span, &json!({ "retrace.omitted_bytes": null }));
}
