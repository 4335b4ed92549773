//! Arguments with a fixed set of values: `type` and `effects`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::LitStr;
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;

use crate::nearest::nearest;

/// A value of a fixed set, as it is written.
pub(crate) type Choice = &'static str;

/// Values of `type`, and what each is in `__private`.
const TYPES: &[(&str, &str)] = &[
    ("run", ""),
    ("llm_call", "LlmCall"),
    ("tool_call", "ToolCall"),
    ("tool_result", "ToolResult"),
    ("reasoning", "Reasoning"),
    ("action", "Action"),
    ("error", "Error"),
    ("fork_point", "ForkPoint"),
];

/// Values of `effects`, and what each is in `__private`.
const EFFECTS: &[(&str, &str)] = &[("none", "None"), ("idempotent", "Idempotent"), ("external", "External")];

/// Reads the value of `type`.
pub(crate) fn parse_type(input: ParseStream<'_>) -> syn::Result<Choice> {
    parse_choice(input, "type", TYPES)
}

/// Reads the value of `effects`.
pub(crate) fn parse_effects(input: ParseStream<'_>) -> syn::Result<Choice> {
    parse_choice(input, "effects", EFFECTS)
}

/// Returns the `FunctionKind` of a value of `type`.
pub(crate) fn function_kind(kind: Option<Choice>, private: &TokenStream) -> TokenStream {
    let span = Span::mixed_site();
    match kind {
        None => quote_spanned!(span=> #private::FunctionKind::Auto),
        Some("run") => quote_spanned!(span=> #private::FunctionKind::Run),
        Some(choice) => {
            let variant = Ident::new(variant(choice, TYPES), span);
            quote_spanned!(span=> #private::FunctionKind::Step(#private::SpanType::#variant))
        }
    }
}

/// Returns the `Effects` of a value of `effects`.
pub(crate) fn effects(effects: Option<Choice>, private: &TokenStream) -> TokenStream {
    let span = Span::mixed_site();
    let variant = Ident::new(effects.map_or("External", |choice| variant(choice, EFFECTS)), span);
    quote_spanned!(span=> #private::Effects::#variant)
}

fn variant(choice: Choice, values: &'static [(&str, &str)]) -> &'static str {
    values.iter().find(|(word, _)| *word == choice).map_or("", |(_, variant)| variant)
}

/// Reads a word of a fixed set, written as an identifier or as a string.
fn parse_choice(input: ParseStream<'_>, argument: &str, values: &[(&'static str, &str)]) -> syn::Result<Choice> {
    let (word, span) = if input.peek(LitStr) {
        let literal: LitStr = input.parse()?;
        (literal.value(), literal.span())
    } else if input.peek(Ident::peek_any) {
        let ident = input.call(Ident::parse_any)?;
        (ident.unraw().to_string(), ident.span())
    } else {
        return Err(syn::Error::new(input.span(), format!("`{argument}` is one of {}", list(values))));
    };
    let known: Vec<&'static str> = values.iter().map(|(word, _)| *word).collect();
    match known.iter().find(|known| **known == word) {
        Some(word) => Ok(word),
        None => {
            let hint = nearest(&word, &known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            Err(syn::Error::new(
                span,
                format!("`{word}` is no value of `{argument}`, which is one of {}{hint}", list(values)),
            ))
        }
    }
}

fn list(values: &[(&str, &str)]) -> String {
    let words: Vec<String> = values.iter().map(|(word, _)| format!("`{word}`")).collect();
    words.join(", ")
}
