//! A canary wherever an API has a credential: in headers, bodies, query parameters and in errors that echo them.

#![allow(clippy::panic, clippy::unwrap_used)]

use genai_redact::{Place, is_credential, is_credential_parameter};
use serde_json::{Value, json};

/// Looks like no credential, so that only its place gives it away.
const CANARY: &str = "canary";

/// Names of headers and environment variables, by who has them.
const HEADERS: &[(&str, &[&str])] = &[
    ("OpenAI", &["Authorization", "OPENAI_API_KEY", "OPENAI_WEBHOOK_SECRET"]),
    ("Anthropic", &["x-api-key", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"]),
    ("Azure", &["api-key", "Ocp-Apim-Subscription-Key", "AZURE_CLIENT_SECRET", "azure_ad_token", "x-functions-key"]),
    ("Vertex", &["x-goog-api-key", "x-goog-iam-authorization-token", "vertex_credentials", "vertexServiceAccountJson"]),
    ("Gemini", &["x-goog-api-key", "GEMINI_API_KEY", "GOOGLE_API_KEY"]),
    (
        "Bedrock",
        &[
            "Authorization",
            "X-Amz-Security-Token",
            "AWS_SECRET_ACCESS_KEY",
            "aws_access_key_id",
            "AWS_SESSION_TOKEN",
            "AWS_BEARER_TOKEN_BEDROCK",
        ],
    ),
    ("LiteLLM", &["x-litellm-api-key", "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "aws_web_identity_token", "oci_key"]),
    ("Cohere", &["CO_API_KEY", "user_access_token"]),
    ("Mistral", &["MISTRAL_API_KEY"]),
    ("Groq", &["GROQ_API_KEY"]),
    ("OpenRouter", &["OPENROUTER_API_KEY"]),
    ("Perplexity", &["PPLX_API_KEY"]),
    ("Together", &["TOGETHER_API_KEY"]),
    ("Fireworks", &["FIREWORKS_API_KEY"]),
    ("Replicate", &["REPLICATE_API_TOKEN", "webhook_secret"]),
    ("Hugging Face", &["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"]),
    ("Databricks", &["DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "personal_access_token"]),
    ("Snowflake", &["SNOWFLAKE_PAT", "private_key", "private_key_passphrase", "SNOWFLAKE_PASSWORD"]),
    ("watsonx", &["WATSONX_APIKEY", "WATSONX_TOKEN", "WATSONX_ZENAPIKEY", "iam_apikey"]),
    (
        "Portkey",
        &[
            "x-portkey-api-key",
            "x-portkey-virtual-key",
            "x-portkey-aws-secret-access-key",
            "x-portkey-aws-session-token",
        ],
    ),
    ("Helicone", &["Helicone-Auth", "Helicone-OpenAI-Api-Key", "HELICONE_API_KEY"]),
    ("Langfuse", &["LANGFUSE_SECRET_KEY", "secretKey"]),
    ("Cloudflare", &["cf-aig-authorization", "CF-Access-Client-Secret", "X-Auth-Key", "X-Auth-Token"]),
    ("Search APIs", &["X-Subscription-Token", "TAVILY_API_KEY", "EXA_API_KEY", "search_admin_key"]),
    (
        "MCP",
        &[
            "PRIVATE-TOKEN",
            "GITHUB_PERSONAL_ACCESS_TOKEN",
            "SLACK_BOT_TOKEN",
            "code_verifier",
            "client_assertion",
            "device_code",
        ],
    ),
    (
        "Telemetry",
        &["x-honeycomb-team", "DD-API-KEY", "DD-APPLICATION-KEY", "license_key", "OTEL_EXPORTER_OTLP_HEADERS"],
    ),
];

/// Bodies with a canary in each credential, by who takes them.
fn bodies() -> Vec<(&'static str, Value)> {
    let c = CANARY;
    vec![
        (
            "OpenAI",
            json!({ "tools": [{ "type": "mcp", "server_url": format!("https://h/sse?token={c}"), "authorization": c, "headers": { "X-Any": c } }] }),
        ),
        (
            "OpenAI",
            json!({ "tools": [{ "type": "shell", "environment": { "network_policy": { "domain_secrets": [{ "domain": "h", "name": "K", "value": c }] } } }] }),
        ),
        ("OpenAI", json!({ "client_secret": { "value": c, "expires_at": 1 } })),
        (
            "Anthropic",
            json!({ "mcp_servers": [{ "type": "url", "name": "s", "url": format!("https://u:{c}@h"), "authorization_token": c }] }),
        ),
        (
            "Azure",
            json!({ "data_sources": [{ "type": "azure_search", "parameters": { "endpoint": "https://h", "authentication": { "type": "api_key", "key": c } } },
                { "parameters": { "authentication": { "type": "connection_string", "connection_string": c } } },
                { "parameters": { "authentication": { "type": "username_and_password", "username": c, "password": c } } },
                { "parameters": { "embedding_dependency": { "authentication": { "type": "access_token", "access_token": c } } } }] }),
        ),
        (
            "Vertex",
            json!({ "tools": [{ "retrieval": { "externalApi": { "apiAuth": { "apiKeyConfig": { "apiKeySecretVersion": c, "apiKeyString": c } } } } },
                { "googleMaps": { "authConfig": { "apiKeyConfig": { "apiKeySecret": c } } } },
                { "authConfig": { "httpBasicAuthConfig": { "credentialSecret": c }, "oauthConfig": { "accessToken": c }, "oidcConfig": { "idToken": c } } }] }),
        ),
        ("Bedrock", json!({ "mcp": { "credentials": { "accessKeyId": c, "secretAccessKey": c, "sessionToken": c } } })),
        (
            "LiteLLM",
            json!({ "api_key": c, "extra_headers": { "x": c }, "aws_secret_access_key": c, "vertex_credentials": format!("{{\"private_key\":\"{c}\"}}"),
                "user_config": { "model_list": [{ "litellm_params": { "model": "m", "api_key": c, "azure_ad_token": c } }] } }),
        ),
        ("Cohere", json!({ "connectors": [{ "id": "web", "user_access_token": c }] })),
        (
            "Portkey",
            json!({ "config": { "targets": [{ "provider": "openai", "api_key": c }, { "virtual_key": c }, { "aws_secret_access_key": c }, { "vertex_service_account_json": { "private_key": c } }] } }),
        ),
        ("Keywords AI", json!({ "customer_credentials": { "openai": { "api_key": c } } })),
        ("Vercel", json!({ "providerOptions": { "gateway": { "byok": { "anthropic": [{ "apiKey": c }] } } } })),
        ("Replicate", json!({ "input_config": { "api_token": c, "hf_token": c } })),
        (
            "Snowflake",
            json!({ "connection": { "user": "u", "password": c, "private_key": c, "private_key_passphrase": c } }),
        ),
        ("watsonx", json!({ "credentials": { "url": "https://h", "apikey": c } })),
        ("MCP", json!({ "mcpServers": { "s": { "command": "npx", "env": { "ANY": c }, "headers": { "X": c } } } })),
        (
            "OAuth",
            json!({ "client_id": "i", "client_secret": c, "refresh_token": c, "code_verifier": c, "client_assertion": c }),
        ),
    ]
}

#[test]
fn headers_and_variables_of_every_api_are_known() {
    for (house, names) in HEADERS {
        for name in *names {
            assert!(is_credential(name), "{house}: {name}");
            assert!(is_credential_parameter(name), "{house}: {name}");
            // As an attribute of a span, and echoed by an error.
            for key in [format!("http.request.header.{name}"), format!("app.{name}")] {
                let place = Place::of_attribute(&key);
                assert_eq!(place.text(CANARY).as_deref(), Some("[redacted]"), "{house}: {key}");
            }
            for text in [
                format!("invalid {name}: {CANARY}"),
                format!("invalid header '{name}: Bearer {CANARY}'"),
                format!("invalid {name}: Token {CANARY}"),
                format!("bad request {{\"{name}\": \"{CANARY}\", \"model\": \"m\"}}"),
                format!("bad request {{\\\"{name}\\\": \\\"{CANARY}\\\"}}"),
                format!("GET https://h/v1?{name}={CANARY}&a=1 failed"),
            ] {
                let shown = genai_redact::error(&text);
                assert!(!shown.contains(CANARY), "{house}: {shown}");
            }
        }
    }
}

#[test]
fn bodies_of_every_api_lose_their_credentials_and_nothing_else() {
    for (house, mut body) in bodies() {
        let members = body.as_object_mut().unwrap();
        members.insert("model".to_owned(), "m".into());
        members
            .insert("messages".to_owned(), json!([{ "role": "user", "content": format!("my api key is {CANARY}") }]));
        members.insert("max_tokens".to_owned(), 7.into());
        let text = genai_redact::json(&body.to_string(), Place::Body).unwrap_or_else(|| panic!("{house}"));
        let redacted: Value = serde_json::from_str(&text).unwrap();
        for key in ["messages", "model", "max_tokens"] {
            assert_eq!(redacted[key], body[key], "{house}");
        }
        let rest = text.replace(&body["messages"].to_string(), "");
        assert!(!rest.contains(CANARY), "{house}: {rest}");
        // The same where it is the attribute of a span, or a text in one.
        let recorded = Place::of_attribute("input.value").text(&body.to_string()).unwrap();
        assert!(!recorded.replace(&body["messages"].to_string(), "").contains(CANARY), "{house}: {recorded}");
    }
}

#[test]
fn parameters_of_urls() {
    for name in [
        "key",
        "api_key",
        "api-key",
        "access_token",
        "token",
        "sig",
        "signature",
        "X-Amz-Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Goog-Signature",
        "X-Goog-Credential",
        "code",
        "hmac",
        "subscription-key",
        "client_secret",
        "jwt",
    ] {
        let url = format!("https://h/v1/models?alt=sse&{name}={CANARY}&page=2");
        let shown = genai_redact::url(&url);
        assert!(!shown.contains(CANARY) && shown.contains("alt=sse") && shown.ends_with("&page=2"), "{shown}");
    }
}

#[test]
fn names_that_look_alike_are_no_credentials() {
    for name in [
        "max_tokens",
        "token_count",
        "prompt_tokens",
        "next_page_token",
        "primary_key",
        "foreign_key",
        "key",
        "keys",
        "public_key",
        "author",
        "authorized",
        "model",
        "session_id",
        "conversation_id",
        "tool_call_id",
        "signature",
        "code",
        "status_code",
        "finish_reason",
        "state",
        "x-request-id",
        "client_id",
        "device",
        "cache_key",
        "prompt_cache_key",
        "idempotency_key",
        "x-snowflake-authorization-token-type",
    ] {
        assert!(!is_credential(name), "{name}");
    }
}
