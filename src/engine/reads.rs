//! Queries: what the books say now, and each answer's greatest seq.
//!
//! A query copies what it needs under the locks, waits until that is durable, and reads the rest
//! from history. Functions here do not wait: they take a [`Reach`] and say where they would have to.

use std::sync::Arc;

use crate::domain::account::Account;
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{AccountNo, Seq, parse_account_id, parse_id};
use crate::domain::money::Currency;
use crate::domain::time::Day;

use super::Core;
use super::history::{Located, Reach, ReadError, Steps};
use super::holds::Fate;
use super::keys::{ExternalKind, KeyKind, external_hash};
use super::statement::Snapshot;
use super::submit::{resolved_view, stored_view};
use super::view::{AccountFilter, AccountView, AsOf, Page, TransferFilter, TransferScope, TransferView, TrialBalance};
use super::walk::{Step, Walk};

impl Core {
    /// The account that `acct_…` or `ext:…` names; existence of an `acct_…` is not checked.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read, or only by another reach.
    pub fn resolve_account(&self, text: &str, reach: Reach) -> Result<Option<AccountNo>, ReadError> {
        let Some(external) = text.strip_prefix("ext:") else { return Ok(parse_account_id(text)) };
        let number = self.find_key(KeyKind::External, &external_hash(ExternalKind::Account, external), reach)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()).map(AccountNo))
    }

    /// The number of the customer that `cust_…` or `ext:…` names; existence of a `cust_…` is not checked.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read, or only by another reach.
    pub fn resolve_customer(&self, text: &str, reach: Reach) -> Result<Option<u32>, ReadError> {
        let number = match text.strip_prefix("ext:") {
            None => parse_id(crate::domain::ids::IdKind::Customer, text),
            Some(external) => {
                self.find_key(KeyKind::External, &external_hash(ExternalKind::Customer, external), reach)?
            }
        };
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    }

    /// The transfer that `tr_…` or `ext:…` names; existence of a `tr_…` is not checked.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read, or only by another reach.
    pub fn resolve_transfer(&self, text: &str, reach: Reach) -> Result<Option<Seq>, ReadError> {
        let Some(external) = text.strip_prefix("ext:") else {
            return Ok(parse_id(crate::domain::ids::IdKind::Transfer, text).map(Seq));
        };
        Ok(self.find_key(KeyKind::External, &external_hash(ExternalKind::Transfer, external), reach)?.map(Seq))
    }

    /// Memory first, then the store; again when rows moved from one to the other in between.
    pub(super) fn find_key(&self, kind: KeyKind, hash: &[u8; 16], reach: Reach) -> Result<Option<u64>, ReadError> {
        loop {
            let generation = self.keys.generation();
            if let Some(number) = self.keys.find(kind, hash) {
                return Ok(Some(number));
            }
            let stored = self.stored_key(kind, hash, reach)?;
            if stored.is_some() || generation == self.keys.generation() {
                return Ok(stored);
            }
        }
    }

    /// A copy of an account's row; its newest seq may not be durable yet.
    #[must_use]
    pub fn account_row(&self, no: AccountNo) -> Option<Account> {
        self.shards.copy(no)
    }

    /// The view of an account's row.
    ///
    /// # Errors
    /// [`ReadError`] for its texts, which must be durable.
    pub fn account_view(&self, no: AccountNo, account: Account, reach: Reach) -> Result<AccountView, ReadError> {
        let cold = self.history.account_texts(account.cold_seq, reach)?;
        let code = self.chart.read().key(account.gl).code;
        Ok(AccountView { no: Some(no), account, code, cold })
    }

    /// Rows of a page of accounts, newest first, before their texts are read.
    ///
    /// # Errors
    /// [`ReadError::TooFar`] when more rows are looked at than the reach allows.
    pub fn account_rows(
        &self,
        filter: &AccountFilter,
        before: Option<AccountNo>,
        limit: usize,
        reach: Reach,
    ) -> Result<Page<(AccountNo, Account)>, ReadError> {
        let count = self.directory.lock().accounts;
        let top = before.map_or(count, |before| before.0.min(count));
        let mut page = Page { rows: Vec::new(), has_more: false, cursor: None };
        let mut steps = Steps::of(reach);
        for no in (0..top).rev().map(AccountNo) {
            if !steps.take()? {
                page.has_more = true;
                break;
            }
            let Some(account) = self.shards.copy(no) else { continue };
            let code = || self.chart.read().key(account.gl).code;
            let matches = filter.account_type.is_none_or(|wanted| wanted == account.account_type)
                && filter.currency.is_none_or(|wanted| wanted == account.currency)
                && filter.status.is_none_or(|wanted| wanted == account.status)
                && filter.code.is_none_or(|wanted| wanted == code());
            // One more than fits says that there is more; the page ends before it.
            if matches && page.rows.len() == limit {
                page.has_more = true;
                break;
            }
            page.cursor = Some(u64::from(no.0));
            if matches {
                page.rows.push((no, account));
            }
        }
        Ok(page)
    }

    /// A transfer as it is today. Its seq must be durable.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn transfer_view(&self, seq: Seq, reach: Reach) -> Result<Option<AsOf<TransferView>>, ReadError> {
        self.transfer_view_by(seq, Seq(u64::MAX), reach)
    }

    /// A transfer as it was after the entry at `through`: what later ones did to it is not shown.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn transfer_view_by(
        &self,
        seq: Seq,
        through: Seq,
        reach: Reach,
    ) -> Result<Option<AsOf<TransferView>>, ReadError> {
        let Some(original) = self.history.entry(seq, reach)? else { return Ok(None) };
        self.view_of(&original, through, reach)
    }

    /// An account as it was after the entry at `through`, which is durable and of the business day `date`;
    /// `None` when it did not exist then. Waits for the disk: what it is told from may not be durable yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn account_view_by(&self, no: AccountNo, through: Seq, date: Day) -> Result<Option<AccountView>, ReadError> {
        let Some(row) = self.account_row(no) else { return Ok(None) };
        if row.cold_seq <= through {
            return self.account_view(no, row, Reach::Disk).map(Some);
        }
        if !self.watermark.wait_blocking(row.last_seq) {
            return Err(ReadError::Unreadable(format!("entry seq={} never became durable", row.last_seq)));
        }
        let (off_dates, later) = (Vec::new(), Vec::new());
        let snapshot = Snapshot { no, account: row, off_dates, appended: row.last_seq, later };
        match self.row_by(&snapshot, through, date, Reach::Disk, &mut Steps::of(Reach::Disk))? {
            Some(row) => self.account_view(no, row, Reach::Disk).map(Some),
            None => Ok(None),
        }
    }

    /// The view of a stored transfer after the entry at `through`; `None` for entries that are none.
    fn view_of(&self, original: &Located, through: Seq, reach: Reach) -> Result<Option<AsOf<TransferView>>, ReadError> {
        let Some(entry) = original.transfer().filter(|entry| entry.resolves().is_none()) else { return Ok(None) };
        let currency = self.currency(entry.debit);
        let mut as_of = original.seq;
        let mut view = stored_view(original, currency).expect("the entry is a transfer");
        // A fate that is not durable yet is not shown: this read shows the books before it.
        let fates = self.fates(original.seq, reach)?;
        for (by, fate) in fates.into_iter().filter(|(by, _)| *by <= through && self.watermark.covers(*by)) {
            as_of = as_of.max(by);
            if fate == Fate::Reversed {
                view.reversed_by = Some(by);
                continue;
            }
            let unreadable = || ReadError::Unreadable(format!("the resolution seq={by} is not there"));
            let resolution = self.history.entry(by, reach)?.ok_or_else(unreadable)?;
            let reversed_by = view.reversed_by;
            view = resolved_view(original, &resolution, currency);
            view.reversed_by = reversed_by;
        }
        Ok(Some(AsOf { value: view, seq: as_of }))
    }

    /// What happened to a transfer later, ascending by seq: from memory and the store.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub fn fates(&self, seq: Seq, reach: Reach) -> Result<Vec<(Seq, Fate)>, ReadError> {
        // Memory before the store: rows move from memory to the store, never back.
        let mut fates = self.holds.recent_fates(seq);
        fates.extend(self.stored_fates(seq, reach)?);
        fates.sort_unstable();
        fates.dedup();
        Ok(fates)
    }

    /// Where a list of transfers begins: the account's newest entry, or the newest of all. The caller
    /// waits until it is durable; what comes later is for the next read.
    #[must_use]
    pub fn newest_of(&self, filter: &TransferFilter) -> Seq {
        match filter.scope {
            TransferScope::Account(no) => self.shards.copy(no).map_or(Seq::NONE, |account| account.last_seq),
            TransferScope::Date(_) | TransferScope::Voucher(_) => self.journal.appended_seq(),
        }
    }

    /// A page of transfers, newest first. `newest` is where to begin ([`Core::newest_of`]), durable by now.
    ///
    /// # Errors
    /// [`ReadError`]; [`ReadError::NoSuchPlace`] when `before` is no place of the list.
    pub fn transfer_page(
        &self,
        filter: &TransferFilter,
        newest: Seq,
        before: Option<Seq>,
        limit: usize,
        reach: Reach,
    ) -> Result<AsOf<Page<TransferView>>, ReadError> {
        let mut walk = Walk::open(self, filter.scope, newest, before, reach)?;
        let mut page = Page { rows: Vec::new(), has_more: false, cursor: None };
        let mut as_of = newest;
        loop {
            let located = match walk.step()? {
                Step::Entry(located) => located,
                Step::End => break,
                Step::Tired(last) => {
                    (page.has_more, page.cursor) = (true, Some(last.0));
                    break;
                }
            };
            let view = match filter.scope {
                TransferScope::Date(day) => self.listed_on(day, &located, reach)?,
                _ => self.view_of(&located, Seq(u64::MAX), reach)?,
            };
            let view = view.filter(|view| filter.wants(&view.value));
            // One more than fits says that there is more; the page ends before it.
            if view.is_some() && page.rows.len() == limit {
                page.has_more = true;
                break;
            }
            page.cursor = Some(located.seq.0);
            if let Some(view) = view {
                as_of = as_of.max(view.seq);
                page.rows.push(view.value);
            }
        }
        Ok(AsOf { value: page, seq: as_of })
    }

    /// The transfer that is listed under a day at this entry; `None` when it is none, or listed elsewhere. A
    /// transfer is listed at its own entry if that is of the day, else (a hold that was posted later, with
    /// that day's date) at the posting.
    ///
    /// # Errors
    /// [`ReadError`].
    fn listed_on(&self, day: Day, at: &Located, reach: Reach) -> Result<Option<AsOf<TransferView>>, ReadError> {
        let Some(entry) = at.transfer() else { return Ok(None) };
        let Some(hold) = entry.resolves() else { return self.view_of(at, Seq(u64::MAX), reach) };
        let unreadable = || ReadError::Unreadable(format!("the hold seq={hold} is not there"));
        let original = self.history.entry(hold, reach)?.ok_or_else(unreadable)?;
        let own = original.transfer().ok_or_else(unreadable)?.effective_on(original.date);
        if own == day { Ok(None) } else { self.view_of(&original, Seq(u64::MAX), reach) }
    }

    /// The place of a transfer in the list of a day, as a cursor: see [`Core::listed_on`].
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn place_on(&self, day: Day, transfer: Seq, reach: Reach) -> Result<Seq, ReadError> {
        let located = if transfer == Seq::NONE { None } else { self.history.entry(transfer, reach)? };
        let is_of = |located: &Located| located.transfer().is_some_and(|entry| entry.effective_on(located.date) == day);
        if located.as_ref().is_none_or(is_of) {
            return Ok(transfer);
        }
        let posted = self.fates(transfer, reach)?.into_iter().find(|(_, fate)| *fate == Fate::Posted);
        let Some((by, _)) = posted.filter(|(by, _)| self.watermark.covers(*by)) else { return Ok(transfer) };
        Ok(self.history.entry(by, reach)?.filter(is_of).map_or(transfer, |posting| posting.seq))
    }

    /// General-ledger totals by effective date, up to and including `on` (all of them when `None`).
    #[must_use]
    pub fn trial_balance(&self, on: Option<Day>, currency: Option<Currency>) -> AsOf<TrialBalance> {
        let mut totals: Vec<GlTotals> = Vec::new();
        let seq = {
            let mut locked = self.shards.lock_all();
            for shard in locked.shards_mut() {
                shard.gl.add_through(on.unwrap_or(Day(u16::MAX)), &mut totals);
            }
            self.journal.appended_seq()
        };
        let chart = self.chart.read();
        let mut rows: Vec<(GlKey, GlTotals)> = chart.keys().iter().copied().zip(totals).collect();
        rows.retain(|(key, totals)| {
            currency.is_none_or(|wanted| key.currency == wanted) && *totals != GlTotals::default()
        });
        rows.sort_unstable_by_key(|(key, _)| (key.currency.code(), key.code, key.account_type));
        AsOf { value: rows, seq }
    }
}

/// The texts of a list of accounts.
///
/// # Errors
/// [`ReadError`].
pub fn with_texts(
    core: &Arc<Core>,
    page: &Page<(AccountNo, Account)>,
    reach: Reach,
) -> Result<Page<AccountView>, ReadError> {
    let rows =
        page.rows.iter().map(|(no, account)| core.account_view(*no, *account, reach)).collect::<Result<_, _>>()?;
    Ok(Page { rows, has_more: page.has_more, cursor: page.cursor })
}
