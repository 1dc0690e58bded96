//! Lending below HTTP, on a disk that loses power: what the ledger says of a product's control accounts is the sum of
//! its loans; a loan is what folding its events gives; a restart, a crash at any write and a day that is ended in
//! pieces change nothing; a receipt that comes late does what it would have done in time.

#![expect(clippy::inconsistent_digit_grouping, reason = "rupees, then paise")]

use std::collections::BTreeMap;
use std::sync::Arc;

use munim::disk::Disk;
use munim::domain::account::AccountType;
use munim::domain::ids::{AccountNo, Seq};
use munim::domain::lending::customer::{CustomerFacts, CustomerKind};
use munim::domain::lending::loan::contract::LoanTerms;
use munim::domain::lending::loan::events::{ChargeKind, Mode, Waiver};
use munim::domain::lending::loan::facts::{LoanApplication, LoanTexts};
use munim::domain::lending::loan::fold::refold;
use munim::domain::lending::loan::packed::{pack, unpack};
use munim::domain::lending::loan::roles::ROLE_COUNT;
use munim::domain::lending::loan::state::{LoanState, LoanStatus};
use munim::domain::lending::product::{ACCOUNT_COUNT, ACCOUNT_PLANS, ProductFacts};
use munim::domain::lending::terms::{Charge, Keep, Method, Terms};
use munim::domain::reject::RejectCode;
use munim::domain::time::Day;
use munim::engine::command::{Command, LoanAction, LoanRequest, NewAccount, NewCustomer, NewJob, NewProduct, Origin};
use munim::engine::history::Reach;
use munim::engine::loans::day_end::Step;
use munim::engine::loans::past::Basis;
use munim::engine::recovery::{self, Parts};
use munim::engine::submit::{NotYet, Said};
use munim::engine::view::{LoanFilter, LoanLine, Reply, Unavailable};
use munim::engine::{Core, EngineOptions};
use munim::journal::{Maintenance, Step as WriterStep, Writer};
use munim::reconcile::verify::{Expected, verify};
use rust_decimal::Decimal;

use super::disk::{Dice, SimDisk};
use super::driver::tiny_options;
use super::inventor::Hands;

/// 2026-01-01.
const FIRST_DAY: Day = Day(20_454);

pub struct Books {
    pub disk: SimDisk,
    pub hands: Hands,
    pub options: EngineOptions,
    pub core: Arc<Core>,
    writer: Writer,
    maintenance: Maintenance,
}

fn write_all(writer: &mut Writer, maintenance: &mut Maintenance) {
    maintenance.step();
    while let WriterStep::Committed { .. } = writer.step() {
        maintenance.step();
    }
}

impl Books {
    fn new(seed: u64) -> Books {
        let mut dice = Dice::new(seed);
        let mut options = tiny_options(&mut dice, seed + 1);
        options.first_day = Some(FIRST_DAY);
        options.journal.segment_bytes = 200_000;
        Books::open(SimDisk::new(dice.roll()), Hands::default(), options)
    }

    fn open(disk: SimDisk, hands: Hands, options: EngineOptions) -> Books {
        let folder: Arc<dyn Disk> = Arc::new(disk.clone());
        let parts = recovery::open(&folder, &options, Box::new(hands.clone())).expect("the books open");
        let Parts { core, writer, maintenance, .. } = parts;
        Books { disk, hands, options, core, writer, maintenance }
    }

    /// As they are found after a stop, or after the power went.
    fn again(self, is_crash: bool) -> Books {
        let Books { disk, hands, options, core, writer, maintenance } = self;
        if is_crash {
            disk.cut_power_in(0);
        }
        drop((core, writer, maintenance));
        if is_crash {
            disk.crash();
        }
        hands.restart();
        Books::open(disk, hands, options)
    }

    fn write(&mut self) {
        write_all(&mut self.writer, &mut self.maintenance);
    }

    /// A checkpoint while a day ends beside it. Some are given up between two of their transactions, which leaves in the
    /// store what a power cut there would.
    fn checkpoint_beside(&mut self, dice: &mut Dice) {
        let Books { core, writer, maintenance, .. } = self;
        let mut waits = if dice.chance(50) { dice.below(5) } else { u64::MAX };
        let done = core.checkpoint(&mut |seq| {
            if seq == Seq::NONE {
                if dice.chance(30) {
                    let _ = core.end_days();
                }
                return true;
            }
            write_all(writer, maintenance);
            waits = waits.saturating_sub(1);
            waits > 0
        });
        assert!(done.is_ok() || waits == 0, "{done:?}");
        self.write();
    }

    fn ask(&mut self, command: &Command) -> Reply {
        loop {
            match self.core.execute(command, &Origin::default(), Reach::Disk) {
                Ok(pending) => match pending.said {
                    Said::Now(reply) => return reply,
                    Said::Again(_) => unreachable!("nothing has a key here"),
                },
                Err(NotYet::WaitFor(_) | NotYet::Unavailable(Unavailable::Overloaded(_))) => self.write(),
                Err(other) => panic!("{other:?}"),
            }
        }
    }

    fn act(&mut self, loan: u32, value_date: Option<Day>, request: LoanRequest) -> Result<LoanState, RejectCode> {
        // Some bear jobs, which change nothing of the books.
        let job = NewJob { kind: "document".into(), args: Box::from(&b"{}"[..]), priority: 5, run_at: None };
        let jobs = vec![job; loan as usize % 3];
        self.act_on(LoanAction { loan, request, value_date, settlement: None, texts: LoanTexts::default(), jobs })
    }

    fn act_on(&mut self, action: LoanAction) -> Result<LoanState, RejectCode> {
        match self.ask(&Command::ActOnLoan(Box::new(action))) {
            Reply::Loan { view, .. } => Ok(*view.state),
            Reply::Refused(reject) => Err(reject.code),
            other => panic!("{other:?}"),
        }
    }

    fn customer(&mut self, name: &str) -> u32 {
        let facts = CustomerFacts { kind: CustomerKind::Individual, name: name.into(), ..CustomerFacts::default() };
        match self.ask(&Command::MakeCustomer(Box::new(NewCustomer { facts }))) {
            Reply::Customer { view, .. } => view.saved.number,
            other => panic!("{other:?}"),
        }
    }

    fn product(&mut self, terms: LoanTerms) -> u32 {
        self.product_with(terms, None)
    }

    /// An account of money that is no product's.
    fn till(&mut self) -> AccountNo {
        self.account(AccountType::Asset, 1010)
    }

    fn account(&mut self, account_type: AccountType, code: u32) -> AccountNo {
        let new = NewAccount {
            currency: munim::domain::money::Currency::INR,
            account_type,
            code,
            balance_rule: munim::domain::account::BalanceRule::None,
            external_id: None,
            name: None,
            metadata: Vec::new(),
        };
        match self.ask(&Command::OpenAccount(Box::new(new))) {
            Reply::Account { .. } => AccountNo(self.core.status().accounts as u32 - 1),
            other => panic!("{other:?}"),
        }
    }

    fn product_with(&mut self, terms: LoanTerms, external_id: Option<Box<str>>) -> u32 {
        self.product_to(terms, external_id, None)
    }

    /// A product whose income and expenses go to an account when a year is over.
    fn product_to(
        &mut self,
        terms: LoanTerms,
        external_id: Option<Box<str>>,
        year_end_account: Option<AccountNo>,
    ) -> u32 {
        let facts = ProductFacts {
            name: "Business".into(),
            external_id,
            terms,
            principal_min: 1_00,
            principal_max: 1_00_00_000_00,
            kfs_valid_days: 5,
            is_secured: false,
            disbursal_by_another: false,
            year_end_account,
            metadata: Vec::new(),
        };
        match self.ask(&Command::MakeProduct(Box::new(NewProduct { facts, accounts: [None; ACCOUNT_COUNT] }))) {
            Reply::Product { view, .. } => view.saved.number,
            other => panic!("{other:?}"),
        }
    }

    fn apply(&mut self, customer: u32, product: u32, principal: i64) -> u32 {
        self.apply_for(plain(customer, product, principal))
    }

    fn apply_for(&mut self, application: LoanApplication) -> u32 {
        match self.ask(&Command::Apply(Box::new(application))) {
            Reply::Loan { view, .. } => view.loan.expect("it was made"),
            other => panic!("{other:?}"),
        }
    }

    /// A loan that is paid out.
    fn lend(&mut self, customer: u32, product: u32, principal: i64) -> u32 {
        let loan = self.apply(customer, product, principal);
        self.pay_out(loan)
    }

    fn pay_out(&mut self, loan: u32) -> u32 {
        self.act(loan, None, LoanRequest::Approve).unwrap();
        self.act(loan, None, LoanRequest::AcceptKfs { version: 1 }).unwrap();
        self.act(loan, None, LoanRequest::Disburse { amount: None, mode: Mode::Neft }).unwrap();
        loan
    }

    fn close_day(&mut self) {
        match self.ask(&Command::CloseDay) {
            Reply::BusinessDay { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn end_days(&mut self) {
        loop {
            match self.core.end_days() {
                Step::More => self.write(),
                Step::Idle => return,
                Step::Stuck => panic!("the day cannot be sealed"),
            }
        }
    }

    fn days(&mut self, count: u16) {
        for _ in 0..count {
            self.close_day();
            self.end_days();
        }
    }

    fn today(&self) -> Day {
        self.core.business_date()
    }

    fn state(&self, loan: u32) -> LoanState {
        self.core.loans().loans().get(loan).expect("there is such a loan").unpacked()
    }

    /// The whole folder, as `munim verify` sees it, and as a server sees itself.
    pub fn verify(&mut self) {
        self.write();
        let core = &self.core;
        let report = verify(core.journal(), &Expected::from_memory(core).expect("the store reads"), &mut |_| {});
        assert!(report.ok, "verify against memory: {report:?}");
        let report = verify(core.journal(), &Expected::from_store(core.store()).expect("the store reads"), &mut |_| {});
        assert!(report.ok, "verify against the store: {report:?}");
    }

    /// Everything that must hold of the books after whatever happened.
    fn check(&mut self) {
        self.write();
        let book = self.core.loans();
        let count = book.loans().count();
        let mut positions: BTreeMap<u32, [i64; ROLE_COUNT]> = BTreeMap::new();
        for loan in 1..=count {
            let row = book.loans().get(loan).cloned().expect("counted");
            let live = row.unpacked();
            live.assert_whole();
            let sums = positions.entry(row.product).or_default();
            sums.iter_mut().zip(live.positions.raw()).for_each(|(sum, of)| *sum += of);
            self.check_fold(loan, &live);
        }
        let day = book.day();
        for (number, sums) in &positions {
            assert_eq!(day.positions.get(number), Some(sums), "the running sums are the sums");
            let product = book.product(*number, None).expect("it exists").saved;
            let unposted = day.unposted(*number);
            for (role, plan) in ACCOUNT_PLANS.iter().enumerate().take(ROLE_COUNT) {
                let account = self.core.account_row(product.accounts[role]).expect("it was opened");
                let balance = i128::from(account.debits_posted) - i128::from(account.credits_posted);
                assert_eq!(balance, i128::from(sums[role] - unposted[role]), "{} of product {number}", plan.role);
            }
        }
    }

    /// Loans at the end of a day, by what was known when it was sealed.
    fn at_the_end_of(&mut self, on: Day) -> Vec<LoanLine> {
        self.write();
        let filter = LoanFilter { status: Some(LoanStatus::Active), ..LoanFilter::default() };
        let page = self.core.past_lines(filter, (on, Basis::Recorded), (0, 1_000), self.core.journal().durable_seq());
        page.expect("it can be read").rows
    }

    /// The live loan is what folding its events gives.
    fn check_fold(&self, loan: u32, live: &LoanState) {
        let history = self.core.loan_history_now(loan, Reach::Disk).expect("it can be read").expect("there is one");
        let terms = Arc::clone(&history.view.terms);
        let events: Vec<_> = history
            .events
            .iter()
            .map(|step| munim::domain::lending::loan::events::Dated {
                value_date: step.event.posted.value_date,
                order: step.event.seq.expect("recorded").0,
                event: step.event.posted.event,
            })
            .collect();
        let folded = refold(&terms, &events, self.today(), |_, _, _| {});
        let mut live = live.clone();
        // A loan that was not swept yet, or ended, stands where it stood.
        if live.advanced_through < folded.advanced_through {
            munim::domain::lending::loan::advance(&mut live, &terms, folded.advanced_through);
        }
        assert_eq!(folded, live, "loan {loan} is not what its events give");
        let mut bytes = Vec::new();
        pack(&live, &mut bytes);
        assert_eq!(unpack(&bytes), Some(live));
    }
}

fn plain(customer: u32, product: u32, principal: i64) -> LoanApplication {
    LoanApplication {
        customer,
        product,
        product_version: 0,
        principal,
        instalments: None,
        annual_rate_pct: None,
        first_due_on: None,
        charges: None,
        external_id: None,
        metadata: Vec::new(),
    }
}

/// An application that has its own way in some things.
fn own(dice: &mut Dice, application: LoanApplication, today: Day) -> LoanApplication {
    let charge = Charge {
        name: "fee".into(),
        amount: Decimal::from(1 + dice.below(5)),
        payee: munim::domain::lending::terms::Payee::Lender,
        gst_pct: Decimal::from(18),
    };
    LoanApplication {
        instalments: dice.chance(40).then(|| 1 + dice.below(15) as u32),
        annual_rate_pct: dice.chance(40).then(|| Decimal::from(dice.below(40))),
        first_due_on: dice.chance(20).then(|| Day(today.0 + 10 + dice.below(40) as u16)),
        charges: dice.chance(30).then(|| vec![charge]),
        external_id: dice.chance(30).then(|| format!("L{}", dice.roll()).into()),
        ..application
    }
}

fn terms(rate: i64, rows: u32) -> LoanTerms {
    let calculation = Terms {
        annual_rate_pct: Decimal::from(rate),
        instalments: Some(rows),
        day_count: munim::domain::lending::day_count::DayCount::Act365,
        ..Terms::default()
    };
    LoanTerms { penal_pct_per_month: Decimal::from(2), ..LoanTerms::new(calculation) }
}

#[test]
fn a_loan_goes_from_application_to_its_end() {
    let mut books = Books::new(1);
    let customer = books.customer("Asha");
    let product = books.product(terms(24, 12));
    let loan = books.lend(customer, product, 50_000_00);
    books.check();
    books.days(31);
    let due = books.act(loan, None, LoanRequest::Receive { amount: 1, tds: 0, mode: Mode::Upi }).unwrap();
    assert_eq!((due.next_row, due.dues.len()), (2, 1), "the first instalment fell due on 2026-02-01");
    books.check();
    books.days(100);
    books.check();
    let state = books.state(loan);
    assert!(state.npa_since.is_some(), "90 days past due: {state:?}");
    // A restart, and a crash, change nothing.
    let before = books.core.state_hash();
    books.core.checkpoint(&mut |_| true).unwrap();
    books = books.again(false);
    assert_eq!(books.core.state_hash(), before);
    books = books.again(true);
    assert_eq!(books.core.state_hash(), before);
    books.check();
    let quote = munim::domain::lending::loan::quotes::foreclosure(&books.state(loan), &terms(24, 12), books.today());
    let closed = books.act(loan, None, LoanRequest::Foreclose { amount: Some(quote.total), mode: Mode::Neft }).unwrap();
    assert_eq!((closed.status, closed.outstanding), (LoanStatus::Closed, 0));
    books.days(2);
    books.check();
    books.verify();
    assert_eq!(books.act(loan, None, LoanRequest::Close), Err(RejectCode::LoanNotActive));
}

/// Anything, to any loan.
fn anything(books: &mut Books, dice: &mut Dice, loans: &[u32]) {
    books.write();
    let loan = loans[dice.below(loans.len() as u64) as usize];
    let amount = (1 + dice.below(8_000_00)).cast_signed();
    let back = Day(books.today().0 - if dice.chance(40) { dice.below(40) as u16 } else { 0 });
    let mode = [Mode::Upi, Mode::Cash, Mode::Neft][dice.below(3) as usize];
    let request = match dice.below(24) {
        0..9 => LoanRequest::Receive { amount, tds: 0, mode },
        9 => LoanRequest::Prepay { amount: amount * 3, keep: Keep::Term, mode },
        10 => LoanRequest::Prepay { amount: amount * 3, keep: Keep::Instalment, mode },
        11 => LoanRequest::Charge { kind: ChargeKind::Bounce, amount: 500_00 },
        12 => LoanRequest::Charge { kind: ChargeKind::Penal, amount: 100_00 },
        13 => LoanRequest::Waive(Waiver { interest: amount / 50, ..Waiver::default() }),
        14 => LoanRequest::ResetRate { annual_rate_pct: Decimal::from(dice.below(30)), keep: Keep::Term },
        15 => LoanRequest::Foreclose { amount: None, mode },
        16 => LoanRequest::WriteOff,
        17 => LoanRequest::Recover { amount, mode },
        18 => LoanRequest::Refund { amount, mode },
        19 => LoanRequest::Settle { amount: amount * 2, mode },
        20 => LoanRequest::Pause { until: Day(books.today().0 + dice.below(30) as u16) },
        21 => LoanRequest::Watch { on: dice.chance(60) },
        _ => {
            let history = books.core.loan_history_now(loan, Reach::Disk).unwrap().unwrap();
            let receipts: Vec<Seq> = history.events.iter().filter_map(|step| step.event.seq).collect();
            LoanRequest::ReverseReceipt { of: receipts[dice.below(receipts.len() as u64) as usize] }
        }
    };
    let _ = books.act(loan, (back != books.today()).then_some(back), request);
}

fn play(seed: u64) -> [u8; 32] {
    let mut dice = Dice::new(seed ^ 0x10a5);
    let mut books = Books::new(seed);
    let methods = [Method::Reducing, Method::EqualPrincipal, Method::Flat];
    let mut products = Vec::new();
    for _ in 0..=dice.below(3) {
        let mut terms = terms(dice.below(40).cast_signed(), 1 + dice.below(12) as u32);
        terms.calculation.method = methods[dice.below(3) as usize];
        products.push(books.product(terms));
    }
    let mut loans = Vec::new();
    // Apart, so that what the others throw stays what it was.
    let mut own_dice = Dice::new(seed ^ 0x0e7);
    for _ in 0..3 {
        let customer = books.customer("Borrower");
        for _ in 0..=dice.below(2) {
            let product = products[dice.below(products.len() as u64) as usize];
            let application = plain(customer, product, (1_000_00 + dice.below(90_000_00)).cast_signed());
            let today = books.today();
            let application = if own_dice.chance(40) { own(&mut own_dice, application, today) } else { application };
            let loan = books.apply_for(application);
            loans.push(books.pay_out(loan));
        }
    }
    let mut sealed = Vec::new();
    for _ in 0..60 {
        match dice.below(10) {
            0..5 => anything(&mut books, &mut dice, &loans),
            5 => books.close_day(),
            6 => {
                let _ = books.core.end_days();
            }
            7 => {
                books.days(1 + dice.below(30) as u16);
                sealed.push((Day(books.today().0 - 1), books.at_the_end_of(Day(books.today().0 - 1))));
            }
            8 => {
                books.write();
                if dice.chance(50) {
                    books.checkpoint_beside(&mut own_dice);
                }
                let before = books.core.state_hash();
                let is_crash = dice.chance(50);
                books = books.again(is_crash);
                assert_eq!(books.core.state_hash(), before, "seed {seed}: a restart changed something");
            }
            _ => books.check(),
        }
    }
    // What was sealed is told as it was then, whatever came late.
    for (on, lines) in &sealed {
        assert_eq!(books.at_the_end_of(*on), *lines, "seed {seed}: {on} was sealed");
    }
    // Also in the middle of a day's end.
    books.verify();
    books.end_days();
    books.check();
    books.verify();
    books.core.state_hash()
}

#[test]
fn loans_and_ledger_agree_whatever_happens() {
    if let Some(seed) = super::seeds::setting("MUNIM_LOAN_SEED") {
        let _ = play(seed);
        return;
    }
    let count = super::seeds::setting("MUNIM_LOAN_SEEDS").unwrap_or(60);
    let first = super::seeds::setting("MUNIM_SEED_FROM").unwrap_or(0);
    let mut failed = Vec::new();
    for seed in first..first + count {
        if std::panic::catch_unwind(|| play(seed)).is_err() {
            eprintln!("MUNIM_LOAN_SEED={seed} cargo test --release --test sim loans_and_ledger");
            failed.push(seed);
        }
    }
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
    assert_eq!(play(first), play(first), "the same seed gives the same books");
}

/// Books with something of everything that `verify` looks at, a day half ended, and a checkpoint of it all. Each
/// segment but the last has its key tables.
pub fn everything() -> Books {
    let mut books = Books::new(11);
    let product = books.product_with(terms(24, 12), Some("P-1".into()));
    let other = books.product(terms(18, 10));
    let till = books.till();
    let pay =
        |loan: u32, back: Option<Day>, request: LoanRequest, reference: &str, till: Option<AccountNo>| LoanAction {
            loan,
            request,
            value_date: back,
            settlement: till.map(Some),
            texts: LoanTexts { reference: Some(reference.into()), reason: None },
            jobs: Vec::new(),
        };
    let receive = |amount: i64| LoanRequest::Receive { amount, tds: 0, mode: Mode::Upi };
    let asha = books.customer("Asha");
    let bina = books.customer("Bina");
    let mut dice = Dice::new(3);
    let today = books.today();
    let loans: Vec<u32> = [(asha, product), (asha, other), (bina, product), (bina, other)]
        .into_iter()
        .map(|(customer, product)| {
            let application = own(&mut dice, plain(customer, product, 40_000_00), today);
            let charges = Some(Vec::new());
            let application = LoanApplication { instalments: Some(9), first_due_on: None, charges, ..application };
            let external_id = Some(format!("L-{customer}-{product}").into());
            let loan = books.apply_for(LoanApplication { external_id, ..application });
            books.pay_out(loan)
        })
        .collect();
    books.days(33);
    for (place, loan) in loans.iter().enumerate().skip(1) {
        books.act_on(pay(*loan, None, receive(4_000_00), &format!("U{place}"), Some(till))).unwrap();
    }
    books.write();
    books.core.journal().request_roll();
    books.days(3);
    let back = Day(books.today().0 - 2);
    books.act_on(pay(loans[1], Some(back), receive(500_00), "U9", None)).unwrap();
    books.act(loans[3], None, LoanRequest::Pause { until: Day(books.today().0 + 9) }).unwrap();
    books.act(loans[3], None, LoanRequest::Watch { on: true }).unwrap();
    books.act_on(pay(loans[3], None, LoanRequest::Settle { amount: 9_000_00, mode: Mode::Rtgs }, "S1", None)).unwrap();
    let history = books.core.loan_history_now(loans[2], Reach::Disk).unwrap().unwrap();
    let receipt = history.events.iter().filter_map(|step| step.event.seq).next_back().expect("it was paid");
    books.act(loans[2], None, LoanRequest::ReverseReceipt { of: receipt }).unwrap();
    books.apply(asha, product, 10_000_00);
    // The first loan is never paid: it falls, and its borrower's other loan with it.
    books.days(95);
    books.close_day();
    books.write();
    let _ = books.core.end_days();
    books.write();
    assert!(books.core.loans().with_day(|day| !day.sums.is_empty() && !day.provisions.is_empty()));
    while books.maintenance.step() {}
    while books.core.table_keys().unwrap() {}
    books.core.checkpoint(&mut |_| true).unwrap();
    books
}

#[test]
fn what_has_everything_is_whole() {
    let mut books = everything();
    books.verify();
    books = books.again(true);
    books.verify();
    books.end_days();
    books.days(2);
    books.verify();
}

/// Thirty loans, some late, one borrower with two, a day after an instalment fell due.
fn many() -> Books {
    let mut books = Books::new(7);
    let product = books.product(terms(24, 12));
    for place in 0..30 {
        let customer = books.customer("Borrower");
        books.lend(customer, product, 10_000_00 + place * 1_000_00);
        if place % 10 == 0 {
            books.lend(customer, product, 5_000_00);
        }
    }
    books.days(119);
    books.close_day();
    books.write();
    books
}

#[test]
fn a_day_that_is_cut_off_anywhere_ends_the_same() {
    let base = many();
    let copy = |luck: u64| Books::open(base.disk.fork(luck), base.hands.clone(), base.options.clone());
    let mut whole = copy(0);
    whole.end_days();
    whole.check();
    whole.verify();
    let expected = whole.core.state_hash();
    for after in 0.. {
        let mut books = copy(after);
        books.disk.cut_power_in(after);
        let mut is_done = false;
        while books.disk.has_power() {
            let step = books.core.end_days();
            books.write();
            if step == Step::Idle {
                is_done = books.disk.has_power();
                break;
            }
        }
        books = books.again(true);
        books.end_days();
        books.check();
        books.verify();
        assert_eq!(books.core.state_hash(), expected, "power went after {after} operations");
        if is_done {
            assert!(after > 1, "something was written");
            return;
        }
    }
}

/// Income and expenses of a year are moved once, whatever comes in between, and what comes late follows.
#[test]
fn a_year_that_is_over_leaves_nothing_behind() {
    let mut books = Books::new(9);
    let owners = books.account(AccountType::Equity, 3010);
    let product = books.product_to(terms(24, 12), None, Some(owners));
    let asha = books.customer("Asha");
    let loan = books.lend(asha, product, 50_000_00);
    let year_end = Day::parse("2026-03-31").unwrap();
    let through = |books: &Books, no: AccountNo| {
        let snapshot = books.core.snapshot(no).unwrap();
        let totals = books.core.balance_on(&snapshot, year_end, Reach::Far).unwrap().totals;
        i128::from(totals.debits_posted) - i128::from(totals.credits_posted)
    };
    let accounts = |books: &Books| {
        let saved = books.core.loans().product(product, None).unwrap().saved;
        let roles = ACCOUNT_PLANS.iter().enumerate();
        let of_year = |plan: AccountType| matches!(plan, AccountType::Income | AccountType::Expense);
        roles.filter(|(_, plan)| of_year(plan.account_type)).map(|(role, _)| saved.accounts[role]).collect::<Vec<_>>()
    };
    books.days(89);
    assert_eq!(books.today(), year_end);
    assert_eq!(through(&books, owners), 0, "the year is not over");
    for late in [false, true] {
        if late {
            let charge = LoanRequest::Charge { kind: ChargeKind::Fee, amount: 500_00 };
            books.act(loan, Some(Day(year_end.0 - 5)), charge).unwrap();
        }
        books.close_day();
        books.write();
        assert_eq!(books.core.end_days(), Step::More);
        books = books.again(true);
        books.end_days();
        for no in accounts(&books) {
            assert_eq!(through(&books, no), 0, "{no} is closed, late: {late}");
        }
        let moved = through(&books, owners);
        assert!(moved < 0, "the year has earned something: {moved}");
        books = books.again(false);
        books.end_days();
        assert_eq!(through(&books, owners), moved, "and is closed once");
        books.verify();
    }
    books.days(3);
    books.verify();
}

#[test]
fn a_late_receipt_does_what_it_would_have_done_in_time() {
    for back in [1, 5, 29, 35, 100] {
        let run = |late: bool| {
            let mut books = Books::new(3);
            let customer = books.customer("Borrower");
            let product = books.product(terms(24, 12));
            let loan = books.lend(customer, product, 50_000_00);
            books.days(40);
            let paid_on = books.today();
            let receive = LoanRequest::Receive { amount: 9_000_00, tds: 0, mode: Mode::Upi };
            if !late {
                books.act(loan, None, receive).unwrap();
            }
            books.days(back);
            if late {
                books.act(loan, Some(paid_on), receive).unwrap();
            }
            books.days(1);
            books.check();
            books.state(loan)
        };
        assert_eq!(run(false), run(true), "{back} days late");
    }
}

/// A borrower with a loan in the first slice of a sweep and one in the second; the first is paid out in between.
#[test]
fn a_loan_is_run_though_another_of_its_borrower_is_paid_out_in_the_middle_of_the_sweep() {
    let mut books = Books::new(5);
    let product = books.product(terms(24, 12));
    let asha = books.customer("Asha");
    let first = books.apply(asha, product, 10_000_00);
    let others = books.customer("Others");
    for _ in 0..520 {
        books.apply(others, product, 10_000_00);
    }
    let last = [20_000_00, 30_000_00].map(|principal| books.lend(asha, product, principal));
    books.close_day();
    books.write();
    assert_eq!(books.core.end_days(), Step::More);
    books.pay_out(first);
    books.write();
    books.end_days();
    let today = books.today();
    for loan in last {
        assert_eq!(books.state(loan).advanced_through, Day(today.0 - 1), "the day was run for loan {loan}, too");
    }
    books.check();
    books.verify();
    books.disk.remove(recovery::STORE_FILE).unwrap();
    books.again(false).verify();
}

/// Three days wait to be ended. A borrower's loans lie in two slices; the first, which had made the others
/// non-performing, is paid in between: what that does to the others must not run days for them that nobody notes.
#[test]
fn a_loan_that_rises_in_the_middle_of_a_sweep_keeps_the_days_that_still_wait() {
    let mut books = Books::new(6);
    let product = books.product(terms(24, 12));
    let asha = books.customer("Asha");
    let first = books.lend(asha, product, 10_000_00);
    let others = books.customer("Others");
    for _ in 0..520 {
        books.apply(others, product, 10_000_00);
    }
    books.days(125);
    let last = [20_000_00, 30_000_00].map(|principal| books.lend(asha, product, principal));
    books.days(1);
    for loan in last {
        assert!(books.state(loan).borrower_npa_since.is_some(), "the first has made loan {loan} non-performing");
    }
    let date = books.today();
    for _ in 0..3 {
        books.close_day();
    }
    books.write();
    assert_eq!(books.core.end_days(), Step::More);
    books.act(first, None, LoanRequest::Foreclose { amount: None, mode: Mode::Neft }).unwrap();
    books.write();
    assert_eq!(books.core.end_days(), Step::More);
    for loan in last {
        let state = books.state(loan);
        assert_eq!(state.borrower_npa_since, None, "nothing of the borrower is overdue any more");
        assert_eq!(state.advanced_through, date, "two days still wait for loan {loan}");
    }
    books.end_days();
    books.check();
    books.verify();
}
