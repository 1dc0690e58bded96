//! The OWASP API Security Top 10 (2023): a negative test for each item, over every route that it is about.
//! Each says first what the item means for books that all keys share.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use munim::config::{BATCH_BODY_BYTES_MAX, BATCH_ITEMS_MAX, BODY_BYTES_MAX, RateLimit};
use munim::http::EdgeOptions;
use munim::http::compress::{Coding, encode};
use munim::http::openapi::operations::describe;
use munim::http::peer::Peer;
use munim::http::router::{Class, ROUTES, Route, Takes};
use serde_json::{Value, json};

use crate::http_edge::{Said, Server};
use crate::identity::{ask, get, make, path_of, post, token_of, transfer, with_accounts, with_admin};

const JSON: (&str, &str) = ("content-type", "application/json");

/// The route's path, with a name in its hole.
fn path_to(route: &Route, id: &str) -> String {
    route.pattern.replace("{id}", id).replace("{code}", "forbidden").replace("{event}", "x").replace("{date}", "x")
}

fn needs_key(route: &Route) -> bool {
    !route.is_public()
}

fn is_batch(route: &Route) -> bool {
    matches!(route.takes, Takes::Batch | Takes::JsonBatch)
}

/// What a refusal tells, without what differs from request to request.
fn face(said: &Said) -> (String, Value) {
    let mut body = said.json();
    body["request_id"] = Value::Null;
    body["instance"] = Value::Null;
    (said.brief(), body)
}

/// Broken object-level authorization. Objects have no owners here: what a key may do with a kind of object
/// it may do with each. So an id opens nothing that the key's scopes do not, its existence is not told to
/// whoever may not look, and what another key has done under an idempotency key is nobody else's.
#[tokio::test]
async fn api1_an_id_opens_nothing_and_another_keys_answers_are_not_replayed() {
    let (server, admin) = with_accounts().await;
    let made = post(&server, &admin, "/v1/transfers", "k1", transfer("5").to_string()).await;
    let real = |route: &Route| match route.need().resource {
        "transfers" => made.json()["id"].as_str().expect("an id").to_owned(),
        "api_keys" => "key_0000000000001".to_owned(),
        _ => "ext:A".to_owned(),
    };
    for route in ROUTES.iter().filter(|route| route.pattern.contains("{id}")) {
        // Everything but this: no id, known or not, opens it, and both look alike.
        let others: BTreeSet<&str> = ROUTES.iter().filter(|other| needs_key(other)).map(|r| r.operation_id).collect();
        let scopes: Vec<&str> = others.into_iter().filter(|other| *other != route.operation_id).collect();
        let mut faces = Vec::new();
        for chunk in scopes.chunks(16) {
            let key = make(&server, &admin, json!({"name": "n", "role": "admin", "scopes": chunk})).await;
            for id in [real(route), "ext:nobody".to_owned()] {
                let said = ask(&server, &token_of(&key), route.method, &path_to(route, &id), "k2", "{}".into()).await;
                assert_eq!(said.brief(), "403 forbidden", "{} {id}", route.operation_id);
                faces.push(face(&said));
            }
        }
        assert!(faces.iter().all(|other| *other == faces[0]), "{}: {faces:?}", route.operation_id);
    }
    let cashier = token_of(&make(&server, &admin, json!({"name": "c", "role": "cashier"})).await);
    for (path, body) in
        [("/v1/transfers", transfer("5")), ("/v1/transfers/batch", json!({"transfers": [transfer("5")]}))]
    {
        let body = body.to_string();
        let first = post(&server, &admin, path, "one key", body.clone()).await;
        let other = post(&server, &cashier, path, "one key", body.clone()).await;
        assert_eq!((first.status, other.status), (first.status, first.status));
        assert_eq!(other.header("idempotent-replayed"), "", "{path}: the key of a key is its own");
        assert_ne!(first.body, other.body, "{path}");
        // Another body under it is no reuse, either: nothing is told about the other's.
        let third = token_of(&make(&server, &admin, json!({"name": "d", "role": "cashier"})).await);
        let said = post(&server, &third, path, "one key", format!("{body} ")).await;
        assert_eq!(said.status, first.status, "{path}");
    }
}

/// Broken authentication. A token is a bearer token in one header, or none; guessing is limited by address
/// and tells nothing; no answer shows a token but the one that makes it.
#[tokio::test]
async fn api2_a_token_is_shown_once_taken_in_one_place_and_not_guessed() {
    let (server, admin) = with_admin().await;
    let basic = format!("Basic {admin}");
    for route in ROUTES.iter().filter(|route| needs_key(route)) {
        let path = path_to(route, "x");
        let cookie = format!("token={admin}");
        for headers in [[("authorization", basic.as_str())], [("cookie", &cookie)], [("x-api-key", &admin)]] {
            let said = server.send(route.method, &path, &headers, "").await;
            assert_eq!(said.brief(), "401 unauthenticated", "{path} {headers:?}");
        }
        for name in ["access_token", "api_key", "token", "key"] {
            let said = server.send(route.method, &format!("{path}?{name}={admin}"), &[], "").await;
            assert_eq!(said.brief(), "401 unauthenticated", "{path}?{name}");
        }
        let said = ask(&server, &admin, route.method, &path, "k", "{}".into()).await;
        let secret = admin.splitn(3, '_').nth(2).expect("a secret");
        assert!(!String::from_utf8_lossy(&said.body).contains(secret), "{path} shows a token");
    }
    let few = RateLimit { rate_per_s: 1, burst: 3, concurrency: 9 };
    let server = Server::with(&EdgeOptions { stranger_limit: Some(few), ..EdgeOptions::default() });
    let far = Arc::new(Peer::plain(SocketAddr::from(([192, 0, 2, 7], 5))));
    let mut said = Vec::new();
    for _ in 0..4 {
        said.push(server.send_from(&far, "GET", "/v1/status", &[("authorization", "Bearer mk_x")], "").await.brief());
    }
    assert_eq!(said[3], "429 rate_limited", "{said:?}");
}

/// Broken object property level authorization. Nothing is written by being mentioned: a property that is the
/// server's, or nobody's, is refused on every route that takes a body; and nothing secret is ever shown.
#[tokio::test]
async fn api3_what_is_the_servers_cannot_be_set_and_what_is_secret_is_not_shown() {
    let (server, admin) = with_admin().await;
    let servers = [
        "id",
        "object",
        "seq",
        "version",
        "owner",
        "made_by",
        "hash",
        "token",
        "posted_debits",
        "created_at",
        "is_admin",
    ];
    for route in ROUTES.iter().filter(|route| route.takes != Takes::Nothing) {
        let path = path_to(route, "x");
        // The version of a key facts statement is the caller's to say.
        let is_said = |name: &str| route.operation_id == "accept_kfs" && name == "version";
        for name in servers.into_iter().filter(|name| !is_said(name)) {
            let said = ask(&server, &admin, route.method, &path, "k", json!({ name: "1" }).to_string()).await;
            assert_eq!(said.brief(), "422 unknown_field", "{path}: {name}");
        }
        if !is_batch(route) {
            continue;
        }
        let list = if route.takes == Takes::Batch { "transfers" } else { "accounts" };
        for name in servers {
            let body = json!({ list: [{ name: "1" }] }).to_string();
            let said = ask(&server, &admin, route.method, &path, "k", body).await;
            assert_eq!(said.brief(), "422 unknown_field", "{path}: {name} of an item");
        }
    }
    let key = make(&server, &admin, json!({"name": "till", "role": "cashier"})).await;
    for path in ["/v1/api_keys", &path_of(&key, "")] {
        let text = String::from_utf8_lossy(&get(&server, &admin, path).await.body).into_owned();
        for secret in ["\"token\"", "hash", "secret", "mk_"] {
            assert!(!text.contains(secret), "{path} shows {secret}: {text}");
        }
    }
}

/// Unrestricted resource consumption. Every size that a caller chooses has an end, on every route: rows,
/// items, bytes, inflated bytes, requests. (Lines and lanes: `fair_share.rs`; sockets: the tests of `accept`.)
#[tokio::test]
async fn api4_whatever_a_caller_makes_large_is_refused() {
    let (server, admin) = with_admin().await;
    let bearer = format!("Bearer {admin}");
    // Up to a gibibyte once it is inflated, within the bytes that a route takes.
    let bombs = [Coding::Gzip, Coding::Zstd].map(|coding| {
        let frame = encode(coding, &vec![b' '; 1 << 20]).expect("spaces compress");
        assert!(frame.len() < BODY_BYTES_MAX / 2, "{} bytes", frame.len());
        (coding, frame)
    });
    for route in ROUTES {
        let path = path_to(route, "x");
        if describe(route.operation).parameters.iter().any(|known| known.name == "limit") {
            for limit in ["0", "1001", "99999999999999999999", "-1"] {
                let said = get(&server, &admin, &format!("{path}?limit={limit}")).await;
                assert_eq!(said.brief(), "422 invalid_parameter", "{path}?limit={limit}");
            }
        }
        let bytes_max = if is_batch(route) { BATCH_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
        let said = ask(&server, &admin, route.method, &path, "k", " ".repeat(bytes_max + 1)).await;
        assert_eq!(said.brief(), "413 body_too_large", "{path}");
        for (coding, frame) in bombs.iter().filter(|_| route.takes != Takes::Nothing) {
            let bomb = frame.repeat((bytes_max / frame.len()).min(1024));
            let headers =
                [JSON, ("idempotency-key", "k"), ("content-encoding", coding.name()), ("authorization", &bearer)];
            let said = server.send(route.method, &path, &headers, bomb).await;
            assert_eq!(said.brief(), "413 body_too_large", "{path} {}", coding.name());
        }
    }
    for (path, list) in [("/v1/transfers/batch", "transfers"), ("/v1/accounts/batch", "accounts")] {
        let body = json!({ list: vec![json!({}); BATCH_ITEMS_MAX + 1] }).to_string();
        let said = post(&server, &admin, path, "k", body).await;
        assert_eq!(said.status, 422, "{path}: {}", said.brief());
    }
    let slow = json!({"name": "s", "role": "admin", "rate_per_s": 1, "burst": 1});
    for route in ROUTES.iter().filter(|route| needs_key(route) && route.class != Class::Process) {
        let token = token_of(&make(&server, &admin, slow.clone()).await);
        let path = path_to(route, "x");
        ask(&server, &token, route.method, &path, "k", "{}".into()).await;
        let said = ask(&server, &token, route.method, &path, "k", "{}".into()).await;
        assert_eq!(said.brief(), "429 rate_limited", "{path}");
        assert_eq!(said.header("retry-after"), "1", "{path}");
    }
}

/// Who may do what, by hand, beside the code that decides it: each line a route, in the order cashier,
/// officer, manager, auditor, admin, system.
const RIGHTS: &[(&str, &str)] = &[
    ("create_transfer", "com-as"),
    ("create_transfer_batch", "com-as"),
    ("post_transfer", "com-as"),
    ("void_transfer", "com-as"),
    ("reverse_transfer", "--m-as"),
    ("create_account", "-om-as"),
    ("create_account_batch", "-om-as"),
    ("update_account", "-om-as"),
    ("close_period", "--m-a-"),
    ("reopen_period", "--m-a-"),
    ("accept_clock", "--m-as"),
    ("create_api_key", "----a-"),
    ("rotate_api_key", "----a-"),
    ("revoke_api_key", "----a-"),
    // An auditor sees which keys there are.
    ("list_api_keys", "---ua-"),
    ("get_api_key", "---ua-"),
    ("get_account", "comuas"),
    ("get_transfer", "comuas"),
    ("list_transfers", "comuas"),
    ("get_entry", "comuas"),
    ("list_accounts", "comuas"),
    ("get_statement", "comuas"),
    ("list_periods", "comuas"),
    ("create_customer", "-om-as"),
    ("list_customers", "comuas"),
    ("get_customer", "comuas"),
    ("update_customer", "-om-as"),
    ("calculate_loan", "comuas"),
    ("create_loan_product", "--m-as"),
    ("list_loan_products", "comuas"),
    ("get_loan_product", "comuas"),
    ("update_loan_product", "--m-as"),
    ("create_loan", "-om-as"),
    ("list_loans", "comuas"),
    ("get_loan", "comuas"),
    ("approve_loan", "--m-as"),
    ("decline_loan", "--m-as"),
    ("issue_kfs", "-om-as"),
    ("get_kfs", "comuas"),
    ("accept_kfs", "-om-as"),
    ("disburse_loan", "-om-as"),
    ("return_disbursal", "--m-as"),
    ("create_repayment", "com-as"),
    ("list_repayments", "comuas"),
    ("reverse_repayment", "--m-as"),
    ("create_prepayment", "com-as"),
    ("get_foreclosure_quote", "comuas"),
    ("foreclose_loan", "com-as"),
    ("create_loan_charge", "-om-as"),
    ("waive_dues", "--m-as"),
    ("reschedule_loan", "--m-as"),
    ("reset_rate", "--m-as"),
    ("write_off_loan", "--m-as"),
    ("settle_loan", "--m-as"),
    ("pause_loan", "-om-as"),
    ("watch_loan", "-om-as"),
    ("recover_loan", "com-as"),
    ("refund_advance", "-om-as"),
    ("cancel_loan", "com-as"),
    ("close_loan", "-om-as"),
    ("get_loan_schedule", "comuas"),
    ("get_loan_statement", "comuas"),
    ("explain_loan", "comuas"),
    ("get_business_day", "comuas"),
    ("open_business_day", "--m-as"),
    ("close_business_day", "--m-as"),
    ("get_day_book", "comuas"),
    ("get_dues", "comuas"),
    ("get_npa_list", "comuas"),
    ("get_portfolio", "comuas"),
    ("get_gst_register", "comuas"),
    ("get_month_end", "comuas"),
    ("get_interest_certificate", "comuas"),
    ("get_npa_movement", "comuas"),
    ("get_portfolio_movement", "comuas"),
    ("get_trial_balance", "comuas"),
    ("export_books", "comuas"),
    ("create_verification", "comuas"),
    ("get_operation", "comuas"),
    ("create_job", "--m-as"),
    ("retry_job", "--m-as"),
    ("cancel_job", "--m-as"),
    ("list_jobs", "comuas"),
    ("get_job", "comuas"),
    ("create_webhook_endpoint", "----as"),
    ("update_webhook_endpoint", "----as"),
    ("rotate_webhook_secret", "----as"),
    ("test_webhook_endpoint", "----as"),
    ("replay_webhook_events", "----as"),
    ("resend_webhook_event", "----as"),
    ("list_webhook_endpoints", "comuas"),
    ("get_webhook_endpoint", "comuas"),
    ("list_webhook_attempts", "comuas"),
    ("list_webhook_deliveries", "comuas"),
    ("get_receipt", "comuas"),
    ("get_no_dues", "comuas"),
    ("get_day_slip", "comuas"),
    ("create_sync_target", "----as"),
    ("update_sync_target", "----as"),
    ("list_sync_targets", "comuas"),
    ("get_sync_target", "comuas"),
    ("list_events", "comuas"),
    ("stream_events", "comuas"),
    ("open_websocket", "comuas"),
    ("get_status", "comuas"),
    ("get_latency", "comuas"),
    ("get_metrics", "comuas"),
];

/// Broken function level authorization. Every route, by every role, against a table made by hand; a route
/// that the table does not name fails it.
#[tokio::test]
async fn api5_each_role_may_call_what_the_table_says_and_nothing_else() {
    let (server, admin) = with_admin().await;
    let named: BTreeSet<&str> = RIGHTS.iter().map(|(operation, _)| *operation).collect();
    let served: BTreeSet<&str> = ROUTES.iter().filter(|route| needs_key(route)).map(|r| r.operation_id).collect();
    assert_eq!(named, served, "the table names every route that needs a key");
    for (place, role) in ["cashier", "officer", "manager", "auditor", "admin", "system"].into_iter().enumerate() {
        let token = token_of(&make(&server, &admin, json!({"name": role, "role": role})).await);
        for (operation, rights) in RIGHTS {
            let route = ROUTES.iter().find(|route| route.operation_id == *operation).expect("it is served");
            let said = ask(&server, &token, route.method, &path_to(route, "x"), "k", "{".into()).await;
            let is_allowed = rights.as_bytes()[place] != b'-';
            assert_eq!(said.brief() != "403 forbidden", is_allowed, "{role} {operation}: {}", said.brief());
            assert_ne!(said.status, 401, "{role} {operation}");
        }
        // Nor by another method, or another spelling of the path.
        for (method, path) in [
            ("DELETE", "/v1/api_keys"),
            ("PUT", "/v1/accounts/x"),
            ("GET", "/V1/api_keys"),
            ("GET", "/v1//api_keys"),
            ("GET", "/v1/api_keys/"),
        ] {
            let said = ask(&server, &token, method, path, "", String::new()).await;
            assert!([404, 405].contains(&said.status.as_u16()), "{role} {method} {path}: {}", said.brief());
        }
    }
}

/// Unrestricted access to sensitive business flows. Money moves by these routes: each wants an idempotency key
/// of its own, so that a script that repeats itself pays once, and none moves more than its key may.
#[tokio::test]
async fn api6_money_moves_once_and_never_beyond_its_keys_limit() {
    let (server, admin) = with_accounts().await;
    let terms = json!({"name": "c", "role": "manager", "amount_limit": "100"});
    let token = token_of(&make(&server, &admin, terms).await);
    let large = post(&server, &admin, "/v1/transfers", "l", transfer("101").to_string()).await.json();
    let mut hold = transfer("101");
    hold["pending"] = json!(true);
    let hold = post(&server, &admin, "/v1/transfers", "h", hold.to_string()).await.json();
    let id = |made: &Value| made["id"].as_str().expect("an id").to_owned();
    for route in ROUTES.iter().filter(|route| route.class == Class::Money) {
        let (id, body) = match route.operation_id {
            "create_transfer" => (String::new(), transfer("101")),
            "create_transfer_batch" => (String::new(), json!({"transfers": [transfer("101")]})),
            // A void gives back what was held, whatever the amount.
            "post_transfer" | "void_transfer" => (id(&hold), json!({})),
            "reverse_transfer" => (id(&large), json!({"reason": "typing error"})),
            // What a key may do with a loan is asked where there is one.
            _ if route.pattern.starts_with("/v1/loans") => ("x".to_owned(), json!({})),
            other => panic!("how does {other} move money?"),
        };
        let path = path_to(route, &id);
        let without = ask(&server, &token, route.method, &path, "", body.to_string()).await;
        assert_eq!(without.brief(), "400 idempotency_key_missing", "{path}");
        if route.operation_id != "void_transfer" && !route.pattern.starts_with("/v1/loans") {
            let said = ask(&server, &token, route.method, &path, "k", body.to_string()).await;
            assert_eq!(said.brief(), "403 amount_limit_exceeded", "{path}");
        }
    }
    let before = get(&server, &admin, "/v1/accounts/ext:A").await.json();
    let small = transfer("7").to_string();
    let first = post(&server, &token, "/v1/transfers", "once", small.clone()).await;
    for _ in 0..5 {
        assert_eq!(post(&server, &token, "/v1/transfers", "once", small.clone()).await.body, first.body);
    }
    let rows = get(&server, &admin, "/v1/transfers?account=ext:A&limit=1000").await.json();
    let rows = rows["data"].as_array().expect("rows").iter().filter(|row| row["amount"] == first.json()["amount"]);
    assert_eq!(rows.count(), 1, "paid once; before: {before}");
}

/// What has an address that the server calls.
const GUARDED: [&str; 2] = ["/v1/webhook_endpoints", "/v1/sync_targets"];

/// Server side request forgery. One thing that is sent is an address that the server calls, that of a webhook
/// endpoint or a target of ledger sync: behind our wall it is refused, whatever it is called (`tests/it/webhooks.rs`,
/// `tests/it/sync.rs`, `jobs/outbound/guard.rs`).
/// No other field and no parameter is one, and an address in every place that a caller can fill is not called.
#[tokio::test]
async fn api7_no_address_of_a_caller_is_ever_called() {
    let (server, admin) = with_admin().await;
    let canary = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    canary.set_nonblocking(true).expect("it can be asked without waiting");
    let url = format!("http://{}/", canary.local_addr().expect("it is bound"));
    let bearer = format!("Bearer {admin}");
    let is_address = |name: &str| {
        name.split('_')
            .any(|word| ["url", "uri", "callback", "webhook", "host", "endpoint", "href", "target"].contains(&word))
    };
    for route in ROUTES {
        let described = describe(route.operation);
        for parameter in described.parameters {
            assert!(!is_address(parameter.name), "{}: {}", route.pattern, parameter.name);
        }
        let fields = described.body.map(|schema| schema.fields).unwrap_or_default();
        for field in fields {
            let is_guarded = GUARDED.iter().any(|known| route.pattern.starts_with(known)) && field.name == "url";
            assert!(is_guarded || !is_address(field.name), "{}: {}", route.pattern, field.name);
        }
        let escaped = url.replace(':', "%3A").replace('/', "%2F");
        let query: Vec<String> = described.parameters.iter().map(|known| format!("{}={escaped}", known.name)).collect();
        let path = format!("{}?{}", path_to(route, &escaped), query.join("&"));
        let body = fields.iter().map(|field| (field.name.to_owned(), json!(url))).collect::<serde_json::Map<_, _>>();
        let headers = [
            JSON,
            ("authorization", bearer.as_str()),
            ("idempotency-key", &url),
            ("x-forwarded-host", &url),
            ("forwarded", &url),
            ("referer", &url),
            ("origin", &url),
            ("link", &url),
            ("x-original-url", &url),
            ("traceparent", &url),
        ];
        server.send(route.method, &path, &headers, Value::Object(body).to_string()).await;
    }
    let called = canary.accept().map(|(_, address)| address);
    assert_eq!(called.expect_err("nobody called").kind(), std::io::ErrorKind::WouldBlock);
}

/// Security misconfiguration. Every answer, of every status, protects itself, lets no foreign page read it, and
/// tells nothing about what is inside: neither versions, nor files, nor causes.
#[tokio::test]
async fn api8_every_answer_protects_itself_and_tells_nothing_about_the_inside() {
    let (server, admin) = with_admin().await;
    let bearer = format!("Bearer {admin}");
    let own = [JSON, ("authorization", bearer.as_str()), ("origin", "https://evil.example"), ("idempotency-key", "k")];
    let mut statuses = BTreeSet::new();
    for route in ROUTES {
        let path = path_to(route, "%00..%2f..%2fetc%2fpasswd");
        let said = [
            server.send(route.method, &path, &own, "{}").await,
            server.send(route.method, &path, &own, "{").await,
            server.send(route.method, &path, &[], "").await,
            server.send("OPTIONS", &path, &own[2..3], "").await,
            server.send("TRACE", &path, &own, "").await,
            server.send("DELETE", &path, &own, "").await,
            server.send(route.method, &format!("{path}?%ff=%00"), &own, "\u{0}").await,
        ];
        assert_eq!(said[4].status, 405, "{path}: TRACE");
        for said in said {
            statuses.insert(said.status.as_u16());
            assert_eq!(said.header("x-content-type-options"), "nosniff", "{path}");
            if path.starts_with("/v1") {
                assert_eq!(said.header("cache-control"), "no-store", "{path}");
            }
            for name in said.headers.keys() {
                let is_told = ["server", "x-powered-by", "via"].contains(&name.as_str());
                assert!(!is_told && !name.as_str().starts_with("access-control-"), "{path}: {name}");
            }
            let text = String::from_utf8_lossy(&said.body).to_lowercase();
            for word in [".rs:", "panicked", "backtrace", "redb", "/tmp/", "os error", "root:x:"] {
                let is_page = said.status == 200 && !path.starts_with("/v1");
                assert!(is_page || !text.contains(word), "{path}: {word} in {text}");
            }
        }
    }
    assert!([200, 204, 400, 401, 404, 405, 422].iter().all(|status| statuses.contains(status)), "{statuses:?}");
}

/// Improper inventory management. What is served is what is described, method by method; nothing else answers,
/// no older version and none of the doors that are left open elsewhere.
#[tokio::test]
async fn api9_what_is_served_is_described_and_nothing_besides_is_served() {
    let (server, admin) = with_admin().await;
    let document = server.get("/openapi.json").await.json();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        described
            .extend(methods.filter(|name| *name != "parameters").map(|name| format!("{} {path}", name.to_uppercase())));
    }
    let served: BTreeSet<String> = ROUTES.iter().map(|route| format!("{} {}", route.method, route.pattern)).collect();
    assert_eq!(described, served);
    for path in [
        "/",
        "/v0/status",
        "/v2/status",
        "/api/v1/status",
        "/admin",
        "/debug",
        "/debug/pprof/",
        "/actuator",
        "/env",
        "/.git/config",
        "/.env",
        "/graphql",
        "/swagger.json",
        "/swagger-ui/",
        "/v1",
        "/v1/",
        "/v1/users",
        "/v1/webhooks",
        "/console",
        "/health",
        "/server-status",
        "/v1/transfers/x/delete",
        "/v1/api_keys/x/token",
        "/openapi.yaml",
        "/docs/../v1/status",
        "/internal",
    ] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let said = ask(&server, &admin, method, path, "k", "{}".into()).await;
            assert_eq!(said.brief(), "404 route_not_found", "{method} {path}");
        }
    }
    // Nor does a parameter exist that is not described.
    for route in ROUTES.iter().filter(|route| route.pattern.starts_with("/v1")) {
        for name in ["debug", "admin", "test", "trace", "internal"] {
            let is_flag = describe(route.operation).parameters.iter().any(|known| known.name == name);
            let said =
                ask(&server, &admin, route.method, &format!("{}?{name}=true", path_to(route, "x")), "k", "{}".into())
                    .await;
            assert_eq!(said.brief() == "422 unknown_parameter", !is_flag, "{} {name}", route.pattern);
        }
    }
}

/// Unsafe consumption of APIs. The server asks nobody for anything; what reaches it from other systems beside
/// the request are their ids for traces and requests, and the enumerations of parameters: what is no such
/// thing is dropped or refused, and never handed on in an answer.
#[tokio::test]
async fn api10_what_other_systems_say_is_checked_and_not_handed_on() {
    let (server, admin) = with_admin().await;
    let bearer = format!("Bearer {admin}");
    let poison = "'\"><script>alert(1)</script>${jndi:ldap://x}";
    let names =
        ["traceparent", "tracestate", "x-request-id", "x-forwarded-for", "x-forwarded-host", "forwarded", "user-agent"];
    for route in ROUTES {
        let mut headers = vec![JSON, ("authorization", bearer.as_str()), ("idempotency-key", "k")];
        headers.extend(names.map(|name| (name, poison)));
        let said = server.send(route.method, &path_to(route, "x"), &headers, "{}").await;
        assert!(!String::from_utf8_lossy(&said.body).contains("jndi"), "{} hands it on", route.pattern);
        for (name, value) in &said.headers {
            assert!(!value.as_bytes().windows(4).any(|part| part == b"jndi"), "{}: {name}", route.pattern);
        }
        let kinds = describe(route.operation).parameters;
        for parameter in kinds {
            let path = format!("{}?{}=%27%22%3E%3Cscript%3E", path_to(route, "x"), parameter.name);
            let said = ask(&server, &admin, route.method, &path, "k", "{}".into()).await;
            assert!(said.status.is_client_error(), "{path}: {}", said.brief());
        }
    }
    // The slowest requests are shown with the ids that their callers gave them.
    let latency = get(&server, &admin, "/v1/latency").await;
    assert!(!String::from_utf8_lossy(&latency.body).contains("jndi"));
}
