//! Spellings of a model's name: what gateways, clouds and libraries put around the name that the price list has.

use smallvec::SmallVec;

use crate::price::list::Provider;

/// A price list, or none to let the list be found by the model, and the name of a model in it.
type Candidate<'a> = (Option<&'static str>, &'a str);

/// Names that are derived from one spelling, at most.
const NAMES: usize = 12;
/// Prefixes of inference profiles of Bedrock: the regions in which a call is served.
const REGIONS: [&str; 9] = ["us", "eu", "apac", "ap", "global", "jp", "au", "ca", "us-gov"];
/// Vendors as Bedrock writes them before the name of a model.
const VENDORS: [&str; 16] = [
    "anthropic",
    "amazon",
    "meta",
    "mistral",
    "cohere",
    "ai21",
    "deepseek",
    "openai",
    "qwen",
    "writer",
    "stability",
    "google",
    "moonshot",
    "moonshotai",
    "minimax",
    "nvidia",
];
/// Servers that run models on machines of their users, which no list prices. Lower case, letters and digits only.
const SELF_HOSTED: [&str; 14] = [
    "ollama",
    "ollamachat",
    "vllm",
    "hostedvllm",
    "lmstudio",
    "llamacpp",
    "llamafile",
    "tgi",
    "localai",
    "local",
    "sglang",
    "xinference",
    "triton",
    "textgenerationinference",
];
/// Beginnings of names that have a path and by which their list is found.
const PATHS: [&str; 2] = ["accounts/", "@cf/"];
/// Segments of a path that name an API, a region or a gateway and no vendor.
const ROUTES: [&str; 12] = [
    "converse",
    "converse_like",
    "invoke",
    "responses",
    // Deployment types of Azure, as LiteLLM writes them.
    "global",
    "global-standard",
    "eu",
    "us",
    // Gateways before the name that their provider has.
    "litellm_proxy",
    "litellm",
    "vercel_ai_gateway",
    "github",
];

/// The price of a model under any of its spellings, by `look_up`, which has the price of a name in a list.
///
/// The name that is the id of a model in its list comes first, then the first one that has a price.
pub(crate) fn price<P>(
    provider: Option<&str>,
    model: &str,
    look_up: impl Fn(Option<&str>, &str) -> Option<P>,
) -> Option<P> {
    if provider.is_some_and(is_self_hosted) {
        return None;
    }
    let candidates = candidates(provider, model);
    let price = |(list, name): &Candidate<'_>| look_up(*list, name);
    let exact = candidates.iter().filter(|(list, name)| list.is_some_and(|list| has(list, name)));
    exact.chain(&candidates).find_map(price)
}

/// Names under which the price of a model is looked up, the most specific first.
fn candidates<'a>(provider: Option<&'a str>, model: &'a str) -> SmallVec<[Candidate<'a>; 8]> {
    let label = provider.and_then(list_of);
    let mut names: SmallVec<[Candidate<'a>; 8]> = SmallVec::new();
    names.push((None, model.trim()));
    let mut at = 0;
    while let Some((list, name)) = names.get(at).copied() {
        at += 1;
        for next in shorter(list, name) {
            if names.len() < NAMES && !names.contains(&next) {
                names.push(next);
            }
        }
    }
    let mut candidates = SmallVec::new();
    for (list, name) in names {
        if list.is_some() {
            candidates.push((list, name));
        }
        if label.is_some() && label != list {
            candidates.push((label, name));
        }
        // Of a name in a path that names no list nothing is known.
        if list.is_none() && label.is_none() && (!name.contains('/') || PATHS.iter().any(|path| name.starts_with(path)))
        {
            candidates.push((None, name));
        }
    }
    candidates
}

/// What is left of a name without its outermost part, with the list that this part names.
fn shorter<'a>(list: Option<&'static str>, name: &'a str) -> SmallVec<[Candidate<'a>; 4]> {
    let mut shorter = SmallVec::new();
    let aws = Some("aws");
    if name.starts_with("arn:") {
        shorter.extend(name.rsplit_once('/').map(|(_, name)| (aws, name)));
        return shorter;
    }
    if let Some((path, name)) = name.rsplit_once("/models/").or_else(|| name.split_once("models/")) {
        // `publishers/google/models/…` of Vertex, and `models/…` of Gemini.
        if path.is_empty() || path.contains("publishers/") {
            shorter.push((Some("google"), name));
            shorter.extend(path.rsplit_once('/').and_then(|(_, house)| list_of(house)).map(|list| (Some(list), name)));
            return shorter;
        }
    }
    // What a list itself has without the suffix comes before what another list has with it.
    shorter.extend(name.strip_suffix("-latest").map(|name| (list, name)));
    for (separator, is_suffix) in [('@', true), (':', !name.ends_with(":free"))] {
        shorter.extend(name.rsplit_once(separator).filter(|_| is_suffix).map(|(name, _)| (list, name)));
    }
    // `anthropic:claude-…`, as Pydantic AI and LangChain write it.
    if let Some((house, name)) = name.split_once(':').filter(|(house, _)| !house.contains(['/', '.'])) {
        shorter.extend(list_of(house).filter(|_| !is_self_hosted(house)).map(|list| (Some(list), name)));
    }
    if let Some((house, name)) = name.split_once('/') {
        if ROUTES.contains(&house) {
            shorter.push((list, name));
        } else if !is_self_hosted(house) {
            shorter.extend(list_of(house).map(|list| (Some(list), name)));
        }
    }
    if let Some((first, rest)) = name.split_once('.') {
        if REGIONS.contains(&first) && rest.split_once('.').is_some_and(|(vendor, _)| VENDORS.contains(&vendor)) {
            shorter.push((aws, name));
            shorter.push((aws, rest));
        } else if VENDORS.contains(&first) {
            shorter.push((aws, name));
        }
    }
    shorter.retain(|(_, name)| !name.is_empty());
    shorter
}

/// The id of the price list that a provider, or what stands before the name of a model, means.
fn list_of(label: &str) -> Option<&'static str> {
    known_list(label).or_else(|| {
        // The Vercel AI SDK appends the API: `togetherai.chat`.
        let (label, api) = label.rsplit_once('.')?;
        matches!(api, "chat" | "completion" | "messages" | "responses" | "embedding").then(|| list_of(label)).flatten()
    })
}

fn known_list(label: &str) -> Option<&'static str> {
    let id = match label {
        "google-gla" | "google-vertex" | "google_genai" | "google_vertexai" | "vertexai" | "googleai" => "google",
        "mistralai" => "mistral",
        "togetherai" | "together_ai" => "together",
        "gcp.gen_ai" | "gcp.vertex_ai" | "gcp.gemini" => "google",
        "azure.ai.inference" | "azure.ai.openai" | "azure_ai" | "azure_openai" | "azure-openai" => "azure",
        "aws.bedrock" => "aws",
        "x_ai" => "x-ai",
        "mistral_ai" => "mistral",
        "moonshot_ai" => "moonshotai",
        "fireworks_ai" | "fireworks-ai" => "fireworks",
        "z-ai" | "z_ai" => "zai",
        "voyage" => "voyageai",
        other => other,
    };
    Provider::named(id).map(|list| list.id)
}

/// Returns true if the list has a model with this id.
fn has(list: &str, name: &str) -> bool {
    Provider::named(list).is_some_and(|list| list.has(name))
}

fn is_self_hosted(label: &str) -> bool {
    let plain: String =
        label.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SELF_HOSTED.contains(&&*plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use genai_prices::Calculator;

    const NOW: u64 = 1_791_763_200_000_000_000;
    const TOKENS: crate::price::rates::Tokens = [100_000, 10_000, 20_000, 0];

    fn of(provider: Option<&str>, model: &str) -> Option<f64> {
        price(provider, model, |list, name| crate::price::cost::look_up(list, name, TOKENS, NOW))
    }

    #[test]
    fn every_model_of_the_list_has_its_price_under_every_spelling() {
        let mut wrong = Vec::new();
        let mut checked = 0_u32;
        for list in Calculator::bundled().providers() {
            for model in list.models() {
                let (list, model) = (list.id(), model.id());
                // A list may have two models whose ids differ by its own name.
                if has(list, &format!("{list}/{model}")) {
                    continue;
                }
                let Some(price) = crate::price::cost::look_up(Some(list), model, TOKENS, NOW) else { continue };
                let mut spelled = vec![format!("{list}/{model}")];
                if !model.ends_with(":free") {
                    spelled.push(format!("{list}/{model}@20250929"));
                    // Some of these are models of their own.
                    if !has(list, &format!("{model}-latest")) {
                        spelled.push(format!("{list}/{model}-latest"));
                    }
                    spelled.push(format!("{list}/{model}:beta"));
                }
                let of_openrouter =
                    crate::price::cost::look_up(Some("openrouter"), &format!("{list}/{model}"), TOKENS, NOW);
                let bare = model.strip_suffix("-latest").unwrap_or(model);
                if of_openrouter.is_none()
                    && crate::price::cost::look_up(Some("openrouter"), &format!("{list}/{bare}"), TOKENS, NOW).is_none()
                {
                    spelled.push(format!("openrouter/{list}/{model}"));
                }
                match list {
                    "google" => spelled.extend([
                        format!("models/{model}"),
                        format!("publishers/google/models/{model}"),
                        format!("projects/p/locations/l/publishers/google/models/{model}"),
                        format!("vertex_ai/{model}"),
                        format!("gemini/{model}"),
                    ]),
                    "aws" => {
                        spelled.extend([
                            format!("arn:aws:bedrock:us-east-1:123456789012:inference-profile/{model}"),
                            format!("arn:aws:bedrock:us-east-1::foundation-model/{model}"),
                            format!("bedrock/{model}"),
                            format!("bedrock/converse/{model}"),
                        ]);
                        let has_region = model.split_once('.').is_some_and(|(first, _)| REGIONS.contains(&first));
                        let has_vendor = model.split_once('.').is_some_and(|(first, _)| VENDORS.contains(&first));
                        if !has_region && has_vendor && !has("aws", &format!("us.{model}")) {
                            spelled.push(format!("us.{model}"));
                        }
                    }
                    "mistral" => spelled.push(format!("mistralai/{model}")),
                    "x-ai" => spelled.push(format!("xai/{model}")),
                    _ => {}
                }
                for spelling in spelled {
                    for label in [None, Some(list), Some("langchain"), Some("litellm"), Some("my-gateway")] {
                        checked += 1;
                        let found = of(label, &spelling);
                        if found != Some(price) {
                            wrong.push(format!("{label:?} {spelling}: {found:?}, not {price}"));
                        }
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {checked}:\n{}", wrong.len(), wrong[..wrong.len().min(60)].join("\n"));
    }

    #[test]
    fn a_label_that_is_no_provider_leaves_the_price_to_the_model() {
        for model in [
            "gpt-4o-mini",
            "claude-sonnet-4-5-20250929",
            "gemini-2.5-pro",
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
        ] {
            let alone = of(None, model);
            assert!(alone.is_some(), "{model}");
            for label in ["langchain", "strands-agents", "my-gateway", "litellm"] {
                assert_eq!(of(Some(label), model), alone, "{label} {model}");
            }
        }
        assert_eq!(of(Some("azure.ai.openai"), "gpt-4o-mini-2024-07-18"), of(Some("openai"), "gpt-4o-mini-2024-07-18"));
    }

    #[test]
    fn every_provider_of_the_conventions_has_a_price_list() {
        for provider in [
            "openai",
            "gcp.gen_ai",
            "gcp.vertex_ai",
            "gcp.gemini",
            "anthropic",
            "cohere",
            "azure.ai.inference",
            "azure.ai.openai",
            "aws.bedrock",
            "perplexity",
            "x_ai",
            "deepseek",
            "groq",
            "mistral_ai",
            "moonshot_ai",
        ] {
            assert!(list_of(provider).is_some(), "{provider}");
        }
    }

    #[test]
    fn models_that_no_list_prices_have_no_price() {
        for (label, model) in [
            (Some("ollama"), "deepseek-r1"),
            (None, "ollama/deepseek-r1"),
            (Some("vllm"), "openai/gpt-oss-120b"),
            (None, "my-team/gpt-4o"),
            (Some("azure.ai.openai"), "my-deployment"),
            (None, "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34ef56"),
            (None, ""),
            (None, "/"),
        ] {
            assert_eq!(of(label, model), None, "{label:?} {model}");
        }
    }
}
