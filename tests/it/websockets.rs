//! Commands over a WebSocket, each answered once and when it is durable; what breaks the protocol; what ends it.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::fire::server::{Place, Server};
use crate::fire::wire::Request;

struct Branch {
    server: Server,
    token: String,
    place: Place,
    _folder: tempfile::TempDir,
}

impl Branch {
    fn open(flags: &[&str]) -> Branch {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::in_folder(folder.path(), flags);
        let server = Server::start(&place).expect("it starts");
        let token = std::fs::read_to_string(place.data.join("admin.key")).expect("a key").trim().to_owned();
        let branch = Branch { server, token, place, _folder: folder };
        for name in ["A", "B"] {
            let body = json!({"currency": "INR", "type": "asset", "external_id": name}).to_string();
            assert_eq!(branch.call(&Request::post("/v1/accounts", Some(name), body)).0, 201);
        }
        branch
    }

    fn call(&self, request: &Request) -> (u16, Value) {
        let answer = self.server.client().expect("a client").call(request).expect("an answer");
        (answer.status, answer.json())
    }

    fn socket(&self, token: &str) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.server.address).expect("it serves");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut request = format!("ws://{}/v1/ws", self.server.address).into_client_request().expect("a request");
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {token}").parse().expect("a header"));
        headers.insert("sec-websocket-protocol", "munim.v1".parse().expect("a header"));
        let (socket, answer) = tungstenite::client::client(request, stream).expect("a handshake");
        assert_eq!(answer.headers()["sec-websocket-protocol"], "munim.v1");
        socket
    }
}

fn post(id: impl Into<Value>, key: &str, amount: &str) -> String {
    let body = json!({"debit_account": "ext:A", "credit_account": "ext:B", "amount": amount});
    json!({"op": "post", "id": id.into(), "key": key, "body": body}).to_string()
}

fn say(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text)).expect("it takes it");
}

fn hear(socket: &mut WebSocket<TcpStream>) -> Value {
    loop {
        match socket.read().expect("a message comes") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
}

/// Reads until it is closed; with which code.
fn end_of(socket: &mut WebSocket<TcpStream>) -> Option<CloseCode> {
    loop {
        match socket.read() {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[test]
fn commands_sent_at_once_are_each_answered_once() {
    let branch = Branch::open(&[]);
    let mut socket = branch.socket(&branch.token);
    for number in 0..500 {
        say(&mut socket, &post(number, &format!("k{number}"), "1"));
    }
    let mut answers: BTreeMap<u64, String> = BTreeMap::new();
    for _ in 0..500 {
        let heard = hear(&mut socket);
        assert_eq!(heard["op"], "posted", "{heard}");
        let transfer = heard["transfer"]["id"].as_str().expect("an id").to_owned();
        assert!(answers.insert(heard["id"].as_u64().expect("its id"), transfer).is_none());
    }
    // Everything that was answered is in the books, once.
    let (_, account) = branch.call(&Request::get("/v1/accounts/ext:A"));
    assert_eq!(account["balances"]["posted"], "500.00");
    // The same keys again, in another order, and one over HTTP: the same answers, and nothing more in the books.
    for number in (0..500).rev() {
        say(&mut socket, &post(number, &format!("k{number}"), "1"));
    }
    for _ in 0..500 {
        let heard = hear(&mut socket);
        assert_eq!((&heard["op"], &heard["replayed"]), (&json!("posted"), &json!(true)), "{heard}");
        let id = heard["id"].as_u64().expect("its id");
        assert_eq!(heard["transfer"]["id"], answers[&id].as_str());
    }
    let (_, account) = branch.call(&Request::get("/v1/accounts/ext:A"));
    assert_eq!(account["balances"]["posted"], "500.00");
    drop(branch.server);
    branch.place.verify().expect("the books are well");
}

#[test]
fn the_key_is_the_same_however_a_command_comes() {
    let branch = Branch::open(&[]);
    let mut socket = branch.socket(&branch.token);
    let body = json!({"debit_account": "ext:A", "credit_account": "ext:B", "amount": "7"});
    say(&mut socket, &json!({"op": "post", "id": 1, "key": "k", "body": body}).to_string());
    let heard = hear(&mut socket);
    let (status, again) = branch.call(&Request::post("/v1/transfers", Some("k"), body.to_string()));
    assert_eq!((status, &again), (201, &heard["transfer"]));
    // Another body under the same key is refused in both.
    say(&mut socket, &post(2, "k", "8"));
    assert_eq!(hear(&mut socket)["problem"]["code"], "idempotency_key_reused");
}

#[test]
fn what_is_wrong_is_told_under_its_id_and_harms_nobody_else() {
    let branch = Branch::open(&[]);
    let mut socket = branch.socket(&branch.token);
    let wrong = [
        ("nonsense".to_owned(), Value::Null, "malformed_json"),
        (json!({"op": "post", "id": 6, "key": "k6", "bogus": 1, "body": {}}).to_string(), json!(6), "unknown_field"),
        (json!({"op": "post", "id": 7, "key": 8, "body": {}}).to_string(), json!(7), "validation_failed"),
        (json!({"op": "subscribe", "id": 8, "types": []}).to_string(), json!(8), "invalid_parameter"),
        (json!({"op": "post", "id": "a"}).to_string(), json!("a"), "validation_failed"),
        (post(1, "", "1"), json!(1), "idempotency_key_malformed"),
        (post(2, "k", "-1"), json!(2), "amount_malformed"),
        (json!({"op": "post", "id": 3, "key": "k3", "body": {"debit_account": "ext:A", "credit_account": "ext:X", "amount": "1"}}).to_string(), json!(3), "account_not_found"),
        (json!({"op": "subscribe", "id": 4, "types": ["loan.flown"]}).to_string(), json!(4), "invalid_parameter"),
        (json!({"op": "subscribe", "id": 5, "after": 999_999}).to_string(), json!(5), "position_gone"),
    ];
    for (text, ..) in &wrong {
        say(&mut socket, text);
    }
    say(&mut socket, &post(9, "good", "1"));
    let mut heard: Vec<Value> = (0..=wrong.len()).map(|_| hear(&mut socket)).collect();
    let good = heard.iter().position(|answer| answer["id"] == 9).expect("an answer");
    assert_eq!(heard.remove(good)["op"], "posted");
    for (text, id, code) in &wrong {
        let said = heard.iter().find(|answer| answer["id"] == *id).unwrap_or_else(|| panic!("no answer to {text}"));
        assert_eq!((&said["op"], &said["problem"]["code"]), (&json!("refused"), &json!(code)), "{text}");
    }
}

#[test]
fn events_come_beside_the_answers() {
    let branch = Branch::open(&[]);
    let mut socket = branch.socket(&branch.token);
    say(&mut socket, &json!({"op": "subscribe", "id": "s", "types": ["transfer.*"], "account": "ext:A"}).to_string());
    assert_eq!(hear(&mut socket)["op"], "subscribed");
    for number in 0..50 {
        say(&mut socket, &post(number, &format!("k{number}"), "1"));
    }
    let (mut posted, mut events) = (Vec::new(), Vec::new());
    while posted.len() < 50 || events.len() < 50 {
        let heard = hear(&mut socket);
        match heard["op"].as_str() {
            Some("posted") => posted.push(heard["transfer"]["id"].clone()),
            Some("event") => events.push(heard["event"]["data"]["id"].clone()),
            other => panic!("{other:?}: {heard}"),
        }
    }
    assert_eq!(posted, events, "in the order of the books");
    say(&mut socket, r#"{"op":"unsubscribe"}"#);
    assert_eq!(hear(&mut socket)["op"], "unsubscribed");
    say(&mut socket, &post(99, "k99", "1"));
    assert_eq!(hear(&mut socket)["op"], "posted");
}

#[test]
fn what_is_no_websocket_ends_it_and_says_why() {
    let branch = Branch::open(&[]);
    let mut socket = branch.socket(&branch.token);
    socket.send(Message::binary(vec![1, 2, 3])).expect("it takes it");
    assert_eq!(end_of(&mut socket), Some(CloseCode::Unsupported));
    let mut socket = branch.socket(&branch.token);
    say(&mut socket, &"x".repeat(70_000));
    assert_eq!(end_of(&mut socket), Some(CloseCode::Size));
    // An unmasked frame of a client is a breach (RFC 6455, 5.1).
    let mut socket = branch.socket(&branch.token);
    std::io::Write::write_all(socket.get_mut(), &[0x81, 0x01, b'x']).expect("it takes it");
    assert_eq!(end_of(&mut socket), Some(CloseCode::Protocol));
    // The client's own goodbye is answered.
    let mut socket = branch.socket(&branch.token);
    socket.close(None).expect("it takes it");
    assert_eq!(end_of(&mut socket), None);
}

#[test]
fn a_key_that_is_no_key_any_more_ends_its_sockets_and_one_without_the_right_posts_nothing() {
    let branch = Branch::open(&[]);
    let make = |name: &str, role: &str| {
        let body = json!({"name": name, "role": role}).to_string();
        let (status, made) = branch.call(&Request::post("/v1/api_keys", Some(name), body));
        assert_eq!(status, 201, "{made}");
        (made["id"].as_str().expect("an id").to_owned(), made["token"].as_str().expect("a token").to_owned())
    };
    let (_, auditor) = make("reader", "auditor");
    let mut socket = branch.socket(&auditor);
    say(&mut socket, &post(1, "k1", "1"));
    assert_eq!(hear(&mut socket)["problem"]["code"], "forbidden");
    let (id, cashier) = make("till", "cashier");
    let mut socket = branch.socket(&cashier);
    say(&mut socket, &post(1, "k1", "1"));
    assert_eq!(hear(&mut socket)["op"], "posted");
    assert_eq!(branch.call(&Request::post(format!("/v1/api_keys/{id}/revoke"), Some("r"), "{}")).0, 200);
    say(&mut socket, &post(2, "k2", "1"));
    assert_eq!(end_of(&mut socket), Some(CloseCode::Policy));
    let (_, account) = branch.call(&Request::get("/v1/accounts/ext:A"));
    assert_eq!(account["balances"]["posted"], "1.00");
}

#[test]
fn a_server_that_leaves_says_so() {
    let branch = Branch::open(&[]);
    let mut socket = branch.socket(&branch.token);
    say(&mut socket, r#"{"op":"subscribe","id":1}"#);
    assert_eq!(hear(&mut socket)["op"], "subscribed");
    say(&mut socket, &post(2, "k", "1"));
    assert!(["posted", "event"].contains(&hear(&mut socket)["op"].as_str().expect("an op")));
    let asked = std::process::Command::new("kill").arg(branch.server.pid().to_string()).status().expect("kill runs");
    assert!(asked.success());
    assert_eq!(end_of(&mut socket), Some(CloseCode::Away));
}
