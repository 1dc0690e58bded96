//! Outages that need a filesystem of their own: power cuts and full disks, on ext4 over a loop device.
//!
//! Run by `tests/power_cut.sh` and `tests/full_disk.sh`, which say NOT RUN where there is no root or no loop
//! device. `power cut N [SEED]` cuts the power N times, `power full` fills the disk. Exit status 0 or 1.

#[path = "../it/fire/mod.rs"]
mod fire;
mod full;
mod loop_disk;

use std::process::ExitCode;

use fire::life::{Life, Outage, Pace};
use fire::server::{Place, Server};
use loop_disk::{Cut, LoopDisk};

/// The power goes: nothing that the filesystem had not been made to keep is there afterwards.
struct PowerCut {
    disk: LoopDisk,
    cuts: u64,
}

impl Outage for PowerCut {
    fn strike(&mut self, server: Server) -> Result<(), String> {
        loop_disk::stop(server.pid())?;
        // Mostly even the filesystem's own log is lost; sometimes it gets out in time.
        let cut = if self.cuts % 3 == 2 { Cut::FlushLog } else { Cut::LoseLog };
        self.cuts += 1;
        self.disk.cut(cut)?;
        server.kill9();
        self.disk.remount()
    }
}

fn cut_power(cuts: u64, seed: u64) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut disk = LoopDisk::make(folder.path(), 1_024)?;
    disk.prove_that_cuts_lose()?;
    let flags = ["--segment-mib", "1", "--checkpoint-entries", "2000"].map(str::to_owned).to_vec();
    let place = Place { data: disk.mount.join("data"), aside: folder.path().to_path_buf(), flags };
    let mut power = PowerCut { disk, cuts: 0 };
    let outcome = (|| {
        let mut life = Life::begin(place.clone(), Pace { load_ms_min: 60, load_ms_max: 700 }, seed)?;
        for cut in 1..=cuts {
            life.outage(&mut power)?;
            if cut % 10 == 0 {
                println!("{cut} cuts: {:?}", life.tally);
            }
        }
        let (tally, said) = life.finish()?;
        Ok(format!("{tally:?}, {} cuts in all\n{said}", power.cuts))
    })();
    outcome.map_err(|why: String| {
        let kept = std::env::temp_dir().join(format!("munim-power-cut-{seed}"));
        // The folder as the cut left it, for whoever looks into it.
        let copied = std::process::Command::new("cp").arg("-a").arg(&place.data).arg(&kept).status();
        let log = std::fs::copy(place.log(), kept.with_extension("log"));
        format!("{why}\nkept: {} ({copied:?}, {log:?})", kept.display())
    })
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_default();
    let mut number = || args.next().and_then(|text| text.parse().ok());
    let seed_of_process = u64::from(std::process::id());
    let outcome = match mode.as_str() {
        "cut" => {
            let cuts = number().unwrap_or(5);
            let seed = number().unwrap_or(seed_of_process);
            cut_power(cuts, seed).map_err(|why| format!("power cut, seed {seed}: {why}"))
        }
        "full" => full::fill_and_free().map_err(|why| format!("full disk: {why}")),
        _ => Err("say `cut N [SEED]` or `full`; tests/power_cut.sh and tests/full_disk.sh do".to_owned()),
    };
    match outcome {
        Ok(said) => {
            println!("ok: {said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED: {why}");
            ExitCode::FAILURE
        }
    }
}
