//! Names that the parameters of a function bind.

use proc_macro2::Ident;
use syn::ext::IdentExt as _;
use syn::{Attribute, FnArg, Pat, Signature};

/// A name bound by a parameter.
pub(crate) struct Parameter<'a> {
    pub(crate) ident: &'a Ident,
    /// `#[cfg]` attributes of the parameter: the name exists only where they hold.
    pub(crate) cfg: Vec<&'a Attribute>,
}

impl Parameter<'_> {
    /// Returns the name without `r#`.
    pub(crate) fn name(&self) -> String {
        self.ident.unraw().to_string()
    }
}

/// Returns the names bound by the parameters of a function, in their order. `self` is not one of them.
pub(crate) fn bound(signature: &Signature) -> Vec<Parameter<'_>> {
    let mut parameters = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        if let FnArg::Typed(typed) = input {
            let mut idents = Vec::new();
            collect(&typed.pat, &mut idents);
            let cfg: Vec<&Attribute> =
                typed.attrs.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
            parameters.extend(idents.into_iter().map(|ident| Parameter { ident, cfg: cfg.clone() }));
        }
    }
    parameters
}

/// Collects the names that a pattern binds.
fn collect<'a>(pattern: &'a Pat, idents: &mut Vec<&'a Ident>) {
    match pattern {
        Pat::Ident(binding) => {
            if may_bind(binding) {
                idents.push(&binding.ident);
            }
            if let Some((_, below)) = &binding.subpat {
                collect(below, idents);
            }
        }
        Pat::Guard(guarded) => collect(&guarded.pat, idents),
        Pat::Paren(inner) => collect(&inner.pat, idents),
        Pat::Reference(inner) => collect(&inner.pat, idents),
        Pat::Type(inner) => collect(&inner.pat, idents),
        Pat::Struct(inner) => inner.fields.iter().for_each(|field| collect(&field.pat, idents)),
        Pat::Slice(inner) => inner.elems.iter().for_each(|element| collect(element, idents)),
        Pat::Tuple(inner) => inner.elems.iter().for_each(|element| collect(element, idents)),
        Pat::TupleStruct(inner) => inner.elems.iter().for_each(|element| collect(element, idents)),
        // Every case binds the same names.
        Pat::Or(cases) => cases.cases.first().into_iter().for_each(|case| collect(case, idents)),
        _ => {}
    }
}

/// Returns false for what is a constant or a unit struct by Rust's naming, such as `None`.
fn may_bind(binding: &syn::PatIdent) -> bool {
    let plain = binding.by_ref.is_none() && binding.mutability.is_none() && binding.subpat.is_none();
    !(plain && binding.ident.to_string().starts_with(char::is_uppercase))
}
