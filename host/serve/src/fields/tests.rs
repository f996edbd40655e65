use std::collections::BTreeMap;
use std::sync::Arc;

use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::EventTime;

use crate::catalog::{Catalog, Field, Service as Definition};
use crate::evaluation::Evaluation;
use crate::{Fields, Plan, RequestOf, Service};

/// A service whose features are its fields.
fn service() -> Service {
    let field = |name: &str, column_type, nullable| Field {
        name: name.to_owned(),
        column_type,
        nullable,
    };
    let definition = Definition {
        name: "model".to_owned(),
        request: vec![
            field("segment", ColumnType::String, true),
            field("site.page", ColumnType::String, false),
            field("floor", ColumnType::F64, true),
        ],
        candidate: vec![
            field("item", ColumnType::I64, false),
            field("embedding", ColumnType::Vector(2), true),
            field("seen", ColumnType::Timestamp, true),
        ],
        transforms: Vec::new(),
        features: vec!["segment".to_owned()],
        fallbacks: BTreeMap::new(),
    };
    let catalog = Catalog {
        services: vec![definition],
        ..Catalog::default()
    };
    Service {
        plan: Arc::new(Plan::resolve(&catalog, "model", &BTreeMap::new()).unwrap()),
    }
}

#[derive(Fields)]
struct Bid<'a> {
    #[field = "site.page"]
    page: &'a str,
    segment: Option<String>,
}

#[derive(Fields)]
struct Item {
    seen: Option<EventTime>,
    item: i64,
}

/// The fields of an evaluation of what was filled, a line each.
fn filled<R, C>(request: &RequestOf<R, C>) -> Vec<String> {
    let plan = service().plan;
    let mut evaluation = Evaluation::new(&plan);
    request.fill(&plan, &mut evaluation).unwrap();
    let line = |(slot, field): (usize, &Field)| {
        let column: &Column = &evaluation.columns[slot];
        let values: Vec<Value<'_>> = (0..column.rows()).map(|row| column.value(row)).collect();
        format!("{} {values:?}", field.name)
    };
    plan.fields().map(line).collect()
}

#[test]
fn a_request_is_filled_from_structs_of_any_lifetime() {
    let service = service();
    let mut request = service.request_of::<Bid<'_>, Item>(EventTime(1)).unwrap();
    for round in 0..2 {
        request.reset(EventTime(2));
        let page = format!("page {round}");
        let bid = |segment| Bid { page: &page, segment };
        request.set(&bid(Some("replaced".to_owned())));
        request.push(&Item {
            seen: Some(EventTime(7)),
            item: 3,
        });
        request.set(&bid(None));
        request.push(&Item { seen: None, item: 4 });
        assert_eq!(request.candidates(), 2);
        assert_eq!(
            filled(&request),
            [
                "segment [Null]".to_owned(),
                format!("site.page [String(\"page {round}\")]"),
                "floor [Null]".to_owned(),
                "item [I64(3), I64(4)]".to_owned(),
                "embedding [Null, Null]".to_owned(),
                "seen [Timestamp(7), Null]".to_owned(),
            ]
        );
    }
}

#[track_caller]
fn check<R: Fields, C: Fields>(expected: &str) {
    let error = service().request_of::<R, C>(EventTime(1)).unwrap_err();
    assert_eq!(error.to_string(), format!("service `model`, {expected}"));
}

#[test]
fn a_struct_that_does_not_fit_is_refused() {
    #[derive(Fields)]
    struct Misspelt<'a> {
        page: &'a str,
    }
    #[derive(Fields)]
    struct Typed {
        item: f64,
    }
    #[derive(Fields)]
    struct Optional {
        item: Option<i64>,
    }
    #[derive(Fields)]
    struct Longer {
        item: i64,
        embedding: [f32; 3],
    }
    #[derive(Fields)]
    struct Twice {
        item: i64,
        #[field = "item"]
        again: i64,
    }
    check::<Misspelt<'_>, Item>("`page`: the service has no such request field; it has: segment, site.page, floor");
    check::<(), Item>("`site.page`: it may not be missing, and the struct lacks it");
    check::<Bid<'_>, ()>("`item`: it may not be missing, and the struct lacks it");
    check::<Bid<'_>, Typed>("`item`: it is i64, in the struct f64");
    check::<Bid<'_>, Optional>("`item`: it may not be missing, and in the struct it is an Option");
    check::<Bid<'_>, Longer>("`embedding`: it is f32[2], in the struct f32[3]");
    check::<Bid<'_>, Twice>("`item`: the struct has it twice");
}
