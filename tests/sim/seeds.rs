//! Many seeds, on both cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::driver::{Counters, play};

/// Seeds played when nobody says how many.
const SEEDS_DEFAULT: u64 = 200;

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn every_seed_agrees_with_the_model() {
    if let Some(seed) = setting("MUNIM_SEED") {
        println!("{:?}", play(seed));
        return;
    }
    let count = setting("MUNIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let first = setting("MUNIM_SEED_FROM").unwrap_or(0);
    let next = AtomicU64::new(first);
    let total = Mutex::new(Counters::default());
    let failed = Mutex::new(Vec::new());
    let started = std::time::Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().expect("no panic while locked").len() >= 5 {
                        return;
                    }
                    if let Ok((counters, _)) = std::panic::catch_unwind(|| play(seed)) {
                        total.lock().expect("no panic while locked").add(&counters);
                    } else {
                        eprintln!("seed {seed} failed: MUNIM_SEED={seed} cargo test --release --test sim every_seed");
                        failed.lock().expect("no panic while locked").push(seed);
                    }
                }
            });
        }
    });
    let total = total.into_inner().expect("no panic while locked");
    println!("{count} seeds in {:.1} s: {total:#?}", started.elapsed().as_secs_f64());
    let failed = failed.into_inner().expect("no panic while locked");
    assert!(failed.is_empty(), "failed seeds: {failed:?}; replay one with MUNIM_SEED=n");
    check_coverage(&total, count);
}

/// What many runs must have met; a simulation that meets none of it proves nothing.
fn check_coverage(total: &Counters, seeds: u64) {
    if seeds < 100 {
        return;
    }
    let Counters { segment_rolls, checkpoints, expiries, long_records, .. } = *total;
    for (what, count) in [
        ("segment rolls", segment_rolls),
        ("checkpoints", checkpoints),
        ("holds expired", expiries),
        ("records over several blocks", long_records),
        ("crashes", total.crashes),
        ("crashes inside recovery", total.crashes_in_recovery),
        ("crashes inside a checkpoint", total.crashes_in_checkpoint),
        ("keys found in tables", total.keys_in_sealed),
        ("store rebuilds", total.store_rebuilds),
        ("business days rolled", total.day_rolls),
        ("suspect clocks", total.clock_suspicions),
        ("records lost unacknowledged", total.lost_records),
        ("records found unacknowledged", total.found_unacknowledged),
        ("replays", total.replays),
    ] {
        assert!(count > 0, "{seeds} seeds met no {what}");
    }
}

#[test]
fn the_same_seed_gives_the_same_hash_twice() {
    for seed in 0..10 {
        assert_eq!(play(seed), play(seed), "seed {seed}");
    }
}
