//! `verify`: the whole journal, recomputed, against the store or against memory.
//!
//! 1. Walk every segment: block hashes, chain links, seqs without gaps (the journal's scan does it).
//! 2. Fold every entry by code that shares nothing with `apply`.
//! 3. Where the fold passes the seq that a stored row carries, the row must say the same.
//! 4. At the end: Σ = 0 per currency, general ledger = accounts, every stored row was met.

use std::ops::ControlFlow;

use crate::domain::access::ApiKey;
use crate::domain::account::Account;
use crate::domain::ids::{AccountNo, IdKind, Seq, account_id, format_id};
use crate::engine::Core;
use crate::engine::keyring::Keyring;
use crate::journal::{Item, Journal, JournalError};
use crate::store::{Store, StoreError};

use super::fold::{Fold, FoldedKey};

/// Problems listed in a report; the count goes on.
const PROBLEMS_MAX: usize = 20;

/// Entries between two reports of progress.
const PROGRESS_ENTRIES: u64 = 100_000;

/// What verify found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// Everything holds.
    pub ok: bool,
    /// Entries walked.
    pub entries: u64,
    /// Accounts folded.
    pub accounts: u64,
    /// Rows that were compared with the fold.
    pub compared: u64,
    /// The first seq at which something is wrong.
    pub first_bad_seq: Option<Seq>,
    /// What is wrong, at most 20.
    pub problems: Vec<String>,
    /// How many things are wrong.
    pub problem_count: u64,
    /// Last seq and hash of the newest block.
    pub chain_head: Option<(Seq, [u8; 32])>,
    /// Seconds that it took.
    pub seconds: f64,
}

impl VerifyReport {
    fn problem(&mut self, seq: Option<Seq>, what: String) {
        self.problem_count += 1;
        if let Some(seq) = seq {
            self.first_bad_seq = Some(self.first_bad_seq.map_or(seq, |first| first.min(seq)));
        }
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what);
        }
    }
}

/// Rows to compare the fold with.
#[derive(Debug, Default)]
pub struct Expected {
    accounts: Vec<Account>,
    keys: Vec<ApiKey>,
    source: &'static str,
}

impl Expected {
    /// What the store's checkpoint says.
    ///
    /// # Errors
    /// The store's.
    pub fn from_store(store: &Store) -> Result<Expected, StoreError> {
        let mut expected = Expected { source: "the store", ..Expected::default() };
        store.load_accounts(&mut |_, rows| expected.accounts.extend(rows))?;
        let rows = store.meta()?.map(|meta| meta.api_keys).unwrap_or_default();
        let not_understood =
            || StoreError::Corrupt { table: "meta", key: 0, what: "an API key in it is not understood".into() };
        expected.keys = Keyring::read_rows(&rows).ok_or_else(not_understood)?;
        Ok(expected)
    }

    /// What memory says: rows copied one shard at a time while requests go on.
    #[must_use]
    pub fn from_memory(core: &Core) -> Expected {
        let mut expected = Expected { source: "memory", ..Expected::default() };
        expected.keys.extend(core.keyring().all().iter().map(|key| (***key).clone()));
        expected.accounts.extend((0..core.status().accounts).map_while(|no| core.account_row(AccountNo(no as u32))));
        expected
    }

    fn highest(&self) -> Seq {
        self.accounts.iter().map(|account| account.last_seq).max().unwrap_or(Seq::NONE)
    }
}

/// Walks the journal and compares. `progress` is given the seq reached, now and then.
///
/// # Errors
/// None: a journal that cannot be read on is a problem in the report.
pub fn verify(journal: &Journal, expected: &Expected, progress: &mut dyn FnMut(Seq)) -> VerifyReport {
    let started = std::time::Instant::now();
    let mut walk = Walk { fold: Fold::default(), report: VerifyReport::default(), expected, progress, last: Seq::NONE };
    if let Err(error) = journal.scan(Seq(1), &mut |item| walk.item(item)) {
        let next = walk.last.next();
        walk.report.problem(Some(error.first_bad_seq().unwrap_or(next)), chain_text(&error));
    }
    walk.finish();
    let mut report = walk.report;
    // Bytes of sealed files that no entry depends on must be what they were, too.
    if report.ok
        && let Err(error) = journal.check_sealed_files()
    {
        report.problem(error.first_bad_seq(), chain_text(&error));
        report.ok = false;
    }
    report.chain_head = Some(journal.chain_head());
    report.seconds = started.elapsed().as_secs_f64();
    report
}

fn chain_text(error: &JournalError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

struct Walk<'a> {
    fold: Fold,
    report: VerifyReport,
    expected: &'a Expected,
    progress: &'a mut dyn FnMut(Seq),
    last: Seq,
}

impl Walk<'_> {
    fn item(&mut self, item: Item<'_>) -> ControlFlow<()> {
        let (seq, done) = match item {
            Item::Record { first_seq, moment, date } => (first_seq, self.fold.record(moment, date)),
            Item::Entry { seq, entry } => {
                self.last = seq;
                let touched = self.fold.entry(seq, entry);
                let done = touched.map(|touched| touched.into_iter().flatten().for_each(|no| self.compare(seq, no)));
                if self.fold.entries.is_multiple_of(PROGRESS_ENTRIES) {
                    (self.progress)(seq);
                }
                (seq, done)
            }
            Item::End { last_seq, .. } => (last_seq, Ok(())),
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(what) => {
                // Everything after a broken entry would only repeat it.
                self.report.problem(Some(seq), format!("entry seq={seq}: {what}"));
                ControlFlow::Break(())
            }
        }
    }

    /// The fold has just passed `seq`: a row that carries it must say the same.
    #[inline]
    fn compare(&mut self, seq: Seq, no: AccountNo) {
        let Some(row) = self.expected.accounts.get(no.0 as usize) else { return };
        if row.last_seq != seq {
            return;
        }
        self.report.compared += 1;
        let folded = self.fold.get(no).expect("the fold has just touched it").sums;
        let says = [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending].map(i128::from);
        if folded != says {
            let source = self.expected.source;
            let what =
                format!("{} as of seq={seq}: the journal gives {folded:?}, {source} says {says:?}", account_id(no));
            self.report.problem(Some(seq), what);
        }
    }

    /// Keys are few: those that have not changed since they were stored must be what the journal says.
    fn compare_keys(&mut self) {
        let source = self.expected.source;
        for (place, key) in self.expected.keys.iter().enumerate() {
            let folded = self.fold.keys().get(place);
            let is_newer = folded.is_some_and(|folded| folded.last_seq > key.last_seq.0);
            let says = FoldedKey { hash: key.hash, is_revoked: key.revoked_at.is_some(), last_seq: key.last_seq.0 };
            if !is_newer && folded != Some(&says) {
                let id = format_id(IdKind::ApiKey, key.number);
                self.report.problem(Some(key.last_seq), format!("{id}: {source} does not say what the journal does"));
            }
        }
    }

    fn finish(&mut self) {
        self.report.entries = self.fold.entries;
        self.report.accounts = self.fold.accounts().len() as u64;
        if self.report.problem_count == 0 {
            if let Err(what) = self.fold.check_sums() {
                self.report.problem(Some(self.last), what);
            }
            self.compare_keys();
            let met = self.report.compared;
            let source = self.expected.source;
            if met != self.expected.accounts.len() as u64 {
                let (all, highest) = (self.expected.accounts.len(), self.expected.highest());
                let what = format!("{source} has {all} accounts up to seq={highest}, of which the journal knows {met}");
                self.report.problem(None, what);
            }
        }
        self.report.ok = self.report.problem_count == 0;
    }
}
