//! Return types: what can be written in the expansion, and which of them are futures.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{GenericArgument, PathArguments, ReturnType, Signature, Type, TypeParamBound};

/// The return type of a function.
pub(crate) enum Returned {
    /// `!`.
    Never,
    /// `impl Trait` as a whole, which the body alone decides.
    Opaque,
    /// A type that can be written in the body, with `_` for each `impl Trait` in it.
    Type(TokenStream),
}

/// Classifies the return type of a function. Without one it is `()`, at the place of the function's name.
pub(crate) fn returned(signature: &Signature) -> Returned {
    match &signature.output {
        ReturnType::Default => {
            let span = signature.ident.span();
            Returned::Type(quote_spanned!(span=> ()))
        }
        ReturnType::Type(_, declared) => match peeled(declared) {
            Type::Never(_) => Returned::Never,
            Type::ImplTrait(_) => Returned::Opaque,
            other => Returned::Type(erased(other)),
        },
    }
}

/// Returns the place of the return type; without one that of the function's name.
pub(crate) fn returned_span(signature: &Signature) -> Span {
    match &signature.output {
        ReturnType::Default => signature.ident.span(),
        ReturnType::Type(_, declared) => declared.span(),
    }
}

/// The output of a function that returns a future, as far as its type is written.
pub(crate) struct FutureOutput(pub(crate) Option<TokenStream>);

/// Returns the output of a declared future: `impl Future`, `Pin<Box<dyn Future>>`, `Box<dyn Future>`, `BoxFuture` and
/// `LocalBoxFuture`. Returns `None` for any other type.
pub(crate) fn future_output(signature: &Signature) -> Option<FutureOutput> {
    let ReturnType::Type(_, declared) = &signature.output else {
        return None;
    };
    let declared = peeled(declared);
    match declared {
        Type::ImplTrait(opaque) => associated(opaque.bounds.iter(), "Future", "Output").map(FutureOutput),
        Type::Path(path)
            if path.path.segments.last().is_some_and(|last| last.ident.to_string().ends_with("BoxFuture")) =>
        {
            Some(projected(declared))
        }
        _ => boxed_output(declared),
    }
}

/// Returns `<T as Future>::Output` of the declared type, or an unknown output where the type cannot be written.
pub(crate) fn projected_output(signature: &Signature) -> FutureOutput {
    match &signature.output {
        ReturnType::Type(_, declared) => projected(peeled(declared)),
        ReturnType::Default => FutureOutput(None),
    }
}

fn projected(declared: &Type) -> FutureOutput {
    let written = declared.to_token_stream();
    let span = Span::mixed_site().located_at(declared.span());
    FutureOutput((!has_impl(declared)).then(|| quote_spanned!(span=> <#written as ::core::future::Future>::Output)))
}

/// Looks through `Pin<_>` and `Box<_>` for a trait object or opaque type that is a future.
fn boxed_output(declared: &Type) -> Option<FutureOutput> {
    match peeled(declared) {
        Type::TraitObject(object) => associated(object.bounds.iter(), "Future", "Output").map(FutureOutput),
        Type::ImplTrait(opaque) => associated(opaque.bounds.iter(), "Future", "Output").map(FutureOutput),
        Type::Path(path) => {
            let last = path.path.segments.last()?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else {
                return None;
            };
            if last.ident != "Pin" && last.ident != "Box" {
                return None;
            }
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(inner) => boxed_output(inner),
                _ => None,
            })
        }
        _ => None,
    }
}

/// Returns the item of the `impl Stream` that stands in a return type, as far as it is written.
pub(crate) fn stream_item(signature: &Signature) -> Option<TokenStream> {
    let ReturnType::Type(_, declared) = &signature.output else {
        return None;
    };
    let mut item = None;
    each_type(&mut declared.clone(), &mut |inner| {
        if let (Type::ImplTrait(opaque), None) = (&*inner, &item) {
            item = associated(opaque.bounds.iter(), "Stream", "Item").flatten();
        }
    });
    item
}

/// Looks for a bound by this trait. Returns its associated type, as far as it can be written.
fn associated<'a>(
    mut bounds: impl Iterator<Item = &'a TypeParamBound>,
    of: &str,
    name: &str,
) -> Option<Option<TokenStream>> {
    bounds.find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let last = bound.path.segments.last().filter(|last| last.ident == of)?;
        let PathArguments::AngleBracketed(arguments) = &last.arguments else {
            return Some(None);
        };
        let written = arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(written) if written.ident == name => Some(peeled(&written.ty)),
            _ => None,
        });
        let written = written.filter(|written| !matches!(written, Type::ImplTrait(_) | Type::Never(_)));
        Some(written.map(erased))
    })
}

/// Removes the invisible groups of macros and parentheses around a type.
fn peeled(declared: &Type) -> &Type {
    match declared {
        Type::Group(group) => peeled(&group.elem),
        Type::Paren(paren) => peeled(&paren.elem),
        other => other,
    }
}

/// Writes a type with `_` in the place of each `impl Trait`.
fn erased(declared: &Type) -> TokenStream {
    if !has_impl(declared) {
        return declared.to_token_stream();
    }
    let mut declared = declared.clone();
    each_type(&mut declared, &mut |inner| {
        if matches!(inner, Type::ImplTrait(_)) {
            let span = inner.span();
            *inner = Type::Verbatim(quote_spanned!(span=> _));
        }
    });
    declared.to_token_stream()
}

/// Returns true if `impl` stands anywhere in a type.
fn has_impl(declared: &Type) -> bool {
    fn in_tokens(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            proc_macro2::TokenTree::Ident(ident) => ident == "impl",
            proc_macro2::TokenTree::Group(group) => in_tokens(group.stream()),
            _ => false,
        })
    }
    in_tokens(declared.to_token_stream())
}

/// Visits a type and the types in it, the outer before the inner.
fn each_type(declared: &mut Type, visit: &mut impl FnMut(&mut Type)) {
    visit(declared);
    match declared {
        Type::Array(inner) => each_type(&mut inner.elem, visit),
        Type::Group(inner) => each_type(&mut inner.elem, visit),
        Type::Paren(inner) => each_type(&mut inner.elem, visit),
        Type::Ptr(inner) => each_type(&mut inner.elem, visit),
        Type::Reference(inner) => each_type(&mut inner.elem, visit),
        Type::Slice(inner) => each_type(&mut inner.elem, visit),
        Type::Tuple(inner) => inner.elems.iter_mut().for_each(|element| each_type(element, visit)),
        Type::Path(inner) => {
            for segment in &mut inner.path.segments {
                if let PathArguments::AngleBracketed(arguments) = &mut segment.arguments {
                    for argument in &mut arguments.args {
                        match argument {
                            GenericArgument::Type(inner) => each_type(inner, visit),
                            GenericArgument::AssocType(inner) => each_type(&mut inner.ty, visit),
                            _ => {}
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(text: &str) -> Signature {
        syn::parse_str(text).unwrap()
    }

    fn written(text: &str) -> String {
        match returned(&signature(text)) {
            Returned::Never => "!".to_owned(),
            Returned::Opaque => "impl".to_owned(),
            Returned::Type(tokens) => tokens.to_string().replace(' ', ""),
        }
    }

    #[test]
    fn opaque_types_are_erased_wherever_they_stand() {
        assert_eq!(written("fn f()"), "()");
        assert_eq!(written("fn f() -> !"), "!");
        assert_eq!(written("fn f() -> impl Display + 'static"), "impl");
        assert_eq!(written("fn f() -> (impl Display)"), "impl");
        assert_eq!(written("fn f() -> Result<impl Iterator<Item = impl Display>, E>"), "Result<_,E>");
        assert_eq!(written("fn f() -> (u8, [Option<impl A>; 2], &'a impl B)"), "(u8,[Option<_>;2],&'a_)");
        assert_eq!(written("fn f() -> Box<dyn Fn(u8) -> u8>"), "Box<dynFn(u8)->u8>");
    }

    #[test]
    fn futures_are_recognised_by_their_spelling() {
        for (text, expected) in [
            ("fn f() -> impl Future<Output = u8>", Some(Some("u8"))),
            ("fn f() -> impl Send + std::future::Future<Output = Result<u8, E>> + use<>", Some(Some("Result<u8,E>"))),
            ("fn f() -> impl Future<Output = impl Display>", Some(None)),
            ("fn f() -> Pin<Box<dyn Future<Output = u8> + Send + '_>>", Some(Some("u8"))),
            (
                "fn f() -> ::std::pin::Pin<::std::boxed::Box<dyn (::core::future::Future<Output = u8>)>>",
                Some(Some("u8")),
            ),
            ("fn f() -> Pin<Box<impl Future<Output = u8>>>", Some(Some("u8"))),
            ("fn f() -> Box<dyn Future<Output = u8> + Unpin>", Some(Some("u8"))),
            ("fn f() -> BoxFuture<'static, u8>", Some(Some("<BoxFuture<'static,u8>as::core::future::Future>::Output"))),
            ("fn f() -> Ready<u8>", None),
            ("fn f() -> Vec<Box<dyn Future<Output = u8>>>", None),
            ("fn f()", None),
        ] {
            let found = future_output(&signature(text));
            let found = found.map(|FutureOutput(output)| output.map(|tokens| tokens.to_string().replace(' ', "")));
            assert_eq!(found, expected.map(|output| output.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn items_of_streams_are_found_in_what_is_returned() {
        for (text, expected) in [
            ("fn f() -> impl Stream<Item = Result<u8, E>> + Send", Some("Result<u8,E>")),
            ("fn f() -> Result<Pin<Box<impl futures::Stream<Item = u8>>>, E>", Some("u8")),
            ("fn f() -> impl Stream<Item = impl Display>", None),
            ("fn f() -> Pin<Box<dyn Stream<Item = u8>>>", None),
            ("fn f() -> impl Iterator<Item = u8>", None),
            ("fn f()", None),
        ] {
            let found = stream_item(&signature(text)).map(|tokens| tokens.to_string().replace(' ', ""));
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
