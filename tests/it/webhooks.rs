//! Webhooks: signed, at least once each with the same id, in order where order was asked, and what a receiver can
//! do about it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use munim::jobs::outbound::signature::{Signed, VerifyingKey, verify};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::fire::server::{Place, Server as Process};
use crate::fire::wire::Request;
use crate::http_edge::Server;

/// A message as a receiver got it.
#[derive(Clone, Debug)]
pub struct Got {
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn is_signed_by(&self, secret: &str) -> bool {
        let key = VerifyingKey::parse(secret).expect("a secret");
        let signed = Signed { id: &self.id, timestamp: &self.timestamp, signature: &self.signature };
        verify(&[key], signed, &self.body, self.timestamp.parse().expect("seconds")).is_ok()
    }
}

/// A receiver that answers as it is told: the statuses in turn, then 204 for ever.
pub struct Receiver {
    pub url: String,
    got: mpsc::UnboundedReceiver<Got>,
}

pub async fn receiver(statuses: &[u16]) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (sender, got) = mpsc::unbounded_channel();
    let statuses = Arc::new(turns_of(statuses));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sender.clone(), Arc::clone(&statuses)));
        }
    });
    Receiver { url, got }
}

/// Statuses that are taken in turn.
struct Turns {
    statuses: std::sync::Mutex<VecDeque<u16>>,
    served: AtomicUsize,
}

fn turns_of(statuses: &[u16]) -> Turns {
    Turns { statuses: std::sync::Mutex::new(statuses.iter().copied().collect()), served: AtomicUsize::new(0) }
}

async fn serve(mut stream: tokio::net::TcpStream, sender: mpsc::UnboundedSender<Got>, turns: Arc<Turns>) {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        bytes.extend_from_slice(&buffer[..count]);
        while let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let raw = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let header = |name: &str| {
                let line = raw.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
                line.and_then(|line| line.split_once(':')).map_or(String::new(), |(_, value)| value.trim().to_owned())
            };
            let length: usize = header("content-length").parse().unwrap_or(0);
            assert!(head.starts_with("post "), "{head}");
            if bytes.len() < end + 4 + length {
                break;
            }
            let body = bytes[end + 4..end + 4 + length].to_vec();
            let got = Got {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                body,
            };
            bytes.drain(..end + 4 + length);
            let status = turns.statuses.lock().expect("no panic holds it").pop_front().unwrap_or(204);
            turns.served.fetch_add(1, Ordering::Relaxed);
            let _ = sender.send(got);
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

impl Receiver {
    /// The next message; fails after half a minute.
    pub async fn next(&mut self) -> Got {
        let got = tokio::time::timeout(Duration::from_secs(30), self.got.recv()).await;
        got.expect("a message comes").expect("the receiver runs")
    }
}

async fn endpoint(server: &Server, key: &str, body: Value) -> Value {
    let said = server.post("/v1/webhook_endpoints", key, body.to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    said.json()
}

#[tokio::test]
async fn events_arrive_signed_and_the_secret_is_shown_once() {
    let server = Server::start();
    let mut receiver = receiver(&[]).await;
    let body = json!({"url": receiver.url, "types": ["account.*"], "ordered": true});
    let made = endpoint(&server, "w", body.clone()).await;
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    let id = made["id"].as_str().expect("an id").to_owned();
    assert!(secret.starts_with("whsec_"));
    // Repeated under its key it is the same answer, and nothing more was made.
    assert_eq!(endpoint(&server, "w", body).await, made);
    let shown = server.get(&format!("/v1/webhook_endpoints/{id}")).await.json();
    assert_eq!((shown.get("secret"), &shown["status"]), (None, &json!("enabled")));
    let mut accounts = Vec::new();
    for number in 0..20 {
        accounts.push(server.open_account(&format!("A{number}"), "").await);
    }
    for account in &accounts {
        let got = receiver.next().await;
        assert!(got.is_signed_by(&secret) && !got.is_signed_by("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        let event = got.json();
        assert_eq!((&event["subject"], &event["id"]), (&json!(account), &json!(got.id)), "in order");
        assert_eq!(event["type"], "account.opened");
    }
}

#[tokio::test]
async fn two_secrets_sign_while_one_goes() {
    let server = Server::start();
    let mut receiver = receiver(&[]).await;
    let made = endpoint(&server, "w", json!({"url": receiver.url, "signing": "ed25519"})).await;
    let (id, old) = (made["id"].as_str().unwrap().to_owned(), made["public_key"].as_str().unwrap().to_owned());
    let path = format!("/v1/webhook_endpoints/{id}/rotate");
    let rotated = server.post(&path, "r", "{}").await.json();
    let new = rotated["public_key"].as_str().unwrap().to_owned();
    assert!(old != new && rotated["secret"].as_str().unwrap().starts_with("whsk_"));
    assert_ne!(rotated["old_secret_until"], Value::Null);
    server.open_account("A", "").await;
    // The account's event, whatever came before it.
    loop {
        let got = receiver.next().await;
        if got.json()["type"] == "account.opened" {
            assert!(got.is_signed_by(&old) && got.is_signed_by(&new));
            break;
        }
    }
}

#[tokio::test]
async fn what_fails_is_tried_again_with_the_same_id_and_harms_no_other() {
    let server = Server::start();
    let (mut bad, mut good) = (receiver(&[500, 503]).await, receiver(&[]).await);
    let made = endpoint(&server, "b", json!({"url": bad.url, "types": ["account.*"]})).await;
    endpoint(&server, "g", json!({"url": good.url, "types": ["account.*"]})).await;
    server.open_account("A", "").await;
    let id = good.next().await.id;
    assert_eq!(bad.next().await.id, id);
    let path = format!("/v1/webhook_endpoints/{}/deliveries", made["id"].as_str().unwrap());
    // Soon it is noted as owed, with why.
    let owed = loop {
        let owed = server.get(&path).await.json()["data"].as_array().unwrap().clone();
        if owed.first().is_some_and(|owed| owed["attempts"] == 1) {
            break owed;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&owed[0]["event"], &owed[0]["last_status"], &owed[0]["status"]),
        (&json!(id), &json!(500), &json!("waiting"))
    );
    // Sent again by hand it is refused once more, then taken.
    let resend = format!("{path}/{id}/resend");
    assert_eq!(server.post(&resend, "r1", "{}").await.brief(), "202");
    assert_eq!(bad.next().await.id, id);
    assert_eq!(server.post(&resend, "r2", "{}").await.brief(), "202");
    assert_eq!(bad.next().await.id, id);
    let standing = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    loop {
        let delivery = server.get(&standing).await.json()["delivery"].clone();
        if delivery["delivered"] == 1 {
            assert_eq!((&delivery["waiting"], &delivery["dead"]), (&json!(0), &json!(0)));
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_sent_nothing_more_and_one_that_begins_again_everything() {
    let server = Server::start();
    let mut gone = receiver(&[410]).await;
    let made = endpoint(&server, "w", json!({"url": gone.url, "types": ["account.*"], "after": 0})).await;
    let path = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    server.open_account("A", "").await;
    gone.next().await;
    while server.get(&path).await.json()["status"] != "gone" {
        tokio::task::yield_now().await;
    }
    server.open_account("B", "").await;
    let enabled = [("content-type", "application/json"), ("idempotency-key", "e")];
    assert_eq!(server.send("PATCH", &path, &enabled, r#"{"status":"enabled"}"#).await.brief(), "200");
    // What it refused and what came meanwhile.
    let mut subjects = vec![gone.next().await.json()["subject"].clone(), gone.next().await.json()["subject"].clone()];
    subjects.sort_by_key(ToString::to_string);
    assert_eq!(subjects, [json!("acct_0000000000001"), json!("acct_0000000000002")]);
    // All of it again.
    assert_eq!(server.post(&format!("{path}/replay"), "p", r#"{"after":0}"#).await.brief(), "202");
    assert_eq!(gone.next().await.json()["type"], "account.opened");
    assert_eq!(gone.next().await.json()["type"], "account.opened");
}

#[tokio::test]
async fn an_endpoint_is_tried_and_what_is_behind_our_wall_is_not_called() {
    let server = Server::start();
    let mut receiver = receiver(&[204, 500]).await;
    let made = endpoint(&server, "w", json!({"url": receiver.url, "types": ["loan.*"]})).await;
    let path = format!("/v1/webhook_endpoints/{}/test", made["id"].as_str().unwrap());
    let tried = server.post(&path, "t1", "{}").await.json();
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(true), &json!(204)));
    let got = receiver.next().await;
    assert_eq!(got.json()["type"], "webhook.test");
    assert!(got.is_signed_by(made["secret"].as_str().unwrap()));
    let tried = server.post(&path, "t2", "{}").await.json();
    assert_eq!((&tried["delivered"], &tried["status"]), (&json!(false), &json!(500)));
    for (number, url) in [
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
        "http://[::1]/",
        "ftp://example.com/",
        "http://user:pw@example.com/",
        "http://0x7f000001:22/",
        "",
        "nonsense",
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("u{number}");
        let said = server.post("/v1/webhook_endpoints", &key, json!({"url": url}).to_string()).await;
        assert_eq!(said.brief(), "422 validation_failed", "{url}");
    }
    for body in [
        json!({"url": receiver.url, "types": ["loan.flown"]}),
        json!({"url": receiver.url, "types": []}),
        json!({"url": receiver.url, "types": ["api_key.*"]}),
        json!({"url": receiver.url, "account": "ext:X"}),
    ] {
        assert_eq!(server.post("/v1/webhook_endpoints", "x", body.to_string()).await.brief(), "422 validation_failed");
    }
    // A change of the version that was seen, and of no other.
    let path = format!("/v1/webhook_endpoints/{}", made["id"].as_str().unwrap());
    let tag = server.get(&path).await.header("etag").to_owned();
    let change = async |number: u32, tag: &str| {
        let key = format!("m{number}");
        let headers = [("content-type", "application/json"), ("idempotency-key", &key), ("if-match", tag)];
        server.send("PATCH", &path, &headers, format!(r#"{{"description":"{number}"}}"#)).await
    };
    let changed = change(1, &tag).await;
    assert_eq!(changed.brief(), "200", "{:?}", changed.body);
    assert_eq!(change(2, &tag).await.status.as_u16(), 412);
    assert_eq!(change(3, "\"1\"").await.status.as_u16(), 412);
    assert_eq!(change(4, &format!("\"7\", {}", changed.header("etag"))).await.brief(), "200");
    assert_eq!(server.get("/v1/webhook_endpoints/we_0000000000009").await.brief(), "404 webhook_endpoint_not_found");
}

#[tokio::test]
async fn nothing_is_lost_through_kill_9() {
    let mut receiver = receiver(&[]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &["--outbound-http", "--outbound-allow", "127.0.0.0/8"]);
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut made = Vec::new();
    for life in 0..4 {
        let url = receiver.url.clone();
        let data = place.clone();
        let (process, accounts) = tokio::task::spawn_blocking(move || {
            let process = Process::start(&data).expect("it starts");
            let mut client = process.client().expect("a client");
            if life == 0 {
                let body = json!({"url": url, "types": ["account.*"]}).to_string();
                let answer = client.call(&Request::post("/v1/webhook_endpoints", Some("w"), body)).expect("an answer");
                assert_eq!(answer.status, 201, "{}", answer.shown());
            }
            let mut accounts = Vec::new();
            for number in 0..100 {
                let body = r#"{"currency":"INR","type":"asset"}"#;
                let answer = client.call(&Request::post("/v1/accounts", Some(&format!("{life}-{number}")), body));
                accounts.push(answer.expect("an answer").json()["id"].as_str().expect("an id").to_owned());
            }
            (process, accounts)
        })
        .await
        .expect("it does not panic");
        made.extend(accounts);
        // Somewhere among the deliveries.
        for _ in 0..30 + life * 11 {
            let got = receiver.next().await;
            *seen.entry(got.json()["subject"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        process.kill9();
    }
    let data = place.clone();
    let process = tokio::task::spawn_blocking(move || Process::start(&data).expect("it starts")).await.unwrap();
    while made.iter().any(|account| !seen.contains_key(account)) {
        let got = receiver.next().await;
        *seen.entry(got.json()["subject"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(seen.len(), made.len(), "nothing was invented");
    drop(process);
}
