//! Events of loans, folded.

use super::days::add_moved;
use super::{At, FoldedLoan, LoanFold, loan_name, moved_between};
use crate::domain::entry::Entry;
use crate::domain::ids::Seq;
use crate::domain::lending::digits::Decimal;
use crate::domain::lending::loan::allocation::Split;
use crate::domain::lending::loan::contract::LoanTerms;
use crate::domain::lending::loan::events::{Dated, LoanEvent};
use crate::domain::lending::loan::facts::{LoanApplication, LoanPosted};
use crate::domain::lending::loan::fold::{needs_fold, refold, undoes};
use crate::domain::lending::loan::state::LoanState;
use crate::domain::lending::loan::{advance, apply, pack, unpack};
use crate::domain::lending::terms::Charge;
use crate::domain::time::Day;

/// Events of loans that were folded anew lately are kept up to so many: some 20 MB.
const KEPT_EVENTS_MAX: usize = 250_000;

/// Where an application has its own way. Few have, so it is apart from the loans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnTerms {
    instalments: Option<u32>,
    annual_rate_pct: Option<Decimal>,
    first_due_on: Option<Day>,
    charges: Option<Box<[Charge]>>,
}

impl LoanFold {
    pub(super) fn posted(&mut self, at: &At<'_>, posted: &LoanPosted) -> Result<(), String> {
        if posted.value_date == Day(0) || at.date == Day(0) {
            return Err(format!("{} has an event on no day", loan_name(posted.loan)));
        }
        if posted.loan as usize == self.loans.len() + 1 {
            return self.applied(at, posted);
        }
        let (number, name) = (posted.loan, loan_name(posted.loan));
        let place = (number as usize).wrapping_sub(1);
        let loan = self.loans.get(place).ok_or_else(|| format!("names loan {number}, which does not exist"))?;
        if (loan.last_seq, loan.events) != (posted.previous.0, posted.events_before) || posted.application.is_some() {
            let (last, events) = (loan.last_seq, loan.events);
            return Err(format!("{name} does not follow its entry before, event {events} at seq={last}"));
        }
        if posted.value_date > at.date {
            self.name(at.seq, number, || format!("{} is a day to come", posted.value_date));
        }
        let loan = &self.loans[place];
        let before = loan.unpacked();
        let of_borrower = matches!(posted.event, LoanEvent::BorrowerFell { .. } | LoanEvent::BorrowerRose);
        let is_behind = loan.is_active && !of_borrower && u32::from(loan.through.0) + 1 < u32::from(at.date.0);
        let (after, split) = self.happen(at, posted, &before)?;
        if is_behind {
            self.name(at.seq, number, || "something happened to it before all days were run".into());
        }
        self.check_said(at.seq, posted, &after, split);
        let loan = &mut self.loans[place];
        loan.set(&after, &mut self.bytes);
        (loan.last_seq, loan.events) = (at.seq.0, loan.events + 1);
        let (product, moved) = (loan.product, moved_between(&before.positions, &after.positions));
        add_moved(self.positions.entry(product).or_default(), &moved);
        let accounts = self.products[product as usize - 1].accounts;
        if posted.settlement.is_some_and(|no| at.books.get(no).is_none()) {
            self.name(at.seq, number, || "its money went to an account that does not exist".into());
        }
        self.legs.expect(posted.value_date, &accounts, posted.settlement, &moved);
        Ok(())
    }

    /// The loan after an event, and what the event paid.
    fn happen(&mut self, at: &At<'_>, posted: &LoanPosted, before: &LoanState) -> Result<(LoanState, Split), String> {
        let dated = Dated { value_date: posted.value_date, order: at.seq.0, event: posted.event };
        let terms = self.terms(posted.loan, before.sanctioned);
        if !needs_fold(before, &dated) {
            let mut after = before.clone();
            let split = apply(&mut after, &terms, &dated);
            // What befalls a loan through its borrower is part of a sweep, which runs the day itself.
            if !matches!(posted.event, LoanEvent::BorrowerFell { .. } | LoanEvent::BorrowerRose) {
                advance(&mut after, &terms, Day(at.date.0 - 1));
            }
            return Ok((after, split));
        }
        let mut events = self.events(at, posted)?;
        if let Some(of) = undoes(&posted.event) {
            let is_there = events.iter().any(|other| other.order == of);
            let is_undone = events.iter().any(|other| undoes(&other.event) == Some(of));
            if !is_there || is_undone {
                self.name(at.seq, posted.loan, || format!("it undoes seq={of}, which is no event of it that stands"));
            }
        }
        events.push(dated);
        let mut split = Split::default();
        let after = refold(&terms, &events, at.date, |shown, paid, _| {
            if shown.order == dated.order {
                split = paid;
            }
        });
        self.keep(posted.loan, at.seq.0, events);
        Ok((after, split))
    }

    /// All events of a loan before an entry: those that are kept, and newer ones from the journal.
    fn events(&mut self, at: &At<'_>, posted: &LoanPosted) -> Result<Vec<Dated>, String> {
        let (known_to, mut events) = self.kept.remove(&posted.loan).unwrap_or_default();
        self.kept_events -= events.len();
        let known = events.len();
        let mut next = posted.previous;
        while next.0 > known_to {
            match (at.read)(next)? {
                Entry::LoanPosted(earlier) if earlier.loan == posted.loan => {
                    events.push(Dated { value_date: earlier.value_date, order: next.0, event: earlier.event });
                    next = earlier.previous;
                }
                _ => return Err(format!("{}: seq={next} is no event of it", loan_name(posted.loan))),
            }
        }
        events[known..].reverse();
        Ok(events)
    }

    fn keep(&mut self, loan: u32, seq: u64, events: Vec<Dated>) {
        if self.kept_events + events.len() > KEPT_EVENTS_MAX {
            self.kept.clear();
            self.kept_events = 0;
        }
        self.kept_events += events.len();
        self.kept.insert(loan, (seq, events));
    }

    /// What an entry says of its loan, against what was found.
    fn check_said(&mut self, seq: Seq, posted: &LoanPosted, after: &LoanState, split: Split) {
        self.bytes.clear();
        pack(after, &mut self.bytes);
        if *self.bytes != *posted.state {
            let said = unpack(&posted.state);
            self.name(seq, posted.loan, || match said {
                Some(said) => format!("its events give {}", differences(after, &said)),
                None => "what the entry says that it is, is not understood".into(),
            });
        }
        if split != posted.split {
            self.name(seq, posted.loan, || format!("its events pay {split:?}, the entry says {:?}", posted.split));
        }
    }

    /// A loan is asked for.
    fn applied(&mut self, at: &At<'_>, posted: &LoanPosted) -> Result<(), String> {
        let (number, name) = (posted.loan, loan_name(posted.loan));
        let application = posted.application.as_deref();
        let application = application.ok_or_else(|| format!("{name} begins without an application"))?;
        let LoanApplication { customer, product, product_version, principal, .. } = *application;
        let versions =
            self.products.get((product as usize).wrapping_sub(1)).map_or(0, |product| product.versions.len());
        if !(1..=versions).contains(&(product_version as usize)) {
            return Err(format!("{name} is of version {product_version} of product {product}, which is none"));
        }
        if !(1..=at.books.customers().len()).contains(&(customer as usize)) {
            return Err(format!("{name} is of customer {customer}, who does not exist"));
        }
        let is_first = posted.previous == Seq::NONE && posted.events_before == 0;
        if !is_first || posted.event != (LoanEvent::Applied { principal }) {
            return Err(format!("{name} does not begin with its application"));
        }
        if product_version as usize != versions || posted.value_date != at.date || posted.settlement.is_some() {
            self.name(at.seq, number, || "its application is not of the newest version, or not of its day".into());
        }
        self.loans.push(FoldedLoan {
            state: Box::default(),
            last_seq: at.seq.0,
            applied_seq: at.seq.0,
            applied_at: at.moment.0,
            customer,
            product,
            product_version,
            events: 1,
            through: Day(0),
            is_active: false,
            is_plain: is_plain(application),
        });
        self.link(customer, number);
        if let Some(own) = own_terms(application) {
            self.own.insert(number, Box::new(own));
        }
        let mut state = LoanState::new();
        let dated = Dated { value_date: posted.value_date, order: at.seq.0, event: posted.event };
        let split = apply(&mut state, &self.terms(number, principal), &dated);
        self.check_said(at.seq, posted, &state, split);
        self.loans[number as usize - 1].set(&state, &mut self.bytes);
        Ok(())
    }

    fn link(&mut self, customer: u32, number: u32) {
        let place = customer as usize - 1;
        if self.newest.len() <= place {
            self.newest.resize(place + 1, 0);
        }
        self.before.push(std::mem::replace(&mut self.newest[place], number));
    }

    /// The terms of a loan: its product's, and where its application has its own way, that.
    fn terms(&self, number: u32, principal: i64) -> LoanTerms {
        let loan = &self.loans[number as usize - 1];
        let own = self.own.get(&number);
        let application = LoanApplication {
            customer: loan.customer,
            product: loan.product,
            product_version: loan.product_version,
            principal,
            instalments: own.and_then(|own| own.instalments),
            annual_rate_pct: own.and_then(|own| own.annual_rate_pct),
            first_due_on: own.and_then(|own| own.first_due_on),
            charges: own.and_then(|own| own.charges.as_deref()).map(<[Charge]>::to_vec),
            external_id: None,
            metadata: Vec::new(),
        };
        application.terms(self.version(loan))
    }
}

/// Fields at most that a difference between two loans names.
const FIELDS_MAX: usize = 6;

/// Fields in which the entry says something else.
fn differences(ours: &LoanState, said: &LoanState) -> String {
    let [ours, theirs] = [ours, said].map(|state| format!("{state:#?}"));
    let lines = ours.lines().map(str::trim).zip(theirs.lines().map(str::trim)).filter(|(ours, theirs)| ours != theirs);
    let fields = lines.map(|(ours, theirs)| format!("{ours} the entry says {theirs}"));
    fields.take(FIELDS_MAX).collect::<Vec<_>>().join(" ")
}

fn own_terms(application: &LoanApplication) -> Option<OwnTerms> {
    let own = OwnTerms {
        instalments: application.instalments,
        annual_rate_pct: application.annual_rate_pct,
        first_due_on: application.first_due_on,
        charges: application.charges.as_deref().map(Into::into),
    };
    let none = OwnTerms { instalments: None, annual_rate_pct: None, first_due_on: None, charges: None };
    (own != none).then_some(own)
}

fn is_plain(application: &LoanApplication) -> bool {
    own_terms(application).is_none() && application.external_id.is_none() && application.metadata.is_empty()
}
