//! Composition of several propagators, and their selection by `OTEL_PROPAGATORS`.

use std::ffi::OsString;

use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::propagation::BaggagePropagator;

use crate::config::{Environment, PROPAGATORS};
use crate::log::startup_log;
use crate::propagator::RetracePropagator;

type Boxed = Box<dyn TextMapPropagator + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    TraceContext,
    Baggage,
    Retrace,
}

impl Name {
    const KNOWN: [(&'static str, Self); 3] =
        [("tracecontext", Self::TraceContext), ("baggage", Self::Baggage), ("retrace", Self::Retrace)];
    const DEFAULT: [Self; 2] = [Self::Retrace, Self::Baggage];
}

impl RetracePropagator {
    /// Combines this propagator and the SDK's for baggage.
    #[must_use]
    pub fn compose_with_baggage(self) -> TextMapCompositePropagator {
        self.compose(&Name::DEFAULT)
    }

    /// Combines the propagators that `OTEL_PROPAGATORS` names: a list of `tracecontext` (W3C Trace Context),
    /// `retrace` (the same and [`RemoteRunContext`](crate::RemoteRunContext), by this propagator), `baggage` (the
    /// SDK's) and `none`. Unset: `retrace,baggage`.
    ///
    /// A name that is not known is ignored with a warning, which the exporter or processor of the process
    /// also returns by `warnings()`; a repeated one counts once, case does not matter. `retrace` includes
    /// `tracecontext`; `none` disables all, whatever else the list has.
    ///
    /// ```
    /// use opentelemetry::global;
    /// use opentelemetry_retrace::RetracePropagator;
    ///
    /// global::set_text_map_propagator(RetracePropagator::default().compose_from_env());
    /// ```
    #[must_use]
    pub fn compose_from_env(self) -> TextMapCompositePropagator {
        let (names, warnings) = named(&|name| std::env::var_os(name));
        startup_log::warn_shared("propagators", warnings);
        self.compose(&names)
    }

    fn compose(self, names: &[Name]) -> TextMapCompositePropagator {
        let propagator = |name: &Name| -> Boxed {
            match name {
                Name::Baggage => Box::new(BaggagePropagator::new()),
                Name::Retrace => Box::new(self.clone()),
                Name::TraceContext => {
                    let mut plain = self.clone();
                    plain.settings.without_runs = true;
                    Box::new(plain)
                }
            }
        };
        TextMapCompositePropagator::new(names.iter().map(propagator).collect())
    }
}

/// Returns the propagators that an environment names, in their order, and the warnings.
fn named(read: &dyn Fn(&str) -> Option<OsString>) -> (Vec<Name>, Vec<String>) {
    let mut environment = Environment::new(read);
    let text = environment.text(PROPAGATORS).unwrap_or_default();
    let mut names = Vec::new();
    let mut none = false;
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case("none") {
            none = true;
        } else if let Some((_, name)) = Name::KNOWN.iter().find(|(known, _)| word.eq_ignore_ascii_case(known)) {
            if !names.contains(name) {
                names.push(*name);
            }
        } else {
            let shown = environment.shown(word);
            environment
                .warn(format!("{PROPAGATORS}: {shown} is ignored: use `tracecontext`, `baggage`, `retrace` or `none`"));
        }
    }
    if none {
        if !names.is_empty() {
            environment.warn(format!("{PROPAGATORS} names `none` and others: only `none` counts"));
        }
        return (Vec::new(), environment.into_warnings());
    }
    if names.contains(&Name::Retrace) {
        names.retain(|name| *name != Name::TraceContext);
    }
    if names.is_empty() {
        names.extend(Name::DEFAULT);
    }
    (names, environment.into_warnings())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<Name>, usize) {
        let (names, warnings) = named(&|name| (name == PROPAGATORS).then(|| text.into()));
        (names, warnings.len())
    }

    #[test]
    fn the_list_is_read_by_the_rules_of_opentelemetry() {
        use Name::{Baggage, Retrace, TraceContext};
        for (text, names, warnings) in [
            ("", vec![Retrace, Baggage], 0),
            (" , ", vec![Retrace, Baggage], 0),
            ("tracecontext", vec![TraceContext], 0),
            ("baggage,tracecontext", vec![Baggage, TraceContext], 0),
            ("TraceContext , BAGGAGE", vec![TraceContext, Baggage], 0),
            ("baggage,baggage,retrace,retrace", vec![Baggage, Retrace], 0),
            ("tracecontext,baggage,retrace", vec![Baggage, Retrace], 0),
            ("b3,retrace", vec![Retrace], 1),
            ("b3,jaeger", vec![Retrace, Baggage], 2),
            ("none", vec![], 0),
            ("None,baggage", vec![], 1),
            ("none,b3", vec![], 1),
        ] {
            assert_eq!(of(text), (names, warnings), "{text}");
        }
        assert_eq!(named(&|_| None).0, Name::DEFAULT);
    }

    #[test]
    fn a_warning_shows_the_name() {
        let (_, warnings) = named(&|_| Some("b3multi".into()));
        assert!(warnings[0].contains("OTEL_PROPAGATORS") && warnings[0].contains("b3multi"), "{warnings:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_list_that_is_no_text_is_ignored() {
        use std::os::unix::ffi::OsStringExt as _;
        let (names, warnings) = named(&|_| Some(OsString::from_vec(vec![0xff])));
        assert_eq!((names.as_slice(), warnings.len()), (&Name::DEFAULT[..], 1));
    }
}
