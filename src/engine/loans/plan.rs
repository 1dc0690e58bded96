//! What a command about a loan comes to, worked out before anything is locked: the days that the loan has not been
//! run through, what happens, the loan after it, and the legs for the ledger. Whoever commits it compares the loan
//! with what the plan was made from, and has it made again if that has changed.

use std::sync::Arc;

use crate::domain::entry::{TransferEntry, TransferOp};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::decide::{Circumstances, LoanCommand, LoanReject, decide};
use crate::domain::lending::loan::events::{Dated, Deducted, LoanEvent, Mode};
use crate::domain::lending::loan::facts::{
    LOAN_EVENTS_MAX, LOANS_PER_CUSTOMER_MAX, LoanApplication, LoanPosted, LoansSwept, ProductTotals, SweptRow,
};
use crate::domain::lending::loan::fold::{go_on, needs_fold, refold, undoes};
use crate::domain::lending::loan::packed::pack;
use crate::domain::lending::loan::quotes::{cooling_off, foreclosure};
use crate::domain::lending::loan::roles::{Positions, Role};
use crate::domain::lending::loan::state::{LoanState, LoanStatus};
use crate::domain::lending::loan::{advance, apply, movements};
use crate::domain::lending::product::ProductSaved;
use crate::domain::lending::regulation;
use crate::domain::reject::RejectCode;
use crate::domain::time::Day;
use crate::engine::Core;
use crate::engine::command::{LoanAction, LoanRequest, Origin};
use crate::engine::history::Reach;
use crate::engine::keys::{ExternalKind, KeyHash, external_hash};
use crate::engine::submit::NotYet;

use super::amounts::{amount_of, cash_asked, cash_of, is_above, mode_of, reference_key};
use super::book::{SweptState, is_receipt};
use super::query::LoanBase;
use super::table::LoanRow;

/// A command about a loan, worked out.
#[derive(Debug)]
pub struct Plan {
    /// Which loan; 0 for one that is asked for.
    pub loan: u32,
    /// The loan that it was made from: its newest event and the last day run for it.
    pub from: (Seq, Day),
    /// Newest events of other loans that it looked at.
    pub others: Vec<(u32, Seq)>,
    /// The borrower's version, where something that is known of him was looked at.
    pub customer: Option<(u32, u32)>,
    /// The business date that it was made on.
    pub today: Day,
    /// Days that are over and were not run for the loan yet, each with the loan after it.
    pub swept: Vec<(LoansSwept, SweptState)>,
    /// What happens, in order, each with the state after it. Seqs are put in when it is committed.
    pub steps: Vec<LoanPosted>,
    /// The loan after all that.
    pub state: LoanState,
    /// What has to be posted. Links are put in when it is committed.
    pub legs: Vec<TransferEntry>,
    /// What is to be unique for ever.
    pub external: Option<KeyHash>,
    /// What of the loan does not change.
    pub base: LoanBase,
}

/// A plan, or why there is none.
pub type Planned = Result<Box<Plan>, RejectCode>;

/// Where a loan stands when a command comes.
struct Stand {
    loan: u32,
    row: LoanRow,
    product: Arc<ProductSaved>,
    /// Its own terms, or those of the product where no plan begins.
    terms: LoanTerms,
    /// Its events, where they are needed.
    events: Option<Arc<Vec<Dated>>>,
    /// Who asked for it, where that matters.
    maker: u64,
    /// Where the money of what is undone had gone.
    undone_settlement: Option<AccountNo>,
    /// After the days that are over.
    state: LoanState,
    swept: Vec<(LoansSwept, SweptState)>,
    today: Day,
    base: LoanBase,
}

impl Core {
    /// Works out what a command comes to.
    pub(in crate::engine) fn plan(
        &self,
        action: &LoanAction,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Planned, NotYet> {
        let Some(row) = self.loans.loans().get(action.loan).cloned() else { return Ok(Err(RejectCode::LoanNotFound)) };
        if row.events >= LOAN_EVENTS_MAX {
            return Ok(Err(RejectCode::TooManyLoans));
        }
        if !self.watermark.covers(row.last_seq) {
            // A loan's events are read from the journal; also nobody decides on what may be undone.
            return Err(NotYet::WaitFor(row.last_seq));
        }
        let today = self.business_date();
        let value_date = action.value_date.unwrap_or(today);
        let stand = self.stand(action.loan, row, today, &action.request, value_date, reach)?;
        let settlement = match action.settlement {
            None => None,
            Some(Some(no)) if self.is_settlement(no) => Some(no),
            Some(_) => return Ok(Err(RejectCode::AccountUnsuitable)),
        };
        let mut others = Vec::new();
        let cash_received = match mode_of(&action.request) {
            Some(Mode::Cash) => self.cash_received(&stand, value_date, &mut others, reach)?,
            _ => 0,
        };
        let limits = regulation::cash_limits(value_date);
        let (mut has_pan, mut customer) = (true, None);
        let needs_pan = |amount: i64| cash_received.saturating_add(amount) > limits.receipts_without_pan;
        if cash_asked(&action.request).is_some_and(|amount| amount.is_none_or(needs_pan)) {
            let number = stand.row.customer;
            let known = self.lending.customer(number).expect("a loan's customer came before it");
            if !self.watermark.covers(known.last_seq) {
                return Err(NotYet::WaitFor(known.last_seq));
            }
            has_pan = self.customer_saved(known, reach)?.facts.pan.is_some();
            customer = Some((number, known.version));
        }
        let day = Circumstances {
            today,
            value_date,
            cash_received,
            cash_disbursal_limit: limits.disbursal,
            cash_receipts_limit: limits.receipts,
            cash_pan_limit: limits.receipts_without_pan,
            has_pan,
        };
        let planned = stand.work_out(action, settlement, &day, origin);
        Ok(planned.map(|mut plan| {
            plan.others = others;
            plan.customer = customer;
            plan.external = reference_key(&plan.steps);
            Box::new(plan)
        }))
    }

    /// Reads what is needed, and runs the days that are over.
    fn stand(
        &self,
        loan: u32,
        row: LoanRow,
        today: Day,
        request: &LoanRequest,
        value_date: Day,
        reach: Reach,
    ) -> Result<Stand, NotYet> {
        let base = self.base_of(&self.application(&row, reach)?, row.applied_at, row.events);
        let product = Arc::clone(&base.product);
        let is_plain_day = row.is_active && value_date >= today && mode_of(request) != Some(Mode::Cash);
        let undoes = matches!(request, LoanRequest::ReverseReceipt { .. } | LoanRequest::ReturnDisbursal { .. });
        let (terms, events) = if is_plain_day && !undoes {
            (product.facts.terms.clone(), None)
        } else {
            ((*base.terms).clone(), Some(self.bare_events(loan, &row, reach)?))
        };
        let mut state = row.unpacked();
        let mut swept = Vec::new();
        if row.is_active {
            for date in (row.through.0 + 1..today.0).map(Day) {
                let before = state.clone();
                advance(&mut state, &product.facts.terms, date);
                let entry = swept_alone(loan, row.product, &product, &before, &state);
                let packed = packed(&state);
                swept.push((entry, SweptState { loan, state: state.clone(), packed, is_stored: false }));
            }
        }
        let maker = match request {
            LoanRequest::Approve => self.loan_event(row.applied_seq, reach)?.posted.by,
            LoanRequest::Disburse { .. } if product.facts.disbursal_by_another => {
                self.loan_event(row.applied_seq, reach)?.posted.by
            }
            _ => 0,
        };
        let undone = match (request, &events) {
            (LoanRequest::ReverseReceipt { of }, _) => Some(*of),
            (LoanRequest::ReturnDisbursal { of }, Some(events)) => disbursal(events, *of).map(Seq),
            _ => None,
        };
        let undone_settlement = match undone.filter(|of| is_there(events.as_deref(), *of)) {
            Some(of) => self.loan_event(of, reach)?.posted.settlement,
            None => None,
        };
        Ok(Stand { loan, row, product, terms, events, maker, undone_settlement, state, swept, today, base })
    }

    /// Money may come to and go from accounts of money: assets to which others may post.
    fn is_settlement(&self, no: AccountNo) -> bool {
        use crate::domain::account::{AccountType, BalanceRule, Status};
        use crate::domain::money::Currency;
        self.account_row(no).is_some_and(|account| {
            account.account_type == AccountType::Asset
                && account.currency == Currency::INR
                && account.status == Status::Open
                && account.balance_rule == BalanceRule::None
        })
    }

    /// What the borrower of a loan has paid in cash on a day, on all loans, in paise.
    fn cash_received(
        &self,
        stand: &Stand,
        day: Day,
        others: &mut Vec<(u32, Seq)>,
        reach: Reach,
    ) -> Result<i64, NotYet> {
        let loans = self.loans.loans().of_customer(stand.row.customer);
        let mut sum = 0i64;
        for loan in loans {
            let Some(row) = self.loans.loans().get(loan).cloned() else { continue };
            if loan != stand.loan {
                others.push((loan, row.last_seq));
            }
            if !self.watermark.covers(row.last_seq) {
                return Err(NotYet::WaitFor(row.last_seq));
            }
            let events = self.bare_events(loan, &row, reach)?;
            for dated in events.iter().filter(|dated| dated.value_date == day) {
                if !is_undone(&events, dated.order) {
                    sum = sum.saturating_add(cash_of(&dated.event));
                }
            }
        }
        Ok(sum)
    }

    /// Works out an application. The customer, the product and how many loans there are, are looked at again when it
    /// is committed.
    pub(in crate::engine) fn plan_application(&self, application: &LoanApplication, origin: &Origin) -> Planned {
        let version = self.loans.product(application.product, None).ok_or(RejectCode::ProductNotFound)?;
        if self.lending.customer(application.customer).is_none() {
            return Err(RejectCode::CustomerNotFound);
        }
        let facts = &version.saved.facts;
        if !(facts.principal_min..=facts.principal_max).contains(&application.principal) {
            return Err(RejectCode::PrincipalOutOfRange);
        }
        if origin.amount_limit.is_some_and(|limit| is_above(application.principal, limit)) {
            return Err(RejectCode::AmountLimitExceeded);
        }
        if self.loans.loans().of_customer(application.customer).len() >= LOANS_PER_CUSTOMER_MAX {
            return Err(RejectCode::TooManyLoans);
        }
        let application = LoanApplication { product_version: version.saved.version, ..application.clone() };
        let terms = application.terms(facts);
        let today = self.business_date();
        let day = Circumstances {
            today,
            value_date: today,
            cash_received: 0,
            cash_disbursal_limit: i64::MAX,
            cash_receipts_limit: i64::MAX,
            cash_pan_limit: i64::MAX,
            has_pan: false,
        };
        let mut state = LoanState::new();
        let event = decide(&state, &terms, &LoanCommand::Apply, &day).map_err(LoanReject::code)?;
        apply(&mut state, &terms, &Dated { value_date: today, order: u64::MAX, event });
        let external = application.external_id.as_deref().map(|text| external_hash(ExternalKind::Loan, text));
        let base = self.base_of(&application, Moment(0), 0);
        let step = LoanPosted {
            loan: 0,
            previous: Seq::NONE,
            events_before: 0,
            value_date: today,
            event,
            by: origin.owner,
            settlement: None,
            texts: None,
            application: Some(Box::new(application)),
            split: Split::default(),
            state: packed(&state),
        };
        Ok(Box::new(Plan {
            loan: 0,
            from: (Seq::NONE, Day(0)),
            others: Vec::new(),
            customer: None,
            today,
            swept: Vec::new(),
            steps: vec![step],
            state,
            legs: Vec::new(),
            external,
            base,
        }))
    }
}

impl Stand {
    fn work_out(
        self,
        action: &LoanAction,
        settlement: Option<AccountNo>,
        day: &Circumstances,
        origin: &Origin,
    ) -> Result<Plan, RejectCode> {
        // Where the value date has ended, what is asked is decided by the loan of that day.
        let probe = Dated { value_date: day.value_date, order: u64::MAX, event: LoanEvent::Closed };
        let at = if needs_fold(&self.state, &probe) { self.as_of(day.value_date) } else { self.state.clone() };
        let commands = self.commands(action, &at, day.value_date, origin)?;
        let settlement = self.undone_settlement.or(settlement);
        let positions = self.state.positions;
        let mut plan = Plan {
            loan: self.loan,
            from: (self.row.last_seq, self.row.through),
            others: Vec::new(),
            customer: None,
            today: self.today,
            swept: self.swept.clone(),
            steps: Vec::new(),
            state: self.state.clone(),
            legs: Vec::new(),
            external: None,
            base: self.base.clone(),
        };
        for command in commands {
            let decided_on = if plan.steps.is_empty() { &at } else { &plan.state };
            let event = decide(decided_on, &self.terms, &command, day).map_err(LoanReject::code)?;
            let is_above = |limit| amount_of(&event).is_some_and(|amount| is_above(amount, limit));
            if origin.amount_limit.is_some_and(is_above) {
                return Err(RejectCode::AmountLimitExceeded);
            }
            let split = self.happen(&mut plan, &at, Dated { value_date: day.value_date, order: u64::MAX, event });
            plan.steps.push(LoanPosted {
                loan: self.loan,
                previous: Seq::NONE,
                events_before: self.row.events + plan.steps.len() as u32,
                value_date: day.value_date,
                event,
                by: origin.owner,
                settlement,
                texts: Some(Box::new(action.texts.clone())).filter(|texts| **texts != Default::default()),
                application: None,
                split,
                state: packed(&plan.state),
            });
        }
        let effective = (day.value_date != self.today).then_some(day.value_date);
        plan.legs = legs(&self.product, settlement, &positions, &plan.state.positions, effective);
        Ok(plan)
    }

    /// What happens to the loan, on top of what the plan has; `at` is the loan on the value date.
    fn happen(&self, plan: &mut Plan, at: &LoanState, dated: Dated) -> Split {
        if !needs_fold(&plan.state, &dated) {
            let split = apply(&mut plan.state, &self.terms, &dated);
            advance(&mut plan.state, &self.terms, Day(self.today.0 - 1));
            return split;
        }
        let mut events = self.events().clone();
        if undoes(&dated.event).is_none() && plan.steps.is_empty() {
            // Nothing up to the value date changes: from there on it is gone through again.
            let mut on_day = at.clone();
            let split = apply(&mut on_day, &self.terms, &dated);
            plan.state = go_on(&on_day, &self.terms, &events, dated.value_date, self.today);
            return split;
        }
        events.extend(plan.steps.iter().zip(u64::MAX - 9..).map(|(step, order)| Dated {
            value_date: step.value_date,
            order,
            event: step.event,
        }));
        events.push(dated);
        let mut split = Split::default();
        plan.state = refold(&self.terms, &events, self.today, |shown, paid, _| {
            if shown.order == dated.order {
                split = paid;
            }
        });
        split
    }

    /// The loan as it was on a day that has ended.
    fn as_of(&self, day: Day) -> LoanState {
        refold(&self.terms, self.events(), day, |_, _, _| {})
    }

    fn commands(
        &self,
        action: &LoanAction,
        at: &LoanState,
        on: Day,
        origin: &Origin,
    ) -> Result<Vec<LoanCommand>, RejectCode> {
        let kfs = || {
            let valid_through = Day(self.today.0.saturating_add(self.product.facts.kfs_valid_days));
            LoanCommand::IssueKfs { version: at.kfs_version + 1, valid_through }
        };
        Ok(vec![match action.request {
            LoanRequest::Approve => {
                if origin.owner != 0 && self.maker == origin.owner {
                    return Err(RejectCode::SameIdentity);
                }
                return Ok(vec![LoanCommand::Approve, kfs()]);
            }
            LoanRequest::Decline => LoanCommand::Decline,
            LoanRequest::IssueKfs => kfs(),
            LoanRequest::AcceptKfs { version } => LoanCommand::AcceptKfs { version },
            LoanRequest::Disburse { amount, mode } => {
                if self.product.facts.disbursal_by_another && origin.owner != 0 && self.maker == origin.owner {
                    return Err(RejectCode::SameIdentity);
                }
                let is_first = at.status != LoanStatus::Active;
                let left = at.sanctioned - if is_first { 0 } else { at.totals.disbursed };
                let deducted = if is_first { self.terms.deducted() } else { Deducted::default() };
                LoanCommand::Disburse { amount: amount.unwrap_or(left), deducted, mode }
            }
            LoanRequest::ReturnDisbursal { of } => {
                let of = disbursal(self.events(), of).ok_or(RejectCode::LoanEventNotFound)?;
                LoanCommand::ReturnDisbursal { of }
            }
            LoanRequest::Receive { amount, tds, mode } => LoanCommand::Receive { amount, tds, mode },
            LoanRequest::ReverseReceipt { of } => {
                let mut receipts = self.events().iter().filter(|dated| is_receipt(&dated.event));
                if !receipts.any(|dated| dated.order == of.0) || is_undone(self.events(), of.0) {
                    return Err(RejectCode::LoanEventNotFound);
                }
                LoanCommand::ReverseReceipt { of: of.0 }
            }
            LoanRequest::Prepay { amount, keep, mode } => LoanCommand::Prepay { amount, keep, mode },
            LoanRequest::Charge { kind, amount } => {
                use crate::domain::lending::loan::events::ChargeKind;
                let gst = if kind == ChargeKind::Penal { 0 } else { self.terms.gst_on(amount) };
                LoanCommand::Charge { kind, amount, gst }
            }
            LoanRequest::Waive(waiver) => LoanCommand::Waive(waiver),
            LoanRequest::ResetRate { annual_rate_pct, keep } => LoanCommand::ResetRate { annual_rate_pct, keep },
            LoanRequest::Reschedule(new) => LoanCommand::Reschedule(new),
            LoanRequest::WriteOff => LoanCommand::WriteOff,
            LoanRequest::Recover { amount, mode } => LoanCommand::Recover { amount, mode },
            LoanRequest::Refund { amount, mode } => LoanCommand::Refund { amount, mode },
            LoanRequest::Foreclose { amount, mode } => {
                let quoted = || foreclosure(at, &self.terms, on).total;
                LoanCommand::Foreclose { amount: amount.unwrap_or_else(quoted), mode }
            }
            LoanRequest::Cancel { amount, mode } => {
                let quoted = || cooling_off(at, &self.terms, on).map_or(0, |quote| quote.total);
                LoanCommand::Cancel { amount: amount.unwrap_or_else(quoted), mode }
            }
            LoanRequest::Close => LoanCommand::Close,
            LoanRequest::Settle { amount, mode } => LoanCommand::Settle { amount, mode },
            LoanRequest::Pause { until } => LoanCommand::Pause { until },
            LoanRequest::Watch { on } => LoanCommand::Watch { on },
        }])
    }

    fn events(&self) -> &Vec<Dated> {
        self.events.as_deref().expect("read for whatever lies back or is undone")
    }
}

fn is_undone(events: &[Dated], order: u64) -> bool {
    events.iter().any(|dated| undoes(&dated.event) == Some(order))
}

fn is_there(events: Option<&Vec<Dated>>, seq: Seq) -> bool {
    events.is_some_and(|events| events.iter().any(|dated| dated.order == seq.0))
}

/// The disbursal that came back: the one named, or the last that has not.
fn disbursal(events: &[Dated], of: Option<Seq>) -> Option<u64> {
    let disbursals = events.iter().filter(|dated| matches!(dated.event, LoanEvent::Disbursed { .. }));
    let mut standing =
        disbursals.filter(|dated| !is_undone(events, dated.order) && of.is_none_or(|of| of.0 == dated.order));
    standing.next_back().map(|dated| dated.order)
}

/// A loan, packed.
#[must_use]
pub fn packed(state: &LoanState) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(160);
    pack(state, &mut bytes);
    bytes.into_boxed_slice()
}

/// The entry for a day that was run for one loan alone.
#[must_use]
pub fn swept_alone(
    loan: u32,
    number: u32,
    product: &ProductSaved,
    before: &LoanState,
    after: &LoanState,
) -> LoansSwept {
    let mut totals = ProductTotals { product: number, ..ProductTotals::default() };
    count_in(&mut totals, product, after);
    LoansSwept {
        date: after.advanced_through,
        first: loan,
        last: 0,
        rows: SweptRow::between(loan, before, after).into_iter().collect(),
        totals: vec![totals],
    }
}

/// Counts a loan at the end of the last day that was run for it.
pub fn count_in(totals: &mut ProductTotals, product: &ProductSaved, state: &LoanState) {
    let class = state.class as usize;
    totals.loans[class] += 1;
    totals.outstanding[class] += state.outstanding;
    let day = state.advanced_through;
    totals.provision += regulation::provision(state, product.facts.is_secured, day);
}

/// The legs that bring the books of a loan from one state to another.
#[must_use]
pub fn legs(
    product: &ProductSaved,
    settlement: Option<AccountNo>,
    before: &Positions,
    after: &Positions,
    effective: Option<Day>,
) -> Vec<TransferEntry> {
    let account = |role: Role| match (role, settlement) {
        (Role::Settlement, Some(no)) => no,
        _ => product.account(role),
    };
    let movements = movements(before, after).into_iter();
    let legs =
        movements.map(|movement| leg(account(movement.debit), account(movement.credit), movement.amount, effective));
    legs.filter(|leg| leg.debit != leg.credit).collect()
}

/// A leg, to be linked.
#[must_use]
pub fn leg(debit: AccountNo, credit: AccountNo, amount: i64, effective: Option<Day>) -> TransferEntry {
    TransferEntry {
        op: TransferOp::Posted,
        debit,
        credit,
        amount: u64::try_from(amount).expect("movements are more than 0"),
        code: 0,
        effective,
        previous_debit: Seq::NONE,
        previous_credit: Seq::NONE,
        cold: None,
    }
}
