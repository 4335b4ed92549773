//! The closure that describes a call: everything in it is evaluated only for a recorded call.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::Signature;

use crate::arguments::Arguments;
use crate::errors::Errors;
use crate::nearest::nearest;
use crate::parameters::{Parameter, bound};

/// Writes the `describe` closure.
pub(crate) fn describe(
    arguments: &Arguments,
    signature: &Signature,
    private: &TokenStream,
    errors: &mut Errors,
) -> TokenStream {
    let span = Span::mixed_site();
    let parameters = bound(signature);
    check_skipped(arguments, signature, &parameters, errors);
    let mut input = TokenStream::new();
    if let Some(expression) = &arguments.input {
        input.extend(quote_spanned!(span=> details.input(#private::capture!(#expression));));
    } else if arguments.skip_all.is_none() {
        for parameter in parameters.iter().filter(|parameter| !arguments.skip.contains(parameter.ident)) {
            let (name, ident, cfg) = (parameter.name(), parameter.ident, &parameter.cfg);
            // An argument that the function does not use is recorded as any other.
            let allow = name.starts_with('_').then(|| quote_spanned!(span=> #[allow(clippy::used_underscore_binding)]));
            input.extend(
                quote_spanned!(span=> #(#cfg)* #allow #private::Capture::of(&#ident).argument(details, #name);),
            );
        }
    }
    let mut statements = TokenStream::new();
    if !input.is_empty() {
        statements.extend(quote_spanned!(span=> if details.takes_input() { #input }));
    }
    if let Some(session) = &arguments.session {
        statements.extend(quote_spanned!(span=> details.session(#private::capture!(#session));));
    }
    if let Some(user) = &arguments.user {
        statements.extend(quote_spanned!(span=> details.user(#private::capture!(#user));));
    }
    for (key, value) in &arguments.metadata {
        statements.extend(quote_spanned!(span=> details.metadata(#key, #private::capture!(#value));));
    }
    if statements.is_empty() {
        return quote_spanned!(span=> |_| {});
    }
    quote_spanned!(span=> |details| { #statements })
}

/// Refuses to skip what is no argument of the function.
fn check_skipped(arguments: &Arguments, signature: &Signature, parameters: &[Parameter<'_>], errors: &mut Errors) {
    let names: Vec<String> = parameters.iter().map(Parameter::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for (index, skipped) in arguments.skip.iter().enumerate() {
        let is_receiver = skipped == "self" && signature.receiver().is_some();
        let known = is_receiver || parameters.iter().any(|parameter| parameter.ident == skipped);
        if arguments.skip.iter().take(index).any(|other| other == skipped) {
            errors.add(skipped.span(), format!("`{skipped}` is skipped twice"));
        } else if !known {
            let hint = nearest(&skipped.to_string(), &names)
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            errors.add(skipped.span(), format!("`{}` has no argument `{skipped}`{hint}", signature.ident));
        }
    }
}
