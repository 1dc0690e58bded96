//! The real binary under load, killed with SIGKILL at random moments, recovery included.
//!
//! `MUNIM_KILL9_CYCLES` says how many times (default 3; CI 20; the full run 200), `MUNIM_KILL9_SEED` from which seed.

use super::fire::life::{Kill9, Life, Pace};
use super::fire::server::Place;

/// Small segments and frequent checkpoints: every cycle rolls and checkpoints.
const FLAGS: [&str; 4] = ["--segment-mib", "1", "--checkpoint-entries", "2000"];

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn live(place: Place, cycles: u64, seed: u64) -> Result<String, String> {
    let pace = Pace { load_ms_min: 60, load_ms_max: 600 };
    let mut life = Life::begin(place, pace, seed)?;
    for _ in 0..cycles {
        life.outage(&mut Kill9)?;
    }
    let (tally, said) = life.finish()?;
    if tally.acknowledged < 20 * cycles || tally.reads < 5 * cycles {
        return Err(format!("too little happened to prove anything: {tally:?}"));
    }
    Ok(format!("{tally:?}\n{said}"))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_revealed_is_undone_by_kill_9() {
    let cycles = number_from("MUNIM_KILL9_CYCLES").unwrap_or(3);
    let seed = number_from("MUNIM_KILL9_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let mut folder = tempfile::tempdir().expect("a folder");
    let outcome = live(Place::in_folder(folder.path(), &FLAGS), cycles, seed);
    folder.disable_cleanup(outcome.is_err());
    let folder = folder.path().display();
    match outcome {
        Ok(said) => println!("{cycles} cycles, seed {seed}: {said}"),
        Err(why) => panic!("seed {seed}, folder kept in {folder}: {why}"),
    }
}
