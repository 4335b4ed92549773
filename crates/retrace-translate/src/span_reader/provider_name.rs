//! Names of providers.

/// Names in the GenAI conventions.
const CURRENT: &[&str] = &[
    "anthropic",
    "aws.bedrock",
    "azure.ai.inference",
    "azure.ai.openai",
    "cohere",
    "deepseek",
    "gcp.gemini",
    "gcp.gen_ai",
    "gcp.vertex_ai",
    "groq",
    "ibm.watsonx.ai",
    "mistral_ai",
    "moonshot_ai",
    "openai",
    "perplexity",
    "x_ai",
];

/// Other names for them: deprecated values of the conventions, and names that libraries and APIs use. Lower case, letters and
/// digits only.
const OTHER: &[(&str, &str)] = &[
    ("amazonbedrock", "aws.bedrock"),
    ("awsbedrock", "aws.bedrock"),
    ("bedrock", "aws.bedrock"),
    ("bedrockconverse", "aws.bedrock"),
    ("azaiinference", "azure.ai.inference"),
    ("azureaiinference", "azure.ai.inference"),
    ("azaiopenai", "azure.ai.openai"),
    ("azureaiopenai", "azure.ai.openai"),
    ("azureopenai", "azure.ai.openai"),
    ("anthropic", "anthropic"),
    ("cohere", "cohere"),
    ("deepseek", "deepseek"),
    ("gcpgemini", "gcp.gemini"),
    ("gemini", "gcp.gemini"),
    ("googlegemini", "gcp.gemini"),
    ("googlegenerativeai", "gcp.gemini"),
    ("googlegla", "gcp.gemini"),
    ("gcpgenai", "gcp.gen_ai"),
    ("google", "gcp.gen_ai"),
    ("googlegenai", "gcp.gen_ai"),
    ("gcpvertexai", "gcp.vertex_ai"),
    ("googlevertex", "gcp.vertex_ai"),
    ("googlevertexai", "gcp.vertex_ai"),
    ("vertexai", "gcp.vertex_ai"),
    ("groq", "groq"),
    ("ibmwatsonxai", "ibm.watsonx.ai"),
    ("watsonx", "ibm.watsonx.ai"),
    ("mistral", "mistral_ai"),
    ("mistralai", "mistral_ai"),
    ("moonshot", "moonshot_ai"),
    ("moonshotai", "moonshot_ai"),
    ("openai", "openai"),
    ("perplexity", "perplexity"),
    ("xai", "x_ai"),
];

/// Returns the name of a provider in the conventions, or `None` if they do not know it, and whether `name` carries no more than
/// that.
///
/// A suffix that a library appends, such as the API in `openai.chat`, is not part of the name.
pub(crate) fn current(name: &str) -> (Option<&'static str>, bool) {
    if let Some(current) = CURRENT.iter().find(|current| **current == name) {
        return (Some(current), true);
    }
    let mut plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let mut rest = name;
    loop {
        if let Some((_, current)) = OTHER.iter().find(|(other, _)| *other == plain) {
            return (Some(current), rest.len() == name.len());
        }
        let Some((head, api)) = rest.rsplit_once('.') else { return (None, true) };
        plain.truncate(plain.len() - api.bytes().filter(u8::is_ascii_alphanumeric).count());
        rest = head;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_lead_to_the_current_ones() {
        for (name, expected) in [
            ("openai", "openai"),
            ("OpenAI", "openai"),
            ("openai.chat", "openai"),
            ("openai.responses", "openai"),
            ("anthropic.messages", "anthropic"),
            ("amazon-bedrock", "aws.bedrock"),
            ("az.ai.inference", "azure.ai.inference"),
            ("az.ai.openai", "azure.ai.openai"),
            ("azure-openai.chat", "azure.ai.openai"),
            ("vertex_ai", "gcp.vertex_ai"),
            ("google.vertex.chat", "gcp.vertex_ai"),
            ("google.vertex.anthropic.messages", "gcp.vertex_ai"),
            ("google.generative-ai", "gcp.gemini"),
            ("gemini", "gcp.gemini"),
            ("google-gla", "gcp.gemini"),
            ("xai", "x_ai"),
            ("xai.chat", "x_ai"),
            ("Mistral AI", "mistral_ai"),
        ] {
            assert_eq!(current(name).0, Some(expected), "{name}");
        }
        assert_eq!((current("OpenAI").1, current("openai.chat").1, current("az.ai.openai").1), (true, false, true));
        assert!(CURRENT.iter().all(|name| current(name) == (Some(*name), true)));
        assert!(OTHER.iter().all(|(_, to)| CURRENT.contains(to)), "every other name is one of a current one");
    }

    #[test]
    fn names_that_nobody_knows_have_no_other() {
        for name in ["", ".", "..chat", "my-company", "fireworks.chat", "é.ü", "azure"] {
            assert_eq!(current(name), (None, true));
        }
    }
}
