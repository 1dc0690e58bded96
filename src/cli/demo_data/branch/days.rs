//! All borrowers at once, day after day.
//!
//! 1. Keys, accounts, funds, products.
//! 2. A day: every thread goes through its borrowers, in its own order; the counter's cash goes to the bank on
//!    Saturdays; the manager closes the day. Nobody waits for the end of a day: whoever comes early runs it for his
//!    loan alone.
//! 3. When the last day has ended, the branch is built.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Size;
use super::borrower::Borrower;
use super::desk::{Desk, Who, make_keys};
use super::products::{BANK, CASH, opening};
use crate::cli::demo_data::DEMO_SEED;
use crate::domain::time::Day;

/// Threads, each with its connections: so many requests share the disk's syncs, and more only wait for cores.
const THREADS: u32 = 24;

/// How long the end of the last day may take.
const LAST_END_MAX: Duration = Duration::from_secs(60);

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// Business days.
    pub days: u16,
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that had been answered in an earlier run.
    pub replayed: u64,
    /// How long it took.
    pub took: Duration,
}

/// Builds the branch; `None` where it is there already.
///
/// # Errors
/// The server is away, or refuses; or the books began on another day.
pub fn build(folder: &Path, address: SocketAddr, size: Size) -> io::Result<Option<Built>> {
    let started = Instant::now();
    let (first, end) = (size.first_day(), size.end());
    make_keys(folder, address)?;
    let mut desk = Desk::open(folder, address)?;
    let today = business_date(&mut desk)?;
    if today >= end {
        let accounts = desk.get("/v1/loans?limit=1")?;
        let is_there = accounts["data"].as_array().is_some_and(|loans| !loans.is_empty());
        return if is_there { Ok(None) } else { Err(io::Error::other(began_elsewhere(folder, today, first))) };
    }
    if today < first {
        return Err(io::Error::other(began_elsewhere(folder, today, first)));
    }
    for (path, key, body) in opening(size) {
        desk.post(Who::Manager, path, &key, &body)?;
    }
    let mut built = go_through(folder, address, &mut desk, size)?;
    wait_for_last_end(&mut desk, end)?;
    (built.requests, built.replayed) = (built.requests + desk.answered, built.replayed + desk.replayed);
    built.took = started.elapsed();
    Ok(Some(built))
}

fn began_elsewhere(folder: &Path, today: Day, first: Day) -> String {
    let folder = folder.display();
    format!("the books in {folder} are of {today} and have no loans; the demo's begin on {first}: remove the folder")
}

/// A thread's borrowers, and the way to it.
struct Hand {
    go: Sender<Day>,
    done: Receiver<io::Result<u64>>,
    counts: std::thread::JoinHandle<(u64, u64)>,
}

impl Hand {
    fn hire(folder: &Path, address: SocketAddr, mut borrowers: Vec<Borrower>) -> io::Result<Hand> {
        let mut desk = Desk::open(folder, address)?;
        let ((go, days), (report, done)) = (channel::<Day>(), channel());
        let counts = std::thread::Builder::new().name("demo".into()).spawn(move || {
            for day in days {
                let mut serve = || {
                    let mut cash = 0;
                    for borrower in &mut borrowers {
                        cash += borrower.day(day, &mut desk)?;
                    }
                    Ok(cash)
                };
                if report.send(serve()).is_err() {
                    break;
                }
            }
            (desk.answered, desk.replayed)
        })?;
        Ok(Hand { go, done, counts })
    }
}

fn go_through(folder: &Path, address: SocketAddr, desk: &mut Desk, size: Size) -> io::Result<Built> {
    let (first, end) = (size.first_day(), size.end());
    let gone = || io::Error::other("a thread of the demo ended");
    let mut hands = Vec::new();
    for place in 0..THREADS {
        let numbers = (1..=size.borrowers).filter(|number| number % THREADS == place);
        let borrowers = numbers.map(|number| Borrower::invent(DEMO_SEED, number, first, end)).collect();
        hands.push(Hand::hire(folder, address, borrowers)?);
    }
    let progress = progress_bar(u64::from(end.0 - first.0));
    let mut cash = 0;
    for day in (first.0..end.0).map(Day) {
        for hand in &hands {
            hand.go.send(day).map_err(|_| gone())?;
        }
        for hand in &hands {
            cash += hand.done.recv().map_err(|_| gone())??;
        }
        if is_saturday(day) && cash > 0 {
            carry_to_bank(desk, day, std::mem::take(&mut cash))?;
        }
        desk.post(Who::Manager, "/v1/business_day/close", &format!("close-{day}"), &json!({}))?;
        progress.set_message(day.to_string());
        progress.inc(1);
    }
    progress.finish_and_clear();
    let mut built = Built { days: end.0 - first.0, requests: 0, replayed: 0, took: Duration::ZERO };
    for hand in hands {
        drop(hand.go);
        let (answered, replayed) = hand.counts.join().map_err(|_| gone())?;
        built.requests += answered;
        built.replayed += replayed;
    }
    Ok(built)
}

fn is_saturday(day: Day) -> bool {
    super::is_sunday(Day(day.0 + 1))
}

fn carry_to_bank(desk: &mut Desk, day: Day, paise: u64) -> io::Result<()> {
    let body = json!({
        "debit_account": BANK, "credit_account": CASH, "amount": format!("{}.{:02}", paise / 100, paise % 100),
        "description": "Cash of the week carried to the bank",
    });
    desk.post(Who::Officer, "/v1/transfers", &format!("cash-{day}"), &body)?;
    Ok(())
}

fn date_of(value: &Value) -> io::Result<Day> {
    let date = value["date"].as_str().and_then(Day::parse);
    date.ok_or_else(|| io::Error::other(format!("no business day in {value}")))
}

fn business_date(desk: &mut Desk) -> io::Result<Day> {
    date_of(&desk.get("/v1/business_day")?)
}

fn wait_for_last_end(desk: &mut Desk, end: Day) -> io::Result<()> {
    let until = Instant::now() + LAST_END_MAX;
    loop {
        let day = desk.get("/v1/business_day")?;
        let ended = day["ended"]["date"].as_str().and_then(Day::parse);
        if date_of(&day)? >= end && ended.is_some_and(|ended| ended.0 + 1 >= end.0) {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(io::Error::other(format!("the last business day does not end: {day}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn progress_bar(days: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("lending branch, {msg} {wide_bar} {human_pos}/{human_len} days, {eta} left")
            .expect("the template is written here");
    ProgressBar::new(days).with_style(style)
}
