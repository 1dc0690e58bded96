//! What the committed demo books promise.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::account::{AccountType, BalanceRule};
use crate::domain::money::{Currency, Decimal};

fn rows(text: &str) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .map(|row| row.expect("committed rows are well formed"))
        .collect()
}

fn committed_balances(mut after_each: impl FnMut(&str, i64)) -> BTreeMap<String, i64> {
    let mut balances = BTreeMap::new();
    for row in rows(DEMO_TRANSFERS_CSV) {
        let amount = Decimal::parse(&row["amount"]).expect("a decimal").minor(Currency::INR).expect("paise");
        let amount = i64::try_from(amount).expect("small");
        for (side, sign) in [("debit_account", 1), ("credit_account", -1)] {
            let balance = balances.entry(row[side].clone()).or_insert(0);
            *balance += sign * amount;
            after_each(&row[side], *balance);
        }
    }
    balances
}

#[test]
fn the_committed_files_are_what_the_generator_writes() {
    let data = generate(DEMO_SEED);
    assert!(data.accounts == DEMO_ACCOUNTS_CSV, "run `munim demo-data --out data/demo` and commit the result");
    assert!(data.transfers == DEMO_TRANSFERS_CSV, "run `munim demo-data --out data/demo` and commit the result");
}

#[test]
fn the_month_is_large_enough_to_look_real_and_small_enough_to_commit() {
    let transfers = rows(DEMO_TRANSFERS_CSV);
    assert!(transfers.len() >= 20_000, "{} transfers", transfers.len());
    assert!(DEMO_TRANSFERS_CSV.len() < 3_000_000, "{} bytes", DEMO_TRANSFERS_CSV.len());
    let accounts = rows(DEMO_ACCOUNTS_CSV);
    assert!((300..2_000).contains(&accounts.len()), "{} accounts", accounts.len());
}

#[test]
fn every_account_is_well_formed_and_every_transfer_names_known_ones() {
    let accounts = rows(DEMO_ACCOUNTS_CSV);
    let ids: BTreeSet<String> = accounts.iter().map(|row| format!("ext:{}", row["external_id"])).collect();
    assert_eq!(ids.len(), accounts.len(), "external ids are unique");
    for row in &accounts {
        assert!(AccountType::from_name(&row["type"]).is_some(), "{row:?}");
        assert!(BalanceRule::from_name(&row["balance_rule"]).is_some(), "{row:?}");
        assert!(Currency::from_code(&row["currency"]).is_some() && row["code"].parse::<u32>().is_ok(), "{row:?}");
    }
    let mut seen = BTreeSet::new();
    for row in rows(DEMO_TRANSFERS_CSV) {
        assert!(seen.insert(row["external_id"].clone()), "{row:?} twice");
        assert!(ids.contains(&row["debit_account"]) && ids.contains(&row["credit_account"]), "{row:?}");
        assert_ne!(row["debit_account"], row["credit_account"]);
    }
}

#[test]
fn no_balance_rule_is_broken_in_the_order_of_the_file() {
    let rules: BTreeMap<String, BalanceRule> = rows(DEMO_ACCOUNTS_CSV)
        .iter()
        .map(|row| {
            let rule = BalanceRule::from_name(&row["balance_rule"]).expect("a rule");
            (format!("ext:{}", row["external_id"]), rule)
        })
        .collect();
    let balances = committed_balances(|account, balance| match rules[account] {
        BalanceRule::NoCreditBalance => assert!(balance >= 0, "{account} at {balance}"),
        BalanceRule::NoDebitBalance => assert!(balance <= 0, "{account} at {balance}"),
        BalanceRule::None => {}
    });
    assert_eq!(balances.values().sum::<i64>(), 0, "debits equal credits");
    for (account, balance) in &balances {
        assert!(!account.starts_with("ext:BANK-") || *balance > 0, "{account} ends overdrawn at {balance}");
        assert!(!account.starts_with("ext:GL-13") || *balance >= 0, "{account} received more than accrued");
    }
}

#[test]
fn days_run_forward_and_closed_days_see_upi_only() {
    let mut last = String::new();
    for row in rows(DEMO_TRANSFERS_CSV) {
        let date = row["effective_date"].clone();
        assert!(date >= last && date.starts_with("2026-10-"), "{date} after {last}");
        let day: u64 = date[8..].parse().expect("a day");
        assert!(month::is_working(day) || row["metadata.mode"] == "upi", "{row:?}");
        last = date;
    }
}

#[test]
fn another_seed_gives_other_books_that_hold_too() {
    // The generator asserts on cash while it writes.
    for seed in [1, 2, 3] {
        assert_ne!(generate(seed).transfers, DEMO_TRANSFERS_CSV, "seed {seed}");
    }
}
