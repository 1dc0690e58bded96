//! The end of a day in the real binary, killed with SIGKILL at random moments: what comes of it after a restart has the
//! state hash of one that nobody disturbed.
//!
//! `MUNIM_KILL9_CYCLES` says how often (default 3; the full run 100).

#![expect(clippy::inconsistent_digit_grouping, reason = "rupees, then paise")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use munim::disk::{Disk, FolderDisk, OverlayDisk};
use munim::domain::lending::customer::{CustomerFacts, CustomerKind};
use munim::domain::lending::loan::contract::LoanTerms;
use munim::domain::lending::loan::events::Mode;
use munim::domain::lending::loan::facts::{LoanApplication, LoanTexts};
use munim::domain::lending::product::{ACCOUNT_COUNT, ProductFacts};
use munim::domain::lending::terms::Terms;
use munim::domain::time::Day;
use munim::engine::clock::SystemTimeSource;
use munim::engine::command::{Command, LoanAction, LoanRequest, NewCustomer, NewProduct, Origin};
use munim::engine::history::Reach;
use munim::engine::submit::NotYet;
use munim::engine::{Engine, EngineOptions, recovery};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rust_decimal::Decimal;

use super::fire::server::{Place, Server};
use super::fire::wire::Request;

const LOANS: u32 = 3_000;

/// 2026-01-01.
const FIRST_DAY: Day = Day(20_454);

fn tell(engine: &Arc<Engine>, command: &Command) {
    loop {
        match engine.core().execute(command, &Origin::default(), Reach::Disk) {
            Ok(_) => return,
            Err(NotYet::WaitFor(seq)) => {
                engine.core().watermark().wait_blocking(seq);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// A product whose loans end their days.
fn product() -> Command {
    let calculation = Terms { annual_rate_pct: Decimal::from(24), instalments: Some(12), ..Terms::default() };
    let facts = ProductFacts {
        name: "Personal".into(),
        external_id: None,
        terms: LoanTerms::new(calculation),
        principal_min: 1,
        principal_max: 1_00_00_000_00,
        kfs_valid_days: 5,
        is_secured: false,
        disbursal_by_another: false,
        year_end_account: None,
        metadata: Vec::new(),
    };
    Command::MakeProduct(Box::new(NewProduct { facts, accounts: [None; ACCOUNT_COUNT] }))
}

/// Something that is done to a loan.
fn act(loan: u32, request: LoanRequest) -> Command {
    let texts = LoanTexts::default();
    Command::ActOnLoan(Box::new(LoanAction {
        loan,
        request,
        value_date: None,
        settlement: None,
        texts,
        jobs: Vec::new(),
    }))
}

/// Loans that were paid out a month ago, so that all of them fall due on the day that is to be closed.
fn build(folder: &Path, loans: u32) {
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder).expect("an empty folder"));
    let options = EngineOptions { first_day: Some(FIRST_DAY), ..EngineOptions::default() };
    let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).expect("new books");
    tell(&engine, &product());
    for number in 1..=loans {
        let facts = CustomerFacts { kind: CustomerKind::Individual, name: "Asha".into(), ..CustomerFacts::default() };
        tell(&engine, &Command::MakeCustomer(Box::new(NewCustomer { facts })));
        let application = LoanApplication {
            customer: number,
            product: 1,
            product_version: 0,
            principal: 10_000_00 + i64::from(number) * 100,
            instalments: None,
            annual_rate_pct: None,
            first_due_on: None,
            charges: None,
            external_id: None,
            metadata: Vec::new(),
        };
        tell(&engine, &Command::Apply(Box::new(application)));
    }
    let disburse = LoanRequest::Disburse { amount: None, mode: Mode::Neft };
    for request in [LoanRequest::Approve, LoanRequest::AcceptKfs { version: 1 }, disburse] {
        for loan in 1..=loans {
            tell(&engine, &act(loan, request));
        }
    }
    let open = Command::OpenDay { date: Day(FIRST_DAY.0 + 31), reason: Some("a month later".into()) };
    tell(&engine, &open);
    while engine.core().loans().with_day(munim::engine::loans::book::DayBook::ending).is_some() {
        std::thread::park_timeout(Duration::from_millis(2));
    }
    engine.core().checkpoint_now();
    engine.shut_down();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        // Folders hold documents and mails, and nothing of the books.
        if entry.file_type().expect("a type").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

fn hash_of(folder: &Path) -> [u8; 32] {
    let below = FolderDisk::open_to_read(folder).expect("books");
    let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::over(Arc::new(below)));
    let parts = recovery::open(&disk, &EngineOptions::default(), Box::new(SystemTimeSource::default()));
    parts.expect("the books open").core.state_hash()
}

/// Asks to close the day, with the same key each time.
fn close(server: &Server) -> Result<u16, String> {
    let request = Request::post("/v1/business_day/close", Some("the-day"), "{}");
    Ok(server.client()?.call(&request).map_err(|error| error.to_string())?.status)
}

fn wait_until_ended(server: &Server) {
    let mut client = server.client().expect("it serves");
    loop {
        let day = client.get("/v1/business_day").expect("it answers").json();
        if day["ending"].is_null() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Whoever is shown the end of a day waits until it is durable, for which its entry has to be known by then.
#[test]
fn the_end_of_a_day_is_shown_no_earlier_than_it_can_be_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).expect("an empty folder"));
    let options = EngineOptions { first_day: Some(FIRST_DAY), ..EngineOptions::default() };
    let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).expect("new books");
    // Before there is a product no day has an end of its own.
    tell(&engine, &product());
    let last = Day(FIRST_DAY.0 + 300);
    let patience = Instant::now() + Duration::from_secs(120);
    let ended = |core: &munim::engine::Core| {
        let (day, appended) = core.day_now();
        let (date, by) = day.ended.unwrap_or_default();
        assert!(by <= appended, "the end of {date} is shown as entry {by}, when {appended} is the newest");
        date
    };
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut date = Day(0);
            while date < Day(last.0 - 1) {
                date = ended(engine.core());
                assert!(Instant::now() < patience, "it came to the end of {date} and no further");
                std::thread::yield_now();
            }
        });
        tell(&engine, &Command::OpenDay { date: last, reason: Some("most of a year later".into()) });
        watcher.join().expect("no end is shown too early");
    });
    engine.shut_down();
}

#[test]
fn a_day_that_is_ended_through_kills_is_the_day_that_nobody_disturbed() {
    let cycles = std::env::var("MUNIM_KILL9_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let base = tempfile::tempdir().expect("a folder");
    build(&base.path().join("data"), LOANS);
    // The first start makes the first key: it belongs to what all copies have.
    let place = Place::in_folder(base.path(), &[]);
    Server::start(&place).expect("it starts").kill9();
    let run = |kill_after: Option<Duration>| {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::in_folder(folder.path(), &[]);
        copy(&base.path().join("data"), &place.data);
        let mut server = Server::start(&place).expect("it starts");
        if let Some(after) = kill_after {
            assert_eq!(close(&server), Ok(202));
            // Not a wait for something: a moment at random.
            std::thread::park_timeout(after);
            server.kill9();
            server = Server::start(&place).expect("it starts again");
        }
        assert_eq!(close(&server), Ok(202), "the same key closes the same day");
        wait_until_ended(&server);
        server.kill9();
        hash_of(&place.data)
    };
    let undisturbed = run(None);
    let mut rng = SmallRng::seed_from_u64(u64::from(std::process::id()));
    for cycle in 0..cycles {
        let after = Duration::from_micros(rng.random_range(0..160_000));
        assert_eq!(run(Some(after)), undisturbed, "cycle {cycle}, killed after {after:?}");
    }
    println!("{cycles} ends of a day, each killed once: all the same");
}

/// A sweep works out a slice of loans outside the locks: a receipt that comes meanwhile is not written over.
#[test]
fn receipts_that_meet_a_sweep_are_kept() {
    const DAYS: u16 = 60;
    // One slice has them all, so that every receipt of its time meets it.
    const FEW: u32 = 400;
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path(), FEW);
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::open(folder.path()).expect("the books"));
    let options = EngineOptions::default();
    let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default())).expect("the books open");
    let is_over = AtomicBool::new(false);
    let paid = std::thread::scope(|scope| {
        let payers = [1, 2].map(|seed| {
            let (engine, is_over) = (&engine, &is_over);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(seed);
                let mut paid = 0_u64;
                while !is_over.load(Ordering::Acquire) {
                    let receive = LoanRequest::Receive { amount: 1_00, tds: 0, mode: Mode::Cash };
                    tell(engine, &act(rng.random_range(1..=FEW), receive));
                    paid += 1;
                }
                paid
            })
        });
        for day in 1..=DAYS {
            let date = Day(FIRST_DAY.0 + 31 + day);
            tell(&engine, &Command::OpenDay { date, reason: Some("the next one".into()) });
            while engine.core().loans().with_day(munim::engine::loans::book::DayBook::ending).is_some() {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        is_over.store(true, Ordering::Release);
        payers.map(|payer| payer.join().expect("everything is taken")).iter().sum::<u64>()
    });
    let events: u64 = {
        let loans = engine.core().loans().loans();
        (1..=FEW).map(|loan| u64::from(loans.get(loan).expect("it was made").events)).sum()
    };
    assert!(events >= paid + 4 * u64::from(FEW), "{events} events of {FEW} loans, {paid} receipts");
    let live = engine.core().state_hash();
    engine.shut_down();
    drop(engine);
    drop(disk);
    // The journal from its start: every slice is run again, and has to come to the same.
    std::fs::remove_file(folder.path().join("store.redb")).expect("the store can be made anew");
    assert_eq!(hash_of(folder.path()), live, "what is in memory is what the journal says");
}
