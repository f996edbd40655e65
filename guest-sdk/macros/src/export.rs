use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Error, FnArg, Ident, ItemFn, Lifetime, LitStr, Result, ReturnType, Token, Type, bracketed};

use crate::columns::doc;

/// The contract, which every component carries.
const WIT: &str = include_str!("../wit/transform.wit");

/// `owner = "…", windows = ["…", "…"], reads = [Before]`.
#[derive(Default)]
pub struct Arguments {
    owner: Option<LitStr>,
    windows: Option<Vec<LitStr>>,
    reads: Vec<Type>,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            if name == "owner" {
                arguments.owner = Some(input.parse()?);
            } else if name == "windows" {
                let list;
                bracketed!(list in input);
                let windows = list.parse_terminated(<LitStr as Parse>::parse, Token![,])?;
                arguments.windows = Some(windows.into_iter().collect());
            } else if name == "reads" {
                let list;
                bracketed!(list in input);
                let reads = list.parse_terminated(<Type as Parse>::parse, Token![,])?;
                arguments.reads = reads.into_iter().collect();
            } else {
                return Err(Error::new(
                    name.span(),
                    "the arguments are `owner` and, for an aggregate, `windows` and `reads`",
                ));
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

pub fn row_transform(arguments: &Arguments, function: &ItemFn) -> Result<TokenStream> {
    if arguments.windows.is_some() || !arguments.reads.is_empty() {
        return Err(Error::new(
            Span::call_site(),
            "a row transform has no windows: use #[aggregate]",
        ));
    }
    let signature = Signature::of(function, "fn request_context(request: Request<'_>) -> Context")?;
    let [input] = &signature.inputs[..] else {
        return Err(Error::new_spanned(
            &function.sig,
            "a row transform takes its inputs: fn request_context(request: Request<'_>) -> Context",
        ));
    };
    if let Type::Reference(_) = input {
        return Err(Error::new_spanned(
            &function.sig.inputs,
            "a row transform takes its inputs by value",
        ));
    }
    let (name, ident, output) = (&signature.name, &function.sig.ident, &signature.output);
    let module = module(arguments, function)?;
    let component = component("row-transform", "row", &["apply"], &quote!(wit::Kind::Row), "row", name);
    Ok(quote! {
        #function

        /// The transform as a type.
        pub struct #name;

        impl ::unskew_guest::RowTransform for #name {
            type Input<'unskew> = #input;
            type Output = #output;
            const MODULE: ::unskew_guest::ModuleMeta = #module;

            #[inline]
            fn apply(input: Self::Input<'_>) -> Self::Output {
                #ident(input)
            }
        }

        #component
    })
}

pub fn aggregate(arguments: &Arguments, function: &ItemFn) -> Result<TokenStream> {
    const SHAPE: &str = "an aggregate reads totals: fn ctr_history(totals: &Totals, prior: &Prior) -> Ctr";
    let signature = Signature::of(function, SHAPE)?;
    let (totals, input, query) = match &signature.inputs[..] {
        [Type::Reference(totals), Type::Reference(input)] => (&totals.elem, &input.elem, None),
        [
            Type::Reference(totals),
            Type::Reference(input),
            query @ Type::Reference(_),
        ] => (&totals.elem, &input.elem, Some(query)),
        _ => return Err(Error::new_spanned(&function.sig, SHAPE)),
    };
    let query = query.map(|query| quote_spanned!(query.span()=> query));
    let reads = arguments.reads.iter().map(
        |previous| quote_spanned!(previous.span()=> ::unskew_guest::ReadableState::of::<#previous>(Self::WINDOWS)),
    );
    let windows = match arguments.windows.as_deref() {
        None | Some([]) => {
            return Err(Error::new(
                Span::call_site(),
                "say which windows: #[aggregate(owner = \"…\", windows = [\"1h/5m\", \"7d/1h\"])]",
            ));
        }
        Some(windows) => windows,
    };
    let windows = windows
        .iter()
        .map(|window| quote_spanned!(window.span()=> ::unskew_guest::parse_window(#window)));
    let (name, ident, output) = (&signature.name, &function.sig.ident, &signature.output);
    let module = module(arguments, function)?;
    let kind = quote! {
        wit::Kind::Aggregate(wit::Aggregation {
            events: columns(component::aggregate_events::<super::#name>()),
            windows: <super::#name as ::unskew_guest::Aggregate>::WINDOWS
                .iter()
                .map(|window| wit::Window {
                    name: window.name.to_owned(),
                    length_us: window.length_us,
                    hop_us: window.hop_us,
                })
                .collect(),
            state_version: component::state_version::<super::#name>(),
            readable_state_versions: component::readable_state_versions::<super::#name>(),
        })
    };
    let functions = ["fold", "merge", "read", "batch"];
    let component = component("aggregate-transform", "aggregate", &functions, &kind, "aggregate", name);
    Ok(quote! {
        #function

        /// The aggregate as a type.
        pub struct #name;

        impl ::unskew_guest::Aggregate for #name {
            type Totals = #totals;
            type Input<'unskew> = #input;
            type Output = #output;
            const MODULE: ::unskew_guest::ModuleMeta = #module;
            const WINDOWS: &'static [::unskew_guest::WindowMeta] =
                &::unskew_guest::distinct_windows([#(#windows),*]);
            const READS: &'static [::unskew_guest::ReadableState<Self::Totals>] = &[#(#reads),*];

            fn layout() -> &'static ::unskew_guest::Layout {
                static LAYOUT: ::std::sync::OnceLock<::unskew_guest::Layout> = ::std::sync::OnceLock::new();
                LAYOUT.get_or_init(::unskew_guest::Layout::of::<Self>)
            }

            #[inline]
            #[allow(unused_variables)]
            fn read(
                totals: &Self::Totals,
                input: &Self::Input<'_>,
                query: &::unskew_guest::Query,
            ) -> Self::Output {
                #ident(totals, input, #query)
            }
        }

        #component
    })
}

/// Gives elided lifetimes the name that the traits' associated types have.
pub fn name_lifetimes(ty: &mut Type) {
    struct Name;
    impl VisitMut for Name {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident == "_" {
                *lifetime = Lifetime::new("'unskew", lifetime.span());
            }
            visit_mut::visit_lifetime_mut(self, lifetime);
        }
    }
    Name.visit_type_mut(ty);
}

/// The type with every lifetime the longest.
pub fn static_lifetimes(ty: &Type) -> Type {
    struct Static;
    impl VisitMut for Static {
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            *lifetime = Lifetime::new("'static", lifetime.span());
        }
    }
    let mut ty = ty.clone();
    Static.visit_type_mut(&mut ty);
    ty
}

struct Signature {
    /// The function's name in camel case.
    name: Ident,
    inputs: Vec<Type>,
    output: Type,
}

impl Signature {
    fn of(function: &ItemFn, shape: &str) -> Result<Self> {
        if !function.sig.generics.params.is_empty() {
            return Err(Error::new_spanned(
                &function.sig.generics,
                format!("a transform takes no parameters, and lifetimes are elided: {shape}"),
            ));
        }
        let mut inputs = Vec::new();
        for input in &function.sig.inputs {
            let FnArg::Typed(input) = input else {
                return Err(Error::new_spanned(input, shape));
            };
            let mut input = (*input.ty).clone();
            name_lifetimes(&mut input);
            inputs.push(input);
        }
        let ReturnType::Type(_, output) = &function.sig.output else {
            return Err(Error::new_spanned(
                &function.sig,
                format!("a transform has outputs: {shape}"),
            ));
        };
        let camel: String = function
            .sig
            .ident
            .to_string()
            .split('_')
            .flat_map(|word| {
                let mut letters = word.chars();
                letters
                    .next()
                    .map(|first| first.to_ascii_uppercase())
                    .into_iter()
                    .chain(letters)
            })
            .collect();
        if inputs.iter().chain([&**output]).any(|ty| is_named(ty, &camel)) {
            return Err(Error::new_spanned(
                &function.sig.ident,
                format!("`{camel}` is to be the type of the transform: call the function or the struct something else"),
            ));
        }
        Ok(Self {
            name: Ident::new(&camel, function.sig.ident.span()),
            inputs,
            output: (**output).clone(),
        })
    }
}

/// Whether the last segment of a path, behind a reference or not, is `name`.
fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == name),
        Type::Reference(reference) => is_named(&reference.elem, name),
        _ => false,
    }
}

fn module(arguments: &Arguments, function: &ItemFn) -> Result<TokenStream> {
    let Some(owner) = &arguments.owner else {
        return Err(Error::new(
            Span::call_site(),
            "say who answers for the transform: owner = \"ads-ranking\"",
        ));
    };
    let description = doc(&function.attrs);
    if description.is_empty() {
        return Err(Error::new_spanned(
            &function.sig.ident,
            "say what the transform computes: its doc comment is the module's description",
        ));
    }
    Ok(quote! {
        ::unskew_guest::ModuleMeta {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            owner: #owner,
            description: #description,
        }
    })
}

/// The exports of a component: `describe` through wit-bindgen, the frames' functions by hand, because wit-bindgen's would
/// free a result before the host has read it.
fn component(
    world: &str,
    interface: &str,
    functions: &[&str],
    kind: &TokenStream,
    prefix: &str,
    name: &Ident,
) -> TokenStream {
    let inputs = Ident::new(&format!("{prefix}_inputs"), Span::call_site());
    let outputs = Ident::new(&format!("{prefix}_outputs"), Span::call_site());
    let trait_name = Ident::new(
        if prefix == "row" { "RowTransform" } else { "Aggregate" },
        Span::call_site(),
    );
    // A section of the core module: it can be read without running anything, and a component without it is as good as before.
    let state_bound = (prefix == "aggregate").then(|| {
        quote! {
            #[unsafe(link_section = "unskew:state")]
            static STATE_BOUND: [u8; 24] = ::unskew_guest::StateBound::of::<super::#name>().section();
        }
    });
    let exports = functions.iter().map(|function| {
        let export = format!("unskew:transform/{interface}@0.1.0#{function}");
        let ident = Ident::new(function, Span::call_site());
        match *function {
            "apply" => quote! {
                #[unsafe(export_name = #export)]
                extern "C" fn #ident(inputs: *const u64, len: usize) -> *const u32 {
                    component::#ident::<super::#name>(inputs, len)
                }
            },
            "batch" => quote! {
                #[unsafe(export_name = #export)]
                extern "C" fn #ident(
                    a: *const u64, a_len: usize, b: *const u64, b_len: usize, c: *const u64, c_len: usize,
                ) -> *const u32 {
                    component::#ident::<super::#name>((a, a_len), (b, b_len), (c, c_len))
                }
            },
            _ => quote! {
                #[unsafe(export_name = #export)]
                extern "C" fn #ident(a: *const u64, a_len: usize, b: *const u64, b_len: usize) -> *const u32 {
                    component::#ident::<super::#name>((a, a_len), (b, b_len))
                }
            },
        }
    });
    quote! {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, missing_docs, clippy::all)]
        mod unskew_component {
            ::unskew_guest::wit_bindgen::generate!({
                inline: #WIT,
                world: #world,
                runtime_path: "::unskew_guest::wit_bindgen::rt",
                skip: [#(#functions),*],
            });

            use exports::unskew::transform::metadata as wit;
            use ::unskew_guest::component;

            struct Component;

            impl wit::Guest for Component {
                fn describe() -> wit::Descriptor {
                    let module = <super::#name as ::unskew_guest::#trait_name>::MODULE;
                    wit::Descriptor {
                        name: module.name.to_owned(),
                        version: module.version.to_owned(),
                        owner: module.owner.to_owned(),
                        description: module.description.to_owned(),
                        inputs: columns(component::#inputs::<super::#name>()),
                        outputs: columns(component::#outputs::<super::#name>()),
                        kind: #kind,
                    }
                }
            }

            fn columns(columns: ::std::vec::Vec<component::Described>) -> ::std::vec::Vec<wit::Column> {
                use ::unskew_guest::frame::ColumnType;

                let column_type = |column_type| match column_type {
                    ColumnType::F64 => wit::ColumnType::Float64,
                    ColumnType::F32 => wit::ColumnType::Float32,
                    ColumnType::I64 => wit::ColumnType::Int64,
                    ColumnType::Bool => wit::ColumnType::Boolean,
                    ColumnType::Timestamp => wit::ColumnType::Timestamp,
                    ColumnType::String => wit::ColumnType::Text,
                    ColumnType::Bytes => wit::ColumnType::Bytes,
                    ColumnType::Vector(len) => wit::ColumnType::Vector(len),
                };
                columns
                    .into_iter()
                    .map(|column| wit::Column {
                        name: column.name,
                        column_type: column_type(column.column_type),
                        nullable: column.nullable,
                        doc: column.doc,
                    })
                    .collect()
            }

            export!(Component);

            #state_bound

            #(#exports)*
        }
    }
}
