use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::ArrayRef;
use unskew::catalog::{EntityColumn, Field};
use unskew_frame::{Column, ColumnType};
use unskew_snapshot::EventTime;

use crate::reader::{self, InputFile, ReadError, Request, Wanted};
use crate::table::times_of;

/// Which columns of a spine are what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpineOptions {
    /// The column of the prediction time. Every row has one.
    pub time_column: String,
    /// The columns of entity keys. A value may be missing: such a key is not found.
    pub keys: Vec<EntityColumn>,
    /// The fields of requests and candidates. The spine may lack one that is nullable.
    pub fields: Vec<Field>,
    /// The types of labels. Without one, a label of CSV or JSON is of the first of i64, f64 and bool that all of its values
    /// are written in, else a string.
    pub label_types: BTreeMap<String, ColumnType>,
}

/// The rows to compute features for, in the order of the file; the same row twice stays so.
#[derive(Clone, Debug)]
pub struct Spine {
    /// The prediction times.
    pub times: Vec<EventTime>,
    /// The columns of entity keys by name, as [`SpineOptions::keys`] has them.
    pub keys: Vec<(String, Column)>,
    /// The request's and the candidates' fields by name, as [`SpineOptions::fields`] has them.
    pub fields: Vec<(String, Column)>,
    /// Every other column, in the order of the file. Columns of text files without a name are left out.
    pub labels: Vec<(String, ArrayRef)>,
    /// What was read.
    pub files: Vec<InputFile>,
}

impl Spine {
    /// Reads a spine: a file or directory as [`Table::read`](crate::Table::read) reads them.
    ///
    /// # Errors
    /// A file is missing, damaged or lacks a column, or a value is of another type or missing where it must not be.
    pub fn read(path: &Path, options: &SpineOptions) -> Result<Self, ReadError> {
        let mut columns = vec![Wanted::time(&options.time_column, false)];
        columns.extend(options.keys.iter().map(|key| Wanted {
            name: key.name.clone(),
            column_type: key.key_type.column_type(),
            required: true,
            nullable: true,
        }));
        columns.extend(options.fields.iter().map(|field| Wanted {
            name: field.name.clone(),
            column_type: field.column_type,
            required: !field.nullable,
            nullable: field.nullable,
        }));
        let request = Request {
            columns: &columns,
            carry: Some(&options.label_types),
        };
        let read = reader::read(path, &request)?;
        let mut columns = columns.into_iter().map(|wanted| wanted.name).zip(read.columns);
        let times = columns.next().map(|(_, column)| times_of(&column));
        Ok(Self {
            times: times.into_iter().flatten().flatten().collect(),
            keys: columns.by_ref().take(options.keys.len()).collect(),
            fields: columns.collect(),
            labels: read.carried,
            files: read.files,
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The column of entity keys of this name.
    pub fn key(&self, name: &str) -> Option<&Column> {
        find(&self.keys, name)
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Column> {
        find(&self.fields, name)
    }
}

fn find<'a>(columns: &'a [(String, Column)], name: &str) -> Option<&'a Column> {
    columns
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, column)| column)
}

#[cfg(test)]
mod tests;
