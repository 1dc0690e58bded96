//! Long answers have a lane of their own: few are made at once, a bounded line waits, and whoever posts or
//! looks at one thing is not in it.

use std::sync::Arc;

use munim::config::{SHORT_ROWS_MAX, WALK_MEMORY_MAX};
use munim::domain::account::AccountType;
use munim::engine::history::{Reach, ReadError};
use munim::engine::view::AccountFilter;
use munim::http::compress::INLINE_BYTES_MAX;

use crate::http_edge::{Said, Server};

/// More than are short.
const ROWS: usize = SHORT_ROWS_MAX + 50;

const TRANSFER: &str = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;

/// Books with a voucher of many transfers between two accounts; its id beside them.
async fn with_many() -> (Arc<Server>, String) {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let said = post_many(&server, "many", &[]).await;
    let first = said.json()["results"][0]["id"].as_str().expect("an id").to_owned();
    (Arc::new(server), first.replace("tr_", "je_"))
}

async fn post_many(server: &Server, key: &str, more: &[(&str, &str)]) -> Said {
    let body = format!(r#"{{"transfers":[{}]}}"#, vec![TRANSFER; ROWS].join(","));
    let headers = [&[("content-type", "application/json"), ("idempotency-key", key)], more].concat();
    let said = server.send("POST", "/v1/transfers/batch", &headers, body).await;
    assert_eq!(said.brief(), "200", "{:?}", said.body);
    said
}

/// Every way to ask for many rows.
fn long_lists(voucher: &str) -> Vec<String> {
    let lists = [
        format!("/v1/transfers?account=ext:A&limit={ROWS}"),
        format!("/v1/transfers?account=ext:A&limit={ROWS}&fields=amount,debit_account&expand[]=debit_account"),
        format!("/v1/accounts/ext:A/entries?limit={ROWS}"),
        format!("/v1/accounts/ext:A/entries?limit={ROWS}&expand[]=transfer"),
        format!("/v1/accounts?limit={ROWS}"),
        format!("/v1/api_keys?limit={ROWS}"),
        format!("/v1/entries/{voucher}"),
        "/v1/reports/trial_balance".to_owned(),
    ];
    lists.to_vec()
}

#[tokio::test]
async fn whoever_posts_does_not_wait_for_those_who_read_long_lists() {
    let (server, voucher) = with_many().await;
    let engine = Arc::clone(server.engine());
    let free = engine.long_load();
    assert_eq!(free.inside, 0);
    let mut held = Vec::new();
    for _ in 0..free.places {
        held.push(engine.long_place().await.expect("nobody else is there"));
    }
    let paths = long_lists(&voucher);
    let room = free.inside_max - free.places;
    let ask = |path: String| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.get(&path).await })
    };
    let lists: Vec<_> = paths.iter().cycle().take(room).cloned().map(ask).collect();
    while engine.long_load().inside < free.inside_max {
        assert!(lists.iter().all(|list| !list.is_finished()), "a list was made elsewhere");
        tokio::task::yield_now().await;
    }
    for path in &paths {
        let refused = server.get(path).await;
        assert_eq!(refused.brief(), "503 overloaded", "{path}: the line is full");
        assert_ne!(refused.header("retry-after"), "", "{path}");
    }
    assert_eq!(server.post("/v1/transfers", "one", TRANSFER).await.brief(), "201");
    for path in ["/v1/accounts/ext:A", "/v1/transfers?account=ext:A&limit=100", "/v1/accounts/ext:A/entries"] {
        assert_eq!(server.get(path).await.brief(), "200", "{path}");
    }
    assert!(lists.iter().all(|list| !list.is_finished()), "none of them was made meanwhile");
    drop(held);
    for list in lists {
        assert_eq!(list.await.expect("it ends").brief(), "200", "all that waited are answered");
    }
    assert_eq!(engine.long_load().inside, 0);
}

#[tokio::test]
async fn many_rows_are_read_rendered_and_compressed_in_their_lane_and_few_are_not() {
    let (server, voucher) = with_many().await;
    let engine = server.engine();
    let begun = |before: u64| engine.long_load().begun - before;
    for path in long_lists(&voucher) {
        let before = engine.long_load().begun;
        let plain = server.get(&path).await;
        assert_eq!(plain.status, 200, "{path}");
        let pieces = begun(before);
        assert!(pieces >= if path.contains("api_keys") { 1 } else { 2 }, "{path}: {pieces} pieces");
        let before = engine.long_load().begun;
        let said = server.send("GET", &path, &[("accept-encoding", "gzip")], "").await;
        assert_eq!(said.status, 200, "{path}");
        let is_large = plain.body.len() > INLINE_BYTES_MAX;
        assert_eq!(begun(before), pieces + u64::from(is_large), "{path}: {} bytes", plain.body.len());
    }
    for path in [
        "/v1/transfers?account=ext:A&limit=100",
        "/v1/accounts/ext:A/entries?limit=100",
        "/v1/accounts?limit=100",
        "/v1/api_keys?limit=100",
        "/v1/accounts/ext:A",
    ] {
        let before = engine.long_load().begun;
        assert_eq!(server.get(path).await.brief(), "200", "{path}");
        assert_eq!(begun(before), 0, "{path}");
    }
}

/// What is done is not refused because others read: its answer waits for a place.
#[tokio::test]
async fn the_answer_to_a_large_batch_is_rendered_there_too_and_never_refused() {
    let (server, voucher) = with_many().await;
    let engine = Arc::clone(server.engine());
    let before = engine.long_load().begun;
    assert_eq!(post_many(&server, "minimal", &[("prefer", "return=minimal")]).await.json()["posted"], ROWS);
    let free = engine.long_load();
    assert!(free.begun > before);
    let mut held = Vec::new();
    for _ in 0..free.places {
        held.push(engine.long_place().await.expect("nobody else is there"));
    }
    let list = |path: String| {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.get(&path).await })
    };
    let lists: Vec<_> =
        long_lists(&voucher).into_iter().cycle().take(free.inside_max - free.places).map(list).collect();
    while engine.long_load().inside < free.inside_max {
        assert!(lists.iter().all(|list| !list.is_finished()), "a list was made elsewhere");
        tokio::task::yield_now().await;
    }
    let batch = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { post_many(&server, "full", &[]).await })
    };
    while engine.long_load().inside == free.inside_max {
        assert!(!batch.is_finished(), "a large batch was rendered elsewhere");
        tokio::task::yield_now().await;
    }
    drop(held);
    assert_eq!(batch.await.expect("it ends").json()["results"].as_array().map(Vec::len), Some(ROWS));
    for list in lists {
        assert_eq!(list.await.expect("it ends").brief(), "200");
    }
}

#[tokio::test]
async fn a_filter_that_finds_little_is_not_looked_through_on_an_async_worker() {
    let server = Server::start();
    let accounts = vec![r#"{"currency":"INR","type":"asset"}"#; WALK_MEMORY_MAX + 1].join(",");
    let said = server.post("/v1/accounts/batch", "many", format!(r#"{{"accounts":[{accounts}]}}"#)).await;
    assert_eq!(said.brief(), "200", "{:?}", said.body);
    let filter = AccountFilter { account_type: Some(AccountType::Income), ..AccountFilter::default() };
    let core = server.engine().core();
    let looked = core.account_rows(&filter, None, 50, Reach::Memory);
    assert!(matches!(looked, Err(ReadError::TooFar)), "{looked:?}");
    assert!(core.account_rows(&AccountFilter::default(), None, 50, Reach::Memory).is_ok());
    let said = server.get("/v1/accounts?type=income").await;
    assert_eq!((said.brief().as_str(), said.json()["data"].as_array().map(Vec::len)), ("200", Some(0)));
}
