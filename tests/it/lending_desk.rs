//! What a branch does beside taking instalments: it settles, pauses and watches; and what it is kept from.

use serde_json::{Value, json};

use crate::http_edge::Server;
use crate::identity::{get, make, post, token_of, with_admin};
use crate::lending_days::{after, paise};
use crate::loans::{Branch, check_statement, product};

fn settlement(amount: &str, on: &str) -> Value {
    json!({"amount": amount, "value_date": on, "mode": "rtgs", "reference": "RTGS-9", "reason": "long illness"})
}

#[tokio::test]
async fn a_settled_loan_is_over_keeps_its_class_and_can_be_taken_back() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    branch.open_day(&after(&due_on, 95)).await;
    let today = branch.today().await;
    let before = branch.get(&path).await;
    assert_eq!((&before["class"], &before["status"]), (&json!("npa"), &json!("active")));
    let quote = branch.get(&format!("{path}/foreclosure_quote")).await;
    let owed = ["principal", "interest", "fees", "penal"].iter().map(|name| paise(&quote[*name])).sum::<i64>();
    let settle = format!("{path}/settle");
    let all = format!("{}.{:02}", owed / 100, owed % 100);
    assert_eq!(branch.post(&settle, settlement(&all, &today)).await.brief(), "422 amount_above_due");
    assert_eq!(branch.post(&settle, settlement("0", &today)).await.brief(), "422 amount_zero");
    let mut nameless = settlement("70000", &today);
    nameless.as_object_mut().expect("an object").remove("reason");
    assert_eq!(branch.post(&settle, nameless).await.brief(), "422 validation_failed");

    let settled = branch.done(&settle, settlement("70000", &today), "200").await;
    assert_eq!((&settled["type"], &settled["amount"]), (&json!("settlement"), &json!("70000.00")));
    assert_eq!(paise(&settled["given_up"]), owed - 7_000_000);
    let loan = &settled["loan_after"];
    assert_eq!((&loan["status"], &loan["class"]), (&json!("settled"), &json!("npa")));
    for name in ["principal_outstanding", "interest_due", "fee_due", "penal_due", "advance"] {
        assert_eq!(loan[name], "0.00", "{name}");
    }
    assert_eq!(&branch.get(&path).await, loan);
    let statement = branch.get(&format!("{path}/statement")).await;
    check_statement(&statement);
    assert_eq!(statement["closing"], "0.00");
    let last = statement["data"].as_array().expect("lines").last().expect("lines");
    assert_eq!((&last["type"], paise(&last["credit"])), (&json!("settlement"), owed - 7_000_000));
    assert_eq!(branch.get("/v1/reports/dues").await["data"], json!([]));
    assert_eq!(branch.get("/v1/loans?status=settled").await["data"][0]["id"], loan["id"]);
    assert_eq!(branch.post(&format!("{path}/close"), json!({})).await.brief(), "409 loan_not_active");
    branch.get(&format!("{path}/schedule")).await;
    branch.get(&format!("{path}/explain")).await;
    // The class stays when days go by.
    branch.open_day(&after(&today, 40)).await;
    assert_eq!(branch.get(&path).await["class"], "npa");
    let moved = branch.get(&format!("/v1/reports/npa_movement?from={today}&to={today}")).await;
    let part = |name: &str| paise(&moved["totals"][name]["principal"]);
    assert_eq!((part("opening"), part("closing")), (12_000_000, 0));
    assert_eq!(part("opening"), part("recovered") + part("written_off"));
    assert_eq!(moved["totals"]["written_off"]["loans"], 1);

    // It turns out that the money never came.
    let reverse = format!("{path}/repayments/{}/reverse", settled["id"].as_str().expect("an id"));
    branch.done(&reverse, json!({"reason": "returned"}), "200").await;
    let again = branch.get(&path).await;
    assert_eq!((&again["status"], &again["class"]), (&json!("active"), &json!("npa")));
    assert_eq!(again["principal_outstanding"], "120000.00");
    check_statement(&branch.get(&format!("{path}/statement")).await);
    let server = server.restart();
    assert_eq!(server.get(&path).await.json(), again);
}

/// Limits of a key cover what is let go, not only what comes.
#[tokio::test]
async fn a_settlement_is_bounded_by_the_limit_of_its_key() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let today = branch.today().await;
    let made =
        server.send("POST", "/v1/api_keys", &[("content-type", "application/json")], r#"{"name":"a","role":"admin"}"#);
    let admin = token_of(&made.await.json());
    let terms = json!({"name": "Meera", "role": "manager", "amount_limit": "60000"});
    let token = token_of(&make(&server, &admin, terms).await);
    for (amount, expected) in
        [("59000", "403 amount_limit_exceeded"), ("61000", "403 amount_limit_exceeded"), ("60000", "200")]
    {
        let body = settlement(amount, &today).to_string();
        let said = post(&server, &token, &format!("{path}/settle"), &format!("s{amount}"), body).await;
        assert_eq!(said.brief(), expected, "{amount}: {:?}", said.body);
    }
}

#[tokio::test]
async fn a_pause_and_a_watch_are_shown_and_change_nothing_else() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let (path, other) = (branch.active("L-1").await, branch.active("L-2").await);
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    branch.open_day(&after(&due_on, 5)).await;
    let until = after(&due_on, 20);
    let because = |until: &str| json!({"until": until, "reason": "a flood"});
    for wrong in [after(&due_on, 4), after(&due_on, 5 + 366)] {
        assert_eq!(branch.post(&format!("{path}/pause"), because(&wrong)).await.brief(), "422 pause_invalid");
    }
    let paused = branch.done(&format!("{path}/pause"), because(&until), "200").await;
    let watched = branch.done(&format!("{path}/watch"), json!({"reason": "moved"}), "200").await;
    assert_eq!((&paused["paused_until"], &paused["watched"]), (&json!(until), &json!(false)));
    assert_eq!((&watched["paused_until"], &watched["watched"]), (&json!(until), &json!(true)));
    let rows = branch.get("/v1/reports/dues").await["data"].clone();
    assert_eq!((&rows[0]["paused_until"], &rows[0]["watched"]), (&json!(until), &json!(true)));
    assert_eq!((&rows[1]["paused_until"], &rows[1]["watched"]), (&Value::Null, &json!(false)));
    for days in [20, 21, 95] {
        branch.open_day(&after(&due_on, days)).await;
        let (one, two) = (branch.get(&path).await, branch.get(&other).await);
        for name in ["dpd", "class", "interest_due", "principal_due", "penal_due", "interest_accrued"] {
            assert_eq!(one[name], two[name], "{name} after {days} days");
        }
        assert_eq!(one["paused_until"].is_null(), days > 20, "a pause that is over is none");
    }
    let listed = branch.get("/v1/reports/npa").await;
    assert_eq!((&listed["data"][0]["watched"], &listed["data"][1]["watched"]), (&json!(true), &json!(false)));
    let past = branch.get(&format!("/v1/reports/dues?on={}", after(&due_on, 19))).await;
    assert_eq!(past["data"][0]["paused_until"], until);
    branch.done(&format!("{path}/watch"), json!({"on": false, "reason": "found"}), "200").await;
    let server = server.restart();
    assert_eq!(server.get(&path).await.json()["watched"], false);
}

#[tokio::test]
async fn a_transfer_of_a_loans_record_is_undone_by_the_loans_own_command() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let today = branch.today().await;
    branch.done(&format!("{path}/charges"), json!({"name": "late", "kind": "penal", "amount": "100"}), "200").await;
    let body = json!({"amount": "100", "value_date": today, "mode": "upi", "reference": "P-1"});
    let receipt = branch.done(&format!("{path}/repayments"), body, "200").await;
    assert_eq!(receipt["split"]["penal"], "100.00");
    branch.open_day(&after(&today, 1)).await;
    // Settlement against penal income, the fee out of the disbursal, interest of a day: some on control accounts.
    let mut refused = 0;
    for date in [&today, &after(&today, 1)] {
        let listed = branch.get(&format!("/v1/transfers?date={date}&limit=100")).await;
        for transfer in listed["data"].as_array().expect("transfers") {
            let reverse = format!("/v1/transfers/{}/reverse", transfer["id"].as_str().expect("an id"));
            let said = branch.post(&reverse, json!({"reason": "a try"})).await;
            assert_eq!(said.brief(), "422 transfer_of_lending", "{transfer}");
            assert!(said.json()["detail"].as_str().expect("words").contains("/repayments/{event}/reverse"));
            refused += 1;
        }
    }
    assert!(refused >= 4, "{refused}");
    // By its own command it is undone; what somebody else posted is reversed as before.
    let reverse = format!("{path}/repayments/{}/reverse", receipt["id"].as_str().expect("an id"));
    branch.done(&reverse, json!({"reason": "returned"}), "200").await;
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let own = json!({"debit_account": "ext:A", "credit_account": "ext:B", "amount": "5"});
    let own = branch.done("/v1/transfers", own, "201").await;
    let reverse = format!("/v1/transfers/{}/reverse", own["id"].as_str().expect("an id"));
    branch.done(&reverse, json!({"reason": "typing error"}), "201").await;
}

#[tokio::test]
async fn more_than_fifty_thousand_in_cash_needs_a_pan() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let today = branch.today().await;
    let pay = |amount: &str| json!({"amount": amount, "value_date": today, "mode": "cash"});
    let repay = format!("{path}/repayments");
    assert_eq!(branch.post(&repay, pay("50000.01")).await.brief(), "422 pan_missing");
    branch.done(&repay, pay("30000"), "200").await;
    assert_eq!(branch.post(&repay, pay("20000.01")).await.brief(), "422 pan_missing", "all of the day counts");
    branch.done(&repay, pay("20000"), "200").await;
    let foreclose = json!({"value_date": today, "mode": "cash"});
    assert_eq!(branch.post(&format!("{path}/foreclose"), foreclose).await.brief(), "422 pan_missing");
    let upi = json!({"amount": "1000", "value_date": today, "mode": "upi", "reference": "U"});
    branch.done(&repay, upi, "200").await;
    let pan = json!({"pan": "ABCDE1234F"}).to_string();
    let said = server.send("PATCH", "/v1/customers/ext:C-1", &[("content-type", "application/json")], pan).await;
    assert_eq!(said.brief(), "200", "{:?}", said.body);
    branch.done(&repay, pay("20000.01"), "200").await;
    assert_eq!(branch.post(&repay, pay("150000")).await.brief(), "422 cash_receipts");
}

#[tokio::test]
async fn whoever_asked_for_a_loan_does_not_pay_it_out_where_the_product_says_so() {
    let (server, admin) = with_admin().await;
    let key = |name: &'static str, role: &'static str| json!({"name": name, "role": role});
    let asha = token_of(&make(&server, &admin, key("Asha", "officer")).await);
    let ravi = token_of(&make(&server, &admin, key("Ravi", "officer")).await);
    let meera = token_of(&make(&server, &admin, key("Meera", "manager")).await);
    let mut terms = product();
    terms["disbursal_by_another"] = json!(true);
    let made = post(&server, &meera, "/v1/loan_products", "p", terms.to_string()).await;
    assert_eq!((made.brief().as_str(), &made.json()["disbursal_by_another"]), ("201", &json!(true)), "{:?}", made.body);
    let customer = json!({"kind": "individual", "name": "Asha Rao", "external_id": "C-1"}).to_string();
    assert_eq!(post(&server, &asha, "/v1/customers", "c", customer).await.brief(), "201");
    let body = json!({"customer": "ext:C-1", "product": "ext:P-1", "principal": "20000", "external_id": "L-1"});
    assert_eq!(post(&server, &asha, "/v1/loans", "l", body.to_string()).await.brief(), "201");
    let path = "/v1/loans/ext:L-1";
    assert_eq!(post(&server, &meera, &format!("{path}/approve"), "a", "{}".into()).await.brief(), "200");
    let accept = r#"{"version":1}"#.to_owned();
    assert_eq!(post(&server, &asha, &format!("{path}/accept_kfs"), "k", accept).await.brief(), "200");
    let today = get(&server, &asha, "/v1/business_day").await.json()["date"].clone();
    let body = json!({"credited_on": today, "reference": "OUT"}).to_string();
    let said = post(&server, &asha, &format!("{path}/disburse"), "d1", body.clone()).await;
    assert_eq!(said.brief(), "403 same_identity");
    let said = post(&server, &ravi, &format!("{path}/disburse"), "d2", body).await;
    assert_eq!(said.brief(), "200", "{:?}", said.body);
}
