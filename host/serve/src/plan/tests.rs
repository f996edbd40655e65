use unskew_snapshot::KeyType;

use super::*;
use crate::catalog::{EntityColumn, Transform};
use crate::descriptor::{Aggregation, Window};

fn column(name: &str, column_type: ColumnType, nullable: bool) -> ColumnDescriptor {
    ColumnDescriptor {
        name: name.to_owned(),
        column_type,
        nullable,
        doc: String::new(),
    }
}

fn descriptor(name: &str, inputs: Vec<ColumnDescriptor>, outputs: Vec<ColumnDescriptor>, kind: Kind) -> Descriptor {
    Descriptor {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        owner: "tests".to_owned(),
        description: String::new(),
        inputs,
        outputs,
        kind,
    }
}

/// `clicks` is an aggregate with an f64 and a nullable string parameter; `cross` and `square` are row transforms.
fn modules() -> BTreeMap<String, Descriptor> {
    let aggregation = Aggregation {
        events: vec![column("clicked", ColumnType::Bool, true)],
        windows: vec![Window {
            name: "1h".to_owned(),
            length_us: 3_600_000_000,
            hop_us: 0,
        }],
        state_version: 1,
        readable_state_versions: vec![1],
    };
    let f64_input = |name| column(name, ColumnType::F64, false);
    [
        descriptor(
            "clicks",
            vec![f64_input("weight"), column("segment", ColumnType::String, true)],
            vec![
                column("count_1h", ColumnType::I64, false),
                column("rate_1h", ColumnType::F64, true),
            ],
            Kind::Aggregate(aggregation),
        ),
        descriptor(
            "cross",
            vec![
                column("prediction_time", ColumnType::Timestamp, false),
                column("rate", ColumnType::F64, true),
            ],
            vec![column("product", ColumnType::F64, false)],
            Kind::Row,
        ),
        descriptor(
            "square",
            vec![f64_input("x")],
            vec![column("y", ColumnType::F64, true)],
            Kind::Row,
        ),
    ]
    .into_iter()
    .map(|descriptor| (descriptor.name.clone(), descriptor))
    .collect()
}

fn field(name: &str, column_type: ColumnType, nullable: bool) -> Field {
    Field {
        name: name.to_owned(),
        column_type,
        nullable,
    }
}

fn reference(name: &str) -> Binding {
    Binding::Reference(name.to_owned())
}

fn bindings<const N: usize>(pairs: [(&str, Binding); N]) -> BTreeMap<String, Binding> {
    pairs.map(|(name, binding)| (name.to_owned(), binding)).into()
}

/// Two views of a user, a table and an aggregate, and a service of both with two transforms.
fn catalog() -> Catalog {
    let keys = vec![EntityColumn {
        name: "user_id".to_owned(),
        key_type: KeyType::I64,
    }];
    let entity = Entity {
        name: "user".to_owned(),
        keys,
    };
    let view = |name: &str| View {
        name: name.to_owned(),
        entity: "user".to_owned(),
        ttl_us: None,
        features: Vec::new(),
        aggregate: None,
        staleness: None,
        lateness_us: None,
    };
    let transform = |name: &str, module: &str, inputs| Transform {
        name: name.to_owned(),
        module: module.to_owned(),
        inputs,
    };
    Catalog {
        entities: vec![entity],
        views: vec![
            View {
                ttl_us: Some(5),
                features: vec![
                    field("age", ColumnType::I64, false),
                    field("score", ColumnType::F64, false),
                ],
                ..view("profile")
            },
            View {
                aggregate: Some(ModuleUse {
                    module: "clicks".to_owned(),
                    inputs: bindings([("weight", Binding::I64(20))]),
                }),
                ..view("history")
            },
        ],
        services: vec![Service {
            name: "model".to_owned(),
            request: vec![
                field("segment", ColumnType::String, true),
                field("bid", ColumnType::F64, false),
            ],
            candidate: vec![field("user_id", ColumnType::I64, true)],
            transforms: vec![
                transform("cross", "cross", bindings([("rate", reference("history:rate_1h"))])),
                transform("again", "square", bindings([("x", reference("cross:product"))])),
            ],
            features: ["bid", "profile:score", "again:y", "history:count_1h", "prediction_time"]
                .map(str::to_owned)
                .into(),
            fallbacks: BTreeMap::new(),
        }],
    }
}

#[test]
fn a_good_service_has_its_slots_in_order() {
    let plan = Plan::resolve(&catalog(), "model", &modules()).unwrap();
    let slots: Vec<String> = plan
        .slots
        .iter()
        .map(|slot| {
            let name = if slot.constant.is_some() {
                "constant"
            } else {
                &slot.name
            };
            format!("{name} {}{}", slot.column_type, if slot.nullable { "?" } else { "" })
        })
        .collect();
    let expected = [
        "prediction_time timestamp",
        "segment string?",
        "bid f64",
        "user_id i64?",
        "constant f64",
        "history:count_1h i64",
        "history:rate_1h f64?",
        "cross:product f64",
        "again:y f64?",
        // A row of a table may always be missing, whatever the field says.
        "profile:score f64?",
    ];
    assert_eq!(slots, expected);
    assert_eq!(plan.slots[4].constant.as_ref().unwrap().value(0), Value::F64(20.0));
    assert_eq!(
        plan.views,
        [
            ViewStep {
                view: "history".to_owned(),
                keys: vec![3],
                key_types: vec![KeyType::I64],
                ttl: None,
                staleness: None,
                lateness: None,
                read: ViewRead::Aggregate {
                    module: "clicks".to_owned(),
                    inputs: vec![4, 1],
                    outputs: 5..7,
                },
            },
            ViewStep {
                view: "profile".to_owned(),
                keys: vec![3],
                key_types: vec![KeyType::I64],
                ttl: Some(Ttl::from_micros(5)),
                staleness: None,
                lateness: None,
                read: ViewRead::Features(vec![("score".to_owned(), 9)]),
            },
        ]
    );
    let transforms: Vec<(&str, &[usize], Range<usize>)> = plan
        .transforms
        .iter()
        .map(|step| (step.name.as_str(), &step.inputs[..], step.outputs.clone()))
        .collect();
    assert_eq!(transforms, [("cross", &[0, 6][..], 7..8), ("again", &[7], 8..9)]);
    let features: Vec<(usize, Option<usize>)> = plan.features.iter().map(|step| (step.slot, step.view)).collect();
    assert_eq!(features, [(2, None), (9, Some(1)), (8, None), (5, Some(0)), (0, None)]);
    assert_eq!(plan.modules().collect::<Vec<_>>(), ["clicks", "cross", "square"]);
    assert_eq!(plan.fields().map(|(slot, _)| slot).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        (plan.feature_index("again:y"), plan.feature_index("again")),
        (Some(2), None)
    );
    // A column of each type; those of constants have their value.
    let types: Vec<ColumnType> = plan.columns().iter().map(Column::column_type).collect();
    assert_eq!(
        types,
        plan.slots.iter().map(|slot| slot.column_type).collect::<Vec<_>>()
    );
}

/// The error of the good catalog with a change.
#[track_caller]
fn check(change: impl FnOnce(&mut Catalog), expected: &str) {
    let mut catalog = catalog();
    change(&mut catalog);
    let error = Plan::resolve(&catalog, "model", &modules()).expect_err(expected);
    assert_eq!(error.to_string(), format!("service `model`: {expected}"));
}

fn service(change: impl FnOnce(&mut Service)) -> impl FnOnce(&mut Catalog) {
    |catalog| change(&mut catalog.services[0])
}

/// Changes an input of the aggregate.
fn input(name: &'static str, binding: Binding) -> impl FnOnce(&mut Catalog) {
    move |catalog| {
        let aggregate = catalog.views[1].aggregate.as_mut().unwrap();
        aggregate.inputs.insert(name.to_owned(), binding);
    }
}

fn feature(name: &'static str) -> impl FnOnce(&mut Catalog) {
    service(move |service| service.features.push(name.to_owned()))
}

fn fallback(name: &'static str, value: Constant) -> impl FnOnce(&mut Catalog) {
    service(move |service| {
        service.fallbacks.insert(name.to_owned(), value);
    })
}

#[test]
fn fallbacks_are_of_outputs() {
    let mut catalog = catalog();
    fallback("history:count_1h", Constant::I64(0))(&mut catalog);
    fallback("cross:product", Constant::I64(2))(&mut catalog);
    let plan = Plan::resolve(&catalog, "model", &modules()).unwrap();
    let fallback_of = |name: &str| {
        let slot = plan.slots.iter().find(|slot| slot.name == name).unwrap();
        slot.fallback.as_ref().map(|fallback| fallback.value(0))
    };
    assert_eq!(fallback_of("history:count_1h"), Some(Value::I64(0)));
    assert_eq!(fallback_of("cross:product"), Some(Value::F64(2.0)));
    assert_eq!(fallback_of("again:y"), None);

    check(
        fallback("cross:quotient", Constant::F64(1.0)),
        "fallback `cross:quotient`: the service reads no such output of an aggregate or a transform",
    );
    check(
        fallback("profile:score", Constant::F64(1.0)),
        "fallback `profile:score`: nothing that can fail computes it: it is no output of an aggregate or a transform",
    );
    check(
        fallback("again:y", Constant::Text("1".to_owned())),
        "fallback `again:y`: it is f64, the constant is of another type",
    );
}

#[test]
fn names_that_stand_for_nothing() {
    let error = Plan::resolve(&catalog(), "modle", &modules()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "service `modle`: there is no such service; there are: model"
    );
    check(
        feature("sgement"),
        "feature `sgement`: the request has no field `sgement`; it has: segment, bid, user_id",
    );
    check(
        feature("users:age"),
        "feature `users:age`: there is no view `users`, and no transform of that name before this place",
    );
    check(
        feature("profile:height"),
        "feature `profile:height`: view `profile`: it has no feature `height`",
    );
    check(
        feature("history:count_2h"),
        "feature `history:count_2h`: view `history` has no feature `count_2h`",
    );
    check(
        feature("cross:quotient"),
        "feature `cross:quotient`: module `cross` has no output `quotient`",
    );
    check(service(|service| service.features.clear()), "it has no features");
    check(
        |catalog| catalog.views[0].entity = "usr".to_owned(),
        "feature `profile:score`: view `profile`: there is no entity `usr`",
    );
    check(
        |catalog| catalog.views[1].aggregate.as_mut().unwrap().module = "clicsk".to_owned(),
        "transform `cross`: input `rate`: view `history`: there is no module `clicsk`; there are: clicks, cross, square",
    );
    check(
        service(|service| service.transforms[0].module = "corss".to_owned()),
        "transform `cross`: there is no module `corss`; there are: clicks, cross, square",
    );
    check(
        input("wieght", Binding::F64(1.0)),
        "transform `cross`: input `rate`: view `history`: the module has no input `wieght`; it has: weight, segment",
    );
    check(
        service(|service| service.transforms[1].inputs.clear()),
        "transform `again`: input `x`: the request has no field `x`; it has: segment, bid, user_id",
    );
    check(
        service(|service| service.transforms.swap(0, 1)),
        "transform `again`: input `x`: there is no view `cross`, and no transform of that name before this place",
    );
    check(
        |catalog| catalog.entities[0].keys[0].name = "visitor".to_owned(),
        "transform `cross`: input `rate`: view `history`: the request has no field `visitor`, a key of entity `user`",
    );
}

#[test]
fn types_that_do_not_fit() {
    check(
        service(|service| service.candidate[0].column_type = ColumnType::String),
        "transform `cross`: input `rate`: view `history`: key `user_id` is i64, the request's field is string",
    );
    check(
        input("weight", reference("segment")),
        "transform `cross`: input `rate`: view `history`: input `weight`: it is f64, `segment` is string",
    );
    check(
        service(|service| {
            drop(
                service.transforms[1]
                    .inputs
                    .insert("x".to_owned(), reference("profile:age")),
            )
        }),
        "transform `again`: input `x`: it is f64, `profile:age` is i64",
    );
    check(
        service(|service| {
            drop(
                service.transforms[1]
                    .inputs
                    .insert("x".to_owned(), reference("profile:score")),
            )
        }),
        "transform `again`: input `x`: `profile:score` may be missing and the input may not: declare it as an Option in the \
         module",
    );
    check(
        service(|service| service.transforms[0].module = "clicks".to_owned()),
        "transform `cross`: module `clicks` is an aggregate: use it in a view",
    );
    check(
        |catalog| catalog.views[1].aggregate.as_mut().unwrap().module = "square".to_owned(),
        "transform `cross`: input `rate`: view `history`: module `square` is a row transform: use it in a service",
    );
    check(
        |catalog| catalog.views[1].ttl_us = Some(1),
        "transform `cross`: input `rate`: view `history`: an aggregate has no ttl: its windows say how far it looks back",
    );
    check(
        |catalog| {
            let service = &mut catalog.services[0];
            service.transforms[0].inputs.insert("rate".to_owned(), reference("bid"));
            catalog.views[1]
                .aggregate
                .as_mut()
                .unwrap()
                .inputs
                .insert("weight".to_owned(), reference("cross:product"));
        },
        "feature `history:count_1h`: view `history`: it reads transform `cross`, but views are read before transforms run",
    );
}

#[test]
fn names_that_stand_for_two_things() {
    check(
        service(|service| service.candidate.push(field("bid", ColumnType::I64, false))),
        "two fields are called `bid`",
    );
    check(
        service(|service| service.request[0].name = "prediction_time".to_owned()),
        "two fields are called `prediction_time`",
    );
    for name in ["", "a:b"] {
        check(
            service(move |service| service.request[0].name = name.to_owned()),
            &format!("`{name}` is no name of a field: it must not be empty or have a colon"),
        );
    }
    check(feature("bid"), "feature `bid`: it is listed twice");
    for (name, taken) in [(1, "cross"), (0, "profile")] {
        check(
            service(move |service| service.transforms[name].name = taken.to_owned()),
            &format!("transform `{taken}`: another transform or view has this name"),
        );
    }
}

#[test]
fn constants_are_exact_and_of_the_type() {
    let resolve = |binding| {
        let mut catalog = catalog();
        input("weight", binding)(&mut catalog);
        Plan::resolve(&catalog, "model", &modules())
    };
    let wrong = "service `model`: transform `cross`: input `rate`: view `history`: input `weight`: it is f64, the constant is of \
                 another type";
    let good = |binding, expected: f64| {
        let plan = resolve(binding).unwrap();
        assert_eq!(plan.slots[4].constant.as_ref().unwrap().value(0), Value::F64(expected));
    };
    good(Binding::F64(0.5), 0.5);
    good(Binding::I64(-3), -3.0);
    good(Binding::I64(1 << 53), 9_007_199_254_740_992.0);
    good(Binding::I64((1 << 53) + 2), 9_007_199_254_740_994.0);
    good(Binding::I64(i64::MIN), -9_223_372_036_854_775_808.0);
    for binding in [
        Binding::I64((1 << 53) + 1),
        Binding::I64(i64::MAX),
        Binding::Bool(true),
        Binding::Text { text: "1.0".to_owned() },
    ] {
        assert_eq!(resolve(binding).unwrap_err().to_string(), wrong);
    }
    // A constant is never missing, so an input that may be missing takes it, too.
    let mut catalog = catalog();
    let text = Binding::Text { text: "men".to_owned() };
    input("segment", text)(&mut catalog);
    let plan = Plan::resolve(&catalog, "model", &modules()).unwrap();
    assert_eq!(plan.slots[5].constant.as_ref().unwrap().value(0), Value::String("men"));
    // A constant has no name, so nothing can refer to it.
    assert_eq!(plan.slots[5].name, "");
    assert!(
        check_reference("").starts_with("service `model`: feature ``: the request has no field ``"),
        "{}",
        check_reference("")
    );
}

fn check_reference(name: &'static str) -> String {
    let mut catalog = catalog();
    feature(name)(&mut catalog);
    Plan::resolve(&catalog, "model", &modules()).unwrap_err().to_string()
}
