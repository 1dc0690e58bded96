//! Documents through HTTP and against the books: they say what the JSON beside them says, are the same bytes whenever
//! they are made, and `munim verify document` tells the genuine from the altered.

use std::path::Path;
use std::process::Command;

use munim::domain::money::Currency;
use munim::http::EdgeOptions;
use munim::jobs::documents::money::grouped;
use munim::jobs::documents::reading::{lines, payload, texts};
use munim::jobs::documents::reference::{Kind, Payload};
use serde_json::{Value, json};

use crate::http_edge::{Said, Server};
use crate::loans::Branch;

const PDF: (&str, &str) = ("accept", "application/pdf");

fn lender() -> EdgeOptions {
    EdgeOptions { lender: Some("Lakshmi Finance".into()), ..EdgeOptions::default() }
}

/// A document, whole and named.
async fn pdf(server: &Server, path: &str) -> Said {
    let said = server.get(path).await;
    assert_eq!(said.brief(), "200", "{path}: {:?}", said.body);
    assert_eq!(said.header("content-type"), "application/pdf", "{path}");
    assert!(said.header("content-disposition").starts_with("inline; filename=\""), "{path}");
    assert_eq!(said.header("as-of-seq"), payload_of(&said).reference.seq.to_string(), "{path}");
    said
}

fn payload_of(said: &Said) -> Payload {
    payload(&said.body).expect("every document has its payload")
}

/// What a document shows, line by line.
fn shown(said: &Said) -> Vec<String> {
    lines(texts(&said.body)).into_iter().map(|(_, line)| line).collect()
}

#[track_caller]
fn check_shows(said: &Said, expected: &[&str]) {
    let shown = shown(said);
    for words in expected {
        assert!(is_shown(&shown, words), "{words} is not in {shown:#?}");
    }
}

/// Whether words stand on a line, or begin on one and go on, broken between two words, alone on the next.
fn is_shown(lines: &[String], words: &str) -> bool {
    let goes_on = |(at, _): (usize, &str)| {
        let (head, tail) = (&words[..at], words[at..].trim_start());
        lines.windows(2).any(|pair| pair[0].contains(head) && pair[1] == tail)
    };
    lines.iter().any(|line| line.contains(words)) || words.match_indices(' ').any(goes_on)
}

fn paise(text: &Value) -> i128 {
    text.as_str().expect("an amount").replace('.', "").parse().expect("two decimals")
}

/// Two accounts with so many transfers between them; the number of the newest.
async fn with_transfers(server: &Server, count: usize) {
    let deposits = r#"{"external_id":"DEP","currency":"INR","type":"liability","name":"Ravi Kumar"}"#;
    assert_eq!(server.post("/v1/accounts", "dep", deposits).await.brief(), "201");
    server.open_account("CASH", "").await;
    for number in 0..count {
        transfer(server, &format!("t{number}"), json!({"amount": format!("{}.05", 90_000 + number * 7_919)})).await;
    }
}

async fn transfer(server: &Server, key: &str, mut body: Value) {
    for (name, value) in
        [("debit_account", "ext:CASH"), ("credit_account", "ext:DEP"), ("description", "UPI deposit for Ravi (till 3)")]
    {
        if body[name].is_null() {
            body[name] = value.into();
        }
    }
    let said = server.post("/v1/transfers", key, body.to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
}

#[tokio::test]
async fn a_statement_says_what_its_json_says() {
    let server = Server::with(&lender());
    with_transfers(&server, 60).await;
    for account in ["ext:DEP", "ext:CASH"] {
        let path = format!("/v1/accounts/{account}/entries");
        let json = server.get(&format!("{path}?limit=1000")).await.json();
        let said = server.send("GET", &path, &[PDF], "").await;
        assert_eq!(said.body, pdf(&server, &format!("{path}?format=pdf")).await.body, "by either way");
        check_shows(&said, &["Lakshmi Finance", "Statement of account", "Page 2 of", "Opening balance"]);
        let lines = shown(&said);
        let rows = json["data"].as_array().expect("rows");
        assert_eq!(rows.len(), 60);
        for row in rows {
            let expected = format!(
                "{}  UPI deposit for Ravi (till 3)  {}  {}  {}",
                row["effective_date"].as_str().expect("a date"),
                row["transfer"].as_str().expect("an id"),
                grouped(paise(&row["amount"]), Currency::INR),
                grouped(paise(&row["balance"]), Currency::INR),
            );
            assert!(lines.contains(&expected), "{expected} is not in {lines:#?}");
        }
        let closing = format!("₹{}", grouped(paise(&json["closing"]), Currency::INR));
        check_shows(&said, &[&closing]);
    }
    let said = pdf(&server, "/v1/accounts/ext:DEP/entries?format=pdf").await;
    let tag = said.header("etag").to_owned();
    let again = server.send("GET", "/v1/accounts/ext:DEP/entries?format=pdf", &[("if-none-match", &tag)], "").await;
    assert_eq!((again.brief().as_str(), again.body.len()), ("304", 0));
    let csv = server.get("/v1/accounts/ext:DEP/entries?format=csv").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(server.get("/v1/accounts/ext:DEP/entries?format=json").await.json()["object"], "statement");
}

#[tokio::test]
async fn what_is_no_request_for_a_document_is_refused() {
    let server = Server::start();
    with_transfers(&server, 2).await;
    let path = "/v1/accounts/ext:DEP/entries";
    for (query, expected) in [
        ("format=xls", "422 invalid_parameter"),
        ("format=pdf&limit=5", "422 invalid_parameter"),
        ("format=camt053&fields=amount", "422 invalid_parameter"),
        ("format=mt940&starting_after=1", "422 invalid_parameter"),
        ("format=pdf&from=2026-02-01&to=2026-01-01", "422 invalid_parameter"),
        ("as_of_seq=1", "422 invalid_parameter"),
        ("format=pdf&as_of_seq=0", "422 invalid_parameter"),
        ("format=pdf&as_of_seq=999999", "422 invalid_parameter"),
        ("format=pdf&as_of_seq=%2B3", "422 invalid_parameter"),
        ("format=pdf&colour=red", "422 unknown_parameter"),
        ("format=pdf&as_of_seq=2", "200"),
        // Before the account was there.
        ("format=pdf&as_of_seq=1", "404 account_not_found"),
    ] {
        assert_eq!(server.get(&format!("{path}?{query}")).await.brief(), expected, "{query}");
    }
    assert_eq!(
        server.get("/v1/accounts/ext:CASH/entries?format=pdf&as_of_seq=2").await.brief(),
        "404 account_not_found"
    );
    assert_eq!(server.get("/v1/accounts/ext:NONE/entries?format=pdf").await.brief(), "404 account_not_found");
    assert_eq!(server.get("/v1/loans/ext:NONE/no_dues").await.brief(), "404 loan_not_found");
    assert_eq!(server.get("/v1/business_day/2020-01-01/slip").await.brief(), "404 day_not_ended");
    assert_eq!(server.get("/v1/business_day/today/slip").await.brief(), "404 day_not_ended");
}

/// Whatever came later: more transfers, some of them with an earlier date, another name, a checkpoint, a new process.
#[tokio::test]
async fn a_statement_made_again_is_the_same_bytes() {
    let mut server = Server::with(&lender());
    with_transfers(&server, 30).await;
    transfer(&server, "back0", json!({"amount": "7", "effective_date": "2026-01-10"})).await;
    let all = "/v1/accounts/ext:DEP/entries?format=pdf";
    let part = format!("{all}&from=2026-01-05&to=2026-02-05");
    let later = format!("{all}&from=2026-01-11");
    let mut made = Vec::new();
    for path in [all, &part, &later] {
        let said = pdf(&server, path).await;
        made.push((format!("{path}&as_of_seq={}", said.header("as-of-seq")), said.body));
    }
    let check = async |server: &Server, when: &str| {
        for (path, body) in &made {
            assert_eq!(pdf(server, path).await.body, body, "{when}: {path}");
        }
    };
    check(&server, "at once").await;
    for round in 0..5 {
        let dates = ["2026-01-04", "2026-01-10", "2026-01-20", "2026-03-01"];
        for (number, date) in dates.iter().enumerate() {
            let body = json!({"amount": "11", "effective_date": date});
            transfer(&server, &format!("later{round}-{number}"), body).await;
        }
        transfer(&server, &format!("plain{round}"), json!({"amount": "1"})).await;
        check(&server, "after more transfers").await;
        let name = format!(r#"{{"name":"Another {round}"}}"#);
        let said = server.send("PATCH", "/v1/accounts/ext:DEP", &[("content-type", "application/json")], name).await;
        assert_eq!(said.brief(), "200");
        check(&server, "after another name").await;
        if round == 2 {
            assert!(server.engine().core().checkpoint_now(), "a checkpoint");
            check(&server, "after a checkpoint").await;
        }
    }
    let now = pdf(&server, all).await;
    assert_ne!(now.body, made[0].1);
    check_shows(&now, &["Another 4"]);
    server = Server::on(server.stop(), &munim::engine::EngineOptions::default(), &lender(), |disk| disk);
    check(&server, "in a new process").await;
    assert_eq!(pdf(&server, all).await.body, now.body);
}

#[tokio::test]
async fn banks_forms_lead_from_opening_to_closing() {
    let server = Server::start();
    with_transfers(&server, 40).await;
    let json = server.get("/v1/accounts/ext:DEP/entries?limit=1000").await.json();
    let camt = server.get("/v1/accounts/ext:DEP/entries?format=camt053").await;
    assert_eq!(camt.header("content-type"), "application/xml; charset=utf-8");
    assert!(camt.header("content-disposition").starts_with("attachment; filename=\"statement-acct_"));
    let text = String::from_utf8(camt.body.to_vec()).expect("UTF-8");
    assert_eq!(text.matches("<Ntry>").count(), 40);
    assert!(text.contains("urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"));
    assert!(
        text.contains(&format!("<Amt Ccy=\"INR\">{}</Amt>", json["closing"].as_str().expect("an amount"))),
        "{text}"
    );
    let mt940 = server.send("GET", "/v1/accounts/ext:DEP/entries", &[("accept", "text/plain")], "").await;
    assert!(mt940.header("content-disposition").ends_with(".sta\""));
    let text = String::from_utf8(mt940.body.to_vec()).expect("ASCII");
    assert_eq!((text.matches(":61:").count(), text.matches(":62F:").count()), (40, 1));
    let closing = json["closing"].as_str().expect("an amount").replace('.', ",");
    assert!(text.trim_end().trim_end_matches('-').trim_end().ends_with(&format!("INR{closing}")), "{text}");
}

/// The schedule of a loan, which has each row of its JSON.
async fn schedule_like_its_json(server: &Server, branch: &Branch<'_>, loan: &str) -> Said {
    let schedule = pdf(server, &format!("{loan}/schedule?format=pdf")).await;
    let rows = branch.get(&format!("{loan}/schedule")).await;
    for row in rows["rows"].as_array().expect("rows") {
        let of = |name: &str| grouped(paise(&row[name]), Currency::INR);
        let due = row["due_on"].as_str().expect("a date");
        let expected = format!(
            "{}  {due}  {}  {}  {}  {}",
            row["n"],
            of("opening"),
            of("principal"),
            of("interest"),
            of("instalment")
        );
        check_shows(&schedule, &[&expected]);
    }
    schedule
}

/// The statement of a loan, which has each line of its JSON.
async fn statement_like_its_json(server: &Server, branch: &Branch<'_>, loan: &str) -> Said {
    let statement = pdf(server, &format!("{loan}/statement?format=pdf")).await;
    let json = branch.get(&format!("{loan}/statement")).await;
    for line in json["data"].as_array().expect("lines") {
        let balance = grouped(paise(&line["balance"]), Currency::INR);
        check_shows(&statement, &[line["narration"].as_str().expect("words"), &balance]);
    }
    statement
}

/// A loan from its key facts to the letter that nothing is due, over four business days.
#[tokio::test]
async fn a_loans_documents_say_what_happened_and_stay_what_they_are() {
    let server = Server::with(&lender());
    let branch = Branch::open(&server).await;
    branch.open_day("2031-04-01").await;
    let loan = branch.active("L-1").await;
    let mut made = Vec::new();
    let kfs = pdf(&server, &format!("{loan}/kfs?format=pdf")).await;
    check_shows(
        &kfs,
        &[
            "Key facts statement",
            "Asha Rao",
            "₹1,20,000.00",
            "processing: ₹500.00, and tax ₹90.00",
            "Annual percentage rate",
        ],
    );
    made.push(("kfs?format=pdf", kfs));
    branch.open_day("2031-05-01").await;
    let pay = json!({"amount": "11002", "value_date": "2031-05-01", "mode": "upi", "reference": "612100000001"});
    let paid = branch.done(&format!("{loan}/repayments"), pay, "200").await;
    let event = paid["id"].as_str().expect("an id").to_owned();
    let receipt_path = format!("receipts/{event}?");
    let receipt = pdf(&server, &format!("{loan}/{receipt_path}")).await;
    let interest =
        format!("Interest  {}", paid["split"]["interest"].as_str().expect("an amount").replace("1800", "1,800"));
    check_shows(&receipt, &["Receipt", &event, "₹11,002.00", "612100000001", &interest]);
    let schedule = schedule_like_its_json(&server, &branch, &loan).await;
    let statement = statement_like_its_json(&server, &branch, &loan).await;
    made.push((receipt_path.as_str(), receipt));
    made.push(("schedule?format=pdf", schedule));
    made.push(("schedule?format=pdf&version=1", pdf(&server, &format!("{loan}/schedule?format=pdf&version=1")).await));
    made.push(("statement?format=pdf", statement));
    let bounded = "statement?format=pdf&from=2031-04-15&to=2031-05-01";
    made.push((bounded, pdf(&server, &format!("{loan}/{bounded}")).await));
    assert_eq!(server.get(&format!("{loan}/no_dues")).await.brief(), "409 dues_remain");
    assert_eq!(server.get(&format!("{loan}/receipts/evt_0000000000001")).await.brief(), "404 loan_event_not_found");
    assert_eq!(server.get(&format!("{loan}/schedule?format=pdf&version=9")).await.brief(), "422 invalid_parameter");
    branch.open_day("2031-05-20").await;
    let end = json!({"value_date": "2031-05-20", "reference": "F-1"});
    branch.done(&format!("{loan}/foreclose"), end, "200").await;
    let no_dues = pdf(&server, &format!("{loan}/no_dues")).await;
    check_shows(&no_dues, &["No-dues letter", "nothing is due from Asha Rao", "2031-05-20"]);
    made.push(("no_dues?", no_dues));
    let slip = pdf(&server, "/v1/business_day/2031-05-01/slip").await;
    check_shows(&slip, &["Day-close slip", "2031-05-01", "Small loans", "Chain head: "]);
    // What comes later changes no document that names an earlier entry.
    let said = server
        .send("PATCH", "/v1/customers/ext:C-1", &[("content-type", "application/json")], r#"{"name":"Asha Kulkarni"}"#)
        .await;
    assert_eq!(said.brief(), "200");
    branch.open_day("2031-07-01").await;
    for (path, before) in &made {
        let seq = before.header("as-of-seq");
        let again = pdf(&server, &format!("{loan}/{path}&as_of_seq={seq}")).await;
        assert_eq!(again.body, before.body, "{path} as of {seq}: {:?}\n{:?}", shown(&again), shown(before));
    }
    assert_eq!(pdf(&server, "/v1/business_day/2031-05-01/slip").await.body, slip.body);
    check_shows(&pdf(&server, &format!("{loan}/statement?format=pdf")).await, &["Asha Kulkarni"]);
}

#[tokio::test]
async fn a_payment_that_was_taken_back_is_no_proof() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let loan = branch.active("L-1").await;
    let pay = json!({"amount": "100", "value_date": branch.today().await, "mode": "cash"});
    let event = branch.done(&format!("{loan}/repayments"), pay, "200").await["id"].as_str().expect("an id").to_owned();
    let path = format!("{loan}/receipts/{event}");
    let before = pdf(&server, &path).await;
    assert!(!shown(&before).iter().any(|line| line.contains("TAKEN BACK")));
    let body = json!({"reason": "typing error"});
    branch.done(&format!("{loan}/repayments/{event}/reverse"), body, "200").await;
    check_shows(&pdf(&server, &path).await, &["TAKEN BACK"]);
    let seq = before.header("as-of-seq");
    assert_eq!(pdf(&server, &format!("{path}?as_of_seq={seq}")).await.body, before.body);
}

#[tokio::test]
async fn a_name_that_cannot_be_drawn_is_refused_at_entry() {
    let server = Server::start();
    let make = |name: &str| json!({"kind": "individual", "name": name}).to_string();
    for (name, expected) in [
        ("रवि कुमार", "201"),
        ("Zoë O’Brien", "201"),
        ("李明", "422 validation_failed"),
        ("راوی", "422 validation_failed"),
    ] {
        let said = server.post("/v1/customers", name.len().to_string().as_str(), make(name)).await;
        assert_eq!(said.brief(), expected, "{name}");
        if expected.starts_with("422") {
            let error = said.json()["errors"][0].clone();
            assert_eq!(error["pointer"], "/name");
            let number = format!("U+{:04X}", name.chars().next().expect("a letter") as u32);
            assert!(error["detail"].as_str().expect("a sentence").contains(&number), "{error}");
        }
    }
}

/// Exit status, and all that was said.
fn verify(file: &Path, folder: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_munim"))
        .args(["verify", "document", "--lender-name", "Lakshmi Finance", "--data"])
        .args([folder, file])
        .output()
        .expect("the command runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("text"))
}

#[tokio::test]
async fn the_command_tells_the_genuine_from_the_altered_and_from_other_books() {
    let files = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = files.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let server = Server::with(&lender());
    with_transfers(&server, 5).await;
    let said = pdf(&server, "/v1/accounts/ext:DEP/entries?format=pdf&from=2026-01-01").await;
    assert_eq!(payload_of(&said).reference.kind, Kind::Statement);
    transfer(&server, "more", json!({"amount": "3"})).await;
    let genuine = write("genuine.pdf", &said.body);
    let code = write("code.txt", payload_of(&said).to_string().as_bytes());
    // A digit of an amount for another, the payload kept.
    let mut altered = said.body.to_vec();
    let place = altered.windows(4).rposition(|window| window == b">Tj\n").expect("a text");
    altered[place - 1] = if altered[place - 1] == b'4' { b'5' } else { b'4' };
    let altered = write("altered.pdf", &altered);
    let richer = payload_of(&said).to_string().replace("&hash=", "&hash=00");
    let folder = server.stop();
    let others = Server::with(&lender());
    with_transfers(&others, 5).await;
    let foreign = write("foreign.pdf", &pdf(&others, "/v1/accounts/ext:DEP/entries?format=pdf").await.body);
    others.stop();
    for (file, status, words) in [
        (genuine, 0, "genuine: statement-acct_"),
        (code, 0, "hold the page beside it"),
        (altered, 1, "only in the file"),
        (foreign, 1, "other books"),
        (write("cut.txt", &richer.as_bytes()[..40]), 1, "names no document"),
        (write("other.pdf", b"%PDF-1.7\nnothing"), 1, "names no document"),
        (files.path().join("missing.pdf"), 3, "could not read"),
    ] {
        let (found, said) = verify(&file, folder.path());
        assert_eq!(found, Some(status), "{}: {said}", file.display());
        assert!(said.contains(words), "{}: {said}", file.display());
    }
}
