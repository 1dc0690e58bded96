//! One row of a file on its way to the server, and why a row or a file was refused.

use super::fields::Shape;

/// A row that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// CSV: counted in records, header = 1, blank lines not counted. NDJSON: the line.
    pub number: u64,
    /// The JSON object that is sent, `external_id` included.
    pub item: Vec<u8>,
    /// The id under which it is unique for ever.
    pub external_id: String,
    /// Whether that id was made here, of what the row says.
    pub is_id_made: bool,
    /// As it stood in the file: for the file of rejected rows.
    pub source: Source,
}

/// A row as its file had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cells of a CSV record, bytes that may not be text.
    Csv(Vec<Vec<u8>>),
    /// A line of NDJSON.
    Json(Vec<u8>),
}

impl Source {
    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            // A cell is a vector of its own: 24 bytes, and an allocation's overhead.
            Source::Csv(cells) => cells.iter().map(|cell| cell.len() + 40).sum(),
            Source::Json(line) => line.len(),
        }
    }
}

/// A row that is not sent, or that the books refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// See [`Row::number`].
    pub number: u64,
    /// Stable, from the server's refusals or one of our own.
    pub code: String,
    /// For a person.
    pub detail: String,
    /// Under which it was or would be known, when the row came that far.
    pub external_id: Option<String>,
    /// As it stood in the file.
    pub source: Source,
}

/// Why one row is malformed: code and detail.
pub type Malformed = (&'static str, String);

/// Why a whole file is refused before anything of it is posted.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("could not read the file")]
    Read(#[from] std::io::Error),
    /// Its header or its quoting is broken; the text says where.
    #[error("{0}")]
    Broken(String),
}

/// Appends `"name":value` for a CSV cell of a known shape.
///
/// # Errors
/// The cell is not of that shape.
pub fn write_cell(item: &mut Vec<u8>, name: &str, shape: Shape, cell: &str) -> Result<(), Malformed> {
    if item.last() != Some(&b'{') {
        item.push(b',');
    }
    write_text(item, name);
    item.push(b':');
    match shape {
        Shape::Text | Shape::Metadata => write_text(item, cell),
        Shape::Number => {
            let number: u32 = cell
                .parse()
                .map_err(|_| ("number_malformed", format!("{name} is not a whole number: {}", shown(cell))))?;
            item.extend_from_slice(number.to_string().as_bytes());
        }
        Shape::Flag => match cell {
            "true" | "false" => item.extend_from_slice(cell.as_bytes()),
            _ => return Err(("flag_malformed", format!("{name} is neither true nor false: {}", shown(cell)))),
        },
    }
    Ok(())
}

/// Appends a JSON string.
pub fn write_text(item: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(item, text).expect("text becomes JSON and a vector takes every byte");
}

/// A value for a message: its beginning, escaped.
#[must_use]
pub fn shown(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    let start: String = text.chars().take(SHOWN_MAX).collect();
    if start.len() < text.len() { format!("{start:?}…") } else { format!("{start:?}") }
}
