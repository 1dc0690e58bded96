//! One data folder through many outages.
//!
//! Promise: [`Life::outage`] returns only when everything that was answered before the outage has been found
//! again after it, and everything else has been settled.
//!
//! 1. Recording clients load the server; at a random moment it is struck.
//! 2. It is started again; now and then it is struck in the middle of that, and started once more.
//! 3. `durable_seq` must not be below anything that was ever shown.
//! 4. Every acknowledged command of this outage, and a sample of all earlier ones, answers the same bytes again.
//!    Every unacknowledged command is sent again with its key: it was whole (a replay) or not at all (done now).
//! 5. The history of all clients goes through the linear checker.
//! 6. All accounts are compared with the sum of the facts: a half command would show here.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::books::Books;
use super::history::{self, Call, Known};
use super::load::{Pool, Record, Recorder, check_replay};
use super::order::{Order, paise};
use super::server::{Place, Server};
use super::wire::{Answer, Client, Request};

/// Accounts under fire: few, so that clients collide.
const ACCOUNTS: u32 = 24;
/// Recording clients.
const CLIENTS: u32 = 12;
/// Connections that ask again after a restart.
const ASKERS: usize = 8;
/// Commands of earlier outages that are asked for again after each one.
const OLD_SAMPLE: usize = 300;
/// Commands of earlier outages that are kept for that.
const OLD_MAX: usize = 20_000;

/// A way to die.
pub trait Outage {
    /// Ends the server; afterwards its folder is as the outage left it.
    fn strike(&mut self, server: Server) -> Result<(), String>;
}

/// SIGKILL: the process is gone, the page cache is not.
#[derive(Debug)]
pub struct Kill9;

impl Outage for Kill9 {
    fn strike(&mut self, server: Server) -> Result<(), String> {
        server.kill9();
        Ok(())
    }
}

/// An answered command of an earlier outage.
#[derive(Debug)]
struct Old {
    request: Request,
    status: u16,
    /// Hash of the body: the bytes of all answers would fill the memory.
    hash: blake3::Hash,
}

/// How long the clients may load the server before an outage.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub load_ms_min: u64,
    pub load_ms_max: u64,
}

/// What the outages of a life covered.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub outages: u64,
    pub struck_in_recovery: u64,
    pub acknowledged: u64,
    pub reads: u64,
    pub in_flight: u64,
    /// Of those in flight: found whole after the restart.
    pub survived: u64,
    pub replayed: u64,
    pub segments: usize,
}

/// The life of one data folder.
#[derive(Debug)]
pub struct Life {
    place: Place,
    server: Option<Server>,
    pool: Pool,
    books: Books,
    known: Known,
    old: Vec<Old>,
    rng: SmallRng,
    epoch: Instant,
    pace: Pace,
    pub tally: Tally,
}

impl Life {
    /// Starts the server and opens the accounts.
    pub fn begin(place: Place, pace: Pace, seed: u64) -> Result<Life, String> {
        let server = Server::start(&place)?;
        let mut client = server.client()?;
        let mut accounts = Vec::new();
        for n in 0..ACCOUNTS {
            // The last four refuse to be overdrawn: refusals are answers too.
            let (kind, rule) = match n {
                0..10 => ("asset", "none"),
                10..20 => ("liability", "none"),
                _ => ("liability", "no_debit_balance"),
            };
            let body = serde_json::json!({"external_id": format!("FIRE-{n}"), "name": "Drawer", "currency": "INR",
                "type": kind, "code": 1000 + n % 5, "balance_rule": rule});
            let request = Request::post("/v1/accounts", Some(&format!("open-{n}")), body.to_string());
            let answer = client.call(&request).map_err(|error| error.to_string())?;
            let id = answer.json()["id"].as_str().ok_or_else(|| answer.shown())?.to_owned();
            accounts.push(id);
        }
        let books = Books::new(accounts.len());
        Ok(Life {
            place,
            server: Some(server),
            pool: Pool::new(accounts),
            books,
            known: Known::default(),
            old: Vec::new(),
            rng: SmallRng::seed_from_u64(seed),
            epoch: Instant::now(),
            pace,
            tally: Tally::default(),
        })
    }

    /// One outage under load, and everything that must hold after it.
    pub fn outage(&mut self, outage: &mut dyn Outage) -> Result<(), String> {
        let server = match self.server.take() {
            Some(server) => server,
            None => Server::start(&self.place)?,
        };
        let mut records = self.load(server, outage)?;
        self.tally.outages += 1;
        let server = self.restart(outage)?;
        let mut client = server.client()?;
        let status = client.get("/v1/status").map_err(|error| format!("status: {error}"))?;
        let durable: u64 = status.json()["durable_seq"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
        let shown = records.iter().filter_map(|record| record.answer.as_ref()?.as_of()).max().unwrap_or(0);
        let shown = shown.max(self.known.revealed);
        if durable < shown {
            return Err(format!("seq {shown} was shown before the outage, durable_seq is {durable} after it"));
        }
        self.ask_again(&server, &mut records)?;
        self.check_history(&records)?;
        for record in &records {
            let Some(answer) = &record.answer else { continue };
            for fact in record.order.facts(&self.pool.accounts, answer)? {
                self.books.add(&fact)?;
            }
        }
        self.books.compare(&mut client, &self.pool.accounts)?;
        self.look_up(&mut client, &records)?;
        self.keep(records);
        self.tally.segments = self.place.segments();
        self.server = Some(server);
        Ok(())
    }

    /// Dies once more, and lets `munim verify` look at what is left.
    pub fn finish(mut self) -> Result<(Tally, String), String> {
        if let Some(server) = self.server.take() {
            server.kill9();
        }
        let said = self.place.verify()?;
        let alarms = self.place.alarms();
        if !alarms.is_empty() {
            return Err(format!("the log has {alarms:#?}"));
        }
        Ok((self.tally, said))
    }

    fn load(&mut self, server: Server, outage: &mut dyn Outage) -> Result<Vec<Record>, String> {
        let is_struck = AtomicBool::new(false);
        let (surprise, surprises) = mpsc::channel();
        let (door, epoch, pool) = (server.door(), self.epoch, &self.pool);
        let pause = Duration::from_millis(self.rng.random_range(self.pace.load_ms_min..=self.pace.load_ms_max));
        let outage_number = self.tally.outages;
        std::thread::scope(|scope| {
            let mut clients = Vec::new();
            for number in 0..CLIENTS {
                let recorder = Recorder {
                    number,
                    door: door.clone(),
                    pool,
                    prefix: format!("o{outage_number}"),
                    epoch,
                    rng: SmallRng::from_rng(&mut self.rng),
                    is_struck: &is_struck,
                    surprise: surprise.clone(),
                };
                clients.push(scope.spawn(move || recorder.run()));
            }
            // A surprise ends the load early; silence is what we want.
            let surprised = surprises.recv_timeout(pause).ok();
            is_struck.store(true, Ordering::SeqCst);
            let struck = outage.strike(server);
            let records = clients.into_iter().flat_map(|client| client.join().expect("a client does not panic"));
            let records: Vec<Record> = records.collect();
            struck?;
            surprised.map_or(Ok(records), Err)
        })
    }

    /// Starts the server again; one time in three it dies first while it recovers.
    fn restart(&mut self, outage: &mut dyn Outage) -> Result<Server, String> {
        while self.rng.random_ratio(1, 3) {
            let starting = Server::spawn(&self.place)?;
            std::thread::park_timeout(Duration::from_micros(self.rng.random_range(500..60_000)));
            outage.strike(starting)?;
            self.tally.struck_in_recovery += 1;
        }
        Server::start(&self.place)
    }

    /// Step 4: everything again, over several connections. The unanswered get their answer.
    fn ask_again(&mut self, server: &Server, records: &mut [Record]) -> Result<(), String> {
        self.old.shuffle(&mut self.rng);
        let old = &self.old[..self.old.len().min(OLD_SAMPLE)];
        let accounts = &self.pool.accounts;
        let tally = Mutex::new(Tally::default());
        let (share, old_share) = (records.len().div_ceil(ASKERS).max(1), old.len().div_ceil(ASKERS).max(1));
        let (epoch, door) = (self.epoch, &server.door());
        let connect = move || Client::through(door).map_err(|error| format!("connect: {error}"));
        std::thread::scope(|scope| {
            let mut askers = Vec::new();
            for part in records.chunks_mut(share) {
                let tally = &tally;
                askers.push(scope.spawn(move || {
                    let mut client = connect()?;
                    let mut mine = Tally::default();
                    for record in part.iter_mut().filter(|record| !record.order.is_read()) {
                        settle(&mut client, accounts, record, epoch, &mut mine)?;
                    }
                    let mut all = tally.lock().expect("no asker panics under the lock");
                    all.replayed += mine.replayed;
                    all.in_flight += mine.in_flight;
                    all.survived += mine.survived;
                    Ok(())
                }));
            }
            for part in old.chunks(old_share) {
                askers.push(scope.spawn(move || {
                    let mut client = connect()?;
                    part.iter().try_for_each(|old| ask_old(&mut client, old))
                }));
            }
            askers.into_iter().try_for_each(|asker| asker.join().expect("an asker does not panic"))
        })?;
        let all = tally.into_inner().expect("no asker panicked");
        self.tally.replayed += all.replayed + old.len() as u64;
        self.tally.in_flight += all.in_flight;
        self.tally.survived += all.survived;
        Ok(())
    }

    fn check_history(&mut self, records: &[Record]) -> Result<(), String> {
        let calls: Vec<Call> = records.iter().filter_map(call_of).collect();
        history::check(&mut self.known, &calls).inspect_err(|_| {
            let lines: Vec<String> = calls.iter().map(Call::line).collect();
            // The message is what matters; the file is a convenience.
            let _ = std::fs::write(self.place.aside.join("history.ndjson"), lines.join("\n"));
        })
    }

    /// Transfers of a sample of the records can be read and are what was asked for.
    fn look_up(&mut self, client: &mut Client, records: &[Record]) -> Result<(), String> {
        for record in records {
            let Some(answer) = &record.answer else { continue };
            let is_looked_at = self.rng.random_ratio(1, 4);
            for (_, terms) in record.order.offspring(answer).into_iter().filter(|_| is_looked_at) {
                let read = Order::ReadTransfer(terms.into());
                let again = client.call(&read.request(&self.pool.accounts, "")).map_err(|error| error.to_string())?;
                read.facts(&self.pool.accounts, &again)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, records: Vec<Record>) {
        for record in records {
            let Some(answer) = record.answer else { continue };
            if record.order.is_read() {
                self.tally.reads += 1;
                continue;
            }
            self.tally.acknowledged += 1;
            let request = record.order.request(&self.pool.accounts, &record.key);
            let old = Old { request, status: answer.status, hash: blake3::hash(&answer.body) };
            if self.old.len() < OLD_MAX {
                self.old.push(old);
            } else {
                let place = self.rng.random_range(0..OLD_MAX);
                self.old[place] = old;
            }
        }
    }
}

/// Sends one command again: what was answered must be answered again, what was not is answered now.
fn settle(
    client: &mut Client,
    accounts: &[String],
    record: &mut Record,
    epoch: Instant,
    tally: &mut Tally,
) -> Result<(), String> {
    let request = record.order.request(accounts, &record.key);
    let again = client.call(&request).map_err(|error| format!("asking again: {error}"))?;
    if again.status == 503 {
        return Err(format!("key {} after the restart: {}", record.key, again.shown()));
    }
    if let Some(first) = &record.answer {
        tally.replayed += 1;
        return check_replay(&record.key, (first.status, &first.body), &again);
    }
    tally.in_flight += 1;
    tally.survived += u64::from(again.is_replayed());
    // What was done before the outage was done after `start_ns`; what is done now, too.
    record.end_ns = u64::try_from(epoch.elapsed().as_nanos()).expect("tests end within 584 years");
    record.answer = Some(again);
    Ok(())
}

fn ask_old(client: &mut Client, old: &Old) -> Result<(), String> {
    let again = client.call(&old.request).map_err(|error| format!("asking again: {error}"))?;
    let is_same = again.status == old.status && blake3::hash(&again.body) == old.hash && again.is_replayed();
    if is_same { Ok(()) } else { Err(format!("{:?} was answered otherwise once: {}", old.request.key, again.shown())) }
}

fn call_of(record: &Record) -> Option<Call> {
    let answer: &Answer = record.answer.as_ref()?;
    let wrote = record.order.wrote(answer);
    let shown = match record.order {
        Order::ReadAccount(account) => {
            let balances = &answer.json()["balances"];
            let sum = |name: &str| paise(&balances[name]).and_then(|sum| u64::try_from(sum).ok());
            Some((account, sum("debits_posted")?, sum("credits_posted")?))
        }
        _ => None,
    };
    Some(Call {
        client: record.client,
        key: record.key.clone(),
        start_ns: record.start_ns,
        end_ns: record.end_ns,
        status: answer.status,
        wrote: wrote.as_ref().map(|(seq, _)| *seq),
        as_of: answer.as_of().unwrap_or(0),
        moved: wrote.map(|(_, moved)| moved).unwrap_or_default(),
        shown,
    })
}
