//! Bit rot: flips at random places of sealed and active segments and of the store, and segments that
//! are truncated, swapped, missing or foreign.
//!
//! 1. One set of books is built by a script: several sealed segments, an active one, a store.
//! 2. On a copy, one bit is flipped, four times in five in a sector that holds something.
//! 3. The copy is verified and opened. What opens is read through and compared with the model: a read
//!    may say that it cannot, it may not lie. Every damage that verify meets has its first bad seq named.
//!
//! `MUNIM_FLIPS=10000` flips that often; the default is a few hundred.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Arc, Once};

use munim::disk::{Disk, OverlayDisk};
use munim::engine::recovery::{self, OpenError, STORE_FILE};
use munim::journal::verify::{FileHashes, chain};
use munim::reconcile::verify::{Expected, verify};

use super::disk::{Dice, SimDisk};
use super::driver::Run;

const FLIPS_DEFAULT: u64 = 150;

thread_local! {
    static PANICKED_IN: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Remembers where a thread panicked; redb asserts on some damage to its own pages.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let file = info.location().map_or(String::new(), |place| place.file().to_owned());
            PANICKED_IN.with(|cell| *cell.borrow_mut() = file);
            before(info);
        }));
    });
}

/// Runs something that may meet damage. `None` when redb asserted on it: the process stops, which is
/// no wrong answer. Any other panic goes on.
fn stopped<T>(work: impl FnOnce() -> T) -> Option<T> {
    watch_panics();
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => Some(value),
        Err(cause) => {
            let is_redb = PANICKED_IN.with(|cell| cell.borrow().contains("redb"));
            if is_redb { None } else { std::panic::resume_unwind(cause) }
        }
    }
}

/// Books with several segments, closed in good order.
fn books() -> Run {
    let mut run = Run::new(11);
    run.is_wild = false;
    run.options.journal.segment_bytes = 12_000;
    run.open();
    for step in 0..220 {
        run.command();
        run.write();
        if let Some(live) = &mut run.live {
            live.maintenance.step();
        }
        match step % 17 {
            5 => run.table(),
            11 => run.checkpoint(),
            13 => run.tick(),
            _ => {}
        }
        if step % 40 == 39 {
            run.hands.pass(86_400_000_000);
        }
    }
    assert!(run.flush());
    while run.live.as_mut().is_some_and(|live| live.maintenance.step()) {}
    // As at the end of a shutdown.
    if let Some(live) = &run.live {
        live.core.journal().close_files();
    }
    run.live = None;
    run
}

fn segments(disk: &SimDisk) -> Vec<String> {
    let names = disk.list().expect("the folder has power");
    names.into_iter().filter(|name| name.starts_with("journal-") && name != "journal-next.redb").collect()
}

fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A byte to damage, mostly in a sector that is not empty.
fn place(dice: &mut Dice, disk: &SimDisk, name: &str, bytes: &[u8]) -> u64 {
    let wants_live = dice.chance(85);
    for _ in 0..200 {
        let byte = dice.below(disk.file_len(name));
        let sector = (byte as usize / 512) * 512;
        let is_live = bytes[sector..(sector + 512).min(bytes.len())].iter().any(|byte| *byte != 0);
        if !wants_live || is_live {
            return byte;
        }
    }
    dice.below(disk.file_len(name))
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    refused: u64,
    asserted: u64,
    rebuilt: u64,
    opened: u64,
    verify_found: u64,
    /// redb ended the process, which said which file is damaged.
    ended: u64,
}

impl Seen {
    /// Adds the five numbers that a process printed for one flip.
    fn add(&mut self, line: &str) {
        let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().expect("a number")).collect();
        let [refused, asserted, rebuilt, opened, verify_found] = numbers[..] else { panic!("five numbers: {line}") };
        self.merge(&Seen { refused, asserted, rebuilt, opened, verify_found, ended: 0 });
    }

    fn merge(&mut self, other: &Seen) {
        self.refused += other.refused;
        self.asserted += other.asserted;
        self.rebuilt += other.rebuilt;
        self.opened += other.opened;
        self.verify_found += other.verify_found;
        self.ended += other.ended;
    }
}

/// Opens a damaged copy and reads everything. Adds to `seen`.
fn open_damaged(base: &Run, copy: &SimDisk, what: &str, seen: &mut Seen) {
    let mut run = base.on(copy.clone());
    let opened = stopped(|| {
        run.is_damaged = true;
        let disk: Arc<dyn Disk> = Arc::new(copy.clone());
        match recovery::open(&disk, &run.options, Box::new(run.hands.clone())) {
            Err(error) => {
                let told = text(&error);
                if let OpenError::Journal(error) = &error {
                    let is_named =
                        error.first_bad_seq().is_some() || told.contains("journal") || told.contains("MANIFEST");
                    assert!(is_named, "{what}: {told}");
                }
                None
            }
            Ok(parts) => {
                let is_rebuilt = parts.report.rebuilt_store;
                run.take(parts);
                // redb writes to a file when it closes it, and may assert then, too.
                run.live = None;
                Some(is_rebuilt)
            }
        }
    });
    match opened {
        None => seen.asserted += 1,
        Some(None) => seen.refused += 1,
        Some(Some(true)) => seen.rebuilt += 1,
        Some(Some(false)) => seen.opened += 1,
    }
}

/// Verifies a copy without changing it. Whether it found something.
fn verify_finds(base: &Run, copy: &SimDisk, is_sealed: bool, what: &str) -> bool {
    let before = copy.operations();
    let overlay: Arc<dyn Disk> = Arc::new(OverlayDisk::over(Arc::new(copy.clone())));
    let found = stopped(|| {
        let hashes = chain(Arc::clone(&overlay), base.options.journal.clone(), FileHashes::Check, &mut |_| {});
        if let Err(error) = &hashes {
            let told = text(error);
            assert!(
                error.first_bad_seq().is_some() || told.contains("journal") || told.contains("MANIFEST"),
                "{what}: {told}"
            );
        }
        let opened = recovery::open(&overlay, &base.options, Box::new(base.hands.clone()));
        let Ok(parts) = opened else { return true };
        let expected = Expected::from_store(parts.core.store());
        let report = expected.map(|expected| verify(parts.core.journal(), &expected, &mut |_| {}));
        let is_bad = report.as_ref().map_or(true, |report| !report.ok);
        if let Ok(report) = report
            && !report.ok
        {
            // Of the store alone no entry is bad.
            let is_of_store = report.problems.iter().all(|problem| problem.starts_with("the store is damaged"));
            assert!(report.first_bad_seq.is_some() || is_of_store, "{what}: {report:?}");
        }
        hashes.is_err() || is_bad || parts.report.rebuilt_store
    });
    assert_eq!(copy.operations(), before, "verify changes nothing");
    let is_found = found.unwrap_or(true);
    assert!(is_found || !is_sealed, "verify finds every flip in a sealed segment: {what}");
    is_found
}

/// The flips of one process: redb asserts twice on some pages, which ends the process. By itself it
/// makes a few; the test below starts it for all the others.
#[test]
fn flips_of_one_process() {
    let base = books();
    let names = segments(&base.disk);
    assert!(names.len() >= 4, "{names:?}");
    let active = names.last().expect("there is one").clone();
    let all: Vec<(String, Vec<u8>)> = names
        .iter()
        .chain([&STORE_FILE.to_owned()])
        .map(|name| (name.clone(), base.disk.read(name).expect("the folder has power")))
        .collect();
    let first = super::seeds::setting("MUNIM_FLIPS_HERE_FROM").unwrap_or(0);
    let flips = super::seeds::setting("MUNIM_FLIPS_HERE").unwrap_or(5);
    let mut failed = Vec::new();
    for flip in first..first + flips {
        let mut dice = Dice::new(flip);
        // A third each: sealed segments, the active one, the store.
        let at = match dice.below(3) {
            0 => dice.below(names.len() as u64 - 1) as usize,
            1 => names.len() - 1,
            _ => names.len(),
        };
        let (name, bytes) = &all[at];
        let byte = place(&mut dice, &base.disk, name, bytes);
        let bit = dice.below(8) as u8;
        let copy = base.disk.fork(flip);
        copy.flip(name, byte, bit);
        let what = format!("flip {flip}: {name} byte {byte} bit {bit}");
        println!("AT {flip} {name}");
        let mut seen = Seen::default();
        let done = catch_unwind(AssertUnwindSafe(|| {
            let is_sealed = *name != active && name != STORE_FILE;
            seen.verify_found += u64::from(verify_finds(&base, &copy, is_sealed, &what));
            open_damaged(&base, &copy, &what, &mut seen);
        }));
        if done.is_err() {
            eprintln!("{what} failed: MUNIM_FLIP_FROM={flip} MUNIM_FLIPS=1");
            failed.push(what);
        }
        let Seen { refused, asserted, rebuilt, opened, verify_found, .. } = seen;
        println!("SEEN {refused} {asserted} {rebuilt} {opened} {verify_found}");
    }
    assert!(failed.is_empty(), "{} of {flips}: {:?}", failed.len(), &failed[..failed.len().min(10)]);
}

/// Runs the flips `first..end` in processes, going on behind a flip that ends one.
fn flips_in_processes(first: u64, end: u64) -> Seen {
    let mut seen = Seen::default();
    let mut next = first;
    while next < end {
        let output = Command::new(std::env::current_exe().expect("a test knows its own path"))
            .args(["rot::flips_of_one_process", "--exact", "--nocapture"])
            .env("MUNIM_FLIPS_HERE_FROM", next.to_string())
            .env("MUNIM_FLIPS_HERE", (end - next).to_string())
            .output()
            .expect("the test binary runs");
        let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let mut at = None;
        // The harness prints the test's name without a line's end before our first line.
        for line in told.lines() {
            if let Some(rest) = line.split_once("AT ").map(|(_, rest)| rest) {
                let (flip, name) = rest.split_once(' ').expect("number and name");
                at = Some((flip.parse::<u64>().expect("a number"), name.to_owned()));
            } else if let Some(rest) = line.strip_prefix("SEEN ") {
                seen.add(rest);
            }
        }
        let (flip, name) = at.unwrap_or_else(|| panic!("no flip was made from {next}: {errors}"));
        if output.status.success() {
            assert_eq!(flip + 1, end, "every flip was made");
            return seen;
        }
        // Only an end that says what is damaged is no wrong answer.
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "flip {flip}: {errors}");
        assert!(errors.contains(&format!("munim: {name} is damaged")), "flip {flip} of {name}: {errors}");
        seen.ended += 1;
        next = flip + 1;
    }
    seen
}

#[test]
fn a_flipped_bit_is_found_or_harmless_and_never_a_silent_wrong_answer() {
    let first = super::seeds::setting("MUNIM_FLIP_FROM").unwrap_or(0);
    let flips = super::seeds::setting("MUNIM_FLIPS").unwrap_or(FLIPS_DEFAULT);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let share = flips.div_ceil(threads);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let from = first + part * share;
                scope.spawn(move || flips_in_processes(from, (from + share).min(first + flips)))
            })
            .collect();
        for part in parts {
            let part = part.join().expect("no flip gave a wrong answer");
            seen.merge(&part);
        }
    });
    println!("{flips} flips: {seen:?}");
    assert!(flips < 100 || seen.verify_found * 3 > flips, "{seen:?}");
}

/// The error of opening a copy; it must be refused.
fn refusal(base: &Run, copy: &SimDisk, what: &str) -> String {
    let disk: Arc<dyn Disk> = Arc::new(copy.clone());
    match stopped(|| recovery::open(&disk, &base.options, Box::new(base.hands.clone())).map(|_| ())) {
        None => "redb asserted".to_owned(),
        Some(Ok(())) => panic!("{what}: opened"),
        Some(Err(error)) => text(&error),
    }
}

#[test]
fn segments_that_are_truncated_swapped_missing_or_foreign_are_named_and_refused() {
    let base = books();
    let names = segments(&base.disk);
    for name in &names {
        let copy = base.disk.fork(1);
        copy.remove(name).expect("it was listed");
        let told = refusal(&base, &copy, &format!("missing {name}"));
        assert!(told.contains("journal") || told.contains("seq="), "missing {name}: {told}");
        let copy = base.disk.fork(1);
        let bytes = copy.read(name).expect("it was listed");
        copy.write_atomically(name, &bytes[..bytes.len() / 2]).expect("no faults");
        let told = refusal(&base, &copy, &format!("truncated {name}"));
        assert!(told.contains("journal") || told == "redb asserted", "truncated {name}: {told}");
    }
    let copy = base.disk.fork(1);
    let (one, two) = (copy.read(&names[0]).expect("listed"), copy.read(&names[1]).expect("listed"));
    copy.write_atomically(&names[0], &two).expect("no faults");
    copy.write_atomically(&names[1], &one).expect("no faults");
    let told = refusal(&base, &copy, "swapped");
    assert!(told.contains(&names[0]), "swapped: {told}");

    let mut other = Run::new(12);
    other.is_wild = false;
    other.open();
    assert!(other.flush());
    other.live = None;
    let foreign = other.disk.read(&segments(&other.disk)[0]).expect("listed");
    for name in &names {
        let copy = base.disk.fork(1);
        copy.write_atomically(name, &foreign).expect("no faults");
        let told = refusal(&base, &copy, &format!("foreign {name}"));
        assert!(told.contains("journal"), "foreign {name}: {told}");
    }
    let copy = base.disk.fork(1);
    copy.write_atomically(STORE_FILE, &other.disk.read(STORE_FILE).expect("listed")).expect("no faults");
    // A store that has never seen a checkpoint names no journal; one that has is refused.
    let disk: Arc<dyn Disk> = Arc::new(copy.clone());
    let opened = recovery::open(&disk, &base.options, Box::new(base.hands.clone()));
    assert!(opened.is_ok_and(|parts| parts.report.checkpoint_seq.0 == 0));
}
