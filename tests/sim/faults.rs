//! The fault sweep: for a fixed script, the n-th disk operation fails, for every n, in every way,
//! once and for ever.
//!
//! 1. After a fault in the journal nothing is acknowledged, `trouble` says why, no sync is tried
//!    again, and a restart keeps everything that was acknowledged.
//! 2. A fault in the store alone never stops writes, and when it was a passing one, checkpoints and
//!    old keys work again without a restart.
//! 3. A full disk refuses at a segment's end, and resumes by itself; a store that it does not let open is read.
//!
//! By default every some n; `MUNIM_FAULTS=all` sweeps every n.

use munim::disk::Disk;
use munim::engine::command::Origin;
use munim::engine::history::Reach;
use munim::engine::submit::NotYet;
use munim::engine::view::Unavailable;

use super::disk::{Fault, FaultKind};
use super::driver::{Run, engine_key};
use super::model::{Ask, NewAccount};
use super::speak::to_command;

const KINDS: [FaultKind; 4] = [FaultKind::Eio, FaultKind::Enospc, FaultKind::ShortWrite, FaultKind::FailedSync];

/// Seed of the script; its commands, not its accidents, are what it is for.
const SCRIPT: u64 = 7;

fn new_run() -> Run {
    let mut run = Run::new(SCRIPT);
    run.is_wild = false;
    run.options.journal.segment_bytes = 6_000;
    run
}

fn is_poisoned(run: &Run) -> bool {
    run.core().status().trouble.is_some_and(|(code, _)| code == "journal_unavailable")
}

/// The script; it ends when the journal is poisoned.
fn script(run: &mut Run) {
    for step in 0..70 {
        if is_poisoned(run) {
            return;
        }
        run.command();
        if step % 2 == 0 {
            run.write();
        }
        if step % 4 == 0 && run.live.as_mut().is_some_and(|live| !live.maintenance.step()) {
            run.hands.pass(60_000_000);
        }
        match step % 11 {
            3 => run.table(),
            7 => run.checkpoint(),
            9 => run.tick(),
            _ => {}
        }
    }
    run.write();
}

pub fn tiny_account() -> Ask {
    Ask::Open(NewAccount {
        currency: ("INR", 2),
        kind: 0,
        rule: 0,
        code: 0,
        external: None,
        name: None,
        pairs: Vec::new(),
    })
}

/// What must hold once the journal has failed.
fn check_stopped(run: &mut Run) {
    let core = run.core();
    let before = core.watermark().durable();
    let (_, cause) = core.status().trouble.expect("a poisoned journal is trouble");
    assert!(!cause.is_empty());
    let refused = core.execute(&to_command(&tiny_account()), &Origin::default(), Reach::Disk);
    let is_refused = matches!(refused, Err(NotYet::Unavailable(Unavailable::JournalUnavailable(_))));
    assert!(is_refused, "a poisoned journal takes no more: {refused:?}");
    if let Some(live) = &mut run.live {
        live.writer.step();
        live.maintenance.step();
    }
    assert_eq!(core.watermark().durable(), before, "nothing is acknowledged after a fault");
}

/// What must hold while only the store is in trouble: writes go on.
fn check_goes_on(run: &mut Run, is_over: bool) {
    let core = run.core();
    let before = core.watermark().durable();
    assert!(run.submit(&tiny_account(), None, false), "writes go on");
    run.write();
    // A lasting fault has no favourite file: the script may have ended before the journal met it.
    let has_met_the_journal = !is_over && is_poisoned(run);
    assert!(core.watermark().durable() > before || has_met_the_journal, "and are acknowledged");
    if !is_over {
        return;
    }
    let is_written = (0..3).any(|_| {
        let live = run.live.as_mut().expect("open");
        core.checkpoint(&mut |seq| {
            while !core.watermark().covers(seq) {
                live.writer.step();
            }
            true
        })
        .is_ok()
    });
    assert!(is_written, "checkpoints work again after a passing fault");
    while core.table_keys().expect("key tables work again") {}
    for key in 0..super::inventor::KEYS {
        let origin = Origin { key: Some(engine_key((key, 0))), dry_run: true, ..Origin::default() };
        let told = core.execute(&to_command(&tiny_account()), &origin, Reach::Disk);
        assert!(told.is_ok(), "old keys are found again: {told:?}");
    }
}

#[derive(Debug, Default)]
struct Seen {
    runs: u64,
    poisoned: u64,
    store_only: u64,
    unopened: u64,
    harmless: u64,
}

fn sweep_one(n: u64, kind: FaultKind, is_lasting: bool, seen: &mut Seen) {
    let mut run = new_run();
    run.disk.set_fault(Some(Fault { at: n, kind, is_lasting }));
    seen.runs += 1;
    if run.try_open() {
        script(&mut run);
        let struck = run.disk.struck();
        let is_store_only = !struck.is_empty() && struck.iter().all(|name| name == "store.redb");
        if is_poisoned(&run) {
            assert!(!is_store_only, "trouble in the store alone stops no writes: {struck:?}");
            seen.poisoned += 1;
            check_stopped(&mut run);
        } else if is_store_only {
            seen.store_only += 1;
            check_goes_on(&mut run, !is_lasting);
        } else {
            seen.harmless += 1;
        }
    } else {
        seen.unopened += 1;
        assert!(!run.disk.struck().is_empty(), "the books open when nothing is wrong");
    }
    let struck = run.disk.struck();
    assert_eq!(run.disk.tally().retried_journal_syncs, 0, "a failed sync is never tried again: {struck:?}");
    run.crash();
    run.open();
    assert!(run.flush());
}

#[test]
fn no_single_fault_loses_or_invents_anything() {
    let mut dry = new_run();
    dry.open();
    script(&mut dry);
    let operations = dry.disk.operations();
    let rolls = dry.core().status().segment_rolls;
    assert!(rolls >= 2 && dry.counters.checkpoints >= 3, "the script is worth a sweep: {rolls} rolls");
    let is_all = std::env::var("MUNIM_FAULTS").is_ok_and(|text| text == "all");
    let stride = if is_all { 1 } else { operations / 40 + 1 };
    let next = std::sync::atomic::AtomicU64::new(1);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut seen = Seen::default();
                loop {
                    let n = next.fetch_add(stride, std::sync::atomic::Ordering::Relaxed);
                    if n > operations {
                        break;
                    }
                    for (kind, is_lasting) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                        let done = std::panic::AssertUnwindSafe(|| sweep_one(n, kind, is_lasting, &mut seen));
                        if std::panic::catch_unwind(done).is_err() {
                            failed.lock().expect("no panic while locked").push((n, kind, is_lasting));
                        }
                    }
                }
                println!("{seen:?}");
            });
        }
    });
    println!("{operations} operations, every {stride}");
    let failed = failed.into_inner().expect("no panic while locked");
    assert!(failed.is_empty(), "{} faults, the first: {:?}", failed.len(), &failed[..failed.len().min(20)]);
}

#[test]
fn one_fault_by_hand() {
    let Ok(text) = std::env::var("MUNIM_FAULT") else { return };
    let parts: Vec<&str> = text.split(',').collect();
    let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == parts[1]).expect("a kind of fault");
    sweep_one(parts[0].parse().expect("a number"), kind, parts[2] == "true", &mut Seen::default());
}

#[test]
fn a_full_disk_refuses_at_a_segments_end_and_resumes_by_itself() {
    let mut run = new_run();
    run.open();
    run.disk.set_full(true);
    let core = run.core();
    let mut is_refused = false;
    for _ in 0..2_000 {
        if let Some(live) = &mut run.live {
            live.maintenance.step();
        }
        is_refused = !run.submit(&tiny_account(), None, false);
        if is_refused {
            break;
        }
        run.write();
    }
    assert!(is_refused, "the disk is full");
    assert_eq!(core.status().trouble.map(|(code, _)| code), Some("journal_full"));
    assert!(run.flush(), "what was taken is written");
    run.disk.set_full(false);
    if let Some(live) = &mut run.live {
        live.maintenance.step();
    }
    assert_eq!(core.status().trouble, None);
    assert!(run.submit(&tiny_account(), None, false), "writes resume by themselves");
    assert!(run.flush());
    drop(core);
    run.crash();
    run.open();
}

/// Accounts under keys, and the segments that they end.
fn play_on_full_store(run: &mut Run) {
    for step in 0..12_u8 {
        assert!(run.submit(&tiny_account(), Some((step, 1)), false));
        run.write();
        if let Some(live) = &mut run.live {
            live.maintenance.step();
        }
    }
    assert!(run.flush());
}

#[test]
fn a_store_that_finds_no_space_is_held_for_reading_and_goes_on_when_there_is_some() {
    for is_new in [false, true] {
        let mut run = new_run();
        run.options.journal.segment_bytes = 2_000;
        run.open();
        play_on_full_store(&mut run);
        if !is_new {
            run.table();
            run.checkpoint();
        }
        play_on_full_store(&mut run);
        run.crash();
        if is_new {
            run.disk.remove("store.redb").expect("there is one");
        }
        run.disk.set_store_full(true);
        run.open();
        let core = run.core();
        assert!(core.store().is_held(), "redb has something to write after a crash");
        run.compare_all(&core);
        // A repeated key is known, wherever it is, and what is new goes on.
        assert!(run.submit(&tiny_account(), Some((3, 1)), false));
        assert!(run.submit(&tiny_account(), Some((200, 1)), false));
        assert!(run.flush());
        assert!(core.table_keys().is_err(), "a table has no place");
        assert!(!core.checkpoint_now(), "nor has a checkpoint");
        run.compare_all(&core);
        run.disk.set_store_full(false);
        while core.table_keys().expect("there is room") {}
        assert!(core.checkpoint_now() && !core.store().is_held());
        assert!(run.submit(&tiny_account(), Some((3, 1)), false), "it was in a segment whose table had to wait");
        run.compare_all(&core);
        drop(core);
        run.crash();
        run.open();
        let core = run.core();
        run.compare_all(&core);
    }
}
