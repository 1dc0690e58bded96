//! The general ledger: running totals by (currency, type, code) and effective date.
//!
//! Each shard keeps one [`GlBook`] for its own accounts and adds to it in `apply`; a trial balance
//! is the sum over the shards, taken under all their locks.

use std::collections::{BTreeMap, BTreeSet};

use super::account::{AccountType, GlNo};
use super::money::{Currency, Minor};
use super::time::Day;

/// What a line of the general ledger collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GlKey {
    /// Currency of the accounts.
    pub currency: Currency,
    /// Code of the accounts, 0 for those without.
    pub code: u32,
    /// Type of the accounts.
    pub account_type: AccountType,
}

/// Gross posted totals, minor units. 128 bits: a sum over accounts cannot overflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GlTotals {
    /// Σ of posted debits.
    pub debits: u128,
    /// Σ of posted credits.
    pub credits: u128,
}

impl GlTotals {
    /// Adds other totals.
    pub fn add(&mut self, other: GlTotals) {
        self.debits += other.debits;
        self.credits += other.credits;
    }
}

/// All lines of the general ledger, in order of first use; the place of a key is its [`GlNo`].
#[derive(Clone, Debug, Default)]
pub struct GlChart {
    keys: Vec<GlKey>,
    numbers: BTreeMap<GlKey, GlNo>,
}

impl GlChart {
    /// The number of a key, new if it was not there.
    pub fn number(&mut self, key: GlKey) -> GlNo {
        let next =
            GlNo(u32::try_from(self.keys.len()).expect("fewer lines than accounts, which are numbered in 32 bits"));
        *self.numbers.entry(key).or_insert_with(|| {
            self.keys.push(key);
            next
        })
    }

    /// All keys, in order of their numbers.
    #[must_use]
    pub fn keys(&self) -> &[GlKey] {
        &self.keys
    }

    /// The key of a number that this chart gave out.
    #[must_use]
    pub fn key(&self, no: GlNo) -> GlKey {
        self.keys[no.0 as usize]
    }
}

/// Totals of one shard's accounts by effective date.
#[derive(Clone, Debug, Default)]
pub struct GlBook {
    /// All other days.
    days: BTreeMap<Day, Vec<GlTotals>>,
    /// The day added to last: nearly every entry falls on the same day as the one before.
    hot_day: Day,
    hot: Vec<GlTotals>,
    /// Days that changed since [`GlBook::take_changed`].
    changed: BTreeSet<Day>,
}

impl GlBook {
    /// Adds a posted amount to a line on a day.
    pub fn post(&mut self, gl: GlNo, day: Day, debit: Minor, credit: Minor) {
        if day != self.hot_day || self.hot.is_empty() {
            self.turn_to(day);
        }
        let place = gl.0 as usize;
        if place >= self.hot.len() {
            self.hot.resize(place + 1, GlTotals::default());
        }
        self.hot[place].debits += u128::from(debit);
        self.hot[place].credits += u128::from(credit);
    }

    /// Totals of all lines up to and including `through`, added to `out` (grown as needed).
    pub fn add_through(&self, through: Day, out: &mut Vec<GlTotals>) {
        let hot = std::iter::once((&self.hot_day, &self.hot)).filter(|(day, _)| **day <= through);
        for (_, lines) in self.days.range(..=through).chain(hot) {
            if out.len() < lines.len() {
                out.resize(lines.len(), GlTotals::default());
            }
            for (total, line) in out.iter_mut().zip(lines) {
                total.add(*line);
            }
        }
    }

    /// The days that changed since the last call, for the checkpoint.
    pub fn take_changed(&mut self) -> BTreeSet<Day> {
        let changed = std::mem::take(&mut self.changed);
        if !self.hot.is_empty() {
            // The hot day is noted when it is turned to, not on every posting.
            self.changed.insert(self.hot_day);
        }
        changed
    }

    /// Totals of one day, added to `out` (grown as needed).
    pub fn add_day(&self, day: Day, out: &mut Vec<GlTotals>) {
        let lines = self.lines(day);
        if out.len() < lines.len() {
            out.resize(lines.len(), GlTotals::default());
        }
        out.iter_mut().zip(lines).for_each(|(total, line)| total.add(*line));
    }

    /// Totals of one day, by line.
    #[must_use]
    pub fn lines(&self, day: Day) -> &[GlTotals] {
        if day == self.hot_day { &self.hot } else { self.days.get(&day).map_or(&[], Vec::as_slice) }
    }

    /// Every day with totals, ascending.
    #[must_use]
    pub fn days(&self) -> Vec<Day> {
        let mut days: Vec<Day> = self.days.keys().copied().collect();
        if !self.hot.is_empty() {
            days.push(self.hot_day);
            days.sort_unstable();
        }
        days
    }

    /// Adds a day's totals read from a checkpoint; it does not count as changed.
    pub fn load(&mut self, day: Day, lines: &[GlTotals]) {
        let target = self.days.entry(day).or_default();
        if target.len() < lines.len() {
            target.resize(lines.len(), GlTotals::default());
        }
        for (total, line) in target.iter_mut().zip(lines) {
            total.add(*line);
        }
    }

    fn turn_to(&mut self, day: Day) {
        let next = self.days.remove(&day).unwrap_or_default();
        let before = std::mem::replace(&mut self.hot, next);
        if !before.is_empty() {
            self.days.insert(self.hot_day, before);
        }
        self.hot_day = day;
        self.changed.insert(day);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_through_a_day_count_what_is_effective_by_then() {
        let mut book = GlBook::default();
        book.post(GlNo(0), Day(10), 5, 0);
        book.post(GlNo(2), Day(11), 0, 7);
        book.post(GlNo(0), Day(10), 1, 0);
        book.post(GlNo(0), Day(12), 100, 0);
        let mut through = Vec::new();
        book.add_through(Day(11), &mut through);
        let totals = |debits, credits| GlTotals { debits, credits };
        assert_eq!(through, [totals(6, 0), totals(0, 0), totals(0, 7)]);
        assert_eq!(book.days(), [Day(10), Day(11), Day(12)]);
    }

    #[test]
    fn changed_days_are_handed_out_until_they_rest() {
        let mut book = GlBook::default();
        book.post(GlNo(0), Day(10), 5, 0);
        book.post(GlNo(0), Day(11), 5, 0);
        assert_eq!(book.take_changed().len(), 2);
        assert_eq!(book.take_changed().len(), 1, "the hot day may change without being noticed");
        let mut copy = GlBook::default();
        copy.load(Day(10), book.lines(Day(10)));
        assert_eq!(copy.lines(Day(10)), book.lines(Day(10)));
    }
}
