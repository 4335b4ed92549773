//! Clippy and rustc have nothing against what `#[record]` expands to, in every group of lints that makes sense.
//!
//! What is checked here is checked by `cargo clippy --all-targets`.

#![deny(warnings, future_incompatible, let_underscore, nonstandard_style, rust_2018_idioms, rust_2024_compatibility, unused)]
#![deny(missing_docs, single_use_lifetimes, trivial_casts, trivial_numeric_casts, unused_lifetimes, unused_qualifications)]
#![deny(unused_results, variant_size_differences, elided_lifetimes_in_paths, explicit_outlives_requirements)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery, clippy::cargo)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::clone_on_ref_ptr,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::let_underscore_must_use,
    clippy::let_underscore_untyped,
    clippy::mem_forget,
    clippy::panic,
    clippy::pattern_type_mismatch,
    clippy::print_stdout,
    clippy::redundant_type_annotations,
    clippy::ref_patterns,
    clippy::semicolon_inside_block,
    clippy::shadow_reuse,
    clippy::shadow_same,
    clippy::shadow_unrelated,
    clippy::str_to_string,
    clippy::undocumented_unsafe_blocks,
    clippy::unneeded_field_pattern,
    clippy::unreachable,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm
)]
// Facts of the dependency tree.
#![allow(clippy::multiple_crate_versions, clippy::cargo_common_metadata)]
