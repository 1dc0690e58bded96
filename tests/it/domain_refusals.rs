//! What `decide` refuses, and in which order.
//!
//! One check, many tables. A **fault** is a change of a well-formed case that gives rise to exactly
//! one refusal. Then:
//! 1. the case without faults is accepted;
//! 2. every fault alone gives its refusal, and names the account that caused it;
//! 3. every ordered pair of faults gives the refusal that stands earlier in API.md, whichever of
//!    the two came into the case first.
//!
//! Faults that change the same field cannot stand together; those pairs are left out by their field.

use munim::domain::account::{BalanceRule, Status};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::Decimal;
use munim::domain::reject::{Reject, RejectCode};
use munim::domain::time::Day;
use munim::domain::transfer::{
    AccountRef, Hold, HoldTerms, NewTransfer, Resolution, Reversible, Rules, decide_resolution, decide_reversal,
    decide_transfer,
};

use crate::domain_books::{Accounts, TODAY, account, inr, jpy, rules};

const DEBIT: AccountNo = AccountNo(0);
const CREDIT: AccountNo = AccountNo(1);
const NOBODY: AccountNo = AccountNo(99);

/// Everything that the three deciding functions look at.
#[derive(Clone)]
struct Case {
    accounts: Accounts,
    rules: Rules,
    transfer: NewTransfer,
    is_external_id_taken: bool,
    hold: Hold,
    post: Option<Option<Decimal>>,
    original: Reversible,
}

fn well_formed() -> Case {
    Case {
        accounts: Accounts(vec![account(inr()), account(inr()), account(jpy())]),
        rules: rules(),
        transfer: NewTransfer {
            debit: AccountRef::No(DEBIT),
            credit: AccountRef::No(CREDIT),
            same_text: false,
            amount: Decimal::parse("12.34"),
            code: 7,
            effective: None,
            hold: HoldTerms::Post,
            cold: None,
        },
        is_external_id_taken: false,
        hold: Hold {
            debit: DEBIT,
            credit: CREDIT,
            amount: 1_234,
            expires_at: Some(Moment(rules().now.0 + 1)),
            code: 7,
            effective: None,
        },
        post: None,
        original: Reversible {
            debit: DEBIT,
            credit: CREDIT,
            amount: 1_234,
            code: 7,
            is_posted: true,
            is_reversed: false,
            is_of_lending: false,
        },
    }
}

/// A change of the well-formed case and the refusal that it must give.
struct Fault {
    /// Faults with a field in common exclude each other.
    fields: &'static [&'static str],
    change: fn(&mut Case),
    expected: Reject,
}

fn fault(fields: &'static [&'static str], change: fn(&mut Case), expected: Reject) -> Fault {
    Fault { fields, change, expected }
}

fn of(code: RejectCode) -> Reject {
    Reject::of(code)
}

fn by(code: RejectCode, account: AccountNo) -> Reject {
    Reject::by(code, account)
}

/// Runs the three steps of the file's head. Returns how many pairs stood together.
fn check(faults: &[Fault], decide: fn(&Case) -> Option<Reject>) -> usize {
    assert_eq!(decide(&well_formed()), None, "the case without faults");
    for (i, fault) in faults.iter().enumerate() {
        let mut case = well_formed();
        (fault.change)(&mut case);
        assert_eq!(decide(&case), Some(fault.expected), "fault {i} alone");
    }
    let mut pairs = 0;
    for (i, earlier) in faults.iter().enumerate() {
        for (j, later) in faults.iter().enumerate().skip(i + 1) {
            if earlier.fields.iter().any(|field| later.fields.contains(field)) {
                continue;
            }
            for order in [[earlier, later], [later, earlier]] {
                let mut case = well_formed();
                order.iter().for_each(|fault| (fault.change)(&mut case));
                assert_eq!(decide(&case), Some(earlier.expected), "faults {i} and {j}");
            }
            pairs += 1;
        }
    }
    pairs
}

#[test]
fn a_new_transfer_is_refused_for_its_earliest_fault() {
    use RejectCode as C;
    let faults = [
        fault(&["amount"], |c| c.transfer.amount = None, of(C::AmountMalformed)),
        fault(&["amount"], |c| c.transfer.amount = Decimal::parse("0.00"), of(C::AmountZero)),
        fault(&["sides"], |c| c.transfer.credit = AccountRef::No(DEBIT), of(C::SameAccount)),
        fault(&[], |c| c.transfer.same_text = true, of(C::SameAccount)),
        fault(&["debit", "sides"], |c| c.transfer.debit = AccountRef::Unknown, of(C::AccountNotFound)),
        fault(&["debit", "sides"], |c| c.transfer.debit = AccountRef::No(NOBODY), by(C::AccountNotFound, NOBODY)),
        fault(&["credit", "sides"], |c| c.transfer.credit = AccountRef::Unknown, of(C::AccountNotFound)),
        fault(&["currency", "sides"], |c| c.accounts.0[0].currency = jpy(), of(C::CurrencyMismatch)),
        fault(&["currency", "sides"], |c| c.accounts.0[1].currency = jpy(), of(C::CurrencyMismatch)),
        fault(&["amount"], |c| c.transfer.amount = Decimal::parse("12.345"), of(C::AmountScale)),
        fault(&["amount"], |c| c.transfer.amount = Decimal::parse("92233720368547759"), of(C::AmountScale)),
        fault(&["debit.status"], |c| c.accounts.0[0].status = Status::Closed, by(C::AccountClosed, DEBIT)),
        fault(&["credit.status"], |c| c.accounts.0[1].status = Status::Closed, by(C::AccountClosed, CREDIT)),
        fault(&["debit.status"], |c| c.accounts.0[0].status = Status::Frozen, by(C::AccountFrozen, DEBIT)),
        fault(&["credit.status"], |c| c.accounts.0[1].status = Status::Frozen, by(C::AccountFrozen, CREDIT)),
        fault(&[], |c| c.is_external_id_taken = true, of(C::ExternalIdExists)),
        fault(&["period"], |c| c.rules.closed_through = Some(TODAY), of(C::PeriodClosed)),
        fault(&["period"], close_yesterday_and_date_back, of(C::PeriodClosed)),
        fault(&[], |c| c.accounts.0[0].balance_rule = BalanceRule::NoDebitBalance, by(C::InsufficientFunds, DEBIT)),
        fault(&[], |c| c.accounts.0[1].balance_rule = BalanceRule::NoCreditBalance, by(C::InsufficientFunds, CREDIT)),
        fault(&["debit.sum"], |c| c.accounts.0[0].debits_posted = u64::MAX - 1_233, by(C::BalanceOverflow, DEBIT)),
        fault(&["debit.sum"], |c| c.accounts.0[0].debits_pending = u64::MAX, by(C::BalanceOverflow, DEBIT)),
        fault(&["credit.sum"], |c| c.accounts.0[1].credits_posted = u64::MAX, by(C::BalanceOverflow, CREDIT)),
        fault(&["credit.sum"], |c| c.accounts.0[1].credits_pending = u64::MAX - 1_233, by(C::BalanceOverflow, CREDIT)),
    ];
    let decide = |c: &Case| decide_transfer(&c.accounts, &c.rules, &c.transfer, c.is_external_id_taken).err();
    let pairs = check(&faults, decide);
    assert!(pairs >= 220, "only {pairs} pairs of faults stood together");
}

fn close_yesterday_and_date_back(case: &mut Case) {
    let yesterday = Day(TODAY.0 - 1);
    case.rules.closed_through = Some(yesterday);
    case.transfer.effective = Some(yesterday);
}

/// Faults of one text exclude each other in `check`, so what one text can have two of stands here.
#[test]
fn an_amount_with_two_faults_is_refused_for_the_earlier_one() {
    for (text, expected) in [
        ("0.000", RejectCode::AmountZero),
        ("0.0000000", RejectCode::AmountZero),
        ("-0", RejectCode::AmountMalformed),
        ("9223372036854775808.1", RejectCode::AmountMalformed),
    ] {
        let mut case = well_formed();
        case.transfer.amount = Decimal::parse(text);
        let new = decide_transfer(&case.accounts, &case.rules, &case.transfer, false);
        assert_eq!(new, Err(of(expected)), "new {text}");
        let amount = Some(Decimal::parse(text));
        let post = decide_resolution(&case.accounts, &case.rules, Seq(1), &case.hold, Resolution::Post { amount });
        assert_eq!(post, Err(of(expected)), "post {text}");
    }
    let amount = Some(Decimal::parse("999.999"));
    let case = well_formed();
    let post = decide_resolution(&case.accounts, &case.rules, Seq(1), &case.hold, Resolution::Post { amount });
    assert_eq!(post, Err(of(RejectCode::AmountScale)), "too fine before too much");
}

#[test]
fn a_post_is_refused_for_its_earliest_fault() {
    use RejectCode as C;
    let faults = [
        fault(&["amount"], |c| c.post = Some(None), of(C::AmountMalformed)),
        fault(&["amount"], |c| c.post = Some(Decimal::parse("0")), of(C::AmountZero)),
        fault(&[], |c| c.hold.expires_at = Some(c.rules.now), of(C::TransferNotPending)),
        fault(&["amount"], |c| c.post = Some(Decimal::parse("1.001")), of(C::AmountScale)),
        fault(&["amount"], |c| c.post = Some(Decimal::parse("12.35")), of(C::AmountExceedsPending)),
        fault(&["debit.status"], |c| c.accounts.0[0].status = Status::Closed, by(C::AccountClosed, DEBIT)),
        fault(&["credit.status"], |c| c.accounts.0[1].status = Status::Closed, by(C::AccountClosed, CREDIT)),
        fault(&["debit.status"], |c| c.accounts.0[0].status = Status::Frozen, by(C::AccountFrozen, DEBIT)),
        fault(&["credit.status"], |c| c.accounts.0[1].status = Status::Frozen, by(C::AccountFrozen, CREDIT)),
        fault(&[], |c| c.rules.closed_through = Some(TODAY), of(C::PeriodClosed)),
    ];
    let decide =
        |c: &Case| decide_resolution(&c.accounts, &c.rules, Seq(1), &c.hold, Resolution::Post { amount: c.post }).err();
    let pairs = check(&faults, decide);
    assert!(pairs >= 30, "only {pairs} pairs of faults stood together");
}

#[test]
fn a_reversal_is_refused_for_its_earliest_fault() {
    use RejectCode as C;
    // The sides are swapped: the reversal debits what the original credited.
    let faults = [
        fault(&[], |c| c.original.is_posted = false, of(C::TransferNotPosted)),
        fault(&[], |c| c.original.is_reversed = true, of(C::AlreadyReversed)),
        fault(&["credit.status"], |c| c.accounts.0[1].status = Status::Closed, by(C::AccountClosed, CREDIT)),
        fault(&["debit.status"], |c| c.accounts.0[0].status = Status::Closed, by(C::AccountClosed, DEBIT)),
        fault(&["credit.status"], |c| c.accounts.0[1].status = Status::Frozen, by(C::AccountFrozen, CREDIT)),
        fault(&["debit.status"], |c| c.accounts.0[0].status = Status::Frozen, by(C::AccountFrozen, DEBIT)),
        fault(&[], |c| c.rules.closed_through = Some(TODAY), of(C::PeriodClosed)),
        fault(&[], |c| c.accounts.0[1].debits_posted = u64::MAX, by(C::BalanceOverflow, CREDIT)),
        fault(&[], |c| c.accounts.0[0].credits_posted = u64::MAX - 1_233, by(C::BalanceOverflow, DEBIT)),
    ];
    let decide = |c: &Case| decide_reversal(&c.accounts, &c.rules, Seq(1), &c.original, None).err();
    let pairs = check(&faults, decide);
    assert!(pairs >= 30, "only {pairs} pairs of faults stood together");
}

/// Void and expiry release money; nothing about accounts or periods stands in their way.
#[test]
fn void_and_expiry_of_an_open_hold_are_never_refused() {
    let obstacles: [fn(&mut Case); 7] = [
        |_| {},
        |c| c.accounts.0[0].status = Status::Frozen,
        |c| c.accounts.0[1].status = Status::Closed,
        |c| c.rules.closed_through = Some(TODAY),
        |c| c.accounts.0[0].balance_rule = BalanceRule::NoDebitBalance,
        |c| c.accounts.0[0].debits_posted = u64::MAX,
        |c| c.accounts.0.clear(),
    ];
    for (i, obstacle) in obstacles.iter().enumerate() {
        let mut case = well_formed();
        obstacle(&mut case);
        let decide = |case: &Case, how| decide_resolution(&case.accounts, &case.rules, Seq(1), &case.hold, how);
        assert!(decide(&case, Resolution::Void).is_ok(), "void, obstacle {i}");
        case.hold.expires_at = Some(case.rules.now);
        assert!(decide(&case, Resolution::Expire).is_ok(), "expiry, obstacle {i}");
        assert_eq!(
            decide(&case, Resolution::Void),
            Err(of(RejectCode::TransferNotPending)),
            "a late void, obstacle {i}"
        );
    }
}

/// A mistake must be correctable when the money is gone.
#[test]
fn a_reversal_does_not_ask_the_balance_rules() {
    let mut case = well_formed();
    for account in &mut case.accounts.0 {
        account.balance_rule = BalanceRule::NoDebitBalance;
    }
    assert!(decide_reversal(&case.accounts, &case.rules, Seq(1), &case.original, None).is_ok());
    for account in &mut case.accounts.0 {
        account.balance_rule = BalanceRule::NoCreditBalance;
    }
    assert!(decide_reversal(&case.accounts, &case.rules, Seq(1), &case.original, None).is_ok());
}

/// Codes of the contract, copied from API.md by hand: the enum must not reorder them unnoticed.
#[test]
fn refusals_are_numbered_in_the_order_of_the_contract() {
    let contract = "amount_malformed, amount_zero, same_account, account_not_found, currency_mismatch, amount_scale, \
        account_closed, account_frozen, external_id_exists, period_closed, insufficient_funds, balance_overflow, \
        transfer_not_found, transfer_not_pending, transfer_not_posted, already_reversed, amount_exceeds_pending";
    for (number, name) in contract.split(", ").enumerate() {
        let code = RejectCode::from_number(u8::try_from(number).unwrap()).unwrap();
        assert_eq!(code.name(), name);
    }
}
