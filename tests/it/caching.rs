//! Caches that are too small for the books: what was written is read, always; and what was hot
//! before a restart is warm after it.
//!
//! `MUNIM_CACHE_OPERATIONS` says how many operations; `.ci/run` asks for a million. The seed is
//! printed, `MUNIM_CACHE_SEED` replays it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use munim::disk::{Disk, FolderDisk};
use munim::domain::ids::Seq;
use munim::engine::clock::SystemTimeSource;
use munim::engine::feed::{EventKinds, Topic};
use munim::engine::history::Reach;
use munim::engine::{Engine, EngineOptions};
use munim::http::Edge;
use serde_json::Value;

use super::http_edge::books_of;

const TASKS: usize = 64;
const ACCOUNTS_EACH: usize = 16;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Small numbers come more often, as customers of a branch do.
    fn skewed(&mut self, bound: usize) -> usize {
        let first = self.below(bound);
        self.below(first + 1)
    }
}

/// What one account must look like.
#[derive(Clone, Debug)]
struct Known {
    id: String,
    name: String,
    posted: i64,
    etag: String,
    is_etag_current: bool,
}

/// One client with accounts of its own: it knows what they must say.
struct Client {
    edge: Arc<Edge>,
    dice: Dice,
    number: usize,
    accounts: Vec<Known>,
    transfers: Vec<(String, i64)>,
    keys: u64,
}

fn rupees(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", minor.abs() / 100, minor.abs() % 100)
}

impl Client {
    async fn send(
        &mut self,
        method: &str,
        path: &str,
        header: Option<(&str, &str)>,
        body: String,
    ) -> (StatusCode, String, Value) {
        self.keys += 1;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("idempotency-key", format!("{}-{}", self.number, self.keys));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body))).expect("a request");
        let (head, body) =
            Arc::clone(&self.edge).handle(request, &Arc::new(munim::http::peer::Peer::local())).await.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let etag = head.headers.get("etag").map_or("", |etag| etag.to_str().expect("ASCII")).to_owned();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        (head.status, etag, json)
    }

    async fn open_accounts(&mut self) {
        for place in 0..ACCOUNTS_EACH {
            let name = format!("Customer {} of client {}", place, self.number);
            let body = format!(r#"{{"name":"{name}","currency":"INR","type":"asset"}}"#);
            let (status, etag, json) = self.send("POST", "/v1/accounts", None, body).await;
            assert_eq!(status, 201, "{json}");
            let id = json["id"].as_str().expect("an id").to_owned();
            assert!(etag.starts_with('"'), "{etag}");
            self.accounts.push(Known { id, name, posted: 0, etag, is_etag_current: true });
        }
    }

    async fn transfer(&mut self) {
        let debit = self.dice.skewed(ACCOUNTS_EACH);
        let credit = (debit + 1 + self.dice.below(ACCOUNTS_EACH - 1)) % ACCOUNTS_EACH;
        let amount = 1 + self.dice.below(100_000) as i64;
        let [from, to] = [debit, credit].map(|place| self.accounts[place].id.clone());
        let body = format!(r#"{{"debit_account":"{from}","credit_account":"{to}","amount":"{}"}}"#, rupees(amount));
        let (status, _, json) = self.send("POST", "/v1/transfers", None, body).await;
        assert_eq!(status, 201, "{json}");
        self.transfers.push((json["id"].as_str().expect("an id").to_owned(), amount));
        for (place, change) in [(debit, amount), (credit, -amount)] {
            self.accounts[place].posted += change;
            self.accounts[place].is_etag_current = false;
        }
    }

    fn check(&mut self, place: usize, etag: String, json: &Value) {
        let known = &mut self.accounts[place];
        assert_eq!(json["balances"]["posted"], rupees(known.posted), "a stale balance of {}", known.id);
        assert_eq!(json["name"], known.name.as_str(), "a stale name of {}", known.id);
        known.etag = etag;
        known.is_etag_current = true;
    }

    async fn read(&mut self) {
        let place = self.dice.skewed(ACCOUNTS_EACH);
        let known = self.accounts[place].clone();
        let path = format!("/v1/accounts/{}", known.id);
        let condition = (self.dice.below(4) == 0).then_some(("if-none-match", known.etag.as_str()));
        let (status, etag, json) = self.send("GET", &path, condition, String::new()).await;
        let is_same = condition.is_some() && known.is_etag_current;
        assert_eq!(status, if is_same { 304 } else { 200 }, "{} with {condition:?}: {json}", known.id);
        if !is_same {
            self.check(place, etag, &json);
        }
    }

    async fn rename(&mut self) {
        let place = self.dice.skewed(ACCOUNTS_EACH);
        let name = format!("Name {} of client {}", self.keys, self.number);
        let path = format!("/v1/accounts/{}", self.accounts[place].id);
        let (status, etag, json) = self.send("PATCH", &path, None, format!(r#"{{"name":"{name}"}}"#)).await;
        assert_eq!(status, 200, "{json}");
        self.accounts[place].name = name;
        self.check(place, etag, &json);
    }

    async fn look_back(&mut self) {
        if self.transfers.is_empty() {
            return;
        }
        // Mostly the newest hundred, now and then any.
        let reach = if self.dice.below(8) == 0 { self.transfers.len() } else { self.transfers.len().min(100) };
        let (id, amount) = self.transfers[self.transfers.len() - 1 - self.dice.below(reach)].clone();
        let (status, _, json) = self.send("GET", &format!("/v1/transfers/{id}"), None, String::new()).await;
        assert_eq!(status, 200, "{json}");
        assert_eq!(json["amount"], rupees(amount));
    }

    async fn statement(&mut self) {
        let place = self.dice.skewed(ACCOUNTS_EACH);
        let path = format!("/v1/accounts/{}/entries?limit=3", self.accounts[place].id);
        let (status, _, json) = self.send("GET", &path, None, String::new()).await;
        assert_eq!(status, 200, "{json}");
        assert_eq!(json["closing"], rupees(self.accounts[place].posted), "a stale statement");
    }

    async fn run(mut self, operations: u64) {
        for _ in 0..operations {
            match self.dice.below(100) {
                0..35 => self.transfer().await,
                35..75 => self.read().await,
                75..82 => self.rename().await,
                82..95 => self.look_back().await,
                _ => self.statement().await,
            }
        }
    }
}

fn small_caches(folder: &std::path::Path) -> EngineOptions {
    EngineOptions {
        block_cache_bytes: 4 << 20,
        text_cache_bytes: 192 << 10,
        hot_set: Some(folder.join("hot-set.txt")),
        ..EngineOptions::default()
    }
}

fn open(folder: &std::path::Path) -> Arc<Engine> {
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder).expect("the folder is free"));
    Engine::start(&disk, &small_caches(folder), Box::new(SystemTimeSource::default())).expect("the books open")
}

#[test]
fn nobody_reads_what_was_overwritten_however_small_the_caches() {
    let seed = number("MUNIM_CACHE_SEED", 0x6d75_6e69_6d01);
    let operations = number("MUNIM_CACHE_OPERATIONS", 20_000);
    println!("MUNIM_CACHE_SEED={seed} MUNIM_CACHE_OPERATIONS={operations}");
    let folder = tempfile::tempdir().expect("a folder");
    let engine = open(folder.path());
    let edge = Edge::new();
    edge.open(books_of(&engine));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let done = AtomicU64::new(0);
    runtime.block_on(async {
        let mut running = Vec::new();
        for number in 0..TASKS {
            let dice = Dice(seed.wrapping_add(number as u64 * 0x9e37_79b9).max(1));
            let edge = Arc::clone(&edge);
            let mut client = Client { edge, dice, number, accounts: Vec::new(), transfers: Vec::new(), keys: 0 };
            running.push(tokio::spawn(async move {
                client.open_accounts().await;
                client.run(operations / TASKS as u64).await;
            }));
        }
        for client in running {
            client.await.expect("no client saw anything stale");
            done.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), TASKS as u64);
    let [blocks, texts, _] = engine.core().cache_states();
    println!("{blocks:?}\n{texts:?}");
    for cache in [blocks, texts] {
        let share = cache.hits as f64 / (cache.hits + cache.misses).max(1) as f64;
        assert!(share >= 0.5, "{}: {:.1} % hits", cache.name, share * 100.0);
    }
    if operations >= 1_000_000 {
        assert!(blocks.evictions > 0 && texts.evictions > 0, "the caches were too large to prove anything");
    }
    engine.shut_down();
}

#[test]
fn what_was_hot_before_a_restart_is_warm_after_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    let engine = open(folder.path());
    let edge = Edge::new();
    edge.open(books_of(&engine));
    let mut client = Client { edge, dice: Dice(7), number: 0, accounts: Vec::new(), transfers: Vec::new(), keys: 0 };
    runtime.block_on(async {
        client.open_accounts().await;
        for _ in 0..100 {
            client.transfer().await;
        }
    });
    engine.shut_down();
    drop(client.edge);
    drop(engine);
    let engine = open(folder.path());
    assert!(engine.core().warm() > 0, "something was hot");
    let before = engine.core().cache_states();
    let edge = Edge::new();
    edge.open(books_of(&engine));
    client.edge = edge;
    runtime.block_on(async {
        for _ in 0..200 {
            client.read().await;
            client.look_back().await;
        }
    });
    let after = engine.core().cache_states();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after.misses, before.misses, "{}: a read waited for the disk", after.name);
    }
    engine.shut_down();
    drop(client.edge);
    drop(engine);
    // A hint that makes no sense is no trouble.
    std::fs::write(folder.path().join("hot-set.txt"), "munim-hot 1\nb 99999999\nt 1\nb 0\n").expect("written");
    let engine = open(folder.path());
    engine.core().warm();
    engine.shut_down();
}

/// Whoever follows the books sees everything once: what others read stays in the cache instead.
#[test]
fn who_follows_does_not_fill_the_cache_of_what_is_read() {
    const CACHE: u64 = 1 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).expect("the folder is free"));
    let options = EngineOptions { block_cache_bytes: CACHE, ..EngineOptions::default() };
    let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).expect("the books open");
    let edge = Edge::new();
    edge.open(books_of(&engine));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    let mut client = Client { edge, dice: Dice(7), number: 0, accounts: Vec::new(), transfers: Vec::new(), keys: 0 };
    let everything = Topic::of(EventKinds::all());
    let follow = |after: Seq| {
        let page = engine.core().feed(after, &everything, usize::MAX, u64::MAX, Reach::Disk);
        page.expect("the journal is there").through
    };
    let mut seen = Seq::NONE;
    runtime.block_on(async {
        client.open_accounts().await;
        for _ in 0..100 {
            for _ in 0..15 {
                client.transfer().await;
            }
            let through = follow(seen);
            assert!(through.0 >= seen.0 + 15, "a follower sees what was answered");
            seen = through;
        }
    });
    let [blocks, ..] = engine.core().cache_states();
    assert_eq!(blocks.misses, 0, "a follower who keeps up never waits for the disk");
    // An eighth is for the newest; what the cache counts lags by a few dozen blocks.
    assert!(blocks.weight_bytes <= CACHE / 8 + CACHE / 16, "{} bytes are kept for a follower", blocks.weight_bytes);
    // All of it would not have fitted there: read from the start, most comes from the disk.
    follow(Seq::NONE);
    let [blocks, ..] = engine.core().cache_states();
    assert!(blocks.misses > 100, "{} blocks had left", blocks.misses);
    engine.shut_down();
}
