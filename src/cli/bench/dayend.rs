//! `munim bench dayend`: a branch's loans, their days' ends, and what happens beside them.
//!
//! 1. Books with loans, made in this process, spread over 28 due dates, and a few loans of 1,000 events.
//! 2. A server over them. Days are closed and ended: alone; beside single transfers; beside receipts.
//! 3. Loans by id, statements, a call list; receipts that come late on the long loans, warm and after a start.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::load::{self, Group, Outcome, Pace, Setting, Source, Until};
use super::machine::resident_bytes;
use super::server::{DataFolder, ServerProcess};
use super::setup::{create_accounts, progress_bar};
use super::shape::Dice;
use super::source::{Keys, Singles, write_post};
use super::wire::{Answer, ask, json_text};
use super::{BenchArgs, BenchError, credentials, facts::Facts, run_nonce};
use crate::cli::folder::open_to_write;
use crate::domain::ids::{IdKind, format_id};
use crate::domain::lending::customer::{CustomerFacts, CustomerKind};
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::events::Mode;
use crate::domain::lending::loan::facts::{LoanApplication, LoanTexts};
use crate::domain::lending::product::{ACCOUNT_COUNT, ProductFacts};
use crate::domain::lending::terms::Terms;
use crate::domain::time::Day;
use crate::engine::clock::SystemTimeSource;
use crate::engine::command::{Command, LoanAction, LoanRequest, NewCustomer, NewProduct, Origin};
use crate::engine::history::Reach;
use crate::engine::submit::{NotYet, Said};
use crate::engine::view::{Reply, Unavailable};
use crate::engine::{Engine, EngineOptions};

/// Business days over which the loans are paid out, so that their due dates are spread.
const SPREAD_DAYS: u32 = 28;

/// Commands whose answers are waited for together.
const WAVE: u32 = 5_000;

/// Events of the long loans.
const LONG_EVENTS: u32 = 1_000;

/// How many of those there are.
const LONG_LOANS: u32 = 8;

/// Patience for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Runs it on a server of its own.
///
/// # Errors
/// It could not run.
pub fn run(args: &BenchArgs) -> Result<Facts, BenchError> {
    if args.url.is_some() {
        return Err(BenchError::Usage("dayend builds books of its own: leave out --url"));
    }
    let nonce = run_nonce();
    let folder = DataFolder::open(args.data.as_deref(), nonce)?;
    let books = folder.path().join("books");
    let mut facts = Facts::new("the end of a day");
    facts.note("loans", f64::from(args.loans), "");
    let begun = Instant::now();
    build(&books, args.loans, &mut facts)?;
    facts.note("books built in", begun.elapsed().as_secs_f64(), "s");
    let server = ServerProcess::serve(&books, &args.server_arg)?;
    let ready = server.wait_ready(Duration::from_secs(300))?;
    facts.note("ready after a start", ready.as_secs_f64(), "s");
    let base = resident_bytes(server.pid()).unwrap_or(0);
    facts.note("server memory at the start", base as f64 / 1024.0 / 1024.0, "MiB");
    let bench = Bench { args, addr: server.addr(), nonce };
    bench.late_receipts("cold", u64::from(LONG_LOANS), &mut facts)?;
    bench.late_receipts("warm", 1_000, &mut facts)?;
    bench.days_alone(&mut facts)?;
    bench.days_beside_transfers(&mut facts)?;
    bench.days_beside_receipts(&mut facts)?;
    bench.reads(&mut facts)?;
    let end = resident_bytes(server.pid()).unwrap_or(0);
    facts.note("server memory at the end", end as f64 / 1024.0 / 1024.0, "MiB");
    Ok(facts)
}

struct Bench<'a> {
    args: &'a BenchArgs,
    addr: SocketAddr,
    nonce: u64,
}

impl Bench<'_> {
    fn keys(&self, stream: &str) -> Keys {
        Keys::new(self.args.seed, self.nonce, stream)
    }

    fn setting(&self) -> Setting {
        let duration = Duration::from_secs_f64(self.args.duration);
        Setting { addr: self.addr, server_pid: None, warm_up: Duration::ZERO, until: Until { duration, units: 0 } }
    }

    fn post(&self, keys: &mut Keys, path: &str, body: &str) -> Result<(u16, Vec<u8>), BenchError> {
        let mut request = Vec::new();
        write_post(&mut request, path, "connection: close\r\n", keys, |out| out.extend_from_slice(body.as_bytes()));
        ask(self.addr, &request, ANSWER_TIME).map_err(|source| BenchError::io("post", source))
    }

    fn get(&self, path: &str) -> Result<(u16, Vec<u8>), BenchError> {
        let key = credentials::line();
        let request = format!("GET {path} HTTP/1.1\r\nhost: munim\r\n{key}connection: close\r\n\r\n");
        ask(self.addr, request.as_bytes(), ANSWER_TIME).map_err(|source| BenchError::io("read", source))
    }

    /// Closes the business day and waits until its end is done. From the close on it is the next day for those who pay.
    fn end_a_day(&self, keys: &mut Keys, today: &Mutex<String>) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        let (status, body) = self.post(keys, "/v1/business_day/close", "{}")?;
        if status >= 300 {
            let code = json_text(&body, b"\"code\":\"").unwrap_or("no code").to_owned();
            return Err(BenchError::Server(format!("a day was not closed: {status} {code}")));
        }
        loop {
            let (_, body) = self.get("/v1/business_day")?;
            if let Some(date) = json_text(&body, b"\"date\":\"") {
                date.clone_into(&mut today.lock());
            }
            if super::wire::find(&body, b"\"ending\":null").is_some() {
                return Ok(begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn days_alone(&self, facts: &mut Facts) -> Result<(), BenchError> {
        let mut keys = self.keys("day");
        let nobodys = Mutex::default();
        let spans = (0..5).map(|_| self.end_a_day(&mut keys, &nobodys)).collect::<Result<Vec<_>, _>>()?;
        note_spans(facts, "a day's end, alone", &spans);
        Ok(())
    }

    /// Ends days one after the other while a load runs.
    fn days_beside(
        &self,
        stream: &str,
        name: &'static str,
        source: &mut dyn Source,
        connections: usize,
        today: &Mutex<String>,
    ) -> Result<(Vec<Duration>, Outcome), BenchError> {
        let is_over = AtomicBool::new(false);
        let group = Group { name, source, connections, pipeline: 1, pace: self.args.pace() };
        std::thread::scope(|scope| {
            let days = scope.spawn(|| {
                let (mut keys, mut spans) = (self.keys(stream), Vec::new());
                while !is_over.load(Ordering::Acquire) {
                    spans.push(self.end_a_day(&mut keys, today)?);
                }
                Ok(spans)
            });
            let outcome = load::run(self.setting(), group, &mut |_| {});
            is_over.store(true, Ordering::Release);
            let spans: Result<Vec<Duration>, BenchError> =
                days.join().map_err(|_| BenchError::Server("the thread that ends days panicked".to_owned()))?;
            Ok((spans?, outcome.map_err(|source| BenchError::io("keep up the load", source))?))
        })
    }

    fn days_beside_transfers(&self, facts: &mut Facts) -> Result<(), BenchError> {
        let accounts = create_accounts(self.addr, 10_000, &mut self.keys("a"))?;
        let dice = Dice::new(self.args.seed, self.args.shape(), accounts);
        let mut source = Singles::new(dice, self.keys("s"));
        let (spans, outcome) = self.days_beside("day-s", "transfers", &mut source, 16, &Mutex::default())?;
        note_spans(facts, "a day's end beside transfers", &spans);
        note_load(facts, "transfers beside it", &outcome);
        Ok(())
    }

    fn days_beside_receipts(&self, facts: &mut Facts) -> Result<(), BenchError> {
        let keys = self.keys("r");
        let today = Arc::new(Mutex::new(self.business_date()?));
        let mut source = Receipts {
            loans: self.args.loans,
            next: 1,
            seed: self.args.seed,
            nonce: self.nonce,
            keys,
            today: Arc::clone(&today),
        };
        let (spans, outcome) = self.days_beside("day-r", "receipts", &mut source, 200, &today)?;
        note_spans(facts, "a day's end beside receipts of 200 clients", &spans);
        note_load(facts, "receipts beside it", &outcome);
        Ok(())
    }

    fn business_date(&self) -> Result<String, BenchError> {
        let (_, body) = self.get("/v1/business_day")?;
        let date = json_text(&body, b"\"date\":\"").map(str::to_owned);
        date.ok_or_else(|| BenchError::Server("no business date".to_owned()))
    }

    /// Receipts with a value date long past, on loans of 1,000 events: so many, one after the other.
    fn late_receipts(&self, name: &'static str, count: u64, facts: &mut Facts) -> Result<(), BenchError> {
        let keys = self.keys(name);
        let mut source = LateReceipts { name, next: 0, nonce: self.nonce, keys };
        let setting = Setting { until: Until { duration: Duration::ZERO, units: count }, ..self.setting() };
        let group = Group { name, source: &mut source, connections: 1, pipeline: 1, pace: Pace::Closed };
        let outcome = load::run(setting, group, &mut |_| {});
        let outcome = outcome.map_err(|source| BenchError::io("post late receipts", source))?;
        note_load(facts, &format!("late receipt on a loan of 1,000 events, {name}"), &outcome);
        Ok(())
    }

    fn reads(&self, facts: &mut Facts) -> Result<(), BenchError> {
        for (name, path, connections) in
            [("loan by id", "", 64), ("statement of a loan of 1,000 events", "/statement", 4)]
        {
            let loans = if path.is_empty() { self.args.loans } else { LONG_LOANS };
            let mut source = LoanReads { loans, path, dice: self.args.seed };
            let group = Group { name, source: &mut source, connections, pipeline: 1, pace: Pace::Closed };
            let outcome = load::run(self.setting(), group, &mut |_| {});
            note_load(facts, name, &outcome.map_err(|source| BenchError::io("read loans", source))?);
        }
        let begun = Instant::now();
        let (status, body) = self.get("/v1/reports/dues?limit=1000")?;
        facts.note("a page of 1,000 of the call list", begun.elapsed().as_secs_f64() * 1000.0, "ms");
        if status != 200 {
            facts.fault(format!("the call list came with {status}: {}", String::from_utf8_lossy(&body)));
        }
        Ok(())
    }
}

fn note_spans(facts: &mut Facts, name: &str, spans: &[Duration]) {
    let seconds = spans.iter().map(Duration::as_secs_f64);
    facts.note(format!("{name}: days"), spans.len() as f64, "");
    facts.note(format!("{name}: mean"), seconds.clone().sum::<f64>() / spans.len().max(1) as f64, "s");
    facts.note(format!("{name}: longest"), seconds.fold(0.0, f64::max), "s");
}

fn note_load(facts: &mut Facts, name: &str, outcome: &Outcome) {
    let latency = &outcome.measured.latency;
    let ms = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1e6;
    facts.note(format!("{name}: a second"), outcome.measured.requests as f64 / outcome.elapsed.as_secs_f64(), "");
    facts.note(format!("{name}: p50"), ms(0.5), "ms");
    facts.note(format!("{name}: p99"), ms(0.99), "ms");
    for ((status, code), count) in &outcome.measured.errors {
        facts.fault(format!("{name}: {count} answers were {status} {code}"));
    }
}

/// One receipt a request, on one loan after the other, with the business day's date: one that meets the end of its day is
/// a day late, and no later.
struct Receipts {
    loans: u32,
    next: u32,
    seed: u64,
    nonce: u64,
    keys: Keys,
    today: Arc<Mutex<String>>,
}

impl Source for Receipts {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let loan = LONG_LOANS + 1 + (self.seed >> 33) as u32 % (self.loans - LONG_LOANS);
        let path = format!("/v1/loans/{}/repayments", format_id(IdKind::Loan, u64::from(loan)));
        let (nonce, number) = (self.nonce, self.next);
        self.next += 1;
        write_post(out, &path, "", &mut self.keys, |out| {
            let today = self.today.lock();
            let body = format!(
                r#"{{"amount":"100.00","value_date":"{today}","mode":"upi","reference":"{nonce:x}-{number}"}}"#
            );
            out.extend_from_slice(body.as_bytes());
        });
        1
    }

    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        matches!(answer.status, 200 | 201).then_some(asked)
    }
}

/// One receipt a request, three weeks late, on one long loan after the other.
struct LateReceipts {
    name: &'static str,
    next: u32,
    nonce: u64,
    keys: Keys,
}

impl Source for LateReceipts {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        let (name, number, nonce) = (self.name, self.next, self.nonce);
        self.next += 1;
        let path = format!("/v1/loans/{}/repayments", format_id(IdKind::Loan, u64::from(1 + number % LONG_LOANS)));
        let date = Day(first_day().0 + 5 + (number / LONG_LOANS % 4) as u16);
        write_post(out, &path, "", &mut self.keys, |out| {
            let body = format!(
                r#"{{"amount":"1.00","value_date":"{date}","mode":"upi","reference":"{name}-{nonce:x}-{number}"}}"#
            );
            out.extend_from_slice(body.as_bytes());
        });
        1
    }

    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        matches!(answer.status, 200 | 201).then_some(asked)
    }
}

/// One loan a request, at random.
struct LoanReads {
    loans: u32,
    path: &'static str,
    dice: u64,
}

impl Source for LoanReads {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let loan = 1 + (self.dice >> 33) as u32 % self.loans;
        let (id, key) = (format_id(IdKind::Loan, u64::from(loan)), credentials::line());
        let request = format!("GET /v1/loans/{id}{} HTTP/1.1\r\nhost: munim\r\n{key}\r\n", self.path);
        out.extend_from_slice(request.as_bytes());
        1
    }

    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        (answer.status == 200).then_some(asked)
    }
}

/// A day that leaves room for all days that are measured: two years before today.
fn first_day() -> Day {
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Day((today.as_secs() / 86_400).saturating_sub(730) as u16)
}

/// Makes the books: a product, a customer for each loan, and the loans.
fn build(folder: &Path, loans: u32, facts: &mut Facts) -> Result<(), BenchError> {
    std::fs::create_dir_all(folder).map_err(|source| BenchError::io("make the folder", source))?;
    let wrong = |what: String| BenchError::Server(what);
    let disk = open_to_write(folder, false).map_err(|error| wrong(error.to_string()))?;
    let mut options = EngineOptions { first_day: Some(first_day()), ..EngineOptions::default() };
    options.journal.journal_id = run_nonce();
    let engine = Engine::start(&disk, &options, Box::new(SystemTimeSource::default()));
    let engine = engine.map_err(|error| wrong(error.to_string()))?;
    let maker = Maker { engine: &engine };
    let product = maker.product()?;
    let bar = progress_bar(u64::from(loans), "loans");
    let mut made = 0;
    for day in 0..SPREAD_DAYS {
        let through = (u64::from(loans) * u64::from(day + 1) / u64::from(SPREAD_DAYS)) as u32;
        while made < through {
            let count = (through - made).min(WAVE);
            maker.lend(product, made + 1, count)?;
            made += count;
            bar.set_position(u64::from(made));
        }
        maker.tell(&Command::CloseDay)?;
    }
    bar.finish_and_clear();
    maker.long_loans()?;
    let begun = Instant::now();
    while engine.core().loans().with_day(crate::engine::loans::book::DayBook::ending).is_some() {
        std::thread::sleep(Duration::from_millis(5));
    }
    facts.note("days left to end after that", begun.elapsed().as_secs_f64(), "s");
    engine.core().checkpoint_now();
    engine.shut_down();
    Ok(())
}

struct Maker<'a> {
    engine: &'a Arc<Engine>,
}

impl Maker<'_> {
    /// Carries a command out; what it waits for is waited for.
    fn tell(&self, command: &Command) -> Result<Reply, BenchError> {
        let core = self.engine.core();
        loop {
            match core.execute(command, &Origin::default(), Reach::Disk) {
                Ok(pending) => match pending.said {
                    Said::Now(Reply::Refused(reject)) => {
                        return Err(BenchError::Server(format!("refused: {}", reject.code.name())));
                    }
                    Said::Now(reply) => return Ok(reply),
                    Said::Again(_) => return Err(BenchError::Server("nothing has a key here".to_owned())),
                },
                Err(NotYet::WaitFor(seq)) => {
                    core.watermark().wait_blocking(seq);
                }
                Err(NotYet::Unavailable(Unavailable::Overloaded(_) | Unavailable::JournalFull)) => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(other) => return Err(BenchError::Server(format!("{other:?}"))),
            }
        }
    }

    fn act(&self, loan: u32, value_date: Option<Day>, request: LoanRequest) -> Result<(), BenchError> {
        let action =
            LoanAction { loan, request, value_date, settlement: None, texts: LoanTexts::default(), jobs: Vec::new() };
        self.tell(&Command::ActOnLoan(Box::new(action))).map(|_| ())
    }

    fn product(&self) -> Result<u32, BenchError> {
        let calculation = Terms {
            annual_rate_pct: rust_decimal::Decimal::from(24),
            instalments: Some(36),
            day_count: crate::domain::lending::day_count::DayCount::Act365,
            ..Terms::default()
        };
        let facts = ProductFacts {
            name: "Bench".into(),
            external_id: None,
            terms: LoanTerms::new(calculation),
            principal_min: 100,
            principal_max: 1_000_000_000,
            kfs_valid_days: 5,
            is_secured: false,
            disbursal_by_another: false,
            year_end_account: None,
            metadata: Vec::new(),
        };
        match self.tell(&Command::MakeProduct(Box::new(NewProduct { facts, accounts: [None; ACCOUNT_COUNT] })))? {
            Reply::Product { view, .. } => Ok(view.saved.number),
            other => Err(BenchError::Server(format!("{other:?}"))),
        }
    }

    /// Loans of consecutive numbers, paid out today. Step by step: what a step needs is durable then.
    fn lend(&self, product: u32, first: u32, count: u32) -> Result<(), BenchError> {
        for number in first..first + count {
            let facts =
                CustomerFacts { kind: CustomerKind::Individual, name: "Borrower".into(), ..CustomerFacts::default() };
            self.tell(&Command::MakeCustomer(Box::new(NewCustomer { facts })))?;
            let application = LoanApplication {
                customer: number,
                product,
                product_version: 0,
                principal: 2_000_000 + i64::from(number % 80) * 100_000,
                instalments: None,
                annual_rate_pct: None,
                first_due_on: None,
                charges: None,
                external_id: None,
                metadata: Vec::new(),
            };
            self.tell(&Command::Apply(Box::new(application)))?;
        }
        let steps = [
            LoanRequest::Approve,
            LoanRequest::AcceptKfs { version: 1 },
            LoanRequest::Disburse { amount: None, mode: Mode::Neft },
        ];
        for step in steps {
            for number in first..first + count {
                self.act(number, None, step)?;
            }
        }
        Ok(())
    }

    /// The first loans get 1,000 receipts of a rupee, on the last days.
    fn long_loans(&self) -> Result<(), BenchError> {
        let today = self.engine.core().business_date();
        for turn in 0..LONG_EVENTS {
            for loan in 1..=LONG_LOANS {
                let value_date = Day(today.0 - (turn % 5) as u16);
                let request = LoanRequest::Receive { amount: 100, tds: 0, mode: Mode::Upi };
                self.act(loan, Some(value_date), request)?;
            }
        }
        Ok(())
    }
}
