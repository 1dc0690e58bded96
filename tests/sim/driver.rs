//! One run = one seed: random commands, time, crashes and reads against the engine, by hand and on
//! one thread, each answer compared with the model.
//!
//! 1. A command is executed and answered by the model at once; what it reveals counts as revealed
//!    only when the watermark covers it.
//! 2. Between commands the driver steps the writer, segment upkeep, key tables and checkpoints (with
//!    commands in their midst), moves the clocks, reads, and cuts the power at a random operation.
//! 3. After a crash the journal must end at a record's end, not before anything revealed; the model
//!    is cut there, and everything that can be read is compared with it.
//! 4. At the end the state hash must be that of a replay without the store and with other shards.

use std::collections::BTreeMap;
use std::sync::Arc;

use munim::disk::Disk;
use munim::domain::ids::Seq;
use munim::engine::command::{IdempotencyKey, Origin};
use munim::engine::history::{Reach, ReadError};
use munim::engine::recovery::{self, Parts, STORE_FILE};
use munim::engine::submit::{NotYet, Said as EngineSaid};
use munim::engine::view::Unavailable;
use munim::engine::{Core, EngineOptions};
use munim::journal::{Maintenance, Step, Writer};
use munim::reconcile::verify::{Expected, verify};
use munim::store::KeyKind;

use super::disk::{Dice, SimDisk};
use super::inventor::{Hands, Inventor};
use super::model::{Ask, Model, Said, Verdict, When};
use super::speak::{from_reply, to_command};

/// What runs have met, for the test that asserts that they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub commands: u64,
    pub refusals: u64,
    pub replays: u64,
    pub crashes: u64,
    pub crashes_in_recovery: u64,
    pub crashes_in_checkpoint: u64,
    pub segment_rolls: u64,
    pub checkpoints: u64,
    pub expiries: u64,
    pub day_rolls: u64,
    pub clock_suspicions: u64,
    pub long_records: u64,
    pub keys_in_sealed: u64,
    pub store_rebuilds: u64,
    pub lost_records: u64,
    pub found_unacknowledged: u64,
    pub reads: u64,
}

impl Counters {
    pub fn add(&mut self, other: &Counters) {
        let Counters { commands, refusals, replays, crashes, crashes_in_recovery, crashes_in_checkpoint, .. } = other;
        self.commands += commands;
        self.refusals += refusals;
        self.replays += replays;
        self.crashes += crashes;
        self.crashes_in_recovery += crashes_in_recovery;
        self.crashes_in_checkpoint += crashes_in_checkpoint;
        self.segment_rolls += other.segment_rolls;
        self.checkpoints += other.checkpoints;
        self.expiries += other.expiries;
        self.day_rolls += other.day_rolls;
        self.clock_suspicions += other.clock_suspicions;
        self.long_records += other.long_records;
        self.keys_in_sealed += other.keys_in_sealed;
        self.store_rebuilds += other.store_rebuilds;
        self.lost_records += other.lost_records;
        self.found_unacknowledged += other.found_unacknowledged;
        self.reads += other.reads;
    }
}

pub struct Live {
    pub core: Arc<Core>,
    pub writer: Writer,
    pub maintenance: Maintenance,
}

/// A replay that waits for its record to be durable.
#[derive(Clone, Copy, Debug)]
struct Replay {
    first: u64,
    key: IdempotencyKey,
    is_reused: bool,
}

/// One run.
pub struct Run {
    pub disk: SimDisk,
    pub hands: Hands,
    pub model: Model,
    pub counters: Counters,
    pub options: EngineOptions,
    pub live: Option<Live>,
    dice: Dice,
    inventor: Inventor,
    /// Nothing up to here may ever be undone.
    pub revealed: u64,
    waiting: Vec<(u64, Option<Replay>)>,
    /// `{:?}` of the first reply of every keyed record, by first seq.
    replies: BTreeMap<u64, String>,
    is_in_checkpoint: bool,
    /// Accidents and clock jumps happen; off for scripts.
    pub is_wild: bool,
    /// The files were damaged on purpose: reads may fail, but not lie.
    pub is_damaged: bool,
}

/// Tiny limits by the dice, so that every run rolls segments.
pub fn tiny_options(dice: &mut Dice, journal_id: u64) -> EngineOptions {
    let mut options = EngineOptions {
        shards: 1 << dice.below(3),
        key_shards: 1 << dice.below(3),
        block_cache_bytes: 1 << (12 + dice.below(8)),
        text_cache_bytes: 1 << (10 + dice.below(6)),
        store_cache_bytes: 1 << (14 + dice.below(6)),
        key_retention_days: 36_500,
        mark_every: 1 << dice.below(4),
        ..EngineOptions::default()
    };
    options.journal.journal_id = journal_id;
    options.journal.segment_bytes = 2_000 + dice.below(24_000);
    // A few keys to a segment in some runs; no dice, so that the runs of known seeds stay what they were.
    options.keys_per_table = 20 + options.journal.segment_bytes % 997;
    // Likewise: mostly several transactions to a checkpoint of loans.
    options.loans_per_commit = 1 + (options.journal.segment_bytes % 7) as usize;
    options.journal.pending_bytes_max = 1 << 20;
    options.journal.sealed_open_max = 1 + dice.below(3) as usize;
    options
}

/// The key and fingerprint as the engine knows them.
pub fn engine_key((key, print): (u8, u8)) -> IdempotencyKey {
    let mut dice = Dice::new(u64::from(key) + 1000);
    let mut hash = [0; 16];
    hash[..8].copy_from_slice(&dice.roll().to_le_bytes());
    hash[8..].copy_from_slice(&dice.roll().to_le_bytes());
    IdempotencyKey { hash, fingerprint: [print; 16] }
}

impl Run {
    pub fn new(seed: u64) -> Run {
        let mut dice = Dice::new(seed);
        let options = tiny_options(&mut dice, seed + 1);
        Run {
            disk: SimDisk::new(dice.roll()),
            hands: Hands::default(),
            model: Model::default(),
            counters: Counters::default(),
            options,
            live: None,
            inventor: Inventor::new(dice.roll()),
            dice,
            revealed: 0,
            waiting: Vec::new(),
            replies: BTreeMap::new(),
            is_in_checkpoint: false,
            is_wild: true,
            is_damaged: false,
        }
    }

    /// The same books on another disk; everything in them counts as revealed.
    pub fn on(&self, disk: SimDisk) -> Run {
        Run {
            disk,
            hands: self.hands.clone(),
            model: self.model.clone(),
            options: self.options.clone(),
            replies: self.replies.clone(),
            revealed: self.model.last_seq(),
            is_wild: false,
            ..Run::new(1)
        }
    }

    /// The whole run; returns the final state hash.
    pub fn play(&mut self) -> [u8; 32] {
        self.open();
        let steps = 60 + self.dice.below(140);
        for _ in 0..steps {
            if !self.disk.has_power() {
                self.crash();
                self.open();
            }
            self.step();
        }
        self.finish()
    }

    /// Whether nothing may fail: no accident has happened since the start.
    pub fn is_sound(&self) -> bool {
        self.disk.is_sound() && !self.is_damaged
    }

    pub fn core(&self) -> Arc<Core> {
        Arc::clone(&self.live.as_ref().expect("the books are open").core)
    }

    fn step(&mut self) {
        self.hands.drift(&mut self.dice);
        match self.dice.below(100) {
            0..50 => self.command(),
            50..70 => {
                self.write();
            }
            70..76 => {
                self.live.as_mut().expect("open").maintenance.step();
            }
            76..82 => self.tick(),
            82..85 => self.table(),
            85..88 => self.checkpoint(),
            88..94 => self.read_something(),
            94..97 => {
                self.hands.leap(&mut self.dice);
                let core = self.core();
                if core.clock().observe() && core.clock().is_suspect() {
                    self.counters.clock_suspicions += 1;
                }
            }
            _ => self.disk.cut_power_in(self.dice.below(60)),
        }
    }

    /// A random command.
    pub fn command(&mut self) {
        let today = self.model.business_date();
        let (ask, key, dry) = self.inventor.invent(&self.model, today);
        self.submit(&ask, key, dry);
    }

    /// Executes a command and compares the answer. False when nothing was done.
    pub fn submit(&mut self, ask: &Ask, key: Option<(u8, u8)>, dry: bool) -> bool {
        let core = self.core();
        let command = to_command(ask);
        let origin =
            Origin { key: key.map(engine_key), request: self.counters.commands, dry_run: dry, ..Origin::default() };
        let mut rolls = self.rolls_first(&core);
        let (pending, now) = loop {
            let now = core.clock().now().0;
            let done = core.execute(&command, &origin, Reach::Disk);
            if std::mem::take(&mut rolls) {
                self.model.roll(now);
                self.counters.day_rolls += 1;
            }
            match done {
                Ok(pending) => break (pending, now),
                Err(NotYet::WaitFor(_)) => {
                    if !self.write() {
                        return false;
                    }
                }
                Err(NotYet::Unavailable(Unavailable::Overloaded(_))) => {
                    self.write();
                    return false;
                }
                Err(NotYet::Unavailable(Unavailable::JournalFull)) if self.disk.is_full() => return false,
                Err(other) => {
                    assert!(!self.is_sound(), "{ask:?}: {other:?}");
                    return false;
                }
            }
        };
        self.counters.commands += 1;
        let before = self.model.records.len();
        let verdict = self.model.execute(ask, When { now, key, dry });
        assert_eq!(core.journal().appended_seq().0, self.model.last_seq(), "{ask:?} {verdict:?} {:?}", pending.said);
        // A replay waits for its own record alone, which is durable with its first entry.
        let revealed = if let EngineSaid::Again(first) = &pending.said { first.0 } else { self.model.last_seq() };
        assert_eq!(pending.as_of.0, revealed, "{ask:?}");
        let replay = match (pending.said, verdict) {
            (EngineSaid::Now(reply), Verdict::Say(said)) => {
                let told = from_reply(&reply, dry);
                assert_eq!(told, said, "{ask:?} at {now}");
                self.counters.refusals += u64::from(matches!(said, Said::Refused(_) | Said::BatchRefused(_)));
                if key.is_some() && self.model.records.len() > before {
                    self.replies.insert(self.model.records[before].first, format!("{reply:?}"));
                }
                if self.model.records.len() > before && super::speak::text_bytes(ask) > 65_300 {
                    self.counters.long_records += 1;
                }
                None
            }
            (EngineSaid::Again(first), Verdict::Again(expected)) => {
                assert_eq!(first.0, expected, "{ask:?}");
                Some(Replay { first: expected, key: engine_key(key.expect("it was found by it")), is_reused: false })
            }
            (EngineSaid::Again(first), Verdict::Reused) => {
                Some(Replay { first: first.0, key: engine_key(key.expect("it was found by it")), is_reused: true })
            }
            (said, verdict) => panic!("{ask:?}: the engine says {said:?}, the model {verdict:?}"),
        };
        self.waiting.push((pending.as_of.0, replay));
        self.settle();
        true
    }

    /// Whether a command finds the business day over: then the day is rolled before it, whatever becomes of it.
    fn rolls_first(&self, core: &Core) -> bool {
        let now = core.clock().now();
        let is_over = self.model.records.is_empty() || core.clock().day_of(now).0 > self.model.business_date();
        is_over && !core.clock().is_suspect() && core.journal().admit().is_ok()
    }

    /// Reveals what has become durable.
    fn settle(&mut self) {
        let core = self.core();
        let durable = core.watermark().durable();
        for (as_of, replay) in std::mem::take(&mut self.waiting) {
            if as_of > durable.0 {
                self.waiting.push((as_of, replay));
                continue;
            }
            self.revealed = self.revealed.max(as_of);
            if let Some(replay) = replay {
                self.replay(&core, &replay);
            }
        }
    }

    fn replay(&mut self, core: &Core, replay: &Replay) {
        let newest_segment = core.journal().segments().last().map_or(Seq(0), |segment| segment.first_seq);
        match self.allow(core.replay(Seq(replay.first), &replay.key, Reach::Disk)) {
            None => {}
            Some(Err(())) => assert!(replay.is_reused, "key of record {} is not known again", replay.first),
            Some(Ok((reply, _, as_of))) => {
                assert!(!replay.is_reused, "another fingerprint, record {}", replay.first);
                let record = self.model.records.iter().find(|record| record.first == replay.first);
                let record = record.expect("the model has every record that the engine has");
                assert_eq!(as_of.0, record.last());
                assert!(core.watermark().covers(as_of), "a replay shows what is durable");
                self.revealed = self.revealed.max(as_of.0);
                assert_eq!(Some(from_reply(&reply, false)), record.said, "replay of record {}", replay.first);
                assert_eq!(Some(&format!("{reply:?}")), self.replies.get(&replay.first), "replay of {}", replay.first);
                self.counters.replays += 1;
                self.counters.keys_in_sealed += u64::from(replay.first < newest_segment.0);
            }
        }
    }

    /// A read's answer; none is allowed to fail while there is power.
    fn allow<T>(&mut self, read: Result<T, ReadError>) -> Option<T> {
        self.counters.reads += 1;
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                assert!(!self.is_sound(), "a read failed: {error:?}");
                None
            }
        }
    }

    /// One commit of the writer. False when it failed.
    pub fn write(&mut self) -> bool {
        let live = self.live.as_mut().expect("open");
        let step = live.writer.step();
        let is_sound = self.is_sound();
        let live = self.live.as_ref().expect("open");
        match step {
            Step::Committed { seq, .. } => {
                assert!(live.core.watermark().covers(seq));
                self.settle();
                true
            }
            Step::Idle => is_sound,
            Step::Failed => {
                assert!(!is_sound, "the journal failed: {:?}", live.core.status().trouble);
                false
            }
        }
    }

    pub fn tick(&mut self) {
        let core = self.core();
        let now = core.clock().now().0;
        let is_open = core.journal().admit().is_ok();
        let expired = core.tick();
        if core.clock().is_suspect() || !is_open {
            assert_eq!(expired, 0);
        } else {
            let day = self.model.business_date();
            assert_eq!(expired as u32, self.model.tick(now));
            self.counters.expiries += expired as u64;
            self.counters.day_rolls += u64::from(self.model.business_date() != day);
        }
        assert_eq!(core.journal().appended_seq().0, self.model.last_seq());
    }

    pub fn table(&mut self) {
        let core = self.core();
        if let Err(error) = core.table_keys().and_then(|_| core.merge_keys()) {
            assert!(!self.is_sound(), "{error:?}");
        }
    }

    pub fn checkpoint(&mut self) {
        let core = self.core();
        self.is_in_checkpoint = true;
        match core.checkpoint(&mut |seq| self.breathe(seq)) {
            Ok(_) => {
                self.counters.checkpoints += 1;
                self.is_in_checkpoint = false;
            }
            Err(error) => assert!(!self.is_sound(), "{error:?}"),
        }
    }

    /// Inside a checkpoint: other commands run; a wait is over when its seq is durable.
    fn breathe(&mut self, seq: Seq) -> bool {
        for _ in 0..self.dice.below(3) {
            match self.dice.below(if self.is_wild { 8 } else { 1 }) {
                0..4 => self.command(),
                4 => self.tick(),
                5 | 6 => self.read_something(),
                _ => self.hands.drift(&mut self.dice),
            }
        }
        let core = self.core();
        while !core.watermark().covers(seq) {
            if !self.write() {
                return false;
            }
        }
        true
    }

    fn read_something(&mut self) {
        let core = self.core();
        super::reading::read_one(self, &core);
    }

    /// A read's answer that may leave: what it shows is durable.
    pub fn reveal(&mut self, seq: u64) {
        assert!(self.core().watermark().covers(Seq(seq)), "seq={seq} was revealed before it was durable");
        self.revealed = self.revealed.max(seq);
    }

    /// See [`Run::allow`].
    pub fn read<T>(&mut self, read: Result<T, ReadError>) -> Option<T> {
        self.allow(read)
    }

    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// The power goes, now at the latest.
    pub fn crash(&mut self) {
        self.counters.crashes += 1;
        self.counters.crashes_in_checkpoint += u64::from(std::mem::take(&mut self.is_in_checkpoint));
        if self.disk.has_power() {
            self.disk.cut_power_in(0);
        }
        if let Some(live) = self.live.take() {
            self.counters.segment_rolls += live.core.status().segment_rolls;
        }
        self.waiting.clear();
        self.disk.crash();
        self.hands.restart();
    }

    /// Opens the books once, as they are. False when they do not open.
    pub fn try_open(&mut self) -> bool {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        match recovery::open(&disk, &self.options, Box::new(self.hands.clone())) {
            Ok(parts) => {
                self.take(parts);
                true
            }
            Err(error) => {
                assert!(!self.is_sound(), "the books do not open: {error:?}");
                false
            }
        }
    }

    /// Opens the books, crashing on the way now and then, and compares what is found.
    pub fn open(&mut self) {
        loop {
            if self.is_wild
                && self.dice.chance(5)
                && self.disk.list().is_ok_and(|names| names.iter().any(|n| n == STORE_FILE))
            {
                self.disk.remove(STORE_FILE).expect("it was listed");
                self.disk.sync_dir().expect("the folder has power");
                self.counters.store_rebuilds += 1;
            }
            if self.is_wild && self.dice.chance(30) {
                let after = self.dice.below(120);
                self.disk.cut_power_in(after);
            }
            self.options.shards = 1 << self.dice.below(3);
            if self.try_open() {
                return;
            }
            self.counters.crashes_in_recovery += 1;
            self.disk.crash();
        }
    }

    /// Compares what was found.
    pub fn take(&mut self, parts: Parts) {
        let Parts { core, writer, maintenance, report } = parts;
        self.counters.store_rebuilds += u64::from(report.rebuilt_store);
        self.live = Some(Live { core: Arc::clone(&core), writer, maintenance });
        let durable = core.journal().durable_seq().0;
        assert!(
            durable >= self.revealed,
            "seq={} was revealed and is gone: the journal ends at {durable}",
            self.revealed
        );
        let before = self.model.records.len();
        assert!(self.model.cut(durable), "half a record: the journal ends at {durable}");
        self.counters.lost_records += (before - self.model.records.len()) as u64;
        let found = self.model.records.iter().rev().take_while(|record| record.last() > self.revealed);
        self.counters.found_unacknowledged += found.count() as u64;
        self.replies.split_off(&(durable + 1));
        assert!(core.clock().now().0 >= self.model.last_moment(), "time went back");
        if self.model.records.is_empty() && core.journal().admit().is_ok() {
            self.model.roll(core.clock().now().0);
        }
        assert_eq!(core.journal().appended_seq().0, self.model.last_seq());
        self.compare_all(&core);
    }

    /// Everything that can be read is as the model says, and every key answers as before.
    pub fn compare_all(&mut self, core: &Arc<Core>) {
        super::reading::read_all(self, core);
        self.inventor.reset_keys();
        for key in 0..super::inventor::KEYS {
            let print = self.model.keyed(key).and_then(|record| record.key).map_or(0, |(_, print)| print);
            // A dry run: a key that is not known must not become known by asking.
            self.submit(&Ask::Void(0), Some((key, print)), true);
        }
    }

    /// Makes everything durable. False when the power went meanwhile.
    pub fn flush(&mut self) -> bool {
        let core = self.core();
        while !core.watermark().covers(core.journal().appended_seq()) {
            if !self.write() {
                return false;
            }
        }
        true
    }

    /// The last checks of a run.
    fn finish(&mut self) -> [u8; 32] {
        self.disk.set_fault(None);
        if !self.disk.has_power() || !self.flush() {
            self.crash();
            self.is_wild = false;
            self.open();
            assert!(self.flush());
        }
        self.is_wild = false;
        let core = self.core();
        self.compare_all(&core);
        // What was asked there may have found the day over.
        assert!(self.flush());
        let live = core.state_hash();
        let report = verify(core.journal(), &Expected::from_memory(&core).expect("the store reads"), &mut |_| {});
        assert!(report.ok, "verify against memory: {report:?}");
        let report = verify(core.journal(), &Expected::from_store(core.store()).expect("the store reads"), &mut |_| {});
        assert!(report.ok, "verify against the store: {report:?}");
        // A recovery over tables that are newer than its checkpoint puts no key into a second one.
        let mut external = std::collections::BTreeSet::new();
        for (first, _) in core.store().key_ranges(KeyKind::External) {
            let mut give = |hash, seq| assert!(external.insert(hash), "seq={seq} is in two tables");
            core.store().load_key_table(KeyKind::External, first, &mut give).expect("the store reads");
        }
        for with_store in [true, false] {
            let copy = self.disk.fork(1);
            if !with_store {
                copy.remove(STORE_FILE).expect("the store is there");
            }
            let options = EngineOptions { shards: 8, key_shards: 1, ..self.options.clone() };
            let disk: Arc<dyn Disk> = Arc::new(copy);
            let opened = recovery::open(&disk, &options, Box::new(self.hands.clone())).expect("a copy opens");
            assert_eq!(opened.core.journal().appended_seq(), core.journal().appended_seq());
            assert_eq!(opened.core.state_hash(), live, "replayed with_store={with_store}");
        }
        self.counters.segment_rolls += core.status().segment_rolls;
        live
    }
}

/// Plays one seed; the counters and the final state hash.
pub fn play(seed: u64) -> (Counters, [u8; 32]) {
    let mut run = Run::new(seed);
    let hash = run.play();
    (run.counters, hash)
}
