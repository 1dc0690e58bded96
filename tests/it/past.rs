//! What was: pages of lists and statements, accounts at an instant, and what must not be shown yet.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use munim::config::SCAN_ROWS_MAX;
use munim::disk::DelayDisk;
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::engine::EngineOptions;
use munim::engine::history::Reach;
use munim::engine::statement::{After, StatementQuery};

use munim::http::EdgeOptions;

use crate::http_edge::{Said, Server};

const JSON: (&str, &str) = ("content-type", "application/json");

fn transfer(amount: &str, more: &str) -> String {
    format!(r#"{{"debit_account":"ext:A","credit_account":"ext:B","amount":"{amount}"{more}}}"#)
}

fn next_of(said: &Said) -> Option<String> {
    let link = said.header("link");
    (!link.is_empty()).then(|| link.trim_start_matches('<').split('>').next().expect("a link").to_owned())
}

/// Ids of all pages from `path` on, and how many pages there were.
async fn all_pages(server: &Server, path: &str) -> (Vec<Value>, usize) {
    let (mut ids, mut next, mut pages) = (Vec::new(), Some(path.to_owned()), 0);
    while let Some(path) = next {
        let said = server.get(&path).await;
        assert_eq!(said.brief(), "200", "{path}: {:?}", said.body);
        next = next_of(&said);
        assert_eq!(said.json()["has_more"], next.is_some(), "{path}");
        for row in said.json()["data"].as_array().expect("a list") {
            ids.push(row.get("id").or(row.get("seq")).expect("an id").clone());
        }
        pages += 1;
        assert!(pages < 100, "the list does not end");
    }
    (ids, pages)
}

async fn post_many(server: &Server, count: usize) -> Vec<Value> {
    let mut ids = Vec::new();
    for number in 0..count {
        let said = server.post("/v1/transfers", &format!("t{number}"), transfer("1", "")).await;
        assert_eq!(said.brief(), "201", "{:?}", said.body);
        ids.push(said.json()["id"].clone());
    }
    ids.reverse();
    ids
}

#[tokio::test]
async fn a_days_list_goes_on_over_a_long_stretch_of_what_is_no_transfer() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let posted = post_many(&server, 3).await;
    let account = r#"{"currency":"INR","type":"asset"}"#;
    let body = format!(r#"{{"accounts":[{}]}}"#, vec![account; 9_000].join(","));
    for number in 0..3 {
        let opened = server.post("/v1/accounts/batch", &format!("b{number}"), body.clone()).await;
        assert_eq!(opened.json()["created"], 9_000);
    }
    let day = server.get("/v1/status").await.json()["business_date"].as_str().expect("a date").to_owned();
    let (ids, pages) = all_pages(&server, &format!("/v1/transfers?date={day}&limit=2")).await;
    assert_eq!(ids, posted);
    assert!(pages > 2, "a page that found nothing for long is short");
}

#[tokio::test]
async fn a_list_of_as_many_rows_as_a_page_has_says_that_it_ends() {
    let server = Server::start();
    let a = server.open_account("A", "").await;
    server.open_account("B", r#","code":7"#).await;
    server.open_account("C", r#","code":7"#).await;
    let mut posted = post_many(&server, 3).await;
    let day = server.get("/v1/status").await.json()["business_date"].as_str().expect("a date").to_owned();
    let dated = transfer("2", r#","effective_date":"2020-02-29","code":5"#);
    posted.insert(0, server.post("/v1/transfers", "dated", dated).await.json()["id"].clone());
    for (path, expected) in [
        (format!("/v1/transfers?account={a}&limit=4"), &posted[..]),
        (format!("/v1/transfers?account={a}&limit=1&code=5"), &posted[..1]),
        (format!("/v1/transfers?account={a}&limit=3&date={day}"), &posted[1..]),
        (format!("/v1/transfers?date={day}&limit=3"), &posted[1..]),
        ("/v1/transfers?date=2020-02-29&limit=1".to_owned(), &posted[..1]),
    ] {
        let (ids, pages) = all_pages(&server, &path).await;
        assert_eq!((&ids[..], pages), (expected, 1), "{path}");
    }
    for path in ["/v1/accounts?limit=3", "/v1/accounts?limit=2&code=7", &format!("/v1/accounts/{a}/entries?limit=4")] {
        assert_eq!(all_pages(&server, path).await.1, 1, "{path}");
    }
    let (ids, pages) = all_pages(&server, &format!("/v1/transfers?account={a}&limit=1&date={day}")).await;
    assert_eq!((&ids[..], pages), (&posted[1..], 3));
}

#[tokio::test]
async fn off_date_rows_of_a_day_are_listed_from_memory_and_store() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let mut posted = Vec::new();
    for round in 0..3 {
        let item = transfer("1", r#","effective_date":"2020-02-29""#);
        let body = format!(r#"{{"transfers":[{}]}}"#, vec![item; 300].join(","));
        let batch = server.post("/v1/transfers/batch", &format!("o{round}"), body).await.json();
        posted.extend(batch["results"].as_array().expect("results").iter().map(|row| row["id"].clone()));
        if round < 2 {
            let core = Arc::clone(server.engine().core());
            assert!(tokio::task::spawn_blocking(move || core.checkpoint_now()).await.expect("it ends"));
        }
    }
    posted.reverse();
    let (ids, _) = all_pages(&server, "/v1/transfers?date=2020-02-29&limit=70").await;
    assert_eq!(ids, posted);
}

#[tokio::test]
async fn a_cursor_that_names_no_place_is_refused() {
    let server = Server::start();
    let a = server.open_account("A", "").await;
    server.open_account("B", "").await;
    server.open_account("C", "").await;
    post_many(&server, 2).await;
    let stranger = r#"{"debit_account":"ext:B","credit_account":"ext:C","amount":"1"}"#;
    let stranger = server.post("/v1/transfers", "s", stranger).await.json();
    let (id, seq) = (stranger["id"].as_str().expect("an id"), stranger["seq"].as_str().expect("a seq"));
    let day = server.get("/v1/status").await.json()["business_date"].as_str().expect("a date").to_owned();
    for path in [
        format!("/v1/transfers?date={day}&starting_after=tr_0000000000000"),
        format!("/v1/transfers?date={day}&starting_after=tr_7zzzzzzzzzzzz"),
        format!("/v1/transfers?account={a}&starting_after=tr_0000000000000"),
        format!("/v1/transfers?account={a}&starting_after={id}"),
        format!("/v1/accounts/{a}/entries?starting_after={seq}"),
        format!("/v1/accounts/{a}/entries?starting_after={id}"),
        format!("/v1/accounts/{a}/entries?starting_after=0"),
        format!("/v1/accounts/{a}/entries?starting_after=99999"),
    ] {
        assert_eq!(server.get(&path).await.brief(), "422 invalid_parameter", "{path}");
    }
}

#[tokio::test]
async fn an_account_at_an_instant_is_as_it_was_recorded_then() {
    let server = Server::start();
    let a = server.open_account("A", r#","name":"before""#).await;
    server.open_account("B", "").await;
    let path = format!("/v1/accounts/{a}");
    let posted = server.post("/v1/transfers", "1", transfer("5", "")).await.json();
    let then = posted["created_at"].as_str().expect("an instant").to_owned();
    server.post("/v1/transfers", "2", transfer("7", "")).await;
    for body in [r#"{"name":"later"}"#, r#"{"metadata":{"k":"v"}}"#, r#"{"status":"frozen"}"#] {
        assert_eq!(server.send("PATCH", &path, &[JSON], body).await.brief(), "200");
    }
    let changed = server.post("/v1/accounts", "C", r#"{"currency":"INR","type":"asset"}"#).await.json();
    let later = changed["created_at"].as_str().expect("an instant").to_owned();
    let mut server = server;
    for round in 0..3 {
        let said = server.get(&format!("{path}?at={then}")).await.json();
        let shown = [&said["status"], &said["name"], &said["version"], &said["metadata"], &said["balances"]["posted"]];
        assert_eq!(shown, [&json!("open"), &json!("before"), &json!(1), &json!({}), &json!("5.00")], "round {round}");
        let said = server.get(&format!("{path}?at={later}")).await.json();
        let shown = [&said["status"], &said["name"], &said["version"], &said["balances"]["posted"]];
        assert_eq!(shown, [&json!("frozen"), &json!("later"), &json!(4), &json!("12.00")], "round {round}");
        if round == 0 {
            let core = Arc::clone(server.engine().core());
            assert!(tokio::task::spawn_blocking(move || core.checkpoint_now()).await.expect("it ends"));
        } else {
            server = server.restart();
        }
    }
}

#[tokio::test]
async fn status_counts_nothing_that_is_not_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let slow = |disk| -> Arc<dyn munim::disk::Disk> { Arc::new(DelayDisk::over(disk, Duration::from_millis(150))) };
    let server = Server::on(folder, &EngineOptions::default(), &EdgeOptions::default(), slow);
    let is_done = std::cell::Cell::new(false);
    let open = async {
        let said = server.post("/v1/accounts", "a", r#"{"currency":"INR","type":"asset"}"#).await;
        is_done.set(true);
        said.header("as-of-seq").parse::<u64>().expect("a seq")
    };
    let watch = async {
        let mut seen = Vec::new();
        while !is_done.get() {
            let status = server.get("/v1/status").await.json();
            let durable: u64 = status["durable_seq"].as_str().expect("a seq").parse().expect("a number");
            seen.push((durable, status["accounts"].as_u64().expect("a count")));
            tokio::task::yield_now().await;
        }
        seen
    };
    let (opened, seen) = tokio::join!(open, watch);
    assert!(!seen.is_empty());
    for (durable, accounts) in seen {
        assert!(accounts == 0 || durable >= opened, "{accounts} accounts at {durable}, opened by {opened}");
    }
    assert_eq!(server.get("/v1/status").await.json()["accounts"], 1);
}

/// Forty thousand lines of one account on one day: a page and a balance in their midst are reached
/// within what a shared thread may look at, wherever they lie.
#[tokio::test]
async fn a_page_deep_in_a_busy_day_is_reached_in_few_steps() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let body = format!(r#"{{"transfers":[{}]}}"#, vec![transfer("1", ""); 8_000].join(","));
    let mut seqs = Vec::new();
    let mut moments = Vec::new();
    for round in 0..5 {
        let minimal = [JSON, ("idempotency-key", &*format!("m{round}")), ("prefer", "return=minimal")];
        let batch = server.send("POST", "/v1/transfers/batch", &minimal, body.clone()).await;
        assert_eq!(batch.json()["posted"], 8_000);
        let last: u64 = batch.header("as-of-seq").parse().expect("a seq");
        seqs.extend((0..4).map(|part| Seq(last - part * 2_000)));
        moments.push((last, 8_000 * (round + 1)));
    }
    let core = Arc::clone(server.engine().core());
    let deep = move || {
        for round in 0..2 {
            let snapshot = core.snapshot(AccountNo(0)).expect("the account is there");
            for seq in &seqs {
                let query = StatementQuery { from: None, to: None, after: Some(After::Line(*seq)), limit: 50 };
                let page = core.statement_page(&snapshot, &query, Reach::Disk).expect("few steps");
                let first = page.lines.first().expect("a line");
                assert_eq!((first.seq, page.closing), (Seq(seq.0 - 1), first.balance), "round {round}");
                let below = i128::from(seq.0 - 4) * 100;
                assert_eq!(page.closing, below, "every line is 1.00, and the first stands at seq 4");
            }
            for (last, lines) in &moments {
                let entry = core.transfer_view(Seq(*last), Reach::Disk).expect("it reads").expect("a transfer");
                let Moment(at) = entry.value.created_at;
                let row = core.row_at(&snapshot, Moment(at), Reach::Disk).expect("few steps").expect("it existed");
                assert_eq!(row.debits_posted, lines * 100);
            }
            assert!(core.checkpoint_now());
        }
    };
    tokio::task::spawn_blocking(deep).await.expect("every page is reached");
}

#[tokio::test]
async fn a_precondition_may_be_a_list() {
    let server = Server::start();
    let a = server.open_account("A", "").await;
    let path = format!("/v1/accounts/{a}");
    let patch =
        async |tag: &str, body: &str| server.send("PATCH", &path, &[JSON, ("if-match", tag)], body.to_owned()).await;
    assert_eq!(patch("\"7\", \"1\"", r#"{"metadata":{"k":"v"}}"#).await.json()["version"], 2);
    assert_eq!(patch("\"7\", W/\"2\", \"else\"", r#"{"name":"x"}"#).await.brief(), "412 version_mismatch");
    assert_eq!(patch("\"2\" \"3\"", r#"{"name":"x"}"#).await.brief(), "400 precondition_malformed");
    let cleared = patch("\"2\"", r#"{"metadata":null}"#).await.json();
    assert_eq!((&cleared["metadata"], &cleared["version"]), (&json!({}), &json!(3)));
    assert_eq!(patch("*", r#"{"status":null}"#).await.brief(), "422 validation_failed");
}

/// All lines of a statement, page by page as `Link` says, each page with its sum proved; and the pages.
async fn walk_statement(server: &Server, mut path: String) -> (Vec<Value>, usize) {
    let (mut lines, mut pages, mut below) = (Vec::new(), 0, None);
    loop {
        let said = server.get(&path).await;
        assert_eq!(said.status, 200, "{path}");
        let page = said.json();
        let paise = |value: &Value| -> i64 { value.as_str().expect("money").replace('.', "").parse().expect("digits") };
        let data = page["data"].as_array().expect("lines").clone();
        let sum: i64 = data.iter().map(|line| paise(&line["amount"])).sum();
        assert_eq!(paise(&page["opening"]) + sum, paise(&page["closing"]), "{path}");
        assert_eq!(below.unwrap_or(paise(&page["closing"])), paise(&page["closing"]), "{path} goes on where it ended");
        below = Some(paise(&page["opening"]));
        lines.extend(data);
        pages += 1;
        assert!(pages < 1_000, "a statement ends");
        match next_of(&said) {
            Some(next) => path = next,
            None => return (lines, pages),
        }
    }
}

/// More entries of another date than one page looks at stand between the lines of a day.
#[tokio::test]
async fn a_statement_is_whole_however_many_entries_of_other_dates_stand_between_its_lines() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let post = async |key: &str, count: usize, more: &str| {
        for part in 0..count.div_ceil(9_000) {
            let rows = vec![transfer("1.00", more); 9_000.min(count - part * 9_000)].join(",");
            let body = format!(r#"{{"transfers":[{rows}]}}"#);
            let headers = [JSON, ("idempotency-key", &*format!("{key}-{part}")), ("prefer", "return=minimal")];
            let said = server.send("POST", "/v1/transfers/batch", &headers, body).await;
            assert_eq!(said.json()["rejected"], 0);
        }
    };
    let between = SCAN_ROWS_MAX * 2 + 700;
    post("first", 10, "").await;
    post("between", between, r#","effective_date":"2026-01-02""#).await;
    post("last", 3, "").await;
    let (today, _) = walk_statement(&server, "/v1/accounts/ext:A/entries?limit=4&from=2026-01-03".into()).await;
    assert_eq!(today.len(), 13);
    let (all, pages) = walk_statement(&server, "/v1/accounts/ext:A/entries?limit=1000".into()).await;
    assert_eq!(all.len(), 13 + between);
    assert!(pages > all.len() / 1_000 + 1, "some page ended for want of lines");
    let mut seen: Vec<&str> = all.iter().map(|line| line["transfer"].as_str().expect("an id")).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all.len(), "no line twice");
    let (old, _) = walk_statement(&server, "/v1/accounts/ext:A/entries?limit=1000&to=2026-01-02".into()).await;
    assert_eq!(old.len(), between);
}

/// A posted hold's line is named by the hold, as every line by its transfer.
#[tokio::test]
async fn a_page_goes_on_after_the_line_of_a_posted_hold() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let path = "/v1/accounts/ext:A/entries?limit=1";
    let first = server.post("/v1/transfers", "1", transfer("1.00", "")).await.json();
    let hold = server.post("/v1/transfers", "2", transfer("2.00", r#","pending":true"#)).await.json();
    let hold = hold["id"].as_str().expect("an id");
    server.post("/v1/transfers", "3", transfer("3.00", "")).await;
    let before = server.get(&format!("{path}&starting_after={hold}")).await;
    assert_eq!(before.brief(), "422 invalid_parameter", "nothing was posted by it yet");
    server.post(&format!("/v1/transfers/{hold}/post"), "4", "{}").await;
    assert_eq!(server.get(path).await.json()["data"][0]["transfer"], hold);
    let below = server.get(&format!("{path}&starting_after={hold}")).await.json();
    assert_eq!(below["data"][0]["amount"], "3.00");
    let last = server.get(&format!("{path}&starting_after={}", first["id"].as_str().expect("an id"))).await.json();
    assert_eq!((&last["data"], &last["opening"]), (&json!([]), &json!("0.00")));
}

/// The list of a day has every transfer whose effective date it is, holds too, whatever became of them.
#[tokio::test]
async fn the_list_of_a_day_has_its_holds() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let mut ids = Vec::new();
    let day = r#","effective_date":"2026-01-15""#;
    for (key, more) in ["", ",\"pending\":true", ",\"pending\":true", ",\"pending\":true", ""].iter().enumerate() {
        let said = server.post("/v1/transfers", &format!("{key}"), transfer("5.00", &format!("{day}{more}"))).await;
        ids.push(said.json()["id"].as_str().expect("an id").to_owned());
    }
    let today = server.post("/v1/transfers", "t", transfer("1.00", "")).await.json();
    let date = today["effective_date"].as_str().expect("a date").to_owned();
    let list = async |date: &str| -> Vec<String> {
        let (mut found, mut path) = (Vec::new(), format!("/v1/transfers?date={date}&limit=2"));
        loop {
            let said = server.get(&path).await;
            let rows = said.json()["data"].as_array().expect("rows").clone();
            assert!(rows.iter().all(|row| row["effective_date"] == date), "{rows:?}");
            found.extend(rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
            match next_of(&said) {
                // By the last row's id, as a caller without eyes for headers goes on.
                Some(_) => {
                    path = format!("/v1/transfers?date={date}&limit=2&starting_after={}", found[found.len() - 1]);
                }
                None => return found,
            }
        }
    };
    let newest_first = |ids: &[String]| -> Vec<String> { ids.iter().rev().cloned().collect() };
    assert_eq!(list("2026-01-15").await, newest_first(&ids));
    server.post(&format!("/v1/transfers/{}/post", ids[1]), "p1", "{}").await;
    server.post(&format!("/v1/transfers/{}/void", ids[2]), "v2", "{}").await;
    assert_eq!(list("2026-01-15").await, newest_first(&ids));
    // Its date is in a closed period by now: it is posted today, and listed there.
    server.post("/v1/periods/close", "c", r#"{"through":"2026-01-31"}"#).await;
    server.post(&format!("/v1/transfers/{}/post", ids[3]), "p3", "{}").await;
    for key in ["u", "w", "x"] {
        server.post("/v1/transfers", key, transfer("1.00", "")).await;
    }
    let moved = ids.remove(3);
    assert_eq!(list("2026-01-15").await, newest_first(&ids));
    let listed = list(&date).await;
    assert_eq!((listed.len(), &listed[3]), (5, &moved), "{listed:?}");
}
