//! What columns are, by their types and names.

use unskew_frame::ColumnType;

use crate::project::is_plain_name;
use crate::survey::{Survey, SurveyedColumn};

/// Names of event times, the surest first.
const EVENT_TIMES: [&str; 9] = [
    "event_time",
    "event_timestamp",
    "event_ts",
    "timestamp",
    "ts",
    "time",
    "datetime",
    "occurred_at",
    "date",
];
/// Names of the time when a row became known.
const KNOWN_ATS: [&str; 8] = [
    "known_at",
    "created_timestamp",
    "created_at",
    "created",
    "ingested_at",
    "loaded_at",
    "inserted_at",
    "available_at",
];
/// Names of prediction times.
const PREDICTION_TIMES: [&str; 2] = ["prediction_time", "request_time"];
/// Parts of a calendar are numbers that are no keys, whatever they are called.
const CALENDAR: [&str; 9] = [
    "year", "quarter", "month", "week", "day", "weekday", "hour", "minute", "second",
];

pub(super) fn event_time(survey: &Survey) -> Option<String> {
    first_named(survey, &EVENT_TIMES)
        .or_else(|| times(survey).find(|column| !is_named(column, &KNOWN_ATS)))
        .or_else(|| times(survey).next())
        .map(|column| column.name.clone())
}

/// The time when a row became known, besides its event time.
pub(super) fn known_at(survey: &Survey, event_time: Option<&str>) -> Option<String> {
    let found = first_named(survey, &KNOWN_ATS)?;
    (Some(found.name.as_str()) != event_time).then(|| found.name.clone())
}

pub(super) fn prediction_time(spine: &Survey) -> Option<String> {
    let found = first_named(spine, &PREDICTION_TIMES).map(|column| column.name.clone());
    found.or_else(|| event_time(spine))
}

/// The column of the entity's key: one that the spine has too, of the same type, if there is a spine; one that is called an
/// identifier before a text, and a text before a number.
pub(super) fn key(survey: &Survey, spine: Option<&Survey>) -> Option<String> {
    let is_shared = |column: &SurveyedColumn| {
        spine.is_none_or(|spine| {
            spine
                .column(&column.name)
                .is_some_and(|of_spine| of_spine.column_type == column.column_type)
        })
    };
    let rank = |column: &SurveyedColumn| {
        // The columns of a spine have the names of the keys.
        if !is_plain_name(&column.name) {
            return None;
        }
        let is_text = match column.column_type {
            Some(ColumnType::String) => true,
            Some(ColumnType::I64) => false,
            _ => return None,
        };
        match (is_identifier(&column.name), is_text) {
            (true, _) => Some(0),
            (false, true) => Some(1),
            // A number that the spine has too may be a key; one of its own is rather a value.
            (false, false) if spine.is_some() && !is_named(column, &CALENDAR) => Some(2),
            _ => None,
        }
    };
    let ranked = survey.columns.iter().filter(|column| is_shared(column));
    let ranked = ranked.filter_map(|column| Some((rank(column)?, column)));
    let best = ranked.min_by_key(|(rank, _)| *rank);
    best.map(|(_, column)| column.name.clone())
}

fn is_identifier(name: &str) -> bool {
    let lower = name.to_lowercase();
    let ends = ["_id", "_key", "_uuid", "_hash", "_code"];
    lower == "id" || ends.iter().any(|end| lower.ends_with(end)) || name.ends_with("Id") || name.ends_with("ID")
}

fn times(survey: &Survey) -> impl Iterator<Item = &SurveyedColumn> {
    let is_time = |column: &&SurveyedColumn| column.column_type == Some(ColumnType::Timestamp);
    survey.columns.iter().filter(is_time)
}

/// The column of times that has the first of these names that one has.
fn first_named<'a>(survey: &'a Survey, names: &[&str]) -> Option<&'a SurveyedColumn> {
    names
        .iter()
        .find_map(|name| times(survey).find(|column| is_named(column, &[name])))
}

fn is_named(column: &SurveyedColumn, names: &[&str]) -> bool {
    names.iter().any(|name| column.name.eq_ignore_ascii_case(name))
}
