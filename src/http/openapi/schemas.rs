//! Every object that a route gives, field by field, on one page; what routes take stands in `requests`.
//!
//! The OpenAPI document, the pages under `/docs` and the names that `fields=` knows come from here. Tests
//! hold the tables to the code: what the parsers take, what the renderers write, and nothing else.

use crate::config::{BATCH_ITEMS_MAX, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::domain::access::ROLES;
use crate::domain::account::{ACCOUNT_TYPES, BALANCE_RULES, GIVEN_STATUSES, STATUSES};
use crate::engine::view::TransferStatus;

pub use super::catalogue::SCHEMAS;
pub use super::events::{EVENT, EVENT_PAGE};
pub use super::jobs::{BORN_JOB, BORN_JOBS, JOB, JOB_PROGRESS, NEW_JOB};
pub use super::lending::{
    CHARGE_SHOWN, CUSTOMER, CUSTOMER_CHANGE, LOAN_CALCULATION, LOAN_CHARGE, MORATORIUM, NEW_CUSTOMER,
    NEW_LOAN_CALCULATION, PREPAYMENT, RATE_RESET, ROUNDING, SCHEDULE_ROW, STEP,
};
pub use super::loan_bodies::*;
pub use super::loans::*;
pub use super::reports::*;
pub use super::requests::{
    ACCOUNT_CHANGE, NEW_ACCOUNT, NEW_ACCOUNTS, NEW_API_KEY, NEW_BATCH, NEW_CLOSING, NEW_POSTING, NEW_REOPENING,
    NEW_REVERSAL, NEW_ROTATION, NEW_SINGLE_TRANSFER, NEW_TRANSFER, NOTHING, POST_ITEM, VOID_ITEM,
};
pub use super::sync::{NEW_SYNC_TARGET, SYNC_STANDING, SYNC_TARGET, SYNC_TARGET_CHANGE};
pub use super::webhooks::{
    NEW_REPLAY, NEW_WEBHOOK_ENDPOINT, WEBHOOK_ATTEMPT, WEBHOOK_DELIVERY, WEBHOOK_ENDPOINT, WEBHOOK_ENDPOINT_CHANGE,
    WEBHOOK_STANDING,
};

/// What the value of a field is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text of at most so many characters.
    Text(usize),
    /// The same, and not empty.
    Filled(usize),
    /// Always this text.
    Exactly(&'static str),
    /// One of these.
    OneOf(fn() -> Vec<&'static str>),
    /// The name of an account: its id, or `ext:` and its external id.
    AccountName,
    /// The name of a transfer, likewise.
    TransferName,
    /// An id with this prefix.
    Id(&'static str),
    /// An id of an account that `expand[]` makes an object.
    AccountId,
    /// An id of a transfer that `expand[]` makes an object.
    TransferId,
    /// The caller's own id.
    ExternalId,
    /// A decimal string without sign.
    Amount,
    /// A decimal string.
    SignedAmount,
    /// ISO 4217.
    Currency,
    /// `YYYY-MM-DD`.
    Date,
    /// RFC 3339 in UTC with microseconds.
    Instant,
    /// A seq: a whole number as a string.
    Seq,
    /// A list of at most so many short texts.
    Texts(usize),
    /// A number, perhaps with a fraction.
    Number,
    /// A whole number.
    Whole { min: i64, max: i64 },
    /// Scopes of an API key.
    Scopes,
    /// A list of at most so many `YYYY-MM-DD`.
    Dates(usize),
    /// A whole number as a string of digits.
    Digits,
    /// A SHA-256 fingerprint of a certificate.
    Fingerprint,
    /// `true` or `false`.
    Flag,
    /// Always `true`.
    True,
    /// An object of strings.
    Metadata,
    /// Another object.
    Object(&'static Schema),
    /// The name of an object with this prefix: its id, or `ext:` and its external id.
    Named(&'static str),
    /// A list of each of these, in any order.
    Order(fn() -> Vec<&'static str>),
    /// Any JSON object.
    Any,
    /// A JSON object such as this.
    Like(fn() -> serde_json::Value),
    /// A list of any JSON objects.
    Anys,
    /// A list of objects.
    List(&'static Schema, usize),
    /// One of several objects.
    AnyOf(&'static [&'static Schema]),
    /// A list whose items are one of several objects.
    ListOf(&'static [&'static Schema], usize),
}

/// Whether a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Always, with a value.
    Always,
    /// Always, perhaps as `null`.
    OrNull,
    /// Not always. In a request `null` counts as absent.
    Sometimes,
    /// Not always, and then perhaps as `null`.
    SometimesOrNull,
}

/// One field of an object.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub kind: Kind,
    /// Whether it is there.
    pub need: Need,
    /// What it says.
    pub about: &'static str,
}

/// An object.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its name in the description.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its fields, in the order of the renderer.
    pub fields: &'static [Field],
    /// Callers send it: what they may leave out may be `null`.
    pub is_request: bool,
    /// At least one of its fields must be there.
    pub needs_one: bool,
}

pub(super) const fn always(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::Always, about }
}

pub(super) const fn or_null(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::OrNull, about }
}

pub(super) const fn sometimes(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::Sometimes, about }
}

const fn sometimes_or_null(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, need: Need::SometimesOrNull, about }
}

pub(super) const fn gives(name: &'static str, about: &'static str, fields: &'static [Field]) -> Schema {
    Schema { name, about, fields, is_request: false, needs_one: false }
}

pub(super) const fn takes(name: &'static str, about: &'static str, fields: &'static [Field]) -> Schema {
    Schema { name, about, fields, is_request: true, needs_one: false }
}

const COUNT: Kind = Kind::Whole { min: 0, max: i64::MAX };
pub(super) const CODE: Kind = Kind::Whole { min: 0, max: u32::MAX as i64 };
pub(super) const TYPES: Kind = Kind::OneOf(|| ACCOUNT_TYPES.iter().map(|(_, name)| *name).collect());
pub(super) const RULES: Kind = Kind::OneOf(|| BALANCE_RULES.iter().map(|(_, name)| *name).collect());
pub(super) const GIVEN_STATUS: Kind = Kind::OneOf(|| GIVEN_STATUSES.iter().map(|(_, name)| *name).collect());
pub(super) const ACCOUNT_STATUS: Kind = Kind::OneOf(|| STATUSES.iter().map(|(_, name)| *name).collect());
const TRANSFER_STATUS: Kind = Kind::OneOf(|| {
    use TransferStatus::{Expired, Pending, Posted, Voided};
    [Posted, Pending, Voided, Expired].map(TransferStatus::name).to_vec()
});
pub(super) const ROLE_NAMES: Kind = Kind::OneOf(|| ROLES.iter().map(|(_, name)| *name).collect());
pub(super) const KEY_LIMIT: Kind = Kind::Whole { min: 1, max: 1_000_000 };
pub(super) const MODE: Kind = Kind::OneOf(|| vec!["atomic", "independent"]);

/// A transfer.
pub const TRANSFER: Schema = gives(
    "Transfer",
    "Money that moved, or is held.",
    &[
        always("object", Kind::Exactly("transfer"), "What this is."),
        sometimes("id", Kind::Id("tr_"), "Absent in a dry run."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        or_null("external_id", Kind::ExternalId, "Your own id."),
        always("debit_account", Kind::AccountId, "The account on the debit side."),
        always("credit_account", Kind::AccountId, "The account on the credit side."),
        always("amount", Kind::Amount, "As asked for."),
        always("currency", Kind::Currency, "Of both accounts."),
        always("status", TRANSFER_STATUS, "Where it stands."),
        always("code", CODE, "Your own code."),
        or_null("description", Kind::Text(DESCRIPTION_CHARS_MAX), "Free text; of a reversal its reason."),
        always("effective_date", Kind::Date, "The day that it counts for."),
        always("created_at", Kind::Instant, "When it was booked."),
        sometimes("seq", Kind::Seq, "Its place in the journal; absent in a dry run."),
        sometimes("entry", Kind::Id("je_"), "The voucher: all transfers of one command. Absent in a dry run."),
        sometimes("expires_at", Kind::Instant, "Deadline of a hold."),
        sometimes("posted_amount", Kind::Amount, "What was posted of a hold."),
        sometimes("resolved_at", Kind::Instant, "When the hold was posted, voided or expired."),
        sometimes("reversed_by", Kind::TransferId, "The transfer that moved it back."),
        sometimes("reverses", Kind::TransferId, "The transfer that this one moves back."),
        always("metadata", Kind::Metadata, "Your own pairs."),
    ],
);

/// The balances of an account.
pub const BALANCES: Schema = gives(
    "Balances",
    "Amounts of an account; the first three in its normal direction (asset and expense: debits − credits).",
    &[
        always("posted", Kind::SignedAmount, "What is booked."),
        always("pending", Kind::SignedAmount, "What is held."),
        always("available", Kind::SignedAmount, "Posted minus pending outflow."),
        always("debits_posted", Kind::Amount, "Gross."),
        always("credits_posted", Kind::Amount, "Gross."),
        always("debits_pending", Kind::Amount, "Gross."),
        always("credits_pending", Kind::Amount, "Gross."),
    ],
);

/// An account.
pub const ACCOUNT: Schema = gives(
    "Account",
    "An account with its balances.",
    &[
        always("object", Kind::Exactly("account"), "What this is."),
        sometimes("id", Kind::Id("acct_"), "Absent in a dry run."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        or_null("external_id", Kind::ExternalId, "Your own id."),
        or_null("name", Kind::Text(NAME_CHARS_MAX), "For people."),
        always("currency", Kind::Currency, "Of all its amounts."),
        always("type", TYPES, "Decides the normal direction."),
        always("balance_rule", RULES, "Balances that are refused."),
        always("status", ACCOUNT_STATUS, "Whether it takes transfers."),
        always("code", CODE, "General-ledger code."),
        always("version", Kind::Whole { min: 1, max: u32::MAX as i64 }, "Counts changes of name, status and metadata."),
        always("created_at", Kind::Instant, "When it was opened."),
        always("metadata", Kind::Metadata, "Your own pairs."),
        sometimes("at", Kind::Text(64), "The instant or day of the balances, as it was asked for."),
        always("balances", Kind::Object(&BALANCES), "Now, or at `at`."),
    ],
);

/// One item of a batch's answer.
pub const RESULT: Schema = gives(
    "Result",
    "What became of one item: an id, or a code with its detail.",
    &[
        always("index", Kind::Whole { min: 0, max: BATCH_ITEMS_MAX as i64 - 1 }, "Its place in the batch."),
        sometimes("id", Kind::Text(32), "Of what was made, posted or voided."),
        sometimes("code", Kind::Text(64), "Why it was refused; see /problems."),
        sometimes("detail", Kind::Text(1_000), "What to do about it."),
    ],
);

/// The answer to a batch of transfers.
pub const BATCH: Schema = gives(
    "Batch",
    "What became of a batch of transfers.",
    &[
        always("object", Kind::Exactly("batch"), "What this is."),
        always("mode", MODE, "As it was asked for."),
        always("posted", COUNT, "Items accepted."),
        always("rejected", COUNT, "Items refused."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        sometimes_or_null("first", Kind::Id("tr_"), "With `Prefer: return=minimal`; `null` when nothing was accepted."),
        sometimes_or_null("last", Kind::Id("tr_"), "With `Prefer: return=minimal`; `null` when nothing was accepted."),
        always(
            "results",
            Kind::List(&RESULT, BATCH_ITEMS_MAX),
            "Item by item; with `Prefer: return=minimal` and in a dry run only the refused.",
        ),
    ],
);

/// The answer to a batch of accounts.
pub const ACCOUNT_BATCH: Schema = gives(
    "AccountBatch",
    "What became of a batch of accounts.",
    &[
        always("object", Kind::Exactly("batch"), "What this is."),
        always("mode", Kind::Exactly("independent"), "Each stands on its own."),
        always("created", COUNT, "Accounts opened."),
        always("rejected", COUNT, "Items refused."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        always("results", Kind::List(&RESULT, BATCH_ITEMS_MAX), "Item by item."),
    ],
);

/// A voucher.
pub const ENTRY: Schema = gives(
    "Entry",
    "A voucher: all transfers of one command.",
    &[
        always("object", Kind::Exactly("entry"), "What this is."),
        always("id", Kind::Id("je_"), "Its id."),
        or_null("created_at", Kind::Instant, "When it was booked."),
        always("transfers", Kind::List(&TRANSFER, BATCH_ITEMS_MAX), "In the order of their seqs."),
    ],
);

/// One line of a statement.
pub const STATEMENT_LINE: Schema = gives(
    "StatementLine",
    "One posted entry of an account.",
    &[
        always("transfer", Kind::TransferId, "The transfer, or the hold that was posted."),
        always("seq", Kind::Seq, "The place of the posting: the cursor of the next page."),
        always("effective_date", Kind::Date, "The day that it counts for."),
        always("created_at", Kind::Instant, "When it was booked."),
        always("amount", Kind::SignedAmount, "In the account's normal direction."),
        always("balance", Kind::SignedAmount, "After this line."),
        or_null("description", Kind::Text(DESCRIPTION_CHARS_MAX), "Of the transfer."),
    ],
);

/// A statement.
pub const STATEMENT: Schema = gives(
    "Statement",
    "Lines of an account by effective date, newest first: opening + Σ amounts = closing.",
    &[
        always("object", Kind::Exactly("statement"), "What this is."),
        always("account", Kind::AccountId, "Whose."),
        always("currency", Kind::Currency, "Of all amounts."),
        or_null("from", Kind::Date, "First effective date, if bounded."),
        or_null("to", Kind::Date, "Last effective date, if bounded."),
        always("opening", Kind::SignedAmount, "Before the oldest line."),
        always("closing", Kind::SignedAmount, "After the newest line."),
        always("has_more", Kind::Flag, "Older lines follow."),
        always("data", Kind::List(&STATEMENT_LINE, 1_000), "The lines."),
    ],
);

/// One closing or re-opening.
pub const PERIOD_EVENT: Schema = gives(
    "PeriodEvent",
    "One closing or re-opening.",
    &[
        always("event", Kind::OneOf(|| vec!["closed", "reopened"]), "What happened."),
        always("at", Kind::Instant, "When."),
        or_null("closed_through", Kind::Date, "What was closed after it."),
        or_null("reason", Kind::Text(DESCRIPTION_CHARS_MAX), "Of a re-opening."),
        always("seq", Kind::Seq, "Its place in the journal."),
    ],
);

/// The periods.
pub const PERIODS: Schema = gives(
    "Periods",
    "What is closed, and how it came to be.",
    &[
        always("object", Kind::Exactly("periods"), "What this is."),
        or_null("closed_through", Kind::Date, "Effective dates up to here are closed."),
        always("data", Kind::List(&PERIOD_EVENT, 100), "Newest first."),
    ],
);

/// One row of a trial balance.
pub const TRIAL_BALANCE_ROW: Schema = gives(
    "TrialBalanceRow",
    "All accounts of one currency, code and type.",
    &[
        always("currency", Kind::Currency, "ISO 4217."),
        always("code", CODE, "General-ledger code."),
        always("type", TYPES, "Of the accounts."),
        always("debits", Kind::Amount, "Gross."),
        always("credits", Kind::Amount, "Gross."),
        always("balance", Kind::SignedAmount, "In the type's normal direction."),
    ],
);

/// One total of a trial balance.
pub const TRIAL_BALANCE_TOTAL: Schema = gives(
    "TrialBalanceTotal",
    "All accounts of one currency; both sides are equal.",
    &[
        always("currency", Kind::Currency, "ISO 4217."),
        always("debits", Kind::Amount, "Gross."),
        always("credits", Kind::Amount, "Gross."),
    ],
);

/// A trial balance.
pub const TRIAL_BALANCE: Schema = gives(
    "TrialBalance",
    "General-ledger totals by effective date.",
    &[
        always("object", Kind::Exactly("trial_balance"), "What this is."),
        or_null("on", Kind::Date, "The end of this day, or everything that is booked."),
        always("as", BASIS, "As the day was sealed, or with all that is booked now."),
        always("rows", Kind::List(&TRIAL_BALANCE_ROW, usize::MAX), "By currency, code and type."),
        always("totals", Kind::List(&TRIAL_BALANCE_TOTAL, usize::MAX), "By currency."),
    ],
);

/// How far an operation is.
pub const PROGRESS: Schema = gives(
    "Progress",
    "How far an operation is.",
    &[always("done", COUNT, "Entries checked."), always("total", COUNT, "Entries to check; 0 while unknown.")],
);

/// What a verification found.
pub const VERIFICATION: Schema = gives(
    "Verification",
    "What a verification found.",
    &[
        always("ok", Kind::Flag, "The books prove themselves."),
        or_null("first_bad_seq", Kind::Seq, "The first seq that differs."),
        always("detail", Kind::Text(usize::MAX), "In a sentence."),
        always("entries", COUNT, "Entries checked."),
        always("took_ms", COUNT, "Milliseconds."),
    ],
);

/// A background operation.
pub const OPERATION: Schema = gives(
    "Operation",
    "Work in the background. A verification is forgotten when the server restarts, the end of a day never.",
    &[
        always("object", Kind::Exactly("operation"), "What this is."),
        sometimes("id", Kind::Id("op_"), "Its id; absent in a dry run."),
        sometimes("dry_run", Kind::True, "Nothing was done."),
        always("kind", Kind::OneOf(|| vec!["verification", "day_end"]), "What it does."),
        always("status", Kind::OneOf(|| vec!["running", "succeeded", "failed"]), "Where it stands."),
        always("created_at", Kind::Instant, "When it was asked for."),
        always("progress", Kind::Object(&PROGRESS), "How far it is: entries, or loans."),
        or_null("result", Kind::AnyOf(&[&VERIFICATION, &DAY_END]), "What came out."),
        or_null("error", Kind::Text(usize::MAX), "Why it could not run."),
    ],
);

/// The answer of the clock.
pub const CLOCK: Schema = gives(
    "Clock",
    "The wall clock's word was taken.",
    &[always("object", Kind::Exactly("clock"), "What this is."), always("accepted", Kind::True, "It was.")],
);

/// The head of the journal's chain.
pub const CHAIN_HEAD: Schema = gives(
    "ChainHead",
    "The newest durable block.",
    &[always("seq", Kind::Seq, "The last entry in it."), always("hash", Kind::Text(64), "blake3, hexadecimal.")],
);

/// The state of the engine.
pub const STATUS: Schema = gives(
    "Status",
    "The state of the server.",
    &[
        always("object", Kind::Exactly("status"), "What this is."),
        always("version", Kind::Text(64), "Of the binary."),
        always("uptime_s", COUNT, "Seconds since the start."),
        always("business_date", Kind::Date, "Today, in the books' zone."),
        always("appended_seq", Kind::Seq, "Handed to the writer."),
        always("durable_seq", Kind::Seq, "On disk."),
        always("checkpoint_seq", Kind::Seq, "In the store."),
        always("durable_lag", COUNT, "Entries on their way to the disk."),
        always("checkpoint_lag", COUNT, "Entries that a restart would replay."),
        always("shards", COUNT, "Parts of the account table."),
        always("accounts", COUNT, "Accounts."),
        always("holds", COUNT, "Open holds."),
        always("segments", COUNT, "Files of the journal."),
        always("segment_rolls", COUNT, "New files since the start."),
        always("checkpoints", COUNT, "Since the start."),
        always("block_cache_hits", COUNT, "Since the start."),
        always("block_cache_misses", COUNT, "Since the start."),
        always("text_cache_hits", COUNT, "Since the start."),
        always("text_cache_misses", COUNT, "Since the start."),
        always("scrub_passes", COUNT, "Whole readings of the sealed segments since the start."),
        always("scrub_blocks", COUNT, "Blocks read again since the start."),
        always("chain_head", Kind::Object(&CHAIN_HEAD), "The newest durable block."),
        always("clock_suspect", Kind::Flag, "The wall clock jumped and was not believed."),
        or_null("scrub_damage", Kind::Text(usize::MAX), "The first damage that a reading found."),
        or_null("trouble", Kind::Text(64), "Why new work is refused, if it is."),
    ],
);

/// An API key.
pub const API_KEY: Schema = gives(
    "ApiKey",
    "Who may ask, and what. The token itself is shown once.",
    &[
        always("object", Kind::Exactly("api_key"), "What this is."),
        always("id", Kind::Id("key_"), "Its name."),
        sometimes("token", Kind::Text(128), "The bearer token, in the one answer that makes it."),
        always("name", Kind::Text(NAME_CHARS_MAX), "For people."),
        always("role", ROLE_NAMES, "What it may do at most."),
        always("scopes", Kind::Scopes, "What of its role it may do; `*` is all of it."),
        or_null("amount_limit", Kind::Digits, "Greatest amount of one transfer, in whole units of its currency."),
        or_null("rate_per_s", KEY_LIMIT, "Requests a second over time."),
        or_null("burst", KEY_LIMIT, "Requests at once after a pause."),
        or_null("concurrency", KEY_LIMIT, "Requests in flight."),
        or_null("certificate_sha256", Kind::Fingerprint, "The client certificate that must come with it."),
        always(
            "status",
            Kind::OneOf(|| vec!["active", "expired", "revoked"]),
            "What became of it. Only a GET says `expired`: the answer to a command has the same bytes when it is repeated.",
        ),
        always("created_at", Kind::Instant, "When it was made."),
        or_null("created_by", Kind::Id("key_"), "The key that made it."),
        or_null("expires_at", Kind::Instant, "From then on it opens nothing."),
        or_null("rotated_at", Kind::Instant, "When its token was changed last."),
        or_null("old_token_until", Kind::Instant, "Until then the token before works too."),
        or_null("revoked_at", Kind::Instant, "From then on it opens nothing."),
    ],
);

/// A health check.
pub const HEALTH: Schema = gives(
    "Health",
    "How a check came out.",
    &[
        always("status", Kind::OneOf(|| vec!["pass", "warn", "fail"]), "The outcome."),
        always("version", Kind::Text(64), "Of the binary."),
        sometimes("output", Kind::Text(usize::MAX), "Why it is not `pass`."),
    ],
);

/// One field of a problem.
pub const FIELD_ERROR: Schema = gives(
    "FieldError",
    "One field, item or parameter that is wrong.",
    &[
        always("pointer", Kind::Text(usize::MAX), "JSON pointer into the body, or the name of a query parameter."),
        always("code", Kind::Text(64), "Stable."),
        always("detail", Kind::Text(usize::MAX), "What to do about it."),
    ],
);
