//! What a client says on a WebSocket, and what it is answered: one JSON object a message.
//!
//! | op | members | answer |
//! |---|---|---|
//! | `post` | `id`, `key`, `body` (a transfer), `return`? (`minimal`) | `posted` or `refused`, with the same `id` |
//! | `subscribe` | `id`?, `types`?, `account`?, `loan`?, `after`? | `subscribed`, then `event`s |
//! | `unsubscribe` | `id`? | `unsubscribed` |
//!
//! `id` is the client's own: a string of at most 64 characters or a whole number, sent back as it came.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::EVENT_PATTERNS_MAX;
use crate::domain::ids::{IdKind, Seq};
use crate::engine::view::TransferView;

use super::super::super::problem::{Code, FieldError, Outcome, Problem};
use super::super::super::render::{self, write_number, write_text};

/// Characters of a client's own id.
const ID_CHARS_MAX: usize = 64;

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    op: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "return")]
    gives: Option<Cow<'a, str>>,
    #[serde(default)]
    types: Option<Vec<String>>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    loan: Option<String>,
    #[serde(default)]
    after: Option<Place>,
}

/// A seq, as text or as a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Place {
    Number(u64),
    Text(String),
}

/// What is asked.
#[derive(Debug)]
pub enum Asked<'a> {
    /// A transfer.
    Post(Post<'a>),
    /// Events.
    Subscribe(Subscribe),
    /// No more events.
    Unsubscribe,
}

/// A command to post a transfer.
#[derive(Debug)]
pub struct Post<'a> {
    /// The idempotency key.
    pub key: Cow<'a, str>,
    /// The transfer, as it came.
    pub body: &'a str,
    /// The answer has the transfer's id alone.
    pub is_minimal: bool,
}

/// A wish for events.
#[derive(Debug)]
pub struct Subscribe {
    /// Kinds and patterns; all that may be seen when absent.
    pub types: Option<String>,
    /// About this account.
    pub account: Option<String>,
    /// About this loan.
    pub loan: Option<String>,
    /// After this entry; from now on when absent.
    pub after: Option<Seq>,
}

/// The id that a client gave its message, as JSON: `null` where it gave none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientId(Box<str>);

impl ClientId {
    /// None was given.
    #[must_use]
    pub fn none() -> ClientId {
        ClientId("null".into())
    }

    fn of(raw: Option<&RawValue>) -> Option<ClientId> {
        let Some(raw) = raw else { return Some(ClientId::none()) };
        let text = raw.get();
        let is_string = text.starts_with('"') && text.len() <= ID_CHARS_MAX * 6 + 2;
        let is_number = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        (is_string || is_number).then(|| ClientId(text.into()))
    }
}

/// Reads a message. Where it has an id, what is wrong with it is told under that.
pub fn read(text: &str) -> (ClientId, Outcome<Asked<'_>>) {
    let wire: Wire<'_> = match serde_json::from_str(text) {
        Ok(wire) => wire,
        Err(_) => return unread(text, &WIRE_FIELDS),
    };
    let Some(id) = ClientId::of(wire.id) else {
        let detail = "`id` is a string of at most 64 characters or a whole number.";
        return (ClientId::none(), Err(invalid("/id", detail)));
    };
    (id, asked(wire))
}

/// The members that a message may have; those of a bare command are the second to the fifth.
const WIRE_FIELDS: [&str; 9] = ["op", "id", "key", "body", "return", "types", "account", "loan", "after"];

/// Why a message could not be read, under its id if it has one: slower than reading it, and rare.
fn unread<T>(text: &str, fields: &[&str]) -> (ClientId, Outcome<T>) {
    let members = match serde_json::from_str::<BTreeMap<String, &RawValue>>(text) {
        Ok(members) => members,
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let detail = format!("A message is one JSON object; this is none at line {line}, column {column}.");
            return (ClientId::none(), Err(Problem::new(Code::MalformedJson, detail)));
        }
    };
    let id = ClientId::of(members.get("id").copied()).unwrap_or_else(ClientId::none);
    let known = fields.join("`, `");
    if let Some(unknown) = members.keys().find(|name| !fields.contains(&name.as_str())) {
        let shown: String = unknown.chars().take(64).collect();
        let error = FieldError {
            pointer: format!("/{shown}"),
            code: "unknown_field",
            detail: format!("A message has `{known}`, and no `{shown}`.").into(),
        };
        return (id, Err(Problem::of_fields(vec![error])));
    }
    if !members.contains_key("op") && fields.contains(&"op") {
        return (id, Err(invalid("/op", "`op` is `post`, `subscribe` or `unsubscribe`.")));
    }
    let detail = "`types` is a list of texts, `after` a text or a whole number, `body` an object, the others are texts; \
                  each stands there once.";
    (id, Err(invalid("", detail)))
}

/// A command that came by another way than a WebSocket.
#[cfg(feature = "bridges")]
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bare<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "return")]
    gives: Option<Cow<'a, str>>,
}

/// Reads a command that came by another way than a WebSocket: a `post` that need not say so.
#[cfg(feature = "bridges")]
pub fn command(text: &str) -> (ClientId, Outcome<Post<'_>>) {
    let bare: Bare<'_> = match serde_json::from_str(text) {
        Ok(bare) => bare,
        Err(_) => return unread(text, &WIRE_FIELDS[1..5]),
    };
    let Some(id) = ClientId::of(bare.id) else {
        let detail = "`id` is a string of at most 64 characters or a whole number.";
        return (ClientId::none(), Err(invalid("/id", detail)));
    };
    let Bare { key, body, gives, .. } = bare;
    let post = post_of(key, body, gives.as_deref());
    (id, post)
}

fn post_of<'a>(key: Option<Cow<'a, str>>, body: Option<&'a RawValue>, gives: Option<&str>) -> Outcome<Post<'a>> {
    let missing = |what: &str| invalid(&format!("/{what}"), &format!("`post` takes `{what}`."));
    let is_minimal = match gives {
        None | Some("representation") => false,
        Some("minimal") => true,
        Some(_) => return Err(invalid("/return", "`return` is `minimal` or `representation`.")),
    };
    let key = key.ok_or_else(|| missing("key"))?;
    let body = body.ok_or_else(|| missing("body"))?.get();
    Ok(Post { key, body, is_minimal })
}

fn asked(wire: Wire<'_>) -> Outcome<Asked<'_>> {
    match &*wire.op {
        "post" => {
            if wire.types.is_some() || wire.account.is_some() || wire.loan.is_some() || wire.after.is_some() {
                return Err(invalid("/op", "`post` takes `id`, `key`, `body` and `return`."));
            }
            post_of(wire.key, wire.body, wire.gives.as_deref()).map(Asked::Post)
        }
        "subscribe" => {
            let types = wire.types.map(|types| {
                let is_fit = types.len() <= EVENT_PATTERNS_MAX && !types.iter().any(|name| name.contains(','));
                if is_fit { types.join(",") } else { "?".to_owned() }
            });
            let after = match wire.after {
                None => None,
                Some(Place::Number(number)) => Some(Seq(number)),
                Some(Place::Text(text)) => {
                    let number = text.parse().map_err(|_| invalid("/after", "`after` is the `seq` of an event."))?;
                    Some(Seq(number))
                }
            };
            Ok(Asked::Subscribe(Subscribe { types, account: wire.account, loan: wire.loan, after }))
        }
        "unsubscribe" => Ok(Asked::Unsubscribe),
        _ => Err(invalid("/op", "`op` is `post`, `subscribe` or `unsubscribe`.")),
    }
}

fn invalid(pointer: &str, detail: &str) -> Box<Problem> {
    let detail = detail.to_owned().into();
    Problem::of_fields(vec![FieldError { pointer: pointer.into(), code: "invalid_value", detail }])
}

/// A transfer was posted: an answer, as JSON.
pub fn posted(out: &mut Vec<u8>, id: &ClientId, view: &TransferView, as_of: Seq, replayed: bool, is_minimal: bool) {
    head(out, "posted", id);
    out.extend_from_slice(b",\"as_of_seq\":\"");
    write_number(out, as_of.0);
    out.push(b'"');
    if replayed {
        out.extend_from_slice(b",\"replayed\":true");
    }
    out.extend_from_slice(b",\"transfer\":");
    match view.seq.filter(|_| is_minimal) {
        Some(seq) => {
            out.push(b'"');
            crate::domain::ids::write_id(out, IdKind::Transfer, seq.0);
            out.push(b'"');
        }
        None => out.extend_from_slice(&render::transfer(view)),
    }
    out.push(b'}');
}

/// A message was refused; `instance` is where it came in.
pub fn refused(out: &mut Vec<u8>, id: &ClientId, problem: &Problem, request: u64, instance: &str) {
    head(out, "refused", id);
    out.extend_from_slice(b",\"problem\":");
    out.extend_from_slice(&problem.render(instance, request));
    out.push(b'}');
}

/// Something about the stream of events itself.
pub fn told(out: &mut Vec<u8>, op: &str, id: &ClientId, after: Seq, through: Option<Seq>) {
    head(out, op, id);
    out.extend_from_slice(b",\"after\":\"");
    write_number(out, after.0);
    out.push(b'"');
    if let Some(through) = through {
        out.extend_from_slice(b",\"through\":\"");
        write_number(out, through.0);
        out.push(b'"');
    }
    out.push(b'}');
}

fn head(out: &mut Vec<u8>, op: &str, id: &ClientId) {
    out.extend_from_slice(b"{\"op\":");
    write_text(out, op);
    out.extend_from_slice(b",\"id\":");
    out.extend_from_slice(id.0.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let (ClientId(id), asked) = read(text);
        match asked {
            Ok(asked) => format!("{id} {asked:?}"),
            Err(problem) => format!("{id} {:?} {}", problem.code, problem.errors.first().map_or("", |e| &e.pointer)),
        }
    }

    #[test]
    fn messages_are_taken_or_told_what_is_wrong() {
        for (text, expected) in [
            (
                r#"{"op":"post","id":7,"key":"k","body":{"amount": "1"}}"#,
                r#"7 Post(Post { key: "k", body: "{\"amount\": \"1\"}", is_minimal: false })"#,
            ),
            (
                r#"{"op":"post","id":"a","key":"k","body":[],"return":"minimal"}"#,
                r#""a" Post(Post { key: "k", body: "[]", is_minimal: true })"#,
            ),
            (r#"{"op":"unsubscribe"}"#, "null Unsubscribe"),
            (r#"{"op":"post","id":7,"body":{}}"#, "7 ValidationFailed /key"),
            (r#"{"op":"post","id":7,"key":"k"}"#, "7 ValidationFailed /body"),
            (r#"{"op":"post","id":7,"key":"k","body":{},"after":1}"#, "7 ValidationFailed /op"),
            (r#"{"op":"post","id":-7,"key":"k","body":{}}"#, "null ValidationFailed /id"),
            (r#"{"op":"post","id":{},"key":"k","body":{}}"#, "null ValidationFailed /id"),
            (r#"{"op":"fly"}"#, "null ValidationFailed /op"),
            (r#"{"op":"subscribe","after":"x"}"#, "null ValidationFailed /after"),
            (r#"{"op":"subscribe","x":1}"#, "null UnknownField /x"),
            (r#"{"op":"post","id":7,"key":"k","body":{},"x":1}"#, "7 UnknownField /x"),
            (r#"{"op":"post","id":7,"key":8,"body":{}}"#, "7 ValidationFailed "),
            (r#"{"id":7}"#, "7 ValidationFailed /op"),
            ("[]", "null MalformedJson "),
            ("", "null MalformedJson "),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[cfg(feature = "bridges")]
    #[test]
    fn commands_of_other_ways_are_posts_without_saying_so() {
        let told = |text: &str| {
            let (ClientId(id), post) = command(text);
            match post {
                Ok(post) => format!("{id} {} {} {}", post.key, post.body, post.is_minimal),
                Err(problem) => {
                    format!("{id} {:?} {}", problem.code, problem.errors.first().map_or("", |e| &e.pointer))
                }
            }
        };
        for (text, expected) in [
            (r#"{"key":"k","body":{"amount": "1"}}"#, r#"null k {"amount": "1"} false"#),
            (r#"{"id":7,"key":"k","body":[],"return":"minimal"}"#, "7 k [] true"),
            (r#"{"id":7,"body":{}}"#, "7 ValidationFailed /key"),
            (r#"{"key":"k"}"#, "null ValidationFailed /body"),
            (r#"{"op":"post","key":"k","body":{}}"#, "null MalformedJson "),
            ("", "null MalformedJson "),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
    }
}
