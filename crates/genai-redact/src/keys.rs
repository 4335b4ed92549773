//! Names of members, headers and parameters whose value is a credential.

/// How a name is compared. Case and everything but letters and digits are ignored: `x-api-key`, `xApiKey`, `X_API_KEY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The name is this.
    Whole,
    /// The name ends with this: `openai_api_key` with `apikey`.
    End,
    /// The name is this and the value an object, all of whose members may be credentials.
    Members,
    /// The name of a parameter of a URL is this.
    Parameter,
}

/// A row of [`CREDENTIALS`].
#[derive(Clone, Copy, Debug)]
pub struct Credential {
    /// The name, in lower case and without anything but letters and digits.
    pub name: &'static str,
    /// How it is compared.
    pub by: Match,
    /// An API that has it.
    pub source: &'static str,
}

const fn row(name: &'static str, by: Match, source: &'static str) -> Credential {
    Credential { name, by, source }
}

use Match::{End, Members, Parameter, Whole};

/// Names whose value is a credential, and for each an API that has it.
pub static CREDENTIALS: &[Credential] = &[
    // Headers and tokens of tools that a provider calls.
    row(
        "authorization",
        End,
        "OpenAI Responses `tools[].authorization` (type mcp): platform.openai.com/docs/guides/tools-remote-mcp; xAI and Groq alike; the header of RFC 9110",
    ),
    row(
        "headers",
        End,
        "OpenAI Responses `tools[].headers`, xAI `extra_headers`, LiteLLM `extra_headers`: docs.litellm.ai/docs/completion/input",
    ),
    row(
        "authorizationtoken",
        End,
        "Anthropic `mcp_servers[].authorization_token`: docs.claude.com/en/docs/agents-and-tools/mcp-connector",
    ),
    row(
        "domainsecrets",
        End,
        "OpenAI `container.network_policy.domain_secrets[].value`: platform.openai.com/docs/guides/tools-shell",
    ),
    row("useraccesstoken", End, "Cohere `connectors[].user_access_token`: docs.cohere.com/reference/chat-v1"),
    row(
        "env",
        Members,
        "MCP servers over stdio `mcpServers.*.env`: modelcontextprotocol.io/docs/develop/connect-local-servers",
    ),
    row("environmentvariables", Members, "the same, as some clients name it"),
    // Keys of APIs.
    row(
        "apikey",
        End,
        "`x-api-key` (Anthropic), `x-goog-api-key` (Gemini), `api-key` (Azure), `api_key` (LiteLLM, Azure `data_sources`), `encoded_api_key` (Azure), `x-portkey-api-key`",
    ),
    row(
        "apikeystring",
        End,
        "Vertex `apiAuth.apiKeyConfig.apiKeyString`: cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/ApiAuth",
    ),
    row(
        "apikeysecret",
        End,
        "Vertex `authConfig.apiKeyConfig.apiKeySecret`: cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/AuthConfig",
    ),
    row(
        "apitoken",
        End,
        "Cloudflare Workers AI `api_token`, Replicate: docs.litellm.ai/docs/providers/cloudflare_workers",
    ),
    row(
        "subscriptionkey",
        End,
        "Azure API Management `Ocp-Apim-Subscription-Key`: learn.microsoft.com/azure/api-management/api-management-subscriptions",
    ),
    row(
        "virtualkey",
        End,
        "Portkey `virtual_key`, `x-portkey-virtual-key`: portkey.ai/docs/api-reference/inference-api/headers",
    ),
    row("masterkey", End, "LiteLLM `master_key`: docs.litellm.ai/docs/proxy/virtual_keys"),
    row("heliconeauth", End, "Helicone `Helicone-Auth`: docs.helicone.ai/helicone-headers/header-directory"),
    row("byok", Whole, "Vercel AI Gateway `providerOptions.gateway.byok`: vercel.com/docs/ai-gateway/byok"),
    row("authkey", End, "Cloudflare `X-Auth-Key`: developers.cloudflare.com/fundamentals/api/get-started/keys"),
    row(
        "functionskey",
        End,
        "Azure Functions `x-functions-key`: learn.microsoft.com/azure/azure-functions/function-keys-how-to",
    ),
    row(
        "adminkey",
        End,
        "Azure AI Search `search_admin_key`: learn.microsoft.com/azure/search/search-security-api-keys",
    ),
    row("apikeys", End, "maps and lists of keys, such as those of LlamaIndex and Open WebUI `OPENAI_API_KEYS`"),
    row("openaikey", End, "`openai_key` of tools and gateways: docs.helicone.ai"),
    row("anthropickey", End, "`anthropic_key`, likewise"),
    row("geminikey", End, "`gemini_key`, likewise"),
    row("groqkey", End, "`groq_key`, likewise"),
    row("azurekey", End, "`azure_key`, likewise"),
    row(
        "hmackey",
        End,
        "`hmac_key` of webhooks and of Cloud Storage: cloud.google.com/storage/docs/authentication/hmackeys",
    ),
    row("deploykey", End, "Convex `CONVEX_DEPLOY_KEY`: docs.convex.dev/cli/deploy-key-types"),
    row("authheader", End, "`auth_header` of MCP clients"),
    row("mcptoken", End, "`mcp_token` of MCP servers"),
    row(
        "servertoken",
        End,
        "`server_token` of MCP servers; Postmark `X-Postmark-Server-Token`: postmarkapp.com/developer/api",
    ),
    row("bearer", Whole, "`bearer` of HTTP clients and OpenAPI security schemes"),
    row(
        "protectionbypass",
        End,
        "Vercel `x-vercel-protection-bypass`: vercel.com/docs/deployment-protection/methods-to-bypass-deployment-protection",
    ),
    row("saltkey", End, "LiteLLM `LITELLM_SALT_KEY`: docs.litellm.ai/docs/proxy/prod"),
    row("ocikey", End, "LiteLLM `oci_key`: docs.litellm.ai/docs/providers/oci"),
    row("licensekey", End, "New Relic `license_key`: docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys"),
    row("applicationkey", End, "Datadog `DD-APPLICATION-KEY`: docs.datadoghq.com/api/latest/authentication"),
    row(
        "encryptionkey",
        End,
        "n8n `N8N_ENCRYPTION_KEY` and others: docs.n8n.io/hosting/configuration/environment-variables",
    ),
    row("xhoneycombteam", Whole, "Honeycomb `x-honeycomb-team`: docs.honeycomb.io/send-data/opentelemetry"),
    row(
        "serviceaccountjson",
        End,
        "Portkey `vertex_service_account_json`: portkey.ai/docs/integrations/llms/vertex-ai",
    ),
    // Tokens of OAuth and its kin.
    row("accesstoken", End, "Azure `authentication.access_token`, Vertex `oauthConfig.accessToken`, RFC 6749"),
    row("refreshtoken", End, "RFC 6749 `refresh_token`"),
    row("idtoken", End, "Vertex `oidcConfig.idToken`"),
    row("authtoken", End, "Anthropic SDKs `auth_token`: docs.claude.com/en/api/client-sdks"),
    row("oauthtoken", End, "Claude Code `CLAUDE_CODE_OAUTH_TOKEN`: docs.claude.com/en/docs/claude-code/settings"),
    row(
        "bearertoken",
        End,
        "AWS `AWS_BEARER_TOKEN_BEDROCK`, `bearer_token`: docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html",
    ),
    row(
        "bearertokenbedrock",
        End,
        "AWS `AWS_BEARER_TOKEN_BEDROCK`: docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html",
    ),
    row("adtoken", End, "LiteLLM and the Azure SDKs `azure_ad_token`: docs.litellm.ai/docs/providers/azure"),
    row("githubtoken", End, "GitHub Models `GITHUB_TOKEN`: docs.github.com/en/github-models"),
    row(
        "hftoken",
        End,
        "Hugging Face `HF_TOKEN`: huggingface.co/docs/huggingface_hub/package_reference/environment_variables",
    ),
    row("sastoken", End, "Azure Storage `sas_token`: learn.microsoft.com/azure/storage/common/storage-sas-overview"),
    row("jwt", Whole, "RFC 7519"),
    row("hubtoken", End, "Hugging Face `HUGGING_FACE_HUB_TOKEN`: the same page"),
    row("databrickstoken", End, "Databricks `DATABRICKS_TOKEN`: docs.databricks.com/aws/en/dev-tools/auth/pat"),
    row("watsonxtoken", End, "watsonx `WATSONX_TOKEN`: docs.litellm.ai/docs/providers/watsonx"),
    row("snowflakepat", End, "Snowflake `SNOWFLAKE_PAT`: docs.snowflake.com/en/user-guide/programmatic-access-tokens"),
    row("subscriptiontoken", End, "Brave Search `X-Subscription-Token`: api-dashboard.search.brave.com/documentation"),
    row("privatetoken", End, "GitLab `PRIVATE-TOKEN`: docs.gitlab.com/api/rest/authentication"),
    row("bottoken", End, "Slack and Telegram `bot_token` of MCP servers: api.slack.com/authentication/token-types"),
    row("tctoken", End, "Tencent Cloud `X-TC-Token`: cloud.tencent.com/document/api/1729/101843"),
    row("codeverifier", End, "OAuth `code_verifier` of MCP clients: RFC 7636"),
    row("clientassertion", End, "OAuth `client_assertion`: RFC 7523"),
    row("devicecode", End, "OAuth `device_code`: RFC 8628"),
    row("authorizationcode", End, "OAuth authorization codes: RFC 6749"),
    // AWS, Azure and Google.
    row(
        "secretaccesskey",
        End,
        "AWS `secretAccessKey`, LiteLLM and Portkey `aws_secret_access_key`: docs.litellm.ai/docs/providers/bedrock",
    ),
    row("accesskeyid", End, "AWS `accessKeyId`, LiteLLM `aws_access_key_id`"),
    row("accesskey", End, "AWS `access_key`; Azure Service Bus `SharedAccessKey`"),
    row("sessiontoken", End, "AWS `sessionToken`, LiteLLM `aws_session_token`"),
    row(
        "securitytoken",
        End,
        "AWS `X-Amz-Security-Token`: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html",
    ),
    row("identitytoken", End, "LiteLLM `aws_web_identity_token`: docs.litellm.ai/docs/providers/bedrock"),
    row(
        "accountkey",
        End,
        "Azure Storage `AccountKey`: learn.microsoft.com/azure/storage/common/storage-configure-connection-string",
    ),
    row(
        "connectionstring",
        End,
        "Azure `data_sources[].parameters.authentication.connection_string`: learn.microsoft.com/azure/ai-services/openai/references/on-your-data",
    ),
    row(
        "authentication",
        Whole,
        "Azure `data_sources[].parameters.authentication` (`key`, `key_id`, `username`, `password`): the same page",
    ),
    row("authconfig", End, "Gemini `tools[].googleMaps.authConfig`: ai.google.dev/api/caching; Vertex AuthConfig"),
    row(
        "apiauth",
        End,
        "Vertex `retrieval.externalApi.apiAuth`: cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/ApiAuth",
    ),
    row("credential", End, "AWS `X-Amz-Credential`, `Credential=` of SigV4; LiteLLM `litellm_credential`"),
    row("credentials", End, "LiteLLM `vertex_credentials`: docs.litellm.ai/docs/providers/vertex"),
    row("privatekey", End, "Google service accounts `private_key`: cloud.google.com/iam/docs/keys-create-delete"),
    // Any service.
    row("auth", Whole, "MCP clients and HTTP clients `auth`"),
    row(
        "secret",
        End,
        "`client_secret` (RFC 6749, Azure), `azure_entra_client_secret` (Portkey), `signing_secret` (OpenAI webhooks)",
    ),
    row("secrets", End, "maps of the above"),
    row("secretkey", End, "Langfuse `secret_key`: langfuse.com/docs/observability/sdk"),
    row("signingkey", End, "Svix and Standard Webhooks `signing_key`: standardwebhooks.com"),
    row("password", End, "Azure `authentication.password` (MongoDB); Vertex `httpBasicAuthConfig`"),
    row("passwd", End, "the same, abbreviated"),
    row("pwd", Whole, "the same, of ODBC connection strings"),
    row("passphrase", End, "keys of TLS clients"),
    row("cookie", End, "RFC 6265 `Cookie`, `Set-Cookie`"),
    // Parameters of URLs.
    row("key", Parameter, "Gemini and all of Google `?key=`: cloud.google.com/docs/authentication/api-keys-use"),
    row("token", Parameter, "MCP servers with `?token=`"),
    row("sig", Parameter, "Azure Storage SAS `sig`: learn.microsoft.com/azure/storage/common/storage-sas-overview"),
    row(
        "signature",
        Parameter,
        "CloudFront and S3 before SigV4 `Signature`: docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-signed-urls.html",
    ),
    row(
        "xamzsignature",
        Parameter,
        "S3 `X-Amz-Signature`: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html",
    ),
    row(
        "xgoogsignature",
        Parameter,
        "Cloud Storage `X-Goog-Signature`: cloud.google.com/storage/docs/access-control/signed-urls",
    ),
    row(
        "code",
        Parameter,
        "Azure Functions `?code=`: learn.microsoft.com/azure/azure-functions/function-keys-how-to; OAuth codes (RFC 6749)",
    ),
    row("hmac", Parameter, "CDN URLs signed with `hmac`"),
    row("hm", Parameter, "Discord `hm` of attachments: docs.discord.com/developers/reference"),
];

/// Rows of [`CREDENTIALS`] by the last letters of their names, so that most names are compared with no row.
struct Index {
    /// Numbers of the rows, ordered by the last two letters of their name.
    rows: [u8; 255],
    /// For each pair of letters the number of rows whose last two letters come before it, and the number of all rows.
    starts: [u8; PAIRS + 1],
    /// For each pair of letters the letters that stand before it at the end of a name, as a set.
    thirds: [u32; PAIRS],
}

const LETTERS: usize = 26;
const PAIRS: usize = LETTERS * LETTERS;

/// Rows for the names of members, headers and attributes.
static MEMBERS: Index = Index::new(false);
/// Rows for the names of parameters of a URL.
static PARAMETERS: Index = Index::new(true);

impl Index {
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)] // evaluated by the compiler
    const fn new(of_parameters: bool) -> Self {
        let mut index = Self { rows: [0; 255], starts: [0; PAIRS + 1], thirds: [0; PAIRS] };
        let mut at = 0;
        while at < CREDENTIALS.len() {
            let (name, by) = (CREDENTIALS[at].name.as_bytes(), CREDENTIALS[at].by);
            if matches!(by, Parameter) == of_parameters {
                // Any letter may stand before a name of two.
                let third = if name.len() > 2 { letter_bit(name[name.len() - 3]) } else { u32::MAX };
                let pair = pair_of(name[name.len() - 2], name[name.len() - 1]);
                index.thirds[pair] |= third;
                index.starts[pair + 1] += 1;
            }
            at += 1;
        }
        let mut pair = 0;
        while pair < PAIRS {
            index.starts[pair + 1] += index.starts[pair];
            pair += 1;
        }
        let mut next = index.starts;
        at = 0;
        while at < CREDENTIALS.len() {
            let (name, by) = (CREDENTIALS[at].name.as_bytes(), CREDENTIALS[at].by);
            if matches!(by, Parameter) == of_parameters {
                let pair = pair_of(name[name.len() - 2], name[name.len() - 1]);
                index.rows[next[pair] as usize] = at as u8;
                next[pair] += 1;
            }
            at += 1;
        }
        index
    }

    /// Returns the rows whose name may be the end of `name`.
    fn candidates(&self, name: &str) -> &[u8] {
        let mut letters = name.bytes().rev().filter(u8::is_ascii_alphanumeric);
        let (Some(last), Some(second), third) = (letters.next(), letters.next(), letters.next()) else { return &[] };
        if !(last.is_ascii_alphabetic() && second.is_ascii_alphabetic()) {
            return &[];
        }
        let pair = pair_of(second, last);
        if self.thirds.get(pair).is_none_or(|thirds| thirds & third.map_or(OTHER, letter_bit) == 0) {
            return &[];
        }
        let start = |pair: usize| self.starts.get(pair).map_or(0, |start| usize::from(*start));
        self.rows.get(start(pair)..start(pair + 1)).unwrap_or_default()
    }

    /// Returns the first row for this name.
    fn row(&self, name: &str) -> Option<&'static Credential> {
        let mut rows = self.candidates(name).iter().filter_map(|row| CREDENTIALS.get(usize::from(*row)));
        rows.find(|row| is_about(row, name))
    }
}

/// Returns the position of two letters among all pairs, whatever their case.
const fn pair_of(second: u8, last: u8) -> usize {
    letter_of(last) * LETTERS + letter_of(second)
}

/// Returns the position of a letter in the alphabet, whatever its case; that of a digit is beyond the letters.
const fn letter_of(byte: u8) -> usize {
    byte.to_ascii_lowercase().wrapping_sub(b'a') as usize
}

/// The bit of what is no letter in a set of letters.
const OTHER: u32 = 1 << 31;

/// Returns the bit of a letter or a digit in a set of letters.
const fn letter_bit(byte: u8) -> u32 {
    let letter = letter_of(byte);
    if letter < LETTERS { 1 << letter } else { OTHER }
}

/// Returns how the name of a member matches [`CREDENTIALS`]; `None` if it does not.
pub(crate) fn matched(name: &str) -> Option<Match> {
    MEMBERS.row(name).map(|row| row.by)
}

/// Returns true if the value of a member, header or attribute of this name is a credential.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    matches!(matched(name), Some(Whole | End))
}

/// Returns true if the value of the URL parameter of this name is a credential.
#[must_use]
pub fn is_credential_parameter(name: &str) -> bool {
    is_credential(name) || ends_with(name, "signature").is_some() || PARAMETERS.row(name).is_some()
}

/// Returns true if a row is about this name.
fn is_about(row: &Credential, name: &str) -> bool {
    ends_with(name, row.name)
        .is_some_and(|rest| row.by == End || !rest.bytes().any(|byte| byte.is_ascii_alphanumeric()))
}

/// Returns the part of a name before this end, which is compared without regard to case and separators.
pub(crate) fn ends_with<'n>(name: &'n str, end: &str) -> Option<&'n str> {
    let mut letters = name.bytes().enumerate().rev().filter(|(_, byte)| byte.is_ascii_alphanumeric());
    let mut at = name.len();
    for wanted in end.bytes().rev() {
        let (place, byte) = letters.next()?;
        if byte.to_ascii_lowercase() != wanted {
            return None;
        }
        at = place;
    }
    name.get(..at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index finds the row that a search of all rows finds, for spellings of every row and for other names.
    #[test]
    fn the_index_leaves_out_no_row() {
        let by_all =
            |name: &str| CREDENTIALS.iter().find(|row| row.by != Parameter && is_about(row, name)).map(|row| row.by);
        let parameter = |name: &str| CREDENTIALS.iter().any(|row| row.by == Parameter && is_about(row, name));
        let mut hits = 0;
        for row in CREDENTIALS {
            for name in [
                row.name.to_owned(),
                row.name.to_uppercase(),
                format!("my_{}", row.name),
                format!("{}__", row.name),
                format!("{}s", row.name),
                format!("{}1", row.name),
                row.name.get(1..).unwrap_or_default().to_owned(),
            ] {
                assert_eq!(matched(&name), by_all(&name), "{name}");
                assert_eq!(PARAMETERS.row(&name).is_some(), parameter(&name), "{name}");
                hits += usize::from(matched(&name).is_some());
            }
        }
        assert!(hits > CREDENTIALS.len());
        assert!(PARAMETERS.row("hm").is_some() && PARAMETERS.row("1hm").is_none() && PARAMETERS.row("h_m").is_some());
        for name in ["", "a", "id", "é", "1", "_", "__1"] {
            assert_eq!((matched(name), PARAMETERS.row(name).is_none()), (None, true), "{name}");
        }
    }

    #[test]
    fn every_spelling_is_known() {
        for name in [
            "authorization",
            "Authorization",
            "proxy-authorization",
            "x-api-key",
            "apiKey",
            "api_key",
            "OPENAI_API_KEY",
            "x-goog-api-key",
            "authorization_token",
            "extra_headers",
            "aws_secret_access_key",
            "sessionToken",
            "client_secret",
            "azure_ad_token",
            "Set-Cookie",
            "authentication",
            "vertex_credentials",
            "connection_string",
            "apiKeyString",
        ] {
            assert!(is_credential(name), "{name}");
        }
        for name in [
            "max_tokens",
            "token",
            "next_page_token",
            "key",
            "type",
            "authorized",
            "author",
            "signature",
            "env",
            "header",
            "prompt_tokens",
            "api_key_hash",
            "",
            "é",
            "monkey",
            "server_url",
            "cookies_enabled",
            "user_authentication",
        ] {
            assert!(!is_credential(name), "{name}");
        }
        assert!(
            is_credential_parameter("key")
                && is_credential_parameter("X-Amz-Signature")
                && !is_credential_parameter("alt")
        );
        assert_eq!(matched("env"), Some(Members));
    }

    #[test]
    fn the_table_is_normalized_and_has_sources() {
        for row in CREDENTIALS {
            assert!(
                !row.name.is_empty() && row.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
                "{row:?}"
            );
            assert!(!row.source.is_empty() && row.name.len() >= 2, "{row:?}");
            let spelt = row.name.to_ascii_uppercase();
            assert!(row.by == Parameter || matched(row.name).is_some() && matched(&spelt).is_some(), "{row:?}");
        }
    }
}
