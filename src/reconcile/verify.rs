//! `verify`: the whole journal, recomputed, against the store or against memory.
//!
//! 1. Walk every segment: block hashes, chain links, seqs without gaps (the journal's scan does it).
//! 2. Fold every entry by code that shares nothing with `apply`.
//! 3. Where the fold passes the seq that an account's row carries, the row must say the same.
//! 4. Where it passes the seq of the checkpoint (or of the copy of memory), so must the totals of each day of
//!    the general ledger, the open holds, the fates of transfers and the calendar. Holds and fates may be
//!    newer than that: those must be met in the journal later on.
//! 5. The same of loans: where the fold passes a row's newest event, the row must say what that gives; of days,
//!    where it passes the seq that they are as of.
//! 6. At the end of each range of entries its key tables must have its keys and no others.
//! 7. At the end: Σ = 0 per currency, general ledger = accounts, control accounts = loans, every row was met.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::domain::access::ApiKey;
use crate::domain::account::Account;
use crate::domain::entry::{Entry, TransferEntry, TransferOp};
use crate::domain::ids::{AccountNo, IdKind, Moment, Seq, account_id, format_id};
use crate::journal::{Item, Journal, JournalError, Visitor};

pub use super::expected::Expected;
use super::fold::{Fold, FoldedCustomer, FoldedFacts, FoldedKey, FoldedObject, line_name};
use super::key_tables::KeyTables;
use super::loans::{At, LoanFold};
use super::tally::{FateFact, Tally, fate_of};

/// Problems listed in a report; the count goes on.
const PROBLEMS_MAX: usize = 20;

/// No entry has this seq.
const NEVER: Seq = Seq(u64::MAX);

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

/// Walks the journal and compares. `progress` is given the seq reached, now and then.
///
/// # Errors
/// None: a journal that cannot be read on is a problem in the report.
pub fn verify(journal: &Journal, expected: &Expected<'_>, progress: &mut dyn FnMut(Seq)) -> VerifyReport {
    let started = std::time::Instant::now();
    let mut walk = Walk {
        journal,
        fold: Fold::default(),
        lending: LoanFold::default(),
        loans_met: vec![false; expected.loans.rows.len()],
        days_at: expected.loans.days.as_ref().map_or(NEVER, |days| days.as_of),
        moment: Moment(0),
        report: VerifyReport::default(),
        expected,
        progress,
        last: Seq::NONE,
        record: Seq::NONE,
        is_cut: false,
        accounts_met: 0,
        is_ground_met: false,
        holds_absent: Vec::new(),
        holds_to_meet: expected.holds.keys().filter(|seq| **seq > expected.as_of.0).copied().collect(),
        fates: Tally::default(),
        fates_to_meet: expected.later_fates.clone(),
        keys: KeyTables::new(expected, journal.durable_seq()),
        row_seqs: expected.accounts.iter().map(|row| row.last_seq).collect(),
        coming: Vec::new(),
    };
    let files = std::thread::scope(|scope| {
        // Bytes of sealed files that no entry depends on must be what they were, too.
        let files = scope.spawn(|| journal.check_sealed_files());
        if let Err(error) = journal.scan_ahead(Seq(1), &mut walk) {
            let next = walk.last.next();
            walk.report.problem(Some(error.first_bad_seq().unwrap_or(next)), chain_text(&error));
            walk.is_cut = true;
        }
        walk.finish();
        files.join()
    });
    // Rows that no comparison above asks for (anchors, marks, off-date rows): their seals and places, at least.
    match expected.store.check_every_row() {
        Ok(rows) => walk.report.compared += rows,
        Err(error) => {
            let what = format!("{error}: the journal is not touched by that; the store is rebuilt from it");
            walk.report.problem(None, what);
            walk.report.ok = false;
        }
    }
    let files = files.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let mut report = walk.report;
    if report.ok
        && let Err(error) = files
    {
        report.problem(error.first_bad_seq(), chain_text(&error));
        report.ok = false;
    }
    report.chain_head = Some(journal.chain_head());
    report.seconds = started.elapsed().as_secs_f64();
    report
}

/// An earlier entry, which the walk has passed and found to be right.
fn read_entry(journal: &Journal, seq: Seq) -> Result<Entry, String> {
    let unread = |error: JournalError| format!("seq={seq} cannot be read again: {}", chain_text(&error));
    let block = journal.locate(seq).map_err(unread)?;
    let block = block.map(|first| journal.load(first)).transpose().map_err(unread)?;
    let found = block.and_then(|block| block.entry(seq));
    found.map(|(_, entry)| entry).ok_or_else(|| format!("seq={seq} cannot be found again"))
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
    journal: &'a Journal,
    fold: Fold,
    lending: LoanFold,
    /// Rows of loans that were compared.
    loans_met: Vec<bool>,
    /// The expected days are as of this seq; [`NEVER`] where they were compared.
    days_at: Seq,
    /// Of the current record.
    moment: Moment,
    report: VerifyReport,
    expected: &'a Expected<'a>,
    progress: &'a mut dyn FnMut(Seq),
    last: Seq,
    /// First seq of the current record.
    record: Seq,
    /// The walk ended early: everything after that place would only repeat it.
    is_cut: bool,
    accounts_met: u64,
    /// The fold has passed `expected.as_of`.
    is_ground_met: bool,
    /// Open then, and not expected: they must have ended by the end.
    holds_absent: Vec<u64>,
    /// Expected and newer: they must come.
    holds_to_meet: HashSet<u64>,
    /// Up to `expected.as_of`.
    fates: Tally,
    /// Expected and newer: they must come.
    fates_to_meet: HashSet<FateFact>,
    keys: KeyTables<'a>,
    /// The seq that each expected account carries, side by side: every entry asks for two of them.
    row_seqs: Vec<Seq>,
    /// Accounts of the block that is walked next.
    coming: Vec<AccountNo>,
}

impl Visitor for Walk<'_> {
    #[inline]
    fn ahead(&mut self, entry: &Entry) {
        if let Entry::Transfer(transfer) = entry {
            self.coming.extend([transfer.debit, transfer.credit]);
        }
    }

    #[inline]
    fn visit(&mut self, item: Item<'_>) -> ControlFlow<()> {
        if !self.coming.is_empty() {
            self.ask_for_coming();
        }
        self.item(item)
    }
}

impl Walk<'_> {
    /// Loads that nothing waits for, in a loop of nothing else: the processor has many on their way at once.
    fn ask_for_coming(&mut self) {
        for no in self.coming.drain(..) {
            let row = self.row_seqs.get(no.0 as usize).map_or(0, |seq| seq.0);
            let (sum, last) = self.fold.get(no).map_or((0, 0), |account| (account.sums[0] as u64, account.last_seq));
            std::hint::black_box(row ^ sum ^ last);
        }
    }

    fn item(&mut self, item: Item<'_>) -> ControlFlow<()> {
        let (seq, done) = match item {
            Item::Record { first_seq, moment, date } => {
                if !self.is_ground_met && first_seq > self.expected.as_of {
                    self.compare_ground();
                }
                if first_seq > self.days_at {
                    self.compare_days();
                }
                self.keys.record(first_seq);
                (self.record, self.moment) = (first_seq, moment);
                if date != self.fold.date() {
                    self.lending.turn();
                }
                (first_seq, self.fold.record(moment, date))
            }
            Item::Entry { seq, entry } => (seq, self.entry(seq, entry)),
            Item::End { last_seq, trailer } => {
                if let Some(key) = &trailer.key {
                    self.keys.key(self.record, key.hash);
                }
                if self.lending.is_open() {
                    self.lending.end(last_seq, &self.fold);
                    self.name_lending();
                }
                (last_seq, Ok(()))
            }
        };
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(what) => {
                self.is_cut = true;
                self.report.problem(Some(seq), format!("entry seq={seq}: {what}"));
                ControlFlow::Break(())
            }
        }
    }

    fn entry(&mut self, seq: Seq, entry: &Entry) -> Result<(), String> {
        self.last = seq;
        let touched = self.fold.entry(seq, entry)?;
        touched.into_iter().flatten().for_each(|no| self.compare(seq, no));
        self.keys.entry(seq, entry);
        if let Entry::Transfer(transfer) = entry {
            if transfer.op != TransferOp::Posted {
                self.fate(seq, transfer);
            }
            if self.lending.is_in_record() {
                self.lending.leg(seq, transfer, self.fold.date());
            }
        } else {
            self.lend(seq, entry)?;
        }
        if self.fold.entries.is_multiple_of(PROGRESS_ENTRIES) {
            (self.progress)(seq);
        }
        Ok(())
    }

    /// An entry that is no transfer: it may be of lending.
    fn lend(&mut self, seq: Seq, entry: &Entry) -> Result<(), String> {
        let journal = self.journal;
        let read = |seq| read_entry(journal, seq);
        let at = At { seq, moment: self.moment, date: self.fold.date(), books: &self.fold, read: &read };
        self.lending.entry(&at, entry)?;
        let Entry::LoanPosted(posted) = entry else { return Ok(()) };
        let Some(wrong) = self.expected.loans.differences(&self.lending, posted.loan) else { return Ok(()) };
        self.loans_met[posted.loan as usize - 1] = true;
        if !wrong.is_empty() {
            let (id, source) = (format_id(IdKind::Loan, u64::from(posted.loan)), self.expected.source);
            let what = format!("{id} as of seq={seq}: {source} does not say what the journal does of its");
            self.report.problem(Some(seq), format!("{what} {}", wrong.join(", ")));
        }
        Ok(())
    }

    /// What the fold of lending has found since it was asked last.
    fn name_lending(&mut self) {
        for (seq, what) in self.lending.problems.drain(..) {
            self.report.problem(Some(seq), what);
        }
    }

    /// The fold stands where the expected days do.
    fn compare_days(&mut self) {
        self.days_at = NEVER;
        let Some(said) = &self.expected.loans.days else { return };
        self.report.compared += 1;
        for what in said.differences(&self.lending) {
            let (at, source) = (said.as_of, self.expected.source);
            self.report.problem(Some(at), format!("lending as of seq={at}, {source} against the journal: {what}"));
        }
    }

    /// The fold has just passed `seq`: a row that carries it must say the same.
    #[inline]
    fn compare(&mut self, seq: Seq, no: AccountNo) {
        if self.row_seqs.get(no.0 as usize) != Some(&seq) {
            return;
        }
        let row = &self.expected.accounts[no.0 as usize];
        self.accounts_met += 1;
        let (folded, facts) = self.fold.get(no).zip(self.fold.facts(no)).expect("the fold has just touched it");
        let says = [row.debits_posted, row.credits_posted, row.debits_pending, row.credits_pending].map(i128::from);
        let source = self.expected.source;
        let id = account_id(no);
        if folded.sums != says {
            let sums = folded.sums;
            let what = format!("{id} as of seq={seq}: the journal gives {sums:?}, {source} says {says:?}");
            self.report.problem(Some(seq), what);
        }
        let Account { currency, account_type, .. } = *row;
        let said = FoldedFacts {
            version: row.version,
            cold_seq: row.cold_seq.0,
            balance_rule: row.balance_rule,
            status: row.status,
        };
        let line = self.expected.chart.get(row.gl.0 as usize).map(|key| (key.currency, key.code, key.account_type));
        let is_of_line = line.is_some_and(|line| (line.0, line.2) == (currency, account_type));
        let days = (row.day.0, row.previous_day.0) == (folded.day, folded.previous_day);
        if *facts != said || line != self.fold.line_of(folded.line) || !is_of_line || !days {
            let what =
                format!("{id} as of seq={seq}: {source} does not say what the journal does of its facts: {row:?}");
            self.report.problem(Some(seq), what);
        }
    }

    /// An entry that opens a hold or decides a fate.
    fn fate(&mut self, seq: Seq, entry: &TransferEntry) {
        if let Some(fact) = fate_of(seq.0, entry) {
            if seq <= self.expected.as_of {
                self.fates.add(fact);
            } else {
                self.fates_to_meet.remove(&fact);
            }
        } else if self.holds_to_meet.remove(&seq.0) {
            self.compare_hold(seq.0);
        }
    }

    fn compare_hold(&mut self, seq: u64) {
        self.report.compared += 1;
        let (folded, said) = (self.fold.holds().get(&seq), self.expected.holds.get(&seq));
        if folded != said {
            let source = self.expected.source;
            let what = match folded {
                Some(folded) => format!("hold seq={seq}: the journal gives {folded:?}, {source} says {said:?}"),
                None => format!("hold seq={seq}: {source} has it open, the journal does not"),
            };
            self.report.problem(Some(Seq(seq)), what);
        }
    }

    /// The fold stands where the expected rows do.
    fn compare_ground(&mut self) {
        self.is_ground_met = true;
        let (expected, source) = (self.expected, self.expected.source);
        let at = expected.as_of;
        self.compare_day_lines();
        let mut held: Vec<u64> = expected.holds.keys().filter(|seq| **seq <= at.0).copied().collect();
        held.sort_unstable();
        held.into_iter().for_each(|seq| self.compare_hold(seq));
        let absent = self.fold.holds().keys().filter(|seq| !expected.holds.contains_key(seq));
        self.holds_absent = absent.copied().collect();
        let differences: Vec<_> = self.fates.differences(&expected.fates).collect();
        for (first, last, ours, theirs) in differences {
            let what = format!("resolutions of transfers seq={first}..={last} up to seq={at}");
            let what = format!("{what}: the journal gives {ours}, {source} says {theirs}, and not the same");
            self.report.problem(Some(Seq(first)), what);
        }
        let calendar = (self.fold.date(), self.fold.closed_through());
        if at != Seq::NONE
            && let Some(said) = expected.calendar.filter(|said| *said != calendar)
        {
            let what = format!("business date and closed periods as of seq={at}");
            self.report.problem(Some(at), format!("{what}: the journal gives {calendar:?}, {source} says {said:?}"));
        }
    }

    fn compare_day_lines(&mut self) {
        let (expected, source) = (self.expected, self.expected.source);
        let folded = self.fold.day_lines();
        self.report.compared += folded.len() as u64;
        let more = expected.day_lines.keys().filter(|place| !folded.contains_key(place));
        for place in folded.keys().chain(more) {
            let [ours, theirs] =
                [&folded, &expected.day_lines].map(|lines| lines.get(place).copied().unwrap_or_default());
            if ours != theirs {
                let what = format!("{} on {} as of seq={}", line_name(place.1), place.0, expected.as_of);
                let what = format!("{what}: the journal gives {ours:?}, {source} says {theirs:?}");
                self.report.problem(Some(expected.as_of), what);
            }
        }
    }

    /// Keys are few: those that have not changed since they were stored must be what the journal says.
    fn compare_api_keys(&mut self) {
        let source = self.expected.source;
        let said =
            |key: &ApiKey| FoldedKey { hash: key.hash, is_revoked: key.revoked_at.is_some(), last_seq: key.last_seq.0 };
        for (place, key) in self.expected.keys.iter().enumerate() {
            let folded = self.fold.keys().get(place);
            let is_newer = folded.is_some_and(|folded| folded.last_seq > key.last_seq.0);
            if !is_newer && folded != Some(&said(key)) {
                let id = format_id(IdKind::ApiKey, key.number);
                self.report.problem(Some(key.last_seq), format!("{id}: {source} does not say what the journal does"));
            }
        }
    }

    /// As with keys.
    fn compare_objects(&mut self) {
        let source = self.expected.source;
        for object in &self.expected.objects {
            let place = (object.saved.collection, object.saved.number);
            let folded = self.fold.objects().get(&place);
            let body = *blake3::hash(&object.saved.body).as_bytes();
            let said = FoldedObject { version: object.saved.version, last_seq: object.last_seq.0, body };
            let is_newer = folded.is_some_and(|folded| folded.last_seq > object.last_seq.0);
            if !is_newer && folded != Some(&said) {
                let what = format!("object {place:?}: {source} does not say what the journal does");
                self.report.problem(Some(object.last_seq), what);
            }
        }
    }

    /// As with keys: those that have not changed since they were stored must be what the journal says.
    fn compare_customers(&mut self) {
        let source = self.expected.source;
        self.report.compared += self.expected.customers.len() as u64;
        for (place, row) in self.expected.customers.iter().enumerate() {
            let folded = self.fold.customers().get(place);
            let said = FoldedCustomer { version: row.version, last_seq: row.last_seq.0, made_at: row.created_at.0 };
            let is_newer = folded.is_some_and(|folded| folded.last_seq > row.last_seq.0);
            if !is_newer && folded != Some(&said) {
                let id = format_id(IdKind::Customer, place as u64 + 1);
                self.report.problem(Some(row.last_seq), format!("{id}: {source} does not say what the journal does"));
            }
        }
    }

    /// What was expected and never came, or should have gone and is still here.
    fn compare_rest(&mut self) {
        let (expected, source) = (self.expected, self.expected.source);
        if self.last < expected.as_of {
            let (at, last) = (expected.as_of, self.last);
            self.report
                .problem(Some(last.next()), format!("{source} is as of seq={at}, the journal ends at seq={last}"));
        } else if !self.is_ground_met {
            self.compare_ground();
        }
        if self.days_at <= self.last {
            self.compare_days();
        }
        for (seq, what) in expected.loans.rest(&self.lending, &self.loans_met, expected.as_of) {
            self.report.problem(Some(seq), format!("{source}: {what}"));
        }
        let open = self.fold.holds();
        let mut lacking: Vec<u64> = self.holds_absent.iter().filter(|seq| open.contains_key(seq)).copied().collect();
        lacking.sort_unstable();
        for seq in lacking {
            self.report.problem(Some(Seq(seq)), format!("hold seq={seq} is open, and {source} does not have it"));
        }
        for seq in std::mem::take(&mut self.holds_to_meet) {
            self.report.problem(Some(Seq(seq)), format!("hold seq={seq}: {source} has it, the journal does not"));
        }
        for (original, by, _) in std::mem::take(&mut self.fates_to_meet) {
            let what = format!("resolution of transfer seq={original} by seq={by}");
            self.report.problem(Some(Seq(by)), format!("{what}: {source} has it, the journal does not"));
        }
        let met = self.accounts_met;
        if met != expected.accounts.len() as u64 {
            let (all, highest) = (expected.accounts.len(), expected.highest());
            let what = format!("{source} has {all} accounts up to seq={highest}, of which the journal knows {met}");
            self.report.problem(None, what);
        }
    }

    fn finish(&mut self) {
        self.report.entries = self.fold.entries;
        self.report.accounts = self.fold.accounts().len() as u64;
        self.name_lending();
        if !self.is_cut {
            if let Err(what) = self.fold.check_sums() {
                self.report.problem(Some(self.last), what);
            }
            self.lending.finish(self.last, &self.fold);
            self.name_lending();
            self.compare_api_keys();
            self.compare_objects();
            self.compare_customers();
            self.compare_rest();
            self.keys.finish();
            for (seq, what) in std::mem::take(&mut self.keys.problems) {
                self.report.problem(seq, what);
            }
            self.report.problem_count += self.keys.more_problems;
        }
        let loans_met = self.loans_met.iter().filter(|met| **met).count() as u64;
        self.report.compared += self.accounts_met + loans_met + self.keys.compared;
        self.report.ok = self.report.problem_count == 0;
    }
}
