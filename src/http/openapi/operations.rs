//! What each operation does, takes, gives and refuses, on one page: beside the table of routes, the other
//! half of the contract.
//!
//! An operation that nobody describes has no summary, and a test misses it.
//! Everything that follows from a route's class, body and media types is derived in [`codes`], not listed.

use crate::domain::reject::RejectCode as R;

use super::super::problem::Code;
use super::super::resources::Operation;
pub use super::codes::codes;
use super::schemas::{self as s, Schema};

/// A query parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub kind: Value,
    /// What it does.
    pub about: &'static str,
}

/// The value of a query parameter.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// `true` or `false`.
    Flag,
    /// `YYYY-MM-DD`.
    Date,
    /// A date or an instant.
    At,
    /// Rows of a page.
    Limit,
    /// A whole number.
    Whole,
    /// A place in the journal.
    Seq,
    /// Where the last page ended.
    Cursor,
    /// The name of an account.
    Account,
    /// Any of these.
    OneOf(fn() -> Vec<&'static str>),
    /// Some fields of an object.
    Fields(&'static Schema),
    /// Ids to expand.
    Expand(&'static [&'static str]),
    /// An id of a voucher.
    Entry,
    /// The name of an object with this prefix.
    Named(&'static str),
    /// ISO 4217.
    Currency,
    /// A short text like this one.
    Text(&'static str),
}

/// What an operation answers when it succeeds.
#[derive(Clone, Copy, Debug)]
pub enum Gives {
    /// An object.
    One(&'static Schema),
    /// A page of objects.
    Page(&'static Schema),
    /// Text of the route's media types.
    Text,
    /// Any JSON.
    Json,
}

/// What is said about an operation.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// In a few words.
    pub summary: &'static str,
    /// What else there is to know.
    pub about: &'static str,
    /// The chapter that it belongs to.
    pub tag: &'static str,
    /// Query parameters, in the order of the handler.
    pub parameters: &'static [Parameter],
    /// The body.
    pub body: Option<&'static Schema>,
    /// The message of a protobuf body, and of the answer.
    pub messages: (&'static str, &'static str),
    /// Statuses of success.
    pub statuses: &'static [u16],
    /// The answer.
    pub gives: Gives,
    /// Refusals of the books.
    pub refusals: &'static [R],
    /// What else it refuses by itself.
    pub also: &'static [Code],
}

pub(super) const fn parameter(name: &'static str, kind: Value, about: &'static str) -> Parameter {
    Parameter { name, kind, about }
}

pub(super) const DRY_RUN: Parameter =
    parameter("dry_run", Value::Flag, "Decide and change nothing: 200, no id, no idempotency key needed.");
pub(super) const AS_OF_SEQ: Parameter =
    parameter("as_of_seq", Value::Seq, "Of a document: as this entry left the books; as they are when absent.");
pub(super) const LIMIT: Parameter = parameter("limit", Value::Limit, "Rows of a page.");
pub(super) const AFTER: Parameter = parameter("starting_after", Value::Cursor, "The last row of the page before.");
const TRANSFER_EXPAND: Parameter = parameter(
    "expand[]",
    Value::Expand(&["debit_account", "credit_account", "reverses", "reversed_by"]),
    "Show the object instead of its id; may stand several times.",
);
const TRANSFER_FIELDS: Parameter =
    parameter("fields", Value::Fields(&s::TRANSFER), "Only these, separated by commas; `object` and `id` always.");
const ACCOUNT_FIELDS: Parameter =
    parameter("fields", Value::Fields(&s::ACCOUNT), "Only these, separated by commas; `object` and `id` always.");

/// The refusals of a new transfer, in the order in which they are checked.
const NEW: &[R] = &[
    R::AmountMalformed,
    R::AmountZero,
    R::SameAccount,
    R::AccountNotFound,
    R::CurrencyMismatch,
    R::AmountScale,
    R::AccountClosed,
    R::AccountFrozen,
    R::ControlAccount,
    R::ExternalIdExists,
    R::PeriodClosed,
    R::InsufficientFunds,
    R::BalanceOverflow,
];

pub(super) const PLAIN: Description = Description {
    summary: "",
    about: "",
    tag: "",
    parameters: &[],
    body: None,
    messages: ("", ""),
    statuses: &[200],
    gives: Gives::Text,
    refusals: &[],
    also: &[],
};

/// What is said about an operation.
#[must_use]
pub fn describe(operation: Operation) -> Description {
    use Operation as Op;
    match operation {
        Op::CreateTransfer | Op::CreateTransferBatch | Op::GetTransfer | Op::ListTransfers => transfers(operation),
        Op::PostTransfer | Op::VoidTransfer | Op::ReverseTransfer => fates(operation),
        Op::CreateAccount | Op::CreateAccountBatch | Op::ListAccounts | Op::UpdateAccount => accounts(operation),
        Op::GetAccount | Op::GetStatement | Op::GetEntry => readings(operation),
        Op::ListPeriods | Op::ClosePeriod | Op::ReopenPeriod => periods(operation),
        Op::GetTrialBalance | Op::ExportBooks | Op::CreateVerification | Op::GetOperation => books(operation),
        Op::CreateApiKey | Op::ListApiKeys | Op::GetApiKey | Op::RotateApiKey | Op::RevokeApiKey => api_keys(operation),
        Op::CreateCustomer | Op::ListCustomers | Op::GetCustomer | Op::UpdateCustomer | Op::CalculateLoan => {
            super::lending::describe(operation)
        }
        Op::CreateJob | Op::ListJobs | Op::GetJob | Op::RetryJob | Op::CancelJob => super::jobs::describe(operation),
        Op::CreateWebhookEndpoint
        | Op::ListWebhookEndpoints
        | Op::GetWebhookEndpoint
        | Op::UpdateWebhookEndpoint
        | Op::RotateWebhookSecret
        | Op::TestWebhookEndpoint
        | Op::ReplayWebhookEvents
        | Op::ListWebhookAttempts
        | Op::ListWebhookDeliveries
        | Op::ResendWebhookEvent => super::webhooks::describe(operation),
        Op::CreateSyncTarget | Op::ListSyncTargets | Op::GetSyncTarget | Op::UpdateSyncTarget => {
            super::sync::describe(operation)
        }
        Op::ListEvents | Op::StreamEvents | Op::OpenWebsocket => super::events::describe(operation),
        Op::GetLatency | Op::GetMetrics => measured(operation),
        Op::AcceptClock | Op::GetStatus | Op::GetLivez | Op::GetReadyz | Op::GetStartupz => process(operation),
        Op::ListProblems | Op::GetProblem | Op::GetOpenapi | Op::GetDocs | Op::GetDocsStyle | Op::GetProto => {
            description(operation)
        }
        _ => super::loan_operations::describe(operation),
    }
}

fn transfers(operation: Operation) -> Description {
    let plain = Description {
        tag: "Transfers",
        gives: Gives::One(&s::TRANSFER),
        messages: ("NewTransfer", "Transfer"),
        ..PLAIN
    };
    match operation {
        Operation::CreateTransfer => Description {
            summary: "Moves money",
            about: "One debit, one credit, one amount; with `pending` the amount is only held. The answer leaves when it is on disk.",
            parameters: &[DRY_RUN],
            body: Some(&s::NEW_SINGLE_TRANSFER),
            statuses: &[200, 201],
            refusals: NEW,
            also: &[Code::JobsUnavailable],
            ..plain
        },
        Operation::CreateTransferBatch => Description {
            summary: "Moves money many times",
            about: "Up to 10,000 transfers, posts and voids in one command. `Prefer: return=minimal` shortens the answer. \
                    As NDJSON each line is one item, and `mode` stands in the query.",
            parameters: const {
                &[DRY_RUN, parameter("mode", Value::OneOf(|| vec!["atomic", "independent"]), "Of NDJSON items only.")]
            },
            body: Some(&s::NEW_BATCH),
            messages: ("NewBatch", "Batch"),
            gives: Gives::One(&s::BATCH),
            refusals: &[R::BatchRefused],
            ..plain
        },
        Operation::GetTransfer => Description {
            summary: "Shows a transfer as it is today",
            parameters: &[TRANSFER_FIELDS, TRANSFER_EXPAND],
            also: &[Code::TransferNotFoundInPath],
            ..plain
        },
        _ => Description {
            summary: "Lists transfers, newest first",
            about: "`account`, `date` or `entry` is required: the list of all transfers is the export.",
            parameters: const {
                &[
                    parameter("account", Value::Account, "On either side."),
                    parameter("date", Value::Date, "Effective on this day."),
                    parameter("entry", Value::Entry, "Of one command."),
                    parameter("code", Value::Whole, "With this code."),
                    LIMIT,
                    AFTER,
                    TRANSFER_FIELDS,
                    TRANSFER_EXPAND,
                ]
            },
            messages: ("", "TransferList"),
            gives: Gives::Page(&s::TRANSFER),
            refusals: &[R::AccountNotFound],
            ..plain
        },
    }
}

fn fates(operation: Operation) -> Description {
    let plain = Description {
        tag: "Transfers",
        gives: Gives::One(&s::TRANSFER),
        parameters: &[DRY_RUN],
        also: &[Code::TransferNotFoundInPath],
        ..PLAIN
    };
    match operation {
        Operation::PostTransfer => Description {
            summary: "Posts a hold",
            body: Some(&s::NEW_POSTING),
            messages: ("Post", "Transfer"),
            refusals: &[
                R::AmountMalformed,
                R::AmountZero,
                R::TransferNotPending,
                R::AmountExceedsPending,
                R::AmountScale,
                R::AccountClosed,
                R::AccountFrozen,
                R::ControlAccount,
                R::PeriodClosed,
                R::InsufficientFunds,
                R::BalanceOverflow,
            ],
            ..plain
        },
        Operation::VoidTransfer => Description {
            summary: "Releases a hold",
            body: Some(&s::NOTHING),
            messages: ("Void", "Transfer"),
            refusals: &[R::TransferNotPending],
            ..plain
        },
        _ => Description {
            summary: "Moves a posted transfer back",
            about: "Whole, once, and never a reversal. It respects the status of the accounts, not their balance rules. What a \
                    record of lending made is undone by the loan's own command.",
            body: Some(&s::NEW_REVERSAL),
            messages: ("Reverse", "Transfer"),
            statuses: &[200, 201],
            refusals: &[
                R::TransferNotPosted,
                R::AlreadyReversed,
                R::TransferOfLending,
                R::AccountClosed,
                R::AccountFrozen,
                R::ControlAccount,
                R::PeriodClosed,
                R::BalanceOverflow,
            ],
            ..plain
        },
    }
}

fn accounts(operation: Operation) -> Description {
    let plain = Description { tag: "Accounts", gives: Gives::One(&s::ACCOUNT), parameters: &[DRY_RUN], ..PLAIN };
    match operation {
        Operation::CreateAccount => Description {
            summary: "Opens an account",
            body: Some(&s::NEW_ACCOUNT),
            statuses: &[200, 201],
            refusals: &[R::ExternalIdExists],
            ..plain
        },
        Operation::CreateAccountBatch => Description {
            summary: "Opens many accounts",
            about: "Up to 10,000, each on its own.",
            body: Some(&s::NEW_ACCOUNTS),
            gives: Gives::One(&s::ACCOUNT_BATCH),
            ..plain
        },
        Operation::UpdateAccount => Description {
            summary: "Changes an account",
            about: "`If-Match` with the `ETag`, or with `\"<version>\"`, refuses the change when somebody else was faster.",
            body: Some(&s::ACCOUNT_CHANGE),
            refusals: &[R::VersionMismatch, R::AccountNotEmpty, R::ControlAccount],
            also: &[Code::AccountNotFoundInPath, Code::PreconditionMalformed],
            ..plain
        },
        _ => Description {
            summary: "Lists accounts, newest first",
            parameters: const {
                &[
                    parameter("type", Value::OneOf(|| super::names_of(s::ACCOUNT.fields, "type")), "Of this type."),
                    parameter("code", Value::Whole, "With this code."),
                    parameter("currency", Value::Currency, "In this currency."),
                    parameter(
                        "status",
                        Value::OneOf(|| super::names_of(s::ACCOUNT.fields, "status")),
                        "With this status.",
                    ),
                    LIMIT,
                    AFTER,
                    ACCOUNT_FIELDS,
                ]
            },
            gives: Gives::Page(&s::ACCOUNT),
            ..plain
        },
    }
}

fn readings(operation: Operation) -> Description {
    let plain = Description { tag: "Accounts", ..PLAIN };
    match operation {
        Operation::GetAccount => Description {
            summary: "Shows an account",
            about: "With `at` an instant: as recorded by then. With a date: by effective date, at the end of that day.",
            parameters: const {
                &[parameter("at", Value::At, "A date, or an RFC 3339 instant with its offset."), ACCOUNT_FIELDS]
            },
            gives: Gives::One(&s::ACCOUNT),
            also: &[Code::AccountNotFoundInPath],
            ..plain
        },
        Operation::GetStatement => Description {
            summary: "Shows the statement of an account",
            about: "By effective date, newest first; what is pending is never in it.",
            parameters: const {
                &[
                    parameter("from", Value::Date, "First effective date."),
                    parameter("to", Value::Date, "Last effective date."),
                    parameter(
                        "format",
                        Value::OneOf(|| vec!["json", "csv", "pdf", "camt053", "mt940"]),
                        "Instead of `Accept`. The last three are the whole statement, oldest line first: no pages, no fields.",
                    ),
                    AS_OF_SEQ,
                    LIMIT,
                    parameter(
                        "starting_after",
                        Value::Cursor,
                        "The `seq` of the last line of the page before, or its `transfer` where that says the same.",
                    ),
                    parameter(
                        "fields",
                        Value::Fields(&s::STATEMENT_LINE),
                        "Of each line only these, separated by commas.",
                    ),
                    parameter(
                        "expand[]",
                        Value::Expand(&["account", "transfer"]),
                        "Show the object instead of its id; may stand several times.",
                    ),
                ]
            },
            gives: Gives::One(&s::STATEMENT),
            also: &[Code::AccountNotFoundInPath],
            ..plain
        },
        _ => Description {
            summary: "Shows a voucher",
            about: "All transfers of one command. `fields` and `expand[]` are about the transfers.",
            tag: "Transfers",
            parameters: &[TRANSFER_FIELDS, TRANSFER_EXPAND],
            gives: Gives::One(&s::ENTRY),
            also: &[Code::EntryNotFound],
            ..plain
        },
    }
}

fn periods(operation: Operation) -> Description {
    let plain = Description { tag: "Periods", gives: Gives::One(&s::PERIODS), parameters: &[DRY_RUN], ..PLAIN };
    match operation {
        Operation::ClosePeriod => Description {
            summary: "Closes a period",
            body: Some(&s::NEW_CLOSING),
            refusals: &[R::PeriodInvalid],
            ..plain
        },
        Operation::ReopenPeriod => Description {
            summary: "Opens the last closed period again",
            body: Some(&s::NEW_REOPENING),
            refusals: &[R::PeriodInvalid],
            ..plain
        },
        _ => Description {
            summary: "Shows what is closed",
            parameters: const {
                &[parameter(
                    "fields",
                    Value::Fields(&s::PERIOD_EVENT),
                    "Of each event only these, separated by commas.",
                )]
            },
            ..plain
        },
    }
}

fn books(operation: Operation) -> Description {
    let plain = Description { tag: "Books", ..PLAIN };
    match operation {
        Operation::GetTrialBalance => Description {
            summary: "Shows the trial balance",
            parameters: const {
                &[
                    parameter("on", Value::Date, "By effective date, at the end of this day; everything when absent."),
                    parameter(
                        "as",
                        Value::OneOf(|| vec!["recorded", "corrected"]),
                        "As the day was sealed, which is what sealed days show when it is absent, or with all that is booked now.",
                    ),
                    parameter("currency", Value::Currency, "Only this one."),
                ]
            },
            gives: Gives::One(&s::TRIAL_BALANCE),
            ..plain
        },
        Operation::ExportBooks => Description {
            summary: "Writes the books out",
            about: "The parameter decides the format, else `Accept`, else NDJSON.",
            parameters: const {
                &[
                    parameter("format", Value::OneOf(|| vec!["ndjson", "csv", "ledger"]), "Decides over `Accept`."),
                    parameter("from", Value::Date, "First effective date."),
                    parameter("to", Value::Date, "Last effective date."),
                ]
            },
            ..plain
        },
        Operation::CreateVerification => Description {
            summary: "Proves the books, in the background",
            body: Some(&s::NOTHING),
            statuses: &[202],
            gives: Gives::One(&s::OPERATION),
            also: &[Code::VerificationRunning, Code::IdempotencyKeyMalformed, Code::KeyReused],
            ..plain
        },
        _ => Description {
            summary: "Shows an operation",
            gives: Gives::One(&s::OPERATION),
            also: &[Code::OperationNotFound],
            ..plain
        },
    }
}

fn api_keys(operation: Operation) -> Description {
    let plain =
        Description { tag: "API keys", gives: Gives::One(&s::API_KEY), also: &[Code::ApiKeyNotFoundInPath], ..PLAIN };
    match operation {
        Operation::CreateApiKey => Description {
            summary: "Makes an API key",
            about: "The token is in this answer and in no other; the same Idempotency-Key shows it again.",
            body: Some(&s::NEW_API_KEY),
            statuses: &[201],
            refusals: &[R::TooManyApiKeys],
            also: &[],
            ..plain
        },
        Operation::ListApiKeys => Description {
            summary: "Lists API keys, newest first",
            parameters: const { &[LIMIT, AFTER] },
            gives: Gives::Page(&s::API_KEY),
            also: &[],
            ..plain
        },
        Operation::GetApiKey => Description { summary: "Shows an API key", ..plain },
        Operation::RotateApiKey => Description {
            summary: "Gives an API key a new token",
            about: "The answer shows it once; the one before stays good for `overlap_s`.",
            body: Some(&s::NEW_ROTATION),
            refusals: &[R::ApiKeyRevoked],
            ..plain
        },
        _ => Description {
            summary: "Revokes an API key",
            about: "From the next request on it opens nothing.",
            body: Some(&s::NOTHING),
            refusals: &[R::LastAdminKey, R::ApiKeyRevoked],
            ..plain
        },
    }
}

fn measured(operation: Operation) -> Description {
    let plain = Description { tag: "Server", ..PLAIN };
    match operation {
        Operation::GetLatency => Description {
            summary: "Shows what requests may take, and what they take",
            about: "By route and stage: budget, p50, p99, p99.9, verdict; error-budget burn; the slowest requests.",
            gives: Gives::Json,
            ..plain
        },
        _ => Description { summary: "Readings in the OpenMetrics form", ..plain },
    }
}

fn process(operation: Operation) -> Description {
    let health = Description { tag: "Server", gives: Gives::One(&s::HEALTH), ..PLAIN };
    match operation {
        Operation::AcceptClock => Description {
            summary: "Takes the wall clock's word after a jump",
            body: Some(&s::NOTHING),
            gives: Gives::One(&s::CLOCK),
            ..health
        },
        Operation::GetStatus => {
            Description { summary: "Shows the state of the server", gives: Gives::One(&s::STATUS), ..health }
        }
        Operation::GetLivez => Description { summary: "Whether the process answers", ..health },
        Operation::GetReadyz => Description { summary: "Whether new work is taken", statuses: &[200, 503], ..health },
        _ => Description { summary: "Whether the books are open", statuses: &[200, 503], ..health },
    }
}

fn description(operation: Operation) -> Description {
    let plain = Description { tag: "Description", ..PLAIN };
    match operation {
        Operation::ListProblems => Description { summary: "All problem codes", ..plain },
        Operation::GetProblem => {
            Description { summary: "What a problem code means", also: &[Code::RouteNotFound], ..plain }
        }
        Operation::GetOpenapi => Description { summary: "This description", gives: Gives::Json, ..plain },
        Operation::GetDocs => Description { summary: "This description as a page", ..plain },
        Operation::GetDocsStyle => Description { summary: "How the pages look", ..plain },
        _ => Description { summary: "The protobuf messages", ..plain },
    }
}
