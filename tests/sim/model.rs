//! A naive model of the books: a list of records, and everything else recomputed from it.
//!
//! It shares no code with `domain` or `engine` and uses plain numbers and texts only. Given what
//! time it is, it says for every command what the books must answer, down to seq and moment; the
//! driver compares. After a crash the driver cuts the list where the journal ends, and goes on.

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
    Changed { account: u32, status: u8, name: Option<String>, pairs: Pairs },
    Period { through: Option<u16>, reason: Option<String> },
    Day(u16),
    Clock,
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

/// Minor units of a text, in the order of the checks: shape and zero first, scale later.
fn parse(text: &str) -> Result<(u128, u32), &'static str> {
    let (whole, part) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !part.is_none_or(digits) || (whole.len() > 1 && whole.starts_with('0')) || text.len() > 30 {
        return Err("amount_malformed");
    }
    let all: u128 = format!("{whole}{}", part.unwrap_or("")).parse().map_err(|_| "amount_malformed")?;
    if all > i64::MAX as u128 {
        return Err("amount_malformed");
    }
    if all == 0 { Err("amount_zero") } else { Ok((all, part.map_or(0, |part| part.len() as u32))) }
}

fn scaled((digits, scale): (u128, u32), exponent: u32) -> Result<u64, &'static str> {
    if scale > exponent {
        return Err("amount_scale");
    }
    let minor = digits * 10u128.pow(exponent - scale);
    if minor > i64::MAX as u128 { Err("amount_scale") } else { Ok(minor as u64) }
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
            let side = if money.debit == no { 0 } else { 1 };
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

    fn touched(&self, no: u32) -> u64 {
        let newest = self.facts().rev().find(|(_, _, fact)| match fact {
            Fact::Money(money) => money.debit == no || money.credit == no,
            Fact::Opened(account, _) | Fact::Changed { account, .. } => *account == no,
            _ => false,
        });
        newest.map_or(0, |(_, seq, _)| seq)
    }

    pub fn account(&self, no: u32) -> Option<AccountSaid> {
        let (record, _, opened) = self.opening(no)?;
        let mut said = AccountSaid {
            no,
            sums: self.sums(no, u64::MAX),
            currency: opened.currency.0,
            kind: opened.kind,
            rule: opened.rule,
            code: opened.code,
            status: 0,
            version: 1,
            last_seq: self.touched(no),
            created: record.moment,
            external: opened.external.clone(),
            name: opened.name.clone(),
            pairs: opened.pairs.clone(),
        };
        for (_, _, fact) in self.facts() {
            if let Fact::Changed { account, status, name, pairs } = fact
                && *account == no
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

    /// Seqs of what was posted at once and is effective on a day, newest first.
    pub fn posted_on(&self, day: u16) -> Vec<u64> {
        let on = self.moves().rev().filter(|(record, _, money)| {
            matches!(money.kind, Kind::Posted | Kind::Reversal(_)) && money.effective.unwrap_or(record.date) == day
        });
        on.map(|(_, seq, _)| seq).collect()
    }

    /// The record that used a key.
    pub fn keyed(&self, key: u8) -> Option<&Record> {
        self.records.iter().find(|record| record.key.is_some_and(|(used, _)| used == key))
    }

    fn moment(&self, now: i64) -> i64 {
        now.max(self.last_moment() + 1)
    }

    fn begin(&mut self, now: i64) -> (u64, i64) {
        let (first, moment) = (self.last_seq() + 1, self.moment(now));
        let date = self.business_date();
        self.records.push(Record { first, moment, date, facts: Vec::new(), key: None, said: None });
        (first, moment)
    }

    fn put(&mut self, fact: Fact) -> u64 {
        let record = self.records.last_mut().expect("a record was begun");
        record.facts.push(fact);
        record.last()
    }

    /// What becomes of a command.
    pub fn execute(&mut self, ask: &Ask, when: When) -> Verdict {
        if let Some((key, print)) = when.key
            && let Some(record) = self.keyed(key)
        {
            let same = record.key == Some((key, print));
            return if same { Verdict::Again(record.first) } else { Verdict::Reused };
        }
        let before = self.records.len();
        let said = self.decide(ask, when.now);
        if when.dry {
            self.records.truncate(before);
            return Verdict::Say(match said {
                Said::Refused(_) | Said::BatchRefused(_) => said,
                _ => Said::Dry,
            });
        }
        if when.key.is_some() && self.records.len() == before {
            self.begin(when.now);
            self.put(Fact::Refusal);
        }
        if self.records.len() > before {
            let record = self.records.last_mut().expect("one was pushed");
            record.key = when.key;
            record.said = Some(said.clone());
        }
        Verdict::Say(said)
    }

    fn decide(&mut self, ask: &Ask, now: i64) -> Said {
        match ask {
            Ask::Open(account) => self.open(account, now),
            Ask::OpenMany(accounts) => self.open_many(accounts, now),
            Ask::Change { account, name, pairs, status, expected } => {
                self.change(*account, name, pairs, *status, *expected, now)
            }
            Ask::Transfer(new) => match self.check_new(new, now) {
                Ok(money) => {
                    self.begin(now);
                    self.say_money(money, true)
                }
                Err(no) => Said::Refused(no),
            },
            Ask::Batch { atomic, minimal, items } => self.batch(*atomic, *minimal, items, now),
            Ask::Post(seq, amount) => self.resolve_one(*seq, Some(amount), now),
            Ask::Void(seq) => self.resolve_one(*seq, None, now),
            Ask::Reverse(seq, reason) => self.reverse(*seq, reason, now),
            Ask::Close(through) => {
                let is_new = self.closed_through().is_none_or(|closed| *through > closed);
                if !is_new || *through > self.business_date() {
                    return Said::Refused(("period_invalid", None));
                }
                self.say_period(Some(*through), None, now)
            }
            Ask::Reopen(through, reason) => {
                if self.closed_through().is_none_or(|closed| *through > closed) {
                    return Said::Refused(("period_invalid", None));
                }
                let mut in_force: Vec<u16> = Vec::new();
                for (_, _, fact) in self.facts() {
                    match fact {
                        Fact::Period { through: Some(day), reason: None } => in_force.push(*day),
                        Fact::Period { through, .. } => in_force.retain(|day| Some(*day) <= *through),
                        _ => {}
                    }
                }
                in_force.retain(|day| day < through);
                self.say_period(in_force.last().copied(), Some(reason.clone()), now)
            }
            Ask::AcceptClock => {
                self.begin(now);
                self.put(Fact::Clock);
                Said::Clock
            }
        }
    }

    fn say_period(&mut self, through: Option<u16>, reason: Option<String>, now: i64) -> Said {
        let (_, at) = self.begin(now);
        let seq = self.put(Fact::Period { through, reason: reason.clone() });
        Said::Periods { seq, at, through, reason }
    }

    fn say_money(&mut self, money: Move, created: bool) -> Said {
        let seq = self.put(Fact::Money(money.clone()));
        let record = self.records.last().expect("a record was begun");
        Said::Transfer(Box::new(self.fresh(record, seq, &money)), created)
    }

    fn open(&mut self, account: &NewAccount, now: i64) -> Said {
        if account.external.as_deref().is_some_and(|text| self.external_account(text).is_some()) {
            return Said::Refused(("external_id_exists", None));
        }
        let no = self.accounts();
        self.begin(now);
        self.put(Fact::Opened(no, account.clone()));
        Said::Account(Box::new(self.account(no).expect("just opened")), true)
    }

    fn open_many(&mut self, accounts: &[NewAccount], now: i64) -> Said {
        let mut said = BatchSaid { items: accounts.len() as u32, ..BatchSaid::default() };
        let before = self.records.len();
        for (index, account) in (0..).zip(accounts) {
            if account.external.as_deref().is_some_and(|text| self.external_account(text).is_some()) {
                said.rejected.push((index, ("external_id_exists", None)));
                continue;
            }
            let no = self.accounts();
            if self.records.len() == before {
                self.begin(now);
            }
            self.put(Fact::Opened(no, account.clone()));
            said.accepted += 1;
            said.ids.push(u64::from(no));
        }
        said.ends = (said.ids.first().copied(), said.ids.last().copied());
        Said::Accounts(said)
    }

    fn change(
        &mut self,
        no: u32,
        name: &Option<Option<String>>,
        pairs: &Option<Pairs>,
        status: Option<u8>,
        expected: Option<(u32, Option<u64>)>,
        now: i64,
    ) -> Said {
        let Some(before) = self.account(no) else { return Said::Refused(("account_not_found", None)) };
        if expected
            .is_some_and(|(version, seq)| version != before.version || seq.is_some_and(|seq| seq != before.last_seq))
        {
            return Said::Refused(("version_mismatch", Some(no)));
        }
        let [debits, credits, holds_out, holds_in] = before.sums;
        if status == Some(2) && (debits != credits || holds_out != 0 || holds_in != 0) {
            return Said::Refused(("account_not_empty", Some(no)));
        }
        self.begin(now);
        self.put(Fact::Changed {
            account: no,
            status: status.unwrap_or(before.status),
            name: name.clone().unwrap_or(before.name),
            pairs: pairs.clone().unwrap_or(before.pairs),
        });
        Said::Account(Box::new(self.account(no).expect("it was there before")), false)
    }

    fn check_new(&self, new: &NewTransfer, base: i64) -> Result<Move, No> {
        let amount = parse(&new.amount).map_err(|code| (code, None))?;
        if new.debit == new.credit {
            return Err(("same_account", None));
        }
        let count = self.accounts();
        for side in [new.debit, new.credit] {
            if side.is_none_or(|no| no >= count) {
                return Err(("account_not_found", side));
            }
        }
        let (debit, credit) = (new.debit.expect("just checked"), new.credit.expect("just checked"));
        let (left, right) = (self.account(debit).expect("dense"), self.account(credit).expect("dense"));
        if left.currency != right.currency {
            return Err(("currency_mismatch", None));
        }
        let exponent = self.opening(debit).expect("dense").2.currency.1;
        let amount = scaled(amount, exponent).map_err(|code| (code, None))?;
        self.check_status(debit, credit)?;
        if new
            .texts
            .as_ref()
            .and_then(|texts| texts.0.as_deref())
            .is_some_and(|text| self.external_transfer(text).is_some())
        {
            return Err(("external_id_exists", None));
        }
        let today = self.business_date();
        let effective = new.effective.unwrap_or(today);
        if self.is_closed(effective) {
            return Err(("period_closed", None));
        }
        if left.rule == 1 && left.sums[0] + left.sums[2] + i128::from(amount) > left.sums[1] {
            return Err(("insufficient_funds", Some(debit)));
        }
        if right.rule == 2 && right.sums[1] + right.sums[3] + i128::from(amount) > right.sums[0] {
            return Err(("insufficient_funds", Some(credit)));
        }
        check_overflow(&left, &right, amount)?;
        let kind = match new.hold {
            None => Kind::Posted,
            Some(None) => Kind::Hold(None),
            Some(Some(us)) => Kind::Hold(Some(base + us)),
        };
        let effective = (effective != today).then_some(effective);
        Ok(Move { kind, debit, credit, amount, code: new.code, effective, texts: new.texts.clone() })
    }

    fn check_status(&self, debit: u32, credit: u32) -> Result<(), No> {
        for (status, code) in [(2, "account_closed"), (1, "account_frozen")] {
            for no in [debit, credit] {
                if self.status(no) == status {
                    return Err((code, Some(no)));
                }
            }
        }
        Ok(())
    }

    /// The end of an open hold: by posting so much, or (`None`) by voiding it.
    fn check_end(&self, seq: u64, hold: &Move, post: Option<&Option<String>>, moment: i64) -> Result<Move, No> {
        let Kind::Hold(expires) = hold.kind else { unreachable!("the caller found an open hold") };
        let is_late = expires.is_some_and(|deadline| deadline <= moment);
        let asked = match post {
            Some(Some(text)) => Some(parse(text).map_err(|code| (code, None))?),
            _ => None,
        };
        if is_late {
            return Err(("transfer_not_pending", None));
        }
        let end = Move { kind: Kind::VoidHold(seq), effective: None, texts: None, ..hold.clone() };
        if post.is_none() {
            return Ok(end);
        }
        let exponent = self.opening(hold.debit).expect("dense").2.currency.1;
        let amount = match asked {
            None => hold.amount,
            Some(asked) => scaled(asked, exponent).map_err(|code| (code, None))?,
        };
        if amount > hold.amount {
            return Err(("amount_exceeds_pending", None));
        }
        self.check_status(hold.debit, hold.credit)?;
        let today = self.business_date();
        let effective = hold.effective.filter(|day| !self.is_closed(*day)).unwrap_or(today);
        if self.is_closed(effective) {
            return Err(("period_closed", None));
        }
        let effective = (effective != today).then_some(effective);
        Ok(Move { kind: Kind::PostHold { hold: seq, held: hold.amount }, amount, effective, ..end })
    }

    fn expiry(&self, seq: u64, hold: &Move, moment: i64) -> Option<Move> {
        let is_late = matches!(hold.kind, Kind::Hold(Some(deadline)) if deadline <= moment);
        is_late.then(|| Move { kind: Kind::ExpireHold(seq), effective: None, texts: None, ..hold.clone() })
    }

    fn resolve_one(&mut self, seq: u64, post: Option<&Option<String>>, now: i64) -> Said {
        if self.transfer(seq).is_none() {
            return Said::Refused(("transfer_not_found", None));
        }
        let Some(hold) = self.open_hold(seq).cloned() else { return Said::Refused(("transfer_not_pending", None)) };
        let moment = self.moment(now);
        match self.check_end(seq, &hold, post, moment) {
            Ok(end) => {
                self.begin(now);
                self.put(Fact::Money(end));
                Said::Transfer(Box::new(self.view(seq, u64::MAX).expect("it is a transfer").0), false)
            }
            Err(no) => {
                if let Some(expiry) = self.expiry(seq, &hold, moment) {
                    self.begin(now);
                    self.put(Fact::Money(expiry));
                }
                Said::Refused(no)
            }
        }
    }

    fn reverse(&mut self, of: u64, reason: &Option<String>, now: i64) -> Said {
        let Some((_, original)) = self.transfer(of) else { return Said::Refused(("transfer_not_found", None)) };
        let resolution = self.resolution(of, u64::MAX).map(|(_, _, money)| money);
        let posted = match (original.kind, resolution.map(|money| money.kind)) {
            (Kind::Posted, _) => Some(original.amount),
            (Kind::Hold(_), Some(Kind::PostHold { .. })) => resolution.map(|money| money.amount),
            _ => None,
        };
        let Some(amount) = posted else { return Said::Refused(("transfer_not_posted", None)) };
        if self.reversal(of, u64::MAX).is_some() {
            return Said::Refused(("already_reversed", None));
        }
        let (debit, credit, code) = (original.credit, original.debit, original.code);
        if let Err(no) = self.check_status(debit, credit) {
            return Said::Refused(no);
        }
        if self.is_closed(self.business_date()) {
            return Said::Refused(("period_closed", None));
        }
        let (left, right) = (self.account(debit).expect("dense"), self.account(credit).expect("dense"));
        if let Err(no) = check_overflow(&left, &right, amount) {
            return Said::Refused(no);
        }
        let texts = reason.as_ref().map(|reason| (None, Some(reason.clone()), Vec::new()));
        self.begin(now);
        self.say_money(Move { kind: Kind::Reversal(of), debit, credit, amount, code, effective: None, texts }, true)
    }

    fn batch(&mut self, atomic: bool, minimal: bool, items: &[Item], now: i64) -> Said {
        let mut said = BatchSaid { items: items.len() as u32, ..BatchSaid::default() };
        let (_, moment) = self.begin(now);
        for (index, item) in (0..).zip(items) {
            match self.item(item, moment, atomic) {
                Ok(id) => {
                    said.accepted += 1;
                    said.ids.push(id);
                }
                Err(no) => said.rejected.push((index, no)),
            }
        }
        let is_empty = self.records.last().is_some_and(|record| record.facts.is_empty());
        if is_empty || (atomic && !said.rejected.is_empty()) {
            self.records.pop();
        }
        if atomic && !said.rejected.is_empty() {
            return Said::BatchRefused(said.rejected);
        }
        said.ends = (said.ids.first().copied(), said.ids.last().copied());
        if minimal {
            said.ids.clear();
        }
        Said::Batch(said)
    }

    fn item(&mut self, item: &Item, moment: i64, atomic: bool) -> Result<u64, No> {
        let (seq, post) = match item {
            Item::New(new) => {
                let money = self.check_new(new, moment)?;
                return Ok(self.put(Fact::Money(money)));
            }
            Item::Post(seq, amount) => (seq, Some(amount)),
            Item::Void(seq) => (seq, None),
        };
        let not_found = ("transfer_not_found", None);
        let seq = seq.ok_or(not_found)?;
        if self.transfer(seq).is_none() {
            return Err(not_found);
        }
        let hold = self.open_hold(seq).cloned().ok_or(("transfer_not_pending", None))?;
        let end = self.check_end(seq, &hold, post, moment);
        match end {
            Ok(end) => {
                self.put(Fact::Money(end));
                Ok(seq)
            }
            Err(no) => {
                if let Some(expiry) = self.expiry(seq, &hold, moment).filter(|_| !atomic) {
                    self.put(Fact::Money(expiry));
                }
                Err(no)
            }
        }
    }

    /// Time passes: the day rolls, then holds expire. Returns how many did.
    pub fn tick(&mut self, now: i64) -> u32 {
        let today = day_of(now);
        if today > self.business_date() || self.records.is_empty() {
            self.roll(now);
        }
        let mut due: Vec<(u64, i64)> = self
            .open_holds()
            .into_iter()
            .filter_map(|(seq, at)| at.filter(|at| *at <= now).map(|at| (seq, at)))
            .collect();
        // Which of several due holds comes first is no promise; this is the order that the engine has.
        due.sort_by_key(|(seq, at)| (seq % 64, *at, *seq));
        for (seq, _) in &due {
            let hold = self.open_hold(*seq).cloned().expect("just found");
            let moment = self.moment(now);
            let expiry = self.expiry(*seq, &hold, moment).expect("it is due");
            self.begin(now);
            self.put(Fact::Money(expiry));
        }
        due.len() as u32
    }

    /// The business day becomes today.
    pub fn roll(&mut self, now: i64) {
        let today = day_of(now);
        self.begin(now);
        self.put(Fact::Day(today));
        self.records.last_mut().expect("just begun").date = today;
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

fn check_overflow(left: &AccountSaid, right: &AccountSaid, amount: u64) -> Result<(), No> {
    let over = |posted: i128, pending: i128| posted + pending + i128::from(amount) > i128::from(u64::MAX);
    if over(left.sums[0], left.sums[2]) {
        return Err(("balance_overflow", Some(left.no)));
    }
    if over(right.sums[1], right.sums[3]) {
        return Err(("balance_overflow", Some(right.no)));
    }
    Ok(())
}
