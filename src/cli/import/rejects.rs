//! The file of rejected rows: `<file>.rejected.csv` or `.ndjson`, beside the file.
//!
//! It has the columns of the file plus `rejected_row`, `rejected_code`, `rejected_detail`, which the
//! importer skips, so that a corrected file of rejected rows can be imported as it is. Rows that the
//! server saw carry the external id under which it saw them: whichever of the two files is imported
//! again later, such a row is posted once. The file is made with the first rejected row.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::fields::REJECTED_PREFIX;
use super::ndjson_rows::Object;
use super::row::{Rejected, Source, write_text};
use super::source::Format;

/// A file of rejected rows, not there before the first one.
pub struct RejectedFile {
    /// Where it is or would be.
    pub path: PathBuf,
    header: Vec<String>,
    writer: Option<BufWriter<File>>,
}

impl RejectedFile {
    /// Names the file; creates nothing.
    #[must_use]
    pub fn new(imported: &Path, format: Format, header: &[String]) -> RejectedFile {
        let mut path = imported.as_os_str().to_owned();
        path.push(match format {
            Format::Csv => ".rejected.csv",
            Format::Ndjson => ".rejected.ndjson",
        });
        RejectedFile { path: PathBuf::from(path), header: header.to_vec(), writer: None }
    }

    /// Appends a row.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write(&mut self, row: &Rejected) -> io::Result<()> {
        if self.writer.is_none() {
            let mut writer = BufWriter::new(File::create(&self.path)?);
            if matches!(row.source, Source::Csv(_)) {
                self.write_header(&mut writer)?;
            }
            self.writer = Some(writer);
        }
        let writer = self.writer.as_mut().expect("it was made above");
        match &row.source {
            Source::Csv(cells) => write_record(writer, &csv_cells(&self.header, row, cells)),
            Source::Json(line) => writer.write_all(&json_line(row, line)),
        }
    }

    /// Brings everything to the file; whether there is one.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn finish(&mut self) -> io::Result<bool> {
        match &mut self.writer {
            Some(writer) => writer.flush().map(|()| true),
            None => Ok(false),
        }
    }

    fn write_header(&self, writer: &mut BufWriter<File>) -> io::Result<()> {
        let mut header: Vec<Vec<u8>> =
            ["row", "code", "detail"].iter().map(|name| format!("{REJECTED_PREFIX}{name}").into_bytes()).collect();
        let kept = self.header.iter().filter(|name| !name.starts_with(REJECTED_PREFIX));
        header.extend(kept.map(|name| name.clone().into_bytes()));
        if !self.header.iter().any(|name| name == "external_id") {
            header.push(b"external_id".to_vec());
        }
        write_record(writer, &header)
    }
}

fn write_record(writer: &mut BufWriter<File>, cells: &[Vec<u8>]) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(writer);
    csv.write_record(cells).map_err(io::Error::other)?;
    csv.flush()
}

fn csv_cells(header: &[String], row: &Rejected, cells: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = vec![row.number.to_string().into_bytes(), row.code.clone().into(), row.detail.clone().into()];
    let known = row.external_id.clone().unwrap_or_default().into_bytes();
    for (place, cell) in cells.iter().enumerate() {
        match header.get(place).map(String::as_str) {
            Some(name) if name.starts_with(REJECTED_PREFIX) => {}
            Some("external_id") if cell.is_empty() => out.push(known.clone()),
            _ => out.push(cell.clone()),
        }
    }
    // A row of a wrong length keeps its length, so that what is wrong with it can be seen.
    if cells.len() == header.len() && !header.iter().any(|name| name == "external_id") {
        out.push(known);
    }
    out
}

fn json_line(row: &Rejected, line: &[u8]) -> Vec<u8> {
    let mut out = format!("{{\"{REJECTED_PREFIX}row\":{}", row.number).into_bytes();
    write_field(&mut out, "rejected_code", &row.code);
    write_field(&mut out, "rejected_detail", &row.detail);
    let text = String::from_utf8_lossy(line);
    match serde_json::from_str::<Object<'_>>(&text) {
        Ok(object) => {
            let kept = object.0.iter().filter(|(name, _)| !name.starts_with(REJECTED_PREFIX));
            let mut has_id = false;
            for (name, value) in kept {
                if name == "external_id" && value.get() == "null" {
                    continue;
                }
                has_id |= name == "external_id";
                out.push(b',');
                write_text(&mut out, name);
                out.push(b':');
                out.extend_from_slice(value.get().as_bytes());
            }
            if let Some(id) = row.external_id.as_ref().filter(|_| !has_id) {
                write_field(&mut out, "external_id", id);
            }
        }
        Err(_) => write_field(&mut out, "rejected_source", &text),
    }
    out.extend_from_slice(b"}\n");
    out
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b',');
    write_text(out, name);
    out.push(b':');
    write_text(out, value);
}
