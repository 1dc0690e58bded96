//! What the store costs: checkpoints, key tables, look-ups, at the sizes that the targets name.
//!
//! Plain timings rather than criterion's: one checkpoint of a million accounts is the sample, and
//! its bytes and its wall time beside CPU time are what matters. Run `cargo bench --bench store`;
//! the file lies in the target folder, so that its disk is the one that is measured.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use munim::disk::Disk;
use munim::domain::account::{Account, AccountType, BalanceRule, GlNo, Status};
use munim::domain::apply::Anchor;
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::money::Currency;
use munim::domain::time::Day;
use munim::store::{ACCOUNTS_PER_CHUNK, KeyKind, Meta, ResolutionKind, Store};
use redb::StorageBackend;
use redb::backends::FileBackend;

const ACCOUNTS: u32 = 1_000_000;
const RESOLUTIONS: u64 = 240_000;
const KEYS: u64 = 1_300_000;
const SEGMENTS: u64 = 4;
const LOOKUPS: u64 = 200_000;

fn main() {
    let folder = Folder(PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    let name = format!("store-bench-{}.redb", std::process::id());
    let store = Store::open(&folder, &name, 64 << 20).expect("a new store opens");
    for round in 0..3u64 {
        checkpoints(&store, round);
    }
    key_tables(&store);
    lookups(&store);
    drop(store);
    let start = Clock::start();
    let store = Store::open(&folder, &name, 64 << 20).expect("the store opens again");
    start.report("open, with filters of 4 × 1.3 M keys");
    let start = Clock::start();
    let mut count = 0;
    store.load_accounts(&mut |_, rows| count += rows.len()).expect("accounts load");
    start.report(&format!("load {count} accounts"));
    println!("file: {} MiB", folder.path(&name).metadata().expect("the file is there").len() >> 20);
    drop(store);
    std::fs::remove_file(folder.path(&name)).expect("the file can be removed");
}

fn checkpoints(store: &Store, round: u64) {
    let whole = Clock::start();
    let start = Clock::start();
    let mut checkpoint = store.begin().expect("a checkpoint begins");
    for chunk in 0..ACCOUNTS / ACCOUNTS_PER_CHUNK {
        let first = u64::from(chunk * ACCOUNTS_PER_CHUNK);
        let rows: Vec<Account> = (first..first + u64::from(ACCOUNTS_PER_CHUNK)).map(|n| account(n, round)).collect();
        checkpoint.accounts(chunk, &rows).expect("a chunk is written");
    }
    start.report("1 M accounts handed over");
    let start = Clock::start();
    let base = round * 800_000;
    let rows: Vec<(Seq, Seq, ResolutionKind)> = (0..RESOLUTIONS)
        .map(|n| (Seq(base + n * 10 / 3 + 1), Seq(base + n * 10 / 3 + 8_000), ResolutionKind::Posted))
        .collect();
    checkpoint.resolutions(&rows).expect("resolutions are written");
    start.report("240,000 resolutions handed over");
    if round == 2 {
        let start = Clock::start();
        let anchors: Vec<Anchor> = (0..ACCOUNTS).map(anchor).collect();
        checkpoint.anchors(&anchors).expect("anchors are written");
        start.report("1 M anchors of one day handed over");
    }
    checkpoint.meta(&meta()).expect("meta is written");
    let start = Clock::start();
    checkpoint.commit().expect("the checkpoint commits");
    start.report("commit");
    whole.report("checkpoint, all");
}

fn key_tables(store: &Store) {
    for segment in 0..SEGMENTS {
        let mut rows: Vec<([u8; 16], Seq)> =
            (segment * KEYS..(segment + 1) * KEYS).map(|n| (hash(n), Seq(n))).collect();
        let start = Clock::start();
        rows.sort_unstable();
        start.report("sort 1.3 M keys");
        let start = Clock::start();
        store
            .write_key_table(
                (Seq(segment * KEYS + 1), Seq((segment + 1) * KEYS)),
                KeyKind::Idempotency,
                rows.into_iter(),
                Moment(1),
            )
            .expect("a key table is written");
        start.report("write a table of 1.3 M keys");
    }
    println!("filters: {:.2} bits a key", (store.filter_bytes() * 8) as f64 / (KEYS * SEGMENTS) as f64);
}

fn lookups(store: &Store) {
    let hot: Vec<[u8; 16]> = (0..1_000).map(|n| hash(n * 5 % 50)).collect();
    per_call("find a key, warm chunk", |n| {
        let found = store.find_key(KeyKind::Idempotency, &hot[(n % 1_000) as usize]);
        assert!(found.expect("a key is found").is_some());
    });
    let cold: Vec<[u8; 16]> = (0..LOOKUPS).map(|n| hash(n * 6_151 % (KEYS * SEGMENTS))).collect();
    per_call("find a key, any chunk", |n| {
        let found = store.find_key(KeyKind::Idempotency, &cold[n as usize]);
        assert!(found.expect("a key is found").is_some());
    });
    let strangers: Vec<[u8; 16]> = (0..LOOKUPS).map(|n| hash((1 << 40) + n)).collect();
    per_call("find no key", |n| {
        let found = store.find_key(KeyKind::Idempotency, &strangers[n as usize]);
        assert!(found.expect("the look-up works").is_none());
    });
    per_call("look a resolution up", |n| {
        store.resolution(Seq(n * 11 % 2_400_000)).expect("the look-up works");
    });
    per_call("look an anchor up", |n| {
        let account = AccountNo((n * 7_919 % u64::from(ACCOUNTS)) as u32);
        assert!(store.anchor(account, Day(20_000)).expect("the look-up works").is_some());
    });
}

fn per_call(what: &str, mut call: impl FnMut(u64)) {
    // Bounded by time as well: a cold disk must not turn the bench into an afternoon.
    let (start, mut calls) = (Instant::now(), 0);
    while calls < LOOKUPS && start.elapsed() < Duration::from_secs(2) {
        call(calls);
        calls += 1;
    }
    println!("{what}: {:.2} µs", start.elapsed().as_secs_f64() * 1e6 / calls as f64);
}

fn account(number: u64, round: u64) -> Account {
    Account {
        debits_posted: number * 1_000 + round,
        credits_posted: number << 20,
        debits_pending: number,
        credits_pending: 0,
        last_seq: Seq(number * 3 + round),
        cold_seq: Seq(number + 1),
        gl: GlNo(3),
        version: 1,
        day: Day(20_000),
        previous_day: Day(19_999),
        currency: Currency::INR,
        account_type: AccountType::Liability,
        balance_rule: BalanceRule::None,
        status: Status::Open,
    }
}

fn anchor(number: u32) -> Anchor {
    Anchor {
        account: AccountNo(number),
        day: Day(20_000),
        previous_day: Day(19_999),
        last_seq: Seq(u64::from(number) * 60),
        debits_posted: u64::from(number) * 1_000,
        credits_posted: 5_000_000,
        debits_pending: 0,
        credits_pending: 0,
    }
}

fn meta() -> Meta {
    Meta {
        journal_id: 1,
        checkpoint_seq: Seq(1),
        chain_seq: Seq(1),
        chain_hash: [0; 32],
        last_moment: Moment(1),
        business_date: Day(20_000),
        closed_through: None,
        period_events: Vec::new(),
        day_runs: Vec::new(),
        gl_keys: Vec::new(),
        accounts: ACCOUNTS,
        api_keys: Vec::new(),
        customers: 0,
        loans: 0,
        lending: Box::default(),
        objects: Vec::new(),
    }
}

fn hash(number: u64) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
    hash
}

/// Wall and CPU time of this process.
struct Clock {
    wall: Instant,
    cpu: Duration,
}

impl Clock {
    fn start() -> Clock {
        Clock { wall: Instant::now(), cpu: cpu_time() }
    }

    fn report(&self, what: &str) {
        let (wall, cpu) = (self.wall.elapsed(), cpu_time().checked_sub(self.cpu).unwrap());
        println!("{what}: {:.1} ms, CPU {:.1} ms", wall.as_secs_f64() * 1e3, cpu.as_secs_f64() * 1e3);
    }
}

fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "std has no clock of the process's processor time")]
    // SAFETY: the pointer is to a timespec of our own, which outlives the call.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(code, 0, "every Linux has a CPU clock");
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds are below 10^9"))
}

/// The part of a disk that the store uses.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn unused<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        unused()
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = std::fs::File::options().read(true).write(true).open(self.path(name))?;
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }
    fn create(&self, name: &str, _reserve_bytes: u64) -> io::Result<Box<dyn StorageBackend>> {
        let file = std::fs::File::options().read(true).write(true).create_new(true).open(self.path(name))?;
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }
    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        unused()
    }
    fn remove(&self, _name: &str) -> io::Result<()> {
        unused()
    }
    fn sync_dir(&self) -> io::Result<()> {
        std::fs::File::open(&self.0)?.sync_all()
    }
    fn make_read_only(&self, _name: &str) -> io::Result<()> {
        unused()
    }
    fn read(&self, _name: &str) -> io::Result<Vec<u8>> {
        unused()
    }
    fn write_atomically(&self, _name: &str, _bytes: &[u8]) -> io::Result<()> {
        unused()
    }
    fn hash(&self, _name: &str) -> io::Result<[u8; 32]> {
        unused()
    }
    fn allocated_bytes(&self, _name: &str) -> io::Result<u64> {
        unused()
    }
}
