//! The derive and attribute macros of unskew-guest, documented there.

mod accumulators;
mod columns;
mod export;

use proc_macro::TokenStream;

/// Makes a struct with named fields readable as inputs or events. A field's doc comment is its column's documentation.
#[proc_macro_derive(Input)]
pub fn derive_input(item: TokenStream) -> TokenStream {
    expand(syn::parse(item).and_then(|item| columns::input(&item)))
}

/// Makes a struct with named fields writable as outputs. A field's doc comment is its column's documentation.
#[proc_macro_derive(Output)]
pub fn derive_output(item: TokenStream) -> TokenStream {
    expand(syn::parse(item).and_then(|item| columns::output(&item)))
}

/// Makes a struct of accumulators the state of an aggregate.
///
/// `#[event(Impression)]` on the struct names the event. On a field, `#[accumulate(price)]` takes the event's `price`,
/// `#[accumulate(spend, clicks)]` both as a pair, `#[accumulate(price, when = won)]` only of events whose `won` is true,
/// `#[accumulate(when = won)]` counts those. Events in which a value is missing are not accumulated.
///
/// A filter is a flag, `!flag`, or a comparison of a column with a constant, `kind == "click"` or `price > 0.0`, and these joined
/// with `&&`, `||` and parentheses. Each of the former is false where its column is missing.
#[proc_macro_derive(Accumulators, attributes(event, accumulate))]
pub fn derive_accumulators(item: TokenStream) -> TokenStream {
    expand(syn::parse(item).and_then(|item| accumulators::accumulators(&item)))
}

/// Makes a function from inputs to outputs the row transform of its crate.
///
/// `#[row_transform(owner = "…")]` on `fn request_context(request: Request<'_>) -> Context`. The function stays as it is; a
/// type `RequestContext` stands for the transform in `unskew_guest::testing`. The crate's name and version are the
/// module's.
#[proc_macro_attribute]
pub fn row_transform(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(
        syn::parse(arguments)
            .and_then(|arguments| syn::parse(item).and_then(|item| export::row_transform(&arguments, &item))),
    )
}

/// Makes a function from the totals of a window to outputs the aggregate of its crate.
///
/// `#[aggregate(owner = "…", windows = ["1h/5m", "7d/1h"])]` on `fn ctr_history(totals: &Totals, prior: &Prior) -> Ctr`.
/// The function is called once per window; output `ctr` of window `1h` is the feature `ctr_1h`. A third parameter, `query:
/// &Query`, has the time of the query and the window. A type `CtrHistory` stands for the aggregate in `unskew_guest::testing`.
///
/// `reads = [Before]` names the states of before that are still read: types with `unskew_guest::PreviousState`. Without it a
/// change of the totals or the windows calls for a rebuild from the events.
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(
        syn::parse(arguments)
            .and_then(|arguments| syn::parse(item).and_then(|item| export::aggregate(&arguments, &item))),
    )
}

fn expand(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}
