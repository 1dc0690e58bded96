//! Every route of the table, asked wrongly in every way there is: the statuses of the contract, always as
//! problem documents.
//!
//! The table of routes is the list, so that a new route cannot be forgotten: a [`Case`] says which routes it
//! is about, and `every_route_is_asked` fails for one that too few cases are about. The column `token` is for
//! books that have keys.

use munim::http::openapi::operations::{Value, codes, describe};
use munim::http::router::{Class, ROUTES, Route, Takes};

use crate::http_edge::{Said, Server};

/// One way to ask wrongly.
struct Case {
    name: &'static str,
    /// The routes that it is about.
    about: fn(&Route) -> bool,
    /// What is sent instead of the method of the route.
    method: Option<&'static str>,
    /// What follows the path.
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// The bearer token; none while no key exists and the caller is on loopback.
    token: Option<&'static str>,
    body: fn(&Route) -> Vec<u8>,
    expected: &'static str,
}

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const KEY: (&str, &str) = ("idempotency-key", "k");

fn has_body(route: &Route) -> bool {
    route.takes != Takes::Nothing
}

fn is_batch(route: &Route) -> bool {
    matches!(route.takes, Takes::Batch | Takes::JsonBatch)
}

fn takes_protobuf(route: &Route) -> bool {
    matches!(route.takes, Takes::Batch | Takes::Message | Takes::MessageOrNothing)
}

fn any(_: &Route) -> bool {
    true
}

fn oversize(route: &Route) -> Vec<u8> {
    vec![b' '; if is_batch(route) { (8 << 20) + 1 } else { (64 << 10) + 1 }]
}

/// Larger than the bound once it is inflated, far smaller before.
fn bomb(route: &Route) -> Vec<u8> {
    munim::http::compress::encode(munim::http::compress::Coding::Gzip, &oversize(route)).expect("spaces compress")
}

const PLAIN: Case = Case {
    name: "",
    about: any,
    method: None,
    query: "",
    headers: &[JSON, KEY],
    token: None,
    body: |_| b"{}".to_vec(),
    expected: "",
};

const CASES: &[Case] = &[
    Case {
        name: "a method that the path does not have",
        method: Some("DELETE"),
        expected: "405 method_not_allowed",
        ..PLAIN
    },
    Case {
        name: "a type that it cannot give",
        headers: &[("accept", "image/png")],
        expected: "406 not_acceptable",
        ..PLAIN
    },
    Case {
        name: "an unknown parameter",
        about: |route| route.pattern.starts_with("/v1"),
        query: "?colour=red",
        expected: "422 unknown_parameter",
        ..PLAIN
    },
    Case {
        name: "a parameter twice",
        about: |route| describe(route.operation).parameters.iter().any(|known| known.name == "limit"),
        query: "?limit=1&limit=1",
        expected: "422 invalid_parameter",
        ..PLAIN
    },
    Case {
        name: "a field that is none",
        about: |route| describe(route.operation).parameters.iter().any(|known| matches!(known.kind, Value::Fields(_))),
        query: "?fields=id,colour",
        expected: "422 invalid_parameter",
        ..PLAIN
    },
    Case {
        name: "an id that cannot be expanded",
        about: |route| describe(route.operation).parameters.iter().any(|known| matches!(known.kind, Value::Expand(_))),
        query: "?expand[]=amount",
        expected: "422 invalid_parameter",
        ..PLAIN
    },
    Case {
        name: "an impossible deadline",
        headers: &[JSON, KEY, ("x-request-timeout-ms", "soon")],
        expected: "400 timeout_malformed",
        ..PLAIN
    },
    Case { name: "an oversize body", body: oversize, expected: "413 body_too_large", ..PLAIN },
    Case {
        name: "a body that inflates too far",
        about: has_body,
        headers: &[JSON, KEY, ("content-encoding", "gzip")],
        body: bomb,
        expected: "413 body_too_large",
        ..PLAIN
    },
    Case {
        name: "a body that is not what its coding says",
        about: has_body,
        headers: &[JSON, KEY, ("content-encoding", "zstd")],
        expected: "400 body_unreadable",
        ..PLAIN
    },
    Case {
        name: "a coding that is not taken",
        about: has_body,
        headers: &[JSON, KEY, ("content-encoding", "br")],
        expected: "415 unsupported_media_type",
        ..PLAIN
    },
    Case {
        name: "a media type that is not taken",
        about: has_body,
        headers: &[("content-type", "text/plain"), KEY],
        expected: "415 unsupported_media_type",
        ..PLAIN
    },
    Case { name: "malformed JSON", about: has_body, body: |_| b"{".to_vec(), expected: "400 malformed_json", ..PLAIN },
    Case {
        name: "a lone surrogate",
        about: has_body,
        body: |_| br#""\ud800""#.to_vec(),
        expected: "400 malformed_json",
        ..PLAIN
    },
    Case {
        name: "bytes that are no text",
        about: has_body,
        body: |_| vec![0xff],
        expected: "400 malformed_json",
        ..PLAIN
    },
    Case {
        name: "an unknown field",
        about: has_body,
        body: |_| br#"{"colour":"red"}"#.to_vec(),
        expected: "422 unknown_field",
        ..PLAIN
    },
    Case { name: "no object", about: has_body, body: |_| b"[1]".to_vec(), expected: "422 validation_failed", ..PLAIN },
    Case {
        name: "malformed protobuf",
        about: takes_protobuf,
        headers: &[PROTOBUF, KEY],
        body: |_| vec![0x0a, 0x7f],
        expected: "400 malformed_protobuf",
        ..PLAIN
    },
    Case {
        name: "no key where money moves",
        about: |route| route.class == Class::Money,
        headers: &[JSON],
        expected: "400 idempotency_key_missing",
        ..PLAIN
    },
    Case {
        name: "a key that is none",
        about: |route| matches!(route.class, Class::Money | Class::Change),
        headers: &[JSON, ("idempotency-key", "a b")],
        expected: "400 idempotency_key_malformed",
        ..PLAIN
    },
];

fn path_of(route: &Route) -> String {
    route.pattern.replace("{id}", "x").replace("{code}", "x").replace("{event}", "y").replace("{date}", "x")
}

async fn ask(server: &Server, route: &Route, case: &Case) -> Said {
    let mut headers = case.headers.to_vec();
    let bearer = case.token.map(|token| format!("Bearer {token}"));
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let path = format!("{}{}", path_of(route), case.query);
    server.send(case.method.unwrap_or(route.method), &path, &headers, (case.body)(route)).await
}

#[tokio::test]
async fn every_route_refuses_what_is_no_request_in_the_words_of_the_contract() {
    let server = Server::start();
    for case in CASES {
        for route in ROUTES.iter().filter(|route| (case.about)(route)) {
            let said = ask(&server, route, case).await;
            let place = format!("{} {}: {}", route.method, route.pattern, case.name);
            assert_eq!(said.brief(), case.expected, "{place}");
            assert_eq!(said.header("content-type"), "application/problem+json", "{place}");
            let json = said.json();
            assert_eq!(json["instance"], path_of(route), "{place}");
            assert_eq!(json["request_id"], said.header("request-id"), "{place}");
            if said.status == 405 {
                assert!(said.header("allow").contains(route.method), "{place}");
            } else {
                let code = json["code"].as_str().expect("a code");
                let is_described = codes(route).iter().any(|known| known.facts().name == code);
                assert!(is_described, "{place}: {code} is not in the description");
            }
            if case.expected.starts_with("415") && case.name.contains("coding") {
                assert_eq!(said.header("accept-encoding"), "gzip, zstd", "{place}");
            }
        }
    }
}

/// What reads the whole journal is not begun for somebody who has gone.
#[tokio::test]
async fn an_export_or_a_verification_is_not_begun_after_its_deadline() {
    let server = Server::start();
    for (method, path, done) in [("GET", "/v1/export", "200"), ("POST", "/v1/verifications", "202")] {
        for (timeout, expected) in [("0", "503 deadline_unmeetable"), ("60000", done)] {
            let headers = [JSON, KEY, ("x-request-timeout-ms", timeout)];
            let said = server.send(method, path, &headers, if method == "GET" { "" } else { "{}" }).await;
            assert_eq!(said.brief(), expected, "{path} within {timeout} ms");
            assert_eq!(said.header("idempotent-replayed"), "", "{path}: nothing was begun under its key");
        }
    }
}

#[test]
fn every_route_is_asked() {
    for route in ROUTES {
        let asked = CASES.iter().filter(|case| (case.about)(route)).count();
        let least = match (has_body(route), route.class) {
            (true, Class::Money) => 16,
            (true, _) => 13,
            (false, _) => 4,
        };
        assert!(asked >= least, "{} {}: only {asked} cases", route.method, route.pattern);
    }
}

#[tokio::test]
async fn every_path_says_what_it_can_do_and_answers_a_head() {
    let server = Server::start();
    for route in ROUTES {
        let path = path_of(route);
        let said = server.send("OPTIONS", &path, &[], "").await;
        assert_eq!((said.brief().as_str(), said.body.len()), ("204", 0), "{path}");
        let allow = said.header("allow").to_owned();
        assert!(allow.contains(route.method) && allow.ends_with("OPTIONS"), "{path}: {allow}");
        if route.method == "GET" {
            assert!(allow.contains("HEAD"), "{path}");
            let get = server.get(&path).await;
            let head = server.send("HEAD", &path, &[], "").await;
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
            let is_streamed = ["export_books", "stream_events"].contains(&route.operation_id);
            // These count what happens meanwhile.
            let is_counting = ["get_status", "get_latency", "get_metrics"].contains(&route.operation_id);
            if !is_streamed && !is_counting {
                assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
            }
        }
    }
    assert_eq!(server.send("OPTIONS", "*", &[], "").await.header("allow"), "GET, POST, PATCH, HEAD, OPTIONS");
    assert_eq!(server.send("OPTIONS", "/nowhere", &[], "").await.brief(), "404 route_not_found");
}

#[tokio::test]
async fn every_answer_protects_itself() {
    let server = Server::start();
    for route in ROUTES {
        let said = server.send(route.method, &path_of(route), &[], "").await;
        assert_eq!(said.header("x-content-type-options"), "nosniff", "{}", route.pattern);
        let is_api = route.pattern.starts_with("/v1");
        assert_eq!(said.header("cache-control") == "no-store", is_api, "{}", route.pattern);
        let is_page = said.header("content-type").starts_with("text/html");
        assert_eq!(said.header("content-security-policy").contains("default-src 'none'"), is_page, "{}", route.pattern);
        assert_eq!(said.header("access-control-allow-origin"), "", "off by default");
    }
}

/// Twice with one key: the same bytes, whatever the route; another body under it is refused.
#[tokio::test]
async fn every_command_is_replayed_under_its_key() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let transfer = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;
    let hold = transfer.replace('}', r#","pending":true}"#);
    let mut made = Vec::new();
    for (key, body) in [("m1", transfer.to_owned()), ("m2", hold.clone()), ("m3", hold)] {
        let json = server.post("/v1/transfers", key, body).await.json();
        made.push(json["id"].as_str().expect("an id").to_owned());
    }
    let loans = crate::loans::prepared(&server).await;
    // From the first API key on every request needs one; the second is there to be rotated and revoked.
    let admin = r#"{"name":"admin","role":"admin"}"#;
    let bearer = server.post("/v1/api_keys", "a1", admin).await.json();
    let bearer = format!("Bearer {}", bearer["token"].as_str().expect("a token"));
    let with_key = [JSON, ("authorization", bearer.as_str())];
    let spare = server.send("POST", "/v1/api_keys", &with_key, admin).await.json();
    let spare = spare["id"].as_str().expect("an id");
    let commands = ROUTES.iter().filter(|route| matches!(route.class, Class::Money | Class::Change));
    for (number, route) in commands.enumerate() {
        let (id, body) = match route.operation_id {
            "create_transfer" => ("", transfer.to_owned()),
            "create_transfer_batch" => ("", format!(r#"{{"transfers":[{transfer}]}}"#)),
            "post_transfer" => (made[1].as_str(), r#"{"amount":"2"}"#.to_owned()),
            "void_transfer" => (made[2].as_str(), "{}".to_owned()),
            "reverse_transfer" => (made[0].as_str(), r#"{"reason":"typing error"}"#.to_owned()),
            "create_account" => ("", r#"{"currency":"INR","type":"asset"}"#.to_owned()),
            "create_account_batch" => ("", r#"{"accounts":[{"currency":"INR","type":"asset"}]}"#.to_owned()),
            "update_account" => ("ext:A", r#"{"name":"Drawer 1"}"#.to_owned()),
            "close_period" => ("", r#"{"through":"2020-01-31"}"#.to_owned()),
            "reopen_period" => ("", r#"{"through":"2020-01-31","reason":"late voucher"}"#.to_owned()),
            "create_customer" => ("", r#"{"kind":"individual","name":"Asha","external_id":"C"}"#.to_owned()),
            "update_customer" => ("ext:C", r#"{"pan":"ABCDE1234F"}"#.to_owned()),
            "accept_clock" | "close_business_day" => ("", "{}".to_owned()),
            "create_api_key" => ("", r#"{"name":"till","role":"cashier"}"#.to_owned()),
            "rotate_api_key" => (spare, r#"{"overlap_s":60}"#.to_owned()),
            "revoke_api_key" => (spare, "{}".to_owned()),
            "create_loan_product" => {
                ("", r#"{"name":"Gold","terms":{"annual_rate_pct":"12","instalments":6}}"#.to_owned())
            }
            "update_loan_product" => ("ext:P-1", r#"{"kfs_valid_days":6}"#.to_owned()),
            "create_loan" => ("", r#"{"customer":"ext:C-1","product":"ext:P-1","principal":"5000"}"#.to_owned()),
            "create_job" => ("", r#"{"kind":"email","args":{"to":"a@example.in","subject":"s","text":""}}"#.to_owned()),
            "create_webhook_endpoint" => ("", r#"{"url":"https://hooks.example.com/"}"#.to_owned()),
            "update_webhook_endpoint" => ("we_0000000000001", r#"{"ordered":true}"#.to_owned()),
            "rotate_webhook_secret" => ("we_0000000000001", "{}".to_owned()),
            "create_sync_target" => ("", r#"{"kind":"http","url":"https://peer.example.com/"}"#.to_owned()),
            "update_sync_target" => ("sync_0000000000001", r#"{"description":"head office"}"#.to_owned()),
            "open_business_day" => ("", format!(r#"{{"date":"{}"}}"#, loans.today)),
            other => loans.order(other).unwrap_or_else(|| panic!("no command for {other}: add one")),
        };
        let path = route.pattern.replace("{id}", id).replace("{event}", &loans.receipt);
        let key = format!("twice{number}");
        let headers = [JSON, ("idempotency-key", key.as_str()), with_key[1]];
        let first = server.send(route.method, &path, &headers, body.clone()).await;
        assert!(first.status.is_success(), "{path}: {:?}", first.body);
        assert_eq!(first.header("idempotent-replayed"), "", "{path}");
        let again = server.send(route.method, &path, &headers, body.clone()).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{path}");
        assert_eq!(again.header("idempotent-replayed"), "true", "{path}");
        let other = server.send(route.method, &path, &headers, format!("{body} ")).await;
        assert_eq!(other.brief(), "422 idempotency_key_reused", "{path}");
    }
}

/// The parameters of the description are those that the handlers take.
#[tokio::test]
async fn every_route_takes_the_parameters_of_its_description() {
    let server = Server::start();
    let mut names: Vec<&str> =
        ROUTES.iter().flat_map(|route| describe(route.operation).parameters).map(|known| known.name).collect();
    names.sort_unstable();
    names.dedup();
    for route in ROUTES.iter().filter(|route| route.pattern.starts_with("/v1")) {
        for name in &names {
            let is_listed = describe(route.operation).parameters.iter().any(|known| known.name == *name);
            // A mode belongs to lines, which have no other place for it.
            let content_type = if *name == "mode" { "application/x-ndjson" } else { "application/json" };
            let headers = [("content-type", content_type), KEY];
            let path = format!("{}?{name}=%7E", path_of(route));
            let said = server.send(route.method, &path, &headers, "{}").await.brief();
            if *name == "mode" && said.starts_with("415") {
                assert!(!is_listed, "{path}");
                continue;
            }
            assert_eq!(said == "422 unknown_parameter", !is_listed, "{path}: {said}");
        }
    }
}
