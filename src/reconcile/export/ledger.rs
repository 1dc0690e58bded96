//! Plain-text accounting, as `hledger` and `ledger` read it.
//!
//! 1. The caller writes a `commodity` directive per currency and an `account` directive per account.
//! 2. A posted transfer is a cleared transaction of two postings with what was posted.
//! 3. A hold that is pending, voided or expired moved nothing: it is a comment.
//!
//! Texts are somebody else's and must not become syntax: names lose what would end an account name or
//! begin a comment, a split or a price; metadata becomes tags `meta_<key>` above the postings (a tag
//! under a posting could be read as a date of its own). An account's name ends with its external id or
//! its id, encoded reversibly, so that two borrowers of one name stay two accounts.

use super::{ExportAccount, ExportTransfer};
use crate::domain::account::AccountType;
use crate::domain::money::Currency;

/// Appends the directive that declares a currency and its decimals.
pub fn write_ledger_commodity(currency: Currency, out: &mut Vec<u8>) {
    let decimals = "0".repeat(usize::from(currency.exponent()));
    push(out, &["commodity ", currency.code(), "\n    format ", currency.code(), " 1000.", &decimals, "\n\n"]);
}

/// Appends the directive that declares an account.
pub fn write_ledger_account(account: &ExportAccount<'_>, out: &mut Vec<u8>) {
    push(out, &["account ", &ledger_account_name(account), "\n"]);
}

/// The account's name in the ledger form, e.g. `Assets:1010:Drawer 1 #DRAWER-1`. Unique per account.
#[must_use]
pub fn ledger_account_name(account: &ExportAccount<'_>) -> String {
    let group = match account.account_type {
        AccountType::Asset => "Assets",
        AccountType::Liability => "Liabilities",
        AccountType::Equity => "Equity",
        AccountType::Income => "Income",
        AccountType::Expense => "Expenses",
    };
    let mut name = format!("{group}:{}:", account.code);
    if let Some(text) = account.name.map(one_line).filter(|text| !text.is_empty()) {
        name.push_str(&text);
        name.push(' ');
    }
    match account.external_id {
        Some(id) => {
            name.push('#');
            name.push_str(&percent_encoded(id, |byte| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte)));
        }
        None => name.push_str(account.id),
    }
    name
}

/// Appends one transaction, or the comment that stands for one that moved nothing.
pub fn write_ledger(transfer: &ExportTransfer<'_>, out: &mut Vec<u8>) {
    let description = transfer.description.map(one_line).unwrap_or_default();
    let amount = transfer.posted_amount.unwrap_or(transfer.amount);
    let (debit, credit) = (ledger_account_name(&transfer.debit), ledger_account_name(&transfer.credit));
    if transfer.status != "posted" {
        push(out, &["; ", transfer.status, " ", transfer.effective_date, " (", transfer.id, ") "]);
        push(out, &[transfer.currency, " ", transfer.amount, " from ", &credit, " to ", &debit, "\n\n"]);
        return;
    }
    push(out, &[transfer.effective_date, " * (", transfer.id, ")"]);
    if !description.is_empty() {
        push(out, &[" ", &description]);
    }
    out.push(b'\n');
    let code = transfer.code.to_string();
    tag(out, "created_at", transfer.created_at);
    tag(out, "code", &code);
    for (name, value) in
        [("entry", transfer.entry_id), ("external_id", transfer.external_id), ("reverses", transfer.reverses)]
    {
        if let Some(value) = value {
            tag(out, name, value);
        }
    }
    for (key, value) in transfer.metadata {
        let key = percent_encoded(key, |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        tag(out, &format!("meta_{key}"), value);
    }
    push(out, &["    ", &debit, "  ", transfer.currency, " ", amount, "\n"]);
    push(out, &["    ", &credit, "  ", transfer.currency, " -", amount, "\n\n"]);
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// A comma ends a tag's value and a bracket could begin a date, so both are encoded.
fn tag(out: &mut Vec<u8>, name: &str, value: &str) {
    let mut encoded = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            ',' | '[' | ']' | '%' => encoded.push_str(&format!("%{:02X}", letter as u32)),
            _ => encoded.push(letter),
        }
    }
    push(out, &["    ; ", name, ": ", squeezed(&encoded).as_str(), "\n"]);
}

/// Text without line breaks, double spaces and characters that have a meaning in a ledger file.
fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|letter| match letter {
            ';' => ',',
            ':' | '=' => '-',
            '|' => '/',
            '"' => '\'',
            '@' | '{' | '}' | '*' | '!' | '#' | '%' => '_',
            _ => letter,
        })
        .collect();
    squeezed(&plain)
}

/// White space and control characters become single spaces, none at the ends.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if !word.is_empty() {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out
}

/// Reversible: every byte that is not kept, and the percent sign, becomes `%XX`.
fn percent_encoded(text: &str, is_kept: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_kept(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
