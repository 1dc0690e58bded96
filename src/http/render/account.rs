//! Accounts, their lists and batches as JSON.

use crate::domain::account::Account;
use crate::engine::view::{AccountView, BatchReply, Page};

use super::transfer::{write_counts, write_results};
use super::{
    write_account_id, write_amount, write_list, write_list_head, write_metadata, write_number, write_quoted_moment,
    write_text, write_text_or_null,
};

/// An account object as it is now.
#[must_use]
pub fn account(view: &AccountView) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    write_account(&mut out, view, None);
    out
}

/// An account object as it was at a past instant or day; `at` is what the caller wrote.
#[must_use]
pub fn past_account(view: &AccountView, at: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    write_account(&mut out, view, Some(at));
    out
}

/// A page of accounts, newest first.
#[must_use]
pub fn account_page(page: &Page<AccountView>, url: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + page.rows.len() * 640);
    write_list_head(&mut out, url, page.has_more);
    write_list(&mut out, &page.rows, |out, row| write_account(out, row, None));
    out.push(b'}');
    out
}

/// The reply to a batch of accounts; each item stands on its own.
#[must_use]
pub fn accounts_batch(reply: &BatchReply) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + reply.ids.len() * 48 + reply.rejected.len() * 128);
    out.extend_from_slice(b"{\"object\":\"batch\",\"mode\":\"independent\",\"created\":");
    write_counts(&mut out, reply);
    write_results(&mut out, reply, write_account_id);
    out
}

fn write_account(out: &mut Vec<u8>, view: &AccountView, at: Option<&str>) {
    let AccountView { no, account, code, cold } = view;
    out.extend_from_slice(b"{\"object\":\"account\"");
    match no {
        Some(no) => {
            out.extend_from_slice(b",\"id\":");
            write_account_id(out, u64::from(no.0));
        }
        None => out.extend_from_slice(b",\"dry_run\":true"),
    }
    out.extend_from_slice(b",\"external_id\":");
    write_text_or_null(out, cold.external_id.as_deref());
    out.extend_from_slice(b",\"name\":");
    write_text_or_null(out, cold.name.as_deref());
    for (name, text) in [
        (b",\"currency\":\"".as_slice(), account.currency.code()),
        (b"\",\"type\":\"", account.account_type.name()),
        (b"\",\"balance_rule\":\"", account.balance_rule.name()),
        (b"\",\"status\":\"", account.status.name()),
    ] {
        out.extend_from_slice(name);
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(b"\",\"code\":");
    write_number(out, u64::from(*code));
    out.extend_from_slice(b",\"version\":");
    write_number(out, u64::from(account.version));
    out.extend_from_slice(b",\"created_at\":");
    write_quoted_moment(out, cold.created_at);
    out.extend_from_slice(b",\"metadata\":");
    write_metadata(out, &cold.metadata);
    if let Some(at) = at {
        out.extend_from_slice(b",\"at\":");
        write_text(out, at);
    }
    write_balances(out, account);
    out.push(b'}');
}

fn write_balances(out: &mut Vec<u8>, account: &Account) {
    for (name, minor) in [
        (b",\"balances\":{\"posted\":".as_slice(), account.posted()),
        (b",\"pending\":", account.pending()),
        (b",\"available\":", account.available()),
        (b",\"debits_posted\":", i128::from(account.debits_posted)),
        (b",\"credits_posted\":", i128::from(account.credits_posted)),
        (b",\"debits_pending\":", i128::from(account.debits_pending)),
        (b",\"credits_pending\":", i128::from(account.credits_pending)),
    ] {
        out.extend_from_slice(name);
        write_amount(out, minor, account.currency);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::account::{AccountType, BalanceRule, GlNo, Status};
    use crate::domain::entry::AccountCold;
    use crate::domain::ids::{AccountNo, Moment, Seq};
    use crate::domain::money::Currency;
    use crate::domain::time::Day;

    fn view() -> AccountView {
        AccountView {
            no: Some(AccountNo(0)),
            account: Account {
                debits_posted: 500,
                credits_posted: 200,
                debits_pending: 7,
                credits_pending: 100,
                last_seq: Seq(9),
                cold_seq: Seq(1),
                gl: GlNo(0),
                version: 1,
                day: Day(1),
                previous_day: Day(0),
                currency: Currency::INR,
                account_type: AccountType::Asset,
                balance_rule: BalanceRule::None,
                status: Status::Open,
            },
            code: 1010,
            cold: Arc::new(AccountCold {
                created_at: Moment(0),
                external_id: Some("CASH-1".into()),
                name: Some("Drawer 1".into()),
                metadata: Vec::new(),
            }),
        }
    }

    #[test]
    fn an_account_reads_as_the_contract_says() {
        assert_eq!(
            String::from_utf8(account(&view())).unwrap(),
            concat!(
                r#"{"object":"account","id":"acct_0000000000001","external_id":"CASH-1","name":"Drawer 1","currency":"INR","#,
                r#""type":"asset","balance_rule":"none","status":"open","code":1010,"version":1,"#,
                r#""created_at":"1970-01-01T00:00:00.000000Z","metadata":{},"#,
                r#""balances":{"posted":"3.00","pending":"-0.93","available":"2.00","debits_posted":"5.00","#,
                r#""credits_posted":"2.00","debits_pending":"0.07","credits_pending":"1.00"}}"#
            )
        );
    }

    #[test]
    fn the_past_says_of_which_moment_it_is() {
        let json: serde_json::Value = serde_json::from_slice(&past_account(&view(), "2026-01-01")).unwrap();
        assert_eq!((&json["balances"]["posted"], &json["at"]), (&"3.00".into(), &"2026-01-01".into()));
    }

    #[test]
    fn opened_accounts_show_their_public_ids() {
        let reply = BatchReply { accepted: 1, items: 1, ids: vec![0], ..BatchReply::default() };
        assert_eq!(
            String::from_utf8(accounts_batch(&reply)).unwrap(),
            r#"{"object":"batch","mode":"independent","created":1,"rejected":0,"results":[{"index":0,"id":"acct_0000000000001"}]}"#
        );
    }
}
