//! What is said about ledger sync.

use super::super::problem::Code;
use super::super::resources::Operation;
use super::operations::{Description, Gives, PLAIN};
use super::schemas::{Kind, Schema, always, or_null, sometimes};
use crate::config::{
    DESCRIPTION_CHARS_MAX, EVENT_PATTERNS_MAX, OUTBOUND_URL_BYTES_MAX, SYNC_CREDENTIAL_BYTES_MAX, SYNC_NAME_BYTES_MAX,
};
use crate::domain::reject::RejectCode as R;

const URL: Kind = Kind::Filled(OUTBOUND_URL_BYTES_MAX);
const TYPES: Kind = Kind::Texts(EVENT_PATTERNS_MAX);
const NAME: Kind = Kind::Filled(SYNC_NAME_BYTES_MAX);
const CREDENTIAL: Kind = Kind::Filled(SYNC_CREDENTIAL_BYTES_MAX);

/// A new target.
pub static NEW_SYNC_TARGET: Schema = Schema {
    name: "NewSyncTarget",
    about: "A peer that events are to be pushed to, and which.",
    fields: &[
        always("kind", Kind::OneOf(|| vec!["http", "amqp", "mqtt"]), "`amqp` and `mqtt` need the build with bridges."),
        always("url", URL, "https, amqps or mqtts, at an address that is public or that the operator allows."),
        sometimes("username", CREDENTIAL, "Who we are there."),
        sometimes("password", CREDENTIAL, "Shown by no answer. Without a user, for http: a bearer token."),
        sometimes("exchange", NAME, "amqp: where to publish; the default exchange when absent."),
        sometimes("routing_key", NAME, "amqp: under which key; the event's type when absent."),
        sometimes("topic", NAME, "mqtt: where to publish."),
        sometimes(
            "after",
            Kind::Whole { min: 0, max: i64::MAX },
            "Events after this seq; what comes next when absent.",
        ),
        sometimes("description", Kind::Text(DESCRIPTION_CHARS_MAX), "For people."),
        sometimes("types", TYPES, "Only these, or patterns such as `loan.*`; all of the books when absent."),
        sometimes("account", Kind::AccountName, "Only what touches this account."),
        sometimes("loan", Kind::Named("loan_"), "Only what happens to this loan."),
    ],
    is_request: true,
    needs_one: false,
};

/// A change of a target.
pub static SYNC_TARGET_CHANGE: Schema = Schema {
    name: "SyncTargetChange",
    about: "What is to be otherwise; `null` removes what can be absent.",
    fields: &[
        sometimes("url", URL, "Another address."),
        sometimes("username", CREDENTIAL, "Who we are there."),
        sometimes("password", CREDENTIAL, "How we prove it."),
        sometimes("exchange", NAME, "amqp: where to publish."),
        sometimes("routing_key", NAME, "amqp: under which key."),
        sometimes("topic", NAME, "mqtt: where to publish."),
        sometimes("description", Kind::Text(DESCRIPTION_CHARS_MAX), "For people."),
        sometimes("types", TYPES, "Only these, or patterns."),
        sometimes("account", Kind::AccountName, "Only what touches this account."),
        sometimes("loan", Kind::Named("loan_"), "Only what happens to this loan."),
        sometimes(
            "status",
            Kind::OneOf(|| vec!["enabled", "disabled"]),
            "What comes while it is disabled is sent afterwards.",
        ),
    ],
    is_request: true,
    needs_one: false,
};

/// How a target stands.
pub static SYNC_STANDING: Schema = Schema {
    name: "SyncStanding",
    about: "How far a target is.",
    fields: &[
        always("position", Kind::Seq, "Everything up to here was acknowledged, or is not for it."),
        always("lag", Kind::Whole { min: 0, max: i64::MAX }, "Entries of the journal behind that."),
        always("connected", Kind::Flag, "Whether the last attempt worked, and its connection is there still."),
        always("delivered", Kind::Whole { min: 0, max: i64::MAX }, "Acknowledged since the process began."),
        always("failed", Kind::Whole { min: 0, max: i64::MAX }, "Attempts that failed since then."),
        or_null("last_error", Kind::Text(400), "What was wrong with the last one that failed."),
        or_null("last_error_at", Kind::Instant, "When that was."),
    ],
    is_request: false,
    needs_one: false,
};

/// A target.
pub static SYNC_TARGET: Schema = Schema {
    name: "SyncTarget",
    about: "A peer that events are pushed to, in order, at least once each, with the same id: a place in the journal.",
    fields: &[
        always("object", Kind::Exactly("sync_target"), "What this is."),
        always("id", Kind::Id("sync_"), "Its id."),
        always("version", Kind::Whole { min: 1, max: 1 << 31 }, "One more with each change."),
        always("created_at", Kind::Instant, "When it was made."),
        always("kind", Kind::OneOf(|| vec!["http", "amqp", "mqtt"]), "How it is spoken to."),
        always("url", URL, "Where it is."),
        or_null("username", CREDENTIAL, "Who we are there."),
        always("has_password", Kind::Flag, "Whether there is one."),
        or_null("exchange", NAME, "amqp: where to publish."),
        or_null("routing_key", NAME, "amqp: under which key."),
        or_null("topic", NAME, "mqtt: where to publish."),
        or_null("description", Kind::Text(DESCRIPTION_CHARS_MAX), "For people."),
        or_null("types", TYPES, "Only these."),
        or_null("account", Kind::Id("acct_"), "Only what touches this account."),
        or_null("loan", Kind::Id("loan_"), "Only what happens to this loan."),
        always("status", Kind::OneOf(|| vec!["enabled", "disabled"]), "Whether anything is sent."),
        sometimes("standing", Kind::Object(&SYNC_STANDING), "How far it is; not in answers to commands."),
    ],
    is_request: false,
    needs_one: false,
};

/// What is said about an operation.
#[must_use]
pub fn describe(operation: Operation) -> Description {
    let plain =
        Description { tag: "Ledger sync", gives: Gives::One(&SYNC_TARGET), also: &[Code::JobsUnavailable], ..PLAIN };
    let of_one = Description { also: &[Code::SyncTargetNotFoundInPath, Code::JobsUnavailable], ..plain };
    match operation {
        Operation::CreateSyncTarget => Description {
            summary: "Sets up a target",
            about: "What it is to be sent begins behind `after`.",
            body: Some(&NEW_SYNC_TARGET),
            statuses: &[200, 201],
            refusals: &[R::TooManyObjects, R::ObjectNotFound, R::VersionMismatch],
            ..plain
        },
        Operation::ListSyncTargets => {
            Description { summary: "Lists targets", gives: Gives::Page(&SYNC_TARGET), ..plain }
        }
        Operation::GetSyncTarget => Description { summary: "Shows a target", ..of_one },
        _ => Description {
            summary: "Changes a target",
            about: "Its kind and its place in the journal stay.",
            body: Some(&SYNC_TARGET_CHANGE),
            refusals: &[R::VersionMismatch, R::ObjectNotFound],
            ..of_one
        },
    }
}
