//! Published and derived examples, to the paisa, and loans that are paid to the day against their schedules.

use rust_decimal::Decimal;

use super::allocation::Split;
use super::contract::{Across, Appropriation, LoanTerms, Part, paise};
use super::decide::{Circumstances, LoanCommand, LoanReject, decide};
use super::events::{ChargeKind, Dated, Deducted, LoanEvent, Mode, NewPlan, Waiver};
use super::fold::{advance, apply, fold, replay};
use super::penal;
use super::quotes::{cooling_off, foreclosure};
use super::roles::Role;
use super::state::{Class, LoanState, LoanStatus, NEVER};
use crate::domain::lending::day_count::DayCount;
use crate::domain::lending::due_dates::{Frequency, HolidayShift};
use crate::domain::lending::schedule::{Schedule, schedule};
use crate::domain::lending::terms::{
    BrokenPeriod, Keep, Method, Moratorium, MoratoriumInterest, Prepayment, RateReset, Step, Terms,
};
use crate::domain::time::Day;

pub(super) fn day(text: &str) -> Day {
    Day::parse(text).expect("a date")
}

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a decimal")
}

/// Paise of an amount.
fn rs(text: &str) -> i64 {
    paise(decimal(text))
}

/// Events of a loan, as they are recorded.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub(super) terms: LoanTerms,
    pub(super) events: Vec<Dated>,
}

impl Book {
    pub(super) fn new(calculation: Terms) -> Book {
        Book { terms: LoanTerms::new(calculation), events: Vec::new() }
    }

    /// Sanctioned and paid out on the day of the terms.
    pub(super) fn paid_out(calculation: Terms) -> Book {
        let amount = paise(calculation.principal);
        let on = calculation.disbursed_on.expect("the day of the disbursal");
        let mut book = Book::new(calculation);
        for event in [
            LoanEvent::Applied { principal: amount },
            LoanEvent::KfsIssued { version: 1, valid_through: Day(on.0 + 3) },
            LoanEvent::KfsAccepted { version: 1 },
            LoanEvent::Approved,
            LoanEvent::Disbursed { amount, deducted: Deducted::default(), mode: Mode::Neft },
        ] {
            book.push(on, event);
        }
        book
    }

    pub(super) fn push(&mut self, value_date: Day, event: LoanEvent) -> u64 {
        let order = self.events.len() as u64 + 1;
        self.events.push(Dated { value_date, order, event });
        order
    }

    fn on(&mut self, date: &str, event: LoanEvent) -> u64 {
        self.push(day(date), event)
    }

    fn paid(&mut self, date: &str, amount: &str) -> u64 {
        self.on(date, received(rs(amount)))
    }

    fn at(&self, date: &str) -> LoanState {
        fold(&self.terms, &self.events, day(date))
    }

    /// What the event with an order number paid.
    fn split(&self, order: u64) -> Split {
        let mut found = None;
        replay(&self.terms, &self.events, NEVER_FAR, |dated, split, _| {
            if dated.order == order {
                found = Some(split);
            }
        });
        found.expect("an event that counts")
    }
}

/// 2060: after all that is tested.
const NEVER_FAR: Day = Day(32_872);

pub(super) fn received(amount: i64) -> LoanEvent {
    LoanEvent::Received { amount, tds: 0, mode: Mode::Upi }
}

fn terms(principal: &str, rate: &str, rows: u32, disbursed_on: &str) -> Terms {
    Terms {
        principal: decimal(principal),
        annual_rate_pct: decimal(rate),
        instalments: Some(rows),
        day_count: DayCount::Act365,
        disbursed_on: Some(day(disbursed_on)),
        ..Terms::default()
    }
}

/// V24 and V12: 5,000 at 12 %, instalment 862 by contract.
fn of_5000() -> Terms {
    Terms { instalment_fixed: Some(decimal("862")), ..terms("5000", "12", 6, "2022-11-01") }
}

fn penal_first() -> Appropriation {
    Appropriation { order: [Part::Penal, Part::Fee, Part::Interest, Part::Principal], across: Across::Rows }
}

#[test]
fn v14_a_part_payment_goes_by_the_order_of_the_product() {
    for across in [Across::Rows, Across::Parts] {
        let flat = |rate: &str| Terms { method: Method::Flat, ..terms("3000", rate, 3, "2023-01-01") };
        let day_count = DayCount::Thirty360;
        let mut a = Book::paid_out(Terms { day_count, ..flat("12") });
        a.terms.appropriation = Appropriation { across, ..penal_first() };
        let receipt = a.paid("2023-02-01", "500");
        let expected = Split { interest: rs("30"), principal: rs("470"), ..Split::default() };
        assert_eq!(a.split(receipt), expected);
        let state = a.at("2023-02-01");
        assert_eq!((state.outstanding, state.overdue()), (rs("2530"), rs("530")));

        let mut b = Book::paid_out(Terms { day_count, ..flat("0") });
        b.terms.appropriation = Appropriation { across, ..penal_first() };
        b.on("2023-02-01", LoanEvent::Charged { kind: ChargeKind::Penal, amount: rs("50"), gst: 0 });
        b.on("2023-02-01", LoanEvent::Charged { kind: ChargeKind::Fee, amount: rs("50"), gst: 0 });
        let receipt = b.paid("2023-02-01", "500");
        let expected = Split { penal: rs("50"), fee: rs("50"), principal: rs("400"), ..Split::default() };
        assert_eq!(b.split(receipt), expected);
        let state = b.at("2023-02-01");
        assert_eq!((state.outstanding, state.overdue()), (rs("2600"), rs("600")));
    }
}

#[test]
fn rows_first_and_parts_first_differ_where_two_dates_are_due() {
    let flat = Terms { method: Method::Flat, day_count: DayCount::Thirty360, ..terms("3000", "12", 3, "2023-01-01") };
    let mut book = Book::paid_out(flat);
    let receipt = book.paid("2023-03-01", "1045");
    let rows_first = Split { interest: rs("45") - rs("0"), principal: rs("1000"), ..Split::default() };
    assert_eq!(book.split(receipt), Split { interest: rs("45"), ..rows_first }, "1,030 of February, 15 of March");
    book.terms.appropriation.across = Across::Parts;
    let parts_first = Split { interest: rs("60"), principal: rs("985"), ..Split::default() };
    assert_eq!(book.split(receipt), parts_first);
}

#[test]
fn v15_days_past_due_as_the_regulator_counts_them() {
    let first_due_on = Some(day("2021-03-31"));
    let book = Book::paid_out(Terms { first_due_on, ..terms("100000", "12", 12, "2021-02-28") });
    let expected = [
        ("2021-03-30", 0, Class::Standard),
        ("2021-03-31", 1, Class::Sma0),
        ("2021-04-29", 30, Class::Sma0),
        ("2021-04-30", 31, Class::Sma1),
        ("2021-05-29", 60, Class::Sma1),
        ("2021-05-30", 61, Class::Sma2),
        ("2021-06-28", 90, Class::Sma2),
        ("2021-06-29", 91, Class::Npa),
    ];
    for (date, dpd, class) in expected {
        let state = book.at(date);
        assert_eq!((state.dpd, state.class), (dpd, class), "{date}");
        assert_eq!(state.npa_since, (class == Class::Npa).then(|| day("2021-06-29")), "{date}");
    }
    assert_eq!(book.at("2022-01-31").npa_since, Some(day("2021-06-29")), "whenever it is asked");
}

#[test]
fn v24_principal_that_stays_out_longer_bears_more_interest() {
    let mut late = Book::paid_out(of_5000());
    let receipt = late.paid("2022-12-05", "862");
    let split = Split { interest: rs("49.32"), principal: rs("812.68"), ..Split::default() };
    assert_eq!(late.split(receipt), split);
    assert_eq!(late.at("2022-12-05").outstanding, rs("4187.32"));
    let state = late.at("2023-01-01");
    assert_eq!((state.interest_due(), state.overdue()), (rs("43.75"), rs("862")), "6.58 + 37.17");
    let mut in_time = Book::paid_out(of_5000());
    in_time.paid("2022-12-01", "862");
    assert_eq!(in_time.at("2023-01-01").interest_due(), rs("42.68"));
    assert_eq!(in_time.at("2022-12-01").dpd, 0, "on the due date is in time");
}

/// R01: 700 of principal and 300 of interest a month.
fn r01() -> Book {
    let rate = Decimal::from(300) / Decimal::from(7);
    Book::paid_out(Terms {
        annual_rate_pct: rate,
        method: Method::Flat,
        day_count: DayCount::Thirty360,
        ..terms("8400", "0", 12, "2025-12-05")
    })
}

#[test]
fn r01_non_performing_until_all_arrears_are_paid() {
    let mut book = r01();
    let before = book.at("2026-04-04");
    assert_eq!((before.class, before.positions.of(Role::InterestSuspense)), (Class::Sma2, 0));
    assert!(before.positions.of(Role::InterestIncome) <= -rs("1190"));
    let state = book.at("2026-04-05");
    assert_eq!((state.class, state.npa_since), (Class::Npa, Some(day("2026-04-05"))));
    assert_eq!(state.overdue(), rs("4000"));
    assert_eq!(state.positions.of(Role::InterestIncome), 0, "all of it was unpaid");
    assert_eq!(state.positions.of(Role::InterestSuspense), -rs("1210"), "four rows and the day");

    book.paid("2026-04-10", "3000");
    let state = book.at("2026-04-10");
    assert_eq!((state.class, state.overdue()), (Class::Npa, rs("1000")), "part payments do not upgrade");
    assert_eq!(state.positions.of(Role::InterestIncome), -rs("900"), "on receipt");

    book.paid("2026-04-12", "1000");
    let state = book.at("2026-04-12");
    assert_eq!((state.class, state.dpd, state.npa_since), (Class::Standard, 0, None));
    assert_eq!(state.positions.of(Role::InterestSuspense), 0, "what is left is income again");
    assert_eq!(state.positions.of(Role::InterestIncome), -rs("1280"), "1,200, and 8 days of 10");
}

#[test]
fn a_borrower_is_non_performing_in_all_loans() {
    let mut book = r01();
    book.paid("2026-01-05", "1000");
    book.on("2026-01-20", LoanEvent::BorrowerFell { since: day("2026-01-20") });
    let state = book.at("2026-01-20");
    assert_eq!((state.class, state.dpd, state.npa_since), (Class::Npa, 0, None));
    assert_eq!(state.positions.of(Role::InterestIncome), -rs("300"), "what was received is income");
    book.paid("2026-02-05", "1000");
    assert_eq!(book.at("2026-02-05").class, Class::Npa);
    book.on("2026-02-06", LoanEvent::BorrowerRose);
    let state = book.at("2026-02-06");
    assert_eq!((state.class, state.positions.of(Role::InterestSuspense)), (Class::Standard, 0));
}

#[test]
fn interest_that_joins_the_principal_of_a_non_performing_loan_is_no_income() {
    let moratorium = Some(Moratorium { periods: 3, interest: MoratoriumInterest::Capitalised });
    let day_count = DayCount::Thirty360;
    let mut book = Book::paid_out(Terms { day_count, moratorium, ..terms("100000", "12", 12, "2026-01-01") });
    book.on("2026-02-10", LoanEvent::BorrowerFell { since: day("2026-02-10") });
    let state = book.at("2026-03-01");
    let at = |state: &LoanState, role| state.positions.of(role);
    assert_eq!(state.outstanding, rs("102010"));
    assert_eq!(state.capitalised_unearned, rs("1010"), "the second month's; the first was income by then");
    assert_eq!(at(&state, Role::InterestIncome), -rs("1000"));
    let mut given_up = book.clone();
    book.on("2026-03-02", LoanEvent::BorrowerRose);
    let state = book.at("2026-03-02");
    assert_eq!((at(&state, Role::InterestSuspense), state.capitalised_unearned), (0, 0));
    given_up.on("2026-03-02", LoanEvent::WrittenOff);
    let state = given_up.at("2026-03-31");
    assert_eq!(at(&state, Role::WriteOff), rs("101000"), "what was no income is no loss");
    assert_eq!((at(&state, Role::InterestSuspense), at(&state, Role::InterestIncome)), (0, -rs("1000")));
}

/// The borrower rises, and the loan falls again by its own arrears: by the day or in one step.
#[test]
fn what_had_joined_the_principal_is_earned_when_a_loan_rises() {
    let moratorium = Some(Moratorium { periods: 3, interest: MoratoriumInterest::Capitalised });
    let day_count = DayCount::Thirty360;
    let mut book = Book::paid_out(Terms { day_count, moratorium, ..terms("100", "8.82", 4, "2024-01-05") });
    book.on("2024-01-05", LoanEvent::BorrowerFell { since: day("2024-01-05") });
    assert_eq!(book.at("2024-07-04").capitalised_unearned, rs("2.23"));
    book.on("2024-07-05", LoanEvent::BorrowerRose);
    let mut by_day = book.at("2024-07-04");
    apply(&mut by_day, &book.terms, &book.events[6]);
    for number in day("2024-07-05").0..=day("2026-01-14").0 {
        advance(&mut by_day, &book.terms, Day(number));
    }
    let state = book.at("2026-01-14");
    assert_eq!(state, by_day);
    assert_eq!((state.class, state.capitalised_unearned), (Class::Npa, 0));
    assert_eq!(state.positions.of(Role::InterestIncome), -rs("2.23"));
}

#[test]
fn r02_a_penal_charge_is_a_charge() {
    assert_eq!(penal::charge(rs("862"), decimal("2"), 10), rs("5.75"));
    let mut book = Book::paid_out(of_5000());
    book.terms.penal_pct_per_month = decimal("2");
    let state = book.at("2022-12-10");
    assert_eq!(penal::due_on(&state, &book.terms, day("2022-12-11")), rs("5.75"));
    assert_eq!(state.positions.of(Role::PenalIncome), 0, "income on receipt");
    let receipt = book.paid("2022-12-11", "867.75");
    let split = Split { penal: rs("5.75"), interest: rs("49.32"), principal: rs("812.68"), ..Split::default() };
    assert_eq!(book.split(receipt), split);
    let state = book.at("2022-12-11");
    assert_eq!(state.positions.of(Role::PenalIncome), -rs("5.75"));
    assert_eq!(state.positions.of(Role::GstPayable), 0);
    assert_eq!(state.outstanding, rs("4187.32"), "it is in no principal");
    let mut without = Book::paid_out(of_5000());
    without.paid("2022-12-11", "862");
    let (with, without) = (book.at("2023-01-01"), without.at("2023-01-01"));
    assert_eq!(with.interest_due(), without.interest_due(), "and bears no interest");
}

#[test]
fn r06_leaving_within_the_cooling_off_days() {
    let mut book = Book::paid_out(terms("50000", "24", 12, "2026-11-03"));
    book.terms.cooling_off_days = 2;
    let state = book.at("2026-11-03");
    let quote = cooling_off(&state, &book.terms, day("2026-11-05")).expect("within the days");
    assert_eq!((quote.interest, quote.charges(), quote.total), (rs("65.75"), 0, rs("50065.75")));
    assert_eq!(cooling_off(&state, &book.terms, day("2026-11-06")), None);
    book.on("2026-11-05", LoanEvent::Cancelled { amount: quote.total, mode: Mode::Upi });
    let state = book.at("2026-12-31");
    assert_eq!(state.status, LoanStatus::Cancelled);
    assert!(state.owes_nothing());
    assert_eq!(state.positions.of(Role::InterestIncome), -rs("65.75"));
}

#[test]
fn v12_paying_ahead_on_due_dates_solves_the_instalment_again() {
    let rounding = crate::domain::lending::terms::Rounding { instalment: Some(Decimal::ONE), ..Default::default() };
    let mut book = Book::paid_out(Terms { rounding, ..of_5000() });
    let ahead = |amount: &str| LoanEvent::Prepaid { amount: rs(amount), keep: Keep::Term, mode: Mode::Upi };
    let first = book.on("2022-12-01", ahead("1000"));
    let split = Split { interest: rs("49.32"), principal: rs("812.68"), prepaid: rs("138"), ..Split::default() };
    assert_eq!(book.split(first), split);
    book.on("2023-01-01", ahead("2000"));
    let state = book.at("2023-01-01");
    assert_eq!((state.outstanding, state.instalment(&book.terms.calculation)), (rs("2090.59"), rs("536")));
    for (date, amount, interest, balance) in [
        ("2023-02-01", "536", "21.31", "1575.90"),
        ("2023-03-01", "536", "14.51", "1054.41"),
        ("2023-04-01", "536", "10.75", "529.16"),
        ("2023-05-01", "534.38", "5.22", "0"),
    ] {
        let receipt = book.paid(date, amount);
        assert_eq!(book.split(receipt).interest, rs(interest), "{date}");
        assert_eq!(book.at(date).outstanding, rs(balance), "{date}");
    }
    let state = book.at("2023-06-01");
    assert!(state.owes_nothing());
    assert_eq!(state.totals.interest, rs("142.38"));
}

#[test]
fn v13_foreclosure_inside_a_period() {
    let mut book = Book::paid_out(Terms { day_count: DayCount::Thirty360, ..terms("100", "7", 6, "2024-01-01") });
    book.paid("2024-02-01", "17.01");
    let state = book.at("2024-02-10");
    let on = day("2024-02-15");
    let quote = foreclosure(&state, &book.terms, on);
    assert_eq!((quote.principal, quote.interest, quote.total), (rs("83.57"), rs("0.24"), rs("83.81")));
    let ends = Terms { foreclose_on: Some(on), ..book.terms.calculation.clone() };
    assert_eq!(schedule(&ends).expect("rows").foreclosure_amount, Some(decimal("83.81")));
    let foreclosed = |amount: i64| LoanEvent::Foreclosed { amount, charge: 0, gst: 0, mode: Mode::Neft };

    let mut late = book.clone();
    book.push(on, foreclosed(quote.total));
    let state = book.at("2024-03-01");
    assert_eq!(state.status, LoanStatus::Closed);
    assert!(state.owes_nothing());
    assert_eq!(state.next_due, NEVER);

    // A day late leaves a day's interest.
    late.on("2024-02-16", foreclosed(quote.total));
    let state = late.at("2024-02-16");
    assert_eq!(state.status, LoanStatus::Active);
    let left = foreclosure(&state, &late.terms, day("2024-02-17")).total;
    assert_eq!(left, quote.per_day_interest);
}

#[test]
fn a_charge_on_foreclosure_has_its_tax() {
    let mut book = Book::paid_out(terms("100000", "12", 12, "2026-01-01"));
    book.terms.foreclosure_charge_pct = decimal("2");
    let on = day("2026-01-11");
    let quote = foreclosure(&book.at("2026-01-05"), &book.terms, on);
    assert_eq!((quote.charge, quote.gst, quote.interest), (rs("2000"), rs("360"), rs("328.77")));
    assert_eq!(quote.total, rs("102688.77"));
    let (amount, charge, gst) = (quote.total, quote.charge, quote.gst);
    book.push(on, LoanEvent::Foreclosed { amount, charge, gst, mode: Mode::Neft });
    let state = book.at("2026-02-01");
    assert_eq!(state.status, LoanStatus::Closed);
    assert_eq!(state.positions.of(Role::GstPayable), -rs("360"));
}

/// Pays every row on its day and compares what was paid with the row.
fn paid_to_the_day(calculation: &Terms) {
    let made: Schedule = schedule(calculation).expect("rows");
    let mut book = Book::paid_out(Terms { prepayments: Vec::new(), rate_resets: Vec::new(), ..calculation.clone() });
    pay_rows(&mut book, calculation, &made);
    let mut rows = made.rows.iter();
    let mut ahead = Decimal::ZERO;
    replay(&book.terms, &book.events, NEVER_FAR, |dated, split, state| match dated.event {
        LoanEvent::Received { .. } => {
            let row = rows.next().expect("a row for each receipt");
            let place = format!("row {} of {calculation:?}", row.n);
            // Interest that joins the principal is neither paid nor due.
            let interest = if row.principal < Decimal::ZERO { Decimal::ZERO } else { row.interest };
            assert_eq!(split.interest, paise(interest), "interest, {place}");
            assert_eq!(split.principal, paise(row.principal.max(Decimal::ZERO)), "principal, {place}");
            assert_eq!(split.advance, 0, "{place}");
            assert_eq!(Some(dated.value_date), row.due_on, "{place}");
            let on_the_day: Decimal =
                calculation.prepayments.iter().filter(|paid| Some(paid.on) == row.until).map(|paid| paid.amount).sum();
            assert_eq!(state.outstanding, paise(row.closing + on_the_day.min(row.prepaid)), "closing, {place}");
        }
        LoanEvent::Prepaid { .. } => ahead += Decimal::new(split.prepaid, 2),
        _ => {}
    });
    assert_eq!(rows.next(), None);
    assert_eq!(ahead, made.rows.iter().map(|row| row.prepaid).sum::<Decimal>());
    let last = made.rows.last().and_then(|row| row.due_on).expect("dates");
    let end = fold(&book.terms, &book.events, last);
    assert!(end.owes_nothing(), "{end:?}");
    assert_eq!((end.advance, end.dpd, end.class), (0, 0, Class::Standard));
    let income: Decimal = made.rows.iter().map(|row| row.interest).sum();
    assert_eq!(end.positions.of(Role::InterestIncome), -paise(income));
    assert_eq!(end.positions.of(Role::Settlement), paise(income), "all that is left is what was earned");
}

fn pay_rows(book: &mut Book, calculation: &Terms, made: &Schedule) {
    for row in &made.rows {
        let amount = if row.principal < Decimal::ZERO { Decimal::ZERO } else { row.instalment };
        book.push(row.due_on.expect("a date"), received(paise(amount)));
    }
    for paid in &calculation.prepayments {
        let amount = paise(paid.amount);
        book.push(paid.on, LoanEvent::Prepaid { amount, keep: paid.keep, mode: Mode::Upi });
    }
    for reset in &calculation.rate_resets {
        let event = LoanEvent::RateReset { annual_rate_pct: reset.annual_rate_pct, keep: reset.keep };
        book.push(reset.on, event);
    }
}

#[test]
fn a_loan_that_is_paid_to_the_day_is_its_schedule() {
    let base = terms("123456.78", "17.35", 18, "2026-01-31");
    let counts = [DayCount::Thirty360, DayCount::Act365, DayCount::Act360, DayCount::ActAct];
    for method in [Method::Reducing, Method::EqualPrincipal, Method::Flat] {
        for day_count in counts {
            for frequency in [Frequency::Weekly, Frequency::Monthly, Frequency::Quarterly] {
                paid_to_the_day(&Terms { frequency, method, day_count, ..base.clone() });
            }
            let first_due_on = Some(day("2026-03-15"));
            let plain = Terms { method, day_count, first_due_on, ..base.clone() };
            paid_to_the_day(&plain);
            for broken in [BrokenPeriod::Act365, BrokenPeriod::PeriodFraction, BrokenPeriod::Thirty360] {
                paid_to_the_day(&Terms { broken_period: Some(broken), ..plain.clone() });
            }
        }
    }
}

#[test]
fn so_is_one_with_moratorium_balloon_steps_or_holidays() {
    let base = terms("123456.78", "17.35", 18, "2026-01-31");
    for day_count in [DayCount::Thirty360, DayCount::Act365] {
        let base = Terms { day_count, ..base.clone() };
        for interest in [MoratoriumInterest::Serviced, MoratoriumInterest::Deferred, MoratoriumInterest::Capitalised] {
            let moratorium = Some(Moratorium { periods: 4, interest });
            paid_to_the_day(&Terms { moratorium, ..base.clone() });
            paid_to_the_day(&Terms { moratorium, method: Method::EqualPrincipal, ..base.clone() });
        }
        for method in [Method::Reducing, Method::EqualPrincipal, Method::Flat] {
            let base = Terms { method, ..base.clone() };
            paid_to_the_day(&Terms { balloon: Some(decimal("40000")), ..base.clone() });
            let steps =
                vec![Step { from: 5, instalment_pct: decimal("105") }, Step { from: 9, instalment_pct: decimal("90") }];
            if method != Method::Flat {
                paid_to_the_day(&Terms { steps, ..base.clone() });
            }
            let holidays: Vec<Day> = ["2026-02-28", "2026-04-30", "2026-05-01", "2026-12-31"].map(day).to_vec();
            for holiday_shift in [HolidayShift::Next, HolidayShift::Previous] {
                paid_to_the_day(&Terms { holidays: holidays.clone(), holiday_shift, ..base.clone() });
            }
        }
        let sundays = (0..52).map(|week| Day(day("2026-02-01").0 + 7 * week)).collect();
        let daily = Terms { frequency: Frequency::Daily, instalments: Some(60), holidays: sundays, ..base.clone() };
        // Two rows fall due on a Monday: paid together.
        let book = Book::paid_out(daily.clone());
        let monday = fold(&book.terms, &book.events, day("2026-02-02"));
        let rows = schedule(&daily).expect("rows").rows;
        assert_eq!(monday.overdue(), paise(rows[0].instalment + rows[1].instalment));
        assert_eq!(monday.dues.len(), 1);
    }
    paid_to_the_day(&Terms { instalments: None, instalment_fixed: Some(decimal("7000")), ..base });
}

#[test]
fn so_is_one_that_is_prepaid_and_reset() {
    for day_count in [DayCount::Thirty360, DayCount::Act365] {
        for method in [Method::Reducing, Method::EqualPrincipal] {
            for keep in [Keep::Term, Keep::Instalment] {
                let base = Terms { method, day_count, ..terms("100000", "18", 24, "2026-01-10") };
                let paid = |on: &str, amount: &str| Prepayment { on: day(on), amount: decimal(amount), keep };
                let reset = |on: &str, rate: &str| RateReset { on: day(on), annual_rate_pct: decimal(rate), keep };
                let prepayments = vec![paid("2026-03-25", "10000"), paid("2026-06-10", "5000")];
                let rate_resets = vec![reset("2026-04-10", "15"), reset("2026-08-01", "19.5")];
                paid_to_the_day(&Terms { prepayments: prepayments.clone(), ..base.clone() });
                paid_to_the_day(&Terms { rate_resets: rate_resets.clone(), ..base.clone() });
                paid_to_the_day(&Terms { rate_resets, prepayments, ..base });
            }
        }
    }
}

/// Seven days of 360, over the end of February, are dearer than the week's 52nd of a year: neither a loan nor its
/// schedule asks for more than the whole.
#[test]
fn so_is_one_that_is_prepaid_where_a_part_is_dearer_than_the_whole() {
    let base = Terms {
        day_count: DayCount::Thirty360,
        frequency: Frequency::Weekly,
        broken_period: Some(BrokenPeriod::Thirty360),
        ..terms("417.92", "4.74", 4, "2024-01-05")
    };
    for (first_due, on) in [("2024-02-24", "2024-03-01"), ("2024-03-02", "2024-03-01")] {
        for day_count in [DayCount::Thirty360, DayCount::Act365] {
            let paid = Prepayment { on: day(on), amount: decimal("0.42"), keep: Keep::Term };
            let first_due_on = Some(day(first_due));
            paid_to_the_day(&Terms { day_count, first_due_on, prepayments: vec![paid], ..base.clone() });
        }
    }
}

#[test]
fn an_excess_waits_for_the_next_due_date() {
    let mut book = Book::paid_out(of_5000());
    let receipt = book.paid("2022-12-01", "1000");
    assert_eq!(book.split(receipt).advance, rs("138"));
    let state = book.at("2022-12-31");
    assert_eq!((state.outstanding, state.advance), (rs("4187.32"), rs("138")), "never silently to principal");
    let state = book.at("2023-01-01");
    assert_eq!((state.advance, state.overdue(), state.dpd), (0, rs("724"), 1));
    book.on("2022-12-20", LoanEvent::Refunded { amount: rs("138"), mode: Mode::Neft });
    assert_eq!(book.at("2023-01-01").overdue(), rs("862"));
}

#[test]
fn tax_that_was_kept_back_pays_interest_only() {
    let mut book = Book::paid_out(of_5000());
    let receipt =
        book.on("2022-12-01", LoanEvent::Received { amount: rs("857.07"), tds: rs("4.93"), mode: Mode::Neft });
    let split = Split { interest: rs("49.32"), principal: rs("812.68"), ..Split::default() };
    assert_eq!(book.split(receipt), split);
    let state = book.at("2022-12-01");
    assert_eq!((state.dpd, state.positions.of(Role::TdsReceivable)), (0, rs("4.93")));
}

#[test]
fn a_returned_payment_was_never_there() {
    let mut book = Book::paid_out(of_5000());
    let without = book.at("2023-03-15");
    let receipt = book.paid("2022-12-01", "862");
    assert_eq!(book.at("2022-12-31").dpd, 0);
    book.on("2022-12-04", LoanEvent::ReceiptReversed { of: receipt });
    assert_eq!(book.at("2023-03-15"), without);
    let mut returned = Book::new(of_5000());
    returned.on("2022-11-01", LoanEvent::Applied { principal: rs("5000") });
    returned.on("2022-11-01", LoanEvent::Approved);
    let deducted = Deducted { fee: rs("100"), gst: rs("18"), third_party: rs("50") };
    let paid_out = LoanEvent::Disbursed { amount: rs("5000"), deducted, mode: Mode::Neft };
    let order = returned.on("2022-11-02", paid_out);
    assert_eq!(returned.at("2022-11-05").positions.of(Role::Settlement), -rs("4832"));
    returned.on("2022-11-05", LoanEvent::DisbursalReturned { of: order });
    let state = returned.at("2022-12-31");
    assert_eq!((state.status, state.positions), (LoanStatus::Approved, Default::default()), "no interest");
    returned.on("2022-11-08", paid_out);
    assert_eq!(returned.at("2022-11-08").next_due, day("2022-12-08"));
}

#[test]
fn waivers_write_offs_and_what_comes_after() {
    let mut book = r01();
    let waived = Waiver { interest: rs("200"), ..Waiver::default() };
    book.on("2026-02-10", LoanEvent::Waived(waived));
    assert_eq!(book.at("2026-02-10").interest_due(), rs("400"));
    book.on("2026-06-01", LoanEvent::Charged { kind: ChargeKind::Bounce, amount: rs("100"), gst: rs("18") });
    let before = book.at("2026-06-30");
    assert_eq!((before.class, before.fee_due()), (Class::Npa, rs("118")));
    book.on("2026-07-01", LoanEvent::WrittenOff);
    book.on("2026-08-01", LoanEvent::Recovered { amount: rs("1000"), mode: Mode::Cash });
    let state = book.at("2026-12-31");
    let at = |role| state.positions.of(role);
    assert_eq!(state.status, LoanStatus::WrittenOff);
    assert_eq!((at(Role::WriteOff), at(Role::Recovery)), (rs("8400") + rs("118"), -rs("1000")));
    assert_eq!((at(Role::InterestReceivable), at(Role::InterestSuspense), at(Role::InterestIncome)), (0, 0, 0));
    // Six rows of 300 and 26 of 30 days of the seventh, less what was waived.
    assert_eq!(state.claim, rs("8400") + rs("118") + rs("1800") + rs("260") - rs("200") - rs("1000"));
}

#[test]
fn rescheduling_leaves_arrears_and_class() {
    let mut book = Book::paid_out(of_5000());
    let npa = book.at("2023-03-01");
    assert_eq!(npa.class, Class::Npa);
    let new =
        NewPlan { annual_rate_pct: decimal("10"), instalments: 12, first_due_on: day("2023-04-15"), moratorium: None };
    book.on("2023-03-10", LoanEvent::Rescheduled(new));
    let state = book.at("2023-03-10");
    assert_eq!((state.class, state.next_due, state.rows_left()), (Class::Npa, day("2023-04-15"), Some(12)));
    assert_eq!(state.overdue(), npa.overdue());
    assert_eq!(state.not_due(), npa.not_due());
    let end = book.at("2024-03-15");
    assert_eq!((end.not_due(), end.rows_left()), (0, Some(0)));
}

#[test]
fn a_second_tranche_is_spread_over_the_rows_that_are_left() {
    let mut book = Book::new(terms("100000", "12", 12, "2026-01-01"));
    book.on("2026-01-01", LoanEvent::Applied { principal: rs("100000") });
    book.on("2026-01-01", LoanEvent::Approved);
    let tranche =
        |amount: &str| LoanEvent::Disbursed { amount: rs(amount), deducted: Deducted::default(), mode: Mode::Rtgs };
    book.on("2026-01-01", tranche("60000"));
    book.on("2026-02-10", tranche("40000"));
    let state = book.at("2026-02-28");
    assert_eq!(state.outstanding, rs("100000"));
    let end = book.at("2027-01-01");
    assert_eq!((end.not_due(), end.outstanding), (0, rs("100000")));
}

#[test]
fn overdue_principal_bears_interest_after_the_last_row() {
    let book = Book::paid_out(of_5000());
    let state = book.at("2023-07-01");
    assert_eq!(state.dues.len(), 8, "six rows, and two months of interest");
    assert_eq!(state.dues.last().map(|due| (due.principal, due.interest)), Some((0, rs("49.32"))));
    let flat = r01().at("2027-06-30");
    assert_eq!((flat.dues.len(), flat.overdue(), flat.next_due), (12, rs("12000"), NEVER), "a flat loan's does not");
}

#[test]
fn a_healthy_loan_keeps_no_heap() {
    let mut book = Book::paid_out(of_5000());
    book.paid("2022-12-03", "862");
    assert_eq!(book.at("2022-12-03").dues.capacity(), 0);
}

fn circumstances(value_date: &str) -> Circumstances {
    Circumstances {
        today: day("2030-01-01"),
        value_date: day(value_date),
        cash_received: 0,
        cash_disbursal_limit: rs("20000"),
        cash_receipts_limit: rs("200000"),
        cash_pan_limit: rs("50000"),
        has_pan: true,
    }
}

#[test]
fn a_life_by_decisions() {
    let mut terms = LoanTerms::new(terms("50000", "18", 12, "2026-01-01"));
    terms.cooling_off_days = 3;
    let (mut state, mut order) = (LoanState::new(), 0);
    let upi = Mode::Upi;
    let disburse = LoanCommand::Disburse { amount: rs("50000"), deducted: Deducted::default(), mode: Mode::Neft };
    let in_cash = LoanCommand::Disburse { amount: rs("50000"), deducted: Deducted::default(), mode: Mode::Cash };
    let too_much = LoanCommand::Disburse { amount: rs("50001"), deducted: Deducted::default(), mode: Mode::Neft };
    let receive = |amount: &str| LoanCommand::Receive { amount: rs(amount), tds: 0, mode: upi };
    let kfs = |version| LoanCommand::IssueKfs { version, valid_through: day("2026-01-04") };
    let steps = [
        ("2026-01-01", LoanCommand::Approve, Some(LoanReject::NotApplied)),
        ("2026-01-01", LoanCommand::Apply, None),
        ("2026-01-01", LoanCommand::Apply, Some(LoanReject::AlreadyApplied)),
        ("2026-01-01", disburse, Some(LoanReject::NotApproved)),
        ("2026-01-01", LoanCommand::Approve, None),
        ("2026-01-01", disburse, Some(LoanReject::KfsNotIssued)),
        ("2026-01-01", LoanCommand::AcceptKfs { version: 1 }, Some(LoanReject::KfsNotIssued)),
        ("2026-01-01", kfs(1), None),
        ("2026-01-01", kfs(1), Some(LoanReject::KfsVersion)),
        ("2026-01-01", disburse, Some(LoanReject::KfsNotAccepted)),
        ("2026-01-05", LoanCommand::AcceptKfs { version: 1 }, Some(LoanReject::KfsExpired)),
        ("2026-01-02", LoanCommand::AcceptKfs { version: 1 }, None),
        ("2026-01-05", disburse, Some(LoanReject::KfsExpired)),
        ("2026-01-02", too_much, Some(LoanReject::AmountAboveSanction)),
        ("2031-01-02", in_cash, Some(LoanReject::KfsExpired)),
        ("2026-01-02", in_cash, Some(LoanReject::CashDisbursal)),
        ("2026-01-02", receive("1"), Some(LoanReject::NotActive)),
        ("2026-01-02", disburse, None),
        ("2026-01-02", disburse, Some(LoanReject::AmountAboveSanction)),
        ("2026-01-01", receive("10"), Some(LoanReject::DateBeforeDisbursal)),
        ("2031-01-01", receive("10"), Some(LoanReject::DateInFuture)),
        ("2026-02-02", receive("0"), Some(LoanReject::AmountNotPositive)),
        ("2026-01-06", LoanCommand::Cancel { amount: 5, mode: upi }, Some(LoanReject::CoolingOffOver)),
        ("2026-01-05", LoanCommand::Cancel { amount: 5, mode: upi }, Some(LoanReject::AmountNotQuoted)),
        (
            "2026-02-02",
            LoanCommand::Prepay { amount: rs("100"), keep: Keep::Term, mode: upi },
            Some(LoanReject::ArrearsFirst),
        ),
        (
            "2026-02-02",
            LoanCommand::Receive { amount: rs("200000"), tds: 0, mode: Mode::Cash },
            Some(LoanReject::CashReceipts),
        ),
        ("2026-02-02", LoanCommand::Close, Some(LoanReject::BalanceLeft)),
        ("2026-02-02", receive("5000"), None),
        ("2026-02-02", LoanCommand::Refund { amount: rs("5000"), mode: upi }, Some(LoanReject::AmountAboveAdvance)),
        ("2026-02-02", LoanCommand::Recover { amount: rs("5000"), mode: upi }, Some(LoanReject::NotWrittenOff)),
        ("2026-02-03", LoanCommand::Foreclose { amount: 1, mode: upi }, Some(LoanReject::AmountNotQuoted)),
    ];
    for (date, command, refused) in steps {
        let decided = decide(&state, &terms, &command, &circumstances(date));
        assert_eq!(decided.err(), refused, "{date} {command:?}");
        if let Ok(event) = decided {
            order += 1;
            apply(&mut state, &terms, &Dated { value_date: day(date), order, event });
        }
    }
    let on = day("2026-02-20");
    let amount = foreclosure(&state, &terms, on).total;
    let command = LoanCommand::Foreclose { amount, mode: upi };
    let event = decide(&state, &terms, &command, &circumstances("2026-02-20")).expect("the quote");
    apply(&mut state, &terms, &Dated { value_date: on, order: order + 1, event });
    assert_eq!((state.status, state.advance, state.outstanding), (LoanStatus::Closed, 0, 0));
    let again = decide(&state, &terms, &LoanCommand::Close, &circumstances("2026-02-20"));
    assert_eq!(again, Err(LoanReject::NotActive));
}

#[test]
fn the_first_reason_in_the_order_of_the_list_is_given() {
    let terms = LoanTerms::new(terms("50000", "18", 12, "2026-01-01"));
    let mut approved = LoanState::new();
    approved.status = LoanStatus::Approved;
    approved.sanctioned = rs("50000");
    let mut day_of = circumstances("2031-01-01");
    let bad = Deducted { fee: rs("70000"), ..Deducted::default() };
    let disburse =
        |amount: &str, deducted: Deducted| LoanCommand::Disburse { amount: rs(amount), deducted, mode: Mode::Cash };
    let mut given = Vec::new();
    let mut ask = |state: &LoanState, command: LoanCommand, day_of: &Circumstances| {
        given.extend(decide(state, &terms, &command, day_of).err());
    };
    // Everything is wrong at first; each step puts right what the last one was refused for.
    ask(&LoanState::new(), disburse("60000", bad), &day_of);
    ask(&approved, disburse("60000", bad), &day_of);
    approved.kfs_version = 1;
    ask(&approved, disburse("60000", bad), &day_of);
    approved.kfs_accepted = 1;
    ask(&approved, disburse("60000", bad), &day_of);
    approved.kfs_valid_through = day("2031-01-01");
    ask(&approved, disburse("0", bad), &day_of);
    ask(&approved, disburse("60000", bad), &day_of);
    ask(&approved, disburse("50000", bad), &day_of);
    ask(&approved, disburse("50000", Deducted::default()), &day_of);
    day_of.today = day_of.value_date;
    ask(&approved, disburse("50000", Deducted::default()), &day_of);
    let reasons = [
        LoanReject::NotApproved,
        LoanReject::KfsNotIssued,
        LoanReject::KfsNotAccepted,
        LoanReject::KfsExpired,
        LoanReject::AmountNotPositive,
        LoanReject::AmountAboveSanction,
        LoanReject::DeductionsTooHigh,
        LoanReject::DateInFuture,
        LoanReject::CashDisbursal,
    ];
    assert_eq!(given, reasons);
    assert!(reasons.is_sorted());
}

#[test]
fn thirty_years_in_one_step() {
    let book = Book::paid_out(Terms { frequency: Frequency::Yearly, ..terms("5000", "12", 30, "2020-01-01") });
    let mut state = book.at("2020-06-01");
    let mut stepped = state.clone();
    advance(&mut state, &book.terms, NEVER_FAR);
    for day in stepped.advanced_through.0 + 1..=NEVER_FAR.0 {
        advance(&mut stepped, &book.terms, Day(day));
    }
    assert_eq!(state, stepped);
}
