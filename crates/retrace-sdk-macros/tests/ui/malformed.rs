//! Arguments that are known and written in a way that means nothing.

#[retrace::record("search")]
fn name_without_its_argument() {}

#[retrace::record(name)]
fn name_without_a_value() {}

#[retrace::record(name = "")]
fn empty_name() {}

#[retrace::record(name = 5)]
fn name_that_is_a_number() {}

#[retrace::record(resumable = true)]
fn flag_with_a_value() {}

#[retrace::record(type)]
fn type_without_a_value() {}

#[retrace::record(type = 5)]
fn type_that_is_a_number() {}

#[retrace::record(tags = "beta")]
fn tags_that_are_no_list() {}

#[retrace::record(tags(1))]
fn tag_that_is_a_number() {}

#[retrace::record(skip())]
fn empty_skip() {}

#[retrace::record(metadata(version))]
fn metadata_without_a_value() {}

#[retrace::record(metadata(version = 1, version = 2))]
fn metadata_twice() {}

#[retrace::record(output = "fine")]
fn output_that_is_no_function() {}

#[retrace::record(output = |first, second| first)]
fn output_of_two_values() {}

#[retrace::record(crate = "retrace")]
fn crate_in_a_string() {}

#[retrace::record(name = "a" skip_all)]
fn missing_comma(a: u8) {
    let _ = a;
}

#[retrace::record(input = )]
fn missing_expression() {}

fn main() {}
