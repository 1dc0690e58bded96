//! What a loan is asked to be, and what of it cannot be.

use std::fmt;

use rust_decimal::Decimal;

use super::day_count::DayCount;
use super::due_dates::{DueDates, Frequency, HolidayShift};
use super::rounding::Mode;
use crate::domain::time::Day;

/// Rows that a schedule has at most: 10 years of daily instalments.
pub const ROWS_MAX: u32 = 3_660;

/// Greatest principal and other amount, whole units: a thousand lakh crore. With [`RATE_PCT_MAX`] and
/// [`BALANCE_MAX`] it keeps every product below the 7.9·10²⁸ that a decimal holds.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000_000;

/// What a loan may grow to by interest that joins its principal, whole units.
pub const BALANCE_MAX: i64 = 10 * AMOUNT_MAX;

/// Greatest rate, per cent a year.
pub const RATE_PCT_MAX: i64 = 10_000;

/// Steps, resets, prepayments, charges: this many of each at most.
pub const LIST_MAX: usize = 400;

/// Holidays at most.
pub const HOLIDAYS_MAX: usize = 4_000;

/// How interest is worked out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// On what is outstanding, in equal instalments.
    #[default]
    Reducing,
    /// On the first principal for the whole term, spread equally.
    Flat,
    /// On what is outstanding, with equal shares of principal.
    EqualPrincipal,
}

/// Names of the methods, as the API has them.
pub const METHODS: [(Method, &str); 3] =
    [(Method::Reducing, "reducing"), (Method::Flat, "flat"), (Method::EqualPrincipal, "equal_principal")];

/// How a part of a period is counted: a first period that is none, the days to a prepayment, reset or foreclosure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenPeriod {
    /// Days over 365.
    Act365,
    /// The whole period's share of a year, times days over the days of that very period.
    PeriodFraction,
    /// Days of months of 30, over 360.
    Thirty360,
}

/// Names of the rules, as the API has them.
pub const BROKEN_PERIODS: [(BrokenPeriod, &str); 3] = [
    (BrokenPeriod::Act365, "act/365"),
    (BrokenPeriod::PeriodFraction, "month_fraction"),
    (BrokenPeriod::Thirty360, "30/360"),
];

/// Rounding inside a schedule and of what is shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounding {
    /// Multiple that instalments (with equal principal: its shares) are rounded to; `None` leaves them exact.
    pub instalment: Option<Decimal>,
    /// The same for the interest of each row, or of each part of it where a prepayment or reset cuts it.
    pub interest: Option<Decimal>,
    /// Which way, for both.
    pub mode: Mode,
    /// Multiple of what is shown; halves go up.
    pub display: Decimal,
}

impl Default for Rounding {
    /// To the paisa.
    fn default() -> Rounding {
        let paisa = Decimal::new(1, 2);
        Rounding { instalment: Some(paisa), interest: Some(paisa), mode: Mode::HalfUp, display: paisa }
    }
}

/// What becomes of interest while no principal is paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MoratoriumInterest {
    /// It is paid as it falls due.
    #[default]
    Serviced,
    /// It is gathered, bears none itself, and is paid with the first instalment after.
    Deferred,
    /// It joins the principal at each due date.
    Capitalised,
}

/// Names of the kinds, as the API has them.
pub const MORATORIUM_INTERESTS: [(MoratoriumInterest, &str); 3] = [
    (MoratoriumInterest::Serviced, "serviced"),
    (MoratoriumInterest::Deferred, "deferred"),
    (MoratoriumInterest::Capitalised, "capitalised"),
];

/// Rows without principal at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moratorium {
    /// How many, of those that the schedule has.
    pub periods: u32,
    /// What becomes of the interest.
    pub interest: MoratoriumInterest,
}

/// From a row on, instalments are this part of the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The first such row.
    pub from: u32,
    /// Per cent.
    pub instalment_pct: Decimal,
}

/// What a change keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The term: instalments change.
    #[default]
    Term,
    /// The instalment: the term changes.
    Instalment,
}

/// Names of what is kept, as the API has them.
pub const KEEPS: [(Keep, &str); 2] = [(Keep::Term, "term"), (Keep::Instalment, "instalment")];

/// Another rate from a date on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateReset {
    /// First day with the new rate.
    pub on: Day,
    /// Per cent a year.
    pub annual_rate_pct: Decimal,
    /// What is kept.
    pub keep: Keep,
}

/// Principal paid ahead, beside the instalment of that day if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepayment {
    /// When.
    pub on: Day,
    /// How much.
    pub amount: Decimal,
    /// What is kept.
    pub keep: Keep,
}

/// Whom a charge is paid to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payee {
    /// The lender.
    #[default]
    Lender,
    /// Somebody else, through the lender.
    ThirdParty,
}

/// Names of the payees, as the API has them.
pub const PAYEES: [(Payee, &str); 2] = [(Payee::Lender, "lender"), (Payee::ThirdParty, "third_party")];

/// What is taken from the disbursal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What for.
    pub name: Box<str>,
    /// Net of tax.
    pub amount: Decimal,
    /// Whom to.
    pub payee: Payee,
    /// Goods and services tax on it, per cent.
    pub gst_pct: Decimal,
}

impl Charge {
    /// Tax on it, to the paisa.
    #[must_use]
    pub fn gst(&self) -> Decimal {
        super::rounding::to_paise(self.amount * self.gst_pct / Decimal::ONE_HUNDRED)
    }
}

/// What a loan is asked to be. [`Terms::check`] says what of it cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is lent, whole units.
    pub principal: Decimal,
    /// Per cent a year.
    pub annual_rate_pct: Decimal,
    /// Rows: moratorium and balloon rows too. `None` solves the term from `instalment_fixed`.
    pub instalments: Option<u32>,
    /// How often.
    pub frequency: Frequency,
    /// How interest is worked out.
    pub method: Method,
    /// How time is counted.
    pub day_count: DayCount,
    /// Interest runs from here. `None`: all periods are whole ones and rows have no dates.
    pub disbursed_on: Option<Day>,
    /// First due date; `None` is one period after the disbursal.
    pub first_due_on: Option<Day>,
    /// How parts of periods are counted; `None` is the day count's own way, with 30/360 the period's fraction.
    pub broken_period: Option<BrokenPeriod>,
    /// How figures are rounded.
    pub rounding: Rounding,
    /// The instalment by contract.
    pub instalment_fixed: Option<Decimal>,
    /// The share of principal by contract, with equal principal.
    pub principal_fixed: Option<Decimal>,
    /// Principal of the last row.
    pub balloon: Option<Decimal>,
    /// Rows without principal.
    pub moratorium: Option<Moratorium>,
    /// Steps of the instalment, by row.
    pub steps: Vec<Step>,
    /// Resets, by date.
    pub rate_resets: Vec<RateReset>,
    /// Prepayments, by date.
    pub prepayments: Vec<Prepayment>,
    /// All is paid on this day.
    pub foreclose_on: Option<Day>,
    /// Sorted.
    pub holidays: Vec<Day>,
    /// Where a due date on a holiday goes.
    pub holiday_shift: HolidayShift,
    /// Taken from the disbursal.
    pub charges: Vec<Charge>,
    /// The APR counts the tax on charges as paid by the borrower, which it is.
    pub apr_with_gst: bool,
}

impl Default for Terms {
    /// A reducing balance by months, rounded to the paisa; principal, rate and term are still to be said.
    fn default() -> Terms {
        Terms {
            principal: Decimal::ZERO,
            annual_rate_pct: Decimal::ZERO,
            instalments: None,
            frequency: Frequency::Monthly,
            method: Method::Reducing,
            day_count: DayCount::Thirty360,
            disbursed_on: None,
            first_due_on: None,
            broken_period: None,
            rounding: Rounding::default(),
            instalment_fixed: None,
            principal_fixed: None,
            balloon: None,
            moratorium: None,
            steps: Vec::new(),
            rate_resets: Vec::new(),
            prepayments: Vec::new(),
            foreclose_on: None,
            holidays: Vec::new(),
            holiday_shift: HolidayShift::Next,
            charges: Vec::new(),
            apr_with_gst: true,
        }
    }
}

/// Terms that make no loan: the field, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsError {
    /// Path of the field in the request.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl TermsError {
    /// About a field.
    #[must_use]
    pub fn new(field: &'static str, what: impl Into<String>) -> TermsError {
        TermsError { field, what: what.into() }
    }
}

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl Terms {
    /// The loan as its APR is worked out: nothing paid ahead, and the instalment that was solved not rounded (the
    /// regulator's example has 17.07 % by 969.73, where 970 would give 17.10). An instalment of method flat is not
    /// solved, it is agreed: its rounding stays.
    #[must_use]
    pub fn exact(&self) -> Terms {
        let rounding = match self.method {
            Method::Flat => self.rounding,
            Method::Reducing | Method::EqualPrincipal => Rounding { instalment: None, interest: None, ..self.rounding },
        };
        Terms { rounding, prepayments: Vec::new(), foreclose_on: None, ..self.clone() }
    }

    /// Charges with their tax.
    #[must_use]
    pub fn charges_with_gst(&self) -> Decimal {
        self.charges.iter().map(|charge| charge.amount + charge.gst()).sum()
    }

    /// First day from which interest runs, where rows have dates.
    ///
    /// # Errors
    /// Dates outside the calendar.
    pub fn start(&self) -> Result<Option<Day>, TermsError> {
        match (self.disbursed_on, self.first_due_on) {
            (Some(day), _) => Ok(Some(day)),
            (None, None) => Ok(None),
            (None, Some(first)) => {
                let dates = DueDates::from_first(self.frequency, None, first);
                dates.nth(0).map(Some).ok_or_else(|| TermsError::new("first_due_on", "is too close to 1970-01-01"))
            }
        }
    }

    /// What of the terms cannot be.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), TermsError> {
        let wrong = |field, what: &str| Err(TermsError::new(field, what));
        let amount_max = Decimal::from(AMOUNT_MAX);
        let is_amount = |amount: Decimal| amount > Decimal::ZERO && amount <= amount_max;
        let is_rate = |rate: Decimal| rate >= Decimal::ZERO && rate <= Decimal::from(RATE_PCT_MAX);
        if !is_amount(self.principal) {
            return wrong("principal", "must be more than 0 and at most 1000000000000000");
        }
        if !is_rate(self.annual_rate_pct) {
            return wrong("annual_rate_pct", "must be 0 to 10000");
        }
        match self.instalments {
            Some(rows) if rows == 0 || rows > ROWS_MAX => return wrong("instalments", "must be 1 to 3660"),
            None if self.instalment_fixed.is_none() && self.principal_fixed.is_none() => {
                return wrong("instalments", "is needed, or instalment_fixed to solve the term from");
            }
            None if self.method == Method::Flat => return wrong("instalments", "is needed with method flat"),
            None if self.balloon.is_some() => return wrong("instalments", "is needed with a balloon"),
            _ => {}
        }
        if self.instalment_fixed.is_some_and(|amount| !is_amount(amount)) {
            return wrong("instalment_fixed", "must be more than 0");
        }
        if self.instalment_fixed.is_some() && self.method == Method::EqualPrincipal {
            return wrong("instalment_fixed", "is not possible with equal_principal: use principal_fixed");
        }
        if self.principal_fixed.is_some() && self.method != Method::EqualPrincipal {
            return wrong("principal_fixed", "needs method equal_principal");
        }
        if self.principal_fixed.is_some_and(|amount| !is_amount(amount) || amount > self.principal) {
            return wrong("principal_fixed", "must be more than 0 and at most the principal");
        }
        if self.balloon.is_some_and(|balloon| !is_amount(balloon) || balloon > self.principal) {
            return wrong("balloon", "must be more than 0 and at most the principal");
        }
        self.check_rows()?;
        self.check_dates()?;
        let is_charge = |charge: &Charge| {
            charge.amount >= Decimal::ZERO
                && charge.amount <= amount_max
                && charge.gst_pct >= Decimal::ZERO
                && charge.gst_pct <= Decimal::ONE_HUNDRED
        };
        if self.charges.len() > LIST_MAX || !self.charges.iter().all(is_charge) {
            return wrong("charges", "must be at most 400, each with an amount from 0 on and gst_pct from 0 to 100");
        }
        if self.charges_with_gst() >= self.principal {
            return wrong("charges", "with tax must be less than the principal: nothing would be paid out");
        }
        Ok(())
    }

    /// Rows of special kinds.
    fn check_rows(&self) -> Result<(), TermsError> {
        let wrong = |field, what: &str| Err(TermsError::new(field, what));
        let special = self.moratorium.map_or(0, |moratorium| moratorium.periods) + u32::from(self.balloon.is_some());
        if self.moratorium.is_some_and(|moratorium| moratorium.periods > ROWS_MAX) {
            return wrong("moratorium.periods", "must be at most 3660");
        }
        if let Some(rows) = self.instalments
            && special >= rows
            && !(rows == 1 && self.moratorium.is_none())
        {
            return wrong("instalments", "must be more than the rows of the moratorium and the balloon");
        }
        if let Some(moratorium) = self.moratorium
            && self.method == Method::Flat
            && moratorium.interest != MoratoriumInterest::Serviced
        {
            return wrong("moratorium.interest", "must be serviced with method flat");
        }
        if self.method == Method::Flat && !self.steps.is_empty() {
            return wrong("steps", "are not possible with method flat: its interest is spread over all rows equally");
        }
        let ascends = self.steps.windows(2).all(|pair| pair[0].from < pair[1].from);
        let is_step = |step: &Step| {
            step.from >= 1
                && step.from <= ROWS_MAX
                && step.instalment_pct >= Decimal::new(1, 2)
                && step.instalment_pct <= Decimal::from(RATE_PCT_MAX)
        };
        if self.steps.len() > LIST_MAX || !ascends || !self.steps.iter().all(is_step) {
            return wrong("steps", "must be at most 400, by ascending from (1 or more), instalment_pct 0.01 to 10000");
        }
        Ok(())
    }

    /// Dates, and what needs them.
    fn check_dates(&self) -> Result<(), TermsError> {
        let wrong = |field, what: &str| Err(TermsError::new(field, what));
        if self.holidays.len() > HOLIDAYS_MAX {
            return wrong("holidays", "must be at most 4000");
        }
        let Some(start) = self.start()? else {
            let is_actual = self.day_count != DayCount::Thirty360 && self.frequency.fixed_days().is_none();
            if is_actual {
                return wrong("disbursed_on", "is needed with this day_count");
            }
            let needs_dates = !self.rate_resets.is_empty() || !self.prepayments.is_empty();
            if needs_dates || self.foreclose_on.is_some() || self.broken_period.is_some() || !self.holidays.is_empty() {
                return wrong(
                    "disbursed_on",
                    "is needed with rate_resets, prepayments, foreclose_on, broken_period and holidays",
                );
            }
            return Ok(());
        };
        if self.first_due_on.is_some_and(|first| first <= start) {
            return wrong("first_due_on", "must be after disbursed_on");
        }
        let dates = match self.first_due_on {
            Some(first) => Some(DueDates::from_first(self.frequency, Some(start), first)),
            None => DueDates::after(self.frequency, start),
        };
        let first = dates.and_then(|dates| dates.nth(1)).map(|first| self.holiday_shift.apply(first, &self.holidays));
        if first.is_some_and(|first| first <= start) {
            return wrong("holidays", "leave no first due date after disbursed_on");
        }
        if self.foreclose_on.is_some_and(|day| day < start) {
            return wrong("foreclose_on", "must not be before disbursed_on");
        }
        let is_flat = self.method == Method::Flat;
        let is_reset = |reset: &RateReset| {
            reset.on > start
                && reset.annual_rate_pct >= Decimal::ZERO
                && reset.annual_rate_pct <= Decimal::from(RATE_PCT_MAX)
        };
        let ascends = self.rate_resets.windows(2).all(|pair| pair[0].on < pair[1].on);
        if self.rate_resets.len() > LIST_MAX || !ascends || !self.rate_resets.iter().all(is_reset) {
            return wrong("rate_resets", "must be at most 400, by ascending date after disbursed_on, rates 0 to 10000");
        }
        if is_flat && !(self.rate_resets.is_empty() && self.prepayments.is_empty()) {
            let what = "are not possible with method flat: its interest does not follow what is outstanding";
            return wrong(if self.rate_resets.is_empty() { "prepayments" } else { "rate_resets" }, what);
        }
        let is_prepayment = |prepayment: &Prepayment| {
            prepayment.on > start && prepayment.amount > Decimal::ZERO && prepayment.amount <= self.principal
        };
        let ascends = self.prepayments.windows(2).all(|pair| pair[0].on <= pair[1].on);
        if self.prepayments.len() > LIST_MAX || !ascends || !self.prepayments.iter().all(is_prepayment) {
            return wrong("prepayments", "must be at most 400, by ascending date after disbursed_on, amounts above 0");
        }
        Ok(())
    }
}
