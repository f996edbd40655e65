use std::collections::HashMap;
use std::path::Path;

use arrow::array::ArrayRef;
use unskew_frame::{Column, ColumnType};

use super::{Growing, Place, ReadError, Request, Wanted};
use crate::array::column_to_array;

/// The columns of a text file that were not asked for by name, as texts until all are known, in the order they came up.
#[derive(Default)]
pub(super) struct Carried {
    columns: Vec<CarriedColumn>,
    by_name: HashMap<String, usize>,
}

struct CarriedColumn {
    /// Its place in the file, if a row has places.
    index: usize,
    growing: Growing,
    /// Whether its type was declared; else it is a text whose type is found when all are known.
    is_declared: bool,
}

impl Carried {
    /// The columns of a file with this header. Columns without a name are not carried.
    pub(super) fn of_header(path: &Path, names: &[&str], request: &Request<'_>) -> Result<Self, ReadError> {
        let mut carried = Self::default();
        for (index, name) in names.iter().enumerate() {
            if !is_carried(name, request) {
                continue;
            }
            if carried.by_name.contains_key(*name) {
                return Err(ReadError::DuplicateColumn {
                    path: path.to_owned(),
                    column: (*name).to_owned(),
                });
            }
            carried.add(name, index, request);
        }
        Ok(carried)
    }

    /// Each column and its place in the file.
    pub(super) fn by_index(&mut self) -> impl Iterator<Item = (usize, &mut Growing)> {
        self.columns
            .iter_mut()
            .map(|column| (column.index, &mut column.growing))
    }

    /// The column of this name and whether its type was declared. It may be new, after `rows` rows without it; none if it
    /// is not one to carry.
    pub(super) fn by_name(&mut self, name: &str, rows: usize, request: &Request<'_>) -> Option<(&mut Growing, bool)> {
        let position = match self.by_name.get(name) {
            Some(position) => *position,
            None if is_carried(name, request) => {
                let position = self.add(name, usize::MAX, request);
                let column = &mut self.columns[position].growing.column;
                (0..rows).for_each(|_| column.push_null());
                position
            }
            None => return None,
        };
        let column = &mut self.columns[position];
        Some((&mut column.growing, column.is_declared))
    }

    /// Ends row `row`, counted from 0: columns that it did not have miss a value.
    pub(super) fn end_row(&mut self, path: &Path, place: Place, row: usize) -> Result<(), ReadError> {
        self.columns
            .iter_mut()
            .filter(|column| column.growing.column.rows() == row)
            .try_for_each(|column| column.growing.push_null(path, place))
    }

    /// The columns; `infer` gives those whose type was not declared.
    pub(super) fn into_arrays(self, infer: impl Fn(&Column) -> ArrayRef) -> Vec<(String, ArrayRef)> {
        let array = |CarriedColumn {
                         growing, is_declared, ..
                     }: CarriedColumn| {
            let column = growing.column;
            let array = if is_declared {
                column_to_array(&column, column.rows())
            } else {
                infer(&column)
            };
            (growing.wanted.name, array)
        };
        self.columns.into_iter().map(array).collect()
    }

    fn add(&mut self, name: &str, index: usize, request: &Request<'_>) -> usize {
        let declared = request.carry.and_then(|types| types.get(name));
        let wanted = Wanted {
            name: name.to_owned(),
            column_type: declared.copied().unwrap_or(ColumnType::String),
            required: false,
            nullable: true,
        };
        let position = self.columns.len();
        self.by_name.insert(name.to_owned(), position);
        self.columns.push(CarriedColumn {
            index,
            growing: Growing::new(wanted),
            is_declared: declared.is_some(),
        });
        position
    }
}

/// Whether a column of this name is to be carried.
pub(super) fn is_carried(name: &str, request: &Request<'_>) -> bool {
    request.carry.is_some() && !name.is_empty() && request.columns.iter().all(|wanted| wanted.name != name)
}
