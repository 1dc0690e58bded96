//! Days and events, one after the other.
//!
//! A day `d` of a loan:
//! 1. It begins: what falls due on `d` is demanded, with interest up to `d`, and the advance pays what it can. So a
//!    payment on the due date is in time.
//! 2. Events of `d`, by their order numbers.
//! 3. It ends: interest of `d` is posted; days past due, class, and what follows from it for the income are those of
//!    what is unpaid then.
//!
//! Days on which nothing falls due end together, in closed form: that changes no figure.

use super::accrual;
use super::allocation::{Purse, Split, keep_rest, pay_dues, pay_interest, use_advance};
use super::contract::LoanTerms;
use super::events::{ChargeKind, Dated, Deducted, LoanEvent, Waiver};
use super::instalment;
use super::penal;
use super::roles::{Credit, Debit, Role};
use super::state::{Change, Class, Due, LoanState, LoanStatus, NEVER};
use crate::domain::lending::terms::{Keep, Method, MoratoriumInterest};
use crate::domain::time::Day;

/// The state after all events up to the end of a day, whatever order they are handed in. What was reversed or
/// returned later was never there.
#[must_use]
pub fn fold(terms: &LoanTerms, events: &[Dated], to: Day) -> LoanState {
    replay(terms, events, to, |_, _, _| {})
}

/// The same, showing each event that counts, what it paid, and the state after it.
pub fn replay(terms: &LoanTerms, events: &[Dated], to: Day, show: impl FnMut(&Dated, Split, &LoanState)) -> LoanState {
    let mut state = replay_events(terms, events, to, show);
    advance(&mut state, terms, to);
    state
}

/// The state on a day that has not ended: all days before it have, and it has begun if there is an event on it.
pub fn refold(
    terms: &LoanTerms,
    events: &[Dated],
    today: Day,
    show: impl FnMut(&Dated, Split, &LoanState),
) -> LoanState {
    let mut state = replay_events(terms, events, today, show);
    advance(&mut state, terms, Day(today.0.saturating_sub(1)));
    state
}

fn replay_events(
    terms: &LoanTerms,
    events: &[Dated],
    to: Day,
    mut show: impl FnMut(&Dated, Split, &LoanState),
) -> LoanState {
    let mut state = LoanState::new();
    for dated in counting(events, to) {
        let split = apply(&mut state, terms, dated);
        show(dated, split, &state);
    }
    state
}

/// Events that count by the end of a day, in order of value date: what was undone later was never there.
pub(super) fn counting(events: &[Dated], to: Day) -> Vec<&Dated> {
    let mut undone: Vec<u64> = events.iter().filter_map(|dated| undoes(&dated.event)).collect();
    undone.sort_unstable();
    let counts = |dated: &&Dated| dated.value_date <= to && undone.binary_search(&dated.order).is_err();
    let mut counting: Vec<&Dated> = events.iter().filter(counts).collect();
    counting.sort_unstable_by_key(|dated| (dated.value_date, dated.order));
    counting
}

/// Goes on from the state on a day with what happened after that day: the state on `today`, as [`refold`] of all of it
/// gives. `events` may be all of the loan's, in any order.
#[must_use]
pub fn go_on(state: &LoanState, terms: &LoanTerms, events: &[Dated], after: Day, today: Day) -> LoanState {
    let mut undone: Vec<u64> = events.iter().filter_map(|dated| undoes(&dated.event)).collect();
    undone.sort_unstable();
    let is_later = |dated: &&Dated| dated.value_date > after && dated.value_date <= today;
    let counts = |dated: &&Dated| is_later(dated) && undone.binary_search(&dated.order).is_err();
    let mut later: Vec<&Dated> = events.iter().filter(counts).collect();
    later.sort_unstable_by_key(|dated| (dated.value_date, dated.order));
    let mut state = state.clone();
    for dated in later {
        apply(&mut state, terms, dated);
    }
    advance(&mut state, terms, Day(today.0.saturating_sub(1)));
    state
}

/// The order number of what an event undoes.
#[must_use]
pub fn undoes(event: &LoanEvent) -> Option<u64> {
    match event {
        LoanEvent::ReceiptReversed { of } | LoanEvent::DisbursalReturned { of } => Some(*of),
        _ => None,
    }
}

/// Whether [`apply`] cannot take an event, so that all events have to be folded anew: its day has ended, or it undoes
/// another.
#[must_use]
pub fn needs_fold(state: &LoanState, dated: &Dated) -> bool {
    dated.value_date <= state.advanced_through || undoes(&dated.event).is_some()
}

/// Runs the days up to the end of one; nothing where that has ended.
///
/// Days read nothing of the terms that an application may say for itself, so the product's terms do as well as the
/// loan's own. Of `calculation` they read `frequency`, `method`, `day_count`, `broken_period`, `rounding`, `balloon`,
/// `steps`, `holidays` and `holiday_shift`; beside it everything but the charges on foreclosure and the days of
/// cooling-off. Principal, rate, rows, dates, a moratorium and what was fixed by contract went into the
/// [`Plan`](super::state::Plan) with the disbursal: that alone, of all events ([`apply`]), needs the loan's own terms.
pub fn advance(state: &mut LoanState, terms: &LoanTerms, to: Day) {
    while state.next_due <= to && state.next_due != NEVER && to > state.advanced_through {
        let day = state.next_due.max(state.today());
        if day > state.today() {
            end_days(state, terms, Day(day.0 - 1));
        }
        begin_day(state, terms, day);
    }
    if to > state.advanced_through {
        end_days(state, terms, to);
    }
}

/// Ends all days before one, and begins that.
pub fn open(state: &mut LoanState, terms: &LoanTerms, day: Day) {
    if day > state.advanced_through {
        advance(state, terms, Day(day.0 - 1));
        begin_day(state, terms, day);
    }
}

/// Runs the days before an event, and applies it. Its day has not ended yet ([`needs_fold`]).
pub fn apply(state: &mut LoanState, terms: &LoanTerms, dated: &Dated) -> Split {
    assert!(dated.value_date > state.advanced_through, "the day of an event has not ended");
    open(state, terms, dated.value_date);
    let split = take(state, terms, dated.value_date, &dated.event);
    aim(state, terms);
    recognise(state);
    if cfg!(debug_assertions) {
        state.assert_whole();
    }
    split
}

fn begin_day(state: &mut LoanState, terms: &LoanTerms, day: Day) {
    while state.next_due <= day && state.next_due != NEVER {
        demand(state, terms);
    }
    state.begun = day;
}

/// Raises what falls due with the next row.
fn demand(state: &mut LoanState, terms: &LoanTerms) {
    let (row, day) = (state.next_row, state.next_due);
    penal::cut(state, terms, day);
    accrual::post(state, terms, day);
    let interest = std::mem::take(&mut state.interest_posted);
    state.interest_fixed = 0;
    state.segment_from = day;
    state.next_row += 1;
    match state.plan.moratorium_interest {
        _ if row > state.plan.moratorium_through => {
            let principal = instalment::principal_of(state, terms, row, interest);
            let interest = interest + std::mem::take(&mut state.interest_deferred);
            fall_due(state, Due { due_on: day, interest, principal, fee: 0 });
        }
        MoratoriumInterest::Serviced => fall_due(state, Due { due_on: day, interest, principal: 0, fee: 0 }),
        MoratoriumInterest::Deferred => state.interest_deferred += interest,
        MoratoriumInterest::Capitalised => {
            state.outstanding += interest;
            state.shift(Debit(Role::Principal), Credit(Role::InterestReceivable), interest);
            if state.class == Class::Npa {
                state.capitalised_unearned += interest;
            }
        }
    }
    use_advance(state, terms, day);
    instalment::adapt(state, terms);
    aim(state, terms);
}

/// Adds to what is due, by date.
fn fall_due(state: &mut LoanState, due: Due) {
    if due.is_paid() {
        return;
    }
    match state.dues.binary_search_by_key(&due.due_on, |other| other.due_on) {
        Ok(at) => {
            let same = &mut state.dues[at];
            same.interest += due.interest;
            same.principal += due.principal;
            same.fee += due.fee;
        }
        Err(at) => state.dues.insert(at, due),
    }
}

/// When the next row falls due.
fn aim(state: &mut LoanState, terms: &LoanTerms) {
    let is_paid = state.outstanding == 0 && state.interest_fixed == 0 && state.interest_deferred == 0;
    let is_flat = terms.calculation.method == Method::Flat;
    // Principal that is overdue after the last row goes on bearing interest, which goes on falling due; flat does not.
    let is_over = is_paid || (is_flat && state.next_row > state.plan.last_row);
    let calendar = state.calendar(terms);
    let mut period = calendar.period(state.next_row);
    let is_after_last = |row: u32| state.plan.last_row > 0 && row > state.plan.last_row;
    // A holiday may put the date after the last one onto that: nothing is asked for before that day is over.
    while is_after_last(state.next_row) && period.is_some_and(|period| period.to <= period.from) {
        state.next_row += 1;
        period = calendar.period(state.next_row);
    }
    state.next_due = match period {
        Some(period) if state.status == LoanStatus::Active && !is_over => period.to,
        _ => NEVER,
    };
}

/// Ends days together: nothing falls due between the first and the last.
fn end_days(state: &mut LoanState, terms: &LoanTerms, through: Day) {
    let today = state.today();
    if state.capitalised_unearned > 0 && through > today {
        // Events of today may have made it performing, and its arrears make it non-performing again before the last
        // day: what had joined the principal is earned in between. After today, a class only gets worse.
        end_days(state, terms, today);
    }
    if state.status == LoanStatus::Active {
        accrual::post(state, terms, Day(through.0.saturating_add(1)));
    }
    // What was given up keeps its class.
    if !matches!(state.status, LoanStatus::WrittenOff | LoanStatus::Settled) {
        classify(state, terms, through);
        recognise(state);
    }
    state.advanced_through = through;
    state.begun = state.begun.max(through);
    if cfg!(debug_assertions) {
        state.assert_whole();
    }
}

/// Counts the days past due at the end of a day, as the regulator does: the due date is the first of them.
fn classify(state: &mut LoanState, terms: &LoanTerms, through: Day) {
    let oldest = state.dues.first().map(|due| due.due_on);
    debug_assert!(oldest.is_none_or(|oldest| oldest <= through), "what is due fell due");
    state.dpd = oldest.map_or(0, |oldest| through.0 - oldest.0 + 1);
    // Part payments do not make a loan performing again: all arrears have to be paid.
    state.npa_since = oldest.and_then(|oldest| {
        let since = Day(oldest.0.saturating_add(terms.npa_dpd - 1)).max(state.today());
        state.npa_since.or((state.dpd >= terms.npa_dpd).then_some(since))
    });
    state.class = match state.dpd {
        _ if state.npa_since.is_some() || state.borrower_npa_since.is_some() => Class::Npa,
        dpd if dpd >= terms.sma2_dpd => Class::Sma2,
        dpd if dpd >= terms.sma1_dpd => Class::Sma1,
        dpd if dpd > 0 => Class::Sma0,
        _ => Class::Standard,
    };
}

/// Interest that was not received is no income while the loan is non-performing: it is in suspense.
fn recognise(state: &mut LoanState) {
    let is_npa = state.class == Class::Npa;
    if !is_npa || state.outstanding == 0 {
        state.capitalised_unearned = 0;
    }
    let unpaid = state.positions.of(Role::InterestReceivable) + state.capitalised_unearned;
    let meant = if is_npa { -unpaid } else { 0 };
    let missing = state.positions.of(Role::InterestSuspense) - meant;
    state.shift(Debit(Role::InterestIncome), Credit(Role::InterestSuspense), missing);
}

/// What an event does, on its day.
fn take(state: &mut LoanState, terms: &LoanTerms, day: Day, event: &LoanEvent) -> Split {
    let is_active = state.status == LoanStatus::Active;
    match *event {
        LoanEvent::Applied { principal } => {
            state.sanctioned = principal;
            state.status = LoanStatus::Applied;
        }
        LoanEvent::Approved => state.status = LoanStatus::Approved,
        LoanEvent::Declined => state.status = LoanStatus::Declined,
        LoanEvent::KfsIssued { version, valid_through } => {
            state.kfs_version = version;
            state.kfs_valid_through = valid_through;
        }
        LoanEvent::KfsAccepted { version } => state.kfs_accepted = version,
        LoanEvent::Disbursed { amount, deducted, mode: _ } => disburse(state, terms, day, amount, deducted),
        LoanEvent::Recovered { amount, mode: _ } if state.status == LoanStatus::WrittenOff => {
            state.claim = (state.claim - amount).max(0);
            state.totals.recovered += amount;
            state.shift(Debit(Role::Settlement), Credit(Role::Recovery), amount);
        }
        LoanEvent::Received { amount, tds, mode: _ } => return receive(state, terms, day, amount, tds),
        LoanEvent::Recovered { amount, mode: _ } => return receive(state, terms, day, amount, 0),
        LoanEvent::Prepaid { amount, keep, mode: _ } => return prepay(state, terms, day, amount, keep),
        LoanEvent::Charged { kind, amount, gst } if is_active => {
            charge(state, terms, day, kind, amount, gst);
            return use_advance(state, terms, day);
        }
        LoanEvent::Waived(waiver) => waive(state, terms, day, waiver),
        LoanEvent::RateReset { annual_rate_pct, keep } if is_active => {
            instalment::project(state, terms);
            accrual::cut(state, terms, day);
            state.plan.annual_rate_pct = annual_rate_pct;
            instalment::change(state, terms, day, keep);
        }
        LoanEvent::Rescheduled(new) if is_active => {
            accrual::cut(state, terms, day);
            instalment::begin_again(state, terms, day, &new);
        }
        LoanEvent::WrittenOff if is_active => return write_off(state, terms, day),
        LoanEvent::Refunded { amount, mode: _ } => refund(state, day, amount),
        LoanEvent::Foreclosed { amount, charge: fee, gst, mode: _ } => {
            if is_active && fee + gst > 0 {
                charge(state, terms, day, ChargeKind::Fee, fee, gst);
            }
            return pay_off(state, terms, day, amount, LoanStatus::Closed);
        }
        LoanEvent::Cancelled { amount, mode: _ } => {
            return pay_off(state, terms, day, amount, LoanStatus::Cancelled);
        }
        LoanEvent::Settled { amount, given_up: _, mode: _ } => return settle(state, terms, day, amount),
        LoanEvent::Paused { until } => state.paused_until = Some(until),
        LoanEvent::Watched { on } => state.is_watched = on,
        LoanEvent::BorrowerFell { since } => state.borrower_npa_since = Some(since),
        LoanEvent::BorrowerRose => state.borrower_npa_since = None,
        LoanEvent::Closed if is_active && state.owes_nothing() => state.status = LoanStatus::Closed,
        // What the first two undo was left out of the fold; a payment that the others came after was reversed since.
        LoanEvent::DisbursalReturned { .. }
        | LoanEvent::ReceiptReversed { .. }
        | LoanEvent::Charged { .. }
        | LoanEvent::RateReset { .. }
        | LoanEvent::Rescheduled(_)
        | LoanEvent::WrittenOff
        | LoanEvent::Closed => {}
    }
    Split::default()
}

fn disburse(state: &mut LoanState, terms: &LoanTerms, day: Day, amount: i64, deducted: Deducted) {
    if state.status == LoanStatus::Active {
        instalment::project(state, terms);
        accrual::cut(state, terms, day);
        state.outstanding += amount;
        instalment::change(state, terms, day, Keep::Term);
    } else {
        // Also where it had ended, by an earlier payment that was recorded later: it begins anew.
        state.status = LoanStatus::Active;
        state.disbursed_on = day;
        state.segment_from = day;
        state.penal_from = day;
        state.outstanding = amount;
        instalment::begin(state, terms, day);
    }
    state.totals.disbursed += amount;
    state.shift(Debit(Role::Principal), Credit(Role::FeeIncome), deducted.fee);
    state.shift(Debit(Role::Principal), Credit(Role::GstPayable), deducted.gst);
    state.shift(Debit(Role::Principal), Credit(Role::ThirdPartyPayable), deducted.third_party);
    state.shift(Debit(Role::Principal), Credit(Role::Settlement), amount - deducted.total());
}

fn receive(state: &mut LoanState, terms: &LoanTerms, day: Day, amount: i64, tds: i64) -> Split {
    state.totals.received += amount + tds;
    let mut tax = Purse { source: Role::TdsReceivable, amount: tds };
    let mut cash = Purse { source: Role::Settlement, amount };
    let mut split = pay_interest(state, terms, day, &mut tax);
    split = split.plus(pay_dues(state, terms, day, &mut cash));
    split.plus(keep_rest(state, tax)).plus(keep_rest(state, cash))
}

fn prepay(state: &mut LoanState, terms: &LoanTerms, day: Day, amount: i64, keep: Keep) -> Split {
    state.totals.received += amount;
    let mut cash = Purse { source: Role::Settlement, amount };
    let mut split = pay_dues(state, terms, day, &mut cash);
    let ahead = cash.amount.min(state.not_due());
    if ahead > 0 {
        instalment::project(state, terms);
        accrual::reduce(state, terms, day, ahead);
        state.shift(Debit(Role::Settlement), Credit(Role::Principal), ahead);
        state.totals.principal += ahead;
        cash.amount -= ahead;
        split.prepaid = ahead;
        instalment::change(state, terms, day, keep);
    }
    split.plus(keep_rest(state, cash))
}

fn charge(state: &mut LoanState, terms: &LoanTerms, day: Day, kind: ChargeKind, amount: i64, gst: i64) {
    if kind == ChargeKind::Penal {
        debug_assert_eq!(gst, 0, "penal charges bear no tax");
        penal::cut(state, terms, day);
        state.penal_due += amount;
        return;
    }
    fall_due(state, Due { due_on: day, interest: 0, principal: 0, fee: amount + gst });
    state.shift(Debit(Role::FeeReceivable), Credit(Role::FeeIncome), amount);
    state.shift(Debit(Role::FeeReceivable), Credit(Role::GstPayable), gst);
}

/// Oldest first; never more than is due.
fn waive(state: &mut LoanState, terms: &LoanTerms, day: Day, waiver: Waiver) {
    penal::cut(state, terms, day);
    let Waiver { mut interest, mut fee, .. } = waiver;
    for due in &mut state.dues {
        let (of_interest, of_fee) = (due.interest.min(interest), due.fee.min(fee));
        due.interest -= of_interest;
        due.fee -= of_fee;
        interest -= of_interest;
        fee -= of_fee;
    }
    state.drop_paid();
    state.shift(Debit(Role::InterestIncome), Credit(Role::InterestReceivable), waiver.interest - interest);
    let fee = waiver.fee - fee;
    let gst = waiver.gst.min(fee);
    state.shift(Debit(Role::GstPayable), Credit(Role::FeeReceivable), gst);
    state.shift(Debit(Role::FeeIncome), Credit(Role::FeeReceivable), fee - gst);
    state.penal_due -= waiver.penal.min(state.penal_due);
}

/// Everything falls due: interest up to the day, and all principal.
fn accelerate(state: &mut LoanState, terms: &LoanTerms, day: Day) {
    penal::cut(state, terms, day);
    accrual::cut(state, terms, day);
    accrual::post(state, terms, day);
    let interest = std::mem::take(&mut state.interest_posted) + std::mem::take(&mut state.interest_deferred);
    state.interest_fixed = 0;
    fall_due(state, Due { due_on: day, interest, principal: state.not_due(), fee: 0 });
    let plan = &mut state.plan;
    (plan.flat_share, plan.flat_total, plan.change) = (0, 0, Change::None);
    plan.last_row = state.next_row;
}

/// Pays everything. What it ends with is the status only where nothing is left: an earlier payment that has come
/// back since leaves the loan open, and all of it due.
fn pay_off(state: &mut LoanState, terms: &LoanTerms, day: Day, amount: i64, status: LoanStatus) -> Split {
    let is_active = state.status == LoanStatus::Active;
    state.totals.received += amount;
    let mut split = Split::default();
    let mut cash = Purse { source: Role::Settlement, amount };
    if is_active {
        accelerate(state, terms, day);
        split = use_advance(state, terms, day);
        split = split.plus(pay_dues(state, terms, day, &mut cash));
    }
    split = split.plus(keep_rest(state, cash));
    if is_active && state.owes_nothing() {
        state.status = status;
    }
    split
}

/// A payment for all of it: what it does not pay is let go. Where nothing is left of what was agreed to be let go,
/// because an earlier payment was recorded later, the loan was just paid.
fn settle(state: &mut LoanState, terms: &LoanTerms, day: Day, amount: i64) -> Split {
    state.totals.received += amount;
    let mut cash = Purse { source: Role::Settlement, amount };
    if state.status != LoanStatus::Active {
        return keep_rest(state, cash);
    }
    accelerate(state, terms, day);
    let mut split = use_advance(state, terms, day);
    split = split.plus(pay_dues(state, terms, day, &mut cash));
    split = split.plus(keep_rest(state, cash));
    state.status = if state.owes_nothing() { LoanStatus::Closed } else { LoanStatus::Settled };
    give_up(state);
    split
}

fn write_off(state: &mut LoanState, terms: &LoanTerms, day: Day) -> Split {
    accelerate(state, terms, day);
    let split = use_advance(state, terms, day);
    state.claim = state.outstanding + state.interest_due() + state.fee_due() + state.penal_due;
    state.status = LoanStatus::WrittenOff;
    give_up(state);
    split
}

/// Interest leaves the income or the suspense that it was in; the rest is a loss.
fn give_up(state: &mut LoanState) {
    let (interest, fee) = (state.interest_due(), state.fee_due());
    state.shift(Debit(Role::WriteOff), Credit(Role::Principal), state.outstanding);
    let unearned = std::mem::take(&mut state.capitalised_unearned);
    state.shift(Debit(Role::InterestSuspense), Credit(Role::WriteOff), unearned);
    state.shift(Debit(Role::WriteOff), Credit(Role::FeeReceivable), fee);
    state.shift(Debit(Role::InterestIncome), Credit(Role::InterestReceivable), interest);
    state.outstanding = 0;
    state.penal_due = 0;
    state.dues = Vec::new();
}

/// Where the advance has shrunk since, because a payment came back, the borrower owes the rest.
fn refund(state: &mut LoanState, day: Day, amount: i64) {
    let paid = amount.min(state.advance);
    state.advance -= paid;
    state.totals.refunded += paid;
    state.shift(Debit(Role::Advance), Credit(Role::Settlement), paid);
    let owed = amount - paid;
    fall_due(state, Due { due_on: day, interest: 0, principal: 0, fee: owed });
    state.shift(Debit(Role::FeeReceivable), Credit(Role::Settlement), owed);
}
