//! Queries with their waits: copy under the locks, wait for the watermark, read, answer.

use std::sync::Arc;

use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Currency;
use crate::domain::time::Day;

use super::history::{Reach, ReadError};
use super::holds::Fate;
use super::keyring::{HeldKey, KeyList};
use super::readers::{LineLoad, Place, run_at};
use super::statement::{Snapshot, StatementQuery};
use super::view::{
    AccountFilter, AccountView, AsOf, CustomerView, EngineStatus, Page, PastBalance, Periods, Statement,
    TransferFilter, TransferScope, TransferStatus, TransferView, TrialBalance, Unavailable,
};
use super::{Core, Engine, reads};

/// How often a query begins again because a checkpoint moved its rows: one a second at most, so
/// the second try nearly always ends.
const MOVED_TRIES: usize = 8;

/// What `/v1/status` counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    /// Accounts.
    pub accounts: u64,
    /// Open holds.
    pub holds: u64,
    /// The business date.
    pub business_date: Day,
}

impl Core {
    /// What `/v1/status` counts; may be ahead of what is durable.
    pub(super) fn counts(&self) -> Counts {
        let directory = self.directory.lock();
        // Under all locks whatever is counted has a seq.
        let _locked = self.shards.lock_all();
        let accounts = u64::from(directory.accounts);
        Counts { accounts, holds: self.holds.len(), business_date: self.business_date() }
    }
}

/// How long `/v1/status` waits for its counts to become durable: many group commits, and less than
/// whoever watches a sick disk would mind.
const STATUS_WAIT: std::time::Duration = std::time::Duration::from_millis(250);

impl Engine {
    /// Reads history: in memory if it is there, else on a thread that may wait for the disk, and one
    /// of few where it walks far. `begin` says where it is worth trying first.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        begin: Reach,
        read: impl Fn(&Arc<Core>, Reach) -> Result<T, ReadError> + Send + Sync + 'static,
    ) -> Result<T, Unavailable> {
        if begin == Reach::Memory {
            match read(self.core(), Reach::Memory) {
                Err(ReadError::NotCached | ReadError::TooFar) => {}
                done => return Ok(done?),
            }
        }
        let read = Arc::new(read);
        let mut reach = Reach::Disk;
        loop {
            let (core, again) = (Arc::clone(self.core()), Arc::clone(&read));
            match self.readers.run(reach, move || again(&core, reach)).await? {
                Err(ReadError::TooFar) if reach == Reach::Disk => reach = Reach::Far,
                done => return Ok(done?),
            }
        }
    }

    /// As [`Engine::read`]; a long answer is read at its place, as far as it takes.
    pub(super) async fn read_at<T: Send + 'static>(
        &self,
        place: &mut Option<Place>,
        begin: Reach,
        read: impl Fn(&Arc<Core>, Reach) -> Result<T, ReadError> + Send + Sync + 'static,
    ) -> Result<T, Unavailable> {
        if place.is_none() {
            return self.read(begin, read).await;
        }
        let core = Arc::clone(self.core());
        Ok(run_at(place, move || read(&core, Reach::Far)).await??)
    }

    /// A place for an answer of more than [`SHORT_ROWS_MAX`](crate::config::SHORT_ROWS_MAX) rows, to be kept
    /// until it is bytes.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] when too many wait for one.
    pub async fn long_place(&self) -> Result<Place, Unavailable> {
        self.readers.long_place().await
    }

    /// As [`Engine::long_place`], for the answer to a command that is done: it is never refused.
    pub async fn long_place_for_done(&self) -> Place {
        self.readers.long_place_for_done().await
    }

    /// How full the line of long answers is.
    #[must_use]
    pub fn long_load(&self) -> LineLoad {
        self.readers.long_load()
    }

    /// Runs something that may wait for the disk where it may.
    ///
    /// # Errors
    /// [`Unavailable`] when too many wait.
    pub async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let core = Arc::clone(self.core());
        self.readers.run(Reach::Disk, move || work(&core)).await
    }

    pub(super) async fn durable(&self, seq: Seq) -> Result<(), Unavailable> {
        self.core().watermark().wait(seq).await.map_err(|_| self.failed())
    }

    /// An account as it is now.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn account(&self, no: AccountNo) -> Result<Option<AsOf<AccountView>>, Unavailable> {
        let Some(account) = self.core().shards.copy(no) else { return Ok(None) };
        self.durable(account.last_seq).await?;
        let value = self.read(Reach::Memory, move |core, reach| core.account_view(no, account, reach)).await?;
        Ok(Some(AsOf { value, seq: account.last_seq }))
    }

    /// A page of accounts, newest first, after `before`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn accounts(
        &self,
        filter: AccountFilter,
        before: Option<AccountNo>,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<AccountView>>, Unavailable> {
        let look = move |core: &Arc<Core>, reach| core.account_rows(&filter, before, limit, reach);
        let page = self.read_at(place, Reach::Memory, look).await?;
        let seq = page.rows.iter().map(|(_, account)| account.last_seq).max().unwrap_or(Seq::NONE);
        self.durable(seq).await?;
        let texts = move |core: &Arc<Core>, reach| reads::with_texts(core, &page, reach);
        let value = self.read_at(place, Reach::Memory, texts).await?;
        Ok(AsOf { value, seq })
    }

    /// Several accounts as they are now, with one wait and one read; numbers that name nothing are left out.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn accounts_of(
        &self,
        numbers: Vec<AccountNo>,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Vec<AccountView>>, Unavailable> {
        let core = Arc::clone(self.core());
        let copy = move || -> Vec<_> {
            let row = |no| Some((no, core.shards.copy(no)?));
            numbers.into_iter().filter_map(row).collect()
        };
        let rows = run_at(place, copy).await?;
        let seq = rows.iter().map(|(_, account)| account.last_seq).max().unwrap_or(Seq::NONE);
        self.durable(seq).await?;
        let page = Page { rows, has_more: false, cursor: None };
        let texts = move |core: &Arc<Core>, reach| reads::with_texts(core, &page, reach);
        let page = self.read_at(place, Reach::Memory, texts).await?;
        Ok(AsOf { value: page.rows, seq })
    }

    /// A customer as it is now.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn customer(&self, number: u32) -> Result<Option<AsOf<CustomerView>>, Unavailable> {
        let Some(row) = self.core().lending().customer(number) else { return Ok(None) };
        self.durable(row.last_seq).await?;
        let value = self.read(Reach::Memory, move |core, reach| core.customer_view(row, reach)).await?;
        Ok(Some(AsOf { value, seq: row.last_seq }))
    }

    /// A page of customers, newest first, below `before`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn customers(
        &self,
        before: Option<u32>,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<CustomerView>>, Unavailable> {
        let mut rows = self.core().lending().customers_before(before, limit + 1);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let seq = rows.iter().map(|(_, row)| row.last_seq).max().unwrap_or(Seq::NONE);
        let cursor = rows.last().map(|(number, _)| u64::from(*number));
        self.durable(seq).await?;
        let views =
            move |core: &Arc<Core>, reach| rows.iter().map(|(_, row)| core.customer_view(*row, reach)).collect();
        let rows = self.read_at(place, Reach::Memory, views).await?;
        Ok(AsOf { value: Page { rows, has_more, cursor }, seq })
    }

    /// An account as recorded by an instant; `None` when it did not exist then.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn account_at(&self, no: AccountNo, at: Moment) -> Result<Option<AsOf<AccountView>>, Unavailable> {
        let view_at = move |core: &Core, snapshot: &Snapshot, reach| match core.row_at(snapshot, at, reach)? {
            Some(row) => core.account_view(no, row, reach).map(Some),
            None => Ok(None),
        };
        let past = self.with_snapshot(no, &mut None, view_at).await?;
        Ok(past.and_then(|past| past.value.map(|value| AsOf { value, seq: past.seq })))
    }

    /// Balances by effective date at the end of a day; pending as recorded at the end of that business day.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn account_on(&self, no: AccountNo, day: Day) -> Result<Option<AsOf<PastBalance>>, Unavailable> {
        let balance = move |core: &Core, snapshot: &Snapshot, reach| core.balance_on(snapshot, day, reach);
        self.with_snapshot(no, &mut None, balance).await
    }

    /// A page of an account's statement.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn statement(
        &self,
        no: AccountNo,
        query: StatementQuery,
        place: &mut Option<Place>,
    ) -> Result<Option<AsOf<Statement>>, Unavailable> {
        let page = move |core: &Core, snapshot: &Snapshot, reach| core.statement_page(snapshot, &query, reach);
        self.with_snapshot(no, place, page).await
    }

    async fn with_snapshot<T: Send + 'static>(
        &self,
        no: AccountNo,
        place: &mut Option<Place>,
        read: impl Fn(&Core, &Snapshot, Reach) -> Result<T, ReadError> + Clone + Send + Sync + 'static,
    ) -> Result<Option<AsOf<T>>, Unavailable> {
        for _ in 0..MOVED_TRIES {
            let Some(snapshot) = self.core().snapshot(no) else { return Ok(None) };
            let seq = snapshot.account.last_seq;
            self.durable(seq).await?;
            let read = read.clone();
            let done = self
                // Closings, marks and off-date rows are in the store.
                .read_at(place, Reach::Disk, move |core, reach| match read(core, &snapshot, reach) {
                    Err(ReadError::Moved) => Ok(None),
                    done => done.map(Some),
                })
                .await?;
            if let Some(value) = done {
                return Ok(Some(AsOf { value, seq }));
            }
        }
        Err(ReadError::Moved.into())
    }

    /// A transfer as it is today.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transfer(&self, seq: Seq) -> Result<Option<AsOf<TransferView>>, Unavailable> {
        if seq > self.core().journal().appended_seq() {
            return Ok(None);
        }
        // Its newest fate is waited for, too: what is answered must not be behind an earlier answer.
        let newest = self.core().holds.recent_fates(seq).iter().map(|(by, _)| *by).max();
        self.durable(newest.unwrap_or(seq).max(seq)).await?;
        self.read(Reach::Memory, move |core, reach| core.transfer_view(seq, reach)).await
    }

    /// Several transfers as they are today, with one wait and one read; seqs that name none are left out.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transfers_of(
        &self,
        mut seqs: Vec<Seq>,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Vec<TransferView>>, Unavailable> {
        let appended = self.core().journal().appended_seq();
        seqs.retain(|seq| *seq <= appended);
        // Their newest fates are waited for, as in `transfer`.
        let newest =
            |seq: &Seq| self.core().holds.recent_fates(*seq).iter().map(|(by, _)| *by).max().unwrap_or(*seq).max(*seq);
        self.durable(seqs.iter().map(newest).max().unwrap_or(Seq::NONE)).await?;
        let read = move |core: &Arc<Core>, reach| {
            let views = seqs.iter().map(|seq| core.transfer_view(*seq, reach)).collect::<Result<Vec<_>, _>>()?;
            let seq = views.iter().flatten().map(|view| view.seq).max().unwrap_or(Seq::NONE);
            Ok(AsOf { value: views.into_iter().flatten().map(|view| view.value).collect(), seq })
        };
        self.read_at(place, Reach::Memory, read).await
    }

    /// The entry by which a transfer is a line of statements: its own, or the posting of a hold; `None` where
    /// it is no line. Everything that it is told from is durable.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn line_of(&self, transfer: Seq) -> Result<Option<Seq>, Unavailable> {
        let Some(found) = self.transfer(transfer).await? else { return Ok(None) };
        if found.value.status != TransferStatus::Posted {
            return Ok(None);
        }
        if found.value.resolved_at.is_none() {
            return Ok(Some(transfer));
        }
        let fates = self.read(Reach::Memory, move |core, reach| core.fates(transfer, reach)).await?;
        Ok(fates.into_iter().find(|(_, fate)| *fate == Fate::Posted).map(|(by, _)| by))
    }

    /// The place in the list of a day at which a transfer stands.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn place_on(&self, day: Day, transfer: Seq) -> Result<Seq, Unavailable> {
        if transfer > self.core().journal().appended_seq() {
            return Ok(transfer);
        }
        self.durable(transfer).await?;
        self.read(Reach::Memory, move |core, reach| core.place_on(day, transfer, reach)).await
    }

    /// A page of transfers, newest first, after `before`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn transfers(
        &self,
        filter: TransferFilter,
        before: Option<Seq>,
        limit: usize,
        place: &mut Option<Place>,
    ) -> Result<AsOf<Page<TransferView>>, Unavailable> {
        let newest = self.core().newest_of(&filter);
        self.durable(newest).await?;
        let begin = if matches!(filter.scope, TransferScope::Date(_)) { Reach::Disk } else { Reach::Memory };
        let page = move |core: &Arc<Core>, reach| core.transfer_page(&filter, newest, before, limit, reach);
        self.read_at(place, begin, page).await
    }

    /// General-ledger totals by effective date up to `on`.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn trial_balance(
        &self,
        on: Option<Day>,
        currency: Option<Currency>,
        place: &mut Option<Place>,
    ) -> Result<AsOf<TrialBalance>, Unavailable> {
        let core = Arc::clone(self.core());
        let balance = run_at(place, move || core.trial_balance(on, currency)).await?;
        self.durable(balance.seq).await?;
        Ok(balance)
    }

    /// Period closings.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn periods(&self) -> Result<AsOf<Periods>, Unavailable> {
        let value = self.core().periods.lock().view();
        let seq = value.events.first().map_or(Seq::NONE, |event| event.seq);
        self.durable(seq).await?;
        Ok(AsOf { value, seq })
    }

    /// All API keys, by number, revoked ones included.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn api_keys(&self) -> Result<AsOf<Arc<KeyList>>, Unavailable> {
        let value = self.core().keyring.all();
        let seq = value.iter().map(|key| key.last_seq).max().unwrap_or(Seq::NONE);
        self.durable(seq).await?;
        Ok(AsOf { value, seq })
    }

    /// One API key, whatever became of it; `None` when there never was one of this number.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn api_key(&self, number: u64) -> Result<AsOf<Option<Arc<HeldKey>>>, Unavailable> {
        let value = self.core().keyring.get(number);
        let seq = value.as_ref().map_or(Seq::NONE, |key| key.last_seq);
        self.durable(seq).await?;
        Ok(AsOf { value, seq })
    }

    /// State for `/v1/status`: its counts are those of now, if that is durable soon.
    pub async fn status_soon(&self) -> EngineStatus {
        let (core, appended) = (self.core(), self.core().journal().appended_seq());
        // How it ends does not matter: the counts are of what is durable by then.
        let _ = tokio::time::timeout(STATUS_WAIT, core.watermark().wait(appended)).await;
        self.status()
    }

    /// State for whoever shows it. Its counts reveal nothing that is not durable: they are those of now
    /// where all of it is, else those that were when somebody asked last.
    #[must_use]
    pub fn status(&self) -> EngineStatus {
        let counts = self.core().counts();
        // After the counts: whatever they have seen is appended up to here.
        let seq = self.core().journal().appended_seq();
        let mut told = self.told.lock();
        if self.core().watermark().covers(seq) && told.seq <= seq {
            *told = AsOf { value: counts, seq };
        }
        let Counts { accounts, holds, business_date } = told.value;
        drop(told);
        EngineStatus { accounts, holds, business_date, ..self.core().status() }
    }

    /// The business date.
    #[must_use]
    pub fn business_date(&self) -> Day {
        self.core().business_date()
    }
}
