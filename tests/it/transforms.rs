//! The repository's aggregates as components: within their budget, and the same bits as the Rust that they are made of.

use unskew::{CallLimits, Plan, Store, descriptors, state_column};
use unskew_batch::Project;
use unskew_frame::{Column, ColumnType};
use unskew_guest::testing::{self, Random};
use unskew_guest::{Accumulators, Aggregate, ColumnMeta, Input};
use unskew_registry::COMPONENT_BUDGET_BYTES;
use unskew_tests::component;

const HOUR_US: i64 = 3_600_000_000;
const STATES: usize = 20;
const EVENTS_PER_STATE: usize = 60;
const QUERIES_PER_STATE: usize = 8;

fn values(random: &mut Random, columns: &[ColumnMeta], count: usize) -> Vec<Column> {
    let fill = |column: &ColumnMeta| {
        let mut values = Column::new(column.column_type);
        (0..count).for_each(|_| random.push_value(&mut values, column.nullable));
        values
    };
    columns.iter().map(fill).collect()
}

/// Folds, merges, reads and runs the batch form, in the component and natively.
fn check<T: Aggregate>(name: &str) {
    let bytes = component(name);
    assert!(
        bytes.len() <= COMPONENT_BUDGET_BYTES,
        "{name} has {} bytes",
        bytes.len()
    );
    let directory = tempfile::tempdir().expect("a directory");
    let modules = unskew_tests::load(&Store::new(directory.path()), &[bytes.to_vec()]);
    let mut instance = modules[name].instantiate(CallLimits::BATCH).expect("an instance");

    let mut random = Random::new(11);
    let (event_count, query_count) = (STATES * EVENTS_PER_STATE, STATES * QUERIES_PER_STATE);
    let mut events = vec![Column::new(ColumnType::I64), Column::new(ColumnType::Timestamp)];
    let mut queries = vec![
        Column::new(ColumnType::I64),
        Column::new(ColumnType::Timestamp),
        Column::new(ColumnType::I64),
    ];
    for state in 0..STATES {
        let mut times: Vec<i64> = (0..EVENTS_PER_STATE)
            .map(|_| 1_705_320_000_000_000 - (random.u64() % (200 * HOUR_US) as u64) as i64)
            .collect();
        // Of every other state in order: both ways of the batch form.
        if state % 2 == 0 {
            times.sort_unstable();
        }
        for time in &times {
            events[0].push_i64(state as i64);
            events[1].push_timestamp(*time);
        }
        for query in 1..=QUERIES_PER_STATE {
            let visible = query * EVENTS_PER_STATE / QUERIES_PER_STATE;
            let last = times[..visible].iter().max().copied().unwrap_or_default();
            queries[0].push_i64(state as i64);
            queries[1].push_timestamp(last + 1);
            queries[2].push_i64(visible as i64);
        }
    }
    events.extend(values(
        &mut random,
        <<T::Totals as Accumulators>::Event<'_> as Input<'_>>::COLUMNS,
        event_count,
    ));
    queries.extend(values(&mut random, <T::Input<'_> as Input<'_>>::COLUMNS, query_count));
    let (events, queries): (Vec<&Column>, Vec<&Column>) = (events.iter().collect(), queries.iter().collect());
    let mut none = state_column();
    (0..STATES).for_each(|_| none.push_null());

    let native = testing::batch::<T>(&none, &events, &queries).expect("a batch");
    let mut outputs: Vec<Column> = native.iter().map(|column| Column::new(column.column_type())).collect();
    let empty = outputs.clone();
    instance
        .batch(&none, &events, &queries, query_count, &mut outputs)
        .expect("a batch");
    assert_eq!(outputs, native, "{name}: the batch form differs");

    let states = testing::fold::<T>(&none, &events).expect("a fold");
    let mut folded = state_column();
    instance.fold(&none, &events, &mut folded).expect("a fold");
    assert_eq!(folded, states, "{name}: the states differ");
    let mut merged = state_column();
    instance.merge(&folded, &none, &mut merged).expect("a merge");
    assert_eq!(merged, states, "{name}: merged states differ");

    let late: Vec<&Column> = [queries[0], queries[1]]
        .into_iter()
        .chain(queries[3..].iter().copied())
        .collect();
    let mut after = Column::new(ColumnType::Timestamp);
    (0..query_count).for_each(|_| after.push_timestamp(1_705_320_000_000_001));
    let late: Vec<&Column> = late
        .iter()
        .enumerate()
        .map(|(i, column)| if i == 1 { &after } else { *column })
        .collect();
    let mut outputs = empty;
    instance
        .read(&folded, &late, query_count, &mut outputs)
        .expect("a reading");
    assert_eq!(
        outputs,
        testing::read::<T>(&states, &late).expect("a reading"),
        "{name}: readings differ"
    );
}

#[test]
fn components_compute_what_their_source_does() {
    check::<ctr_history::CtrHistory>("ctr-history");
    check::<market_price::MarketPrice>("market-price");
    check::<pacing::Pacing>("pacing");
    check::<user_frequency::UserFrequency>("user-frequency");
}

/// The project in docs/transforms.md is one: its views' inputs and events, and its service's features, are those of the modules.
#[test]
fn the_project_of_the_documentation_resolves() {
    let page = std::fs::read_to_string(unskew_tests::root().join("docs/transforms.md")).expect("the page");
    let (_, project) = page.split_once("```toml\n").expect("a project");
    let (project, _) = project.split_once("```").expect("its end");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("unskew.toml");
    std::fs::write(&path, project).expect("a file");
    let project = Project::load(&path).unwrap_or_else(|error| panic!("{}", unskew_tests::chain(&error)));
    let names = ["user-frequency", "market-price", "pacing"];
    let components = names.map(|name| component(name).to_vec());
    let modules = unskew_tests::load(&Store::new(directory.path().join("store")), &components);
    let plan = Plan::resolve(project.catalog(), "bidder", &descriptors(&modules));
    assert_eq!(plan.expect("it resolves").features.len(), 12);
}
