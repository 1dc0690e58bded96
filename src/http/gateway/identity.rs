//! The stage `auth`: whose key came with a request, and whether it allows what is asked.
//!
//! 1. What is public is anybody's.
//! 2. `Authorization: Bearer mk_…` names a key by its number; the hash of its secret must be the kept
//!    one (or the one before, during a rotation), and the key neither revoked nor expired, nor bound
//!    to a certificate that the peer has not shown. From outside all of that looks alike: 401.
//! 3. While no key was ever made, whoever sits at this machine may do everything.
//! 4. A key's rights are one bit per operation, worked out once from its role and scopes; 403 names
//!    the scope that is missing.
//!
//! Costs a request, at 60 characters of token: a look into a list, one blake3 of 32 bytes, a bit.
//!
//! Refusals are counted, and logged at most once a second. Those of a known key are noted in the
//! journal, at most once a second and key: nobody without a key makes the journal grow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use parking_lot::Mutex;

use crate::config::{KEY_LIMIT, RateLimit};
use crate::domain::access::{KeyTerms, Role};
use crate::engine::Core;
use crate::engine::command::{Command, Origin};
use crate::engine::history::Reach;
use crate::engine::keyring::HeldKey;
use crate::engine::readers::on_disk_thread;

use super::super::peer::Peer;
use super::super::problem::{Code, Outcome, Problem};
use super::super::router::{ROUTES, Route};
use super::Edge;
use super::token::{Secret, Tokens, parse_token};

const CHALLENGE: &str = "Bearer realm=\"munim\"";
const CHALLENGE_INVALID: &str = "Bearer realm=\"munim\", error=\"invalid_token\"";

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The number of the key; 0 for `local`, and for whoever asks what is public.
    pub owner: u64,
    /// The key; `None` where none is needed.
    pub key: Option<Arc<HeldKey>>,
}

impl Caller {
    /// Somebody without a key: at a machine whose books have none, or asking what is public.
    #[must_use]
    pub fn local() -> Caller {
        Caller { owner: 0, key: None }
    }

    /// Greatest single amount that may be moved, in whole units of its currency.
    #[must_use]
    pub fn amount_limit(&self) -> Option<u64> {
        self.key.as_ref().and_then(|key| key.terms.amount_limit)
    }

    /// How often and how many at once.
    #[must_use]
    pub fn limit(&self) -> RateLimit {
        let Some(key) = &self.key else { return KEY_LIMIT };
        let own = key.terms.limits;
        let or = |own: u32, default: u32| if own == 0 { default } else { own };
        RateLimit {
            rate_per_s: or(own.rate_per_s, KEY_LIMIT.rate_per_s),
            burst: or(own.burst, KEY_LIMIT.burst),
            concurrency: or(own.concurrency, KEY_LIMIT.concurrency),
        }
    }

    /// Whether the key that he came with is still one: for whoever stays longer than a request.
    #[must_use]
    pub fn is_still_good(&self, core: &Core) -> bool {
        let Some(key) = &self.key else { return core.keyring().is_empty() };
        core.keyring().get(key.number).is_some_and(|now| now.is_usable(core.clock().now()))
    }

    /// Whether he may see what is about keys and refusals.
    #[must_use]
    pub fn sees_access(&self) -> bool {
        self.key.as_ref().is_none_or(|key| matches!(key.terms.role, Role::Admin | Role::Auditor))
    }

    /// Whether the key allows a route.
    ///
    /// # Errors
    /// `forbidden`, with the scope that would be needed.
    pub fn check(&self, route: &Route) -> Outcome<()> {
        let Some(key) = &self.key else { return Ok(()) };
        if has(rights(key), route) { Ok(()) } else { Err(lacks(&scope_for(route))) }
    }

    /// Whether a key with these terms could do no more than this caller: nobody gives away what he has not.
    ///
    /// # Errors
    /// `forbidden`, with what is missing.
    pub fn check_gives(&self, terms: &KeyTerms) -> Outcome<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let (own, given) = (rights(key), rights_of(terms));
        if let Some(route) = ROUTES.iter().find(|route| has(&given, route) && !has(own, route)) {
            return Err(lacks(&scope_for(route)));
        }
        if key.terms.amount_limit.is_some_and(|own| terms.amount_limit.is_none_or(|given| given > own)) {
            return Err(lacks("amount_limit"));
        }
        if key.terms.expires_at.is_some_and(|own| terms.expires_at.is_none_or(|given| given > own)) {
            return Err(lacks("expires_at"));
        }
        let (own, given) = (key.terms.limits, terms.limits);
        let limits = [
            ("rate_per_s", own.rate_per_s, given.rate_per_s),
            ("burst", own.burst, given.burst),
            ("concurrency", own.concurrency, given.concurrency),
        ];
        // 0 is the server's own limit, which says nothing of a key's.
        if let Some((name, ..)) = limits.iter().find(|(_, own, given)| *own > 0 && (*given == 0 || given > own)) {
            return Err(lacks(name));
        }
        Ok(())
    }
}

fn lacks(what: &str) -> Box<Problem> {
    Problem::new(Code::Forbidden, format!("Your key lacks `{what}`."))
}

/// The smallest scope by which a route is covered together with its like.
fn scope_for(route: &Route) -> String {
    let need = route.need();
    format!("{}:{}", need.resource, if need.is_change { "write" } else { "read" })
}

/// One bit for each operation, by its place in the enum.
type Rights = [u64; 4];

fn rights(key: &HeldKey) -> &Rights {
    key.rights.get_or_init(|| rights_of(&key.terms))
}

fn rights_of(terms: &KeyTerms) -> Rights {
    let mut rights = Rights::default();
    for route in ROUTES.iter().filter(|route| route.is_public() || terms.allows(&route.need())) {
        let bit = route.operation as usize;
        rights[bit / 64] |= 1 << (bit % 64);
    }
    rights
}

fn has(rights: &Rights, route: &Route) -> bool {
    let bit = route.operation as usize;
    rights[bit / 64] & (1 << (bit % 64)) != 0
}

/// What a request says about who sent it.
enum Shown {
    Nothing,
    Token(u64, Secret),
    Nonsense,
}

impl Shown {
    fn read(headers: &HeaderMap) -> Shown {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Shown::Nothing };
        let token = value.to_str().ok().and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer") && values.next().is_none());
        match token.and_then(|(_, text)| parse_token(text.trim())) {
            Some((number, secret)) => Shown::Token(number, secret),
            None => Shown::Nonsense,
        }
    }
}

impl Edge {
    /// Who sent a request.
    ///
    /// # Errors
    /// `unauthenticated`; `rate_limited` where too many were; `recovering` while the books, and so the keys, are not open.
    pub(super) fn identify(&self, headers: &HeaderMap, route: &Route, peer: &Peer) -> Outcome<Caller> {
        if route.is_public() {
            return Ok(Caller::local());
        }
        let books = self.books().ok_or_else(recovering)?;
        let core = books.engine.core();
        let address = (!peer.is_loopback).then_some(peer.ip);
        let refused = match Shown::read(headers) {
            Shown::Nothing if core.keyring().is_empty() && peer.is_loopback => return Ok(Caller::local()),
            Shown::Nothing => unauthenticated(CHALLENGE, "Send `Authorization: Bearer mk_…`."),
            Shown::Token(number, secret) => match find(core, &books.tokens, peer, number, &secret) {
                Some(key) => return Ok(Caller { owner: number, key: Some(key) }),
                None => not_accepted(),
            },
            Shown::Nonsense => not_accepted(),
        };
        self.limits.count_stranger(address)?;
        Err(refused)
    }

    /// Whose key a command brings that came beside HTTP.
    ///
    /// # Errors
    /// As for a request.
    #[cfg(feature = "bridges")]
    pub fn identify_beside(&self, headers: &HeaderMap, route: &Route, peer: &Peer) -> Outcome<Caller> {
        self.identify(headers, route, peer)
    }

    /// After a refusal of a known key: notes it in the journal, unless that was done within this second. On
    /// a thread that may wait: a batch may hold the locks for some milliseconds.
    pub(super) async fn audit(&self, caller: &Caller, route: &Route, problem: &Problem, request: u64) {
        let facts = problem.code.facts();
        let (Some(key), Some(books), 403) = (&caller.key, self.books(), facts.status) else { return };
        let Some(suppressed) = self.refusals.note_of_key(key.number, self.uptime_s()) else { return };
        let (operation, code) = (route.operation_id.into(), facts.name.into());
        let command = Command::NoteRefusal { operation, code, suppressed };
        let origin = Origin { owner: key.number, request, ..Origin::default() };
        let core = Arc::clone(books.engine.core());
        let noted = on_disk_thread(move || core.execute(&command, &origin, Reach::Disk).map(drop)).await;
        // Nobody waits until it is durable: the refusal itself says nothing about the books.
        if !matches!(noted, Ok(Ok(()))) {
            tracing::debug!(?noted, "a refusal could not be noted in the journal");
        }
    }
}

/// The key of this number, if this is its secret and it may be used, here and now.
fn find(core: &Core, tokens: &Tokens, peer: &Peer, number: u64, secret: &Secret) -> Option<Arc<HeldKey>> {
    let key = core.keyring().get(number)?;
    let now = key.has_deadline().then(|| core.clock().now());
    let is_current = tokens.is_hash_of(&key.hash, secret);
    let is_old = || key.old.is_some_and(|(hash, until)| now < Some(until) && tokens.is_hash_of(&hash, secret));
    let is_here = key.terms.certificate.is_none_or(|wanted| peer.certificate == Some(wanted));
    let is_good = (is_current || is_old()) && is_here && key.is_usable(now.unwrap_or_default());
    is_good.then_some(key)
}

fn unauthenticated(challenge: &'static str, detail: &'static str) -> Box<Problem> {
    let mut problem = Problem::new(Code::Unauthenticated, detail);
    problem.authenticate = Some(challenge);
    problem
}

/// One answer for all that can be wrong with a token: which it was is nobody's business.
fn not_accepted() -> Box<Problem> {
    unauthenticated(CHALLENGE_INVALID, "The token is not accepted.")
}

fn recovering() -> Box<Problem> {
    Problem::new(Code::Recovering, "Nothing was done. Send the request again a little later.")
}

/// Refusals for want of identity (401), of rights (403) and of moderation (429).
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [AtomicU64; 3],
    /// Second of the last log line, plus one, and refusals since that were not logged.
    logged_s: AtomicU64,
    unlogged: AtomicU64,
    /// By key: the second, plus one, of the last note, and refusals since.
    keys: Mutex<HashMap<u64, (u64, u32)>>,
}

impl Refusals {
    /// How many there were since the start: 401, 403, 429.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        [0, 1, 2].map(|place: usize| self.counts[place].load(Ordering::Relaxed))
    }

    /// Counts a refusal, and logs it unless one was logged within this second.
    pub(super) fn note(&self, problem: &Problem, peer: &Peer, request: u64, now_s: u64) {
        let facts = problem.code.facts();
        let Some(place) = [401, 403, 429].iter().position(|status| *status == facts.status) else { return };
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        if self.logged_s.swap(now_s + 1, Ordering::Relaxed) == now_s + 1 {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let suppressed = self.unlogged.swap(0, Ordering::Relaxed);
        let request = crate::domain::ids::format_id(crate::domain::ids::IdKind::Request, request);
        tracing::info!(
            status = facts.status,
            code = facts.name,
            peer.ip = %peer.ip,
            request.id = request,
            suppressed,
            "a request was refused"
        );
    }

    /// Whether a refusal of a key is to be noted: then with how many before it were not.
    fn note_of_key(&self, number: u64, now_s: u64) -> Option<u32> {
        let mut keys = self.keys.lock();
        let (noted_s, unnoted) = keys.entry(number).or_default();
        if *noted_s == now_s + 1 {
            *unnoted = unnoted.saturating_add(1);
            return None;
        }
        *noted_s = now_s + 1;
        Some(std::mem::take(unnoted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{KeyLimits, Role, SCOPE_ALL};

    fn terms(role: Role, scopes: &[&str]) -> KeyTerms {
        KeyTerms {
            name: "x".into(),
            role,
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            amount_limit: None,
            limits: KeyLimits::default(),
            expires_at: None,
            certificate: None,
        }
    }

    #[test]
    fn rights_are_those_of_role_and_scopes_together() {
        for (role, scopes) in
            [(Role::Admin, &[SCOPE_ALL][..]), (Role::Cashier, &[SCOPE_ALL]), (Role::Admin, &["get_account"])]
        {
            let terms = terms(role, scopes);
            let rights = rights_of(&terms);
            for route in ROUTES {
                let expected = route.is_public() || terms.allows(&route.need());
                assert_eq!(has(&rights, route), expected, "{} {scopes:?}", route.operation_id);
            }
        }
    }

    #[test]
    fn refusals_of_a_key_are_noted_once_a_second() {
        let refusals = Refusals::default();
        assert_eq!(refusals.note_of_key(7, 0), Some(0));
        assert_eq!(refusals.note_of_key(7, 0), None);
        assert_eq!(refusals.note_of_key(8, 0), Some(0), "each key for itself");
        assert_eq!(refusals.note_of_key(7, 0), None);
        assert_eq!(refusals.note_of_key(7, 1), Some(2));
        assert_eq!(refusals.note_of_key(7, 2), Some(0));
    }

    #[test]
    fn only_one_bearer_token_is_one() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, value.parse().unwrap());
            }
            match Shown::read(&headers) {
                Shown::Nothing => "nothing",
                Shown::Token(..) => "token",
                Shown::Nonsense => "nonsense",
            }
        };
        let token = Secret::draw().unwrap().token_of(3);
        let bearer = format!("Bearer {token}");
        assert_eq!(read(&[]), "nothing");
        assert_eq!(read(&[&bearer]), "token");
        assert_eq!(read(&[&format!("bearer  {token}")]), "token");
        assert_eq!(read(&[&token]), "nonsense");
        assert_eq!(read(&[&format!("Basic {token}")]), "nonsense");
        assert_eq!(read(&[&bearer, &bearer]), "nonsense");
        assert_eq!(read(&["Bearer"]), "nonsense");
    }
}
