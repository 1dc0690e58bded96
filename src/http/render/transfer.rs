//! Transfers, their lists, vouchers and batches as JSON.

use crate::domain::ids::{IdKind, Seq};
use crate::engine::view::{BatchReply, Page, TransferView};

use super::{
    write_account_id, write_amount, write_bool, write_day_or_null, write_list, write_list_head, write_metadata,
    write_number, write_quoted_id, write_quoted_moment, write_rejected, write_text_or_null,
};

/// A transfer object.
#[must_use]
pub fn transfer(view: &TransferView) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write_transfer(&mut out, view);
    out
}

/// A page of transfers, newest first.
#[must_use]
pub fn transfer_page(page: &Page<TransferView>, url: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + page.rows.len() * 512);
    write_list_head(&mut out, url, page.has_more);
    write_list(&mut out, &page.rows, write_transfer);
    out.push(b'}');
    out
}

/// All transfers of one command, in the order of their seqs.
#[must_use]
pub fn voucher(first: Seq, rows: &[TransferView]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + rows.len() * 512);
    out.extend_from_slice(b"{\"object\":\"entry\",\"id\":");
    write_quoted_id(&mut out, IdKind::JournalEntry, first.0);
    out.extend_from_slice(b",\"created_at\":");
    match rows.first() {
        Some(row) => write_quoted_moment(&mut out, row.created_at),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"transfers\":");
    write_list(&mut out, rows, write_transfer);
    out.push(b'}');
    out
}

pub(super) fn write_transfer(out: &mut Vec<u8>, view: &TransferView) {
    out.extend_from_slice(b"{\"object\":\"transfer\"");
    match view.seq {
        Some(seq) => {
            out.extend_from_slice(b",\"id\":");
            write_quoted_id(out, IdKind::Transfer, seq.0);
        }
        None => out.extend_from_slice(b",\"dry_run\":true"),
    }
    let cold = view.cold.as_deref();
    out.extend_from_slice(b",\"external_id\":");
    write_text_or_null(out, cold.and_then(|cold| cold.external_id.as_deref()));
    out.extend_from_slice(b",\"debit_account\":");
    write_account_id(out, u64::from(view.debit.0));
    out.extend_from_slice(b",\"credit_account\":");
    write_account_id(out, u64::from(view.credit.0));
    out.extend_from_slice(b",\"amount\":");
    write_amount(out, i128::from(view.amount), view.currency);
    out.extend_from_slice(b",\"currency\":\"");
    out.extend_from_slice(view.currency.code().as_bytes());
    out.extend_from_slice(b"\",\"status\":\"");
    out.extend_from_slice(view.status.name().as_bytes());
    out.extend_from_slice(b"\",\"code\":");
    write_number(out, u64::from(view.code));
    out.extend_from_slice(b",\"description\":");
    write_text_or_null(out, cold.and_then(|cold| cold.description.as_deref()));
    out.extend_from_slice(b",\"effective_date\":");
    write_day_or_null(out, Some(view.effective_date));
    out.extend_from_slice(b",\"created_at\":");
    write_quoted_moment(out, view.created_at);
    if let Some(seq) = view.seq {
        out.extend_from_slice(b",\"seq\":\"");
        write_number(out, seq.0);
        out.push(b'"');
    }
    if let Some(voucher) = view.voucher {
        out.extend_from_slice(b",\"entry\":");
        write_quoted_id(out, IdKind::JournalEntry, voucher.0);
    }
    if let Some(deadline) = view.expires_at {
        out.extend_from_slice(b",\"expires_at\":");
        write_quoted_moment(out, deadline);
    }
    write_fate(out, view);
    out.extend_from_slice(b",\"metadata\":");
    match cold {
        Some(cold) => write_metadata(out, &cold.metadata),
        None => out.extend_from_slice(b"{}"),
    }
    out.push(b'}');
}

/// What became of the transfer; absent while nothing did.
fn write_fate(out: &mut Vec<u8>, view: &TransferView) {
    if let Some(posted) = view.posted_amount {
        out.extend_from_slice(b",\"posted_amount\":");
        write_amount(out, i128::from(posted), view.currency);
    }
    if let Some(at) = view.resolved_at {
        out.extend_from_slice(b",\"resolved_at\":");
        write_quoted_moment(out, at);
    }
    for (name, seq) in [(b",\"reversed_by\":".as_slice(), view.reversed_by), (b",\"reverses\":", view.reverses)] {
        if let Some(seq) = seq {
            out.extend_from_slice(name);
            write_quoted_id(out, IdKind::Transfer, seq.0);
        }
    }
}

/// The reply to a batch of transfers.
#[must_use]
pub fn transfers_batch(reply: &BatchReply) -> Vec<u8> {
    let shown = if reply.minimal { 0 } else { reply.ids.len() };
    let mut out = Vec::with_capacity(128 + shown * 44 + reply.rejected.len() * 128);
    out.extend_from_slice(b"{\"object\":\"batch\",\"mode\":\"");
    out.extend_from_slice(if reply.atomic { b"atomic" } else { b"independent" });
    out.extend_from_slice(b"\",\"posted\":");
    write_counts(&mut out, reply);
    if reply.minimal {
        for (name, id) in [(b",\"first\":".as_slice(), reply.first), (b",\"last\":", reply.last)] {
            out.extend_from_slice(name);
            match id {
                Some(id) => write_quoted_id(&mut out, IdKind::Transfer, id),
                None => out.extend_from_slice(b"null"),
            }
        }
    }
    write_results(&mut out, reply, |out, id| write_quoted_id(out, IdKind::Transfer, id));
    out
}

/// `n,"rejected":m`, and whether it was a dry run.
pub(super) fn write_counts(out: &mut Vec<u8>, reply: &BatchReply) {
    write_number(out, u64::from(reply.accepted));
    out.extend_from_slice(b",\"rejected\":");
    write_number(out, reply.rejected.len() as u64);
    if reply.dry_run {
        out.extend_from_slice(b",\"dry_run\":");
        write_bool(out, true);
    }
}

/// `,"results":[…]}`: accepted and rejected items merged by index. A minimal reply and a dry run
/// have no ids: only the rejected are shown.
pub(super) fn write_results(out: &mut Vec<u8>, reply: &BatchReply, write_item_id: impl Fn(&mut Vec<u8>, u64)) {
    out.extend_from_slice(b",\"results\":[");
    let mut rejected = reply.rejected.iter().peekable();
    let mut ids = reply.ids.iter();
    let mut is_first = true;
    for index in 0..reply.items {
        let reject = rejected.next_if(|(at, _)| *at == index);
        let id = if reject.is_none() { ids.next() } else { None };
        if reject.is_none() && id.is_none() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        if let Some((_, reject)) = reject {
            write_rejected(out, index, *reject);
        } else if let Some(id) = id {
            out.extend_from_slice(b"{\"index\":");
            write_number(out, u64::from(index));
            out.extend_from_slice(b",\"id\":");
            write_item_id(out, *id);
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::entry::TransferCold;
    use crate::domain::ids::{AccountNo, Moment};
    use crate::domain::money::Currency;
    use crate::domain::reject::{Reject, RejectCode};
    use crate::domain::time::Day;
    use crate::engine::view::TransferStatus;

    fn view() -> TransferView {
        TransferView {
            seq: Some(Seq(184_467)),
            voucher: Some(Seq(184_467)),
            debit: AccountNo(0),
            credit: AccountNo(1),
            amount: 1234,
            currency: Currency::INR,
            status: TransferStatus::Posted,
            code: 0,
            effective_date: Day(20_778),
            created_at: Moment(1_795_235_690_123_456),
            expires_at: None,
            posted_amount: None,
            resolved_at: None,
            reversed_by: None,
            reverses: None,
            cold: None,
        }
    }

    #[test]
    fn a_transfer_reads_as_the_contract_says() {
        let text = String::from_utf8(transfer(&view())).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"object":"transfer","id":"tr_0000000005m4k","external_id":null,"debit_account":"acct_0000000000001","#,
                r#""credit_account":"acct_0000000000002","amount":"12.34","currency":"INR","status":"posted","code":0,"#,
                r#""description":null,"effective_date":"2026-11-21","created_at":"2026-11-21T04:34:50.123456Z","#,
                r#""seq":"184467","entry":"je_0000000005m4k","metadata":{}}"#
            )
        );
    }

    #[test]
    fn a_resolved_hold_and_a_dry_run_are_json() {
        let cold = TransferCold {
            external_id: Some("E-1".into()),
            description: Some("a \"quoted\"\nline".into()),
            metadata: vec![("k".into(), "v".into()), ("l".into(), "w".into())],
        };
        let resolved = TransferView {
            expires_at: Some(Moment(1)),
            posted_amount: Some(1),
            resolved_at: Some(Moment(2)),
            reversed_by: Some(Seq(3)),
            cold: Some(Arc::new(cold)),
            ..view()
        };
        let json: serde_json::Value = serde_json::from_slice(&transfer(&resolved)).unwrap();
        assert_eq!(json["posted_amount"], "0.01");
        assert_eq!(json["reversed_by"], "tr_0000000000003");
        assert_eq!(json["metadata"]["l"], "w");
        let dry = TransferView { seq: None, voucher: None, ..view() };
        let json: serde_json::Value = serde_json::from_slice(&transfer(&dry)).unwrap();
        assert_eq!((&json["dry_run"], json.get("id"), json.get("seq")), (&serde_json::Value::Bool(true), None, None));
    }

    #[test]
    fn a_batch_shows_each_item_at_its_index() {
        let reject = Reject::of(RejectCode::AmountZero);
        let full = BatchReply {
            accepted: 2,
            items: 4,
            ids: vec![5, 9],
            first: Some(5),
            last: Some(9),
            rejected: vec![(0, reject), (2, reject)],
            ..BatchReply::default()
        };
        let json: serde_json::Value = serde_json::from_slice(&transfers_batch(&full)).unwrap();
        assert_eq!((&json["posted"], &json["rejected"]), (&2.into(), &2.into()));
        let results = json["results"].as_array().unwrap();
        assert_eq!(results.len(), 4);
        assert_eq!(results[0]["code"], "amount_zero");
        assert_eq!(results[1]["id"], "tr_0000000000005");
        assert_eq!(results[3]["id"], "tr_0000000000009");
        let minimal = BatchReply { minimal: true, ids: Vec::new(), ..full };
        let json: serde_json::Value = serde_json::from_slice(&transfers_batch(&minimal)).unwrap();
        assert_eq!((&json["first"], &json["last"]), (&"tr_0000000000005".into(), &"tr_0000000000009".into()));
        assert_eq!(json["results"].as_array().unwrap().len(), 2);
    }
}
