//! The item beside a resumable function by which `resumable!` finds it: a type of the function's name.
//!
//! Types and functions have names of their own, so a path, also an imported one, leads to both.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{FnArg, GenericArgument, GenericParam, Pat, PathArguments, Signature, Type};

use crate::function::Function;

/// A parameter: its name, the type that is read, and how it is passed on.
struct Argument {
    name: Ident,
    owned: TokenStream,
    passed: TokenStream,
}

/// Writes the item. Nothing for a function that cannot be run again from outside: one with `self`, with type parameters, with a
/// parameter that is a pattern, or that returns a stream.
pub(crate) fn item(function: &Function, name: &TokenStream, private: &TokenStream, is_async: bool) -> TokenStream {
    let Some(arguments) = arguments(&function.signature) else { return TokenStream::new() };
    let span = Span::mixed_site();
    let (ident, cfg, visibility) = (&function.signature.ident, &function.cfg, &function.visibility);
    let decodes: Vec<TokenStream> = arguments
        .iter()
        .map(|Argument { name, owned, .. }| {
            let text = syn::ext::IdentExt::unraw(name).to_string();
            quote_spanned!(span=> let mut #name = <__Decoder as #private::Decode<#owned>>::decode(&mut arguments, #text)?;)
        })
        .collect();
    let owned = arguments.iter().map(|argument| &argument.owned);
    let names = arguments.iter().map(|argument| syn::ext::IdentExt::unraw(&argument.name).to_string());
    let passed: Vec<&TokenStream> = arguments.iter().map(|argument| &argument.passed).collect();
    let result = quote_spanned!(span=> ::core::result::Result<(), #private::ArgumentError>);
    let (returned, body) = match is_async {
        true => (
            quote_spanned!(span=> #private::AsyncRun<impl ::core::future::Future<Output = #result>>),
            quote_spanned! {span=>
                #private::AsyncRun(async move {
                    #(#decodes)*
                    let _ = #ident(#(#passed),*).await;
                    ::core::result::Result::Ok(())
                })
            },
        ),
        false => (
            quote_spanned!(span=> #private::BlockingRun<impl ::core::ops::FnOnce() -> #result>),
            quote_spanned! {span=>
                #private::BlockingRun(move || {
                    #(#decodes)*
                    let _ = #ident(#(#passed),*);
                    ::core::result::Result::Ok(())
                })
            },
        ),
    };
    let allow = quote_spanned! {span=>
        #[allow(unused, non_camel_case_types, missing_debug_implementations, unreachable_pub, private_bounds, private_interfaces)]
        #[allow(unreachable_code, let_underscore_drop, deprecated, clippy::all, clippy::pedantic, clippy::nursery)]
    };
    let items = quote_spanned! {span=>
        #(#cfg)* #allow #[doc(hidden)]
        #visibility enum #ident {}

        #(#cfg)* #allow #[automatically_derived]
        impl #ident {
            #[doc(hidden)]
            pub const __NAME: &'static ::core::primitive::str = #name;
            #[doc(hidden)]
            pub const __PARAMETERS: &'static [&'static ::core::primitive::str] = &[#(#names),*];
            #[doc(hidden)]
            pub fn __run<__Decoder>(mut arguments: #private::Arguments) -> #returned
            where
                #(__Decoder: #private::Decode<#owned>,)*
            {
                #body
            }
        }
    };
    // An attribute does not see whether an `impl` block is around it. The compiler's error about these items names the macro.
    quote_spanned!(span=> #private::associated_functions_cannot_be_resumable! { #items })
}

/// Reads the parameters. `None` if one of them cannot be given from outside.
fn arguments(signature: &Signature) -> Option<Vec<Argument>> {
    let is_generic = signature.generics.params.iter().any(|parameter| !matches!(parameter, GenericParam::Lifetime(_)));
    if is_generic || signature.variadic.is_some() || is_bound(signature) {
        return None;
    }
    signature
        .inputs
        .iter()
        .map(|input| {
            let FnArg::Typed(typed) = input else { return None };
            let Pat::Ident(binding) = &*typed.pat else { return None };
            let is_plain = binding.subpat.is_none() && binding.by_ref.is_none();
            let has_cfg = typed.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
            if !is_plain || has_cfg { None } else { argument(&binding.ident, &typed.ty) }
        })
        .collect()
}

/// Returns true for an associated function that names its type, and for an unsafe one.
fn is_bound(signature: &Signature) -> bool {
    fn has_word(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ["Self", "self", "unsafe"].iter().any(|word| ident == word),
            TokenTree::Group(group) => has_word(group.stream()),
            _ => false,
        })
    }
    has_word(signature.to_token_stream())
}

fn argument(name: &Ident, ty: &Type) -> Option<Argument> {
    let span = Span::mixed_site();
    // The body of the function is not in scope, so a name of the caller's cannot be hidden.
    let name = name.clone();
    let (owned, passed) = match ty {
        Type::Reference(reference) => {
            let passed = match reference.mutability {
                Some(_) => quote_spanned!(span=> &mut #name),
                None => quote_spanned!(span=> &#name),
            };
            (owned(&reference.elem)?, passed)
        }
        Type::ImplTrait(_) => return None,
        ty => match optional_reference(ty) {
            Some(inner) => (
                {
                    let inner = owned(inner)?;
                    quote_spanned!(span=> ::core::option::Option<#inner>)
                },
                quote_spanned!(span=> #name.as_deref()),
            ),
            None => (outlived(ty.to_token_stream()), name.to_token_stream()),
        },
    };
    Some(Argument { name, owned, passed })
}

/// The type that is read where a reference to another one is passed.
fn owned(ty: &Type) -> Option<TokenStream> {
    let span = Span::mixed_site();
    match ty {
        Type::Slice(slice) => {
            let element = outlived(slice.elem.to_token_stream());
            Some(quote_spanned!(span=> ::std::vec::Vec<#element>))
        }
        Type::Path(path) if path.path.is_ident("str") => Some(quote_spanned!(span=> ::std::string::String)),
        Type::Path(path) if path.path.segments.last().is_some_and(|segment| segment.ident == "Path") => {
            Some(quote_spanned!(span=> ::std::path::PathBuf))
        }
        Type::TraitObject(_) | Type::ImplTrait(_) => None,
        ty => Some(outlived(ty.to_token_stream())),
    }
}

/// The `str` or slice of an `Option<&str>`.
fn optional_reference(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(Type::Reference(reference)) if reference.mutability.is_none() => {
            let is_unsized = match &*reference.elem {
                Type::Slice(_) => true,
                Type::Path(path) => path.path.is_ident("str"),
                _ => false,
            };
            is_unsized.then_some(&*reference.elem)
        }
        _ => None,
    }
}

/// The type with every lifetime `'static`: what is read borrows from nothing.
fn outlived(tokens: TokenStream) -> TokenStream {
    let mut written = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '\'' => {
                let lifetime = tokens.next();
                let span = lifetime.as_ref().map_or_else(Span::call_site, TokenTree::span);
                written.extend([TokenTree::Punct(punct), TokenTree::Ident(Ident::new("static", span))]);
            }
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                let has_lifetime = matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '\'');
                written.extend([TokenTree::Punct(punct)]);
                if !has_lifetime {
                    written.extend(quote!('static));
                }
            }
            TokenTree::Group(group) => {
                let mut inner = proc_macro2::Group::new(group.delimiter(), outlived(group.stream()));
                inner.set_span(group.span());
                written.extend([TokenTree::Group(inner)]);
            }
            token => written.extend([token]),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(signature: &str) -> Option<Vec<(String, String)>> {
        let signature: Signature = syn::parse_str(signature).unwrap();
        let bare = |tokens: TokenStream| tokens.to_string().replace(' ', "");
        let arguments = arguments(&signature)?;
        Some(arguments.into_iter().map(|argument| (bare(argument.owned), bare(argument.passed))).collect())
    }

    #[test]
    fn what_is_read_owns_what_is_passed() {
        for (parameter, owned, passed) in [
            ("a: u8", "u8", "a"),
            ("mut a: String", "String", "a"),
            ("a: &str", "::std::string::String", "&a"),
            ("a: &'static str", "::std::string::String", "&a"),
            ("a: &mut Vec<u8>", "Vec<u8>", "&muta"),
            ("a: &[&str]", "::std::vec::Vec<&'staticstr>", "&a"),
            ("a: &Path", "::std::path::PathBuf", "&a"),
            ("a: Option<&str>", "::core::option::Option<::std::string::String>", "a.as_deref()"),
            ("a: Option<u8>", "Option<u8>", "a"),
            ("a: Cow<'_, str>", "Cow<'static,str>", "a"),
        ] {
            let signature = format!("fn f({parameter})");
            assert_eq!(written(&signature), Some(vec![(owned.to_owned(), passed.to_owned())]), "{parameter}");
        }
        for signature in [
            "fn f(&self)",
            "fn f() -> Self",
            "fn f<T>(a: T)",
            "fn f<const N: usize>()",
            "fn f(a: impl Display)",
            "fn f(a: &dyn Display)",
            "fn f((a, b): (u8, u8))",
            "fn f(_: u8)",
            "unsafe fn f()",
        ] {
            assert_eq!(written(signature), None, "{signature}");
        }
        assert_eq!(written("fn f<'a>(a: &'a str)").map(|arguments| arguments.len()), Some(1));
    }
}
