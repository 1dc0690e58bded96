//! What the engine answers: views of the books, each with the greatest seq that it reveals.
//!
//! A view is complete: whoever renders it looks nothing up. The first answer and its replay have the same bytes.

use std::sync::Arc;

use crate::domain::access::ApiKey;
use crate::domain::account::Account;
use crate::domain::apply::Anchor;
use crate::domain::entry::{AccountCold, TransferCold};
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::customer::CustomerSaved;
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::facts::{LoanApplication, LoanPosted};
use crate::domain::lending::loan::state::{Class, LoanState, LoanStatus};
use crate::domain::lending::product::ProductSaved;
use crate::domain::money::{Currency, Minor};
use crate::domain::objects::JobBorn;
use crate::domain::reject::Reject;
use crate::domain::time::Day;

use super::objects::Object;
use super::statement::After;

/// Something that the engine says, and the greatest seq that it reveals (already durable).
#[derive(Clone, Debug)]
pub struct AsOf<T> {
    /// The answer.
    pub value: T,
    /// Everything up to here is on disk.
    pub seq: Seq,
}

/// The answer to a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What to render.
    pub reply: Reply,
    /// The greatest seq that the reply reveals; durable.
    pub as_of: Seq,
    /// The request that the reply answers first: shown in stored problems, so that a replay has the same bytes.
    pub request: u64,
    /// The reply is that of an earlier command with the same key.
    pub replayed: bool,
    /// Where the time went.
    pub stages: Stages,
}

/// Time spent inside the engine, microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Waiting for admission, the batch thread, and disk look-ups before the locks.
    pub queue_us: u32,
    /// Under the locks: look-up, decide, append, apply.
    pub decide_us: u32,
    /// From append to durable.
    pub journal_us: u32,
    /// Records in the commit that made it durable, 0 when unknown.
    pub group: u32,
}

/// What a command came to.
#[derive(Clone, Debug)]
pub enum Reply {
    /// 201 for a new one; 200 for post, void and reverse.
    Transfer { view: Box<TransferView>, created: bool },
    /// 201 for a new one; 200 for a change.
    Account { view: Box<AccountView>, created: bool },
    /// Accounts opened by one command.
    Accounts(BatchReply),
    /// Transfers posted by one command.
    Batch(BatchReply),
    /// The state of the periods after a command about them.
    Periods(Periods),
    /// The clock's word was taken.
    ClockAccepted,
    /// An API key after it was made, rotated or revoked.
    ApiKey { key: Box<ApiKey>, created: bool },
    /// An object, as it was saved.
    Object { object: Box<Object>, created: bool },
    /// Jobs, each with the seq that is its number.
    Jobs(Vec<(Seq, JobBorn)>),
    /// A refusal was noted.
    Noted,
    /// A customer after it was made or changed.
    Customer { view: Box<CustomerView>, created: bool },
    /// A loan product after it was made or changed.
    Product { view: Box<ProductView>, created: bool },
    /// A loan after what happened to it, and that.
    Loan { view: Box<LoanView>, event: Box<LoanEventView>, created: bool },
    /// The business day after it was opened or closed, and where and when that is recorded.
    BusinessDay { day: BusinessDay, recorded: Option<(Seq, Moment)> },
    /// The books refused.
    Refused(Reject),
    /// The books refused an atomic batch: these items, by index.
    BatchRefused(Vec<(u32, Reject)>),
}

/// A customer.
#[derive(Clone, Debug)]
pub struct CustomerView {
    /// Its newest entry; `None` where a dry run made none.
    pub last_seq: Option<Seq>,
    /// What is known of it, secrets sealed.
    pub saved: CustomerSaved,
}

/// A loan product.
#[derive(Clone, Debug)]
pub struct ProductView {
    /// Its newest entry; `None` where a dry run made none.
    pub last_seq: Option<Seq>,
    /// What it says, and its accounts.
    pub saved: Arc<ProductSaved>,
}

/// A loan on the business day: what falls due on it has been raised.
#[derive(Clone, Debug)]
pub struct LoanView {
    /// Its number; `None` in a dry run of an application.
    pub loan: Option<u32>,
    /// Its newest entry; `None` in a dry run.
    pub last_seq: Option<Seq>,
    /// How many events it has.
    pub events: u32,
    /// When it was asked for.
    pub applied_at: Moment,
    /// As it was asked for.
    pub application: Arc<LoanApplication>,
    /// The version of the product that it is of.
    pub product: Arc<ProductSaved>,
    /// Its terms: the product's and the application's.
    pub terms: Arc<LoanTerms>,
    /// What it is.
    pub state: Box<LoanState>,
    /// The business date.
    pub today: Day,
}

/// Something that happened to a loan.
#[derive(Clone, Debug)]
pub struct LoanEventView {
    /// Its entry; `None` in a dry run.
    pub seq: Option<Seq>,
    /// When it was recorded.
    pub recorded_at: Moment,
    /// Business date of its record.
    pub booked_on: Day,
    /// What it was.
    pub posted: LoanPosted,
    /// What a payment paid.
    pub split: Split,
    /// The event that undid it.
    pub undone_by: Option<Seq>,
}

/// A loan, and everything that ever happened to it.
#[derive(Clone, Debug)]
pub struct LoanHistory {
    /// As it is on the business day.
    pub view: LoanView,
    /// Everything that was recorded, in order of value date and seq, what was undone too.
    pub events: Vec<LoanStep>,
}

/// An event of a loan, and the loan after it.
#[derive(Clone, Debug)]
pub struct LoanStep {
    /// What happened.
    pub event: LoanEventView,
    /// The loan before it, on its value date: what fell due by then has been raised. Of what was undone, the loan
    /// where it would have been.
    pub before: Box<LoanState>,
    /// The loan after it.
    pub after: Box<LoanState>,
}

/// Which loans.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoanFilter {
    /// Of this customer.
    pub customer: Option<u32>,
    /// Of this product.
    pub product: Option<u32>,
    /// Where they are in their life.
    pub status: Option<LoanStatus>,
    /// Of this class or a worse one.
    pub class_from: Option<Class>,
    /// With something due on the business day or overdue.
    pub has_dues: bool,
}

/// A loan as a row of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoanLine {
    /// Its number.
    pub loan: u32,
    /// The borrower.
    pub customer: u32,
    /// Number of the product.
    pub product: u32,
    /// Where it is in its life.
    pub status: LoanStatus,
    /// At the last day's end.
    pub class: Class,
    /// Days past due at the last day's end.
    pub dpd: u16,
    /// Since when it is non-performing.
    pub npa_since: Option<Day>,
    /// Principal outstanding, paise.
    pub outstanding: i64,
    /// Principal that fell due and is unpaid.
    pub principal_due: i64,
    /// Interest that fell due and is unpaid.
    pub interest_due: i64,
    /// Fees that fell due and are unpaid, with tax.
    pub fee_due: i64,
    /// Penal charges.
    pub penal_due: i64,
    /// Paid and not yet used.
    pub advance: i64,
    /// The oldest due date with something unpaid.
    pub oldest_due_on: Option<Day>,
    /// The next due date.
    pub next_due_on: Option<Day>,
    /// The instalment as it is asked for.
    pub instalment: i64,
    /// Nobody calls the borrower for it through this day.
    pub paused_until: Option<Day>,
    /// It is watched.
    pub is_watched: bool,
}

/// The business day, and the end of the days before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessDay {
    /// What is posted now belongs to it.
    pub date: Day,
    /// Days end by hand only.
    pub by_hand: bool,
    /// The last day whose end is done, with the seq that says so.
    pub ended: Option<(Day, Seq)>,
    /// The day that is being ended, how many loans were looked at, and how many there are.
    pub ending: Option<(Day, u32, u32)>,
    /// Hash of the journal up to the end of the last day that ended: its seal.
    pub seal: Option<[u8; 32]>,
}

/// The end of a business day that was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayEnd {
    /// The entry that closed it; `None` in a dry run.
    pub closed: Option<Seq>,
    /// When it was closed.
    pub closed_at: Moment,
    /// The day.
    pub date: Day,
    /// The business date since then.
    pub next: Day,
    /// Its end is done: by this entry, where days have an end of their own, with the hash of the journal up to it.
    pub ended: Option<Option<(Seq, [u8; 32])>>,
    /// Loans that were looked at for it, and loans that there are.
    pub looked_at: (u32, u32),
}

/// The reply to a batch.
#[derive(Clone, Debug, Default)]
pub struct BatchReply {
    /// The batch was atomic.
    pub atomic: bool,
    /// Only counts, first and last id, and the rejected were asked for.
    pub minimal: bool,
    /// Decided without effect.
    pub dry_run: bool,
    /// Items accepted.
    pub accepted: u32,
    /// Items in the batch.
    pub items: u32,
    /// Ids of the accepted items in order (account numbers or transfer seqs; a post or void shows
    /// the hold's). Empty when `minimal` or in a dry run; then see `first` and `last`.
    pub ids: Vec<u64>,
    /// Id of the first accepted item.
    pub first: Option<u64>,
    /// Id of the last accepted item.
    pub last: Option<u64>,
    /// The refused items by index, ascending.
    pub rejected: Vec<(u32, Reject)>,
}

/// A transfer as it is today (or as it was when its command was answered).
#[derive(Clone, Debug)]
pub struct TransferView {
    /// Its seq is its id; `None` in a dry run.
    pub seq: Option<Seq>,
    /// First seq of its record: the id of its voucher.
    pub voucher: Option<Seq>,
    /// Account on the debit side.
    pub debit: AccountNo,
    /// Account on the credit side.
    pub credit: AccountNo,
    /// Minor units, as asked for.
    pub amount: Minor,
    /// Currency of both accounts.
    pub currency: Currency,
    /// Where it stands.
    pub status: TransferStatus,
    /// The caller's code.
    pub code: u32,
    /// Effective date.
    pub effective_date: Day,
    /// Moment of its command.
    pub created_at: Moment,
    /// Deadline of a hold.
    pub expires_at: Option<Moment>,
    /// What was posted of a hold.
    pub posted_amount: Option<Minor>,
    /// When a hold was resolved.
    pub resolved_at: Option<Moment>,
    /// The transfer that reversed it.
    pub reversed_by: Option<Seq>,
    /// The transfer that it reverses.
    pub reverses: Option<Seq>,
    /// Texts.
    pub cold: Option<Arc<TransferCold>>,
}

/// Where a transfer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferStatus {
    /// The money moved.
    Posted,
    /// The money is held.
    Pending,
    /// The hold was released by a caller.
    Voided,
    /// The hold was released by its deadline.
    Expired,
}

impl TransferStatus {
    /// The name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TransferStatus::Posted => "posted",
            TransferStatus::Pending => "pending",
            TransferStatus::Voided => "voided",
            TransferStatus::Expired => "expired",
        }
    }
}

/// An account: its hot row and its texts.
#[derive(Clone, Debug)]
pub struct AccountView {
    /// Its number; `None` in a dry run.
    pub no: Option<AccountNo>,
    /// Balances, status, version.
    pub account: Account,
    /// General-ledger code.
    pub code: u32,
    /// Texts.
    pub cold: Arc<AccountCold>,
}

/// Balances of an account by effective date at the end of a day.
#[derive(Clone, Copy, Debug)]
pub struct PastBalance {
    /// Gross totals then.
    pub totals: Anchor,
}

impl PastBalance {
    /// A row with these balances.
    #[must_use]
    pub fn over(&self, account: &Account) -> Account {
        Account {
            debits_posted: self.totals.debits_posted,
            credits_posted: self.totals.credits_posted,
            debits_pending: self.totals.debits_pending,
            credits_pending: self.totals.credits_pending,
            ..*account
        }
    }
}

/// A page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// More rows may follow after the cursor.
    pub has_more: bool,
    /// The last row looked at: where the next page starts, also when this page is short.
    pub cursor: Option<u64>,
}

/// Which accounts to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountFilter {
    /// Of this type.
    pub account_type: Option<crate::domain::account::AccountType>,
    /// With this code.
    pub code: Option<u32>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// With this status.
    pub status: Option<crate::domain::account::Status>,
}

/// Which transfers to list.
#[derive(Clone, Copy, Debug)]
pub struct TransferFilter {
    /// Where to look.
    pub scope: TransferScope,
    /// With this code.
    pub code: Option<u32>,
    /// With this account on either side.
    pub account: Option<AccountNo>,
    /// Effective on this day.
    pub date: Option<Day>,
}

impl TransferFilter {
    /// All of a set.
    #[must_use]
    pub fn of(scope: TransferScope) -> TransferFilter {
        TransferFilter { scope, code: None, account: None, date: None }
    }

    /// Whether a transfer of the set is wanted.
    #[must_use]
    pub fn wants(&self, row: &TransferView) -> bool {
        self.code.is_none_or(|code| row.code == code)
            && self.account.is_none_or(|no| row.debit == no || row.credit == no)
            && self.date.is_none_or(|day| row.effective_date == day)
    }
}

/// The set of transfers that a list walks.
#[derive(Clone, Copy, Debug)]
pub enum TransferScope {
    /// Those of one account, on either side.
    Account(AccountNo),
    /// Those effective on a day.
    Date(Day),
    /// Those of one command; the first seq of its record.
    Voucher(Seq),
}

/// A statement: opening + Σ of the lines = closing when `has_more` is false and it is the first page.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Whose.
    pub account: AccountNo,
    /// Its currency.
    pub currency: Currency,
    /// First effective date, if bounded.
    pub from: Option<Day>,
    /// Last effective date, if bounded.
    pub to: Option<Day>,
    /// Balance before the oldest line of this page, in the normal direction, minor units.
    pub opening: i128,
    /// Balance after the newest line of this page.
    pub closing: i128,
    /// Older lines may follow.
    pub has_more: bool,
    /// Where the next page starts: the last line, or the entry at which a walk over what is no line ended.
    pub next: Option<After>,
    /// Newest first.
    pub lines: Vec<StatementLine>,
    /// The account's version and newest seq, for the ETag.
    pub version: u32,
    /// See `version`.
    pub last_seq: Seq,
}

/// One posted entry of a statement.
#[derive(Clone, Debug)]
pub struct StatementLine {
    /// Seq of the entry that posted: its order, and the cursor for the next page.
    pub seq: Seq,
    /// The transfer to show: the hold's for a posted hold, else the same.
    pub transfer: Seq,
    /// Effective date.
    pub effective_date: Day,
    /// Moment of the posting.
    pub created_at: Moment,
    /// In the account's normal direction, minor units.
    pub amount: i128,
    /// After this line.
    pub balance: i128,
    /// Description of the transfer.
    pub description: Option<Box<str>>,
}

/// Period closings.
#[derive(Clone, Debug, Default)]
pub struct Periods {
    /// Effective dates up to here are closed.
    pub closed_through: Option<Day>,
    /// Closings and re-openings, newest first, at most [`crate::config::PERIOD_EVENTS_MAX`].
    pub events: Vec<PeriodEvent>,
}

/// One closing or re-opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodEvent {
    /// Its entry.
    pub seq: Seq,
    /// When.
    pub at: Moment,
    /// Closed through this day after it.
    pub through: Option<Day>,
    /// The reason, for a re-opening.
    pub reopened_because: Option<Box<str>>,
}

/// Trial balance rows, by currency, code and type.
pub type TrialBalance = Vec<(GlKey, GlTotals)>;

/// State of the engine for `/v1/status`, `/readyz` and the log.
#[derive(Clone, Debug)]
pub struct EngineStatus {
    /// Handed to the writer.
    pub appended_seq: Seq,
    /// Survived fsync.
    pub durable_seq: Seq,
    /// In the store.
    pub checkpoint_seq: Seq,
    /// Hash of the newest durable block and the last seq in it.
    pub chain_head: (Seq, [u8; 32]),
    /// Account shards.
    pub shards: usize,
    /// Accounts.
    pub accounts: u64,
    /// Open holds.
    pub holds: u64,
    /// The business date.
    pub business_date: Day,
    /// Why new work is refused, if it is: `(code, cause)`.
    pub trouble: Option<(&'static str, String)>,
    /// The wall clock jumped and was not adopted.
    pub clock_suspect: bool,
    /// Journal segments, sealed ones included.
    pub segments: usize,
    /// Segment rolls and checkpoints since the start.
    pub segment_rolls: u64,
    /// See `segment_rolls`.
    pub checkpoints: u64,
    /// Hits and misses of the block cache.
    pub block_cache: (u64, u64),
    /// Hits and misses of the cache of texts.
    pub text_cache: (u64, u64),
    /// The scrub of sealed segments.
    pub scrub: super::scrub::Scrub,
}

/// Why a command or query was not answered. Nothing was decided, except where it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The journal refuses; nothing was done.
    #[error("the journal refuses new records: {0}")]
    JournalUnavailable(String),
    /// The disk is full; nothing was done, and it resumes by itself.
    #[error("no space for the next journal segment")]
    JournalFull,
    /// The record was appended, but whether it is on disk is unknown: the same key settles it.
    #[error("the journal failed while this command was in flight")]
    OutcomeUnknown,
    /// A lane is full; nothing was done.
    #[error("too much work is waiting in the {0} lane")]
    Overloaded(&'static str),
    /// It would not be done by the caller's deadline; nothing was done.
    #[error("the work would not be done by its deadline")]
    DeadlineUnmeetable,
    /// The key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The first request with this key is still running.
    #[error("the first request with this idempotency key is still running")]
    KeyInFlight,
    /// The cursor of a list names no place in it.
    #[error("the cursor names no place in this list")]
    NoSuchPlace,
    /// The engine shuts down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The store cannot be read, so nobody can tell; nothing was done, and it is opened again by itself.
    #[error("the store cannot be read: {0}")]
    StoreUnreadable(String),
    /// The thread that read the request broke off; nothing was done.
    #[error("a batch thread panicked while it read a request")]
    BrokenOff,
    /// A block that should be there cannot be read; the operator's log says why.
    #[error("the history cannot be read: {0}")]
    HistoryUnreadable(String),
}
