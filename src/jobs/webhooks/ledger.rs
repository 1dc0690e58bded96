//! Where each endpoint is in the journal, what it is still owed, and how the last attempts went.
//!
//! Everything up to an endpoint's **position** was either taken by it or is **owed** to it: never a row per event
//! and endpoint, only for what failed or is on its way. All of it is in memory; what changed goes to a file of its
//! own twice a second, in one transaction, from a thread that may wait.
//!
//! Promise: what the file forgets in a power cut is sent again, with the same id; nothing is ever left out, since a
//! position is written no later than what it owes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::config::{WEBHOOK_ATTEMPTS_KEPT, WEBHOOK_DEAD_MAX, WEBHOOK_LEDGER_CACHE_BYTES, WEBHOOK_LEDGER_PAUSE};
use crate::domain::ids::Seq;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const POSITIONS: TableDefinition<u32, u64> = TableDefinition::new("positions");
const OWED: TableDefinition<(u32, u64), &[u8]> = TableDefinition::new("owed");
const FORMAT: u64 = 1;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file, or the disk.
    #[error("the file of deliveries: {0}")]
    File(String),
    /// Another version wrote it.
    #[error(
        "the file of deliveries has format {0}, and this version knows {FORMAT}: remove it, and what it owes is sent again from each endpoint's beginning"
    )]
    Format(u64),
}

fn file(error: impl std::fmt::Display) -> LedgerError {
    LedgerError::File(error.to_string())
}

/// What is owed to an endpoint: an event that it has not taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owed {
    /// Attempts that were made.
    pub attempts: u16,
    /// Not before, microseconds since 1970.
    pub next_at: i64,
    /// No more attempts are made by themselves.
    pub is_dead: bool,
    /// When the last one was, 0 before the first.
    pub last_at: i64,
    /// Status of the last answer, 0 when there was none.
    pub status: u16,
    /// What was wrong.
    pub error: String,
    /// Which time it is owed; an attempt that began for an earlier one settles nothing.
    #[serde(skip)]
    pub turn: u64,
}

/// An event that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub seq: Seq,
    /// Attempts that were made.
    pub attempts: u16,
    /// Which time it is owed.
    pub turn: u64,
}

/// An attempt that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Of which event.
    pub seq: Seq,
    /// Which time it was owed then.
    pub turn: u64,
    /// When it began, microseconds since 1970.
    pub at: i64,
    /// How often it had been tried with it.
    pub attempt: u16,
    /// Status of the answer, 0 when there was none.
    pub status: u16,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// What was wrong; empty for one that was taken.
    pub error: String,
    /// The beginning of what the receiver said.
    pub said: String,
}

/// One endpoint's. What is dead is kept apart, and what is alive is in the order of time as well: a receiver that is
/// ill is owed thousands, and its courier asks what is due whenever anything happens.
#[derive(Debug, Default)]
struct Account {
    position: Seq,
    /// Alive, by event.
    owed: BTreeMap<u64, Owed>,
    /// The same, by when it may be tried next.
    waiting: BTreeSet<(i64, u64)>,
    /// Tried no more, by event.
    dead: BTreeMap<u64, Owed>,
    attempts: VecDeque<Attempt>,
    taken: u64,
    failed: u64,
    /// Times that events were owed.
    turns: u64,
}

impl Account {
    /// Owes an event from now on, whatever became of it before.
    fn owe(&mut self, seq: u64, owed: Owed) {
        self.turns += 1;
        let turn = self.turns;
        self.put(seq, Owed { turn, ..owed });
    }

    /// Puts an event where it belongs, in place of what was known of it.
    fn put(&mut self, seq: u64, owed: Owed) {
        self.remove(seq);
        if owed.is_dead {
            self.dead.insert(seq, owed);
        } else {
            self.waiting.insert((owed.next_at, seq));
            self.owed.insert(seq, owed);
        }
    }

    /// What is owed or dead.
    fn get(&self, seq: u64) -> Option<&Owed> {
        self.owed.get(&seq).or_else(|| self.dead.get(&seq))
    }

    /// What is owed, if it is what an attempt began for.
    fn owed_at(&self, seq: Seq, turn: u64) -> Option<&Owed> {
        self.get(seq.0).filter(|owed| owed.turn == turn)
    }

    fn remove(&mut self, seq: u64) -> Option<Owed> {
        if let Some(owed) = self.owed.remove(&seq) {
            self.waiting.remove(&(owed.next_at, seq));
            return Some(owed);
        }
        self.dead.remove(&seq)
    }
}

#[derive(Debug, Default)]
struct Books {
    accounts: BTreeMap<u32, Account>,
    /// What the file does not have yet.
    changed: BTreeSet<u32>,
    changed_owed: BTreeSet<(u32, u64)>,
}

/// An endpoint as it stands with us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Everything up to here was taken or is owed.
    pub position: Seq,
    /// Events that wait for another attempt, or are on their way.
    pub owed: usize,
    /// Events that are tried no more.
    pub dead: usize,
    /// Taken since the process began.
    pub taken: u64,
    /// Attempts that failed since the process began.
    pub failed: u64,
    /// The last attempt.
    pub last: Option<Attempt>,
}

/// All endpoints'.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    /// Guards what is owed; held to look or to change, never over a write.
    books: Mutex<Books>,
    ends: AtomicBool,
    /// Guards nothing but the writer's sleep.
    sleep: Mutex<()>,
    bell: Condvar,
}

impl Ledger {
    /// Opens the file, or makes it; without one, what is known ends with the process.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(path: Option<&Path>) -> Result<Ledger, LedgerError> {
        let mut builder = Database::builder();
        builder.set_cache_size(WEBHOOK_LEDGER_CACHE_BYTES);
        let database = match path {
            Some(path) => builder.create(path),
            None => builder.create_with_backend(InMemoryBackend::new()),
        };
        let database = database.map_err(file)?;
        let books = load(&database)?;
        let shared = Arc::new(Shared {
            books: Mutex::new(books),
            ends: AtomicBool::new(false),
            sleep: Mutex::new(()),
            bell: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let writer = thread::Builder::new().name("deliveries".into()).spawn(move || write_on(&database, &theirs));
        Ok(Ledger { shared, writer: Mutex::new(Some(writer.map_err(file)?)) })
    }

    /// Where an endpoint is; `None` for one that was never sent anything.
    #[must_use]
    pub fn position(&self, endpoint: u32) -> Option<Seq> {
        self.shared.books.lock().accounts.get(&endpoint).map(|account| account.position)
    }

    /// An endpoint begins behind an entry, or begins again there: what it was owed from there on comes anew.
    pub fn begin(&self, endpoint: u32, after: Seq) {
        let mut books = self.shared.books.lock();
        let account = books.accounts.entry(endpoint).or_default();
        account.position = after;
        let later = after.0 + 1;
        let again: Vec<u64> =
            account.owed.range(later..).chain(account.dead.range(later..)).map(|(seq, _)| *seq).collect();
        for seq in &again {
            account.remove(*seq);
        }
        books.changed.insert(endpoint);
        books.changed_owed.extend(again.into_iter().map(|seq| (endpoint, seq)));
    }

    /// An endpoint has come so far; these events on the way are owed to it now.
    pub fn advance(&self, endpoint: u32, through: Seq, events: &[Seq], now: i64) {
        let mut books = self.shared.books.lock();
        let account = books.accounts.entry(endpoint).or_default();
        account.position = through;
        for seq in events {
            account.owe(seq.0, Owed { next_at: now, ..Owed::default() });
        }
        books.changed.insert(endpoint);
        books.changed_owed.extend(events.iter().map(|seq| (endpoint, seq.0)));
    }

    /// An endpoint has taken an event.
    pub fn taken(&self, endpoint: u32, attempt: Attempt) {
        let mut books = self.shared.books.lock();
        let account = books.accounts.entry(endpoint).or_default();
        let seq = attempt.seq.0;
        // One that is owed again meanwhile (the endpoint began again) is sent again.
        if account.owed_at(attempt.seq, attempt.turn).is_some() {
            account.remove(seq);
        }
        account.taken += 1;
        keep(account, attempt);
        books.changed_owed.insert((endpoint, seq));
    }

    /// An attempt failed; the next one is then, or never.
    pub fn failed(&self, endpoint: u32, attempt: Attempt, next_at: Option<i64>) {
        let mut books = self.shared.books.lock();
        let account = books.accounts.entry(endpoint).or_default();
        let seq = attempt.seq.0;
        // One that was taken away meanwhile (the endpoint began again) is owed no more.
        if let Some(owed) = account.owed_at(attempt.seq, attempt.turn) {
            let owed = Owed {
                attempts: attempt.attempt,
                last_at: attempt.at,
                status: attempt.status,
                error: attempt.error.clone(),
                next_at: next_at.unwrap_or(0),
                is_dead: next_at.is_none(),
                turn: owed.turn,
            };
            account.put(seq, owed);
        }
        let gone = (account.dead.len() > WEBHOOK_DEAD_MAX).then(|| account.dead.pop_first()).flatten();
        if let Some((gone, _)) = gone {
            books.changed_owed.insert((endpoint, gone));
            tracing::warn!(endpoint, seq = gone, "a dead letter is forgotten: there are too many");
        }
        let account = books.accounts.entry(endpoint).or_default();
        account.failed += 1;
        keep(account, attempt);
        books.changed_owed.insert((endpoint, seq));
    }

    /// An attempt was not made; it may be then.
    pub fn put_off(&self, endpoint: u32, seq: Seq, turn: u64, next_at: i64) {
        let mut books = self.shared.books.lock();
        let Some(account) = books.accounts.get_mut(&endpoint) else { return };
        if let Some(owed) = account.owed_at(seq, turn).cloned() {
            account.put(seq.0, Owed { next_at, ..owed });
        }
    }

    /// An event is tried again at once, with all its attempts before it; false when it is not owed.
    pub fn revive(&self, endpoint: u32, seq: Seq, now: i64) -> bool {
        let mut books = self.shared.books.lock();
        let Some(account) = books.accounts.get_mut(&endpoint) else { return false };
        let Some(last_at) = account.get(seq.0).map(|owed| owed.last_at) else { return false };
        account.owe(seq.0, Owed { next_at: now, last_at, ..Owed::default() });
        books.changed_owed.insert((endpoint, seq.0));
        true
    }

    /// An event is owed (again), whether it was taken or not.
    pub fn owe(&self, endpoint: u32, seq: Seq, now: i64) {
        let mut books = self.shared.books.lock();
        let account = books.accounts.entry(endpoint).or_default();
        account.owe(seq.0, Owed { next_at: now, ..Owed::default() });
        books.changed_owed.insert((endpoint, seq.0));
    }

    /// What waits is tried at once: the receiver is well again. Spread over a few seconds, so that it stays so.
    pub fn hurry(&self, endpoint: u32, now: i64) {
        let mut books = self.shared.books.lock();
        let Some(account) = books.accounts.get_mut(&endpoint) else { return };
        let waiting: Vec<u64> =
            account.owed.iter().filter(|(_, owed)| owed.next_at > now).map(|(seq, _)| *seq).collect();
        for (place, seq) in waiting.into_iter().enumerate() {
            let Some(owed) = account.owed.get(&seq).cloned() else { continue };
            let next_at = owed.next_at.min(now + place as i64 * 5_000);
            account.put(seq, Owed { next_at, ..owed });
        }
    }

    /// Events that are due, those that have been for longest first, of which none is in `running`; and when the next
    /// one will be.
    #[must_use]
    pub fn due(&self, endpoint: u32, running: &BTreeSet<Seq>, now: i64, max: usize) -> (Vec<Due>, Option<i64>) {
        let books = self.shared.books.lock();
        let Some(account) = books.accounts.get(&endpoint) else { return (Vec::new(), None) };
        let is_free = |seq: &u64| !running.contains(&Seq(*seq));
        let due = account.waiting.range(..=(now, u64::MAX)).map(|(_, seq)| seq).filter(|seq| is_free(seq)).take(max);
        let due = due.filter_map(|seq| account.owed.get(seq).map(|owed| (*seq, owed)));
        let due = due.map(|(seq, owed)| Due { seq: Seq(seq), attempts: owed.attempts, turn: owed.turn }).collect();
        let next = account.waiting.range((now, u64::MAX)..).find(|(at, seq)| *at > now && is_free(seq));
        (due, next.map(|(at, _)| *at))
    }

    /// The oldest event that is owed and not dead, if it is due and not on its way; and when it will be, if it waits.
    #[must_use]
    pub fn oldest_due(&self, endpoint: u32, running: &BTreeSet<Seq>, now: i64) -> (Option<Due>, Option<i64>) {
        let books = self.shared.books.lock();
        let oldest = books.accounts.get(&endpoint).and_then(|account| account.owed.first_key_value());
        match oldest {
            Some((seq, _)) if running.contains(&Seq(*seq)) => (None, None),
            Some((_, owed)) if owed.next_at > now => (None, Some(owed.next_at)),
            Some((seq, owed)) => (Some(Due { seq: Seq(*seq), attempts: owed.attempts, turn: owed.turn }), None),
            None => (None, None),
        }
    }

    /// How an endpoint stands.
    #[must_use]
    pub fn standing(&self, endpoint: u32) -> Standing {
        let books = self.shared.books.lock();
        let Some(account) = books.accounts.get(&endpoint) else { return Standing::default() };
        Standing {
            position: account.position,
            owed: account.owed.len(),
            dead: account.dead.len(),
            taken: account.taken,
            failed: account.failed,
            last: account.attempts.back().cloned(),
        }
    }

    /// What is owed or dead, the newest first, below an entry.
    #[must_use]
    pub fn owed(&self, endpoint: u32, below: Option<Seq>, max: usize) -> Vec<(Seq, Owed)> {
        let books = self.shared.books.lock();
        let Some(account) = books.accounts.get(&endpoint) else { return Vec::new() };
        let below = below.map_or(u64::MAX, |below| below.0);
        let newest = |of: &BTreeMap<u64, Owed>| -> Vec<(Seq, Owed)> {
            of.range(..below).rev().take(max).map(|(seq, owed)| (Seq(*seq), owed.clone())).collect()
        };
        let mut rows = newest(&account.owed);
        rows.append(&mut newest(&account.dead));
        rows.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
        rows.truncate(max);
        rows
    }

    /// The last attempts, the newest first.
    #[must_use]
    pub fn attempts(&self, endpoint: u32) -> Vec<Attempt> {
        let books = self.shared.books.lock();
        books
            .accounts
            .get(&endpoint)
            .map(|account| account.attempts.iter().rev().cloned().collect())
            .unwrap_or_default()
    }

    /// Writes what changed, and ends.
    pub fn close(&self) {
        self.shared.ends.store(true, Ordering::Release);
        self.shared.bell.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that broke off has said so.
            let _ = writer.join();
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.close();
    }
}

fn keep(account: &mut Account, attempt: Attempt) {
    if account.attempts.len() >= WEBHOOK_ATTEMPTS_KEPT {
        account.attempts.pop_front();
    }
    account.attempts.push_back(attempt);
}

fn load(database: &Database) -> Result<Books, LedgerError> {
    let write = database.begin_write().map_err(file)?;
    {
        let mut meta = write.open_table(META).map_err(file)?;
        let format = meta.get("format").map_err(file)?.map(|format| format.value());
        match format {
            None => {
                meta.insert("format", FORMAT).map_err(file)?;
            }
            Some(FORMAT) => {}
            Some(other) => return Err(LedgerError::Format(other)),
        }
        write.open_table(POSITIONS).map_err(file)?;
        write.open_table(OWED).map_err(file)?;
    }
    write.commit().map_err(file)?;
    let mut books = Books::default();
    let read = database.begin_read().map_err(file)?;
    for row in read.open_table(POSITIONS).map_err(file)?.iter().map_err(file)? {
        let (endpoint, position) = row.map_err(file)?;
        books.accounts.entry(endpoint.value()).or_default().position = Seq(position.value());
    }
    for row in read.open_table(OWED).map_err(file)?.iter().map_err(file)? {
        let (place, owed) = row.map_err(file)?;
        let (endpoint, seq) = place.value();
        // A row that is not understood is one that is tried at once: better twice than never.
        let owed = serde_json::from_slice(owed.value()).unwrap_or_default();
        books.accounts.entry(endpoint).or_default().put(seq, owed);
    }
    Ok(books)
}

/// The thread that writes.
fn write_on(database: &Database, shared: &Shared) {
    loop {
        let ends = shared.ends.load(Ordering::Acquire);
        if let Err(error) = write_once(database, shared) {
            // What is in memory goes on; after a restart more is sent again.
            tracing::error!(%error, "deliveries could not be written down");
        }
        if ends {
            return;
        }
        let mut sleep = shared.sleep.lock();
        if !shared.ends.load(Ordering::Acquire) {
            shared.bell.wait_for(&mut sleep, WEBHOOK_LEDGER_PAUSE);
        }
    }
}

/// What is to be written of each endpoint, and of each event that it is or was owed.
type Changes = (Vec<(u32, u64)>, Vec<((u32, u64), Option<Owed>)>);

fn write_once(database: &Database, shared: &Shared) -> Result<(), LedgerError> {
    let Some(changes) = changes_of(shared) else { return Ok(()) };
    let written = write_changes(database, &changes);
    if written.is_err() {
        // The next time, with what came meanwhile.
        let mut books = shared.books.lock();
        books.changed.extend(changes.0.iter().map(|(endpoint, _)| *endpoint));
        books.changed_owed.extend(changes.1.iter().map(|(place, _)| *place));
    }
    written
}

fn changes_of(shared: &Shared) -> Option<Changes> {
    let mut books = shared.books.lock();
    let changed = std::mem::take(&mut books.changed);
    let changed_owed = std::mem::take(&mut books.changed_owed);
    if changed.is_empty() && changed_owed.is_empty() {
        return None;
    }
    let account = |endpoint: &u32| books.accounts.get(endpoint);
    let positions: Vec<(u32, u64)> =
        changed.iter().filter_map(|endpoint| Some((*endpoint, account(endpoint)?.position.0))).collect();
    let owed: Vec<((u32, u64), Option<Owed>)> = changed_owed
        .iter()
        .map(|place| (*place, account(&place.0).and_then(|account| account.get(place.1).cloned())))
        .collect();
    Some((positions, owed))
}

fn write_changes(database: &Database, (positions, owed): &Changes) -> Result<(), LedgerError> {
    let write = database.begin_write().map_err(file)?;
    {
        let mut table = write.open_table(OWED).map_err(file)?;
        for (place, owed) in owed {
            match owed {
                Some(owed) => {
                    let bytes = serde_json::to_vec(&owed).map_err(file)?;
                    table.insert(*place, bytes.as_slice()).map_err(file)?;
                }
                None => {
                    table.remove(*place).map_err(file)?;
                }
            }
        }
        let mut table = write.open_table(POSITIONS).map_err(file)?;
        for (endpoint, position) in positions {
            table.insert(*endpoint, *position).map_err(file)?;
        }
    }
    write.commit().map_err(file)
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// An attempt with what is owed now.
    fn attempt(ledger: &Ledger, seq: u64, attempt: u16) -> Attempt {
        let error = "x".to_owned();
        let turn = ledger.owed(1, Some(Seq(seq + 1)), 1).first().map_or(0, |(_, owed)| owed.turn);
        Attempt { seq: Seq(seq), turn, at: 5, attempt, status: 500, took_us: 1, error, said: String::new() }
    }

    fn due(ledger: &Ledger, running: &[u64], now: i64) -> (Vec<(u64, u16)>, Option<i64>) {
        let (due, next) = ledger.due(1, &running.iter().copied().map(Seq).collect(), now, 9);
        (due.into_iter().map(|due| (due.seq.0, due.attempts)).collect(), next)
    }

    fn oldest_due(ledger: &Ledger, running: &[u64], now: i64) -> (Option<u64>, Option<i64>) {
        let (due, next) = ledger.oldest_due(1, &running.iter().copied().map(Seq).collect(), now);
        (due.map(|due| due.seq.0), next)
    }

    /// Whatever is done: what is found by time, and what is counted, is what a look at every row finds.
    #[test]
    fn what_is_found_by_time_is_what_every_row_says() {
        let mut rng = SmallRng::seed_from_u64(7);
        let ledger = Ledger::open(None).unwrap();
        for step in 0..20_000_u64 {
            let (seq, now) = (rng.random_range(1..60), rng.random_range(0..100));
            let turn = ledger.owed(1, Some(Seq(seq + 1)), 1).first().map_or(0, |(_, owed)| owed.turn);
            let tried = Attempt { turn, ..attempt(&ledger, seq, 1) };
            match rng.random_range(0..9) {
                0 | 1 => ledger.advance(1, Seq(step), &[Seq(seq), Seq(seq + 1)], now),
                2 => ledger.taken(1, tried),
                3 => ledger.failed(1, tried, Some(now)),
                4 => ledger.failed(1, tried, None),
                5 => ledger.put_off(1, Seq(seq), turn, now),
                6 => drop(ledger.revive(1, Seq(seq), now)),
                7 => ledger.hurry(1, now),
                _ if step % 40 == 0 => ledger.begin(1, Seq(seq)),
                _ => ledger.owe(1, Seq(seq), now),
            }
            let rows = ledger.owed(1, None, 100);
            assert!(rows.is_sorted_by(|(newer, _), (older, _)| newer > older), "{step}");
            let alive: Vec<_> = rows.iter().rev().filter(|(_, owed)| !owed.is_dead).collect();
            let standing = ledger.standing(1);
            assert_eq!((standing.owed, standing.dead), (alive.len(), rows.len() - alive.len()), "{step}");
            let mut expected: Vec<_> = alive
                .iter()
                .filter(|(at, owed)| at.0 != seq && owed.next_at <= now)
                .map(|(at, owed)| (owed.next_at, at.0))
                .collect();
            expected.sort_unstable();
            let next =
                alive.iter().filter(|(at, owed)| at.0 != seq && owed.next_at > now).map(|(_, owed)| owed.next_at).min();
            let (found, found_next) = ledger.due(1, &BTreeSet::from([Seq(seq)]), now, 100);
            let found: Vec<_> = found.iter().map(|due| due.seq.0).collect();
            assert_eq!((found, found_next), (expected.into_iter().map(|(_, at)| at).collect(), next), "{step}");
            let oldest = alive.first().filter(|(at, _)| at.0 != seq);
            let expected = oldest.map_or((None, None), |(at, owed)| {
                if owed.next_at > now { (None, Some(owed.next_at)) } else { (Some(at.0), None) }
            });
            assert_eq!(oldest_due(&ledger, &[seq], now), expected, "{step}");
        }
    }

    #[test]
    fn what_is_owed_and_where_one_is_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.redb");
        let ledger = Ledger::open(Some(&path)).unwrap();
        assert_eq!(ledger.position(1), None);
        ledger.begin(1, Seq(10));
        ledger.advance(1, Seq(14), &[Seq(11), Seq(13)], 100);
        assert_eq!(due(&ledger, &[], 100).0, [(11, 0), (13, 0)]);
        assert_eq!(due(&ledger, &[11], 100).0, [(13, 0)]);
        ledger.taken(1, attempt(&ledger, 11, 1));
        ledger.failed(1, attempt(&ledger, 13, 1), Some(500));
        assert_eq!(due(&ledger, &[], 499), (vec![], Some(500)));
        assert_eq!(oldest_due(&ledger, &[], 499), (None, Some(500)));
        assert_eq!(oldest_due(&ledger, &[], 500), (Some(13), None));
        assert_eq!(oldest_due(&ledger, &[13], 500), (None, None));
        drop(ledger);
        let ledger = Ledger::open(Some(&path)).unwrap();
        assert_eq!(ledger.position(1), Some(Seq(14)));
        assert_eq!(due(&ledger, &[], 500).0, [(13, 1)]);
        ledger.failed(1, attempt(&ledger, 13, 2), None);
        assert_eq!((ledger.standing(1).owed, ledger.standing(1).dead), (0, 1));
        assert_eq!(oldest_due(&ledger, &[], 500), (None, None));
        assert!(ledger.revive(1, Seq(13), 7) && !ledger.revive(1, Seq(12), 7));
        assert_eq!(due(&ledger, &[], 7).0, [(13, 0)]);
        // It begins again before what it is owed: that comes anew by itself.
        ledger.begin(1, Seq(12));
        assert_eq!(due(&ledger, &[], 7).0, []);
        drop(ledger);
        assert_eq!(Ledger::open(Some(&path)).unwrap().owed(1, None, 9), []);
    }

    /// `data/webhooks/v1/` holds a file as format 1 wrote it (`sync.redb` has the same); `UPDATE_FIXTURES=1 cargo test`
    /// writes it anew.
    #[test]
    fn a_file_of_format_1_is_opened_for_ever() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/webhooks/v1/webhooks.redb");
        if std::env::var_os("UPDATE_FIXTURES").is_some() {
            std::fs::create_dir_all(fixture.parent().unwrap()).unwrap();
            let _ = std::fs::remove_file(&fixture);
            let ledger = Ledger::open(Some(&fixture)).unwrap();
            ledger.advance(1, Seq(14), &[Seq(11), Seq(12), Seq(13)], 100);
            ledger.taken(1, attempt(&ledger, 11, 1));
            ledger.failed(1, attempt(&ledger, 12, 10), None);
            ledger.failed(1, attempt(&ledger, 13, 2), Some(500));
            ledger.begin(7, Seq(1 << 40));
            drop(ledger);
            Database::open(&fixture).unwrap().compact().unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webhooks.redb");
        std::fs::copy(&fixture, &path).unwrap();
        let ledger = Ledger::open(Some(&path)).unwrap();
        assert_eq!((ledger.position(1), ledger.position(7)), (Some(Seq(14)), Some(Seq(1 << 40))));
        let owed = |attempts, next_at, is_dead| {
            let error = "x".to_owned();
            Owed { attempts, next_at, is_dead, last_at: 5, status: 500, error, turn: 0 }
        };
        assert_eq!(ledger.owed(1, None, 9), [(Seq(13), owed(2, 500, false)), (Seq(12), owed(10, 0, true))]);
        drop(ledger);
        // Another format is refused by its number, and nothing is done to the file.
        let database = Database::open(&path).unwrap();
        let write = database.begin_write().unwrap();
        write.open_table(META).unwrap().insert("format", 2).unwrap();
        write.commit().unwrap();
        drop(database);
        assert!(matches!(Ledger::open(Some(&path)), Err(LedgerError::Format(2))));
    }

    #[test]
    fn an_attempt_that_began_before_the_endpoint_began_again_settles_nothing() {
        let ledger = Ledger::open(None).unwrap();
        ledger.advance(1, Seq(2), &[Seq(1), Seq(2)], 0);
        let (first, second) = (attempt(&ledger, 1, 1), attempt(&ledger, 2, 1));
        ledger.begin(1, Seq::NONE);
        ledger.advance(1, Seq(2), &[Seq(1), Seq(2)], 0);
        ledger.taken(1, first);
        ledger.failed(1, second.clone(), None);
        ledger.put_off(1, Seq(2), second.turn, 9);
        assert_eq!(due(&ledger, &[], 0).0, [(1, 0), (2, 0)]);
        ledger.taken(1, attempt(&ledger, 1, 1));
        assert_eq!(due(&ledger, &[], 0).0, [(2, 0)]);
        // And so with one that somebody asked for again while it was on its way.
        let before = attempt(&ledger, 2, 1);
        assert!(ledger.revive(1, Seq(2), 0));
        ledger.taken(1, before);
        assert_eq!(due(&ledger, &[], 0).0, [(2, 0)]);
    }

    #[test]
    fn dead_letters_are_bounded() {
        let ledger = Ledger::open(None).unwrap();
        let count = WEBHOOK_DEAD_MAX as u64 + 5;
        for seq in 1..=count {
            ledger.advance(1, Seq(seq), &[Seq(seq)], 0);
            ledger.failed(1, attempt(&ledger, seq, 10), None);
        }
        assert_eq!(ledger.standing(1).dead, WEBHOOK_DEAD_MAX);
        assert_eq!(ledger.owed(1, None, 1)[0].0, Seq(count), "the newest are kept");
    }
}
