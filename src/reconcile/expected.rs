//! What verify compares the journal with: copies of what the store or memory says.
//!
//! Promise: memory that this takes grows with accounts, loans, open holds and ledger lines, and with one
//! number for 65,536 seqs; rows that grow with history (fates, keys) are added up or read by segment.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::domain::access::ApiKey;
use crate::domain::account::{Account, GlNo};
use crate::domain::gl::{GlKey, GlTotals};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::customer::CustomerRow;
use crate::domain::time::Day;
use crate::domain::transfer::Hold;
use crate::engine::Core;
use crate::engine::keyring::Keyring;
use crate::engine::loans::query::{read_lending, read_row};
use crate::engine::objects::{Object, ObjectBook};
use crate::store::{KeyKind, MergePause, Store, StoreError};

use super::fold::{DayLines, FoldedHold};
use super::loans::{SaidDays, SaidLoans, said};
use super::tally::{FateFact, Tally};

/// Loans that are copied from memory under one lock: a tenth of a millisecond.
const LOANS_AT_ONCE: u32 = 1_000;

/// Rows to compare the fold with.
#[derive(Debug)]
pub struct Expected<'a> {
    /// Who says it, for reports.
    pub(super) source: &'static str,
    /// By number. A row may be newer than `as_of`: it carries its own seq.
    pub(super) accounts: Vec<Account>,
    /// Lines of the general ledger by number.
    pub(super) chart: Vec<GlKey>,
    /// By number.
    pub(super) keys: Vec<ApiKey>,
    /// What operators have set up.
    pub(super) objects: Vec<Object>,
    /// By number.
    pub(super) customers: Vec<CustomerRow>,
    /// Loans, products and days of lending.
    pub(super) loans: SaidLoans,
    /// Everything up to here is in what follows.
    pub(super) as_of: Seq,
    /// Posted totals as of `as_of` exactly.
    pub(super) day_lines: DayLines,
    /// Open holds by seq: some may have opened or ended after `as_of`.
    pub(super) holds: HashMap<u64, FoldedHold>,
    /// Fates decided up to `as_of`.
    pub(super) fates: Tally,
    /// Fates decided later.
    pub(super) later_fates: HashSet<FateFact>,
    /// Business date and closed periods as of `as_of`; only the store says them at one moment.
    pub(super) calendar: Option<(Day, Option<Day>)>,
    /// Where the key tables are.
    pub(super) store: &'a Store,
    /// Ranges of entries with a table of external ids, ascending: all that have tables.
    pub(super) external: Vec<(Seq, Seq)>,
    /// Ranges with a table of idempotency keys; older ones were dropped in their time.
    pub(super) idempotency: Vec<(Seq, Seq)>,
    /// The tables stay as they are until then.
    _pause: MergePause<'a>,
}

impl<'a> Expected<'a> {
    fn empty(source: &'static str, store: &'a Store) -> Expected<'a> {
        let pause = store.pause_merging();
        // In this order: a range that gets its tables meanwhile has that of idempotency keys first.
        let external = store.key_ranges(KeyKind::External);
        let mut idempotency = store.key_ranges(KeyKind::Idempotency);
        let tabled = external.last().map_or(Seq::NONE, |(_, last)| *last);
        idempotency.retain(|(_, last)| *last <= tabled);
        Expected {
            source,
            accounts: Vec::new(),
            chart: Vec::new(),
            keys: Vec::new(),
            objects: Vec::new(),
            customers: Vec::new(),
            loans: SaidLoans::default(),
            as_of: Seq::NONE,
            day_lines: BTreeMap::new(),
            holds: HashMap::new(),
            fates: Tally::default(),
            later_fates: HashSet::new(),
            calendar: None,
            store,
            external,
            idempotency,
            _pause: pause,
        }
    }

    /// What the store's checkpoint says. Nobody may write another one meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub fn from_store(store: &'a Store) -> Result<Expected<'a>, StoreError> {
        let mut expected = Expected::empty("the store", store);
        let Some(meta) = store.meta()? else { return Ok(expected) };
        let not_understood = |what: &str| StoreError::Corrupt { table: "meta", key: 0, what: what.into() };
        store.load_accounts(&mut |_, rows| expected.accounts.extend(rows))?;
        store.load_customers(&mut |rows| expected.customers.extend(rows))?;
        expected.keys =
            Keyring::read_rows(&meta.api_keys).ok_or_else(|| not_understood("an API key in it is not understood"))?;
        expected.objects =
            ObjectBook::read_rows(&meta.objects).ok_or_else(|| not_understood("an object in it is not understood"))?;
        let (products, days) =
            read_lending(&meta.lending).ok_or_else(|| not_understood("lending in it is not understood"))?;
        expected.loans.days = Some(SaidDays::of(meta.checkpoint_seq, &days, &products, false));
        store.load_loans(&mut |row| {
            expected.loans.rows.push(said(read_row(row)?));
            Some(())
        })?;
        expected.as_of = meta.checkpoint_seq;
        expected.calendar = Some((meta.business_date, meta.closed_through));
        let mut unknown = None;
        store.load_gl_days(&mut |day, lines| {
            for (gl, totals) in lines {
                match meta.gl_keys.get(gl.0 as usize) {
                    Some(key) => expected.total(day, *key, totals),
                    None => unknown = Some(gl),
                }
            }
        })?;
        if let Some(GlNo(no)) = unknown {
            return Err(not_understood(&format!("line {no} of the general ledger is not in it")));
        }
        expected.chart = meta.gl_keys;
        store.load_holds(&mut |seq, hold| expected.hold(seq, &hold))?;
        store.load_resolutions(&mut |original, by, kind| expected.fate((original.0, by.0, kind as u8)))?;
        Ok(expected)
    }

    /// What memory says (of fates: memory and the store together), copied piece by piece while requests go on.
    ///
    /// # Errors
    /// The store's.
    pub fn from_memory(core: &'a Core) -> Result<Expected<'a>, StoreError> {
        let mut expected = Expected::empty("memory", core.store());
        expected.keys.extend(core.keyring().all().iter().map(|key| (***key).clone()));
        expected.objects = core.objects().everything();
        let ledger = core.copy_gl();
        expected.as_of = ledger.as_of;
        for ((day, key), totals) in ledger.totals {
            expected.total(day, key, totals);
        }
        for (seq, hold) in core.open_holds() {
            expected.hold(seq, &hold);
        }
        // Memory first: what leaves it after this is in the store by then.
        let recent: HashSet<FateFact> =
            core.recent_fates().into_iter().map(|(original, by, fate)| (original.0, by.0, fate as u8)).collect();
        core.store().load_resolutions(&mut |original, by, kind| {
            let fact = (original.0, by.0, kind as u8);
            if !recent.contains(&fact) {
                expected.fate(fact);
            }
        })?;
        recent.into_iter().for_each(|fact| expected.fate(fact));
        expected.accounts.extend((0..core.status().accounts).map_while(|no| core.account_row(AccountNo(no as u32))));
        expected.chart = core.chart_keys();
        expected.customers = core.lending().copy_customers(0, usize::MAX);
        let (as_of, days, products) = core.copy_days();
        expected.loans.days = Some(SaidDays::of(as_of, &days, &products, true));
        loop {
            let rows = core.copy_loans(expected.loans.rows.len() as u32, LOANS_AT_ONCE);
            if rows.is_empty() {
                break;
            }
            expected.loans.rows.extend(rows.into_iter().map(said));
        }
        Ok(expected)
    }

    fn total(&mut self, day: Day, key: GlKey, totals: GlTotals) {
        if totals != GlTotals::default() {
            // What does not fit is no sum of amounts and differs from every fold.
            let sum = |total: u128| i128::try_from(total).unwrap_or(-1);
            let line = (key.currency, key.code, key.account_type);
            self.day_lines.insert((day, line), [sum(totals.debits), sum(totals.credits)]);
        }
    }

    fn hold(&mut self, seq: Seq, hold: &Hold) {
        let Hold { debit, credit, amount, code, effective, expires_at } = *hold;
        let held = FoldedHold { debit: debit.0, credit: credit.0, amount, code, effective, expires_at };
        self.holds.insert(seq.0, held);
    }

    fn fate(&mut self, fact: FateFact) {
        if fact.1 <= self.as_of.0 {
            self.fates.add(fact);
        } else {
            self.later_fates.insert(fact);
        }
    }

    /// The newest entry of all accounts.
    pub(super) fn highest(&self) -> Seq {
        self.accounts.iter().map(|account| account.last_seq).max().unwrap_or(Seq::NONE)
    }
}
