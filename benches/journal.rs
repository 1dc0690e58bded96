//! What the journal costs: encode, seal, commit, scan. `cargo bench --bench journal`.
//!
//! The commit benches write to a temporary folder of the system: they measure its disk as well.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use munim::disk::FolderDisk;
use munim::domain::entry::{TransferEntry, TransferOp};
use munim::domain::ids::{AccountNo, Moment, Seq};
use munim::domain::time::Day;
use munim::journal::{Item, Journal, JournalOptions, KeyMark, Opened, Step, Trailer, open};

fn transfer(seq: u64, accounts: u64) -> TransferEntry {
    TransferEntry {
        op: TransferOp::Posted,
        debit: AccountNo((seq.wrapping_mul(0x9E37_79B9) % accounts) as u32),
        credit: AccountNo((seq.wrapping_mul(0x85EB_CA6B) % accounts) as u32),
        amount: seq % 9_999_999 + 1,
        code: 0,
        effective: None,
        previous_debit: Seq(seq.saturating_sub(accounts / 2 + 1)),
        previous_credit: Seq(seq.saturating_sub(accounts / 3 + 1)),
        cold: None,
    }
}

fn batch(journal: &Journal, entries: u64) {
    let mut guard = journal.lock();
    let sequencer = &mut *guard;
    let moment = Moment(sequencer.last_moment().0 + 1);
    let first = sequencer.begin(moment, Day(20_000)).0;
    for seq in first..first + entries {
        sequencer.push_transfer(&transfer(seq, 10_000));
    }
    sequencer.end(&Trailer { key: None, owner: 1, request: first, reply: &[] });
}

/// A keyed single: about 110 bytes of record.
fn single(journal: &Journal) {
    let mut sequencer = journal.lock();
    let moment = Moment(sequencer.last_moment().0 + 17);
    let first = sequencer.begin(moment, Day(20_000));
    sequencer.push_transfer(&transfer(first.0, 10_000));
    let key = Some(KeyMark { hash: [first.0 as u8; 16], fingerprint: [3; 16] });
    sequencer.end(&Trailer { key, owner: 1, request: first.0.wrapping_mul(0x9E37_79B9_7F4A_7C15), reply: &[1; 50] });
}

fn opened_filled() -> (tempfile::TempDir, Opened) {
    let (folder, mut opened) = opened_bare();
    while opened.maintenance.step() {}
    (folder, opened)
}

/// Without the next segment and without zeros written ahead: what commits cost before they are there.
fn opened_bare() -> (tempfile::TempDir, Opened) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = Arc::new(FolderDisk::open(folder.path()).expect("a new folder"));
    let opened = open(disk, JournalOptions::default()).expect("a new journal");
    (folder, opened)
}

fn encode(c: &mut Criterion) {
    let (_folder, mut opened) = opened_filled();
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(8_000));
    group.bench_function("append 8,000 transfers", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let begun = Instant::now();
                batch(&opened.journal, 8_000);
                spent += begun.elapsed();
                if opened.journal.pending_bytes() > 16 << 20 {
                    opened.writer.step();
                    while opened.maintenance.step() {}
                }
            }
            spent
        });
    });
    group.finish();
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("journal commit");
    for singles in [1, 20, 33, 40, 60, 200] {
        let (folder, mut opened) = opened_filled();
        let mut committed = 0u64;
        group.throughput(Throughput::Elements(singles));
        group.bench_function(format!("{singles} keyed singles"), |bencher| {
            bencher.iter(|| {
                for _ in 0..singles {
                    single(&opened.journal);
                }
                assert!(matches!(opened.writer.step(), Step::Committed { .. }));
                committed += singles;
            });
        });
        if committed == 0 {
            continue;
        }
        let stored = opened.journal.segments().iter().map(|segment| segment.bytes).sum::<u64>();
        opened.journal.close_files();
        let on_disk = allocated(folder.path(), committed);
        println!("{singles} keyed singles a commit: {} B by pages, {on_disk} B in files", stored / committed);
    }
    let (_folder, mut opened) = opened_bare();
    group.throughput(Throughput::Elements(40));
    group.bench_function("40 keyed singles, nothing written ahead", |bencher| {
        bencher.iter(|| {
            for _ in 0..40 {
                single(&opened.journal);
            }
            assert!(matches!(opened.writer.step(), Step::Committed { .. }));
        });
    });
    let (_folder, mut opened) = opened_filled();
    group.throughput(Throughput::Elements(8_000));
    group.bench_function("batch of 8,000", |bencher| {
        bencher.iter(|| {
            batch(&opened.journal, 8_000);
            assert!(matches!(opened.writer.step(), Step::Committed { .. }));
        });
    });
    group.finish();
}

fn allocated(folder: &std::path::Path, transfers: u64) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = std::fs::read_dir(folder).expect("the folder exists").flatten();
    let journal = files.filter(|file| file.file_name().to_string_lossy().starts_with("journal-0"));
    journal.map(|file| file.metadata().map_or(0, |about| about.blocks() * 512)).sum::<u64>() / transfers
}

fn scan(c: &mut Criterion) {
    let (_folder, mut opened) = opened_filled();
    for _ in 0..125 {
        batch(&opened.journal, 8_000);
        opened.writer.step();
    }
    let mut group = c.benchmark_group("journal");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1_000_000));
    group.bench_function("scan a million transfers", |bencher| {
        bencher.iter(|| {
            let mut sum = 0u64;
            let walked = opened.journal.scan(Seq(1), &mut |item| {
                if let Item::Entry { seq, .. } = item {
                    sum = sum.wrapping_add(seq.0);
                }
                ControlFlow::Continue(())
            });
            assert!(walked.is_ok());
            black_box(sum)
        });
    });
    let last = opened.journal.durable_seq().0;
    let mut next = 1;
    group.throughput(Throughput::Elements(1));
    group.bench_function("locate, load and decode one", |bencher| {
        bencher.iter(|| {
            next = (next + 7_919) % last + 1;
            let first = opened.journal.locate(Seq(next)).expect("readable").expect("durable");
            opened.journal.load(first).expect("readable").entry(Seq(next))
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2)).sample_size(20);
    targets = encode, commit, scan
}
criterion_main!(benches);
