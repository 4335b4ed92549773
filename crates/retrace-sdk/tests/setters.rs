//! `Configuration` has every setter of the builders of `opentelemetry-retrace`, except for those that are named here.

use std::collections::BTreeSet;

/// Setters of the exporter's and the processor's builder that `Configuration` does not have.
const LEFT_OUT: [&str; 3] = [
    // Set in the environment: a receiver in a trusted network belongs to the deployment.
    "with_cleartext_host",
    // Programs that need these build the processor themselves.
    "with_http_client",
    "with_settlements",
];

/// Names of functions that begin with `with_`, where `before` stands in front of them.
fn setters<'a>(source: &'a str, before: &str) -> BTreeSet<&'a str> {
    let rests = source.split(before).skip(1).filter(|rest| rest.starts_with("with_"));
    rests.filter_map(|rest| rest.split(['(', '<']).next()).collect()
}

#[test]
fn the_configuration_has_every_setter_of_the_builder() {
    let of_builder = setters(include_str!("../../opentelemetry-retrace/src/worker/builder.rs"), "pub fn ");
    let configuration = include_str!("../src/configuration/mod.rs");
    let mut own = setters(configuration, "pub fn ");
    // The macro `of_processor` has one setter a line.
    own.extend(setters(configuration, "\n        "));
    assert!(of_builder.len() > 25, "{of_builder:?}");
    let missing: Vec<&str> =
        of_builder.iter().copied().filter(|name| !own.contains(name) && !LEFT_OUT.contains(name)).collect();
    assert!(
        missing.is_empty(),
        "add {missing:?} to `Configuration` in src/configuration/mod.rs, or to LEFT_OUT here with the reason"
    );
    for name in LEFT_OUT {
        assert!(of_builder.contains(name) && !own.contains(name), "{name} need not be in LEFT_OUT");
    }
}
