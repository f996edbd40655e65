use std::ops::Range;

use toml::Spanned;
use unskew::catalog::{PREDICTION_TIME, Service, View};

use super::error::{Problem, Wrong};

/// Checks that what a service reads is there, as far as the project file says: the features of feature tables, and the names
/// of views, transforms and fields. What modules give is checked where they are known.
pub(super) fn check_references(service: &Spanned<Service>, views: &[View], text: &str) -> Result<(), Wrong> {
    let at = |reference: &str| span_of(reference, service.span(), text);
    let service = service.get_ref();
    for reference in &service.features {
        let unknown = |kind: String, name: &str, known: Vec<String>| {
            let problem = Problem::Unknown {
                kind,
                name: name.to_owned(),
                known,
            };
            Err(Wrong {
                span: at(reference),
                problem,
            })
        };
        let Some((owner, feature)) = reference.split_once(':') else {
            let fields = service.request.iter().chain(&service.candidate);
            let known: Vec<String> = fields.map(|field| field.name.clone()).collect();
            if reference != PREDICTION_TIME && !known.contains(reference) {
                return unknown("a field".to_owned(), reference, known);
            }
            continue;
        };
        if service.transforms.iter().any(|transform| transform.name == owner) {
            continue;
        }
        let Some(view) = views.iter().find(|view| view.name == owner) else {
            let transforms = service.transforms.iter().map(|transform| &transform.name);
            let known = views.iter().map(|view| &view.name).chain(transforms).cloned().collect();
            return unknown("a view or a transform".to_owned(), owner, known);
        };
        let known: Vec<String> = view.features.iter().map(|field| field.name.clone()).collect();
        if view.aggregate.is_none() && !known.iter().any(|known| known == feature) {
            return unknown(format!("a feature of view `{owner}`"), feature, known);
        }
    }
    Ok(())
}

/// Where a text is written in a service: from its table's header on.
fn span_of(written: &str, service: Range<usize>, text: &str) -> Range<usize> {
    let behind = text.get(service.start..).unwrap_or_default();
    let found = ['"', '\'']
        .iter()
        .filter_map(|quote| behind.find(&format!("{quote}{written}{quote}")))
        .min();
    match found {
        Some(at) => service.start + at..service.start + at + written.len(),
        None => service,
    }
}
