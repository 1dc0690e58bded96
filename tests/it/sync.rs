//! Ledger sync: in order, at least once each with the same id, and a place that moves by acknowledgements alone.
//! Over HTTP here; brokers are proved against real ones by `tests/brokers.sh`.

use serde_json::{Value, json};

use crate::http_edge::Server;
use crate::webhooks::{Receiver, receiver};

async fn target(server: &Server, key: &str, body: Value) -> Value {
    let said = server.post("/v1/sync_targets", key, body.to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    said.json()
}

async fn shown(server: &Server, made: &Value) -> Value {
    server.get(&format!("/v1/sync_targets/{}", made["id"].as_str().expect("an id"))).await.json()
}

/// Batches until so many different events came; what came, in order, each as often as it came.
async fn events(receiver: &mut Receiver, count: usize) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let batch = receiver.next().await.json();
        found.extend(batch.as_array().expect("an array").iter().cloned());
        let ids: std::collections::BTreeSet<&str> = found.iter().filter_map(|event| event["id"].as_str()).collect();
        if ids.len() >= count {
            return found;
        }
    }
}

#[tokio::test]
async fn events_arrive_in_order_and_the_place_follows() {
    let server = Server::start();
    let mut receiver = receiver(&[]).await;
    let body = json!({"kind": "http", "url": receiver.url, "password": "geheim", "types": ["account.*"]});
    let made = target(&server, "t", body.clone()).await;
    assert_eq!(target(&server, "t", body).await, made, "repeated under its key it is the same answer");
    let mut accounts = Vec::new();
    for number in 0..20 {
        accounts.push(server.open_account(&format!("A{number}"), "").await);
    }
    let events = events(&mut receiver, 20).await;
    let subjects: Vec<&str> = events.iter().filter_map(|event| event["subject"].as_str()).collect();
    assert_eq!(subjects, accounts, "in order, and each once");
    loop {
        let now = shown(&server, &made).await;
        assert!(!now.to_string().contains("geheim"), "{now}");
        assert_eq!((&now["kind"], &now["has_password"]), (&json!("http"), &json!(true)));
        let standing = &now["standing"];
        if standing["lag"] == 0 {
            assert_eq!((&standing["delivered"], &standing["connected"]), (&json!(20), &json!(true)), "{standing}");
            assert_eq!(standing["last_error"], Value::Null);
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_not_acknowledged_comes_again_and_nothing_overtakes_it() {
    let server = Server::start();
    let mut receiver = receiver(&[500, 503]).await;
    let made = target(&server, "t", json!({"kind": "http", "url": receiver.url, "types": ["account.*"]})).await;
    let before = shown(&server, &made).await["standing"]["position"].clone();
    let first = server.open_account("A", "").await;
    let refused = receiver.next().await.json();
    assert_eq!(refused[0]["subject"], json!(first));
    let second = server.open_account("B", "").await;
    // Both refusals are of the first; it is taken before, or with, the second.
    let again = receiver.next().await.json();
    assert_eq!(again[0], refused[0], "the same event, with the same id");
    let taken = events(&mut receiver, 2).await;
    assert_eq!(taken[0], refused[0]);
    assert_eq!(taken.last().map(|event| &event["subject"]), Some(&json!(second)));
    loop {
        let standing = shown(&server, &made).await["standing"].clone();
        if standing["delivered"] == 2 {
            assert_eq!(standing["failed"], json!(2));
            assert!(standing["last_error"].as_str().is_some_and(|why| why.contains("503")), "{standing}");
            assert_ne!(standing["position"], before);
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_target_that_is_disabled_is_sent_what_it_missed_when_it_goes_on() {
    let server = Server::start();
    let mut receiver = receiver(&[]).await;
    let body = json!({"kind": "http", "url": receiver.url, "types": ["account.*"]});
    let made = target(&server, "t", body).await;
    let path = format!("/v1/sync_targets/{}", made["id"].as_str().unwrap());
    let headers = |key: &'static str| [("content-type", "application/json"), ("idempotency-key", key)];
    let off = json!({"status": "disabled"}).to_string();
    assert_eq!(server.send("PATCH", &path, &headers("p1"), off).await.brief(), "200");
    // A turn that had begun may still end; what is asked for here is that nothing is lost.
    let account = server.open_account("A", "").await;
    let on = json!({"status": "enabled", "description": "again"}).to_string();
    assert_eq!(server.send("PATCH", &path, &headers("p2"), on).await.brief(), "200");
    assert_eq!(events(&mut receiver, 1).await[0]["subject"], json!(account));
    assert_eq!(shown(&server, &made).await["description"], "again");
}

#[tokio::test]
async fn what_cannot_be_is_refused_where_it_stands() {
    let server = Server::start();
    let url = "http://127.0.0.1:9999/x";
    for (body, pointer) in [
        (json!({"url": url}), "/kind"),
        (json!({"kind": "fax", "url": url}), "/kind"),
        (json!({"kind": "http"}), "/url"),
        (json!({"kind": "http", "url": "amqps://mq.example"}), "/url"),
        (json!({"kind": "http", "url": "http://10.0.0.1/x"}), "/url"),
        (json!({"kind": "http", "url": "http://a:b@127.0.0.1/x"}), "/url"),
        (json!({"kind": "http", "url": url, "topic": "books"}), "/topic"),
        (json!({"kind": "http", "url": url, "exchange": "books"}), "/exchange"),
        (json!({"kind": "http", "url": url, "password": ""}), "/password"),
        (json!({"kind": "http", "url": url, "types": ["loans.*"]}), "/types"),
        (json!({"kind": "http", "url": url, "account": "ext:NOBODY"}), "/account"),
        (json!({"kind": "http", "url": url, "after": 1_000_000}), "/after"),
        (json!({"kind": "http", "url": url, "ordered": true}), "/ordered"),
    ] {
        let said = server.post("/v1/sync_targets", "x", body.to_string()).await;
        let problem = said.json();
        assert_eq!(problem["status"], 422, "{body}: {problem}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
    }
    // Brokers are another build's: that is said, and not found out later.
    let brokers = [
        json!({"kind": "amqp", "url": "amqp://127.0.0.1:5672", "exchange": "books"}),
        json!({"kind": "mqtt", "url": "mqtt://127.0.0.1:1883", "topic": "books"}),
    ];
    for (place, body) in brokers.iter().enumerate() {
        let said = server.post("/v1/sync_targets", &format!("b{place}"), body.to_string()).await;
        if cfg!(feature = "bridges") {
            assert_eq!(said.brief(), "201", "{:?}", said.body);
        } else {
            let problem = said.json();
            assert_eq!((&problem["status"], &problem["errors"][0]["pointer"]), (&json!(422), &json!("/kind")));
            assert!(problem.to_string().contains("bridges"), "{problem}");
        }
    }
    assert_eq!(server.get("/v1/sync_targets/sync_0000000000009").await.brief(), "404 sync_target_not_found");
}
