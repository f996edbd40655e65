use std::path::{Path, PathBuf};
use std::vec;

use unskew_frame::{Column, ColumnType};

use super::carry::CarriedArrays;
use super::{Growing, InputFile, Listing, ReadError, Request, Rows, SourceFile, Wanted, open_digested, open_error};
use crate::storage::Storage;

/// How a source is read that may be larger than memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkOptions {
    /// The rows of a chunk, about: a file's last chunk may have fewer, and one of a Parquet file a batch of its reader more.
    pub rows: usize,
    /// The bytes of a chunk's values beyond which it ends before it has as many rows; about, too.
    pub bytes: u64,
    /// Whether the digests of the files are taken, for which each is read once more.
    pub digests: bool,
}

impl Default for ChunkOptions {
    /// 65,536 rows or 16 MiB, without digests.
    fn default() -> Self {
        Self {
            rows: 1 << 16,
            bytes: 16 << 20,
            digests: false,
        }
    }
}

/// The rows of a source in order, a chunk at a time. Ends after an error.
pub(crate) struct Chunks {
    storage: Storage,
    wanted: Vec<Wanted>,
    options: ChunkOptions,
    listing: Listing,
    files: vec::IntoIter<SourceFile>,
    file: Option<OpenFile>,
    digested: Vec<InputFile>,
}

struct OpenFile {
    path: PathBuf,
    rows: Rows,
    columns: Vec<Growing>,
    /// The rows that were given out.
    given: u64,
}

/// Rows of one file, one or more.
pub(crate) struct Chunk {
    pub(crate) path: PathBuf,
    /// The number of its first row in the file, from 0.
    pub(crate) first_row: u64,
    /// One for each that was wanted, which is one at least.
    pub(crate) columns: Vec<Column>,
}

impl Chunks {
    /// Finds the files; each is opened when its first chunk is asked for.
    pub(crate) fn open(
        storage: Storage,
        path: &Path,
        wanted: Vec<Wanted>,
        options: ChunkOptions,
    ) -> Result<Self, ReadError> {
        let mut listing = Listing::of(&storage, path)?;
        let files = std::mem::take(&mut listing.files).into_iter();
        Ok(Self {
            storage,
            wanted,
            options,
            listing,
            files,
            file: None,
            digested: Vec::new(),
        })
    }

    /// The files that were opened, if digests are taken.
    pub(crate) fn files(&self) -> &[InputFile] {
        &self.digested
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        loop {
            let mut file = match self.file.take() {
                Some(file) => file,
                None => match self.files.next() {
                    Some(file) => self.open_file(&file)?,
                    None => return Ok(None),
                },
            };
            let (chunk, is_end) = file.next_chunk(&self.request(), self.options)?;
            if !is_end {
                self.file = Some(file);
            }
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }

    fn open_file(&mut self, source: &SourceFile) -> Result<OpenFile, ReadError> {
        let path = source.path.clone();
        let file = if self.options.digests {
            let (file, input) = open_digested(&self.storage, &path)?;
            self.digested.push(input);
            file
        } else {
            let opened = self.storage.open(&path);
            opened.map_err(|source| open_error(&path, source))?
        };
        let rows = Rows::open(
            &self.listing,
            source,
            file,
            &self.request(),
            &mut CarriedArrays::default(),
        )?;
        Ok(OpenFile {
            path,
            rows,
            columns: Growing::all(&self.wanted),
            given: 0,
        })
    }

    fn request(&self) -> Request<'_> {
        Request {
            columns: &self.wanted,
            carry: None,
        }
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.next_chunk();
        if chunk.is_err() {
            self.file = None;
            self.files = Vec::new().into_iter();
        }
        chunk.transpose()
    }
}

impl OpenFile {
    /// The next rows, if there are any, and whether they are the last.
    fn next_chunk(&mut self, request: &Request<'_>, options: ChunkOptions) -> Result<(Option<Chunk>, bool), ReadError> {
        // There are no columns to carry.
        let mut carried = CarriedArrays::default();
        let row_bytes: u64 = self.columns.iter().map(|c| fixed_bytes(c.wanted.column_type)).sum();
        let mut is_end = false;
        let rows = loop {
            let rows = self.columns.first().map_or(0, |column| column.column.rows());
            let texts: u64 = self.columns.iter().map(|column| column.text_bytes).sum();
            let bytes = texts.saturating_add(row_bytes.saturating_mul(rows as u64));
            if is_end || rows >= options.rows.max(1) || bytes >= options.bytes.max(1) {
                break rows;
            }
            is_end = !self.rows.next(&mut self.columns, &mut carried, request)?;
        };
        self.rows.check(&self.columns, request, is_end)?;
        if rows == 0 {
            return Ok((None, is_end));
        }
        let chunk = Chunk {
            path: self.path.clone(),
            first_row: self.given,
            columns: self.columns.iter_mut().map(Growing::take).collect(),
        };
        self.given += rows as u64;
        Ok((Some(chunk), is_end))
    }
}

/// What a value takes in a column, but for the bytes of texts.
const fn fixed_bytes(column_type: ColumnType) -> u64 {
    match column_type {
        ColumnType::Vector(len) => 4 * len as u64,
        _ => 8,
    }
}
