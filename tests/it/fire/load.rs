//! Recording clients: random orders over shared accounts until the server dies.
//!
//! Promise: every order that was sent is in the record, with what came back or the fact that nothing did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::order::{Item, NewTransfer, Order, Terms};
use super::wire::{Answer, Client, Door};

/// Transfers that orders may name are kept up to here.
const POOL_MAX: usize = 4_000;

/// What all clients share.
#[derive(Debug, Default)]
pub struct Pool {
    pub accounts: Vec<String>,
    holds: Mutex<Vec<Arc<Terms>>>,
    posted: Mutex<Vec<Arc<Terms>>>,
}

impl Pool {
    pub fn new(accounts: Vec<String>) -> Pool {
        Pool { accounts, ..Pool::default() }
    }

    /// Remembers what an answer made.
    pub fn learn(&self, order: &Order, answer: &Answer, rng: &mut SmallRng) {
        for (is_pending, terms) in order.offspring(answer) {
            let list = if is_pending { &self.holds } else { &self.posted };
            let mut list = list.lock().expect("no client panics under the lock");
            if list.len() < POOL_MAX {
                list.push(Arc::new(terms));
            } else {
                let place = rng.random_range(0..list.len());
                list[place] = Arc::new(terms);
            }
        }
    }

    /// Takes a hold; sometimes leaves it, so that two clients race for one.
    fn take(list: &Mutex<Vec<Arc<Terms>>>, rng: &mut SmallRng, leave: bool) -> Option<Arc<Terms>> {
        let mut list = list.lock().expect("no client panics under the lock");
        let place = rng.random_range(0..list.len().max(1));
        if leave || rng.random_ratio(1, 5) {
            list.get(place).cloned()
        } else {
            (place < list.len()).then(|| list.swap_remove(place))
        }
    }

    fn transfer(&self, rng: &mut SmallRng, external_id: String) -> NewTransfer {
        let count = u32::try_from(self.accounts.len()).expect("few accounts");
        let debit = rng.random_range(0..count);
        let credit = (debit + rng.random_range(1..count)) % count;
        let text = if rng.random_ratio(1, 10) { rng.random_range(1..400) } else { 0 };
        let paise = rng.random_range(1..=500_000);
        NewTransfer { debit, credit, paise, external_id, is_pending: rng.random_ratio(1, 4), text }
    }

    fn batch(&self, rng: &mut SmallRng, key: &str) -> Order {
        // One in fifteen is long enough for several blocks of the journal.
        let is_long = rng.random_ratio(1, 15);
        let count = if is_long { rng.random_range(400..900) } else { rng.random_range(2..40) };
        let items = (0..count).map(|n| match rng.random_range(0..10) {
            0 if !is_long => Pool::take(&self.holds, rng, false).map(|hold| {
                let paise = rng.random_range(1..=hold.paise);
                if rng.random() { Item::Post(hold, paise) } else { Item::Void(hold) }
            }),
            _ => {
                let new = self.transfer(rng, format!("{key}-{n}"));
                Some(Item::New(NewTransfer { text: if is_long { 300 } else { new.text }, ..new }))
            }
        });
        let mut items: Vec<Item> = items.flatten().collect();
        // All holds may be gone, and a batch without items is no command.
        if items.is_empty() {
            items.push(Item::New(self.transfer(rng, format!("{key}-only"))));
        }
        Order::Batch { items, is_atomic: rng.random(), is_minimal: rng.random_ratio(1, 3) }
    }

    /// A random order. `key` is new with every call: external ids are made of it.
    pub fn order(&self, rng: &mut SmallRng, key: &str) -> Order {
        let account = rng.random_range(0..u32::try_from(self.accounts.len()).expect("few accounts"));
        let read = |list| Pool::take(list, &mut SmallRng::clone(rng), true);
        let known = read(&self.posted);
        let order = match rng.random_range(0..100) {
            0 => Some(Order::OpenAccount { external_id: key.to_owned() }),
            1..=39 => Some(Order::Transfer(self.transfer(rng, key.to_owned()))),
            40..=47 => Some(self.batch(rng, key)),
            48..=57 => Pool::take(&self.holds, rng, false).map(|hold| {
                let part = rng.random_range(1..=hold.paise);
                let paise = if rng.random() { hold.paise } else { part };
                Order::Post(hold, paise)
            }),
            58..=63 => Pool::take(&self.holds, rng, false).map(Order::Void),
            64..=68 => Pool::take(&self.posted, rng, false).map(Order::Reverse),
            69..=84 => Some(Order::ReadAccount(account)),
            85..=93 => known.map(Order::ReadTransfer),
            94..=98 => Some(Order::Statement(account)),
            _ => Some(Order::TrialBalance),
        };
        order.unwrap_or_else(|| Order::Transfer(self.transfer(rng, key.to_owned())))
    }
}

/// One order and what came of it.
#[derive(Debug)]
pub struct Record {
    pub client: u32,
    pub key: String,
    pub order: Order,
    pub start_ns: u64,
    pub end_ns: u64,
    /// `None`: the server died first, or could not say.
    pub answer: Option<Answer>,
}

/// One recording client.
#[derive(Debug)]
pub struct Recorder<'a> {
    pub number: u32,
    pub door: Door,
    pub pool: &'a Pool,
    /// First part of every key; unique for the outage.
    pub prefix: String,
    pub epoch: Instant,
    pub rng: SmallRng,
    /// Set before the server is struck: from then on a broken connection is no surprise.
    pub is_struck: &'a AtomicBool,
    /// Told when the client ends before that.
    pub surprise: Sender<String>,
}

impl Recorder<'_> {
    /// Sends orders until the connection breaks.
    pub fn run(mut self) -> Vec<Record> {
        let mut records: Vec<Record> = Vec::new();
        let ended = self.go(&mut records);
        if !self.is_struck.load(Ordering::SeqCst) {
            // Nobody listens when another client was first.
            let _ = self.surprise.send(format!("client {}: {ended:?}", self.number));
        }
        records
    }

    fn go(&mut self, records: &mut Vec<Record>) -> Result<(), String> {
        let mut client = Client::through(&self.door).map_err(|error| format!("connect: {error}"))?;
        loop {
            if records.len() > 20 && self.rng.random_ratio(1, 30) {
                let earlier = records.choose(&mut self.rng).expect("there are twenty");
                self.repeat(&mut client, earlier)?;
                continue;
            }
            let key = format!("{}-{}-{}", self.prefix, self.number, records.len());
            let order = self.pool.order(&mut self.rng, &key);
            let request = order.request(&self.pool.accounts, &key);
            let start_ns = self.now();
            let answer = client.call(&request);
            let end_ns = self.now();
            let broke = answer.as_ref().err().map(ToString::to_string);
            // Neither refused nor done: the same key settles it after the restart.
            let answer = answer.ok().filter(|answer| answer.status != 503);
            if let Some(answer) = &answer {
                self.pool.learn(&order, answer, &mut self.rng);
            }
            records.push(Record { client: self.number, key, order, start_ns, end_ns, answer });
            if let Some(error) = broke {
                return Err(error);
            }
        }
    }

    /// An earlier key again: the same bytes, and it says so.
    fn repeat(&self, client: &mut Client, earlier: &Record) -> Result<(), String> {
        let (Some(first), false) = (&earlier.answer, earlier.order.is_read()) else { return Ok(()) };
        let again =
            client.call(&earlier.order.request(&self.pool.accounts, &earlier.key)).map_err(|e| e.to_string())?;
        check_replay(&earlier.key, (first.status, &first.body), &again)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).expect("tests end within 584 years")
    }
}

/// Whether an answer is the earlier one again.
pub fn check_replay(key: &str, first: (u16, &[u8]), again: &Answer) -> Result<(), String> {
    if again.status == 503 || (again.status, again.body.as_slice()) == first && again.is_replayed() {
        return Ok(());
    }
    let first = String::from_utf8_lossy(first.1).chars().take(400).collect::<String>();
    Err(format!("key {key} was answered {first}, then (replayed: {}) {}", again.is_replayed(), again.shown()))
}
