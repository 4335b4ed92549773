//! Bodies that are a single `async` block, boxed or not, as `#[async_trait]` writes them.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use crate::function::is_punct;

/// A body of the form `async move { … }` or `Box::pin(async move { … })`.
pub(crate) struct AsyncTail {
    /// Path of the function around the block, such as `Box::pin`.
    pub(crate) boxed: Option<TokenStream>,
    /// `async` and `move` of the block, as written.
    pub(crate) keywords: TokenStream,
    pub(crate) block: Group,
}

/// Returns the `async` block that a body consists of, or `None` for any other body.
pub(crate) fn async_tail(body: &Group) -> Option<AsyncTail> {
    let tokens: Vec<TokenTree> = body.stream().into_iter().collect();
    if let Some((keywords, block)) = async_block(&tokens) {
        return Some(AsyncTail { boxed: None, keywords, block });
    }
    let (last, path) = tokens.split_last()?;
    let TokenTree::Group(arguments) = last else {
        return None;
    };
    if arguments.delimiter() != Delimiter::Parenthesis || !is_box_pin(path) {
        return None;
    }
    let mut argument: Vec<TokenTree> = arguments.stream().into_iter().collect();
    argument.pop_if(|last| is_punct(last, ','));
    let (keywords, block) = async_block(&argument)?;
    Some(AsyncTail { boxed: Some(path.iter().cloned().collect()), keywords, block })
}

/// Reads `async { … }` or `async move { … }` that is all there is.
fn async_block(tokens: &[TokenTree]) -> Option<(TokenStream, Group)> {
    let (block, keywords) = tokens.split_last()?;
    let TokenTree::Group(block) = block else {
        return None;
    };
    let words: Vec<String> = keywords.iter().map(ToString::to_string).collect();
    let is_async =
        matches!(words.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), ["async"] | ["async", "move"]);
    (is_async && block.delimiter() == Delimiter::Brace).then(|| (keywords.iter().cloned().collect(), block.clone()))
}

/// Returns true for `Box::pin` with or without a path before it.
fn is_box_pin(path: &[TokenTree]) -> bool {
    let is_path = path.iter().all(|token| matches!(token, TokenTree::Ident(_)) || is_punct(token, ':'));
    let words: Vec<String> =
        path.iter().filter(|token| matches!(token, TokenTree::Ident(_))).map(ToString::to_string).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    is_path && matches!(words.as_slice(), ["Box", "pin"] | ["std" | "alloc", "boxed", "Box", "pin"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_body_is_recognised() {
        for (body, expected) in [
            ("{ Box::pin(async move { 1 }) }", Some((true, "async move"))),
            ("{ ::std::boxed::Box::pin(async move { 1 },) }", Some((true, "async move"))),
            ("{ Box::pin(async { 1 }) }", Some((true, "async"))),
            ("{ async move { 1 } }", Some((false, "async move"))),
            ("{ let x = 1; Box::pin(async move { x }) }", None),
            ("{ return Box::pin(async move { 1 }) }", None),
            ("{ Box::pin(async move { 1 }); }", None),
            ("{ Box::pin(async move { 1 }.boxed()) }", None),
            ("{ Box::new(async move { 1 }) }", None),
            ("{ MyBox::pin(async move { 1 }) }", None),
            ("{ Some(async move { 1 }) }", None),
            ("{ async move { 1 }.await }", None),
            ("{ move || { 1 } }", None),
            ("{ }", None),
        ] {
            let Some(TokenTree::Group(group)) = body.parse::<TokenStream>().unwrap().into_iter().next() else {
                panic!("no group")
            };
            let found = async_tail(&group).map(|tail| (tail.boxed.is_some(), tail.keywords.to_string()));
            assert_eq!(found, expected.map(|(boxed, words)| (boxed, words.to_owned())), "{body}");
        }
    }
}
