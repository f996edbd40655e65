use unskew::catalog::Binding;

use super::*;

const PROJECT: &str = r#"
[project]
name = "open-bandit"

[[entity]]
name = "item"
keys = [{ name = "item_id", type = "i64" }]

[[source]]
name = "impressions"
path = "all.csv"
event_time = "timestamp"
types = { click = "bool" }

[[source]]
name = "items"
path = "/data/items"
event_time = "timestamp"
known_at = "loaded_at"

[[view]]
name = "item_context"
entity = "item"
source = "items"
ttl = "30d"
keys = { item_id = "sku" }
features = [
    { name = "brand", type = "string", column = "item_feature_1" },
    { name = "embedding", type = "f32[16]" },
]

[[view]]
name = "item_ctr"
entity = "item"
source = "impressions"
module = "ctr-history"
events = { clicked = "click" }
inputs = { prior_ctr = 0.005, prior_weight = 100, mode = { text = "fast" }, hour = "hour" }

[[service]]
name = "ranking"
request = [{ name = "user", type = "string", nullable = true }]
candidate = [{ name = "item_id", type = "i64" }]
features = ["item_ctr:ctr_1d"]

[[service.transform]]
name = "context"
module = "request-context"
"#;

fn load(text: &str) -> Result<Project, ProjectError> {
    Project::parse(Path::new("shop/unskew.toml"), text)
}

#[test]
fn a_project_is_read_as_it_is_written() {
    let project = load(PROJECT).unwrap();
    assert_eq!(project.name(), "open-bandit");
    let impressions = project.source("impressions").unwrap();
    assert_eq!(impressions.path, Path::new("shop/all.csv"));
    assert_eq!(impressions.types["click"], ColumnType::Bool);
    let items = project.source("items").unwrap();
    assert_eq!(items.path, Path::new("/data/items"));
    assert_eq!(items.known_at.as_deref(), Some("loaded_at"));

    let catalog = project.catalog();
    let [context, ctr] = catalog.views.as_slice() else {
        panic!("two views");
    };
    assert_eq!(context.ttl_us, Some(30 * 86_400_000_000));
    assert_eq!(context.features[1].column_type, ColumnType::Vector(16));
    assert_eq!(context.aggregate, None);
    let aggregate = ctr.aggregate.as_ref().unwrap();
    assert_eq!(aggregate.module, "ctr-history");
    assert_eq!(aggregate.inputs["prior_ctr"], Binding::F64(0.005));
    assert_eq!(aggregate.inputs["prior_weight"], Binding::I64(100));
    let text = Binding::Text {
        text: "fast".to_owned(),
    };
    assert_eq!(aggregate.inputs["mode"], text);
    assert_eq!(aggregate.inputs["hour"], Binding::Reference("hour".to_owned()));
    let service = &catalog.services[0];
    assert!(service.request[0].nullable);
    assert_eq!(service.transforms[0].module, "request-context");
}

#[test]
fn a_view_reads_keys_then_features_then_events() {
    let project = load(PROJECT).unwrap();
    let names = |source: &TableSource| -> Vec<String> {
        let show = |c: &ColumnRequest| format!("{}:{}", c.name, c.column_type);
        source.columns.iter().map(show).collect()
    };
    let context = project.view_source("item_context").unwrap();
    let source = project.source(&context.source).unwrap();
    let table = source.table_source(context, Vec::new());
    assert_eq!(names(&table), ["sku:i64", "item_feature_1:string", "embedding:f32[16]"]);
    assert_eq!(table.known_at.as_deref(), Some("loaded_at"));

    let ctr = project.view_source("item_ctr").unwrap();
    let source = project.source(&ctr.source).unwrap();
    let event = |name: &str| ColumnRequest {
        name: name.to_owned(),
        column_type: ColumnType::Bool,
        required: true,
        nullable: false,
    };
    let table = source.table_source(ctr, vec![event("clicked"), event("viewed")]);
    assert_eq!(names(&table), ["item_id:i64", "click:bool", "viewed:bool"]);
    assert!(!table.columns[1].nullable);
}

/// The project with `old` replaced by `new` is refused with this message.
#[track_caller]
fn check(old: &str, new: &str, expected: &str) {
    assert!(PROJECT.contains(old), "{old}");
    let error = load(&PROJECT.replacen(old, new, 1)).unwrap_err();
    assert_eq!(error.to_string(), format!("shop/unskew.toml:{expected}"));
}

#[test]
fn names_are_defined_once_and_spelled_as_defined() {
    check(
        "source = \"impressions\"",
        "source = \"impresions\"",
        "35: a source named `impresions` is not defined: did you mean `impressions`?",
    );
    check(
        "entity = \"item\"",
        "entity = \"campaign\"",
        "23: an entity named `campaign` is not defined: there are item",
    );
    check(
        "keys = { item_id = \"sku\" }",
        "keys = { item_ids = \"sku\" }",
        "26: a key named `item_ids` is not defined: did you mean `item_id`?",
    );
    check(
        "name = \"item_ctr\"",
        "name = \"item_context\"",
        "33: a view named `item_context` is defined twice: rename one",
    );
    check(
        "name = \"items\"",
        "name = \"impressions\"",
        "16: a source named `impressions` is defined twice: rename one",
    );
    check(
        "name = \"embedding\"",
        "name = \"brand\"",
        "29: a feature named `brand` is defined twice: rename one",
    );
    check(
        "keys = [{ name = \"item_id\", type = \"i64\" }]",
        "keys = [{ name = \"a\", type = \"i64\" }, { name = \"a\", type = \"i64\" }]",
        "7: a key named `a` is defined twice: rename one",
    );
    check(
        "name = \"item_ctr\"",
        "name = \"item:ctr\"",
        "33: `item:ctr` cannot be the name of a view: use letters, digits, `_`, `-` and `.`",
    );
    let twice = format!("{PROJECT}\n[[service]]\nname = \"ranking\"\nfeatures = []\n");
    let error = load(&twice).unwrap_err().to_string();
    assert!(
        error.ends_with("a service named `ranking` is defined twice: rename one"),
        "{error}"
    );
}

#[test]
fn a_view_has_features_or_a_module_and_what_belongs_to_it() {
    check(
        "module = \"ctr-history\"\nevents = { clicked = \"click\" }\ninputs",
        "# inputs",
        "33: view `item_ctr` has no features: give `features`, columns of its source, or `module`, an aggregate over its events",
    );
    check(
        "module = \"ctr-history\"",
        "module = \"ctr-history\"\nfeatures = [{ name = \"a\", type = \"f64\" }]",
        "33: view `item_ctr` has both `features` and `module`: the features of an aggregate are its module's outputs, remove one of the two",
    );
    check(
        "ttl = \"30d\"",
        "lateness = \"2h\"",
        "25: view `item_context` has `lateness`, which only a view with a module has: remove it",
    );
    check(
        "ttl = \"30d\"",
        "events = {}",
        "25: view `item_context` has `events`, which only a view with a module has: remove it",
    );
    check(
        "module = \"ctr-history\"",
        "module = \"ctr-history\"\nttl = \"1d\"",
        "37: view `item_ctr` has `ttl`, which an aggregate does not have: its windows say how long an event counts: remove it",
    );
}

#[test]
fn a_lateness_is_of_events_that_say_when_they_became_known() {
    check(
        "module = \"ctr-history\"",
        "module = \"ctr-history\"\nlateness = \"2h\"",
        "37: view `item_ctr` has `lateness`, but source `impressions` does not say when its rows became known: give it `known_at`, the \
         column that does, or remove the lateness",
    );
    let known = PROJECT.replacen("event_time =", "known_at = \"arrived\"\nevent_time =", 1);
    let late = known.replace(
        "module = \"ctr-history\"",
        "module = \"ctr-history\"\nlateness = \"2h30m\"",
    );
    let project = load(&late).unwrap();
    let lateness: Vec<Option<u64>> = project.catalog().views.iter().map(|view| view.lateness_us).collect();
    assert_eq!(lateness, [None, Some(9_000_000_000)]);
    let error = load(&late.replace("2h30m", "2 hours")).unwrap_err().to_string();
    assert!(
        error.starts_with("shop/unskew.toml:38: the lateness of view `item_ctr`: `2 hours` is not a duration"),
        "{error}"
    );
}

#[test]
fn values_are_of_their_types() {
    check(
        "ttl = \"30d\"",
        "ttl = \"30 days\"",
        "25: the TTL of view `item_context`: `30 days` is not a duration: use whole numbers with d, h, m, s, ms, us, greatest unit first, as in 30d or 3d9h",
    );
    check(
        "ttl = \"30d\"",
        "max_age = \"6 hours\"",
        "25: the max_age of view `item_context`: `6 hours` is not a duration: use whole numbers with d, h, m, s, ms, us, greatest unit first, as in 30d or 3d9h",
    );
    check(
        "ttl = \"30d\"",
        "when_stale = \"missing\"",
        "25: view `item_context` has `when_stale`, which only a view with a max_age has: remove it",
    );
    check_syntax(
        "ttl = \"30d\"",
        "max_age = \"6h\"\nwhen_stale = \"never\"",
        26,
        "unknown variant `never`, expected one of `serve`, `missing`, `fail`",
    );
    check(
        "event_time = \"timestamp\"\ntypes",
        "types",
        "10: source `impressions` has no event time: give `event_time`, the column that says when each row happened",
    );
    check(
        "keys = [{ name = \"item_id\", type = \"i64\" }]",
        "keys = []",
        "6: entity `item` has no key: give `keys = [{ name = \"…\", type = \"i64\" }]`",
    );
    check(
        "types = { click = \"bool\" }",
        "types = { item_id = \"string\" }",
        "33: column `item_id` of source `impressions` is declared as string and used as i64 in view `item_ctr`",
    );
}

/// As `check`, for the messages of other crates: the line, and what the message has in it.
#[track_caller]
fn check_syntax(old: &str, new: &str, line: usize, part: &str) {
    assert!(PROJECT.contains(old), "{old}");
    let error = load(&PROJECT.replacen(old, new, 1)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("shop/unskew.toml:{line}: ")), "{error}");
    assert!(error.contains(part), "{error}");
}

#[test]
fn settings_are_those_of_a_project_file() {
    check_syntax("known_at =", "known_att =", 19, "did you mean `known_at`?");
    check_syntax("[[view]]", "[[views]]", 21, "did you mean `view`?");
    check_syntax("type = \"i64\"", "type = \"int\"", 7, "`int` is not a key type");
    check_syntax(
        "click = \"bool\"",
        "click = \"boolean\"",
        13,
        "`boolean` is not a column type",
    );
    check_syntax(
        "type = \"f32[16]\"",
        "type = \"f32[0]\"",
        29,
        "`f32[0]` is not a column type",
    );
    check_syntax("path = \"all.csv\"", "path = 7", 11, "expected a string");
    check_syntax("path = \"all.csv\"", "path = ", 11, "");
    check_syntax("source = \"items\"\n", "", 21, "missing field `source`");
}

#[test]
fn what_a_service_reads_is_there() {
    let service = |features: &str| format!("features = [\n  \"item_context:brand\",\n  {features},\n]");
    let check_features = |features: &str, expected: &str| {
        check("features = [\"item_ctr:ctr_1d\"]", &service(features), expected);
    };
    check_features(
        "\"item_context:brandt\"",
        "46: a feature of view `item_context` named `brandt` is not defined: did you mean `brand`?",
    );
    check_features(
        "'item_contexts:brand'",
        "46: a view or a transform named `item_contexts` is not defined: did you mean `item_context`?",
    );
    check_features(
        "\"item\"",
        "46: a field named `item` is not defined: there are user, item_id",
    );
    // What modules give is not known here.
    let good = service("\"item_ctr:anything\", \"context:hour\", 'user', \"prediction_time\"");
    load(&PROJECT.replace("features = [\"item_ctr:ctr_1d\"]", &good)).unwrap();
}

#[test]
fn settings_by_their_names_in_feast_are_told_ours() {
    check_syntax("event_time =", "timestamp_field =", 12, "did you mean `event_time`?");
    check_syntax(
        "known_at =",
        "created_timestamp_column =",
        19,
        "did you mean `known_at`?",
    );
    check_syntax("keys = [", "join_keys = [", 7, "did you mean `keys`?");
    check_syntax("[[view]]", "[[feature_view]]", 21, "did you mean `view`?");
}

#[test]
fn a_missing_file_is_named() {
    let error = Project::load(Path::new("/nowhere/unskew.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the project file /nowhere/unskew.toml");
    assert!(std::error::Error::source(&error).is_some());
}
