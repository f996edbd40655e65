//! What a backfill is, by definition: everything in memory, a loop in a loop.

use std::collections::BTreeMap;

use unskew::{Plan, ViewRead};
use unskew_frame::{Column, Value};
use unskew_snapshot::{EventTime, Status, Version, compare_versions, encode_row, is_alive, is_visible};

use crate::backfill::BackfillOptions;
use crate::entity_key::entity_keys;
use crate::project::Project;
use crate::table::{ColumnRequest, Table, TableSource};
use crate::view::read_view;

pub struct Expected {
    pub cells: Vec<(String, Status)>,
    pub ties: BTreeMap<String, u64>,
}

/// For a service of views of features.
pub fn compute(project: &Project, options: &BackfillOptions) -> Expected {
    let modules = BTreeMap::new();
    let plan = Plan::resolve(project.catalog(), &options.service, &modules).unwrap();
    let field = |(_, field): (usize, &unskew::catalog::Field)| ColumnRequest {
        name: field.name.clone(),
        column_type: field.column_type,
        required: !field.nullable,
        nullable: field.nullable,
    };
    let spine = Table::read(&TableSource {
        path: options.spine.clone(),
        columns: plan.fields().map(field).collect(),
        event_time: options.time_column.clone(),
        known_at: None,
    });
    let spine = spine.unwrap();
    // By feature, then by row.
    let mut columns: Vec<Vec<(String, Status)>> = vec![Vec::new(); plan.features.len()];
    let mut ties = BTreeMap::new();
    for (view, step) in plan.views.iter().enumerate() {
        let ViewRead::Features(_) = &step.read else {
            panic!("a view of features");
        };
        let history = read_view(project, &modules, &step.view).unwrap();
        let keys = history.keys().unwrap();
        let spine_columns: Vec<&Column> = step.keys.iter().map(|slot| &spine.columns()[slot - 1]).collect();
        let spine_keys = entity_keys(&spine_columns, spine.rows()).unwrap();
        let bytes: Vec<Vec<u8>> = (0..keys.len())
            .map(|row| {
                let mut bytes = Vec::new();
                for column in history.table.columns() {
                    encode_row(&[column.value(row)], &mut bytes);
                }
                bytes
            })
            .collect();
        let version = |row: usize| Version {
            event_time: history.table.event_time()[row],
            known_at: history.table.known_at().and_then(|known| known[row]),
            row: &bytes[row],
        };
        let mut tied = 0;
        for (key, at) in spine_keys.iter().zip(spine.event_time()) {
            let lagged = EventTime(at.0.saturating_sub_unsigned(options.lag_us));
            let seen_at = options.freeze_at.map_or(lagged, |freeze| freeze.min(lagged));
            let visible: Vec<usize> = (0..keys.len())
                .filter(|row| key.is_some() && keys[*row] == *key)
                .filter(|row| is_visible(version(*row).event_time, version(*row).known_at, seen_at))
                .collect();
            let best = visible
                .iter()
                .copied()
                .max_by(|a, b| compare_versions(&version(*a), &version(*b)));
            let status = match best {
                None => Status::NotFound,
                Some(row) if !is_alive(version(row).event_time, step.ttl, *at) => Status::Expired,
                Some(_) => Status::Present,
            };
            let row = best.filter(|_| status == Status::Present);
            tied += u64::from(row.is_some_and(|row| visible.iter().any(|v| version(*v).is_tied_with(&version(row)))));
            for (feature, step) in plan
                .features
                .iter()
                .enumerate()
                .filter(|(_, step)| step.view == Some(view))
            {
                let name = step.name.split_once(':').unwrap().1;
                let index = history
                    .view
                    .features
                    .iter()
                    .position(|field| field.name == name)
                    .unwrap();
                let value = row.map_or(Value::Null, |row| history.values()[index].value(row));
                let status = match value {
                    Value::Null if status == Status::Present => Status::Null,
                    _ => status,
                };
                let value = match value {
                    Value::F64(value) => format!("{:016x}", value.to_bits()),
                    value => format!("{value:?}"),
                };
                columns[feature].push((value, status));
            }
        }
        ties.insert(step.view.clone(), tied);
    }
    let cells = (0..spine.rows()).flat_map(|row| columns.iter().map(move |column| column[row].clone()));
    Expected {
        cells: cells.collect(),
        ties,
    }
}
