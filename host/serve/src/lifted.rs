//! The way into any component: the component model, which copies frames in and out.

use std::sync::Arc;

use unskew_frame::encode;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, InstancePre, TypedFunc};

use crate::instance::{Answer, EnterError, Frames, Function, InstanceState};
use crate::module::Exports;
use crate::wit::{WitAggregateError, WitRowError};

/// An instance that is called through the component model.
pub(crate) struct Lifted {
    pub store: Store<InstanceState>,
    functions: Functions,
    /// The frames on their way in. Shared with the engine during a call only.
    frames: [Words; 3],
    /// The frame that came out.
    answer: Vec<u64>,
}

type Words = Arc<Vec<u64>>;
/// Copied out: a component may free its result at the end of the call, before the host could read it in place.
type RowResult = (Result<Vec<u64>, WitRowError>,);
type AggregateResult = (Result<Vec<u64>, WitAggregateError>,);

enum Functions {
    Row {
        apply: TypedFunc<(Words,), RowResult>,
    },
    Aggregate {
        fold: TypedFunc<(Words, Words), AggregateResult>,
        merge: TypedFunc<(Words, Words), AggregateResult>,
        read: TypedFunc<(Words, Words), AggregateResult>,
        batch: TypedFunc<(Words, Words, Words), AggregateResult>,
    },
}

impl Lifted {
    pub fn new(
        instances: &InstancePre<InstanceState>,
        exports: &Exports,
        mut store: Store<InstanceState>,
    ) -> wasmtime::Result<Self> {
        let instance = instances.instantiate(&mut store)?;
        let functions = match exports {
            Exports::Row { apply } => Functions::Row {
                apply: instance.get_typed_func(&mut store, *apply)?,
            },
            Exports::Aggregate {
                fold,
                merge,
                read,
                batch,
            } => {
                let mut two = |index: &ComponentExportIndex| instance.get_typed_func(&mut store, *index);
                let (fold, merge, read) = (two(fold)?, two(merge)?, two(read)?);
                Functions::Aggregate {
                    fold,
                    merge,
                    read,
                    batch: instance.get_typed_func(&mut store, *batch)?,
                }
            }
        };
        Ok(Self {
            store,
            functions,
            frames: Default::default(),
            answer: Vec::new(),
        })
    }

    /// Calls `function` on `frames`.
    pub fn enter(&mut self, function: Function, frames: &Frames<'_>) -> Result<Answer<'_>, EnterError> {
        for (words, (columns, rows)) in self.frames.iter_mut().zip(frames) {
            // Nobody else holds it between calls.
            encode(columns, *rows, Arc::make_mut(words)).map_err(EnterError::Encode)?;
        }
        let [a, b, c] = [0, 1, 2].map(|frame: usize| Arc::clone(&self.frames[frame]));
        let store = &mut self.store;
        let row = |(result,): RowResult| result.map_err(String::from);
        let aggregate = |(result,): AggregateResult| result.map_err(String::from);
        let result = match (&self.functions, function) {
            (Functions::Row { apply }, Function::Apply) => apply.call(store, (a,)).map(row),
            (Functions::Aggregate { fold, .. }, Function::Fold) => fold.call(store, (a, b)).map(aggregate),
            (Functions::Aggregate { merge, .. }, Function::Merge) => merge.call(store, (a, b)).map(aggregate),
            (Functions::Aggregate { read, .. }, Function::Read) => read.call(store, (a, b)).map(aggregate),
            (Functions::Aggregate { batch, .. }, Function::Batch) => batch.call(store, (a, b, c)).map(aggregate),
            _ => return Err(EnterError::Nonsense("the module is of the other kind")),
        };
        match result.map_err(EnterError::Engine)? {
            Ok(words) => {
                self.answer = words;
                Ok(Answer::Frame(&self.answer))
            }
            Err(refused) => Ok(Answer::Refused(refused)),
        }
    }
}
