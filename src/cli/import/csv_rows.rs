//! Rows of a CSV file with a header.

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use super::fields::{ItemKind, METADATA_PREFIX, REJECTED_PREFIX, Shape};
use super::row::{FileError, Malformed, Rejected, Row, Source, shown, write_cell, write_text};
use super::row_ids::RowIds;
use super::source::ROW_BYTES_MAX;

/// Bytes that the `csv` reader takes from us at once.
const CSV_BUFFER_BYTES: usize = 16 * 1024;

/// Lets the `csv` reader have only so many bytes between two rows: an unclosed quote would otherwise
/// make it gather the rest of the file in memory. An end of the file inside a quote is an error, where the
/// `csv` reader would take it for the end of the cell: the rows behind the quote would be its text.
struct Rationed<R> {
    source: BufReader<R>,
    left: Rc<Cell<usize>>,
    place: Place,
}

/// Where in a cell the bytes so far end, as the `csv` reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before a cell's first byte: only there a quote opens.
    Start,
    /// In a cell without quotes, or behind its closing one.
    Plain,
    Quoted,
    /// Behind a quote in a quoted cell: it was the closing one, unless another follows.
    Closing,
}

impl Place {
    fn after(self, byte: u8) -> Place {
        match (self, byte) {
            (Place::Quoted, b'"') => Place::Closing,
            (Place::Quoted, _) | (Place::Start | Place::Closing, b'"') => Place::Quoted,
            (_, b',' | b'\n' | b'\r') => Place::Start,
            _ => Place::Plain,
        }
    }
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 && !buffer.is_empty() {
            return Err(io::Error::other(RationUsedUp));
        }
        let wanted = buffer.len().min(left);
        let read = self.source.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 && self.place == Place::Quoted {
            return Err(io::Error::other(QuoteLeftOpen));
        }
        self.place = buffer[..read].iter().fold(self.place, |place, byte| place.after(*byte));
        self.left.set(left - read);
        Ok(read)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a row is longer than {ROW_BYTES_MAX} bytes")]
struct RationUsedUp;

#[derive(Debug, thiserror::Error)]
#[error("the file ends inside a quote")]
struct QuoteLeftOpen;

enum Column {
    Field(&'static str, Shape),
    Metadata(String),
    Skipped,
}

/// The rows of a CSV file.
pub struct CsvRows<R> {
    /// What the rows are.
    pub kind: ItemKind,
    /// Column names as the file has them.
    pub header: Vec<String>,
    columns: Vec<Column>,
    reader: csv::Reader<Rationed<R>>,
    record: csv::ByteRecord,
    left: Rc<Cell<usize>>,
    number: u64,
    ids: RowIds,
}

impl<R: Read> CsvRows<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Unreadable, empty, unknown or missing columns, or of no recognisable kind.
    pub fn open(source: BufReader<R>, kind: Option<ItemKind>, ids: RowIds) -> Result<CsvRows<R>, FileError> {
        let left = Rc::new(Cell::new(ROW_BYTES_MAX));
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(CSV_BUFFER_BYTES)
            .from_reader(Rationed { source, left: Rc::clone(&left), place: Place::Start });
        let mut record = csv::ByteRecord::new();
        let found = reader.read_byte_record(&mut record).map_err(|error| broken(error, 1))?;
        if !found {
            return Err(FileError::Broken("the file is empty".to_owned()));
        }
        let header = record
            .iter()
            .map(|cell| std::str::from_utf8(cell).map(str::to_owned))
            .collect::<Result<Vec<String>, _>>()
            .map_err(|_| FileError::Broken("the header is not UTF-8".to_owned()))?;
        let detected = ItemKind::detect(header.iter().map(String::as_str));
        let kind = kind.or(detected).ok_or_else(|| {
            FileError::Broken(format!(
                "the header is neither of accounts nor of transfers: {}",
                shown(&header.join(","))
            ))
        })?;
        let columns = columns(kind, &header)?;
        Ok(CsvRows { kind, header, columns, reader, record, left, number: 1, ids })
    }

    /// The next row.
    ///
    /// # Errors
    /// The file cannot be read on, or a row does not end.
    pub fn next_row(&mut self) -> Result<Option<Result<Row, Rejected>>, FileError> {
        self.left.set(ROW_BYTES_MAX);
        self.number += 1;
        if !self.reader.read_byte_record(&mut self.record).map_err(|error| broken(error, self.number))? {
            return Ok(None);
        }
        let own_id = self.own_id();
        let is_id_made = own_id.is_none();
        let external_id = own_id.unwrap_or_else(|| Some(self.made_id()));
        Ok(Some(self.row(external_id.as_deref(), is_id_made).map_err(|(code, detail)| Rejected {
            number: self.number,
            code: code.to_owned(),
            detail,
            external_id,
            source: self.source(),
        })))
    }

    fn source(&self) -> Source {
        Source::Csv(self.record.iter().map(<[u8]>::to_vec).collect())
    }

    /// The row's own external id; `None` when it has none, `Some(None)` when it is not text.
    fn own_id(&self) -> Option<Option<String>> {
        let place = self.columns.iter().position(|column| matches!(column, Column::Field("external_id", _)));
        let own = place.and_then(|place| self.record.get(place)).filter(|cell| !cell.is_empty());
        own.map(|cell| std::str::from_utf8(cell).ok().map(str::to_owned))
    }

    /// An id of what the row says, also of a malformed one: it is its own when it comes back corrected.
    fn made_id(&mut self) -> String {
        let columns = self.header.iter().map(Some).chain(std::iter::repeat(None));
        let says = |(name, cell): &(Option<&String>, &[u8])| {
            !cell.is_empty() && !name.is_some_and(|name| name.starts_with(REJECTED_PREFIX))
        };
        let cells = columns.zip(&self.record).filter(says);
        let mut fields: Vec<(&str, &[u8])> =
            cells.map(|(name, cell)| (name.map_or("", String::as_str), cell)).collect();
        self.ids.next(Some(self.kind), &mut fields)
    }

    fn row(&self, external_id: Option<&str>, is_id_made: bool) -> Result<Row, Malformed> {
        if self.record.len() != self.columns.len() {
            let (got, wanted) = (self.record.len(), self.columns.len());
            return Err(("wrong_column_count", format!("{got} cells under a header of {wanted}")));
        }
        let mut item = vec![b'{'];
        let mut metadata = vec![b'{'];
        for (place, (column, cell)) in self.columns.iter().zip(&self.record).enumerate() {
            let not_text = |_| ("not_utf8", format!("column {} is not UTF-8", self.header[place]));
            let cell = std::str::from_utf8(cell).map_err(not_text)?;
            match column {
                Column::Field("external_id", _) | Column::Skipped => {}
                _ if cell.is_empty() => {}
                Column::Field(name, shape) => write_cell(&mut item, name, *shape, cell)?,
                Column::Metadata(key) => write_cell(&mut metadata, key, Shape::Text, cell)?,
            }
        }
        for field in self.kind.fields().iter().filter(|field| field.is_required) {
            let place = self.header.iter().position(|name| name == field.name);
            if place.is_none_or(|place| self.record[place].is_empty()) {
                return Err(("field_missing", format!("{} is empty", field.name)));
            }
        }
        let external_id = external_id.ok_or(("not_utf8", "external_id is not UTF-8".to_owned()))?;
        write_cell(&mut item, "external_id", Shape::Text, external_id)?;
        if metadata.len() > 1 {
            item.push(b',');
            write_text(&mut item, "metadata");
            item.push(b':');
            item.extend_from_slice(&metadata);
            item.push(b'}');
        }
        item.push(b'}');
        let external_id = external_id.to_owned();
        Ok(Row { number: self.number, item, external_id, is_id_made, source: self.source() })
    }
}

fn columns(kind: ItemKind, header: &[String]) -> Result<Vec<Column>, FileError> {
    let mut columns = Vec::with_capacity(header.len());
    for (place, name) in header.iter().enumerate() {
        if header[..place].contains(name) {
            return Err(FileError::Broken(format!("column {} stands twice in the header", shown(name))));
        }
        let known = kind.field(name).filter(|field| field.shape != Shape::Metadata);
        columns.push(match (known, name.strip_prefix(METADATA_PREFIX)) {
            (Some(field), _) => Column::Field(field.name, field.shape),
            (None, Some(key)) if !key.is_empty() => Column::Metadata(key.to_owned()),
            _ if name.starts_with(REJECTED_PREFIX) => Column::Skipped,
            _ => return Err(FileError::Broken(format!("{} have no column {}", kind.collection(), shown(name)))),
        });
    }
    match kind.fields().iter().find(|field| field.is_required && !header.iter().any(|name| name == field.name)) {
        Some(missing) => Err(FileError::Broken(format!("the header has no column {}", missing.name))),
        None => Ok(columns),
    }
}

fn broken(error: csv::Error, number: u64) -> FileError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => match error.get_ref() {
            Some(cause) if cause.is::<RationUsedUp>() => {
                FileError::Broken(format!("row {number} is longer than {ROW_BYTES_MAX} bytes: is a quote left open?"))
            }
            Some(cause) if cause.is::<QuoteLeftOpen>() => {
                FileError::Broken(format!("row {number} opens a quote that the file never closes"))
            }
            _ => FileError::Read(error),
        },
        other => FileError::Broken(format!("row {number} is no CSV: {other:?}")),
    }
}
