use super::*;

fn schema(features: Vec<FeatureColumn>) -> SnapshotSchema {
    SnapshotSchema {
        view: "view".to_owned(),
        key: vec![KeyColumn::new("id", KeyType::I64)],
        features,
        ttl: None,
    }
}

fn check(change: impl FnOnce(&mut SnapshotSchema), expected: Result<(), &str>) {
    let mut schema = schema(vec![FeatureColumn::new("f", ColumnType::F64)]);
    change(&mut schema);
    let found = schema.check().map_err(|error| error.to_string());
    assert_eq!(found, expected.map_err(str::to_owned));
}

#[test]
fn schemas_within_and_beyond_the_limits() {
    let many = |count: usize| -> Vec<_> {
        (0..count)
            .map(|i| FeatureColumn::new(format!("f{i}"), ColumnType::Bool))
            .collect()
    };
    let name = |len| "n".repeat(len);
    check(|_| {}, Ok(()));
    check(|s| s.features.clear(), Ok(()));
    check(|s| s.features = many(MAX_FEATURES), Ok(()));
    check(
        |s| s.features = many(MAX_FEATURES + 1),
        Err("there are 4097 features, more than 4096"),
    );
    check(
        |s| s.key.clear(),
        Err("the entity key has 0 columns, it must have 1 to 16"),
    );
    check(
        |s| s.key = vec![s.key[0].clone(); 17],
        Err("the entity key has 17 columns, it must have 1 to 16"),
    );
    check(|s| s.key.push(s.key[0].clone()), Err("the name `id` is there twice"));
    check(
        |s| s.features.push(s.features[0].clone()),
        Err("the name `f` is there twice"),
    );
    check(|s| s.view.clear(), Err("the name `` is empty or longer than 256 bytes"));
    check(|s| s.view = name(MAX_NAME_BYTES), Ok(()));
    let long = format!("the name `{}` is empty or longer than 256 bytes", name(32));
    check(|s| s.view = name(MAX_NAME_BYTES + 1), Err(&long));
    // A feature may have the name of a key column: the two are never in one place.
    check(|s| s.features[0].name = "id".to_owned(), Ok(()));
}

#[test]
fn vectors_within_and_beyond_the_limits() {
    let vectors = |count: u32, len| {
        move |s: &mut SnapshotSchema| {
            s.features = (0..count)
                .map(|i| FeatureColumn::new(format!("v{i}"), ColumnType::Vector(len)))
                .collect();
        }
    };
    let out_of_range = "the feature `v0` is a vector whose length is out of range";
    check(vectors(1, 1), Ok(()));
    check(vectors(1, 16_384), Ok(()));
    check(vectors(15, 16_384), Ok(()));
    check(vectors(1, 0), Err(out_of_range));
    check(vectors(1, 16_385), Err(out_of_range));
    check(vectors(1, u32::MAX), Err(out_of_range));
    check(
        vectors(16, 16_384),
        Err("a row is wider than 1048576 bytes: use fewer or shorter vectors"),
    );
}

#[test]
fn a_feature_is_found_by_name() {
    let schema = schema(vec![
        FeatureColumn::new("a", ColumnType::F64),
        FeatureColumn::new("b", ColumnType::Bool),
    ]);
    assert_eq!(schema.feature_index("b"), Some(1));
    assert_eq!(schema.feature_index("id"), None);
}
