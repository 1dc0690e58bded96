//! Work after the answer: born with its cause, done at least once, seen and steered.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::fire::server::{MUNIM, Place, Server as Process};
use crate::fire::wire::Request;
use crate::http_edge::Server;
use crate::identity::{make, post, token_of, transfer, with_accounts};
use crate::loans::Branch;
use crate::webhooks::receiver;

fn mail(to: &str) -> Value {
    json!({"kind": "email", "args": {"to": to, "subject": "Receipt", "text": "Thank you."}})
}

/// Waits until a job is as it should be.
async fn until(server: &Server, id: &str, status: &str) -> Value {
    loop {
        let job = server.get(&format!("/v1/jobs/{id}")).await;
        if job.status.as_u16() == 200 && job.json()["status"] == status {
            return job.json();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_bears_jobs_and_they_are_done() {
    let server = Server::start();
    server.open_account("A", "").await;
    server.open_account("B", "").await;
    let body = json!({"debit_account": "ext:A", "credit_account": "ext:B", "amount": "5", "jobs": [
        mail("asha@example.in"),
        {"kind": "document", "args": {"document": "account_statement", "of": "ext:A"}, "priority": 9},
    ]});
    let said = server.post("/v1/transfers", "t", body.to_string()).await;
    assert_eq!(said.brief(), "201", "{:?}", said.body);
    // The same again is the same transfer, and bears nothing more.
    assert_eq!(server.post("/v1/transfers", "t", body.to_string()).await.body, said.body);
    let events = server.get("/v1/events?types=job.born,transfer.posted").await.json();
    let events: Vec<(&str, &str)> = events["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["type"].as_str().unwrap(), event["subject"].as_str().unwrap()))
        .collect();
    assert_eq!(events.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["job.born", "job.born", "transfer.posted"]);
    assert_eq!(events[2].1, said.json()["id"], "the answer is about the transfer");
    for (_, id) in &events[..2] {
        let job = until(&server, id, "done").await;
        assert_eq!(job["attempts"], 1);
    }
    let listed = server.get("/v1/jobs?status=done&kind=email").await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let voucher = server.get(&format!("/v1/entries/{}", said.json()["entry"].as_str().unwrap())).await;
    assert_eq!(voucher.json()["transfers"].as_array().unwrap().len(), 1, "{voucher:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_bears_its_receipt() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let (path, other) = (branch.active("L-1").await, "ext:L-2");
    branch.active("L-2").await;
    let loan = path.rsplit('/').next().unwrap();
    let receipt = |of: &str| json!({"kind": "document", "args": {"document": "receipt", "of": of}});
    let pay = |reference: &str, jobs: Value| json!({"amount": "100", "value_date": "2026-11-26", "mode": "upi", "reference": reference, "jobs": jobs});
    let path = format!("{path}/repayments");
    let refused = server.post(&path, "bad", pay("U-0", json!([{"kind": "fly", "args": {}}])).to_string()).await;
    assert_eq!(refused.brief(), "422 validation_failed");
    assert_eq!(refused.json()["errors"][0]["pointer"], "/jobs/0/kind");
    let jobs = json!([
        {"kind": "email", "args": {"to": "asha@example.in", "template": "receipt", "fields": {"amount": "100.00"},
            "attach": {"document": "receipt", "of": loan}}},
        receipt(loan),
        receipt(other),
    ]);
    let mut body = pay("U-1", jobs);
    body["value_date"] = branch.today().await.into();
    let said = server.post(&path, "pay", body.to_string()).await;
    assert_eq!(said.brief(), "200", "{:?}", said.body);
    assert_eq!(server.post(&path, "pay", body.to_string()).await.body, said.body, "a replay bears nothing more");
    let events = server.get("/v1/events?types=job.born").await.json();
    let jobs: Vec<&str> =
        events["data"].as_array().unwrap().iter().map(|event| event["subject"].as_str().unwrap()).collect();
    assert_eq!(jobs.len(), 3);
    for id in &jobs[..2] {
        until(&server, id, "done").await;
    }
    // The receipt of another loan's payment is not this one, and alone a job has no payment to be of.
    let alone = server.post("/v1/jobs", "alone", receipt(loan).to_string()).await.json();
    for id in [jobs[2], alone["data"][0]["id"].as_str().unwrap()] {
        loop {
            let job = server.get(&format!("/v1/jobs/{id}")).await.json();
            if let Some(error) = job["last_error"].as_str() {
                assert!(error.contains("born with the payment"), "{job}");
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // Nothing but jobs may follow where a body says nothing.
    let closed = server.post(&format!("/v1/loans/{other}/close"), "close", r#"{"jobs":[]}"#).await;
    assert_ne!(closed.brief(), "422 validation_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_done_dies_and_can_be_brought_back() {
    let server = Server::start();
    let past = json!({"kind": "document", "args": {"document": "account_statement", "of": "acct_0000000000001"}});
    let born = server.post("/v1/jobs", "j", past.to_string()).await;
    assert_eq!(born.brief(), "201", "{:?}", born.body);
    assert_eq!(server.post("/v1/jobs", "j", past.to_string()).await.body, born.body);
    let id = born.json()["data"][0]["id"].as_str().unwrap().to_owned();
    // There is no such account yet: it waits for another attempt.
    loop {
        let job = server.get(&format!("/v1/jobs/{id}")).await;
        if job.status.as_u16() == 200 && job.json()["last_error"] != Value::Null {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), "c", "{}").await.brief(), "202");
    assert_eq!(until(&server, &id, "cancelled").await["id"], id.as_str());
    assert_eq!(server.post(&format!("/v1/jobs/{id}/cancel"), "c2", "{}").await.status.as_u16() / 100, 2);
    server.open_account("A", "").await;
    assert_eq!(server.post(&format!("/v1/jobs/{id}/retry"), "r", "{}").await.brief(), "202");
    until(&server, &id, "done").await;
    assert_eq!(server.post(&format!("/v1/jobs/{id}/retry"), "r2", "{}").await.brief(), "409 job_state");
    for (body, expected) in [
        (json!({"kind": "fly", "args": {}}), "422 validation_failed"),
        (mail("nobody"), "422 validation_failed"),
        (json!({"kind": "email", "args": {}}), "422 validation_failed"),
        (json!({"kind": "email", "args": {"to": "a@example.in", "template": "../x"}}), "422 validation_failed"),
        (json!({"kind": "statements", "args": {"month": "2026-11"}, "priority": 10}), "422 validation_failed"),
        (json!({"kind": "statements", "args": {"month": "2026-11"}, "run_at": "tomorrow"}), "422 validation_failed"),
    ] {
        assert_eq!(server.post("/v1/jobs", "x", body.to_string()).await.brief(), expected, "{body}");
    }
    assert_eq!(server.get("/v1/jobs/job_0000000000009").await.brief(), "404 job_not_found");
    // A template is filled, or says what it lacks.
    for (key, fields, status) in [
        ("t1", json!({"of": "ext:L-1", "amount": "5,500", "due_date": "5 December"}), "done"),
        ("t2", json!({}), "dead"),
    ] {
        let args = json!({"to": "asha@example.in", "template": "due_reminder", "fields": fields});
        let born = server.post("/v1/jobs", key, json!({"kind": "email", "args": args}).to_string()).await;
        let job = until(&server, born.json()["data"][0]["id"].as_str().expect("an id"), status).await;
        assert_eq!(job["last_error"].as_str().is_some_and(|said| said.contains("due_date")), status == "dead", "{job}");
    }
    let many: Vec<Value> = (0..9).map(|_| mail("a@example.in")).collect();
    let body = json!({"debit_account": "ext:A", "credit_account": "ext:A", "amount": "5", "jobs": many});
    assert_eq!(server.post("/v1/transfers", "m", body.to_string()).await.brief(), "422 validation_failed");
}

fn mails_in(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".eml"))
        .collect()
}

#[test]
fn jobs_go_on_through_kill_9_and_none_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &[]);
    let mut born = BTreeSet::new();
    for life in 0..3 {
        let process = Process::start(&place).expect("it starts");
        let mut client = process.client().expect("a client");
        for number in 0..60 {
            let request =
                Request::post("/v1/jobs", Some(&format!("{life}-{number}")), mail("asha@example.in").to_string());
            let answer = client.call(&request).expect("an answer");
            assert_eq!(answer.status, 201, "{}", answer.shown());
            born.insert(format!("{}.eml", answer.json()["data"][0]["id"].as_str().expect("an id")));
        }
        process.kill9();
    }
    let process = Process::start(&place).expect("it starts");
    let mails = place.data.join("mail");
    while mails_in(&mails) != born {
        assert!(mails_in(&mails).is_subset(&born), "nothing was invented");
        std::thread::yield_now();
    }
    let one = std::fs::read_to_string(mails.join(born.first().expect("one"))).expect("a mail");
    assert!(
        one.contains("To: asha@example.in") && one.contains("Subject: Receipt") && one.contains("Message-ID: <job_")
    );
    drop(process);
    place.verify().expect("the books are well");
}

/// An alert of the gateway's rules becomes a mail and a signed message, once each.
#[tokio::test]
async fn alerts_are_mailed_and_brought_to_a_program() {
    let mut receiver = receiver(&[500]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let in_folder = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let secret = munim::jobs::outbound::signature::SigningKey::draw_hmac().expect("randomness").reveal();
    std::fs::write(in_folder("secret"), format!("{secret}\n")).expect("it is written");
    let rules = "[[alert]]\nname = \"idle\"\nseverity = \"critical\"\nadvice = \"Open the door.\"\n\
                 kind = \"threshold\"\nmetric = \"munim_holds_open\"\nbelow = 5.0\n";
    std::fs::write(in_folder("rules.toml"), rules).expect("it is written");
    let (rules, secret_file) = (in_folder("rules.toml"), in_folder("secret"));
    let arguments = [
        "--alert-rules",
        &rules,
        "--alert-mail",
        "ravi@example.in",
        "--alert-webhook",
        &receiver.url,
        "--alert-webhook-secret-file",
        &secret_file,
        "--outbound-http",
        "--outbound-allow",
        "127.0.0.0/8",
        "--lender-name",
        "Lakshmi Finance",
    ];
    let place = Place::in_folder(folder.path(), &arguments);
    let process = Process::start(&place).expect("it starts");
    // The first one is refused, and the second is the same message.
    let (first, got) = (receiver.next().await, receiver.next().await);
    assert_eq!((first.id(), first.json()), (got.id(), got.json()));
    assert!(got.is_signed_by(&secret));
    let said = got.json();
    assert_eq!(said["type"], "alert.fired");
    assert_eq!(
        (&said["data"]["alert"], &said["data"]["severity"], &said["data"]["from"]),
        (&json!("idle"), &json!("critical"), &json!("Lakshmi Finance"))
    );
    let mails = place.data.join("mail");
    while mails_in(&mails).is_empty() {
        tokio::task::yield_now().await;
    }
    let name = mails_in(&mails).pop_first().expect("one");
    let mail = std::fs::read_to_string(mails.join(name)).expect("a mail");
    assert!(mail.contains("To: ravi@example.in") && mail.contains("[Lakshmi Finance] critical fired: idle"), "{mail}");
    drop(process);
    place.verify().expect("the books are well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_months_statements_are_of_the_loans_that_ran_in_it() {
    let server = Server::start();
    let branch = Branch::open(&server).await;
    let today = branch.today().await;
    branch.active("runs").await;
    branch.applied("never-paid-out").await;
    let ended = branch.active("ended").await;
    let all = json!({"amount": "120000", "value_date": today, "keep": "term"});
    branch.done(&format!("{ended}/prepayments"), all, "200").await;
    branch.done(&format!("{ended}/close"), json!({}), "200").await;
    let job = async |key: &str, month: &str| {
        let body = json!({"kind": "statements", "args": {"month": month}}).to_string();
        let born = server.post("/v1/jobs", key, body).await;
        born.json()["data"][0]["id"].as_str().unwrap().to_owned()
    };
    let (month, before) = (&today[..7], "2001-02");
    let early = job("early", month).await;
    loop {
        let said = server.get(&format!("/v1/jobs/{early}")).await.json();
        if let Some(error) = said["last_error"].as_str() {
            assert!(error.contains("is not over"), "{error}");
            break;
        }
        tokio::task::yield_now().await;
    }
    let next: jiff::civil::Date = today.parse().unwrap();
    let next = next.last_of_month().tomorrow().unwrap();
    branch.open_day(&next.to_string()).await;
    branch.active("came-later").await;
    let done = until(&server, &job("month", month).await, "done").await;
    assert_eq!(done["progress"], json!({"done": 2, "total": 2}), "{done}");
    let none = until(&server, &job("before", before).await, "done").await;
    assert_eq!(none["progress"], Value::Null, "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_bears_is_not_more_than_its_key_may() {
    let (server, admin) = with_accounts().await;
    let cashier = token_of(&make(&server, &admin, json!({"name": "c", "role": "cashier"})).await);
    let scoped = json!({"name": "s", "role": "cashier", "scopes": ["transfers:write"]});
    let scoped = token_of(&make(&server, &admin, scoped).await);
    let attached = |document: &str, of: &str| {
        json!({"kind": "email", "args": {"to": "a@example.in", "subject": "x", "text": "x",
            "attach": {"document": document, "of": of}}})
    };
    let month = json!({"kind": "statements", "args": {"month": "2026-01"}});
    for (number, (token, job, expected)) in [
        (&cashier, mail("a@example.in"), "201"),
        (&cashier, attached("account_statement", "ext:A"), "201"),
        (&cashier, month.clone(), "403 forbidden"),
        (&scoped, mail("a@example.in"), "201"),
        (&scoped, attached("account_statement", "ext:A"), "403 forbidden"),
        (&scoped, attached("kfs", "ext:L"), "403 forbidden"),
        (&admin, month, "201"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = transfer("1");
        body["jobs"] = json!([job]);
        let said = post(&server, token, "/v1/transfers", &format!("k{number}"), body.to_string()).await;
        assert_eq!(said.brief(), expected, "{job}");
    }
}

#[test]
fn schedules_are_shown_and_what_is_none_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let shown = |args: &[&str]| {
        let out = std::process::Command::new(MUNIM).args(args).stdin(std::process::Stdio::null()).output().unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8(said).unwrap())
    };
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/data/schedules.toml");
    let (status, said) = shown(&["jobs", "schedules", good, "--firings", "2"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(said.lines().count(), 1 + 2 * 3, "{said}");
    assert!(said.contains("02:00 +05:30") && said.contains("statements {\"month\":\"20"), "{said}");
    let bad = folder.path().join("schedules.toml");
    std::fs::write(&bad, "[[schedule]]\nname = \"x\"\ncron = \"0 25 * * *\"\nkind = \"statements\"\n").unwrap();
    let (bad, data) = (bad.to_str().unwrap(), folder.path().join("data"));
    for args in [
        ["jobs", "schedules", bad, "--zone", "UTC", "--firings", "1", "--json"],
        ["serve", "--schedules", bad, "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0", "--log-format=text"],
    ] {
        let (status, said) = shown(&args);
        assert_eq!(status, Some(3), "{said}");
        assert!(said.contains("schedules.toml") && said.contains("month"), "{said}");
    }
}
