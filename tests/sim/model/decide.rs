//! What the model's books decide: the checks in the order of the contract, and what is written down.
#![allow(clippy::ref_option, reason = "commands keep plain optional texts")]

use super::{
    AccountSaid, Ask, BatchSaid, Fact, Item, Kind, Model, Move, NewAccount, NewTransfer, No, Pairs, Record, Said,
    Verdict, When, day_of,
};

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
    fn moment(&self, now: i64) -> i64 {
        now.max(self.last_moment() + 1)
    }

    pub(super) fn begin(&mut self, now: i64) -> (u64, i64) {
        let (first, moment) = (self.last_seq() + 1, self.moment(now));
        let date = self.business_date();
        self.records.push(Record { first, moment, date, facts: Vec::new(), key: None, said: None });
        (first, moment)
    }

    pub(super) fn put(&mut self, fact: Fact) -> u64 {
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
            Ask::Key(ask) => self.decide_key(*ask, now),
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
