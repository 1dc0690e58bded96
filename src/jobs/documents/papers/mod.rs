//! One maker for each kind of document: plain figures in, a document out.
//!
//! A maker decides words, order and columns. It computes no figure that its input does not have, but sums of the rows
//! that it shows.

pub mod account;
pub mod loan;
pub mod slip;

use super::content::Document;
use super::reference::Reference;
use crate::domain::time::Day;

/// What all documents have.
#[derive(Clone, Debug)]
pub struct Issue {
    /// Which document.
    pub reference: Reference,
    /// Hash of the journal's block that holds its newest entry.
    pub head: [u8; 32],
    /// Who gives it out.
    pub lender: String,
    /// The business day on which its newest entry was made.
    pub day: Day,
}

impl Issue {
    fn document(self, title: &str, blocks: Vec<super::content::Block>) -> Document {
        let Issue { reference, head, lender, .. } = self;
        Document { reference, head, lender, title: title.to_owned(), blocks }
    }

    /// The days that a document is about, in words.
    fn period(&self) -> String {
        match (self.reference.from, self.reference.to) {
            (Some(from), Some(to)) => format!("{from} to {to}"),
            (Some(from), None) => format!("from {from}"),
            (None, Some(to)) => format!("up to {to}"),
            (None, None) => "all".to_owned(),
        }
    }
}
