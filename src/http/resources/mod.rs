//! One handler per route, grouped by resource: extract → command or question → answer.

mod accounts;
mod answer;
mod api_keys;
mod batches;
mod books;
mod business_day;
mod customers;
mod description;
mod documents;
mod entries;
pub mod events;
mod expand;
mod export;
mod health;
mod jobs;
mod latency;
mod loan_reads;
mod loans;
pub mod metrics;
mod month_end;
mod movements;
mod objects;
mod operations;
mod products;
mod reports;
mod sync_targets;
mod transfers;
mod webhooks;

use std::cell::Cell;

use crate::domain::ids::{AccountNo, Seq};
use crate::domain::transfer::NewTransfer;
use crate::engine::Core;
use crate::engine::history::{Reach, ReadError};
use crate::engine::view::Unavailable;

use super::gateway::Call;
use super::json::{LendingResolver, Resolver};
use super::problem::Outcome;
use super::reply::Reply;

/// Every operation, in the order of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `POST /v1/transfers`
    CreateTransfer,
    /// `POST /v1/transfers/batch`
    CreateTransferBatch,
    /// `GET /v1/accounts/{id}`
    GetAccount,
    /// `GET /v1/transfers/{id}`
    GetTransfer,
    /// `GET /v1/transfers`
    ListTransfers,
    /// `POST /v1/transfers/{id}/post`
    PostTransfer,
    /// `POST /v1/transfers/{id}/void`
    VoidTransfer,
    /// `POST /v1/transfers/{id}/reverse`
    ReverseTransfer,
    /// `GET /v1/entries/{id}`
    GetEntry,
    /// `POST /v1/accounts`
    CreateAccount,
    /// `POST /v1/accounts/batch`
    CreateAccountBatch,
    /// `GET /v1/accounts`
    ListAccounts,
    /// `PATCH /v1/accounts/{id}`
    UpdateAccount,
    /// `GET /v1/accounts/{id}/entries`
    GetStatement,
    /// `GET /v1/periods`
    ListPeriods,
    /// `POST /v1/periods/close`
    ClosePeriod,
    /// `POST /v1/periods/reopen`
    ReopenPeriod,
    /// `GET /v1/reports/trial_balance`
    GetTrialBalance,
    /// `GET /v1/export`
    ExportBooks,
    /// `POST /v1/verifications`
    CreateVerification,
    /// `GET /v1/operations/{id}`
    GetOperation,
    /// `POST /v1/api_keys`
    CreateApiKey,
    /// `GET /v1/api_keys`
    ListApiKeys,
    /// `GET /v1/api_keys/{id}`
    GetApiKey,
    /// `POST /v1/api_keys/{id}/rotate`
    RotateApiKey,
    /// `POST /v1/api_keys/{id}/revoke`
    RevokeApiKey,
    /// `POST /v1/customers`
    CreateCustomer,
    /// `GET /v1/customers`
    ListCustomers,
    /// `GET /v1/customers/{id}`
    GetCustomer,
    /// `PATCH /v1/customers/{id}`
    UpdateCustomer,
    /// `POST /v1/loan_calculations`
    CalculateLoan,
    /// `POST /v1/loan_products`
    CreateLoanProduct,
    /// `GET /v1/loan_products`
    ListLoanProducts,
    /// `GET /v1/loan_products/{id}`
    GetLoanProduct,
    /// `PATCH /v1/loan_products/{id}`
    UpdateLoanProduct,
    /// `POST /v1/loans`
    CreateLoan,
    /// `GET /v1/loans`
    ListLoans,
    /// `GET /v1/loans/{id}`
    GetLoan,
    /// `POST /v1/loans/{id}/approve`
    ApproveLoan,
    /// `POST /v1/loans/{id}/decline`
    DeclineLoan,
    /// `POST /v1/loans/{id}/kfs`
    IssueKfs,
    /// `GET /v1/loans/{id}/kfs`
    GetKfs,
    /// `POST /v1/loans/{id}/accept_kfs`
    AcceptKfs,
    /// `POST /v1/loans/{id}/disburse`
    DisburseLoan,
    /// `POST /v1/loans/{id}/return_disbursal`
    ReturnDisbursal,
    /// `POST /v1/loans/{id}/repayments`
    CreateRepayment,
    /// `GET /v1/loans/{id}/repayments`
    ListRepayments,
    /// `POST /v1/loans/{id}/repayments/{event}/reverse`
    ReverseRepayment,
    /// `POST /v1/loans/{id}/prepayments`
    CreatePrepayment,
    /// `GET /v1/loans/{id}/foreclosure_quote`
    GetForeclosureQuote,
    /// `POST /v1/loans/{id}/foreclose`
    ForecloseLoan,
    /// `POST /v1/loans/{id}/charges`
    CreateLoanCharge,
    /// `POST /v1/loans/{id}/waive`
    WaiveDues,
    /// `POST /v1/loans/{id}/reschedule`
    RescheduleLoan,
    /// `POST /v1/loans/{id}/rate_reset`
    ResetRate,
    /// `POST /v1/loans/{id}/write_off`
    WriteOffLoan,
    /// `POST /v1/loans/{id}/settle`
    SettleLoan,
    /// `POST /v1/loans/{id}/pause`
    PauseLoan,
    /// `POST /v1/loans/{id}/watch`
    WatchLoan,
    /// `POST /v1/loans/{id}/recover`
    RecoverLoan,
    /// `POST /v1/loans/{id}/refund`
    RefundAdvance,
    /// `POST /v1/loans/{id}/cancel`
    CancelLoan,
    /// `POST /v1/loans/{id}/close`
    CloseLoan,
    /// `GET /v1/loans/{id}/schedule`
    GetLoanSchedule,
    /// `GET /v1/loans/{id}/statement`
    GetLoanStatement,
    /// `GET /v1/loans/{id}/receipts/{event}`
    GetReceipt,
    /// `GET /v1/loans/{id}/no_dues`
    GetNoDues,
    /// `GET /v1/loans/{id}/interest_certificate`
    GetInterestCertificate,
    /// `GET /v1/loans/{id}/explain`
    ExplainLoan,
    /// `GET /v1/business_day`
    GetBusinessDay,
    /// `GET /v1/business_day/{date}/slip`
    GetDaySlip,
    /// `POST /v1/business_day/open`
    OpenBusinessDay,
    /// `POST /v1/business_day/close`
    CloseBusinessDay,
    /// `GET /v1/reports/day_book`
    GetDayBook,
    /// `GET /v1/reports/dues`
    GetDues,
    /// `GET /v1/reports/npa`
    GetNpaList,
    /// `GET /v1/reports/portfolio`
    GetPortfolio,
    /// `GET /v1/reports/gst`
    GetGstRegister,
    /// `GET /v1/events`
    ListEvents,
    /// `GET /v1/events/stream`
    StreamEvents,
    /// `POST /v1/jobs`
    CreateJob,
    /// `GET /v1/jobs`
    ListJobs,
    /// `GET /v1/jobs/{id}`
    GetJob,
    /// `POST /v1/jobs/{id}/retry`
    RetryJob,
    /// `POST /v1/jobs/{id}/cancel`
    CancelJob,
    /// `POST /v1/webhook_endpoints`
    CreateWebhookEndpoint,
    /// `GET /v1/webhook_endpoints`
    ListWebhookEndpoints,
    /// `GET /v1/webhook_endpoints/{id}`
    GetWebhookEndpoint,
    /// `PATCH /v1/webhook_endpoints/{id}`
    UpdateWebhookEndpoint,
    /// `POST /v1/webhook_endpoints/{id}/rotate`
    RotateWebhookSecret,
    /// `POST /v1/webhook_endpoints/{id}/test`
    TestWebhookEndpoint,
    /// `POST /v1/webhook_endpoints/{id}/replay`
    ReplayWebhookEvents,
    /// `GET /v1/webhook_endpoints/{id}/attempts`
    ListWebhookAttempts,
    /// `GET /v1/webhook_endpoints/{id}/deliveries`
    ListWebhookDeliveries,
    /// `POST /v1/webhook_endpoints/{id}/deliveries/{event}/resend`
    ResendWebhookEvent,
    /// `POST /v1/sync_targets`
    CreateSyncTarget,
    /// `GET /v1/sync_targets`
    ListSyncTargets,
    /// `GET /v1/sync_targets/{id}`
    GetSyncTarget,
    /// `PATCH /v1/sync_targets/{id}`
    UpdateSyncTarget,
    /// `GET /v1/ws`
    OpenWebsocket,
    /// `GET /v1/reports/month_end`
    GetMonthEnd,
    /// `GET /v1/reports/npa_movement`
    GetNpaMovement,
    /// `GET /v1/reports/portfolio_movement`
    GetPortfolioMovement,
    /// `POST /v1/clock/accept`
    AcceptClock,
    /// `GET /v1/status`
    GetStatus,
    /// `GET /v1/latency`
    GetLatency,
    /// `GET /metrics`
    GetMetrics,
    /// `GET /livez`
    GetLivez,
    /// `GET /readyz`
    GetReadyz,
    /// `GET /startupz`
    GetStartupz,
    /// `GET /problems`
    ListProblems,
    /// `GET /problems/{code}`
    GetProblem,
    /// `GET /openapi.json`
    GetOpenapi,
    /// `GET /docs`
    GetDocs,
    /// `GET /docs/style.css`
    GetDocsStyle,
    /// `GET /proto/munim.v1.proto`
    GetProto,
}

/// Hands a request to its handler. The four busiest run in this future; the others in a box, so that
/// their size is not everybody's.
///
/// # Errors
/// What the handler refuses.
pub async fn dispatch(call: &mut Call<'_>) -> Outcome<Reply> {
    // Before the books are asked: what is not found then was not there at this seq.
    let seen = call.edge.books().map(|books| books.engine.core().journal().durable_seq());
    let mut answered = hand_over(call).await;
    if let Err(problem) = &mut answered
        && problem.code.is_about_the_books()
    {
        problem.as_of = problem.as_of.or(seen);
    }
    answered
}

async fn hand_over(call: &mut Call<'_>) -> Outcome<Reply> {
    match call.route.operation {
        Operation::CreateTransfer => transfers::create(call).await,
        Operation::CreateTransferBatch => batches::create(call).await,
        Operation::GetAccount if call.head.uri.query().is_none() => accounts::get(call).await,
        Operation::GetTransfer => transfers::get(call).await,
        _ => Box::pin(dispatch_rare(call)).await,
    }
}

async fn dispatch_rare(call: &mut Call<'_>) -> Outcome<Reply> {
    match call.route.operation {
        Operation::CreateTransfer => transfers::create(call).await,
        Operation::CreateTransferBatch => batches::create(call).await,
        Operation::GetAccount => accounts::get_at(call).await,
        Operation::GetTransfer => transfers::get(call).await,
        Operation::ListTransfers => transfers::list(call).await,
        Operation::PostTransfer => transfers::post(call).await,
        Operation::VoidTransfer => transfers::void(call).await,
        Operation::ReverseTransfer => transfers::reverse(call).await,
        Operation::GetEntry => entries::get(call).await,
        Operation::CreateAccount => accounts::create(call).await,
        Operation::CreateAccountBatch => batches::create_accounts(call).await,
        Operation::ListAccounts => accounts::list(call).await,
        Operation::UpdateAccount => accounts::update(call).await,
        Operation::GetStatement => entries::statement(call).await,
        Operation::ListPeriods => books::list_periods(call).await,
        Operation::ClosePeriod => books::close_period(call).await,
        Operation::ReopenPeriod => books::reopen_period(call).await,
        Operation::GetTrialBalance => books::trial_balance(call).await,
        Operation::ExportBooks => export::export(call),
        Operation::CreateVerification => operations::verify(call),
        Operation::GetOperation => operations::get(call).await,
        Operation::CreateApiKey => api_keys::create(call).await,
        Operation::ListApiKeys => api_keys::list(call).await,
        Operation::GetApiKey => api_keys::get(call).await,
        Operation::RotateApiKey => api_keys::rotate(call).await,
        Operation::RevokeApiKey => api_keys::revoke(call).await,
        Operation::CreateCustomer => customers::create(call).await,
        Operation::ListCustomers => customers::list(call).await,
        Operation::GetCustomer => customers::get(call).await,
        Operation::UpdateCustomer => customers::update(call).await,
        Operation::CalculateLoan => loans::calculate_loan(call).await,
        Operation::ListEvents => events::list(call).await,
        Operation::StreamEvents => events::stream(call).await,
        Operation::OpenWebsocket => events::websocket(call),
        Operation::AcceptClock => books::accept_clock(call).await,
        Operation::GetStatus => health::status(call).await,
        Operation::GetLatency => latency::get(call),
        Operation::GetMetrics => metrics::get(call),
        Operation::GetLivez => health::livez(call),
        Operation::GetReadyz => health::readyz(call),
        Operation::GetStartupz => health::startupz(call),
        Operation::ListProblems => health::problems(call),
        Operation::GetProblem => health::problem(call),
        Operation::GetOpenapi | Operation::GetDocs | Operation::GetDocsStyle | Operation::GetProto => {
            description::get(call).await
        }
        _ => dispatch_lending(call).await,
    }
}

async fn dispatch_lending(call: &mut Call<'_>) -> Outcome<Reply> {
    use Operation as Op;
    match call.route.operation {
        Op::CreateLoanProduct => products::create(call).await,
        Op::ListLoanProducts => products::list(call).await,
        Op::GetLoanProduct => products::get(call).await,
        Op::UpdateLoanProduct => products::update(call).await,
        Op::CreateLoan => loans::create(call).await,
        Op::ListLoans => loans::list(call).await,
        Op::GetLoan => loans::get(call).await,
        Op::GetKfs => loan_reads::get_kfs(call).await,
        Op::ListRepayments => loan_reads::list_repayments(call).await,
        Op::GetForeclosureQuote => loan_reads::get_quote(call).await,
        Op::GetLoanSchedule => loan_reads::get_schedule(call).await,
        Op::GetLoanStatement => loan_reads::get_statement(call).await,
        Op::GetReceipt => documents::receipt(call).await,
        Op::GetNoDues => documents::no_dues(call).await,
        Op::GetDaySlip => documents::day_slip(call).await,
        Op::ExplainLoan => loan_reads::explain(call).await,
        Op::GetBusinessDay => business_day::get(call).await,
        Op::OpenBusinessDay => business_day::open(call).await,
        Op::CloseBusinessDay => business_day::close(call).await,
        Op::GetDues | Op::GetNpaList => reports::of_loans(call).await,
        Op::GetDayBook | Op::GetGstRegister => reports::of_events(call).await,
        Op::GetPortfolio => reports::portfolio(call).await,
        Op::GetMonthEnd => month_end::get(call).await,
        Op::GetInterestCertificate => loan_reads::get_certificate(call).await,
        Op::GetNpaMovement | Op::GetPortfolioMovement => movements::get(call).await,
        Op::ApproveLoan
        | Op::DeclineLoan
        | Op::IssueKfs
        | Op::AcceptKfs
        | Op::DisburseLoan
        | Op::ReturnDisbursal
        | Op::CreateRepayment
        | Op::ReverseRepayment
        | Op::CreatePrepayment
        | Op::ForecloseLoan
        | Op::CreateLoanCharge
        | Op::WaiveDues
        | Op::RescheduleLoan
        | Op::ResetRate
        | Op::WriteOffLoan
        | Op::SettleLoan
        | Op::PauseLoan
        | Op::WatchLoan
        | Op::RecoverLoan
        | Op::RefundAdvance
        | Op::CancelLoan
        | Op::CloseLoan => loans::act(call).await,
        _ => dispatch_work(call).await,
    }
}

/// What works after the answer.
async fn dispatch_work(call: &mut Call<'_>) -> Outcome<Reply> {
    use Operation as Op;
    match call.route.operation {
        Op::CreateJob => jobs::create(call).await,
        Op::ListJobs => jobs::list(call).await,
        Op::GetJob => jobs::get(call).await,
        Op::RetryJob => jobs::retry(call).await,
        Op::CancelJob => jobs::cancel(call).await,
        Op::CreateWebhookEndpoint => webhooks::create(call).await,
        Op::ListWebhookEndpoints => webhooks::list(call),
        Op::GetWebhookEndpoint => webhooks::get(call),
        Op::UpdateWebhookEndpoint => webhooks::update(call).await,
        Op::RotateWebhookSecret => webhooks::rotate(call).await,
        Op::TestWebhookEndpoint => webhooks::test(call).await,
        Op::ReplayWebhookEvents => webhooks::replay(call),
        Op::ListWebhookAttempts => webhooks::attempts(call),
        Op::ListWebhookDeliveries => webhooks::deliveries(call),
        Op::ResendWebhookEvent => webhooks::resend(call).await,
        Op::CreateSyncTarget => sync_targets::create(call).await,
        Op::ListSyncTargets => sync_targets::list(call),
        Op::GetSyncTarget => sync_targets::get(call),
        Op::UpdateSyncTarget => sync_targets::update(call).await,
        _ => unreachable!("all other operations are handed over before"),
    }
}

/// Looks names up in the books.
#[derive(Debug)]
struct Names<'a> {
    core: &'a Core,
    reach: Reach,
    /// A name could only be looked up on disk: what was read with these names does not count.
    has_missed: Cell<bool>,
}

impl<'a> Names<'a> {
    /// For a thread that may wait for the disk.
    fn on_disk(core: &'a Core) -> Names<'a> {
        Names { core, reach: Reach::Disk, has_missed: Cell::new(false) }
    }

    fn settle<T>(&self, found: Result<Option<T>, ReadError>) -> Result<Option<T>, Unavailable> {
        match found {
            Err(ReadError::NotCached) => {
                self.has_missed.set(true);
                Ok(None)
            }
            found => Ok(found?),
        }
    }
}

impl Names<'_> {
    fn customer(&self, text: &str) -> Result<Option<u32>, Unavailable> {
        self.settle(self.core.resolve_customer(text, self.reach))
    }

    fn product(&self, text: &str) -> Result<Option<u32>, Unavailable> {
        self.settle(self.core.resolve_product(text, self.reach))
    }

    fn loan(&self, text: &str) -> Result<Option<u32>, Unavailable> {
        self.settle(self.core.resolve_loan(text, self.reach))
    }
}

impl LendingResolver for Names<'_> {
    fn customer_named(&self, text: &str) -> Result<Option<u32>, Unavailable> {
        self.customer(text)
    }

    fn product_named(&self, text: &str) -> Result<Option<u32>, Unavailable> {
        self.product(text)
    }
}

impl Resolver for Names<'_> {
    fn account(&self, text: &str) -> Result<Option<AccountNo>, Unavailable> {
        self.settle(self.core.resolve_account(text, self.reach))
    }

    fn transfer(&self, text: &str) -> Result<Option<Seq>, Unavailable> {
        self.settle(self.core.resolve_transfer(text, self.reach))
    }
}

/// A transfer's body whose names are looked up with this reach; `None` where one is not in memory.
///
/// # Errors
/// What is wrong with the body; what [`Unavailable`] becomes.
pub fn transfer_named(core: &Core, reach: Reach, body: &[u8]) -> Outcome<Option<NewTransfer>> {
    let names = Names { core, reach, has_missed: Cell::new(false) };
    let transfer = super::json::parse_transfer(body, &names);
    if names.has_missed.get() { Ok(None) } else { transfer.map(Some) }
}

/// Reads something that names accounts or transfers: here, if every name is in memory, else once more
/// on a thread that may wait for the disk.
async fn with_names<T: Send + 'static>(
    call: &Call<'_>,
    read: impl Fn(&Names<'_>) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let engine = &call.books()?.engine;
    let done = {
        let names = Names { core: engine.core(), reach: Reach::Memory, has_missed: Cell::new(false) };
        let done = read(&names);
        if names.has_missed.get() { None } else { Some(done) }
    };
    match done {
        Some(done) => done,
        None => engine.on_disk(move |core| read(&Names::on_disk(core))).await?,
    }
}
