use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lifetime, Lit, Meta, Result};

pub fn input(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Input")?;
    let name = &item.ident;
    let (lifetime, generics) = lifetime(item)?;
    let metas = metas(fields, &quote!(InputValue<#lifetime>));
    let each = |member: &str| each(fields, &quote!(InputValue<#lifetime>), member);
    let (types, readers, reads) = (each("Reader"), each("reader"), each("read"));
    let names = fields.iter().map(|field| &field.ident);
    let columns = 0..fields.len();
    let indices = columns.clone().map(syn::Index::from);
    Ok(quote! {
        impl<#lifetime> ::unskew_guest::Input<#lifetime> for #name #generics {
            const COLUMNS: &'static [::unskew_guest::ColumnMeta] = &[#(#metas),*];

            type Readers = (#(#types,)*);

            #[inline(always)]
            #[allow(unused_variables, unused_mut, clippy::unused_unit)]
            fn readers(mut column: impl FnMut(usize) -> ::unskew_guest::frame::ColumnView<#lifetime>) -> Self::Readers {
                (#(#readers(column(#columns)),)*)
            }

            #[inline(always)]
            #[allow(unused_variables)]
            fn read(readers: &Self::Readers, row: usize) -> Self {
                Self { #(#names: #reads(&readers.#indices, row)),* }
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
    let each = |member: &str| each(fields, &quote!(OutputValue), member);
    let (types, writers) = (each("Writer"), each("writer"));
    let (writes, end_blocks) = (each("write"), each("end_block"));
    let (column_types, nullables) = (each("TYPE"), each("NULLABLE"));
    let names = fields.iter().map(|field| &field.ident);
    let indices: Vec<syn::Index> = (0..fields.len()).map(syn::Index::from).collect();
    Ok(quote! {
        impl ::unskew_guest::Output for #name {
            const COLUMNS: &'static [::unskew_guest::ColumnMeta] = &[#(#metas),*];

            type Writers<'unskew> = (#(#types<'unskew>,)*);

            #[inline(always)]
            fn writers<'unskew>(slots: &mut impl ::unskew_guest::frame::Slots<'unskew>) -> Self::Writers<'unskew> {
                (#(#writers(slots.slot(#column_types, #nullables)),)*)
            }

            #[inline(always)]
            fn write(self, writers: &mut Self::Writers<'_>, row: usize) {
                #(#writes(self.#names, &mut writers.#indices, row);)*
            }

            #[inline(always)]
            fn end_block(writers: &mut Self::Writers<'_>, block: usize) {
                #(#end_blocks(&mut writers.#indices, block);)*
            }
        }
    })
}

/// `<T as trait>::member` of each field's type. All of it stands at the type, so that a type that cannot be one is told once.
fn each(fields: &NamedFields, value: &TokenStream, member: &str) -> Vec<TokenStream> {
    let path = |field: &Field| {
        let ty = &field.ty;
        let member = syn::Ident::new(member, ty.span());
        quote_spanned!(ty.span()=> <#ty as ::unskew_guest::#value>::#member)
    };
    fields.iter().map(path).collect()
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
