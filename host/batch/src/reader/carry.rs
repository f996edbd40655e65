use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
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

/// Every file has the carried columns of the first, in its order.
pub(super) fn check_names(path: &Path, first: &[impl AsRef<str>], names: &[&str]) -> Result<(), ReadError> {
    let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
    if let Some(lacking) = first.iter().find(|name| !names.contains(name)) {
        return Err(ReadError::MissingColumn {
            path: path.to_owned(),
            column: (*lacking).to_owned(),
            available: names.iter().map(|&name| name.to_owned()).collect(),
        });
    }
    if first != names {
        return Err(ReadError::Malformed {
            path: path.to_owned(),
            place: None,
            reason: format!(
                "the columns are {}, those of the first file {}: write all files with the same columns",
                names.join(", "),
                first.join(", ")
            ),
        });
    }
    Ok(())
}

/// The columns that were not asked for, by batches.
#[derive(Default)]
pub(super) struct CarriedArrays {
    names: Option<Vec<String>>,
    batches: Vec<Vec<ArrayRef>>,
}

impl CarriedArrays {
    /// Every file has the columns of the first. Whether this is the first.
    pub(super) fn begin_file(&mut self, path: &Path, names: &[&str]) -> Result<bool, ReadError> {
        if let Some(first) = &self.names {
            check_names(path, first, names)?;
            return Ok(false);
        }
        if let Some(twice) = (1..names.len()).find(|index| names[..*index].contains(&names[*index])) {
            return Err(ReadError::DuplicateColumn {
                path: path.to_owned(),
                column: names[twice].to_owned(),
            });
        }
        self.batches = vec![Vec::new(); names.len()];
        self.names = Some(names.iter().map(|&name| name.to_owned()).collect());
        Ok(true)
    }

    /// The name of a column.
    pub(super) fn name(&self, position: usize) -> &str {
        &self.names.as_deref().unwrap_or_default()[position]
    }

    pub(super) fn push(&mut self, position: usize, array: ArrayRef) {
        self.batches[position].push(array);
    }

    /// Takes the columns of the one file that there is.
    pub(super) fn set(&mut self, columns: Vec<(String, ArrayRef)>) {
        let (names, arrays): (_, Vec<ArrayRef>) = columns.into_iter().unzip();
        self.names = Some(names);
        self.batches = arrays.into_iter().map(|array| vec![array]).collect();
    }

    pub(super) fn into_arrays(self, path: &Path) -> Result<Vec<(String, ArrayRef)>, ReadError> {
        let mut arrays = Vec::new();
        for (name, batches) in self.names.unwrap_or_default().into_iter().zip(self.batches) {
            let batches: Vec<&dyn Array> = batches.iter().map(|batch| &**batch).collect();
            let array = concat(&batches).map_err(|error| ReadError::ColumnType {
                path: path.to_owned(),
                column: name.clone(),
                reason: format!("it is not of one type throughout: {error}"),
            })?;
            arrays.push((name, array));
        }
        Ok(arrays)
    }
}

/// Whether a column of this name is to be carried.
pub(super) fn is_carried(name: &str, request: &Request<'_>) -> bool {
    request.carry.is_some() && !name.is_empty() && request.columns.iter().all(|wanted| wanted.name != name)
}
