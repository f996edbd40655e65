use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;

use syn::{BinOp, DeriveInput, Error, Expr, Field, Ident, Result, Token, Type, UnOp};

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
    let event_lifetime = crate::export::static_lifetimes(&event);
    let layouts = fields
        .iter()
        .map(|field| layout(field, &event_lifetime))
        .collect::<Result<Vec<_>>>()?;
    let decodes = types
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> <#ty as ::unskew_guest::accumulate::Accumulator>::decode(reader)?));
    let adds = fields.iter().map(add).collect::<Result<Vec<_>>>()?;
    Ok(quote! {
        impl ::unskew_guest::Accumulators for #name {
            type Event<'unskew> = #event;

            #[inline]
            #[allow(unused_variables)]
            fn add(&mut self, time: ::unskew_guest::Timestamp, event: &Self::Event<'_>) {
                #(#adds)*
            }
        }

        impl ::unskew_guest::accumulate::Accumulator for #name {
            const MAX_BYTES: ::core::option::Option<u64> = ::unskew_guest::sum_bounds(&[
                #(<#types as ::unskew_guest::accumulate::Accumulator>::MAX_BYTES),*
            ]);
            const IS_COMPACT: bool = #(<#types as ::unskew_guest::accumulate::Accumulator>::IS_COMPACT &&)* true;

            fn layout(text: &mut ::std::string::String) {
                #(#layouts)*
            }

            #[inline]
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

            #[inline]
            fn merge_encoded(
                &mut self,
                reader: &mut ::unskew_guest::StateReader<'_>,
            ) -> ::core::result::Result<(), ::unskew_guest::StateError> {
                #(::unskew_guest::accumulate::Accumulator::merge_encoded(&mut self.#idents, reader)?;)*
                ::core::result::Result::Ok(())
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

/// The field's part of the state's version.
fn layout(field: &Field, event: &Type) -> Result<TokenStream> {
    let accumulate = accumulate(field)?;
    let attributes: String = field
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("accumulate"))
        .map(|attribute| attribute.to_token_stream().to_string())
        .collect();
    // How tokens are spaced is the compiler's choice and must not change the version of the state.
    let words: String = attributes.split_whitespace().collect();
    let words = format!("{words}{}", field.ident.to_token_stream());
    let mut names: Vec<String> = accumulate.columns.iter().map(ToString::to_string).collect();
    if let Some(when) = &accumulate.when {
        when.for_each_column(&mut |column| names.push(column.to_string()));
    }
    let ty = &field.ty;
    Ok(quote! {
        ::unskew_guest::push_field_layout(
            text, #words, <#event as ::unskew_guest::Input<'static>>::COLUMNS, &[#(#names),*],
        );
        <#ty as ::unskew_guest::accumulate::Accumulator>::layout(text);
        text.push(';');
    })
}

/// `#[accumulate(price, when = won)]`.
#[derive(Default)]
struct Accumulate {
    columns: Vec<Ident>,
    when: Option<When>,
}

impl Parse for Accumulate {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut accumulate = Self::default();
        while !input.is_empty() {
            let ident: Ident = input.parse()?;
            if ident == "when" && input.peek(Token![=]) {
                input.parse::<Token![=]>()?;
                accumulate.when = Some(When::of(input.parse()?)?);
            } else if accumulate.columns.len() < 2 {
                accumulate.columns.push(ident);
            } else {
                return Err(Error::new(
                    ident.span(),
                    "an accumulator takes one column or two: #[accumulate(price, when = won)]",
                ));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(accumulate)
    }
}

fn accumulate(field: &Field) -> Result<Accumulate> {
    let mut attributes = field.attrs.iter();
    let attribute = attributes.find(|attribute| attribute.path().is_ident("accumulate"));
    match attribute {
        Some(attribute) if !matches!(attribute.meta, syn::Meta::Path(_)) => attribute.parse_args(),
        _ => Ok(Accumulate::default()),
    }
}

/// Which events an accumulator takes.
enum When {
    Flag(Ident),
    NotFlag(Ident),
    Comparison(Ident, BinOp, Box<Expr>),
    Both(Box<Self>, BinOp, Box<Self>),
}

impl When {
    fn of(expr: Expr) -> Result<Self> {
        match expr {
            Expr::Paren(paren) => Self::of(*paren.expr),
            Expr::Path(_) => Ok(Self::Flag(column(&expr)?)),
            Expr::Unary(not) if matches!(not.op, UnOp::Not(_)) => Ok(Self::NotFlag(column(&not.expr)?)),
            Expr::Binary(binary) => match binary.op {
                BinOp::And(_) | BinOp::Or(_) => Ok(Self::Both(
                    Box::new(Self::of(*binary.left)?),
                    binary.op,
                    Box::new(Self::of(*binary.right)?),
                )),
                BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) => {
                    Ok(Self::Comparison(column(&binary.left)?, binary.op, binary.right))
                }
                op => Err(Error::new_spanned(op, WHEN)),
            },
            other => Err(Error::new_spanned(other, WHEN)),
        }
    }

    fn for_each_column(&self, f: &mut impl FnMut(&Ident)) {
        match self {
            Self::Flag(column) | Self::NotFlag(column) | Self::Comparison(column, ..) => f(column),
            Self::Both(left, _, right) => {
                left.for_each_column(f);
                right.for_each_column(f);
            }
        }
    }

    fn condition(&self) -> TokenStream {
        match self {
            Self::Flag(column) => quote_spanned!(column.span()=> ::unskew_guest::Flag::is_set(&event.#column)),
            Self::NotFlag(column) => {
                quote_spanned!(column.span()=> ::unskew_guest::MaybeMissing::present(event.#column) == Some(false))
            }
            Self::Comparison(column, op, constant) => quote_spanned! {column.span()=>
                ::unskew_guest::MaybeMissing::present(event.#column).is_some_and(|value| value #op #constant)
            },
            Self::Both(left, op, right) => {
                let (left, right) = (left.condition(), right.condition());
                quote!((#left) #op (#right))
            }
        }
    }
}

const WHEN: &str = "a filter is a flag, `!flag`, or a comparison of a column with a constant, and these joined with && and ||: \
                    when = won && kind == \"click\"";

fn column(expr: &Expr) -> Result<Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident().cloned(),
        _ => None,
    }
    .ok_or_else(|| Error::new_spanned(expr, WHEN))
}

fn add(field: &Field) -> Result<TokenStream> {
    let accumulate = accumulate(field)?;
    let ident = &field.ident;
    // Spans are those of what the author wrote, for the compiler to point at.
    let take = |value: TokenStream| {
        quote_spanned! {field.ty.span()=>
            ::unskew_guest::accumulate::Taken(time, #value).into_accumulator(&mut self.#ident);
        }
    };
    let present = |column: &Ident| {
        quote_spanned! {column.span()=>
            ::unskew_guest::MaybeMissing::present(event.#column)
        }
    };
    let mut add = match &accumulate.columns[..] {
        [column] => {
            let (take, present) = (take(quote!(value)), present(column));
            quote! {
                if let ::core::option::Option::Some(value) = #present { #take }
            }
        }
        [first, second] => {
            let take = take(quote!((first, second)));
            let (first, second) = (present(first), present(second));
            quote! {
                if let (::core::option::Option::Some(first), ::core::option::Option::Some(second)) = (#first, #second) {
                    #take
                }
            }
        }
        _ => take(quote!(())),
    };
    if let Some(when) = &accumulate.when {
        let condition = when.condition();
        add = quote!(if #condition { #add });
    }
    Ok(add)
}
