//! An answer before it is headers and bytes, and how it becomes them.

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE, VARY, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::domain::ids::{IdKind, Seq, write_id};
use crate::engine::readers::Place;
use crate::engine::view::Stages;

use super::accept::upgrade::Upgrade;
use super::body::Payload;
use super::compress::Coding;
use super::gateway::limit::Standing;
use super::problem::Problem;
use super::render::write_number;
use super::timing::{Stage, Timing};

const AS_OF_SEQ: HeaderName = HeaderName::from_static("as-of-seq");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// Media type of the body; `None` when there is none.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Payload,
    /// The greatest seq that the answer reveals; `None` when it is not about the books.
    pub as_of: Option<Seq>,
    /// The answer is that of an earlier request with the same key.
    pub replayed: bool,
    /// `ETag`, with its quotes.
    pub etag: Option<String>,
    /// `Content-Disposition`: whether it is shown at once, and the name of its file, visible ASCII without quotes.
    pub file: Option<(bool, String)>,
    /// `Location` of what was created.
    pub location: Option<String>,
    /// `Link` to the next page, the address only.
    pub next: Option<String>,
    /// `Allow`.
    pub allow: Option<String>,
    /// `WWW-Authenticate`.
    pub authenticate: Option<&'static str>,
    /// `Retry-After`, seconds.
    pub retry_after_s: Option<u32>,
    /// `Content-Encoding` of the body.
    pub coding: Option<Coding>,
    /// Another `Accept-Encoding` could have got other bytes.
    pub varies_by_coding: bool,
    /// Another `Accept` could have got another media type.
    pub varies_by_type: bool,
    /// `Accept-Encoding`: codings that a request's body may have.
    pub accept_encoding: Option<&'static str>,
    /// `Content-Length` of the body that a `HEAD` does not get.
    pub length: Option<u64>,
    /// The engine's share of the time.
    pub stages: Option<Stages>,
    /// Where a long answer is made; kept until it is compressed.
    pub place: Option<Place>,
    /// `Upgrade`: what it could become.
    pub upgrade: Option<&'static str>,
    /// What the connection becomes.
    pub switch: Option<Box<Switch>>,
    /// What a connection of HTTP/1.1 becomes once the body rests.
    pub goes_on_as: Option<Upgrade>,
}

/// A handshake that was accepted.
#[derive(Debug)]
pub struct Switch {
    /// `Sec-WebSocket-Accept`.
    pub accept: String,
    /// `Sec-WebSocket-Protocol`, where the client named ours.
    pub subprotocol: Option<&'static str>,
    /// What goes on then.
    pub upgrade: Upgrade,
}

impl Reply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: StatusCode, body: Vec<u8>) -> Reply {
        Reply::of(status, JSON, body.into())
    }

    /// An answer of any type.
    #[must_use]
    pub fn of(status: StatusCode, content_type: HeaderValue, body: Payload) -> Reply {
        Reply {
            status,
            content_type: Some(content_type),
            body,
            as_of: None,
            replayed: false,
            etag: None,
            file: None,
            location: None,
            next: None,
            allow: None,
            authenticate: None,
            retry_after_s: None,
            coding: None,
            varies_by_coding: false,
            varies_by_type: false,
            accept_encoding: None,
            length: None,
            stages: None,
            place: None,
            upgrade: None,
            switch: None,
            goes_on_as: None,
        }
    }

    /// The connection becomes a WebSocket.
    #[must_use]
    pub fn switching(switch: Switch) -> Reply {
        let mut reply = Reply::json(StatusCode::SWITCHING_PROTOCOLS, Vec::new());
        reply.content_type = None;
        reply.body = Payload::Whole(None);
        reply.switch = Some(Box::new(switch));
        reply
    }

    /// What a path can do, for `OPTIONS`.
    #[must_use]
    pub fn options(allow: String) -> Reply {
        let mut reply = Reply::json(StatusCode::NO_CONTENT, Vec::new());
        reply.content_type = None;
        reply.body = Payload::Whole(None);
        reply.allow = Some(allow);
        reply
    }

    /// Takes the body away and leaves its length: the answer to a `HEAD`. A stream ends at its writer's next part.
    pub fn drop_body(&mut self) {
        match &self.body {
            Payload::Whole(bytes) => {
                self.length = bytes.as_ref().map(|bytes| bytes.len() as u64);
                self.body = Payload::Whole(None);
            }
            // A stream that has ended, since its length is as unknown as before.
            Payload::Parts(_) | Payload::Events(_) => {
                self.body = Payload::Parts(tokio::sync::mpsc::channel(1).1);
                self.goes_on_as = None;
            }
        }
    }

    /// "You have it already." What its 200 says in `Vary` it says too (RFC 9110, 15.4.5). Whether that one is long
    /// enough to be compressed is not known here, where nothing is rendered: the coding is always named.
    #[must_use]
    pub fn not_modified(etag: String, as_of: Seq) -> Reply {
        let mut reply = Reply::json(StatusCode::NOT_MODIFIED, Vec::new());
        reply.content_type = None;
        reply.body = Payload::Whole(None);
        reply.as_of = Some(as_of);
        reply.etag = Some(etag);
        reply.varies_by_coding = true;
        reply
    }

    /// A problem document about `instance`, the path of the request.
    #[must_use]
    pub fn problem(problem: &Problem, instance: &str, request: u64) -> Reply {
        let facts = problem.code.facts();
        let status = StatusCode::from_u16(facts.status).expect("the table of problems holds HTTP statuses");
        let mut reply = Reply::of(status, PROBLEM, problem.render(instance, request).into());
        reply.upgrade = (status == StatusCode::UPGRADE_REQUIRED).then_some("websocket");
        reply.as_of = problem.as_of;
        reply.replayed = problem.replayed;
        reply.allow.clone_from(&problem.allow);
        reply.accept_encoding = problem.accept_encoding;
        reply.authenticate = problem.authenticate;
        reply.retry_after_s = problem.retry_after_s.or_else(|| problem.code.retry_after_s());
        reply.stages = problem.stages;
        reply
    }

    /// The answer for the HTTP library. Ends the stage `render`.
    #[must_use]
    pub fn into_response(self, request: u64, timing: &mut Timing, standing: Option<&Standing>) -> Response<Payload> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.reserve(12);
        if let Some(content_type) = self.content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        let mut id = Vec::with_capacity(20);
        write_id(&mut id, IdKind::Request, request);
        insert(headers, REQUEST_ID, id);
        if let Some(seq) = self.as_of {
            let mut text = Vec::with_capacity(20);
            write_number(&mut text, seq.0);
            insert(headers, AS_OF_SEQ, text);
        }
        if self.replayed {
            headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
        }
        for (name, value) in [(ETAG, self.etag), (LOCATION, self.location), (ALLOW, self.allow)] {
            if let Some(value) = value {
                insert(headers, name, value.into_bytes());
            }
        }
        if let Some((is_shown, name)) = self.file {
            let how = if is_shown { "inline" } else { "attachment" };
            insert(headers, CONTENT_DISPOSITION, format!("{how}; filename=\"{name}\"").into_bytes());
        }
        if let Some(next) = self.next {
            insert(headers, LINK, format!("<{next}>; rel=\"next\"").into_bytes());
        }
        if let Some(standing) = standing {
            insert(headers, RATE_LIMIT_POLICY, standing.policy());
            insert(headers, RATE_LIMIT, standing.standing());
        }
        if let Some(challenge) = self.authenticate {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(coding) = self.coding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
        if let Some(codings) = self.accept_encoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(codings));
        }
        if let Some(length) = self.length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        let vary = match (self.varies_by_type, self.varies_by_coding) {
            (true, true) => Some("Accept, Accept-Encoding"),
            (true, false) => Some("Accept"),
            (false, true) => Some("Accept-Encoding"),
            (false, false) => None,
        };
        if let Some(vary) = vary {
            headers.insert(VARY, HeaderValue::from_static(vary));
        }
        if self.upgrade.is_some() || self.switch.is_some() {
            offer_or_switch(&mut response, self.upgrade, self.switch);
        }
        if let Some(upgrade) = self.goes_on_as {
            response.extensions_mut().insert(upgrade);
        }
        timing.mark(Stage::Render);
        response
    }
}

/// What the connection could become, or becomes.
fn offer_or_switch(response: &mut Response<Payload>, offer: Option<&'static str>, switch: Option<Box<Switch>>) {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(offer.unwrap_or("websocket")));
    if offer == Some("websocket") {
        // RFC 6455, 4.4: which version would do.
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if let Some(switch) = switch {
        insert(headers, SEC_WEBSOCKET_ACCEPT, switch.accept.into_bytes());
        if let Some(subprotocol) = switch.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
        }
        response.extensions_mut().insert(switch.upgrade);
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Vec<u8>) {
    let value = HeaderValue::from_maybe_shared(Bytes::from(value));
    headers.insert(name, value.expect("header values of ours are visible ASCII"));
}
