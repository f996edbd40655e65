//! The derive macro of unskew, documented there.

use proc_macro::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::{Data, DeriveInput, Error, Field, GenericParam, LitStr, Result, Token};

/// Makes a struct with named fields the fields of a request or of a candidate: `unskew::Fields`.
///
/// A field of the service has the name of the struct's field, or the one that `#[field = "user.segment"]` gives it.
#[proc_macro_derive(Fields, attributes(field))]
pub fn derive_fields(item: TokenStream) -> TokenStream {
    let result = syn::parse(item).and_then(|item| fields(&item));
    result.unwrap_or_else(Error::into_compile_error).into()
}

fn fields(item: &DeriveInput) -> Result<proc_macro2::TokenStream> {
    let fields = named_fields(item)?;
    let name = &item.ident;
    if let Some(parameter) = item
        .generics
        .params
        .iter()
        .find(|parameter| !matches!(parameter, GenericParam::Lifetime(_)))
    {
        return Err(Error::new_spanned(parameter, "the struct takes lifetimes only"));
    }
    // The same struct for any lifetime: what a request is made for, and keeps no borrow of.
    let statics = item.generics.lifetimes().map(|_| quote!('static));
    let (generics, arguments, bounds) = item.generics.split_for_impl();
    let declared = fields.iter().map(declared).collect::<Result<Vec<_>>>()?;
    let given = fields.iter().map(|field| {
        let ident = &field.ident;
        quote!(give(::unskew::FieldValue::value(&self.#ident));)
    });
    Ok(quote! {
        impl #generics ::unskew::Fields for #name #arguments #bounds {
            type Owner = #name<#(#statics),*>;
            const FIELDS: &'static [::unskew::FieldType] = &[#(#declared),*];

            #[inline]
            #[allow(unused_variables, unused_mut)]
            fn each(&self, mut give: impl ::core::ops::FnMut(::unskew::Value<'_>)) {
                #(#given)*
            }
        }
    })
}

fn named_fields(item: &DeriveInput) -> Result<&Punctuated<Field, Token![,]>> {
    match &item.data {
        Data::Struct(data) => match &data.fields {
            syn::Fields::Named(fields) => Ok(&fields.named),
            _ => Err(Error::new_spanned(&item.ident, STRUCTS_ONLY)),
        },
        _ => Err(Error::new_spanned(&item.ident, STRUCTS_ONLY)),
    }
}

const STRUCTS_ONLY: &str = "Fields is for a struct with named fields: each is a field of the service";

fn declared(field: &Field) -> Result<proc_macro2::TokenStream> {
    let ty = &field.ty;
    let ident = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut name = ident.trim_start_matches("r#").to_owned();
    for attribute in field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("field"))
    {
        let value = &attribute.meta.require_name_value()?.value;
        let text: LitStr = syn::parse2(quote!(#value))?;
        name = text.value();
    }
    Ok(quote!(::unskew::FieldType::of::<#ty>(#name)))
}
