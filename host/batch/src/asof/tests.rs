use proptest::prelude::*;
use unskew_frame::{Column, ColumnType, Value};
use unskew_snapshot::{KeyPart, Version, compare_versions, encode_row, is_alive, parse_duration_us};

use super::*;
use crate::array::{column_to_array, value_at};
use crate::table::Table;
use arrow::array::{ArrayRef, StringArray};
use std::sync::Arc;
use unskew_snapshot::{EntityKey, KeyType};

/// The join of rows whose keys are single texts.
struct AsOf<'a> {
    keys: Vec<Option<EntityKey>>,
    table: &'a Table,
}

/// What it gave.
struct Found {
    rows: Vec<Option<u32>>,
    status: Vec<Status>,
    ties: u64,
}

fn key_column(keys: &[Option<EntityKey>]) -> ArrayRef {
    let texts = keys
        .iter()
        .map(|key| match key.as_ref()?.parts(&[KeyType::String]).unwrap()[..] {
            [KeyPart::String(text)] => Some(text),
            _ => panic!("a key of one text"),
        });
    Arc::new(texts.collect::<StringArray>())
}

impl<'a> AsOf<'a> {
    fn build(keys: Vec<Option<EntityKey>>, table: &'a Table) -> Self {
        Self { keys, table }
    }

    fn join(
        &self,
        spine_keys: &[Option<EntityKey>],
        spine_times: &[EventTime],
        ttl: Option<Ttl>,
        freeze_at: Option<EventTime>,
    ) -> Found {
        let table = self.table;
        let (source_keys, spine_keys) = ([key_column(&self.keys)], [key_column(spine_keys)]);
        let mut source_words = KeyWords::lenient(&source_keys, table.rows());
        let mut spine_words = KeyWords::lenient(&spine_keys, spine_times.len());
        // Hashes of a few bits, so that different keys collide.
        source_words.words.iter_mut().for_each(|word| *word &= 1);
        spine_words.words.iter_mut().for_each(|word| *word &= 1);
        let event_time: Vec<i64> = table.event_time().iter().map(|time| time.0).collect();
        let times: Vec<i64> = spine_times.iter().map(|time| time.0).collect();
        let columns: Vec<(ArrayRef, ColumnType)> = table
            .columns()
            .iter()
            .map(|column| (column_to_array(column, table.rows()), column.column_type()))
            .collect();
        let known_at = |row: u32| table.known_at().and_then(|known| known[row as usize]);
        let encode = |row: u32, out: &mut Vec<u8>| {
            for (array, column_type) in &columns {
                encode_row(&[value_at(array, *column_type, row as usize)], out);
            }
        };
        let joined = super::join(
            &Versions {
                words: &source_words,
                keys: KeyColumns::new(&source_keys),
                event_time: &event_time,
                known_at: table.known_at().map(|_| &known_at as &dyn Fn(u32) -> Option<EventTime>),
                encode: &encode,
                carried: &[],
            },
            &Moments {
                words: &spine_words,
                keys: KeyColumns::new(&spine_keys),
                times: &times,
                sight: Sight { freeze_at, lag_us: 0 },
                ttl,
            },
            false,
        );
        Found {
            rows: joined.rows.iter().map(|row| (*row != NO_ROW).then_some(*row)).collect(),
            status: joined.status,
            ties: joined.ties,
        }
    }
}

fn key(name: &str) -> Option<EntityKey> {
    (!name.is_empty()).then(|| EntityKey::new(&[KeyPart::String(name)]).unwrap())
}

fn at(text: &str) -> EventTime {
    EventTime::parse_rfc3339(text).unwrap()
}

/// Rows of (key, event time, known-at, value); an empty key is none.
fn table(rows: &[(&str, i64, Option<i64>, i64)]) -> (Vec<Option<EntityKey>>, Table) {
    let mut values = Column::new(ColumnType::I64);
    rows.iter().for_each(|row| values.push_i64(row.3));
    let times = rows.iter().map(|row| EventTime(row.1)).collect();
    let known: Vec<_> = rows.iter().map(|row| row.2.map(EventTime)).collect();
    let known = known.iter().any(Option::is_some).then_some(known);
    let keys = rows.iter().map(|row| key(row.0)).collect();
    (keys, Table::new(vec![("value".to_owned(), values)], times, known))
}

/// One spine row of key "a" at a time against rows of (event time, known-at, value).
#[track_caller]
fn check(
    rows: &[(i64, Option<i64>, i64)],
    spine: i64,
    ttl: Option<u64>,
    freeze: Option<i64>,
    expected: (Option<i64>, Status, u64),
) {
    let rows: Vec<_> = rows.iter().map(|r| ("a", r.0, r.1, r.2)).collect();
    let (keys, table) = table(&rows);
    let joined = AsOf::build(keys, &table).join(
        &[key("a")],
        &[EventTime(spine)],
        ttl.map(Ttl::from_micros),
        freeze.map(EventTime),
    );
    let value = joined.rows[0].map(|row| rows[row as usize].3);
    assert_eq!((value, joined.status[0], joined.ties), expected);
}

#[test]
fn a_row_counts_from_its_event_time_on() {
    let rows = [(10, None, 1), (20, None, 2)];
    check(&rows, 9, None, None, (None, Status::NotFound, 0));
    check(&rows, 10, None, None, (Some(1), Status::Present, 0));
    check(&rows, 19, None, None, (Some(1), Status::Present, 0));
    check(&rows, 20, None, None, (Some(2), Status::Present, 0));
    check(&rows, i64::MAX, None, None, (Some(2), Status::Present, 0));
    check(&[], 10, None, None, (None, Status::NotFound, 0));
}

#[test]
fn a_row_is_alive_exactly_at_its_ttl() {
    let rows = [(10, None, 1)];
    check(&rows, 15, Some(5), None, (Some(1), Status::Present, 0));
    check(&rows, 16, Some(5), None, (None, Status::Expired, 0));
    check(&rows, 10, Some(0), None, (Some(1), Status::Present, 0));
    check(&rows, 11, Some(0), None, (None, Status::Expired, 0));
}

#[test]
fn an_expired_row_does_not_uncover_an_older_one() {
    let rows = [(10, Some(10), 1), (12, Some(30), 2)];
    check(&rows, 29, Some(19), None, (Some(1), Status::Present, 0));
    check(&rows, 30, Some(17), None, (None, Status::Expired, 0));
}

#[test]
fn a_late_correction_is_seen_when_it_is_known() {
    let rows = [(10, Some(10), 1), (20, Some(50), 2), (15, Some(16), 3)];
    check(&rows, 15, None, None, (Some(1), Status::Present, 0));
    check(&rows, 16, None, None, (Some(3), Status::Present, 0));
    check(&rows, 49, None, None, (Some(3), Status::Present, 0));
    check(&rows, 50, None, None, (Some(2), Status::Present, 0));
    // The same event corrected: the later knowledge wins.
    let rows = [(10, Some(30), 2), (10, Some(11), 1)];
    check(&rows, 29, None, None, (Some(1), Status::Present, 0));
    check(&rows, 30, None, None, (Some(2), Status::Present, 0));
    // A row without a known-at was known from the first, and is below any that has one.
    let rows = [(10, None, 9), (10, Some(11), 1)];
    check(&rows, 10, None, None, (Some(9), Status::Present, 0));
    check(&rows, 11, None, None, (Some(1), Status::Present, 0));
}

#[test]
fn a_tie_falls_to_the_greatest_row_and_is_counted_if_the_rows_differ() {
    let tied = [(10, None, 3), (10, None, 7), (10, None, 5)];
    check(&tied, 10, None, None, (Some(7), Status::Present, 1));
    let negative = [(10, None, -1), (10, None, 0)];
    check(&negative, 10, None, None, (Some(0), Status::Present, 1));
    let same = [(10, None, 7), (10, None, 7)];
    check(&same, 10, None, None, (Some(7), Status::Present, 0));
    // The two greatest are equal, a third differs.
    let mixed = [(10, None, 7), (10, None, 3), (10, None, 7)];
    check(&mixed, 10, None, None, (Some(7), Status::Present, 1));
    // A tie that is not the answer is none.
    let older = [(10, None, 3), (10, None, 7), (11, None, 5)];
    check(&older, 11, None, None, (Some(5), Status::Present, 0));
    check(&tied, 20, Some(5), None, (None, Status::Expired, 0));
    let known = [(10, Some(10), 3), (10, Some(11), 7)];
    check(&known, 11, None, None, (Some(7), Status::Present, 0));
}

#[test]
fn a_frozen_join_sees_what_was_known_then_and_ages_it_now() {
    let rows = [(10, None, 1), (20, None, 2)];
    check(&rows, 25, None, Some(19), (Some(1), Status::Present, 0));
    check(&rows, 25, None, Some(20), (Some(2), Status::Present, 0));
    check(&rows, 15, None, Some(20), (Some(1), Status::Present, 0));
    check(&rows, 25, Some(15), Some(19), (Some(1), Status::Present, 0));
    check(&rows, 26, Some(15), Some(19), (None, Status::Expired, 0));
    check(&rows, 25, None, Some(9), (None, Status::NotFound, 0));
    let late = [(10, Some(22), 1)];
    check(&late, 25, None, Some(21), (None, Status::NotFound, 0));
    check(&late, 25, None, Some(22), (Some(1), Status::Present, 0));
}

#[test]
fn null_and_unknown_keys_are_not_found_and_duplicates_are_kept() {
    let (keys, table) = table(&[("", 1, None, 1), ("a", 1, None, 2)]);
    let index = AsOf::build(keys, &table);
    let spine = [key("a"), key(""), key("b"), key("a")];
    let joined = index.join(&spine, &[EventTime(1); 4], None, None);
    assert_eq!(joined.rows, [Some(1), None, None, Some(1)]);
    use Status::{NotFound, Present};
    assert_eq!(joined.status, [Present, NotFound, NotFound, Present]);
}

#[test]
fn purchases_get_the_features_of_their_time() {
    let (mut logins, mut spend) = (Column::new(ColumnType::I64), Column::new(ColumnType::F64));
    for (l, s) in [(5, 45.0), (6, 46.0), (3, 60.0)] {
        logins.push_i64(l);
        spend.push_f64(s);
    }
    let times = ["2024-01-10", "2024-01-17", "2024-01-15"].map(at).to_vec();
    let columns = vec![("logins".to_owned(), logins), ("spend".to_owned(), spend)];
    let table = Table::new(columns, times, None);
    let index = AsOf::build(["u1", "u1", "u2"].map(key).to_vec(), &table);
    let spine = ["u1", "u1", "u2"].map(key);
    let times = ["2024-01-15T10:00:00Z", "2024-01-20T14:30:00Z", "2024-01-18T09:00:00Z"].map(at);
    let (first, second, third) = (Some((5, 45.0)), Some((6, 46.0)), Some((3, 60.0)));
    for (ttl, expected) in [
        (None, [first, second, third]),
        (Some("4d"), [None, second, third]),
        (Some("3d9h"), [None, None, third]),
        (Some("3d"), [None, None, None]),
    ] {
        let ttl = ttl.map(|ttl| Ttl::from_micros(parse_duration_us(ttl).unwrap()));
        let joined = index.join(&spine, &times, ttl, None);
        let values = joined.rows.iter().map(|row| {
            let row = (*row)? as usize;
            let (logins, spend) = (table.column("logins")?, table.column("spend")?);
            Some((logins.view().i64(row), spend.view().f64(row)))
        });
        assert_eq!(values.collect::<Vec<_>>(), expected, "TTL {ttl:?}");
    }
}

/// The join as a nested loop over the definitions.
fn naive(
    keys: &[Option<EntityKey>],
    table: &Table,
    spine: &[(Option<EntityKey>, EventTime)],
    ttl: Option<Ttl>,
    freeze: Option<EventTime>,
) -> (Vec<Option<Vec<u8>>>, Vec<Status>, u64) {
    let bytes = |row: usize| {
        let values: Vec<Value<'_>> = table.columns().iter().map(|c| c.value(row)).collect();
        let mut bytes = Vec::new();
        encode_row(&values, &mut bytes);
        bytes
    };
    let rows: Vec<Vec<u8>> = (0..table.rows()).map(bytes).collect();
    let version = |row: usize| Version {
        event_time: table.event_time()[row],
        known_at: table.known_at().and_then(|known| known[row]),
        row: &rows[row],
    };
    let (mut found, mut status, mut ties) = (Vec::new(), Vec::new(), 0);
    for (key, at) in spine {
        let seen_at = freeze.map_or(*at, |freeze| freeze.min(*at));
        let candidates: Vec<Version<'_>> = (0..table.rows())
            .filter(|row| key.is_some() && keys[*row] == *key)
            .map(version)
            .filter(|v| is_visible(v.event_time, v.known_at, seen_at))
            .collect();
        match candidates.iter().max_by(|a, b| compare_versions(a, b)) {
            None => {
                found.push(None);
                status.push(Status::NotFound);
            }
            Some(best) if !is_alive(best.event_time, ttl, *at) => {
                found.push(None);
                status.push(Status::Expired);
            }
            Some(best) => {
                found.push(Some(best.row.to_vec()));
                status.push(Status::Present);
                ties += u64::from(candidates.iter().any(|other| other.is_tied_with(best)));
            }
        }
    }
    (found, status, ties)
}

fn small_time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..12, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn small_key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "a", "b", "c"])
}

proptest! {
    #[test]
    fn the_join_is_the_nested_loop(
        rows in prop::collection::vec(
            (small_key(), small_time(), prop::option::weighted(0.8, small_time()), 0_i64..3),
            0..40,
        ),
        with_known_at: bool,
        spine in prop::collection::vec((small_key(), small_time()), 0..30),
        ttl in prop::option::of(0_u64..8),
        freeze in prop::option::of(small_time()),
    ) {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(k, event, known, v)| (k, event, known.filter(|_| with_known_at), v))
            .collect();
        let (keys, table) = table(&rows);
        let spine: Vec<_> = spine.iter().map(|(k, t)| (key(k), EventTime(*t))).collect();
        let (ttl, freeze) = (ttl.map(Ttl::from_micros), freeze.map(EventTime));
        let (found, status, ties) = naive(&keys, &table, &spine, ttl, freeze);

        let (spine_keys, times): (Vec<_>, Vec<_>) = spine.into_iter().unzip();
        let joined = AsOf::build(keys, &table).join(&spine_keys, &times, ttl, freeze);
        let bytes: Vec<_> = joined.rows.iter().map(|row| row.map(|row| {
            let mut bytes = Vec::new();
            encode_row(&[table.columns()[0].value(row as usize)], &mut bytes);
            bytes
        })).collect();
        prop_assert_eq!(bytes, found);
        prop_assert_eq!(joined.status, status);
        prop_assert_eq!(joined.ties, ties);
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter(
        mut rows in prop::collection::vec(
            (small_key(), small_time(), prop::option::of(small_time()), 0_i64..3),
            1..20,
        ),
        at in small_time(),
    ) {
        let value = |rows: &[(&str, i64, Option<i64>, i64)]| {
            let (keys, table) = table(rows);
            let joined = AsOf::build(keys, &table).join(&[key("a")], &[EventTime(at)], None, None);
            (joined.rows[0].map(|row| rows[row as usize].3), joined.status, joined.ties)
        };
        let forward = value(&rows);
        rows.reverse();
        prop_assert_eq!(value(&rows), forward);
    }
}

#[test]
fn one_entity_with_many_late_rows_is_joined_quickly() {
    // Every row but the first is known only at the end: a walk back over them would take 4 * 10^10 steps.
    let rows: Vec<_> = (0..200_000)
        .map(|i| ("a", i, Some(if i == 0 { 0 } else { 1_000_000 }), i))
        .collect();
    let (keys, table) = table(&rows);
    let index = AsOf::build(keys, &table);
    let times: Vec<_> = (0..200_000).map(EventTime).collect();
    let joined = index.join(&vec![key("a"); times.len()], &times, None, None);
    assert!(joined.rows.iter().all(|row| *row == Some(0)));
}
