//! A naive model of the books: a list of records, and everything else recomputed from it.
//!
//! It shares no code with `domain` or `engine` and uses plain numbers and texts only. Given what
//! time it is, it says for every command what the books must answer, down to seq and moment; the
//! driver compares. After a crash the driver cuts the list where the journal ends, and goes on.

mod access;
mod decide;

use std::collections::BTreeMap;

/// Texts of a transfer: external id, description, metadata.
pub type Texts = (Option<String>, Option<String>, Pairs);

/// Metadata.
pub type Pairs = Vec<(String, String)>;

/// A refusal: its name in the API, and the account that caused it.
pub type No = (&'static str, Option<u32>);

/// A new account as asked for. `kind`: 0 asset, 1 liability, 2 equity, 3 income, 4 expense.
/// `rule`: 0 none, 1 no debit balance, 2 no credit balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    pub currency: (&'static str, u32),
    pub kind: u8,
    pub rule: u8,
    pub code: u32,
    pub external: Option<String>,
    pub name: Option<String>,
    pub pairs: Pairs,
}

/// A new transfer as asked for; `None` as an account is a name that nobody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTransfer {
    pub debit: Option<u32>,
    pub credit: Option<u32>,
    pub amount: String,
    pub code: u32,
    pub effective: Option<u16>,
    /// `None` posts at once, `Some(None)` holds, `Some(Some(us))` holds so long.
    pub hold: Option<Option<i64>>,
    pub texts: Option<Texts>,
}

/// An item of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    New(NewTransfer),
    Post(Option<u64>, Option<String>),
    Void(Option<u64>),
}

/// A command. Statuses: 0 open, 1 frozen, 2 closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Open(NewAccount),
    OpenMany(Vec<NewAccount>),
    Change {
        account: u32,
        name: Option<Option<String>>,
        pairs: Option<Pairs>,
        status: Option<u8>,
        expected: Option<(u32, Option<u64>)>,
    },
    Transfer(NewTransfer),
    Batch {
        atomic: bool,
        minimal: bool,
        items: Vec<Item>,
    },
    Post(u64, Option<String>),
    Void(u64),
    Reverse(u64, Option<String>),
    Close(u16),
    Reopen(u16, String),
    AcceptClock,
    Key(KeyAsk),
}

/// A command about API keys. Roles by number; a hash is one byte, repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAsk {
    Make {
        role: u8,
        is_all: bool,
        expires: Option<i64>,
        hash: u8,
    },
    Rotate {
        number: u64,
        hash: u8,
        overlap: i64,
    },
    Revoke(u64),
    /// A refusal to note, with so many before it.
    Note(u32),
}

/// What a key looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySaid {
    pub number: u64,
    pub role: u8,
    pub is_all: bool,
    pub expires: Option<i64>,
    pub hash: u8,
    pub old: Option<(u8, i64)>,
    pub made: i64,
    pub rotated: Option<i64>,
    pub revoked: Option<i64>,
    pub last_seq: u64,
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// The engine's clock, microseconds.
    pub now: i64,
    /// Key and fingerprint.
    pub key: Option<(u8, u8)>,
    pub dry: bool,
}

/// What a transfer looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferSaid {
    pub seq: u64,
    pub voucher: u64,
    pub sides: (u32, u32),
    pub amount: u64,
    pub currency: &'static str,
    pub status: &'static str,
    pub code: u32,
    pub effective: u16,
    pub created: i64,
    pub expires: Option<i64>,
    pub posted: Option<u64>,
    pub resolved: Option<i64>,
    pub reversed_by: Option<u64>,
    pub reverses: Option<u64>,
    pub texts: Option<Texts>,
}

/// What an account looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSaid {
    pub no: u32,
    /// Debits and credits posted, debits and credits pending.
    pub sums: [i128; 4],
    pub currency: &'static str,
    pub kind: u8,
    pub rule: u8,
    pub code: u32,
    pub status: u8,
    pub version: u32,
    pub last_seq: u64,
    pub created: i64,
    pub external: Option<String>,
    pub name: Option<String>,
    pub pairs: Pairs,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSaid {
    pub accepted: u32,
    pub items: u32,
    pub ids: Vec<u64>,
    pub ends: (Option<u64>, Option<u64>),
    pub rejected: Vec<(u32, No)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Transfer(Box<TransferSaid>, bool),
    Account(Box<AccountSaid>, bool),
    Accounts(BatchSaid),
    Batch(BatchSaid),
    Periods {
        seq: u64,
        at: i64,
        through: Option<u16>,
        reason: Option<String>,
    },
    Clock,
    Key(Box<KeySaid>, bool),
    Noted,
    Refused(No),
    BatchRefused(Vec<(u32, No)>),
    /// Of a dry run, only whether it would have been done.
    Dry,
}

/// What the books must do with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer this.
    Say(Said),
    /// Answer what the record that begins there answered.
    Again(u64),
    /// The key was used for something else.
    Reused,
}

/// What a move of money is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Posted,
    Reversal(u64),
    Hold(Option<i64>),
    PostHold { hold: u64, held: u64 },
    VoidHold(u64),
    ExpireHold(u64),
}

/// A move of money. `effective` only where it is not the business date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub kind: Kind,
    pub debit: u32,
    pub credit: u32,
    pub amount: u64,
    pub code: u32,
    pub effective: Option<u16>,
    pub texts: Option<Texts>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Money(Move),
    Opened(u32, NewAccount),
    Changed {
        account: u32,
        status: u8,
        name: Option<String>,
        pairs: Pairs,
    },
    Period {
        through: Option<u16>,
        reason: Option<String>,
    },
    Day(u16),
    Clock,
    /// A command about keys that was done; for a rotation, until when the old token is good.
    Key(KeyAsk, i64),
    Refusal,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub first: u64,
    pub moment: i64,
    pub date: u16,
    pub facts: Vec<Fact>,
    pub key: Option<(u8, u8)>,
    pub said: Option<Said>,
}

impl Record {
    pub fn last(&self) -> u64 {
        self.first + self.facts.len() as u64 - 1
    }
}

/// A posting on an account: (effective date, seq), debit side, amount, the transfer to show, moment, description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    pub effective: u16,
    pub seq: u64,
    pub is_debit: bool,
    pub amount: u64,
    pub transfer: u64,
    pub moment: i64,
    pub description: Option<String>,
}

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub records: Vec<Record>,
}

impl Model {
    pub fn last_seq(&self) -> u64 {
        self.records.last().map_or(0, Record::last)
    }

    pub fn last_moment(&self) -> i64 {
        self.records.last().map_or(0, |record| record.moment)
    }

    /// Forgets what lies behind `seq`; false when that lies inside a record.
    pub fn cut(&mut self, seq: u64) -> bool {
        self.records.retain(|record| record.first <= seq);
        self.last_seq() == seq
    }

    /// All entries with their records and seqs.
    pub fn facts(&self) -> impl DoubleEndedIterator<Item = (&Record, u64, &Fact)> {
        self.records.iter().flat_map(|record| {
            record.facts.iter().enumerate().map(move |(at, fact)| (record, record.first + at as u64, fact))
        })
    }

    fn moves(&self) -> impl DoubleEndedIterator<Item = (&Record, u64, &Move)> {
        self.facts().filter_map(|(record, seq, fact)| match fact {
            Fact::Money(money) => Some((record, seq, money)),
            _ => None,
        })
    }

    fn at(&self, seq: u64) -> Option<(&Record, &Fact)> {
        let place = self.records.partition_point(|record| record.first <= seq).checked_sub(1)?;
        let record = &self.records[place];
        record.facts.get((seq - record.first) as usize).map(|fact| (record, fact))
    }

    /// A transfer (no resolution) and its record.
    pub fn transfer(&self, seq: u64) -> Option<(&Record, &Move)> {
        match self.at(seq)? {
            (record, Fact::Money(money)) => {
                matches!(money.kind, Kind::Posted | Kind::Reversal(_) | Kind::Hold(_)).then_some((record, money))
            }
            _ => None,
        }
    }

    pub fn accounts(&self) -> u32 {
        self.facts().filter(|(_, _, fact)| matches!(fact, Fact::Opened(..))).count() as u32
    }

    fn opening(&self, no: u32) -> Option<(&Record, u64, &NewAccount)> {
        self.facts().find_map(|(record, seq, fact)| match fact {
            Fact::Opened(opened, account) if *opened == no => Some((record, seq, account)),
            _ => None,
        })
    }

    /// [debits posted, credits posted, debits pending, credits pending] as of `seq`.
    pub fn sums(&self, no: u32, through: u64) -> [i128; 4] {
        let mut sums = [0i128; 4];
        for (_, seq, money) in self.moves() {
            let side = usize::from(money.debit != no);
            if seq > through || (money.debit != no && money.credit != no) {
                continue;
            }
            let amount = i128::from(money.amount);
            match money.kind {
                Kind::Posted | Kind::Reversal(_) => sums[side] += amount,
                Kind::Hold(_) => sums[side + 2] += amount,
                Kind::PostHold { held, .. } => {
                    sums[side] += amount;
                    sums[side + 2] -= i128::from(held);
                }
                Kind::VoidHold(_) | Kind::ExpireHold(_) => sums[side + 2] -= amount,
            }
        }
        sums
    }

    fn status(&self, no: u32) -> u8 {
        let change = self.facts().rev().find_map(|(_, _, fact)| match fact {
            Fact::Changed { account, status, .. } if *account == no => Some(*status),
            _ => None,
        });
        change.unwrap_or(0)
    }

    fn touched(&self, no: u32, through: u64) -> u64 {
        let newest = self.facts().rev().filter(|(_, seq, _)| *seq <= through).find(|(_, _, fact)| match fact {
            Fact::Money(money) => money.debit == no || money.credit == no,
            Fact::Opened(account, _) | Fact::Changed { account, .. } => *account == no,
            _ => false,
        });
        newest.map_or(0, |(_, seq, _)| seq)
    }

    pub fn account(&self, no: u32) -> Option<AccountSaid> {
        self.account_by(no, u64::MAX)
    }

    /// As it was when `through` was the newest entry.
    pub fn account_by(&self, no: u32, through: u64) -> Option<AccountSaid> {
        let (record, _, opened) = self.opening(no).filter(|(_, seq, _)| *seq <= through)?;
        let mut said = AccountSaid {
            no,
            sums: self.sums(no, through),
            currency: opened.currency.0,
            kind: opened.kind,
            rule: opened.rule,
            code: opened.code,
            status: 0,
            version: 1,
            last_seq: self.touched(no, through),
            created: record.moment,
            external: opened.external.clone(),
            name: opened.name.clone(),
            pairs: opened.pairs.clone(),
        };
        for (_, seq, fact) in self.facts() {
            if let Fact::Changed { account, status, name, pairs } = fact
                && *account == no
                && seq <= through
            {
                said.status = *status;
                said.version += 1;
                said.name.clone_from(name);
                said.pairs.clone_from(pairs);
            }
        }
        Some(said)
    }

    pub fn business_date(&self) -> u16 {
        self.facts()
            .rev()
            .find_map(|(_, _, fact)| if let Fact::Day(day) = fact { Some(*day) } else { None })
            .unwrap_or(0)
    }

    pub fn closed_through(&self) -> Option<u16> {
        let newest = self.facts().rev().find_map(|(_, _, fact)| match fact {
            Fact::Period { through, .. } => Some(*through),
            _ => None,
        });
        newest.flatten()
    }

    fn is_closed(&self, day: u16) -> bool {
        self.closed_through().is_some_and(|through| day <= through)
    }

    /// How a hold ended, by what.
    fn resolution(&self, hold: u64, through: u64) -> Option<(&Record, u64, &Move)> {
        self.moves().find(|(_, seq, money)| {
            *seq <= through
                && match money.kind {
                    Kind::PostHold { hold: of, .. } | Kind::VoidHold(of) | Kind::ExpireHold(of) => of == hold,
                    _ => false,
                }
        })
    }

    fn reversal(&self, of: u64, through: u64) -> Option<u64> {
        self.moves().find(|(_, seq, money)| *seq <= through && money.kind == Kind::Reversal(of)).map(|(_, seq, _)| seq)
    }

    fn open_hold(&self, seq: u64) -> Option<&Move> {
        let (_, money) = self.transfer(seq)?;
        (matches!(money.kind, Kind::Hold(_)) && self.resolution(seq, u64::MAX).is_none()).then_some(money)
    }

    pub fn open_holds(&self) -> Vec<(u64, Option<i64>)> {
        let holds = self.moves().filter_map(|(_, seq, money)| match money.kind {
            Kind::Hold(expires) => Some((seq, expires)),
            _ => None,
        });
        holds.filter(|(seq, _)| self.resolution(*seq, u64::MAX).is_none()).collect()
    }

    pub fn external_account(&self, text: &str) -> Option<u32> {
        self.facts().find_map(|(_, _, fact)| match fact {
            Fact::Opened(no, account) if account.external.as_deref() == Some(text) => Some(*no),
            _ => None,
        })
    }

    pub fn external_transfer(&self, text: &str) -> Option<u64> {
        let has = |money: &Move| money.texts.as_ref().is_some_and(|texts| texts.0.as_deref() == Some(text));
        self.moves().find(|(_, _, money)| has(money)).map(|(_, seq, _)| seq)
    }

    /// The transfer as it stands at `through`; its own seq is not later.
    pub fn view(&self, seq: u64, through: u64) -> Option<(TransferSaid, u64)> {
        let (record, money) = self.transfer(seq)?;
        let mut said = self.fresh(record, seq, money);
        let mut as_of = seq;
        if let Some((record, by, resolution)) = self.resolution(seq, through) {
            as_of = by;
            resolve(&mut said, record, resolution);
        }
        if let Some(by) = self.reversal(seq, through) {
            said.reversed_by = Some(by);
            as_of = as_of.max(by);
        }
        Some((said, as_of))
    }

    fn fresh(&self, record: &Record, seq: u64, money: &Move) -> TransferSaid {
        let (status, expires) =
            if let Kind::Hold(expires) = money.kind { ("pending", expires) } else { ("posted", None) };
        TransferSaid {
            seq,
            voucher: record.first,
            sides: (money.debit, money.credit),
            amount: money.amount,
            currency: self.opening(money.debit).expect("its account was opened").2.currency.0,
            status,
            code: money.code,
            effective: money.effective.unwrap_or(record.date),
            created: record.moment,
            expires,
            posted: None,
            resolved: None,
            reversed_by: None,
            reverses: if let Kind::Reversal(of) = money.kind { Some(of) } else { None },
            texts: money.texts.clone(),
        }
    }

    /// Postings of an account, newest first by (effective, seq).
    pub fn postings(&self, no: u32) -> Vec<Posting> {
        let mut lines: Vec<Posting> = Vec::new();
        for (record, seq, money) in self.moves() {
            if money.debit != no && money.credit != no {
                continue;
            }
            let transfer = match money.kind {
                Kind::Posted | Kind::Reversal(_) => seq,
                Kind::PostHold { hold, .. } => hold,
                _ => continue,
            };
            let (_, shown) = self.transfer(transfer).expect("a posted hold was opened");
            lines.push(Posting {
                effective: money.effective.unwrap_or(record.date),
                seq,
                is_debit: money.debit == no,
                amount: money.amount,
                transfer,
                moment: record.moment,
                description: shown.texts.as_ref().and_then(|texts| texts.1.clone()),
            });
        }
        lines.sort_by_key(|line| std::cmp::Reverse((line.effective, line.seq)));
        lines
    }

    /// Totals per (currency, code, kind) by effective date up to `on`: debits and credits.
    pub fn trial_balance(&self, on: u16) -> BTreeMap<(&'static str, u32, u8), (i128, i128)> {
        let mut rows = BTreeMap::new();
        for no in 0..self.accounts() {
            let (_, _, account) = self.opening(no).expect("numbers are dense");
            for line in self.postings(no).iter().filter(|line| line.effective <= on) {
                let row: &mut (i128, i128) = rows.entry((account.currency.0, account.code, account.kind)).or_default();
                if line.is_debit { row.0 += i128::from(line.amount) } else { row.1 += i128::from(line.amount) }
            }
        }
        rows
    }

    /// Seqs of the transfers of an account, newest first.
    pub fn transfers_of(&self, no: u32) -> Vec<u64> {
        let of = self.moves().rev().filter(|(_, _, money)| money.debit == no || money.credit == no);
        of.map(|(_, seq, _)| seq).filter(|seq| self.transfer(*seq).is_some()).collect()
    }

    /// Seqs of the transfers whose effective date is this day, as of an entry; ascending.
    pub fn effective_on(&self, day: u16, through: u64) -> Vec<u64> {
        let said = self.moves().filter_map(|(_, seq, _)| self.view(seq, through));
        said.filter(|(said, _)| said.effective == day).map(|(said, _)| said.seq).collect()
    }

    /// The record that used a key.
    pub fn keyed(&self, key: u8) -> Option<&Record> {
        self.records.iter().find(|record| record.key.is_some_and(|(used, _)| used == key))
    }
}

/// The calendar day in India, five and a half hours east.
pub fn day_of(us: i64) -> u16 {
    (us + 19_800_000_000).div_euclid(86_400_000_000) as u16
}

fn resolve(said: &mut TransferSaid, record: &Record, by: &Move) {
    said.resolved = Some(record.moment);
    said.status = match by.kind {
        Kind::PostHold { .. } => {
            said.posted = Some(by.amount);
            said.effective = by.effective.unwrap_or(record.date);
            "posted"
        }
        Kind::ExpireHold(_) => "expired",
        _ => "voided",
    };
}
