//! What `decide` lets through, to the last unit, and what `apply` then does.
//!
//! The refusals and their order are in `domain_refusals.rs`; here stand the boundaries: the
//! greatest amount that passes and the first that does not, and the entry and balances that result.

use munim::domain::account::{Account, AccountType, BalanceRule, GlNo, Side, Status};
use munim::domain::apply::{Anchor, apply_change, apply_side, open_account};
use munim::domain::entry::{AccountChanged, AccountCold, AccountOpened, TransferCold, TransferEntry, TransferOp};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::{AMOUNT_MAX, Decimal};
use munim::domain::reject::RejectCode;
use munim::domain::time::Day;
use munim::domain::transfer::{
    AccountRef, Hold, HoldTerms, NewTransfer, Resolution, Reversible, Rules, decide_resolution, decide_reversal,
    decide_transfer,
};

use crate::domain_books::{Accounts, TODAY, account, inr, jpy, rules};

const MAX: u64 = u64::MAX;

fn transfer(amount: &str) -> NewTransfer {
    NewTransfer {
        debit: AccountRef::No(AccountNo(0)),
        credit: AccountRef::No(AccountNo(1)),
        same_text: false,
        amount: Decimal::parse(amount),
        code: 0,
        effective: None,
        hold: HoldTerms::Post,
        cold: None,
    }
}

/// Sums of an account: debits posted, credits posted, debits pending, credits pending.
type Sums = [u64; 4];

fn with_sums(mut account: Account, sums: Sums) -> Account {
    [account.debits_posted, account.credits_posted, account.debits_pending, account.credits_pending] = sums;
    account
}

/// Debits the account with the rule, or credits it; the other side is unlimited.
fn decide_against(rule: BalanceRule, sums: Sums, side: Side, amount: &str, hold: HoldTerms) -> Option<RejectCode> {
    let mut ruled = with_sums(account(jpy()), sums);
    ruled.balance_rule = rule;
    let accounts = match side {
        Side::Debit => vec![ruled, account(jpy())],
        Side::Credit => vec![account(jpy()), ruled],
    };
    let command = NewTransfer { hold, ..transfer(amount) };
    decide_transfer(&Accounts(accounts), &rules(), &command, false).err().map(|reject| reject.code)
}

#[test]
fn balance_rules_count_holds_of_their_own_side_only() {
    use BalanceRule::{NoCreditBalance, NoDebitBalance, None as NoRule};
    use Side::{Credit, Debit};
    let poor = Some(RejectCode::InsufficientFunds);
    let full = Some(RejectCode::BalanceOverflow);
    let table: &[(BalanceRule, Sums, Side, &str, Option<RejectCode>)] = &[
        // Debits posted and pending may reach the posted credits, not pass them.
        (NoDebitBalance, [0, 100, 0, 0], Debit, "100", None),
        (NoDebitBalance, [0, 100, 0, 0], Debit, "101", poor),
        (NoDebitBalance, [40, 100, 0, 0], Debit, "60", None),
        (NoDebitBalance, [40, 100, 0, 0], Debit, "61", poor),
        (NoDebitBalance, [40, 100, 30, 0], Debit, "30", None),
        (NoDebitBalance, [40, 100, 30, 0], Debit, "31", poor),
        (NoDebitBalance, [0, 0, 0, 0], Debit, "1", poor),
        // Held credits are not money yet, and do not disturb either.
        (NoDebitBalance, [0, 100, 0, 50], Debit, "101", poor),
        (NoDebitBalance, [0, 100, 0, 50], Debit, "100", None),
        // Money that comes in is never refused by this rule.
        (NoDebitBalance, [100, 100, 0, 0], Credit, "1", None),
        // Three 64-bit numbers are compared, not wrapped: insufficient comes before overflow.
        (NoDebitBalance, [MAX, MAX, 0, 0], Debit, "1", poor),
        (NoDebitBalance, [MAX - 1, MAX, 0, 0], Debit, "1", None),
        (NoDebitBalance, [MAX - 1, MAX, 1, 0], Debit, "9223372036854775807", poor),
        // The mirror image.
        (NoCreditBalance, [100, 0, 0, 0], Credit, "100", None),
        (NoCreditBalance, [100, 0, 0, 0], Credit, "101", poor),
        (NoCreditBalance, [100, 40, 0, 30], Credit, "30", None),
        (NoCreditBalance, [100, 40, 0, 30], Credit, "31", poor),
        (NoCreditBalance, [100, 0, 50, 0], Credit, "101", poor),
        (NoCreditBalance, [0, 0, 0, 0], Credit, "1", poor),
        (NoCreditBalance, [100, 100, 0, 0], Debit, "1", None),
        (NoCreditBalance, [MAX, MAX, 0, 0], Credit, "1", poor),
        // Without a rule only 64 bits are the limit, posted and pending together.
        (NoRule, [0, 0, 0, 0], Debit, "9223372036854775807", None),
        (NoRule, [AMOUNT_MAX, 0, 0, 0], Debit, "9223372036854775807", None),
        (NoRule, [AMOUNT_MAX + 1, 0, 0, 0], Debit, "9223372036854775807", None),
        (NoRule, [AMOUNT_MAX + 2, 0, 0, 0], Debit, "9223372036854775807", full),
        (NoRule, [MAX - 5, 0, 4, 0], Debit, "1", None),
        (NoRule, [MAX - 5, 0, 4, 0], Debit, "2", full),
        (NoRule, [0, MAX - 5, 0, 4], Credit, "1", None),
        (NoRule, [0, MAX - 5, 0, 4], Credit, "2", full),
        (NoRule, [0, MAX, 0, MAX], Debit, "1", None),
    ];
    for (row, (rule, sums, side, amount, expected)) in table.iter().enumerate() {
        for hold in [HoldTerms::Post, HoldTerms::Hold, HoldTerms::HoldFor { us: 1 }] {
            assert_eq!(decide_against(*rule, *sums, *side, amount, hold), *expected, "row {row}, {hold:?}");
        }
    }
}

#[test]
fn an_accepted_transfer_becomes_the_entry_that_was_asked_for() {
    let accounts = Accounts(vec![account(inr()), account(inr())]);
    let yesterday = Day(TODAY.0 - 1);
    let cold = Some(Box::new(TransferCold { description: Some("rent".into()), ..TransferCold::default() }));
    let now = rules().now;
    let table: &[(HoldTerms, Option<Day>, TransferOp, Option<Day>)] = &[
        (HoldTerms::Post, None, TransferOp::Posted, None),
        (HoldTerms::Post, Some(TODAY), TransferOp::Posted, None),
        (HoldTerms::Post, Some(yesterday), TransferOp::Posted, Some(yesterday)),
        (HoldTerms::Hold, None, TransferOp::Pending { expires_at: None }, None),
        (HoldTerms::HoldFor { us: 5 }, None, TransferOp::Pending { expires_at: Some(Moment(now.0 + 5)) }, None),
        (HoldTerms::HoldFor { us: i64::MAX }, None, TransferOp::Pending { expires_at: Some(Moment(i64::MAX)) }, None),
    ];
    for (row, (hold, effective, op, stored)) in table.iter().enumerate() {
        let command =
            NewTransfer { hold: *hold, effective: *effective, code: 9, cold: cold.clone(), ..transfer("12.34") };
        let entry = decide_transfer(&accounts, &rules(), &command, false).unwrap();
        let expected = TransferEntry {
            op: *op,
            debit: AccountNo(0),
            credit: AccountNo(1),
            amount: 1_234,
            code: 9,
            effective: *stored,
            previous_debit: Seq::NONE,
            previous_credit: Seq::NONE,
            cold: cold.clone(),
        };
        assert_eq!(entry, expected, "row {row}");
        assert_eq!(Hold::opened_by(&entry).is_some(), *hold != HoldTerms::Post, "row {row}");
    }
}

#[test]
fn a_post_takes_up_to_what_is_held_and_releases_all_of_it() {
    let accounts = Accounts(vec![account(inr()), account(inr())]);
    let table: &[(u64, Option<&str>, Result<u64, RejectCode>)] = &[
        (1_000, None, Ok(1_000)),
        (1_000, Some("10"), Ok(1_000)),
        (1_000, Some("10.00"), Ok(1_000)),
        (1_000, Some("9.99"), Ok(999)),
        (1_000, Some("0.01"), Ok(1)),
        (1_000, Some("10.01"), Err(RejectCode::AmountExceedsPending)),
        (1_000, Some("0"), Err(RejectCode::AmountZero)),
        (1_000, Some("-1"), Err(RejectCode::AmountMalformed)),
        (1_000, Some(""), Err(RejectCode::AmountMalformed)),
        (1_000, Some("1.000"), Err(RejectCode::AmountScale)),
        (AMOUNT_MAX, None, Ok(AMOUNT_MAX)),
        (AMOUNT_MAX, Some("92233720368547758.07"), Ok(AMOUNT_MAX)),
        (AMOUNT_MAX, Some("92233720368547758.08"), Err(RejectCode::AmountMalformed)),
        (1, Some("0.01"), Ok(1)),
        (1, Some("0.02"), Err(RejectCode::AmountExceedsPending)),
    ];
    for (row, (held, text, expected)) in table.iter().enumerate() {
        let hold = Hold {
            debit: AccountNo(0),
            credit: AccountNo(1),
            amount: *held,
            expires_at: None,
            code: 3,
            effective: None,
        };
        let how = Resolution::Post { amount: text.map(Decimal::parse) };
        let got = decide_resolution(&accounts, &rules(), Seq(5), &hold, how);
        match (got, expected) {
            (Ok(entry), Ok(amount)) => {
                assert_eq!(entry.op, TransferOp::PostPending { hold: Seq(5), held: *held }, "row {row}");
                assert_eq!((entry.amount, entry.posts(), entry.releases()), (*amount, *amount, *held), "row {row}");
                assert_eq!((entry.code, entry.resolves()), (3, Some(Seq(5))), "row {row}");
            }
            (got, expected) => assert_eq!(got.map_err(|reject| reject.code).err(), expected.err(), "row {row}"),
        }
    }
}

#[test]
fn a_hold_is_over_at_its_deadline_and_not_a_microsecond_before() {
    let accounts = Accounts(vec![account(inr()), account(inr())]);
    let deadline = rules().now;
    let hold = Hold {
        debit: AccountNo(0),
        credit: AccountNo(1),
        amount: 100,
        expires_at: Some(deadline),
        code: 0,
        effective: None,
    };
    let decide = |us: i64, how| {
        let rules = Rules { now: Moment(deadline.0 + us), ..rules() };
        decide_resolution(&accounts, &rules, Seq(5), &hold, how).map(|entry| entry.op).map_err(|reject| reject.code)
    };
    let post = Resolution::Post { amount: None };
    let late = Err(RejectCode::TransferNotPending);
    assert_eq!(decide(-1, post), Ok(TransferOp::PostPending { hold: Seq(5), held: 100 }));
    assert_eq!(decide(-1, Resolution::Void), Ok(TransferOp::VoidPending { hold: Seq(5) }));
    for us in [0, 1, i64::from(u32::MAX)] {
        assert_eq!(decide(us, post), late);
        assert_eq!(decide(us, Resolution::Void), late);
        assert_eq!(decide(us, Resolution::Expire), Ok(TransferOp::ExpirePending { hold: Seq(5) }));
    }
    assert!(!Hold { expires_at: None, ..hold }.is_expired(Moment(i64::MAX)), "no deadline never passes");
}

/// A hold keeps the date that it asked for while its period is open; later the money moves today.
#[test]
fn a_posted_hold_never_lands_in_a_closed_period() {
    let accounts = Accounts(vec![account(inr()), account(inr())]);
    let day = |back: u16| Day(TODAY.0 - back);
    let table: &[(Option<Day>, Option<Day>, Result<Option<Day>, RejectCode>)] = &[
        (None, None, Ok(None)),
        (Some(day(3)), None, Ok(Some(day(3)))),
        (Some(day(3)), Some(day(4)), Ok(Some(day(3)))),
        (Some(day(3)), Some(day(3)), Ok(None)),
        (Some(day(3)), Some(day(1)), Ok(None)),
        (Some(day(3)), Some(TODAY), Err(RejectCode::PeriodClosed)),
        (None, Some(TODAY), Err(RejectCode::PeriodClosed)),
        (Some(TODAY), None, Ok(None)),
        (Some(Day(TODAY.0 + 2)), Some(TODAY), Ok(Some(Day(TODAY.0 + 2)))),
    ];
    for (row, (asked, closed_through, expected)) in table.iter().enumerate() {
        let rules = Rules { closed_through: *closed_through, ..rules() };
        let hold = Hold {
            debit: AccountNo(0),
            credit: AccountNo(1),
            amount: 100,
            expires_at: None,
            code: 0,
            effective: *asked,
        };
        let got = decide_resolution(&accounts, &rules, Seq(5), &hold, Resolution::Post { amount: None });
        assert_eq!(got.map(|entry| entry.effective).map_err(|reject| reject.code), *expected, "row {row}");
    }
}

#[test]
fn a_new_transfer_may_be_dated_on_the_first_open_day_and_no_earlier() {
    let accounts = Accounts(vec![account(inr()), account(inr())]);
    let rules = Rules { closed_through: Some(Day(TODAY.0 - 10)), ..rules() };
    for (back, is_open) in [(11, false), (10, false), (9, true), (0, true)] {
        let command = NewTransfer { effective: Some(Day(TODAY.0 - back)), ..transfer("1") };
        assert_eq!(decide_transfer(&accounts, &rules, &command, false).is_ok(), is_open, "{back} days back");
    }
}

#[test]
fn a_reversal_swaps_the_sides_and_is_dated_today() {
    let accounts = Accounts(vec![account(inr()), account(inr())]);
    let original = Reversible {
        debit: AccountNo(0),
        credit: AccountNo(1),
        amount: 77,
        code: 4,
        is_posted: true,
        is_reversed: false,
        is_of_lending: false,
    };
    let entry = decide_reversal(&accounts, &rules(), Seq(8), &original, None).unwrap();
    assert_eq!(entry.op, TransferOp::Reversal { of: Seq(8) });
    assert_eq!((entry.debit, entry.credit), (AccountNo(1), AccountNo(0)));
    assert_eq!((entry.amount, entry.code, entry.effective), (77, 4, None));
    assert_eq!((entry.posts(), entry.holds(), entry.releases(), entry.resolves()), (77, 0, 0, None));
}

fn entry(op: TransferOp, amount: u64) -> TransferEntry {
    TransferEntry {
        op,
        debit: AccountNo(0),
        credit: AccountNo(1),
        amount,
        code: 0,
        effective: None,
        previous_debit: Seq::NONE,
        previous_credit: Seq::NONE,
        cold: None,
    }
}

#[test]
fn each_entry_changes_the_two_sums_of_its_side_and_no_other() {
    // (entry, posted before and after, pending before and after)
    let hold = Seq(2);
    let table: &[(TransferEntry, [u64; 2], [u64; 2])] = &[
        (entry(TransferOp::Posted, 5), [10, 15], [7, 7]),
        (entry(TransferOp::Posted, 1), [MAX - 1, MAX], [0, 0]),
        (entry(TransferOp::Pending { expires_at: None }, 5), [10, 10], [7, 12]),
        (entry(TransferOp::PostPending { hold, held: 7 }, 7), [10, 17], [7, 0]),
        (entry(TransferOp::PostPending { hold, held: 7 }, 1), [10, 11], [9, 2]),
        (entry(TransferOp::VoidPending { hold }, 7), [10, 10], [7, 0]),
        (entry(TransferOp::ExpirePending { hold }, 7), [10, 10], [8, 1]),
        (entry(TransferOp::Reversal { of: hold }, 5), [10, 15], [7, 7]),
    ];
    for (row, (entry, posted, pending)) in table.iter().enumerate() {
        for side in [Side::Debit, Side::Credit] {
            let sums = |i: usize| match side {
                Side::Debit => [posted[i], 3, pending[i], 4],
                Side::Credit => [3, posted[i], 4, pending[i]],
            };
            let mut account = with_sums(account(inr()), sums(0));
            let anchor = apply_side(&mut account, AccountNo(0), side, entry, Seq(9), TODAY);
            let mut expected = with_sums(account, sums(1));
            expected.last_seq = Seq(9);
            assert_eq!(account, expected, "row {row}, {side:?}");
            assert_eq!(anchor, None, "the same day leaves no anchor");
        }
    }
}

/// An account that moved on days 1, 3 and 4 leaves the closings of 1 and 3, linked backwards.
#[test]
fn the_first_entry_of_a_new_day_leaves_the_closing_of_the_day_before() {
    let opened = AccountOpened {
        account: AccountNo(6),
        currency: inr(),
        account_type: AccountType::Income,
        code: 4_000,
        balance_rule: BalanceRule::NoDebitBalance,
        cold: AccountCold::default(),
    };
    let no = opened.account;
    let mut account = open_account(&opened, GlNo(2), Seq(1), Day(1));
    assert_eq!(
        (account.version, account.status, account.last_seq, account.cold_seq),
        (1, Status::Open, Seq(1), Seq(1))
    );
    assert_eq!((account.gl, account.day, account.previous_day), (GlNo(2), Day(1), Day(0)));
    let post = entry(TransferOp::Posted, 5);
    assert_eq!(apply_side(&mut account, no, Side::Credit, &post, Seq(2), Day(1)), None);
    let held = entry(TransferOp::Pending { expires_at: None }, 2);
    let closing = |day, previous_day, last_seq, credits_posted, credits_pending| {
        Some(Anchor {
            account: no,
            day: Day(day),
            previous_day: Day(previous_day),
            last_seq: Seq(last_seq),
            debits_posted: 0,
            credits_posted,
            debits_pending: 0,
            credits_pending,
        })
    };
    assert_eq!(apply_side(&mut account, no, Side::Credit, &held, Seq(4), Day(3)), closing(1, 0, 2, 5, 0));
    let change = AccountChanged {
        account: no,
        status: Status::Frozen,
        version: 2,
        previous: Seq(4),
        cold: AccountCold::default(),
    };
    assert_eq!(apply_change(&mut account, &change, Seq(7), Day(4)), closing(3, 1, 4, 5, 2));
    assert_eq!(
        (account.status, account.version, account.cold_seq, account.last_seq),
        (Status::Frozen, 2, Seq(7), Seq(7))
    );
    assert_eq!((account.day, account.previous_day), (Day(4), Day(3)));
}

/// `apply` cannot refuse: what `decide` should have stopped is a bug, and stops the process.
#[test]
fn apply_asserts_what_decide_has_proved() {
    let posted = entry(TransferOp::Posted, 1);
    let void = entry(TransferOp::VoidPending { hold: Seq(2) }, 1);
    let fresh = account(inr());
    let table: &[(&str, Account, &TransferEntry, Seq, Day)] = &[
        ("overflow", with_sums(fresh, [MAX, 0, 0, 0]), &posted, Seq(9), TODAY),
        ("releases what is not held", fresh, &void, Seq(9), TODAY),
        ("the same seq twice", fresh, &posted, fresh.last_seq, TODAY),
        ("a day that goes back", fresh, &posted, Seq(9), Day(TODAY.0 - 1)),
    ];
    for (why, account, entry, seq, day) in table {
        let outcome = std::panic::catch_unwind(|| {
            let mut account = *account;
            apply_side(&mut account, AccountNo(0), Side::Debit, entry, *seq, *day)
        });
        assert!(outcome.is_err(), "{why}");
    }
}

#[test]
fn balances_are_shown_in_the_normal_direction() {
    // (type, sums, posted, pending, available)
    let table: &[(AccountType, Sums, i128, i128, i128)] = &[
        (AccountType::Asset, [100, 30, 5, 20], 70, -15, 50),
        (AccountType::Expense, [100, 30, 5, 20], 70, -15, 50),
        (AccountType::Liability, [30, 100, 20, 5], 70, -15, 50),
        (AccountType::Equity, [100, 30, 5, 20], -70, 15, -75),
        (AccountType::Income, [0, MAX, 0, 0], i128::from(MAX), 0, i128::from(MAX)),
        (AccountType::Asset, [0, MAX, 0, 0], -i128::from(MAX), 0, -i128::from(MAX)),
    ];
    for (row, (account_type, sums, posted, pending, available)) in table.iter().enumerate() {
        let mut account = with_sums(account(inr()), *sums);
        account.account_type = *account_type;
        assert_eq!(
            (account.posted(), account.pending(), account.available()),
            (*posted, *pending, *available),
            "{row}"
        );
    }
}
