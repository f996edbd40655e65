//! The same by hand: tables on the heap, the transform's own source compiled natively, the matrix written row by row.

use hashbrown::HashMap;
use request_context::{Context, Request, request_context};
use unskew_guest::Timestamp;

use crate::data::{Bid, NOW, PAIR_TTL_US, Rows, View, item_id, pair, user_id};

/// A row of a table.
#[derive(Clone, Copy)]
struct Row<T, const N: usize> {
    event_time_us: i64,
    /// A bit for each value that is there.
    present: u128,
    values: [T; N],
}

/// What the path of one service reads.
pub struct Native<const USER: usize, const ITEM: usize, const PAIR: usize> {
    users: HashMap<i64, Row<f64, USER>>,
    items: HashMap<i64, Row<f64, ITEM>>,
    pairs: HashMap<(i64, i64), Row<f32, PAIR>>,
}

/// The same for all widths.
pub trait NativePath: Sync {
    /// Writes the matrix of a bid.
    fn evaluate(&self, bid: &Bid, missing: f32, matrix: &mut Vec<f32>);
}

fn row<T: Copy + From<f32>, const N: usize>(view: View, number: u64) -> Row<T, N> {
    let values = std::array::from_fn(|feature| view.value(number, feature));
    Row {
        event_time_us: view.event_time(number).0,
        present: (0..N).fold(0, |bits, feature| {
            bits | u128::from(values[feature].is_some()) << feature
        }),
        values: values.map(|value| T::from(value.unwrap_or(0.0))),
    }
}

impl<const USER: usize, const ITEM: usize, const PAIR: usize> Native<USER, ITEM, PAIR> {
    pub fn new(rows: Rows) -> Self {
        Self {
            users: (0..rows.users).map(|n| (user_id(n), row(View::User, n))).collect(),
            items: (0..rows.items).map(|n| (item_id(n), row(View::Item, n))).collect(),
            pairs: (0..rows.pairs).map(|n| (pair(n, rows), row(View::Pair, n))).collect(),
        }
    }
}

impl<const USER: usize, const ITEM: usize, const PAIR: usize> NativePath for Native<USER, ITEM, PAIR> {
    fn evaluate(&self, bid: &Bid, missing: f32, matrix: &mut Vec<f32>) {
        let width = USER + ITEM + PAIR + 10;
        matrix.resize(bid.candidates.len() * width, missing);
        let mut of_user = [missing; USER];
        if let Some(user) = self.users.get(&bid.user) {
            write(user, missing, &mut of_user);
        }
        for (cells, (item, position)) in matrix.chunks_exact_mut(width).zip(&bid.candidates) {
            // Both misses are on their way before either is waited for.
            let (of_item, of_pair) = (self.items.get(item), self.pairs.get(&(bid.user, *item)));
            let of_pair = of_pair.filter(|row| NOW.0 - row.event_time_us <= PAIR_TTL_US as i64);
            cells[..USER].copy_from_slice(&of_user);
            let item_cells = &mut cells[USER..USER + ITEM];
            match of_item {
                Some(row) => write(row, missing, item_cells),
                None => item_cells.fill(missing),
            }
            let pair_cells = &mut cells[USER + ITEM..USER + ITEM + PAIR];
            match of_pair {
                Some(row) => write_f32(row, missing, pair_cells),
                None => pair_cells.fill(missing),
            }
            let ctr = |feature: usize| {
                of_item.and_then(|row| (row.present >> feature & 1 == 1).then_some(row.values[feature]))
            };
            let context = request_context(Request {
                prediction_time: Timestamp::from_micros(NOW.0),
                item_id: *item,
                position: Some(*position),
                user_segment: Some(&bid.segment),
                floor_price: Some(bid.floor_price),
                ctr_1d: ctr(0),
                ctr_7d: ctr(1),
            });
            write_context(&context, missing, &mut cells[USER + ITEM + PAIR..]);
        }
    }
}

#[inline]
fn write<const N: usize>(row: &Row<f64, N>, missing: f32, cells: &mut [f32]) {
    for (cell, value) in cells.iter_mut().zip(&row.values) {
        *cell = *value as f32;
    }
    leave_out::<N>(row.present, missing, cells);
}

#[inline]
fn write_f32<const N: usize>(row: &Row<f32, N>, missing: f32, cells: &mut [f32]) {
    cells.copy_from_slice(&row.values);
    leave_out::<N>(row.present, missing, cells);
}

/// Visits the few values that are not there.
#[inline]
fn leave_out<const N: usize>(present: u128, missing: f32, cells: &mut [f32]) {
    let mut absent = !present & (u128::MAX >> (128 - N));
    while absent != 0 {
        cells[absent.trailing_zeros() as usize] = missing;
        absent &= absent - 1;
    }
}

fn write_context(context: &Context, missing: f32, cells: &mut [f32]) {
    let integer = |value: i64| value as f64 as f32;
    let whole = |value: Option<i64>| value.map_or(missing, integer);
    let rate = |value: Option<f64>| value.map_or(missing, |value| value as f32);
    cells.copy_from_slice(&[
        integer(context.hour),
        integer(context.day_of_week),
        integer(context.item_hash),
        whole(context.segment_hash),
        whole(context.item_segment_hash),
        whole(context.item_position_hash),
        whole(context.floor_bucket),
        rate(context.ctr_trend),
        rate(context.ctr_logit),
        rate(context.ctr_at_position),
    ]);
}
