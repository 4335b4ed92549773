//! Arguments of the attribute.

use proc_macro2::{Ident, Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{Expr, ExprLit, Lit, LitStr, Path, Token, parenthesized};

use crate::errors::Errors;
use crate::nearest::nearest;
use crate::values::{Choice, parse_effects, parse_type};

/// Every argument there is, for suggestions.
const KNOWN: &[&str] = &[
    "agent",
    "crate",
    "effects",
    "input",
    "metadata",
    "name",
    "output",
    "replay",
    "resumable",
    "role",
    "session",
    "skip",
    "skip_all",
    "skip_output",
    "stream",
    "tags",
    "type",
    "user",
];

/// Arguments as they are written. An argument that is `None` or empty was not given.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) name: Option<Expr>,
    pub(crate) kind: Option<Choice>,
    pub(crate) input: Option<Expr>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) skip_all: Option<Span>,
    pub(crate) output: Option<Expr>,
    pub(crate) skip_output: Option<Span>,
    pub(crate) session: Option<Expr>,
    pub(crate) user: Option<Expr>,
    pub(crate) tags: Vec<Expr>,
    pub(crate) metadata: Vec<(LitStr, Expr)>,
    pub(crate) agent: Option<Expr>,
    pub(crate) role: Option<Expr>,
    pub(crate) resumable: Option<Span>,
    pub(crate) replay: Option<Span>,
    pub(crate) effects: Option<Choice>,
    pub(crate) stream: Option<Span>,
    pub(crate) krate: Option<Path>,
    /// Arguments given so far, with their places.
    given: Vec<(String, Span)>,
}

/// Reads the arguments. Each mistake is added to `errors`, and the reading goes on with the next argument.
pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Arguments {
    let mut arguments = Arguments::default();
    let read = |input: ParseStream<'_>| {
        while !input.is_empty() {
            if let Err(error) = arguments.parse_one(input) {
                errors.push(error);
                skip_to_comma(input)?;
            }
            if input.is_empty() {
                break;
            }
            if !input.peek(Token![,]) {
                errors.add(input.span(), "expected `,`");
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = read.parse2(tokens) {
        errors.push(error);
    }
    arguments.check(errors);
    arguments
}

impl Arguments {
    fn parse_one(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        if input.peek(LitStr) {
            let name: LitStr = input.parse()?;
            return Err(syn::Error::new(name.span(), format!("expected `name = {:?}`", name.value())));
        }
        if !input.peek(Ident::peek_any) {
            return Err(input.error("expected an argument of `#[record]`, such as `name = \"…\"`"));
        }
        let argument = input.call(Ident::parse_any)?;
        let span = argument.span();
        let argument = argument.unraw().to_string();
        if self.given(&argument).is_some() {
            return Err(syn::Error::new(span, format!("`{argument}` is given twice")));
        }
        if KNOWN.contains(&argument.as_str()) {
            self.given.push((argument.clone(), span));
        }
        match argument.as_str() {
            "name" => self.name = Some(text(input, "name", "…", span)?),
            "type" => {
                equals(input, "type", "tool_call", span)?;
                self.kind = Some(parse_type(input)?);
            }
            "input" => self.input = Some(expression(input, "input", "expr", span)?),
            "skip" => self.skip = idents(input, span)?,
            "skip_all" => self.skip_all = Some(flag(input, "skip_all", span)?),
            "output" => self.output = Some(function(input, span)?),
            "skip_output" => self.skip_output = Some(flag(input, "skip_output", span)?),
            "session" => self.session = Some(expression(input, "session", "expr", span)?),
            "user" => self.user = Some(expression(input, "user", "expr", span)?),
            "tags" => self.tags = tags(input, span)?,
            "metadata" => self.metadata = metadata(input, span)?,
            "agent" => self.agent = Some(text(input, "agent", "id", span)?),
            "role" => self.role = Some(text(input, "role", "…", span)?),
            "resumable" => self.resumable = Some(flag(input, "resumable", span)?),
            "replay" => self.replay = Some(flag(input, "replay", span)?),
            "effects" => {
                equals(input, "effects", "none", span)?;
                self.effects = Some(parse_effects(input)?);
            }
            "stream" => self.stream = Some(flag(input, "stream", span)?),
            "crate" => {
                equals(input, "crate", "path::to::retrace", span)?;
                self.krate = Some(input.call(Path::parse_mod_style).map_err(|error| {
                    syn::Error::new(error.span(), "`crate` is a path: write `crate = path::to::retrace`")
                })?);
            }
            _ => {
                let hint = nearest(&argument, KNOWN).map_or_else(
                    || {
                        format!(
                            "; there are {}",
                            KNOWN.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")
                        )
                    },
                    |near| format!("; did you mean `{near}`?"),
                );
                return Err(syn::Error::new(span, format!("`#[record]` has no argument `{argument}`{hint}")));
            }
        }
        Ok(())
    }

    /// Returns the place of an argument, if it was given.
    fn given(&self, argument: &str) -> Option<Span> {
        self.given.iter().find(|(given, _)| given == argument).map(|(_, span)| *span)
    }

    /// Refuses arguments that contradict each other.
    fn check(&self, errors: &mut Errors) {
        for (argument, other) in
            [("skip", "skip_all"), ("skip", "input"), ("skip_all", "input"), ("skip_output", "output")]
        {
            if let (Some(span), Some(_)) = (self.given(argument), self.given(other)) {
                errors.add(span, format!("`{argument}` and `{other}` contradict each other"));
            }
        }
        if let (Some(span), None) = (self.given("role"), self.given("agent")) {
            errors.add(span, "`role` is the role of an agent: add `agent = \"id\"`");
        }
        let kind = self.kind;
        // A value of `type` that was not understood is reported where it stands.
        let known = self.kind.is_some() || self.given("type").is_none();
        if let Some(span) = self.replay.filter(|_| known && kind != Some("tool_call")) {
            errors.add(span, "`replay` applies to tool steps: add `type = tool_call`");
        }
        if let (Some(span), Some(step)) = (self.resumable, kind.filter(|kind| *kind != "run")) {
            errors.add(span, format!("`resumable` applies to runs, and `type = {step}` is a step"));
        }
        if let (Some(span), Some("run")) = (self.given("effects"), kind) {
            errors.add(span, "`effects` applies to steps, and `type = run` is a run");
        }
    }
}

/// Advances to the next comma, which is left.
fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// Returns an error at the next token, or at `argument` where there is none.
fn error_at(input: ParseStream<'_>, argument: Span, message: impl std::fmt::Display) -> syn::Error {
    let span = if input.is_empty() || input.peek(Token![,]) { argument } else { input.span() };
    syn::Error::new(span, message)
}

/// Reads the `=` of an argument, which stands at `span`.
fn equals(input: ParseStream<'_>, argument: &str, example: &str, span: Span) -> syn::Result<()> {
    if !input.peek(Token![=]) {
        return Err(error_at(input, span, format!("`{argument}` takes a value: write `{argument} = {example}`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(syn::Error::new(span, format!("`{argument}` has no value: write `{argument} = {example}`")));
    }
    Ok(())
}

/// Reads `= expr`.
fn expression(input: ParseStream<'_>, argument: &str, example: &str, span: Span) -> syn::Result<Expr> {
    equals(input, argument, example, span)?;
    input.parse()
}

/// Reads `= "…"` or a constant.
fn text(input: ParseStream<'_>, argument: &str, example: &str, span: Span) -> syn::Result<Expr> {
    let value = expression(input, argument, &format!("{example:?}"), span)?;
    let Expr::Lit(ExprLit { lit, .. }) = &value else {
        return Ok(value);
    };
    match lit {
        Lit::Str(text) if text.value().is_empty() => {
            Err(syn::Error::new(text.span(), format!("`{argument}` is empty")))
        }
        Lit::Str(_) => Ok(value),
        other => {
            Err(syn::Error::new(other.span(), format!("`{argument}` is a string: write `{argument} = {example:?}`")))
        }
    }
}

/// Reads `= |out| expr` or `= path::to::function`.
fn function(input: ParseStream<'_>, span: Span) -> syn::Result<Expr> {
    let value = expression(input, "output", "|out| …", span)?;
    match &value {
        Expr::Closure(closure) if closure.inputs.len() == 1 => Ok(value),
        Expr::Path(_) => Ok(value),
        other => Err(syn::Error::new(
            other.span(),
            "`output` is a function of a reference to the returned value: write `output = |out| …`",
        )),
    }
}

/// Reads a flag, which has no value.
fn flag(input: ParseStream<'_>, argument: &str, span: Span) -> syn::Result<Span> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(span);
    }
    Err(input.error(format!("`{argument}` takes no value")))
}

/// Reads `(a, b)`.
fn idents(input: ParseStream<'_>, span: Span) -> syn::Result<Vec<Ident>> {
    let read =
        |content: ParseStream<'_>| Punctuated::<Ident, Token![,]>::parse_terminated_with(content, Ident::parse_any);
    Ok(list(input, "skip", "skip(a, b)", span, read)?.into_iter().collect())
}

/// Reads `("a", "b")`.
fn tags(input: ParseStream<'_>, span: Span) -> syn::Result<Vec<Expr>> {
    let tags = list(input, "tags", "tags(\"a\", \"b\")", span, Punctuated::<Expr, Token![,]>::parse_terminated)?;
    for tag in &tags {
        if let Expr::Lit(ExprLit { lit, .. }) = tag
            && !matches!(lit, Lit::Str(_))
        {
            return Err(syn::Error::new(lit.span(), "a tag is a string"));
        }
    }
    Ok(tags.into_iter().collect())
}

/// Reads `(key = expr, dotted.key = expr, "any key" = expr)`.
fn metadata(input: ParseStream<'_>, span: Span) -> syn::Result<Vec<(LitStr, Expr)>> {
    list(input, "metadata", "metadata(key = expr)", span, |content| {
        let mut entries: Vec<(LitStr, Expr)> = Vec::new();
        for (key, value) in Punctuated::<_, Token![,]>::parse_terminated_with(content, metadata_entry)? {
            if entries.iter().any(|(other, _)| other.value() == key.value()) {
                return Err(syn::Error::new(key.span(), format!("`{}` is given twice", key.value())));
            }
            entries.push((key, value));
        }
        Ok(entries)
    })
}

fn metadata_entry(input: ParseStream<'_>) -> syn::Result<(LitStr, Expr)> {
    let key: LitStr = if input.peek(LitStr) {
        input.parse()?
    } else {
        let first = input.call(Ident::parse_any)?;
        let mut key = first.unraw().to_string();
        while input.peek(Token![.]) {
            input.parse::<Token![.]>()?;
            key.push('.');
            key.push_str(&input.call(Ident::parse_any)?.unraw().to_string());
        }
        LitStr::new(&key, first.span())
    };
    let value = expression(input, &key.value(), "expr", key.span())?;
    Ok((key, value))
}

/// Reads the parentheses of a list, which is not empty, and `content` in them.
fn list<T>(
    input: ParseStream<'_>,
    argument: &str,
    example: &str,
    span: Span,
    read: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<T> {
    if !input.peek(syn::token::Paren) {
        return Err(error_at(input, span, format!("`{argument}` takes a list: write `{example}`")));
    }
    let content;
    let parentheses = parenthesized!(content in input);
    if content.is_empty() {
        return Err(syn::Error::new(parentheses.span.join(), format!("`{argument}` is empty: write `{example}`")));
    }
    read(&content).inspect_err(|_| {
        // Tokens that are left would be an error of their own.
        let _ = content.parse::<TokenStream>();
    })
}
