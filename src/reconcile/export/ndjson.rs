//! One JSON object a line. Field names are those of the API; absent values are `null`.

use super::{ExportAccount, ExportTransfer};

/// Appends one line.
pub fn write_ndjson(transfer: &ExportTransfer<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"object\":\"transfer\"");
    field(out, "id", Some(transfer.id));
    field(out, "entry", transfer.entry_id);
    field(out, "external_id", transfer.external_id);
    account(out, "debit_account", &transfer.debit);
    account(out, "credit_account", &transfer.credit);
    field(out, "amount", Some(transfer.amount));
    field(out, "posted_amount", transfer.posted_amount);
    field(out, "currency", Some(transfer.currency));
    field(out, "status", Some(transfer.status));
    number(out, "code", transfer.code);
    field(out, "description", transfer.description);
    field(out, "effective_date", Some(transfer.effective_date));
    field(out, "created_at", Some(transfer.created_at));
    field(out, "reverses", transfer.reverses);
    out.extend_from_slice(b",\"metadata\":");
    write_metadata(transfer.metadata, out);
    out.extend_from_slice(b"}\n");
}

/// Appends metadata as one JSON object.
pub(super) fn write_metadata(metadata: &[(&str, &str)], out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (key, value)) in metadata.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        string(out, key);
        out.push(b':');
        string(out, value);
    }
    out.push(b'}');
}

fn account(out: &mut Vec<u8>, name: &str, account: &ExportAccount<'_>) {
    field(out, name, Some(account.id));
    field(out, &format!("{name}_external_id"), account.external_id);
    field(out, &format!("{name}_name"), account.name);
    field(out, &format!("{name}_type"), Some(account.account_type.name()));
    number(out, &format!("{name}_code"), account.code);
}

fn field(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    out.push(b',');
    string(out, name);
    out.push(b':');
    match value {
        Some(text) => string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: u32) {
    out.push(b',');
    string(out, name);
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text becomes JSON and a vector takes every byte");
}
