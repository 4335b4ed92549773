//! Variables whose names look like settings of Retrace but are not.

/// Prefixes of the variables of this crate.
const PREFIXES: [&str; 2] = ["RETRACE_", "OTEL_EXPORTER_RETRACE_"];
/// Variables of Retrace's other parts: the SDK, its tests, and Retrace's SDKs for other languages.
const OTHERS: &[&str] = &[
    "RETRACE_CASSETTE",
    "RETRACE_ENFORCEMENT_HOLD_WAIT_SECONDS",
    "RETRACE_MAX_STEPS_PER_RUN",
    "RETRACE_MAX_TOKENS_PER_RUN",
    "RETRACE_MAX_USD_PER_RUN",
    "RETRACE_SERVER_ENFORCEMENT",
    "RETRACE_STRICT_REPLAY",
    "RETRACE_TELEMETRY",
    "RETRACE_TRACE_NAME",
    "RETRACE_WS_URL",
];
/// Prefixes of the variables of `retrace-local` and `retrace-gateway`.
const PROGRAMS: [&str; 2] = ["RETRACE_LOCAL_", "RETRACE_GATEWAY_"];
/// Largest edit distance to a variable that is suggested.
const NEAR: usize = 3;
/// Maximum number of names that are reported, and the maximum length of one.
const NAMES: usize = 16;
const NAME_BYTES: usize = 64;

/// Describes each of `names` that begins like a setting of Retrace but is none, with the nearest one that
/// exists.
pub(crate) fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known = || super::VARIABLES.iter().map(|variable| variable.name);
    let is_unknown = |name: &String| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && name.len() <= NAME_BYTES
            && !PROGRAMS.iter().any(|prefix| name.starts_with(prefix))
            && !known().chain(OTHERS.iter().copied()).any(|known| known == name)
    };
    let mut unknown: Vec<String> = names.filter(is_unknown).take(NAMES).collect();
    unknown.sort();
    let describe = |name: String| {
        let all = known().chain(OTHERS.iter().copied());
        let nearest = all.map(|known| (strsim::damerau_levenshtein(&name, known), known)).min();
        match nearest.filter(|(distance, _)| *distance <= NEAR) {
            Some((_, known)) => format!("{name} is not a setting and has no effect: did you mean {known}?"),
            None => format!(
                "{name} is not a setting and has no effect: the settings are listed in README (Settings) and in opentelemetry_retrace::VARIABLES"
            ),
        }
    };
    unknown.into_iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(names: &[&str]) -> Vec<String> {
        unknown_variables(names.iter().map(|name| (*name).to_owned()))
    }

    #[test]
    fn a_misspelled_variable_is_named_with_the_nearest_one() {
        for (name, meant) in [
            ("RETRACE_SAMPLE_RAT", "RETRACE_SAMPLE_RATE"),
            ("RETRACE_APIKEY", "RETRACE_API_KEY"),
            ("RETRACE_ENABLE", "RETRACE_ENABLED"),
            ("RETRACE_CAPTURE_CONTENTS", "RETRACE_CAPTURE_CONTENT"),
            ("OTEL_EXPORTER_RETRACE_HEADER", "OTEL_EXPORTER_RETRACE_HEADERS"),
        ] {
            let warnings = warnings(&["PATH", name]);
            assert_eq!(warnings, [format!("{name} is not a setting and has no effect: did you mean {meant}?")]);
        }
        assert!(warnings(&["RETRACE_SOMETHING_ELSE"])[0].contains("opentelemetry_retrace::VARIABLES"));
    }

    #[test]
    fn variables_that_exist_are_not_named() {
        let known: Vec<&str> = super::super::VARIABLES.iter().map(|variable| variable.name).collect();
        assert!(warnings(&known).is_empty());
        assert!(warnings(OTHERS).is_empty());
        assert!(
            warnings(&["RETRACE_LOCAL_DB", "RETRACE_GATEWAY_CONFIG", "RETRACEABLE", "OTEL_BSP_SCHEDULE_DELAY", ""])
                .is_empty()
        );
    }

    #[test]
    fn names_are_bounded_in_number_and_length() {
        let many: Vec<String> = (0..100).map(|n| format!("RETRACE_UNKNOWN_{n:03}")).collect();
        assert_eq!(unknown_variables(many.into_iter()).len(), NAMES);
        assert!(warnings(&[&format!("RETRACE_{}", "X".repeat(NAME_BYTES))]).is_empty());
    }
}
