use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lifetime, Lit, Meta, Result};

pub fn input(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Input")?;
    let name = &item.ident;
    let (lifetime, generics) = lifetime(item)?;
    let metas = metas(fields, &quote!(InputValue<#lifetime>));
    let reads = fields.iter().enumerate().map(|(index, field)| {
        let (ident, ty) = (&field.ident, &field.ty);
        quote!(#ident: <#ty as ::unskew_guest::InputValue<#lifetime>>::read(&columns[#index], row))
    });
    Ok(quote! {
        impl<#lifetime> ::unskew_guest::Input<#lifetime> for #name #generics {
            const COLUMNS: &'static [::unskew_guest::ColumnMeta] = &[#(#metas),*];

            #[inline]
            #[allow(unused_variables)]
            fn read(columns: &[::unskew_guest::frame::ColumnView<#lifetime>], row: usize) -> Self {
                Self { #(#reads),* }
            }
        }
    })
}

pub fn output(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Output")?;
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "outputs are owned: the struct takes no lifetimes and no type parameters",
        ));
    }
    if fields.is_empty() {
        return Err(Error::new_spanned(&item.ident, "a transform has at least one output"));
    }
    let name = &item.ident;
    let metas = metas(fields, &quote!(OutputValue));
    let writes = fields.iter().enumerate().map(|(index, field)| {
        let (ident, ty) = (&field.ident, &field.ty);
        quote!(<#ty as ::unskew_guest::OutputValue>::write(self.#ident, &mut columns[#index]);)
    });
    Ok(quote! {
        impl ::unskew_guest::Output for #name {
            const COLUMNS: &'static [::unskew_guest::ColumnMeta] = &[#(#metas),*];

            #[inline]
            fn write(self, columns: &mut [::unskew_guest::frame::Column]) {
                #(#writes)*
            }
        }
    })
}

pub type NamedFields = syn::punctuated::Punctuated<Field, syn::Token![,]>;

pub fn named_fields<'a>(item: &'a DeriveInput, derive: &str) -> Result<&'a NamedFields> {
    match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Ok(&fields.named),
            _ => Err(Error::new_spanned(
                &item.ident,
                format!("{derive} is for a struct with named fields: each is a column"),
            )),
        },
        _ => Err(Error::new_spanned(
            &item.ident,
            format!("{derive} is for a struct with named fields: each is a column"),
        )),
    }
}

/// The doc comment of `attributes`, its lines joined.
pub fn doc(attributes: &[Attribute]) -> String {
    let mut doc = String::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit {
                lit: Lit::Str(text), ..
            }) = &meta.value
        {
            if !doc.is_empty() {
                doc.push(' ');
            }
            doc.push_str(text.value().trim());
        }
    }
    doc
}

/// The struct's one lifetime or a fresh one, and the struct's generics.
fn lifetime(item: &DeriveInput) -> Result<(Lifetime, TokenStream)> {
    let mut lifetimes = item.generics.lifetimes();
    match (lifetimes.next(), item.generics.params.len()) {
        (None, 0) => Ok((syn::parse_quote!('unskew), quote!())),
        (Some(parameter), 1) => {
            let lifetime = parameter.lifetime.clone();
            Ok((lifetime.clone(), quote!(<#lifetime>)))
        }
        _ => Err(Error::new_spanned(
            &item.generics,
            "inputs take at most one lifetime and no type parameters",
        )),
    }
}

fn metas(fields: &NamedFields, value: &TokenStream) -> Vec<TokenStream> {
    let meta = |field: &Field| {
        let (ty, doc) = (&field.ty, doc(&field.attrs));
        let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let name = name.trim_start_matches("r#");
        quote! {
            ::unskew_guest::ColumnMeta {
                name: #name,
                column_type: <#ty as ::unskew_guest::#value>::TYPE,
                nullable: <#ty as ::unskew_guest::#value>::NULLABLE,
                doc: #doc,
            }
        }
    };
    fields.iter().map(meta).collect()
}
