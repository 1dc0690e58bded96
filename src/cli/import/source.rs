//! A file as a stream of rows: format and kind recognised, memory bounded by one row.
//!
//! Promise: no file makes this panic or grow. A malformed row is an item of the stream and the next one
//! follows; a file whose structure is broken (header, quoting, UTF-16) ends the stream with
//! [`FileError`], which the importer meets on its first pass, before anything is posted.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::csv_rows::CsvRows;
use super::fields::ItemKind;
use super::ndjson_rows::NdjsonRows;
use super::row::{FileError, Rejected, Row};
use super::row_ids::RowIds;

/// Bytes of one row, quotes and separators included. The server takes single bodies of 64 KiB.
pub const ROW_BYTES_MAX: usize = 64 * 1024;

const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With a header.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

/// The rows of an open file.
pub struct Rows<R> {
    /// How they are written.
    pub format: Format,
    reader: RowReader<R>,
}

enum RowReader<R> {
    Csv(Box<CsvRows<R>>),
    Ndjson(NdjsonRows<R>),
}

impl<R: Read> Rows<R> {
    /// Recognises the format and, unless it is given, the kind. `series` goes into the ids of rows that
    /// bring none, see [`RowIds`].
    ///
    /// # Errors
    /// The file cannot be read, or its encoding or header is broken.
    pub fn open(source: R, kind: Option<ItemKind>, series: &str) -> Result<Rows<R>, FileError> {
        let mut source = BufReader::with_capacity(READ_BUFFER_BYTES, source);
        let start = source.fill_buf()?;
        if start.starts_with(&[0xFF, 0xFE]) || start.starts_with(&[0xFE, 0xFF]) {
            return Err(FileError::Broken("the file is UTF-16: save it as UTF-8".to_owned()));
        }
        if start.starts_with(b"\xEF\xBB\xBF") {
            source.consume(3);
        }
        let first = source.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'{') {
            let reader = RowReader::Ndjson(NdjsonRows::open(source, kind, RowIds::new(series)));
            Ok(Rows { format: Format::Ndjson, reader })
        } else {
            let reader = RowReader::Csv(Box::new(CsvRows::open(source, kind, RowIds::new(series))?));
            Ok(Rows { format: Format::Csv, reader })
        }
    }

    /// The kind of the items; for NDJSON known after the first row.
    #[must_use]
    pub fn kind(&self) -> Option<ItemKind> {
        match &self.reader {
            RowReader::Csv(rows) => Some(rows.kind),
            RowReader::Ndjson(rows) => rows.kind,
        }
    }

    /// The header of a CSV file; empty for NDJSON.
    #[must_use]
    pub fn header(&self) -> &[String] {
        match &self.reader {
            RowReader::Csv(rows) => &rows.header,
            RowReader::Ndjson(_) => &[],
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on, or its structure is broken from here.
    pub fn next_row(&mut self) -> Result<Option<Result<Row, Rejected>>, FileError> {
        match &mut self.reader {
            RowReader::Csv(rows) => rows.next_row(),
            RowReader::Ndjson(rows) => rows.next_row(),
        }
    }
}

/// A file that was read once: whole, well structured, and known by its content.
#[derive(Debug)]
pub struct Surveyed {
    /// At its beginning again.
    pub file: File,
    /// Of all its bytes.
    pub hash: blake3::Hash,
    /// Rows, malformed ones included.
    pub rows: u64,
    /// What they are.
    pub kind: ItemKind,
}

/// Reads a file through: hash, number of rows, and whether its structure holds to the end.
///
/// # Errors
/// The file cannot be read, or is refused as a whole.
pub fn survey(path: &Path, kind: Option<ItemKind>) -> Result<Surveyed, FileError> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file)?;
    let hash = hasher.finalize();
    file.seek(SeekFrom::Start(0))?;
    // Ids do not matter here: whatever the series.
    let mut rows = Rows::open(&file, kind, "")?;
    let mut count = 0;
    while rows.next_row()?.is_some() {
        count += 1;
    }
    let no_kind =
        || FileError::Broken("the file is neither accounts nor transfers: say --accounts or --transfers".into());
    let kind = rows.kind().or(kind).ok_or_else(no_kind)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(Surveyed { file, hash, rows: count, kind })
}
