//! The journal alone, under crashes and faults, against a list of what was appended.
//!
//! Promise checked: every acknowledged record is found again, whole and in place; of the others a
//! prefix, whole; nothing else. The model keeps records as (first seq, entries) and nothing of the
//! journal's own shape.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use munim::disk::{Disk, OverlayDisk};
use munim::domain::entry::{Entry, TransferEntry, TransferOp};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::time::Day;
use munim::journal::verify::{FileHashes, chain};
use munim::journal::{
    Item, JournalError, JournalOptions, JournalState, KeyMark, Maintenance, Opened, Refused, Step, Trailer, Writer,
    open,
};

use super::disk::{Dice, Fault, FaultKind, SimDisk};

/// One record of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    first: u64,
    entries: u64,
    moment: i64,
    reply: usize,
}

fn entry(seq: u64, moment: i64) -> TransferEntry {
    TransferEntry {
        op: TransferOp::Posted,
        debit: AccountNo(seq as u32 % 97),
        credit: AccountNo(seq as u32 % 89),
        amount: seq.wrapping_mul(moment as u64 | 1) % 1_000_000 + 1,
        code: 0,
        effective: None,
        previous_debit: Seq(seq.saturating_sub(97)),
        previous_credit: Seq(seq.saturating_sub(89)),
        cold: None,
    }
}

fn append(opened: &Opened, model: &mut Vec<Model>, entries: u64, reply: usize) {
    let mut sequencer = opened.journal.lock();
    let moment = sequencer.last_moment().0 + 1 + entries as i64 % 7;
    let first = sequencer.begin(Moment(moment), Day((moment / 1000) as u16)).0;
    for seq in first..first + entries {
        sequencer.push_transfer(&entry(seq, moment));
    }
    let key = Some(KeyMark { hash: [first as u8; 16], fingerprint: [moment as u8; 16] });
    let bytes = vec![first as u8; reply];
    let last = sequencer.end(&Trailer { key, owner: 3, request: first, reply: &bytes });
    assert_eq!(last.0, first + entries - 1);
    model.push(Model { first, entries, moment, reply });
}

/// Reads everything back as a model. Checks each entry.
fn read_back(opened: &Opened) -> Result<Vec<Model>, JournalError> {
    let mut found: Vec<Model> = Vec::new();
    let _ = opened.journal.scan(Seq(1), &mut |item| {
        match item {
            Item::Record { first_seq, moment, date } => {
                assert_eq!(date.0, (moment.0 / 1000) as u16);
                found.push(Model { first: first_seq.0, entries: 0, moment: moment.0, reply: usize::MAX });
            }
            Item::Entry { seq, entry: found_entry } => {
                let record = found.last_mut().unwrap();
                assert_eq!(seq.0, record.first + record.entries);
                assert_eq!(*found_entry, Entry::Transfer(entry(seq.0, record.moment)));
                record.entries += 1;
            }
            Item::End { last_seq, trailer } => {
                let record = found.last_mut().unwrap();
                assert_eq!(last_seq.0, record.first + record.entries - 1);
                assert_eq!(trailer.request, record.first);
                assert_eq!(trailer.key.unwrap().fingerprint, [record.moment as u8; 16]);
                record.reply = trailer.reply.len();
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn options(segment_bytes: u64) -> JournalOptions {
    JournalOptions {
        journal_id: 77,
        segment_bytes,
        pending_bytes_max: 1 << 20,
        sealed_open_max: 2,
        ..Default::default()
    }
}

fn try_open(disk: &SimDisk, segment_bytes: u64, expected: Option<(Seq, [u8; 32])>) -> Result<Opened, JournalError> {
    open(Arc::new(disk.clone()), JournalOptions { expected, ..options(segment_bytes) })
}

/// Records up to a seq.
fn upto(model: &[Model], last: Seq) -> usize {
    model.iter().take_while(|record| record.first + record.entries - 1 <= last.0).count()
}

#[derive(Debug, Default)]
struct Counts {
    crashes: u64,
    crashes_in_recovery: u64,
    rolls: u64,
    sealed: u64,
    long_records: u64,
    unacknowledged_found: u64,
    clean_closes: u64,
}

struct Run {
    disk: SimDisk,
    dice: Dice,
    segment_bytes: u64,
    model: Vec<Model>,
    /// Of the model, how much was acknowledged.
    durable: Seq,
    /// What a store would know.
    expected: Option<(Seq, [u8; 32])>,
}

impl Run {
    /// Opens, crashing on the way where the dice say so, and compares what is found.
    fn open(&mut self, counts: &mut Counts) -> Opened {
        loop {
            let is_cut = self.dice.chance(25);
            if is_cut {
                let after = self.dice.below(40);
                self.disk.cut_power_in(after);
            }
            let opened = match try_open(&self.disk, self.segment_bytes, self.expected) {
                Ok(opened) => opened,
                Err(error) => {
                    assert!(is_cut, "a journal that lost nothing must open: {error:?}");
                    counts.crashes_in_recovery += 1;
                    self.disk.crash();
                    continue;
                }
            };
            let found = match read_back(&opened) {
                Ok(found) => found,
                Err(error) => {
                    assert!(is_cut, "a journal that opened must be readable: {error:?}");
                    drop(opened);
                    self.disk.crash();
                    continue;
                }
            };
            assert!(found.len() <= self.model.len() && found == self.model[..found.len()], "only what was appended");
            assert!(found.len() >= upto(&self.model, self.durable), "all that was acknowledged");
            counts.unacknowledged_found += (found.len() - upto(&self.model, self.durable)) as u64;
            self.model.truncate(found.len());
            self.durable = opened.journal.durable_seq();
            assert_eq!(self.durable.0, self.model.last().map_or(0, |record| record.first + record.entries - 1));
            self.expected = Some(opened.journal.chain_head());
            return opened;
        }
    }

    /// One life of a process: until a crash or a close.
    fn live(&mut self, counts: &mut Counts) {
        let mut opened = self.open(counts);
        let segments = opened.journal.segments().len();
        let sealed = |opened: &Opened| opened.journal.segments().iter().filter(|segment| segment.is_sealed).count();
        let sealed_before = sealed(&opened);
        let steps = 10 + self.dice.below(40);
        if self.dice.chance(70) {
            let after = self.dice.below(300);
            self.disk.cut_power_in(after);
        }
        for _ in 0..steps {
            match self.dice.below(10) {
                0..=4 => {
                    if opened.journal.admit().is_ok() {
                        let entries = match self.dice.below(20) {
                            0 => 3_000 + self.dice.below(6_000),
                            1..=5 => 2 + self.dice.below(50),
                            _ => 1,
                        };
                        counts.long_records += u64::from(entries > 5_000);
                        let reply = if self.dice.chance(3) { 50_000 } else { 40 };
                        append(&opened, &mut self.model, entries, reply);
                    }
                }
                5..=7 => {
                    opened.writer.step();
                }
                8 => {
                    opened.maintenance.step();
                }
                _ => {
                    if self.dice.chance(20) {
                        opened.journal.request_roll();
                    }
                }
            }
            let durable = opened.journal.durable_seq();
            assert!(durable >= self.durable, "durable never goes back");
            self.durable = durable;
        }
        counts.rolls += (opened.journal.segments().len() - segments) as u64;
        counts.sealed += (sealed(&opened) - sealed_before) as u64;
        if self.dice.chance(40) {
            self.close(opened);
            counts.clean_closes += 1;
        } else {
            drop_without_power(&self.disk, opened);
            counts.crashes += 1;
        }
    }

    fn close(&mut self, mut opened: Opened) {
        opened.journal.close();
        while matches!(opened.writer.step(), Step::Committed { .. }) {}
        while opened.maintenance.step() {}
        self.durable = opened.journal.durable_seq();
        opened.journal.close_files();
        drop(opened);
        if self.dice.chance(50) || !self.disk.has_power() {
            self.disk.crash();
        }
        self.disk.set_fault(None);
    }
}

/// The process dies: what it does while unwinding reaches no disk.
fn drop_without_power(disk: &SimDisk, opened: Opened) {
    disk.crash();
    drop(opened);
}

fn run(seed: u64, counts: &mut Counts) {
    let mut dice = Dice::new(seed ^ 0x5EED);
    let segment_bytes = 16_384 << dice.below(5);
    let mut run =
        Run { disk: SimDisk::new(seed), dice, segment_bytes, model: Vec::new(), durable: Seq(0), expected: None };
    for _ in 0..6 {
        run.live(counts);
    }
    run.disk.crash();
    let opened = loop {
        if let Ok(opened) = try_open(&run.disk, segment_bytes, run.expected) {
            break opened;
        }
    };
    let found = read_back(&opened).unwrap();
    assert!(found.len() >= upto(&run.model, run.durable) && found == run.model[..found.len()]);
    drop(opened);
    let overlay = Arc::new(OverlayDisk::over(Arc::new(run.disk.clone())));
    let mut entries = 0;
    let report = chain(overlay, options(segment_bytes), FileHashes::Check, &mut |item| {
        entries += u64::from(matches!(item, Item::Entry { .. }));
    })
    .unwrap();
    assert_eq!(report.records as usize, found.len());
    assert_eq!(report.entries, entries);
}

/// Runs `count` seeds, or the one of the environment, and says which failed.
fn for_seeds(count: u64, mut each: impl FnMut(u64)) {
    let only = std::env::var("MUNIM_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..count, |seed| seed..seed + 1);
    for seed in seeds {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| each(seed)));
        if let Err(panic) = result {
            eprintln!("failing seed: MUNIM_SIM_SEED={seed} cargo test --test sim");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_power_cuts_at_any_operation() {
    let mut counts = Counts::default();
    let seeds = std::env::var("MUNIM_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    for_seeds(seeds, |seed| run(seed, &mut counts));
    eprintln!("{counts:?}");
    if std::env::var_os("MUNIM_SIM_SEED").is_none() {
        let least = [
            counts.crashes,
            counts.crashes_in_recovery,
            counts.rolls,
            counts.sealed,
            counts.long_records,
            counts.clean_closes,
        ];
        assert!(least.iter().all(|count| *count >= 10), "every kind of accident was met: {counts:?}");
    }
}

/// A fixed story that meets commits, a roll, a seal, and a record over several blocks.
fn story(opened: &mut Opened, model: &mut Vec<Model>, acknowledged: &mut Seq) {
    for step in 0..30 {
        if opened.journal.admit().is_ok() {
            append(opened, model, if step % 9 == 4 { 4_000 } else { 1 + step % 5 }, 30);
        }
        opened.writer.step();
        *acknowledged = (*acknowledged).max(opened.journal.durable_seq());
        if step % 2 == 0 {
            opened.maintenance.step();
        }
    }
}

#[test]
fn after_any_single_fault_nothing_is_acknowledged_that_a_restart_does_not_keep() {
    let disk = SimDisk::new(5);
    let begin = |disk: &SimDisk| try_open(disk, 65_536, None);
    let mut opened = begin(&disk).unwrap();
    let first = disk.operations();
    story(&mut opened, &mut Vec::new(), &mut Seq(0));
    let last = disk.operations();
    // Every operation takes minutes; the share that runs always is another one for each kind of fault.
    let stride = if std::env::var_os("MUNIM_SIM_FULL").is_some() {
        1
    } else if cfg!(debug_assertions) {
        29
    } else {
        7
    };
    assert!(opened.journal.segments().len() > 2, "the story meets rolls");
    let mut poisoned = 0;
    for at in first + 1..=last {
        for kind in [FaultKind::Eio, FaultKind::Enospc, FaultKind::ShortWrite, FaultKind::FailedSync] {
            for is_lasting in [false, true] {
                if !(at + kind as u64 * 2 + u64::from(is_lasting)).is_multiple_of(stride) {
                    continue;
                }
                let disk = SimDisk::new(at);
                let mut opened = begin(&disk).unwrap();
                disk.set_fault(Some(Fault { at, kind, is_lasting }));
                let (mut model, mut acknowledged) = (Vec::new(), Seq(0));
                story(&mut opened, &mut model, &mut acknowledged);
                let is_poisoned = matches!(opened.journal.state(), JournalState::Poisoned { .. });
                poisoned += u64::from(is_poisoned);
                assert_eq!(disk.tally().retried_syncs, 0, "at {at} {kind:?}: a sync is never tried again");
                if is_poisoned {
                    assert_eq!(opened.journal.admit(), Err(Refused::Unavailable));
                    assert_eq!(opened.writer.step(), Step::Failed);
                }
                drop_without_power(&disk, opened);
                let opened = begin(&disk).unwrap_or_else(|error| panic!("at {at} {kind:?}: {error:?}"));
                let found = read_back(&opened).unwrap();
                assert!(found.len() >= upto(&model, acknowledged), "at {at} {kind:?}");
                assert_eq!(found, model[..found.len()], "at {at} {kind:?}");
            }
        }
    }
    assert!(poisoned > 30, "{poisoned}");
}

#[test]
fn a_full_disk_refuses_at_the_segments_end_and_resumes_by_itself() {
    let disk = SimDisk::new(3);
    let mut opened = try_open(&disk, 65_536, None).unwrap();
    let mut model = Vec::new();
    disk.set_full(true);
    let mut refused = None;
    for _ in 0..200 {
        opened.maintenance.step();
        match opened.journal.admit() {
            Ok(()) => append(&opened, &mut model, 100, 10),
            Err(reason) => {
                refused = Some(reason);
                break;
            }
        }
        assert!(matches!(opened.writer.step(), Step::Committed { .. }));
    }
    assert_eq!(refused, Some(Refused::Full));
    assert_eq!(opened.journal.state(), JournalState::Full);
    assert_eq!(upto(&model, opened.journal.durable_seq()), model.len(), "what was appended is durable");
    assert_eq!(read_back(&opened).unwrap(), model);

    // Also after a restart it refuses, and keeps what it has.
    drop(opened);
    let mut opened = try_open(&disk, 65_536, None).unwrap();
    assert_eq!(opened.journal.admit(), Err(Refused::Full));
    assert!(!opened.maintenance.step());

    disk.set_full(false);
    while opened.maintenance.step() {}
    assert_eq!(opened.journal.state(), JournalState::Open);
    append(&opened, &mut model, 5, 0);
    assert!(matches!(opened.writer.step(), Step::Committed { .. }));
    assert_eq!(read_back(&opened).unwrap(), model);
}

fn segment_names(disk: &SimDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| name.starts_with("journal-0")).collect()
}

fn small_journal(seed: u64) -> (SimDisk, Vec<Model>, (Seq, [u8; 32])) {
    let disk = SimDisk::new(seed);
    let mut opened = try_open(&disk, 65_536, None).unwrap();
    let mut model = Vec::new();
    while opened.maintenance.step() {}
    for step in 0..40 {
        append(&opened, &mut model, 1 + step % 700, 20);
        opened.writer.step();
        while opened.maintenance.step() {}
    }
    let head = opened.journal.chain_head();
    opened.journal.close();
    opened.journal.close_files();
    drop(opened);
    (disk, model, head)
}

#[test]
fn a_journal_that_lacks_what_the_store_has_seen_does_not_open() {
    let (disk, mut model, (seq, hash)) = small_journal(1);
    assert!(try_open(&disk, 65_536, Some((seq, hash))).is_ok());
    let longer = try_open(&disk, 65_536, Some((Seq(seq.0 + 1), hash))).unwrap_err();
    assert!(matches!(longer, JournalError::Shorter { last, expected } if last == seq && expected.0 == seq.0 + 1));
    let other = try_open(&disk, 65_536, Some((seq, [1; 32]))).unwrap_err();
    assert!(matches!(other, JournalError::Differs { expected, .. } if expected == seq));
    let inside = try_open(&disk, 65_536, Some((Seq(seq.0 - 1), hash))).unwrap_err();
    assert!(matches!(inside, JournalError::Differs { .. }));
    // An earlier head stays valid while the journal grows.
    let mut opened = try_open(&disk, 65_536, None).unwrap();
    append(&opened, &mut model, 9, 0);
    opened.writer.step();
    drop(opened);
    assert!(try_open(&disk, 65_536, Some((seq, hash))).is_ok());
}

#[test]
fn missing_swapped_truncated_and_foreign_segments_are_named_and_refused() {
    let (disk, _, _) = small_journal(2);
    let names = segment_names(&disk);
    assert!(names.len() >= 3, "{names:?}");
    let refused = |disk: &SimDisk| try_open(disk, 65_536, None).unwrap_err().to_string();

    for name in &names[..names.len() - 1] {
        let copy = disk.fork(9);
        copy.remove(name).unwrap();
        assert!(refused(&copy).contains(name), "missing {name}: {}", refused(&copy));

        let copy = disk.fork(9);
        let bytes = copy.read(name).unwrap();
        copy.write_atomically(name, &bytes[..bytes.len() - 4096]).unwrap();
        assert!(refused(&copy).contains(name), "truncated {name}");
    }
    let copy = disk.fork(9);
    copy.remove(names.last().unwrap()).unwrap();
    assert!(refused(&copy).contains(names.last().unwrap()));

    let copy = disk.fork(9);
    let (one, two) = (copy.read(&names[0]).unwrap(), copy.read(&names[1]).unwrap());
    copy.write_atomically(&names[0], &two).unwrap();
    copy.write_atomically(&names[1], &one).unwrap();
    assert!(refused(&copy).contains(&names[0]), "swapped: {}", refused(&copy));

    let copy = disk.fork(9);
    copy.write_atomically("journal-00000000000000000003.redb", &one).unwrap();
    assert!(refused(&copy).contains("journal-00000000000000000003.redb"), "{}", refused(&copy));

    let copy = disk.fork(9);
    copy.remove("MANIFEST").unwrap();
    assert!(refused(&copy).contains("MANIFEST"));

    // The active segment of another journal with the same story.
    let other = SimDisk::new(4);
    let mut opened = open(Arc::new(other.clone()), JournalOptions { journal_id: 78, ..options(1 << 30) }).unwrap();
    append(&opened, &mut Vec::new(), 3, 0);
    opened.writer.step();
    opened.journal.close_files();
    drop(opened);
    let young = SimDisk::new(4);
    drop(try_open(&young, 1 << 30, None).unwrap());
    let first = "journal-00000000000000000001.redb";
    young.write_atomically(first, &other.read(first).unwrap()).unwrap();
    assert!(refused(&young).contains("another journal"), "{}", refused(&young));
}

/// Where in their files the blocks of a journal stand: (file, first byte, bytes).
fn live_ranges(disk: &SimDisk) -> Vec<(String, u64, u64)> {
    let opened = try_open(disk, 65_536, None).unwrap();
    let mut ranges = Vec::new();
    for segment in opened.journal.segments() {
        let file = disk.read(&segment.file).unwrap();
        let mut next = segment.first_seq;
        while next <= segment.last_seq {
            let block = opened.journal.load(opened.journal.locate(next).unwrap().unwrap()).unwrap();
            let starts: Vec<usize> =
                (0..file.len() - block.bytes().len()).filter(|at| file[*at..].starts_with(block.bytes())).collect();
            // redb may have left a copy in a freed page: then it is not known which one is live.
            if let [start] = starts[..] {
                ranges.push((segment.file.clone(), start as u64, block.bytes().len() as u64));
            }
            next = block.last_seq().next();
        }
    }
    ranges
}

#[test]
fn a_flipped_bit_is_found_or_harmless_and_never_a_wrong_answer() {
    let (disk, model, _) = small_journal(6);
    let ranges = live_ranges(&disk.fork(0));
    let names = segment_names(&disk);
    let mut dice = Dice::new(8);
    let (mut found, mut harmless) = (0, 0);
    for round in 0..300 {
        let copy = disk.fork(round);
        let is_live = dice.chance(80);
        let (name, byte) = if is_live {
            let (name, start, bytes) = &ranges[dice.below(ranges.len() as u64) as usize];
            (name, start + dice.below(*bytes))
        } else {
            let name = &names[dice.below(names.len() as u64) as usize];
            (name, dice.below(copy.file_len(name)))
        };
        copy.flip(name, byte, dice.below(8) as u8);
        let read = std::panic::catch_unwind(|| try_open(&copy, 65_536, None).and_then(|opened| read_back(&opened)));
        match read {
            Ok(Ok(read)) => {
                assert_eq!(read, model, "flip in {name}");
                assert!(!is_live, "a flip in a live block of {name} at {byte} was not noticed");
                harmless += 1;
            }
            // redb asserts on some damage to its own pages; the process stops, which is no wrong answer.
            Ok(Err(_)) | Err(_) => found += 1,
        }
        let is_sealed = *name != names[names.len() - 1];
        let overlay = Arc::new(OverlayDisk::over(Arc::new(copy.clone())));
        let before = copy.operations();
        let verified = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            chain(overlay, options(65_536), FileHashes::Check, &mut |_| {})
        }));
        assert!(!(is_sealed && matches!(verified, Ok(Ok(_)))), "verify finds every flip in a sealed file");
        assert_eq!(copy.operations(), before, "verify changes nothing");
    }
    assert!(found > 200, "found {found}, harmless {harmless}");
}

#[test]
fn trailers_are_found_without_decoding_and_blocks_are_located_across_segments() {
    let (disk, model, _) = small_journal(7);
    let opened = try_open(&disk, 65_536, None).unwrap();
    let mut seen = BTreeSet::new();
    opened
        .journal
        .scan_trailers(Seq(1), opened.journal.durable_seq(), &mut |first, last, trailer| {
            assert_eq!(trailer.request, first.0);
            seen.insert((first.0, last.0 - first.0 + 1));
        })
        .unwrap();
    assert_eq!(seen, model.iter().map(|record| (record.first, record.entries)).collect());
    for record in &model {
        let place = opened.journal.locate(Seq(record.first)).unwrap().unwrap();
        let block = opened.journal.load(place).unwrap();
        let (head, found) = block.entry(Seq(record.first)).unwrap();
        assert_eq!((head.first_seq.0, head.moment.0), (record.first, record.moment));
        assert_eq!(found, Entry::Transfer(entry(record.first, record.moment)));
    }
    assert_eq!(opened.journal.locate(Seq(0)).unwrap(), None);
    assert_eq!(opened.journal.locate(opened.journal.durable_seq().next()).unwrap(), None);
    // A scan from the middle of a record says whose middle that is.
    let long = model.iter().find(|record| record.entries > 20).unwrap();
    let mut items = 0;
    let _ = opened
        .journal
        .scan(Seq(long.first + 10), &mut |item| {
            match (items, item) {
                (0, Item::Record { first_seq, .. }) => assert_eq!(first_seq.0, long.first),
                (1, Item::Entry { seq, .. }) => assert_eq!(seq.0, long.first + 10),
                (0 | 1, item) => panic!("{item:?}"),
                _ => return ControlFlow::Break(()),
            }
            items += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(items, 2);
}

#[test]
fn both_threads_end_by_themselves_when_the_journal_is_closed() {
    let disk = SimDisk::new(11);
    let Opened { journal, writer, maintenance } = try_open(&disk, 65_536, None).unwrap();
    let threads =
        [std::thread::spawn(move || Writer::run(writer)), std::thread::spawn(move || Maintenance::run(maintenance))];
    for _ in 0..500 {
        while journal.admit().is_err() {
            std::thread::yield_now();
        }
        let mut sequencer = journal.lock();
        let moment = Moment(sequencer.last_moment().0 + 1);
        sequencer.begin(moment, Day(1));
        sequencer.push(&Entry::Refused);
        sequencer.end(&Trailer::default());
    }
    journal.close();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(journal.durable_seq(), Seq(500));
    assert_eq!(journal.admit(), Err(Refused::Unavailable));
}

#[test]
fn a_caller_that_panics_inside_a_record_poisons_the_journal() {
    let disk = SimDisk::new(12);
    let Opened { journal, mut writer, .. } = try_open(&disk, 65_536, None).unwrap();
    let inside = Arc::clone(&journal);
    let panicked = std::thread::spawn(move || {
        let mut sequencer = inside.lock();
        sequencer.begin(Moment(1), Day(1));
        panic!("expected by this test");
    });
    assert!(panicked.join().is_err());
    assert!(matches!(journal.state(), JournalState::Poisoned { .. }));
    assert_eq!(writer.step(), Step::Failed);
    assert_eq!(journal.durable_seq(), Seq(0));
}

/// Bytes of file a transfer takes, when `records` of `entries` transfers with a reply of this length are committed at once.
fn bytes_per_transfer(records: u64, entries: u64, reply: usize, commits: u64) -> f64 {
    let disk = SimDisk::new(1);
    let mut opened = try_open(&disk, 1 << 40, None).unwrap();
    let mut model = Vec::new();
    for _ in 0..commits {
        for _ in 0..records {
            append(&opened, &mut model, entries, reply);
        }
        assert!(matches!(opened.writer.step(), Step::Committed { .. }));
    }
    opened.journal.close_files();
    disk.allocated_bytes("journal-00000000000000000001.redb").unwrap() as f64 / (commits * records * entries) as f64
}

#[test]
fn a_keyed_single_takes_at_most_300_bytes_of_file_and_a_batch_hardly_more_than_its_entries() {
    // Debug builds of redb check all pages again and again: a share is enough for them.
    let commits = if cfg!(debug_assertions) { 6_000 } else { 40_000 };
    for (records, reply) in [(20, 50), (25, 70), (34, 50), (36, 60), (40, 50), (45, 70), (60, 50), (70, 60), (140, 50)]
    {
        let bytes = bytes_per_transfer(records, 1, reply, commits / records);
        eprintln!("{records} keyed singles of {} bytes a commit: {bytes:.0} bytes of file each", 60 + reply);
        assert!(bytes <= 300.0, "{records} records with {reply} bytes of reply: {bytes}");
    }
    eprintln!("a lone caller: {:.0}", bytes_per_transfer(1, 1, 50, commits / 4));
    let bytes = bytes_per_transfer(1, 8_000, 40, commits / 400);
    eprintln!("batches of 8,000 one by one: {bytes:.1}");
    assert!(bytes <= 24.0, "{bytes}");
    let bytes = bytes_per_transfer(4, 8_000, 40, commits / 1_600);
    eprintln!("batches of 8,000 in fours: {bytes:.1}");
    assert!(bytes <= 24.0, "{bytes}");
}

#[test]
fn a_read_that_fails_is_an_error_and_never_a_shorter_journal() {
    let (disk, model, _) = small_journal(13);
    let reads = {
        let copy = disk.fork(1);
        let before = copy.reads();
        read_back(&try_open(&copy, 65_536, None).unwrap()).unwrap();
        copy.reads() - before
    };
    let mut failed = 0;
    for at in (1..=reads).step_by(3) {
        let copy = disk.fork(1);
        copy.set_failing_read(Some(copy.reads() + at));
        match try_open(&copy, 65_536, None).and_then(|opened| read_back(&opened)) {
            Ok(found) => assert_eq!(found, model, "read {at}"),
            Err(_) => failed += 1,
        }
    }
    assert!(failed > reads / 4, "{failed} of {reads}");
}

/// The story of the fixture: every kind of entry, a record over several blocks, a roll.
fn write_fixture(disk: Arc<dyn Disk>) {
    let mut opened = open(disk, options(1 << 20)).unwrap();
    let mut model = Vec::new();
    append(&opened, &mut model, 1, 20);
    append(&opened, &mut model, 6_000, 300);
    opened.writer.step();
    while opened.maintenance.step() {}
    opened.journal.request_roll();
    append(&opened, &mut model, 3, 0);
    opened.writer.step();
    while opened.maintenance.step() {}
    {
        let mut sequencer = opened.journal.lock();
        let moment = Moment(sequencer.last_moment().0 + 1);
        sequencer.begin(moment, Day(5));
        for entry in fixture_entries(sequencer.last_seq().0 + 1) {
            sequencer.push(&entry);
        }
        sequencer.end(&Trailer { key: None, owner: 0, request: 9, reply: &[] });
    }
    opened.writer.step();
    opened.journal.close_files();
}

/// One entry of every kind, the first with this seq.
fn fixture_entries(first: u64) -> Vec<Entry> {
    use munim::domain::account::{AccountType, BalanceRule, Status};
    use munim::domain::entry::{AccountChanged, AccountCold, AccountOpened, TransferCold};
    use munim::domain::money::Currency;
    let metadata = vec![("branch".into(), "कोच्चि".into())];
    let texts = AccountCold {
        created_at: Moment(1_700_000_000_000_000),
        external_id: Some("cash-1".into()),
        name: Some("Cash in hand".into()),
        metadata: metadata.clone(),
    };
    let cold = TransferCold { external_id: Some("r-1".into()), description: Some("₹ receipt".into()), metadata };
    let plain = entry(first, 77);
    let with = |op| Entry::Transfer(TransferEntry { op, code: 40, effective: Some(Day(9)), ..plain.clone() });
    vec![
        Entry::Transfer(TransferEntry { cold: Some(Box::new(cold)), ..plain.clone() }),
        with(TransferOp::Posted),
        with(TransferOp::Pending { expires_at: Some(Moment(i64::MAX)) }),
        with(TransferOp::Pending { expires_at: None }),
        with(TransferOp::PostPending { hold: Seq(first + 2), held: 900 }),
        with(TransferOp::VoidPending { hold: Seq(first + 3) }),
        with(TransferOp::ExpirePending { hold: Seq(1) }),
        with(TransferOp::Reversal { of: Seq(first) }),
        Entry::AccountOpened(Box::new(AccountOpened {
            account: AccountNo(8),
            currency: Currency::INR,
            account_type: AccountType::Income,
            code: 4010,
            balance_rule: BalanceRule::NoDebitBalance,
            cold: texts.clone(),
        })),
        Entry::AccountChanged(Box::new(AccountChanged {
            account: AccountNo(8),
            status: Status::Frozen,
            version: 2,
            previous: Seq(first + 8),
            cold: texts,
        })),
        Entry::PeriodClosed { through: Day(5) },
        Entry::PeriodReopened { through: None, reason: "audit".into() },
        Entry::DayRolled { date: Day(6) },
        Entry::ClockAccepted,
        Entry::Refused,
    ]
}

/// Made by the first version of the format and never made again: `MUNIM_WRITE_FIXTURE=<new folder>` shows how.
#[test]
fn the_first_versions_journal_opens_for_ever() {
    use munim::disk::FolderDisk;
    if let Some(folder) = std::env::var_os("MUNIM_WRITE_FIXTURE") {
        write_fixture(Arc::new(FolderDisk::open(folder).unwrap()));
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/data/journal/v1");
    let disk = Arc::new(OverlayDisk::over(Arc::new(FolderDisk::open_to_read(folder).unwrap())));
    let mut found = Vec::new();
    let mut plain = 0;
    let report = chain(disk, options(1 << 20), FileHashes::Check, &mut |item| {
        if let Item::Entry { seq, entry: kind } = item {
            if seq.0 > 6_004 {
                found.push(kind.clone());
            } else {
                plain += 1;
            }
        }
    })
    .unwrap();
    assert_eq!((report.segments, report.records, report.entries, plain), (2, 4, 6_019, 6_004));
    assert_eq!(found, fixture_entries(6_005));
    let head: String = report.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(head, include_str!("../../data/journal/v1/HEAD").trim());
}

#[test]
fn a_real_folder_survives_a_process_that_dies_with_space_written_ahead() {
    use munim::disk::FolderDisk;
    let folder = tempfile::tempdir().unwrap();
    let small = || JournalOptions { pending_bytes_max: 1 << 16, ..options(1 << 17) };
    let mut opened = open(Arc::new(FolderDisk::open(folder.path()).unwrap()), small()).unwrap();
    let mut model = Vec::new();
    while opened.maintenance.step() {}
    for step in 0..60 {
        append(&opened, &mut model, 1 + step * 13 % 900, 20);
        assert!(matches!(opened.writer.step(), Step::Committed { .. }));
        while step % 3 == 0 && opened.maintenance.step() {}
    }
    assert!(opened.journal.segments().len() > 2);
    // What a process leaves that dies now is what the files hold.
    let image = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
        std::fs::copy(file.path(), image.path().join(file.file_name())).unwrap();
    }
    opened.journal.close_files();
    drop(opened);
    for place in [image.path(), folder.path()] {
        let mut opened = open(Arc::new(FolderDisk::open(place).unwrap()), small()).unwrap();
        assert_eq!(read_back(&opened).unwrap(), model);
        let mut more = model.clone();
        for _ in 0..40 {
            append(&opened, &mut more, 200, 20);
            assert!(matches!(opened.writer.step(), Step::Committed { .. }));
            while opened.maintenance.step() {}
        }
        assert_eq!(read_back(&opened).unwrap(), more);
    }
}
