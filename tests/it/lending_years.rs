//! Lending on dates of its own: vectors driven day by day over HTTP, months and years that end.

use std::sync::Arc;

use munim::disk::Disk;
use munim::domain::time::Day;
use munim::engine::EngineOptions;
use munim::http::EdgeOptions;
use serde_json::{Value, json};

use crate::described::check_object;
use crate::http_edge::Server;
use crate::lending_days::{after, finished, paise};
use munim::http::openapi::schemas;

/// Books that begin on a day of the past, with one borrower.
struct Branch {
    server: Server,
    keys: std::cell::Cell<u32>,
}

impl Branch {
    async fn open(first_day: &str, product: Value) -> Branch {
        let mut options = EngineOptions { first_day: Day::parse(first_day), ..EngineOptions::default() };
        options.journal.segment_bytes = 4 << 20;
        let folder = tempfile::tempdir().expect("a folder");
        let same = |disk: Arc<dyn Disk>| disk;
        let server = Server::on(folder, &options, &EdgeOptions::default(), same);
        let branch = Branch { server, keys: std::cell::Cell::new(0) };
        let equity = json!({"currency": "INR", "type": "equity", "code": 3010, "external_id": "RE"});
        branch.done("/v1/accounts", equity, "201").await;
        branch.done("/v1/loan_products", product, "201").await;
        for name in ["C-1", "C-2"] {
            let customer = json!({"kind": "individual", "name": "Asha Rao", "external_id": name});
            branch.done("/v1/customers", customer, "201").await;
        }
        assert_eq!(branch.today().await, first_day);
        branch
    }

    async fn done(&self, path: &str, body: Value, status: &str) -> Value {
        self.keys.set(self.keys.get() + 1);
        let said = self.server.post(path, &format!("year{}", self.keys.get()), body.to_string()).await;
        assert_eq!(said.brief(), status, "{path}: {:?}", said.body);
        said.json()
    }

    async fn get(&self, path: &str) -> Value {
        let said = self.server.get(path).await;
        assert_eq!(said.brief(), "200", "{path}: {:?}", said.body);
        said.json()
    }

    async fn today(&self) -> String {
        self.get("/v1/business_day").await["date"].as_str().expect("a date").to_owned()
    }

    /// A loan that is paid out today.
    async fn lend(&self, customer: &str, external_id: &str, principal: &str) -> String {
        let body = json!({"customer": format!("ext:{customer}"), "product": "ext:P-1", "principal": principal,
                          "external_id": external_id});
        self.done("/v1/loans", body, "201").await;
        let path = format!("/v1/loans/ext:{external_id}");
        self.done(&format!("{path}/approve"), json!({}), "200").await;
        self.done(&format!("{path}/accept_kfs"), json!({"version": 1}), "200").await;
        let body = json!({"credited_on": self.today().await, "reference": external_id});
        self.done(&format!("{path}/disburse"), body, "200").await;
        path
    }

    /// Opens a day; the end of those before it is waited for.
    async fn on(&self, date: &str) {
        let body = json!({"date": date, "reason": "a vector goes on"});
        let mut day = self.done("/v1/business_day/open", body, "200").await;
        while !day["ending"].is_null() {
            tokio::task::yield_now().await;
            day = self.get("/v1/business_day").await;
        }
    }

    /// Closes the day, and waits for its end.
    async fn close(&self) {
        self.keys.set(self.keys.get() + 1);
        let said = self.server.post("/v1/business_day/close", &format!("year{}", self.keys.get()), "{}").await;
        assert_eq!(finished(&self.server, said.header("location")).await["status"], "succeeded");
    }

    async fn pay(&self, path: &str, amount: &str) -> Value {
        let today = self.today().await;
        let body = json!({"amount": amount, "value_date": today, "mode": "upi", "reference": format!("{path}{today}{amount}")});
        self.done(&format!("{path}/repayments"), body, "200").await
    }

    /// The balance of a line of the general ledger at the end of a day.
    async fn line(&self, on: &str, basis: &str, code: u32) -> String {
        let balance = self.get(&format!("/v1/reports/trial_balance?on={on}&as={basis}")).await;
        let rows = balance["rows"].as_array().expect("rows").iter();
        let mut row = rows.filter(|row| row["code"] == code).map(|row| row["balance"].as_str().expect("a balance"));
        row.next_back().unwrap_or("0.00").to_owned()
    }
}

/// What a vector of `data/vectors/loans.json` expects.
fn expected(id: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/vectors/loans.json");
    let all: Value = serde_json::from_slice(&std::fs::read(path).expect("the vectors")).expect("JSON");
    let lists = ["published", "derived_from_rules"].map(|name| all[name].as_array().expect("a list"));
    let vector = lists.into_iter().flatten().find(|vector| vector["id"] == id);
    vector.unwrap_or_else(|| panic!("there is no vector {id}"))["expected"].clone()
}

fn product(terms: Value) -> Value {
    json!({
        "name": "Of a vector", "external_id": "P-1", "terms": terms,
        "appropriation": ["penal", "fee", "interest", "principal"],
    })
}

/// Amounts of vectors have as many decimals as they need.
fn same_amount(shown: &Value, wanted: &Value) -> bool {
    let wanted = wanted.as_str().expect("an amount");
    let wanted = if wanted.contains('.') { wanted.to_owned() } else { format!("{wanted}.00") };
    shown.as_str() == Some(&wanted)
}

#[tokio::test]
async fn v14_over_http_a_part_payment_goes_by_the_order_of_the_product() {
    let expected = expected("V14");
    for (case, rate, charges) in [("a", "12", false), ("b", "0", true)] {
        let terms = json!({"annual_rate_pct": rate, "instalments": 3, "method": "flat", "day_count": "30/360",
                           "charge_gst_pct": "0"});
        let branch = Branch::open("2023-01-01", product(terms)).await;
        let path = branch.lend("C-1", "L-1", "3000").await;
        branch.on("2023-02-01").await;
        if charges {
            let charge = |name: &str, kind: &str| json!({"name": name, "kind": kind, "amount": "50"});
            branch.done(&format!("{path}/charges"), charge("late", "penal"), "200").await;
            branch.done(&format!("{path}/charges"), charge("visit", "fee"), "200").await;
        }
        let receipt = branch.pay(&path, "500").await;
        let wanted = &expected[case];
        for (ours, theirs) in
            [("penal", "penalty"), ("fee", "fee"), ("interest", "interest"), ("principal", "principal")]
        {
            assert!(same_amount(&receipt["split"][ours], &wanted[theirs]), "{case} {ours}: {}", receipt["split"]);
        }
        let loan = &receipt["loan_after"];
        assert!(same_amount(&loan["principal_outstanding"], &wanted["principal_outstanding"]), "{case}: {loan}");
        let left = paise(&loan["principal_due"]) + paise(&loan["interest_due"]);
        let left = format!("{}.{:02}", left / 100, left % 100);
        assert!(same_amount(&json!(left), &wanted["instalment_outstanding"]), "{case}: {left}");
    }
}

#[tokio::test]
async fn r01_over_http_income_is_reversed_and_only_full_arrears_upgrade() {
    let expected = expected("R01");
    let npa_date = expected["npa_date"].as_str().expect("a date").to_owned();
    let terms = json!({"annual_rate_pct": "42.857142857", "instalments": 12, "method": "flat", "day_count": "30/360"});
    let branch = Branch::open("2025-12-05", product(terms)).await;
    let path = branch.lend("C-1", "L-1", "8400").await;
    branch.on(&npa_date).await;
    assert_eq!(branch.get(&path).await["class"], "sma_2", "at the end of the day before");
    branch.close().await;
    let loan = branch.get(&path).await;
    assert_eq!((&loan["class"], &loan["npa_since"]), (&json!("npa"), &json!(npa_date)));
    assert_eq!(paise(&loan["principal_due"]) + paise(&loan["interest_due"]), 400_000);
    // 4090 interest income, 2545 suspense.
    assert_eq!(branch.line(&npa_date, "recorded", 4090).await, "0.00", "all of it was unpaid");
    assert_eq!(branch.line(&npa_date, "recorded", 2545).await, "1210.00", "four rows and the day");
    branch.on("2026-04-10").await;
    branch.pay(&path, "3000").await;
    branch.close().await;
    let loan = branch.get(&path).await;
    assert_eq!(loan["class"] == "standard", expected["upgrade_on_partial"].as_bool().expect("a flag"));
    assert_eq!(branch.line("2026-04-10", "recorded", 4090).await, "900.00", "on receipt");
    branch.on("2026-04-12").await;
    branch.pay(&path, "1000").await;
    branch.close().await;
    let loan = branch.get(&path).await;
    assert_eq!(loan["class"] == "standard", expected["upgrade_on_full"].as_bool().expect("a flag"));
    assert_eq!((&loan["dpd"], &loan["npa_since"]), (&json!(0), &Value::Null));
    assert_eq!(branch.line("2026-04-12", "recorded", 2545).await, "0.00", "what is left is income again");
    assert_eq!(branch.line("2026-04-12", "recorded", 4090).await, "1280.00", "1,200, and 8 days of 10");
    let movement = branch.get("/v1/reports/npa_movement?from=2026-04-05&to=2026-04-12").await;
    let part = |name: &str| movement["totals"][name]["loans"].as_i64().expect("a count");
    assert_eq!((part("opening"), part("new"), part("upgraded"), part("closing")), (0, 1, 1, 0));
}

#[tokio::test]
async fn r02_over_http_a_penal_charge_is_a_charge() {
    let expected = expected("R02");
    let terms = json!({"annual_rate_pct": "12", "instalments": 6, "instalment_fixed": "862", "day_count": "act/365",
                       "penal_pct_per_month": "2"});
    let mut of_5000 = product(terms);
    (of_5000["principal_min"], of_5000["principal_max"]) = (json!("5000"), json!("5000"));
    let branch = Branch::open("2022-11-01", of_5000).await;
    let path = branch.lend("C-1", "L-1", "5000").await;
    let other = branch.lend("C-2", "L-2", "5000").await;
    branch.on("2022-12-11").await;
    let loan = branch.get(&path).await;
    assert!(same_amount(&loan["penal_due"], &expected["penal_charge"]), "{loan}");
    assert_eq!(branch.line("2022-12-10", "recorded", 4290).await, "0.00", "income on receipt");
    let receipt = branch.pay(&path, "867.75").await;
    let split = &receipt["split"];
    assert_eq!(
        (&split["penal"], &split["interest"], &split["principal"]),
        (&json!("5.75"), &json!("49.32"), &json!("812.68"))
    );
    // The other pays the instalment and is let off the charge: it owes the same from then on.
    let waiver = json!({"penal": "5.75", "reason": "for comparison"});
    branch.done(&format!("{other}/waive"), waiver, "200").await;
    branch.pay(&other, "862").await;
    branch.close().await;
    assert_eq!(branch.line("2022-12-11", "recorded", 4290).await, "5.75");
    assert!(same_amount(&json!(branch.line("2022-12-11", "recorded", 2390).await), &expected["gst"]), "no tax on it");
    branch.on("2023-01-01").await;
    let (one, two) = (branch.get(&path).await, branch.get(&other).await);
    for name in ["interest_due", "principal_due", "principal_outstanding", "penal_due"] {
        assert_eq!(one[name], two[name], "{name}: the charge was added to nothing and bore no interest");
    }
    assert_eq!(one["principal_outstanding"], "4187.32");
}

#[tokio::test]
async fn a_month_and_a_year_end_with_what_a_lender_keeps() {
    let mut of_year = product(json!({"annual_rate_pct": "12", "instalments": 12, "day_count": "act/365"}));
    of_year["year_end_account"] = json!("ext:RE");
    let branch = Branch::open("2026-03-15", of_year).await;
    let path = branch.lend("C-1", "L-1", "100000").await;
    branch.on("2026-04-01").await;
    // 17 days of 12 % on 1,00,000, and 0.25 % to be held against losses.
    let interest = "558.90";
    let month = branch.get("/v1/reports/month_end?month=2026-03").await;
    check_object(&month, &schemas::MONTH_END, "month");
    let line = |report: &Value, part: &str, code: u32| {
        let rows = report[part].as_array().expect("lines").iter();
        rows.filter(|row| row["code"] == code)
            .map(|row| row["amount"].as_str().expect("an amount").to_owned())
            .next_back()
    };
    assert_eq!(line(&month, "profit_and_loss", 4090).as_deref(), Some(interest));
    assert_eq!(line(&month, "profit_and_loss", 5395).as_deref(), Some("250.00"));
    assert_eq!(line(&month, "balances", 1290).as_deref(), Some("100000.00"));
    let of_product = &month["products"][0];
    assert_eq!((&of_product["provision"], &of_product["classes"][0]["loans"]), (&json!("250.00"), &json!(1)));
    assert_eq!(of_product["classes"][0]["principal_outstanding"], "100000.00");
    // As it was sealed the year has its income; the closing came right after.
    assert_eq!(branch.line("2026-03-31", "recorded", 4090).await, interest);
    for _ in 0..10_000 {
        if branch.line("2026-03-31", "corrected", 4090).await == "0.00" {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(branch.line("2026-03-31", "corrected", 4090).await, "0.00");
    assert_eq!(branch.line("2026-03-31", "corrected", 5395).await, "0.00");
    assert_eq!(branch.line("2026-03-31", "corrected", 3010).await, "308.90", "income less what is held against losses");
    // A fee that is recorded late for the year that is closed follows it after the day's end.
    let late = json!({"name": "visit", "amount": "100", "value_date": "2026-03-20"});
    branch.done(&format!("{path}/charges"), late, "200").await;
    assert_eq!(branch.line("2026-03-31", "corrected", 4190).await, "100.00");
    branch.close().await;
    branch.on("2026-05-02").await;
    assert_eq!(branch.line("2026-03-31", "corrected", 4190).await, "0.00");
    assert_eq!(branch.line("2026-03-31", "corrected", 3010).await, "408.90");
    let april = branch.get("/v1/reports/month_end?month=2026-04").await;
    // Thirty days of it; the fee of March came late, and the closing took both out again.
    let days = paise(&json!(line(&april, "profit_and_loss", 4090).expect("interest of April")));
    assert!((90_000..100_000).contains(&days), "{days}: thirty days");
    let late = |code: u32| {
        let rows = april["profit_and_loss"].as_array().expect("lines").iter();
        rows.filter(|row| row["code"] == code).map(|row| row["late"].clone()).next_back()
    };
    assert_eq!((late(4090), late(4190)), (Some(json!("-558.90")), Some(json!("0.00"))));
    assert_eq!(branch.get("/v1/reports/month_end?month=2026-03").await, month, "what was sealed is not rewritten");

    for wrong in ["month=2026-05", "month=2026-02", "month=2026-3", ""] {
        let said = branch.server.get(&format!("/v1/reports/month_end?{wrong}")).await;
        assert_eq!(said.brief(), "422 invalid_parameter", "{wrong}");
    }
    // A restart moves nothing twice.
    let Branch { server, .. } = branch;
    let server = server.restart();
    let said = server.get("/v1/reports/trial_balance?on=2026-03-31&as=corrected").await.json();
    let rows = said["rows"].as_array().expect("rows").iter();
    let equity: Vec<&Value> = rows.filter(|row| row["code"] == 3010).map(|row| &row["balance"]).collect();
    assert_eq!(equity, [&json!("408.90")]);
}

#[tokio::test]
async fn what_was_paid_in_a_financial_year_is_certified() {
    let terms = json!({"annual_rate_pct": "12", "instalments": 12, "day_count": "act/365"});
    let branch = Branch::open("2026-03-15", product(terms)).await;
    let path = branch.lend("C-1", "L-1", "100000").await;
    branch.on("2026-03-20").await;
    branch.done(&format!("{path}/charges"), json!({"name": "visit", "amount": "100"}), "200").await;
    branch.on("2026-05-02").await;
    branch.pay(&path, "9000").await;
    let certificate = |fy: &str| format!("{path}/interest_certificate?fy={fy}");
    let first = branch.get(&certificate("2025-26")).await;
    check_object(&first, &schemas::INTEREST_CERTIFICATE, "certificate");
    assert_eq!(
        (&first["interest_paid"], &first["is_final"], &first["to"]),
        (&json!("0.00"), &json!(true), &json!("2026-03-31"))
    );
    assert_eq!((&first["opening_principal"], &first["closing_principal"]), (&json!("0.00"), &json!("100000.00")));
    let second = branch.get(&certificate("2026-27")).await;
    let loan = branch.get(&path).await;
    assert_eq!(
        (&second["interest_paid"], &second["principal_paid"]),
        (&loan["totals"]["interest"], &loan["totals"]["principal"])
    );
    assert_eq!((&second["fees_paid"], &second["is_final"]), (&json!("118.00"), &json!(false)));
    assert_eq!(
        paise(&second["opening_principal"]) - paise(&second["principal_paid"]),
        paise(&second["closing_principal"])
    );
    for wrong in ["2027-28", "2026", "2026-28", ""] {
        let said = branch.server.get(&certificate(wrong)).await;
        assert_eq!(said.brief(), "422 invalid_parameter", "{wrong}");
    }
}

#[tokio::test]
async fn a_year_goes_to_an_account_that_will_do_and_nowhere_else() {
    let branch = Branch::open("2026-03-30", product(json!({"annual_rate_pct": "12", "instalments": 12}))).await;
    branch.done("/v1/accounts", json!({"currency": "INR", "type": "asset", "external_id": "A"}), "201").await;
    let send = |body: Value| {
        let server = &branch.server;
        async move {
            let headers = [("content-type", "application/json")];
            server.send("PATCH", "/v1/loan_products/ext:P-1", &headers, body.to_string()).await
        }
    };
    for (name, wanted) in [("ext:A", "422 account_unsuitable"), ("ext:nowhere", "422 account_not_found")] {
        assert_eq!(send(json!({"year_end_account": name})).await.brief(), wanted, "{name}");
    }
    let set = send(json!({"year_end_account": "ext:RE"})).await;
    let account = branch.get("/v1/accounts/ext:RE").await["id"].clone();
    assert_eq!((set.brief().as_str(), &set.json()["year_end_account"]), ("200", &account), "{:?}", set.body);
    let removed = send(json!({"year_end_account": null})).await;
    assert_eq!((removed.brief().as_str(), &removed.json()["year_end_account"]), ("200", &Value::Null));
    // Nobody asked for it: income stays where it is.
    branch.lend("C-1", "L-1", "50000").await;
    branch.on(&after("2026-03-31", 3)).await;
    assert_ne!(branch.line("2026-03-31", "corrected", 4090).await, "0.00");
    assert_eq!(branch.line("2026-04-02", "corrected", 3010).await, "0.00");
}
