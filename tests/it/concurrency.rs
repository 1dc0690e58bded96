//! One key from a thousand callers, keys from sealed segments, and a slow disk: over real sockets.

use super::fire::order::paise;
use super::fire::server::{Place, Server};
use super::fire::wire::{Answer, Client, Request};

fn post(client: &mut Client, path: &str, key: &str, body: &str) -> Answer {
    client.call(&Request::post(path, Some(key), body)).expect("the server answers")
}

/// Opens two accounts; their ids.
fn open_pair(client: &mut Client) -> [String; 2] {
    ["asset", "liability"].map(|kind| {
        let body = format!(r#"{{"external_id":"{kind}","currency":"INR","type":"{kind}"}}"#);
        let answer = post(client, "/v1/accounts", &format!("open-{kind}"), &body);
        assert_eq!(answer.status, 201, "{}", answer.shown());
        answer.json()["id"].as_str().expect("an account has an id").to_owned()
    })
}

fn transfer([debit, credit]: &[String; 2], amount: &str) -> String {
    format!(r#"{{"debit_account":"{debit}","credit_account":"{credit}","amount":"{amount}"}}"#)
}

fn debits(client: &mut Client, account: &str) -> (i64, Answer) {
    let answer = client.get(&format!("/v1/accounts/{account}")).expect("the server answers");
    let sum = paise(&answer.json()["balances"]["debits_posted"]);
    (sum.unwrap_or_else(|| panic!("no sum: {}", answer.shown())), answer)
}

#[test]
fn a_thousand_concurrent_requests_with_one_key_post_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &[]);
    let server = Server::start(&place).unwrap();
    let mut client = server.client().unwrap();
    let pair = open_pair(&mut client);
    let body = transfer(&pair, "12.34");
    let door = &server.door();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut clients: Vec<Client> = (0..125).map(|_| Client::through(door).unwrap()).collect();
                    let request = Request::post("/v1/transfers", Some("the-one"), body.as_str());
                    for client in &mut clients {
                        client.send(&request).expect("the server reads");
                    }
                    clients.iter_mut().map(|client| client.receive().expect("an answer")).collect::<Vec<_>>()
                })
            })
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(answers.len(), 1_000);
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body), "{}", answer.shown());
    }
    assert_eq!(answers.iter().filter(|answer| !answer.is_replayed()).count(), 1);
    assert_eq!(debits(&mut client, &pair[0]).0, 12_34);
    server.kill9();
    let server = Server::start(&place).unwrap();
    let mut client = server.client().unwrap();
    let again = post(&mut client, "/v1/transfers", "the-one", &body);
    assert!(again.is_replayed());
    assert_eq!((again.status, &again.body), (201, &answers[0].body));
    assert_eq!(debits(&mut client, &pair[0]).0, 12_34);
}

/// Posts batches until the journal has rolled `rolls` times.
fn roll(place: &Place, client: &mut Client, pair: &[String; 2], rolls: usize) {
    let before = place.segments();
    let items = vec![transfer(pair, "0.01"); 4_000].join(",");
    for n in 0..400 {
        let body = format!(r#"{{"mode":"independent","transfers":[{items}]}}"#);
        let answer = post(client, "/v1/transfers/batch", &format!("roll-{before}-{n}"), &body);
        assert_eq!(answer.status, 200, "{}", answer.shown());
        if place.segments() >= before + rolls {
            return;
        }
    }
    panic!("1.6 million transfers did not fill {rolls} segments of 1 MiB");
}

#[test]
fn a_key_in_a_sealed_segment_replays_byte_for_byte_before_and_after_kill_9() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &["--segment-mib", "1", "--checkpoint-entries", "5000"]);
    let server = Server::start(&place).unwrap();
    let mut client = server.client().unwrap();
    let pair = open_pair(&mut client);
    let body = transfer(&pair, "12.34");
    let refused = transfer(&[pair[0].clone(), pair[0].clone()], "1.00");
    let first = post(&mut client, "/v1/transfers", "kept", &body);
    let refusal = post(&mut client, "/v1/transfers", "refused", &refused);
    assert_eq!((first.status, refusal.status), (201, 422), "{} {}", first.shown(), refusal.shown());
    let check = |client: &mut Client| {
        for (key, body, first) in [("kept", &body, &first), ("refused", &refused, &refusal)] {
            let again = post(client, "/v1/transfers", key, body);
            assert!(again.is_replayed(), "{}", again.shown());
            assert_eq!((again.status, &again.body), (first.status, &first.body), "{}", again.shown());
        }
        let reused = post(client, "/v1/transfers", "kept", &refused);
        assert_eq!((reused.status, reused.code().as_str()), (422, "idempotency_key_reused"));
    };
    roll(&place, &mut client, &pair, 3);
    check(&mut client);
    server.kill9();
    let server = Server::start(&place).unwrap();
    let mut client = server.client().unwrap();
    check(&mut client);
    roll(&place, &mut client, &pair, 2);
    check(&mut client);
    server.kill9();
    place.verify().unwrap();
}

#[test]
fn a_slow_disk_shows_in_server_timing() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &["--sync-delay-ms", "50"]);
    let server = Server::start(&place).unwrap();
    let mut client = server.client().unwrap();
    let pair = open_pair(&mut client);
    for n in 0..5 {
        let answer = post(&mut client, "/v1/transfers", &format!("k{n}"), &transfer(&pair, "1.00"));
        assert_eq!(answer.status, 201, "{}", answer.shown());
        let journal = answer.stage_ms("journal").expect("a write names its journal stage");
        let total = answer.stage_ms("total").expect("every answer names its total");
        assert!(journal >= 50.0 && total >= journal, "{:?}", answer.header("server-timing"));
    }
}

#[test]
fn no_read_under_a_slow_disk_shows_what_a_kill_9_undoes() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place::in_folder(folder.path(), &["--sync-delay-ms", "50"]);
    let mut server = Server::start(&place).unwrap();
    let pair = open_pair(&mut server.client().unwrap());
    let mut waited_ms_max: f64 = 0.0;
    for round in 0..4 {
        let before = debits(&mut server.client().unwrap(), &pair[0]).0;
        let door = &server.door();
        let (seen, shown) = std::thread::scope(|scope| {
            for writer in 0..6 {
                let pair = &pair;
                scope.spawn(move || {
                    let Ok(mut client) = Client::through(door) else { return };
                    for n in 0..1_000 {
                        let key = format!("{round}-{writer}-{n}");
                        let request = Request::post("/v1/transfers", Some(&key), transfer(pair, "1.00"));
                        // The server is killed under the writers; that ends them.
                        if client.call(&request).is_err() {
                            return;
                        }
                    }
                });
            }
            let mut client = server.client().unwrap();
            let mut seen = (before, 0);
            // Readers see several groups of writes, then the process dies the moment that one is shown.
            for _ in 0..100_000 {
                let (now, answer) = debits(&mut client, &pair[0]);
                let total = answer.stage_ms("total").expect("every answer names its total");
                waited_ms_max = waited_ms_max.max(total);
                seen = (now, answer.as_of().expect("a read names its seq"));
                if now >= before + 9_00 {
                    break;
                }
            }
            server.kill9();
            seen
        });
        assert!(seen >= before + 9_00, "the writers wrote nothing: {seen}");
        server = Server::start(&place).unwrap();
        let mut client = server.client().unwrap();
        let status = client.get("/v1/status").unwrap().json();
        let durable: u64 = status["durable_seq"].as_str().and_then(|text| text.parse().ok()).expect("a seq");
        assert!(durable >= shown, "seq {shown} was shown, {durable} is durable");
        assert!(debits(&mut client, &pair[0]).0 >= seen);
    }
    // A read of what lies in the open group waits for the disk: otherwise this test looked at nothing.
    assert!(waited_ms_max >= 20.0, "no read waited: {waited_ms_max} ms");
}
