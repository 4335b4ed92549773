//! Code whose own names are those of the crates that an expansion uses.

#![allow(dead_code, non_camel_case_types, unused_macros)]

mod core {}
mod std {}
mod serde {}
mod retrace {}

struct Result;
struct Option;
struct Some;
struct Ok;
struct Box;
trait Future {}
trait Stream {}
macro_rules! panic {
    () => {};
}

#[retrace_of_ours::record(crate = crate::vendored)]
pub fn beside_modules(number: u32) -> u32 {
    number
}

#[retrace_of_ours::record(crate = crate::vendored)]
pub async fn beside_modules_later(number: u32) -> ::core::result::Result<u32, ::std::string::String> {
    ::core::result::Result::Ok(number)
}

#[retrace_of_ours::record(crate = crate::vendored, stream)]
pub fn beside_modules_items(number: u32) -> impl ::futures_util::Stream<Item = u32> {
    ::futures_util::stream::iter([number])
}

/// Arguments and variables have the names that an expansion uses.
#[retrace_of_ours::record(crate = crate::vendored, output = |value| value + content, metadata(out = out))]
#[allow(clippy::too_many_arguments, clippy::many_single_char_names)]
pub fn with_names(call: u32, value: u32, details: u32, content: u32, out: u32, __out: u32, __error: u32) -> u32 {
    let describe = call + value + details;
    let outcome = describe + content + out;
    outcome + __out + __error
}

macro_rules! recorded {
    ($name:ident, $argument:ident: $of:ty, $body:block) => {
        #[retrace_of_ours::record(crate = crate::vendored)]
        pub fn $name($argument: $of) -> $of $body
    };
}

recorded!(made_by_a_macro, number: u32, { number + 1 });

use crate::vendored as retrace_of_ours;
