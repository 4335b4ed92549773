//! Provider names by host.

use crate::url::Target;

/// Hosts and their providers, by `gen_ai.provider.name` of the conventions or in its manner.
///
/// A name that begins with a dot stands for all hosts below it.
const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    (".api.openai.com", "openai"),
    ("chatgpt.com", "openai"),
    (".openai.azure.com", "azure.ai.openai"),
    (".cognitiveservices.azure.com", "azure.ai.openai"),
    (".services.ai.azure.com", "azure.ai.inference"),
    (".inference.ai.azure.com", "azure.ai.inference"),
    (".models.ai.azure.com", "azure.ai.inference"),
    ("models.inference.ai.azure.com", "azure.ai.inference"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("codestral.mistral.ai", "mistral_ai"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "x_ai"),
    (".api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.cohere.com", "cohere"),
    ("api.cohere.ai", "cohere"),
    (".cohere.com", "cohere"),
    (".ml.cloud.ibm.com", "ibm.watsonx.ai"),
    ("api.together.xyz", "together"),
    ("api.together.ai", "together"),
    ("openrouter.ai", "openrouter"),
    ("api.fireworks.ai", "fireworks"),
    ("api.cerebras.ai", "cerebras"),
    ("api.sambanova.ai", "sambanova"),
    ("integrate.api.nvidia.com", "nvidia"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.moonshot.cn", "moonshot_ai"),
    ("dashscope.aliyuncs.com", "alibaba"),
    ("dashscope-intl.aliyuncs.com", "alibaba"),
    ("api.deepinfra.com", "deepinfra"),
    ("api.hyperbolic.xyz", "hyperbolic"),
    ("api.writer.com", "writer"),
    ("api.voyageai.com", "voyageai"),
    ("api.jina.ai", "jina"),
    ("models.github.ai", "github"),
    ("router.huggingface.co", "huggingface"),
    ("api-inference.huggingface.co", "huggingface"),
    (".endpoints.huggingface.cloud", "huggingface"),
    ("ollama.com", "ollama"),
];

/// Returns the provider of a host, if it is known.
pub(crate) fn provider(target: &Target<'_>) -> Option<&'static str> {
    let host = target.host();
    if host.ends_with("aiplatform.googleapis.com") {
        return Some("gcp.vertex_ai"); // `us-central1-aiplatform`, `aiplatform`, `aiplatform.eu.rep`
    }
    // `bedrock-runtime.us-east-1.amazonaws.com`, `bedrock-mantle.us-east-1.api.aws`
    let aws = [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|end| host.ends_with(end));
    if aws && ["bedrock-runtime", "bedrock-mantle"].iter().any(|name| host.starts_with(name)) {
        return Some("aws.bedrock");
    }
    if target.port() == Some(11434) {
        return Some("ollama"); // its own port, on whichever host
    }
    let known =
        HOSTS.iter().find(|(known, _)| if known.starts_with('.') { host.ends_with(known) } else { host == *known });
    known.map(|(_, provider)| *provider)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_known_whole_or_by_their_end() {
        for (url, expected) in [
            ("https://api.openai.com/v1", Some("openai")),
            ("https://eu.api.openai.com/v1", Some("openai")),
            ("https://notapi.openai.com.example/v1", None),
            ("https://me.openai.azure.com/", Some("azure.ai.openai")),
            ("https://europe-west4-aiplatform.googleapis.com/", Some("gcp.vertex_ai")),
            ("https://bedrock-runtime.us-east-1.amazonaws.com/", Some("aws.bedrock")),
            ("https://bedrock-runtime-fips.us-east-1.amazonaws.com/", Some("aws.bedrock")),
            ("https://bedrock-mantle.us-east-1.api.aws/v1", Some("aws.bedrock")),
            ("https://bedrock-runtime.us-east-1.api.aws/", Some("aws.bedrock")),
            ("https://bedrock-mantle.example.com/v1", None),
            ("http://gpu-box:11434/v1/chat/completions", Some("ollama")),
            ("http://localhost:8000/", None),
        ] {
            assert_eq!(provider(&Target::of(url)), expected, "{url}");
        }
    }
}
