//! What the journal remembers: the entries, in one list.
//!
//! An **entry** is one fact with one seq. A **record** is the run of entries of one command; it
//! stands or falls whole. Entries carry everything that `apply` needs, so that replay reads
//! nothing else: ids, moments and dates are in them, never looked up.

use super::access::{AccessRefused, ApiKeyChanged, ApiKeyMade};
use super::account::{AccountType, BalanceRule, Status};
use super::ids::{AccountNo, Moment, Seq};
use super::lending::customer::CustomerSaved;
use super::lending::loan::facts::{DayEnded, LoanPosted, LoansSwept, MonthEnded};
use super::lending::product::ProductSaved;
use super::money::{Currency, Minor};
use super::objects::{JobBorn, ObjectSaved};
use super::time::Day;

/// One fact of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Money moved, was held, or a hold was resolved.
    Transfer(TransferEntry),
    /// A new account.
    AccountOpened(Box<AccountOpened>),
    /// Name, metadata or status of an account changed.
    AccountChanged(Box<AccountChanged>),
    /// No effective date up to and including `through` may be used from here on.
    PeriodClosed { through: Day },
    /// Periods after `through` are open again, for the stated reason.
    PeriodReopened { through: Option<Day>, reason: Box<str> },
    /// The business date became `date`.
    DayRolled { date: Day },
    /// An operator took the wall clock's word after a jump.
    ClockAccepted,
    /// A command was refused; the record's trailer keeps the reply for its idempotency key.
    Refused,
    /// A new API key.
    ApiKeyMade(Box<ApiKeyMade>),
    /// An API key was rotated or revoked.
    ApiKeyChanged(Box<ApiKeyChanged>),
    /// The holder of an API key was refused what it does not allow.
    AccessRefused(Box<AccessRefused>),
    /// A customer was made or changed.
    CustomerSaved(Box<CustomerSaved>),
    /// A loan product was made or changed.
    ProductSaved(Box<ProductSaved>),
    /// Something happened to a loan.
    LoanPosted(Box<LoanPosted>),
    /// Business days are over.
    DayClosed(Box<DayClosed>),
    /// Loans were run to the end of a day.
    LoansSwept(Box<LoansSwept>),
    /// All loans were run to the end of a day, and what that came to is in the ledger.
    DayEnded(Box<DayEnded>),
    /// Something that an operator has set up was made or changed.
    ObjectSaved(Box<ObjectSaved>),
    /// Work for after the answer.
    JobBorn(Box<JobBorn>),
    /// The day was the last of its month: what the general ledger came to.
    MonthEnded(Box<MonthEnded>),
}

/// The cut-over: business days up to `through` are over; what is posted from here on belongs to the day after,
/// which the `DayRolled` in the same record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayClosed {
    /// The last day that is over.
    pub through: Day,
    /// From here on days end by hand only, until one is opened that is the clock's.
    pub by_hand: bool,
    /// Why the day that was opened is not the clock's.
    pub reason: Option<Box<str>>,
}

/// What a transfer entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferOp {
    /// Moves `amount` at once.
    Posted,
    /// Holds `amount`; ends by one of the three resolutions. `expires_at` is a deadline that the engine drives.
    Pending { expires_at: Option<Moment> },
    /// Posts `amount` (≤ `held`) of the hold at seq `hold` and releases the rest.
    PostPending { hold: Seq, held: Minor },
    /// Releases the hold. `amount` is what was held.
    VoidPending { hold: Seq },
    /// Releases the hold, because its deadline has passed. `amount` is what was held.
    ExpirePending { hold: Seq },
    /// Moves back what the transfer at seq `of` moved (debit and credit are already swapped).
    Reversal { of: Seq },
}

/// A transfer, a hold, or the resolution of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferEntry {
    /// What happens.
    pub op: TransferOp,
    /// Account on the debit side.
    pub debit: AccountNo,
    /// Account on the credit side.
    pub credit: AccountNo,
    /// Minor units, 1 ..= 2^63−1.
    pub amount: Minor,
    /// The caller's code, 0 when none was given.
    pub code: u32,
    /// Effective date when it differs from the record's business date.
    pub effective: Option<Day>,
    /// Previous entry that touched the debit account: the statement walks this chain backwards.
    pub previous_debit: Seq,
    /// Previous entry that touched the credit account.
    pub previous_credit: Seq,
    /// Texts, when there are any.
    pub cold: Option<Box<TransferCold>>,
}

/// The texts of a transfer: they live in the journal and in the cache only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferCold {
    /// The caller's own id, unique for ever among transfers.
    pub external_id: Option<Box<str>>,
    /// Up to 500 characters. For a reversal: its reason.
    pub description: Option<Box<str>>,
    /// Up to 50 pairs, sorted by key.
    pub metadata: Metadata,
}

/// Key-value pairs of the caller, sorted by key, keys unique.
pub type Metadata = Vec<(Box<str>, Box<str>)>;

/// A new account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOpened {
    /// Its number: one more than the account before.
    pub account: AccountNo,
    /// Currency of all its amounts.
    pub currency: Currency,
    /// Decides the normal direction of the balance.
    pub account_type: AccountType,
    /// General-ledger code, 0 when none was given.
    pub code: u32,
    /// Which balances are refused.
    pub balance_rule: BalanceRule,
    /// Texts.
    pub cold: AccountCold,
}

/// A changed account. Carries all texts, also the unchanged ones: one read finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountChanged {
    /// Which account.
    pub account: AccountNo,
    /// Its new status.
    pub status: Status,
    /// Its new version: one more than before.
    pub version: u32,
    /// Previous entry that touched the account.
    pub previous: Seq,
    /// Texts after the change.
    pub cold: AccountCold,
}

/// The texts of an account and its date of birth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountCold {
    /// When it was opened.
    pub created_at: Moment,
    /// The caller's own id, unique for ever among accounts.
    pub external_id: Option<Box<str>>,
    /// Up to 200 characters.
    pub name: Option<Box<str>>,
    /// Up to 50 pairs, sorted by key.
    pub metadata: Metadata,
}
