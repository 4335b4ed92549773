//! A provider in this process, and a client of it by hand.

use std::error::Error;
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use opentelemetry::Context;
use retrace::clients::genai::interceptor::Action;
use retrace::clients::genai::{Instrumentation, Request};
use serde_json::{Value, json};

pub(crate) type AnyError = Box<dyn Error + Send + Sync>;

/// Answers prompts, and keeps the requests that it saw.
#[derive(Clone)]
pub(crate) struct Provider {
    genai: Instrumentation,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Provider {
    pub(crate) fn new() -> Self {
        Self { genai: retrace::clients::instrumentation(), seen: Arc::default() }
    }

    /// Prompts of the requests that left, in order.
    pub(crate) fn seen(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|request| request["messages"][0]["content"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) fn requests(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    /// Calls the model as an application does.
    pub(crate) async fn chat(&self, prompt: &str) -> Result<String, AnyError> {
        tokio::task::yield_now().await;
        self.chat_sync(prompt)
    }

    pub(crate) fn chat_sync(&self, prompt: &str) -> Result<String, AnyError> {
        let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}).to_string();
        let url = "https://api.openai.com/v1/chat/completions";
        let request = Request { method: "POST", url, body: Some(body.as_bytes()) };
        let (mut call, action) = self.genai.intercept(&request, &HeaderMap::new()).unwrap();
        let (status, answer) = match action {
            Action::Answer(recorded) => (recorded.status.as_u16(), recorded.body().to_vec()),
            Action::Refuse(refusal) => {
                call.refuse(&refusal);
                return Err(refusal.into());
            }
            Action::PassAltered(altered) => self.answer(&altered),
            _ => self.answer(body.as_bytes()),
        };
        call.response(status, &HeaderMap::new());
        call.chunk(&answer);
        call.end();
        let answer: Value = serde_json::from_slice(&answer)?;
        match status {
            200 => Ok(answer["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()),
            _ => Err(format!("HTTP {status}: {}", answer["error"]["message"]).into()),
        }
    }

    fn answer(&self, request: &[u8]) -> (u16, Vec<u8>) {
        let request: Value = serde_json::from_slice(request).unwrap();
        let mut seen = self.seen.lock().unwrap();
        seen.push(request.clone());
        let prompt = request["messages"][0]["content"].as_str().unwrap_or_default();
        let (status, body) = match prompt {
            "fail" => (429, json!({"error": {"message": "slow down", "type": "rate_limit"}})),
            _ => {
                let content = format!("{prompt}: answer {}", seen.len());
                let message = json!({"role": "assistant", "content": content});
                let usage = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
                // As vLLM sends them, one for each character.
                let ids: Vec<u32> = prompt.chars().chain("; ".chars()).map(u32::from).collect();
                let choices = json!([{"index": 0, "finish_reason": "stop", "message": message, "token_ids": ids}]);
                (200, json!({"id": "chatcmpl-1", "model": "gpt-4o-mini", "choices": choices, "usage": usage}))
            }
        };
        (status, body.to_string().into_bytes())
    }
}

/// Context without anything of the caller's.
pub(crate) fn elsewhere<T>(body: impl FnOnce() -> T) -> T {
    let _current = Context::new().attach();
    body()
}
