//! An independent fold: from entries to balances, sharing no code with `apply`.
//!
//! It keeps signed 128-bit sums where the engine keeps unsigned 64-bit ones, and it checks what the
//! engine promises instead of relying on it: chains link, holds are resolved once, currencies
//! match, numbers are dense, moments rise.

use std::collections::{BTreeMap, HashMap};

use crate::domain::access::KeyChange;
use crate::domain::account::{AccountType, BalanceRule, Status};
use crate::domain::entry::{Entry, TransferEntry, TransferOp};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::lending::customer::CustomerSaved;
use crate::domain::money::Currency;
use crate::domain::objects::{Collection, ObjectSaved};
use crate::domain::time::Day;

/// What the fold knows of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Posted debits, posted credits, held debits, held credits; minor units.
    pub sums: [i128; 4],
    /// Newest entry that touched it.
    pub last_seq: u64,
    /// Its line of the general ledger.
    pub line: u32,
    /// Business day of the newest entry, days since 1970.
    pub day: u16,
    /// The business day before it on which the account moved, 0 for none.
    pub previous_day: u16,
}

/// What seldom changes of an account: apart from the sums, which every transfer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedFacts {
    /// Changes of its status and texts, counted from 1.
    pub version: u32,
    /// Entry that holds its texts.
    pub cold_seq: u64,
    /// Which balances are refused.
    pub balance_rule: BalanceRule,
    /// What it may be used for.
    pub status: Status,
}

/// What the fold knows of an open hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedHold {
    /// Number of the account on the debit side.
    pub debit: u32,
    /// Number of the account on the credit side.
    pub credit: u32,
    /// Minor units.
    pub amount: u64,
    /// The caller's code.
    pub code: u32,
    /// The effective date that was asked for.
    pub effective: Option<Day>,
    /// Its deadline.
    pub expires_at: Option<Moment>,
}

/// A line of the general ledger: currency, code, type.
pub type Line = (Currency, u32, AccountType);

/// Posted debits and credits by effective date and line, those that are not both zero.
pub type DayLines = BTreeMap<(Day, Line), [i128; 2]>;

/// The fold so far.
#[derive(Debug, Default)]
pub struct Fold {
    accounts: Vec<Folded>,
    facts: Vec<FoldedFacts>,
    holds: HashMap<u64, FoldedHold>,
    lines: Vec<Line>,
    line_places: HashMap<Line, u32>,
    /// Posted sums by line of what is effective on `date`: nearly everything.
    today: Vec<[i128; 2]>,
    /// The same of all other days.
    other_days: HashMap<(u16, u32), [i128; 2]>,
    moment: i64,
    date: u16,
    closed_through: Option<Day>,
    keys: Vec<FoldedKey>,
    objects: BTreeMap<(Collection, u32), FoldedObject>,
    customers: Vec<FoldedCustomer>,
    /// Entries seen.
    pub entries: u64,
}

/// What the fold knows of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedKey {
    /// Keyed hash of its token.
    pub hash: [u8; 32],
    /// It is none any more.
    pub is_revoked: bool,
    /// Newest entry about it.
    pub last_seq: u64,
}

/// What the fold knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedObject {
    /// Changes, counted from 1.
    pub version: u32,
    /// Newest entry about it.
    pub last_seq: u64,
    /// Hash of its body.
    pub body: [u8; 32],
}

/// What the fold knows of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedCustomer {
    /// Changes, counted from 1.
    pub version: u32,
    /// Newest entry about it.
    pub last_seq: u64,
    /// When it was made.
    pub made_at: i64,
}

impl Fold {
    /// A record begins.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn record(&mut self, moment: Moment, date: Day) -> Result<(), String> {
        if moment.0 <= self.moment {
            return Err(format!("moment {} is not after {}", moment.0, self.moment));
        }
        if date.0 < self.date {
            return Err(format!("business date {date} is before {}", Day(self.date)));
        }
        self.moment = moment.0;
        if date.0 != self.date {
            self.turn_to(date.0);
        }
        Ok(())
    }

    /// The date moves on: sums of the day before join those of the other days, and those that were posted
    /// ahead to the new day come out of them.
    fn turn_to(&mut self, date: u16) {
        for (line, sums) in (0u32..).zip(&mut self.today) {
            add(self.other_days.entry((self.date, line)).or_default(), std::mem::take(sums));
            *sums = self.other_days.remove(&(date, line)).unwrap_or_default();
        }
        self.date = date;
    }

    /// Folds one entry. Returns the accounts that it touched.
    ///
    /// # Errors
    /// What is wrong with it; the fold must not go on then.
    pub fn entry(&mut self, seq: Seq, entry: &Entry) -> Result<[Option<AccountNo>; 2], String> {
        self.entries += 1;
        match entry {
            Entry::Transfer(transfer) => self.transfer(seq.0, transfer),
            Entry::AccountOpened(opened) => {
                if opened.account.0 as usize != self.accounts.len() {
                    return Err(format!("account number {} is not the next one", opened.account.0));
                }
                let line = self.line((opened.currency, opened.code, opened.account_type));
                let day = self.date;
                self.accounts.push(Folded { sums: [0; 4], last_seq: seq.0, line, day, previous_day: 0 });
                let (balance_rule, status) = (opened.balance_rule, Status::Open);
                self.facts.push(FoldedFacts { version: 1, cold_seq: seq.0, balance_rule, status });
                Ok([Some(opened.account), None])
            }
            Entry::AccountChanged(changed) => {
                let date = self.date;
                let account = self.account(changed.account)?;
                check_link(changed.account, account.last_seq, changed.previous)?;
                account.move_to(seq.0, date);
                let facts = &mut self.facts[changed.account.0 as usize];
                if changed.version != facts.version + 1 {
                    return Err(format!("makes version {} of version {}", changed.version, facts.version));
                }
                *facts = FoldedFacts { version: changed.version, cold_seq: seq.0, status: changed.status, ..*facts };
                Ok([Some(changed.account), None])
            }
            Entry::ApiKeyMade(made) => {
                if made.number != self.keys.len() as u64 + 1 {
                    return Err(format!("API key number {} is not the next one", made.number));
                }
                self.keys.push(FoldedKey { hash: made.hash, is_revoked: false, last_seq: seq.0 });
                Ok([None, None])
            }
            Entry::ApiKeyChanged(changed) => {
                let place = usize::try_from(changed.number).unwrap_or(0).wrapping_sub(1);
                let key = self.keys.get_mut(place).filter(|key| !key.is_revoked);
                let key = key.ok_or_else(|| format!("changes API key {}, which is none", changed.number))?;
                match changed.change {
                    KeyChange::Rotated { hash, .. } => key.hash = hash,
                    KeyChange::Revoked => key.is_revoked = true,
                }
                key.last_seq = seq.0;
                Ok([None, None])
            }
            Entry::CustomerSaved(saved) => self.customer(seq.0, saved).map(|()| [None, None]),
            Entry::ObjectSaved(saved) => self.object(seq.0, saved).map(|()| [None, None]),
            Entry::PeriodClosed { through } => {
                self.closed_through = Some(*through);
                Ok([None, None])
            }
            Entry::PeriodReopened { through, .. } => {
                self.closed_through = *through;
                Ok([None, None])
            }
            Entry::DayRolled { date } if date.0 != self.date => {
                Err(format!("rolls to {date}, but its record is of another day"))
            }
            _ => Ok([None, None]),
        }
    }

    /// An object's versions follow one another, each made of the one before.
    fn object(&mut self, seq: u64, saved: &ObjectSaved) -> Result<(), String> {
        let place = (saved.collection, saved.number);
        let before = self.objects.get(&place);
        let (version, last) = before.map_or((0, 0), |before| (before.version, before.last_seq));
        let is_first_ever = |(collection, number): (Collection, u32)| {
            number == 1 || self.objects.contains_key(&(collection, number - 1))
        };
        if saved.version != version + 1 || saved.previous.0 != last || saved.number == 0 || !is_first_ever(place) {
            return Err(format!("makes version {} of object {place:?}, which is at {version}", saved.version));
        }
        let body = *blake3::hash(&saved.body).as_bytes();
        self.objects.insert(place, FoldedObject { version: saved.version, last_seq: seq, body });
        Ok(())
    }

    fn customer(&mut self, seq: u64, saved: &CustomerSaved) -> Result<(), String> {
        let place = (saved.number as usize).wrapping_sub(1);
        let before = self.customers.get(place).copied();
        let is_next = place == self.customers.len() && saved.version == 1 && saved.previous == Seq::NONE;
        let follows = before.is_some_and(|before| {
            (before.version + 1, before.last_seq, before.made_at)
                == (saved.version, saved.previous.0, saved.created_at.0)
        });
        let row = FoldedCustomer { version: saved.version, last_seq: seq, made_at: saved.created_at.0 };
        if is_next {
            self.customers.push(row);
        } else if follows {
            self.customers[place] = row;
        } else {
            return Err(format!("customer {} does not follow its entry before", saved.number));
        }
        Ok(())
    }

    fn transfer(&mut self, seq: u64, entry: &TransferEntry) -> Result<[Option<AccountNo>; 2], String> {
        let amount = i128::from(entry.amount);
        if entry.amount == 0 || entry.debit == entry.credit {
            return Err("moves nothing, or from an account to itself".into());
        }
        // What changes on either side: posted, held.
        let (posted, held) = match entry.op {
            TransferOp::Posted => (amount, 0),
            TransferOp::Reversal { of } if of.0 < seq => (amount, 0),
            TransferOp::Reversal { of } => return Err(format!("reverses seq={of}, which is not before it")),
            TransferOp::Pending { expires_at } => {
                let (debit, credit) = (entry.debit.0, entry.credit.0);
                let TransferEntry { amount: held, code, effective, .. } = *entry;
                self.holds.insert(seq, FoldedHold { debit, credit, amount: held, code, effective, expires_at });
                (0, amount)
            }
            TransferOp::PostPending { hold, held } => {
                self.end_hold(hold, entry, held)?;
                if entry.amount > held {
                    return Err(format!("posts {} of {held} held", entry.amount));
                }
                (amount, -i128::from(held))
            }
            TransferOp::VoidPending { hold } | TransferOp::ExpirePending { hold } => {
                self.end_hold(hold, entry, entry.amount)?;
                (0, -amount)
            }
        };
        let date = self.date;
        let mut lines = [0u32; 2];
        let sides = [(entry.debit, entry.previous_debit), (entry.credit, entry.previous_credit)];
        for (side, (no, previous)) in sides.into_iter().enumerate() {
            let account = self.account(no)?;
            check_link(no, account.last_seq, previous)?;
            account.move_to(seq, date);
            account.sums[side] += posted;
            account.sums[side + 2] += held;
            if account.sums[side] < 0 || account.sums[side + 2] < 0 {
                return Err(format!("leaves {no} with a negative sum"));
            }
            lines[side] = account.line;
            match entry.effective {
                Some(day) if day.0 != date => {
                    self.other_days.entry((day.0, lines[side])).or_default()[side] += posted;
                }
                _ => self.today[lines[side] as usize][side] += posted,
            }
        }
        if self.lines[lines[0] as usize].0 == self.lines[lines[1] as usize].0 {
            Ok([Some(entry.debit), Some(entry.credit)])
        } else {
            Err("joins two currencies".into())
        }
    }

    fn end_hold(&mut self, hold: Seq, entry: &TransferEntry, held: u64) -> Result<(), String> {
        match self.holds.remove(&hold.0) {
            Some(opened) if (opened.debit, opened.credit, opened.amount) == (entry.debit.0, entry.credit.0, held) => {
                Ok(())
            }
            Some(_) => Err(format!("resolves hold seq={hold} with other accounts or another amount")),
            None => Err(format!("resolves hold seq={hold}, which is not open")),
        }
    }

    fn account(&mut self, no: AccountNo) -> Result<&mut Folded, String> {
        self.accounts.get_mut(no.0 as usize).ok_or_else(|| format!("names {no}, which does not exist"))
    }

    fn line(&mut self, line: Line) -> u32 {
        let next = u32::try_from(self.lines.len()).expect("fewer lines than accounts");
        *self.line_places.entry(line).or_insert_with(|| {
            self.lines.push(line);
            // What was posted ahead to this day cannot be on a line that is new.
            self.today.push([0; 2]);
            next
        })
    }

    /// The account as folded so far.
    #[must_use]
    pub fn get(&self, no: AccountNo) -> Option<&Folded> {
        self.accounts.get(no.0 as usize)
    }

    /// All accounts, by number.
    #[must_use]
    pub fn accounts(&self) -> &[Folded] {
        &self.accounts
    }

    /// All API keys, by number.
    #[must_use]
    pub fn keys(&self) -> &[FoldedKey] {
        &self.keys
    }

    /// All objects.
    #[must_use]
    pub fn objects(&self) -> &BTreeMap<(Collection, u32), FoldedObject> {
        &self.objects
    }

    /// All customers, by number.
    #[must_use]
    pub fn customers(&self) -> &[FoldedCustomer] {
        &self.customers
    }

    /// What seldom changes of an account that was folded.
    #[must_use]
    pub fn facts(&self, no: AccountNo) -> Option<&FoldedFacts> {
        self.facts.get(no.0 as usize)
    }

    /// Open holds by seq.
    #[must_use]
    pub fn holds(&self) -> &HashMap<u64, FoldedHold> {
        &self.holds
    }

    /// The business date.
    #[must_use]
    pub fn date(&self) -> Day {
        Day(self.date)
    }

    /// Effective dates up to here are closed.
    #[must_use]
    pub fn closed_through(&self) -> Option<Day> {
        self.closed_through
    }

    /// What a line of the general ledger collects; `None` for a number that no account uses.
    #[must_use]
    pub fn line_of(&self, line: u32) -> Option<Line> {
        self.lines.get(line as usize).copied()
    }

    /// Posted sums by effective date and line.
    #[must_use]
    pub fn day_lines(&self) -> DayLines {
        let today = (0u32..).zip(&self.today).map(|(line, sums)| ((self.date, line), *sums));
        let others = self.other_days.iter().map(|(place, sums)| (*place, *sums));
        let mut all = DayLines::new();
        for ((day, line), sums) in today.chain(others).filter(|(_, sums)| *sums != [0; 2]) {
            add(all.entry((Day(day), self.lines[line as usize])).or_default(), sums);
        }
        all
    }

    /// Posted sums by line of what is effective up to a day, ascending; lines without any are left out.
    #[must_use]
    pub fn lines_through(&self, day: Day) -> Vec<(Line, [i128; 2])> {
        let mut all: BTreeMap<Line, [i128; 2]> = BTreeMap::new();
        let today = (0u32..).zip(&self.today).map(|(line, sums)| ((self.date, line), *sums));
        let others = self.other_days.iter().map(|(place, sums)| (*place, *sums));
        for ((of, line), sums) in today.chain(others) {
            if of <= day.0 && sums != [0; 2] {
                add(all.entry(self.lines[line as usize]).or_default(), sums);
            }
        }
        all.into_iter().collect()
    }

    /// Checks what must hold between two records: Σ = 0 per currency, and each line of the general
    /// ledger is the sum of its accounts.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check_sums(&self) -> Result<(), String> {
        let mut by_line = vec![[0i128; 2]; self.lines.len()];
        let mut by_currency: HashMap<Currency, i128> = HashMap::new();
        for account in &self.accounts {
            add(&mut by_line[account.line as usize], [account.sums[0], account.sums[1]]);
            let currency = self.lines[account.line as usize].0;
            *by_currency.entry(currency).or_default() += account.sums[0] - account.sums[1];
        }
        if let Some((currency, sum)) = by_currency.iter().find(|(_, sum)| **sum != 0) {
            return Err(format!("{}: debits and credits differ by {sum}", currency.code()));
        }
        let mut posted = self.today.clone();
        for ((_, line), sums) in &self.other_days {
            add(&mut posted[*line as usize], *sums);
        }
        match posted.iter().zip(&by_line).position(|(posted, folded)| posted != folded) {
            None => Ok(()),
            Some(line) => Err(format!("{} is not the sum of its accounts", line_name(self.lines[line]))),
        }
    }
}

impl Folded {
    #[inline]
    fn move_to(&mut self, seq: u64, date: u16) {
        self.last_seq = seq;
        if self.day != date {
            self.previous_day = self.day;
            self.day = date;
        }
    }
}

/// How reports call a line of the general ledger.
#[must_use]
pub fn line_name((currency, code, kind): Line) -> String {
    format!("general ledger {} {code} {}", currency.code(), kind.name())
}

fn add(sums: &mut [i128; 2], more: [i128; 2]) {
    sums[0] += more[0];
    sums[1] += more[1];
}

fn check_link(no: AccountNo, last_seq: u64, previous: Seq) -> Result<(), String> {
    if previous.0 == last_seq {
        Ok(())
    } else {
        Err(format!("chain of {no} is broken: it names seq={previous} as the entry before, which is seq={last_seq}"))
    }
}
