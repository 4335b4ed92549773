//! The expansion of `#[test]`.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote_spanned};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Expr, LitStr, Path, Token, parenthesized};

use crate::function::{self, Function};

/// Arguments of the attribute.
#[derive(Default)]
struct Arguments {
    cassette: Option<Expr>,
    /// Pattern and rule; without a pattern the default.
    tolerance: Vec<(Option<LitStr>, Expr)>,
    krate: Option<Path>,
}

/// Expands the attribute. With an error, the function is left as it is.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let expanded = parse.parse2(arguments).and_then(|arguments| Ok((arguments, function::read(item.clone())?)));
    match expanded.and_then(|(arguments, function)| write(&arguments, &function)) {
        Ok(expanded) => expanded,
        Err(error) => {
            let mut errors = error.to_compile_error();
            errors.extend(item);
            errors
        }
    }
}

fn parse(input: ParseStream<'_>) -> syn::Result<Arguments> {
    let mut arguments = Arguments::default();
    while !input.is_empty() {
        let argument = input.call(Ident::parse_any)?;
        match argument.unraw().to_string().as_str() {
            "cassette" => {
                input.parse::<Token![=]>()?;
                arguments.cassette = Some(input.parse()?);
            }
            "crate" => {
                input.parse::<Token![=]>()?;
                arguments.krate = Some(input.call(Path::parse_mod_style)?);
            }
            "tolerance" => {
                let rules;
                parenthesized!(rules in input);
                while !rules.is_empty() {
                    arguments.tolerance.push(rule(&rules)?);
                    if !rules.is_empty() {
                        rules.parse::<Token![,]>()?;
                    }
                }
            }
            _ => {
                let message = "`#[test]` takes `cassette = \"…\"`, `tolerance(…)` and `crate = path`";
                return Err(syn::Error::new(argument.span(), message));
            }
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(arguments)
}

fn rule(input: ParseStream<'_>) -> syn::Result<(Option<LitStr>, Expr)> {
    let pattern = match input.peek(LitStr) {
        true => Some(input.parse()?),
        false => {
            let name = input.call(Ident::parse_any)?;
            if name != "default" {
                let message = format!("expected `default` or a pattern in quotes: write `\"{name}\" = …`");
                return Err(syn::Error::new(name.span(), message));
            }
            None
        }
    };
    input.parse::<Token![=]>()?;
    Ok((pattern, input.parse()?))
}

fn write(arguments: &Arguments, function: &Function) -> syn::Result<TokenStream> {
    let span = Span::mixed_site();
    let Function { head, signature, inner, body, .. } = function;
    let Some(cassette) = &arguments.cassette else {
        let message = "`#[test]` needs the cassette: write `#[retrace::test(cassette = \"golden/name.jsonl\")]`";
        return Err(syn::Error::new(signature.ident.span(), message));
    };
    if let Some(input) = signature.inputs.first() {
        return Err(syn::Error::new_spanned(input, "a test takes no arguments"));
    }
    let retrace = match &arguments.krate {
        Some(path) => path.to_token_stream(),
        None => quote_spanned!(span=> ::retrace),
    };
    let private = quote_spanned!(span=> #retrace::__private);
    let mut tolerance = quote_spanned!(span=> #retrace::Tolerance::default());
    for (pattern, rule) in &arguments.tolerance {
        let rule = match rule {
            Expr::Path(path) if path.path.is_ident("exact") => quote_spanned!(span=> #retrace::Rule::Exact),
            Expr::Path(path) if path.path.is_ident("shape") => quote_spanned!(span=> #retrace::Rule::Shape),
            function => quote_spanned!(span=> #retrace::Rule::Custom(::std::sync::Arc::new(#function))),
        };
        tolerance.extend(match pattern {
            Some(pattern) => quote_spanned!(span=> .with(#pattern, #rule)),
            None => quote_spanned!(span=> .with_default(#rule)),
        });
    }
    let name = signature.ident.unraw().to_string();
    let test = quote_spanned! {span=>
        let test = #private::GoldenTest {
            name: #name,
            cassette: #cassette,
            directory: ::core::env!("CARGO_MANIFEST_DIR"),
            tolerance: #tolerance,
        };
    };
    let run = match signature.asyncness {
        Some(_) => quote_spanned!(span=> #private::block_on(#private::golden(&test, async move #body))),
        None => quote_spanned!(span=> #private::golden_sync(&test, move || #body)),
    };
    let head = without_async(head);
    Ok(quote_spanned! {span=>
        #[::core::prelude::v1::test]
        #head {
            #inner
            #test
            #run
        }
    })
}

/// Removes the `async` of a function's head.
fn without_async(head: &TokenStream) -> TokenStream {
    head.clone().into_iter().filter(|token| !matches!(token, TokenTree::Ident(ident) if ident == "async")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &str, item: &str) -> String {
        expand(arguments.parse().unwrap(), item.parse().unwrap()).to_string()
    }

    #[test]
    fn a_test_runs_in_its_cassette() {
        let written = expanded(
            "cassette = \"a.jsonl\", tolerance(default = shape, \"chat*\" = exact)",
            "#[ignore] async fn f() -> Result<(), E> { g().await }",
        );
        for part in ["# [ignore] fn f () -> Result < () , E >", "\"a.jsonl\"", "Rule :: Shape", "\"chat*\"", "block_on"]
        {
            assert!(written.contains(part), "{part}: {written}");
        }
    }

    #[test]
    fn mistakes_leave_the_function() {
        for (arguments, item) in [
            ("", "fn f() {}"),
            ("cassette", "fn f() {}"),
            ("cassete = \"a\"", "fn f() {}"),
            ("cassette = \"a\", tolerance(chat = exact)", "fn f() {}"),
            ("cassette = \"a\"", "fn f(a: u8) {}"),
        ] {
            let written = expanded(arguments, item);
            assert!(written.contains("compile_error") && written.contains("fn f"), "{written}");
        }
    }
}
