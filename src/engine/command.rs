//! What may be asked of the books, in one list.

use crate::domain::access::KeyTerms;
use crate::domain::account::{AccountType, BalanceRule, Status};
use crate::domain::entry::Metadata;
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::customer::{CustomerFacts, Sealed};
use crate::domain::money::{Currency, Decimal};
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
