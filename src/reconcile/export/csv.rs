//! RFC 4180, one row a transfer, CRLF.
//!
//! A cell that a spreadsheet would run as a formula gets a leading apostrophe. Amounts are spared:
//! they are digits and a point that we wrote ourselves. Cells are quoted here rather than by the `csv`
//! crate, whose writer owns a buffer of its own: 8 KiB of allocation for every row.

use super::ndjson::write_metadata;
use super::{ExportAccount, ExportTransfer};

const COLUMNS: [&str; 23] = [
    "id",
    "entry",
    "external_id",
    "created_at",
    "effective_date",
    "status",
    "debit_account",
    "debit_account_external_id",
    "debit_account_name",
    "debit_account_type",
    "debit_account_code",
    "credit_account",
    "credit_account_external_id",
    "credit_account_name",
    "credit_account_type",
    "credit_account_code",
    "amount",
    "posted_amount",
    "currency",
    "code",
    "description",
    "reverses",
    "metadata",
];

/// Appends the header row.
pub fn write_csv_header(out: &mut Vec<u8>) {
    out.extend_from_slice(COLUMNS.join(",").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends one row, in the order of the header.
pub fn write_csv(transfer: &ExportTransfer<'_>, out: &mut Vec<u8>) {
    let mut metadata = Vec::new();
    if !transfer.metadata.is_empty() {
        write_metadata(transfer.metadata, &mut metadata);
    }
    cell(out, transfer.id);
    for text in [
        transfer.entry_id.unwrap_or_default(),
        transfer.external_id.unwrap_or_default(),
        transfer.created_at,
        transfer.effective_date,
        transfer.status,
    ] {
        next_cell(out, text);
    }
    account(out, &transfer.debit);
    account(out, &transfer.credit);
    next_cell_verbatim(out, transfer.amount);
    next_cell_verbatim(out, transfer.posted_amount.unwrap_or_default());
    next_cell(out, transfer.currency);
    next_number(out, transfer.code);
    next_cell(out, transfer.description.unwrap_or_default());
    next_cell(out, transfer.reverses.unwrap_or_default());
    next_cell(out, &String::from_utf8_lossy(&metadata));
    out.extend_from_slice(b"\r\n");
}

fn account(out: &mut Vec<u8>, account: &ExportAccount<'_>) {
    next_cell(out, account.id);
    next_cell(out, account.external_id.unwrap_or_default());
    next_cell(out, account.name.unwrap_or_default());
    next_cell(out, account.account_type.name());
    next_number(out, account.code);
}

fn next_cell(out: &mut Vec<u8>, text: &str) {
    out.push(b',');
    cell(out, text);
}

fn next_cell_verbatim(out: &mut Vec<u8>, text: &str) {
    out.push(b',');
    out.extend_from_slice(text.as_bytes());
}

fn next_number(out: &mut Vec<u8>, value: u32) {
    next_cell_verbatim(out, itoa::Buffer::new().format(value));
}

fn cell(out: &mut Vec<u8>, text: &str) {
    let runs_as_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let needs_quotes = text.contains([',', '"', '\n', '\r']);
    if needs_quotes {
        out.push(b'"');
    }
    if runs_as_formula {
        out.push(b'\'');
    }
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    if needs_quotes {
        out.push(b'"');
    }
}
