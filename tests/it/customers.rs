//! Customers through HTTP: made, changed, found, kept over a restart; secrets sealed in the books and masked for those who
//! need not know.

use munim::domain::entry::Entry;
use munim::domain::ids::Seq;
use munim::journal::Item;
use munim::reconcile::verify::{Expected, verify};
use serde_json::{Value, json};

use crate::http_edge::Server;
use crate::identity::{get, make, post, token_of, with_admin};

const JSON: (&str, &str) = ("content-type", "application/json");

fn asha() -> Value {
    json!({
        "kind": "individual", "name": "Asha Rao", "external_id": "C-1", "born_on": "1990-02-28", "phone": "+91 98220 00000",
        "email": "asha@example.in", "address": "12 MG Road, Pune", "pan": "ABCDE1234F", "bank_account": "123456789012",
        "ifsc": "HDFC0001234", "metadata": {"branch": "Pune"},
    })
}

fn is_whole(server: &Server) {
    let core = server.engine().core();
    let expected = Expected::from_memory(core).expect("the store can be read");
    let report = verify(core.journal(), &expected, &mut |_| {});
    assert!(report.ok, "{:?}", report.problems);
}

#[tokio::test]
async fn a_customer_is_made_found_changed_and_survives_a_restart() {
    let server = Server::start();
    let said = server.post("/v1/customers", "k1", asha().to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    let made = said.json();
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(said.header("location"), format!("/v1/customers/{id}"));
    for (name, value) in asha().as_object().expect("an object") {
        assert_eq!(made[name], *value, "{name}");
    }
    assert_eq!(made["version"], 1);
    let taken = server.post("/v1/customers", "k2", asha().to_string()).await;
    assert_eq!(taken.brief(), "409 external_id_exists");
    let bare = server.post("/v1/customers", "k3", r#"{"kind":"business","name":"Rao & Sons"}"#).await.json();
    assert_eq!((&bare["pan"], &bare["metadata"]), (&Value::Null, &json!({})));
    let dry = server.send("POST", "/v1/customers?dry_run=true", &[JSON], r#"{"kind":"business","name":"x"}"#).await;
    assert_eq!((dry.brief().as_str(), &dry.json()["dry_run"]), ("200", &json!(true)));

    let found = server.get("/v1/customers/ext:C-1").await;
    assert_eq!(found.json(), made);
    let etag = found.header("etag").to_owned();
    let path = format!("/v1/customers/{id}");
    let unchanged = server.send("GET", &path, &[("if-none-match", &etag)], "").await;
    assert_eq!(unchanged.brief(), "304");
    let change = r#"{"name":"Asha Kulkarni","pan":"FGHIJ5678K","phone":null}"#;
    let changed = server.send("PATCH", &path, &[JSON, ("if-match", &etag)], change).await;
    assert_eq!(changed.brief(), "200", "{:?}", changed.body);
    let after = changed.json();
    assert_eq!((&after["name"], &after["pan"]), (&json!("Asha Kulkarni"), &json!("FGHIJ5678K")));
    assert_eq!((&after["phone"], &after["email"], &after["version"]), (&Value::Null, &made["email"], &json!(2)));
    let late = server.send("PATCH", &path, &[JSON, ("if-match", &etag)], change).await;
    assert_eq!(late.brief(), "412 version_mismatch");
    for nobody in ["/v1/customers/cust_00000000000zz", "/v1/customers/ext:nobody", "/v1/customers/x"] {
        assert_eq!(server.get(nobody).await.brief(), "404 customer_not_found", "{nobody}");
        let said = server.send("PATCH", nobody, &[JSON], r#"{"phone":"1"}"#).await;
        assert_eq!(said.brief(), "404 customer_not_found", "{nobody}");
    }
    is_whole(&server);

    let server = server.restart();
    assert_eq!(server.get(&path).await.json(), after);
    assert_eq!(server.get("/v1/customers/ext:C-1").await.json(), after);
    let again = server.post("/v1/customers", "k1", asha().to_string()).await;
    assert_eq!((again.json(), again.header("idempotent-replayed")), (made, "true"));
    let taken = server.post("/v1/customers", "k4", asha().to_string()).await;
    assert_eq!(taken.brief(), "409 external_id_exists");
    is_whole(&server);
}

#[tokio::test]
async fn customers_are_listed_newest_first_page_by_page() {
    let server = Server::start();
    for number in 1..=7 {
        let body = json!({"kind": "individual", "name": format!("n{number}")});
        assert_eq!(server.post("/v1/customers", &format!("k{number}"), body.to_string()).await.brief(), "201");
    }
    let (mut path, mut names) = ("/v1/customers?limit=3".to_owned(), Vec::new());
    loop {
        let said = server.get(&path).await;
        let page = said.json();
        names.extend(page["data"].as_array().expect("rows").iter().map(|row| row["name"].clone()));
        let link = said.header("link").to_owned();
        assert_eq!(page["has_more"], !link.is_empty());
        let Some(next) = link.strip_prefix('<').and_then(|rest| rest.split('>').next()) else { break };
        path = next.to_owned();
    }
    assert_eq!(json!(names), json!(["n7", "n6", "n5", "n4", "n3", "n2", "n1"]));
}

/// The journal has no PAN in clear, and a cashier sees its end only.
#[tokio::test]
async fn secrets_are_sealed_in_the_books_and_masked_for_a_cashier() {
    let (server, admin) = with_admin().await;
    let said = post(&server, &admin, "/v1/customers", "k1", asha().to_string()).await;
    assert_eq!(said.json()["pan"], "ABCDE1234F");
    let path = format!("/v1/customers/{}", said.json()["id"].as_str().expect("an id"));
    let token = |role: &'static str| {
        let (server, admin) = (&server, &admin);
        async move { token_of(&make(server, admin, json!({"name": role, "role": role})).await) }
    };
    for (role, pan, account) in [
        ("cashier", "******234F", "********9012"),
        ("officer", "ABCDE1234F", "123456789012"),
        ("auditor", "ABCDE1234F", "123456789012"),
    ] {
        let token = token(role).await;
        let shown = get(&server, &token, &path).await.json();
        assert_eq!((shown["pan"].as_str(), shown["bank_account"].as_str()), (Some(pan), Some(account)), "{role}");
        let listed = get(&server, &token, "/v1/customers").await.json();
        assert_eq!(listed["data"][0]["pan"], pan, "{role}");
    }
    let mut sealed = 0;
    let _ = server.engine().core().journal().scan(Seq(1), &mut |item| {
        if let Item::Entry { entry: Entry::CustomerSaved(saved), .. } = item {
            for secret in [&saved.facts.pan, &saved.facts.bank_account] {
                let bytes = secret.as_deref().expect("both were given");
                assert!(!bytes.windows(6).any(|part| b"ABCDE1234F".windows(6).any(|clear| clear == part)));
                sealed += 1;
            }
        }
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(sealed, 2);
}
