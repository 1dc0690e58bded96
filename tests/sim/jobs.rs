//! The queue of jobs on a disk that loses power: none that the journal bears is lost, none that was acknowledged is
//! lost, none that was shown as done runs again, and none that was cancelled runs at all.
//!
//! The queue has threads of its own, so a seed plays the same accidents, but not the same moments, each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use munim::disk::Disk;
use munim::domain::ids::{Moment, Seq};
use munim::jobs::queue::{
    Birth, Births, Ctl, Handler, Job, JobFilter, JobId, KindLimits, Order, Outcome, Queue, QueueOptions, Status, Work,
};
use parking_lot::Mutex;

use super::disk::{Dice, SimDisk};
use super::seeds::setting;

/// Seeds played when nobody says how many; each takes some tens of milliseconds.
const SEEDS_DEFAULT: u64 = 40;
const SEEDS_MAX: u64 = 500;

/// Operations of the disk within which the power goes, once the queue has opened its files.
const CUT_WITHIN: u64 = 800;

/// Moments, microseconds since 1970: of the beginning, and an hour later.
const BEGIN: Moment = Moment(1_800_000_000_000_000);
const LATER: Moment = Moment(BEGIN.0 + 3_600_000_000);

#[derive(Default)]
struct Journal(Mutex<Vec<Birth>>);

impl Journal {
    fn bear(&self, count: u64) {
        let mut births = self.0.lock();
        for _ in 0..count {
            let seq = Seq(births.len() as u64 + 1);
            births.push(Birth { seq, index: 0, order: order(None), created_at: Moment(seq.0 as i64) });
        }
    }
}

impl Births for Journal {
    fn after(&self, seq: Seq, max: usize) -> Result<(Vec<Birth>, Seq), String> {
        let births = self.0.lock();
        let page: Vec<Birth> = births.iter().skip(seq.0 as usize).take(max).cloned().collect();
        let through = page.last().map_or(Seq(births.len() as u64), |birth| birth.seq);
        Ok((page, through))
    }
}

/// Counts how often each job ran.
#[derive(Clone, Default)]
struct Effects(Arc<Mutex<BTreeMap<JobId, u32>>>);

impl Handler for Effects {
    fn kind(&self) -> &'static str {
        "effect"
    }
    fn limits(&self) -> KindLimits {
        KindLimits { concurrency_max: 4, ..KindLimits::default() }
    }
    fn run<'a>(&'a self, job: &'a Job, _ctl: &'a Ctl) -> Work<'a> {
        *self.0.lock().entry(job.id).or_default() += 1;
        Box::pin(std::future::ready(Outcome::Done))
    }
}

fn order(run_at: Option<Moment>) -> Order {
    Order { kind: "effect".to_owned(), args: Vec::new(), priority: 5, run_at }
}

/// One folder through several power cuts.
struct Play {
    disk: SimDisk,
    dice: Dice,
    journal: Arc<Journal>,
    effects: Effects,
    runtime: tokio::runtime::Runtime,
    begun: Instant,
    /// Acknowledged.
    asked: BTreeSet<JobId>,
    cancelled: BTreeSet<JobId>,
    /// Shown as done, and how often each had run then.
    done: BTreeMap<JobId, u32>,
}

impl Play {
    fn new(seed: u64) -> Play {
        Play {
            disk: SimDisk::new(seed),
            dice: Dice::new(seed ^ 0x6a6f_6273),
            journal: Arc::default(),
            effects: Effects::default(),
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap(),
            begun: Instant::now(),
            asked: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            done: BTreeMap::new(),
        }
    }

    /// A queue on the folder; the power goes during some openings, and comes back.
    fn open_in_trouble(&mut self) -> Queue {
        if self.dice.chance(30) {
            self.disk.cut_power_in(self.dice.below(40));
        }
        self.open()
    }

    /// A queue on the folder.
    fn open(&mut self) -> Queue {
        loop {
            let begun = self.begun;
            let options = QueueOptions {
                handlers: vec![Arc::new(self.effects.clone())],
                schedules: Vec::new(),
                zone: TimeZone::UTC,
                births: Arc::clone(&self.journal) as Arc<dyn Births>,
                runtime: self.runtime.handle().clone(),
                now: Arc::new(move || Moment(BEGIN.0 + begun.elapsed().as_micros() as i64)),
                seed: self.dice.roll(),
            };
            match Queue::start(Arc::new(self.disk.clone()) as Arc<dyn Disk>, options) {
                Ok(queue) => return queue,
                Err(error) => {
                    assert!(!self.disk.has_power(), "{error:?}");
                    self.disk.crash();
                }
            }
        }
    }

    /// Asks for some jobs, and takes some back, as long as somebody answers.
    fn ask(&mut self, queue: &Queue, round: u64) {
        for number in 0..8 {
            let is_later = self.dice.chance(50);
            let run_at = is_later.then_some(LATER);
            let key = format!("{round} {number}");
            let Ok(id) = self.runtime.block_on(queue.enqueue(order(run_at), key.as_bytes())) else { return };
            if !is_later {
                self.asked.insert(id);
            } else if matches!(self.runtime.block_on(queue.cancel(id)), Ok(Status::Cancelled)) {
                self.cancelled.insert(id);
            }
        }
    }

    /// Notes what is shown as done.
    fn look(&mut self, queue: &Queue) {
        let filter = JobFilter { status: Some(Status::Done), kind: None };
        let Ok(page) = queue.list(&filter, None, 1_000) else { return };
        let effects = self.effects.0.lock();
        for job in page.jobs {
            self.done.entry(job.id).or_insert_with(|| effects.get(&job.id).copied().unwrap_or_default());
        }
    }

    /// Whether nothing runs and nothing is due. What is for later stays when the power went before it was cancelled.
    fn is_idle(queue: &Queue) -> bool {
        let all = |status, is_so: fn(&Job) -> bool| {
            let page = queue.list(&JobFilter { status: Some(status), kind: None }, None, 1_000);
            page.is_ok_and(|page| page.jobs.iter().all(is_so))
        };
        all(Status::Running, |_| false) && all(Status::Queued, |job| job.run_at == LATER)
    }

    /// Waits until nothing is left to do, or the power has gone.
    fn wait(&mut self, queue: &Queue, births: u64) {
        let begun = Instant::now();
        while self.disk.has_power() {
            self.look(queue);
            let is_taken_in = queue.stats().is_ok_and(|stats| stats.position >= births);
            if is_taken_in && Play::is_idle(queue) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the queue stands still: {:?}", queue.stats());
            queue.wake();
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }

    fn check(&self, seed: u64, births: u64) {
        let effects = self.effects.0.lock();
        for seq in 1..=births {
            assert!(effects.contains_key(&JobId::born(Seq(seq), 0)), "seed {seed}: birth {seq} was lost");
        }
        for id in &self.asked {
            assert!(effects.contains_key(id), "seed {seed}: {id}, which was acknowledged, was lost");
        }
        for id in &self.cancelled {
            assert!(!effects.contains_key(id), "seed {seed}: {id} was cancelled, and ran");
        }
        for (id, runs) in &self.done {
            assert_eq!(effects.get(id), Some(runs), "seed {seed}: {id} was done, and ran again");
        }
    }
}

/// How often the power went, and how many jobs were shown as done before the last time.
fn play(seed: u64) -> (u64, usize) {
    let mut play = Play::new(seed);
    let mut births = 0;
    for round in 0..5 {
        let count = play.dice.below(60);
        play.journal.bear(count);
        births += count;
        let queue = play.open_in_trouble();
        play.disk.cut_power_in(play.dice.below(CUT_WITHIN));
        play.ask(&queue, round);
        play.wait(&queue, births);
        // Whatever it still writes is too late.
        play.disk.cut_power_in(0);
        drop(queue);
        play.disk.crash();
    }
    let shown = play.done.len();
    // The last time the power stays: a cut that the opening did not reach would meet the queue's own thread, sooner or later.
    let queue = play.open();
    play.wait(&queue, births);
    assert!(play.disk.has_power());
    drop(queue);
    play.check(seed, births);
    (play.disk.tally().crashes, shown)
}

#[test]
fn the_queue_keeps_its_word_through_power_cuts() {
    if let Some(seed) = setting("MUNIM_SEED") {
        println!("{:?}", play(seed));
        return;
    }
    let count = setting("MUNIM_SEEDS").map_or(SEEDS_DEFAULT, |seeds| seeds.min(SEEDS_MAX));
    let (mut crashes, mut shown) = (0, 0);
    for seed in 0..count {
        let (cuts, done) = play(seed);
        crashes += cuts;
        shown += done;
    }
    println!("{count} seeds: {crashes} power cuts, {shown} jobs shown as done before one");
    assert!(crashes >= 5 * count && shown as u64 >= count, "accidents that never meet anything prove nothing");
}
