//! What a document says, before it has pages.
//!
//! Promise: whatever stands on a page stands here, so that the hash of this is the hash of the document. The layout
//! adds page numbers, the hash and the reference, nothing else.

use super::fonts::drawable;
use super::reference::{Payload, Reference, hex};

/// A document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Which one.
    pub reference: Reference,
    /// Hash of the journal's block that holds its newest entry.
    pub head: [u8; 32],
    /// Who gives it out.
    pub lender: String,
    /// Its name in words.
    pub title: String,
    /// From top to bottom.
    pub blocks: Vec<Block>,
}

/// A piece of a document.
#[derive(Clone, Debug)]
pub enum Block {
    /// Names and values, in two columns.
    Pairs(Vec<(String, String)>),
    /// A line that begins a part.
    Heading(String),
    /// Sentences, as wide as the page.
    Text(String),
    /// Rows, over as many pages as they take.
    Table(Table),
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// From left to right.
    pub columns: Vec<Column>,
    /// From top to bottom, a cell for each column.
    pub rows: Vec<Row>,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its head, repeated on each page.
    pub title: String,
    /// Its share of the page's width, compared with the others.
    pub share: u32,
    /// Whether its cells end at its right side, as amounts do.
    pub is_right: bool,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// One for each column.
    pub cells: Vec<String>,
    /// Whether it is a sum or a balance.
    pub is_bold: bool,
}

impl Column {
    /// A column of texts.
    #[must_use]
    pub fn text(title: &str, share: u32) -> Column {
        Column { title: title.to_owned(), share, is_right: false }
    }

    /// A column of amounts or numbers.
    #[must_use]
    pub fn number(title: &str, share: u32) -> Column {
        Column { title: title.to_owned(), share, is_right: true }
    }
}

impl Row {
    /// An ordinary row.
    #[must_use]
    pub fn of(cells: Vec<String>) -> Row {
        Row { cells, is_bold: false }
    }

    /// A sum or balance.
    #[must_use]
    pub fn bold(cells: Vec<String>) -> Row {
        Row { cells, is_bold: true }
    }
}

/// A name and a value.
#[must_use]
pub fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

impl Document {
    /// Writes what no font has as its number, so that all that follows can be drawn.
    pub(super) fn make_drawable(&mut self) {
        let mend = |text: &mut String| {
            if let std::borrow::Cow::Owned(mended) = drawable(text) {
                *text = mended;
            }
        };
        mend(&mut self.lender);
        mend(&mut self.title);
        for block in &mut self.blocks {
            match block {
                Block::Pairs(pairs) => pairs.iter_mut().for_each(|(name, value)| {
                    mend(name);
                    mend(value);
                }),
                Block::Heading(text) | Block::Text(text) => mend(text),
                Block::Table(table) => {
                    table.columns.iter_mut().for_each(|column| mend(&mut column.title));
                    table.rows.iter_mut().flat_map(|row| &mut row.cells).for_each(mend);
                }
            }
        }
    }

    /// Hash of what it says: of every text with its length before it, so that no two documents are written alike.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut bytes = Vec::with_capacity(8 * 1024);
        let text = |bytes: &mut Vec<u8>, tag: u8, text: &str| {
            bytes.push(tag);
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        let unsealed = Payload { reference: self.reference.clone(), head: self.head, hash: [0; 32] };
        text(&mut bytes, b'R', &unsealed.to_string());
        text(&mut bytes, b'L', &self.lender);
        text(&mut bytes, b'T', &self.title);
        for block in &self.blocks {
            match block {
                Block::Pairs(pairs) => {
                    for (name, value) in pairs {
                        text(&mut bytes, b'n', name);
                        text(&mut bytes, b'v', value);
                    }
                }
                Block::Heading(words) => text(&mut bytes, b'H', words),
                Block::Text(words) => text(&mut bytes, b'P', words),
                Block::Table(table) => {
                    for column in &table.columns {
                        text(&mut bytes, if column.is_right { b'r' } else { b'l' }, &column.title);
                    }
                    for row in &table.rows {
                        bytes.push(if row.is_bold { b'B' } else { b'b' });
                        row.cells.iter().for_each(|cell| text(&mut bytes, b'c', cell));
                    }
                }
            }
        }
        blake3::hash(&bytes).into()
    }

    /// What the QR code holds.
    #[must_use]
    pub fn payload(&self) -> Payload {
        Payload { reference: self.reference.clone(), head: self.head, hash: self.hash() }
    }
}

/// What stands under every page about where it comes from.
#[must_use]
pub fn provenance(payload: &Payload) -> [String; 2] {
    [
        format!("Content hash {}", hex(&payload.hash)),
        format!(
            "As of entry {} of the books, whose chain ends there with {}",
            payload.reference.seq,
            hex(&payload.head)
        ),
    ]
}
