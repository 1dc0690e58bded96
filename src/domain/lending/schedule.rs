//! From terms to rows.
//!
//! Each row takes interest for its own days on what is outstanding, and principal by the method. The level
//! instalment is solved by present value over the rows that are left: E = (B − L·dₘ) / Σ wₖ·dₖ, where dₖ is the
//! product of 1/(1 + rate × period) up to row k, wₖ the row's step, L the balloon and dₘ the factor of the last
//! row before it. Whole periods count in it as their share of a year (a month 1/12), whatever the day count: that
//! is how instalments are quoted; only a broken first period counts as the days that it has. The last row takes
//! what is left.
//!
//! A prepayment is paid beside the instalment of its day. Where it, or a reset, lies inside a period, the
//! interest of each part is rounded by itself, and instalments change from the row after that period on.

use rust_decimal::Decimal;

use super::day_count::{DayCount, YearFraction, actual_days, days_30_360};
use super::due_dates::DueDates;
use super::rounding::round_to;
use super::terms::{
    BALANCE_MAX, BrokenPeriod, Keep, Method, Moratorium, MoratoriumInterest, Prepayment, ROWS_MAX, Terms, TermsError,
};
use crate::domain::time::Day;

/// One row: what falls due on a day. All exact: [`super::calculation`] rounds what is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// From 1.
    pub n: u32,
    /// When, where there are dates.
    pub due_on: Option<Day>,
    /// Principal before.
    pub opening: Decimal,
    /// Principal in it; negative where interest joins the principal.
    pub principal: Decimal,
    /// Interest in it.
    pub interest: Decimal,
    /// What is to be paid: principal and interest.
    pub instalment: Decimal,
    /// Paid ahead in this period.
    pub prepaid: Decimal,
    /// Principal after.
    pub closing: Decimal,
    /// The last day up to which its interest was counted.
    pub until: Option<Day>,
}

/// Rows and what they were made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// By date.
    pub rows: Vec<Row>,
    /// The base instalment at the beginning, rounded; with equal principal that of its first row.
    pub instalment: Decimal,
    /// The same before rounding.
    pub instalment_exact: Decimal,
    /// What ends the loan on `foreclose_on`, after what was due up to that day.
    pub foreclosure_amount: Option<Decimal>,
    /// All periods are whole ones.
    pub is_regular: bool,
}

/// Makes the rows of a loan.
///
/// # Errors
/// Terms that make no loan.
pub fn schedule(terms: &Terms) -> Result<Schedule, TermsError> {
    terms.check()?;
    let mut maker = Maker::new(terms)?;
    maker.run()?;
    Ok(maker.done)
}

/// Sums stay inside what decimals hold.
fn check_growth(balance: Decimal) -> Result<(), TermsError> {
    if balance <= Decimal::from(BALANCE_MAX) {
        Ok(())
    } else {
        Err(TermsError::new("moratorium", "lets the loan grow beyond 10000000000000000"))
    }
}

/// A period of the schedule.
#[derive(Clone, Copy, Debug)]
struct Period {
    /// Of the row, from 1.
    n: i64,
    from: Option<Day>,
    to: Option<Day>,
    /// Where it ends by its dates, also where a foreclosure has cut it.
    ends: Option<Day>,
    due_on: Option<Day>,
    /// What it counts when instalments are solved.
    nominal: YearFraction,
}

/// What is done with the instalment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Resolve,
    KeepInstalment,
}

struct Maker<'a> {
    terms: &'a Terms,
    start: Option<Day>,
    dates: Option<DueDates>,
    /// The first period is a whole one.
    first_is_whole: bool,
    balance: Decimal,
    rate: Decimal,
    /// The row that takes what is left; `None` while the term follows from the instalment.
    last: Option<u32>,
    /// The row that would have been the last, while `last` is `None` and a change comes.
    projected: Option<u32>,
    /// Base instalment, or share of principal.
    base: Decimal,
    deferred: Decimal,
    next_reset: usize,
    next_prepayment: usize,
    flat_interest: Decimal,
    done: Schedule,
}

impl<'a> Maker<'a> {
    fn new(terms: &'a Terms) -> Result<Maker<'a>, TermsError> {
        let start = terms.start()?;
        let outside = || TermsError::new("disbursed_on", "leads outside the calendar (1970 to 2149)");
        let dates = match (start, terms.first_due_on) {
            (None, _) => None,
            (Some(start), Some(first)) => Some(DueDates::from_first(terms.frequency, Some(start), first)),
            (Some(start), None) => Some(DueDates::after(terms.frequency, start).ok_or_else(outside)?),
        };
        let first_is_whole = dates.is_none_or(|dates| dates.nth(0) == start);
        let done = Schedule {
            rows: Vec::new(),
            instalment: Decimal::ZERO,
            instalment_exact: Decimal::ZERO,
            foreclosure_amount: None,
            is_regular: first_is_whole,
        };
        let mut maker = Maker {
            terms,
            start,
            dates,
            first_is_whole,
            balance: terms.principal,
            rate: terms.annual_rate_pct,
            last: terms.instalments,
            projected: None,
            base: Decimal::ZERO,
            deferred: Decimal::ZERO,
            next_reset: 0,
            next_prepayment: 0,
            flat_interest: Decimal::ZERO,
            done,
        };
        maker.settle_base()?;
        Ok(maker)
    }

    /// The instalment at the beginning.
    fn settle_base(&mut self) -> Result<(), TermsError> {
        let Terms { instalment_fixed, principal_fixed, .. } = *self.terms;
        let first = self.moratorium_periods() + 1;
        match self.terms.method {
            Method::Flat => {
                let rows = self.last.unwrap_or(1);
                let mut time = YearFraction::ZERO;
                for n in 1..=rows {
                    let period = self.period(n)?;
                    time = time.plus(self.fraction(&period, period.from, period.to));
                }
                self.flat_interest = time.interest(self.terms.principal, self.rate);
                let share = (self.terms.principal - self.balloon()) / Decimal::from(self.paying_rows(first, rows));
                let interest = self.flat_interest / Decimal::from(rows);
                self.base = instalment_fixed.unwrap_or(share + interest);
                self.done.instalment_exact = self.base;
                self.done.instalment = self.rounded_instalment(self.base, Decimal::ONE);
            }
            Method::EqualPrincipal => {
                self.base = match principal_fixed {
                    Some(share) => share,
                    None => self.solve(first)?,
                };
            }
            Method::Reducing => {
                self.base = match instalment_fixed {
                    Some(instalment) => instalment,
                    None => self.solve(first)?,
                };
                self.done.instalment_exact = self.base;
                self.done.instalment = self.rounded_instalment(self.base, Decimal::ONE);
            }
        }
        Ok(())
    }

    fn moratorium_periods(&self) -> u32 {
        self.terms.moratorium.map_or(0, |moratorium| moratorium.periods)
    }

    fn balloon(&self) -> Decimal {
        self.terms.balloon.unwrap_or(Decimal::ZERO)
    }

    /// Rows from `first` on that pay shares: the balloon's is none of them. At least 1.
    fn paying_rows(&self, first: u32, last: u32) -> u32 {
        (last + 1).saturating_sub(first + u32::from(self.terms.balloon.is_some())).max(1)
    }

    fn period(&self, n: u32) -> Result<Period, TermsError> {
        let whole = self.whole_period();
        let Some(dates) = self.dates else {
            return Ok(Period { n: i64::from(n), from: None, to: None, ends: None, due_on: None, nominal: whole });
        };
        let outside = || TermsError::new("instalments", "lead outside the calendar (1970 to 2149)");
        let n = i64::from(n);
        let (before, nominal_due) = (dates.nth(n - 1).ok_or_else(outside)?, dates.nth(n).ok_or_else(outside)?);
        let shifted = |day: Day| self.terms.holiday_shift.apply(day, &self.terms.holidays);
        let due_on = shifted(nominal_due);
        // Days are counted to the day of payment; periods of 30/360 are whole wherever that lies.
        let counts_days = self.terms.day_count != DayCount::Thirty360;
        let to = if counts_days { due_on } else { nominal_due };
        let from = match n {
            1 => self.start.unwrap_or(before),
            _ if counts_days => shifted(before),
            _ => before,
        };
        let mut period =
            Period { n, from: Some(from), to: Some(to), ends: Some(to), due_on: Some(due_on), nominal: whole };
        if n == 1 && !self.first_is_whole {
            period.nominal = self.fraction(&period, Some(from), Some(to));
        }
        Ok(period)
    }

    /// A whole period's part of a year.
    fn whole_period(&self) -> YearFraction {
        let terms = self.terms;
        match (terms.frequency.fixed_days(), terms.day_count) {
            (Some(days), DayCount::Act365 | DayCount::ActAct) => YearFraction::new(days, 365),
            (Some(days), DayCount::Act360) => YearFraction::new(days, 360),
            _ => terms.frequency.nominal(),
        }
    }

    /// What lies between two days of a period.
    fn fraction(&self, period: &Period, from: Option<Day>, to: Option<Day>) -> YearFraction {
        let (Some(from), Some(to)) = (from, to) else { return self.whole_period() };
        let terms = self.terms;
        let is_broken_first = !self.first_is_whole && period.from == self.start;
        match terms.day_count {
            DayCount::Thirty360 => self.part_of_periods(period, from, to),
            _ if is_broken_first && terms.broken_period.is_some() => self.part_of_periods(period, from, to),
            counted => counted.between(from, to),
        }
    }

    /// Whole periods as their share of a year, parts of periods by the rule.
    /// The search begins with the row of `period`.
    fn part_of_periods(&self, period: &Period, from: Day, to: Day) -> YearFraction {
        let Some(dates) = self.dates else { return self.whole_period() };
        let mut sum = YearFraction::ZERO;
        let mut n = period.n;
        while dates.nth(n - 1).is_some_and(|day| day > from) {
            n -= 1;
        }
        while dates.nth(n).is_some_and(|day| day <= from) {
            n += 1;
        }
        let mut at = from;
        while at < to {
            let (Some(begins), Some(ends)) = (dates.nth(n - 1), dates.nth(n)) else {
                return sum.plus(DayCount::Act365.between(at, to));
            };
            let until = ends.min(to);
            let part = if at == begins && until == ends {
                self.whole_period()
            } else {
                match self.terms.broken_period {
                    Some(BrokenPeriod::Act365) => DayCount::Act365.between(at, until),
                    Some(BrokenPeriod::Thirty360) => YearFraction::new(days_30_360(at, until), 360),
                    Some(BrokenPeriod::PeriodFraction) | None => {
                        let periods = i64::from(self.terms.frequency.per_year());
                        YearFraction::new(actual_days(at, until), periods * actual_days(begins, ends))
                    }
                }
            };
            // A part is never dearer than the whole that it lies in: 7 days of 360 are, over the end of February, more
            // than a week's 52nd of a year.
            let is_inside = at == begins && period.ends != Some(until);
            let whole = self.whole_period();
            sum = sum.plus(if is_inside && part.exceeds(whole) { whole } else { part });
            at = until;
            n += 1;
        }
        sum
    }

    fn weight(&self, n: u32) -> Decimal {
        let step = self.terms.steps.iter().rev().find(|step| step.from <= n);
        step.map_or(Decimal::ONE, |step| step.instalment_pct / Decimal::ONE_HUNDRED)
    }

    fn rounded_instalment(&self, base: Decimal, weight: Decimal) -> Decimal {
        let rounding = self.terms.rounding;
        round_to(base * weight, rounding.instalment, rounding.mode)
    }

    fn rounded_interest(&self, interest: Decimal) -> Decimal {
        round_to(interest, self.terms.rounding.interest, self.terms.rounding.mode)
    }

    /// The base that pays the balance off from row `first` on.
    fn solve(&self, first: u32) -> Result<Decimal, TermsError> {
        let last = self.last.unwrap_or(first).max(first);
        let balloon = if last > first { self.balloon() } else { Decimal::ZERO };
        let paying_last = first + self.paying_rows(first, last) - 1;
        let is_equal_principal = self.terms.method == Method::EqualPrincipal;
        let balance = self.balance_at(first)?;
        let (mut factor, mut sum) = (Decimal::ONE, Decimal::ZERO);
        for n in first..=paying_last {
            if !is_equal_principal {
                let growth = self.period(n)?.nominal.interest(Decimal::ONE, self.rate);
                factor /= Decimal::ONE + growth;
            }
            sum += self.weight(n) * factor;
        }
        if sum.is_zero() {
            return Err(TermsError::new("annual_rate_pct", "is too high for so many instalments"));
        }
        Ok((balance - balloon * factor) / sum)
    }

    /// What is outstanding when row `first` begins, if the rows before it are a moratorium yet to come.
    fn balance_at(&self, first: u32) -> Result<Decimal, TermsError> {
        let mut balance = self.balance;
        let is_capitalised =
            self.terms.moratorium.is_some_and(|moratorium| moratorium.interest == MoratoriumInterest::Capitalised);
        if is_capitalised {
            for n in (self.done.rows.len() as u32 + 1)..first {
                let period = self.period(n)?;
                let interest = self.fraction(&period, period.from, period.to).interest(balance, self.rate);
                balance += self.rounded_interest(interest);
                check_growth(balance)?;
            }
        }
        Ok(balance)
    }

    fn run(&mut self) -> Result<(), TermsError> {
        for n in 1.. {
            if n > ROWS_MAX {
                return Err(TermsError::new("instalment_fixed", "would take more than 3660 rows"));
            }
            let period = self.period(n)?;
            if self.forecloses_within(&period) {
                self.foreclose(n, &period);
                break;
            }
            self.row(n, &period)?;
            if self.balance.is_zero() || self.last == Some(n) {
                break;
            }
        }
        if self.terms.foreclose_on.is_some() && self.done.foreclosure_amount.is_none() {
            self.done.foreclosure_amount = Some(Decimal::ZERO);
        }
        if self.terms.method == Method::EqualPrincipal
            && let Some(row) = self.done.rows.get(self.moratorium_periods() as usize).or(self.done.rows.last())
        {
            self.done.instalment_exact = row.instalment;
            self.done.instalment = row.instalment;
        }
        Ok(())
    }

    /// The day of foreclosure lies before the period's end, or the loan begins with it.
    fn forecloses_within(&self, period: &Period) -> bool {
        match (self.terms.foreclose_on, period.to) {
            (Some(day), Some(to)) => day < to,
            _ => false,
        }
    }

    /// Interest up to the day, and all that is outstanding. Nothing after the day.
    fn foreclose(&mut self, n: u32, period: &Period) {
        let day = self.terms.foreclose_on;
        let until = Period { to: day, ..*period };
        let opening = self.balance;
        let (interest, prepaid) = match (self.terms.method, period.from, period.to, day) {
            // Its part of the period's share, by days.
            (Method::Flat, Some(from), Some(to), Some(day)) => {
                let part = YearFraction::new(actual_days(from, day), actual_days(from, to).max(1));
                (self.rounded_interest(self.flat_interest_of(n) * part.decimal()), Decimal::ZERO)
            }
            _ => {
                let (interest, prepaid, _) = self.interest_of(&until, n);
                (interest, prepaid)
            }
        };
        let interest = interest + std::mem::take(&mut self.deferred);
        let principal = self.balance;
        self.balance = Decimal::ZERO;
        let instalment = principal + interest;
        self.done.foreclosure_amount = Some(instalment);
        let row = Row {
            n,
            due_on: day,
            opening,
            principal,
            interest,
            instalment,
            prepaid,
            closing: Decimal::ZERO,
            until: day,
        };
        if !instalment.is_zero() || !prepaid.is_zero() {
            self.done.rows.push(row);
        }
    }

    /// Interest of a period, with what is paid ahead and reset inside it. What happens on its last day is left.
    fn interest_of(&mut self, period: &Period, n: u32) -> (Decimal, Decimal, Change) {
        let (mut interest, mut prepaid, mut change) = (Decimal::ZERO, Decimal::ZERO, Change::None);
        let mut at = period.from;
        if self.terms.method == Method::Flat {
            return (self.flat_interest_of(n), prepaid, change);
        }
        while let Some((day, prepayment)) = self.next_event(period.to) {
            let part = self.fraction(period, at, Some(day)).interest(self.balance, self.rate);
            interest += self.rounded_interest(part);
            at = Some(day);
            change = self.take_event(prepayment, &mut prepaid, change);
        }
        let part = self.fraction(period, at, period.to).interest(self.balance, self.rate);
        (interest + self.rounded_interest(part), prepaid, change)
    }

    /// An equal share of it; the last row takes what rounding left.
    fn flat_interest_of(&self, n: u32) -> Decimal {
        let before: Decimal = self.done.rows.iter().map(|row| row.interest).sum();
        let left = self.rounded_interest(self.flat_interest) - before;
        if self.last == Some(n) {
            return left;
        }
        // Shares that were rounded up may use it all up before the last row.
        self.rounded_interest(self.flat_interest / Decimal::from(self.last.unwrap_or(1))).min(left)
    }

    /// The next reset or prepayment before a day.
    fn next_event(&self, before: Option<Day>) -> Option<(Day, Option<Prepayment>)> {
        let before = before?;
        let reset = self.terms.rate_resets.get(self.next_reset).map(|reset| reset.on);
        let prepayment = self.terms.prepayments.get(self.next_prepayment);
        let of_prepayment = prepayment.map(|prepayment| (prepayment.on, Some(*prepayment)));
        let of_reset = reset.map(|day| (day, None));
        // On one day the prepayment comes first: it was paid on the old terms.
        let next = match (of_prepayment, of_reset) {
            (Some(paid), Some(reset)) => {
                if paid.0 <= reset.0 {
                    paid
                } else {
                    reset
                }
            }
            (one, other) => one.or(other)?,
        };
        (next.0 < before).then_some(next)
    }

    fn take_event(&mut self, prepayment: Option<Prepayment>, prepaid: &mut Decimal, change: Change) -> Change {
        let keep = if let Some(prepayment) = prepayment {
            self.next_prepayment += 1;
            let amount = prepayment.amount.min(self.balance);
            self.balance -= amount;
            *prepaid += amount;
            prepayment.keep
        } else {
            let reset = self.terms.rate_resets[self.next_reset];
            self.next_reset += 1;
            self.rate = reset.annual_rate_pct;
            reset.keep
        };
        match (keep, change) {
            (Keep::Term, _) | (_, Change::Resolve) => Change::Resolve,
            (Keep::Instalment, _) => Change::KeepInstalment,
        }
    }

    fn row(&mut self, n: u32, period: &Period) -> Result<(), TermsError> {
        let opening = self.balance;
        self.project(n, period)?;
        let (accrued, mut prepaid, mut change) = self.interest_of(period, n);
        let (principal, interest) = self.split(n, accrued)?;
        self.balance -= principal;
        check_growth(self.balance + self.deferred)?;
        // What comes with the due date itself.
        let day_after = period.to.and_then(|day| day.0.checked_add(1)).map(Day);
        while let Some((_, prepayment)) = self.next_event(day_after) {
            change = self.take_event(prepayment, &mut prepaid, change);
        }
        self.done.rows.push(Row {
            n,
            due_on: period.due_on,
            opening,
            principal,
            interest,
            instalment: principal + interest,
            prepaid,
            closing: self.balance,
            until: period.to,
        });
        self.adapt(n, change)
    }

    /// Principal and interest that fall due with a row.
    fn split(&mut self, n: u32, accrued: Decimal) -> Result<(Decimal, Decimal), TermsError> {
        if let Some(Moratorium { periods, interest }) = self.terms.moratorium
            && n <= periods
        {
            return Ok(match interest {
                MoratoriumInterest::Serviced => (Decimal::ZERO, accrued),
                MoratoriumInterest::Deferred => {
                    self.deferred += accrued;
                    (Decimal::ZERO, Decimal::ZERO)
                }
                MoratoriumInterest::Capitalised => (-accrued, accrued),
            });
        }
        let interest = accrued + std::mem::take(&mut self.deferred);
        if self.last == Some(n) {
            return Ok((self.balance, interest));
        }
        let rounded = self.rounded_instalment(self.base, self.weight(n));
        let principal = match self.terms.method {
            Method::EqualPrincipal => rounded,
            Method::Flat | Method::Reducing => rounded - accrued,
        };
        let is_stuck = principal.is_zero() && self.last.is_none();
        if principal < Decimal::ZERO || is_stuck {
            let field = if self.terms.instalment_fixed.is_some() { "instalment_fixed" } else { "first_due_on" };
            let what = format!("row {n}: the instalment {} does not cover its interest {accrued}", rounded.normalize());
            return Err(TermsError::new(field, what));
        }
        let keeps = if self.last.is_some_and(|last| n < last) { self.balloon() } else { Decimal::ZERO };
        Ok((principal.min((self.balance - keeps).max(Decimal::ZERO)), interest))
    }

    /// Other instalments, or another term, from the next row on.
    fn adapt(&mut self, n: u32, change: Change) -> Result<(), TermsError> {
        match change {
            Change::None => {}
            Change::KeepInstalment => {
                self.last = None;
                self.projected = None;
            }
            Change::Resolve if self.balance.is_zero() => {}
            Change::Resolve => {
                let first = (n + 1).max(self.moratorium_periods() + 1);
                // Neither a moratorium's row nor this one is the last while something is left.
                self.last = self.last.or(self.projected.map(|row| row.max(first)));
                if self.last.is_some_and(|last| first <= last) {
                    self.base = self.solve(first)?;
                }
            }
        }
        Ok(())
    }

    /// Where the term follows from the instalment: the row that would have been the last, before a change.
    fn project(&mut self, n: u32, period: &Period) -> Result<(), TermsError> {
        let day_after = period.to.and_then(|day| day.0.checked_add(1)).map(Day);
        if self.last.is_none() && self.projected.is_none() && self.next_event(day_after).is_some() {
            self.projected = Some(n - 1 + self.rows_left(n - 1)?);
        }
        Ok(())
    }

    /// Rows that the instalment would still take, by whole periods.
    fn rows_left(&self, n: u32) -> Result<u32, TermsError> {
        let mut balance = self.balance;
        for more in 1..=ROWS_MAX.saturating_sub(n).max(1) {
            let interest = self.period(n + more)?.nominal.interest(balance, self.rate);
            let principal = match self.terms.method {
                Method::EqualPrincipal => self.base * self.weight(n + more),
                Method::Flat | Method::Reducing => self.base * self.weight(n + more) - interest,
            };
            balance -= principal;
            if balance <= Decimal::ZERO {
                return Ok(more);
            }
        }
        Err(TermsError::new("prepayments", "leave a term of more than 3660 rows"))
    }
}
