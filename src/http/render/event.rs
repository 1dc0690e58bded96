//! What happened, as CloudEvents 1.0 in JSON.
//!
//! The envelope is the specification's; `sequence` is its extension for order (RFC-like: strings compare as the
//! numbers do, so it is padded to twenty digits). `data` is the object of the API where the entry holds all of
//! it, else what the entry says and the ids to ask with: an event shows nothing that needs another read, and no
//! name, number or secret of a customer or key.

use crate::domain::access::KeyChange;
use crate::domain::entry::{Entry, TransferEntry, TransferOp};
use crate::domain::ids::{IdKind, Seq};
use crate::domain::lending::loan::facts::{LoanPosted, ProductTotals};
use crate::domain::money::Currency;
use crate::domain::objects::{Collection, job_number};
use crate::engine::Core;
use crate::engine::feed::EventKind;
use crate::engine::history::Located;
use crate::engine::submit::stored_view;

use super::super::lending::names::{CLASSES, MODES, amount_of, event_type, mode_of, name_in};
use super::super::stream::feed::Chunk;
use super::transfer::write_transfer;
use super::{
    write_account_id, write_amount, write_bool, write_day_or_null, write_list, write_list_head, write_number,
    write_quoted_id, write_quoted_moment, write_text, write_text_or_null,
};

/// A page of events, the oldest first; `through` is where the next one begins.
#[must_use]
pub fn event_page(chunk: &Chunk, url: &str, has_more: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    write_list_head(&mut out, url, has_more);
    write_list(&mut out, chunk.objects(), Vec::extend_from_slice);
    out.extend_from_slice(b",\"through\":\"");
    write_number(&mut out, chunk.through.0);
    out.extend_from_slice(b"\"}");
    out
}

/// Appends an event; the entry is one of that kind.
pub fn write_event(out: &mut Vec<u8>, core: &Core, located: &Located, kind: EventKind) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":");
    write_quoted_id(out, IdKind::LoanEvent, located.seq.0);
    out.extend_from_slice(b",\"source\":\"urn:munim:books:");
    write_hex(out, &core.journal().id().to_be_bytes());
    out.extend_from_slice(b"\",\"type\":\"");
    out.extend_from_slice(kind.name().as_bytes());
    out.push(b'"');
    write_subject(out, &located.entry, located.seq);
    out.extend_from_slice(b",\"time\":");
    write_quoted_moment(out, located.moment);
    out.extend_from_slice(b",\"datacontenttype\":\"application/json\",\"sequence\":\"");
    write_sequence(out, located.seq);
    out.extend_from_slice(b"\",\"data\":");
    write_data(out, core, located);
    out.push(b'}');
}

/// Appends a seq as `sequence` has it: twenty digits.
pub fn write_sequence(out: &mut Vec<u8>, seq: Seq) {
    let mut text = itoa::Buffer::new();
    let digits = text.format(seq.0).as_bytes();
    out.extend_from_slice(&b"00000000000000000000"[digits.len()..]);
    out.extend_from_slice(digits);
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
        out.extend_from_slice(&[hex(byte >> 4), hex(byte & 15)]);
    }
}

/// The id of what it happened to, where that is one thing.
fn write_subject(out: &mut Vec<u8>, entry: &Entry, seq: Seq) {
    let (kind, number) = match entry {
        Entry::Transfer(transfer) => (IdKind::Transfer, subject_of(transfer, seq).0),
        Entry::AccountOpened(opened) => (IdKind::Account, u64::from(opened.account.0) + 1),
        Entry::AccountChanged(changed) => (IdKind::Account, u64::from(changed.account.0) + 1),
        Entry::ApiKeyMade(made) => (IdKind::ApiKey, made.number),
        Entry::ApiKeyChanged(changed) => (IdKind::ApiKey, changed.number),
        Entry::CustomerSaved(saved) => (IdKind::Customer, u64::from(saved.number)),
        Entry::ProductSaved(saved) => (IdKind::Product, u64::from(saved.number)),
        Entry::LoanPosted(posted) => (IdKind::Loan, u64::from(posted.loan)),
        Entry::JobBorn(_) => (IdKind::Job, job_number(seq)),
        _ => return,
    };
    out.extend_from_slice(b",\"subject\":");
    write_quoted_id(out, kind, number);
}

/// The transfer that an entry is about: of a resolution, the hold.
fn subject_of(transfer: &TransferEntry, seq: Seq) -> Seq {
    match transfer.op {
        TransferOp::PostPending { hold, .. }
        | TransferOp::VoidPending { hold }
        | TransferOp::ExpirePending { hold } => hold,
        TransferOp::Posted | TransferOp::Pending { .. } | TransferOp::Reversal { .. } => seq,
    }
}

fn write_data(out: &mut Vec<u8>, core: &Core, located: &Located) {
    match &located.entry {
        Entry::Transfer(transfer) => write_transfer_data(out, core, located, transfer),
        Entry::LoanPosted(posted) => write_loan_event(out, located, posted),
        Entry::AccountOpened(opened) => {
            out.extend_from_slice(b"{\"object\":\"account\",\"id\":");
            write_account_id(out, u64::from(opened.account.0));
            out.extend_from_slice(b",\"external_id\":");
            write_text_or_null(out, opened.cold.external_id.as_deref());
            write_pairs(out, &[("currency", opened.currency.code()), ("type", opened.account_type.name())]);
            out.extend_from_slice(b",\"code\":");
            write_number(out, u64::from(opened.code));
            write_pairs(out, &[("balance_rule", opened.balance_rule.name()), ("status", "open")]);
            out.push(b'}');
        }
        Entry::AccountChanged(changed) => {
            out.extend_from_slice(b"{\"object\":\"account\",\"id\":");
            write_account_id(out, u64::from(changed.account.0));
            write_pairs(out, &[("status", changed.status.name())]);
            write_version(out, changed.version);
        }
        Entry::CustomerSaved(saved) => {
            out.extend_from_slice(b"{\"object\":\"customer\",\"id\":");
            write_quoted_id(out, IdKind::Customer, u64::from(saved.number));
            write_version(out, saved.version);
        }
        Entry::ProductSaved(saved) => {
            out.extend_from_slice(b"{\"object\":\"loan_product\",\"id\":");
            write_quoted_id(out, IdKind::Product, u64::from(saved.number));
            out.extend_from_slice(b",\"name\":");
            write_text(out, &saved.facts.name);
            write_version(out, saved.version);
        }
        Entry::ApiKeyMade(_) | Entry::ApiKeyChanged(_) | Entry::AccessRefused(_) => {
            write_access_data(out, &located.entry);
        }
        Entry::ObjectSaved(saved) => {
            let (name, kind) = match saved.collection {
                Collection::WebhookEndpoint => ("webhook_endpoint", IdKind::WebhookEndpoint),
                Collection::Schedule => ("schedule", IdKind::Schedule),
                Collection::SyncTarget => ("sync_target", IdKind::SyncTarget),
            };
            out.extend_from_slice(b"{\"object\":");
            write_text(out, name);
            out.extend_from_slice(b",\"id\":");
            write_quoted_id(out, kind, u64::from(saved.number));
            write_version(out, saved.version);
        }
        Entry::JobBorn(born) => {
            out.extend_from_slice(b"{\"object\":\"job\",\"id\":");
            write_quoted_id(out, IdKind::Job, job_number(located.seq));
            write_pairs(out, &[("kind", &born.kind)]);
            out.push(b'}');
        }
        other => write_day_data(out, other),
    }
}

fn write_access_data(out: &mut Vec<u8>, entry: &Entry) {
    match entry {
        Entry::ApiKeyMade(made) => {
            write_key_head(out, made.number);
            write_pairs(out, &[("role", made.terms.role.name())]);
            out.push(b'}');
        }
        Entry::ApiKeyChanged(changed) => {
            write_key_head(out, changed.number);
            if let KeyChange::Rotated { old_until, .. } = changed.change {
                out.extend_from_slice(b",\"old_token_until\":");
                write_quoted_moment(out, old_until);
            }
            out.push(b'}');
        }
        Entry::AccessRefused(refused) => {
            out.extend_from_slice(b"{\"object\":\"access_refusal\"");
            write_pairs(out, &[("operation", &refused.operation), ("code", &refused.code)]);
            out.extend_from_slice(b",\"suppressed\":");
            write_number(out, u64::from(refused.suppressed));
            out.push(b'}');
        }
        _ => out.extend_from_slice(b"{}"),
    }
}

fn write_day_data(out: &mut Vec<u8>, entry: &Entry) {
    match entry {
        Entry::PeriodClosed { through } => {
            out.extend_from_slice(b"{\"object\":\"period\",\"closed_through\":");
            write_day_or_null(out, Some(*through));
        }
        Entry::PeriodReopened { through, reason } => {
            out.extend_from_slice(b"{\"object\":\"period\",\"closed_through\":");
            write_day_or_null(out, *through);
            write_pairs(out, &[("reason", reason)]);
        }
        Entry::DayRolled { date } => {
            out.extend_from_slice(b"{\"object\":\"business_day\",\"date\":");
            write_day_or_null(out, Some(*date));
        }
        Entry::DayClosed(closed) => {
            out.extend_from_slice(b"{\"object\":\"business_day\",\"closed_through\":");
            write_day_or_null(out, Some(closed.through));
            out.extend_from_slice(b",\"by_hand\":");
            write_bool(out, closed.by_hand);
            out.extend_from_slice(b",\"reason\":");
            write_text_or_null(out, closed.reason.as_deref());
        }
        Entry::LoansSwept(swept) => {
            out.extend_from_slice(b"{\"object\":\"sweep\",\"date\":");
            write_day_or_null(out, Some(swept.date));
            out.extend_from_slice(b",\"first\":");
            write_quoted_id(out, IdKind::Loan, u64::from(swept.first));
            out.extend_from_slice(b",\"last\":");
            write_quoted_id(out, IdKind::Loan, u64::from(swept.last.max(swept.first)));
            out.extend_from_slice(b",\"changed\":");
            write_number(out, swept.rows.len() as u64);
        }
        Entry::DayEnded(ended) => {
            out.extend_from_slice(b"{\"object\":\"business_day\",\"date\":");
            write_day_or_null(out, Some(ended.date));
            out.extend_from_slice(b",\"products\":");
            write_list(out, &ended.totals, write_totals);
        }
        Entry::MonthEnded(ended) => {
            out.extend_from_slice(b"{\"object\":\"month\",\"date\":");
            write_day_or_null(out, Some(ended.date));
            out.extend_from_slice(b",\"lines\":");
            write_number(out, ended.lines.len() as u64);
        }
        _ => out.push(b'{'),
    }
    out.push(b'}');
}

fn write_totals(out: &mut Vec<u8>, totals: &ProductTotals) {
    out.extend_from_slice(b"{\"product\":");
    write_quoted_id(out, IdKind::Product, u64::from(totals.product));
    out.extend_from_slice(b",\"provision\":");
    write_amount(out, i128::from(totals.provision), Currency::INR);
    out.extend_from_slice(b",\"classes\":");
    let classes = CLASSES.iter().zip(totals.loans.iter().zip(&totals.outstanding));
    write_list(out, classes, |out, ((_, name), (loans, outstanding))| {
        out.extend_from_slice(b"{\"class\":");
        write_text(out, name);
        out.extend_from_slice(b",\"loans\":");
        write_number(out, u64::from(*loans));
        out.extend_from_slice(b",\"outstanding\":");
        write_amount(out, i128::from(*outstanding), Currency::INR);
        out.push(b'}');
    });
    out.push(b'}');
}

fn write_transfer_data(out: &mut Vec<u8>, core: &Core, located: &Located, transfer: &TransferEntry) {
    let currency = core.currency(transfer.debit);
    let status = match transfer.op {
        TransferOp::PostPending { .. } => "posted",
        TransferOp::VoidPending { .. } => "voided",
        TransferOp::ExpirePending { .. } => "expired",
        TransferOp::Posted | TransferOp::Pending { .. } | TransferOp::Reversal { .. } => {
            if let Some(view) = stored_view(located, currency) {
                write_transfer(out, &view);
            }
            return;
        }
    };
    out.extend_from_slice(b"{\"object\":\"transfer\",\"id\":");
    write_quoted_id(out, IdKind::Transfer, subject_of(transfer, located.seq).0);
    out.extend_from_slice(b",\"debit_account\":");
    write_account_id(out, u64::from(transfer.debit.0));
    out.extend_from_slice(b",\"credit_account\":");
    write_account_id(out, u64::from(transfer.credit.0));
    let (held, posted) = match transfer.op {
        TransferOp::PostPending { held, .. } => (held, Some(transfer.amount)),
        _ => (transfer.amount, None),
    };
    out.extend_from_slice(b",\"amount\":");
    write_amount(out, i128::from(held), currency);
    write_pairs(out, &[("currency", currency.code()), ("status", status)]);
    if let Some(posted) = posted {
        out.extend_from_slice(b",\"posted_amount\":");
        write_amount(out, i128::from(posted), currency);
    }
    out.extend_from_slice(b",\"effective_date\":");
    write_day_or_null(out, Some(transfer.effective_on(located.date)));
    out.extend_from_slice(b",\"resolved_at\":");
    write_quoted_moment(out, located.moment);
    out.push(b'}');
}

fn write_loan_event(out: &mut Vec<u8>, located: &Located, posted: &LoanPosted) {
    out.extend_from_slice(b"{\"object\":\"loan_event\",\"id\":");
    write_quoted_id(out, IdKind::LoanEvent, located.seq.0);
    out.extend_from_slice(b",\"loan\":");
    write_quoted_id(out, IdKind::Loan, u64::from(posted.loan));
    write_pairs(out, &[("type", event_type(&posted.event))]);
    out.extend_from_slice(b",\"value_date\":");
    write_day_or_null(out, Some(posted.value_date));
    out.extend_from_slice(b",\"booked_on\":");
    write_day_or_null(out, Some(located.date));
    if let Some(amount) = amount_of(&posted.event) {
        out.extend_from_slice(b",\"amount\":");
        write_amount(out, i128::from(amount), Currency::INR);
    }
    if let Some(mode) = mode_of(&posted.event) {
        write_pairs(out, &[("mode", name_in(&MODES, &mode))]);
    }
    if let Some(texts) = &posted.texts {
        for (name, text) in [(b",\"reference\":".as_slice(), &texts.reference), (b",\"reason\":", &texts.reason)] {
            if let Some(text) = text {
                out.extend_from_slice(name);
                write_text(out, text);
            }
        }
    }
    if let Some(application) = &posted.application {
        out.extend_from_slice(b",\"customer\":");
        write_quoted_id(out, IdKind::Customer, u64::from(application.customer));
        out.extend_from_slice(b",\"product\":");
        write_quoted_id(out, IdKind::Product, u64::from(application.product));
    }
    out.push(b'}');
}

fn write_key_head(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(b"{\"object\":\"api_key\",\"id\":");
    write_quoted_id(out, IdKind::ApiKey, number);
}

/// The last member, and the end.
fn write_version(out: &mut Vec<u8>, version: u32) {
    out.extend_from_slice(b",\"version\":");
    write_number(out, u64::from(version));
    out.push(b'}');
}

fn write_pairs(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    for (name, text) in pairs {
        out.push(b',');
        write_text(out, name);
        out.push(b':');
        write_text(out, text);
    }
}
