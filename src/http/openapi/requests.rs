//! Every object that a route takes, field by field, on one page.

use crate::config::{
    BATCH_ITEMS_MAX, DESCRIPTION_CHARS_MAX, HOLD_SECONDS_MAX, KEY_OVERLAP_SECONDS_MAX, NAME_CHARS_MAX,
};
use crate::domain::objects::JOBS_PER_COMMAND_MAX;

use super::schemas::{
    CODE, Field, GIVEN_STATUS, KEY_LIMIT, Kind, MODE, NEW_JOB, ROLE_NAMES, RULES, Schema, TYPES, always, sometimes,
    takes,
};

const TRANSFER_FIELDS: [Field; 10] = [
    always("debit_account", Kind::AccountName, "The account on the debit side."),
    always("credit_account", Kind::AccountName, "The account on the credit side."),
    always("amount", Kind::Amount, "In the accounts' currency; more decimals than it has are refused, not rounded."),
    sometimes("code", CODE, "Your own code; 0 when absent."),
    sometimes("external_id", Kind::ExternalId, "Your own id, unique for ever among transfers."),
    sometimes("effective_date", Kind::Date, "The business date when absent; never in a closed period."),
    sometimes("description", Kind::Text(DESCRIPTION_CHARS_MAX), "Free text."),
    sometimes("metadata", Kind::Metadata, "Your own pairs."),
    sometimes("pending", Kind::Flag, "Hold the amount instead of posting it."),
    sometimes(
        "expires_in_s",
        Kind::Whole { min: 1, max: HOLD_SECONDS_MAX },
        "Life of the hold, seconds; only with `pending`.",
    ),
];

const SINGLE_FIELDS: [Field; 11] = {
    let [a, b, c, d, e, f, g, h, i, j] = TRANSFER_FIELDS;
    [
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        i,
        j,
        sometimes("jobs", Kind::List(&NEW_JOB, JOBS_PER_COMMAND_MAX), "Work after the answer, born with it."),
    ]
};

/// An item of a batch that makes a transfer.
pub const NEW_TRANSFER: Schema = takes("NewTransfer", "A transfer to make.", &TRANSFER_FIELDS);

/// The body of `POST /v1/transfers`.
pub const NEW_SINGLE_TRANSFER: Schema =
    takes("NewSingleTransfer", "A transfer to make, and what follows from it.", &SINGLE_FIELDS);

/// An item of a batch that posts a hold.
pub const POST_ITEM: Schema = takes(
    "PostItem",
    "Posts a hold.",
    &[
        always("op", Kind::Exactly("post"), "What to do."),
        always("transfer", Kind::TransferName, "Which hold."),
        sometimes("amount", Kind::Amount, "This much of it; the rest is released. All when absent."),
    ],
);

/// An item of a batch that voids a hold.
pub const VOID_ITEM: Schema = takes(
    "VoidItem",
    "Voids a hold.",
    &[always("op", Kind::Exactly("void"), "What to do."), always("transfer", Kind::TransferName, "Which hold.")],
);

/// The body of `POST /v1/transfers/batch`.
pub const NEW_BATCH: Schema = takes(
    "NewBatch",
    "Several transfers, posts and voids in one command.",
    &[
        sometimes("mode", MODE, "`atomic`: one refusal refuses all. `independent` when absent."),
        always("transfers", Kind::ListOf(&[&NEW_TRANSFER, &POST_ITEM, &VOID_ITEM], BATCH_ITEMS_MAX), "The items."),
    ],
);

/// The body of `/post`.
pub const NEW_POSTING: Schema = takes(
    "NewPosting",
    "How much of a hold to post.",
    &[sometimes("amount", Kind::Amount, "At most what is held; the rest is released. All when absent.")],
);

/// The body of `/reverse`.
pub const NEW_REVERSAL: Schema = takes(
    "NewReversal",
    "Why a transfer is reversed.",
    &[always("reason", Kind::Filled(DESCRIPTION_CHARS_MAX), "Why.")],
);

/// The body of routes that take nothing.
pub const NOTHING: Schema = takes("Nothing", "An empty object, or no body at all.", &[]);

/// The body of `POST /v1/accounts`.
pub const NEW_ACCOUNT: Schema = takes(
    "NewAccount",
    "An account to open.",
    &[
        always("currency", Kind::Currency, "Of all its amounts, for ever."),
        always("type", TYPES, "Decides the normal direction of its balance."),
        sometimes("code", CODE, "General-ledger code; 0 when absent."),
        sometimes("balance_rule", RULES, "Balances that are refused; none when absent."),
        sometimes("external_id", Kind::ExternalId, "Your own id, unique for ever among accounts."),
        sometimes("name", Kind::Text(NAME_CHARS_MAX), "For people."),
        sometimes("metadata", Kind::Metadata, "Your own pairs."),
    ],
);

/// The body of `POST /v1/accounts/batch`.
pub const NEW_ACCOUNTS: Schema = takes(
    "NewAccounts",
    "Accounts to open, each on its own.",
    &[always("accounts", Kind::List(&NEW_ACCOUNT, BATCH_ITEMS_MAX), "The accounts.")],
);

/// The body of `PATCH /v1/accounts/{id}`.
pub const ACCOUNT_CHANGE: Schema = Schema { needs_one: true, ..CHANGE };

const CHANGE: Schema = takes(
    "AccountChange",
    "What to change of an account; at least one field.",
    &[
        sometimes("name", Kind::Text(NAME_CHARS_MAX), "`null` removes it."),
        sometimes("metadata", Kind::Metadata, "Replaces all pairs."),
        sometimes(
            "status",
            GIVEN_STATUS,
            "Frozen refuses new transfers, posts and reversals; only an empty account can be closed.",
        ),
    ],
);

/// The body of `POST /v1/periods/close`.
pub const NEW_CLOSING: Schema = takes(
    "NewClosing",
    "A period to close.",
    &[always("through", Kind::Date, "Its last day: no effective date up to it may be used from here on.")],
);

/// The body of `POST /v1/periods/reopen`.
pub const NEW_REOPENING: Schema = takes(
    "NewReopening",
    "A closing to undo.",
    &[
        always("through", Kind::Date, "The day through which it closed."),
        always("reason", Kind::Filled(DESCRIPTION_CHARS_MAX), "Why."),
    ],
);

/// The body of `POST /v1/api_keys`.
pub const NEW_API_KEY: Schema = takes(
    "NewApiKey",
    "A key to make; it may do no more than the one that makes it.",
    &[
        always("name", Kind::Filled(NAME_CHARS_MAX), "For people."),
        always("role", ROLE_NAMES, "What it may do at most."),
        sometimes(
            "scopes",
            Kind::Scopes,
            "`*`, `<resource>:read`, `<resource>:write` or ids of operations; `*` when absent.",
        ),
        sometimes("amount_limit", Kind::Digits, "Greatest amount of one transfer, in whole units of its currency."),
        sometimes("rate_per_s", KEY_LIMIT, "Requests a second over time."),
        sometimes("burst", KEY_LIMIT, "Requests at once after a pause."),
        sometimes("concurrency", KEY_LIMIT, "Requests in flight."),
        sometimes("expires_at", Kind::Instant, "From then on it opens nothing."),
        sometimes("certificate_sha256", Kind::Fingerprint, "The client certificate that must come with it."),
    ],
);

/// The body of `POST /v1/api_keys/{id}/rotate`.
pub const NEW_ROTATION: Schema = takes(
    "NewRotation",
    "A new token for a key.",
    &[sometimes(
        "overlap_s",
        Kind::Whole { min: 0, max: KEY_OVERLAP_SECONDS_MAX },
        "Seconds for which the token before stays good; 0 when absent.",
    )],
);
