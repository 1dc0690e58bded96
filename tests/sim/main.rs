//! The simulation: the journal alone, and the whole engine below HTTP, on a disk that loses, tears
//! and fails by a seed.
//!
//! `MUNIM_SEEDS=5000 cargo test --release --test sim` plays that many seeds (default: a few
//! hundred); a failing seed is printed, and `MUNIM_SEED=n` plays it alone.

mod disk;
mod driver;
mod faults;
mod history;
mod inventor;
mod jobs;
mod journal;
mod loans;
mod meddler;
mod model;
mod published;
mod reading;
mod rot;
mod seeds;
mod speak;
mod wrong_rows;

/// A third of a run is malloc: redb's maps and the disk's pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
