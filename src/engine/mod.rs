//! The one door for writes, and the place that knows what is durable.

pub mod clock;
pub mod command;
pub mod holds;
pub mod keys;
pub mod outcome;
pub mod shard;
pub mod view;
pub mod watermark;

use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Currency;
use crate::domain::time::Day;
use command::{Command, Origin};
use view::{
    AccountFilter, AccountView, Answer, AsOf, EngineStatus, Page, PastBalance, Periods, Statement, TransferFilter,
    TransferView, TrialBalance, Unavailable,
};

/// The engine of one data folder. Cheap to share (`Arc`).
#[derive(Debug)]
pub struct Engine {}

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Engine {
    /// Decides a command and waits until everything that the answer reveals is on disk.
    pub async fn submit(&self, command: Command, origin: Origin) -> Result<Answer, Unavailable> {
        todo!()
    }
    /// Looks an account up by `acct_…` or `ext:…`. `None` when the text names nothing.
    pub async fn resolve_account(&self, text: &str) -> Result<Option<AccountNo>, Unavailable> {
        todo!()
    }
    /// Looks a transfer up by `tr_…` or `ext:…` (text form only: the seq may still not be a transfer).
    pub async fn resolve_transfer(&self, text: &str) -> Result<Option<Seq>, Unavailable> {
        todo!()
    }
    /// Numbers of several accounts at once, for batches: `ext:` texts are looked up together.
    pub fn resolve_account_cached(&self, text: &str) -> Option<Option<AccountNo>> {
        todo!()
    }
    pub async fn account(&self, no: AccountNo) -> Result<Option<AsOf<AccountView>>, Unavailable> {
        todo!()
    }
    pub async fn accounts(
        &self,
        filter: AccountFilter,
        before: Option<AccountNo>,
        limit: usize,
    ) -> Result<AsOf<Page<AccountView>>, Unavailable> {
        todo!()
    }
    /// As recorded by an instant. `None` when the account did not exist then.
    pub async fn account_at(&self, no: AccountNo, at: Moment) -> Result<Option<AsOf<PastBalance>>, Unavailable> {
        todo!()
    }
    /// By effective date, at the end of a day (pending: as recorded by the end of that business day).
    pub async fn account_on(&self, no: AccountNo, day: Day) -> Result<Option<AsOf<PastBalance>>, Unavailable> {
        todo!()
    }
    pub async fn transfer(&self, seq: Seq) -> Result<Option<AsOf<TransferView>>, Unavailable> {
        todo!()
    }
    pub async fn transfers(
        &self,
        filter: TransferFilter,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<AsOf<Page<TransferView>>, Unavailable> {
        todo!()
    }
    /// The statement page of an account: lines with effective date in `from..=to`, newest first, after the line `before`.
    pub async fn statement(
        &self,
        no: AccountNo,
        from: Option<Day>,
        to: Option<Day>,
        before: Option<Seq>,
        limit: usize,
    ) -> Result<Option<AsOf<Statement>>, Unavailable> {
        todo!()
    }
    pub async fn trial_balance(
        &self,
        on: Option<Day>,
        currency: Option<Currency>,
    ) -> Result<AsOf<TrialBalance>, Unavailable> {
        todo!()
    }
    pub async fn periods(&self) -> Result<AsOf<Periods>, Unavailable> {
        todo!()
    }
    pub fn status(&self) -> EngineStatus {
        todo!()
    }
    pub fn business_date(&self) -> Day {
        todo!()
    }
}
