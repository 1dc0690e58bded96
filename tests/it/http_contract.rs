//! The HTTP contract over real books: every route, what it answers and what it refuses.

use proptest::strategy::Strategy;
use serde_json::json;

use crate::http_edge::{Said, Server};
use munim::http::router::ROUTES;

const JSON: (&str, &str) = ("content-type", "application/json");

fn transfer(debit: &str, credit: &str, amount: &str) -> String {
    format!(r#"{{"debit_account":"{debit}","credit_account":"{credit}","amount":"{amount}"}}"#)
}

#[tokio::test]
async fn a_transfer_moves_money_and_is_found_again() {
    let server = Server::start();
    let (a, b) = (server.open_account("A", "").await, server.open_account("B", "").await);
    let created = server.post("/v1/transfers", "t1", transfer("ext:A", &b, "1250.50")).await;
    assert_eq!(created.brief(), "201");
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(created.header("location"), format!("/v1/transfers/{id}"));
    assert_eq!(created.header("as-of-seq"), created.json()["seq"].as_str().unwrap());
    for stage in ["accept;", "idem;", "parse;", "queue;", "decide;", "journal", "render;", "total;"] {
        assert!(created.header("server-timing").contains(stage), "{stage}");
    }
    let found = server.get(&format!("/v1/transfers/{id}")).await;
    assert_eq!(found.body, created.body);
    let account = server.get("/v1/accounts/ext:A").await;
    assert_eq!(account.json()["balances"]["posted"], "1250.50");
    let etag = account.header("etag").to_owned();
    assert_eq!(etag, format!("\"1-{}\"", created.header("as-of-seq")));
    let path = format!("/v1/accounts/{a}");
    let same = server.send("GET", &path, &[("if-none-match", &etag)], "").await;
    assert_eq!((same.brief().as_str(), same.body.len()), ("304", 0));
    assert_eq!(same.header("as-of-seq"), account.header("as-of-seq"));
    let head = server.send("HEAD", &path, &[], "").await;
    assert_eq!(head.brief(), "200");
    let listed = server.get(&format!("/v1/transfers?account={a}")).await.json();
    assert_eq!(listed["data"][0]["id"], id);
    let voucher = created.json()["entry"].as_str().unwrap().to_owned();
    let entry = server.get(&format!("/v1/entries/{voucher}")).await.json();
    assert_eq!(entry["transfers"][0]["id"], id);
    let statement = server.get(&format!("/v1/accounts/{a}/entries")).await.json();
    assert_eq!((&statement["closing"], &statement["data"][0]["transfer"]), (&json!("1250.50"), &json!(id)));
    let csv = server.send("GET", &format!("/v1/accounts/{a}/entries"), &[("accept", "text/csv")], "").await;
    assert!(csv.header("content-type").starts_with("text/csv") && csv.body.starts_with(b"transfer,"));
    let balance = server.get("/v1/reports/trial_balance").await.json();
    assert_eq!(balance["totals"], json!([{"currency": "INR", "debits": "1250.50", "credits": "1250.50"}]));
}

#[tokio::test]
async fn a_repeated_key_gets_the_same_bytes_also_for_a_refusal_and_after_a_restart() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", r#","balance_rule":"no_credit_balance""#).await;
    let bodies = [
        ("/v1/transfers", transfer("ext:A", "ext:B", "0"), "422 amount_zero"),
        ("/v1/transfers", transfer("ext:A", "ext:B", "5"), "422 insufficient_funds"),
        ("/v1/transfers", transfer("ext:B", "ext:A", "5"), "201"),
        (
            "/v1/transfers",
            r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":5}"#.into(),
            "422 amount_malformed",
        ),
        (
            "/v1/transfers/batch",
            format!(r#"{{"mode":"atomic","transfers":[{}]}}"#, transfer("ext:A", "ext:X", "1")),
            "422 batch_refused",
        ),
        (
            "/v1/transfers/batch",
            format!(r#"{{"transfers":[{},{}]}}"#, transfer("ext:B", "ext:A", "1"), transfer("ext:B", "ext:B", "1")),
            "200",
        ),
    ];
    let mut firsts: Vec<Said> = Vec::new();
    for (number, (path, body, expected)) in bodies.iter().enumerate() {
        let first = server.post(path, &format!("k{number}"), body.clone()).await;
        assert_eq!(&first.brief(), expected, "{:?}", first.body);
        assert_eq!(first.header("idempotent-replayed"), "");
        firsts.push(first);
    }
    let server = {
        check_replays(&server, &bodies, &firsts).await;
        server.restart()
    };
    check_replays(&server, &bodies, &firsts).await;
    let reused = server.post("/v1/transfers", "k2", transfer("ext:B", "ext:A", "6")).await;
    assert_eq!(reused.brief(), "422 idempotency_key_reused");
    let other_route = server.post("/v1/transfers/batch", "k2", bodies[5].1.clone()).await;
    assert_eq!(other_route.brief(), "200", "a key belongs to its route");
}

async fn check_replays(server: &Server, bodies: &[(&str, String, &str)], firsts: &[Said]) {
    for (number, ((path, body, _), first)) in bodies.iter().zip(firsts).enumerate() {
        let again = server.post(path, &format!("\"k{number}\""), body.clone()).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotent-replayed"), "true");
        assert_ne!(again.header("request-id"), first.header("request-id"));
    }
}

#[tokio::test]
async fn holds_are_posted_voided_and_reversed() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let hold =
        |amount: &str| transfer("ext:A", "ext:B", amount).replace('}', r#","pending":true,"expires_in_s":3600}"#);
    let held = server.post("/v1/transfers", "h1", hold("10")).await.json();
    assert_eq!(held["status"], "pending");
    let path = format!("/v1/transfers/{}", held["id"].as_str().unwrap());
    let too_much = server.post(&format!("{path}/post"), "p0", r#"{"amount":"11"}"#).await;
    assert_eq!(too_much.brief(), "422 amount_exceeds_pending");
    let posted = server.post(&format!("{path}/post"), "p1", r#"{"amount":"4"}"#).await;
    assert_eq!((posted.brief().as_str(), &posted.json()["posted_amount"]), ("200", &json!("4.00")));
    assert_eq!(server.post(&format!("{path}/void"), "v1", "").await.brief(), "409 transfer_not_pending");
    let reversed = server.post(&format!("{path}/reverse"), "r1", r#"{"reason":"typing error"}"#).await;
    assert_eq!(reversed.brief(), "201");
    assert_eq!(reversed.json()["reverses"], held["id"]);
    assert_eq!(server.get(&path).await.json()["reversed_by"], reversed.json()["id"]);
    let twice = server.post(&format!("{path}/reverse"), "r2", r#"{"reason":"typing error"}"#).await;
    assert_eq!(twice.brief(), "422 already_reversed");
    let held = server.post("/v1/transfers", "h2", hold("3")).await.json();
    let void = format!("/v1/transfers/{}/void", held["id"].as_str().unwrap());
    let voided = server.send("POST", &void, &[("idempotency-key", "v2")], "").await;
    assert_eq!(voided.json()["status"], "voided");
    for (path, expected) in [
        ("/v1/transfers/tr_0000000099999/void", "404 transfer_not_found"),
        // The first refusal is kept under the key.
        ("/v1/transfers/nonsense/void", "422 idempotency_key_reused"),
    ] {
        assert_eq!(server.post(path, "n1", "{}").await.brief(), expected);
    }
}

#[tokio::test]
async fn accounts_change_by_version_and_close_when_empty() {
    let server = Server::start();
    let a = server.open_account("A", r#","name":"Drawer 1","metadata":{"k":"v"}"#).await;
    server.open_account("B", "").await;
    let path = format!("/v1/accounts/{a}");
    let patch =
        async |tag: &str, body: &str| server.send("PATCH", &path, &[JSON, ("if-match", tag)], body.to_owned()).await;
    assert_eq!(patch("\"7\"", r#"{"name":"x"}"#).await.brief(), "412 version_mismatch");
    assert_eq!(patch("7", r#"{"name":"x"}"#).await.brief(), "400 precondition_malformed");
    let changed = patch("\"1\"", r#"{"name":null,"metadata":{}}"#).await.json();
    assert_eq!((&changed["name"], &changed["version"], &changed["metadata"]), (&json!(null), &json!(2), &json!({})));
    server.post("/v1/transfers", "t", transfer("ext:A", "ext:B", "1")).await;
    assert_eq!(patch("*", r#"{"status":"closed"}"#).await.brief(), "409 account_not_empty");
    assert_eq!(patch("*", r#"{"status":"frozen"}"#).await.json()["status"], "frozen");
    let refused = server.post("/v1/transfers", "f", transfer("ext:A", "ext:B", "1")).await;
    assert_eq!(refused.brief(), "422 account_frozen");
    assert!(refused.json()["detail"].as_str().unwrap().contains(&a), "the detail names the account");
    let twice = server.post("/v1/accounts", "x", r#"{"external_id":"A","currency":"INR","type":"asset"}"#).await;
    assert_eq!(twice.brief(), "409 external_id_exists");
    for id in ["ext:C", "acct_0000000000099", "x", "%ff", "ext:A%2F"] {
        assert_eq!(server.get(&format!("/v1/accounts/{id}")).await.brief(), "404 account_not_found", "{id}");
    }
    let now = server.get(&format!("{path}?at=2149-01-01")).await;
    assert_eq!(now.brief(), "200", "{:?}", now.body);
    assert_eq!(server.get(&format!("{path}?at=1971-01-01T00:00:00%2B05:30")).await.brief(), "404 account_not_found");
    assert_eq!(server.get(&format!("{path}?at=now")).await.brief(), "422 invalid_parameter");
    let batch =
        r#"{"accounts":[{"external_id":"A","currency":"INR","type":"asset"},{"currency":"JPY","type":"income"}]}"#;
    let batch = server.post("/v1/accounts/batch", "b", batch).await.json();
    assert_eq!((&batch["created"], &batch["results"][0]["code"]), (&json!(1), &json!("external_id_exists")));
    let first = server.get("/v1/accounts?limit=2").await;
    assert_eq!((first.json()["data"].as_array().unwrap().len(), &first.json()["has_more"]), (2, &json!(true)));
    let next = first.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
    assert_eq!(server.get(&next).await.json()["data"][0]["id"], json!(a));
}

#[tokio::test]
async fn batches_answer_in_every_form() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let items = [transfer("ext:A", "ext:B", "1"), transfer("ext:A", "ext:B", "0.001"), transfer("ext:A", "ext:B", "2")];
    let body = format!(r#"{{"mode":"independent","transfers":[{}]}}"#, items.join(","));
    let full = server.post("/v1/transfers/batch", "b1", body.clone()).await.json();
    assert_eq!((&full["posted"], &full["rejected"]), (&json!(2), &json!(1)));
    assert_eq!(full["results"][1]["code"], "amount_scale");
    let minimal = [JSON, ("idempotency-key", "b2"), ("prefer", "return=minimal")];
    let short = server.send("POST", "/v1/transfers/batch", &minimal, body.clone()).await.json();
    assert_eq!(short["results"].as_array().unwrap().len(), 1);
    assert!(short["first"].as_str() < short["last"].as_str());
    let atomic = server.post("/v1/transfers/batch", "b3", body.replace("independent", "atomic")).await;
    assert_eq!(atomic.brief(), "422 batch_refused");
    assert_eq!(atomic.json()["errors"][0]["pointer"], "/transfers/1");
    let lines = [("content-type", "application/x-ndjson"), ("idempotency-key", "b4")];
    let lines = server.send("POST", "/v1/transfers/batch?mode=independent", &lines, items.join("\n")).await.json();
    assert_eq!(lines["posted"], 2);
    let before = server.get("/v1/accounts/ext:A").await.body;
    let dry = server.send("POST", "/v1/transfers/batch?dry_run=true", &[JSON], body).await.json();
    assert_eq!((&dry["dry_run"], &dry["posted"]), (&json!(true), &json!(2)));
    let dry = server.send("POST", "/v1/transfers?dry_run=true", &[JSON], items[0].clone()).await;
    assert_eq!((dry.brief().as_str(), dry.json().get("id"), &dry.json()["dry_run"]), ("200", None, &json!(true)));
    assert_eq!(server.get("/v1/accounts/ext:A").await.body, before, "a dry run changes nothing");
}

#[tokio::test]
async fn the_rest_of_the_routes_answer() {
    let server = Server::start();
    server.open_account("A", "").await;
    for (path, content_type) in [
        ("/livez", "application/health+json"),
        ("/readyz", "application/health+json"),
        ("/startupz", "application/health+json"),
        ("/v1/status", "application/json"),
        ("/v1/periods", "application/json"),
        ("/problems", "text/html; charset=utf-8"),
        ("/problems/insufficient_funds", "text/html; charset=utf-8"),
        ("/v1/export?format=csv", "text/csv; charset=utf-8"),
    ] {
        let said = server.get(path).await;
        assert_eq!((said.brief().as_str(), said.header("content-type")), ("200", content_type), "{path}");
    }
    let close = server.post("/v1/periods/close", "c", r#"{"through":"2020-01-31"}"#).await;
    assert_eq!((close.brief().as_str(), &close.json()["closed_through"]), ("200", &json!("2020-01-31")));
    let reopen = r#"{"through":"2020-01-31","reason":"late voucher"}"#;
    assert_eq!(server.post("/v1/periods/reopen", "o", reopen).await.json()["closed_through"], json!(null));
    let under_key = [("idempotency-key", "v")];
    let started = server.send("POST", "/v1/verifications", &under_key, "").await;
    assert_eq!(started.brief(), "202");
    let again = server.send("POST", "/v1/verifications", &under_key, "").await;
    assert_eq!((again.brief().as_str(), again.header("idempotent-replayed")), ("202", "true"));
    assert_eq!(again.header("location"), started.header("location"));
    let path = started.header("location").to_owned();
    while server.get(&path).await.json()["status"] == "running" {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.get(&path).await.json()["result"]["ok"], true);
    assert_eq!(server.get("/v1/operations/op_0000000000000").await.brief(), "404 operation_not_found");
    assert_eq!(server.get("/v1/entries/je_0000000099999").await.brief(), "404 entry_not_found");
    server.edge.drain();
    assert_eq!(server.get("/readyz").await.brief(), "503");
    server.engine().shut_down();
    let metrics = server.get("/metrics").await;
    let text = String::from_utf8_lossy(&metrics.body);
    assert!(text.contains("munim_journal_durable_seq") && !text.contains("munim_journal_trouble{"), "it is a drain");
}

#[tokio::test]
async fn paths_that_are_none_are_told_so() {
    let server = Server::start();
    for (method, path) in [("GET", "/"), ("GET", "/v1"), ("POST", "/v1/transfers/x/y"), ("GET", "/v1/accounts/")] {
        assert_eq!(server.send(method, path, &[], "").await.brief(), "404 route_not_found");
    }
    assert_eq!(server.send("PUT", "/v1/periods", &[], "").await.header("allow"), "GET, HEAD, OPTIONS");
}

#[tokio::test]
async fn an_edge_without_books_says_that_it_recovers() {
    use http_body_util::{BodyExt, Empty};
    let edge = munim::http::Edge::new();
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/startupz", 503), ("/v1/status", 503)] {
        let request = hyper::Request::get(path).body(Empty::<bytes::Bytes>::new()).unwrap();
        let (head, body) = std::sync::Arc::clone(&edge)
            .handle(request, &std::sync::Arc::new(munim::http::peer::Peer::local()))
            .await
            .into_parts();
        assert_eq!(head.status, status, "{path}");
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert_eq!(text.contains("recovering"), status == 503, "{text}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    /// No body, id, query or header value makes a 500 (`Server::send` looks) or a panic.
    #[test]
    fn odd_requests_are_refused_quietly(
        place in 0..ROUTES.len(),
        id in "[a-z_:%0-9A-F]{1,24}",
        query in "[a-z_=&%+0-9:TZ-]{0,40}",
        key in "[ -~]{0,20}",
        body in proptest::prop_oneof![
            proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            "[\\[\\]{}\":,a-z_0-9.e+-]{0,200}".prop_map(String::into_bytes),
        ],
    ) {
        let route = &ROUTES[place];
        let path = route.pattern.replace("{id}", &id).replace("{code}", &id);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        ODD.with(|server| {
            let headers = [JSON, ("idempotency-key", key.as_str())];
            runtime.block_on(server.send(route.method, &format!("{path}?{query}"), &headers, body));
        });
    }
}

thread_local! {
    /// One server for all odd requests: opening a folder takes longer than hundreds of them.
    static ODD: Server = Server::start();
}
