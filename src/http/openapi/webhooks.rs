//! What is said about webhooks.

use super::super::problem::Code;
use super::super::resources::Operation;
use super::operations::{AFTER, Description, Gives, LIMIT, PLAIN};
use super::schemas::{Kind, NOTHING, Schema, always, or_null, sometimes};
use crate::config::{DESCRIPTION_CHARS_MAX, EVENT_PATTERNS_MAX, OUTBOUND_URL_BYTES_MAX};
use crate::domain::reject::RejectCode as R;

const URL: Kind = Kind::Filled(OUTBOUND_URL_BYTES_MAX);
const TYPES: Kind = Kind::Texts(EVENT_PATTERNS_MAX);

/// A new endpoint.
pub static NEW_WEBHOOK_ENDPOINT: Schema = Schema {
    name: "NewWebhookEndpoint",
    about: "Where events are to be sent, and which.",
    fields: &[
        always("url", URL, "https, at an address that is public or that the operator allows."),
        sometimes("signing", Kind::OneOf(|| vec!["hmac", "ed25519"]), "How messages are signed; hmac when absent."),
        sometimes(
            "after",
            Kind::Whole { min: 0, max: i64::MAX },
            "Events after this seq; what comes next when absent.",
        ),
        sometimes("description", Kind::Text(DESCRIPTION_CHARS_MAX), "For people."),
        sometimes("types", TYPES, "Only these, or patterns such as `loan.*`; all of the books when absent."),
        sometimes("account", Kind::AccountName, "Only what touches this account."),
        sometimes("loan", Kind::Named("loan_"), "Only what happens to this loan."),
        sometimes("ordered", Kind::Flag, "One at a time, and none before the one before it was taken."),
    ],
    is_request: true,
    needs_one: false,
};

/// A change of an endpoint.
pub static WEBHOOK_ENDPOINT_CHANGE: Schema = Schema {
    name: "WebhookEndpointChange",
    about: "What is to be otherwise; `null` removes what can be absent.",
    fields: &[
        sometimes("url", URL, "Another address."),
        sometimes("description", Kind::Text(DESCRIPTION_CHARS_MAX), "For people."),
        sometimes("types", TYPES, "Only these, or patterns."),
        sometimes("account", Kind::AccountName, "Only what touches this account."),
        sometimes("loan", Kind::Named("loan_"), "Only what happens to this loan."),
        sometimes("ordered", Kind::Flag, "One at a time."),
        sometimes(
            "status",
            Kind::OneOf(|| vec!["enabled", "disabled"]),
            "What comes while it is disabled is sent afterwards.",
        ),
    ],
    is_request: true,
    needs_one: false,
};

/// Where to begin again.
pub static NEW_REPLAY: Schema = Schema {
    name: "NewReplay",
    about: "From where events are sent again.",
    fields: &[always("after", Kind::Whole { min: 0, max: i64::MAX }, "Behind this seq.")],
    is_request: true,
    needs_one: false,
};

/// An attempt.
pub static WEBHOOK_ATTEMPT: Schema = Schema {
    name: "WebhookAttempt",
    about: "A call that was made.",
    fields: &[
        always("object", Kind::Exactly("webhook_attempt"), "What this is."),
        always("event", Kind::Filled(64), "Which event: the message's `webhook-id`."),
        always("attempt", Kind::Whole { min: 0, max: 65_535 }, "Counted from 1; 0 for a call that was not made."),
        always("at", Kind::Instant, "When it began."),
        always("delivered", Kind::Flag, "Whether the receiver answered 2xx."),
        or_null("status", Kind::Whole { min: 100, max: 999 }, "Its answer's status."),
        always("took_ms", Kind::Number, "How long it took."),
        or_null("error", Kind::Text(400), "What was wrong."),
        or_null("said", Kind::Text(400), "The beginning of what the receiver said."),
    ],
    is_request: false,
    needs_one: false,
};

/// How deliveries stand.
pub static WEBHOOK_STANDING: Schema = Schema {
    name: "WebhookStanding",
    about: "How deliveries to an endpoint stand.",
    fields: &[
        always("position", Kind::Seq, "Everything up to here was delivered, or waits, or is dead."),
        always(
            "waiting",
            Kind::Whole { min: 0, max: 1 << 32 },
            "Events that wait for an attempt, or are on their way.",
        ),
        always("dead", Kind::Whole { min: 0, max: 1 << 32 }, "Events that are tried no more by themselves."),
        always("delivered", Kind::Whole { min: 0, max: i64::MAX }, "Since the process began."),
        always("failed", Kind::Whole { min: 0, max: i64::MAX }, "Attempts that failed since then."),
        or_null("last_attempt", Kind::Object(&WEBHOOK_ATTEMPT), "The last call."),
    ],
    is_request: false,
    needs_one: false,
};

/// What is owed.
pub static WEBHOOK_DELIVERY: Schema = Schema {
    name: "WebhookDelivery",
    about: "An event that the endpoint has not taken.",
    fields: &[
        always("object", Kind::Exactly("webhook_delivery"), "What this is."),
        always("event", Kind::Id("evt_"), "Which event."),
        always("status", Kind::OneOf(|| vec!["waiting", "dead"]), "Whether it is tried again by itself."),
        always("attempts", Kind::Whole { min: 0, max: 65_535 }, "How often it was tried."),
        or_null("next_attempt_at", Kind::Instant, "Not before."),
        or_null("last_attempt_at", Kind::Instant, "When the last one was."),
        or_null("last_status", Kind::Whole { min: 100, max: 999 }, "How it was answered."),
        or_null("error", Kind::Text(400), "What was wrong."),
    ],
    is_request: false,
    needs_one: false,
};

/// An endpoint.
pub static WEBHOOK_ENDPOINT: Schema = Schema {
    name: "WebhookEndpoint",
    about: "Where events are sent: signed as Standard Webhooks 1.0 has it, at least once each, with the same `webhook-id`.",
    fields: &[
        always("object", Kind::Exactly("webhook_endpoint"), "What this is."),
        always("id", Kind::Id("we_"), "Its id."),
        always("version", Kind::Whole { min: 1, max: 1 << 31 }, "One more with each change."),
        always("created_at", Kind::Instant, "When it was made."),
        always("url", URL, "Where to."),
        or_null("description", Kind::Text(DESCRIPTION_CHARS_MAX), "For people."),
        or_null("types", TYPES, "Only these."),
        or_null("account", Kind::Id("acct_"), "Only what touches this account."),
        or_null("loan", Kind::Id("loan_"), "Only what happens to this loan."),
        always("ordered", Kind::Flag, "One at a time, in order."),
        always("status", Kind::OneOf(|| vec!["enabled", "disabled", "gone"]), "`gone`: it answered 410."),
        or_null("public_key", Kind::Text(128), "For ed25519: what signatures are checked with."),
        or_null("old_secret_until", Kind::Instant, "Until then messages are signed by the secret before, too."),
        sometimes("secret", Kind::Filled(128), "Only in the answer that makes it, and that answer's repetitions."),
        sometimes("delivery", Kind::Object(&WEBHOOK_STANDING), "How deliveries stand; not in answers to commands."),
    ],
    is_request: false,
    needs_one: false,
};

/// What is said about an operation.
#[must_use]
pub fn describe(operation: Operation) -> Description {
    let plain =
        Description { tag: "Webhooks", gives: Gives::One(&WEBHOOK_ENDPOINT), also: &[Code::JobsUnavailable], ..PLAIN };
    let of_one = Description { also: &[Code::WebhookEndpointNotFoundInPath, Code::JobsUnavailable], ..plain };
    match operation {
        Operation::CreateWebhookEndpoint => Description {
            summary: "Sets up an endpoint",
            about: "The answer shows the secret; no other does.",
            body: Some(&NEW_WEBHOOK_ENDPOINT),
            statuses: &[200, 201],
            refusals: &[R::TooManyObjects, R::ObjectNotFound, R::VersionMismatch],
            ..plain
        },
        Operation::ListWebhookEndpoints => {
            Description { summary: "Lists endpoints", gives: Gives::Page(&WEBHOOK_ENDPOINT), ..plain }
        }
        Operation::GetWebhookEndpoint => Description { summary: "Shows an endpoint", ..of_one },
        Operation::UpdateWebhookEndpoint => Description {
            summary: "Changes an endpoint",
            body: Some(&WEBHOOK_ENDPOINT_CHANGE),
            refusals: &[R::VersionMismatch, R::ObjectNotFound],
            ..of_one
        },
        Operation::RotateWebhookSecret => Description {
            summary: "Gives an endpoint another secret",
            about: "For a day messages are signed by both.",
            body: Some(&NOTHING),
            refusals: &[R::VersionMismatch, R::ObjectNotFound],
            ..of_one
        },
        Operation::TestWebhookEndpoint => Description {
            summary: "Tries an endpoint with an event that never happened",
            about: "Once, and says how it went.",
            body: Some(&NOTHING),
            gives: Gives::One(&WEBHOOK_ATTEMPT),
            ..of_one
        },
        Operation::ReplayWebhookEvents => Description {
            summary: "Sends everything after an entry again",
            body: Some(&NEW_REPLAY),
            statuses: &[202],
            gives: Gives::One(&WEBHOOK_STANDING),
            ..of_one
        },
        Operation::ListWebhookAttempts => Description {
            summary: "Lists the last attempts",
            about: "Of this process, the newest first, 200 at most.",
            gives: Gives::Page(&WEBHOOK_ATTEMPT),
            ..of_one
        },
        Operation::ListWebhookDeliveries => Description {
            summary: "Lists what an endpoint has not taken",
            about: "The newest first. What it has taken leaves no trace here: it is in the journal.",
            parameters: const { &[LIMIT, AFTER] },
            gives: Gives::Page(&WEBHOOK_DELIVERY),
            ..of_one
        },
        _ => Description {
            summary: "Sends an event again",
            about: "At once and with all its attempts before it, whether it was taken or not.",
            body: Some(&NOTHING),
            statuses: &[202],
            gives: Gives::One(&WEBHOOK_STANDING),
            also: &[Code::WebhookEndpointNotFoundInPath, Code::EventNotFoundInPath, Code::JobsUnavailable],
            ..plain
        },
    }
}
