//! All routes on one page, and how a path finds its own.
//!
//! A table and a loop instead of a tree of services: twenty-odd routes of known depth are matched in
//! under 100 ns, and no future is boxed on the way.

use super::negotiate::PROTOBUF;
use crate::domain::access::{Need, SCOPE_ALL, scope_covers};

use super::resources::Operation;

/// What a route does to the books; decides what it requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Moves money: an idempotency key is required, unless nothing is to happen (`dry_run`).
    Money,
    /// Changes the books without moving money: a key is honoured.
    Change,
    /// Asks the books.
    Read,
    /// About the process, not the books.
    Process,
}

/// What a route takes as its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing; a body is read and ignored within the ordinary bound.
    Nothing,
    /// JSON.
    Json,
    /// JSON, or no body at all.
    JsonOrNothing,
    /// JSON or protobuf.
    Message,
    /// JSON or protobuf, or no body at all.
    MessageOrNothing,
    /// JSON of a batch.
    JsonBatch,
    /// JSON, NDJSON or protobuf of a batch.
    Batch,
}

/// A method and a path.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// `GET`, `POST`, `PATCH`. A `HEAD` takes the way of a `GET`.
    pub method: &'static str,
    /// The path; `{…}` stands for one segment.
    pub pattern: &'static str,
    /// `<verb>_<resource>`, the operation's name for ever.
    pub operation_id: &'static str,
    /// What it does.
    pub operation: Operation,
    /// What it requires.
    pub class: Class,
    /// Its body.
    pub takes: Takes,
    /// Media types that it can answer with, the default first.
    pub gives: &'static [&'static str],
}

const JSON: &[&str] = &["application/json"];
const JSON_OR_PROTOBUF: &[&str] = &["application/json", PROTOBUF];
const JSON_OR_CSV: &[&str] = &["application/json", "text/csv"];
const HEALTH: &[&str] = &["application/health+json", "application/json"];
const HTML: &[&str] = &["text/html"];
const CSS: &[&str] = &["text/css"];
const TEXT: &[&str] = &["text/plain"];
const METRICS: &[&str] = &["application/openmetrics-text", "text/plain"];
const EXPORTS: &[&str] = &["application/x-ndjson", "text/csv", "text/plain"];

impl Route {
    /// What a caller must be allowed. Verifying the books changes nothing in them.
    #[must_use]
    pub fn need(&self) -> Need<'static> {
        let path = self.pattern.strip_prefix("/v1/").unwrap_or(&self.pattern[1..]);
        let resource = path.split_once('/').map_or(path, |(first, _)| first);
        let is_change = matches!(self.class, Money | Change);
        Need { operation: self.operation_id, resource, is_change }
    }

    /// Whether it is answered to everybody: whether the process lives, and how to use it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        const PUBLIC: [&str; 7] = ["/livez", "/readyz", "/startupz", "/problems", "/docs", "/openapi.json", "/proto/"];
        self.class == Process && PUBLIC.iter().any(|prefix| self.pattern.starts_with(prefix))
    }
}

const fn route(
    method: &'static str,
    pattern: &'static str,
    operation_id: &'static str,
    operation: Operation,
    class: Class,
    takes: Takes,
    gives: &'static [&'static str],
) -> Route {
    Route { method, pattern, operation_id, operation, class, takes, gives }
}

use Class::{Change, Money, Process, Read};
use Operation as Op;
use Takes::{Batch, Json, JsonBatch, JsonOrNothing, Message, MessageOrNothing, Nothing};

/// Every route; the busiest first, a fixed path before one with a hole in its place.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    route("POST",  "/v1/transfers",              "create_transfer",       Op::CreateTransfer,     Money,   Message,       JSON_OR_PROTOBUF),
    route("POST",  "/v1/transfers/batch",        "create_transfer_batch", Op::CreateTransferBatch, Money,  Batch,         JSON_OR_PROTOBUF),
    route("GET",   "/v1/accounts/{id}",          "get_account",           Op::GetAccount,         Read,    Nothing,       JSON),
    route("GET",   "/v1/transfers/{id}",         "get_transfer",          Op::GetTransfer,        Read,    Nothing,       JSON_OR_PROTOBUF),
    route("GET",   "/v1/transfers",              "list_transfers",        Op::ListTransfers,      Read,    Nothing,       JSON_OR_PROTOBUF),
    route("POST",  "/v1/transfers/{id}/post",    "post_transfer",         Op::PostTransfer,       Money,   MessageOrNothing, JSON_OR_PROTOBUF),
    route("POST",  "/v1/transfers/{id}/void",    "void_transfer",         Op::VoidTransfer,       Money,   MessageOrNothing, JSON_OR_PROTOBUF),
    route("POST",  "/v1/transfers/{id}/reverse", "reverse_transfer",      Op::ReverseTransfer,    Money,   Message,       JSON_OR_PROTOBUF),
    route("GET",   "/v1/entries/{id}",           "get_entry",             Op::GetEntry,           Read,    Nothing,       JSON),
    route("POST",  "/v1/accounts",               "create_account",        Op::CreateAccount,      Change,  Json,          JSON),
    route("POST",  "/v1/accounts/batch",         "create_account_batch",  Op::CreateAccountBatch, Change,  JsonBatch,     JSON),
    route("GET",   "/v1/accounts",               "list_accounts",         Op::ListAccounts,       Read,    Nothing,       JSON),
    route("PATCH", "/v1/accounts/{id}",          "update_account",        Op::UpdateAccount,      Change,  Json,          JSON),
    route("GET",   "/v1/accounts/{id}/entries",  "get_statement",         Op::GetStatement,       Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/periods",                "list_periods",          Op::ListPeriods,        Read,    Nothing,       JSON),
    route("POST",  "/v1/periods/close",          "close_period",          Op::ClosePeriod,        Change,  Json,          JSON),
    route("POST",  "/v1/periods/reopen",         "reopen_period",         Op::ReopenPeriod,       Change,  Json,          JSON),
    route("GET",   "/v1/reports/trial_balance",  "get_trial_balance",     Op::GetTrialBalance,    Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/export",                 "export_books",          Op::ExportBooks,        Read,    Nothing,       EXPORTS),
    route("POST",  "/v1/verifications",          "create_verification",   Op::CreateVerification, Process, JsonOrNothing, JSON),
    route("GET",   "/v1/operations/{id}",        "get_operation",         Op::GetOperation,       Process, Nothing,       JSON),
    route("POST",  "/v1/api_keys",               "create_api_key",        Op::CreateApiKey,       Change,  Json,          JSON),
    route("GET",   "/v1/api_keys",               "list_api_keys",         Op::ListApiKeys,        Read,    Nothing,       JSON),
    route("GET",   "/v1/api_keys/{id}",          "get_api_key",           Op::GetApiKey,          Read,    Nothing,       JSON),
    route("POST",  "/v1/api_keys/{id}/rotate",   "rotate_api_key",        Op::RotateApiKey,       Change,  JsonOrNothing, JSON),
    route("POST",  "/v1/api_keys/{id}/revoke",   "revoke_api_key",        Op::RevokeApiKey,       Change,  JsonOrNothing, JSON),
    route("POST",  "/v1/customers",              "create_customer",       Op::CreateCustomer,     Change,  Json,          JSON),
    route("GET",   "/v1/customers",              "list_customers",        Op::ListCustomers,      Read,    Nothing,       JSON),
    route("GET",   "/v1/customers/{id}",         "get_customer",          Op::GetCustomer,        Read,    Nothing,       JSON),
    route("PATCH", "/v1/customers/{id}",         "update_customer",       Op::UpdateCustomer,     Change,  Json,          JSON),
    route("POST",  "/v1/loan_calculations",      "calculate_loan",        Op::CalculateLoan,      Read,    Json,          JSON),
    route("POST",  "/v1/clock/accept",           "accept_clock",          Op::AcceptClock,        Change,  JsonOrNothing, JSON),
    route("GET",   "/v1/status",                 "get_status",            Op::GetStatus,          Process, Nothing,       JSON),
    route("GET",   "/v1/latency",                "get_latency",           Op::GetLatency,         Process, Nothing,       JSON),
    route("GET",   "/metrics",                   "get_metrics",           Op::GetMetrics,         Process, Nothing,       METRICS),
    route("GET",   "/livez",                     "get_livez",             Op::GetLivez,           Process, Nothing,       HEALTH),
    route("GET",   "/readyz",                    "get_readyz",            Op::GetReadyz,          Process, Nothing,       HEALTH),
    route("GET",   "/startupz",                  "get_startupz",          Op::GetStartupz,        Process, Nothing,       HEALTH),
    route("GET",   "/problems",                  "list_problems",         Op::ListProblems,       Process, Nothing,       HTML),
    route("GET",   "/problems/{code}",           "get_problem",           Op::GetProblem,         Process, Nothing,       HTML),
    route("GET",   "/openapi.json",              "get_openapi",           Op::GetOpenapi,         Process, Nothing,       JSON),
    route("GET",   "/docs",                      "get_docs",              Op::GetDocs,            Process, Nothing,       HTML),
    route("GET",   "/docs/style.css",            "get_docs_style",        Op::GetDocsStyle,       Process, Nothing,       CSS),
    route("GET",   "/proto/munim.v1.proto",      "get_proto",             Op::GetProto,           Process, Nothing,       TEXT),
];

/// Whether a text is a scope of something that exists here.
#[must_use]
pub fn is_scope(text: &str) -> bool {
    let mut needs = ROUTES.iter().filter(|route| !route.is_public()).map(Route::need);
    text == SCOPE_ALL || needs.any(|need| scope_covers(text, &need))
}

/// Where a request goes.
#[derive(Debug)]
pub enum Found<'p> {
    /// Here; the segment that fills the hole, still percent-encoded.
    Route(&'static Route, Option<&'p str>),
    /// The path exists for these methods only.
    OtherMethods(String),
    /// Nowhere.
    Nowhere,
}

/// Finds the route of a request.
#[must_use]
pub fn find<'p>(method: &str, path: &'p str) -> Found<'p> {
    let wanted = if method == "HEAD" { "GET" } else { method };
    for route in ROUTES {
        // The method first: it is shorter.
        if route.method != wanted {
            continue;
        }
        if let Some(hole) = matched(route.pattern, path) {
            return Found::Route(route, hole);
        }
    }
    methods_of(path).map_or(Found::Nowhere, Found::OtherMethods)
}

/// The methods that exist somewhere, for `OPTIONS *`.
pub const EVERY_METHOD: &str = "GET, POST, PATCH, HEAD, OPTIONS";

/// The methods of a path as `Allow` lists them, or `None` when there is nothing at it.
#[must_use]
pub fn methods_of(path: &str) -> Option<String> {
    let mut methods: Vec<&str> = Vec::new();
    for route in ROUTES.iter().filter(|route| matched(route.pattern, path).is_some()) {
        if !methods.contains(&route.method) {
            methods.push(route.method);
        }
    }
    if methods.is_empty() {
        return None;
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    Some(methods.join(", "))
}

/// What fills the hole of a pattern (nothing when it has none), or `None` when the path is another.
#[inline]
fn matched<'p>(pattern: &str, path: &'p str) -> Option<Option<&'p str>> {
    let Some(open) = pattern.find('{') else { return (pattern == path).then_some(None) };
    let rest = path.strip_prefix(&pattern[..open])?;
    let close = pattern.find('}').expect("a pattern of the table that opens a hole closes it");
    let hole = rest.strip_suffix(&pattern[close + 1..])?;
    (!hole.is_empty() && !hole.contains('/')).then_some(Some(hole))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_path() {
        for route in ROUTES {
            let path = route.pattern.replace("{id}", "ext:A%2FB").replace("{code}", "x");
            match find(route.method, &path) {
                Found::Route(found, hole) => {
                    assert_eq!(found.operation_id, route.operation_id);
                    assert_eq!(hole.is_some(), route.pattern.contains('{'));
                }
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn operation_ids_are_unique_and_say_verb_and_resource() {
        let ids: HashSet<&str> = ROUTES.iter().map(|route| route.operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
        assert!(ids.iter().all(|id| id.contains('_')));
    }

    #[test]
    fn everything_about_the_books_needs_a_key() {
        for route in ROUTES {
            // What is counted says how much business there is.
            let is_open = !route.pattern.starts_with("/v1/") && route.pattern != "/metrics";
            assert_eq!(route.is_public(), is_open, "{}", route.pattern);
            assert!((route.operation as usize) < 256, "the rights of a key are 256 bits");
        }
        let found = |method: &str, path: &str| match find(method, path) {
            Found::Route(route, _) => route.need(),
            other => panic!("{other:?}"),
        };
        let need = |operation, resource, is_change| Need { operation, resource, is_change };
        assert_eq!(found("POST", "/v1/transfers/batch"), need("create_transfer_batch", "transfers", true));
        assert_eq!(found("GET", "/v1/accounts/x/entries"), need("get_statement", "accounts", false));
        assert_eq!(found("POST", "/v1/verifications"), need("create_verification", "verifications", false));
    }

    #[test]
    fn other_paths_and_methods_are_told_apart() {
        let say = |method: &str, path: &str| match find(method, path) {
            Found::Route(route, hole) => format!("{} {}", route.operation_id, hole.unwrap_or("-")),
            Found::OtherMethods(allow) => allow,
            Found::Nowhere => "nowhere".into(),
        };
        for (method, path, expected) in [
            ("GET", "/v1/accounts/acct_1", "get_account acct_1"),
            ("HEAD", "/v1/accounts/acct_1", "get_account acct_1"),
            ("POST", "/v1/transfers/batch", "create_transfer_batch -"),
            ("GET", "/v1/transfers/batch", "get_transfer batch"),
            ("DELETE", "/v1/accounts/x", "GET, PATCH, HEAD, OPTIONS"),
            ("PUT", "/v1/accounts/batch", "GET, POST, PATCH, HEAD, OPTIONS"),
            ("OPTIONS", "/v1/transfers", "POST, GET, HEAD, OPTIONS"),
            ("GET", "/v1/transfers/", "nowhere"),
            ("GET", "/v1/accounts/x/y", "nowhere"),
            ("GET", "/v1/accounts//entries", "nowhere"),
            ("GET", "", "nowhere"),
            ("GET", "*", "nowhere"),
            ("post", "/v1/transfers", "POST, GET, HEAD, OPTIONS"),
        ] {
            assert_eq!(say(method, path), expected, "{method} {path}");
        }
    }
}
