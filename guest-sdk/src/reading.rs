use unskew_frame::Frame;

use crate::Timestamp;
use crate::accumulate::Accumulator;
use crate::aggregate::{Aggregate, AggregateError, Layout, Outputs, QueryFrame, decode_state, state_error};
use crate::state::{StateError, StateView};
use crate::tiling::Tiling;
use crate::window::{MAX_WINDOWS, WindowMeta};

/// Answers the queries of `read` from the bytes of states: in a state the latest cells come first, so its windows are read in the order
/// of their tails, the latest first.
pub(crate) fn read_queries<T: Aggregate>(
    layout: &Layout,
    states: &Frame<'_>,
    queries: &QueryFrame<'_, T>,
    outputs: &mut Outputs<'_, T>,
) -> Result<(), AggregateError> {
    let (states, mut tails, none) = (states.column(0), Tails::default(), T::Totals::default());
    for row in 0..queries.rows {
        let (t, state) = (queries.time(row), queries.state(row));
        let mut answer = |window: usize, totals: &T::Totals| outputs.push(window, totals, &queries.input(row), t);
        if !states.is_present(state) {
            (0..T::WINDOWS.len()).for_each(|window| answer(window, &none));
            continue;
        }
        match StateView::of::<T::Totals>(states.bytes(state), layout.version) {
            Ok(view) if view.last >= t => return Err(AggregateError::QueryBeforeState(row)),
            Ok(view) => {
                tails.move_to(&layout.tiling, T::WINDOWS, t);
                read_windows(&view, &layout.tiling, &tails, &none, answer)
                    .map_err(|error| state_error(error, state))?;
            }
            Err(StateError::Version(_)) => {
                let before = decode_state::<T>(states, state, layout)?;
                if before.last() >= Some(t) {
                    return Err(AggregateError::QueryBeforeState(row));
                }
                for (index, window) in T::WINDOWS.iter().enumerate() {
                    answer(index, &before.totals(&layout.tiling, window, t));
                }
            }
            Err(error) => return Err(state_error(error, state)),
        }
    }
    Ok(())
}

/// Calls `answer(window, totals)` for every window; `none` are the totals of no events.
#[inline]
pub(crate) fn read_windows<A: Accumulator>(
    view: &StateView<'_>,
    tiling: &Tiling,
    tails: &Tails,
    none: &A,
    mut answer: impl FnMut(usize, &A),
) -> Result<(), StateError> {
    let newest = tiling.place(view.last.as_micros());
    let windows = tails
        .windows()
        .map(|(window, tail)| (window, view.cells_from(tail, newest)));
    let mut read = 0;
    if A::IS_COMPACT {
        let (mut totals, mut held);
        totals = none;
        for (window, cells) in windows {
            if cells != read {
                held = view.totals_from(cells - 1)?;
                totals = &held;
                read = cells;
            }
            answer(window, totals);
        }
    } else {
        let (mut totals, mut reader) = (none.clone(), view.totals());
        for (window, cells) in windows {
            for _ in read..cells {
                totals.merge_encoded(&mut reader)?;
            }
            read = cells;
            answer(window, &totals);
        }
    }
    Ok(())
}

/// Where the windows end at one time.
pub(crate) struct Tails {
    time: Option<Timestamp>,
    count: usize,
    /// The windows and the places of their tails, the latest first.
    windows: [(u8, i64); MAX_WINDOWS],
}

impl Tails {
    /// Mostly queries are of one time.
    #[inline]
    pub fn move_to(&mut self, tiling: &Tiling, windows: &[WindowMeta], time: Timestamp) {
        if self.time == Some(time) {
            return;
        }
        let tails = self.windows.iter_mut().zip(windows).enumerate();
        tails.for_each(|(index, (tail, window))| {
            *tail = (index as u8, tiling.tail(window, time.as_micros()));
        });
        (self.time, self.count) = (Some(time), windows.len());
        self.windows[..self.count].sort_by_key(|(_, tail)| core::cmp::Reverse(*tail));
    }

    #[inline]
    fn windows(&self) -> impl Iterator<Item = (usize, i64)> {
        let windows = self.windows[..self.count].iter();
        windows.map(|(window, tail)| (usize::from(*window), *tail))
    }
}

impl Default for Tails {
    fn default() -> Self {
        Self {
            time: None,
            count: 0,
            windows: [(0, 0); MAX_WINDOWS],
        }
    }
}

const _: () = assert!(MAX_WINDOWS <= u8::MAX as usize);
