//! Random loans, products and days: [`entry`] for the round trips of `record.rs`; and what bytes are refused.

use proptest::array::uniform32;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use crate::domain::account::AccountType;
use crate::domain::entry::{DayClosed, Entry};
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::lending::day_count::DAY_COUNTS;
use crate::domain::lending::digits::Digits;
use crate::domain::lending::due_dates::{FREQUENCIES, HOLIDAY_SHIFTS};
use crate::domain::lending::loan::contract::{Across, Appropriation, LoanTerms, PARTS};
use crate::domain::lending::loan::facts::{DayEnded, LoansSwept, MonthEnded, MonthLine, ProductTotals, SweptRow};
use crate::domain::lending::loan::roles::{ROLE_COUNT, Role};
use crate::domain::lending::loan::state::Class;
use crate::domain::lending::rounding::MODES;
use crate::domain::lending::terms::{
    BROKEN_PERIODS, Charge, KEEPS, Keep, METHODS, MORATORIUM_INTERESTS, Moratorium, PAYEES, Prepayment, RateReset,
    Rounding, Step, Terms,
};
use crate::domain::money::Currency;
use crate::domain::time::Day;
use crate::journal::record::tests::{SEQ, earlier, metadata, text};
use crate::journal::record::{put_entry, take_entry};
use crate::journal::sweeps::{CLASSES, ROW_MOVED_SHIFT, put_swept, take_swept};

const RECEIVABLE: usize = Role::InterestReceivable as usize;
const INCOME: usize = Role::InterestIncome as usize;
const SUSPENSE: usize = Role::InterestSuspense as usize;

/// One of a list of names.
fn named<T: Copy + std::fmt::Debug>(names: &'static [(T, &'static str)]) -> impl Strategy<Value = T> {
    (0..names.len()).prop_map(|place| names[place].0)
}

/// Of all lengths and scales; zeros below zero too.
fn decimal() -> impl Strategy<Value = Decimal> {
    (any::<u128>(), 32_u32..=128, 0_u8..=28, any::<bool>()).prop_map(|(digits, shift, scale, is_negative)| {
        let mantissa = digits.checked_shr(shift).unwrap_or(0);
        Digits { head: scale | if is_negative { 0x20 } else { 0 }, mantissa }.decimal().expect("digits of a decimal")
    })
}

/// Amounts of all sizes and both signs.
fn amount() -> impl Strategy<Value = i64> {
    (any::<i64>(), 0_u32..64).prop_map(|(amount, shift)| amount >> shift)
}

fn day() -> impl Strategy<Value = Day> {
    any::<u16>().prop_map(Day)
}

fn some_text() -> impl Strategy<Value = Box<str>> {
    text(12).prop_map(Option::unwrap_or_default)
}

fn option<S: Strategy>(inner: S) -> impl Strategy<Value = Option<S::Value>> {
    proptest::option::of(inner)
}

fn moratorium() -> impl Strategy<Value = Moratorium> {
    (any::<u32>(), named(&MORATORIUM_INTERESTS)).prop_map(|(periods, interest)| Moratorium { periods, interest })
}

fn keep() -> impl Strategy<Value = Keep> {
    named(&KEEPS)
}

fn charges() -> impl Strategy<Value = Vec<Charge>> {
    let charge = (some_text(), decimal(), named(&PAYEES), decimal());
    let made = charge.prop_map(|(name, amount, payee, gst_pct)| Charge { name, amount, payee, gst_pct });
    proptest::collection::vec(made, 0..4)
}

fn rounding() -> impl Strategy<Value = Rounding> {
    (option(decimal()), option(decimal()), named(&MODES), decimal())
        .prop_map(|(instalment, interest, mode, display)| Rounding { instalment, interest, mode, display })
}

fn changes() -> impl Strategy<Value = (Vec<Step>, Vec<RateReset>, Vec<Prepayment>)> {
    let step = (any::<u32>(), decimal()).prop_map(|(from, instalment_pct)| Step { from, instalment_pct });
    let reset = (day(), decimal(), keep());
    let reset = reset.prop_map(|(on, annual_rate_pct, keep)| RateReset { on, annual_rate_pct, keep });
    let paid = (day(), decimal(), keep()).prop_map(|(on, amount, keep)| Prepayment { on, amount, keep });
    let list = 0..3;
    (
        proptest::collection::vec(step, list.clone()),
        proptest::collection::vec(reset, list.clone()),
        proptest::collection::vec(paid, list),
    )
}

fn calculation() -> impl Strategy<Value = Terms> {
    let kinds = (named(&FREQUENCIES), named(&METHODS), named(&DAY_COUNTS), option(named(&BROKEN_PERIODS)));
    let fixed = (option(any::<u32>()), option(decimal()), option(decimal()), option(decimal()), option(moratorium()));
    let dates = (option(day()), option(day()), option(day()), proptest::collection::vec(day(), 0..5));
    let rest = (named(&HOLIDAY_SHIFTS), charges(), any::<bool>());
    (decimal(), decimal(), kinds, fixed, dates, rounding(), changes(), rest).prop_map(
        |(principal, annual_rate_pct, kinds, fixed, dates, rounding, changes, rest)| {
            let (frequency, method, day_count, broken_period) = kinds;
            let (instalments, instalment_fixed, principal_fixed, balloon, moratorium) = fixed;
            let (disbursed_on, first_due_on, foreclose_on, holidays) = dates;
            let (steps, rate_resets, prepayments) = changes;
            let (holiday_shift, charges, apr_with_gst) = rest;
            Terms {
                principal,
                annual_rate_pct,
                instalments,
                frequency,
                method,
                day_count,
                disbursed_on,
                first_due_on,
                broken_period,
                rounding,
                instalment_fixed,
                principal_fixed,
                balloon,
                moratorium,
                steps,
                rate_resets,
                prepayments,
                foreclose_on,
                holidays,
                holiday_shift,
                charges,
                apr_with_gst,
            }
        },
    )
}

fn loan_terms() -> impl Strategy<Value = LoanTerms> {
    let order = Just(PARTS.map(|(part, _)| part)).prop_shuffle();
    let across = prop_oneof![Just(Across::Rows), Just(Across::Parts)];
    (calculation(), order, across, any::<[u16; 4]>(), decimal(), decimal(), decimal()).prop_map(
        |(calculation, order, across, days, penal, foreclosure, gst)| LoanTerms {
            calculation,
            appropriation: Appropriation { order, across },
            penal_pct_per_month: penal,
            cooling_off_days: days[0],
            foreclosure_charge_pct: foreclosure,
            charge_gst_pct: gst,
            sma1_dpd: days[1],
            sma2_dpd: days[2],
            npa_dpd: days[3],
        },
    )
}

fn product() -> impl Strategy<Value = ProductSaved> {
    let facts = (
        some_text(),
        text(8),
        loan_terms(),
        amount(),
        amount(),
        any::<u16>(),
        (any::<[bool; 2]>(), option(any::<u32>())),
        metadata(),
    );
    let facts = facts.prop_map(|(name, external_id, terms, min, max, kfs_valid_days, flags, metadata)| {
        let (principal_min, principal_max, ([is_secured, disbursal_by_another], to)) = (min, max, flags);
        ProductFacts {
            name,
            external_id,
            terms,
            principal_min,
            principal_max,
            kfs_valid_days,
            is_secured,
            disbursal_by_another,
            year_end_account: to.map(AccountNo),
            metadata,
        }
    });
    let accounts = uniform32(any::<u32>());
    (any::<(u32, u32, i64)>(), option(earlier()), accounts, facts).prop_map(
        |((number, version, created_at), previous, accounts, facts)| ProductSaved {
            number,
            version,
            previous: previous.unwrap_or_default(),
            created_at: Moment(created_at),
            accounts: std::array::from_fn(|place| AccountNo(accounts[place])),
            facts,
        },
    )
}

fn mode() -> impl Strategy<Value = Mode> {
    use Mode::{Cash, Cheque, Imps, Nach, Neft, Rtgs, Upi};
    proptest::sample::select(vec![Cash, Upi, Imps, Neft, Rtgs, Nach, Cheque])
}

fn event() -> impl Strategy<Value = LoanEvent> {
    let kind = proptest::sample::select(vec![ChargeKind::Fee, ChargeKind::Bounce, ChargeKind::Penal]);
    let new_plan = (decimal(), any::<u32>(), day(), option(moratorium())).prop_map(
        |(annual_rate_pct, instalments, first_due_on, moratorium)| {
            LoanEvent::Rescheduled(NewPlan { annual_rate_pct, instalments, first_due_on, moratorium })
        },
    );
    let four = || (amount(), amount(), amount(), amount());
    prop_oneof![
        amount().prop_map(|principal| LoanEvent::Applied { principal }),
        Just(LoanEvent::Approved),
        Just(LoanEvent::Declined),
        (any::<u32>(), day()).prop_map(|(version, valid_through)| LoanEvent::KfsIssued { version, valid_through }),
        any::<u32>().prop_map(|version| LoanEvent::KfsAccepted { version }),
        (four(), mode()).prop_map(|((amount, fee, gst, third_party), mode)| {
            LoanEvent::Disbursed { amount, deducted: Deducted { fee, gst, third_party }, mode }
        }),
        earlier().prop_map(|of| LoanEvent::DisbursalReturned { of: of.0 }),
        (amount(), amount(), mode()).prop_map(|(amount, tds, mode)| LoanEvent::Received { amount, tds, mode }),
        earlier().prop_map(|of| LoanEvent::ReceiptReversed { of: of.0 }),
        (amount(), keep(), mode()).prop_map(|(amount, keep, mode)| LoanEvent::Prepaid { amount, keep, mode }),
        (kind, amount(), amount()).prop_map(|(kind, amount, gst)| LoanEvent::Charged { kind, amount, gst }),
        four().prop_map(|(interest, penal, fee, gst)| LoanEvent::Waived(Waiver { interest, penal, fee, gst })),
        (decimal(), keep()).prop_map(|(annual_rate_pct, keep)| LoanEvent::RateReset { annual_rate_pct, keep }),
        new_plan,
        Just(LoanEvent::WrittenOff),
        (amount(), mode()).prop_map(|(amount, mode)| LoanEvent::Recovered { amount, mode }),
        (amount(), mode()).prop_map(|(amount, mode)| LoanEvent::Refunded { amount, mode }),
        (amount(), amount(), amount(), mode()).prop_map(|(amount, charge, gst, mode)| LoanEvent::Foreclosed {
            amount,
            charge,
            gst,
            mode
        }),
        (amount(), mode()).prop_map(|(amount, mode)| LoanEvent::Cancelled { amount, mode }),
        Just(LoanEvent::Closed),
        day().prop_map(|since| LoanEvent::BorrowerFell { since }),
        Just(LoanEvent::BorrowerRose),
        (amount(), amount(), mode()).prop_map(|(amount, given_up, mode)| LoanEvent::Settled { amount, given_up, mode }),
        day().prop_map(|until| LoanEvent::Paused { until }),
        any::<bool>().prop_map(|on| LoanEvent::Watched { on }),
    ]
}

fn application() -> impl Strategy<Value = LoanApplication> {
    let own = (option(any::<u32>()), option(decimal()), option(day()), option(charges()));
    (any::<[u32; 3]>(), amount(), own, text(8), metadata()).prop_map(
        |([customer, product, product_version], principal, own, external_id, metadata)| {
            let (instalments, annual_rate_pct, first_due_on, charges) = own;
            LoanApplication {
                customer,
                product,
                product_version,
                principal,
                instalments,
                annual_rate_pct,
                first_due_on,
                charges,
                external_id,
                metadata,
            }
        },
    )
}

fn loan() -> impl Strategy<Value = LoanPosted> {
    let texts = option((text(10), text(30)).prop_map(|(reference, reason)| Box::new(LoanTexts { reference, reason })));
    let numbers = any::<(u32, u32, u64)>();
    let after = (option(any::<[i32; 6]>()), proptest::collection::vec(any::<u8>(), 0..200));
    (numbers, option(earlier()), day(), event(), any::<Option<u32>>(), texts, option(application()), after).prop_map(
        |((loan, events_before, by), previous, value_date, event, settlement, texts, application, (split, state))| {
            LoanPosted {
                loan,
                previous: previous.unwrap_or_default(),
                events_before,
                value_date,
                event,
                by,
                settlement: settlement.map(AccountNo),
                texts,
                application: application.map(Box::new),
                split: split.map_or_else(Split::default, |[penal, fee, interest, principal, prepaid, advance]| Split {
                    penal: penal.into(),
                    fee: fee.into(),
                    interest: interest.into(),
                    principal: principal.into(),
                    prepaid: prepaid.into(),
                    advance: advance.into(),
                }),
                state: state.into(),
            }
        },
    )
}

/// Usual movements often; others of one role or all.
fn moved() -> impl Strategy<Value = [i64; ROLE_COUNT]> {
    let pair = |from: usize, to: usize| {
        (amount(), any::<bool>()).prop_map(move |(amount, is_other)| {
            let mut moved = [0; ROLE_COUNT];
            (moved[from], moved[to]) = (amount, amount.wrapping_neg());
            // Almost the usual one.
            moved[0] = i64::from(is_other && amount % 3 == 0);
            moved
        })
    };
    let any = (any::<[i64; ROLE_COUNT]>(), any::<u16>()).prop_map(|(all, mask)| {
        std::array::from_fn(|role| if mask >> role & 1 == 0 { 0 } else { all[role] >> (mask % 64) })
    });
    prop_oneof![Just([0; ROLE_COUNT]), pair(RECEIVABLE, INCOME), pair(RECEIVABLE, SUSPENSE), any]
}

fn swept() -> impl Strategy<Value = LoansSwept> {
    let dpd = prop_oneof![Just(0_u16), any::<u16>()];
    let skipped = prop_oneof![6 => Just(0_u32), 1 => 0_u32..1_000, 1 => any::<u32>()];
    let row = (skipped, proptest::sample::select(CLASSES.to_vec()), dpd, moved());
    let rows = proptest::collection::vec(row, 0..20);
    (day(), any::<u32>(), any::<u32>(), rows, totals()).prop_map(|(date, first, beyond, rows, totals)| {
        let mut next = Some(first);
        let mut swept = LoansSwept { date, first, last: first, rows: Vec::new(), totals };
        for (skipped, class, dpd, moved) in rows {
            let Some(loan) = next.and_then(|next| next.checked_add(skipped)) else { break };
            swept.rows.push(SweptRow { loan, class, dpd, moved });
            swept.last = loan;
            next = loan.checked_add(1);
        }
        swept.last = swept.last.saturating_add(beyond % 3);
        swept
    })
}

fn totals() -> impl Strategy<Value = Vec<ProductTotals>> {
    let one = (any::<u32>(), any::<[u32; 5]>(), any::<[i64; 5]>(), amount())
        .prop_map(|(product, loans, outstanding, provision)| ProductTotals { product, loans, outstanding, provision });
    proptest::collection::vec(one, 0..4)
}

fn month_ended() -> impl Strategy<Value = MonthEnded> {
    let key = (0u8..100, any::<u32>(), 0u8..5).prop_map(|(currency, code, kind)| GlKey {
        currency: Currency(currency),
        code,
        account_type: AccountType::from_number(kind).expect("there are five"),
    });
    let totals = || any::<[u128; 2]>().prop_map(|[debits, credits]| GlTotals { debits, credits });
    let line = (key, totals(), totals()).prop_map(|(key, through, before)| MonthLine { key, through, before });
    (day(), proptest::collection::vec(line, 0..5)).prop_map(|(date, lines)| MonthEnded { date, lines })
}

fn day_ended() -> impl Strategy<Value = DayEnded> {
    (day(), totals()).prop_map(|(date, totals)| DayEnded { date, totals })
}

/// An entry of lending, customers excepted.
pub(in crate::journal) fn entry() -> impl Strategy<Value = Entry> {
    let day_closed = (day(), any::<bool>(), text(30))
        .prop_map(|(through, by_hand, reason)| Entry::DayClosed(Box::new(DayClosed { through, by_hand, reason })));
    prop_oneof![
        1 => product().prop_map(|saved| Entry::ProductSaved(Box::new(saved))),
        4 => loan().prop_map(|posted| Entry::LoanPosted(Box::new(posted))),
        1 => day_closed,
        2 => swept().prop_map(|swept| Entry::LoansSwept(Box::new(swept))),
        1 => day_ended().prop_map(|ended| Entry::DayEnded(Box::new(ended))),
        1 => month_ended().prop_map(|ended| Entry::MonthEnded(Box::new(ended))),
    ]
}

fn bytes_of(entry: &Entry) -> Vec<u8> {
    let mut sink = Sink::default();
    put_entry(&mut sink, SEQ, entry);
    sink.filled().to_vec()
}

fn read(bytes: &[u8]) -> Option<Entry> {
    take_entry(&mut Cursor::new(bytes, 0), SEQ)
}

proptest! {
    #[test]
    fn what_is_cut_off_is_refused(entry in entry(), cut in 1_usize..50) {
        let bytes = bytes_of(&entry);
        let left = bytes.len().saturating_sub(cut);
        prop_assert_eq!(read(&bytes[..left]), None);
    }

    #[test]
    fn other_bytes_are_never_a_panic(entry in entry(), places in proptest::collection::vec(any::<(u16, u8)>(), 1..4)) {
        let mut bytes = bytes_of(&entry);
        for (place, byte) in places {
            // The control word stays: it says what kind of an entry is read.
            let place = 2 + usize::from(place) % (bytes.len() - 2);
            bytes[place] = byte;
        }
        // Whatever is read nevertheless can be written and read again.
        if let Some(other) = read(&bytes) {
            prop_assert_eq!(read(&bytes_of(&other)), Some(other));
        }
    }

    #[test]
    fn random_bytes_are_never_a_panic(kind in 11_u16..=15, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = (7 << 13 | kind).to_le_bytes().to_vec();
        bytes.extend(rest);
        read(&bytes);
    }

    #[test]
    fn decimals_keep_their_scale(decimal in decimal()) {
        let mut sink = Sink::default();
        put_decimal(&mut sink, decimal);
        let again = take_decimal(&mut Cursor::new(sink.filled(), 0)).expect("a decimal");
        prop_assert_eq!(again.serialize(), decimal.serialize());
    }
}

/// A day's interest of loans of some 40,000 at 24 %, one after the other.
fn usual(rows: u32) -> LoansSwept {
    let row = |place: u32| {
        let mut moved = [0; ROLE_COUNT];
        let interest = 2_000 + i64::from(place % 1_500);
        (moved[RECEIVABLE], moved[INCOME]) = (interest, -interest);
        SweptRow { loan: 700_000 + place, class: Class::Standard, dpd: 0, moved }
    };
    LoansSwept {
        date: Day(20_500),
        first: 700_000,
        last: 700_000 + rows,
        rows: (0..rows).map(row).collect(),
        totals: Vec::new(),
    }
}

#[test]
fn a_usual_row_takes_three_bytes() {
    let bytes = bytes_of(&Entry::LoansSwept(Box::new(usual(1_000))));
    assert_eq!(bytes.len(), 2 + 2 + 3 + 3 + 2 + 3 * 1_000 + 1);
}

/// Damage in a count must not reserve memory for it.
#[test]
fn a_count_beyond_the_bytes_is_refused() {
    let mut sink = Sink::default();
    put_day(&mut sink, Day(1));
    [1, 1 << 20, 1 << 40].into_iter().for_each(|number| sink.put_varint(number));
    sink.put(&[0; 100]);
    assert_eq!(take_swept(&mut Cursor::new(sink.filled(), 0)), None);
}

#[test]
fn rows_that_mean_nothing_are_refused() {
    let mut sink = Sink::default();
    put_swept(&mut sink, &usual(3));
    let good = sink.filled().to_vec();
    let take = |bytes: &[u8]| take_swept(&mut Cursor::new(bytes, 0));
    assert_eq!(take(&good), Some(usual(3)));
    // date u16, first (3 bytes), last (3), count, then the rows.
    let mut class = good.clone();
    class[9] |= 5;
    assert_eq!(take(&class), None, "no such class");
    let mut movement = good.clone();
    movement[9] = 3 << ROW_MOVED_SHIFT;
    assert_eq!(take(&movement), None, "no such movement");
}
