//! What may be asked of the books, in one list.

use crate::domain::access::KeyTerms;
use crate::domain::account::{AccountType, BalanceRule, Status};
use crate::domain::entry::Metadata;
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::customer::{CustomerFacts, Sealed};
use crate::domain::lending::digits::Decimal as Pct;
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::events::{ChargeKind, Mode, NewPlan, Waiver};
use crate::domain::lending::loan::facts::{LoanApplication, LoanTexts};
use crate::domain::lending::product::{ACCOUNT_COUNT, ProductFacts};
use crate::domain::lending::terms::Keep;
use crate::domain::money::{Currency, Decimal};
use crate::domain::objects::Collection;
use crate::domain::time::Day;
use crate::domain::transfer::NewTransfer;

/// A command: it becomes one record, or a refusal.
#[derive(Clone, Debug)]
pub enum Command {
    /// Opens one account; the reply is the account.
    OpenAccount(Box<NewAccount>),
    /// Opens several accounts, each on its own; the reply lists ids and refusals.
    OpenAccounts(Vec<NewAccount>),
    /// Changes name, metadata or status of an account.
    ChangeAccount(Box<AccountChange>),
    /// One transfer or hold.
    Transfer(NewTransfer),
    /// Several transfers, posts and voids.
    Batch(Batch),
    /// Posts a hold; `amount` as in [`BatchItem::Post`].
    PostHold { transfer: Seq, amount: Option<Option<Decimal>> },
    /// Voids a hold.
    VoidHold { transfer: Seq },
    /// Reverses a posted transfer.
    Reverse { transfer: Seq, reason: Option<Box<str>> },
    /// Closes all effective dates up to and including `through`.
    ClosePeriod { through: Day },
    /// Undoes the closing that closed `through`: dates after the closing before it are open again.
    ReopenPeriod { through: Day, reason: Box<str> },
    /// Takes the wall clock's word after a jump.
    AcceptClock,
    /// Makes an API key.
    MakeApiKey(Box<NewApiKey>),
    /// Gives an API key another token; the one before is good for so many microseconds more.
    RotateApiKey { number: u64, hash: [u8; 32], overlap_us: i64 },
    /// An API key is none any more, from this very command on.
    RevokeApiKey { number: u64 },
    /// Notes that the caller was refused what his key does not allow.
    NoteRefusal { operation: Box<str>, code: Box<str>, suppressed: u32 },
    /// Makes a customer.
    MakeCustomer(Box<NewCustomer>),
    /// Changes what is known of a customer.
    ChangeCustomer(Box<CustomerChange>),
    /// Makes a loan product.
    MakeProduct(Box<NewProduct>),
    /// Gives a loan product another version.
    ChangeProduct(Box<ProductChange>),
    /// Asks for a loan. The version of the product is looked up; no customer and no product has 0.
    Apply(Box<LoanApplication>),
    /// Does something with a loan.
    ActOnLoan(Box<LoanAction>),
    /// Saves an object that an operator has set up.
    SaveObject(Box<ObjectChange>),
    /// A transfer that bears jobs.
    TransferWithJobs(Box<(NewTransfer, Vec<NewJob>)>),
    /// Jobs by themselves.
    BearJobs(Vec<NewJob>),
    /// Opens a business day: those before it are over.
    OpenDay { date: Day, reason: Option<Box<str>> },
    /// Closes the business day.
    CloseDay,
}

/// An object to be made or changed. Its shape was checked by whoever knows what it says.
#[derive(Clone, Debug)]
pub struct ObjectChange {
    /// Its collection.
    pub collection: Collection,
    /// Which one; `None` makes one.
    pub number: Option<u32>,
    /// The version that it must be at.
    pub expected: Option<u32>,
    /// What it says, at most [`crate::domain::objects::OBJECT_BYTES_MAX`] bytes.
    pub body: Box<[u8]>,
}

/// A job to be born. Its shape was checked by whoever knows its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What is to be done, 1–64 characters.
    pub kind: Box<str>,
    /// With what, at most [`crate::domain::objects::JOB_ARGS_BYTES_MAX`] bytes.
    pub args: Box<[u8]>,
    /// 0–9; 9 is the most urgent.
    pub priority: u8,
    /// Not before.
    pub run_at: Option<Moment>,
}

/// A new loan product, as asked for. Shapes and lengths were checked by the edge, the terms by themselves.
#[derive(Clone, Debug)]
pub struct NewProduct {
    /// What it says.
    pub facts: ProductFacts,
    /// Its accounts where they are not to be opened for it, by the number of their role; the outer `None` is one to
    /// be opened, the inner one an account that does not exist.
    pub accounts: [Option<Option<AccountNo>>; ACCOUNT_COUNT],
}

/// A change of a loan product; `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub struct ProductChange {
    /// Which product; no product has 0.
    pub number: u32,
    /// Another name.
    pub name: Option<Box<str>>,
    /// Other terms, for loans that are asked for from now on.
    pub terms: Option<Box<LoanTerms>>,
    /// Another least principal.
    pub principal_min: Option<i64>,
    /// Another greatest principal.
    pub principal_max: Option<i64>,
    /// Another validity of key facts statements.
    pub kfs_valid_days: Option<u16>,
    /// Whether whoever asks for a loan may not pay it out.
    pub disbursal_by_another: Option<bool>,
    /// Where a year's income goes, or nowhere; [`AccountNo::MAX`] for an account that does not exist.
    pub year_end_account: Option<Option<AccountNo>>,
    /// Replaces all pairs.
    pub metadata: Option<Metadata>,
    /// `If-Match`, as in [`AccountChange`].
    pub expected: Option<Vec<(u32, Option<Seq>)>>,
}

/// Something that is to happen to a loan.
#[derive(Clone, Debug)]
pub struct LoanAction {
    /// Which loan; no loan has 0.
    pub loan: u32,
    /// What.
    pub request: LoanRequest,
    /// When it counts; `None` is the business date.
    pub value_date: Option<Day>,
    /// The account of the money; the outer `None` is the product's, the inner one an account that does not exist.
    pub settlement: Option<Option<AccountNo>>,
    /// Texts.
    pub texts: LoanTexts,
    /// What is born with it, at most [`crate::domain::objects::JOBS_PER_COMMAND_MAX`].
    pub jobs: Vec<NewJob>,
}

/// What is asked of a loan. Amounts are paise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoanRequest {
    /// Sanction it, which gives out a key facts statement.
    Approve,
    /// Do not.
    Decline,
    /// Give out the next version of the key facts statement.
    IssueKfs,
    /// Accept it.
    AcceptKfs { version: u32 },
    /// Pay out this much before charges, or what is left of the sanction.
    Disburse { amount: Option<i64>, mode: Mode },
    /// The payment came back: of this event, or of the last disbursal.
    ReturnDisbursal { of: Option<Seq> },
    /// A payment came.
    Receive { amount: i64, tds: i64, mode: Mode },
    /// A payment came back: the event that it was.
    ReverseReceipt { of: Seq },
    /// Pay ahead.
    Prepay { amount: i64, keep: Keep, mode: Mode },
    /// Charge; the tax is the product's.
    Charge { kind: ChargeKind, amount: i64 },
    /// Let dues go.
    Waive(Waiver),
    /// Another rate.
    ResetRate { annual_rate_pct: Pct, keep: Keep },
    /// Other terms.
    Reschedule(NewPlan),
    /// Give it up.
    WriteOff,
    /// Something came nevertheless.
    Recover { amount: i64, mode: Mode },
    /// Pay the advance back.
    Refund { amount: i64, mode: Mode },
    /// Pay everything: this much, which must be what is quoted, or what is quoted.
    Foreclose { amount: Option<i64>, mode: Mode },
    /// Leave within the cooling-off days, likewise.
    Cancel { amount: Option<i64>, mode: Mode },
    /// Nothing is owed.
    Close,
    /// Take this much for all of it, and let the rest go.
    Settle { amount: i64, mode: Mode },
    /// Call nobody through a day.
    Pause { until: Day },
    /// Watch it, or do not any more.
    Watch { on: bool },
}

/// A new customer, as asked for. Shapes and lengths were checked by the edge, secrets sealed.
#[derive(Clone, Debug)]
pub struct NewCustomer {
    /// What is known of it.
    pub facts: CustomerFacts,
}

/// A change of a customer; `None` leaves a part as it is, `Some(None)` removes it.
#[derive(Clone, Debug, Default)]
pub struct CustomerChange {
    /// Which customer; no customer has 0.
    pub number: u32,
    /// Another name.
    pub name: Option<Box<str>>,
    /// Another date of birth.
    pub born_on: Option<Option<Day>>,
    /// Another telephone number.
    pub phone: Option<Option<Box<str>>>,
    /// Another address for mail.
    pub email: Option<Option<Box<str>>>,
    /// Another address.
    pub address: Option<Option<Box<str>>>,
    /// Another PAN.
    pub pan: Option<Option<Sealed>>,
    /// Another bank account.
    pub bank_account: Option<Option<Sealed>>,
    /// Another branch of it.
    pub ifsc: Option<Option<Box<str>>>,
    /// Replaces all pairs.
    pub metadata: Option<Metadata>,
    /// `If-Match`, as in [`AccountChange`].
    pub expected: Option<Vec<(u32, Option<Seq>)>>,
}

/// A new API key, as asked for. Shapes and lengths were checked by the edge.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// What it is for.
    pub terms: KeyTerms,
    /// Keyed hash of its token's secret.
    pub hash: [u8; 32],
}

/// A new account, as asked for. Shapes and lengths were checked by the edge.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Currency of all its amounts.
    pub currency: Currency,
    /// Normal direction.
    pub account_type: AccountType,
    /// General-ledger code, 0 for none.
    pub code: u32,
    /// Refused balances.
    pub balance_rule: BalanceRule,
    /// Unique for ever among accounts, 1–64 visible ASCII.
    pub external_id: Option<Box<str>>,
    /// At most 200 characters.
    pub name: Option<Box<str>>,
    /// At most 50 pairs, sorted by key.
    pub metadata: Metadata,
}

/// A change of an account; `None` leaves a part as it is.
#[derive(Clone, Debug)]
pub struct AccountChange {
    /// Which account.
    pub account: AccountNo,
    /// `Some(None)` removes the name.
    pub name: Option<Option<Box<str>>>,
    /// Replaces all pairs.
    pub metadata: Option<Metadata>,
    /// New status.
    pub status: Option<Status>,
    /// `If-Match`: the versions of which one must be the account's, each with the last seq if the caller named one.
    pub expected: Option<Vec<(u32, Option<Seq>)>>,
}

/// Several items in one command.
#[derive(Clone, Debug)]
pub struct Batch {
    /// One refusal refuses all.
    pub atomic: bool,
    /// `Prefer: return=minimal`: the reply keeps counts, first and last id, and the rejected.
    pub minimal: bool,
    /// At most [`crate::config::BATCH_ITEMS_MAX`].
    pub items: Vec<BatchItem>,
}

/// One item of a batch.
#[derive(Clone, Debug)]
pub enum BatchItem {
    /// A new transfer or hold.
    New(NewTransfer),
    /// Posts a hold: all of it (`None`), or this much; `Some(None)` is a text that was no decimal.
    /// `transfer` is `None` when the text was no transfer id.
    Post { transfer: Option<Seq>, amount: Option<Option<Decimal>> },
    /// Voids a hold.
    Void { transfer: Option<Seq> },
}

/// Whom a command comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin {
    /// The API key's number; 0 is `local`: before keys exist, or somebody at the machine itself.
    pub owner: u64,
    /// The request's number, shown as `req_…`.
    pub request: u64,
    /// The idempotency key and its fingerprint, hashed.
    pub key: Option<IdempotencyKey>,
    /// Decide and change nothing.
    pub dry_run: bool,
    /// Work that would not be done by then is refused before it begins.
    pub deadline: Option<std::time::Instant>,
    /// Greatest single amount that the caller may move, in whole units of its currency.
    pub amount_limit: Option<u64>,
}

/// An idempotency key as the engine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// 128 bits of blake3 over owner, method, route and key.
    pub hash: [u8; 16],
    /// 128 bits of blake3 over path, query, Content-Type, Accept, Prefer and body.
    pub fingerprint: [u8; 16],
}
