//! Code without a prelude: every name that an expansion uses is its own.

#![no_implicit_prelude]

#[::retrace::record]
pub fn sync(number: u32) -> ::core::result::Result<u32, ::std::string::String> {
    ::core::result::Result::Ok(number)
}

#[::retrace::record(type = tool_call, input = number, output = |out| *out, metadata(number = number), session = "s-2")]
pub async fn later(number: u32) -> u32 {
    ::core::future::ready(number).await
}

#[::retrace::record]
pub fn future(number: u32) -> impl ::core::future::Future<Output = ::core::option::Option<u32>> {
    let next = number + 1;
    async move { ::core::option::Option::Some(next) }
}

#[::retrace::record]
#[must_use]
pub fn boxed(
    number: u32,
) -> ::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = u32> + ::core::marker::Send>> {
    ::std::boxed::Box::pin(async move { number })
}

#[::retrace::record(stream)]
pub fn items(number: u32) -> impl ::futures_util::Stream<Item = u32> {
    ::futures_util::stream::iter([number, number])
}

#[::retrace::record]
#[must_use]
pub fn nothing(_number: u32) -> ::core::option::Option<u32> {
    ::core::option::Option::None
}
