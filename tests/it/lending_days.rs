//! Ends of business days through HTTP: as operations, and what is told of days that are over.

use serde_json::{Value, json};

use crate::described::check_object;
use crate::http_edge::{Said, Server};
use crate::loans::Branch;
use munim::http::openapi::schemas;

const JSON: (&str, &str) = ("content-type", "application/json");

/// Asks until the operation is done.
pub async fn finished(server: &Server, location: &str) -> Value {
    loop {
        let said = server.get(location).await;
        assert_eq!(said.brief(), "200", "{location}: {:?}", said.body);
        let json = said.json();
        check_object(&json, &schemas::OPERATION, location);
        if json["status"] != "running" {
            return json;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn closing_a_day_is_an_operation_that_a_restart_does_not_forget() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    branch.active("L-1").await;
    let today = branch.today().await;
    let tomorrow = (today.parse::<jiff::civil::Date>().expect("a date") + jiff::Span::new().days(1)).to_string();
    branch.open_day(&tomorrow).await;
    let dry = server.send("POST", "/v1/business_day/close?dry_run=true", &[JSON], "{}").await;
    let json = dry.json();
    assert_eq!((dry.brief().as_str(), &json["dry_run"], json.get("id")), ("200", &json!(true), None));
    assert_eq!(dry.header("location"), "");
    assert_eq!(branch.today().await, tomorrow);

    let closed: Said = server.post("/v1/business_day/close", "close", "{}").await;
    assert_eq!(closed.brief(), "202", "{:?}", closed.body);
    let begun = closed.json();
    check_object(&begun, &schemas::OPERATION, "close");
    let location = closed.header("location").to_owned();
    assert_eq!(location, format!("/v1/operations/{}", begun["id"].as_str().expect("an id")));
    assert_eq!((&begun["kind"], &begun["progress"]["total"]), (&json!("day_end"), &json!(1)));
    let done = finished(&server, &location).await;
    let day = branch.get("/v1/business_day").await;
    assert_eq!((&done["status"], &done["result"]["date"]), (&json!("succeeded"), &json!(tomorrow)));
    assert_eq!(done["progress"], json!({"done": 1, "total": 1}));
    assert_eq!((&done["result"]["seq"], &done["result"]["seal"]), (&day["ended"]["seq"], &day["seal"]));
    assert_eq!((&done["result"]["business_date"], &done["created_at"]), (&day["date"], &begun["created_at"]));

    // Another day on, and after a restart, from the store and from the journal alone, the operation is what it was.
    let second = server.post("/v1/business_day/close", "close-2", "{}").await;
    let other = finished(&server, second.header("location")).await;
    assert_ne!(other["result"]["seal"], done["result"]["seal"]);
    let mut server = server.restart();
    for _ in 0..2 {
        assert_eq!(finished(&server, &location).await, done);
        let again = server.post("/v1/business_day/close", "close", "{}").await;
        assert_eq!((again.status, &again.body), (closed.status, &closed.body), "a replay has the same bytes");
        assert_eq!(again.header("location"), location);
        server = server.restart();
    }
    // What is no closing of a day is no operation.
    for id in ["op_0000000000001", "op_zzzzzzzzzzzzz", "op_0000000000000", "x"] {
        let said = server.get(&format!("/v1/operations/{id}")).await;
        assert_eq!(said.brief(), "404 operation_not_found", "{id}");
    }
}

#[tokio::test]
async fn without_loans_a_day_has_ended_when_it_is_closed() {
    let server = Server::start();
    let today = server.get("/v1/business_day").await.json()["date"].as_str().expect("a date").to_owned();
    let closed = server.post("/v1/business_day/close", "close", "{}").await;
    let done = finished(&server, closed.header("location")).await;
    assert_eq!((&done["status"], &done["result"]["date"]), (&json!("succeeded"), &json!(today)));
    assert_eq!(done["result"]["seal"], Value::Null);
}

pub fn after(date: &str, days: i64) -> String {
    (date.parse::<jiff::civil::Date>().expect("a date") + jiff::Span::new().days(days)).to_string()
}

pub fn paise(text: &Value) -> i64 {
    text.as_str().expect("an amount").replace('.', "").parse().expect("two decimals")
}

/// What was sealed stays as it was; what is known now is shown where it is asked for.
#[tokio::test]
async fn reports_of_days_that_are_over_are_as_sealed_or_as_known_now() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let path = branch.active("L-1").await;
    let due_on = branch.get(&path).await["next_due_on"].as_str().expect("a date").to_owned();
    let sealed = after(&due_on, 9);
    branch.open_day(&after(&due_on, 10)).await;
    let now = branch.get("/v1/reports/dues").await;
    let of = |report: &str, query: &str| format!("/v1/reports/{report}?on={sealed}{query}");
    let reports = ["dues", "npa", "portfolio", "day_book", "gst", "trial_balance"];
    let mut before = Vec::new();
    for report in reports {
        let shown = branch.get(&of(report, "")).await;
        assert_eq!((&shown["on"], &shown["as"]), (&json!(sealed), &json!("recorded")), "{report}");
        let mut corrected = branch.get(&of(report, "&as=corrected")).await;
        assert_eq!(corrected["as"], "corrected", "{report}");
        corrected["as"] = json!("recorded");
        assert_eq!(corrected, shown, "{report}: nothing came late so far");
        before.push(shown);
    }
    // Class, days past due and what is unpaid at that end of the day are what the next morning shows.
    let (past, live) = (&before[0]["data"][0], &now["data"][0]);
    for name in ["loan", "class", "dpd", "principal_due", "interest_due", "total_due", "oldest_due_on"] {
        assert_eq!(past[name], live[name], "{name}");
    }
    assert_eq!((&past["dpd"], &before[2]["totals"]["principal_outstanding"]), (&json!(10), &json!("120000.00")));

    // A receipt of the due date comes late.
    let body = json!({"amount": "11002", "value_date": due_on, "mode": "upi", "reference": "LATE-1"});
    let receipt = branch.done(&format!("{path}/repayments"), body, "200").await;
    for (report, before) in reports.iter().zip(&before) {
        assert_eq!(&branch.get(&of(report, "")).await, before, "{report}: what was sealed is not rewritten");
    }
    assert_eq!(branch.get(&of("dues", "&as=corrected")).await["data"], json!([]));
    let corrected = branch.get(&of("portfolio", "&as=corrected")).await;
    assert_eq!(corrected["totals"]["principal_outstanding"], "110798.00");
    let corrected = branch.get(&of("trial_balance", "&as=corrected")).await;
    assert_ne!(corrected["rows"], before[5]["rows"]);
    let of_due_date = format!("/v1/reports/day_book?on={due_on}");
    assert_eq!(branch.get(&of_due_date).await["data"], json!([]), "nothing was recorded on that day");
    let valued = branch.get(&format!("{of_due_date}&as=corrected")).await;
    assert_eq!(valued["data"][0]["id"], receipt["id"]);
    // After a restart it is all the same.
    let server = server.restart();
    for (report, before) in reports.iter().zip(&before) {
        assert_eq!(&server.get(&of(report, "")).await.json(), before, "{report}");
    }
    let csv = server.send("GET", &of("dues", ""), &[("accept", "text/csv")], "").await;
    assert_eq!(String::from_utf8_lossy(&csv.body).lines().count(), 2, "{:?}", csv.body);
    // The day on which it is known is no past day, and days to come are none either.
    for (query, expected) in [
        (format!("on={}", after(&due_on, 11)), "422 invalid_parameter"),
        (format!("on={sealed}&as=guessed"), "422 invalid_parameter"),
        (format!("on={}", after(&due_on, 10)), "200"),
        ("on=1990-01-01".to_owned(), "200"),
    ] {
        assert_eq!(server.get(&format!("/v1/reports/dues?{query}")).await.brief(), expected, "{query}");
    }
    assert_eq!(server.get("/v1/reports/dues?on=1990-01-01").await.json()["data"], json!([]));
}

/// A register over a span by both ways, and its bounds.
#[tokio::test]
async fn the_tax_register_is_shown_over_a_span_of_days() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let start = branch.today().await;
    let path = branch.active("L-1").await;
    branch.open_day(&after(&start, 5)).await;
    branch.done(&format!("{path}/charges"), json!({"name": "visit", "amount": "100"}), "200").await;
    let late = json!({"name": "statement", "amount": "50", "value_date": after(&start, 1)});
    let late = branch.post(&format!("{path}/charges"), late).await;
    assert_eq!(late.brief(), "200", "{:?}", late.body);
    let taxes = |report: &Value| -> Vec<i64> {
        report["data"].as_array().expect("rows").iter().map(|row| paise(&row["gst"])).collect()
    };
    let get = |from: i64, to: i64, basis: &str| {
        format!("/v1/reports/gst?from={}&to={}&as={basis}", after(&start, from), after(&start, to))
    };
    let all = branch.get(&get(0, 5, "recorded")).await;
    assert_eq!((&all["on"], &all["from"], taxes(&all)), (&Value::Null, &json!(start), vec![9_000, 1_800, 900]));
    assert_eq!(taxes(&branch.get(&get(0, 4, "recorded")).await), [9_000]);
    assert_eq!(taxes(&branch.get(&get(0, 4, "corrected")).await), [9_000, 900]);
    assert_eq!(taxes(&branch.get(&get(5, 5, "corrected")).await), [1_800]);
    // Page by page, by both ways.
    for basis in ["recorded", "corrected"] {
        let (mut path, mut found) = (format!("{}&limit=1", get(0, 5, basis)), Vec::new());
        for _ in 0..20 {
            let said = server.get(&path).await;
            found.extend(taxes(&said.json()));
            let link = said.header("link").to_owned();
            match link.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
                Some((next, _)) => path = next.to_owned(),
                None => break,
            }
        }
        found.sort_unstable();
        assert_eq!(found, [900, 1_800, 9_000], "{basis}");
    }
    for query in [
        format!("from={start}"),
        format!("to={start}"),
        format!("on={start}&from={start}&to={start}"),
        format!("from={}&to={start}", after(&start, 1)),
        format!("from={}&to={start}", after(&start, -366)),
    ] {
        assert_eq!(server.get(&format!("/v1/reports/gst?{query}")).await.brief(), "422 invalid_parameter", "{query}");
    }
}

fn sum(row: &Value, name: &str) -> (i64, i64) {
    (row[name]["loans"].as_i64().expect("a count"), paise(&row[name]["principal"]))
}

/// Checks what leads from opening to closing; gives both.
fn check_movement(row: &Value, came: &[&str], went: &[&str]) -> [(i64, i64); 2] {
    let add = |names: &[&str]| {
        names.iter().map(|name| sum(row, name)).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    };
    let (came, went, closing) = (add(came), add(went), sum(row, "closing"));
    assert_eq!((came.0 - went.0, came.1 - went.1), closing, "{row}");
    [sum(row, "opening"), closing]
}

/// How the whole portfolio moved, against the portfolio of the last day.
async fn check_portfolio(server: &Server, branch: &Branch<'_>, start: &str, last: &str) {
    let all = format!("/v1/reports/portfolio_movement?from={start}&to={last}");
    let moved = branch.get(&all).await;
    let [_, closing] = check_movement(
        &moved["totals"],
        &["opening", "restated", "disbursed", "capitalised"],
        &["received", "written_off"],
    );
    assert_eq!(sum(&moved["totals"], "disbursed"), (5, 5 * 12_000_000));
    let portfolio = branch.get(&format!("/v1/reports/portfolio?on={last}")).await;
    let totals = &portfolio["totals"];
    assert_eq!(closing, (totals["loans"].as_i64().expect("a count"), paise(&totals["principal_outstanding"])));
    let csv = server.send("GET", &all, &[("accept", "text/csv")], "").await;
    let text = String::from_utf8_lossy(&csv.body).into_owned();
    let columns: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, [15, 15], "{text}");
}

#[tokio::test]
async fn movements_lead_from_the_opening_to_the_closing() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let start = branch.today().await;
    let mut paths = Vec::new();
    for name in ["falls", "rises", "gone", "pays", "late"] {
        paths.push(branch.active(name).await);
    }
    let due_on = branch.get(&paths[0]).await["next_due_on"].as_str().expect("a date").to_owned();
    let pay = |amount: &str, on: &str, reference: &str| json!({"amount": amount, "value_date": on, "mode": "neft", "reference": reference});
    // All loans are of one borrower: each is non-performing while one is.
    let npa_on = after(&due_on, 90);
    branch.open_day(&after(&npa_on, 5)).await;
    let listed = |on: String| {
        let server = &server;
        async move {
            let report = server.get(&format!("/v1/reports/npa?on={on}")).await.json();
            let rows = report["data"].as_array().expect("rows").clone();
            (rows.len() as i64, rows.iter().map(|row| paise(&row["principal_outstanding"])).sum::<i64>())
        }
    };
    let came = ["opening", "restated", "new"];
    let went = ["upgraded", "recovered", "written_off"];
    let movement =
        |from: String, to: String, basis: &str| format!("/v1/reports/npa_movement?from={from}&to={to}&as={basis}");
    let first = branch.get(&movement(start.clone(), after(&npa_on, 4), "recorded")).await;
    let [opening, closing] = check_movement(&first["totals"], &came, &went);
    assert_eq!((opening, closing), ((0, 0), (5, 5 * 12_000_000)));
    assert_eq!(closing, listed(after(&npa_on, 4)).await);
    assert_eq!(sum(&first["totals"], "new"), closing);
    assert_eq!(first["data"].as_array().map(Vec::len), Some(1));

    // One is given up, one is paid off, one pays a part; and one turns out to have paid principal in time.
    let today = branch.today().await;
    branch.done(&format!("{}/write_off", paths[2]), json!({"reason": "gone"}), "200").await;
    let quote = branch.get(&format!("{}/foreclosure_quote", paths[3])).await;
    let body = json!({"value_date": today, "reference": "ALL", "amount": quote["total"]});
    branch.done(&format!("{}/foreclose", paths[3]), body, "200").await;
    branch.done(&format!("{}/repayments", paths[1]), pay("20000", &today, "PART"), "200").await;
    branch.done(&format!("{}/repayments", paths[4]), pay("11002", &due_on, "IN-TIME"), "200").await;
    branch.open_day(&after(&today, 3)).await;
    let second = branch.get(&movement(today.clone(), after(&today, 2), "recorded")).await;
    let [opening, closing] = check_movement(&second["totals"], &came, &went);
    assert_eq!(opening, (5, 5 * 12_000_000), "as it was sealed");
    assert_eq!(closing, listed(after(&today, 2)).await);
    assert_eq!(sum(&second["totals"], "written_off"), (1, 12_000_000));
    assert_eq!(sum(&second["totals"], "restated"), (0, -920_200), "principal of the first instalment");
    let recovered = sum(&second["totals"], "recovered");
    assert!(recovered.0 == 1 && recovered.1 > 12_000_000, "{second}");
    let corrected = branch.get(&movement(today.clone(), after(&today, 2), "corrected")).await;
    check_movement(&corrected["totals"], &came, &went);
    assert_eq!(sum(&corrected["totals"], "restated"), (0, 0));
    assert_eq!(sum(&corrected["totals"], "opening"), (5, 5 * 12_000_000 - 920_200));

    check_portfolio(&server, &branch, &start, &after(&today, 2)).await;
    // All arrears of all loans are paid: both rise.
    for (place, path) in [&paths[0], &paths[1], &paths[4]].into_iter().enumerate() {
        let loan = branch.get(path).await;
        let due: i64 =
            ["principal_due", "interest_due", "fee_due", "penal_due"].iter().map(|name| paise(&loan[*name])).sum();
        let amount = format!("{}.{:02}", due / 100, due % 100);
        let on = branch.today().await;
        branch.done(&format!("{path}/repayments"), pay(&amount, &on, &format!("UP-{place}")), "200").await;
    }
    let on = branch.today().await;
    branch.open_day(&after(&on, 1)).await;
    let third = branch.get(&movement(on.clone(), on.clone(), "recorded")).await;
    let [_, closing] = check_movement(&third["totals"], &came, &went);
    assert_eq!((closing, sum(&third["totals"], "upgraded").0), ((0, 0), 3));
    for query in [String::new(), format!("?from={on}"), format!("?from={on}&to={}", after(&on, 1))] {
        let said = server.get(&format!("/v1/reports/npa_movement{query}")).await;
        assert_eq!(said.brief(), "422 invalid_parameter", "{query}");
    }
}
