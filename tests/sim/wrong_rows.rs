//! Rows of the store that are well formed, sealed, and wrong: verify names every kind of them, in the store and
//! in the memory of an engine that was loaded from it.
//!
//! So are entries that a bug wrote into a journal: a loan that is not what its events give, a day that was ended
//! wrongly, legs that are not what was moved.
//!
//! Flipped bits are the seals' business (`rot`); these rows are written through the store's own door, as a
//! bug in the engine would write them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use munim::disk::Disk;
use munim::domain::account::Status;
use munim::domain::entry::{Entry, TransferEntry};
use munim::domain::ids::{AccountNo, IdKind, Moment, Seq, format_id};
use munim::domain::lending::loan::events::{LoanEvent, Mode};
use munim::domain::lending::loan::facts::{LoanApplication, LoanPosted, LoansSwept, SweptRow};
use munim::domain::lending::loan::state::{Class, LoanStatus};
use munim::domain::lending::loan::{LoanState, advance, pack, unpack};
use munim::domain::time::Day;
use munim::domain::transfer::Hold;
use munim::engine::loans::book::DayBook;
use munim::engine::loans::query::{read_lending, read_row};
use munim::engine::loans::table::LoanRow;
use munim::engine::recovery::{self, STORE_FILE};
use munim::journal::{Item, Journal, JournalOptions, Opened, Step};
use munim::reconcile::verify::{Expected, VerifyReport, verify};
use munim::store::{Checkpoint, KeyKind, ResolutionKind, Store};

use super::disk::SimDisk;
use super::driver::Run;
use super::loans::{self, Books};

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

/// Books with keys in tables, every kind of fate, and open holds; closed in good order.
fn books() -> Run {
    books_of(*SEED.get_or_init(|| {
        let has_all = |seed: &u64| {
            let base = books_of(*seed);
            let store = open(&base.disk.fork(3));
            let good = Good::of(&store);
            let fates: BTreeSet<ResolutionKind> = good.fates.iter().map(|fate| fate.2).collect();
            let keys =
                |kind| store.key_ranges(kind).into_iter().map(|(first, _)| key_rows(&store, kind, first).len()).max();
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

fn open(disk: &SimDisk) -> Store {
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
    let tables = store.key_ranges(kind).into_iter().map(|range| (key_rows(store, kind, range.0), range));
    let (mut rows, range) = tables.max_by_key(|(rows, _)| rows.len()).expect("tables were written");
    assert!(rows.len() > 2, "the script uses keys");
    change(&mut rows);
    rows.sort_unstable();
    store.write_key_table(range, kind, rows.iter().copied(), Moment(i64::MAX)).unwrap();
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
        let [of_store, of_memory] = both(&base, &|store| {
            store.write_key_table((Seq(999_999), Seq(999_999)), KeyKind::External, [].into_iter(), Moment(0)).unwrap();
        });
        assert!(of_store.problems.iter().any(|problem| problem.contains("where seq=")), "{of_store:?}");
        assert!(of_memory.ok, "a start makes a store with a gap anew: {of_memory:?}");
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

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, amount: i64) {
    put_varint(out, ((amount << 1) ^ (amount >> 63)).cast_unsigned());
}

/// A loan's row as the store has it.
fn loan_bytes(row: &LoanRow) -> Vec<u8> {
    let mut out = vec![u8::from(row.is_plain)];
    let seqs = [row.last_seq.0, row.applied_seq.0, row.applied_at.0.cast_unsigned()];
    let numbers = [row.customer, row.product, row.product_version, row.events].map(u64::from);
    seqs.into_iter().chain(numbers).for_each(|number| put_varint(&mut out, number));
    out.extend_from_slice(&row.state);
    out
}

/// Products and days as the store has them.
fn day_bytes(products: &[Seq], day: &DayBook) -> Box<[u8]> {
    let mut out = vec![u8::from(day.by_hand)];
    put_varint(&mut out, products.len() as u64);
    products.iter().for_each(|seq| put_varint(&mut out, seq.0));
    let dates = [u64::from(day.closed.0), u64::from(day.ended.0), day.ended_seq.0, u64::from(day.next_loan)];
    dates.into_iter().for_each(|number| put_varint(&mut out, number));
    put_varint(&mut out, day.sums.len() as u64);
    for ((date, product), sums) in &day.sums {
        [u64::from(date.0), u64::from(*product)].into_iter().for_each(|number| put_varint(&mut out, number));
        sums.moved.iter().for_each(|amount| put_signed(&mut out, *amount));
        sums.totals.loans.iter().for_each(|count| put_varint(&mut out, u64::from(*count)));
        sums.totals.outstanding.iter().for_each(|amount| put_signed(&mut out, *amount));
        put_signed(&mut out, sums.totals.provision);
    }
    put_varint(&mut out, day.provisions.len() as u64);
    for (product, held) in &day.provisions {
        put_varint(&mut out, u64::from(*product));
        put_signed(&mut out, *held);
    }
    put_varint(&mut out, day.ends.len() as u64);
    let mut before = (0, 0);
    for (date, seq) in &day.ends {
        [u64::from(date.0) - before.0, seq.0 - before.1].into_iter().for_each(|number| put_varint(&mut out, number));
        before = (u64::from(date.0), seq.0);
    }
    out.into()
}

/// As [`check`], for books that lend: what the store alone says, and what the memory says that was loaded from it.
fn check_lent(books: &Books, what: &str, told: &str, change: &dyn Fn(&Store)) {
    let copy = books.disk.fork(2);
    let store = open(&copy);
    change(&store);
    let of_store = {
        let expected = Expected::from_store(&store).expect("the store reads");
        verify(books.core.journal(), &expected, &mut |_| {})
    };
    drop(store);
    let disk: Arc<dyn Disk> = Arc::new(copy);
    let hands = Box::new(books.hands.clone());
    let loaded = recovery::open(&disk, &books.options, hands).expect("what is well formed loads");
    let expected = Expected::from_memory(&loaded.core).expect("the store reads");
    let of_memory = verify(loaded.core.journal(), &expected, &mut |_| {});
    for report in [of_store, of_memory] {
        let is_told = report.problems.iter().any(|problem| problem.contains(told));
        assert!(!report.ok && is_told, "{what}: {told} is not in {report:?}");
    }
}

#[test]
fn a_wrong_row_of_a_loan_is_named() {
    let books = loans::everything();
    let mut rows = Vec::new();
    let store = open(&books.disk.fork(3));
    store
        .load_loans(&mut |bytes| {
            let row = read_row(bytes)?;
            assert_eq!(loan_bytes(&row), bytes);
            rows.push(row);
            Some(())
        })
        .unwrap();
    drop(store);
    let changed = |row: &LoanRow, change: &dyn Fn(&mut LoanState)| {
        let mut state = row.unpacked();
        change(&mut state);
        let mut bytes = Vec::new();
        pack(&state, &mut bytes);
        LoanRow { state: bytes.into(), ..row.clone() }
    };
    let number = 2u32;
    let row = &rows[number as usize - 1];
    assert!(row.is_active);
    let id = format_id(IdKind::Loan, u64::from(number));
    let further = |row: &LoanRow| {
        let terms = books.core.loans().product(row.product, Some(row.product_version)).unwrap();
        changed(row, &|state| advance(state, &terms.saved.facts.terms, Day(state.advanced_through.0 + 40)))
    };
    for (what, wrong, told) in [
        ("newest event", LoanRow { last_seq: Seq(row.last_seq.0 + 1), ..row.clone() }, "has no such event of it"),
        ("older event", LoanRow { last_seq: row.applied_seq, ..row.clone() }, "of its state"),
        ("application", LoanRow { applied_seq: Seq(row.applied_seq.0 + 1), ..row.clone() }, "of its application"),
        ("moment", LoanRow { applied_at: Moment(row.applied_at.0 + 1), ..row.clone() }, "of its application"),
        ("customer", LoanRow { customer: row.customer % 2 + 1, ..row.clone() }, "of its customer"),
        ("product", LoanRow { product: row.product % 2 + 1, ..row.clone() }, "of its product"),
        ("events", LoanRow { events: row.events + 1, ..row.clone() }, "of its events"),
        ("texts", LoanRow { is_plain: true, ..row.clone() }, "of its texts and terms of its own"),
        ("outstanding", changed(row, &|state| state.outstanding += 1), "of its state"),
        ("days past due", changed(row, &|state| state.dpd += 1), "of its state"),
        ("status", changed(row, &|state| state.status = LoanStatus::Closed), "of its state, status"),
        ("days that are to come", further(row), "was run through"),
        ("another loan", LoanRow { last_seq: row.last_seq, ..rows[2].clone() }, "does not say what the journal does"),
    ] {
        check_lent(&books, what, told, &|store| {
            with_checkpoint(store, &|checkpoint| checkpoint.loan(number, &loan_bytes(&wrong)).unwrap());
        });
        check_lent(&books, what, &id, &|store| {
            with_checkpoint(store, &|checkpoint| checkpoint.loan(number, &loan_bytes(&wrong)).unwrap());
        });
    }
    let lost = format!("{} is not there", format_id(IdKind::Loan, rows.len() as u64));
    check_lent(&books, "lost", &lost, &|store| {
        let meta = store.meta().unwrap().unwrap();
        let meta = munim::store::Meta { loans: meta.loans - 1, ..meta };
        with_checkpoint(store, &|checkpoint| checkpoint.meta(&meta).unwrap());
    });
    let unborn = rows.len() as u32 + 1;
    let invented = format!("{} is as of", format_id(IdKind::Loan, u64::from(unborn)));
    check_lent(&books, "invented", &invented, &|store| {
        let meta = store.meta().unwrap().unwrap();
        let meta = munim::store::Meta { loans: unborn, ..meta };
        with_checkpoint(store, &|checkpoint| {
            checkpoint.loan(unborn, &loan_bytes(row)).unwrap();
            checkpoint.meta(&meta).unwrap();
        });
    });
}

#[test]
fn a_wrong_day_of_lending_is_named() {
    let books = loans::everything();
    let meta = open(&books.disk.fork(3)).meta().unwrap().unwrap();
    let (products, day) = read_lending(&meta.lending).unwrap();
    assert_eq!(day_bytes(&products, &day), meta.lending);
    type Change<'a> = &'a dyn Fn(&mut DayBook);
    let first = *day.sums.keys().next().expect("a day is half ended");
    let wrong: [(&str, Change<'_>); 12] = [
        ("business days", &|day| day.by_hand = !day.by_hand),
        ("business days", &|day| day.closed.0 += 1),
        ("business days", &|day| (day.ended.0, day.next_loan) = (day.ended.0 - 1, 1)),
        ("business days", &|day| day.ended_seq = Seq(1)),
        ("business days", &|day| day.next_loan += 1),
        ("ends of days", &|day| day.ends.clear()),
        ("ends of days", &|day| day.ends[0].1.0 -= 1),
        ("sums of days", &|day| day.sums.clear()),
        ("sums of days", &|day| day.sums.get_mut(&first).unwrap().moved[2] += 1),
        ("sums of days", &|day| day.sums.get_mut(&first).unwrap().totals.provision += 1),
        ("provisions", &|day| *day.provisions.get_mut(&1).unwrap() += 1),
        ("provisions", &|day| day.provisions.clear()),
    ];
    let write = |products: &[Seq], day: &DayBook, told: &str| {
        let meta = munim::store::Meta { lending: day_bytes(products, day), ..meta.clone() };
        check_lent(&books, told, told, &|store| {
            with_checkpoint(store, &|checkpoint| checkpoint.meta(&meta).unwrap());
        });
    };
    for (told, change) in wrong {
        let mut day = day.clone();
        change(&mut day);
        write(&products, &day, told);
    }
    let mut more = products.clone();
    more.push(products[0]);
    write(&more, &day, "products");
}

#[test]
fn a_wrong_key_of_lending_is_named() {
    let books = loans::everything();
    let store = open(&books.disk.fork(3));
    let mut rows = BTreeMap::new();
    for range in store.key_ranges(KeyKind::External) {
        rows.insert(range, key_rows(&store, KeyKind::External, range.0));
    }
    drop(store);
    let all = rows.values().map(Vec::len).sum::<usize>();
    // A product, four loans, four payments; what came last has no table.
    assert!(all >= 8, "{rows:?}");
    for (range, rows) in &rows {
        for place in 0..rows.len() {
            check_lent(&books, "lost", "lacks the external id of seq=", &|store| {
                let mut rows = rows.clone();
                rows.remove(place);
                store.write_key_table(*range, KeyKind::External, rows.iter().copied(), Moment(i64::MAX)).unwrap();
            });
            check_lent(&books, "changed", "external id of seq=", &|store| {
                let mut rows = rows.clone();
                rows[place].1 = Seq(rows[place].1.0 + 1);
                store.write_key_table(*range, KeyKind::External, rows.iter().copied(), Moment(i64::MAX)).unwrap();
            });
        }
    }
}

/// A journal that a bug would have written: the entries of good books, the first that `change` takes changed. What
/// verify says of it, and which entry it was.
fn rewritten(books: &Books, change: &dyn Fn(&mut Entry) -> bool) -> (VerifyReport, Seq) {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(5));
    let (opened, changed) = rewrite(books, &disk, change);
    let report = verify_alone(&opened.journal);
    (report, changed.expect("there is such an entry"))
}

/// What verify says of a journal without a store.
fn verify_alone(journal: &Journal) -> VerifyReport {
    let store = Store::open(&SimDisk::new(6), STORE_FILE, CACHE_BYTES).expect("a store is made");
    let expected = Expected::from_store(&store).expect("the store reads");
    verify(journal, &expected, &mut |_| {})
}

const SMALL: u64 = 1 << 18;

fn rewrite(books: &Books, disk: &Arc<dyn Disk>, change: &dyn Fn(&mut Entry) -> bool) -> (Opened, Option<Seq>) {
    let options = JournalOptions {
        journal_id: 9,
        segment_bytes: SMALL,
        pending_bytes_max: SMALL as usize,
        ..JournalOptions::default()
    };
    let mut opened = munim::journal::open(Arc::clone(disk), options).unwrap();
    let mut changed = None;
    let mut record = Vec::new();
    let mut head = (Moment(0), Day(0));
    let _ = books.core.journal().scan(Seq(1), &mut |item| {
        match item {
            Item::Record { moment, date, .. } => head = (moment, date),
            Item::Entry { seq, entry } => {
                let mut entry = entry.clone();
                if changed.is_none() && change(&mut entry) {
                    changed = Some(seq);
                }
                record.push(entry);
            }
            Item::End { trailer, .. } => {
                let mut sequencer = opened.journal.lock();
                sequencer.begin(head.0, head.1);
                record.drain(..).for_each(|entry| {
                    sequencer.push(&entry);
                });
                sequencer.end(trailer);
                drop(sequencer);
                while let Step::Committed { .. } = opened.writer.step() {}
            }
        }
        std::ops::ControlFlow::Continue(())
    });
    (opened, changed)
}

/// Made by the first version that lends, and by the first with settlements and ends of months, and never made again:
/// `MUNIM_WRITE_LENDING=<new folder>` shows how.
#[test]
fn the_first_journals_of_lending_are_whole_for_ever() {
    use munim::disk::FolderDisk;
    if let Some(folder) = std::env::var_os("MUNIM_WRITE_LENDING") {
        let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder).unwrap());
        let (opened, _) = rewrite(&loans::everything(), &disk, &|_| false);
        let hash: String = opened.journal.chain_head().1.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{hash}");
        opened.journal.close_files();
    }
    let first = kinds_of("lending");
    assert!(first[..6].iter().all(|count| *count > 1), "{first:?}");
    let second = kinds_of("lending2");
    assert!(second.iter().all(|count| *count > 0), "{second:?}");
}

/// How many entries of each kind are in a journal of the past, which verifies to its head: customers, products, events,
/// closings, sweeps, ends of days, ends of months; settlements, pauses, watches.
fn kinds_of(name: &str) -> [u32; 10] {
    use munim::disk::{FolderDisk, OverlayDisk};
    let folder = format!("{}/data/journal/{name}", env!("CARGO_MANIFEST_DIR"));
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::over(Arc::new(FolderDisk::open_to_read(&folder).unwrap())));
    let options = JournalOptions { segment_bytes: SMALL, pending_bytes_max: SMALL as usize, ..Default::default() };
    let opened = munim::journal::open(Arc::clone(&disk), options).unwrap();
    let mut kinds = [0; 10];
    let _ = opened.journal.scan(Seq(1), &mut |item| {
        if let Item::Entry { entry, .. } = item {
            let kind = match entry {
                Entry::CustomerSaved(_) => 0,
                Entry::ProductSaved(_) => 1,
                Entry::LoanPosted(posted) => match posted.event {
                    LoanEvent::Settled { .. } => 7,
                    LoanEvent::Paused { .. } => 8,
                    LoanEvent::Watched { .. } => 9,
                    _ => 2,
                },
                Entry::DayClosed(_) => 3,
                Entry::LoansSwept(_) => 4,
                Entry::DayEnded(_) => 5,
                Entry::MonthEnded(_) => 6,
                _ => return std::ops::ControlFlow::Continue(()),
            };
            kinds[kind] += 1;
        }
        std::ops::ControlFlow::Continue(())
    });
    let report = verify_alone(&opened.journal);
    assert!(report.ok, "{name}: {report:?}");
    let hash: String = report.chain_head.expect("a head").1.iter().map(|byte| format!("{byte:02x}")).collect();
    let head = std::fs::read_to_string(format!("{folder}/HEAD")).unwrap();
    assert_eq!(hash, head.trim(), "{name}");
    kinds
}

type Bug<'a> = (&'a str, &'a str, &'a dyn Fn(&mut Entry) -> bool);

fn check_bugs(bugs: &[Bug<'_>]) {
    let books = loans::everything();
    for (what, told, change) in bugs {
        let (report, seq) = rewritten(&books, change);
        let told = told.replace("SEQ", &format!("seq={seq}"));
        let is_told = report.problems.iter().any(|problem| problem.contains(&told));
        assert!(!report.ok && is_told, "{what}: {told} is not in {report:?}");
        let first = report.first_bad_seq.expect("a place");
        assert!(first >= seq && first.0 - seq.0 < 20, "{what}: seq={first} for seq={seq}");
    }
}

/// A change of an event of a loan.
macro_rules! posted {
    ($at:pat => $change:expr) => {
        &|entry| {
            let Entry::LoanPosted(posted) = entry else { return false };
            #[allow(irrefutable_let_patterns, reason = "some callers take any event")]
            let $at = posted.event else { return false };
            let change: &dyn Fn(&mut LoanPosted) = &$change;
            change(posted);
            true
        }
    };
}

/// A change of the first sweep that has rows.
macro_rules! swept {
    ($change:expr) => {
        &|entry| {
            let Entry::LoansSwept(swept) = entry else { return false };
            let change: &dyn Fn(&mut LoansSwept) = &$change;
            if swept.rows.len() < 2 || swept.last == 0 {
                return false;
            }
            change(swept);
            true
        }
    };
}

fn edit(posted: &mut LoanPosted, change: &dyn Fn(&mut LoanState)) {
    let mut state = unpack(&posted.state).expect("it was packed");
    change(&mut state);
    let mut bytes = Vec::new();
    pack(&state, &mut bytes);
    posted.state = bytes.into();
}

#[test]
fn a_loan_that_a_bug_wrote_is_named() {
    use LoanEvent::{Applied, BorrowerFell, ReceiptReversed, Received};
    let (good, _) = rewritten(&loans::everything(), &|entry| matches!(entry, Entry::LoanPosted(_)));
    assert!(good.ok, "{good:?}");
    check_bugs(&[
        (
            "state",
            "entry SEQ: loan_0000000000002: its events give",
            posted!(Received { .. } => |posted| {
                edit(posted, &|state| state.totals.received += 1);
            }),
        ),
        (
            "state of an application",
            "entry SEQ: loan_0000000000001: its",
            posted!(Applied { .. } => |posted| {
                edit(posted, &|state| state.sanctioned += 1);
            }),
        ),
        (
            "state of what was folded anew",
            "entry SEQ: loan_",
            posted!(ReceiptReversed { .. } => |posted| {
                edit(posted, &|state| state.dpd += 1);
            }),
        ),
        (
            "state of what its borrower did",
            "entry SEQ: loan_0000000000001: its events give",
            posted!(BorrowerFell { .. } => |posted| {
                edit(posted, &|state| state.borrower_npa_since = None);
            }),
        ),
        ("packed", "is not understood", posted!(Received { .. } => |posted| posted.state[0] = 77)),
        ("split", "its events pay", posted!(Received { .. } => |posted| posted.split.principal += 1)),
        (
            "amount",
            "its events give",
            posted!(Received { .. } => |posted| {
                posted.event = Received { amount: 1, tds: 0, mode: Mode::Upi };
            }),
        ),
    ]);
}

#[test]
fn an_event_that_a_bug_wrote_is_named() {
    use LoanEvent::{Applied, Approved, Disbursed, ReceiptReversed, Received};
    check_bugs(&[
        ("value date", "its events give", posted!(Disbursed { .. } => |posted| posted.value_date.0 -= 1)),
        ("to come", "is a day to come", posted!(Disbursed { .. } => |posted| posted.value_date.0 += 1)),
        ("settlement", "its legs leave", posted!(Received { .. } => |posted| posted.settlement = None)),
        (
            "no account",
            "does not exist",
            posted!(Received { .. } => |posted| posted.settlement = Some(AccountNo(9_999))),
        ),
        ("link", "does not follow", posted!(Received { .. } => |posted| posted.previous.0 -= 1)),
        ("count", "does not follow", posted!(Received { .. } => |posted| posted.events_before += 1)),
        ("number", "which does not exist", posted!(Received { .. } => |posted| posted.loan += 99)),
        (
            "undoes another",
            "is no event of it that stands",
            posted!(ReceiptReversed { .. } => |posted| {
                posted.event = ReceiptReversed { of: 1 };
            }),
        ),
        (
            "two applications",
            "does not follow",
            posted!(Approved => |posted| {
                posted.application = Some(Box::new(application()));
            }),
        ),
        ("no application", "without an application", posted!(Applied { .. } => |posted| posted.application = None)),
        (
            "no customer",
            "who does not exist",
            posted!(Applied { .. } => |posted| {
                posted.application.as_mut().unwrap().customer = 99;
            }),
        ),
        (
            "no product",
            "which is none",
            posted!(Applied { .. } => |posted| {
                posted.application.as_mut().unwrap().product_version = 9;
            }),
        ),
        (
            "principal",
            "does not begin",
            posted!(Applied { .. } => |posted| {
                posted.application.as_mut().unwrap().principal += 1;
            }),
        ),
    ]);
}

fn application() -> LoanApplication {
    LoanApplication {
        customer: 1,
        product: 1,
        product_version: 1,
        principal: 1,
        instalments: None,
        annual_rate_pct: None,
        first_due_on: None,
        charges: None,
        external_id: None,
        metadata: Vec::new(),
    }
}

#[test]
fn a_day_that_a_bug_ended_is_named() {
    check_bugs(&[
        (
            "moved",
            "it came to",
            swept!(|swept| {
                swept.rows[0].moved[2] += 1;
                swept.rows[0].moved[9] -= 1;
            }),
        ),
        ("past due", "it came to", swept!(|swept| swept.rows[1].dpd += 1)),
        ("class", "it came to", swept!(|swept| swept.rows[1].class = Class::Npa)),
        (
            "no row",
            "it came to",
            swept!(|swept| {
                swept.rows.remove(0);
            }),
        ),
        (
            "a row too many",
            "not its day to be run",
            swept!(|swept| swept.rows.push(SweptRow { loan: 99, ..swept.rows[0] })),
        ),
        ("how many", "its loans were", swept!(|swept| swept.totals[0].loans[0] += 1)),
        ("outstanding", "its loans were", swept!(|swept| swept.totals[0].outstanding[0] += 1)),
        ("provision", "its loans were", swept!(|swept| swept.totals[0].provision += 1)),
        ("no totals", "its loans were", swept!(|swept| swept.totals.clear())),
        ("another day", "out of turn", swept!(|swept| swept.date.0 += 1)),
        (
            "from another loan",
            "out of turn",
            swept!(|swept| {
                swept.first = 2;
                swept.rows.remove(0);
            }),
        ),
        ("to another loan", "out of turn", swept!(|swept| swept.last += 1)),
        ("totals of the end", "its loans give", &|entry| {
            let Entry::DayEnded(ended) = entry else { return false };
            ended.totals.first_mut().is_some_and(|totals| {
                totals.provision += 1;
                true
            })
        }),
        ("the end of another day", "out of turn", &|entry| {
            let Entry::DayEnded(ended) = entry else { return false };
            ended.date.0 += 1;
            true
        }),
        ("closed", "closes the days through", &|entry| {
            let Entry::DayClosed(closed) = entry else { return false };
            let is_later = closed.reason.is_none();
            closed.through.0 -= u16::from(is_later);
            is_later
        }),
        ("no end of what was swept", "its legs leave", &|entry| {
            let Entry::DayEnded(ended) = entry else { return false };
            let is_it = !ended.totals.is_empty();
            if is_it {
                *entry = Entry::ClockAccepted;
            }
            is_it
        }),
    ]);
}

#[test]
fn a_month_that_a_bug_ended_is_named() {
    check_bugs(&[
        ("a line of a month", "the month through", &|entry| {
            let Entry::MonthEnded(ended) = entry else { return false };
            ended.lines.first_mut().is_some_and(|line| {
                line.through.debits += 1;
                true
            })
        }),
        ("the end of another month", "ends a month on", &|entry| {
            let Entry::MonthEnded(ended) = entry else { return false };
            ended.date.0 -= 1;
            true
        }),
        ("what was before a month", "the month through", &|entry| {
            let Entry::MonthEnded(ended) = entry else { return false };
            ended.lines.last_mut().is_some_and(|line| {
                line.before.credits += 1;
                true
            })
        }),
    ]);
}

#[test]
fn legs_and_accounts_that_a_bug_wrote_are_named() {
    let is_leg = |entry: &mut Entry, change: &dyn Fn(&mut TransferEntry)| {
        let Entry::Transfer(transfer) = entry else { return false };
        change(transfer);
        true
    };
    check_bugs(&[
        ("amount", "its legs leave", &|entry| is_leg(entry, &|leg| leg.amount += 1)),
        ("day", "its legs leave", &|entry| is_leg(entry, &|leg| leg.effective = Some(Day(20_000)))),
        ("code", "is no plain leg", &|entry| is_leg(entry, &|leg| leg.code = 7)),
        ("no control account", "is no account for principal", &|entry| {
            let Entry::AccountChanged(changed) = entry else { return false };
            changed.status = Status::Open;
            true
        }),
        ("two roles", "is no account for principal", &|entry| {
            let Entry::ProductSaved(saved) = entry else { return false };
            saved.accounts[1] = saved.accounts[0];
            true
        }),
        ("version", "does not follow its entry before", &|entry| {
            let Entry::ProductSaved(saved) = entry else { return false };
            saved.version = 2;
            true
        }),
        ("a day that only rolls", "another business day begins", &|entry| {
            let Entry::DayClosed(closed) = entry else { return false };
            let is_later = closed.reason.is_none();
            if is_later {
                *entry = Entry::ClockAccepted;
            }
            is_later
        }),
    ]);
}
