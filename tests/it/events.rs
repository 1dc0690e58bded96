//! Following the books: pages, streams, and what happens to those who are slow, cut off or not allowed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use munim::http::body::Payload;
use munim::http::peer::Peer;
use serde_json::{Value, json};

use crate::fire::server::{Place, Server as Process};
use crate::http_edge::Server;

/// A stream of events, read as it comes.
struct Stream {
    body: Payload,
    text: String,
}

/// An event as a client of SSE sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: u64,
    event: String,
    data: Value,
}

async fn follow(server: &Server, path: &str, headers: &[(&str, &str)]) -> Stream {
    let mut request = Request::builder().method("GET").uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::new())).expect("a request");
    let answer = Arc::clone(&server.edge).handle(request, &Arc::new(Peer::local())).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    Stream { body: answer.into_body(), text: String::new() }
}

impl Stream {
    /// The next event that has data.
    async fn next(&mut self) -> Seen {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (seen, read) = (read_block(block), self.text.len() - rest.len());
                self.text.drain(..read);
                if let Some(seen) = seen {
                    return seen;
                }
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await;
            let frame = frame.expect("an event comes").expect("the stream goes on").expect("it does not break");
            let data = frame.into_data().expect("data");
            self.text.push_str(std::str::from_utf8(&data).expect("text"));
        }
    }
}

fn read_block(block: &str) -> Option<Seen> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for line in block.lines() {
        let (name, value) = line.split_once(": ")?;
        fields.insert(name, value);
    }
    let data = serde_json::from_str(fields.get("data")?).expect("JSON");
    let id = fields.get("id").map_or(0, |id| id.parse().expect("a seq"));
    Some(Seen { id, event: (*fields.get("event")?).to_owned(), data })
}

async fn transfer(server: &Server, key: &str, more: &str) -> String {
    let body = format!(r#"{{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"{more}}}"#);
    let said = server.post("/v1/transfers", key, body).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    said.json()["id"].as_str().expect("an id").to_owned()
}

async fn books() -> Server {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    server
}

#[tokio::test]
async fn every_entry_is_an_event_and_pages_follow_each_other() {
    let server = books().await;
    let plain = transfer(&server, "t1", "").await;
    let held = transfer(&server, "t2", r#","pending":true"#).await;
    let voided = transfer(&server, "t3", r#","pending":true"#).await;
    assert_eq!(server.post(&format!("/v1/transfers/{held}/post"), "p", r#"{"amount":"2"}"#).await.brief(), "200");
    assert_eq!(server.post(&format!("/v1/transfers/{voided}/void"), "v", "{}").await.brief(), "200");
    assert_eq!(server.post(&format!("/v1/transfers/{plain}/reverse"), "r", r#"{"reason":"x"}"#).await.brief(), "201");
    // A refusal that is kept under its key says nothing of the books.
    let refused = r#"{"debit_account":"ext:A","credit_account":"ext:A","amount":"5"}"#;
    assert_eq!(server.post("/v1/transfers", "n", refused).await.brief(), "422 same_account");
    let whole = server.get("/v1/events").await.json();
    let types: Vec<&str> = whole["data"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(
        types,
        [
            "business_day.rolled",
            "account.opened",
            "account.opened",
            "transfer.posted",
            "transfer.pending",
            "transfer.pending",
            "transfer.hold_posted",
            "transfer.hold_voided",
            "transfer.reversed",
        ]
    );
    let hold_posted = &whole["data"][6];
    assert_eq!(hold_posted["subject"], held.as_str());
    assert_eq!(
        (&hold_posted["data"]["amount"], &hold_posted["data"]["posted_amount"]),
        (&json!("5.00"), &json!("2.00"))
    );
    // A new transfer's event shows what the API showed.
    assert_eq!(whole["data"][4]["data"]["status"], "pending");
    assert_eq!(whole["data"][3]["data"]["id"], plain.as_str());
    // Page by page, the same.
    let (mut path, mut paged) = ("/v1/events?limit=2".to_owned(), Vec::new());
    loop {
        let said = server.get(&path).await;
        paged.extend(said.json()["data"].as_array().unwrap().clone());
        if said.json()["has_more"] == false {
            break;
        }
        path = said.header("link").split(['<', '>']).nth(1).expect("a next page").to_owned();
    }
    assert_eq!(&json!(paged), &whole["data"]);
    let sequences: Vec<&str> =
        whole["data"].as_array().unwrap().iter().map(|e| e["sequence"].as_str().unwrap()).collect();
    assert!(sequences.is_sorted() && sequences.iter().all(|sequence| sequence.len() == 20));
}

#[tokio::test]
async fn a_topic_is_kinds_an_account_or_a_loan() {
    let server = books().await;
    server.open_account("C", "").await;
    transfer(&server, "t1", "").await;
    let count = async |query: &str| {
        let said = server.get(&format!("/v1/events?{query}")).await;
        if said.brief() == "200" { said.json()["data"].as_array().unwrap().len().to_string() } else { said.brief() }
    };
    for (query, expected) in [
        ("types=transfer.posted", "1"),
        ("types=account.*", "3"),
        ("types=account.*,transfer.posted", "4"),
        ("account=ext:A", "2"),
        ("account=ext:C", "1"),
        ("account=ext:A&types=transfer.*", "1"),
        ("types=transfer.flown", "422 invalid_parameter"),
        ("types=", "422 invalid_parameter"),
        ("account=ext:NOBODY", "422 invalid_parameter"),
        ("loan=acct_0000000000001", "422 invalid_parameter"),
        ("after=x", "422 invalid_parameter"),
        ("after=-1", "422 invalid_parameter"),
        ("after=99999999", "410 position_gone"),
        ("limit=0", "422 invalid_parameter"),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let gone = server.get("/v1/events/stream?after=99999999").await;
    assert_eq!(gone.brief(), "410 position_gone");
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left() {
    let server = books().await;
    let first = transfer(&server, "t1", "").await;
    let mut stream = follow(&server, "/v1/events/stream?after=0&types=transfer.*", &[]).await;
    let seen = stream.next().await;
    assert_eq!((seen.event.as_str(), &seen.data["data"]["id"]), ("transfer.posted", &json!(first)));
    // What comes while it is followed.
    let second = transfer(&server, "t2", "").await;
    let seen = stream.next().await;
    assert_eq!(seen.data["data"]["id"], second.as_str());
    assert_eq!(seen.data["sequence"], format!("{:020}", seen.id));
    drop(stream);
    // What came while nobody did, after what the client has seen: that comes before what it once asked for.
    let third = transfer(&server, "t3", "").await;
    let id = seen.id.to_string();
    let mut stream = follow(&server, "/v1/events/stream?after=0", &[("last-event-id", &id)]).await;
    assert_eq!(stream.next().await.data["data"]["id"], third.as_str());
    // Without a place, only what comes.
    let mut fresh = follow(&server, "/v1/events/stream", &[]).await;
    let fourth = transfer(&server, "t4", "").await;
    assert_eq!(fresh.next().await.data["data"]["id"], fourth.as_str());
    assert_eq!(stream.next().await.data["data"]["id"], fourth.as_str());
    // The server leaves: streams end, so that clients come back elsewhere.
    server.edge.drain();
    let rest = tokio::time::timeout(Duration::from_secs(20), fresh.body.collect()).await;
    assert!(rest.expect("the stream ends").is_ok());
}

/// So many plain transfers in batches.
async fn flood(server: &Server, name: &str, batches: usize) {
    let item = json!({"debit_account": "ext:A", "credit_account": "ext:B", "amount": "1"});
    let body = json!({"mode": "independent", "transfers": vec![item; 8_000]}).to_string();
    for place in 0..batches {
        assert_eq!(server.post("/v1/transfers/batch", &format!("{name}{place}"), body.clone()).await.brief(), "200");
    }
}

#[tokio::test]
async fn who_is_slow_is_told_and_loses_nothing() {
    let server = books().await;
    let mut slow = follow(&server, "/v1/events/stream", &[]).await;
    transfer(&server, "t1", "").await;
    let begun = slow.next().await.id;
    // More than the ring holds, while nobody reads.
    flood(&server, "f", 6).await;
    let (mut last, mut lagged, mut events) = (begun, 0, 0);
    while events < 48_000 {
        let seen = slow.next().await;
        if seen.event == "lagged" {
            lagged += 1;
            assert_eq!(seen.data["after"], last.to_string());
            continue;
        }
        assert_eq!(seen.id, last + 1, "nothing is lost and nothing comes twice");
        last = seen.id;
        events += 1;
    }
    assert!(lagged > 0, "48,000 events do not fit into the ring");
}

#[tokio::test]
async fn events_about_keys_are_for_those_who_see_to_keys() {
    let server = Server::start();
    let admin = json!({"name": "a", "role": "admin"}).to_string();
    let admin = server.post("/v1/api_keys", "a", admin).await.json()["token"].as_str().unwrap().to_owned();
    let bearer = |token: &str| format!("Bearer {token}");
    let admin = bearer(&admin);
    let make = async |role: &str| {
        let headers =
            [("authorization", admin.as_str()), ("content-type", "application/json"), ("idempotency-key", role)];
        let body = json!({"name": role, "role": role}).to_string();
        let said = server.send("POST", "/v1/api_keys", &headers, body).await;
        bearer(said.json()["token"].as_str().expect("a token"))
    };
    for (role, sees) in [("cashier", false), ("manager", false), ("auditor", true)] {
        let token = make(role).await;
        let headers = [("authorization", token.as_str())];
        let all = server.send("GET", "/v1/events", &headers, "").await.json();
        let has = all["data"].as_array().unwrap().iter().any(|event| event["type"] == "api_key.created");
        assert_eq!(has, sees, "{role}");
        let asked = server.send("GET", "/v1/events?types=api_key.*", &headers, "").await;
        assert_eq!(asked.brief(), if sees { "200" } else { "403 forbidden" }, "{role}");
    }
    // Whoever asks without a key, where keys are, gets nothing.
    assert_eq!(server.get("/v1/events/stream").await.brief(), "401 unauthenticated");
}

/// A client of SSE at a real socket.
struct Wire {
    stream: TcpStream,
    text: String,
}

impl Wire {
    fn open(process: &Process, token: &str, last: Option<u64>) -> Wire {
        let mut stream = TcpStream::connect(process.address).expect("it serves");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let last = last.map_or(String::new(), |last| format!("last-event-id: {last}\r\n"));
        let request =
            format!("GET /v1/events/stream?after=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).expect("it takes the request");
        Wire { stream, text: String::new() }
    }

    /// The next event; `None` when the stream is over.
    fn next(&mut self) -> Option<Seen> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                // The sizes of chunks stand on lines of their own before them.
                let begin = block.find("id: ").or_else(|| block.find("event: ")).unwrap_or(block.len());
                let (seen, read) = (read_block(&block[begin..]), self.text.len() - rest.len());
                self.text.drain(..read);
                if seen.is_some() {
                    return seen;
                }
            }
            let mut buffer = [0; 16_384];
            match self.stream.read(&mut buffer) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.text.push_str(&String::from_utf8_lossy(&buffer[..count])),
            }
        }
    }
}

#[test]
fn whoever_follows_through_kill_9_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &[]);
    let mut last = 0;
    let mut expected = 1;
    for life in 0..4 {
        let process = Process::start(&place).expect("it starts");
        let token = std::fs::read_to_string(place.data.join("admin.key")).expect("a key").trim().to_owned();
        let mut wire = Wire::open(&process, &token, (last > 0).then_some(last));
        let posting = {
            let (address, token) = (process.address, token.clone());
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("it serves");
                for number in 0..200 {
                    let body = r#"{"currency":"INR","type":"asset"}"#;
                    let request = format!(
                        "POST /v1/accounts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
                         idempotency-key: {life}-{number}\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let mut answer = [0; 4096];
                    if stream.write_all(request.as_bytes()).is_err() || !matches!(stream.read(&mut answer), Ok(1..)) {
                        return;
                    }
                }
            })
        };
        // Somewhere in the middle of it.
        for _ in 0..60 + life * 7 {
            let seen = wire.next().expect("events come");
            assert_eq!(seen.id, expected, "nothing is lost and nothing comes twice");
            (last, expected) = (seen.id, seen.id + 1);
        }
        drop(process);
        // What was on its way may still come; it is as durable as the rest.
        while let Some(seen) = wire.next() {
            assert_eq!(seen.id, expected);
            (last, expected) = (seen.id, seen.id + 1);
        }
        posting.join().expect("the poster ends");
    }
    assert!(expected > 250);
}

/// A body in chunks, taken apart strictly (RFC 9112, 7.1): its text so far, and whether it has ended.
fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut text = Vec::new();
    loop {
        let Some(line) = bytes.windows(2).position(|two| two == b"\r\n") else { return (text, false) };
        let size = std::str::from_utf8(&bytes[..line]).expect("a size");
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("{size:?} is no size of a chunk"));
        let rest = &bytes[line + 2..];
        if rest.len() < size + 2 {
            return (text, false);
        }
        text.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n", "a chunk ends with its line");
        bytes = &rest[size + 2..];
        if size == 0 {
            assert!(bytes.is_empty(), "nothing comes behind the last chunk");
            return (text, true);
        }
    }
}

#[test]
fn a_stream_on_a_socket_is_one_body_whoever_writes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(&Place::in_folder(folder.path(), &[])).expect("it starts");
    let token = std::fs::read_to_string(folder.path().join("data").join("admin.key")).expect("a key");
    let token = token.trim();
    let request = format!("GET /v1/events/stream?after=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let open = || {
        let mut stream = TcpStream::connect(process.address).expect("it serves");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("it takes the request");
        stream
    };
    // One who has read what there is and rests, and one who reads nothing until all is said.
    let (mut reader, mut sleeper) = (open(), open());
    let mut said = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while !said.windows(9).any(|nine| nine == b"id: 2\neve") {
        let count = reader.read(&mut buffer).expect("it answers");
        assert!(count > 0, "it ended");
        said.extend_from_slice(&buffer[..count]);
    }
    let account = r#"{"currency":"INR","type":"asset"}"#;
    let body = format!(r#"{{"accounts":[{}]}}"#, vec![account; 8_000].join(","));
    for place in 0..4 {
        let mut stream = TcpStream::connect(process.address).expect("it serves");
        let head = format!(
            "POST /v1/accounts/batch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
             content-type: application/json\r\nidempotency-key: b{place}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("it takes the head");
        stream.write_all(body.as_bytes()).expect("it takes the body");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..200]));
    }
    let leave = std::process::Command::new("kill").args(["-TERM", &process.pid().to_string()]).status();
    assert!(leave.expect("a signal can be sent").success());
    for (stream, mut said) in [(&mut reader, said), (&mut sleeper, Vec::new())] {
        stream.read_to_end(&mut said).expect("it ends well");
        let head = said.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let (text, is_over) = unchunk(&said[head..]);
        assert!(is_over, "the server left, and the body has its end");
        let text = String::from_utf8(text).expect("text");
        let seen: Vec<Seen> = text.split("\n\n").filter_map(read_block).filter(|seen| seen.event != "lagged").collect();
        assert!(seen.iter().zip(1..).all(|(seen, seq)| seen.id == seq), "nothing is lost and nothing comes twice");
        assert!(seen.len() > 100, "{} events", seen.len());
    }
}
