//! One handler per route, grouped by resource: extract → command or question → answer.

mod accounts;
mod answer;
mod api_keys;
mod batches;
mod books;
mod customers;
mod description;
mod entries;
mod expand;
mod export;
mod health;
mod latency;
mod loans;
pub mod metrics;
mod operations;
mod transfers;

use std::cell::Cell;

use crate::domain::ids::{AccountNo, Seq};
use crate::engine::Core;
use crate::engine::history::{Reach, ReadError};
use crate::engine::view::Unavailable;

use super::gateway::Call;
use super::json::Resolver;
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
        Operation::GetOperation => operations::get(call),
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
}

impl Resolver for Names<'_> {
    fn account(&self, text: &str) -> Result<Option<AccountNo>, Unavailable> {
        self.settle(self.core.resolve_account(text, self.reach))
    }

    fn transfer(&self, text: &str) -> Result<Option<Seq>, Unavailable> {
        self.settle(self.core.resolve_transfer(text, self.reach))
    }
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
