//! Business days: opened, closed, and ended by a sweep.
//!
//! Closing a day is one record, the cut-over: what is posted after it belongs to the next day. The days that are over
//! are ended one after the other by a sweep in slices, each one record: whoever comes in between waits for none, a
//! command on a loan that was not swept yet runs that loan's days itself. The steps of a day, each with what it needs:
//!
//! 1. Cut-over (`DayClosed`, `DayRolled`).
//! 2. Loans, slice by slice (`LoansSwept`): interest accrued, dues raised, advances used, penal charges counted, days
//!    past due, class, income into suspense, what has to be provided for. Needs the loans of the slice, and all loans
//!    of their borrowers: one that is non-performing makes all of them so.
//! 3. Posting (`DayEnded`): what all slices moved goes into the ledger, product by product, with the day as effective
//!    date; provisions are brought to what is needed; control accounts are compared with the loans.
//!
//! Everything is worked out from what is in memory, which is what the journal says: a sweep that was cut off goes on
//! where the last slice ended, and running it twice finds nothing to do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::entry::{DayClosed, Entry, TransferEntry};
use crate::domain::gl::GlTotals;
use crate::domain::ids::Seq;
use crate::domain::lending::financial_year::{is_month_end, month_before};
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::events::{Dated, LoanEvent};
use crate::domain::lending::loan::facts::{
    DayEnded, LoanPosted, LoansSwept, MONTH_LINES_MAX, MonthEnded, MonthLine, ProductTotals, SweptRow,
};
use crate::domain::lending::loan::roles::Positions;
use crate::domain::lending::loan::state::LoanState;
use crate::domain::lending::loan::{advance, apply};
use crate::domain::lending::product::{ACCOUNT_PLANS, PROVISION, PROVISION_EXPENSE, ProductSaved};
use crate::domain::reject::{Reject, RejectCode};
use crate::domain::time::Day;
use crate::domain::transfer::View;
use crate::engine::Core;
use crate::engine::command::{Command, Origin};
use crate::engine::commit::{Appended, Decided, Probe, Stale};
use crate::engine::outcome::Outcome;
use crate::engine::shard::Locked;
use crate::engine::submit::Pending;
use crate::engine::view::Reply;

use super::book::{SweptState, is_same_but_for_days};
use super::plan::{count_in, leg, legs, packed};
use super::table::{LoanRow, unpack_own};

/// Loans in a slice: a millisecond or two of work, a tenth of that under the locks.
const SLICE_LOANS: u32 = 512;

/// A slice that met a command is tried again with so many.
const SLICE_LOANS_LEAST: u32 = 16;

/// What a packed loan takes, or a little more.
const COPIED_BYTES: usize = 192;

/// Days that may be opened at once: ten years.
const DAYS_AHEAD_MAX: u16 = 3_660;

/// A loan of a slice.
struct Item {
    loan: u32,
    /// Its newest event and the last day run for it, when it was looked at.
    from: (Seq, Day),
    events: u32,
    product: Arc<ProductSaved>,
    before: LoanState,
    /// After the day; as before where the day was run already.
    after: LoanState,
    /// What the other loans of the borrower do to it.
    event: Option<LoanPosted>,
    legs: Vec<TransferEntry>,
    row: Option<SweptRow>,
    is_run: bool,
}

/// Loans as they were at one moment.
struct Copied {
    rows: Vec<CopiedRow>,
    /// Their states, packed, one after the other.
    bytes: Vec<u8>,
}

struct CopiedRow {
    loan: u32,
    from: (Seq, Day),
    events: u32,
    /// Number and version.
    product: (u32, u32),
    state: std::ops::Range<usize>,
    /// Loans of a borrower who has several have the same number, others 0.
    group: u32,
}

impl Copied {
    fn push(&mut self, loan: u32, row: &LoanRow, group: u32) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&row.state);
        self.rows.push(CopiedRow {
            loan,
            from: (row.last_seq, row.through),
            events: row.events,
            product: (row.product, row.product_version),
            state: start..self.bytes.len(),
            group,
        });
    }

    fn state(&self, row: &CopiedRow) -> LoanState {
        unpack_own(&self.bytes[row.state.clone()])
    }
}

/// What a look at the days came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing has to be done.
    Idle,
    /// Something was done, and there may be more.
    More,
    /// Something should be done and cannot be.
    Stuck,
}

impl Core {
    /// Opens or closes a business day.
    pub(in crate::engine) fn execute_day(
        &self,
        command: &Command,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Pending, Stale> {
        let decided = self.commit_day(origin, probe, |core| {
            let (business_date, by_hand) = (core.business_date(), core.loans.with_day(|day| day.by_hand));
            let clock_date = core.clock.day_of(core.clock.now());
            let invalid = Err(Reject::of(RejectCode::BusinessDayInvalid));
            let (date, reason) = match command {
                Command::OpenDay { date, reason } => (*date, reason.clone()),
                // Whoever presses the button twice has not closed two days.
                _ if business_date > clock_date && !by_hand => return invalid,
                _ => (Day(business_date.0.saturating_add(1)), None),
            };
            let is_open = matches!(command, Command::OpenDay { .. });
            let needs_reason = is_open && date != clock_date;
            if date < business_date || date.0 - business_date.0 > DAYS_AHEAD_MAX || needs_reason && reason.is_none() {
                return invalid;
            }
            let by_hand = if is_open { needs_reason } else { by_hand };
            Ok((date, DayClosed { through: Day(date.0 - 1), by_hand, reason }))
        })?;
        Ok(self.say(decided, origin, |_, day, placed| {
            let recorded = placed.is_real().then(|| (placed.first(), placed.moment()));
            Reply::BusinessDay { day: day.view(), recorded }
        }))
    }

    /// Rolls the business day where there are loans: the days before it are to be ended.
    pub(in crate::engine) fn close_days_before(&self, today: Day) -> bool {
        let probe = Probe { generation: self.keys.generation(), ..Probe::default() };
        let rolled = self.commit_day(&Origin::default(), &probe, |core| {
            if today <= core.business_date() || core.loans.with_day(|day| day.by_hand) {
                return Err(Reject::of(RejectCode::BusinessDayInvalid));
            }
            Ok((today, DayClosed { through: Day(today.0 - 1), by_hand: false, reason: None }))
        });
        matches!(rolled, Ok(Decided::Done(..)))
    }

    /// Begins the books on a day that is not the clock's.
    pub(in crate::engine) fn begin_days(
        &self,
        date: Day,
        probe: &Probe,
    ) -> Result<Decided<super::query::DayReply>, Stale> {
        self.commit_day(&Origin::default(), probe, |_| {
            let through = Day(date.0.saturating_sub(1));
            Ok((date, DayClosed { through, by_hand: true, reason: Some("the books begin on this day".into()) }))
        })
    }

    fn commit_day(
        &self,
        origin: &Origin,
        probe: &Probe,
        decide: impl Fn(&Core) -> Result<(Day, DayClosed), Reject>,
    ) -> Result<Decided<super::query::DayReply>, Stale> {
        let _directory = self.directory.lock();
        let _locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        let (date, closed) = match decide(self) {
            Ok(decided) => decided,
            Err(reject) => return Ok(self.refuse(&mut keys, reject, origin)),
        };
        if origin.dry_run {
            let reply = super::query::DayReply { date, by_hand: closed.by_hand, ..self.day_reply() };
            return Ok(Decided::Dry(reply, self.rules(origin)));
        }
        let is_new_day = date != self.business_date();
        let mut sequencer = self.journal.lock();
        let (moment, _) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        let closed = Entry::DayClosed(Box::new(closed));
        let mut last = sequencer.push(&closed);
        self.apply_general(&closed, last, moment, date);
        if is_new_day {
            let rolled = Entry::DayRolled { date };
            last = sequencer.push(&rolled);
            self.apply_general(&rolled, last, moment, date);
        }
        let reply = self.day_reply();
        let outcome = Outcome::BusinessDay { by_hand: reply.by_hand, ended: reply.ended, looked_at: reply.looked_at };
        self.end(&mut sequencer, &mut keys, first, origin, &outcome);
        Ok(Decided::Done(reply, Appended { first, last, moment, date }))
    }

    /// Does a piece of what has to be done to end the days that are over.
    pub fn end_days(&self) -> Step {
        self.end_days_noting(&mut None)
    }

    /// The same; `slice` becomes the first and last entry of a slice of loans, if it came to one.
    pub(in crate::engine) fn end_days_noting(&self, slice: &mut Option<(Seq, Seq)>) -> Step {
        if self.check_open().is_err() {
            return Step::Idle;
        }
        // A year that is over is closed before the day after it ends.
        let years = self.close_years();
        if years != Step::Idle {
            return years;
        }
        let Some(date) = self.loans.with_day(super::book::DayBook::ending) else { return Step::Idle };
        let mut size = SLICE_LOANS;
        loop {
            let first = self.loans.with_day(|day| day.next_loan);
            let count = self.loans.loans().count();
            if first > count {
                return self.post_day(date);
            }
            let last = count.min(first.saturating_add(size - 1));
            let items = self.look_at(first, last, date);
            if let Some(entries) = self.commit_slice(first, last, date, items) {
                *slice = Some(entries);
                return Step::More;
            }
            // A command came in between: a smaller slice meets fewer.
            size = (size / 2).max(SLICE_LOANS_LEAST);
        }
    }

    /// Runs a day for loans, outside all locks.
    fn look_at(&self, first: u32, last: u32, date: Day) -> Vec<Item> {
        let copied = self.copy_due(first, last, date);
        let mut products: HashMap<(u32, u32), Arc<ProductSaved>> = HashMap::new();
        let mut items = Vec::with_capacity(copied.rows.len());
        let mut group: Vec<Item> = Vec::new();
        let mut rows = copied.rows.iter().peekable();
        while let Some(row) = rows.next() {
            let product = products.entry(row.product).or_insert_with(|| {
                let version = self.loans.product(row.product.0, Some(row.product.1));
                version.expect("a loan's product came before it").saved
            });
            let mut item = Item::of(row, copied.state(row), Arc::clone(product), date);
            item.run(date);
            if row.group == 0 {
                items.push(item);
                continue;
            }
            group.push(item);
            if rows.peek().is_none_or(|next| next.group != row.group) {
                spread(&mut group, date);
                items.extend(group.drain(..).filter(|item| item.is_run || item.event.is_some()));
            }
        }
        items.sort_unstable_by_key(|item| item.loan);
        items
    }

    /// Copies the loans of a slice that are due, those of one borrower next to each other.
    ///
    /// Nothing is unpacked or worked out here: whoever pays holds all account locks while waiting for this lock.
    fn copy_due(&self, first: u32, last: u32, date: Day) -> Copied {
        let count = (last - first + 1) as usize;
        let mut copied = Copied { rows: Vec::with_capacity(count), bytes: Vec::with_capacity(count * COPIED_BYTES) };
        let mut groups = 0;
        let loans = self.loans.loans();
        for loan in first..=last {
            let Some(row) = loans.get(loan).filter(|row| row.is_active) else { continue };
            if !loans.has_siblings(row) {
                if row.through < date {
                    copied.push(loan, row, 0);
                }
                continue;
            }
            let mut all = loans.of_customer(row.customer);
            all.sort_unstable();
            all.retain(|loan| loans.get(*loan).is_some_and(|row| row.is_active));
            // All of them are looked at together, with the first. That may have been paid out after its slice
            // was looked at, and without the others: then with the first of those whose day was not run.
            let is_due = |other: &u32| loans.get(*other).is_some_and(|row| row.through < date);
            let leader = match all[0] {
                earlier if earlier < first => all.iter().copied().find(is_due),
                leader => Some(leader),
            };
            if leader == Some(loan) {
                groups += 1;
                for loan in all {
                    copied.push(loan, loans.get(loan).expect("it was there a line above"), groups);
                }
            }
        }
        copied
    }

    /// Appends what a slice came to, its first and last entry; `None` where a loan has changed meanwhile.
    fn commit_slice(&self, first: u32, last: u32, date: Day, mut items: Vec<Item>) -> Option<(Seq, Seq)> {
        let mut totals: BTreeMap<u32, ProductTotals> = BTreeMap::new();
        for item in items.iter().filter(|item| item.is_run) {
            let number = item.product.number;
            let of = totals.entry(number).or_insert(ProductTotals { product: number, ..ProductTotals::default() });
            count_in(of, &item.product, &item.after);
        }
        let rows = items.iter().filter_map(|item| item.row).collect();
        let swept = LoansSwept { date, first, last, rows, totals: totals.into_values().collect() };
        let ran = items.iter().filter(|item| item.is_run);
        let states: Vec<SweptState> = ran
            .map(|item| SweptState {
                loan: item.loan,
                packed: packed(&item.after),
                is_stored: is_same_but_for_days(&item.before, &item.after) && item.event.is_none(),
                state: item.after.clone(),
            })
            .collect();
        let mut locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        let is_same = |item: &Item, loans: &super::table::LoanTable| {
            loans.get(item.loan).is_some_and(|row| (row.last_seq, row.through) == item.from)
        };
        {
            let loans = self.loans.loans();
            let is_next = self.loans.with_day(|day| day.ending() == Some(date) && day.next_loan == first);
            if !is_next || !items.iter().all(|item| is_same(item, &loans)) {
                return None;
            }
        }
        let mut sequencer = self.journal.lock();
        let (moment, today) = self.next_moment(&sequencer);
        let begun = sequencer.begin(moment, today);
        for item in &mut items {
            if let Some(event) = &mut item.event {
                event.previous = item.from.0;
                self.append_step(&mut sequencer, event, moment, today);
            }
        }
        let entry = Entry::LoansSwept(Box::new(swept));
        sequencer.push(&entry);
        let Entry::LoansSwept(swept) = entry else { unreachable!("made two lines above") };
        self.loans.put_swept(&swept, states);
        for item in &mut items {
            self.append_legs(&mut sequencer, &mut locked, &mut item.legs, today);
        }
        let ended = self.end(&mut sequencer, &mut keys, begun, &Origin::default(), &Outcome::Noted);
        Some((begun, ended))
    }

    /// Posts what the loans moved on a day.
    fn post_day(&self, date: Day) -> Step {
        let mut locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        let day = self.loans.day();
        if day.ending() != Some(date) || day.next_loan <= self.loans.loans().count() {
            return Step::More;
        }
        if let Err(what) = self.check_controls(&locked, &day) {
            tracing::error!(date = %date, what, "a control account is not the sum of its loans: the day is not sealed; run `munim verify`");
            return Step::Stuck;
        }
        let mut entries = Vec::new();
        let mut totals = Vec::new();
        for ((_, number), sums) in day.sums.iter().filter(|((of, _), _)| *of == date) {
            let product = self.loans.product(*number, None).expect("sums are of products that exist").saved;
            entries.extend(legs(
                &product,
                None,
                &Positions::default(),
                &Positions::from_raw(sums.moved).expect("what loans move sums to zero"),
                Some(date),
            ));
            entries.extend(provision_leg(&product, day.provided(*number), sums.totals.provision, date));
            totals.push(ProductTotals { product: *number, ..sums.totals });
        }
        // A product without an active loan needs nothing held for it any more.
        for (number, provided) in day.provisions.iter().filter(|(number, _)| !day.sums.contains_key(&(date, **number)))
        {
            let product = self.loans.product(*number, None).expect("provisions are of products that exist").saved;
            entries.extend(provision_leg(&product, *provided, 0, date));
        }
        let mut sequencer = self.journal.lock();
        let (moment, today) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, today);
        let ended = Entry::DayEnded(Box::new(DayEnded { date, totals }));
        let seq = sequencer.push(&ended);
        self.loans.apply(&ended, seq, moment, today).expect("an end is always understood");
        if is_month_end(date) {
            let lines = self.lines_with(&mut locked, date, &entries);
            for lines in lines.chunks(MONTH_LINES_MAX) {
                sequencer.push(&Entry::MonthEnded(Box::new(MonthEnded { date, lines: lines.to_vec() })));
            }
        }
        self.append_legs(&mut sequencer, &mut locked, &mut entries, today);
        self.end(&mut sequencer, &mut keys, first, &Origin::default(), &Outcome::Noted);
        Step::More
    }

    /// The general ledger up to the last day of a month, with legs that are to be posted on it.
    fn lines_with(&self, locked: &mut Locked<'_>, date: Day, legs: &[TransferEntry]) -> Vec<MonthLine> {
        let (mut through, mut before): (Vec<GlTotals>, Vec<GlTotals>) = (Vec::new(), Vec::new());
        for shard in locked.shards_mut() {
            shard.gl.add_through(date, &mut through);
            shard.gl.add_through(month_before(date), &mut before);
        }
        let mut post = |no, debit: u64, credit: u64| {
            let line = locked.account(no).expect("legs name accounts that exist").gl.0 as usize;
            through.resize(through.len().max(line + 1), GlTotals::default());
            through[line].add(GlTotals { debits: debit.into(), credits: credit.into() });
        };
        for leg in legs {
            post(leg.debit, leg.amount, 0);
            post(leg.credit, 0, leg.amount);
        }
        before.resize(through.len(), GlTotals::default());
        let chart = self.chart.read();
        let sums = through.into_iter().zip(before);
        let lines = chart.keys().iter().copied().zip(sums);
        let mut lines: Vec<MonthLine> =
            lines.map(|(key, (through, before))| MonthLine { key, through, before }).collect();
        lines.retain(|line| line.through != GlTotals::default());
        lines.sort_unstable_by_key(|line| line.key);
        lines
    }

    /// Whether each control account is the sum of its loans, less what waits for the posting.
    fn check_controls(&self, locked: &Locked<'_>, day: &super::book::DayBook) -> Result<(), String> {
        for (number, positions) in &day.positions {
            let product = self.loans.product(*number, None).expect("positions are of products that exist").saved;
            let unposted = day.unposted(*number);
            for (place, plan) in ACCOUNT_PLANS.iter().enumerate().filter(|(_, plan)| plan.is_control) {
                let account = locked.account(product.accounts[place]).expect("accounts are never removed");
                let balance = i128::from(account.debits_posted) - i128::from(account.credits_posted);
                let loans = i128::from(positions[place]) - i128::from(unposted[place]);
                if balance != loans {
                    let (product, role) = (product.number, plan.role);
                    return Err(format!(
                        "product {product}, {role}: the ledger has {balance}, the loans {loans} paise"
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Item {
    fn of(row: &CopiedRow, state: LoanState, product: Arc<ProductSaved>, date: Day) -> Item {
        Item {
            loan: row.loan,
            from: row.from,
            events: row.events,
            product,
            after: state.clone(),
            before: state,
            event: None,
            legs: Vec::new(),
            row: None,
            is_run: row.from.1 < date,
        }
    }

    fn run(&mut self, date: Day) {
        if self.is_run {
            advance(&mut self.after, &self.product.facts.terms, date);
            self.row = SweptRow::between(self.loan, &self.before, &self.after);
        }
    }

    /// What another loan of the borrower does to it.
    fn meet(&mut self, event: LoanEvent, date: Day) {
        // On the day after the last one that was run: whatever days still wait are left to their own sweeps.
        let value_date = if self.is_run { date } else { Day(self.before.advanced_through.0 + 1) };
        let terms = &self.product.facts.terms;
        let mut state = self.before.clone();
        apply(&mut state, terms, &Dated { value_date, order: u64::MAX, event });
        self.legs = legs(&self.product, None, &self.before.positions, &state.positions, Some(value_date));
        self.event = Some(LoanPosted {
            loan: self.loan,
            previous: Seq::NONE,
            events_before: self.events,
            value_date,
            event,
            by: 0,
            settlement: None,
            texts: None,
            application: None,
            split: Split::default(),
            state: packed(&state),
        });
        self.after = state.clone();
        if self.is_run {
            advance(&mut self.after, terms, date);
            self.row = SweptRow::between(self.loan, &state, &self.after);
        }
    }
}

/// One non-performing loan makes all loans of its borrower so, until all arrears of all of them are paid.
fn spread(group: &mut [Item], date: Day) {
    let was = group.iter().any(|item| item.before.borrower_npa_since.is_some() || item.before.npa_since.is_some());
    let own = group.iter().filter_map(|item| item.after.npa_since).min();
    let has_dues = group.iter().any(|item| !item.after.dues.is_empty());
    let since = own.or(group.iter().filter_map(|item| item.after.borrower_npa_since).min());
    let is_npa = own.is_some() || (was && has_dues);
    for item in group {
        match (is_npa, item.after.borrower_npa_since.is_some()) {
            (true, false) => item.meet(LoanEvent::BorrowerFell { since: since.unwrap_or(date) }, date),
            (false, true) => item.meet(LoanEvent::BorrowerRose, date),
            _ => {}
        }
    }
}

/// Brings what is held against losses to what is needed.
fn provision_leg(product: &ProductSaved, held: i64, needed: i64, date: Day) -> Option<TransferEntry> {
    let (expense, provision) = (product.accounts[PROVISION_EXPENSE], product.accounts[PROVISION]);
    let effective = Some(date);
    match needed - held {
        0 => None,
        more @ 1.. => Some(leg(expense, provision, more, effective)),
        less => Some(leg(provision, expense, -less, effective)),
    }
}
