//! What happened: a page of it, or all of it as it comes.

use std::sync::Arc;

use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{StatusCode, Version};
use tungstenite::handshake::derive_accept_key;

use crate::config::{EVENT_PATTERNS_MAX, EVENTS_ENTRIES_MAX};
use crate::domain::ids::Seq;
use crate::engine::Engine;
use crate::engine::feed::{EventKinds, Topic};
use crate::engine::history::Reach;
use crate::engine::view::Unavailable;

use super::super::accept::upgrade::Upgrade;
use super::super::body::Payload;
use super::super::gateway::identity::Caller;
use super::super::gateway::{Call, render_at};
use super::super::problem::{Code, Outcome, Problem};
use super::super::query::Query;
use super::super::render;
use super::super::reply::{Reply, Switch};
use super::super::stream::feed::{Chunk, Framing};
use super::super::stream::follower::Follower;
use super::super::stream::sse::EventBody;
use super::super::stream::websocket::Session;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// `GET /v1/events`
///
/// # Errors
/// `invalid_parameter`; `position_gone`; `not_found` of what is followed; `busy` and the engine's.
pub async fn list(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["after", "types", "account", "loan", "limit"])?;
    let topic = topic_of(call, &query).await?;
    let after = query.read("after", PLACE, place)?.unwrap_or(Seq::NONE);
    let limit = query.limit()?;
    let engine = &call.books()?.engine;
    let after = begin(Some(after), engine.core().journal().durable_seq())?;
    let place = call.place_for(limit).await?;
    let page = call.read(engine.feed(after, topic, limit, EVENTS_ENTRIES_MAX)).await?;
    let core = Arc::clone(engine.core());
    let has_more = page.through < core.journal().durable_seq();
    let path = call.head.uri.path().to_owned();
    let through = page.through;
    let next = has_more.then(|| query.next_page_by(&path, "after", &through.0.to_string()));
    let mut reply = render_at(place, move || {
        let chunk = Chunk::render(&core, after, &page);
        Reply::json(StatusCode::OK, render::event_page(&chunk, &path, has_more))
    })
    .await?;
    reply.as_of = Some(through);
    reply.next = next;
    Ok(reply)
}

/// `GET /v1/ws`
///
/// # Errors
/// `upgrade_required` of what is no handshake of this subprotocol; `draining`.
pub fn websocket(call: &mut Call<'_>) -> Outcome<Reply> {
    call.query(&[])?;
    let books = call.books()?;
    let headers = &call.head.headers;
    let has = |name: HeaderName, token: &str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let is_handshake = call.head.version == Version::HTTP_11
        && has(UPGRADE, "websocket")
        && has(CONNECTION, "upgrade")
        && has(SEC_WEBSOCKET_VERSION, "13");
    let Some(key) = key.filter(|_| is_handshake) else {
        let detail = "Open it as a WebSocket of version 13 over HTTP/1.1, with the subprotocol `munim.v1`.";
        return Err(Problem::new(Code::UpgradeRequired, detail));
    };
    if headers.contains_key(SEC_WEBSOCKET_PROTOCOL) && !has(SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(Problem::new(Code::UpgradeRequired, "The subprotocol is `munim.v1`."));
    }
    if call.edge.is_draining() {
        return Err(Problem::new(Code::Draining, "The server leaves. Come back."));
    }
    let subprotocol = headers.contains_key(SEC_WEBSOCKET_PROTOCOL).then_some(SUBPROTOCOL);
    let accept = derive_accept_key(key.as_bytes());
    let (edge, engine, caller) = (call.edge.shared(), Arc::clone(&books.engine), call.caller.clone());
    let peer = Arc::clone(call.peer);
    let upgrade =
        Upgrade::to(move |socket, leaving| Box::pin(Session::new(edge, engine, caller, peer, socket, leaving).run()));
    Ok(Reply::switching(Switch { accept, subprotocol, upgrade }))
}

const SUBPROTOCOL: &str = "munim.v1";

/// `GET /v1/events/stream`
///
/// # Errors
/// `invalid_parameter`; `position_gone`; `recovering`; too many followers.
pub async fn stream(call: &mut Call<'_>) -> Outcome<Reply> {
    let query = call.query(&["after", "types", "account", "loan"])?;
    let topic = topic_of(call, &query).await?;
    let asked = query.read("after", PLACE, place)?;
    // What a client has seen by itself comes before what it once asked for by hand.
    let seen = match call.head.headers.get(LAST_EVENT_ID) {
        None => None,
        Some(value) => Some(value.to_str().ok().and_then(place).ok_or_else(|| {
            Problem::of_parameter(Code::InvalidParameter, "Last-Event-ID", format!("`Last-Event-ID` is {PLACE}."))
        })?),
    };
    let newest = call.books()?.engine.core().journal().durable_seq();
    let after = begin(seen.or(asked), newest)?;
    let feed = call.edge.feed().ok_or_else(|| Problem::new(Code::Recovering, "The books are not open yet."))?;
    let follower = Follower::join(feed, call.caller.clone(), topic, after, Framing::Sse)?;
    let body = EventBody::of(follower);
    let goes_on_as = (call.head.version == Version::HTTP_11).then(|| body.goes_on_as());
    let mut reply = Reply::of(StatusCode::OK, EVENT_STREAM, Payload::Events(Box::new(body)));
    reply.goes_on_as = goes_on_as;
    reply.as_of = Some(after);
    Ok(reply)
}

/// Where a stream begins: behind what was asked for, or with what comes next. A place beyond the books was never
/// given out by these: whoever holds it followed others, and would wait for ever.
///
/// # Errors
/// `position_gone`.
pub fn begin(asked: Option<Seq>, newest: Seq) -> Outcome<Seq> {
    match asked {
        None => Ok(newest),
        Some(after) if after <= newest => Ok(after),
        Some(after) => Err(Problem::new(
            Code::PositionGone,
            format!("These books end at {newest}, and {after} lies behind it: it is a place of other books."),
        )),
    }
}

const PLACE: &str = "the `seq` of an event, a whole number";

fn place(text: &str) -> Option<Seq> {
    // Twenty digits with zeros in front, as `sequence` has it, are the same number.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).map(Seq)
}

/// What is wanted, and whether it may be seen.
async fn topic_of(call: &Call<'_>, query: &Query<'_>) -> Outcome<Topic> {
    let text = |name: &str| query.text(name).map(str::to_owned);
    topic_of_texts(&call.books()?.engine, &call.caller, text("types"), text("account"), text("loan")).await
}

/// As texts say it: kinds by their names and patterns, an account and a loan by their ids.
///
/// # Errors
/// `invalid_parameter`, `forbidden`; what [`crate::engine::view::Unavailable`] becomes.
pub async fn topic_of_texts(
    engine: &Engine,
    caller: &Caller,
    types: Option<String>,
    account: Option<String>,
    loan: Option<String>,
) -> Outcome<Topic> {
    let kinds = match types {
        None => {
            if caller.sees_access() {
                EventKinds::all()
            } else {
                EventKinds::of_the_books()
            }
        }
        Some(text) => kinds_named(&text, caller.sees_access())?,
    };
    let account = match account {
        None => None,
        Some(text) => {
            let shown = text.clone();
            let found = engine.on_disk(move |core| core.resolve_account(&text, Reach::Disk)).await?;
            let found = found.map_err(Unavailable::from)?;
            Some(found.ok_or_else(|| no_such("account", &shown))?)
        }
    };
    let loan = match loan {
        None => None,
        Some(text) => {
            let shown = text.clone();
            let found = engine.on_disk(move |core| core.resolve_loan(&text, Reach::Disk)).await?;
            Some(found.map_err(Unavailable::from)?.ok_or_else(|| no_such("loan", &shown))?)
        }
    };
    Ok(Topic { kinds, account, loan })
}

fn no_such(name: &str, text: &str) -> Box<Problem> {
    let shown: String = text.chars().take(64).collect();
    Problem::of_parameter(Code::InvalidParameter, name, format!("No {name} is called {shown}."))
}

/// The kinds that a list of names and patterns names.
///
/// # Errors
/// `invalid_parameter` for one that names nothing, `forbidden` for what the caller may not see.
pub(super) fn kinds_named(text: &str, sees_access: bool) -> Outcome<EventKinds> {
    let wrong = |detail: String| Problem::of_parameter(Code::InvalidParameter, "types", detail);
    let patterns: Vec<&str> = text.split(',').map(str::trim).collect();
    if patterns.len() > EVENT_PATTERNS_MAX {
        return Err(wrong(format!("`types` has at most {EVENT_PATTERNS_MAX} names.")));
    }
    let mut kinds = EventKinds::NONE;
    for pattern in patterns {
        let shown: String = pattern.chars().take(64).collect();
        let named = EventKinds::named(pattern)
            .ok_or_else(|| wrong(format!("No event is called `{shown}`; `loan.*` stands for all of loans.")))?;
        kinds = kinds.or(named);
    }
    if !sees_access && kinds.and(EventKinds::of_the_books()) != kinds {
        return Err(Problem::new(Code::Forbidden, "Events about keys and refusals are for admins and auditors."));
    }
    Ok(kinds)
}
