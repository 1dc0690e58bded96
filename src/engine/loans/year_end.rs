//! Income and expenses of a financial year that is over, moved to what the owners have: for products that name an account
//! for it.
//!
//! After each day's end, for each such product: what its income and expense accounts have by effective date up to the last
//! 31 March is moved to that account, by one record of plain transfers effective on that day. So the year's closing comes
//! right after the end of 31 March; what comes late for a year that is closed is moved after the end of the day on which
//! it came, or after a restart; and nothing has to be remembered: where it was done, nothing is left. A day that a closed
//! period covers is left alone. Sealed reports are as they were sealed, before the closing.

use crate::domain::entry::{TransferCold, TransferEntry};
use crate::domain::ids::{AccountNo, Seq};
use crate::domain::lending::financial_year::last_year_end;
use crate::domain::lending::loan::roles::Role;
use crate::domain::lending::product::{PROVISION_EXPENSE, ProductSaved};
use crate::domain::time::Day;
use crate::domain::transfer::View;
use crate::engine::Core;
use crate::engine::command::Origin;
use crate::engine::history::{Reach, ReadError};
use crate::engine::outcome::Outcome;

use super::commit::check_legs;
use super::day_end::Step;
use super::plan::leg;

/// The code of the transfers of a closing.
pub const YEAR_END_CODE: u32 = 310_300;

/// An account of income or expenses, as it was looked at.
struct Looked {
    no: AccountNo,
    last_seq: Seq,
    /// Debits less credits up to the year's end, paise.
    balance: i128,
}

impl Core {
    /// Closes a year for products for which that has to be done after a day's end.
    pub(super) fn close_years(&self) -> Step {
        let ended = self.loans.with_day(|day| day.ended);
        if ended == Day(0) || *self.years_looked_at.lock() == ended {
            return Step::Idle;
        }
        let through = last_year_end(ended);
        let is_closed = self.closed_through() >= Some(through);
        let products = (1..=self.loans.product_count()).filter_map(|number| self.loans.product(number, None));
        for product in products.filter(|_| !is_closed) {
            let saved = product.saved;
            let Some(to) = saved.facts.year_end_account else { continue };
            match self.close_year(&saved, to, through) {
                Ok(true) => {}
                // Something was posted meanwhile, or is not on disk yet: it is looked at again.
                Ok(false) | Err(ReadError::Moved) => return Step::More,
                Err(error) => {
                    let product = saved.number;
                    tracing::warn!(product, ?error, "a year was not closed; it is tried again after the next day");
                }
            }
        }
        *self.years_looked_at.lock() = ended;
        Step::Idle
    }

    /// Whether nothing is left to be moved.
    fn close_year(&self, product: &ProductSaved, to: AccountNo, through: Day) -> Result<bool, ReadError> {
        let mut all: Vec<Looked> = Vec::new();
        let roles = [Role::InterestIncome, Role::FeeIncome, Role::PenalIncome, Role::WriteOff, Role::Recovery];
        let accounts = roles.map(|role| product.account(role)).into_iter().chain([product.accounts[PROVISION_EXPENSE]]);
        for no in accounts {
            // One account may have several roles.
            if all.iter().any(|looked| looked.no == no) {
                continue;
            }
            let Some(snapshot) = self.snapshot(no) else { continue };
            let last_seq = snapshot.account.last_seq;
            if !self.watermark.covers(last_seq) {
                return Ok(false);
            }
            let totals = self.balance_on(&snapshot, through, Reach::Far)?.totals;
            let balance = i128::from(totals.debits_posted) - i128::from(totals.credits_posted);
            all.push(Looked { no, last_seq, balance });
        }
        all.retain(|looked| looked.balance != 0);
        if all.is_empty() {
            return Ok(true);
        }
        self.post_closing(&all, to, through)
    }

    /// Posts what was found, if the accounts are as they were; what was posted is looked at once more.
    fn post_closing(&self, all: &[Looked], to: AccountNo, through: Day) -> Result<bool, ReadError> {
        let closing = |looked: &Looked| {
            let amount = i64::try_from(looked.balance.abs()).expect("what an account has fits 63 bits");
            let (debit, credit) = if looked.balance > 0 { (to, looked.no) } else { (looked.no, to) };
            let description = Some(format!("Closing of the financial year through {through}").into());
            let cold = Some(Box::new(TransferCold { description, ..TransferCold::default() }));
            TransferEntry { code: YEAR_END_CODE, cold, ..leg(debit, credit, amount, Some(through)) }
        };
        let mut legs: Vec<TransferEntry> = all.iter().map(closing).collect();
        let mut locked = self.shards.lock_all();
        let mut keys = self.keys.lock_all();
        let is_same =
            |looked: &Looked| locked.account(looked.no).is_some_and(|account| account.last_seq == looked.last_seq);
        if !all.iter().all(is_same) {
            return Ok(false);
        }
        if let Err(reject) = check_legs(&locked, &legs) {
            let what = format!("the year through {through} cannot be closed: {}", reject.code.name());
            return Err(ReadError::Unreadable(what));
        }
        let mut sequencer = self.journal.lock();
        let (moment, today) = self.next_moment(&sequencer);
        let first = sequencer.begin(moment, today);
        self.append_legs(&mut sequencer, &mut locked, &mut legs, today);
        self.end(&mut sequencer, &mut keys, first, &Origin::default(), &Outcome::Noted);
        Ok(false)
    }
}
