//! Errors of the compiler around `#[record]`, as they are shown.
//!
//! `TRYBUILD=overwrite cargo test -p retrace-sdk-macros --test errors` takes them as they are.

#[test]
fn errors_name_the_cause_where_it_stands() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
