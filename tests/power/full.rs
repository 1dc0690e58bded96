//! A full disk: writes are refused at a segment boundary, reads go on, and writes resume by themselves.
//!
//! 1. A file fills the disk while the server runs.
//! 2. Batches are posted until one is answered 503 `journal_full`; all before it were whole.
//! 3. Reads answer what was acknowledged, and more writes are refused in the same way.
//! 4. The file is removed: within five seconds a write goes through, and a refused key was not remembered.
//! 5. Checkpoints go on too: a store that once met a full disk must not stay broken until a restart.
//! 6. After kill -9 and a restart all sums are what was acknowledged, and `verify` is content.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use super::fire::order::paise;
use super::fire::server::{Place, Server};
use super::fire::wire::{Answer, Client, Request};
use super::loop_disk::LoopDisk;

/// Transfers of one paisa in a batch.
const ITEMS: i64 = 4_000;
/// Batches that surely fill the segments reserved before the disk was full.
const BATCHES_MAX: u32 = 4_000;
/// The journal keeps two segments reserved, each with room for 64 MiB that wait to be written: 300 MiB.
const DISK_MIB: u64 = 512;
/// How soon writes must resume (issue 2: "within 5 s of space returning").
const RESUME_MAX: Duration = Duration::from_secs(5);

/// How soon a checkpoint must succeed: the keeper tries again every five seconds.
const CHECKPOINT_MAX: Duration = Duration::from_secs(20);

struct Teller {
    client: Client,
    pair: [String; 2],
    items: String,
    acknowledged: i64,
    keys: u32,
}

impl Teller {
    fn new(mut client: Client) -> Result<Teller, String> {
        let mut open = |kind: &str| {
            let body = format!(r#"{{"external_id":"{kind}","currency":"INR","type":"{kind}"}}"#);
            let answer = client.call(&Request::post("/v1/accounts", Some(kind), body));
            let answer = answer.map_err(|error| error.to_string())?;
            answer.json()["id"].as_str().map(str::to_owned).ok_or_else(|| answer.shown())
        };
        let pair = [open("asset")?, open("liability")?];
        let item = format!(r#"{{"debit_account":"{}","credit_account":"{}","amount":"0.01"}}"#, pair[0], pair[1]);
        let items = vec![item; ITEMS as usize].join(",");
        Ok(Teller { client, pair, items, acknowledged: 0, keys: 0 })
    }

    fn batch(&mut self, key: u32) -> Result<Answer, String> {
        let body = format!(r#"{{"mode":"atomic","transfers":[{}]}}"#, self.items);
        let mut request = Request::post("/v1/transfers/batch", Some(&format!("batch-{key}")), body);
        request.is_minimal = true;
        let answer = self.client.call(&request).map_err(|error| format!("batch: {error}"))?;
        match answer.status {
            200 => self.acknowledged += ITEMS,
            503 if answer.code() == "journal_full" && answer.header("retry-after").is_some() => {}
            _ => return Err(format!("a full disk may only refuse with journal_full: {}", answer.shown())),
        }
        Ok(answer)
    }

    fn check_sums(&mut self) -> Result<(), String> {
        let path = format!("/v1/accounts/{}", self.pair[0]);
        let answer = self.client.get(&path).map_err(|error| format!("read: {error}"))?;
        let told = paise(&answer.json()["balances"]["debits_posted"]);
        if answer.status == 200 && told == Some(self.acknowledged) {
            return Ok(());
        }
        Err(format!("{} paise were acknowledged: {}", self.acknowledged, answer.shown()))
    }

    /// Step 5: a checkpoint covers what is booked by now.
    fn await_checkpoint(&mut self) -> Result<(), String> {
        let booked = u64::try_from(self.acknowledged).expect("a count of transfers");
        let began = Instant::now();
        while began.elapsed() < CHECKPOINT_MAX {
            let status = self.client.get("/v1/status").map_err(|error| format!("status: {error}"))?;
            let at = status.json()["checkpoint_seq"].as_str().and_then(|text| text.parse::<u64>().ok());
            if at.is_some_and(|seq| seq >= booked) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        Err("no checkpoint for long after space returned".into())
    }

    /// Step 2; the key that was refused.
    fn post_until_full(&mut self) -> Result<u32, String> {
        for _ in 0..BATCHES_MAX {
            self.keys += 1;
            if self.batch(self.keys)?.status == 503 {
                return Ok(self.keys);
            }
        }
        Err(format!("{} paise fitted on a full disk", self.acknowledged))
    }
}

/// Fills the disk but for less than a block.
fn fill(disk: &LoopDisk) -> Result<std::path::PathBuf, String> {
    let path = disk.mount.join("filler");
    let mut file = File::create(&path).map_err(|error| error.to_string())?;
    for size in [1 << 20, 4096] {
        let piece = vec![7; size];
        // ENOSPC ends it; the sync makes delayed allocation own up.
        while file.write_all(&piece).and_then(|()| file.sync_data()).is_ok() {}
    }
    if disk.free()? > 16 * 4096 {
        return Err("the disk is not full".into());
    }
    Ok(path)
}

fn one_round(disk: &LoopDisk, teller: &mut Teller) -> Result<String, String> {
    let filler = fill(disk)?;
    let refused = teller.post_until_full()?;
    let at_full = teller.acknowledged;
    teller.check_sums()?;
    for key in 0..20 {
        if teller.batch(1_000_000 + key)?.status != 503 {
            return Err("a write went through on a full disk after one had been refused".into());
        }
    }
    let ready = teller.client.get("/readyz").map_err(|error| error.to_string())?;
    std::fs::remove_file(filler).map_err(|error| error.to_string())?;
    let freed = Instant::now();
    while teller.batch(refused)?.status != 200 {
        if freed.elapsed() > RESUME_MAX {
            return Err("writes did not resume within 5 s of space returning".into());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let resumed = freed.elapsed();
    teller.check_sums()?;
    teller.await_checkpoint()?;
    Ok(format!("full at {at_full} transfers (readyz {}), resumed after {resumed:?}", ready.status))
}

/// Fills the disk twice, kills the server, looks.
pub fn fill_and_free() -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let disk = LoopDisk::make(folder.path(), DISK_MIB)?;
    let flags = ["--segment-mib", "4", "--checkpoint-entries", "20000"].map(str::to_owned).to_vec();
    let place = Place { data: disk.mount.join("data"), aside: folder.path().to_path_buf(), flags };
    let outcome = (|| {
        let server = Server::start(&place)?;
        let mut teller = Teller::new(server.client()?)?;
        teller.batch(0)?;
        let mut said = Vec::new();
        for _ in 0..2 {
            said.push(one_round(&disk, &mut teller)?);
        }
        server.kill9();
        let server = Server::start(&place)?;
        teller.client = server.client()?;
        teller.check_sums()?;
        server.kill9();
        said.push(place.verify()?);
        Ok(said.join("\n"))
    })();
    outcome.map_err(|why: String| {
        let log = std::fs::read_to_string(place.log()).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(12).collect();
        format!("{why}\nthe log's end, newest first: {tail:#?}")
    })
}
