use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;

use syn::{DeriveInput, Error, Field, Ident, Result, Token, Type};

use crate::columns::named_fields;

pub fn accumulators(item: &DeriveInput) -> Result<TokenStream> {
    let fields = named_fields(item, "Accumulators")?;
    if !item.generics.params.is_empty() {
        return Err(Error::new_spanned(
            &item.generics,
            "a struct of accumulators takes no parameters",
        ));
    }
    let name = &item.ident;
    let event = event(item)?;
    let idents: Vec<&Option<Ident>> = fields.iter().map(|field| &field.ident).collect();
    let types: Vec<&Type> = fields.iter().map(|field| &field.ty).collect();
    let decodes = types
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> <#ty as ::unskew_guest::accumulate::Accumulator>::decode(reader)?));
    let adds = fields.iter().map(add).collect::<Result<Vec<_>>>()?;
    let layout: String = fields
        .iter()
        .map(|field| {
            let attributes: String = field
                .attrs
                .iter()
                .filter(|attribute| attribute.path().is_ident("accumulate"))
                .map(|attribute| attribute.to_token_stream().to_string())
                .collect();
            format!(
                "{attributes}{}:{};",
                field.ident.to_token_stream(),
                field.ty.to_token_stream()
            )
        })
        .collect();
    // How tokens are spaced is the compiler's choice and must not change the version of the state.
    let layout: String = layout.split_whitespace().collect();
    Ok(quote! {
        impl ::unskew_guest::Accumulators for #name {
            type Event<'unskew> = #event;

            const LAYOUT: &'static str = #layout;

            #[inline]
            #[allow(unused_variables)]
            fn add(&mut self, time: ::unskew_guest::Timestamp, event: &Self::Event<'_>) {
                #(#adds)*
            }

            fn merge(&mut self, other: &Self) {
                #(::unskew_guest::accumulate::Accumulator::merge(&mut self.#idents, &other.#idents);)*
            }

            fn encode(&self, bytes: &mut ::std::vec::Vec<u8>) {
                #(::unskew_guest::accumulate::Accumulator::encode(&self.#idents, bytes);)*
            }

            fn decode(
                reader: &mut ::unskew_guest::StateReader<'_>,
            ) -> ::core::result::Result<Self, ::unskew_guest::StateError> {
                ::core::result::Result::Ok(Self {
                    #(#idents: #decodes,)*
                })
            }
        }
    })
}

/// The type in `#[event(…)]`, with its lifetime as that of the associated type.
fn event(item: &DeriveInput) -> Result<Type> {
    let attribute = item.attrs.iter().find(|attribute| attribute.path().is_ident("event"));
    let Some(attribute) = attribute else {
        return Err(Error::new_spanned(
            &item.ident,
            "say what the events are: #[event(Impression)], a struct that derives Input",
        ));
    };
    let mut event: Type = attribute.parse_args()?;
    crate::export::name_lifetimes(&mut event);
    Ok(event)
}

/// `#[accumulate(price, when = won)]`.
#[derive(Default)]
struct Accumulate {
    column: Option<Ident>,
    when: Option<Ident>,
}

impl Parse for Accumulate {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut accumulate = Self::default();
        while !input.is_empty() {
            let ident: Ident = input.parse()?;
            if ident == "when" && input.peek(Token![=]) {
                input.parse::<Token![=]>()?;
                accumulate.when = Some(input.parse()?);
            } else if accumulate.column.is_none() {
                accumulate.column = Some(ident);
            } else {
                return Err(Error::new(
                    ident.span(),
                    "an accumulator takes one column: #[accumulate(price, when = won)]",
                ));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(accumulate)
    }
}

fn add(field: &Field) -> Result<TokenStream> {
    let attribute = field
        .attrs
        .iter()
        .find(|attribute| attribute.path().is_ident("accumulate"));
    let accumulate = match attribute {
        Some(attribute) => attribute.parse_args()?,
        None => Accumulate::default(),
    };
    let ident = &field.ident;
    // Spans are those of what the author wrote, for the compiler to point at.
    let take = |value: TokenStream| {
        quote_spanned! {field.ty.span()=>
            ::unskew_guest::accumulate::Taken(time, #value).into_accumulator(&mut self.#ident);
        }
    };
    let mut add = match &accumulate.column {
        None => take(quote!(())),
        Some(column) => {
            let (take, present) = (
                take(quote!(value)),
                quote_spanned! {column.span()=>
                    ::unskew_guest::MaybeMissing::present(event.#column)
                },
            );
            quote! {
                if let ::core::option::Option::Some(value) = #present { #take }
            }
        }
    };
    if let Some(when) = &accumulate.when {
        let is_set = quote_spanned!(when.span()=> ::unskew_guest::Flag::is_set(&event.#when));
        add = quote!(if #is_set { #add });
    }
    Ok(add)
}
