//! A plan, committed: if nothing that it was made from has changed, its entries are appended and applied as one record.

use crate::domain::entry::{Entry, TransferEntry};
use crate::domain::ids::Seq;
use crate::domain::lending::loan::facts::LoanPosted;
use crate::domain::objects::JOBS_PER_COMMAND_MAX;
use crate::domain::reject::{Reject, RejectCode};
use crate::engine::Core;
use crate::engine::command::{LoanAction, NewJob, Origin};
use crate::engine::commit::{Appended, Decided, Probe, Stale, bear};
use crate::engine::history::{Located, Reach, ReadError};
use crate::engine::keys::{ExternalKind, KeyKind, KeyRow, LockedKeys, external_hash};
use crate::engine::outcome::Outcome;
use crate::engine::shard::Locked;
use crate::engine::submit::{NotYet, Pending};
use crate::engine::view::{LoanEventView, Reply};
use crate::journal::AppenderGuard;

use super::file::Recorded;
use super::plan::Plan;
use super::query::LoanBase;

/// What a plan became.
#[derive(Debug)]
pub struct Committed {
    /// The loan's number; `None` in a dry run of an application.
    pub loan: Option<u32>,
    /// What the reply is about: the first thing that happened.
    pub shown: LoanPosted,
    /// Its entry; none in a dry run.
    pub shown_seq: Seq,
    /// The newest entry of the loan.
    pub last_seq: Seq,
    /// How many events the loan has after it.
    pub events: u32,
    /// What of the loan does not change.
    pub base: LoanBase,
    /// The loan after it, packed.
    pub state: Box<[u8]>,
}

impl Core {
    /// Does something with a loan.
    pub(in crate::engine) fn execute_loan(
        &self,
        action: &LoanAction,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        // A key that was used before is answered again, whatever the loan has become.
        let first = match self.probe(origin, None, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        if let Some(replay) = self.used_before(origin, &first) {
            return Ok(Ok(self.say(Decided::<()>::Replay(replay), origin, |_, (), _| Reply::Noted)));
        }
        let plan = match self.plan(action, origin, reach) {
            Ok(Ok(plan)) => plan,
            Ok(Err(code)) => return Ok(Ok(self.say_refusal(code, origin, &first)?)),
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let probe = match self.probe(origin, plan.external, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let decided = self.commit_plan(plan, &action.jobs, RejectCode::PaymentReferenceExists, origin, &probe)?;
        Ok(Ok(self.say_loan(decided, origin, false)))
    }

    /// Asks for a loan.
    pub(in crate::engine) fn execute_application(
        &self,
        application: &crate::domain::lending::loan::facts::LoanApplication,
        origin: &Origin,
        reach: Reach,
    ) -> Result<Result<Pending, NotYet>, Stale> {
        let external = application.external_id.as_deref().map(|text| external_hash(ExternalKind::Loan, text));
        let probe = match self.probe(origin, external, reach) {
            Ok(probe) => probe,
            Err(not_yet) => return Ok(Err(not_yet)),
        };
        let plan = match self.plan_application(application, origin) {
            Ok(plan) => plan,
            Err(code) => return Ok(Ok(self.say_refusal(code, origin, &probe)?)),
        };
        let decided = self.commit_plan(plan, &[], RejectCode::ExternalIdExists, origin, &probe)?;
        Ok(Ok(self.say_loan(decided, origin, true)))
    }

    /// Appends a plan, unless the loan, the day or the keys are not what they were.
    fn commit_plan(
        &self,
        mut plan: Box<Plan>,
        jobs: &[NewJob],
        taken: RejectCode,
        origin: &Origin,
        probe: &Probe,
    ) -> Result<Decided<Committed>, Stale> {
        let mut locked = self.shards.lock_all();
        let mut keys = self.keys.lock(origin.key.as_ref().map(|key| &key.hash), plan.external.as_ref());
        if let Some(replay) = self.check_probe(&mut keys, origin, probe)? {
            return Ok(Decided::Replay(replay));
        }
        if probe.external_taken || plan.external.is_some_and(|hash| keys.find(KeyKind::External, &hash).is_some()) {
            return Ok(self.refuse(&mut keys, Reject::of(taken), origin));
        }
        self.check_plan(&plan)?;
        let rules = self.rules(origin);
        let value_date = plan.steps.first().expect("a plan has a step").value_date;
        if rules.closed_through.is_some_and(|through| value_date <= through) {
            return Ok(self.refuse(&mut keys, Reject::of(RejectCode::PeriodClosed), origin));
        }
        if let Err(reject) = check_legs(&locked, &plan.legs) {
            return Ok(self.refuse(&mut keys, reject, origin));
        }
        let state = plan.steps.last().expect("a plan has a step").state.clone();
        let loan = if plan.loan == 0 { self.loans.loans().count() + 1 } else { plan.loan };
        if origin.dry_run {
            let events = events_after(&plan);
            let shown = plan.steps.swap_remove(0);
            let number = (plan.loan != 0).then_some(loan);
            let dry = Committed {
                loan: number,
                shown,
                shown_seq: Seq::NONE,
                last_seq: Seq::NONE,
                events,
                base: plan.base,
                state,
            };
            return Ok(Decided::Dry(dry, rules));
        }
        Ok(self.append_plan(plan, jobs, loan, (&mut locked, &mut keys), origin))
    }

    /// Appends a plan that stands.
    fn append_plan(
        &self,
        mut plan: Box<Plan>,
        jobs: &[NewJob],
        loan: u32,
        (locked, keys): (&mut Locked<'_>, &mut LockedKeys<'_>),
        origin: &Origin,
    ) -> Decided<Committed> {
        let mut sequencer = self.journal.lock();
        let (moment, date) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, date);
        for (swept, after) in std::mem::take(&mut plan.swept) {
            let entry = Entry::LoansSwept(Box::new(swept));
            sequencer.push(&entry);
            let Entry::LoansSwept(swept) = entry else { unreachable!("made two lines above") };
            self.loans.put_swept(&swept, vec![after]);
        }
        // Right before what they are born of: `event_born_with` finds it there.
        bear(&mut sequencer, jobs, origin);
        let mut seqs = Vec::with_capacity(plan.steps.len());
        let mut previous = plan.from.0;
        for step in &mut plan.steps {
            (step.loan, step.previous) = (loan, previous);
            previous = self.append_step(&mut sequencer, step, moment, date);
            seqs.push(previous);
        }
        self.append_legs(&mut sequencer, locked, &mut plan.legs, date);
        if let Some(hash) = plan.external {
            let number = if plan.loan == 0 { u64::from(loan) } else { previous.0 };
            keys.insert(KeyKind::External, hash, KeyRow { number, seq: previous });
        }
        let last = self.end(&mut sequencer, keys, first, origin, &Outcome::LoanPosted);
        let state = plan.steps.last().expect("a plan has a step").state.clone();
        let events = events_after(&plan);
        let shown = plan.steps.swap_remove(0);
        let done = Committed {
            loan: Some(loan),
            shown,
            shown_seq: seqs[0],
            last_seq: previous,
            events,
            base: plan.base,
            state,
        };
        Decided::Done(done, Appended { first, last, moment, date })
    }

    /// Under the locks: whether everything is as it was when the plan was made.
    fn check_plan(&self, plan: &Plan) -> Result<(), Stale> {
        let loans = self.loans.loans();
        let is_same = |loan: u32, seq: Seq| loans.get(loan).is_some_and(|row| row.last_seq == seq);
        let is_from =
            plan.loan == 0 || loans.get(plan.loan).is_some_and(|row| (row.last_seq, row.through) == plan.from);
        let is_latest = || {
            let application = plan.steps.first().and_then(|step| step.application.as_deref());
            application.is_none_or(|application| {
                let newest = self.loans.product(application.product, None);
                newest.is_some_and(|newest| newest.saved.version == application.product_version)
            })
        };
        let holds = is_from
            && self.business_date() == plan.today
            && plan.others.iter().all(|(loan, seq)| is_same(*loan, *seq))
            && plan.customer.is_none_or(|(number, version)| {
                self.lending.customer(number).is_some_and(|row| row.version == version)
            })
            && is_latest();
        if holds { Ok(()) } else { Err(Stale) }
    }

    pub(in crate::engine) fn append_step(
        &self,
        sequencer: &mut AppenderGuard<'_>,
        step: &LoanPosted,
        moment: crate::domain::ids::Moment,
        date: crate::domain::time::Day,
    ) -> Seq {
        let entry = Entry::LoanPosted(Box::new(step.clone()));
        let seq = sequencer.push(&entry);
        self.loans.apply(&entry, seq, moment, date).expect("what was packed here is understood here");
        seq
    }

    /// Appends and applies legs; their accounts were checked.
    pub(in crate::engine) fn append_legs(
        &self,
        sequencer: &mut AppenderGuard<'_>,
        locked: &mut Locked<'_>,
        legs: &mut [TransferEntry],
        date: crate::domain::time::Day,
    ) {
        for leg in legs {
            leg.effective = leg.effective.filter(|effective| *effective != date);
            locked.link(leg);
            let seq = sequencer.push_transfer(leg);
            locked.apply(leg, seq, date);
        }
    }

    /// What was appended, or would be, as a reply.
    fn say_loan(&self, decided: Decided<Committed>, origin: &Origin, created: bool) -> Pending {
        self.say(decided, origin, |_, committed, placed| {
            let Committed { loan, shown, shown_seq, last_seq, events, mut base, state } = committed;
            if created {
                base.applied_at = placed.moment();
            }
            let is_real = placed.is_real();
            base.events = events;
            let view = base.view(loan, is_real.then_some(last_seq), &state, placed.date());
            let event = LoanEventView {
                seq: is_real.then_some(shown_seq),
                recorded_at: placed.moment(),
                booked_on: placed.date(),
                split: shown.split,
                posted: shown,
                undone_by: None,
            };
            Reply::Loan { view: Box::new(view), event: Box::new(event), created }
        })
    }

    /// The reply of a record about a loan: from what happened first in it, and the state after what happened last.
    pub(in crate::engine) fn loan_reply(&self, entries: &[Located], reach: Reach) -> Result<Reply, ReadError> {
        let events: Vec<Recorded> = entries.iter().filter_map(Recorded::of).collect();
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Err(ReadError::Unreadable("a record about a loan, and nothing in it happened to one".into()));
        };
        let loan = first.posted.loan;
        let base = match &first.posted.application {
            Some(application) => self.base_of(application, first.moment, 0),
            None => {
                let row = self.loans.loans().get(loan).cloned();
                let row = row.ok_or_else(|| ReadError::Unreadable(format!("loan {loan} is not there")))?;
                self.base_of(&self.application(&row, reach)?, row.applied_at, 0)
            }
        };
        let base = LoanBase { events: last.posted.events_before + 1, ..base };
        let view = base.view(Some(loan), Some(last.seq), &last.posted.state, first.date);
        let event = LoanEventView {
            seq: Some(first.seq),
            recorded_at: first.moment,
            booked_on: first.date,
            split: first.posted.split,
            posted: first.posted.clone(),
            undone_by: None,
        };
        let created = first.posted.application.is_some();
        Ok(Reply::Loan { view: Box::new(view), event: Box::new(event), created })
    }

    /// The loan event that a job was born with; `None` when it was born with none, or alone.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn event_born_with(&self, birth: Seq) -> Result<Option<Recorded>, ReadError> {
        let Some(job) = self.history.entry(birth, Reach::Disk)? else { return Ok(None) };
        for step in 1..=JOBS_PER_COMMAND_MAX as u64 {
            match self.history.entry(Seq(birth.0 + step), Reach::Disk)? {
                Some(next) if next.record == job.record => {
                    if let Some(event) = Recorded::of(&next) {
                        return Ok(Some(event));
                    }
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn used_before(&self, origin: &Origin, probe: &Probe) -> Option<Seq> {
        let key = origin.key.as_ref()?;
        let recent = self.keys.find(KeyKind::Idempotency, &key.hash).map(Seq);
        recent.or(probe.replay)
    }
}

fn events_after(plan: &Plan) -> u32 {
    plan.steps.last().map_or(0, |step| step.events_before + 1)
}

/// Whether legs can be posted: accounts of products stay open, but a caller may name others, and sums have an end.
pub(super) fn check_legs(locked: &Locked<'_>, legs: &[TransferEntry]) -> Result<(), Reject> {
    use crate::domain::account::Status;
    use crate::domain::transfer::View;
    for leg in legs {
        for no in [leg.debit, leg.credit] {
            let account = locked.account(no).expect("products and plans name accounts that exist");
            if matches!(account.status, Status::Frozen | Status::Closed) {
                return Err(Reject::by(RejectCode::AccountFrozen, no));
            }
            let sums = [account.debits_posted, account.credits_posted];
            if sums.into_iter().any(|sum| sum.checked_add(leg.amount).is_none_or(|sum| sum > u64::MAX / 2)) {
                return Err(Reject::by(RejectCode::BalanceOverflow, no));
            }
        }
    }
    Ok(())
}
