//! Sampling settings of the environment.

use std::ffi::OsString;

use super::env::{self, Environment};
use super::error::BuildError;

/// Settings of a sampler; `None` for those that are not made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sampling {
    pub rate: Option<f64>,
    pub seed: Option<String>,
    pub parent_based: Option<bool>,
}

impl Sampling {
    /// Reads `RETRACE_SAMPLE_RATE` and `RETRACE_SAMPLE_SEED`; `OTEL_TRACES_SAMPLER` applies to the settings
    /// that the first leaves open, with the names and the rules of OpenTelemetry's specification. Also
    /// returns the warnings.
    pub(crate) fn read(read: &dyn Fn(&str) -> Option<OsString>) -> (Self, Vec<String>) {
        let mut env = Environment::new(read);
        let own =
            Self { rate: env.parsed(env::SAMPLE_RATE, rate), seed: env.text(env::SAMPLE_SEED), parent_based: None };
        let sampling = if own.rate.is_some() { own } else { Self { seed: own.seed, ..otel(&mut env) } };
        (sampling, env.into_warnings())
    }

    /// Checks a rate that is set in code.
    pub(crate) fn checked(rate: f64, source_name: &'static str) -> Result<f64, BuildError> {
        if is_rate(rate) { Ok(rate) } else { Err(BuildError::InvalidRate { source_name, rate }) }
    }
}

fn otel(env: &mut Environment<'_>) -> Sampling {
    let names = [
        ("always_on", false, Some(1.0)),
        ("always_off", false, Some(0.0)),
        ("traceidratio", false, None),
        ("parentbased_always_on", true, Some(1.0)),
        ("parentbased_always_off", true, Some(0.0)),
        ("parentbased_traceidratio", true, None),
    ];
    let named =
        env.parsed(env::TRACES_SAMPLER, |name| names.into_iter().find(|(known, ..)| name.eq_ignore_ascii_case(known)));
    let Some((_, parent_based, fixed)) = named else { return Sampling::default() };
    let rate = fixed.or_else(|| env.parsed(env::TRACES_SAMPLER_ARG, rate)).unwrap_or(1.0);
    Sampling { rate: Some(rate), seed: None, parent_based: Some(parent_based) }
}

/// Parses a rate from 0 to 1, also as a percentage: `0.01` and `1%` are the same.
pub(super) fn rate(text: &str) -> Option<f64> {
    let rate: f64 = match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.trim_end();
            // The point is moved by two digits in the text, so that the number equals that of the fraction. A
            // number with an exponent is divided.
            format!("{percent}e-2").parse().or_else(|_| percent.parse::<f64>().map(|percent| percent / 100.0)).ok()?
        }
        None => text.parse().ok()?,
    };
    is_rate(rate).then_some(rate)
}

fn is_rate(rate: f64) -> bool {
    (0.0..=1.0).contains(&rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Sampling, usize) {
        let (sampling, warnings) = Sampling::read(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        });
        (sampling, warnings.len())
    }

    fn sampling(rate: Option<f64>, seed: Option<&str>, parent_based: Option<bool>) -> Sampling {
        Sampling { rate, seed: seed.map(str::to_owned), parent_based }
    }

    #[test]
    fn ours_come_first_then_those_of_the_sdk() {
        let otel = [("OTEL_TRACES_SAMPLER", "TraceIdRatio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
        assert_eq!(read(&otel), (sampling(Some(0.25), None, Some(false)), 0));
        let both = [otel[0], otel[1], ("RETRACE_SAMPLE_RATE", "0.5"), ("RETRACE_SAMPLE_SEED", "s")];
        assert_eq!(read(&both), (sampling(Some(0.5), Some("s"), None), 0));
        let seed = [otel[0], otel[1], ("RETRACE_SAMPLE_SEED", "s")];
        assert_eq!(read(&seed), (sampling(Some(0.25), Some("s"), Some(false)), 0));
        for (name, expected) in [
            ("always_on", sampling(Some(1.0), None, Some(false))),
            ("always_off", sampling(Some(0.0), None, Some(false))),
            ("parentbased_always_on", sampling(Some(1.0), None, Some(true))),
            ("parentbased_always_off", sampling(Some(0.0), None, Some(true))),
            ("parentbased_traceidratio", sampling(Some(1.0), None, Some(true))),
        ] {
            assert_eq!(read(&[("OTEL_TRACES_SAMPLER", name)]), (expected, 0), "{name}");
        }
        assert_eq!(read(&[("OTEL_TRACES_SAMPLER_ARG", "0.1")]), (Sampling::default(), 0), "alone it means nothing");
    }

    #[test]
    fn a_percentage_is_the_same_as_its_fraction() {
        for (text, expected) in [
            ("1%", 0.01),
            ("50 %", 0.5),
            (" 7 % ", 0.07),
            ("0%", 0.0),
            ("100%", 1.0),
            ("0.1%", 0.001),
            ("12.5%", 0.125),
            ("+5%", 0.05),
            ("5.%", 0.05),
            (".5%", 0.005),
            ("1e1%", 0.1),
            ("1", 1.0),
            (" 0.25 ", 0.25),
            ("1e-3", 0.001),
        ] {
            assert_eq!(read(&[("RETRACE_SAMPLE_RATE", text)]), (sampling(Some(expected), None, None), 0), "{text:?}");
            let otel = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", text)];
            assert_eq!(read(&otel), (sampling(Some(expected), None, Some(false)), 0), "{text:?}");
        }
    }

    #[test]
    fn what_is_none_is_left_out_with_a_warning() {
        for text in [
            "1.5",
            "-0.1",
            "NaN",
            "inf",
            "half",
            "%",
            " % ",
            "101%",
            "-1%",
            "NaN%",
            "inf%",
            "5%%",
            "%5",
            "0,5",
            "5 percent",
        ] {
            assert_eq!(read(&[("RETRACE_SAMPLE_RATE", text)]), (Sampling::default(), 1), "{text}");
            let otel = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", text)];
            assert_eq!(read(&otel), (sampling(Some(1.0), None, Some(false)), 1), "{text}");
        }
        assert_eq!(read(&[("OTEL_TRACES_SAMPLER", "jaeger_remote")]), (Sampling::default(), 1));
    }
}
