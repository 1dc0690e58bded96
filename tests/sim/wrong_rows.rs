//! Rows of the store that are well formed, sealed, and wrong: verify names every kind of them, in the store and
//! in the memory of an engine that was loaded from it.
//!
//! Flipped bits are the seals' business (`rot`); these rows are written through the store's own door, as a
//! bug in the engine would write them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use munim::disk::Disk;
use munim::domain::ids::{Moment, Seq};
use munim::domain::time::Day;
use munim::domain::transfer::Hold;
use munim::engine::recovery::{self, STORE_FILE};
use munim::reconcile::verify::{Expected, VerifyReport, verify};
use munim::store::{Checkpoint, KeyKind, ResolutionKind, Store};

use super::driver::Run;

const CACHE_BYTES: usize = 1 << 20;

type KeyRows = Vec<([u8; 16], Seq)>;

/// What the store of good books says.
struct Good {
    holds: Vec<(Seq, Hold)>,
    fates: Vec<(Seq, Seq, ResolutionKind)>,
    last: Seq,
}

impl Good {
    fn of(store: &Store) -> Good {
        let (mut holds, mut fates) = (Vec::new(), Vec::new());
        store.load_holds(&mut |seq, hold| holds.push((seq, hold))).unwrap();
        store.load_resolutions(&mut |original, by, kind| fates.push((original, by, kind))).unwrap();
        Good { holds, fates, last: store.meta().unwrap().unwrap().checkpoint_seq }
    }
}

/// The first seed whose books have everything that is to be damaged; found once.
static SEED: OnceLock<u64> = OnceLock::new();

/// Books with keys in sealed segments, every kind of fate, and open holds; closed in good order.
fn books() -> Run {
    books_of(*SEED.get_or_init(|| {
        let has_all = |seed: &u64| {
            let base = books_of(*seed);
            let store = open(&base.disk.fork(3));
            let good = Good::of(&store);
            let fates: BTreeSet<ResolutionKind> = good.fates.iter().map(|fate| fate.2).collect();
            let keys =
                |kind| store.key_segments(kind).into_iter().map(|first| key_rows(&store, kind, first).len()).max();
            fates.len() == 4
                && !good.holds.is_empty()
                && keys(KeyKind::Idempotency) > Some(2)
                && keys(KeyKind::External) > Some(2)
        };
        (21..121).find(has_all).expect("some books have everything")
    }))
}

fn books_of(seed: u64) -> Run {
    let mut run = Run::new(seed);
    run.is_wild = false;
    run.options.journal.segment_bytes = 24_000;
    run.open();
    for step in 0..300 {
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
        if step % 40 == 39 && step < 220 {
            run.hands.pass(86_400_000_000);
        }
    }
    assert!(run.flush());
    while run.live.as_mut().is_some_and(|live| live.maintenance.step()) {}
    run.table();
    run.checkpoint();
    run.live = None;
    run
}

fn open(disk: &super::disk::SimDisk) -> Store {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::open(disk.as_ref(), STORE_FILE, CACHE_BYTES).expect("the store opens")
}

/// Verifies a folder whose store was changed: the store's rows, and the memory that was loaded from them.
fn both(base: &Run, change: &dyn Fn(&Store)) -> [VerifyReport; 2] {
    let journal: Arc<dyn Disk> = Arc::new(base.disk.fork(1));
    let good = recovery::open(&journal, &base.options, Box::new(base.hands.clone())).expect("good books open");
    let copy = base.disk.fork(2);
    let store = open(&copy);
    change(&store);
    let of_store = {
        let expected = Expected::from_store(&store).expect("the store reads");
        verify(good.core.journal(), &expected, &mut |_| {})
    };
    drop(store);
    let disk: Arc<dyn Disk> = Arc::new(copy);
    let loaded = recovery::open(&disk, &base.options, Box::new(base.hands.clone())).expect("what is well formed loads");
    let expected = Expected::from_memory(&loaded.core).expect("the store reads");
    let of_memory = verify(loaded.core.journal(), &expected, &mut |_| {});
    [of_store, of_memory]
}

fn check(base: &Run, what: &str, told: &str, change: &dyn Fn(&Store)) {
    for report in both(base, change) {
        assert!(!report.ok && report.problem_count >= 1, "{what}: {report:?}");
        assert!(report.problems.iter().any(|problem| problem.contains(told)), "{what}: {report:?}");
    }
}

fn with_checkpoint(store: &Store, change: &dyn Fn(&mut Checkpoint<'_>)) {
    let mut checkpoint = store.begin().unwrap();
    change(&mut checkpoint);
    checkpoint.commit().unwrap();
}

fn key_rows(store: &Store, kind: KeyKind, first: Seq) -> KeyRows {
    let mut rows = Vec::new();
    assert!(store.load_key_table(kind, first, &mut |hash, seq| rows.push((hash, seq))).unwrap());
    rows
}

/// Changes the rows of the fullest key table of a kind.
fn with_keys(store: &Store, kind: KeyKind, change: &dyn Fn(&mut KeyRows)) {
    let tables = store.key_segments(kind).into_iter().map(|first| (key_rows(store, kind, first), first));
    let (mut rows, first) = tables.max_by_key(|(rows, _)| rows.len()).expect("segments were sealed");
    assert!(rows.len() > 2, "the script uses keys");
    change(&mut rows);
    rows.sort_unstable();
    store.write_key_table(first, kind, &rows, Moment(i64::MAX)).unwrap();
}

#[test]
fn good_books_are_whole_in_the_store_and_in_memory() {
    let base = books();
    for report in both(&base, &|_| {}) {
        assert!(report.ok, "{report:?}");
    }
}

#[test]
fn a_wrong_hold_is_named() {
    let base = books();
    let good = Good::of(&open(&base.disk.fork(3)));
    let (seq, hold) = *good.holds.first().expect("the script leaves holds open");
    let told = format!("hold seq={seq}");
    let none = || std::iter::empty::<Seq>();
    check(&base, "lost", &told, &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.holds(std::iter::empty(), [seq].into_iter()).unwrap());
    });
    let wrong = [
        Hold { amount: hold.amount + 1, ..hold },
        Hold { debit: hold.credit, credit: hold.debit, ..hold },
        Hold { code: hold.code ^ 1, ..hold },
        Hold { effective: Some(Day(7)), ..hold },
        Hold { expires_at: Some(Moment(i64::MAX)), ..hold },
    ];
    for wrong in wrong {
        check(&base, "changed", &told, &|store| {
            with_checkpoint(store, &|checkpoint| checkpoint.holds([(seq, wrong)].into_iter(), none()).unwrap());
        });
    }
    let (ended, ..) = *good.fates.iter().find(|fate| fate.2 == ResolutionKind::Voided).expect("the script voids");
    check(&base, "come back", &format!("hold seq={ended}"), &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.holds([(ended, hold)].into_iter(), none()).unwrap());
    });
    let unborn = good.last.next();
    check(&base, "invented", &format!("hold seq={unborn}"), &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.holds([(unborn, hold)].into_iter(), none()).unwrap());
    });
}

#[test]
fn a_wrong_total_of_the_general_ledger_is_named() {
    let base = books();
    let mut days = Vec::new();
    open(&base.disk.fork(3)).load_gl_days(&mut |day, lines| days.push((day, lines))).unwrap();
    let (day, lines) = days.first().expect("the script posts");
    let mut lines: BTreeMap<_, _> = lines.iter().copied().collect();
    let told = format!("on {day} as of seq=");
    // Both sides, so that the books still balance when they are loaded.
    let total = lines.values_mut().next().expect("a day has lines");
    (total.debits, total.credits) = (total.debits + 5, total.credits + 5);
    check(&base, "changed", &told, &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.gl_day(*day, &lines).unwrap());
    });
    check(&base, "lost", &told, &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.gl_day(*day, &BTreeMap::new()).unwrap());
    });
    let last = Day(u16::MAX - 1);
    let other: BTreeMap<_, _> =
        lines.iter().take(1).map(|(gl, _)| (*gl, munim::domain::gl::GlTotals { debits: 3, credits: 3 })).collect();
    check(&base, "invented", &format!("on {last} as of seq="), &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.gl_day(last, &other).unwrap());
    });
}

#[test]
fn a_wrong_resolution_is_named() {
    let base = books();
    let good = Good::of(&open(&base.disk.fork(3)));
    for kind in [ResolutionKind::Posted, ResolutionKind::Voided, ResolutionKind::Expired, ResolutionKind::Reversed] {
        let Some(fate) = good.fates.iter().find(|fate| fate.2 == kind) else {
            panic!("the script makes {kind:?}");
        };
        let (original, by, _) = *fate;
        for by in [Seq(by.0 + 1), good.last, good.last.next()].into_iter().filter(|other| *other != by) {
            check(&base, "changed", "resolution", &|store| {
                with_checkpoint(store, &|checkpoint| checkpoint.resolutions(&[(original, by, kind)]).unwrap());
            });
        }
    }
    let (original, by, kind) = good.fates[0];
    let other = if kind == ResolutionKind::Voided { ResolutionKind::Expired } else { ResolutionKind::Voided };
    check(&base, "invented", "resolution", &|store| {
        with_checkpoint(store, &|checkpoint| checkpoint.resolutions(&[(original, by, other)]).unwrap());
    });
}

#[test]
fn a_wrong_row_of_a_key_table_is_named() {
    let base = books();
    for (kind, name) in [(KeyKind::Idempotency, "idempotency key"), (KeyKind::External, "external id")] {
        check(&base, "changed", name, &|store| with_keys(store, kind, &|rows| rows[1].1 = Seq(rows[1].1.0 + 1)));
        check(&base, "lost", &format!("lacks the {name} of seq="), &|store| {
            with_keys(store, kind, &|rows| {
                rows.remove(1);
            });
        });
        check(&base, "invented", "the journal does not", &|store| {
            with_keys(store, kind, &|rows| rows.push(([7; 16], Seq(1))));
        });
        check(&base, "of no segment", "which is none", &|store| {
            store.write_key_table(Seq(999_999), KeyKind::External, &[], Moment(0)).unwrap();
        });
    }
}

#[test]
fn a_wrong_fact_of_an_account_or_the_calendar_is_named() {
    let base = books();
    let store = open(&base.disk.fork(3));
    let mut accounts = Vec::new();
    store.load_accounts(&mut |_, rows| accounts.extend(rows)).unwrap();
    let meta = store.meta().unwrap().unwrap();
    let wrong: [&dyn Fn(&mut munim::domain::account::Account); 5] = [
        &|row| row.version += 1,
        &|row| row.cold_seq = Seq(row.cold_seq.0 + 1),
        &|row| row.gl = munim::domain::account::GlNo((row.gl.0 + 1) % 2),
        &|row| row.previous_day = Day(row.previous_day.0 + 1),
        &|row| row.debits_posted += 1,
    ];
    for wrong in wrong {
        let mut rows = accounts.clone();
        wrong(&mut rows[0]);
        check(&base, "account", "as of seq=", &|store| {
            with_checkpoint(store, &|checkpoint| checkpoint.accounts(0, &rows).unwrap());
        });
    }
    for meta in [
        munim::store::Meta { business_date: Day(meta.business_date.0 + 1), ..meta.clone() },
        munim::store::Meta { closed_through: Some(Day(3)), ..meta.clone() },
    ] {
        let [of_store, _] = both(&base, &|store| {
            with_checkpoint(store, &|checkpoint| checkpoint.meta(&meta).unwrap());
        });
        assert!(of_store.problems.iter().any(|problem| problem.starts_with("business date")), "{of_store:?}");
    }
}
