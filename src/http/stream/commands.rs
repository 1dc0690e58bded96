//! Payment commands that come from a queue: one message is one transfer, on the way that a request goes.
//!
//! A message is `{"key": …, "body": {a transfer}}`, with `id` where the sender wants one back and `return` as on a
//! WebSocket. It runs as an API key, whose rights, limits and idempotency keys it has, and the answer waits until
//! the journal has it. Which answers stand for ever and which may be others later is decided here: what is refused by its
//! shape, its rights or the books is refused; too many at once, a full disk, a key that is not good at the moment
//! are asked again.

use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};

use crate::config::BODY_BYTES_MAX;
use crate::engine::command::{Command, Origin};
use crate::engine::history::Reach;
use crate::engine::view::{Answer as Answered, Reply, Unavailable};
use crate::jobs::sync::commands::{Answer, Answering, Commands, Verdict};

use super::super::gateway::Edge;
use super::super::gateway::token::parse_token;
use super::super::idempotency::{Asked as Fingerprinted, key_beside};
use super::super::peer::Peer;
use super::super::problem::{Code, Outcome, Problem};
use super::super::resources::transfer_named;
use super::super::router::{Found, Route, find};
use super::super::timing::{Stage, Timing};
use super::websocket::message::{self, ClientId, Post, command};

/// The transfer's way in, whose rights, keys and budget a command has.
const TRANSFERS: &str = "/v1/transfers";

/// Where a refusal happened, for its `instance`.
const INSTANCE: &str = "amqp";

/// Carries out commands of a queue under an API key.
#[derive(Debug)]
pub struct Clerk {
    edge: Arc<Edge>,
    /// The key's token, as a request would bring it.
    authorization: HeaderMap,
    /// What counts into a transfer's fingerprint.
    headers: HeaderMap,
    peer: Arc<Peer>,
    route: &'static Route,
}

impl Clerk {
    /// Under the key of a token. Whether it is good is asked with each command: keys are rotated and revoked.
    ///
    /// # Errors
    /// It has not the form of a token.
    pub fn with(edge: Arc<Edge>, token: &str) -> Result<Clerk, &'static str> {
        let wrong = "it holds no token of an API key (`mk_…`)";
        parse_token(token).ok_or(wrong)?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| wrong)?;
        bearer.set_sensitive(true);
        let Found::Route(route, _) = find("POST", TRANSFERS) else {
            unreachable!("transfers are posted at their path")
        };
        Ok(Clerk {
            edge,
            authorization: HeaderMap::from_iter([(AUTHORIZATION, bearer)]),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]),
            peer: Arc::new(Peer::local()),
            route,
        })
    }

    async fn carry_out(&self, message: &[u8]) -> Answer {
        let request = self.edge.next_request();
        let mut timing = Timing::start();
        timing.set_route(self.route);
        let (id, asked) = match self.read(message) {
            Ok((id, asked)) => (id, asked),
            Err(problem) => return self.refusal(&ClientId::none(), &problem, request, timing),
        };
        let posted = match asked {
            Ok(post) => self.post(&post, request, &mut timing).await.map(|answered| (post.is_minimal, answered)),
            Err(problem) => Err(problem),
        };
        match posted {
            Ok((is_minimal, answered)) => self.answer(&id, is_minimal, answered, request, timing),
            Err(problem) => self.refusal(&id, &problem, request, timing),
        }
    }

    fn read<'m>(&self, message: &'m [u8]) -> Outcome<(ClientId, Outcome<Post<'m>>)> {
        if message.len() > BODY_BYTES_MAX {
            return Err(Problem::new(Code::BodyTooLarge, format!("A command has at most {BODY_BYTES_MAX} bytes.")));
        }
        let text = std::str::from_utf8(message);
        let text = text.map_err(|_| Problem::new(Code::MalformedJson, "A command is JSON, which is UTF-8."))?;
        Ok(command(text))
    }

    async fn post(&self, post: &Post<'_>, request: u64, timing: &mut Timing) -> Outcome<Answered> {
        let caller = self.edge.identify_beside(&self.authorization, self.route, &self.peer)?;
        timing.mark(Stage::Auth);
        let _admitted = self.edge.admit(self.route, &caller, &self.peer)?;
        timing.mark(Stage::Limit);
        let body = post.body.as_bytes();
        let asked = Fingerprinted { method: "POST", route: TRANSFERS, path: TRANSFERS, query: "", body };
        let key = key_beside(&post.key, &self.headers, caller.owner, &asked).ok_or_else(|| {
            Problem::new(Code::IdempotencyKeyMalformed, "`key` has 1 to 255 visible ASCII characters.")
        })?;
        timing.mark(Stage::Idem);
        let origin = Origin {
            owner: caller.owner,
            request,
            key: Some(key),
            dry_run: false,
            deadline: None,
            amount_limit: caller.amount_limit(),
        };
        let books = self.edge.books().ok_or_else(|| Problem::new(Code::Recovering, "The books are not open."))?;
        let engine = &books.engine;
        let transfer = match transfer_named(engine.core(), Reach::Memory, body)? {
            Some(transfer) => transfer,
            None => {
                let body = body.to_vec();
                let read = engine.on_disk(move |core| transfer_named(core, Reach::Disk, &body)).await??;
                read.ok_or_else(|| Unavailable::HistoryUnreadable("a name cannot be looked up".into()))?
            }
        };
        timing.mark(Stage::Parse);
        let answered = engine.submit(Command::Transfer(transfer), origin).await?;
        timing.mark_engine(&answered.stages);
        Ok(answered)
    }

    fn answer(&self, id: &ClientId, is_minimal: bool, answered: Answered, request: u64, mut timing: Timing) -> Answer {
        let Answered { reply, as_of, replayed, stages, .. } = answered;
        match reply {
            Reply::Transfer { view, .. } => {
                let mut body = Vec::with_capacity(768);
                message::posted(&mut body, id, &view, as_of, replayed, is_minimal);
                timing.mark(Stage::Render);
                self.edge.observe(&timing, 201, request, Some(&stages));
                Answer { verdict: Verdict::Done, body }
            }
            Reply::Refused(reject) => {
                let mut problem = Problem::of_reject(reject);
                problem.as_of = Some(as_of);
                self.refusal(id, &problem, request, timing)
            }
            other => {
                tracing::error!(?other, "a transfer was answered by something else");
                let problem = Problem::new(Code::InternalError, "A transfer was answered by something else.");
                self.refusal(id, &problem, request, timing)
            }
        }
    }

    fn refusal(&self, id: &ClientId, problem: &Problem, request: u64, mut timing: Timing) -> Answer {
        let status = problem.code.facts().status;
        let verdict = verdict_of(problem.code);
        self.edge.note_refusal(problem, &self.peer, request);
        let mut body = Vec::with_capacity(512);
        message::refused(&mut body, id, problem, request, INSTANCE);
        timing.mark(Stage::Render);
        self.edge.observe(&timing, status, request, None);
        Answer { verdict, body }
    }
}

/// What a refusal means for a message: 401 is a key that is not good at the moment, a key in flight is the same
/// command on its way still, 429 and 5xx pass.
fn verdict_of(code: Code) -> Verdict {
    let passes = code == Code::KeyInFlight || matches!(code.facts().status, 401 | 408 | 429 | 500..=599);
    if passes { Verdict::Later } else { Verdict::Refused }
}

impl Commands for Clerk {
    fn answer(&self, message: Bytes) -> Answering<'_> {
        Box::pin(async move { self.carry_out(&message).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_again_and_what_stands_is_refused() {
        for (code, verdict) in [
            (Code::MalformedJson, Verdict::Refused),
            (Code::ValidationFailed, Verdict::Refused),
            (Code::Forbidden, Verdict::Refused),
            (Code::BodyTooLarge, Verdict::Refused),
            (Code::IdempotencyKeyMalformed, Verdict::Refused),
            (Code::Unauthenticated, Verdict::Later),
            (Code::KeyInFlight, Verdict::Later),
            (Code::Recovering, Verdict::Later),
            (Code::InternalError, Verdict::Later),
        ] {
            assert_eq!(verdict_of(code), verdict, "{code:?}");
        }
    }
}
