//! Checkpoints: the hot state on its way into the store, in the background.
//!
//! 1. Under all locks, for as long as a few pointer swaps take: note `S0`, the newest seq; set the
//!    off-date rows aside; sum up the general-ledger days that changed.
//! 2. Chunk by chunk, each under a short lock: copy the accounts that changed. A row may be newer
//!    than `S0`; it carries its own seq and replay skips what it has. Holds, fates, anchors and marks
//!    likewise: replaying over them changes nothing.
//! 3. Wait until the greatest seq copied is durable: the store is never ahead of the journal.
//! 4. One store transaction; only then what was set aside is dropped.
//!
//! Loans go first, and where many have changed in transactions of their own: after the end of a day a million rows in
//! one would keep the disk from the journal for a third of a second. A crash between two of them leaves rows that are
//! newer than the checkpoint, which is what step 2 leaves anyway. Only loans can: what an entry does to an account
//! is in several tables (the row, anchors, marks), which have to come together.
//!
//! When the store refuses (a full disk), nothing is lost: what was set aside stays, the store is
//! opened again (redb refuses everything after an I/O error), and the next checkpoint takes it along.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::domain::account::{Account, GlNo};
use crate::domain::apply::{Anchor, Mark};
use crate::domain::gl::GlTotals;
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::loan::events::Dated;
use crate::domain::time::Day;
use crate::journal::{pack_loan_events, unpack_loan_events};
use crate::store::{
    ACCOUNTS_PER_CHUNK, CUSTOMERS_PER_CHUNK, Checkpoint, Meta, OffDateRow, PeriodEventRow, ResolutionKind, StoreError,
};

use super::Core;
use super::holds::{Fate, FateRow, HoldChanges};
use super::loans::book::Unstored;
use super::shard::{AnchorMap, MarkMap, OffDate, OffDates};

/// Events of a loan in one row of the store.
pub(super) const EVENTS_PER_CHUNK: usize = 500;

/// Loans that are looked at under one lock.
const LOANS_AT_ONCE: u32 = 1_000;

/// What waits to be stored; grows only while the store refuses.
#[derive(Debug, Default)]
pub struct Staged {
    holds: HoldChanges,
    anchors: Vec<Arc<AnchorMap>>,
    marks: Vec<Arc<MarkMap>>,
    off_dates: Vec<Arc<OffDates>>,
    gl_days: BTreeSet<Day>,
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointReport {
    /// Replay begins after this seq.
    pub seq: Seq,
    /// Chunks of accounts written.
    pub chunks: u32,
}

/// Why there was no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store refused; the next checkpoint tries again.
    #[error("could not write the checkpoint")]
    Store(#[from] StoreError),
    /// The journal failed while the checkpoint waited for it.
    #[error("the journal failed before the checkpoint was covered")]
    Journal,
}

/// State at `S0`, taken under all locks.
struct Ground {
    meta: Meta,
    gl_days: Vec<(Day, BTreeMap<GlNo, GlTotals>)>,
}

impl Core {
    /// Writes a checkpoint. `wait` returns once a seq is durable, or false when it never will be.
    /// Between its steps, with nothing locked, it is called with [`Seq::NONE`]: a breath, in which
    /// other commands may run.
    ///
    /// # Errors
    /// [`CheckpointError`]; the books are unharmed and what was staged is kept.
    pub fn checkpoint(&self, wait: &mut dyn FnMut(Seq) -> bool) -> Result<CheckpointReport, CheckpointError> {
        self.checkpoint_with(None, wait)
    }

    /// A checkpoint while replaying: everything up to `seq` was applied, and nothing after it.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub(super) fn checkpoint_at(&self, seq: Seq) -> Result<CheckpointReport, CheckpointError> {
        self.checkpoint_with(Some(seq), &mut |_| true)
    }

    fn checkpoint_with(
        &self,
        replayed: Option<Seq>,
        wait: &mut dyn FnMut(Seq) -> bool,
    ) -> Result<CheckpointReport, CheckpointError> {
        let mut staged = self.staged.lock();
        self.mend_store(&mut staged)?;
        let done = self.write_checkpoint(replayed, &mut staged, wait);
        if let Err(CheckpointError::Store(_)) = &done {
            self.store_failed.store(true, Ordering::Release);
        }
        done
    }

    /// Opens a store that has failed again. The checkpoint whose commit failed may be in it or not:
    /// its own word decides, and nothing has been staged since.
    fn mend_store(&self, staged: &mut Staged) -> Result<(), StoreError> {
        if !self.store_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.store.reopen(self.disk.as_ref(), super::recovery::STORE_FILE, self.store_cache_bytes)?;
        if self.store.is_held() {
            return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
        }
        let stored = self.store.meta()?.map_or(Seq::NONE, |meta| meta.checkpoint_seq);
        if stored > self.checkpoint_seq() {
            *staged = Staged::default();
            self.stored_through.fetch_max(self.journal.appended_seq().0, Ordering::AcqRel);
            self.set_checkpoint_seq(stored);
            self.drop_frozen();
        }
        self.store_failed.store(false, Ordering::Release);
        tracing::info!(checkpoint.seq = stored.0, "the store was opened again after a failure");
        Ok(())
    }

    /// Before a key table is written; see [`Core::mend_store`].
    pub(super) fn mend_store_for_keys(&self) -> Result<(), StoreError> {
        if !self.store_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.mend_store(&mut self.staged.lock())
    }

    fn write_checkpoint(
        &self,
        replayed: Option<Seq>,
        staged: &mut Staged,
        wait: &mut dyn FnMut(Seq) -> bool,
    ) -> Result<CheckpointReport, CheckpointError> {
        let ground = self.take_ground(replayed, staged);
        let before = self.checkpoint_seq();
        let (mut transaction, stored_loans) = self.write_loans(wait)?;
        let mut chunks = 0;
        let mut rows: Vec<Account> = Vec::with_capacity(ACCOUNTS_PER_CHUNK as usize);
        for chunk in 0.. {
            let _ = wait(Seq::NONE);
            self.copy_chunk(chunk, &mut rows);
            if rows.is_empty() {
                break;
            }
            if rows.iter().any(|row| row.last_seq > before) {
                transaction.accounts(chunk, &rows)?;
                chunks += 1;
            }
        }
        for chunk in 0.. {
            let rows = self.lending.copy_customers(chunk as usize * CUSTOMERS_PER_CHUNK, CUSTOMERS_PER_CHUNK);
            if rows.is_empty() {
                break;
            }
            if rows.iter().any(|row| row.last_seq > before) {
                transaction.customers(chunk, &rows)?;
                chunks += 1;
            }
        }
        self.stage_the_rest(staged);
        let _ = wait(Seq::NONE);
        transaction.holds(staged.holds.opened.iter().copied(), staged.holds.resolved.iter().copied())?;
        transaction.resolutions(&staged.holds.fates.iter().map(resolution).collect::<Vec<_>>())?;
        transaction.anchors(&anchor_rows(&staged.anchors))?;
        transaction.marks(&mark_rows(&staged.marks))?;
        transaction.offdates(&off_date_rows(&staged.off_dates))?;
        let days = staged.off_dates.iter().flat_map(|piece| &piece.by_day);
        transaction.off_days(days.flat_map(|(day, seqs)| seqs.iter().map(|seq| (*day, *seq))))?;
        for (day, lines) in &ground.gl_days {
            transaction.gl_day(*day, lines)?;
        }
        if !wait(self.copied_through()) {
            return Err(CheckpointError::Journal);
        }
        let (chain_seq, chain_hash) = self.journal.chain_head();
        let meta = Meta { chain_seq, chain_hash, ..ground.meta };
        transaction.meta(&meta)?;
        transaction.commit()?;
        *staged = Staged::default();
        self.loans.mark_stored(&stored_loans);
        // What was staged may be about entries up to now; said before memory lets go of it.
        self.stored_through.fetch_max(self.journal.appended_seq().0, Ordering::AcqRel);
        // First the seq, then the rows: whoever looked into memory before they went sees that they moved.
        self.set_checkpoint_seq(meta.checkpoint_seq);
        self.drop_frozen();
        Ok(CheckpointReport { seq: meta.checkpoint_seq, chunks })
    }

    /// Loans, in transactions of some thousands. The one that is open at the end, and what was written into it, to be
    /// marked once it is in the store: newest event, last day run.
    fn write_loans(
        &self,
        wait: &mut dyn FnMut(Seq) -> bool,
    ) -> Result<(Checkpoint<'_>, Vec<(u32, Seq, Day)>), CheckpointError> {
        let mut transaction = self.store.begin()?;
        let (mut written, mut bytes, mut after) = (Vec::new(), Vec::new(), 0);
        let look_at = LOANS_AT_ONCE.min(u32::try_from(self.loans_per_commit).unwrap_or(u32::MAX));
        loop {
            let _ = wait(Seq::NONE);
            let (rows, last) = self.loans.unstored_after(after, look_at);
            if !rows.is_empty() && written.len() >= self.loans_per_commit {
                if !wait(self.copied_through()) {
                    return Err(CheckpointError::Journal);
                }
                transaction.commit()?;
                self.loans.mark_stored(&written);
                written.clear();
                transaction = self.store.begin()?;
            }
            for Unstored { loan, row, events } in &rows {
                super::loans::encode_row(row, &mut bytes);
                transaction.loan(*loan, &bytes)?;
                append_events(&mut transaction, *loan, row.events as usize - events.len(), events)?;
                written.push((*loan, row.last_seq, row.through));
            }
            if last == after {
                return Ok((transaction, written));
            }
            after = last;
        }
    }

    /// At least the greatest seq of what was copied. Behind the sequencer: a loan changes before the seq of what changed
    /// it is published.
    fn copied_through(&self) -> Seq {
        drop(self.journal.lock());
        self.journal.appended_seq()
    }

    /// Step 1.
    fn take_ground(&self, replayed: Option<Seq>, staged: &mut Staged) -> Ground {
        let directory = self.directory.lock();
        let mut locked = self.shards.lock_all();
        // Behind the sequencer: whoever has let go of the accounts may still have to publish what it appended.
        drop(self.journal.lock());
        let checkpoint_seq = replayed.unwrap_or_else(|| self.journal.appended_seq());
        for shard in locked.shards_mut() {
            staged.gl_days.extend(shard.gl.take_changed());
            if !shard.off_dates.is_empty() {
                let rows = Arc::new(std::mem::take(&mut shard.off_dates));
                shard.off_dates_frozen.push(Arc::clone(&rows));
                staged.off_dates.push(rows);
            }
        }
        let mut gl_days = Vec::with_capacity(staged.gl_days.len());
        for day in &staged.gl_days {
            let mut lines = BTreeMap::new();
            for shard in locked.shards_mut() {
                shard.gl.add_day(*day, &mut lines);
            }
            gl_days.push((*day, lines));
        }
        let meta = Meta {
            journal_id: self.journal.id(),
            checkpoint_seq,
            chain_seq: Seq::NONE,
            chain_hash: [0; 32],
            last_moment: Moment(self.clock.now().0),
            business_date: self.business_date(),
            closed_through: self.closed_through(),
            period_events: self.period_rows(),
            day_runs: self.day_runs.lock().clone(),
            gl_keys: self.chart.read().keys().to_vec(),
            accounts: directory.accounts,
            api_keys: self.keyring.rows(),
            customers: self.lending.customer_count(),
            loans: self.loans.loans().count(),
            lending: self.loans.packed_lending(),
            objects: self.objects.rows(),
        };
        Ground { meta, gl_days }
    }

    /// Step 2, for one chunk; leaves `rows` empty past the last account.
    fn copy_chunk(&self, chunk: u32, rows: &mut Vec<Account>) {
        use crate::domain::transfer::View;
        rows.clear();
        let first = chunk * ACCOUNTS_PER_CHUNK;
        let locked = self.shards.lock_all();
        rows.extend((first..first + ACCOUNTS_PER_CHUNK).map_while(|no| locked.account(AccountNo(no)).copied()));
    }

    /// Step 2, for what is not accounts.
    fn stage_the_rest(&self, staged: &mut Staged) {
        let mut changes = self.holds.freeze();
        staged.holds.opened.append(&mut changes.opened);
        staged.holds.resolved.append(&mut changes.resolved);
        staged.holds.fates.append(&mut changes.fates);
        // After an earlier failure both lists may be out of order, and a hold in both is resolved.
        let resolved: BTreeSet<Seq> = staged.holds.resolved.iter().copied().collect();
        staged.holds.opened.retain(|(seq, _)| !resolved.contains(seq));
        staged.holds.opened.sort_unstable_by_key(|(seq, _)| *seq);
        staged.holds.fates.sort_unstable();
        staged.holds.fates.dedup();
        let mut locked = self.shards.lock_all();
        for shard in locked.shards_mut() {
            if !shard.anchors.is_empty() {
                let anchors = Arc::new(std::mem::take(&mut shard.anchors));
                shard.anchors_frozen.push(Arc::clone(&anchors));
                staged.anchors.push(anchors);
            }
            if !shard.marks.is_empty() {
                let marks = Arc::new(std::mem::take(&mut shard.marks));
                shard.marks_frozen.push(Arc::clone(&marks));
                staged.marks.push(marks);
            }
        }
    }

    /// Step 4: the store has it.
    fn drop_frozen(&self) {
        self.holds.thaw();
        let mut gone = Vec::new();
        let mut locked = self.shards.lock_all();
        for shard in locked.shards_mut() {
            let anchors = std::mem::take(&mut shard.anchors_frozen);
            gone.push((anchors, std::mem::take(&mut shard.marks_frozen), std::mem::take(&mut shard.off_dates_frozen)));
        }
        // Freed after the locks: millions of rows take longer to free than a lock may last.
        drop(locked);
        drop(gone);
    }

    fn period_rows(&self) -> Vec<PeriodEventRow> {
        let periods = self.periods.lock();
        let row = |event: &super::view::PeriodEvent| PeriodEventRow {
            seq: event.seq,
            at: event.at,
            through: event.through,
            reason: event.reopened_because.clone(),
        };
        periods.events().iter().map(row).collect()
    }
}

/// Appends events of a loan behind so many that the store has.
fn append_events(
    transaction: &mut Checkpoint<'_>,
    loan: u32,
    stored: usize,
    mut events: &[Dated],
) -> Result<(), StoreError> {
    let mut place = stored;
    while !events.is_empty() {
        let chunk = (place / EVENTS_PER_CHUNK) as u32;
        let before = place % EVENTS_PER_CHUNK;
        // A checkpoint that failed may have written them: what is there beyond is written again.
        let mut all =
            if before == 0 { Vec::new() } else { stored_events(&transaction.loan_events(loan, chunk)?, loan)? };
        all.truncate(before);
        let now = events.len().min(EVENTS_PER_CHUNK - before);
        all.extend_from_slice(&events[..now]);
        transaction.put_loan_events(loan, chunk, &pack_loan_events(&all))?;
        (place, events) = (place + now, &events[now..]);
    }
    Ok(())
}

/// A chunk of a loan's events from the store.
pub(super) fn stored_events(bytes: &[u8], loan: u32) -> Result<Vec<Dated>, StoreError> {
    let what = || StoreError::Corrupt { table: "loan_events", key: loan.into(), what: "it is not understood".into() };
    unpack_loan_events(bytes).ok_or_else(what)
}

fn anchor_rows(maps: &[Arc<AnchorMap>]) -> Vec<Anchor> {
    let mut rows: Vec<Anchor> = maps.iter().flat_map(|map| map.values()).copied().collect();
    rows.sort_unstable_by_key(|anchor| (anchor.day, anchor.account));
    rows
}

fn mark_rows(maps: &[Arc<MarkMap>]) -> Vec<Mark> {
    let mut rows: Vec<Mark> = maps.iter().flat_map(|map| map.values().flatten()).copied().collect();
    rows.sort_unstable_by_key(|mark| (mark.account, mark.at));
    rows
}

fn off_date_rows(pieces: &[Arc<OffDates>]) -> Vec<OffDateRow> {
    let row = |account: AccountNo, row: &OffDate| OffDateRow {
        account,
        side: row.side,
        effective: row.effective,
        booked: row.booked,
        seq: row.seq,
        amount: row.amount,
    };
    let accounts = pieces.iter().flat_map(|piece| &piece.by_account);
    accounts.flat_map(|(no, rows)| rows.iter().map(|off| row(*no, off))).collect()
}

fn resolution(row: &FateRow) -> (Seq, Seq, ResolutionKind) {
    let (original, by, fate) = *row;
    let kind = match fate {
        Fate::Posted => ResolutionKind::Posted,
        Fate::Voided => ResolutionKind::Voided,
        Fate::Expired => ResolutionKind::Expired,
        Fate::Reversed => ResolutionKind::Reversed,
    };
    (original, by, kind)
}
