//! What is said about following the books.

use super::super::problem::Code;
use super::super::resources::Operation;
use super::operations::{Description, Gives, LIMIT, PLAIN, Parameter, Value, parameter};
use super::schemas::{Kind, Schema, always, sometimes};
use crate::engine::feed::KINDS;

/// An event.
pub static EVENT: Schema = Schema {
    name: "Event",
    about: "What happened: a CloudEvent 1.0. `sequence` sorts as the books do; `data` is what the entry holds.",
    fields: &[
        always("specversion", Kind::Exactly("1.0"), "CloudEvents' version."),
        always(
            "id",
            Kind::Id("evt_"),
            "Unique for ever within its source: the same event has the same id however it comes.",
        ),
        always("source", Kind::Filled(80), "The books that it happened in."),
        always("type", Kind::OneOf(|| KINDS.to_vec()), "What happened."),
        sometimes("subject", Kind::Filled(32), "The id of what it happened to, where that is one thing."),
        always("time", Kind::Instant, "When."),
        always("datacontenttype", Kind::Exactly("application/json"), "What `data` is."),
        always("sequence", Kind::Digits, "The seq of the entry, in twenty digits."),
        always("data", Kind::Any, "The object of the API where the entry holds all of it, else what the entry says."),
    ],
    is_request: false,
    needs_one: false,
};

/// A page of events.
pub static EVENT_PAGE: Schema = Schema {
    name: "EventPage",
    about: "Events in the order in which they happened.",
    fields: &[
        always("object", Kind::Exactly("list"), "What this is."),
        always("url", Kind::Filled(200), "The path that was asked."),
        always("has_more", Kind::Flag, "Whether more happened after `through`."),
        always("data", Kind::List(&EVENT, crate::config::LIST_LIMIT_MAX), "The events, the oldest first."),
        always("through", Kind::Seq, "Everything up to here was looked at: the next page's `after`."),
    ],
    is_request: false,
    needs_one: false,
};

const AFTER_SEQ: Parameter = parameter("after", Value::Seq, "Behind this entry; a `seq`, or an event's `sequence`.");
const TYPES: Parameter = parameter(
    "types",
    Value::Text("loan.*,transfer.posted"),
    "Only these, separated by commas; `loan.*` stands for all of loans. All that the key may see when absent.",
);
const ACCOUNT: Parameter = parameter("account", Value::Account, "Only what touches this account.");
const LOAN: Parameter = parameter("loan", Value::Named("loan_"), "Only what happens to this loan.");

/// What is said about an operation.
#[must_use]
pub fn describe(operation: Operation) -> Description {
    let plain = Description { tag: "Events", ..PLAIN };
    match operation {
        Operation::ListEvents => Description {
            summary: "Shows what happened",
            about: "The oldest first. A page ends after `limit` events, or after 100,000 entries of which fewer were asked for: go on with `through`.",
            parameters: const { &[AFTER_SEQ, TYPES, ACCOUNT, LOAN, LIMIT] },
            gives: Gives::One(&EVENT_PAGE),
            also: &[Code::PositionGone],
            ..plain
        },
        Operation::StreamEvents => Description {
            summary: "Follows what happens",
            about: "Server-Sent Events that do not end: `id` is the seq, `event` the type, `data` the event. `Last-Event-ID` goes on where a client stopped, else `after`, else it begins with what comes next. Who reads too slowly gets an event `lagged` and then everything from where he was.",
            parameters: const { &[AFTER_SEQ, TYPES, ACCOUNT, LOAN] },
            also: &[Code::PositionGone],
            ..plain
        },
        _ => Description {
            summary: "Opens a WebSocket",
            about: "Subprotocol `munim.v1`. Commands: `{\"op\":\"post\",\"id\":…,\"key\":…,\"body\":{transfer}}`, as many at once as you like, each answered `posted` or `refused` when it is durable. Events: `{\"op\":\"subscribe\",\"types\":[…],\"after\":…}`.",
            statuses: &[101],
            also: &[Code::UpgradeRequired],
            ..plain
        },
    }
}
