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

/// Totals of one shard's accounts by line and effective date.
///
/// Nearly every entry falls on the same day as the one before: that **hot** day is a plain array. All
/// other days are one sparse map, so that memory follows the (line, day) pairs that have postings, and
/// not lines times days: both are the callers' to choose.
#[derive(Clone, Debug, Default)]
pub struct GlBook {
    others: BTreeMap<(Day, GlNo), GlTotals>,
    hot_day: Day,
    hot: Vec<GlTotals>,
    /// A day beside the hot one that was posted to so many times in a row.
    run: (Day, usize),
    /// Days that changed since [`GlBook::take_changed`].
    changed: BTreeSet<Day>,
}

impl GlBook {
    /// Adds a posted amount to a line on a day.
    pub fn post(&mut self, gl: GlNo, day: Day, debit: Minor, credit: Minor) {
        if day != self.hot_day || self.hot.is_empty() {
            if !self.is_turn_due(day) {
                let line = self.others.entry((day, gl)).or_default();
                line.debits += u128::from(debit);
                line.credits += u128::from(credit);
                self.changed.insert(day);
                return;
            }
            self.turn_to(day);
        }
        let place = gl.0 as usize;
        if place >= self.hot.len() {
            self.hot.resize(place + 1, GlTotals::default());
        }
        self.hot[place].debits += u128::from(debit);
        self.hot[place].credits += u128::from(credit);
    }

    /// Whether so many postings in a row fell on `day` that they pay for moving the hot day's lines.
    fn is_turn_due(&mut self, day: Day) -> bool {
        self.run = if self.run.0 == day { (day, self.run.1 + 1) } else { (day, 1) };
        self.hot.is_empty() || self.run.1 > 16 + self.hot.len() / 8
    }

    /// Totals of all lines up to and including `through`, added to `out` (grown as needed).
    pub fn add_through(&self, through: Day, out: &mut Vec<GlTotals>) {
        let others = self.others.range(..=(through, GlNo(u32::MAX))).map(|((_, gl), totals)| (*gl, *totals));
        let hot = if self.hot_day <= through { self.hot.as_slice() } else { &[] };
        for (gl, totals) in others.chain(numbered(hot)) {
            let place = gl.0 as usize;
            if place >= out.len() {
                out.resize(place + 1, GlTotals::default());
            }
            out[place].add(totals);
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

    /// Totals of one day, added to `out`.
    pub fn add_day(&self, day: Day, out: &mut BTreeMap<GlNo, GlTotals>) {
        for (gl, totals) in self.lines(day) {
            out.entry(gl).or_default().add(totals);
        }
    }

    /// Totals of one day by line, ascending; lines without postings are left out.
    pub fn lines(&self, day: Day) -> impl Iterator<Item = (GlNo, GlTotals)> {
        let hot = if day == self.hot_day { self.hot.as_slice() } else { &[] };
        let others = self.others.range((day, GlNo(0))..=(day, GlNo(u32::MAX)));
        others.map(|((_, gl), totals)| (*gl, *totals)).chain(numbered(hot))
    }

    /// Every day with totals, ascending.
    #[must_use]
    pub fn days(&self) -> Vec<Day> {
        let mut days: BTreeSet<Day> = self.others.keys().map(|(day, _)| *day).collect();
        if !self.hot.is_empty() {
            days.insert(self.hot_day);
        }
        days.into_iter().collect()
    }

    /// Adds a day's totals read from a checkpoint; it does not count as changed.
    pub fn load(&mut self, day: Day, lines: &[(GlNo, GlTotals)]) {
        for (gl, totals) in lines {
            self.others.entry((day, *gl)).or_default().add(*totals);
        }
    }

    fn turn_to(&mut self, day: Day) {
        let before = std::mem::take(&mut self.hot);
        self.others.extend(numbered(&before).map(|(gl, totals)| ((self.hot_day, gl), totals)));
        let mut rest = self.others.split_off(&(day, GlNo(0)));
        let mut after = rest.split_off(&(day, GlNo(u32::MAX)));
        for ((_, gl), totals) in rest {
            let place = gl.0 as usize;
            self.hot.resize(self.hot.len().max(place + 1), GlTotals::default());
            self.hot[place] = totals;
        }
        self.others.append(&mut after);
        self.hot_day = day;
        self.changed.insert(day);
    }
}

/// Lines with postings, by number.
fn numbered(lines: &[GlTotals]) -> impl Iterator<Item = (GlNo, GlTotals)> {
    let posted = lines.iter().enumerate().filter(|(_, totals)| **totals != GlTotals::default());
    posted.map(|(place, totals)| (GlNo(place as u32), *totals))
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
        let lines: Vec<_> = book.lines(Day(10)).collect();
        copy.load(Day(10), &lines);
        assert_eq!(copy.lines(Day(10)).collect::<Vec<_>>(), lines);
    }

    #[test]
    fn memory_follows_the_pairs_that_have_postings_and_not_lines_times_days() {
        let mut book = GlBook::default();
        for line in 0..10_000 {
            book.post(GlNo(line), Day(1), 1, 0);
        }
        for day in 2..2_002 {
            book.post(GlNo(u32::from(day) * 5), Day(day), 1, 0);
        }
        assert_eq!(book.others.len() + book.hot.len(), 12_000);
    }

    proptest::proptest! {
        #[test]
        fn a_book_says_what_a_plain_map_says(posts in proptest::collection::vec((0u32..40, 0u16..6, 1u64..100, proptest::bool::ANY), 0..600)) {
            let mut book = GlBook::default();
            let mut plain: BTreeMap<(Day, GlNo), GlTotals> = BTreeMap::new();
            for (gl, day, amount, is_long) in posts {
                // Long runs make a day the hot one.
                for _ in 0..if is_long { 30 } else { 1 } {
                    book.post(GlNo(gl), Day(day), amount, 0);
                    plain.entry((Day(day), GlNo(gl))).or_default().debits += u128::from(amount);
                }
            }
            for day in (0..6).map(Day) {
                let expected: Vec<_> = plain.range((day, GlNo(0))..=(day, GlNo(u32::MAX))).map(|((_, gl), t)| (*gl, *t)).collect();
                proptest::prop_assert_eq!(book.lines(day).collect::<Vec<_>>(), expected);
                let mut through = Vec::new();
                book.add_through(day, &mut through);
                for gl in 0..40 {
                    let mut total = GlTotals::default();
                    plain.iter().filter(|((at, no), _)| *at <= day && *no == GlNo(gl)).for_each(|(_, t)| total.add(*t));
                    proptest::prop_assert_eq!(through.get(gl as usize).copied().unwrap_or_default(), total);
                }
            }
            let days: BTreeSet<Day> = plain.keys().map(|(day, _)| *day).collect();
            proptest::prop_assert_eq!(book.days(), days.into_iter().collect::<Vec<_>>());
        }
    }
}
