//! An independent fold: from entries to balances, sharing no code with `apply`.
//!
//! It keeps signed 128-bit sums where the engine keeps unsigned 64-bit ones, and it checks what the
//! engine promises instead of relying on it: chains link, holds are resolved once, currencies
//! match, numbers are dense, moments rise.

use std::collections::HashMap;

use crate::domain::access::KeyChange;
use crate::domain::account::AccountType;
use crate::domain::entry::{Entry, TransferEntry, TransferOp};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::money::Currency;
use crate::domain::time::Day;

/// What the fold knows of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Posted debits, posted credits, held debits, held credits; minor units.
    pub sums: [i128; 4],
    /// Newest entry that touched it.
    pub last_seq: u64,
    currency: Currency,
    line: u32,
}

/// A line of the general ledger: currency, code, type.
pub type Line = (Currency, u32, AccountType);

/// The fold so far.
#[derive(Debug, Default)]
pub struct Fold {
    accounts: Vec<Folded>,
    holds: HashMap<u64, (u32, u32, u64)>,
    lines: Vec<(Line, [i128; 2])>,
    line_places: HashMap<Line, u32>,
    moment: i64,
    date: u16,
    keys: Vec<FoldedKey>,
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
        (self.moment, self.date) = (moment.0, date.0);
        Ok(())
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
                self.accounts.push(Folded { sums: [0; 4], last_seq: seq.0, currency: opened.currency, line });
                Ok([Some(opened.account), None])
            }
            Entry::AccountChanged(changed) => {
                let account = self.account(changed.account)?;
                check_link(changed.account, account.last_seq, changed.previous)?;
                account.last_seq = seq.0;
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
            Entry::DayRolled { date } if date.0 != self.date => {
                Err(format!("rolls to {date}, but its record is of another day"))
            }
            _ => Ok([None, None]),
        }
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
            TransferOp::Pending { .. } => {
                self.holds.insert(seq, (entry.debit.0, entry.credit.0, entry.amount));
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
        let mut currencies = [Currency::INR; 2];
        let sides = [(entry.debit, entry.previous_debit), (entry.credit, entry.previous_credit)];
        for (side, (no, previous)) in sides.into_iter().enumerate() {
            let account = self.account(no)?;
            check_link(no, account.last_seq, previous)?;
            account.last_seq = seq;
            account.sums[side] += posted;
            account.sums[side + 2] += held;
            if account.sums[side] < 0 || account.sums[side + 2] < 0 {
                return Err(format!("leaves {no} with a negative sum"));
            }
            currencies[side] = account.currency;
            let line = account.line as usize;
            self.lines[line].1[side] += posted;
        }
        if currencies[0] == currencies[1] {
            Ok([Some(entry.debit), Some(entry.credit)])
        } else {
            Err("joins two currencies".into())
        }
    }

    fn end_hold(&mut self, hold: Seq, entry: &TransferEntry, held: u64) -> Result<(), String> {
        match self.holds.remove(&hold.0) {
            Some(opened) if opened == (entry.debit.0, entry.credit.0, held) => Ok(()),
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
            self.lines.push((line, [0; 2]));
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

    /// Open holds: debit, credit and amount by seq.
    #[must_use]
    pub fn holds(&self) -> &HashMap<u64, (u32, u32, u64)> {
        &self.holds
    }

    /// Posted debits and credits of each general-ledger line, in order of first use.
    #[must_use]
    pub fn lines(&self) -> &[(Line, [i128; 2])] {
        &self.lines
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
            let line = &mut by_line[account.line as usize];
            line[0] += account.sums[0];
            line[1] += account.sums[1];
            *by_currency.entry(account.currency).or_default() += account.sums[0] - account.sums[1];
        }
        if let Some((currency, sum)) = by_currency.iter().find(|(_, sum)| **sum != 0) {
            return Err(format!("{}: debits and credits differ by {sum}", currency.code()));
        }
        let differs = self.lines.iter().zip(&by_line).find(|((_, sums), folded)| sums != *folded);
        match differs {
            None => Ok(()),
            Some((((currency, code, kind), _), _)) => {
                Err(format!("general ledger {} {code} {} is not the sum of its accounts", currency.code(), kind.name()))
            }
        }
    }
}

fn check_link(no: AccountNo, last_seq: u64, previous: Seq) -> Result<(), String> {
    if previous.0 == last_seq {
        Ok(())
    } else {
        Err(format!("chain of {no} is broken: it names seq={previous} as the entry before, which is seq={last_seq}"))
    }
}
