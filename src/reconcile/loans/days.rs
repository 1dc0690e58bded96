//! Business days and what lending posts, folded: the independent twin of the engine's day book.
//!
//! 1. Days close one after the other, loans are swept in order, a day ends when all loans were looked at.
//! 2. What loans move at the end of a day is added up by day and product, and in the ledger once that day has ended.
//! 3. Legs of a record are added up by effective date and account. What they have to come to is known before they
//!    come; how they are paired is the engine's business.
//!
//! Sums have 128 bits where the engine's have 64.

use std::collections::BTreeMap;

use crate::domain::entry::{DayClosed, TransferEntry, TransferOp};
use crate::domain::ids::AccountNo;
use crate::domain::lending::loan::facts::{DayEnded, LoansSwept, ProductTotals};
use crate::domain::lending::loan::roles::ROLE_COUNT;
use crate::domain::lending::product::{PROVISION, PROVISION_EXPENSE, ProductAccounts};
use crate::domain::time::Day;

/// Signed paise by role.
pub type Moved = [i128; ROLE_COUNT];

/// What the fold knows of days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoldedDays {
    /// Days end by hand only.
    pub by_hand: bool,
    /// The last day that is over; 0 while there are no loan products.
    pub closed: Day,
    /// The last day whose end is done.
    pub ended: Day,
    /// The entry that says so.
    pub ended_seq: u64,
    /// Every day whose end is done, with its entry.
    pub ends: Vec<(Day, u64)>,
    /// The first loan that was not looked at for the day after `ended`.
    pub next_loan: u32,
    /// By day and product: what the ledger does not have yet.
    pub sums: BTreeMap<(Day, u32), FoldedSums>,
    /// What the ledger holds against losses, paise, by product.
    pub provisions: BTreeMap<u32, i64>,
}

/// What loans of a product moved at the end of a day, and what they were then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldedSums {
    /// Signed paise by role.
    pub moved: Moved,
    /// Counts and sums by class.
    pub totals: ProductTotals,
}

impl FoldedDays {
    /// The first product is there: days have an end from this one on.
    pub fn begin(&mut self, date: Day) {
        if self.closed == Day(0) {
            let before = Day(date.0.saturating_sub(1));
            (self.closed, self.ended, self.next_loan) = (before, before, 1);
        }
    }

    /// Whether there are loan products, and so days with an end.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.closed != Day(0)
    }

    /// Days are over. Gives what is wrong with that.
    pub fn close(&mut self, closed: &DayClosed, date: Day) -> Option<String> {
        let before = Day(date.0.saturating_sub(1));
        let is_right = closed.through == before && closed.through >= self.closed;
        let was = self.closed;
        self.by_hand = closed.by_hand;
        if self.has_begun() {
            self.closed = was.max(closed.through);
        }
        let through = closed.through;
        (!is_right).then(|| format!("closes the days through {through}: {was} were closed, and its own day is {date}"))
    }

    /// Loans were run to the end of a day: whether it is their turn. Gives what is wrong.
    pub fn check_turn(&self, swept: &LoansSwept, loans: u32) -> Option<String> {
        let LoansSwept { date, first, last, .. } = *swept;
        let (ended, closed, next) = (self.ended, self.closed, self.next_loan);
        let is_open = ended < date && date <= closed;
        let is_right = match last {
            0 => is_open && (1..=loans).contains(&first),
            _ => is_open && date.0 == ended.0 + 1 && first == next && (first..=loans).contains(&last),
        };
        let turn = || format!("days are closed through {closed} and ended through {ended}, loan {next} is next");
        (!is_right).then(|| format!("runs loans {first}..={last} through {date}, out of turn: {}", turn()))
    }

    /// What loans of a product came to.
    pub fn add(&mut self, date: Day, totals: &ProductTotals, moved: &Moved) {
        let sums = self.sums.entry((date, totals.product)).or_default();
        add_moved(&mut sums.moved, moved);
        sums.totals.product = totals.product;
        sums.totals.provision += totals.provision;
        for class in 0..totals.loans.len() {
            sums.totals.loans[class] += totals.loans[class];
            sums.totals.outstanding[class] += totals.outstanding[class];
        }
    }

    /// Loans up to this one were looked at.
    pub fn looked_at(&mut self, last: u32) {
        self.next_loan = self.next_loan.max(last.saturating_add(1));
    }

    /// A day has ended: what its record has to post by account, and what is wrong with it.
    pub fn end(
        &mut self,
        seq: u64,
        ended: &DayEnded,
        loans: u32,
        accounts: &dyn Fn(u32) -> Option<ProductAccounts>,
        legs: &mut Legs,
    ) -> Option<String> {
        let date = ended.date;
        let is_turn = date.0 == self.ended.0.saturating_add(1) && date <= self.closed && self.next_loan > loans;
        let of_day = self.sums.range((date, 0)..=(date, u32::MAX));
        let sums: BTreeMap<u32, FoldedSums> = of_day.map(|((_, product), sums)| (*product, *sums)).collect();
        let totals: Vec<ProductTotals> = sums.values().map(|sums| sums.totals).collect();
        for product in sums.keys().chain(self.provisions.keys().filter(|product| !sums.contains_key(product))) {
            let Some(accounts) = accounts(*product) else { continue };
            let sums = sums.get(product).copied().unwrap_or_default();
            legs.expect(date, &accounts, None, &sums.moved);
            let held = self.provisions.get(product).copied().unwrap_or(0);
            let more = i128::from(sums.totals.provision) - i128::from(held);
            legs.add(date, accounts[PROVISION_EXPENSE], more);
            legs.add(date, accounts[PROVISION], -more);
        }
        let wrong = if !is_turn {
            let (closed, before, next) = (self.closed, self.ended, self.next_loan);
            let turn = format!("days are closed through {closed} and ended through {before}");
            Some(format!("ends {date} out of turn: {turn}, {next} of {loans} loans is next"))
        } else if totals != ended.totals {
            Some(format!("ends {date} with {:?}, its loans give {totals:?}", ended.totals))
        } else {
            None
        };
        (self.ended, self.ended_seq, self.next_loan) = (date, seq, 1);
        self.ends.push((date, seq));
        self.provisions = totals.iter().map(|totals| (totals.product, totals.provision)).collect();
        self.sums.retain(|(of, _), _| *of > date);
        wrong
    }

    /// What loans of a product have moved and the ledger does not have yet.
    #[must_use]
    pub fn unposted(&self, product: u32) -> Moved {
        let mut all = [0; ROLE_COUNT];
        let of_product = self.sums.iter().filter(|((_, of), _)| *of == product);
        of_product.for_each(|(_, sums)| add_moved(&mut all, &sums.moved));
        all
    }
}

/// Adds amounts, role by role.
pub fn add_moved(sums: &mut Moved, more: &Moved) {
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// What a record of lending has to post, less what it has posted.
#[derive(Debug, Default)]
pub struct Legs {
    /// Debits less credits, paise, by effective date and account.
    due: BTreeMap<(Day, AccountNo), i128>,
    /// A leg has come: what happens comes before.
    pub have_begun: bool,
}

impl Legs {
    /// What positions moved, by the accounts of a product; the money's where another one is named.
    pub fn expect(&mut self, day: Day, accounts: &ProductAccounts, settlement: Option<AccountNo>, moved: &Moved) {
        for (role, amount) in moved.iter().enumerate().filter(|(_, amount)| **amount != 0) {
            let account = settlement.filter(|_| role == 0).unwrap_or(accounts[role]);
            self.add(day, account, *amount);
        }
    }

    fn add(&mut self, day: Day, account: AccountNo, amount: i128) {
        if amount != 0 {
            *self.due.entry((day, account)).or_default() += amount;
        }
    }

    /// A leg. Gives what is wrong with it by itself.
    pub fn take(&mut self, leg: &TransferEntry, date: Day) -> Option<String> {
        self.have_begun = true;
        let day = leg.effective.unwrap_or(date);
        self.add(day, leg.debit, -i128::from(leg.amount));
        self.add(day, leg.credit, i128::from(leg.amount));
        let is_plain = leg.op == TransferOp::Posted && leg.code == 0 && leg.cold.is_none();
        (!is_plain).then(|| "is no plain leg, in a record of lending".into())
    }

    /// The record ends: what was not posted, or should not have been.
    pub fn finish(&mut self) -> Vec<String> {
        self.have_begun = false;
        let rest = std::mem::take(&mut self.due).into_iter().filter(|(_, amount)| *amount != 0);
        rest.map(|((day, account), amount)| format!("its legs leave {amount} paise on {account} effective {day}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Seq;

    fn leg(debit: u32, credit: u32, amount: u64, effective: Option<Day>) -> TransferEntry {
        TransferEntry {
            op: TransferOp::Posted,
            debit: AccountNo(debit),
            credit: AccountNo(credit),
            amount,
            code: 0,
            effective,
            previous_debit: Seq::NONE,
            previous_credit: Seq::NONE,
            cold: None,
        }
    }

    fn accounts() -> ProductAccounts {
        std::array::from_fn(|role| AccountNo(role as u32))
    }

    #[test]
    fn legs_are_compared_by_account_and_day_however_they_are_paired() {
        let mut moved = [0; ROLE_COUNT];
        (moved[0], moved[1], moved[2]) = (90, -70, -20);
        let today = Day(20);
        let legs_of = |all: &[TransferEntry]| {
            let mut legs = Legs::default();
            legs.expect(Day(19), &accounts(), Some(AccountNo(77)), &moved);
            let wrong = all.iter().filter_map(|leg| legs.take(leg, today)).count();
            (wrong, legs.finish().len())
        };
        let back = Some(Day(19));
        assert_eq!(legs_of(&[leg(77, 1, 70, back), leg(77, 2, 20, back)]), (0, 0));
        assert_eq!(legs_of(&[leg(77, 1, 90, back), leg(1, 2, 20, back)]), (0, 0));
        assert_eq!(legs_of(&[leg(77, 1, 70, back), leg(77, 2, 19, back)]), (0, 2), "a paisa short");
        assert_eq!(legs_of(&[leg(77, 1, 70, back), leg(77, 2, 20, None)]), (0, 4), "another day");
        assert_eq!(legs_of(&[leg(0, 1, 70, back), leg(77, 2, 20, back)]), (0, 2), "another account");
        assert_eq!(legs_of(&[]), (0, 3), "none");
        let coded = TransferEntry { code: 1, ..leg(77, 2, 20, back) };
        assert_eq!(legs_of(&[leg(77, 1, 70, back), coded]), (1, 0));
    }

    #[test]
    fn days_close_and_end_in_turn() {
        let closed = |through| DayClosed { through: Day(through), by_hand: true, reason: None };
        let mut days = FoldedDays::default();
        assert_eq!(days.close(&closed(9), Day(10)), None);
        assert!(days.by_hand && !days.has_begun(), "without products nothing has to be ended");
        days.begin(Day(10));
        assert_eq!((days.closed, days.ended, days.next_loan), (Day(9), Day(9), 1));
        assert!(days.clone().close(&closed(10), Day(12)).is_some(), "a day is left out");
        assert_eq!(days.close(&closed(11), Day(12)), None);
        let swept = |date, first, last| LoansSwept { date: Day(date), first, last, rows: vec![], totals: vec![] };
        for (swept, is_right) in [
            (swept(10, 1, 3), true),
            (swept(10, 2, 3), false),
            (swept(11, 1, 3), false),
            (swept(9, 1, 3), false),
            (swept(10, 1, 6), false),
            (swept(10, 3, 0), true),
            (swept(11, 3, 0), true),
            (swept(12, 3, 0), false),
            (swept(9, 3, 0), false),
            (swept(10, 6, 0), false),
        ] {
            assert_eq!(days.check_turn(&swept, 5).is_none(), is_right, "{swept:?}");
        }
        let totals = ProductTotals { product: 2, loans: [1, 0, 0, 0, 0], provision: 25, ..ProductTotals::default() };
        let mut moved = [0; ROLE_COUNT];
        (moved[2], moved[9]) = (7, -7);
        days.add(Day(10), &totals, &moved);
        days.add(Day(11), &totals, &moved);
        assert_eq!(days.unposted(2)[2], 14);
        days.looked_at(5);
        let end = |days: &mut FoldedDays, date: u16, totals: Vec<ProductTotals>| {
            let mut legs = Legs::default();
            let wrong = days.end(9, &DayEnded { date: Day(date), totals }, 5, &|_| Some(accounts()), &mut legs);
            (wrong.is_none(), legs.due)
        };
        let (is_right, _) = end(&mut days.clone(), 10, Vec::new());
        assert!(!is_right, "no totals");
        let (is_right, _) = end(&mut days.clone(), 11, vec![totals]);
        assert!(!is_right, "out of turn");
        let (is_right, due) = end(&mut days, 10, vec![totals]);
        assert!(is_right);
        let on = |account| due.get(&(Day(10), AccountNo(account))).copied();
        assert_eq!([2, 9, 14, 15].map(on), [Some(7), Some(-7), Some(25), Some(-25)]);
        assert_eq!((days.ended, days.next_loan, days.unposted(2)[2]), (Day(10), 1, 7));
        let (is_right, _) = end(&mut days.clone(), 11, vec![totals]);
        assert!(!is_right, "loans were not looked at");
        days.looked_at(5);
        let mut none = days.clone();
        none.sums.clear();
        let (is_right, due) = end(&mut none, 11, Vec::new());
        assert!(is_right);
        assert_eq!(due.get(&(Day(11), AccountNo(15))), Some(&25), "nothing has to be held any more");
    }
}
