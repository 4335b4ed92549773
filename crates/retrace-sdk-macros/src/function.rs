//! The function below the attribute: its signature is parsed, its body is not.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Signature, Visibility};

/// A function with a body.
pub(crate) struct Function {
    /// Attributes, visibility and signature, as they are written.
    pub(crate) head: TokenStream,
    pub(crate) signature: Signature,
    pub(crate) visibility: Visibility,
    /// `#[cfg]` attributes.
    pub(crate) cfg: Vec<Attribute>,
    /// Inner attributes of the body, `#![…]`.
    pub(crate) inner: TokenStream,
    /// The body without its inner attributes, in braces.
    pub(crate) body: Group,
}

/// Splits an item into head and body and parses the head.
///
/// # Errors
/// For an item that is not a function, has no body, or cannot be recorded.
pub(crate) fn read(item: TokenStream) -> syn::Result<Function> {
    let mut head: Vec<TokenTree> = item.into_iter().collect();
    let body = head.pop_if(|last| matches!(last, TokenTree::Group(_))).and_then(braces);
    let head: TokenStream = head.into_iter().collect();
    let Head { cfg, visibility, signature } = parse_head.parse2(head.clone())?;
    let Some(body) = body else {
        let message = "`#[record]` needs a function with a body; put it on the implementations of a trait method";
        return Err(syn::Error::new(signature.ident.span(), message));
    };
    if let Some(constness) = &signature.constness {
        let message = "`#[record]` cannot record a `const fn`: a span cannot start in a constant";
        return Err(syn::Error::new(constness.span, message));
    }
    let (inner, body) = split_inner_attributes(&body);
    Ok(Function { head, signature, visibility, cfg, inner, body })
}

/// What is parsed of a function.
struct Head {
    cfg: Vec<Attribute>,
    visibility: Visibility,
    signature: Signature,
}

fn parse_head(input: ParseStream<'_>) -> syn::Result<Head> {
    let mut cfg = input.call(Attribute::parse_outer)?;
    cfg.retain(|attribute| attribute.path().is_ident("cfg"));
    let visibility = input.parse()?;
    let rest = input.fork();
    let signature: Signature = input.parse().map_err(|error| other_item(&rest).unwrap_or(error))?;
    // The semicolon of a function without a body.
    input.parse::<Option<syn::Token![;]>>()?;
    Ok(Head { cfg, visibility, signature })
}

/// Returns the error for an item that is known not to be a function.
fn other_item(input: ParseStream<'_>) -> Option<syn::Error> {
    let span = input.span();
    let mut words: Vec<String> = Vec::new();
    let _ = input.step(|cursor| {
        let mut rest = *cursor;
        while let Some((ident, next)) = rest.ident() {
            words.push(ident.to_string());
            rest = next;
        }
        Ok(((), rest))
    });
    let kind = words.iter().find_map(|word| match word.as_str() {
        "struct" => Some("a struct"),
        "enum" => Some("an enum"),
        "union" => Some("a union"),
        "trait" => Some("a trait"),
        "impl" => Some("an `impl` block"),
        "mod" => Some("a module"),
        "static" => Some("a static"),
        "type" => Some("a type alias"),
        "use" => Some("an import"),
        "fn" => Some("fn"),
        _ => None,
    });
    let kind = kind.or(match words.first().map(String::as_str) {
        Some("const") => Some("a constant"),
        Some("extern") => Some("an `extern` block"),
        _ => None,
    })?;
    let message = match kind {
        "fn" => return None,
        "a trait" | "an `impl` block" => {
            format!("`#[record]` records functions; put it on the methods of {kind} instead")
        }
        _ => format!("`#[record]` records functions, and this is {kind}"),
    };
    Some(syn::Error::new(span, message))
}

/// Returns a group in braces, also from within the invisible group of a macro's fragment.
fn braces(token: TokenTree) -> Option<Group> {
    let TokenTree::Group(group) = token else {
        return None;
    };
    match group.delimiter() {
        Delimiter::Brace => Some(group),
        Delimiter::None => {
            let mut tokens = group.stream().into_iter();
            let only = tokens.next()?;
            if tokens.next().is_some() { None } else { braces(only) }
        }
        Delimiter::Parenthesis | Delimiter::Bracket => None,
    }
}

/// Separates the inner attributes at the beginning of a block from the rest of it.
pub(crate) fn split_inner_attributes(body: &Group) -> (TokenStream, Group) {
    let mut inner = TokenStream::new();
    let mut tokens = body.stream().into_iter().peekable();
    let mut rest: Vec<TokenTree> = Vec::new();
    while let Some(hash) = tokens.next_if(|token| is_punct(token, '#')) {
        let Some(bang) = tokens.next_if(|token| is_punct(token, '!')) else {
            rest.push(hash);
            break;
        };
        inner.extend([hash, bang]);
        inner.extend(tokens.next());
    }
    if inner.is_empty() {
        return (inner, body.clone());
    }
    rest.extend(tokens);
    let mut without = Group::new(Delimiter::Brace, rest.into_iter().collect());
    without.set_span(body.span());
    (inner, without)
}

/// Returns true for this character of punctuation.
pub(crate) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> TokenStream {
        text.parse().unwrap()
    }

    #[test]
    fn head_and_body_are_separated() {
        let function = read(tokens(
            "/// Doc.\n#[inline] pub(crate) unsafe extern \"C\" fn f<T: Copy>(a: T) -> T where T: Send { a }",
        ))
        .unwrap();
        assert_eq!(function.signature.ident, "f");
        assert_eq!(function.body.to_string(), "{ a }");
        assert!(function.inner.is_empty());
        assert!(function.head.to_string().ends_with("where T : Send"));
    }

    #[test]
    fn inner_attributes_leave_the_body() {
        let function =
            read(tokens("fn f() { #![allow(unused)] #![deny(dead_code)] #[cfg(all())] let x = 1; }")).unwrap();
        assert_eq!(function.inner.to_string().replace(' ', ""), "#![allow(unused)]#![deny(dead_code)]");
        assert_eq!(function.body.to_string().replace(' ', ""), "{#[cfg(all())]letx=1;}");
    }

    #[test]
    fn a_body_is_not_parsed() {
        assert_eq!(read(tokens("fn f() { let = ; x. }")).unwrap().signature.ident, "f");
    }

    #[test]
    fn other_items_have_an_error_of_their_own() {
        for (item, expected) in [
            ("pub struct S { x: u8 }", "this is a struct"),
            ("struct S;", "this is a struct"),
            ("pub(crate) enum E { A }", "this is an enum"),
            ("unsafe trait T { fn f(); }", "methods of a trait"),
            ("impl S { fn f() {} }", "methods of an `impl` block"),
            ("unsafe impl T for S { }", "methods of an `impl` block"),
            ("mod m { }", "this is a module"),
            ("const X: u8 = 1;", "this is a constant"),
            ("static X: u8 = 1;", "this is a static"),
            ("type A = u8;", "this is a type alias"),
            ("use a::b;", "this is an import"),
            ("extern \"C\" { fn f(); }", "this is an `extern` block"),
            ("const fn f() { }", "`const fn`"),
            ("fn f(&self);", "with a body"),
        ] {
            let error = read(tokens(item)).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected), "{item}: {error}");
        }
    }
}
