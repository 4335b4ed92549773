//! Ceilings of a run: model calls and tool steps, tokens, US dollars.

mod dollars;

use std::fmt::{self, Display};

use serde::Serialize;

pub use self::dollars::dollars;

/// Variable of the ceiling that may have a fraction.
const USD: &str = "RETRACE_MAX_USD_PER_RUN";
/// Longest value that an error shows, in bytes.
const SHOWN_BYTES: usize = 32;

/// Ceilings of one run. `None` is no ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Model calls and tool steps. A tool step is counted and not refused: the next model call is.
    pub steps: Option<u64>,
    /// Input and output tokens.
    pub tokens: Option<u64>,
    /// US dollars.
    pub usd: Option<f64>,
}

/// Steps, tokens and cost that a run has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Used {
    /// Model calls and tool steps that began.
    pub steps: u64,
    /// Input and output tokens of the calls that ended.
    pub tokens: u64,
    /// US dollars of the calls that ended.
    pub usd: f64,
}

/// Decision of an enforcement policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// The call is not made.
    Block,
    /// The call waits for an approval that did not come.
    Hold,
}

/// A call that a ceiling or a policy does not allow.
#[derive(Clone, PartialEq, Serialize)]
pub struct EnforcementError {
    /// What was decided.
    pub verdict: Verdict,
    /// Why, for people.
    pub reason: String,
    /// Ceiling, in the unit that the reason names.
    pub limit: Option<f64>,
    /// Value that the next call would reach, in the same unit.
    pub used: Option<f64>,
    /// Policy that decided: `local` for ceilings of the process.
    pub policy_id: Option<String>,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for EnforcementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Hold => "hold",
        })
    }
}

impl Display for EnforcementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Block => "blocked",
            Verdict::Hold => "held",
        };
        write!(f, "the call is {verdict}: {}", self.reason)
    }
}

impl std::error::Error for EnforcementError {}

impl Limits {
    /// Returns true if there is no ceiling.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `RETRACE_MAX_STEPS_PER_RUN`, `RETRACE_MAX_TOKENS_PER_RUN` and `RETRACE_MAX_USD_PER_RUN`.
    ///
    /// # Errors
    /// A value that is no number, or one below zero, with the variable's name.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, LimitsError> {
        fn read<T: std::str::FromStr>(
            variable: &dyn Fn(&str) -> Option<String>,
            name: &'static str,
            is_valid: impl Fn(&T) -> bool,
        ) -> Result<Option<T>, LimitsError> {
            match variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
                None => Ok(None),
                Some(text) => match text.parse().ok().filter(is_valid) {
                    Some(value) => Ok(Some(value)),
                    None => Err(LimitsError { variable: name, value: text }),
                },
            }
        }
        Ok(Self {
            steps: read(&variable, "RETRACE_MAX_STEPS_PER_RUN", |_| true)?,
            tokens: read(&variable, "RETRACE_MAX_TOKENS_PER_RUN", |_| true)?,
            usd: read(&variable, USD, |usd: &f64| usd.is_finite() && *usd >= 0.0)?,
        })
    }

    /// Checks the next call before it is made, and counts it as a step.
    ///
    /// Strictly greater trips: a ceiling of 3 steps lets 3 calls out. A call takes at least one token, so a ceiling of tokens that
    /// is reached exactly trips as well; one of US dollars does not, since a call may be free.
    ///
    /// # Errors
    /// The ceiling that the call would exceed.
    #[expect(clippy::cast_precision_loss, reason = "figures of an error")]
    pub fn begin(&self, used: &mut Used) -> Result<(), EnforcementError> {
        let error = |reason: String, limit: f64, used: f64| EnforcementError {
            verdict: Verdict::Block,
            reason,
            limit: Some(limit),
            used: Some(used),
            policy_id: Some("local".to_owned()),
        };
        let steps = used.steps.saturating_add(1);
        if let Some(limit) = self.steps.filter(|limit| steps > *limit) {
            let made = if used.steps == 1 { "1 step".to_owned() } else { format!("{} steps", used.steps) };
            let reason = format!(
                "the run has made {made} of at most {limit}; a step is a model call or a tool step, and no model call is made beyond them"
            );
            return Err(error(reason, limit as f64, steps as f64));
        }
        if let Some(limit) = self.tokens.filter(|limit| used.tokens.saturating_add(1) > *limit) {
            let reason = format!("the run has used {} tokens and may use {limit}", used.tokens);
            return Err(error(reason, limit as f64, used.tokens as f64));
        }
        if let Some(limit) = self.usd.filter(|limit| used.usd > *limit) {
            let texts = (dollars(used.usd), dollars(limit));
            let (spent, most) =
                if texts.0 == texts.1 { (format!("${}", used.usd), format!("${limit}")) } else { texts };
            let reason = format!("the run has used {spent} and may use {most}");
            return Err(error(reason, limit, used.usd));
        }
        used.steps = steps;
        Ok(())
    }
}

impl Used {
    /// Adds what a call has used.
    pub fn add(&mut self, tokens: u64, usd: f64) {
        self.tokens = self.tokens.saturating_add(tokens);
        if usd.is_finite() && usd > 0.0 {
            self.usd += usd;
        }
    }
}

/// A variable of the environment that is not a ceiling.
#[derive(Clone, PartialEq, Eq)]
pub struct LimitsError {
    /// Name of the variable.
    pub variable: &'static str,
    /// Its value.
    pub value: String,
}

/// The text of `Display`: a `main` that returns the error prints it with `Debug`.
impl fmt::Debug for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, value } = self;
        // A long value is more likely a key, or text, than a number.
        let value = if value.len() <= SHOWN_BYTES { value } else { "…" };
        let form = if *variable == USD { "a number" } else { "a whole number" };
        write!(f, "{variable}={value:?} is not a ceiling; set {form} of at least 0, or remove the variable")
    }
}

impl std::error::Error for LimitsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictly_greater_trips() {
        let limits = Limits { steps: Some(3), ..Limits::default() };
        let mut used = Used::default();
        assert_eq!((0..5).filter(|_| limits.begin(&mut used).is_ok()).count(), 3);
        let error = limits.begin(&mut used).unwrap_err();
        assert_eq!((error.limit, error.used, error.policy_id.as_deref()), (Some(3.0), Some(4.0), Some("local")));
        assert!(
            error.reason.starts_with("the run has made 3 steps of at most 3; a step is a model call or a tool step"),
            "{error}"
        );
    }

    #[test]
    fn the_answer_that_crosses_a_ceiling_is_the_last() {
        let limits = Limits { tokens: Some(100), usd: Some(1.0), ..Limits::default() };
        let mut used = Used::default();
        limits.begin(&mut used).unwrap();
        used.add(99, 1.0);
        limits.begin(&mut used).unwrap();
        used.add(1, 0.0);
        assert!(limits.begin(&mut used).unwrap_err().reason.contains("100 tokens"));
        let mut used = Used { usd: 1.01, ..Used::default() };
        assert_eq!(limits.begin(&mut used).unwrap_err().reason, "the run has used $1.01 and may use $1.00");
        // Two amounts that differ are written with as many digits as it takes.
        let mut little = Used { usd: 1.000_1, ..Used::default() };
        assert_eq!(limits.begin(&mut little).unwrap_err().reason, "the run has used $1.0001 and may use $1");
        let limits = Limits { usd: Some(0.000_000_1), ..Limits::default() };
        let mut little = Used { usd: 0.000_003_7, ..Used::default() };
        assert_eq!(limits.begin(&mut little).unwrap_err().reason, "the run has used $0.0000037 and may use $0.0000001");
        used.add(0, f64::NAN);
        assert!(used.usd < 2.0);
    }

    #[test]
    fn the_environment_states_ceilings() {
        let read = |variable: &'static str, value: &'static str| {
            Limits::from_environment(move |name| (name == variable).then(|| value.to_owned()))
        };
        let [steps, tokens] = ["RETRACE_MAX_STEPS_PER_RUN", "RETRACE_MAX_TOKENS_PER_RUN"];
        assert_eq!(read(USD, "2.5").unwrap().usd, Some(2.5));
        assert_eq!(read(steps, " 50\n").unwrap().steps, Some(50));
        assert_eq!(read(tokens, "0").unwrap().tokens, Some(0));
        for variable in [steps, tokens, USD] {
            assert_eq!(read(variable, " ").unwrap(), Limits::default());
        }
    }

    #[test]
    fn what_is_not_a_ceiling_is_an_error_of_its_variable() {
        let variables = ["RETRACE_MAX_STEPS_PER_RUN", "RETRACE_MAX_TOKENS_PER_RUN", USD];
        for variable in variables {
            for wrong in ["-1", "NaN", "inf", "much", "1_000", "10 000", "50\u{fffd}", "0x10", "unlimited", "none"] {
                let read = Limits::from_environment(|name| (name == variable).then(|| wrong.to_owned()));
                let error = read.unwrap_err();
                assert_eq!((error.variable, error.value.as_str()), (variable, wrong));
                assert!(
                    error.to_string().starts_with(&format!("{variable}={wrong:?} is not a ceiling; set ")),
                    "{error}"
                );
            }
        }
        let key = "rt_live_0123456789abcdef0123456789abcdef";
        let error = Limits::from_environment(|_| Some(key.to_owned())).unwrap_err().to_string();
        assert!(error.contains("=\"…\"") && !error.contains("rt_live"), "{error}");
    }
}
