//! Histories made by the domain itself, read back: rows are those of the calculation, lines add up, derivations
//! come out.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::Value;

use super::explain::explanation;
use super::key_facts::key_facts;
use super::schedule::schedule;
use super::statement::{lines, owed, statement, statement_csv, statement_json};
use super::trail::{pieces, walk};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::calculation::calculate;
use crate::domain::lending::day_count::DayCount;
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::apply;
use crate::domain::lending::loan::contract::{LoanTerms, paise};
use crate::domain::lending::loan::events::{ChargeKind, Dated, Deducted, LoanEvent, Mode, NewPlan, Waiver};
use crate::domain::lending::loan::facts::{LoanApplication, LoanPosted};
use crate::domain::lending::loan::fold::{open, undoes};
use crate::domain::lending::loan::penal;
use crate::domain::lending::loan::state::{LoanState, NEVER};
use crate::domain::lending::product::{ACCOUNT_COUNT, ProductFacts, ProductSaved};
use crate::domain::lending::schedule::Row;
use crate::domain::lending::terms::{
    Charge, Keep, Method, Moratorium, MoratoriumInterest, Payee, Prepayment, RateReset, Rounding, Terms,
};
use crate::domain::time::Day;
use crate::engine::view::{LoanEventView, LoanHistory, LoanStep, LoanView};

const LENT: i64 = 12_000_000;

fn day(text: &str) -> Day {
    Day::parse(text).expect("a date")
}

fn base() -> Terms {
    Terms {
        principal: Decimal::new(LENT, 2),
        annual_rate_pct: Decimal::from(18),
        instalments: Some(12),
        disbursed_on: Some(day("2026-01-15")),
        ..Terms::default()
    }
}

fn disbursed(amount: i64) -> LoanEvent {
    LoanEvent::Disbursed { amount, deducted: Deducted::default(), mode: Mode::Neft }
}

fn received(amount: i64) -> LoanEvent {
    LoanEvent::Received { amount, tds: 0, mode: Mode::Upi }
}

/// A history as the books would have it.
fn history(terms: &LoanTerms, events: &[(Day, LoanEvent)], today: Day) -> LoanHistory {
    let mut dated: Vec<Dated> = events
        .iter()
        .zip(1..)
        .map(|((value_date, event), order)| Dated { value_date: *value_date, order, event: *event })
        .collect();
    let undone: Vec<(u64, u64)> = dated.iter().filter_map(|dated| Some((undoes(&dated.event)?, dated.order))).collect();
    dated.sort_by_key(|dated| (dated.value_date, dated.order));
    let mut state = LoanState::new();
    let mut steps = Vec::new();
    for dated in &dated {
        let undone_by = undone.iter().find(|(of, _)| *of == dated.order).map(|(_, by)| Seq(*by));
        let mut before = state.clone();
        open(&mut before, terms, dated.value_date);
        let (split, after) = match undone_by {
            Some(_) => (Split::default(), before.clone()),
            None => {
                let split = apply(&mut state, terms, dated);
                (split, state.clone())
            }
        };
        let posted = LoanPosted {
            loan: 1,
            previous: Seq::NONE,
            events_before: 0,
            value_date: dated.value_date,
            event: dated.event,
            by: 0,
            settlement: None,
            texts: None,
            application: None,
            split,
            state: Box::default(),
        };
        let event = LoanEventView {
            seq: Some(Seq(dated.order)),
            recorded_at: Moment(0),
            booked_on: dated.value_date,
            posted,
            split,
            undone_by,
        };
        steps.push(LoanStep { event, before: Box::new(before), after: Box::new(after) });
    }
    open(&mut state, terms, today);
    LoanHistory { view: view(terms, state, today), events: steps }
}

fn view(terms: &LoanTerms, state: LoanState, today: Day) -> LoanView {
    let facts = ProductFacts {
        name: "Small loans".into(),
        external_id: None,
        terms: terms.clone(),
        principal_min: 100,
        principal_max: LENT,
        kfs_valid_days: 5,
        is_secured: false,
        disbursal_by_another: false,
        year_end_account: None,
        metadata: vec![("kfs_grievance_officer".into(), "Ms Rao".into())],
    };
    let product = ProductSaved {
        number: 1,
        version: 1,
        previous: Seq::NONE,
        created_at: Moment(0),
        accounts: [AccountNo(0); ACCOUNT_COUNT],
        facts,
    };
    let application = LoanApplication {
        customer: 1,
        product: 1,
        product_version: 1,
        principal: paise(terms.calculation.principal),
        instalments: None,
        annual_rate_pct: None,
        first_due_on: None,
        charges: None,
        external_id: None,
        metadata: Vec::new(),
    };
    LoanView {
        events: 1,
        loan: Some(1),
        last_seq: Some(Seq(9)),
        applied_at: Moment(0),
        application: Arc::new(application),
        product: Arc::new(product),
        terms: Arc::new(terms.clone()),
        state: Box::new(state),
        today,
    }
}

/// What a loan of the terms would have behind it whose every instalment was paid when it fell due.
fn punctual(terms: &LoanTerms, mut events: Vec<(Day, LoanEvent)>, today: Day) -> LoanHistory {
    loop {
        let so_far = history(terms, &events, today);
        let due = walk(&so_far).iter().find_map(|turn| {
            let (_, after) = turn.states()?;
            let due = after.overdue() + after.fee_due();
            let is_paid =
                events.iter().any(|(day, event)| *day == turn.day() && matches!(event, LoanEvent::Received { .. }));
            (due > 0 && !is_paid).then(|| (turn.day(), due))
        });
        let Some((day, amount)) = due else { return so_far };
        events.push((day, received(amount)));
        assert!(events.len() < 100, "every instalment is paid once");
    }
}

fn shown(history: &LoanHistory, version: Option<u32>) -> Value {
    let bytes = schedule(history, version).expect("there is such a version").expect("it can be written");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn same_rows(json: &Value, expected: &[Row], place: &str) {
    let rows = json["rows"].as_array().expect("rows");
    let text = |row: &Value| {
        let cell = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        format!(
            "{} {} {} {} {} {} {} {}",
            row["n"],
            cell("due_on"),
            cell("opening"),
            cell("principal"),
            cell("interest"),
            cell("instalment"),
            cell("prepaid"),
            cell("closing")
        )
    };
    let money = |amount: Decimal| {
        super::super::render::rupees_text(paise(amount.abs()) * if amount.is_sign_negative() { -1 } else { 1 })
    };
    let wanted: Vec<String> = expected
        .iter()
        .map(|row| {
            let prepaid = if row.prepaid.is_zero() { String::new() } else { money(row.prepaid) };
            format!(
                "{} {} {} {} {} {} {} {}",
                row.n,
                row.due_on.expect("dated"),
                money(row.opening),
                money(row.principal),
                money(row.interest),
                money(row.instalment),
                prepaid,
                money(row.closing)
            )
        })
        .collect();
    let found: Vec<String> = rows.iter().map(text).collect();
    assert_eq!(found, wanted, "{place}");
}

/// Terms of many kinds.
fn kinds() -> Vec<(&'static str, Terms)> {
    let moratorium = |interest| Some(Moratorium { periods: 3, interest });
    vec![
        ("level", base()),
        (
            "whole rupees",
            Terms { rounding: Rounding { instalment: Some(Decimal::ONE), ..Rounding::default() }, ..base() },
        ),
        ("equal principal", Terms { method: Method::EqualPrincipal, ..base() }),
        ("flat", Terms { method: Method::Flat, ..base() }),
        ("actual days", Terms { day_count: DayCount::Act365, ..base() }),
        ("broken period", Terms { first_due_on: Some(day("2026-02-05")), day_count: DayCount::Act365, ..base() }),
        ("serviced", Terms { moratorium: moratorium(MoratoriumInterest::Serviced), ..base() }),
        ("deferred", Terms { moratorium: moratorium(MoratoriumInterest::Deferred), ..base() }),
        ("capitalised", Terms { moratorium: moratorium(MoratoriumInterest::Capitalised), ..base() }),
        ("balloon", Terms { balloon: Some(Decimal::from(40_000)), ..base() }),
        ("by instalment", Terms { instalments: None, instalment_fixed: Some(Decimal::from(9_000)), ..base() }),
    ]
}

#[test]
fn the_rows_of_a_loan_are_those_of_the_calculation_whenever_one_asks() {
    for (kind, calculation) in kinds() {
        let expected = calculate(&calculation).expect("terms make a loan").schedule.rows;
        let terms = LoanTerms::new(calculation);
        let start = [(day("2026-01-15"), disbursed(LENT))];
        let at_once = history(&terms, &start, day("2026-01-15"));
        for version in [None, Some(1)] {
            same_rows(&shown(&at_once, version), &expected, kind);
        }
        for today in ["2026-02-15", "2026-06-01", "2027-03-01"] {
            let paid = punctual(&terms, start.to_vec(), day(today));
            for version in [None, Some(1)] {
                same_rows(&shown(&paid, version), &expected, &format!("{kind} on {today}"));
            }
            let late = history(&terms, &start, day(today));
            same_rows(&shown(&late, Some(1)), &expected, &format!("{kind} unpaid on {today}"));
            let json = shown(&late, None);
            let sum: i64 = money_of(&json["rows"], "principal");
            let capitalised = late.view.state.outstanding - LENT;
            assert!(capitalised >= 0 && sum == LENT, "{kind} {today}: {sum}");
        }
        let applied =
            history(&terms, &[(day("2026-01-15"), LoanEvent::Applied { principal: LENT })], day("2026-01-15"));
        let json = shown(&applied, None);
        same_rows(&json, &expected, kind);
        assert_eq!((&json["version"], &json["basis"]), (&0.into(), &"assumed".into()));
    }
}

fn money_of(rows: &Value, name: &str) -> i64 {
    let rows = rows.as_array().expect("rows").iter().filter_map(|row| row[name].as_str());
    rows.map(paise_of).sum()
}

fn paise_of(text: &str) -> i64 {
    text.replace('.', "").parse().expect("two decimals")
}

#[test]
fn a_prepayment_or_another_rate_makes_the_next_version() {
    for on in ["2026-04-15", "2026-04-25"] {
        for keep in [Keep::Term, Keep::Instalment] {
            let amount = Decimal::from(30_000);
            let prepayments = vec![Prepayment { on: day(on), amount, keep }];
            let expected = calculate(&Terms { prepayments, ..base() }).expect("a loan").schedule.rows;
            let terms = LoanTerms::new(base());
            let mut events = vec![(day("2026-01-15"), disbursed(LENT))];
            for due in ["2026-02-15", "2026-03-15", "2026-04-15"] {
                let before = punctual(&terms, events.clone(), day(due));
                let paid = before.events.last().expect("paid").event.posted.clone();
                events.push((paid.value_date, paid.event));
            }
            events.push((day(on), LoanEvent::Prepaid { amount: 3_000_000, keep, mode: Mode::Neft }));
            let history = punctual(&terms, events, day("2026-05-20"));
            let plain = calculate(&base()).expect("a loan").schedule.rows;
            same_rows(&shown(&history, Some(1)), &plain, on);
            same_rows(&shown(&history, Some(2)), &expected, &format!("{on} {keep:?}"));
            same_rows(&shown(&history, None), &expected, &format!("{on} {keep:?} today"));
            assert_eq!(shown(&history, None)["versions"][1]["because"], "prepayment");
            assert!(schedule(&history, Some(3)).is_none() && schedule(&history, Some(0)).is_none());
        }
        let rate = Decimal::from(21);
        let rate_resets = vec![RateReset { on: day(on), annual_rate_pct: rate, keep: Keep::Term }];
        let expected = calculate(&Terms { rate_resets, ..base() }).expect("a loan").schedule.rows;
        let terms = LoanTerms::new(base());
        let reset = LoanEvent::RateReset { annual_rate_pct: rate, keep: Keep::Term };
        let history = punctual(&terms, vec![(day("2026-01-15"), disbursed(LENT)), (day(on), reset)], day("2026-09-01"));
        same_rows(&shown(&history, None), &expected, on);
        same_rows(&shown(&history, Some(2)), &expected, on);
    }
}

/// A loan to which everything happens.
fn eventful(today: &str) -> LoanHistory {
    let mut terms = LoanTerms::new(base());
    terms.penal_pct_per_month = Decimal::TWO;
    terms.foreclosure_charge_pct = Decimal::TWO;
    let events = [
        ("2026-01-10", LoanEvent::Applied { principal: LENT }),
        ("2026-01-11", LoanEvent::Approved),
        ("2026-01-11", LoanEvent::KfsIssued { version: 1, valid_through: day("2026-01-16") }),
        ("2026-01-12", LoanEvent::KfsAccepted { version: 1 }),
        ("2026-01-15", disbursed(8_000_000)),
        ("2026-02-10", disbursed(4_000_000)),
        ("2026-02-15", received(500_000)),
        ("2026-03-01", LoanEvent::Charged { kind: ChargeKind::Bounce, amount: 50_000, gst: 9_000 }),
        ("2026-03-20", LoanEvent::Received { amount: 2_000_000, tds: 1_000, mode: Mode::Cash }),
        ("2026-03-25", LoanEvent::ReceiptReversed { of: 9 }),
        ("2026-04-02", LoanEvent::Waived(Waiver { interest: 10_000, penal: 5_000, fee: 0, gst: 0 })),
        ("2026-04-20", received(9_000_000)),
        ("2026-04-22", LoanEvent::Refunded { amount: 1_000_000, mode: Mode::Imps }),
        ("2026-05-20", LoanEvent::RateReset { annual_rate_pct: Decimal::from(20), keep: Keep::Instalment }),
        (
            "2026-07-01",
            LoanEvent::Rescheduled(NewPlan {
                annual_rate_pct: Decimal::from(16),
                instalments: 10,
                first_due_on: day("2026-08-01"),
                moratorium: None,
            }),
        ),
    ];
    let events: Vec<(Day, LoanEvent)> = events.iter().map(|(text, event)| (day(text), *event)).collect();
    let events: Vec<_> = events.into_iter().filter(|(value_date, _)| *value_date <= day(today)).collect();
    history(&terms, &events, day(today))
}

#[test]
fn the_lines_of_a_statement_add_up_to_what_is_owed() {
    for today in ["2026-01-12", "2026-02-15", "2026-03-19", "2026-03-26", "2026-04-30", "2026-07-01", "2026-12-31"] {
        let history = eventful(today);
        let state = &history.view.state;
        let lines = lines(&history);
        assert!(lines.is_sorted_by_key(|line| line.date), "{today}");
        assert_eq!(lines.last().map_or(0, |line| line.balance), owed(state), "{today}");
        let all = statement(&history, None, None);
        assert_eq!((all.opening, all.closing), (0, owed(state)), "{today}");
        // Any two neighbouring periods meet, and each adds up.
        for cut in ["2026-02-14", "2026-02-15", "2026-03-22", "2026-04-02"] {
            let (first, second) =
                (statement(&history, None, Some(day(cut))), statement(&history, Some(Day(day(cut).0 + 1)), None));
            if day(cut) < day(today) {
                assert_eq!(first.closing, second.opening, "{today} {cut}");
                assert_eq!(first.lines.len() + second.lines.len(), lines.len(), "{today} {cut}");
            }
            let sum: i64 = second.lines.iter().map(|line| line.amount).sum();
            assert_eq!(second.opening + sum, second.closing, "{today} {cut}");
        }
        assert_eq!(statement_json(&all).expect("written"), statement_json(&all).expect("written"));
        let csv = String::from_utf8(statement_csv(&all)).expect("text");
        assert_eq!(csv.lines().count(), lines.len() + 3, "{today}");
        assert!(csv.lines().all(|line| line.split(',').count() >= 9), "{csv}");
    }
}

#[test]
fn a_statement_ends_at_nothing_where_the_loan_does() {
    let mut history = eventful("2026-07-10");
    let quoted =
        crate::domain::lending::loan::quotes::foreclosure(&history.view.state, &history.view.terms, history.view.today);
    let ends = [
        LoanEvent::Foreclosed { amount: quoted.total, charge: quoted.charge, gst: quoted.gst, mode: Mode::Rtgs },
        LoanEvent::WrittenOff,
    ];
    for event in ends {
        let mut events: Vec<(Day, LoanEvent)> =
            history.events.iter().map(|step| (step.event.posted.value_date, step.event.posted.event)).collect();
        events.push((day("2026-07-10"), event));
        if event == LoanEvent::WrittenOff {
            events.push((day("2026-08-10"), LoanEvent::Recovered { amount: 700, mode: Mode::Cash }));
        }
        let ended = self::history(&history.view.terms, &events, day("2026-08-15"));
        assert_eq!(lines(&ended).last().map(|line| line.balance), Some(0), "{event:?}");
        assert_eq!(ended.view.state.next_due, NEVER);
        let json = shown(&ended, None);
        let last = json["rows"].as_array().and_then(|rows| rows.last()).expect("a row");
        assert_eq!((&last["due_on"], &last["closing"]), (&"2026-07-10".into(), &"0.00".into()), "{event:?}");
    }
    history.events.clear();
}

#[test]
fn pieces_of_interest_add_up_to_their_rows() {
    for today in ["2026-02-12", "2026-03-26", "2026-05-25", "2026-09-30"] {
        let history = eventful(today);
        let turns = walk(&history);
        for row in pieces(&turns, &history.view.terms, history.view.today) {
            let sum: i64 = row.pieces.iter().map(|piece| piece.interest).sum();
            assert_eq!(sum, row.interest, "{today} {row:?}");
        }
    }
}

#[test]
fn parts_of_an_explanation_add_up_to_its_figure() {
    for today in ["2026-02-12", "2026-03-26", "2026-04-10", "2026-05-25", "2026-09-30"] {
        let history = eventful(today);
        let bytes = explanation(&history, None).expect("written");
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        let node = |figure: &str| {
            let figures = json["figures"].as_array().expect("figures");
            figures.iter().find(|node| node["figure"] == figure).expect("a figure").clone()
        };
        let value = |node: &Value| paise_of(node["value"].as_str().expect("an amount"));
        for figure in ["principal_outstanding", "advance"] {
            let node = node(figure);
            assert_eq!(money_of(&node["parts"], "change"), value(&node), "{today} {figure}");
        }
        for figure in ["principal_due", "interest_due", "fee_due"] {
            let node = node(figure);
            assert_eq!(money_of(&node["parts"], "unpaid"), value(&node), "{today} {figure}");
        }
        let accrued = node("interest_accrued");
        assert_eq!(money_of(&accrued["pieces"], "interest"), value(&accrued), "{today}");
        let penal = node("penal_due");
        assert_eq!(value(&penal), penal::due_on(&history.view.state, &history.view.terms, history.view.today));
        let dpd = node("dpd");
        let expected =
            dpd["oldest_due_on"].as_str().map_or(0, |oldest| history.view.state.advanced_through.0 - day(oldest).0 + 1);
        assert_eq!(dpd["value"], expected, "{today}");
        let one = explanation(&history, Some("dpd")).expect("written");
        let one: Value = serde_json::from_slice(&one).expect("JSON");
        assert_eq!(one["figures"], Value::Array(vec![dpd]));
    }
}

/// V01: the regulator's own example.
#[test]
fn the_key_facts_statement_of_the_regulator() {
    let charge = |name: &str, amount: i64, payee| Charge {
        name: name.into(),
        amount: amount.into(),
        payee,
        gst_pct: Decimal::ZERO,
    };
    let rounding = Rounding { instalment: None, interest: None, display: Decimal::ONE, ..Rounding::default() };
    let terms = LoanTerms::new(Terms {
        principal: Decimal::from(20_000),
        annual_rate_pct: Decimal::from(15),
        instalments: Some(24),
        rounding,
        charges: vec![charge("processing", 240, Payee::Lender), charge("insurance", 160, Payee::ThirdParty)],
        ..Terms::default()
    });
    let start = day("2026-03-01");
    let issued = LoanEvent::KfsIssued { version: 1, valid_through: day("2026-03-06") };
    let events = [(start, LoanEvent::Applied { principal: 2_000_000 }), (start, LoanEvent::Approved), (start, issued)];
    for (today, status) in [("2026-03-02", "issued"), ("2026-03-09", "expired")] {
        let history = history(&terms, &events, day(today));
        let bytes = key_facts(&history).expect("terms make a loan").expect("written");
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(
            (&json["status"], &json["version"], &json["issued_on"]),
            (&status.into(), &1.into(), &"2026-03-01".into())
        );
        let (part, computation) = (&json["part_1"], &json["computation"]);
        assert_eq!((&part["apr_pct"], &part["instalment"]["amount"]), (&"17.07".into(), &"970.00".into()));
        assert_eq!(part["charges"]["to_lender"][0]["amount"], "240.00");
        assert_eq!(part["charges"]["to_third_parties"][0]["amount"], "160.00");
        assert_eq!(
            (&computation["net_disbursed"], &computation["total_interest"]),
            (&"19600.00".into(), &"3274.00".into())
        );
        assert_eq!(computation["total_payable"], "23274.00");
        assert_eq!(json["part_2"]["grievance_officer"], "Ms Rao");
        assert_eq!(json["schedule"].as_array().map(Vec::len), Some(24));
    }
}
