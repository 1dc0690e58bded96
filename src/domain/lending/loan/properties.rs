//! What holds of every loan, on random terms and random lives. Events are not decided first: a payment that came back
//! may leave any later one without its ground, so applying has to bear all of them.
//!
//! proptest prints the shrunk life of a failure and keeps its seed in `proptest-regressions/`.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rust_decimal::Decimal;

use super::contract::{Across, Appropriation, LoanTerms, PARTS, paise};
use super::decide::{Circumstances, LoanCommand, decide};
use super::events::{ChargeKind, Dated, Deducted, LoanEvent, Mode, NewPlan, Waiver};
use super::fold::{advance, apply, fold, needs_fold, replay, undoes};
use super::movement::{movement, standing};
use super::packed::{pack, unpack};
use super::quotes::foreclosure;
use super::roles::{ROLE_COUNT, ROLES, Role, movements};
use super::state::{Class, LoanState, LoanStatus};
use super::tests::{Book, received};
use crate::domain::lending::day_count::DayCount;
use crate::domain::lending::due_dates::{Frequency, HolidayShift};
use crate::domain::lending::schedule::schedule;
use crate::domain::lending::terms::{
    BrokenPeriod, Keep, Method, Moratorium, MoratoriumInterest, Prepayment, RateReset, Step, Terms,
};
use crate::domain::time::Day;

/// Random lives of each property and seed.
const CASES: u32 = if cfg!(debug_assertions) { 40 } else { 1_000 };

/// 2024-01-05: lives cross a 29th of February.
const START: Day = Day(19_727);

/// Days of a life.
const DAYS: u16 = 700;

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![Just(Keep::Term), Just(Keep::Instalment)]
}

/// How much falls due, and how.
fn shape() -> impl Strategy<Value = Terms> {
    let method = prop_oneof![3 => Just(Method::Reducing), 1 => Just(Method::EqualPrincipal), 1 => Just(Method::Flat)];
    let day_count =
        prop_oneof![Just(DayCount::Thirty360), Just(DayCount::Act365), Just(DayCount::Act360), Just(DayCount::ActAct)];
    let frequency = prop_oneof![
        1 => Just(Frequency::Daily),
        1 => Just(Frequency::Weekly),
        1 => Just(Frequency::Fortnightly),
        4 => Just(Frequency::Monthly),
        1 => Just(Frequency::Quarterly)
    ];
    let amounts = (10_000_i64..10_000_000, 0_i64..4_800, 1_u32..24);
    (amounts, method, day_count, frequency).prop_map(|((principal, rate, rows), method, day_count, frequency)| Terms {
        principal: Decimal::new(principal, 2),
        annual_rate_pct: Decimal::new(rate, 2),
        instalments: Some(rows),
        method,
        day_count,
        frequency,
        disbursed_on: Some(START),
        ..Terms::default()
    })
}

/// When it falls due, and what is special.
fn calculation() -> impl Strategy<Value = Terms> {
    let broken = prop_oneof![
        Just(None),
        Just(Some(BrokenPeriod::Act365)),
        Just(Some(BrokenPeriod::PeriodFraction)),
        Just(Some(BrokenPeriod::Thirty360))
    ];
    let moratorium = prop_oneof![
        Just(MoratoriumInterest::Serviced),
        Just(MoratoriumInterest::Deferred),
        Just(MoratoriumInterest::Capitalised)
    ];
    let moratorium = proptest::option::weighted(0.2, (1_u32..4, moratorium));
    let shift = prop_oneof![Just(HolidayShift::Next), Just(HolidayShift::Previous), Just(HolidayShift::Stay)];
    let holidays = proptest::collection::btree_set(1..DAYS, 0..60);
    let step = proptest::option::weighted(0.2, (2_u32..8, 50_i64..150));
    let first_due = proptest::option::weighted(0.3, 1_u16..70);
    let special = (proptest::option::weighted(0.1, 1_i64..50), proptest::bool::weighted(0.2));
    let dates = (first_due, broken, holidays, shift);
    (shape(), dates, moratorium, step, special).prop_map(|(shape, dates, moratorium, step, (balloon, is_open))| {
        let (first_due, broken_period, holidays, holiday_shift) = dates;
        let balloon = balloon.map(|pct| (shape.principal * Decimal::new(pct, 2)).round_dp(2));
        // A flat loan has no steps.
        let step = step.filter(|_| shape.method != Method::Flat);
        let made = Terms {
            first_due_on: first_due.map(|days| Day(START.0 + days)),
            broken_period,
            holidays: holidays.into_iter().map(|days| Day(START.0 + days)).collect(),
            holiday_shift,
            moratorium: moratorium.map(|(periods, interest)| Moratorium { periods, interest }),
            steps: step.map(|(from, pct)| Step { from, instalment_pct: Decimal::from(pct) }).into_iter().collect(),
            balloon,
            ..shape
        };
        match schedule(&made) {
            // The term follows from the instalment.
            Ok(rows) if is_open && made.method == Method::Reducing && made.balloon.is_none() => {
                Terms { instalments: None, instalment_fixed: Some(rows.instalment), ..made }
            }
            _ => made,
        }
    })
}

fn terms() -> impl Strategy<Value = LoanTerms> {
    let order = Just(PARTS.map(|(part, _)| part)).prop_shuffle();
    let across = prop_oneof![Just(Across::Rows), Just(Across::Parts)];
    let made =
        (calculation(), order, across, 0_i64..400, 0_i64..500).prop_map(|(made, order, across, penal, charge)| {
            let mut terms = LoanTerms::new(made);
            terms.appropriation = Appropriation { order, across };
            terms.penal_pct_per_month = Decimal::new(penal, 2);
            terms.foreclosure_charge_pct = Decimal::new(charge, 2);
            terms
        });
    made.prop_filter("terms of a loan", |terms| terms.check().is_ok())
}

/// What happens after the disbursal: parts are per mille of the principal.
fn happening() -> impl Strategy<Value = LoanEvent> {
    let part = 1_i64..300;
    let kind = prop_oneof![Just(ChargeKind::Fee), Just(ChargeKind::Bounce), Just(ChargeKind::Penal)];
    let new_plan = (0_i64..4_800, 1_u32..24, 1_u16..40, proptest::option::weighted(0.3, 0_u32..3));
    prop_oneof![
        10 => (0_i64..300).prop_map(received),
        2 => (part.clone(), 0_i64..20).prop_map(|(amount, tds)| LoanEvent::Received { amount, tds, mode: Mode::Neft }),
        2 => (part.clone(), keep()).prop_map(|(amount, keep)| LoanEvent::Prepaid { amount, keep, mode: Mode::Upi }),
        2 => (kind, 1_i64..10, 0_i64..3).prop_map(|(kind, amount, gst)| {
            LoanEvent::Charged { kind, amount, gst: if kind == ChargeKind::Penal { 0 } else { gst } }
        }),
        1 => (0_i64..20, 0_i64..20, 0_i64..20, 0_i64..5)
            .prop_map(|(interest, penal, fee, gst)| LoanEvent::Waived(Waiver { interest, penal, fee, gst })),
        1 => (0_i64..4_800, keep()).prop_map(|(rate, keep)| {
            LoanEvent::RateReset { annual_rate_pct: Decimal::new(rate, 2), keep }
        }),
        1 => new_plan.prop_map(|(rate, rows, days, free)| LoanEvent::Rescheduled(NewPlan {
            annual_rate_pct: Decimal::new(rate, 2),
            instalments: rows + 3,
            first_due_on: Day(days),
            moratorium: free.map(|periods| Moratorium { periods, interest: MoratoriumInterest::Deferred }),
        })),
        1 => (1_u64..30).prop_map(|of| LoanEvent::ReceiptReversed { of }),
        1 => part.clone().prop_map(|amount| LoanEvent::Refunded { amount, mode: Mode::Neft }),
        1 => part.clone().prop_map(|amount| {
            LoanEvent::Disbursed { amount, deducted: Deducted::default(), mode: Mode::Neft }
        }),
        1 => (1_i64..1_500, 0_i64..10, 0_i64..3).prop_map(|(amount, charge, gst)| {
            LoanEvent::Foreclosed { amount, charge, gst, mode: Mode::Neft }
        }),
        1 => (900_i64..1_500).prop_map(|amount| LoanEvent::Cancelled { amount, mode: Mode::Neft }),
        1 => Just(LoanEvent::WrittenOff),
        1 => (1_i64..900, 0_i64..900).prop_map(|(amount, given_up)| {
            LoanEvent::Settled { amount, given_up, mode: Mode::Neft }
        }),
        1 => (1_u16..90).prop_map(|days| LoanEvent::Paused { until: Day(days) }),
        1 => any::<bool>().prop_map(|on| LoanEvent::Watched { on }),
        1 => part.prop_map(|amount| LoanEvent::Recovered { amount, mode: Mode::Cash }),
        1 => Just(LoanEvent::Closed),
        1 => Just(LoanEvent::BorrowerFell { since: START }),
        1 => Just(LoanEvent::BorrowerRose),
    ]
}

/// Amounts in paise of a principal, dates after a day.
fn sized(event: LoanEvent, principal: i64, on: Day) -> LoanEvent {
    let of = |part: i64| part * principal / 1_000 + part;
    match event {
        LoanEvent::Received { amount, tds, mode } => LoanEvent::Received { amount: of(amount), tds: of(tds), mode },
        LoanEvent::Prepaid { amount, keep, mode } => LoanEvent::Prepaid { amount: of(amount), keep, mode },
        LoanEvent::Charged { kind, amount, gst } => LoanEvent::Charged { kind, amount: of(amount), gst: of(gst) },
        LoanEvent::Waived(Waiver { interest, penal, fee, gst }) => {
            LoanEvent::Waived(Waiver { interest: of(interest), penal: of(penal), fee: of(fee), gst: of(gst) })
        }
        LoanEvent::Rescheduled(new) => {
            LoanEvent::Rescheduled(NewPlan { first_due_on: Day(on.0 + new.first_due_on.0), ..new })
        }
        LoanEvent::Refunded { amount, mode } => LoanEvent::Refunded { amount: of(amount), mode },
        LoanEvent::Disbursed { amount, deducted, mode } => LoanEvent::Disbursed { amount: of(amount), deducted, mode },
        LoanEvent::Foreclosed { amount, charge, gst, mode } => {
            LoanEvent::Foreclosed { amount: of(amount), charge: of(charge), gst: of(gst), mode }
        }
        LoanEvent::Cancelled { amount, mode } => LoanEvent::Cancelled { amount: of(amount), mode },
        LoanEvent::Recovered { amount, mode } => LoanEvent::Recovered { amount: of(amount), mode },
        LoanEvent::Settled { amount, given_up, mode } => {
            LoanEvent::Settled { amount: of(amount), given_up: of(given_up), mode }
        }
        LoanEvent::Paused { until } => LoanEvent::Paused { until: Day(on.0 + until.0) },
        other => other,
    }
}

fn life() -> impl Strategy<Value = Book> {
    let happenings = proptest::collection::vec((0..DAYS, happening()), 0..25);
    (terms(), happenings).prop_map(|(terms, happenings)| {
        let principal = paise(terms.calculation.principal);
        let mut book = Book::paid_out(terms.calculation.clone());
        book.terms = terms;
        for (days, event) in happenings {
            let on = Day(START.0 + days);
            let event = match sized(event, principal, on) {
                // One that was recorded before, after the five of the beginning.
                LoanEvent::ReceiptReversed { of } => {
                    LoanEvent::ReceiptReversed { of: 6 + of % (book.events.len() as u64 - 4) }
                }
                event => event,
            };
            book.push(on, event);
        }
        book
    })
}

fn end() -> Day {
    Day(START.0 + DAYS + 40)
}

/// By value date and order, without what was undone: written differently from the fold.
fn counting(events: &[Dated]) -> Vec<Dated> {
    let mut list = events.to_vec();
    for dated in events {
        if let Some(order) = undoes(&dated.event) {
            list.retain(|other| other.order != order);
        }
    }
    list.sort_by_key(|dated| dated.order);
    list.sort_by_key(|dated| dated.value_date);
    list
}

fn packed(state: &LoanState) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(state, &mut bytes);
    bytes
}

/// Bytes and state say the same of a loan, decimals to their scale.
fn assert_packs(state: &LoanState) {
    let bytes = packed(state);
    let again = unpack(&bytes).expect("a state that was packed");
    assert_eq!(&again, state);
    assert_eq!(again.plan.base.serialize(), state.plan.base.serialize());
    assert_eq!(packed(&again), bytes);
}

/// What came in, by the events alone.
fn came_in(events: &[Dated]) -> i64 {
    let amounts = events.iter().map(|dated| match dated.event {
        LoanEvent::Received { amount, tds, .. } => amount + tds,
        LoanEvent::Prepaid { amount, .. }
        | LoanEvent::Foreclosed { amount, .. }
        | LoanEvent::Settled { amount, .. }
        | LoanEvent::Recovered { amount, .. }
        | LoanEvent::Cancelled { amount, .. } => amount,
        _ => 0,
    });
    amounts.sum()
}

/// The same cases every time, of three seeds for each property. Others are found by other numbers, and by more cases:
/// 20,000 of seed 4 showed what `tests.rs` holds about interest that had joined the principal, and about a part that is
/// dearer than the whole.
fn config(seed: u64) -> ProptestConfig {
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases: CASES, max_global_rejects: 10 * CASES, rng_seed, ..ProptestConfig::default() }
}

macro_rules! for_seeds {
    ($($name:ident = $seed:literal),+) => {
        $(mod $name {
            use super::*;
            const SEED: u64 = $seed;
            properties!();
        })+
    };
}

macro_rules! properties {
    () => {
        proptest! {
            #![proptest_config(config(SEED))]

            /// What came and went through a span is the difference of its ends, however the life is cut.
            #[test]
            fn movements_lead_from_one_end_of_a_span_to_the_other(book in life(), from in 1..DAYS, days in 0_u16..400) {
                let (from, to) = (Day(START.0 + from), Day(START.0 + from + days));
                let found = movement(&book.terms, &book.events, from, to);
                let ends = [Day(from.0 - 1), to].map(|on| standing(&fold(&book.terms, &book.events, on)));
                let (npa, all) = (found.npa, found.portfolio);
                prop_assert_eq!(ends, [(npa.opening, all.opening), (npa.closing, all.closing)]);
                let mut led = npa.opening;
                led.add(npa.new);
                let led = led.less(npa.upgraded).less(npa.recovered).less(npa.written_off);
                prop_assert_eq!(led, npa.closing);
                let mut led = all.opening;
                led.add(all.disbursed);
                led.add(all.capitalised);
                prop_assert_eq!(led.less(all.received).less(all.written_off), all.closing);
                let parts = [npa.new, npa.upgraded, npa.recovered, npa.written_off, all.disbursed, all.received];
                for part in parts.into_iter().chain([all.written_off, all.capitalised]) {
                    prop_assert!(part.loans >= 0 && part.amount >= 0, "{:?}", found);
                }
                // Cut in two, the parts add up to the whole where no class changes twice.
                let middle = Day(from.0 + days / 2);
                if middle < to {
                    let [one, other] = [(from, middle), (Day(middle.0 + 1), to)]
                        .map(|(from, to)| movement(&book.terms, &book.events, from, to));
                    let mut received = one.portfolio.received;
                    received.add(other.portfolio.received);
                    prop_assert_eq!(received, all.received);
                    prop_assert_eq!(one.npa.closing, other.npa.opening);
                }
            }

            #[test]
            fn positions_balance_and_what_came_in_paid_something(book in life()) {
                let mut all = Vec::new();
                let end = replay(&book.terms, &book.events, end(), |dated, split, state| {
                    state.assert_whole();
                    assert_packs(state);
                    all.push((*dated, split));
                });
                end.assert_whole();
                let totals = end.totals;
                let paid = totals.penal + totals.fee + totals.interest + totals.principal;
                let counted = counting(&book.events);
                prop_assert_eq!(came_in(&counted), paid + totals.refunded + end.advance + totals.recovered);
                for (dated, split) in all {
                    let expected = match dated.event {
                        LoanEvent::Recovered { .. } if split.total() == 0 => 0,
                        _ => came_in(&[dated]),
                    };
                    prop_assert_eq!(split.total(), expected, "{:?} paid {:?}", dated, split);
                }
                // Principal is what was paid out, grew by moratorium interest, was paid or given up.
                prop_assert!(end.outstanding >= 0);
                let is_given_up = end.positions.of(Role::WriteOff) > 0;
                prop_assert!(is_given_up || end.outstanding >= totals.disbursed - totals.principal);
            }

            #[test]
            fn day_by_day_is_the_same_as_in_one_step(book in life()) {
                let mut state = LoanState::new();
                let mut events = counting(&book.events).into_iter().peekable();
                advance(&mut state, &book.terms, Day(START.0 - 1));
                for day in START.0..=end().0 {
                    while let Some(dated) = events.next_if(|dated| dated.value_date == Day(day)) {
                        apply(&mut state, &book.terms, &dated);
                    }
                    advance(&mut state, &book.terms, Day(day));
                    prop_assert_eq!(state.advanced_through, Day(day));
                    state.assert_whole();
                    assert_packs(&state);
                }
                prop_assert_eq!(state, fold(&book.terms, &book.events, end()));
            }

            /// The engine runs days, and applies everything but disbursals, by the terms of the product.
            #[test]
            fn only_a_disbursal_needs_the_terms_of_the_loan(book in life(), rate in 0_i64..4_800, rows in 1_u32..40) {
                let of_product = LoanTerms {
                    calculation: Terms {
                        principal: Decimal::ZERO,
                        annual_rate_pct: Decimal::new(rate, 2),
                        instalments: Some(rows),
                        disbursed_on: None,
                        first_due_on: None,
                        instalment_fixed: None,
                        principal_fixed: None,
                        moratorium: None,
                        ..book.terms.calculation.clone()
                    },
                    ..book.terms.clone()
                };
                let mut state = LoanState::new();
                for dated in counting(&book.events) {
                    advance(&mut state, &of_product, Day(dated.value_date.0 - 1));
                    let is_disbursal = matches!(dated.event, LoanEvent::Disbursed { .. });
                    apply(&mut state, if is_disbursal { &book.terms } else { &of_product }, &dated);
                }
                advance(&mut state, &of_product, end());
                prop_assert_eq!(state, fold(&book.terms, &book.events, end()));
            }

            #[test]
            fn folding_needs_no_order_and_is_the_same_twice(book in life(), seed in any::<u64>()) {
                let once = fold(&book.terms, &book.events, end());
                prop_assert_eq!(&once, &fold(&book.terms, &book.events, end()));
                let mut mixed = book.events.clone();
                mixed.sort_by_key(|dated| dated.order.wrapping_mul(seed | 1));
                prop_assert_eq!(&once, &fold(&book.terms, &mixed, end()));
            }

            /// As an engine would have it: events in the order of their recording, folded anew only where they are late.
            #[test]
            fn a_payment_that_is_recorded_late_is_as_one_in_time(book in life(), on in 0..DAYS, part in 1_i64..300) {
                let on = Day(START.0 + on);
                let mut book = book;
                book.events.retain(|dated| dated.value_date != on || dated.order <= 5);
                for dated in &mut book.events {
                    dated.order *= 10;
                    if let LoanEvent::ReceiptReversed { of } = &mut dated.event {
                        *of *= 10;
                    }
                }
                let amount = part * paise(book.terms.calculation.principal) / 1_000 + 1;
                let in_time = Dated { value_date: on, order: 55, event: received(amount) };
                let mut recorded: Vec<Dated> = book.events.clone();
                recorded.push(Dated { order: 1_000, ..in_time });
                let mut state = LoanState::new();
                for (at, dated) in recorded.iter().enumerate() {
                    if needs_fold(&state, dated) {
                        state = fold(&book.terms, &recorded[..=at], state.advanced_through.max(dated.value_date));
                    } else {
                        apply(&mut state, &book.terms, dated);
                        advance(&mut state, &book.terms, dated.value_date);
                    }
                }
                advance(&mut state, &book.terms, end());
                book.events.push(in_time);
                prop_assert_eq!(state, fold(&book.terms, &book.events, end()));
            }

            #[test]
            fn damaged_states_are_never_a_panic(book in life(), places in proptest::collection::vec(any::<(u16, u8)>(), 1..4)) {
                let mut bytes = packed(&fold(&book.terms, &book.events, end()));
                for (place, byte) in places {
                    let place = usize::from(place) % bytes.len();
                    bytes[place] ^= byte;
                    // What is read nevertheless is a state, and is kept as one.
                    if let Some(other) = unpack(&bytes) {
                        assert_packs(&other);
                    }
                }
            }

            #[test]
            fn what_was_reversed_was_never_there(book in life(), which in 6_u64..30) {
                let mut with = book;
                with.events.retain(|dated| undoes(&dated.event).is_none());
                let mut without = with.clone();
                let order = 1_000;
                with.events.push(Dated { value_date: end(), order, event: LoanEvent::ReceiptReversed { of: which } });
                without.events.retain(|dated| dated.order != which);
                prop_assert_eq!(fold(&with.terms, &with.events, end()), fold(&without.terms, &without.events, end()));
            }

            #[test]
            fn movements_are_the_difference(book in life()) {
                let mut before = LoanState::new();
                let mut pairs = Vec::new();
                let last = replay(&book.terms, &book.events, end(), |_, _, state| {
                    pairs.push((before.positions, state.positions));
                    before = state.clone();
                });
                pairs.push((before.positions, last.positions));
                pairs.push((last.positions, LoanState::new().positions));
                for (before, after) in pairs {
                    let legs = movements(&before, &after);
                    prop_assert!(legs.len() < ROLE_COUNT);
                    prop_assert!(legs.iter().all(|leg| leg.amount > 0 && leg.debit != leg.credit));
                    for role in ROLES {
                        let debits: i64 = legs.iter().filter(|leg| leg.debit == role).map(|leg| leg.amount).sum();
                        let credits: i64 = legs.iter().filter(|leg| leg.credit == role).map(|leg| leg.amount).sum();
                        prop_assert_eq!(debits - credits, after.of(role) - before.of(role));
                        prop_assert!(debits == 0 || credits == 0, "no role is passed through");
                    }
                }
            }

            #[test]
            fn paying_the_quote_ends_a_loan(book in life(), days in 1..DAYS) {
                let on = Day(START.0 + days);
                let state = fold(&book.terms, &book.events, Day(on.0 - 1));
                prop_assume!(state.status == LoanStatus::Active);
                let quote = foreclosure(&state, &book.terms, on);
                let mut paid = state.clone();
                let (amount, charge, gst) = (quote.total, quote.charge, quote.gst);
                let event = LoanEvent::Foreclosed { amount, charge, gst, mode: Mode::Neft };
                apply(&mut paid, &book.terms, &Dated { value_date: on, order: 900, event });
                prop_assert_eq!(paid.status, LoanStatus::Closed);
                prop_assert!(paid.owes_nothing());
                prop_assert_eq!(paid.advance, (quote.advance - (quote.principal + quote.interest + quote.charges())).max(0));
                advance(&mut paid, &book.terms, end());
                prop_assert!(paid.owes_nothing());
                prop_assert_eq!(paid.dpd, 0);
                prop_assert!(paid.class == Class::Standard || paid.borrower_npa_since.is_some());
                for role in [Role::Principal, Role::InterestReceivable, Role::FeeReceivable, Role::InterestSuspense] {
                    prop_assert_eq!(paid.positions.of(role), 0);
                }
            }

            /// Whatever is decided can be applied, and does what it says.
            #[test]
            fn what_is_decided_can_be_applied(
                terms in terms(),
                asked in proptest::collection::vec((0_u16..40, happening()), 0..25),
            ) {
                let principal = paise(terms.calculation.principal);
                let book = Book::paid_out(terms.calculation.clone());
                let mut state = fold(&terms, &book.events, START);
                let mut on = Day(START.0 + 1);
                for (order, (days, event)) in asked.into_iter().enumerate() {
                    on = Day(on.0 + days);
                    let Some(command) = asking(sized(event, principal, on)) else { continue };
                    let day = Circumstances {
                        today: on,
                        value_date: on,
                        cash_received: 0,
                        cash_disbursal_limit: i64::MAX,
                        cash_receipts_limit: i64::MAX,
                        cash_pan_limit: i64::MAX,
                        has_pan: false,
                    };
                    let command = quoted(command, &state, &terms, on);
                    let Ok(event) = decide(&state, &terms, &command, &day) else { continue };
                    let before = state.clone();
                    let split = apply(&mut state, &terms, &Dated { value_date: on, order: order as u64 + 10, event });
                    state.assert_whole();
                    match command {
                        LoanCommand::Foreclose { .. } => prop_assert_eq!(state.status, LoanStatus::Closed),
                        LoanCommand::Close => prop_assert!(state.status == LoanStatus::Closed && state.advance == 0),
                        LoanCommand::Prepay { amount, .. } => {
                            prop_assert!(split.prepaid > 0 && split.advance == 0);
                            prop_assert_eq!(split.total(), amount);
                        }
                        LoanCommand::Refund { amount, .. } => {
                            prop_assert_eq!(state.totals.refunded, before.totals.refunded + amount);
                        }
                        _ => {}
                    }
                }
                advance(&mut state, &terms, end().max(on));
                state.assert_whole();
            }

            /// Every row on its due date, and what is prepaid and reset between, to the paisa.
            #[test]
            fn a_loan_that_is_paid_to_the_day_is_its_schedule(terms in terms(), changes in changes()) {
                let changed = with_changes(&terms.calculation, &changes);
                let Ok(made) = schedule(&changed) else { return Err(TestCaseError::reject("no rows")) };
                // A change in what would have been the last row of an open term leaves a balance there that no row takes; a
                // loan goes on until it is paid.
                prop_assume!(made.rows.last().is_some_and(|row| row.closing.is_zero()));
                // Where shares of less than half a paisa are rounded up, the last row of a flat schedule gives some back.
                prop_assume!(made.rows.iter().all(|row| row.interest >= Decimal::ZERO));
                // A change on a due date and one in the period before: a schedule takes both together, a loan one by one.
                let keeps = |keep: Keep| changes.iter().any(|change| change.3 == keep);
                let is_due = |days: u16| made.rows.iter().any(|row| row.until == Some(Day(START.0 + days)));
                let is_mixed = keeps(Keep::Term) && keeps(Keep::Instalment);
                // Where the term is open, one on a due date: see "Known oddities" in `mod.rs`.
                let is_open = changed.instalments.is_none();
                prop_assume!(!(is_mixed || is_open) || !changes.iter().any(|change| is_due(change.0)));
                // A change on a day on which holidays make two rows fall due: a schedule takes it between them.
                let due_on = |days: u16| made.rows.iter().filter(move |row| row.due_on == Some(Day(START.0 + days)));
                prop_assume!(!changes.iter().any(|change| due_on(change.0).count() > 1));
                let mut book = Book::paid_out(changed.clone());
                for row in &made.rows {
                    let amount = if row.principal < Decimal::ZERO { Decimal::ZERO } else { row.instalment };
                    book.push(row.due_on.expect("a date"), received(paise(amount)));
                }
                for paid in &changed.prepayments {
                    let event = LoanEvent::Prepaid { amount: paise(paid.amount), keep: paid.keep, mode: Mode::Upi };
                    book.push(paid.on, event);
                }
                for reset in &changed.rate_resets {
                    let event = LoanEvent::RateReset { annual_rate_pct: reset.annual_rate_pct, keep: reset.keep };
                    book.push(reset.on, event);
                }
                let mut closings = Vec::new();
                let last = made.rows.iter().filter_map(|row| row.due_on).max().expect("rows");
                let state = replay(&book.terms, &book.events, last, |dated, _, state| {
                    if matches!(dated.event, LoanEvent::Received { .. }) {
                        closings.push((dated.value_date, state.outstanding));
                    }
                });
                // Rows that holidays put on one day are paid by several receipts: the last one of a day counts.
                let is_alone = |on: Day| made.rows.iter().filter(|row| row.due_on == Some(on)).count() == 1;
                for (row, (on, outstanding)) in made.rows.iter().zip(closings) {
                    let opened = made.rows.iter().filter_map(|row| row.due_on).filter(|due_on| *due_on < on).max();
                    let inside = |paid: &&Prepayment| paid.on < on && opened.is_none_or(|opened| paid.on > opened);
                    let before: Decimal = changed.prepayments.iter().filter(inside).map(|paid| paid.amount).sum();
                    // What the row has of that day: the schedule takes no more than the balance.
                    let on_the_day = changed.prepayments.iter().filter(|paid| paid.on == on).map(|paid| paid.amount);
                    let of_the_day = (row.prepaid - before).max(Decimal::ZERO).min(on_the_day.sum());
                    let closing = paise(row.closing + of_the_day);
                    prop_assert!(!is_alone(on) || outstanding == closing, "{:?}: {} {}", row, on, outstanding);
                }
                prop_assert!(state.owes_nothing(), "{:?}", state);
                let interest: Decimal = made.rows.iter().map(|row| row.interest).sum();
                prop_assert_eq!(state.positions.of(Role::InterestIncome), -paise(interest));
            }
        }
    };
}

for_seeds!(seed_1 = 1, seed_4 = 4, seed_2026 = 2_026);

/// Days, per mille of the principal or a rate, and what is kept.
fn changes() -> impl Strategy<Value = Vec<(u16, i64, bool, Keep)>> {
    let change = (1..DAYS, 1_i64..400, any::<bool>(), keep());
    proptest::collection::vec(change, 0..5)
}

fn with_changes(calculation: &Terms, changes: &[(u16, i64, bool, Keep)]) -> Terms {
    let mut made = calculation.clone();
    if made.method == Method::Flat {
        return made;
    }
    let mut changes = changes.to_vec();
    changes.sort_unstable_by_key(|change| change.0);
    changes.dedup_by_key(|change| change.0);
    if !changes.is_empty() && made.day_count == DayCount::Thirty360 {
        // Between a date that was meant and the one that a holiday made of it, only a schedule can tell what is paid.
        made.holidays.clear();
    }
    for (days, size, is_reset, keep) in changes {
        let on = Day(START.0 + days);
        if is_reset {
            made.rate_resets.push(RateReset { on, annual_rate_pct: Decimal::new(size * 10, 2), keep });
        } else {
            let amount = (made.principal * Decimal::new(size, 3)).round_dp(2);
            made.prepayments.push(Prepayment { on, amount, keep });
        }
    }
    made
}

fn asking(event: LoanEvent) -> Option<LoanCommand> {
    Some(match event {
        LoanEvent::Received { amount, tds, mode } => LoanCommand::Receive { amount, tds, mode },
        LoanEvent::Prepaid { amount, keep, mode } => LoanCommand::Prepay { amount, keep, mode },
        LoanEvent::Charged { kind, amount, gst } => LoanCommand::Charge { kind, amount, gst },
        LoanEvent::Waived(waiver) => LoanCommand::Waive(waiver),
        LoanEvent::RateReset { annual_rate_pct, keep } => LoanCommand::ResetRate { annual_rate_pct, keep },
        LoanEvent::Rescheduled(new) => LoanCommand::Reschedule(new),
        LoanEvent::Refunded { amount, mode } => LoanCommand::Refund { amount, mode },
        LoanEvent::Disbursed { amount, deducted, mode } => LoanCommand::Disburse { amount, deducted, mode },
        LoanEvent::Foreclosed { amount, mode, .. } => LoanCommand::Foreclose { amount, mode },
        LoanEvent::WrittenOff => LoanCommand::WriteOff,
        LoanEvent::Recovered { amount, mode } => LoanCommand::Recover { amount, mode },
        LoanEvent::Closed => LoanCommand::Close,
        LoanEvent::Settled { amount, mode, .. } => LoanCommand::Settle { amount, mode },
        LoanEvent::Paused { until } => LoanCommand::Pause { until },
        LoanEvent::Watched { on } => LoanCommand::Watch { on },
        _ => return None,
    })
}

/// Foreclosure at what is quoted.
fn quoted(command: LoanCommand, state: &LoanState, terms: &LoanTerms, on: Day) -> LoanCommand {
    match command {
        LoanCommand::Foreclose { mode, .. } => {
            LoanCommand::Foreclose { amount: foreclosure(state, terms, on).total, mode }
        }
        other => other,
    }
}
