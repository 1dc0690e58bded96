//! The books as text: NDJSON, CSV and plain-text accounting, one transfer at a time.
//!
//! Promise: pure writers. They append to the buffer they are given, cannot fail, and hold nothing
//! between calls, so that an export of any length needs the memory of one transfer. NDJSON is
//! lossless; CSV is safe to open in a spreadsheet; the ledger form is read by `hledger` and `ledger`
//! and gives the same posted balances as the books.

pub mod books;
mod csv;
mod ledger;
mod ndjson;

pub use csv::{write_csv, write_csv_header};
pub use ledger::{ledger_account_name, write_ledger, write_ledger_account, write_ledger_commodity};
pub use ndjson::write_ndjson;

use crate::domain::account::AccountType;

/// One side of an exported transfer.
#[derive(Clone, Copy, Debug)]
pub struct ExportAccount<'a> {
    /// `acct_…`
    pub id: &'a str,
    /// The caller's id, when it has one.
    pub external_id: Option<&'a str>,
    /// Its name today, when it has one.
    pub name: Option<&'a str>,
    /// Its place in the chart.
    pub account_type: AccountType,
    /// Its general ledger code; 0 when none was given.
    pub code: u32,
}

/// One transfer with everything that an export says about it.
#[derive(Clone, Copy, Debug)]
pub struct ExportTransfer<'a> {
    /// `tr_…`
    pub id: &'a str,
    /// `je_…`, when the transfer was one of several of one command.
    pub entry_id: Option<&'a str>,
    /// RFC 3339, UTC, microseconds.
    pub created_at: &'a str,
    /// `YYYY-MM-DD`
    pub effective_date: &'a str,
    /// The account debited.
    pub debit: ExportAccount<'a>,
    /// The account credited.
    pub credit: ExportAccount<'a>,
    /// Decimal text with the currency's decimals: what was asked for.
    pub amount: &'a str,
    /// Decimal text: what a hold was posted for, when that was less than `amount`.
    pub posted_amount: Option<&'a str>,
    /// ISO 4217.
    pub currency: &'a str,
    /// The caller's number for the kind of transfer.
    pub code: u32,
    /// `posted`, `pending`, `voided` or `expired`.
    pub status: &'a str,
    /// `tr_…` of the transfer that this one takes back.
    pub reverses: Option<&'a str>,
    /// Free text.
    pub description: Option<&'a str>,
    /// The caller's id.
    pub external_id: Option<&'a str>,
    /// Key and value, in the order in which the books hold them.
    pub metadata: &'a [(&'a str, &'a str)],
}

#[cfg(test)]
mod tests;
