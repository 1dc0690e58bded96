//! Loans through HTTP: from the product to the last payment, refusals on the way, replays, dry runs, reports.

use serde_json::{Value, json};

use crate::http_edge::{Said, Server};
use crate::identity::{ask, get, make, post, token_of, with_admin};

const JSON: (&str, &str) = ("content-type", "application/json");

/// A product of level instalments.
pub fn product() -> Value {
    json!({
        "name": "Small loans", "external_id": "P-1", "principal_min": "1000", "principal_max": "500000",
        "terms": {
            "annual_rate_pct": "18", "instalments": 12, "rounding": {"instalment": "1"},
            "charges": [{"name": "processing", "amount": "500", "gst_pct": "18"}],
            "penal_pct_per_month": "2", "foreclosure_charge_pct": "2", "cooling_off_days": 3,
        },
    })
}

/// Books without keys in which loans can be asked for.
pub struct Branch<'s> {
    server: &'s Server,
    keys: std::cell::Cell<u32>,
}

impl Branch<'_> {
    pub async fn open(server: &Server) -> Branch<'_> {
        let branch = Branch { server, keys: std::cell::Cell::new(0) };
        branch.done("/v1/loan_products", product(), "201").await;
        let asha = json!({"kind": "individual", "name": "Asha Rao", "external_id": "C-1"});
        branch.done("/v1/customers", asha, "201").await;
        branch
    }

    pub async fn post(&self, path: &str, body: Value) -> Said {
        self.keys.set(self.keys.get() + 1);
        self.server.post(path, &format!("branch{}", self.keys.get()), body.to_string()).await
    }

    pub async fn done(&self, path: &str, body: Value, status: &str) -> Value {
        let said = self.post(path, body).await;
        assert_eq!(said.brief(), status, "{path}: {:?}", said.body);
        said.json()
    }

    pub async fn get(&self, path: &str) -> Value {
        let said = self.server.get(path).await;
        assert_eq!(said.brief(), "200", "{path}: {:?}", said.body);
        said.json()
    }

    pub async fn today(&self) -> String {
        self.get("/v1/business_day").await["date"].as_str().expect("a date").to_owned()
    }

    /// A loan that was asked for; its path.
    pub async fn applied(&self, external_id: &str) -> String {
        let body =
            json!({"customer": "ext:C-1", "product": "ext:P-1", "principal": "120000", "external_id": external_id});
        let loan = self.done("/v1/loans", body, "201").await;
        assert_eq!(loan["status"], "applied");
        format!("/v1/loans/{}", loan["id"].as_str().expect("an id"))
    }

    /// A loan whose key facts the borrower has accepted.
    pub async fn accepted(&self, external_id: &str) -> String {
        let path = self.applied(external_id).await;
        let approved = self.done(&format!("{path}/approve"), json!({}), "200").await;
        assert_eq!((&approved["status"], &approved["kfs"]["version"]), (&json!("approved"), &json!(1)));
        let accepted = self.done(&format!("{path}/accept_kfs"), json!({"version": 1}), "200").await;
        assert_eq!(accepted["kfs"]["accepted"], true);
        path
    }

    /// A loan that is paid out.
    pub async fn active(&self, external_id: &str) -> String {
        let path = self.accepted(external_id).await;
        let body = json!({"credited_on": self.today().await, "reference": format!("OUT-{external_id}")});
        let event = self.done(&format!("{path}/disburse"), body, "200").await;
        assert_eq!((&event["type"], &event["loan_after"]["status"]), (&json!("disbursal"), &json!("active")));
        path
    }

    pub async fn open_day(&self, date: &str) {
        let body = json!({"date": date, "reason": "a test goes on"});
        let mut day = self.done("/v1/business_day/open", body, "200").await;
        assert_eq!(day["date"], date);
        // The days before it end by themselves.
        while !day["ending"].is_null() {
            tokio::task::yield_now().await;
            day = self.get("/v1/business_day").await;
        }
    }
}

/// Loans in every state in which a command can be given.
pub struct Prepared {
    pub today: String,
    /// The payment on the loan that is to be taken back.
    pub receipt: String,
}

/// Makes them, in books without keys.
pub async fn prepared(server: &Server) -> Prepared {
    let branch = Branch::open(server).await;
    let today = branch.today().await;
    for name in ["approve", "decline"] {
        branch.applied(name).await;
    }
    let approved = branch.applied("accept_kfs").await;
    branch.done(&format!("{approved}/approve"), json!({}), "200").await;
    for name in ["kfs", "disburse"] {
        branch.accepted(name).await;
    }
    let names = [
        "return",
        "repay",
        "reverse",
        "prepay",
        "foreclose",
        "waive",
        "plan",
        "write_off",
        "settle",
        "recover",
        "refund",
        "cancel",
        "close",
    ];
    for name in names {
        branch.active(name).await;
    }
    let loan = |name: &str| format!("/v1/loans/ext:{name}");
    let pay = json!({"amount": "100", "value_date": today, "mode": "cash"});
    let receipt = branch.done(&format!("{}/repayments", loan("reverse")), pay.clone(), "200").await;
    branch.done(&format!("{}/repayments", loan("refund")), pay, "200").await;
    branch.done(&format!("{}/charges", loan("waive")), json!({"name": "visit", "amount": "100"}), "200").await;
    branch.done(&format!("{}/write_off", loan("recover")), json!({"reason": "gone"}), "200").await;
    let all = json!({"amount": "120000", "value_date": today, "keep": "term"});
    branch.done(&format!("{}/prepayments", loan("close")), all, "200").await;
    Prepared { today, receipt: receipt["id"].as_str().expect("an id").to_owned() }
}

impl Prepared {
    /// The loan and the body for a command about loans.
    pub fn order(&self, operation_id: &str) -> Option<(&'static str, String)> {
        let today = &self.today;
        let (loan, body) = match operation_id {
            "approve_loan" => ("ext:approve", json!({})),
            "decline_loan" => ("ext:decline", json!({"reason": "income"})),
            "issue_kfs" => ("ext:kfs", json!({})),
            "accept_kfs" => ("ext:accept_kfs", json!({"version": 1})),
            "disburse_loan" => ("ext:disburse", json!({"credited_on": today, "reference": "D"})),
            "return_disbursal" => ("ext:return", json!({})),
            "create_repayment" => {
                ("ext:repay", json!({"amount": "5", "value_date": today, "mode": "upi", "reference": "R"}))
            }
            "reverse_repayment" => ("ext:reverse", json!({"reason": "typing error"})),
            "create_prepayment" => ("ext:prepay", json!({"amount": "500", "value_date": today, "keep": "instalment"})),
            "foreclose_loan" => ("ext:foreclose", json!({"value_date": today, "reference": "F"})),
            "create_loan_charge" => ("ext:repay", json!({"name": "statement", "amount": "50"})),
            "waive_dues" => ("ext:waive", json!({"fee": "118", "gst": "18", "reason": "nobody came"})),
            "reschedule_loan" => {
                ("ext:plan", json!({"annual_rate_pct": "15", "instalments": 24, "first_due_on": "2040-01-01"}))
            }
            "reset_rate" => ("ext:prepay", json!({"annual_rate_pct": "16.5", "keep": "term"})),
            "write_off_loan" => ("ext:write_off", json!({"reason": "gone"})),
            "settle_loan" => (
                "ext:settle",
                json!({"amount": "90000", "value_date": today, "mode": "upi", "reference": "S", "reason": "illness"}),
            ),
            "pause_loan" => ("ext:prepay", json!({"until": today, "reason": "a death in the family"})),
            "watch_loan" => ("ext:prepay", json!({"reason": "moved away"})),
            "recover_loan" => ("ext:recover", json!({"amount": "5", "mode": "cash"})),
            "refund_advance" => ("ext:refund", json!({"amount": "50", "mode": "cash"})),
            "cancel_loan" => ("ext:cancel", json!({})),
            "close_loan" => ("ext:close", json!({})),
            _ => return None,
        };
        Some((loan, body.to_string()))
    }
}

fn paise(text: &Value) -> i64 {
    text.as_str().expect("an amount").replace('.', "").parse().expect("two decimals")
}

/// Debits less credits.
fn moved(line: &Value) -> i64 {
    let side = |name: &str| if line[name].is_null() { 0 } else { paise(&line[name]) };
    side("debit") - side("credit")
}

pub fn check_statement(statement: &Value) {
    let lines = statement["data"].as_array().expect("lines");
    let mut balance = paise(&statement["opening"]);
    for line in lines {
        balance += moved(line);
        assert_eq!(balance, paise(&line["balance"]), "{line}");
    }
    assert_eq!(balance, paise(&statement["closing"]));
}

#[tokio::test]
async fn a_loan_goes_from_its_product_to_its_last_payment() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let start = branch.today().await;
    let path = branch.active("L-1").await;
    let loan = branch.get(&path).await;
    assert_eq!(branch.get("/v1/loans/ext:L-1").await, loan);
    assert_eq!((&loan["instalment"], &loan["instalments_left"]), (&json!("11002.00"), &json!(12)));
    assert_eq!((&loan["principal_outstanding"], &loan["disbursed_on"]), (&json!("120000.00"), &json!(start)));

    // The rows are those of the calculation of the same terms.
    let mut terms = product()["terms"].clone();
    for extra in ["penal_pct_per_month", "foreclosure_charge_pct", "cooling_off_days"] {
        terms.as_object_mut().expect("terms").remove(extra);
    }
    terms["principal"] = json!("120000");
    terms["disbursed_on"] = json!(start);
    let said = server.send("POST", "/v1/loan_calculations", &[JSON], terms.to_string()).await;
    let calculation = said.json();
    for query in ["", "?version=1"] {
        let schedule = branch.get(&format!("{path}/schedule{query}")).await;
        let rows = schedule["rows"].as_array().expect("rows");
        let expected = calculation["schedule"].as_array().expect("rows");
        assert_eq!(rows.len(), expected.len());
        for (row, wanted) in rows.iter().zip(expected) {
            for name in ["n", "due_on", "opening", "principal", "interest", "instalment", "closing"] {
                assert_eq!(row[name], wanted[name], "{query} {row}");
            }
        }
    }
    let kfs = branch.get(&format!("{path}/kfs")).await;
    assert_eq!((&kfs["status"], &kfs["part_1"]["apr_pct"]), (&json!("accepted"), &calculation["apr_pct"]));

    // A month on, the first instalment is due; paid on its day it is in time.
    let due_on = loan["next_due_on"].as_str().expect("a date").to_owned();
    branch.open_day(&due_on).await;
    let due = branch.get(&path).await;
    assert_eq!((&due["interest_due"], &due["principal_due"]), (&json!("1800.00"), &json!("9202.00")));
    assert_eq!((&due["oldest_due_on"], &due["as_of"]), (&json!(due_on), &json!(due_on)));
    let listed = branch.get("/v1/reports/dues").await;
    assert_eq!((&listed["data"][0]["total_due"], &listed["data"][0]["bucket"]), (&json!("11002.00"), &json!("today")));
    let body = json!({"amount": "12000", "value_date": due_on, "mode": "upi", "reference": "UPI-1"});
    let receipt = branch.done(&format!("{path}/repayments"), body, "200").await;
    let split = json!({"penal": "0.00", "fee": "0.00", "interest": "1800.00", "principal": "9202.00", "prepaid": "0.00", "advance": "998.00"});
    assert_eq!((&receipt["split"], &receipt["type"]), (&split, &json!("repayment")));
    assert_eq!(receipt["loan_after"], branch.get(&path).await);

    // Ten days later the borrower pays the rest.
    let later = branch.get(&format!("{path}/foreclosure_quote")).await;
    assert_eq!((&later["principal"], &later["advance"]), (&json!("110798.00"), &json!("998.00")));
    assert_eq!(later["charge"], "2215.96");
    let statement = branch.get(&format!("{path}/statement")).await;
    check_statement(&statement);
    assert_eq!(statement["closing"], "109800.00");
    let body = json!({"value_date": due_on, "reference": "RTGS-1", "mode": "rtgs", "amount": later["total"]});
    let wrong = json!({"value_date": due_on, "reference": "RTGS-1", "mode": "rtgs", "amount": "1"});
    let said = branch.post(&format!("{path}/foreclose"), wrong).await;
    assert_eq!(said.brief(), "422 amount_not_quoted");
    let ended = branch.done(&format!("{path}/foreclose"), body, "200").await;
    assert_eq!((&ended["charge"], &ended["loan_after"]["status"]), (&json!("2215.96"), &json!("closed")));
    let statement = branch.get(&format!("{path}/statement")).await;
    check_statement(&statement);
    assert_eq!(statement["closing"], "0.00");
    let book = branch.get("/v1/reports/day_book").await;
    let types: Vec<&Value> = book["data"].as_array().expect("rows").iter().map(|row| &row["type"]).collect();
    assert_eq!(json!(types), json!(["repayment", "foreclosure"]));
    let gst = branch.get(&format!("/v1/reports/gst?on={start}")).await;
    assert_eq!((&gst["data"][0]["taxable"], &gst["data"][0]["gst"]), (&json!("500.00"), &json!("90.00")));
}

#[tokio::test]
async fn a_payment_that_comes_back_was_never_there() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    branch.open_day(&due_on).await;
    let before = branch.get(&path).await;
    let body = json!({"amount": "11002", "value_date": due_on, "mode": "nach", "reference": "N-1"});
    let receipt = branch.done(&format!("{path}/repayments"), body.clone(), "200").await;
    let again = branch.post(&format!("{path}/repayments"), body).await;
    assert_eq!(again.brief(), "409 payment_reference_exists");
    let reverse = format!("{path}/repayments/{}/reverse", receipt["id"].as_str().expect("an id"));
    let reversal = branch.done(&reverse, json!({"reason": "no funds"}), "200").await;
    assert_eq!((&reversal["undoes"], &reversal["type"]), (&receipt["id"], &json!("repayment_reversal")));
    let after = branch.get(&path).await;
    for name in ["interest_due", "principal_due", "principal_outstanding", "advance", "dpd", "next_due_on"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(branch.post(&reverse, json!({"reason": "again"})).await.brief(), "404 loan_event_not_found");
    let listed = branch.get(&format!("{path}/repayments")).await;
    assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["undone_by"]), (&receipt["id"], &reversal["id"]));
    let statement = branch.get(&format!("{path}/statement")).await;
    check_statement(&statement);
    assert_eq!(statement["closing"], "121800.00");

    // A fee, a part of it let go, an advance, its way back.
    let fee = branch
        .done(&format!("{path}/charges"), json!({"name": "returned mandate", "amount": "500", "kind": "bounce"}), "200")
        .await;
    assert_eq!((&fee["gst"], &fee["loan_after"]["fee_due"]), (&json!("90.00"), &json!("590.00")));
    let waived =
        branch.done(&format!("{path}/waive"), json!({"fee": "590", "gst": "90", "reason": "our fault"}), "200").await;
    assert_eq!((&waived["waived"]["gst"], &waived["loan_after"]["fee_due"]), (&json!("90.00"), &json!("0.00")));
    let body = json!({"amount": "12002", "value_date": due_on, "mode": "cash"});
    let paid = branch.done(&format!("{path}/repayments"), body, "200").await;
    assert_eq!(paid["loan_after"]["advance"], "1000.00");
    let refund = branch
        .done(&format!("{path}/refund"), json!({"amount": "1000", "mode": "imps", "reference": "R-1"}), "200")
        .await;
    assert_eq!(refund["loan_after"]["advance"], "0.00");
    check_statement(&branch.get(&format!("{path}/statement")).await);

    // Ahead, and at another rate.
    let body = json!({"amount": "20000", "value_date": due_on, "keep": "term"});
    let prepaid = branch.done(&format!("{path}/prepayments"), body, "200").await;
    assert_eq!((&prepaid["split"]["prepaid"], &prepaid["mode"]), (&json!("20000.00"), &json!("neft")));
    let reset = branch.done(&format!("{path}/rate_reset"), json!({"annual_rate_pct": "15"}), "200").await;
    assert_eq!(reset["loan_after"]["annual_rate_pct"], "15");
    let schedule = branch.get(&format!("{path}/schedule")).await;
    assert_eq!((&schedule["version"], schedule["versions"].as_array().map(Vec::len)), (&json!(3), Some(3)));
    let to_come = paise(&schedule["principal_to_come"]);
    assert_eq!(to_come, paise(&reset["loan_after"]["principal_outstanding"]));
    for version in 1..=3 {
        branch.get(&format!("{path}/schedule?version={version}")).await;
    }
    assert_eq!(server.get(&format!("{path}/schedule?version=4")).await.brief(), "422 invalid_parameter");
}

#[tokio::test]
async fn every_figure_is_explained_from_the_history() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    branch.open_day(&due_on).await;
    let loan = branch.get(&path).await;
    let explained = branch.get(&format!("{path}/explain")).await;
    let figures = explained["figures"].as_array().expect("figures");
    for node in figures.iter().filter(|node| node["figure"] != "split") {
        assert_eq!(node["value"], loan[node["figure"].as_str().expect("a name")], "{node}");
    }
    let one = branch.get(&format!("{path}/explain?figure=interest_due")).await;
    let piece = &one["figures"][0]["parts"][0]["pieces"][0];
    assert_eq!((&piece["balance"], &piece["annual_rate_pct"]), (&json!("120000.00"), &json!("18")));
    assert_eq!(server.get(&format!("{path}/explain?figure=colour")).await.brief(), "422 invalid_parameter");
}

/// Where loans of three kinds are, and the business date.
struct Places {
    today: String,
    applied: String,
    accepted: String,
    active: String,
}

/// Path, body, and what it is refused with.
type Refused = (String, Value, &'static str);

fn refused_applications() -> Vec<Refused> {
    let with = |name: &str, value: Value| {
        let mut body = json!({"customer": "ext:C-1", "product": "ext:P-1", "principal": "5000"});
        body[name] = value;
        ("/v1/loans".to_owned(), body)
    };
    let table = [
        (with("customer", json!("ext:nobody")), "422 customer_not_found"),
        (with("customer", json!("cust_00000000000zz")), "422 customer_not_found"),
        (with("product", json!("ext:nothing")), "422 loan_product_not_found"),
        (with("principal", json!("999")), "422 principal_out_of_range"),
        (with("principal", json!(5000)), "422 validation_failed"),
        (with("principal", json!("5000.001")), "422 validation_failed"),
        (with("annual_rate_pct", json!("1001")), "422 loan_terms_invalid"),
        (with("charges", json!([{"name": "all of it", "amount": "5000"}])), "422 loan_terms_invalid"),
        (with("external_id", json!("A")), "409 external_id_exists"),
    ];
    table.into_iter().map(|((path, body), expected)| (path, body, expected)).collect()
}

fn refused_decisions(places: &Places) -> Vec<Refused> {
    let Places { today, applied, accepted, active } = places;
    let paid_out = |more: Value| {
        let mut body = json!({"credited_on": today});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        (format!("{accepted}/disburse"), body)
    };
    let plan = json!({"annual_rate_pct": "15", "instalments": 0, "first_due_on": "2040-01-01"});
    let table = [
        ((format!("{NOBODY}/approve"), json!({})), "404 loan_not_found"),
        ((format!("{accepted}/approve"), json!({})), "409 loan_not_applied"),
        ((format!("{active}/decline"), json!({"reason": "late"})), "409 loan_not_applied"),
        ((format!("{applied}/accept_kfs"), json!({"version": 1})), "409 kfs_not_issued"),
        ((format!("{accepted}/accept_kfs"), json!({"version": 2})), "409 kfs_version"),
        ((format!("{applied}/disburse"), json!({"credited_on": today, "reference": "x"})), "409 loan_not_approved"),
        (paid_out(json!({})), "422 validation_failed"),
        (paid_out(json!({"mode": "cash"})), "422 cash_disbursal"),
        (paid_out(json!({"reference": "x", "amount": "120000.01"})), "422 amount_above_sanction"),
        (paid_out(json!({"reference": "x", "amount": "590"})), "422 deductions_too_high"),
        (paid_out(json!({"reference": "x", "from_account": "ext:nowhere"})), "422 account_unsuitable"),
        ((format!("{active}/rate_reset"), json!({"annual_rate_pct": "1001"})), "422 rate_invalid"),
        ((format!("{active}/reschedule"), plan), "422 rows_invalid"),
        ((format!("{active}/close"), json!({})), "422 loan_balance_left"),
    ];
    table.into_iter().map(|((path, body), expected)| (path, body, expected)).collect()
}

fn refused_payments(places: &Places) -> Vec<Refused> {
    let Places { today, accepted, active, .. } = places;
    let cash = |loan: &str, amount: &str, on: &str| {
        (format!("{loan}/repayments"), json!({"amount": amount, "value_date": on, "mode": "cash"}))
    };
    let order = |verb: &str, body: Value| (format!("{active}/{verb}"), body);
    let by_upi = json!({"amount": "5", "value_date": today, "mode": "upi"});
    let ahead = json!({"amount": "500000", "value_date": today, "keep": "term"});
    let table = [
        (cash(accepted, "5", today), "409 loan_not_active"),
        (cash(active, "0", today), "422 amount_zero"),
        (cash(active, "1.001", today), "422 validation_failed"),
        (cash(active, "200000", today), "422 cash_receipts"),
        (cash(active, "5", "2149-01-01"), "422 date_in_future"),
        // On that day there was no loan.
        (cash(active, "5", "2020-01-01"), "409 loan_not_active"),
        (order("repayments", by_upi), "422 validation_failed"),
        (order("repayments/x/reverse", json!({"reason": "none"})), "404 loan_event_not_found"),
        (order("repayments/evt_0000000000001/reverse", json!({"reason": "none"})), "404 loan_event_not_found"),
        (order("return_disbursal", json!({"disbursal": "evt_0000000000001"})), "422 loan_event_not_found"),
        (order("prepayments", ahead), "422 amount_above_due"),
        (order("waive", json!({"interest": "1", "reason": "none is due"})), "422 amount_above_due"),
        (order("refund", json!({"amount": "1", "mode": "cash"})), "422 amount_above_advance"),
        (order("recover", json!({"amount": "1", "mode": "cash"})), "409 loan_not_written_off"),
        (order("cancel", json!({"amount": "1", "mode": "cash"})), "422 amount_not_quoted"),
        (order("charges", json!({"name": "visit", "amount": "-1"})), "422 validation_failed"),
    ];
    table.into_iter().map(|((path, body), expected)| (path, body, expected)).collect()
}

const NOBODY: &str = "/v1/loans/loan_00000000000zz";

#[tokio::test]
async fn what_cannot_be_is_refused_in_words_of_the_contract() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let places = Places {
        today: branch.today().await,
        applied: branch.applied("A").await,
        accepted: branch.accepted("K").await,
        active: branch.active("L").await,
    };
    let orders = [refused_applications(), refused_decisions(&places), refused_payments(&places)].concat();
    for (path, body, expected) in orders {
        let said = branch.post(&path, body.clone()).await;
        assert_eq!(said.brief(), expected, "{path} {body}");
    }
    for path in ["", "/kfs", "/schedule", "/statement", "/explain", "/repayments", "/foreclosure_quote"] {
        assert_eq!(server.get(&format!("{NOBODY}{path}")).await.brief(), "404 loan_not_found", "{path}");
    }
    let Places { applied, active, .. } = places;
    for (path, expected) in [
        (format!("{applied}/foreclosure_quote"), "409 loan_not_active"),
        (format!("{active}/foreclosure_quote?on=2020-01-01"), "422 invalid_parameter"),
        ("/v1/reports/dues?on=2140-01-01".into(), "422 invalid_parameter"),
        ("/v1/loan_products/ext:nothing".into(), "404 loan_product_not_found"),
    ] {
        assert_eq!(server.get(&path).await.brief(), expected, "{path}");
    }
    let day = branch.post("/v1/business_day/open", json!({"date": "2020-01-01"})).await;
    assert_eq!(day.brief(), "409 business_day_invalid");
}

/// The regulator's own example, from a product to the statement that the borrower signs.
#[tokio::test]
async fn the_key_facts_statement_is_that_of_the_regulator() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let body = json!({
        "name": "Annex B", "external_id": "V01",
        "terms": {
            "annual_rate_pct": "15", "instalments": 24,
            "rounding": {"instalment": "none", "interest": "none", "display": "1"},
            "charges": [
                {"name": "processing", "amount": "240", "payee": "lender", "gst_pct": "0"},
                {"name": "insurance", "amount": "160", "payee": "third_party", "gst_pct": "0"},
            ],
        },
        "metadata": {"kfs_grievance_officer": "Ms Rao"},
    });
    branch.done("/v1/loan_products", body, "201").await;
    let body = json!({"customer": "ext:C-1", "product": "ext:V01", "principal": "20000", "external_id": "V"});
    branch.done("/v1/loans", body, "201").await;
    assert_eq!(branch.get("/v1/loans/ext:V/kfs").await["status"], "draft");
    branch.done("/v1/loans/ext:V/approve", json!({}), "200").await;
    branch.done("/v1/loans/ext:V/kfs", json!({}), "200").await;
    let kfs = branch.get("/v1/loans/ext:V/kfs").await;
    assert_eq!((&kfs["status"], &kfs["version"]), (&json!("issued"), &json!(2)));
    let part = &kfs["part_1"];
    assert_eq!((&part["apr_pct"], &part["instalment"]["amount"]), (&json!("17.07"), &json!("970.00")));
    assert_eq!(part["charges"]["to_third_parties"][0]["amount"], "160.00");
    assert_eq!(kfs["computation"]["total_payable"], "23274.00");
    assert_eq!(kfs["part_2"]["grievance_officer"], "Ms Rao");
    let row = &kfs["schedule"][23];
    assert_eq!(
        (&row["opening"], &row["principal"], &row["instalment"]),
        (&json!("958.00"), &json!("958.00"), &json!("970.00"))
    );
}

/// Nobody pays: the classes of the regulator, by calendar days.
#[tokio::test]
async fn a_loan_that_nobody_pays_becomes_non_performing_and_is_listed() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    let due_on: jiff::civil::Date = due_on.parse().expect("a date");
    let after = |days: i64| (due_on + jiff::Span::new().days(days)).to_string();
    // Class and days past due are those of the end of the day before.
    for (days, dpd, class) in
        [(0, 0, "standard"), (1, 1, "sma_0"), (30, 30, "sma_0"), (31, 31, "sma_1"), (61, 61, "sma_2"), (91, 91, "npa")]
    {
        branch.open_day(&after(days)).await;
        let loan = branch.get(&path).await;
        assert_eq!((&loan["dpd"], &loan["class"]), (&json!(dpd), &json!(class)), "{days}");
    }
    let loan = branch.get(&path).await;
    assert_eq!(loan["npa_since"], after(90));
    let listed = branch.get("/v1/reports/npa").await;
    assert_eq!((&listed["data"][0]["loan"], &listed["data"][0]["npa_since"]), (&loan["id"], &json!(after(90))));
    let dues = branch.get("/v1/reports/dues").await;
    assert_eq!((&dues["data"][0]["bucket"], &dues["data"][0]["dpd"]), (&json!("over_90"), &json!(91)));
    let portfolio = branch.get("/v1/reports/portfolio").await;
    assert_eq!((&portfolio["par_90"]["pct"], &portfolio["data"][0]["class"]), (&json!("100.00"), &json!("npa")));
    assert_eq!(branch.get("/v1/loans?class=sma_2").await["data"][0]["id"], loan["id"]);
    let explained = branch.get(&format!("{path}/explain")).await;
    for node in explained["figures"].as_array().expect("figures").iter().filter(|node| node["figure"] != "split") {
        assert_eq!(node["value"], loan[node["figure"].as_str().expect("a name")], "{node}");
    }
    check_statement(&branch.get(&format!("{path}/statement")).await);
    let penal = paise(&loan["penal_due"]);
    assert!(penal > 0);
    let body = json!({"amount": "5000", "value_date": after(91), "mode": "cash"});
    let paid = branch.done(&format!("{path}/repayments"), body, "200").await;
    assert_eq!(paid["split"]["interest"], "1800.00", "the oldest due date first");
    check_statement(&branch.get(&format!("{path}/statement")).await);
}

#[tokio::test]
async fn fields_of_a_product_are_refused_where_they_stand() {
    let server = Server::start();
    for (change, pointer) in [
        (json!({"terms": {"annual_rate_pct": "12"}}), "/terms/instalments"),
        (json!({"terms": {"annual_rate_pct": "12", "instalments": 12, "principal": "5"}}), "/terms/principal"),
        (json!({"terms": {"annual_rate_pct": "12", "instalments": 12, "npa_dpd": 5}}), "/terms/npa_dpd"),
        (json!({"terms": {"annual_rate_pct": "1001", "instalments": 12}}), "/terms/annual_rate_pct"),
        (json!({"appropriation": ["penal", "fee"]}), "/appropriation"),
        (json!({"principal_min": "10", "principal_max": "5"}), "/principal_max"),
        (json!({"accounts": {"colour": "ext:A"}}), "/accounts/colour"),
        (json!({"kfs_valid_days": 0}), "/kfs_valid_days"),
    ] {
        let mut body = product();
        for (name, value) in change.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let said = server.send("POST", "/v1/loan_products", &[JSON], body.to_string()).await;
        assert_eq!(said.status, 422, "{change}: {:?}", said.body);
        assert_eq!(said.json()["errors"][0]["pointer"], pointer, "{change}");
    }
    let mut body = product();
    body["accounts"] = json!({"settlement": "ext:nowhere"});
    let said = server.send("POST", "/v1/loan_products", &[JSON], body.to_string()).await;
    assert_eq!(said.status, 422, "{:?}", said.body);
}

#[tokio::test]
async fn a_product_changes_by_versions_and_loans_keep_theirs() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.applied("L-1").await;
    let made = server.get("/v1/loan_products/ext:P-1").await;
    let first = made.json();
    let id = format!("/v1/loan_products/{}", first["id"].as_str().expect("an id"));
    assert_eq!(first["accounts"].as_object().map(serde_json::Map::len), Some(16));
    assert_eq!(first["appropriation"], json!(["interest", "principal", "fee", "penal"]));
    let etag = made.header("etag").to_owned();
    let change = json!({"appropriation": ["penal", "fee", "interest", "principal"], "kfs_valid_days": 7}).to_string();
    let changed = server.send("PATCH", &id, &[JSON, ("if-match", &etag)], change.clone()).await;
    assert_eq!(changed.brief(), "200", "{:?}", changed.body);
    let second = changed.json();
    assert_eq!((&second["version"], &second["terms"]), (&json!(2), &first["terms"]));
    assert_eq!(second["appropriation"], json!(["penal", "fee", "interest", "principal"]));
    let late = server.send("PATCH", &id, &[JSON, ("if-match", &etag)], change).await;
    assert_eq!(late.brief(), "412 version_mismatch");
    assert_eq!(branch.get(&format!("{id}?version=1")).await, first);
    assert_eq!(branch.get(&id).await, second);
    assert_eq!(server.get(&format!("{id}?version=3")).await.brief(), "404 loan_product_not_found");
    let unchanged = server.send("GET", &id, &[("if-none-match", changed.header("etag"))], "").await;
    assert_eq!(unchanged.brief(), "304");
    assert_eq!(branch.get(&path).await["product_version"], 1);
    let newer = branch.applied("L-2").await;
    assert_eq!(branch.get(&newer).await["product_version"], 2);
    let server = server.restart();
    assert_eq!(server.get(&id).await.json(), second);
    assert_eq!(server.get(&format!("{id}?version=1")).await.json(), first);
}

#[tokio::test]
async fn a_repeated_key_gets_the_same_bytes_and_a_dry_run_changes_nothing() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let today = branch.today().await;
    let path = branch.active("L-1").await;
    let pay = format!("{path}/repayments");
    let body = json!({"amount": "500", "value_date": today, "mode": "upi", "reference": "U-1"}).to_string();
    let before = branch.get(&path).await;
    let dry = server.send("POST", &format!("{pay}?dry_run=true"), &[JSON], body.clone()).await;
    assert_eq!((dry.brief().as_str(), &dry.json()["dry_run"]), ("200", &json!(true)), "{:?}", dry.body);
    assert_eq!(dry.json()["split"]["advance"], "500.00");
    assert_eq!(branch.get(&path).await, before);
    assert_eq!(server.send("POST", &pay, &[JSON], body.clone()).await.brief(), "400 idempotency_key_missing");
    let first = server.post(&pay, "once", body.clone()).await;
    assert_eq!(first.brief(), "200", "{:?}", first.body);
    // Other events come between; the answer stays what it was.
    branch.done(&pay, json!({"amount": "7", "value_date": today, "mode": "cash"}), "200").await;
    let again = server.post(&pay, "once", body.clone()).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotent-replayed"), "true");
    let dry = json!({"customer": "ext:C-1", "product": "ext:P-1", "principal": "5000"}).to_string();
    let said = server.send("POST", "/v1/loans?dry_run=true", &[JSON], dry).await;
    assert_eq!((said.brief().as_str(), said.json().get("id")), ("200", None), "{:?}", said.body);
    let server = server.restart();
    let again = server.post(&pay, "once", body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body), "also after a restart");
}

#[tokio::test]
async fn a_statement_is_the_same_whenever_it_is_asked_for_as_json_and_csv() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let start = branch.today().await;
    let path = branch.active("L-1").await;
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    branch.open_day(&due_on).await;
    branch
        .done(&format!("{path}/repayments"), json!({"amount": "5000.50", "value_date": due_on, "mode": "cash"}), "200")
        .await;
    let first = server.get(&format!("{path}/statement?to={start}")).await;
    let second = branch.get(&format!("{path}/statement?from={due_on}")).await;
    assert_eq!(first.json()["closing"], second["opening"]);
    check_statement(&second);
    let again = server.get(&format!("{path}/statement?to={start}")).await;
    assert_eq!(again.body, first.body);
    let csv = server.send("GET", &format!("{path}/statement"), &[("accept", "text/csv")], "").await;
    assert_eq!((csv.brief().as_str(), csv.header("content-type")), ("200", "text/csv; charset=utf-8"));
    let text = String::from_utf8(csv.body.to_vec()).expect("text");
    assert_eq!(text.lines().count(), 6, "{text}");
    assert_ne!(csv.header("etag"), first.header("etag"));
    let unchanged =
        server.send("GET", &format!("{path}/statement"), &[("if-none-match", first.header("etag"))], "").await;
    assert_eq!(unchanged.brief(), "304");
    for report in ["day_book", "dues", "npa", "portfolio", "gst"] {
        let said = server.send("GET", &format!("/v1/reports/{report}"), &[("accept", "text/csv")], "").await;
        assert_eq!(
            (said.brief().as_str(), said.header("content-type")),
            ("200", "text/csv; charset=utf-8"),
            "{report}"
        );
        assert!(!said.body.is_empty(), "{report}");
        branch.get(&format!("/v1/reports/{report}")).await;
    }
    assert_eq!(
        server.get(&format!("{path}/statement?from=2026-02-01&to=2026-01-01")).await.brief(),
        "422 invalid_parameter"
    );
}

#[tokio::test]
async fn loans_are_found_by_who_what_and_how_they_stand() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    branch.done("/v1/customers", json!({"kind": "business", "name": "Rao & Sons", "external_id": "C-2"}), "201").await;
    for number in 1..=4 {
        branch.applied(&format!("L-{number}")).await;
    }
    let other = json!({"customer": "ext:C-2", "product": "ext:P-1", "principal": "5000"});
    branch.done("/v1/loans", other, "201").await;
    branch.active("L-9").await;
    let count = |path: &'static str| {
        let branch = &branch;
        async move { branch.get(path).await["data"].as_array().expect("rows").len() }
    };
    assert_eq!(count("/v1/loans").await, 6);
    assert_eq!(count("/v1/loans?customer=ext:C-2").await, 1);
    assert_eq!(count("/v1/loans?product=ext:P-1&customer=ext:C-1").await, 5);
    assert_eq!(count("/v1/loans?status=active").await, 1);
    assert_eq!(count("/v1/loans?class=npa").await, 0);
    for (query, expected) in [
        ("customer=ext:nobody", "422 customer_not_found"),
        ("product=ext:nothing", "422 loan_product_not_found"),
        ("status=unknown", "422 invalid_parameter"),
        ("class=worse", "422 invalid_parameter"),
    ] {
        assert_eq!(server.get(&format!("/v1/loans?{query}")).await.brief(), expected, "{query}");
    }
    let (mut path, mut seen) = ("/v1/loans?limit=2".to_owned(), Vec::new());
    loop {
        let said = server.get(&path).await;
        let page = said.json();
        seen.extend(page["data"].as_array().expect("rows").iter().map(|row| row["id"].clone()));
        let link = said.header("link").to_owned();
        let Some(next) = link.strip_prefix('<').and_then(|rest| rest.split('>').next()) else { break };
        path = next.to_owned();
    }
    assert_eq!(seen.len(), 6);
    assert!(seen.windows(2).all(|pair| pair[0].as_str() > pair[1].as_str()), "newest first");
}

/// Maker and checker are two, and each does what its role may.
#[tokio::test]
async fn who_asked_for_a_loan_does_not_approve_it() {
    let (server, admin) = with_admin().await;
    let token = |role: &'static str| {
        let (server, admin) = (&server, &admin);
        async move { token_of(&make(server, admin, json!({"name": role, "role": role})).await) }
    };
    let (officer, manager, cashier) = (token("officer").await, token("manager").await, token("cashier").await);
    let other = token("manager").await;
    let said = post(&server, &admin, "/v1/loan_products", "p", product().to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    let asha = json!({"kind": "individual", "name": "Asha", "external_id": "C-1"}).to_string();
    assert_eq!(post(&server, &officer, "/v1/customers", "c", asha).await.brief(), "201");
    let body = json!({"customer": "ext:C-1", "product": "ext:P-1", "principal": "120000", "external_id": "L-1"});
    let path = "/v1/loans/ext:L-1";
    assert_eq!(post(&server, &manager, "/v1/loans", "l", body.to_string()).await.brief(), "201");
    let approve = format!("{path}/approve");
    assert_eq!(post(&server, &officer, &approve, "a1", "{}".into()).await.brief(), "403 forbidden");
    assert_eq!(post(&server, &manager, &approve, "a2", "{}".into()).await.brief(), "403 same_identity");
    assert_eq!(post(&server, &other, &approve, "a3", "{}".into()).await.brief(), "200");
    let accept = json!({"version": 1}).to_string();
    assert_eq!(
        post(&server, &cashier, &format!("{path}/accept_kfs"), "k1", accept.clone()).await.brief(),
        "403 forbidden"
    );
    assert_eq!(post(&server, &officer, &format!("{path}/accept_kfs"), "k2", accept).await.brief(), "200");
    let today = get(&server, &cashier, "/v1/business_day").await.json()["date"].clone();
    let disburse = json!({"credited_on": today, "reference": "N-1"}).to_string();
    assert_eq!(post(&server, &officer, &format!("{path}/disburse"), "d", disburse).await.brief(), "200");
    let pay = json!({"amount": "5", "value_date": today, "mode": "cash"}).to_string();
    let paid = post(&server, &cashier, &format!("{path}/repayments"), "r", pay).await;
    assert_eq!(paid.brief(), "200", "{:?}", paid.body);
    assert!(paid.json()["by"].as_str().is_some_and(|key| key.starts_with("key_")));
    let reverse = format!("{path}/repayments/{}/reverse", paid.json()["id"].as_str().expect("an id"));
    let because = json!({"reason": "typing error"}).to_string();
    assert_eq!(post(&server, &cashier, &reverse, "v1", because.clone()).await.brief(), "403 forbidden");
    assert_eq!(post(&server, &manager, &reverse, "v2", because).await.brief(), "200");
    let limited = json!({"name": "m", "role": "manager", "amount_limit": "100"});
    let limited = token_of(&make(&server, &admin, limited).await);
    let much = json!({"amount": "101", "value_date": today, "mode": "cash"}).to_string();
    let said = ask(&server, &limited, "POST", &format!("{path}/repayments"), "m", much).await;
    assert_eq!(said.brief(), "403 amount_limit_exceeded");
}
