//! The expansion of `#[record]`.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens as _, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Expr, ExprClosure, Pat};

use crate::arguments::{self, Arguments};
use crate::async_tail::{AsyncTail, async_tail};
use crate::describe::describe;
use crate::errors::Errors;
use crate::function::{self, Function, split_inner_attributes};
use crate::resumable;
use crate::return_type::{
    FutureOutput, Returned, future_output, projected_output, returned, returned_span, stream_item,
};
use crate::values::{effects, function_kind};

/// Expands the attribute. With an error, the function is left as it is, so that uses of it do not fail as well.
pub(crate) fn record(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let arguments = arguments::parse(arguments, &mut errors);
    let expanded = match function::read(item.clone()) {
        Ok(function) => Expansion::new(&arguments, &function, &mut errors).function(&mut errors),
        Err(error) => {
            errors.push(error);
            TokenStream::new()
        }
    };
    match errors.into_tokens() {
        Some(mut errors) => {
            errors.extend(item);
            errors
        }
        None => expanded,
    }
}

struct Expansion<'a> {
    arguments: &'a Arguments,
    function: &'a Function,
    /// `::retrace::__private`.
    private: TokenStream,
    /// `let call = begin(…);`
    begin: TokenStream,
    call: Ident,
}

/// Where generated tokens stand: at the attribute, with names that no body can see.
fn site() -> Span {
    Span::mixed_site()
}

impl<'a> Expansion<'a> {
    fn new(arguments: &'a Arguments, function: &'a Function, errors: &mut Errors) -> Self {
        let span = site();
        let private = match &arguments.krate {
            Some(path) => quote_spanned!(span=> #path::__private),
            None => quote_spanned!(span=> ::retrace::__private),
        };
        let call = Ident::new("call", span);
        let described = describe(arguments, &function.signature, &private, errors);
        let constant = constant(arguments, function, &private);
        let begin = quote_spanned!(span=> let #call = #private::begin(const { &#constant }, #described););
        Self { arguments, function, private, begin, call }
    }

    /// Writes the whole function.
    fn function(&self, errors: &mut Errors) -> TokenStream {
        let statements = self.statements(errors);
        let Function { head, inner, body, .. } = self.function;
        let mut braces = Group::new(Delimiter::Brace, [inner.clone(), statements].into_iter().collect());
        braces.set_span(body.span());
        let mut written = head.clone();
        written.extend([proc_macro2::TokenTree::Group(braces)]);
        if self.arguments.resumable.is_some() && self.arguments.stream.is_none() {
            written.extend(self.resumable());
        }
        written
    }

    /// Writes the item by which a resumable function is found.
    fn resumable(&self) -> TokenStream {
        let Function { signature, body, .. } = self.function;
        let is_async =
            signature.asyncness.is_some() || async_tail(body).is_some() || future_output(signature).is_some();
        resumable::item(self.function, &name(self.arguments, self.function), &self.private, is_async)
    }

    fn statements(&self, errors: &mut Errors) -> TokenStream {
        let Function { signature, body, .. } = self.function;
        if let Some(span) = self.arguments.stream
            && (matches!(signature.output, syn::ReturnType::Default) || matches!(returned(signature), Returned::Never))
        {
            errors.add(span, "`stream` needs a function that returns a stream");
        }
        if signature.asyncness.is_some() {
            let codec = self.codec(written(signature), errors);
            let is_never = matches!(returned(signature), Returned::Never);
            return self.polled(&async_move(), &self.typed_body(body), is_never, codec.as_ref());
        }
        if let Some(AsyncTail { boxed, keywords, block }) = async_tail(body) {
            let output = future_output(signature).filter(|output| output.0.is_some());
            let FutureOutput(output) = output.unwrap_or_else(|| projected_output(signature));
            let codec = self.codec(output.clone(), errors);
            let polled = self.polled(&keywords, &guided(&block, output.as_ref()), false, codec.as_ref());
            let span = site();
            let block = quote_spanned!(span=> async move { #polled });
            return match boxed {
                Some(path) => quote_spanned!(span=> #path(#block)),
                None => block,
            };
        }
        match (self.arguments.stream, future_output(signature)) {
            (Some(span), Some(_)) => {
                errors.add(span, "`stream` on a function that returns a future: write it as an `async fn`");
                TokenStream::new()
            }
            (Some(_), None) => {
                self.codec(None, errors);
                self.streaming()
            }
            (None, Some(FutureOutput(output))) => {
                self.codec(None, errors);
                self.returning_future(output.as_ref())
            }
            (None, None) => {
                let codec = self.codec(written(signature), errors);
                self.sync(codec.as_ref())
            }
        }
    }

    /// Writes the codec of the result of a `replay` step. Without `replay` there is none.
    fn codec(&self, output: Option<TokenStream>, errors: &mut Errors) -> Option<TokenStream> {
        let replay = self.arguments.replay?;
        if let Some(span) = self.arguments.stream {
            errors.add(span, "`replay` does not apply to streams: return the items as a list");
            return None;
        }
        let Some(output) = output else {
            errors.add(replay, "`replay` needs a return type that is written out, of an `async fn` or of a function");
            return None;
        };
        let (private, span) = (&self.private, site().located_at(returned_span(&self.function.signature)));
        Some(quote_spanned!(span=> #private::CodecOf::<#output>::new().codec()))
    }

    /// Writes the call of a function that returns a value.
    fn sync(&self, codec: Option<&TokenStream>) -> TokenStream {
        let (begin, call, private) = (&self.begin, &self.call, &self.private);
        let (body, outcome, closure) = (&self.function.body, self.outcome(None), self.closure());
        let span = site();
        match returned(&self.function.signature) {
            Returned::Type(declared) if codec.is_some() => quote_spanned! {span=>
                #begin
                #private::replay_sync::<#declared>(#call, #closure #body, #outcome, &#codec)
            },
            Returned::Never => quote_spanned! {span=>
                #begin
                #private::call_sync(#call, #closure -> ! #body, #outcome)
            },
            Returned::Opaque => quote_spanned! {span=>
                #begin
                #private::call_sync(#call, #closure #body, #outcome)
            },
            Returned::Type(declared) => quote_spanned! {span=>
                #begin
                #private::call_sync::<#declared>(#call, #closure #body, #outcome)
            },
        }
    }

    /// Writes the statements of an `async` function or block: the call begins when they are first polled.
    fn polled(
        &self,
        keywords: &TokenStream,
        body: &TokenStream,
        never: bool,
        codec: Option<&TokenStream>,
    ) -> TokenStream {
        let (begin, call, private) = (&self.begin, &self.call, &self.private);
        let span = site();
        if self.arguments.stream.is_some() {
            let outcome = self.outcome(stream_item(&self.function.signature).as_ref());
            return quote_spanned! {span=>
                #begin
                let (call, value) = #private::call_until(#call, #keywords #body).await;
                #private::stream!(call, value, #outcome)
            };
        }
        let outcome = self.outcome(None);
        if never {
            return quote_spanned! {span=>
                #begin
                match #private::call_async(#call, #keywords #body, #outcome).await {}
            };
        }
        if codec.is_some() {
            return quote_spanned! {span=>
                #begin
                #private::replay_async(#call, #keywords #body, #outcome, #codec).await
            };
        }
        quote_spanned! {span=>
            #begin
            #private::call_async(#call, #keywords #body, #outcome).await
        }
    }

    /// Writes the call of a function that returns a future after statements of its own: it begins at once.
    fn returning_future(&self, output: Option<&TokenStream>) -> TokenStream {
        let (entered, private, outcome) = (self.entered(), &self.private, self.outcome(output));
        let span = site();
        let output = output.map_or_else(|| quote_spanned!(span=> _), TokenStream::clone);
        let span = span.located_at(returned_span(&self.function.signature));
        quote_spanned! {span=>
            #entered
            #private::future!(call, value, #output, #outcome)
        }
    }

    /// Writes the call of a function that returns a stream: it begins at once.
    fn streaming(&self) -> TokenStream {
        let item = stream_item(&self.function.signature);
        let (entered, private, outcome) = (self.entered(), &self.private, self.outcome(item.as_ref()));
        let span = site().located_at(returned_span(&self.function.signature));
        quote_spanned! {span=>
            #entered
            #private::stream!(call, value, #outcome)
        }
    }

    /// Writes the beginning of the closure around the body. A body without a value is reported at the return type.
    fn closure(&self) -> TokenStream {
        let span = site().located_at(returned_span(&self.function.signature));
        quote_spanned!(span=> move ||)
    }

    /// Runs the body inside the call and keeps the call open.
    fn entered(&self) -> TokenStream {
        let (begin, call, private, body) = (&self.begin, &self.call, &self.private, &self.function.body);
        let closure = self.closure();
        let span = site();
        let declared = match returned(&self.function.signature) {
            Returned::Type(declared) => quote_spanned!(span=> ::<#declared>),
            Returned::Never | Returned::Opaque => TokenStream::new(),
        };
        quote_spanned! {span=>
            #begin
            let (call, value) = #private::call_entered #declared (#call, #closure #body);
        }
    }

    /// Writes the closure that computes what is recorded of a returned value or of an item of a stream.
    fn outcome(&self, output: Option<&TokenStream>) -> TokenStream {
        let private = &self.private;
        let span = site();
        let value = Ident::new("value", span);
        let parameter = match output {
            Some(output) => quote_spanned!(span=> #value: &#output),
            None => value.to_token_stream(),
        };
        if self.arguments.skip_output.is_some() {
            return quote_spanned!(span=> |#parameter, _| #private::outcome!(#value, false, skip));
        }
        let recorded = self.arguments.output.as_ref().map(output_closure);
        quote_spanned!(span=> |#parameter, content| #private::outcome!(#value, content #recorded))
    }

    /// Writes the body of an `async fn` so that its type is the declared one.
    fn typed_body(&self, body: &Group) -> TokenStream {
        let span = site();
        match returned(&self.function.signature) {
            Returned::Opaque => body.to_token_stream(),
            Returned::Type(declared) => guided(body, Some(&declared)),
            Returned::Never => guided(body, Some(&quote_spanned!(span=> ::core::convert::Infallible))),
        }
    }
}

/// Returns the declared return type, if it can be written in the body.
fn written(signature: &syn::Signature) -> Option<TokenStream> {
    match returned(signature) {
        Returned::Type(declared) => Some(declared),
        Returned::Never | Returned::Opaque => None,
    }
}

/// Writes the function of `output` as a closure whose parameter has no type.
fn output_closure(function: &Expr) -> TokenStream {
    let span = site();
    let Expr::Closure(ExprClosure { inputs, body, .. }) = function else {
        return quote_spanned!(span=> , |out| (#function)(out));
    };
    match inputs.first() {
        Some(Pat::Type(typed)) => quote_spanned!(span=> , |out| { let #typed = out; #body }),
        pattern => quote_spanned!(span=> , |#pattern| #body),
    }
}

fn async_move() -> TokenStream {
    let span = site();
    quote_spanned!(span=> async move)
}

/// Writes a block that returns this type. A `return` that is never reached makes the type known before the body is checked.
fn guided(body: &Group, declared: Option<&TokenStream>) -> TokenStream {
    let span = site();
    let Some(declared) = declared else {
        return body.to_token_stream();
    };
    let (mut statements, body) = split_inner_attributes(body);
    let span = span.located_at(declared.span());
    statements.extend(quote_spanned! {span=>
        if let ::core::option::Option::Some(unreachable) = ::core::option::Option::None::<#declared> {
            return unreachable;
        }
    });
    statements.extend(body.stream());
    let mut block = Group::new(Delimiter::Brace, statements);
    block.set_span(body.span());
    block.to_token_stream()
}

/// Writes the name of the run or the step.
fn name(arguments: &Arguments, function: &Function) -> TokenStream {
    let own_name = syn::ext::IdentExt::unraw(&function.signature.ident).to_string();
    arguments.name.as_ref().map_or_else(|| own_name.to_token_stream(), Expr::to_token_stream)
}

/// Writes the static description of the function.
fn constant(arguments: &Arguments, function: &Function, private: &TokenStream) -> TokenStream {
    let span = site();
    let name = name(arguments, function);
    let kind = function_kind(arguments.kind, private);
    let effects = effects(arguments.effects, private);
    let (resumable, replay) = (arguments.resumable.is_some(), arguments.replay.is_some());
    let tags = &arguments.tags;
    let agent = match (&arguments.agent, &arguments.role) {
        (None, _) => quote_spanned!(span=> ::core::option::Option::None),
        (Some(id), role) => {
            let role = match role {
                Some(role) => quote_spanned!(span=> ::core::option::Option::Some(#role)),
                None => quote_spanned!(span=> ::core::option::Option::None),
            };
            quote_spanned!(span=> ::core::option::Option::Some(#private::Agent { id: #id, role: #role }))
        }
    };
    quote_spanned! {span=>
        #private::Function {
            name: #name,
            kind: #kind,
            resumable: #resumable,
            replay: #replay,
            effects: #effects,
            tags: &[#(#tags),*],
            agent: #agent,
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &str, item: &str) -> String {
        record(arguments.parse().unwrap(), item.parse().unwrap()).to_string()
    }

    fn normal(item: &str) -> String {
        item.parse::<TokenStream>().unwrap().to_string()
    }

    #[test]
    fn an_expansion_has_no_unsafe_code_of_its_own() {
        for item in [
            "fn f(a: u8) -> u8 { a }",
            "async fn f(a: u8) -> ! { loop {} }",
            "fn f() -> impl Future<Output = u8> { let a = 1; async move { a } }",
            "fn f() -> Pin<Box<dyn Future<Output = u8>>> { Box::pin(async move { 1 }) }",
        ] {
            assert!(!expanded("", item).contains("unsafe"), "{item}");
        }
        assert_eq!(expanded("", "unsafe fn f() { unsafe { g() } }").matches("unsafe").count(), 2);
        assert!(!expanded("stream", "fn f() -> impl Stream<Item = u8> { g() }").contains("unsafe"));
    }

    #[test]
    fn head_and_body_stay_as_they_are_written() {
        let head = "/// Doc.\n#[must_use] #[inline(never)] pub(crate) fn f<'a, T: Copy>(a: &'a T, mut b: u8) -> T where T: Send";
        let body = "{ b += 1; let = broken.; *a }";
        let written = expanded("", &format!("{head} {body}"));
        assert!(written.starts_with(&normal(head)), "{written}");
        assert!(written.contains(&normal(body)), "{written}");
    }

    #[test]
    fn an_item_with_an_error_is_left_as_it_is() {
        for (arguments, item) in [
            ("nmae = 1", "fn f() { 1 }"),
            ("", "const fn f() { 1 }"),
            ("", "struct S { a: u8 }"),
            ("skip(b)", "fn f(a: u8) { x. }"),
            ("", "fn f(a: ) { 1 }"),
        ] {
            let written = expanded(arguments, item);
            assert!(written.contains("compile_error") && written.ends_with(&normal(item)), "{written}");
        }
    }
}
