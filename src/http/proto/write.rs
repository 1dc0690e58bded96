//! Answers as protobuf bytes: what the JSON renderer says, in messages.

use prost::Message;

use crate::domain::entry::Metadata;
use crate::domain::ids::{IdKind, Moment, account_id, format_id};
use crate::domain::money::format_minor;
use crate::engine::view::{BatchReply, Page, TransferView};

use super::super::problem::reject_detail;
use super::super::render::write_moment;
use super::messages::{self, Mode};

/// The message `Transfer`.
#[must_use]
pub fn transfer(view: &TransferView) -> Vec<u8> {
    message_of(view).encode_to_vec()
}

/// The message `TransferList`.
#[must_use]
pub fn transfer_page(page: &Page<TransferView>, url: &str) -> Vec<u8> {
    let data = page.rows.iter().map(message_of).collect();
    messages::TransferList { data, has_more: page.has_more, url: url.to_owned() }.encode_to_vec()
}

/// The message `Batch`.
#[must_use]
pub fn transfers_batch(reply: &BatchReply) -> Vec<u8> {
    let id = |seq: u64| format_id(IdKind::Transfer, seq);
    let mut rejected = reply.rejected.iter().peekable();
    let mut ids = reply.ids.iter();
    let mut results = Vec::with_capacity(reply.ids.len() + reply.rejected.len());
    for index in 0..reply.items {
        if let Some((_, reject)) = rejected.next_if(|(at, _)| *at == index) {
            let (code, detail) = (reject.code.name().to_owned(), reject_detail(*reject).into_owned());
            results.push(messages::Result { index, id: None, code: Some(code), detail: Some(detail) });
        } else if let Some(seq) = ids.next() {
            results.push(messages::Result { index, id: Some(id(*seq)), code: None, detail: None });
        }
    }
    let mode = if reply.atomic { Mode::Atomic } else { Mode::Independent };
    let batch = messages::Batch {
        mode: mode.into(),
        posted: reply.accepted,
        rejected: u32::try_from(reply.rejected.len()).unwrap_or(u32::MAX),
        dry_run: reply.dry_run,
        first: reply.first.filter(|_| reply.minimal).map(id),
        last: reply.last.filter(|_| reply.minimal).map(id),
        results,
    };
    batch.encode_to_vec()
}

fn message_of(view: &TransferView) -> messages::Transfer {
    let cold = view.cold.as_deref();
    let transfer = |seq: crate::domain::ids::Seq| format_id(IdKind::Transfer, seq.0);
    messages::Transfer {
        id: view.seq.map(transfer),
        external_id: cold.and_then(|cold| cold.external_id.as_deref()).map(str::to_owned),
        debit_account: account_id(view.debit),
        credit_account: account_id(view.credit),
        amount: format_minor(i128::from(view.amount), view.currency),
        currency: view.currency.code().to_owned(),
        status: view.status.name().to_owned(),
        code: view.code,
        description: cold.and_then(|cold| cold.description.as_deref()).map(str::to_owned),
        effective_date: view.effective_date.to_string(),
        created_at: moment(view.created_at),
        seq: view.seq.map(|seq| seq.0),
        entry: view.voucher.map(|first| format_id(IdKind::JournalEntry, first.0)),
        expires_at: view.expires_at.map(moment),
        posted_amount: view.posted_amount.map(|minor| format_minor(i128::from(minor), view.currency)),
        resolved_at: view.resolved_at.map(moment),
        reversed_by: view.reversed_by.map(transfer),
        reverses: view.reverses.map(transfer),
        metadata: cold.map(|cold| pairs(&cold.metadata)).unwrap_or_default(),
        dry_run: view.seq.is_none(),
    }
}

fn moment(moment: Moment) -> String {
    let mut out = Vec::with_capacity(27);
    write_moment(&mut out, moment);
    String::from_utf8(out).expect("digits and punctuation are ASCII")
}

fn pairs(metadata: &Metadata) -> std::collections::BTreeMap<String, String> {
    metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
