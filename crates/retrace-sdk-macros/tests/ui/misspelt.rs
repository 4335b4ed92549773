//! Arguments and values that do not exist, with the nearest that do.

#[retrace::record(nmae = "search")]
fn misspelt_argument() {}

#[retrace::record(fields(query = 1))]
fn argument_of_another_macro() {}

#[retrace::record(colour = "red")]
fn unknown_argument() {}

#[retrace::record(type = tool_cal)]
fn misspelt_type() {}

#[retrace::record(type = "LLMCall")]
fn misspelt_type_in_a_string() {}

#[retrace::record(effects = idempotant)]
fn misspelt_effects() {}

#[retrace::record(skip(querry))]
fn misspelt_skip(query: &str) -> usize {
    query.len()
}

#[retrace::record(skip(this, self))]
fn unknown_skip() {}

fn main() {
    misspelt_argument();
    argument_of_another_macro();
    unknown_argument();
    misspelt_type();
    misspelt_type_in_a_string();
    misspelt_effects();
    misspelt_skip("");
    unknown_skip();
}
