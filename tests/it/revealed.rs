//! What answers say about the books: refusals of what is not there are kept like all others, every answer says
//! as of which seq, and a tag stands for one representation.

use serde_json::json;

use crate::http_edge::{Said, Server};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("accept", "application/x-protobuf");

/// Ids that name nothing: well formed, malformed, not yet taken.
const NOWHERE: [(&str, &str); 2] = [("transfers", "tr_0000000099999"), ("accounts", "acct_0000000099999")];

fn seq(said: &Said) -> u64 {
    said.header("as-of-seq").parse().unwrap_or_else(|_| panic!("no As-Of-Seq: {said:?}"))
}

#[tokio::test]
async fn a_404_of_a_command_is_kept_under_its_key_whatever_the_path_names() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let commands = [
        ("POST", "transfers", "/post", r#"{"amount":"1"}"#),
        ("POST", "transfers", "/void", "{}"),
        ("POST", "transfers", "/reverse", r#"{"reason":"typing error"}"#),
        ("PATCH", "accounts", "", r#"{"name":"x"}"#),
        ("POST", "api_keys", "/revoke", "{}"),
        ("POST", "api_keys", "/rotate", "{}"),
    ];
    let mut asked = Vec::new();
    for (method, collection, action, body) in commands {
        let unknown = NOWHERE.iter().find(|(of, _)| *of == collection).map_or("key_0000000099999", |(_, id)| id);
        for (number, id) in [unknown, "ext:LATER", "nonsense", "%ff", "tr_zzzzzzzzzzzzz"].into_iter().enumerate() {
            let path = format!("/v1/{collection}/{id}{action}");
            let key = format!("k{number}");
            let headers = [JSON, ("idempotency-key", key.as_str())];
            let first = server.send(method, &path, &headers, body).await;
            assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (404, ""), "{path}");
            assert!(seq(&first) > 0, "{path}");
            asked.push((method, path, key, body, first));
        }
    }
    // What was not there is now; the first answers stand, and a new key meets the new books.
    server.open_account("LATER", "").await;
    let transfer = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"1","external_id":"LATER"}"#;
    assert_eq!(server.post("/v1/transfers", "t", transfer).await.brief(), "201");
    let check = async |server: &Server| {
        for (method, path, key, body, first) in &asked {
            let headers = [JSON, ("idempotency-key", key.as_str())];
            let again = server.send(method, path, &headers, *body).await;
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{path}");
            assert_eq!(again.header("idempotent-replayed"), "true", "{path}");
            let other = server.send(method, path, &headers, format!("{body} ")).await;
            assert_eq!(other.brief(), "422 idempotency_key_reused", "{path}");
        }
    };
    check(&server).await;
    let server = server.restart();
    check(&server).await;
    let renamed =
        server.send("PATCH", "/v1/accounts/ext:LATER", &[JSON, ("idempotency-key", "new")], r#"{"name":"x"}"#);
    assert_eq!(renamed.await.brief(), "200");
    let reversed = server.post("/v1/transfers/ext:LATER/reverse", "new", r#"{"reason":"typing error"}"#).await;
    assert_eq!(reversed.brief(), "201");
    // A dry run decides, and keeps nothing.
    let dry = server.send("POST", "/v1/transfers/nonsense/void?dry_run=true", &[], "").await;
    assert_eq!((dry.brief().as_str(), seq(&dry) > 0), ("404 transfer_not_found", true));
}

#[tokio::test]
async fn what_is_not_there_says_as_of_which_seq() {
    let server = Server::start();
    server.open_account("A", "").await;
    let newest = seq(&server.get("/v1/accounts/ext:A").await);
    for path in [
        "/v1/accounts/ext:B",
        "/v1/accounts/acct_0000000000099",
        "/v1/accounts/nonsense",
        "/v1/accounts/ext:B?at=2026-01-01",
        "/v1/accounts/ext:B/entries",
        "/v1/transfers/tr_0000000099999",
        "/v1/transfers/ext:B",
        "/v1/transfers/ext:B?fields=amount",
        "/v1/entries/je_0000000099999",
        "/v1/transfers?account=ext:B",
    ] {
        let said = server.get(path).await;
        assert!(matches!(said.status.as_u16(), 404 | 422), "{path}: {said:?}");
        assert!(seq(&said) >= newest, "{path}: {said:?}");
    }
    // These say nothing about the books.
    for path in ["/v1/nowhere", "/v1/operations/op_0000000000000", "/v1/transfers?limit=x"] {
        assert_eq!(server.get(path).await.header("as-of-seq"), "", "{path}");
    }
}

#[tokio::test]
async fn a_tag_stands_for_one_representation() {
    let server = Server::start();
    let (a, b) = (server.open_account("A", "").await, server.open_account("B", "").await);
    let body = json!({"debit_account": a, "credit_account": b, "amount": "5"}).to_string();
    let id = server.post("/v1/transfers", "t", body).await.json()["id"].as_str().unwrap().to_owned();
    let csv = ("accept", "text/csv");
    for (path, other) in [(format!("/v1/transfers/{id}"), PROTOBUF), (format!("/v1/accounts/{a}/entries"), csv)] {
        let plain = server.get(&path).await.header("etag").to_owned();
        let typed = server.send("GET", &path, &[other], "").await.header("etag").to_owned();
        assert!(!plain.is_empty() && !typed.is_empty() && plain != typed, "{path}: {plain} {typed}");
        let status = async |tag: &str, accept: Option<(&str, &str)>| {
            let headers: Vec<(&str, &str)> = [("if-none-match", tag)].into_iter().chain(accept).collect();
            server.send("GET", &path, &headers, "").await.status.as_u16()
        };
        assert_eq!((status(&plain, None).await, status(&typed, Some(other)).await), (304, 304), "{path}");
        assert_eq!((status(&typed, None).await, status(&plain, Some(other)).await), (200, 200), "{path}");
        let both = format!("{typed}, W/{plain}");
        assert_eq!((status(&both, None).await, status(&both, Some(other)).await), (304, 304), "{path}");
    }
    let path = format!("/v1/accounts/{a}");
    let tag = server.get(&path).await.header("etag").to_owned();
    assert_eq!(tag, format!("\"1-{}\"", server.get(&path).await.header("as-of-seq")));
    let patch =
        async |tag: &str| server.send("PATCH", &path, &[JSON, ("if-match", tag)], r#"{"name":"x"}"#).await.brief();
    assert_eq!(patch(&tag).await, "200");
    assert_eq!((patch(&tag).await.as_str(), patch("\"2\"").await.as_str()), ("412 version_mismatch", "200"));
    // The statement's tag in CSV is no version of the account.
    let statement = server.send("GET", &format!("{path}/entries"), &[csv], "").await.header("etag").to_owned();
    assert_eq!(patch(&statement).await, "412 version_mismatch");
}
