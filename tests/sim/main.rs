//! The simulation: everything below HTTP on a disk that loses, tears and fails by a seed.
//!
//! A failing seed is printed; `MUNIM_SIM_SEED=n cargo test --test sim` runs that one alone.

mod disk;
mod journal;
