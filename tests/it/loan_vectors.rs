//! Published worked examples of loans (`data/vectors/loans.json`), to the digit: each under the conventions that it
//! states, through `POST /v1/loan_calculations` where the route can say them, else through the rules themselves.

use munim::domain::lending::day_count::{DayCount, days_30_360};
use munim::domain::lending::yields::{internal_rate, xirr};
use munim::domain::time::Day;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::described::check_object;
use crate::http_edge::Server;
use munim::http::openapi::schemas;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/vectors/loans.json");
    let text = std::fs::read_to_string(path).expect("the vectors are in the repository");
    serde_json::from_str(&text).expect("the vectors are JSON")
}

fn vector(id: &str) -> Value {
    let all = vectors();
    let lists = [&all["published"], &all["derived_from_rules"]];
    let found = lists.into_iter().flat_map(|list| list.as_array().expect("a list")).find(|vector| vector["id"] == id);
    found.unwrap_or_else(|| panic!("no vector {id}")).clone()
}

fn decimal(value: &Value) -> Decimal {
    let text = value.as_str().unwrap_or_else(|| panic!("no text: {value}"));
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn day(value: &Value) -> Day {
    value.as_str().and_then(Day::parse).unwrap_or_else(|| panic!("no date: {value}"))
}

async fn worked_out(server: &Server, body: &Value) -> Value {
    let headers = [("content-type", "application/json")];
    let said = server.send("POST", "/v1/loan_calculations", &headers, body.to_string()).await;
    assert_eq!(said.status, 200, "{body}: {:?}", said.body);
    let json = said.json();
    check_object(&json, &schemas::LOAN_CALCULATION, "loan calculation");
    sums_up(&json, body);
    json
}

/// What holds of every schedule: rows follow one another, and nothing is left.
fn sums_up(json: &Value, body: &Value) {
    let rows = json["schedule"].as_array().expect("rows");
    // Rounded for showing only: sums of shown figures need not add up.
    if body["rounding"]["interest"] == "none" || body["rounding"]["instalment"] == "none" {
        return;
    }
    let mut balance = decimal(&body["principal"]);
    for row in rows {
        let zero = json!("0");
        let prepaid = row.get("prepaid").unwrap_or(&zero);
        assert_eq!(decimal(&row["opening"]), balance, "{row}");
        assert_eq!(decimal(&row["instalment"]), decimal(&row["principal"]) + decimal(&row["interest"]), "{row}");
        balance -= decimal(&row["principal"]) + decimal(prepaid);
        assert_eq!(decimal(&row["closing"]), balance, "{row}");
    }
    assert_eq!(balance, Decimal::ZERO, "{body}");
    let interest: Decimal = rows.iter().map(|row| decimal(&row["interest"])).sum();
    assert_eq!(interest, decimal(&json["total_interest"]));
    assert_eq!(decimal(&json["total_payable"]), interest + decimal(&body["principal"]));
}

/// What a published row says, against ours.
fn same_row(ours: &Value, published: &Value, place: &str) {
    for (theirs, name) in [
        ("opening", "opening"),
        ("principal", "principal"),
        ("interest", "interest"),
        ("instalment", "instalment"),
        ("balance", "closing"),
    ] {
        if let Some(expected) = published.get(theirs) {
            assert_eq!(decimal(&ours[name]), decimal(expected), "{place}: {name} of {ours} against {published}");
        }
    }
    if let Some(due) = published.get("due_date") {
        assert_eq!(&ours["due_on"], due, "{place}");
    }
}

fn same_rows(json: &Value, published: &Value, place: &str) {
    let (ours, theirs) = (json["schedule"].as_array().expect("rows"), published.as_array().expect("rows"));
    assert_eq!(ours.len(), theirs.len(), "{place}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        same_row(ours, theirs, place);
    }
}

fn with(base: &Value, more: Value) -> Value {
    let mut all = base.clone();
    for (name, value) in more.as_object().expect("an object") {
        all[name] = value.clone();
    }
    all
}

/// The terms that most vectors begin with.
fn terms(inputs: &Value) -> Value {
    let rows = inputs.get("n").or_else(|| inputs.get("n_total")).cloned().unwrap_or(Value::Null);
    json!({ "principal": inputs["principal"], "annual_rate_pct": inputs["annual_rate_pct"], "instalments": rows })
}

#[tokio::test]
async fn the_key_facts_statement_of_the_regulator() {
    let server = Server::start();
    let v = vector("V01");
    let body = json!({
        "principal": "20000", "annual_rate_pct": "15", "instalments": 24, "frequency": "monthly",
        "rounding": {"instalment": "none", "interest": "none", "display": "1"},
        "charges": [
            {"name": "processing", "amount": "240", "payee": "lender", "gst_pct": "0"},
            {"name": "insurance", "amount": "160", "payee": "third_party", "gst_pct": "0"},
        ],
    });
    let json = worked_out(&server, &body).await;
    assert_eq!(json["instalment"], "970.00");
    assert_eq!(json["instalment_exact"], "969.7329609390");
    assert_eq!(json["total_interest"], "3274.00");
    assert_eq!(json["total_payable"], "23274.00");
    assert_eq!(json["net_disbursed"], "19600.00");
    assert_eq!(json["apr_pct"], "17.07");
    same_rows(&json, &v["computed"]["schedule"], "V01");
    let without = with(&body, json!({"charges": [{"name": "processing", "amount": "240"}]}));
    assert_eq!(worked_out(&server, &without).await["apr_pct"], v["traps"]["apr_if_third_party_fee_left_out"]);
    // The instalment is rounded to a rupee: the rate is still that of the unrounded one.
    let rounded = with(&body, json!({"rounding": {"instalment": "1"}}));
    assert_eq!(worked_out(&server, &rounded).await["apr_pct"], "17.07");
}

#[tokio::test]
async fn level_instalments() {
    let server = Server::start();
    let exact = json!({"rounding": {"instalment": "none", "interest": "none"}});
    let v = vector("V02");
    let json = worked_out(&server, &with(&terms(&v["inputs"]), exact.clone())).await;
    let difference = (decimal(&json["instalment_exact"]) - decimal(&v["expected"]["emi"])).abs();
    assert!(difference < Decimal::new(1, 9), "{json}");

    let v = vector("V03");
    let json = worked_out(&server, &with(&terms(&v["inputs"]), exact.clone())).await;
    same_rows(&json, &v["expected"]["rows"], "V03");
    assert_eq!(json["total_interest"], v["expected"]["total_interest"]);

    for id in ["V05", "V06"] {
        let v = vector(id);
        let inputs = &v["inputs"];
        let more = json!({
            "disbursed_on": inputs["disbursed"], "first_due_on": inputs["first_due"], "day_count": "30/360",
            "broken_period": "month_fraction",
        });
        let json = worked_out(&server, &with(&terms(inputs), more)).await;
        assert_eq!(json["instalment"], v["expected"]["emi"], "{id}");
        same_rows(&json, &v["expected"]["rows"], id);
    }
    for (rule, interest) in [("act/365", "0.89"), ("30/360", "0.85")] {
        let v = vector("V06");
        let more = json!({"disbursed_on": "2024-01-15", "first_due_on": "2024-02-01", "broken_period": rule});
        let json = worked_out(&server, &with(&terms(&v["inputs"]), more)).await;
        assert_eq!(json["schedule"][0]["interest"], interest, "{rule}");
    }

    let v = vector("V07");
    let inputs = &v["inputs"];
    let more = json!({
        "disbursed_on": inputs["disbursed"], "first_due_on": inputs["first_due"], "day_count": "act/365",
        "rounding": {"instalment": "1"},
    });
    let json = worked_out(&server, &with(&terms(inputs), more)).await;
    assert_eq!(decimal(&json["instalment"]), decimal(&v["expected"]["rows"][0]["instalment"]));
    same_rows(&json, &v["expected"]["rows"], "V07");
    let fixed = with(
        &terms(inputs),
        json!({"disbursed_on": inputs["disbursed"], "day_count": "act/365", "instalment_fixed": "305"}),
    );
    same_rows(&worked_out(&server, &fixed).await, &v["expected"]["rows"], "V07 fixed");

    let v = vector("V25");
    let json = worked_out(&server, &terms(&v["inputs"])).await;
    assert_eq!(json["instalment"], v["expected"]["emi"]);
    same_rows(&json, &v["expected"]["rows"], "V25");

    let v = vector("V26");
    let json = worked_out(&server, &terms(&v["inputs"])).await;
    same_rows(&json, &v["computed"]["rows"], "V26");

    let v = vector("V19");
    let more = json!({"rounding": {"instalment": "1", "interest": "none", "mode": "up", "display": "1"}});
    let json = worked_out(&server, &with(&terms(&v["inputs"]), more)).await;
    assert_eq!(decimal(&json["instalment"]), decimal(&v["expected"]["emi"]));
    assert_eq!(decimal(&json["total_interest"]), decimal(&v["expected"]["total_interest"]));
    assert_eq!(decimal(&json["total_payable"]), decimal(&v["expected"]["total_payment"]));
    for (row, name) in [(4, "row4"), (18, "row18"), (20, "row20")] {
        same_row(&json["schedule"][row - 1], &v["expected"][name], "V19");
    }
    let alternative = json!({
        "principal": "280000", "annual_rate_pct": "8.4", "instalment_fixed": "14000",
        "rounding": {"instalment": "none", "interest": "none", "display": "1"},
    });
    let json = worked_out(&server, &alternative).await;
    assert_eq!(json["instalments"], v["expected"]["alt"]["n"]);
    assert_eq!(decimal(&json["total_interest"]), decimal(&v["expected"]["alt"]["total_interest"]));
    assert_eq!(decimal(&json["total_payable"]), decimal(&v["expected"]["alt"]["total_payment"]));
}

#[test]
fn cumulative_principal_and_interest() {
    use munim::domain::lending::{schedule::schedule, terms::Terms};
    let v = vector("V04");
    let made = schedule(&Terms {
        principal: decimal(&v["inputs"]["principal"]),
        annual_rate_pct: decimal(&v["inputs"]["annual_rate_pct"]),
        instalments: Some(360),
        ..Terms::default().exact()
    })
    .expect("a loan");
    let year = &made.rows[12..24];
    let principal: Decimal = year.iter().map(|row| row.principal).sum();
    let interest: Decimal = year.iter().map(|row| row.interest).sum();
    for (ours, name) in [
        (principal, "principal_13_24"),
        (interest, "interest_13_24"),
        (made.rows[0].principal, "principal_1"),
        (made.rows[0].interest, "interest_1"),
    ] {
        let published = decimal(&v["expected"][name]);
        assert_eq!(ours.round_dp(published.scale()), published, "{name}");
    }
}

#[tokio::test]
async fn flat_equal_principal_step_moratorium_and_balloon() {
    let server = Server::start();
    let v = vector("V08");
    let flat = json!({
        "principal": "5000", "annual_rate_pct": "12", "instalments": 18, "method": "flat", "rounding": {"instalment": "1"},
    });
    let json = worked_out(&server, &flat).await;
    let (rows, expected) = (&json["schedule"], &v["expected"]);
    assert_eq!(decimal(&json["instalment"]), decimal(&expected["instalment"]));
    assert_eq!(decimal(&rows[17]["instalment"]), decimal(&expected["last_instalment"]));
    assert_eq!(decimal(&rows[0]["interest"]), decimal(&expected["interest_per_period"]));
    assert_eq!(decimal(&json["total_interest"]), decimal(&expected["total_interest"]));
    assert_eq!(decimal(&json["total_payable"]), decimal(&expected["total_due"]));
    let apr = decimal(&v["computed"]["equivalent_reducing_apr_pct"]);
    assert_eq!(decimal(&json["apr_pct"]), apr.round_dp(2));

    let v = vector("V09");
    let dates = json!({"disbursed_on": "2022-11-01", "rounding": {"instalment": "1"}});
    let more = with(&dates, json!({"moratorium": {"periods": 3, "interest": "serviced"}}));
    let json = worked_out(&server, &with(&terms(&v["inputs"]), more)).await;
    same_rows(&json, &v["expected"]["rows"], "V09");
    assert_eq!(json["total_interest"], v["expected"]["total_interest"]);

    let v = vector("V10");
    let more =
        json!({"instalments": 12, "steps": [{"from": 5, "instalment_pct": "60"}, {"from": 9, "instalment_pct": "40"}]});
    let json = worked_out(&server, &with(&terms(&v["inputs"]), more)).await;
    for (row, name) in [(0, "base_instalment"), (4, "mid"), (8, "low")] {
        assert_eq!(json["schedule"][row]["instalment"], v["expected"][name], "V10");
    }
    // The published last row plugs a paisa of interest (the vector allows 0.01 a row); ours is what its balance bears.
    let rows = v["computed"]["rows"].as_array().expect("rows");
    for (ours, theirs) in json["schedule"].as_array().expect("rows").iter().zip(&rows[..11]) {
        same_row(ours, theirs, "V10");
    }
    let last = &json["schedule"][11];
    assert_eq!((&last["principal"], &last["interest"]), (&rows[11]["principal"], &json!("2.99")));

    let v = vector("V18");
    let more = json!({"method": "equal_principal", "disbursed_on": "2022-11-01"});
    let json = worked_out(&server, &with(&terms(&v["inputs"]), more)).await;
    same_rows(&json, &v["computed"]["rows"], "V18");
    assert_eq!(json["total_interest"], v["expected"]["total_interest"]);

    let v = vector("V21");
    for contract in [json!({"principal_fixed": "5000"}), json!({"balloon": "40000"})] {
        let more =
            with(&contract, json!({"method": "equal_principal", "day_count": "act/365", "disbursed_on": "2011-09-20"}));
        let json = worked_out(&server, &with(&terms(&v["inputs"]), more)).await;
        same_rows(&json, &v["computed"]["rows"], "V21");
        for (row, interest) in v["expected"]["interest"].as_object().expect("rows") {
            let place: usize = row.parse().expect("a number");
            assert_eq!(json["schedule"][place - 1]["interest"], *interest, "V21 row {row}");
        }
    }
}

#[tokio::test]
async fn prepayments_foreclosure_and_resets() {
    let server = Server::start();
    let v = vector("V12");
    // What was paid beyond the instalment of 862.
    let body = json!({
        "principal": "5000", "annual_rate_pct": "12", "instalments": 6, "instalment_fixed": "862",
        "disbursed_on": "2022-11-01", "day_count": "act/365", "rounding": {"instalment": "1"},
        "prepayments": [
            {"on": "2022-12-01", "amount": "138", "keep": "instalment"},
            {"on": "2023-01-01", "amount": "1138", "keep": "term"},
        ],
    });
    let json = worked_out(&server, &body).await;
    let rows = &json["schedule"];
    for (row, name) in [(0, "after_first"), (1, "after_second")] {
        let expected = &v["expected"][name];
        assert_eq!(decimal(&rows[row]["closing"]), decimal(&expected["balance"]));
        assert_eq!(decimal(&rows[row]["interest"]), decimal(&expected["interest"]));
        let paid = decimal(&rows[row]["principal"]) + decimal(&rows[row]["prepaid"]);
        assert_eq!(paid, decimal(&expected["principal"]));
    }
    for (place, published) in v["expected"]["remaining"].as_array().expect("rows").iter().enumerate() {
        same_row(&rows[place + 2], published, "V12");
    }
    assert_eq!(json["total_interest"], v["expected"]["total_interest"]);

    let v05 = vector("V05");
    let base = with(&terms(&v05["inputs"]), json!({"disbursed_on": "2024-01-01", "first_due_on": "2024-02-01"}));
    let v = vector("V13");
    let json = worked_out(&server, &with(&base, json!({"foreclose_on": "2024-02-15"}))).await;
    assert_eq!(json["foreclosure_amount"], v["expected"]["payoff_amount"]);
    assert_eq!(json["schedule"][1]["interest"], v["expected"]["interest"]);
    for (rule, interest) in [("act/365", "act_365"), ("30/360", "pure_30_360")] {
        let more = json!({"foreclose_on": "2024-02-15", "broken_period": rule});
        assert_eq!(worked_out(&server, &with(&base, more)).await["schedule"][1]["interest"], v["traps"][interest]);
    }

    let v = vector("V23");
    let more = json!({"rate_resets": [{"on": "2024-02-01", "annual_rate_pct": "4"}]});
    let json = worked_out(&server, &with(&base, more)).await;
    for (place, published) in v["expected"]["rows"].as_array().expect("rows").iter().enumerate() {
        same_row(&json["schedule"][place + 1], published, "V23");
    }

    let v = vector("V24");
    let late = json!({
        "principal": "5000", "annual_rate_pct": "12", "instalments": 1, "disbursed_on": "2022-12-01",
        "first_due_on": "2023-01-01", "day_count": "act/365", "prepayments": [{"on": "2022-12-05", "amount": "812.68"}],
    });
    assert_eq!(worked_out(&server, &late).await["schedule"][0]["interest"], v["expected"]["next_interest"]);
    let on_time = with(&late, json!({"principal": "4187.32", "prepayments": null}));
    assert_eq!(
        worked_out(&server, &on_time).await["schedule"][0]["interest"],
        v["expected"]["next_interest_if_on_time"]
    );
}

#[tokio::test]
async fn interest_by_days_and_charges() {
    let server = Server::start();
    let v = vector("V20");
    let by_days = |principal: &str, rate: &str, from: &str, to: &str| {
        json!({
            "principal": principal, "annual_rate_pct": rate, "instalments": 1, "frequency": "yearly",
            "disbursed_on": from, "day_count": "act/365", "foreclose_on": to,
        })
    };
    let json = worked_out(&server, &by_days("1000000", "19.5", "2026-01-01", "2026-04-01")).await;
    assert_eq!(json["total_interest"], v["expected"]["total_90_days"]);
    let json = worked_out(&server, &by_days("1000000", "19.5", "2026-01-01", "2026-01-02")).await;
    assert_eq!(json["total_interest"], v["expected"]["per_day_2dp"]);
    let json = worked_out(&server, &by_days("100000", "10", "2026-01-01", "2026-01-31")).await;
    assert_eq!(json["total_interest"], vector("R05")["expected"]["bpi"]);
    let v = vector("R06");
    let json = worked_out(&server, &by_days("50000", "24", "2026-11-03", "2026-11-05")).await;
    assert_eq!(json["total_interest"], v["expected"]["interest"]);
    assert_eq!(json["foreclosure_amount"], v["expected"]["payoff"]);

    let v = vector("R03");
    let body = json!({
        "principal": "100000", "annual_rate_pct": "12", "instalments": 12,
        "charges": [{"name": "processing", "amount": "3000", "gst_pct": "18"}],
    });
    let json = worked_out(&server, &body).await;
    assert_eq!(json["charges"][0]["amount"], v["expected"]["fee"]);
    assert_eq!(json["charges"][0]["gst"], v["expected"]["gst"]);
    assert_eq!(json["net_disbursed"], v["expected"]["net_disbursed_if_deducted"]);

    let v = vector("V22");
    let body =
        json!({"principal": "100", "annual_rate_pct": "7", "instalments": 4, "disbursed_on": v["inputs"]["disbursed"]});
    let json = worked_out(&server, &body).await;
    let due: Vec<&Value> = json["schedule"].as_array().expect("rows").iter().map(|row| &row["due_on"]).collect();
    assert_eq!(json!(due), v["expected"]["due"]);
}

#[test]
fn yields_of_uneven_payments() {
    let v = vector("V11");
    let flows = v["inputs"]["flows"].as_array().expect("flows");
    let first = day(&flows[0][0]);
    let flows: Vec<_> = flows.iter().map(|flow| (u32::from(day(&flow[0]).0 - first.0), decimal(&flow[1]))).collect();
    let found = xirr(&flows).expect("a rate");
    assert_eq!(found.round_dp(12), decimal(&v["computed"]["xirr"]));
    assert!((found - decimal(&v["expected"]["xirr"])).abs() < Decimal::new(5, 9));

    let v = vector("V27");
    let flows = v["inputs"]["flows"].as_array().expect("flows");
    let flows: Vec<_> = (0u32..).zip(flows).map(|(place, amount)| (place, decimal(amount))).collect();
    let found = internal_rate(&flows).expect("a rate");
    assert_eq!(found.round_dp(10), decimal(&v["computed"]["irr"]));
    assert_eq!(found.round_dp(5), decimal(&v["expected"]["irr"]));
}

#[test]
fn day_counts() {
    let v = vector("V16");
    let pairs = v["inputs"]["pairs"].as_array().expect("pairs");
    let days: Vec<i64> = pairs.iter().map(|pair| days_30_360(day(&pair[0]), day(&pair[1]))).collect();
    assert_eq!(json!(days), v["expected"]["days"]);

    let v = vector("V17");
    let pairs = v["inputs"]["pairs"].as_array().expect("pairs");
    for (pair, expected) in pairs.iter().zip(v["expected"]["year_fraction"].as_array().expect("fractions")) {
        let fraction = DayCount::ActAct.between(day(&pair[0]), day(&pair[1])).decimal();
        assert_eq!(fraction.round_dp(12), decimal(expected));
    }
}

/// Terms that make no loan say which field is wrong, and why.
#[tokio::test]
async fn what_makes_no_loan_is_refused_by_field() {
    let server = Server::start();
    let base = json!({"principal": "1000", "annual_rate_pct": "12", "instalments": 12});
    for (more, pointer) in [
        (json!({"principal": "0"}), "/principal"),
        (json!({"principal": "-5"}), "/principal"),
        (json!({"principal": 5}), "/principal"),
        (json!({"annual_rate_pct": "10001"}), "/annual_rate_pct"),
        (json!({"instalments": 0}), "/instalments"),
        (json!({"instalments": 3661}), "/instalments"),
        (json!({"instalments": null}), "/instalments"),
        (json!({"instalments": null, "instalment_fixed": "9.99"}), "/instalment_fixed"),
        (json!({"instalments": null, "instalment_fixed": "10"}), "/instalment_fixed"),
        (json!({"instalments": null, "instalment_fixed": "300", "method": "flat"}), "/instalments"),
        (json!({"principal_fixed": "10"}), "/principal_fixed"),
        (json!({"day_count": "act/365"}), "/disbursed_on"),
        (json!({"holidays": ["2026-01-26"]}), "/disbursed_on"),
        (json!({"holidays": ["26.1.2026"]}), "/holidays"),
        (json!({"disbursed_on": "2026-01-01", "first_due_on": "2026-01-01"}), "/first_due_on"),
        (json!({"disbursed_on": "2149-01-01"}), "/instalments"),
        (json!({"moratorium": {"periods": 12}}), "/instalments"),
        (json!({"moratorium": {"periods": 1, "interest": "free"}}), "/moratorium/interest"),
        (json!({"steps": [{"from": 1, "instalment_pct": "0"}]}), "/steps"),
        (json!({"steps": [{"from": 1}]}), "/steps/0/instalment_pct"),
        (json!({"steps": {"from": 1}}), "/steps"),
        (json!({"charges": [{"name": "fee", "amount": "1000"}]}), "/charges"),
        (json!({"charges": [{"amount": "10"}]}), "/charges/0/name"),
        (json!({"rounding": {"instalment": "5"}}), "/rounding/instalment"),
        (json!({"rounding": {"colour": "5"}}), "/rounding/colour"),
        (json!({"disbursed_on": "2026-01-01", "prepayments": [{"on": "2026-01-01", "amount": "5"}]}), "/prepayments"),
        (json!({"balloon": "1001"}), "/balloon"),
    ] {
        let body = with(&base, more);
        let headers = [("content-type", "application/json")];
        let said = server.send("POST", "/v1/loan_calculations", &headers, body.to_string()).await;
        assert_eq!(said.status, 422, "{body}: {:?}", said.body);
        let json = said.json();
        assert_eq!(json["errors"][0]["pointer"], pointer, "{body}: {json}");
    }
}

mod any_terms {
    use munim::domain::lending::calculation::calculate;
    use munim::domain::lending::day_count::DAY_COUNTS;
    use munim::domain::lending::due_dates::FREQUENCIES;
    use munim::domain::lending::rounding::MODES;
    use munim::domain::lending::terms::{
        BROKEN_PERIODS, Keep, METHODS, MORATORIUM_INTERESTS, Moratorium, Prepayment, RateReset, Rounding, Step, Terms,
    };
    use munim::domain::time::Day;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;
    use rust_decimal::Decimal;

    /// Twenty-eight digits of unrounded figures are added up in another order.
    fn is_same(one: Decimal, other: Decimal) -> bool {
        (one - other).abs() < Decimal::new(1, 9)
    }

    fn keep(term: bool) -> Keep {
        if term { Keep::Term } else { Keep::Instalment }
    }

    fn prepayments(rows: &[(u16, i64, bool)], start: Day, principal: Decimal) -> Vec<Prepayment> {
        let one = |(day, amount, term): &(u16, i64, bool)| Prepayment {
            on: Day(start.0 + day),
            amount: Decimal::new(*amount, 2).min(principal),
            keep: keep(*term),
        };
        let mut prepayments: Vec<Prepayment> = rows.iter().map(one).collect();
        prepayments.sort_by_key(|prepayment| prepayment.on);
        prepayments
    }

    fn resets(rows: &[(u16, i64, bool)], start: Day) -> Vec<RateReset> {
        let one = |(day, rate, term): &(u16, i64, bool)| RateReset {
            on: Day(start.0 + day),
            annual_rate_pct: Decimal::new(*rate, 4),
            keep: keep(*term),
        };
        let mut resets: Vec<RateReset> = rows.iter().map(one).collect();
        resets.sort_by_key(|reset| reset.on);
        resets.dedup_by_key(|reset| reset.on);
        resets
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let shape = (0usize..7, 0usize..3, 0usize..4, 0usize..4, 0usize..4, 1u32..80);
        let money = (1i64..2_000_000_000_000, 0i64..1_000_000, 0usize..4, any::<bool>(), any::<bool>());
        let dates = (any::<bool>(), 0u16..400, 1u16..90, prop::option::of((0u32..6, 0usize..3)));
        let extra = (
            prop::collection::vec((1u16..1_000, 1i64..100_000_000, any::<bool>()), 0..3),
            prop::collection::vec((1u16..1_000, 0i64..300_000, any::<bool>()), 0..3),
            prop::option::of(0u16..1_000),
            prop::option::of((1u32..20, 1i64..30_000)),
            prop::option::of(1i64..100),
        );
        (shape, money, dates, extra).prop_map(|(shape, money, dates, extra)| {
            let start = Day(19_000 + dates.1);
            let is_dated = dates.0;
            let principal = Decimal::new(money.0, 2);
            let units = [None, Some(Decimal::new(1, 2)), Some(Decimal::ONE), Some(Decimal::TEN)];
            let mut prepayments = prepayments(&extra.0, start, principal);
            let mut rate_resets = resets(&extra.1, start);
            if !is_dated || shape.1 == 1 {
                prepayments.clear();
                rate_resets.clear();
            }
            Terms {
                principal,
                annual_rate_pct: Decimal::new(money.1, 4),
                instalments: Some(shape.5),
                frequency: FREQUENCIES[shape.0].0,
                method: METHODS[shape.1].0,
                day_count: if is_dated { DAY_COUNTS[shape.2].0 } else { DAY_COUNTS[0].0 },
                disbursed_on: is_dated.then_some(start),
                first_due_on: (is_dated && money.3).then_some(Day(start.0 + dates.2)),
                broken_period: BROKEN_PERIODS.get(shape.3).map(|rule| rule.0).filter(|_| is_dated),
                rounding: Rounding {
                    instalment: units[money.2],
                    interest: if money.4 { Some(Decimal::new(1, 2)) } else { None },
                    mode: MODES[shape.4].0,
                    display: Decimal::new(1, 2),
                },
                moratorium: dates.3.map(|(periods, interest)| Moratorium {
                    periods,
                    interest: MORATORIUM_INTERESTS[if shape.1 == 1 { 0 } else { interest }].0,
                }),
                steps: extra
                    .3
                    .map(|(from, pct)| Step { from, instalment_pct: Decimal::new(pct, 2) })
                    .into_iter()
                    .collect(),
                rate_resets,
                prepayments,
                foreclose_on: extra.2.filter(|_| is_dated).map(|day| Day(start.0 + day)),
                balloon: extra.4.map(|part| principal * Decimal::new(part, 2)).filter(|balloon| !balloon.is_zero()),
                ..Terms::default()
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, rng_seed: RngSeed::Fixed(2_026), ..ProptestConfig::default() })]

        /// Any terms make a loan that adds up, or a refusal; never a panic.
        #[test]
        fn schedules_add_up(terms in terms()) {
            let Ok(made) = calculate(&terms) else { return Ok(()) };
            let mut balance = terms.principal;
            let mut before = None;
            for row in &made.schedule.rows {
                prop_assert!(is_same(row.opening, balance));
                prop_assert!(is_same(row.instalment, row.principal + row.interest));
                balance = row.opening - row.principal - row.prepaid;
                prop_assert!(is_same(row.closing, balance), "{} {}", row.closing, balance);
                prop_assert!(balance >= Decimal::ZERO && row.interest >= Decimal::ZERO && row.prepaid >= Decimal::ZERO);
                prop_assert!(row.due_on >= before, "{:?} after {:?}", row.due_on, before);
                before = row.due_on;
            }
            prop_assert!(is_same(balance, Decimal::ZERO));
            let paid: Decimal = made.schedule.rows.iter().map(|row| row.instalment + row.prepaid).sum();
            prop_assert!(is_same(paid, terms.principal + made.total_interest));
            // A dearer loan is no cheaper: what is paid beyond what was lent shows in the rate.
            prop_assert!(made.apr_pct >= Decimal::ZERO || made.total_interest.is_zero(), "{}", made.apr_pct);
        }
    }
}
