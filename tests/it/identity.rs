//! Who may do what, over the real edge: keys, rights, rotation, revocation, limits, and what the
//! journal remembers of refusals.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use munim::config::RateLimit;
use munim::domain::entry::Entry;
use munim::domain::ids::Seq;
use munim::http::EdgeOptions;
use munim::http::peer::Peer;
use munim::http::router::ROUTES;
use munim::journal::Item;
use serde_json::{Value, json};

use crate::http_edge::{Said, Server};

const JSON: (&str, &str) = ("content-type", "application/json");

/// Sends with a token, as a process of this machine.
pub async fn ask(server: &Server, token: &str, method: &str, path: &str, key: &str, body: String) -> Said {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![JSON, ("authorization", bearer.as_str())];
    if !key.is_empty() {
        headers.push(("idempotency-key", key));
    }
    server.send(method, path, &headers, body).await
}

pub async fn get(server: &Server, token: &str, path: &str) -> Said {
    ask(server, token, "GET", path, "", String::new()).await
}

pub async fn post(server: &Server, token: &str, path: &str, key: &str, body: String) -> Said {
    ask(server, token, "POST", path, key, body).await
}

/// Makes a key; the answer.
pub async fn make(server: &Server, token: &str, terms: Value) -> Value {
    let said = post(server, token, "/v1/api_keys", "", terms.to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    said.json()
}

pub fn token_of(key: &Value) -> String {
    key["token"].as_str().expect("a token is shown where it is made").to_owned()
}

pub fn path_of(key: &Value, verb: &str) -> String {
    format!("/v1/api_keys/{}{verb}", key["id"].as_str().expect("an id"))
}

/// Books whose first key is an admin's, made while there was none.
pub async fn with_admin() -> (Server, String) {
    let server = Server::start();
    let body = json!({"name": "admin", "role": "admin"}).to_string();
    let made = server.send("POST", "/v1/api_keys", &[JSON], body).await;
    assert_eq!(made.brief(), "201", "{:?}", made.body);
    let token = token_of(&made.json());
    (server, token)
}

/// Two accounts, A and B.
pub async fn with_accounts() -> (Server, String) {
    let (server, admin) = with_admin().await;
    for name in ["A", "B"] {
        let body = json!({"external_id": name, "currency": "INR", "type": "asset"}).to_string();
        assert_eq!(post(&server, &admin, "/v1/accounts", "", body).await.brief(), "201");
    }
    (server, admin)
}

pub fn transfer(amount: &str) -> Value {
    json!({"debit_account": "ext:A", "credit_account": "ext:B", "amount": amount})
}

/// Every entry of the journal, durable or not, after a breath for the writer.
async fn entries(server: &Server) -> Vec<(u64, u64, Entry)> {
    let core = Arc::clone(server.engine().core());
    let all = core.journal().appended_seq();
    core.watermark().wait(all).await.expect("the journal works");
    let mut found = Vec::new();
    let mut open = Vec::new();
    let walked = core.journal().scan(Seq(1), &mut |item| {
        match item {
            Item::Record { .. } => open.clear(),
            Item::Entry { entry, .. } => open.push(entry.clone()),
            Item::End { trailer, .. } => {
                found.extend(open.drain(..).map(|entry| (trailer.owner, trailer.request, entry)));
            }
        }
        ControlFlow::Continue(())
    });
    let _ = walked.expect("the journal reads");
    found
}

/// Parts of a refusal that must not tell one bad token from another.
fn seen_from_outside(said: &Said) -> (String, String, Value) {
    let mut body = said.json();
    body["request_id"] = Value::Null;
    (said.brief(), said.header("www-authenticate").to_owned(), body)
}

#[tokio::test]
async fn every_route_about_the_books_refuses_whoever_has_no_good_key() {
    let (server, admin) = with_admin().await;
    let narrow =
        token_of(&make(&server, &admin, json!({"name": "n", "role": "admin", "scopes": ["get_status"]})).await);
    let soon = jiff::Timestamp::now() + std::time::Duration::from_millis(300);
    let expired = json!({"name": "e", "role": "admin", "expires_at": soon.to_string()});
    let expired = token_of(&make(&server, &admin, expired).await);
    while get(&server, &expired, "/v1/status").await.status == 200 {
        tokio::task::yield_now().await;
    }
    let gone = make(&server, &admin, json!({"name": "g", "role": "admin"})).await;
    assert_eq!(post(&server, &admin, &path_of(&gone, "/revoke"), "", String::new()).await.brief(), "200");
    let revoked = token_of(&gone);
    let mut wrong = admin.clone();
    let place = wrong.len() - 5;
    let other = if &wrong[place..=place] == "A" { "B" } else { "A" };
    wrong.replace_range(place..=place, other);
    let unknown = admin.replace("mk_0000000000001", "mk_00000000000zz");
    for route in ROUTES {
        let path = route
            .pattern
            .replace("{id}", "x")
            .replace("{code}", "forbidden")
            .replace("{event}", "y")
            .replace("{date}", "x");
        let without = server.send(route.method, &path, &[JSON], "{").await;
        if route.is_public() {
            assert_eq!(without.status, 200, "{path}");
            continue;
        }
        assert_eq!(without.brief(), "401 unauthenticated", "{path}");
        assert_eq!(without.header("www-authenticate"), "Bearer realm=\"munim\"");
        let mut faces = Vec::new();
        for token in [&wrong, &expired, &revoked, &unknown, "mk_nonsense", ""] {
            // The body is no JSON: nobody without a key is told so.
            faces.push(seen_from_outside(&ask(&server, token, route.method, &path, "", "{".into()).await));
        }
        assert_eq!(faces[0].0, "401 unauthenticated", "{path}");
        assert_eq!(faces[0].1, "Bearer realm=\"munim\", error=\"invalid_token\"");
        assert!(faces.iter().all(|face| *face == faces[0]), "{path}: {faces:?}");
        let lacking = ask(&server, &narrow, route.method, &path, "", "{".into()).await;
        if route.operation_id == "get_status" {
            assert_eq!(lacking.brief(), "200");
            continue;
        }
        assert_eq!(lacking.brief(), "403 forbidden", "{path}");
        let need = route.need();
        let scope = format!("{}:{}", need.resource, if need.is_change { "write" } else { "read" });
        assert_eq!(lacking.json()["detail"], format!("Your key lacks `{scope}`."));
        let allowed = ask(&server, &admin, route.method, &path, "", "{".into()).await;
        assert!(![401, 403].contains(&allowed.status.as_u16()), "{path}: {}", allowed.brief());
    }
    let nowhere = server.send("GET", "/v1/nothing", &[], "").await;
    assert_eq!(nowhere.brief(), "404 route_not_found", "routing comes first");
    assert_eq!(server.send("DELETE", "/v1/transfers", &[], "").await.brief(), "405 method_not_allowed");
}

#[tokio::test]
async fn without_any_key_only_this_machine_may_do_everything() {
    let server = Server::start();
    let far = Arc::new(Peer::plain(SocketAddr::from(([10, 0, 0, 9], 5))));
    let from_far = server.send_from(&far, "GET", "/v1/status", &[], "").await;
    assert_eq!(from_far.brief(), "401 unauthenticated");
    assert_eq!(server.send_from(&far, "GET", "/livez", &[], "").await.brief(), "200");
    assert_eq!(server.get("/v1/status").await.brief(), "200");
    let body = json!({"name": "a", "role": "auditor"}).to_string();
    assert_eq!(server.send("POST", "/v1/api_keys", &[JSON], body).await.brief(), "201");
    assert_eq!(server.get("/v1/status").await.brief(), "401 unauthenticated", "with the first key the door is shut");
}

#[tokio::test]
async fn a_rotated_key_has_two_tokens_for_as_long_as_it_was_told() {
    let (server, admin) = with_admin().await;
    let key = make(&server, &admin, json!({"name": "till", "role": "cashier"})).await;
    let first = token_of(&key);
    let rotated = post(&server, &admin, &path_of(&key, "/rotate"), "", json!({"overlap_s": 3600}).to_string()).await;
    assert_eq!(rotated.brief(), "200", "{:?}", rotated.body);
    let second = token_of(&rotated.json());
    assert_ne!(first, second);
    assert!(rotated.json()["old_token_until"].is_string());
    for token in [&first, &second] {
        assert_eq!(get(&server, token, "/v1/status").await.brief(), "200");
    }
    let third = token_of(&post(&server, &admin, &path_of(&key, "/rotate"), "", String::new()).await.json());
    for (token, expected) in [(&first, "401 unauthenticated"), (&second, "401 unauthenticated"), (&third, "200")] {
        assert_eq!(get(&server, token, "/v1/status").await.brief(), expected);
    }
    let too_long =
        post(&server, &admin, &path_of(&key, "/rotate"), "", json!({"overlap_s": 2_592_001}).to_string()).await;
    assert_eq!(too_long.brief(), "422 validation_failed");
}

#[tokio::test]
async fn a_revoked_key_is_none_for_the_next_request_and_after_a_restart() {
    let (server, admin) = with_admin().await;
    let key = make(&server, &admin, json!({"name": "till", "role": "cashier"})).await;
    let token = token_of(&key);
    assert_eq!(get(&server, &token, "/v1/periods").await.brief(), "200");
    assert_eq!(post(&server, &admin, &path_of(&key, "/revoke"), "", String::new()).await.json()["status"], "revoked");
    assert_eq!(get(&server, &token, "/v1/periods").await.brief(), "401 unauthenticated");
    let again = post(&server, &admin, &path_of(&key, "/revoke"), "", String::new()).await;
    assert_eq!(again.brief(), "409 api_key_revoked");
    let own = format!("/v1/api_keys/{}/revoke", "key_0000000000001");
    assert_eq!(post(&server, &admin, &own, "", String::new()).await.brief(), "409 last_admin_key");
    let nobody = post(&server, &admin, "/v1/api_keys/key_00000000000zz/revoke", "", String::new()).await;
    assert_eq!(nobody.brief(), "404 api_key_not_found");
    let server = server.restart();
    assert_eq!(get(&server, &token, "/v1/periods").await.brief(), "401 unauthenticated");
    assert_eq!(get(&server, &admin, "/v1/periods").await.brief(), "200", "a key outlives its process");
    let shown = get(&server, &admin, &path_of(&key, "")).await;
    assert_eq!((shown.brief().as_str(), &shown.json()["status"]), ("200", &json!("revoked")));
    assert!(shown.json().get("token").is_none(), "a token is shown once");
    let list = get(&server, &admin, "/v1/api_keys?limit=1").await;
    assert_eq!(list.json()["data"][0]["id"], key["id"]);
    let next = list.header("link").trim_start_matches('<').split('>').next().expect("an address").to_owned();
    assert_eq!(get(&server, &admin, &next).await.json()["data"][0]["name"], "admin");
}

/// Whoever looks is told what time it is; the answer to a command stays what it was.
#[tokio::test]
async fn an_expired_key_is_shown_as_expired_and_its_replies_are_kept() {
    let (server, admin) = with_admin().await;
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(1);
    let key = make(&server, &admin, json!({"name": "short", "role": "admin", "expires_at": soon.to_string()})).await;
    let rotated = post(&server, &admin, &path_of(&key, "/rotate"), "k1", String::new()).await;
    assert_eq!((&key["status"], &rotated.json()["status"]), (&json!("active"), &json!("active")));
    assert_eq!(get(&server, &admin, &path_of(&key, "")).await.json()["status"], "active");
    let token = token_of(&rotated.json());
    while get(&server, &token, "/v1/status").await.status == 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&server, &admin, &path_of(&key, "")).await.json()["status"], "expired");
    let list = get(&server, &admin, "/v1/api_keys").await.json();
    assert_eq!((&list["data"][0]["status"], &list["data"][1]["status"]), (&json!("expired"), &json!("active")));
    let again = post(&server, &admin, &path_of(&key, "/rotate"), "k1", String::new()).await;
    assert_eq!((again.header("idempotent-replayed"), &again.body), ("true", &rotated.body));
    assert_eq!(post(&server, &admin, &path_of(&key, "/revoke"), "", String::new()).await.json()["status"], "revoked");
    assert_eq!(get(&server, &admin, &path_of(&key, "")).await.json()["status"], "revoked");
}

#[tokio::test]
async fn making_a_key_again_under_one_idempotency_key_gives_the_same_bytes() {
    let (server, admin) = with_admin().await;
    let body = json!({"name": "till", "role": "cashier", "scopes": ["transfers:write"]}).to_string();
    let first = post(&server, &admin, "/v1/api_keys", "k1", body.clone()).await;
    assert_eq!(first.brief(), "201");
    let other = post(&server, &admin, "/v1/api_keys", "k2", body.clone()).await;
    assert_ne!(first.json()["token"], other.json()["token"]);
    let rotated = post(&server, &admin, &path_of(&first.json(), "/rotate"), "k3", String::new()).await;
    let server = server.restart();
    for (path, key, body, first) in [
        ("/v1/api_keys".to_owned(), "k1", body.clone(), &first),
        (path_of(&first.json(), "/rotate"), "k3", String::new(), &rotated),
    ] {
        let again = post(&server, &admin, &path, key, body).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("idempotent-replayed"), "true");
    }
    let token = token_of(&rotated.json());
    assert_eq!(get(&server, &token, "/v1/status").await.brief(), "403 forbidden", "known, and only for transfers");
    // The hashes are all that the journal has.
    let secret = token.splitn(3, '_').nth(2).expect("a secret").as_bytes().to_vec();
    for (_, _, entry) in entries(&server).await {
        assert!(!format!("{entry:?}").as_bytes().windows(secret.len()).any(|part| part == secret));
    }
}

#[tokio::test]
async fn nobody_gives_away_rights_that_he_has_not() {
    let (server, admin) = with_admin().await;
    let terms = json!({"name": "clerk", "role": "admin", "scopes": ["api_keys:write", "accounts:read"],
        "amount_limit": "1000", "expires_at": "2100-01-01T00:00:00Z", "rate_per_s": 500, "burst": 500});
    let clerk = token_of(&make(&server, &admin, terms).await);
    let within = json!({"name": "x", "role": "auditor", "scopes": ["accounts:read"], "amount_limit": "1000",
        "expires_at": "2099-01-01T00:00:00Z", "rate_per_s": 500, "burst": 10, "concurrency": 9});
    let with = |name: &str, value: Value| {
        let mut terms = within.clone();
        terms[name] = value;
        terms
    };
    for (terms, expected) in [
        (within.clone(), "201"),
        (with("scopes", json!(["*"])), "Your key lacks `transfers:read`."),
        (with("scopes", json!(["accounts:read", "list_periods"])), "Your key lacks `periods:read`."),
        (with("amount_limit", json!("1001")), "Your key lacks `amount_limit`."),
        (with("amount_limit", Value::Null), "Your key lacks `amount_limit`."),
        (with("expires_at", Value::Null), "Your key lacks `expires_at`."),
        (with("expires_at", json!("2020-01-01T00:00:00Z")), "422 validation_failed"),
        (with("rate_per_s", Value::Null), "Your key lacks `rate_per_s`."),
        (with("rate_per_s", json!(501)), "Your key lacks `rate_per_s`."),
        (with("burst", json!(501)), "Your key lacks `burst`."),
        (with("concurrency", Value::Null), "201"),
    ] {
        let said = post(&server, &clerk, "/v1/api_keys", "", terms.to_string()).await;
        let found = if said.status == 403 { said.json()["detail"].as_str().unwrap().to_owned() } else { said.brief() };
        assert_eq!(found, expected, "{terms}");
    }
    let rotated = post(&server, &clerk, "/v1/api_keys/key_0000000000001/rotate", "", String::new()).await;
    assert_eq!(rotated.brief(), "403 forbidden", "its new token would open everything");
    let revoke = async |id: &str| post(&server, &clerk, &format!("/v1/api_keys/{id}/revoke"), "", String::new()).await;
    assert_eq!(revoke("key_0000000000001").await.brief(), "403 forbidden", "he could not make it either");
    assert_eq!(revoke("key_00000000000zz").await.brief(), "404 api_key_not_found");
    assert_eq!(revoke("key_0000000000003").await.brief(), "200", "it has made that one");
    assert_eq!(get(&server, &admin, "/v1/status").await.brief(), "200", "and nothing was done");
    assert_eq!(revoke("key_0000000000002").await.brief(), "200", "everybody may give up his own");
    assert_eq!(get(&server, &clerk, "/v1/status").await.brief(), "401 unauthenticated");
}

#[tokio::test]
async fn amounts_above_the_limit_are_refused_and_the_refusal_is_not_kept() {
    let (server, admin) = with_accounts().await;
    let cashier = json!({"name": "c", "role": "manager", "amount_limit": "100"});
    let cashier = token_of(&make(&server, &admin, cashier).await);
    let move_it = async |key: &str, amount: &str| {
        post(&server, &cashier, "/v1/transfers", key, transfer(amount).to_string()).await
    };
    assert_eq!(move_it("k1", "100.01").await.brief(), "403 amount_limit_exceeded");
    let again = move_it("k1", "100.01").await;
    assert_eq!((again.brief().as_str(), again.header("idempotent-replayed")), ("403 amount_limit_exceeded", ""));
    assert_eq!(move_it("k1", "100.00").await.brief(), "201", "its key was never used");
    let batch = |mode: &str| json!({"mode": mode, "transfers": [transfer("1"), transfer("101")]}).to_string();
    for mode in ["atomic", "independent"] {
        let said = post(&server, &cashier, "/v1/transfers/batch", "b1", batch(mode)).await;
        assert_eq!(said.brief(), "403 amount_limit_exceeded", "{mode}");
    }
    let balance = get(&server, &cashier, "/v1/accounts/ext:A").await.json();
    assert_eq!(balance["balances"]["posted"], "100.00", "nothing of a batch was done");
    let mut hold = transfer("500");
    hold["pending"] = json!(true);
    let held = post(&server, &admin, "/v1/transfers", "h1", hold.to_string()).await.json();
    let path = format!("/v1/transfers/{}", held["id"].as_str().unwrap());
    let whole = post(&server, &cashier, &format!("{path}/post"), "p1", String::new()).await;
    assert_eq!(whole.brief(), "403 amount_limit_exceeded");
    let part = post(&server, &cashier, &format!("{path}/post"), "p2", json!({"amount": "100"}).to_string()).await;
    assert_eq!(part.brief(), "200");
    let large = post(&server, &admin, "/v1/transfers", "l1", transfer("250").to_string()).await.json();
    let path = format!("/v1/transfers/{}/reverse", large["id"].as_str().unwrap());
    let reversal = post(&server, &cashier, &path, "r1", json!({"reason": "x"}).to_string()).await;
    assert_eq!(reversal.brief(), "403 amount_limit_exceeded");
    let dry = post(&server, &cashier, "/v1/transfers?dry_run=true", "", transfer("101").to_string()).await;
    assert_eq!(dry.brief(), "403 amount_limit_exceeded");
}

#[tokio::test]
async fn idempotency_keys_and_limits_belong_to_their_api_key() {
    let (server, admin) = with_accounts().await;
    let other =
        token_of(&make(&server, &admin, json!({"name": "o", "role": "system", "burst": 7, "rate_per_s": 7})).await);
    let first = post(&server, &admin, "/v1/transfers", "same", transfer("1").to_string()).await;
    let second = post(&server, &other, "/v1/transfers", "same", transfer("2").to_string()).await;
    assert_eq!((first.brief(), second.brief()), ("201".into(), "201".into()));
    assert!(second.header("ratelimit-policy").contains("\"rate\";q=7;w=1"), "{}", second.header("ratelimit-policy"));
    assert!(second.header("server-timing").contains("auth;dur="));
    let owners: Vec<u64> = entries(&server).await.into_iter().map(|(owner, ..)| owner).collect();
    assert!(owners.ends_with(&[1, 2]), "{owners:?}");
}

#[tokio::test]
async fn a_key_that_is_bound_to_a_certificate_needs_it() {
    let (server, admin) = with_admin().await;
    let print = "0a".repeat(32);
    let bound = json!({"name": "branch 7", "role": "system", "certificate_sha256": print});
    let bearer = format!("Bearer {}", token_of(&make(&server, &admin, bound).await));
    for (certificate, expected) in
        [(None, "401 unauthenticated"), (Some([0x0b; 32]), "401 unauthenticated"), (Some([0x0a; 32]), "200")]
    {
        let peer = Arc::new(Peer { certificate, is_tls: true, ..Peer::local() });
        let said = server.send_from(&peer, "GET", "/v1/status", &[("authorization", &bearer)], "").await;
        assert_eq!(said.brief(), expected);
    }
}

#[tokio::test]
async fn the_journal_remembers_refusals_of_keys_and_nothing_of_strangers() {
    let (server, admin) = with_accounts().await;
    let cashier = token_of(&make(&server, &admin, json!({"name": "c", "role": "cashier", "amount_limit": "5"})).await);
    let before = server.engine().core().journal().appended_seq();
    for token in ["mk_nonsense", &cashier.replace("mk_0000000000002", "mk_0000000000001")] {
        for _ in 0..20 {
            assert_eq!(get(&server, token, "/v1/api_keys").await.brief(), "401 unauthenticated");
        }
    }
    assert_eq!(server.engine().core().journal().appended_seq(), before, "nobody without a key makes the journal grow");
    let refused = get(&server, &cashier, "/v1/api_keys").await;
    assert_eq!(refused.brief(), "403 forbidden");
    for _ in 0..50 {
        let close = json!({"through": "2020-01-01"}).to_string();
        assert_eq!(post(&server, &cashier, "/v1/periods/close", "", close).await.brief(), "403 forbidden");
    }
    let noted: Vec<(u64, u64, Entry)> =
        entries(&server).await.into_iter().filter(|(.., entry)| matches!(entry, Entry::AccessRefused(_))).collect();
    let counted =
        noted.iter().map(|(.., entry)| if let Entry::AccessRefused(it) = entry { 1 + it.suppressed } else { 0 });
    assert!((1..=51).contains(&counted.sum::<u32>()), "each is noted or counted, and none twice: {noted:?}");
    let (owner, request, Entry::AccessRefused(first)) = &noted[0] else { unreachable!("filtered above") };
    assert_eq!((*owner, &*first.operation, &*first.code), (2, "list_api_keys", "forbidden"));
    let shown = munim::domain::ids::format_id(munim::domain::ids::IdKind::Request, *request);
    assert_eq!(refused.json()["request_id"], shown);
    assert_eq!(server.edge.refusals.counts(), [40, 51, 0]);
}

/// Whoever guesses tokens is refused for his address, before the token is looked at: a good one, too.
#[tokio::test]
async fn guessing_tokens_is_limited_by_address_and_never_in_the_way_of_a_good_one() {
    let few = RateLimit { rate_per_s: 1, burst: 5, concurrency: 9 };
    let server = Server::with(&EdgeOptions { stranger_limit: Some(few), ..EdgeOptions::default() });
    let made = server.send("POST", "/v1/api_keys", &[JSON], r#"{"name":"admin","role":"admin"}"#).await;
    let good = format!("Bearer {}", token_of(&made.json()));
    let bad = good.replace("mk_0000000000001", "mk_0000000000002");
    let far = |last: u8| Arc::new(Peer::plain(SocketAddr::from(([192, 0, 2, last], 5))));
    let (guesser, other) = (far(7), far(8));
    for token in [bad.as_str(), "Basic YTpi", "", &bad, &bad] {
        let said = server.send_from(&guesser, "GET", "/v1/status", &[("authorization", token)], "").await;
        assert_eq!(said.brief(), "401 unauthenticated");
    }
    for route in ROUTES {
        let path = route
            .pattern
            .replace("{id}", "x")
            .replace("{code}", "forbidden")
            .replace("{event}", "y")
            .replace("{date}", "x");
        let said = server.send_from(&guesser, route.method, &path, &[("authorization", &bad)], "").await;
        if route.is_public() {
            assert_eq!(said.status, 200, "{path}");
            continue;
        }
        assert_eq!(said.brief(), "429 rate_limited", "{path}");
        assert_ne!(said.header("retry-after"), "", "{path}");
    }
    let with_good = [("authorization", good.as_str())];
    for peer in [&guesser, &other, &Arc::new(Peer::local())] {
        assert_eq!(server.send_from(peer, "GET", "/v1/status", &with_good, "").await.brief(), "200");
    }
    for _ in 0..10 {
        assert_eq!(
            server.send("GET", "/v1/status", &[("authorization", &bad)], "").await.brief(),
            "401 unauthenticated"
        );
    }
}

/// Also a request that lacks the right counts against its key.
#[tokio::test]
async fn a_key_that_is_refused_for_its_rights_is_limited_like_any_other() {
    let (server, admin) = with_admin().await;
    let terms = json!({"name": "n", "role": "auditor", "rate_per_s": 1, "burst": 2});
    let token = token_of(&make(&server, &admin, terms).await);
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(post(&server, &token, "/v1/accounts", "", "{}".into()).await.brief());
    }
    assert_eq!(said, ["403 forbidden", "403 forbidden", "429 rate_limited"]);
}

/// A refusal's note waits for the journal's lock where waiting is allowed: the one worker of this test
/// goes on meanwhile.
#[tokio::test]
async fn noting_a_refusal_never_holds_an_async_worker_up() {
    let (server, admin) = with_admin().await;
    let auditor = token_of(&make(&server, &admin, json!({"name": "n", "role": "auditor"})).await);
    let core = Arc::clone(server.engine().core());
    let (locked, is_locked) = tokio::sync::oneshot::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let guard = core.journal().lock();
        locked.send(()).expect("the test waits");
        // Where the worker is held up nobody releases it: the test fails instead of hanging.
        let was_released = released.recv_timeout(std::time::Duration::from_secs(10)).is_ok();
        drop(guard);
        was_released
    });
    is_locked.await.expect("the lock is free");
    let refused = async { post(&server, &auditor, "/v1/accounts", "", "{}".into()).await };
    let others = async {
        tokio::task::yield_now().await;
        let said = server.get("/livez").await;
        release.send(()).expect("the lock is held");
        said
    };
    let (refused, others) = tokio::join!(refused, others);
    assert_eq!((refused.brief().as_str(), others.brief().as_str()), ("403 forbidden", "200"));
    assert!(holder.join().expect("it ends"), "the worker was free while the lock was held");
    let noted = entries(&server).await;
    assert!(noted.iter().any(|(_, _, entry)| matches!(entry, Entry::AccessRefused(_))));
}
