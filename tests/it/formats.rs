//! One content in many forms: JSON and protobuf say the same, whatever is asked; codings, parts and objects.

use std::collections::BTreeMap;

use munim::http::EdgeOptions;
use munim::http::compress::{Coding, encode, inflate};
use munim::http::proto::messages;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

use crate::http_edge::{Said, Server};

const JSON: (&str, &str) = ("content-type", "application/json");
const SENDS: (&str, &str) = ("content-type", "application/x-protobuf");
const WANTS: (&str, &str) = ("accept", "application/x-protobuf");

/// The message as the JSON object that means the same.
fn twin(message: &messages::NewTransfer) -> Value {
    let mut object = serde_json::Map::new();
    for (name, value) in [
        ("debit_account", &message.debit_account),
        ("credit_account", &message.credit_account),
        ("amount", &message.amount),
        ("external_id", &message.external_id),
        ("effective_date", &message.effective_date),
        ("description", &message.description),
    ] {
        object.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    object.extend(message.code.map(|code| ("code".to_owned(), json!(code))));
    object.extend(message.pending.map(|pending| ("pending".to_owned(), json!(pending))));
    object.extend(message.expires_in_s.map(|seconds| ("expires_in_s".to_owned(), json!(seconds))));
    if !message.metadata.is_empty() {
        object.insert("metadata".to_owned(), json!(message.metadata));
    }
    Value::Object(object)
}

fn item_twin(item: &messages::BatchItem) -> Value {
    let order = |op: &str, transfer: &Option<String>, amount: &Option<String>| {
        let mut object = serde_json::Map::from_iter([("op".to_owned(), json!(op))]);
        object.extend(transfer.as_ref().map(|transfer| ("transfer".to_owned(), json!(transfer))));
        object.extend(amount.as_ref().map(|amount| ("amount".to_owned(), json!(amount))));
        Value::Object(object)
    };
    match &item.operation {
        None => json!({}),
        Some(messages::ItemOperation::Transfer(transfer)) => twin(transfer),
        Some(messages::ItemOperation::Post(post)) => order("post", &post.transfer, &post.amount),
        Some(messages::ItemOperation::Void(void)) => order("void", &void.transfer, &None),
    }
}

/// A transfer's answer in protobuf as the JSON object that means the same.
fn said_by(transfer: &messages::Transfer) -> Value {
    let mut object = json!({
        "object": "transfer", "external_id": transfer.external_id, "debit_account": transfer.debit_account,
        "credit_account": transfer.credit_account, "amount": transfer.amount, "currency": transfer.currency,
        "status": transfer.status, "code": transfer.code, "description": transfer.description,
        "effective_date": transfer.effective_date, "created_at": transfer.created_at, "metadata": transfer.metadata,
    });
    for (name, value) in [
        ("id", &transfer.id),
        ("entry", &transfer.entry),
        ("expires_at", &transfer.expires_at),
        ("posted_amount", &transfer.posted_amount),
        ("resolved_at", &transfer.resolved_at),
        ("reversed_by", &transfer.reversed_by),
        ("reverses", &transfer.reverses),
    ] {
        if let Some(value) = value {
            object[name] = json!(value);
        }
    }
    if let Some(seq) = transfer.seq {
        object["seq"] = json!(seq.to_string());
    }
    if transfer.dry_run {
        object["dry_run"] = json!(true);
    }
    object
}

fn batch_said_by(batch: &messages::Batch) -> Value {
    let results = batch.results.iter().map(|result| match (&result.id, &result.code) {
        (Some(id), _) => json!({ "index": result.index, "id": id }),
        (None, code) => json!({ "index": result.index, "code": code, "detail": result.detail }),
    });
    let mut object = json!({
        "object": "batch", "mode": if batch.mode == 2 { "atomic" } else { "independent" },
        "posted": batch.posted, "rejected": batch.rejected, "results": results.collect::<Vec<_>>(),
    });
    if batch.dry_run {
        object["dry_run"] = json!(true);
    }
    object
}

/// What differs between two requests that are the same: whose they are, and when.
fn timeless(mut json: Value) -> Value {
    for name in ["request_id", "created_at", "expires_at"] {
        if let Some(value) = json.get_mut(name) {
            *value = json!("-");
        }
    }
    json
}

fn compare(json: &Said, protobuf: &Said, read: impl Fn(&[u8]) -> Value) {
    assert_eq!(json.brief(), protobuf.brief(), "{:?} and {:?}", json.body, protobuf.body);
    let protobuf = if protobuf.status.is_success() {
        assert_eq!(protobuf.header("content-type"), "application/x-protobuf");
        read(&protobuf.body)
    } else {
        protobuf.json()
    };
    assert_eq!(timeless(json.json()), timeless(protobuf));
}

fn text(of: &'static str) -> impl Strategy<Value = Option<String>> {
    prop::option::weighted(0.3, of)
}

fn account() -> impl Strategy<Value = Option<String>> {
    let known = prop::sample::select(vec![
        "ext:A",
        "ext:B",
        "ext:C",
        "acct_0000000000001",
        "acct_0000000000002",
        "ext:Z",
        "x",
        "",
    ]);
    prop::option::weighted(0.97, known.prop_map(str::to_owned))
}

fn amount() -> impl Strategy<Value = Option<String>> {
    let odd = prop::sample::select(vec![
        "0",
        "0.00",
        "1.005",
        "-1",
        "1e3",
        "",
        "9223372036854775807",
        "99999999999999999999",
        "01",
    ]);
    let fair = (1u32..1_000_000).prop_map(|minor| format!("{}.{:02}", minor / 100, minor % 100));
    prop::option::weighted(0.97, prop_oneof![4 => fair, 1 => odd.prop_map(str::to_owned)])
}

fn transfer() -> impl Strategy<Value = messages::NewTransfer> {
    let dates = prop::sample::select(vec!["2026-11-20", "2020-02-30", "1970-01-01", "", "tomorrow"]);
    let pairs = prop_oneof![
        6 => prop::collection::btree_map("[a-z\u{e9}]{1,8}", "[ -~\u{20b9}]{0,12}", 0..3),
        1 => prop::collection::btree_map("[a-z]{38,43}", "x{498,502}", 0..3),
    ];
    let terms = (prop::option::of(any::<bool>()), prop::option::weighted(0.3, prop_oneof![-1i64..3, any::<i64>()]));
    (
        account(),
        account(),
        amount(),
        prop::option::weighted(0.3, prop_oneof![4 => any::<u32>().prop_map(u64::from), 1 => any::<u64>()]),
        text("[!-~]{1,12}|.{0,3}|x{65}"),
        prop::option::weighted(0.2, dates.prop_map(str::to_owned)),
        text("\\PC{0,20}|\u{20b9}{499,501}"),
        pairs,
        terms,
    )
        .prop_map(
            |(
                debit_account,
                credit_account,
                amount,
                code,
                external_id,
                effective_date,
                description,
                metadata,
                terms,
            )| {
                let (pending, expires_in_s) = terms;
                messages::NewTransfer {
                    debit_account,
                    credit_account,
                    amount,
                    code,
                    external_id,
                    effective_date,
                    description,
                    metadata,
                    pending,
                    expires_in_s,
                }
            },
        )
}

fn item() -> impl Strategy<Value = messages::BatchItem> {
    use messages::ItemOperation;
    let hold = || {
        prop::option::weighted(
            0.9,
            prop::sample::select(vec!["tr_0000000000007", "ext:H", "x", ""]).prop_map(str::to_owned),
        )
    };
    let operation = prop_oneof![
        6 => transfer().prop_map(|transfer| Some(ItemOperation::Transfer(transfer))),
        1 => (hold(), prop::option::of("[0-9.]{1,4}")).prop_map(|(transfer, amount)| Some(ItemOperation::Post(messages::Post { transfer, amount }))),
        1 => hold().prop_map(|transfer| Some(ItemOperation::Void(messages::Void { transfer }))),
        1 => Just(None),
    ];
    operation.prop_map(|operation| messages::BatchItem { operation })
}

thread_local! {
    static BOOKS: Server = {
        let server = Server::start();
        let runtime = runtime();
        for (name, more) in [("A", ""), ("B", ""), ("C", r#","balance_rule":"no_credit_balance""#)] {
            runtime.block_on(server.open_account(name, more));
        }
        server
    };
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Random transfers, right and wrong: one status, one code, one set of pointers, one answer.
    #[test]
    fn a_transfer_means_the_same_in_json_and_protobuf(message in transfer()) {
        BOOKS.with(|server| runtime().block_on(async {
            let path = "/v1/transfers?dry_run=true";
            let json = server.send("POST", path, &[JSON], twin(&message).to_string()).await;
            let protobuf = server.send("POST", path, &[SENDS, WANTS], message.encode_to_vec()).await;
            compare(&json, &protobuf, |body| said_by(&messages::Transfer::decode(body).expect("our own message")));
        }));
    }

    /// The same of batches.
    #[test]
    fn a_batch_means_the_same_in_json_and_protobuf(items in prop::collection::vec(item(), 0..6), mode in 0i32..4) {
        BOOKS.with(|server| runtime().block_on(async {
            let path = "/v1/transfers/batch?dry_run=true";
            let mut body = json!({ "transfers": items.iter().map(item_twin).collect::<Vec<_>>() });
            if mode > 0 {
                body["mode"] = json!(["independent", "atomic", "odd"][mode as usize - 1]);
            }
            let message = messages::NewBatch { mode, transfers: items };
            let json = server.send("POST", path, &[JSON], body.to_string()).await;
            let protobuf = server.send("POST", path, &[SENDS, WANTS], message.encode_to_vec()).await;
            prop_assert_eq!(json.brief(), protobuf.brief());
            // JSON tells of its mode before the items, protobuf after them: the pointers are the same set.
            if json.status.is_success() {
                compare(&json, &protobuf, |body| batch_said_by(&messages::Batch::decode(body).expect("our own message")));
            } else {
                let pointers = |said: &Said| {
                    let json = said.json();
                    let errors = json["errors"].as_array().cloned().unwrap_or_default();
                    let pairs = errors.iter().map(|error| (error["pointer"].to_string(), error["code"].to_string()));
                    let mut pairs: Vec<_> = pairs.collect();
                    pairs.sort();
                    pairs
                };
                prop_assert_eq!(pointers(&json), pointers(&protobuf));
            }
            Ok(())
        }))?;
    }

    /// No bytes make a 500 or a panic.
    #[test]
    fn odd_bytes_are_no_messages(body in prop::collection::vec(any::<u8>(), 0..80), batch: bool) {
        BOOKS.with(|server| runtime().block_on(async {
            let path = if batch { "/v1/transfers/batch?dry_run=true" } else { "/v1/transfers?dry_run=true" };
            server.send("POST", path, &[SENDS], body).await;
        }));
    }
}

/// Numbers are never cut to what a field holds: they are refused, in the words of JSON.
#[tokio::test]
async fn a_number_that_does_not_fit_is_refused_in_protobuf_as_in_json() {
    let server = Server::start();
    for name in ["A", "B"] {
        server.open_account(name, "").await;
    }
    let fair = messages::NewTransfer {
        debit_account: Some("ext:A".to_owned()),
        credit_account: Some("ext:B".to_owned()),
        amount: Some("1".to_owned()),
        pending: Some(true),
        ..messages::NewTransfer::default()
    };
    let codes = [1 << 32, 1 << 33, u64::MAX].map(|code| (Some(code), None, "/code"));
    let lives = [0, -1, 1 << 32, i64::MAX, i64::MIN].map(|life| (None, Some(life), "/expires_in_s"));
    for (code, expires_in_s, pointer) in codes.into_iter().chain(lives) {
        let message = messages::NewTransfer { code, expires_in_s, ..fair.clone() };
        let json = server.post("/v1/transfers", "k", twin(&message).to_string()).await;
        let headers = [SENDS, WANTS, ("idempotency-key", "k")];
        let protobuf = server.send("POST", "/v1/transfers", &headers, message.encode_to_vec()).await;
        assert_eq!(
            (protobuf.brief().as_str(), &protobuf.json()["errors"][0]["pointer"]),
            ("422 validation_failed", &json!(pointer))
        );
        compare(&json, &protobuf, |_| unreachable!("it is refused"));
        let operation = Some(messages::ItemOperation::Transfer(message));
        let batch = messages::NewBatch { mode: 1, transfers: vec![messages::BatchItem { operation }] };
        let said = server.send("POST", "/v1/transfers/batch", &headers, batch.encode_to_vec()).await;
        let pointers = (said.brief(), said.json()["errors"][0]["pointer"].clone());
        assert_eq!(pointers, ("422 validation_failed".to_owned(), json!(format!("/transfers/0{pointer}"))));
    }
    // A mode of 2^32 + 1, which is MODE_INDEPENDENT in its low half.
    let mode = [vec![0x08, 0x81, 0x80, 0x80, 0x80, 0x10], messages::NewBatch::default().encode_to_vec()].concat();
    let said = server.send("POST", "/v1/transfers/batch", &[SENDS, ("idempotency-key", "m")], mode).await;
    assert_eq!(
        (said.brief().as_str(), &said.json()["errors"][0]["pointer"]),
        ("422 validation_failed", &json!("/mode"))
    );
}

#[tokio::test]
async fn a_transfer_lives_its_life_in_protobuf() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let hold = messages::NewTransfer {
        debit_account: Some("ext:A".into()),
        credit_account: Some("ext:B".into()),
        amount: Some("10".into()),
        pending: Some(true),
        metadata: BTreeMap::from([("k".into(), "v".into())]),
        ..Default::default()
    };
    let ask = async |method: &str, path: &str, key: &str, body: Vec<u8>| {
        let said = server.send(method, path, &[SENDS, WANTS, ("idempotency-key", key)], body).await;
        assert!(said.status.is_success(), "{path}: {:?}", said.body);
        assert_eq!(said.header("content-type"), "application/x-protobuf");
        said
    };
    let read = |said: &Said| messages::Transfer::decode(&*said.body).expect("our own message");
    let first = ask("POST", "/v1/transfers", "h", hold.encode_to_vec()).await;
    let again = ask("POST", "/v1/transfers", "h", hold.encode_to_vec()).await;
    assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, "true"));
    let held = read(&first);
    let path = format!("/v1/transfers/{}", held.id.expect("an id"));
    let post = messages::Post { transfer: None, amount: Some("4".into()) };
    let posted = read(&ask("POST", &format!("{path}/post"), "p", post.encode_to_vec()).await);
    assert_eq!((posted.status.as_str(), posted.posted_amount.as_deref()), ("posted", Some("4.00")));
    let named_twice = messages::Post { transfer: Some("x".into()), amount: None }.encode_to_vec();
    let said = server.send("POST", &format!("{path}/post"), &[SENDS, ("idempotency-key", "q")], named_twice).await;
    assert_eq!(said.brief(), "422 unknown_field");
    let why = messages::Reverse { reason: Some("typing error".into()) };
    let reversal = read(&ask("POST", &format!("{path}/reverse"), "r", why.encode_to_vec()).await);
    let shown = ask("GET", &path, "-", Vec::new()).await;
    assert_eq!(said_by(&read(&shown)), server.get(&path).await.json());
    assert_ne!(shown.header("etag"), server.get(&path).await.header("etag"), "other bytes, another tag");
    assert_eq!(read(&shown).reversed_by, reversal.id);
    let listed = ask("GET", "/v1/transfers?account=ext:A", "-", Vec::new()).await;
    let page = messages::TransferList::decode(&*listed.body).expect("our own message");
    let json = server.get("/v1/transfers?account=ext:A").await.json();
    assert_eq!(json!(page.data.iter().map(said_by).collect::<Vec<_>>()), json["data"]);
    let batch = messages::NewBatch {
        mode: messages::Mode::Atomic.into(),
        transfers: vec![messages::BatchItem { operation: Some(messages::ItemOperation::Transfer(hold)) }],
    };
    let said = ask("POST", "/v1/transfers/batch", "b", batch.encode_to_vec()).await;
    assert_eq!(messages::Batch::decode(&*said.body).expect("our own message").posted, 1);
    let too_many = [0x12, 0].repeat(10_001);
    let said = server.send("POST", "/v1/transfers/batch", &[SENDS, ("idempotency-key", "m")], too_many).await;
    assert!(said.brief().starts_with("422"), "{:?}", said.body);
}

/// Fields of the shipped file and of the messages in the code: number, name.
#[tokio::test]
async fn the_shipped_file_is_served_and_names_every_field() {
    let server = Server::start();
    let said = server.get("/proto/munim.v1.proto").await;
    let file = String::from_utf8(said.body.to_vec()).expect("text");
    assert_eq!(file, include_str!("../../data/proto/munim.v1.proto"));
    let code = include_str!("../../src/http/proto/messages.rs");
    let mut in_code = Vec::new();
    let (mut message, mut tag) = ("", "");
    for line in code.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub struct ") {
            message = rest.trim_end_matches(" {");
        } else if let Some((_, rest)) = line.split_once("tag = \"") {
            tag = rest.split('"').next().expect("a number");
        } else if let (Some((name, _)), false) =
            (line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')), tag.is_empty())
        {
            in_code.push(format!("{message}.{name}={tag}"));
            tag = "";
        }
    }
    let mut in_file = Vec::new();
    for line in file.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("message ") {
            message = rest.trim_end_matches(" {");
        } else if let Some((head, number)) = line.strip_suffix(';').and_then(|line| line.split_once(" = ")) {
            let name = head.rsplit(' ').next().expect("a name");
            if !name.chars().all(|c| c.is_uppercase() || c == '_') && message != "BatchItem" {
                in_file.push(format!("{message}.{name}={number}"));
            }
        }
    }
    in_file.retain(|field| !field.contains(".syntax="));
    in_code.retain(|field| !field.starts_with("BatchItem."));
    in_code.sort();
    in_file.sort();
    assert!(in_code.len() > 40, "{in_code:?}");
    assert_eq!(in_code, in_file);
}

#[tokio::test]
async fn bodies_arrive_compressed_and_their_key_is_of_what_was_sent() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let transfer = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;
    let batch = format!(r#"{{"transfers":[{}]}}"#, vec![transfer; 2_000].join(","));
    for (coding, name) in [(Coding::Gzip, "gzip"), (Coding::Zstd, "zstd")] {
        for (path, body) in [("/v1/transfers", transfer), ("/v1/transfers/batch", batch.as_str())] {
            let key = format!("{name}{path}");
            let headers = [JSON, ("content-encoding", name), ("idempotency-key", key.as_str())];
            let packed = encode(coding, body.as_bytes()).expect("it compresses");
            let first = server.send("POST", path, &headers, packed.clone()).await;
            assert!(first.status.is_success(), "{name} {path}: {:?}", first.body);
            let again = server.send("POST", path, &headers, packed).await;
            assert_eq!((&again.body, again.header("idempotent-replayed")), (&first.body, "true"));
            let plain = server.post(path, &key, body.to_owned()).await;
            assert_eq!(plain.brief(), "422 idempotency_key_reused", "other bytes");
        }
    }
}

#[tokio::test]
async fn answers_leave_compressed_and_say_so() {
    let server = Server::start();
    let a =
        server.open_account("A", &format!(r#","metadata":{{"k":"{}","l":"{0}","m":"{0}"}}"#, "v".repeat(500))).await;
    let path = format!("/v1/accounts/{a}");
    let plain = server.get(&path).await;
    assert!(plain.body.len() > 1024);
    assert_eq!((plain.header("vary"), plain.header("content-encoding")), ("Accept-Encoding", ""));
    let packed = server.send("GET", &path, &[("accept-encoding", "br;q=0.5, gzip, deflate")], "").await;
    assert_eq!((packed.header("content-encoding"), packed.header("vary")), ("gzip", "Accept-Encoding"));
    assert_eq!(inflate(Coding::Gzip, &packed.body, 1 << 20).expect("gzip"), plain.body);
    assert!(packed.header("server-timing").contains("compress;"), "{}", packed.header("server-timing"));
    let etag = packed.header("etag").to_owned();
    assert_eq!(etag, format!("{}-gzip\"", plain.header("etag").trim_end_matches('"')));
    let same = server.send("GET", &path, &[("if-none-match", &etag), ("accept-encoding", "gzip")], "").await;
    assert_eq!((same.status.as_u16(), same.header("etag")), (304, etag.as_str()));
    assert_eq!(same.header("vary"), packed.header("vary"), "a cache may go on with what it has");
    let changed = server.send("PATCH", &path, &[JSON, ("if-match", &etag)], r#"{"name":"x"}"#).await;
    assert_eq!(changed.brief(), "200", "a tag of a compressed answer names its version too");
    let stale = server.send("GET", &path, &[("if-none-match", &etag), ("accept-encoding", "gzip")], "").await;
    assert_eq!(stale.brief(), "200");
    let export = server.send("GET", "/v1/export", &[("accept-encoding", "zstd")], "").await;
    assert_eq!(export.header("content-encoding"), "zstd");
    assert_eq!(inflate(Coding::Zstd, &export.body, 1 << 20).expect("zstd"), server.get("/v1/export").await.body);
    for path in ["/docs", "/openapi.json", "/docs/style.css"] {
        let plain = server.get(path).await;
        let packed = server.send("GET", path, &[("accept-encoding", "gzip")], "").await;
        assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
        assert_eq!(inflate(Coding::Gzip, &packed.body, 1 << 24).expect("gzip"), plain.body, "{path}");
        let etag = packed.header("etag").to_owned();
        let same = server.send("GET", path, &[("if-none-match", &etag)], "").await;
        assert_eq!((same.status.as_u16(), same.header("vary")), (304, packed.header("vary")), "{path}");
    }
}

#[tokio::test]
async fn parts_of_answers_and_objects_for_ids() {
    let server = Server::start();
    let (a, b) = (server.open_account("A", "").await, server.open_account("B", "").await);
    let body = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;
    let mut ids = Vec::new();
    for key in ["1", "2", "3"] {
        ids.push(server.post("/v1/transfers", key, body).await.json()["id"].as_str().expect("an id").to_owned());
    }
    let path = format!("/v1/transfers/{}", ids[0]);
    let reversed = server.post(&format!("{path}/reverse"), "r", r#"{"reason":"x"}"#).await.json();
    let part = server.get(&format!("{path}?fields=amount,status")).await.json();
    assert_eq!(part, json!({ "object": "transfer", "id": ids[0], "amount": "5.00", "status": "posted" }));
    let whole = server.get(&format!("{path}?expand[]=debit_account&expand%5B%5D=reversed_by")).await;
    assert_eq!(whole.json()["debit_account"], server.get(&format!("/v1/accounts/{a}")).await.json());
    assert_eq!(whole.json()["reversed_by"]["id"], reversed["id"]);
    assert_eq!((&whole.json()["credit_account"], whole.header("etag")), (&json!(b), ""));
    let list =
        server.get("/v1/transfers?account=ext:A&limit=2&fields=credit_account&expand[]=data.credit_account").await;
    let rows = list.json()["data"].as_array().expect("rows").clone();
    assert_eq!((rows.len(), &rows[0]["credit_account"]["object"]), (2, &json!("account")));
    assert_eq!(rows[1].as_object().expect("an object").len(), 3, "object, id and what was asked for");
    let next = list.header("link").trim_start_matches('<').split('>').next().expect("an address").to_owned();
    let rest = server.get(&next).await.json();
    assert_eq!(rest["data"][0]["credit_account"]["object"], "account", "{next}");
    let statement = format!("/v1/accounts/{a}/entries");
    let said = server.get(&format!("{statement}?fields=amount&expand[]=account")).await.json();
    assert_eq!((&said["account"]["id"], &said["data"][0]), (&json!(a), &json!({ "amount": "-5.00" })));
    let said = server.get(&format!("{statement}?expand[]=transfer")).await.json();
    assert_eq!(said["data"][0]["transfer"]["object"], "transfer");
    let csv = server.send("GET", &format!("{statement}?fields=amount"), &[("accept", "text/csv")], "").await;
    assert_eq!(csv.brief(), "422 invalid_parameter");
    let accounts = server.get("/v1/accounts?fields=name").await.json();
    assert_eq!(accounts["data"][0], json!({ "object": "account", "id": b, "name": null }));
    let past = server.get(&format!("/v1/accounts/{a}?at=2149-01-01&fields=at")).await.json();
    assert_eq!(past, json!({ "object": "account", "id": a, "at": "2149-01-01" }));
}

#[tokio::test]
async fn statements_and_transfers_are_asked_for_conditionally() {
    let server = Server::start();
    let a = server.open_account("A", "").await;
    server.open_account("B", "").await;
    let body = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;
    let id = server.post("/v1/transfers", "1", body).await.json()["id"].as_str().expect("an id").to_owned();
    for path in [format!("/v1/transfers/{id}"), format!("/v1/accounts/{a}/entries"), format!("/v1/accounts/{a}")] {
        let etag = server.get(&path).await.header("etag").to_owned();
        assert!(etag.len() > 2, "{path}");
        for tag in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let said = server.send("GET", &path, &[("if-none-match", &tag)], "").await;
            assert_eq!((said.status.as_u16(), said.body.len()), (304, 0), "{path} {tag}");
            assert_eq!(said.header("etag"), etag);
        }
        assert_eq!(server.send("GET", &path, &[("if-none-match", "\"x\"")], "").await.brief(), "200");
    }
    let csv = server.send("GET", &format!("/v1/accounts/{a}/entries"), &[("accept", "text/csv")], "").await;
    assert!(csv.header("etag").ends_with("-csv\""), "{}", csv.header("etag"));
    assert_eq!(csv.header("vary"), "Accept");
    let headers = [("accept", "text/csv"), ("if-none-match", csv.header("etag"))];
    let same = server.send("GET", &format!("/v1/accounts/{a}/entries"), &headers, "").await;
    assert_eq!((same.status.as_u16(), same.header("vary")), (304, "Accept, Accept-Encoding"));
}

#[tokio::test]
async fn listed_origins_may_ask() {
    let server =
        Server::with(&EdgeOptions { cors_origins: vec!["https://till.example".into()], ..EdgeOptions::default() });
    let preflight = [("origin", "https://till.example"), ("access-control-request-method", "POST")];
    let said = server.send("OPTIONS", "/v1/transfers", &preflight, "").await;
    assert_eq!((said.brief().as_str(), said.header("access-control-allow-origin")), ("204", "https://till.example"));
    assert!(said.header("access-control-allow-methods").contains("POST"));
    let said = server.send("GET", "/v1/status", &[("origin", "https://other.example")], "").await;
    assert_eq!((said.header("access-control-allow-origin"), said.header("vary")), ("", "Origin"));
}

/// What stands in place of an id is the caller's to see by itself, and an answer does not grow without bound.
#[tokio::test]
async fn expanded_objects_need_their_own_right_and_have_a_bound() {
    use crate::identity::{get, make, post, token_of, with_accounts};
    let (server, admin) = with_accounts().await;
    let one = r#"{"debit_account":"ext:A","credit_account":"ext:B","amount":"5"}"#;
    let rows = vec![one; 900].join(",");
    let said = post(&server, &admin, "/v1/transfers/batch", "k", format!(r#"{{"transfers":[{rows}]}}"#)).await;
    assert_eq!(said.brief(), "200", "{:?}", said.body);
    let scoped = |scope: &'static str| {
        let (server, admin) = (&server, &admin);
        async move { token_of(&make(server, admin, json!({"name": "s", "role": "officer", "scopes": [scope]})).await) }
    };
    let (transfers, accounts) = (scoped("transfers:read").await, scoped("accounts:read").await);
    for (token, path) in [
        (&transfers, "/v1/transfers?account=ext:A&limit=1&expand[]=debit_account"),
        (&accounts, "/v1/accounts/ext:A/entries?limit=1&expand[]=transfer"),
    ] {
        assert_eq!(get(&server, token, path).await.brief(), "403 forbidden", "{path}");
        assert_eq!(get(&server, &admin, path).await.brief(), "200", "{path}");
        assert_eq!(get(&server, token, path.split("&expand").next().expect("a path")).await.brief(), "200", "{path}");
    }
    // Fifty pairs of 500 characters are 25 KB; 900 rows of them are more than 8 MiB.
    let pairs: serde_json::Map<String, Value> =
        (0..50).map(|pair| (format!("k{pair}"), "v".repeat(400).into())).collect();
    let change = json!({ "metadata": pairs }).to_string();
    let headers = [("content-type", "application/json"), ("authorization", &format!("Bearer {admin}"))];
    assert_eq!(server.send("PATCH", "/v1/accounts/ext:A", &headers, change).await.brief(), "200");
    let said = get(&server, &admin, "/v1/transfers?account=ext:A&limit=900&expand[]=debit_account").await;
    assert_eq!(
        (said.brief().as_str(), &said.json()["errors"][0]["pointer"]),
        ("422 invalid_parameter", &"expand[]".into())
    );
    assert_eq!(
        get(&server, &admin, "/v1/transfers?account=ext:A&limit=100&expand[]=debit_account").await.brief(),
        "200"
    );
}
