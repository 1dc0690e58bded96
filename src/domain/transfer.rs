//! Transfers: `decide` says yes or no, and what the entry would be; it changes nothing.
//!
//! The checks stand in the order of [`RejectCode`]; read a `decide_*` function from top to bottom
//! and you have read the contract. Whatever `apply` relies on has been proved here.

use super::access::check_amount;
use super::account::{Account, BalanceRule, Status};
use super::entry::{TransferCold, TransferEntry, TransferOp};
use super::ids::{AccountNo, Moment, Seq};
use super::money::{Decimal, Minor, ScaleError};
use super::reject::{Reject, RejectCode};
use super::time::Day;

/// What `decide` may look at: accounts, nothing else.
pub trait View {
    /// The account, or `None` when no account has this number.
    fn account(&self, no: AccountNo) -> Option<&Account>;
}

/// What holds for all accounts at the moment of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The moment of the decision.
    pub now: Moment,
    /// The business date: default of effective dates.
    pub business_date: Day,
    /// Effective dates up to here are closed.
    pub closed_through: Option<Day>,
    /// Greatest single amount of the caller, in whole units of its currency.
    pub amount_limit: Option<u64>,
}

impl Rules {
    /// Whether an effective date falls into a closed period.
    #[must_use]
    pub fn is_closed(&self, day: Day) -> bool {
        self.closed_through.is_some_and(|through| day <= through)
    }

    /// The form in which entries keep a day: `None` for the business date itself.
    fn off_date(&self, day: Day) -> Option<Day> {
        (day != self.business_date).then_some(day)
    }
}

/// An account as a command names it, after its text was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountRef {
    /// A number; the account may still not exist.
    No(AccountNo),
    /// The text named nothing that exists.
    Unknown,
}

/// A new transfer, as asked for.
#[derive(Clone, Debug)]
pub struct NewTransfer {
    /// Account on the debit side.
    pub debit: AccountRef,
    /// Account on the credit side.
    pub credit: AccountRef,
    /// Both sides were named by the same text: `same_account` even where it names nothing.
    pub same_text: bool,
    /// `None` when the text was no plain decimal.
    pub amount: Option<Decimal>,
    /// The caller's code, 0 for none.
    pub code: u32,
    /// `None` for the business date.
    pub effective: Option<Day>,
    /// Whether it only holds the amount.
    pub hold: HoldTerms,
    /// Texts.
    pub cold: Option<Box<TransferCold>>,
}

/// Whether a transfer posts at once or holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldTerms {
    /// Posts at once.
    Post,
    /// Holds until resolved.
    Hold,
    /// Holds until resolved or until so many microseconds have passed.
    HoldFor { us: i64 },
}

/// An open hold, as the engine keeps it in memory until it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Account on the debit side.
    pub debit: AccountNo,
    /// Account on the credit side.
    pub credit: AccountNo,
    /// What is held, minor units.
    pub amount: Minor,
    /// Deadline, if any.
    pub expires_at: Option<Moment>,
    /// The caller's code.
    pub code: u32,
    /// The effective date that the caller asked for, if any.
    pub effective: Option<Day>,
}

impl Hold {
    /// Whether the deadline has passed.
    #[must_use]
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires_at.is_some_and(|deadline| deadline <= now)
    }

    /// The hold that a `Pending` entry opens, or `None` for other entries. `effective` is the
    /// entry's own, so an asked-for date that equals the business date counts as none.
    #[must_use]
    pub fn opened_by(entry: &TransferEntry) -> Option<Hold> {
        let TransferOp::Pending { expires_at } = entry.op else { return None };
        Some(Hold {
            debit: entry.debit,
            credit: entry.credit,
            amount: entry.amount,
            expires_at,
            code: entry.code,
            effective: entry.effective,
        })
    }
}

/// Decides a new transfer. The entry's `previous_*` are left for `apply` to link.
///
/// # Errors
/// The first check that fails, in the order of API.md. `external_id_taken` comes from the caller's look-up.
pub fn decide_transfer(
    view: &impl View,
    rules: &Rules,
    command: &NewTransfer,
    external_id_taken: bool,
) -> Result<TransferEntry, Reject> {
    let amount = command.amount.ok_or(Reject::of(RejectCode::AmountMalformed))?;
    if amount.digits == 0 {
        return Err(Reject::of(RejectCode::AmountZero));
    }
    if command.same_text || matches!((command.debit, command.credit), (AccountRef::No(a), AccountRef::No(b)) if a == b)
    {
        return Err(Reject::of(RejectCode::SameAccount));
    }
    let (debit_no, debit) = find(view, command.debit)?;
    let (credit_no, credit) = find(view, command.credit)?;
    if debit.currency != credit.currency {
        return Err(Reject::of(RejectCode::CurrencyMismatch));
    }
    let amount = amount.minor(debit.currency).map_err(|error| match error {
        ScaleError::TooFine | ScaleError::TooLarge => Reject::of(RejectCode::AmountScale),
    })?;
    check_amount(rules.amount_limit, amount, debit.currency)?;
    check_status(debit_no, debit, credit_no, credit)?;
    if external_id_taken {
        return Err(Reject::of(RejectCode::ExternalIdExists));
    }
    let effective = command.effective.unwrap_or(rules.business_date);
    if rules.is_closed(effective) {
        return Err(Reject::of(RejectCode::PeriodClosed));
    }
    check_balance_rules(debit_no, debit, credit_no, credit, amount)?;
    check_overflow(debit_no, debit, credit_no, credit, amount)?;
    let op = match command.hold {
        HoldTerms::Post => TransferOp::Posted,
        HoldTerms::Hold => TransferOp::Pending { expires_at: None },
        HoldTerms::HoldFor { us } => TransferOp::Pending { expires_at: Some(Moment(rules.now.0.saturating_add(us))) },
    };
    Ok(TransferEntry {
        op,
        debit: debit_no,
        credit: credit_no,
        amount,
        code: command.code,
        effective: rules.off_date(effective),
        previous_debit: Seq::NONE,
        previous_credit: Seq::NONE,
        cold: command.cold.clone(),
    })
}

/// What to do with a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Post this much (all of it when absent; a text that was no decimal is `Some(None)`).
    Post { amount: Option<Option<Decimal>> },
    /// Release it.
    Void,
    /// Release it, since its deadline has passed.
    Expire,
}

/// Decides how an open hold ends. An expired hold can only expire: the caller appends the
/// expiry first and refuses the rest with `transfer_not_pending`.
///
/// # Errors
/// In order: the shape of the amount, `transfer_not_pending` (deadline passed),
/// `amount_exceeds_pending`, state of the accounts, period. Void and expiry are never refused on an open hold.
pub fn decide_resolution(
    view: &impl View,
    rules: &Rules,
    hold_seq: Seq,
    hold: &Hold,
    resolution: Resolution,
) -> Result<TransferEntry, Reject> {
    let mut entry = TransferEntry {
        op: TransferOp::VoidPending { hold: hold_seq },
        debit: hold.debit,
        credit: hold.credit,
        amount: hold.amount,
        code: hold.code,
        effective: None,
        previous_debit: Seq::NONE,
        previous_credit: Seq::NONE,
        cold: None,
    };
    match resolution {
        Resolution::Expire => {
            debug_assert!(hold.is_expired(rules.now), "the engine expires only what is due");
            entry.op = TransferOp::ExpirePending { hold: hold_seq };
        }
        Resolution::Void if hold.is_expired(rules.now) => return Err(Reject::of(RejectCode::TransferNotPending)),
        Resolution::Void => {}
        Resolution::Post { amount } => {
            let asked = match amount {
                None => None,
                Some(None) => return Err(Reject::of(RejectCode::AmountMalformed)),
                Some(Some(decimal)) if decimal.digits == 0 => return Err(Reject::of(RejectCode::AmountZero)),
                Some(Some(decimal)) => Some(decimal),
            };
            if hold.is_expired(rules.now) {
                return Err(Reject::of(RejectCode::TransferNotPending));
            }
            let (_, debit) = find(view, AccountRef::No(hold.debit))?;
            let (_, credit) = find(view, AccountRef::No(hold.credit))?;
            let amount = match asked {
                None => hold.amount,
                Some(decimal) => decimal.minor(debit.currency).map_err(|_| Reject::of(RejectCode::AmountScale))?,
            };
            check_amount(rules.amount_limit, amount, debit.currency)?;
            if amount > hold.amount {
                return Err(Reject::of(RejectCode::AmountExceedsPending));
            }
            check_status(hold.debit, debit, hold.credit, credit)?;
            // A date that the caller asked for is kept while its period is open; money that moves
            // after that moves today.
            let asked = hold.effective.filter(|day| !rules.is_closed(*day));
            let effective = asked.unwrap_or(rules.business_date);
            if rules.is_closed(effective) {
                return Err(Reject::of(RejectCode::PeriodClosed));
            }
            entry.op = TransferOp::PostPending { hold: hold_seq, held: hold.amount };
            entry.amount = amount;
            entry.effective = rules.off_date(effective);
        }
    }
    Ok(entry)
}

/// What is known of a transfer that somebody wants to reverse; read from the journal before locking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reversible {
    /// Account on the debit side of the original.
    pub debit: AccountNo,
    /// Account on the credit side of the original.
    pub credit: AccountNo,
    /// What was posted, minor units.
    pub amount: Minor,
    /// The caller's code.
    pub code: u32,
    /// Whether it is posted (at once, or by posting its hold) and no reversal itself.
    pub is_posted: bool,
    /// Whether it was reversed before.
    pub is_reversed: bool,
    /// Whether a record of lending made it: then it moves with a loan, and only with it.
    pub is_of_lending: bool,
}

/// Decides a reversal: whole, once, never of a reversal; balance rules do not apply, since a
/// mistake must be correctable even when the money is gone.
///
/// # Errors
/// `transfer_not_posted`, `already_reversed`, `transfer_of_lending`, then state of the accounts, period and overflow.
pub fn decide_reversal(
    view: &impl View,
    rules: &Rules,
    of: Seq,
    original: &Reversible,
    cold: Option<Box<TransferCold>>,
) -> Result<TransferEntry, Reject> {
    if !original.is_posted {
        return Err(Reject::of(RejectCode::TransferNotPosted));
    }
    if original.is_reversed {
        return Err(Reject::of(RejectCode::AlreadyReversed));
    }
    if original.is_of_lending {
        return Err(Reject::of(RejectCode::TransferOfLending));
    }
    let (debit_no, debit) = find(view, AccountRef::No(original.credit))?;
    let (credit_no, credit) = find(view, AccountRef::No(original.debit))?;
    check_amount(rules.amount_limit, original.amount, debit.currency)?;
    check_status(debit_no, debit, credit_no, credit)?;
    if rules.is_closed(rules.business_date) {
        return Err(Reject::of(RejectCode::PeriodClosed));
    }
    check_overflow(debit_no, debit, credit_no, credit, original.amount)?;
    Ok(TransferEntry {
        op: TransferOp::Reversal { of },
        debit: debit_no,
        credit: credit_no,
        amount: original.amount,
        code: original.code,
        effective: None,
        previous_debit: Seq::NONE,
        previous_credit: Seq::NONE,
        cold,
    })
}

fn find(view: &impl View, account: AccountRef) -> Result<(AccountNo, &Account), Reject> {
    let AccountRef::No(no) = account else { return Err(Reject::of(RejectCode::AccountNotFound)) };
    view.account(no).map(|found| (no, found)).ok_or(Reject::by(RejectCode::AccountNotFound, no))
}

/// Closed before frozen, the debit side first: the order of the contract.
fn check_status(debit_no: AccountNo, debit: &Account, credit_no: AccountNo, credit: &Account) -> Result<(), Reject> {
    if debit.status == Status::Open && credit.status == Status::Open {
        return Ok(());
    }
    for (status, code) in [
        (Status::Closed, RejectCode::AccountClosed),
        (Status::Frozen, RejectCode::AccountFrozen),
        (Status::Control, RejectCode::ControlAccount),
    ] {
        for (no, account) in [(debit_no, debit), (credit_no, credit)] {
            if account.status == status {
                return Err(Reject::by(code, no));
            }
        }
    }
    Ok(())
}

fn check_balance_rules(
    debit_no: AccountNo,
    debit: &Account,
    credit_no: AccountNo,
    credit: &Account,
    amount: Minor,
) -> Result<(), Reject> {
    // In 128 bits: the sum of three 64-bit numbers must be compared, not wrapped.
    let sum = |posted: Minor, pending: Minor| u128::from(posted) + u128::from(pending) + u128::from(amount);
    if debit.balance_rule == BalanceRule::NoDebitBalance
        && sum(debit.debits_posted, debit.debits_pending) > u128::from(debit.credits_posted)
    {
        return Err(Reject::by(RejectCode::InsufficientFunds, debit_no));
    }
    if credit.balance_rule == BalanceRule::NoCreditBalance
        && sum(credit.credits_posted, credit.credits_pending) > u128::from(credit.debits_posted)
    {
        return Err(Reject::by(RejectCode::InsufficientFunds, credit_no));
    }
    Ok(())
}

/// Posted + pending + amount must fit 64 bits on both sides; then no later post can overflow.
fn check_overflow(
    debit_no: AccountNo,
    debit: &Account,
    credit_no: AccountNo,
    credit: &Account,
    amount: Minor,
) -> Result<(), Reject> {
    let fits =
        |posted: Minor, pending: Minor| posted.checked_add(pending).and_then(|sum| sum.checked_add(amount)).is_some();
    if !fits(debit.debits_posted, debit.debits_pending) {
        return Err(Reject::by(RejectCode::BalanceOverflow, debit_no));
    }
    if !fits(credit.credits_posted, credit.credits_pending) {
        return Err(Reject::by(RejectCode::BalanceOverflow, credit_no));
    }
    Ok(())
}
