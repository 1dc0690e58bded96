//! Statements, trial balances, periods and the engine's state, as JSON and CSV.

use std::collections::BTreeMap;

use crate::domain::account::AccountType;
use crate::domain::gl::GlTotals;
use crate::domain::ids::IdKind;
use crate::domain::money::{Currency, format_minor};
use crate::domain::time::Day;
use crate::engine::view::{EngineStatus, Periods, Statement, StatementLine, TrialBalance};

use super::{
    write_account_id, write_amount, write_bool, write_cell, write_day, write_day_or_null, write_list, write_moment,
    write_number, write_quoted_id, write_quoted_moment, write_text, write_text_or_null,
};

/// A statement object.
#[must_use]
pub fn statement(statement: &Statement) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + statement.lines.len() * 224);
    let currency = statement.currency;
    out.extend_from_slice(b"{\"object\":\"statement\",\"account\":");
    write_account_id(&mut out, u64::from(statement.account.0));
    out.extend_from_slice(b",\"currency\":");
    write_text(&mut out, currency.code());
    out.extend_from_slice(b",\"from\":");
    write_day_or_null(&mut out, statement.from);
    out.extend_from_slice(b",\"to\":");
    write_day_or_null(&mut out, statement.to);
    out.extend_from_slice(b",\"opening\":");
    write_amount(&mut out, statement.opening, currency);
    out.extend_from_slice(b",\"closing\":");
    write_amount(&mut out, statement.closing, currency);
    out.extend_from_slice(b",\"has_more\":");
    write_bool(&mut out, statement.has_more);
    out.extend_from_slice(b",\"data\":");
    write_list(&mut out, &statement.lines, |out, line| write_line(out, line, currency));
    out.push(b'}');
    out
}

/// `seq` is that of the entry that posted: the line's place, and the cursor of the next page.
fn write_line(out: &mut Vec<u8>, line: &StatementLine, currency: Currency) {
    out.extend_from_slice(b"{\"transfer\":");
    write_quoted_id(out, IdKind::Transfer, line.transfer.0);
    out.extend_from_slice(b",\"seq\":\"");
    write_number(out, line.seq.0);
    out.extend_from_slice(b"\",\"effective_date\":");
    write_day_or_null(out, Some(line.effective_date));
    out.extend_from_slice(b",\"created_at\":");
    write_quoted_moment(out, line.created_at);
    out.extend_from_slice(b",\"amount\":");
    write_amount(out, line.amount, currency);
    out.extend_from_slice(b",\"balance\":");
    write_amount(out, line.balance, currency);
    out.extend_from_slice(b",\"description\":");
    write_text_or_null(out, line.description.as_deref());
    out.push(b'}');
}

/// A statement page as CSV: one line per row, newest first.
#[must_use]
pub fn statement_csv(statement: &Statement) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + statement.lines.len() * 128);
    out.extend_from_slice(b"transfer,seq,effective_date,created_at,amount,balance,currency,description\r\n");
    for line in &statement.lines {
        crate::domain::ids::write_id(&mut out, IdKind::Transfer, line.transfer.0);
        out.push(b',');
        write_number(&mut out, line.seq.0);
        out.push(b',');
        write_day(&mut out, line.effective_date);
        out.push(b',');
        write_moment(&mut out, line.created_at);
        for minor in [line.amount, line.balance] {
            out.push(b',');
            crate::domain::money::write_minor(&mut out, minor, statement.currency);
        }
        out.push(b',');
        out.extend_from_slice(statement.currency.code().as_bytes());
        out.push(b',');
        write_cell(&mut out, line.description.as_deref().unwrap_or_default());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A trial balance object. `on` is `null` for "with everything that is booked".
#[must_use]
pub fn trial_balance(rows: &TrialBalance, on: Option<Day>, basis: &'static str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + rows.len() * 128);
    let mut totals: BTreeMap<Currency, GlTotals> = BTreeMap::new();
    out.extend_from_slice(b"{\"object\":\"trial_balance\",\"on\":");
    write_day_or_null(&mut out, on);
    out.extend_from_slice(b",\"as\":");
    write_text(&mut out, basis);
    out.extend_from_slice(b",\"rows\":");
    write_list(&mut out, rows, |out, (key, line)| {
        totals.entry(key.currency).or_default().add(*line);
        out.extend_from_slice(b"{\"currency\":");
        write_text(out, key.currency.code());
        out.extend_from_slice(b",\"code\":");
        write_number(out, u64::from(key.code));
        out.extend_from_slice(b",\"type\":");
        write_text(out, key.account_type.name());
        write_sums(out, *line, key.currency);
        out.extend_from_slice(b",\"balance\":");
        write_text(out, &gl_balance(*line, key.account_type, key.currency));
        out.push(b'}');
    });
    out.extend_from_slice(b",\"totals\":");
    write_list(&mut out, &totals, |out, (currency, total)| {
        out.extend_from_slice(b"{\"currency\":");
        write_text(out, currency.code());
        write_sums(out, *total, *currency);
        out.push(b'}');
    });
    out.push(b'}');
    out
}

fn write_sums(out: &mut Vec<u8>, totals: GlTotals, currency: Currency) {
    for (name, sum) in [(b",\"debits\":".as_slice(), totals.debits), (b",\"credits\":", totals.credits)] {
        out.extend_from_slice(name);
        write_amount(out, signed(sum), currency);
    }
}

/// The balance in the type's normal direction.
fn gl_balance(totals: GlTotals, account_type: AccountType, currency: Currency) -> String {
    let debits = signed(totals.debits) - signed(totals.credits);
    format_minor(if account_type.is_debit_normal() { debits } else { -debits }, currency)
}

fn signed(sum: u128) -> i128 {
    i128::try_from(sum).expect("2^32 accounts of 2^64 minor units are 2^96")
}

/// A trial balance as CSV.
#[must_use]
pub fn trial_balance_csv(rows: &TrialBalance) -> Vec<u8> {
    let mut out = b"currency,code,type,debits,credits,balance\r\n".to_vec();
    for (key, line) in rows {
        let cells = [
            key.currency.code().to_owned(),
            key.code.to_string(),
            key.account_type.name().to_owned(),
            format_minor(signed(line.debits), key.currency),
            format_minor(signed(line.credits), key.currency),
            gl_balance(*line, key.account_type, key.currency),
        ];
        out.extend_from_slice(cells.join(",").as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The state of the periods, newest event first.
#[must_use]
pub fn periods(periods: &Periods) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + periods.events.len() * 128);
    out.extend_from_slice(b"{\"object\":\"periods\",\"closed_through\":");
    write_day_or_null(&mut out, periods.closed_through);
    out.extend_from_slice(b",\"data\":");
    write_list(&mut out, &periods.events, |out, event| {
        let is_closing = event.reopened_because.is_none();
        out.extend_from_slice(b"{\"event\":");
        write_text(out, if is_closing { "closed" } else { "reopened" });
        out.extend_from_slice(b",\"at\":");
        write_quoted_moment(out, event.at);
        out.extend_from_slice(b",\"closed_through\":");
        write_day_or_null(out, event.through);
        out.extend_from_slice(b",\"reason\":");
        write_text_or_null(out, event.reopened_because.as_deref());
        out.extend_from_slice(b",\"seq\":\"");
        write_number(out, event.seq.0);
        out.extend_from_slice(b"\"}");
    });
    out.push(b'}');
    out
}

/// The state of the engine.
#[must_use]
pub fn status(status: &EngineStatus, version: &str, uptime_s: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(768);
    out.extend_from_slice(b"{\"object\":\"status\",\"version\":");
    write_text(&mut out, version);
    out.extend_from_slice(b",\"uptime_s\":");
    write_number(&mut out, uptime_s);
    out.extend_from_slice(b",\"business_date\":");
    write_day_or_null(&mut out, Some(status.business_date));
    for (name, seq) in [
        ("appended_seq", status.appended_seq),
        ("durable_seq", status.durable_seq),
        ("checkpoint_seq", status.checkpoint_seq),
    ] {
        write_name(&mut out, name);
        out.push(b'"');
        write_number(&mut out, seq.0);
        out.push(b'"');
    }
    for (name, number) in [
        ("durable_lag", status.appended_seq.0.saturating_sub(status.durable_seq.0)),
        ("checkpoint_lag", status.durable_seq.0.saturating_sub(status.checkpoint_seq.0)),
        ("shards", status.shards as u64),
        ("accounts", status.accounts),
        ("holds", status.holds),
        ("segments", status.segments as u64),
        ("segment_rolls", status.segment_rolls),
        ("checkpoints", status.checkpoints),
        ("block_cache_hits", status.block_cache.0),
        ("block_cache_misses", status.block_cache.1),
        ("text_cache_hits", status.text_cache.0),
        ("text_cache_misses", status.text_cache.1),
        ("scrub_passes", status.scrub.passes),
        ("scrub_blocks", status.scrub.blocks),
    ] {
        write_name(&mut out, name);
        write_number(&mut out, number);
    }
    out.extend_from_slice(b",\"chain_head\":{\"seq\":\"");
    write_number(&mut out, status.chain_head.0.0);
    out.extend_from_slice(b"\",\"hash\":");
    write_text(&mut out, &blake3::Hash::from_bytes(status.chain_head.1).to_hex());
    out.extend_from_slice(b"},\"clock_suspect\":");
    write_bool(&mut out, status.clock_suspect);
    write_name(&mut out, "scrub_damage");
    let damage = status.scrub.damage.as_ref().map(|(seq, what)| format!("seq={seq}: {what}"));
    write_text_or_null(&mut out, damage.as_deref());
    write_name(&mut out, "trouble");
    write_text_or_null(&mut out, status.trouble.as_ref().map(|(code, _)| *code));
    out.push(b'}');
    out
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    write_text(out, name);
    out.push(b':');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gl::GlKey;
    use crate::domain::ids::{AccountNo, Moment, Seq};
    use crate::engine::view::PeriodEvent;

    #[test]
    fn a_statement_is_json_and_csv() {
        let view = Statement {
            account: AccountNo(1),
            currency: Currency::INR,
            from: Some(Day(20_778)),
            to: None,
            opening: 0,
            closing: -1234,
            has_more: false,
            next: None,
            lines: vec![StatementLine {
                seq: Seq(9),
                transfer: Seq(7),
                effective_date: Day(20_778),
                created_at: Moment(0),
                amount: -1234,
                balance: -1234,
                description: Some("=cmd, \"x\"".into()),
            }],
            version: 1,
            last_seq: Seq(9),
        };
        let json: serde_json::Value = serde_json::from_slice(&statement(&view)).unwrap();
        assert_eq!(json["closing"], "-12.34");
        assert_eq!(json["data"][0]["transfer"], "tr_0000000000007");
        assert_eq!(json["data"][0]["seq"], "9");
        assert_eq!(
            String::from_utf8(statement_csv(&view)).unwrap().lines().nth(1).unwrap(),
            "tr_0000000000007,9,2026-11-21,1970-01-01T00:00:00.000000Z,-12.34,-12.34,INR,\"'=cmd, \"\"x\"\"\""
        );
    }

    #[test]
    fn a_trial_balance_sums_by_currency() {
        let key = |code, account_type| GlKey { currency: Currency::INR, code, account_type };
        let totals = |debits, credits| GlTotals { debits, credits };
        let rows = vec![
            (key(1010, AccountType::Asset), totals(500, 100)),
            (key(2010, AccountType::Liability), totals(0, 400)),
        ];
        let json: serde_json::Value = serde_json::from_slice(&trial_balance(&rows, None, "corrected")).unwrap();
        assert_eq!(json["rows"][0]["balance"], "4.00");
        assert_eq!(json["rows"][1]["balance"], "4.00");
        assert_eq!(json["totals"], serde_json::json!([{"currency": "INR", "debits": "5.00", "credits": "5.00"}]));
        let csv = String::from_utf8(trial_balance_csv(&rows)).unwrap();
        assert_eq!(csv.lines().nth(2), Some("INR,2010,liability,0.00,4.00,4.00"));
    }

    #[test]
    fn periods_tell_their_story() {
        let view = Periods {
            closed_through: None,
            events: vec![PeriodEvent {
                seq: Seq(3),
                at: Moment(0),
                through: None,
                reopened_because: Some("late voucher".into()),
            }],
        };
        let json: serde_json::Value = serde_json::from_slice(&periods(&view)).unwrap();
        assert_eq!(json["data"][0]["event"], "reopened");
        assert_eq!(json["closed_through"], serde_json::Value::Null);
    }
}
