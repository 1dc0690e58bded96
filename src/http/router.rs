//! All routes on one page, and how a path finds its own.
//!
//! A table and a loop instead of a tree of services: the busiest routes stand first and are matched in under
//! 100 ns, all others in well under a microsecond, and no future is boxed on the way.

use super::negotiate::{PDF, PROTOBUF};
use crate::domain::access::{Need, SCOPE_ALL, scope_covers};

use super::resources::Operation;

/// What a route does to the books; decides what it requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Moves money: an idempotency key is required, unless nothing is to happen (`dry_run`).
    Money,
    /// Changes the books without moving money: a key is honoured.
    Change,
    /// Steers what works after the answer, and changes nothing in the books: asked twice, it is done twice.
    Steer,
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
const JSON_OR_PDF: &[&str] = &["application/json", PDF];
const JSON_CSV_OR_PDF: &[&str] = &["application/json", "text/csv", PDF];
const STATEMENTS: &[&str] = &["application/json", "text/csv", PDF, "application/xml", "text/plain"];
const ONLY_PDF: &[&str] = &[PDF];
const HEALTH: &[&str] = &["application/health+json", "application/json"];
const HTML: &[&str] = &["text/html"];
const CSS: &[&str] = &["text/css"];
const TEXT: &[&str] = &["text/plain"];
const METRICS: &[&str] = &["application/openmetrics-text", "text/plain"];
const EVENT_STREAM: &[&str] = &["text/event-stream"];
const EXPORTS: &[&str] = &["application/x-ndjson", "text/csv", "text/plain"];

impl Route {
    /// What a caller must be allowed. Verifying the books changes nothing in them.
    #[must_use]
    pub fn need(&self) -> Need<'static> {
        let path = self.pattern.strip_prefix("/v1/").unwrap_or(&self.pattern[1..]);
        let resource = path.split_once('/').map_or(path, |(first, _)| first);
        let is_change = matches!(self.class, Money | Change | Steer);
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

use Class::{Change, Money, Process, Read, Steer};
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
    route("GET",   "/v1/accounts/{id}/entries",  "get_statement",         Op::GetStatement,       Read,    Nothing,       STATEMENTS),
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
    route("POST",  "/v1/loan_products",                              "create_loan_product",   Op::CreateLoanProduct,    Change,  Json,          JSON),
    route("GET",   "/v1/loan_products",                              "list_loan_products",    Op::ListLoanProducts,     Read,    Nothing,       JSON),
    route("GET",   "/v1/loan_products/{id}",                         "get_loan_product",      Op::GetLoanProduct,       Read,    Nothing,       JSON),
    route("PATCH", "/v1/loan_products/{id}",                         "update_loan_product",   Op::UpdateLoanProduct,    Change,  Json,          JSON),
    route("POST",  "/v1/loans",                                      "create_loan",           Op::CreateLoan,           Money,   Json,          JSON),
    route("GET",   "/v1/loans",                                      "list_loans",            Op::ListLoans,            Read,    Nothing,       JSON),
    route("GET",   "/v1/loans/{id}",                                 "get_loan",              Op::GetLoan,              Read,    Nothing,       JSON),
    route("POST",  "/v1/loans/{id}/approve",                         "approve_loan",          Op::ApproveLoan,          Money,   JsonOrNothing, JSON),
    route("POST",  "/v1/loans/{id}/decline",                         "decline_loan",          Op::DeclineLoan,          Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/kfs",                             "issue_kfs",             Op::IssueKfs,             Money,   JsonOrNothing, JSON),
    route("GET",   "/v1/loans/{id}/kfs",                             "get_kfs",               Op::GetKfs,               Read,    Nothing,       JSON_OR_PDF),
    route("POST",  "/v1/loans/{id}/accept_kfs",                      "accept_kfs",            Op::AcceptKfs,            Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/disburse",                        "disburse_loan",         Op::DisburseLoan,         Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/return_disbursal",                "return_disbursal",      Op::ReturnDisbursal,      Money,   JsonOrNothing, JSON),
    route("POST",  "/v1/loans/{id}/repayments",                      "create_repayment",      Op::CreateRepayment,      Money,   Json,          JSON),
    route("GET",   "/v1/loans/{id}/repayments",                      "list_repayments",       Op::ListRepayments,       Read,    Nothing,       JSON),
    route("POST",  "/v1/loans/{id}/repayments/{event}/reverse",      "reverse_repayment",     Op::ReverseRepayment,     Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/prepayments",                     "create_prepayment",     Op::CreatePrepayment,     Money,   Json,          JSON),
    route("GET",   "/v1/loans/{id}/foreclosure_quote",               "get_foreclosure_quote", Op::GetForeclosureQuote,  Read,    Nothing,       JSON),
    route("POST",  "/v1/loans/{id}/foreclose",                       "foreclose_loan",        Op::ForecloseLoan,        Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/charges",                         "create_loan_charge",    Op::CreateLoanCharge,     Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/waive",                           "waive_dues",            Op::WaiveDues,            Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/reschedule",                      "reschedule_loan",       Op::RescheduleLoan,       Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/rate_reset",                      "reset_rate",            Op::ResetRate,            Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/write_off",                       "write_off_loan",        Op::WriteOffLoan,         Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/settle",                          "settle_loan",           Op::SettleLoan,           Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/pause",                           "pause_loan",            Op::PauseLoan,            Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/watch",                           "watch_loan",            Op::WatchLoan,            Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/recover",                         "recover_loan",          Op::RecoverLoan,          Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/refund",                          "refund_advance",        Op::RefundAdvance,        Money,   Json,          JSON),
    route("POST",  "/v1/loans/{id}/cancel",                          "cancel_loan",           Op::CancelLoan,           Money,   JsonOrNothing, JSON),
    route("POST",  "/v1/loans/{id}/close",                           "close_loan",            Op::CloseLoan,            Money,   JsonOrNothing, JSON),
    route("GET",   "/v1/loans/{id}/schedule",                        "get_loan_schedule",     Op::GetLoanSchedule,      Read,    Nothing,       JSON_OR_PDF),
    route("GET",   "/v1/loans/{id}/statement",                       "get_loan_statement",    Op::GetLoanStatement,     Read,    Nothing,       JSON_CSV_OR_PDF),
    route("GET",   "/v1/loans/{id}/receipts/{event}",                "get_receipt",           Op::GetReceipt,           Read,    Nothing,       ONLY_PDF),
    route("GET",   "/v1/loans/{id}/no_dues",                         "get_no_dues",           Op::GetNoDues,            Read,    Nothing,       ONLY_PDF),
    route("GET",   "/v1/loans/{id}/interest_certificate",            "get_interest_certificate", Op::GetInterestCertificate, Read, Nothing,     JSON),
    route("GET",   "/v1/loans/{id}/explain",                         "explain_loan",          Op::ExplainLoan,          Read,    Nothing,       JSON),
    route("GET",   "/v1/business_day",                               "get_business_day",      Op::GetBusinessDay,       Read,    Nothing,       JSON),
    route("GET",   "/v1/business_day/{date}/slip",                   "get_day_slip",          Op::GetDaySlip,           Read,    Nothing,       ONLY_PDF),
    route("POST",  "/v1/business_day/open",                          "open_business_day",     Op::OpenBusinessDay,      Change,  Json,          JSON),
    route("POST",  "/v1/business_day/close",                         "close_business_day",    Op::CloseBusinessDay,     Change,  JsonOrNothing, JSON),
    route("GET",   "/v1/reports/day_book",                           "get_day_book",          Op::GetDayBook,           Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/reports/dues",                               "get_dues",              Op::GetDues,              Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/reports/npa",                                "get_npa_list",          Op::GetNpaList,           Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/reports/portfolio",                          "get_portfolio",         Op::GetPortfolio,         Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/reports/gst",                                "get_gst_register",      Op::GetGstRegister,       Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/events",                 "list_events",           Op::ListEvents,         Read,    Nothing,       JSON),
    route("GET",   "/v1/events/stream",          "stream_events",         Op::StreamEvents,       Read,    Nothing,       EVENT_STREAM),
    route("POST",  "/v1/jobs",                                               "create_job",              Op::CreateJob,             Change, Json,          JSON),
    route("GET",   "/v1/jobs",                                               "list_jobs",               Op::ListJobs,              Read,   Nothing,       JSON),
    route("GET",   "/v1/jobs/{id}",                                          "get_job",                 Op::GetJob,                Read,   Nothing,       JSON),
    route("POST",  "/v1/jobs/{id}/retry",                                    "retry_job",               Op::RetryJob,              Steer,  JsonOrNothing, JSON),
    route("POST",  "/v1/jobs/{id}/cancel",                                   "cancel_job",              Op::CancelJob,             Steer,  JsonOrNothing, JSON),
    route("POST",  "/v1/webhook_endpoints",                                  "create_webhook_endpoint", Op::CreateWebhookEndpoint, Change, Json,          JSON),
    route("GET",   "/v1/webhook_endpoints",                                  "list_webhook_endpoints",  Op::ListWebhookEndpoints,  Read,   Nothing,       JSON),
    route("GET",   "/v1/webhook_endpoints/{id}",                             "get_webhook_endpoint",    Op::GetWebhookEndpoint,    Read,   Nothing,       JSON),
    route("PATCH", "/v1/webhook_endpoints/{id}",                             "update_webhook_endpoint", Op::UpdateWebhookEndpoint, Change, Json,          JSON),
    route("POST",  "/v1/webhook_endpoints/{id}/rotate",                      "rotate_webhook_secret",   Op::RotateWebhookSecret,   Change, JsonOrNothing, JSON),
    route("POST",  "/v1/webhook_endpoints/{id}/test",                        "test_webhook_endpoint",   Op::TestWebhookEndpoint,   Steer,  JsonOrNothing, JSON),
    route("POST",  "/v1/webhook_endpoints/{id}/replay",                      "replay_webhook_events",   Op::ReplayWebhookEvents,   Steer,  Json,          JSON),
    route("GET",   "/v1/webhook_endpoints/{id}/attempts",                    "list_webhook_attempts",   Op::ListWebhookAttempts,   Read,   Nothing,       JSON),
    route("GET",   "/v1/webhook_endpoints/{id}/deliveries",                  "list_webhook_deliveries", Op::ListWebhookDeliveries, Read,   Nothing,       JSON),
    route("POST",  "/v1/webhook_endpoints/{id}/deliveries/{event}/resend",   "resend_webhook_event",    Op::ResendWebhookEvent,    Steer,  JsonOrNothing, JSON),
    route("POST",  "/v1/sync_targets",           "create_sync_target",    Op::CreateSyncTarget,   Change,  Json,          JSON),
    route("GET",   "/v1/sync_targets",           "list_sync_targets",     Op::ListSyncTargets,    Read,    Nothing,       JSON),
    route("GET",   "/v1/sync_targets/{id}",      "get_sync_target",       Op::GetSyncTarget,      Read,    Nothing,       JSON),
    route("PATCH", "/v1/sync_targets/{id}",      "update_sync_target",    Op::UpdateSyncTarget,   Change,  Json,          JSON),
    route("GET",   "/v1/ws",                     "open_websocket",        Op::OpenWebsocket,      Read,    Nothing,       JSON),
    route("GET",   "/v1/reports/month_end",                          "get_month_end",         Op::GetMonthEnd,          Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/reports/npa_movement",                       "get_npa_movement",      Op::GetNpaMovement,       Read,    Nothing,       JSON_OR_CSV),
    route("GET",   "/v1/reports/portfolio_movement",                 "get_portfolio_movement", Op::GetPortfolioMovement, Read,   Nothing,       JSON_OR_CSV),
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

/// What fills the holes of a pattern, of which there are two at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holes<'p> {
    /// The first: an object.
    pub first: Option<&'p str>,
    /// The second: a part of it.
    pub second: Option<&'p str>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Found<'p> {
    /// Here; the segments that fill the holes, still percent-encoded.
    Route(&'static Route, Holes<'p>),
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

/// What fills the holes of a pattern, or `None` when the path is another.
#[inline]
fn matched<'p>(pattern: &str, path: &'p str) -> Option<Holes<'p>> {
    let Some(open) = pattern.find('{') else { return (pattern == path).then(Holes::default) };
    let rest = path.strip_prefix(&pattern[..open])?;
    let close = pattern.find('}').expect("a pattern of the table that opens a hole closes it");
    let after = &pattern[close + 1..];
    let is_segment = |hole: &str| !hole.is_empty() && !hole.contains('/');
    if after.contains('{') {
        let (hole, tail) = rest.split_at(rest.find('/')?);
        let inner = matched(after, tail)?;
        return is_segment(hole).then_some(Holes { first: Some(hole), second: inner.first });
    }
    let hole = rest.strip_suffix(after)?;
    is_segment(hole).then_some(Holes { first: Some(hole), second: None })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_path() {
        for route in ROUTES {
            let path = route.pattern.replace("{id}", "ext:A%2FB").replace("{code}", "x").replace("{event}", "y");
            let path = path.replace("{date}", "2026-04-01");
            match find(route.method, &path) {
                Found::Route(found, holes) => {
                    assert_eq!(found.operation_id, route.operation_id);
                    assert_eq!(holes.first.is_some(), route.pattern.contains('{'));
                    assert_eq!(holes.second, route.pattern.contains("{event}").then_some("y"));
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
            Found::Route(route, holes) => format!("{} {}", route.operation_id, holes.first.unwrap_or("-")),
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
            ("POST", "/v1/loans/a/repayments/b/reverse", "reverse_repayment a"),
            ("POST", "/v1/loans/a/repayments/b/c/reverse", "nowhere"),
            ("POST", "/v1/loans/a/repayments//reverse", "nowhere"),
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
