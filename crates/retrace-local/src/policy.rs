//! Enforcement policies: a JSON file that states which calls of a run are blocked or held.
//!
//! `docs/ENFORCEMENT.md` describes the file.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use retrace_protocol::enforcement::EnforcementCheck;
use serde::Deserialize;

/// Longest policy file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// Default time after which a hold expires, in seconds.
const HOLD_SECONDS: u32 = 600;

/// Policies in the order of evaluation: the first policy whose conditions apply decides. Without policies every call is
/// allowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies(Vec<Policy>);

/// One policy.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    /// Id of the policy, `policy_id` in the verdict.
    pub(crate) id: String,
    pub(crate) verdict: PolicyVerdict,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    #[serde(default)]
    pub(crate) when: Conditions,
    #[serde(default)]
    hold_seconds: Option<u32>,
}

/// Decision of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PolicyVerdict {
    Allow,
    Block,
    Hold,
}

/// Conditions of a policy, all of which must apply. An absent condition always applies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conditions {
    /// Names of tools; a trailing `*` matches any suffix.
    tools: Option<Vec<String>>,
    /// Hashes of a tool's arguments.
    tool_args_hashes: Option<Vec<String>>,
    /// Projects of the run.
    projects: Option<Vec<String>>,
    /// Number of tokens that the run must exceed.
    tokens_above: Option<u64>,
    /// Cost in US dollars that the run must exceed.
    usd_above: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    policies: Vec<Policy>,
}

/// Error of an invalid policy file. Names the file and, if there is one, the field.
#[derive(thiserror::Error)]
#[error("cannot use the policy file {}: {problem}", path.display())]
pub struct PolicyError {
    /// The file.
    path: PathBuf,
    /// The defect, and its position.
    problem: String,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl std::fmt::Debug for PolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Policies {
    /// Reads a policy file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is longer than 1 MiB, or contains anything but policies.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, PolicyError> {
        let path = path.as_ref();
        let fail = |problem: String| PolicyError { path: path.to_owned(), problem };
        let mut text = String::new();
        let file = File::open(path).map_err(|error| fail(error.to_string()))?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| fail(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(fail(format!("it is longer than {MAX_BYTES} bytes")));
        }
        Self::parse(&text).map_err(fail)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let file: PolicyFile = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            let problem = error.into_inner();
            match field.as_str() {
                "." => problem.to_string(),
                field => format!("{field}: {problem}"),
            }
        })?;
        reader.end().map_err(|error| error.to_string())?;
        let mut ids = HashSet::new();
        for (at, policy) in file.policies.iter().enumerate() {
            let wrong = |field: &str, problem: &str| Err(format!("policies[{at}].{field}: {problem}"));
            if policy.id.trim().is_empty() {
                return wrong("id", "it is empty; name the policy");
            }
            if !ids.insert(policy.id.as_str()) {
                return wrong("id", "another policy has this id; give each its own");
            }
            if policy.hold_seconds.is_some() && policy.verdict != PolicyVerdict::Hold {
                return wrong("hold_seconds", "only a policy whose verdict is `hold` has it; remove it");
            }
            if policy.when.usd_above.is_some_and(|usd| !(usd.is_finite() && usd >= 0.0)) {
                return wrong("when.usd_above", "it is below 0; set a number of at least 0");
            }
            let lists = [
                ("when.tools", &policy.when.tools),
                ("when.tool_args_hashes", &policy.when.tool_args_hashes),
                ("when.projects", &policy.when.projects),
            ];
            if let Some((field, _)) = lists.iter().find(|(_, list)| list.as_ref().is_some_and(Vec::is_empty)) {
                return wrong(field, "it is empty, so the policy never applies; add an item or remove it");
            }
        }
        Ok(Self(file.policies))
    }

    /// Returns the policies that apply to a check, in order.
    pub(crate) fn applying<'a>(&'a self, check: &'a EnforcementCheck) -> impl Iterator<Item = &'a Policy> {
        self.0.iter().filter(|policy| policy.when.hold_for(check))
    }
}

impl Policy {
    /// Returns the time after which a hold expires.
    pub(crate) fn hold_time(&self) -> Duration {
        Duration::from_secs(self.hold_seconds.unwrap_or(HOLD_SECONDS).into())
    }

    /// Returns true if the policy concerns single tool calls: an approval then covers the tool with these arguments.
    pub(crate) fn is_about_tools(&self) -> bool {
        self.when.tools.is_some() || self.when.tool_args_hashes.is_some()
    }
}

impl Conditions {
    fn hold_for(&self, check: &EnforcementCheck) -> bool {
        let is_listed = |list: &Option<Vec<String>>, value: &Option<String>, is: fn(&str, &str) -> bool| {
            list.as_ref()
                .is_none_or(|list| value.as_deref().is_some_and(|value| list.iter().any(|listed| is(listed, value))))
        };
        is_listed(&self.tools, &check.tool_name, |listed, name| match listed.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == listed,
        }) && is_listed(&self.tool_args_hashes, &check.tool_args_hash, |listed, hash| listed == hash)
            && is_listed(&self.projects, &check.project_id, |listed, id| listed == id)
            && self.tokens_above.is_none_or(|limit| check.proposed_tokens > limit)
            && self.usd_above.is_none_or(|limit| check.proposed_usd > limit)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Parses policies.
    pub(crate) fn policies(text: &str) -> Policies {
        Policies::parse(text).unwrap()
    }

    pub(crate) fn check(tool: Option<&str>, tokens: u64) -> EnforcementCheck {
        EnforcementCheck {
            run_id: "run".into(),
            proposed_tokens: tokens,
            proposed_usd: 0.5,
            project_id: None,
            trace_id: None,
            span_id: None,
            tool_name: tool.map(Into::into),
            tool_args_hash: None,
        }
    }

    #[test]
    fn the_first_policy_whose_conditions_hold_decides() {
        let policies = policies(
            r#"{"policies": [
                {"id": "payments", "verdict": "hold", "when": {"tools": ["pay*", "refund"]}},
                {"id": "tokens", "verdict": "block", "reason": "enough", "when": {"tokens_above": 100, "usd_above": 0.4}},
                {"id": "elsewhere", "verdict": "block", "when": {"projects": ["other"]}}
            ]}"#,
        );
        let first = |check: &EnforcementCheck| policies.applying(check).next().map(|policy| policy.id.clone());
        assert_eq!(first(&check(Some("pay_invoice"), 0)).as_deref(), Some("payments"));
        assert_eq!(first(&check(Some("refund"), 200)).as_deref(), Some("payments"));
        assert_eq!(first(&check(Some("refunds"), 200)).as_deref(), Some("tokens"));
        assert_eq!(first(&check(None, 101)).as_deref(), Some("tokens"), "strictly greater");
        assert_eq!(first(&check(None, 100)), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        for (text, problem) in [
            (r#"{"policies": [{"id": "a", "verdict": "stop"}]}"#, "policies[0].verdict: unknown variant `stop`"),
            (r#"{"policies": [{"id": "a", "verdict": "block", "wen": {}}]}"#, "policies[0].wen: unknown field"),
            (r#"{"policies": [{"id": "", "verdict": "block"}]}"#, "policies[0].id: it is empty"),
            (r#"{"policies": [{"id": "a", "verdict": "allow"}, {"id": "a", "verdict": "block"}]}"#, "policies[1].id"),
            (r#"{"policies": [{"id": "a", "verdict": "block", "hold_seconds": 1}]}"#, "policies[0].hold_seconds"),
            (r#"{"policies": [{"id": "a", "verdict": "block", "when": {"tools": []}}]}"#, "when.tools"),
            (r#"{"policies": [{"id": "a", "verdict": "block", "when": {"usd_above": -1}}]}"#, "when.usd_above"),
            (r#"{"policies": [{"id": "a", "verdict": "block", "when": {"tokens_above": -1}}]}"#, "when.tokens_above"),
            (r#"{"policies": []} more"#, "trailing characters"),
            ("[]", "invalid"),
            ("", "EOF"),
        ] {
            let error = Policies::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let missing = Policies::read("no-such-file.json").unwrap_err().to_string();
        assert!(missing.contains("no-such-file.json"), "{missing}");
    }
}
