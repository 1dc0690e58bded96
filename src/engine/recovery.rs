//! Opening a data folder: checkpoint, then the journal's tail, then the keys.
//!
//! 1. Open the store; one that is damaged or of another format is deleted: it costs time, not data.
//! 2. Open the journal, which must reach at least as far as the store has seen, with the same hash.
//! 3. Load the checkpoint.
//! 4. One scan from the end of the checkpoint or of the key tables, whichever is earlier: entries after the
//!    checkpoint go through the same `apply` as live ones; keys and external ids go to memory and, when they are
//!    many, into tables.
//!    What a full disk does not let into the store stays in memory, and waits for the keeper.
//! 5. Check that the books balance in every currency.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::Disk;
use crate::domain::apply::open_account;
use crate::domain::entry::Entry;
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;
use crate::domain::transfer::View;
use crate::journal::{Item, JournalError, JournalOptions, Maintenance, Trailer, Writer};
use crate::store::{Meta, Store, StoreError};

use super::clock::{Clock, TimeSource};
use super::command::Origin;
use super::commit::{Decided, Probe, apply_changed};
use super::history::Reach;
use super::keyring::Keyring;
use super::keys::{ExternalKind, KeyKind, KeyRow, external_hash};
use super::loans::amounts::payment_key;
use super::loans::book::{Mismatch, ProductVersion};
use super::objects::ObjectBook;
use super::outcome::Outcome;
use super::periods::PeriodBook;
use super::view::PeriodEvent;
use super::{Core, EngineOptions};

pub use crate::store::STORE_FILE;

/// Written when damage is found in the store while it is in use: the next start rebuilds it.
pub const STORE_DAMAGED_FILE: &str = "store.damaged";

/// Entries replayed between two checkpoints when the store is rebuilt: bounds the overlays' memory.
const REPLAY_CHECKPOINT_ENTRIES: u64 = 4_000_000;

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal is damaged, foreign, or shorter than it was.
    #[error("could not open the journal")]
    Journal(#[from] JournalError),
    /// The store cannot be written (a damaged one is rebuilt without asking).
    #[error("could not open the store")]
    Store(#[from] StoreError),
    /// The file system says no.
    #[error("could not use the data folder")]
    Io(#[from] std::io::Error),
    /// The store belongs to another journal.
    #[error(
        "store.redb belongs to another journal (id {store:016x}, the journal here has {journal:016x}); if the journal is the right one, delete store.redb and start again: it will be rebuilt"
    )]
    ForeignStore { store: u64, journal: u64 },
    /// Replay found a loan that comes to something else than the journal says.
    #[error("entry seq={seq}: {what}; the program that wrote it worked otherwise, run `munim verify`")]
    Loan { seq: Seq, what: String },
    /// Replay found books that do not balance.
    #[error("the books do not balance in {currency}: debits {debits}, credits {credits}; run `munim verify`")]
    Unbalanced { currency: &'static str, debits: u128, credits: u128 },
}

/// An engine's parts, before anything runs. Tests drive them by hand.
#[derive(Debug)]
pub struct Parts {
    /// The books.
    pub core: Arc<Core>,
    /// The journal's writer.
    pub writer: Writer,
    /// Segment upkeep.
    pub maintenance: Maintenance,
    /// What recovery did.
    pub report: RecoveryReport,
}

/// What recovery did.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecoveryReport {
    /// The store was deleted and built anew.
    pub rebuilt_store: bool,
    /// Seq of the checkpoint that was loaded.
    pub checkpoint_seq: Seq,
    /// Entries replayed after it.
    pub replayed: u64,
}

/// Opens a data folder. Nothing runs yet; see [`super::Engine::start`].
///
/// # Errors
/// [`OpenError`]; nothing was changed that a second attempt could miss.
pub fn open(disk: &Arc<dyn Disk>, options: &EngineOptions, time: Box<dyn TimeSource>) -> Result<Parts, OpenError> {
    let mut report = RecoveryReport::default();
    let is_marked = disk.list()?.iter().any(|name| name == STORE_DAMAGED_FILE);
    let (store, meta) = match open_store(disk.as_ref(), options) {
        Ok(opened) if is_marked => {
            tracing::warn!("an audit found the store damaged: it is rebuilt from the journal");
            drop(opened);
            rebuild(disk.as_ref(), options, &mut report)?
        }
        Ok(opened) => opened,
        Err(error) if error.wants_rebuild() => {
            tracing::warn!(error = %error, "the store is damaged or of another format: it is rebuilt from the journal");
            rebuild(disk.as_ref(), options, &mut report)?
        }
        Err(error) => return Err(error.into()),
    };
    let journal_options = JournalOptions {
        expected: meta.as_ref().map(|meta| (meta.chain_seq, meta.chain_hash)),
        ..options.journal.clone()
    };
    let opened = crate::journal::open(Arc::clone(disk), journal_options)?;
    let journal = opened.journal;
    if let Some(meta) = &meta
        && meta.journal_id != journal.id()
    {
        return Err(OpenError::ForeignStore { store: meta.journal_id, journal: journal.id() });
    }
    let newest = (journal.durable_seq() != Seq::NONE).then(|| journal.last_moment());
    let clock = Clock::start(time, options.zone.clone(), newest);
    let mut core = Core::new(disk, Arc::clone(&journal), store, clock, options);
    match load(&core, meta.as_ref()) {
        Ok(()) => {}
        Err(error) if error.wants_rebuild() => {
            tracing::warn!(error = %error, "the store is damaged: it is rebuilt from the journal");
            let clock = core.clock;
            drop(core.store);
            let (store, _) = rebuild(disk.as_ref(), options, &mut report)?;
            core = Core::new(disk, Arc::clone(&journal), store, clock, options);
        }
        Err(error) => return Err(error.into()),
    }
    // What a store cannot take now, whoever wants to write tries again after opening it anew.
    core.store_failed.store(core.store.is_held(), Ordering::Release);
    let core = Arc::new(core);
    journal.observe(Arc::new(super::Ears(Arc::downgrade(&core))));
    report.checkpoint_seq = core.checkpoint_seq();
    report.replayed = replay(&core)?;
    core.loans.sum_positions();
    core.check_balanced()?;
    match options.first_day {
        Some(day) if newest.is_none() => core.begin_on(day),
        None if newest.is_none() => {
            core.roll_day();
        }
        _ => {}
    }
    Ok(Parts { core, writer: opened.writer, maintenance: opened.maintenance, report })
}

fn open_store(disk: &dyn Disk, options: &EngineOptions) -> Result<(Store, Option<Meta>), StoreError> {
    let store = Store::open(disk, STORE_FILE, options.store_cache_bytes)?;
    let meta = store.meta()?;
    Ok((store, meta))
}

fn rebuild(
    disk: &dyn Disk,
    options: &EngineOptions,
    report: &mut RecoveryReport,
) -> Result<(Store, Option<Meta>), OpenError> {
    disk.remove(STORE_FILE)?;
    disk.sync_dir()?;
    report.rebuilt_store = true;
    if disk.list()?.iter().any(|name| name == STORE_DAMAGED_FILE) {
        // After the store itself: a power cut in between leaves the mark, and it is removed once more.
        disk.remove(STORE_DAMAGED_FILE)?;
        disk.sync_dir()?;
    }
    Ok(open_store(disk, options)?)
}

/// Step 3.
fn load(core: &Core, meta: Option<&Meta>) -> Result<(), StoreError> {
    core.find_tabled()?;
    let Some(meta) = meta else { return Ok(()) };
    {
        let mut directory = core.directory.lock();
        let mut locked = core.shards.lock_all();
        core.store.load_accounts(&mut |_, rows| {
            for account in rows {
                locked.push_account(AccountNo(directory.accounts), account);
                directory.accounts += 1;
            }
        })?;
        let first = locked.shards_mut().next().expect("there is at least one shard");
        core.store.load_gl_days(&mut |day, lines| first.gl.load(day, &lines))?;
    }
    core.store.load_holds(&mut |seq, hold| core.holds.load(seq, hold))?;
    {
        let mut chart = core.chart.write();
        for key in &meta.gl_keys {
            chart.number(*key);
        }
    }
    let event = |row: &crate::store::PeriodEventRow| PeriodEvent {
        seq: row.seq,
        at: row.at,
        through: row.through,
        reopened_because: row.reason.clone(),
    };
    let api_keys = Keyring::read_rows(&meta.api_keys);
    core.keyring.load(api_keys.ok_or_else(|| StoreError::Corrupt {
        table: "meta",
        key: 0,
        what: "an API key in it is not understood".into(),
    })?);
    let objects = ObjectBook::read_rows(&meta.objects);
    core.objects.load(objects.ok_or_else(|| StoreError::Corrupt {
        table: "meta",
        key: 0,
        what: "an object in it is not understood".into(),
    })?);
    let mut customers = Vec::new();
    core.store.load_customers(&mut |rows| customers.extend(rows))?;
    core.lending.load_customers(customers);
    load_lending(core, meta)?;
    *core.periods.lock() = PeriodBook::load(meta.period_events.iter().map(event).collect());
    core.set_closed_through(meta.closed_through);
    core.day_runs.lock().clone_from(&meta.day_runs);
    core.set_business_date(meta.business_date);
    core.set_checkpoint_seq(meta.checkpoint_seq);
    Ok(())
}

/// Products, loans and days. Products are in the journal; the store says where.
fn load_lending(core: &Core, meta: &Meta) -> Result<(), StoreError> {
    let wrong = |what: &str| StoreError::Corrupt { table: "meta", key: 0, what: what.into() };
    let (products, day) =
        super::loans::decode_lending(&meta.lending).ok_or_else(|| wrong("lending in it is not understood"))?;
    for seq in products {
        let located = core.history.entry(seq, Reach::Disk).ok().flatten();
        let Some(Entry::ProductSaved(saved)) = located.map(|located| located.entry) else {
            return Err(wrong("it names a product where the journal has none"));
        };
        core.loans.load_product(ProductVersion { seq, saved: Arc::new(*saved) });
    }
    core.store.load_loans(&mut |bytes| {
        let row = super::loans::decode_row(bytes)?;
        core.loans.product(row.product, Some(row.product_version))?;
        core.loans.load_loan(row);
        Some(())
    })?;
    core.loans.load_day(day);
    Ok(())
}

/// Step 4. Returns how many entries were replayed.
fn replay(core: &Arc<Core>) -> Result<u64, OpenError> {
    let (checkpoint, tabled) = (core.checkpoint_seq(), core.tabled());
    let durable = core.journal.durable_seq();
    if tabled > durable {
        return Err(JournalError::Shorter { last: durable, expected: tabled }.into());
    }
    // All but the last one have ended.
    if let [.., ended, _] = &core.journal.segments()[..] {
        core.rolled_through.store(ended.last_seq.0, Ordering::Release);
    }
    let mut replay = Replay { core, checkpoint, tabled, replayed: 0, since: 0, keys: 0, failed: None, at: None };
    let _ = core.journal.scan_alone(tabled.min(checkpoint).next(), &mut |item| replay.item(item))?;
    match replay.failed.take() {
        Some(error) => Err(error),
        None => Ok(replay.replayed),
    }
}

struct Replay<'a> {
    core: &'a Arc<Core>,
    checkpoint: Seq,
    /// Keys of entries up to here are in tables: a checkpoint may be older than those, and keys that were loaded
    /// again would end up in a later table, too.
    tabled: Seq,
    replayed: u64,
    since: u64,
    /// Rows that were put into memory since the last table.
    keys: u64,
    failed: Option<OpenError>,
    at: Option<(Seq, Moment, Day)>,
}

impl Replay<'_> {
    fn item(&mut self, item: Item<'_>) -> ControlFlow<()> {
        let done = match item {
            Item::Record { first_seq, moment, date } => {
                self.at = Some((first_seq, moment, date));
                self.turn(first_seq)
            }
            Item::Entry { seq, entry } => {
                self.entry(seq, entry);
                Ok(())
            }
            Item::End { trailer, .. } => {
                self.trailer(trailer);
                Ok(())
            }
        };
        match done {
            Ok(()) if self.failed.is_some() => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Between two records: now and then writes key tables, and a checkpoint.
    fn turn(&mut self, next: Seq) -> Result<(), OpenError> {
        self.table(next)?;
        if self.since >= REPLAY_CHECKPOINT_ENTRIES {
            self.since = 0;
            tracing::info!(seq = next.0, "replaying the journal");
            // What is replayed is durable already. A store that refuses is no reason not to open.
            if let Err(error) = self.core.checkpoint_at(Seq(next.0 - 1)) {
                tracing::warn!(error = %error, "no checkpoint while replaying");
            }
        }
        Ok(())
    }

    fn table(&mut self, next: Seq) -> Result<(), OpenError> {
        if self.keys < self.core.keys_per_table || self.core.store_failed.load(Ordering::Acquire) {
            return Ok(());
        }
        self.keys = 0;
        match self.core.table_replayed(Seq(next.0 - 1)) {
            Err(error) if error.is_want() => {
                tracing::warn!(%error, "could not write key tables: the keys stay in memory until there is room");
                self.core.store_failed.store(true, Ordering::Release);
                Ok(())
            }
            done => Ok(done?),
        }
    }

    fn entry(&mut self, seq: Seq, entry: &Entry) {
        let (_, moment, date) = self.at.expect("the scan gives a record before its entries");
        let external = match entry {
            Entry::Transfer(transfer) => transfer
                .cold
                .as_ref()
                .and_then(|cold| cold.external_id.as_deref())
                .map(|text| (external_hash(ExternalKind::Transfer, text), seq.0)),
            Entry::AccountOpened(opened) => opened
                .cold
                .external_id
                .as_deref()
                .map(|text| (external_hash(ExternalKind::Account, text), u64::from(opened.account.0))),
            Entry::CustomerSaved(saved) if saved.version == 1 => saved
                .facts
                .external_id
                .as_deref()
                .map(|text| (external_hash(ExternalKind::Customer, text), u64::from(saved.number))),
            Entry::ProductSaved(saved) if saved.version == 1 => saved
                .facts
                .external_id
                .as_deref()
                .map(|text| (external_hash(ExternalKind::Product, text), u64::from(saved.number))),
            Entry::LoanPosted(posted) => match &posted.application {
                Some(application) => application
                    .external_id
                    .as_deref()
                    .map(|text| (external_hash(ExternalKind::Loan, text), u64::from(posted.loan))),
                None => payment_key(posted).map(|hash| (hash, seq.0)),
            },
            _ => None,
        };
        if let Some((hash, number)) = external
            && seq > self.tabled
        {
            self.keys += 1;
            self.core.keys.load(KeyKind::External, hash, KeyRow { number, seq });
        }
        if seq > self.checkpoint {
            self.replayed += 1;
            self.since += 1;
            if let Err(Mismatch(what)) = self.core.replay_entry(entry, seq, moment, date) {
                self.failed = self.failed.take().or(Some(OpenError::Loan { seq, what }));
            }
        }
    }

    fn trailer(&mut self, trailer: &Trailer<'_>) {
        let (first, _, _) = self.at.expect("the scan gives a record before its end");
        if let Some(key) = &trailer.key
            && first > self.tabled
        {
            self.keys += 1;
            self.core.keys.load(KeyKind::Idempotency, key.hash, KeyRow { number: first.0, seq: first });
        }
    }
}

impl Core {
    /// Applies an entry from the journal. Rows that a checkpoint copied later than the entry are
    /// left alone.
    fn replay_entry(&self, entry: &Entry, seq: Seq, moment: Moment, date: Day) -> Result<(), Mismatch> {
        match entry {
            Entry::Transfer(transfer) => {
                let mut locked = self.shards.lock_pair(transfer.debit, transfer.credit);
                self.apply_transfer(&mut locked, transfer, seq, date);
            }
            Entry::AccountOpened(opened) => {
                let key = GlKey { currency: opened.currency, code: opened.code, account_type: opened.account_type };
                let gl = self.chart.write().number(key);
                let mut directory = self.directory.lock();
                if opened.account.0 >= directory.accounts {
                    let account = open_account(opened, gl, seq, date);
                    self.shards.lock_one(opened.account).push_account(opened.account, account);
                    directory.accounts += 1;
                }
            }
            Entry::AccountChanged(changed) => {
                let mut locked = self.shards.lock_one(changed.account);
                if locked.account(changed.account).is_some_and(|account| account.last_seq < seq) {
                    apply_changed(&mut locked, changed, seq, date);
                }
            }
            Entry::ProductSaved(_) | Entry::LoanPosted(_) | Entry::LoansSwept(_) | Entry::DayEnded(_) => {
                return self.loans.apply(entry, seq, moment, date);
            }
            general => self.apply_general(general, seq, moment, date),
        }
        Ok(())
    }

    /// What an entry about all books changes in memory. Safe to repeat.
    pub(super) fn apply_general(&self, entry: &Entry, seq: Seq, moment: Moment, date: Day) {
        match entry {
            Entry::PeriodClosed { through } => {
                let mut periods = self.periods.lock();
                periods.apply(seq, moment, Some(*through), None);
                self.set_closed_through(periods.closed_through());
            }
            Entry::PeriodReopened { through, reason } => {
                let mut periods = self.periods.lock();
                periods.apply(seq, moment, *through, Some(reason.clone()));
                self.set_closed_through(periods.closed_through());
            }
            Entry::DayRolled { date } => {
                let mut runs = self.day_runs.lock();
                if runs.last().is_none_or(|(_, first)| *first < seq) {
                    runs.push((*date, seq));
                }
                self.set_business_date(*date);
            }
            Entry::ApiKeyMade(_) | Entry::ApiKeyChanged(_) => self.keyring.apply(entry, seq, moment),
            Entry::CustomerSaved(_) => self.lending.apply(entry, seq),
            Entry::ObjectSaved(saved) => self.objects.apply(saved, seq, moment),
            Entry::DayClosed(_) => {
                self.loans.apply(entry, seq, moment, date).expect("a cut-over is always understood");
                self.set_business_date(self.business_date());
            }
            _ => {}
        }
    }

    /// Rolls the business day if it is over. Every command asks, not the ticker alone: after a start in the
    /// morning, or right after midnight, nothing may be posted to the day before.
    pub(super) fn keep_day(&self) {
        if self.clock.now().0 >= self.day_ends.load(Ordering::Acquire) && self.roll_day() {
            self.journal.request_roll();
        }
    }

    /// Rolls the business day to today, if today is later. Returns whether it did.
    pub fn roll_day(&self) -> bool {
        if self.clock.is_suspect() {
            return false;
        }
        let today = self.clock.day_of(self.clock.now());
        if self.loans.product_count() > 0 {
            return self.journal.admit().is_ok() && self.close_days_before(today);
        }
        let is_first = self.journal.appended_seq() == Seq::NONE;
        if today <= self.business_date() && !is_first || self.journal.admit().is_err() {
            return false;
        }
        let probe = Probe { generation: self.keys.generation(), ..Probe::default() };
        let rolled = self.commit_general(&Origin::default(), &probe, |rules| {
            // Somebody else may have rolled it meanwhile.
            if today <= rules.business_date && !is_first {
                return Err(Reject::of(RejectCode::PeriodInvalid));
            }
            Ok((Entry::DayRolled { date: today }, Outcome::PeriodChanged))
        });
        matches!(rolled, Ok(Decided::Done(..)))
    }

    /// The first record of books that do not begin today: their days end by hand.
    fn begin_on(&self, day: Day) {
        let probe = Probe { generation: self.keys.generation(), ..Probe::default() };
        let begun = self.begin_days(day, &probe);
        assert!(matches!(begun, Ok(Decided::Done(..))), "books without a record begin on any day");
    }

    /// Step 5.
    fn check_balanced(&self) -> Result<(), OpenError> {
        let mut sums: std::collections::BTreeMap<crate::domain::money::Currency, GlTotals> = Default::default();
        for (key, totals) in self.trial_balance(None, None).value {
            sums.entry(key.currency).or_default().add(totals);
        }
        match sums.into_iter().find(|(_, totals)| totals.debits != totals.credits) {
            None => Ok(()),
            Some((currency, GlTotals { debits, credits })) => {
                Err(OpenError::Unbalanced { currency: currency.code(), debits, credits })
            }
        }
    }
}
