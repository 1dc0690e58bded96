//! Books as a clerk with a pencil would keep them: a list of facts, added up anew for every question.
//!
//! Promise: nothing here calls the domain's rules. It borrows its names for statuses only. Nothing
//! is fast: a sum walks all facts, a refusal is the first of **all** complaints in the contract's order.

use munim::domain::account::Status;

use crate::domain_books::{TODAY, rules};

/// What somebody asks for, and when (microseconds).
#[derive(Clone, Debug)]
pub struct Asked {
    pub now: i64,
    pub does: Does,
}

/// What can be asked for. Accounts are numbers of the chart; a number beyond it names nobody.
#[derive(Clone, Debug)]
pub enum Does {
    /// `back` dates it so many days before the business date; `hold_us` holds, 0 without a deadline.
    Transfer {
        debit: u8,
        credit: u8,
        amount: String,
        back: Option<u8>,
        hold_us: Option<u32>,
        external_id: Option<u8>,
    },
    /// Posts a hold, all of it without an amount.
    Post {
        hold: u64,
        amount: Option<String>,
    },
    Void {
        hold: u64,
    },
    ExpireWhatIsDue,
    Reverse {
        transfer: u64,
    },
    SetStatus {
        account: u8,
        status: Status,
    },
    RollDay,
    /// Closes through so many days before the business date, or opens everything.
    ClosePeriod {
        back: Option<u8>,
    },
    Nothing,
}

impl Does {
    /// A word for counting.
    pub fn name(&self) -> &'static str {
        match self {
            Does::Transfer { hold_us: None, .. } => "transfer",
            Does::Transfer { .. } => "hold",
            Does::Post { .. } => "post",
            Does::Void { .. } => "void",
            Does::ExpireWhatIsDue => "expire",
            Does::Reverse { .. } => "reverse",
            Does::SetStatus { .. } | Does::RollDay | Does::ClosePeriod { .. } | Does::Nothing => "other",
        }
    }
}

/// One line of the clerk's list: so much was added to one sum of one account.
struct Fact {
    seq: u64,
    booked: u16,
    effective: u16,
    account: usize,
    /// Debits posted, credits posted, debits pending, credits pending.
    sum: usize,
    amount: i128,
}

/// A hold or a transfer as it was asked for, and what became of it.
struct Slip {
    seq: u64,
    debit: usize,
    credit: usize,
    amount: i128,
    effective: Option<u16>,
    deadline: Option<i64>,
    stands: &'static str,
}

/// The order of the contract, copied from API.md by hand.
const ORDER: [&str; 16] = [
    "amount_malformed",
    "amount_zero",
    "transfer_not_pending",
    "transfer_not_posted",
    "already_reversed",
    "same_account",
    "account_not_found",
    "currency_mismatch",
    "amount_scale",
    "amount_exceeds_pending",
    "account_closed",
    "account_frozen",
    "external_id_exists",
    "period_closed",
    "insufficient_funds",
    "balance_overflow",
];

/// Decimals and rule of each account of the chart, written out again.
const DECIMALS: [usize; 7] = [2, 2, 2, 2, 0, 0, 3];
const NEVER_IN_DEBIT: usize = 2;
const NEVER_IN_CREDIT: usize = 3;

/// The clerk's books.
pub struct Books {
    facts: Vec<Fact>,
    /// Seqs at which an account was merely changed: they move its chain, not its sums.
    changes: Vec<(u64, u16, usize)>,
    slips: Vec<Slip>,
    statuses: [Status; 7],
    used_ids: Vec<u8>,
    seq: u64,
    today: u16,
    closed_through: Option<u16>,
}

impl Books {
    pub fn new() -> Books {
        assert_eq!(rules().business_date, TODAY);
        Books {
            facts: Vec::new(),
            changes: Vec::new(),
            slips: Vec::new(),
            statuses: [Status::Open; 7],
            used_ids: Vec::new(),
            seq: 1,
            today: TODAY.0,
            closed_through: None,
        }
    }

    /// Σ of the four sums of an account over all facts up to a seq.
    pub fn sums(&self, account: usize, through_seq: u64) -> [i128; 4] {
        let of = |sum: usize| {
            let facts = self.facts.iter().filter(|fact| fact.seq <= through_seq);
            facts.filter(|fact| fact.account == account && fact.sum == sum).map(|fact| fact.amount).sum()
        };
        [of(0), of(1), of(2), of(3)]
    }

    /// Posted debits and credits of some accounts by effective date.
    pub fn effective_through(&self, accounts: &[usize], day: u16) -> [i128; 2] {
        [0, 1].map(|sum| {
            let facts = self.facts.iter().filter(|fact| accounts.contains(&fact.account) && fact.effective <= day);
            facts.filter(|fact| fact.sum == sum).map(|fact| fact.amount).sum()
        })
    }

    /// Newest seq of an account at the close of a day, and its sums then.
    pub fn closing(&self, account: usize, day: u16) -> (u64, [i128; 4]) {
        let seq = self.touches(account).filter(|(_, booked)| *booked <= day).map(|(seq, _)| seq).max().unwrap_or(1);
        (seq, self.sums(account, seq))
    }

    /// Days that must have an anchor: all on which the account moved, but its newest.
    pub fn days_with_an_anchor(&self, account: usize) -> Vec<u16> {
        let mut days: Vec<u16> = self.touches(account).map(|(_, booked)| booked).collect();
        // The account was opened on the first day.
        days.push(TODAY.0);
        days.sort_unstable();
        days.dedup();
        days.pop();
        days
    }

    fn touches(&self, account: usize) -> impl Iterator<Item = (u64, u16)> {
        let facts = self.facts.iter().filter(move |fact| fact.account == account);
        let changes = self.changes.iter().filter(move |change| change.2 == account);
        facts.map(|fact| (fact.seq, fact.booked)).chain(changes.map(|change| (change.0, change.1)))
    }

    /// A hold picked by a random number, open ones first; sometimes a seq that is none.
    pub fn some_hold(&self, random: u64) -> u64 {
        self.pick(random, |slip| slip.stands == "held")
    }

    /// A transfer picked by a random number, those that stand posted first.
    pub fn some_transfer(&self, random: u64) -> u64 {
        self.pick(random, |slip| slip.stands == "posted")
    }

    fn pick(&self, random: u64, wanted: impl Fn(&Slip) -> bool) -> u64 {
        let first: Vec<u64> = self.slips.iter().filter(|slip| wanted(slip)).map(|slip| slip.seq).collect();
        let any: Vec<u64> = self.slips.iter().map(|slip| slip.seq).collect();
        let from = if random.is_multiple_of(4) || first.is_empty() { &any } else { &first };
        if from.is_empty() { 1_000_000 } else { from[usize::try_from(random / 4).unwrap() % from.len()] }
    }

    /// Does what is asked, or says which complaint comes first.
    pub fn run(&mut self, asked: &Asked) -> Result<(), &'static str> {
        match &asked.does {
            Does::Transfer { .. } => self.transfer(asked),
            Does::Post { hold, amount } => self.post(asked.now, *hold, amount.as_deref()),
            Does::Void { hold } => self.void(asked.now, *hold),
            Does::ExpireWhatIsDue => {
                for at in 0..self.slips.len() {
                    let slip = &self.slips[at];
                    if slip.stands == "held" && slip.deadline.is_some_and(|deadline| deadline <= asked.now) {
                        self.let_go(at, "expired");
                    }
                }
                Ok(())
            }
            Does::Reverse { transfer } => self.reverse(*transfer),
            Does::SetStatus { account, status } => {
                self.seq += 1;
                self.statuses[usize::from(*account)] = *status;
                self.changes.push((self.seq, self.today, usize::from(*account)));
                Ok(())
            }
            Does::RollDay => {
                self.today += 1;
                Ok(())
            }
            Does::ClosePeriod { back } => {
                self.closed_through = back.map(|days| self.today - u16::from(days));
                Ok(())
            }
            Does::Nothing => Ok(()),
        }
    }

    fn transfer(&mut self, asked: &Asked) -> Result<(), &'static str> {
        let Does::Transfer { debit, credit, amount, back, hold_us, external_id } = &asked.does else { return Ok(()) };
        let (debit, credit) = (usize::from(*debit), usize::from(*credit));
        let effective = self.today - u16::from(back.unwrap_or(0));
        let number = decimal(amount);
        let mut complaints = Vec::new();
        let mut complain = |is_wrong: bool, code: &'static str| {
            if is_wrong {
                complaints.push(code);
            }
        };
        complain(number.is_none(), "amount_malformed");
        complain(number.is_some_and(|(digits, _)| digits == 0), "amount_zero");
        complain(debit == credit, "same_account");
        let both_exist = debit < 7 && credit < 7;
        complain(!both_exist, "account_not_found");
        complain(self.is_closed(effective), "period_closed");
        complain(external_id.is_some_and(|id| self.used_ids.contains(&id)), "external_id_exists");
        let mut units = None;
        if both_exist {
            units = number.and_then(|number| in_units(number, DECIMALS[debit]));
            complain(DECIMALS[debit] != DECIMALS[credit], "currency_mismatch");
            complain(units.is_none(), "amount_scale");
            complain([debit, credit].iter().any(|no| self.statuses[*no] == Status::Closed), "account_closed");
            complain([debit, credit].iter().any(|no| self.statuses[*no] == Status::Frozen), "account_frozen");
            let amount = units.unwrap_or(0);
            let [out, in_posted, out_held, _] = self.sums(debit, u64::MAX);
            complain(debit == NEVER_IN_DEBIT && in_posted - out - out_held - amount < 0, "insufficient_funds");
            complain(out + out_held + amount >= 1 << 64, "balance_overflow");
            let [in_posted, out, _, out_held] = self.sums(credit, u64::MAX);
            complain(credit == NEVER_IN_CREDIT && in_posted - out - out_held - amount < 0, "insufficient_funds");
            complain(out + out_held + amount >= 1 << 64, "balance_overflow");
        }
        first_of(&complaints)?;
        let amount = units.unwrap();
        self.seq += 1;
        self.used_ids.extend(external_id);
        let deadline = hold_us.filter(|us| *us > 0).map(|us| asked.now + i64::from(us));
        let stands = if hold_us.is_some() { "held" } else { "posted" };
        // A date that is today's when asked for is no date of its own: it follows the posting.
        let of_its_own = (effective != self.today).then_some(effective);
        self.slips.push(Slip { seq: self.seq, debit, credit, amount, effective: of_its_own, deadline, stands });
        let first_sum = if hold_us.is_some() { 2 } else { 0 };
        self.note(debit, first_sum, amount, effective);
        self.note(credit, first_sum + 1, amount, effective);
        Ok(())
    }

    fn post(&mut self, now: i64, hold: u64, amount: Option<&str>) -> Result<(), &'static str> {
        let Some(at) = self.slips.iter().position(|slip| slip.seq == hold && slip.stands == "held") else {
            return Err("transfer_not_pending");
        };
        let Slip { debit, credit, amount: held, effective, deadline, .. } = self.slips[at];
        let number = amount.map(decimal);
        let units = match number {
            None => Some(held),
            Some(number) => number.and_then(|number| in_units(number, DECIMALS[debit])),
        };
        let effective = effective.filter(|day| !self.is_closed(*day)).unwrap_or(self.today);
        let mut complaints = Vec::new();
        for (is_wrong, code) in [
            (number == Some(None), "amount_malformed"),
            (number.flatten().is_some_and(|(digits, _)| digits == 0), "amount_zero"),
            (deadline.is_some_and(|deadline| now >= deadline), "transfer_not_pending"),
            (units.is_none(), "amount_scale"),
            (units.is_some_and(|units| units > held), "amount_exceeds_pending"),
            ([debit, credit].iter().any(|no| self.statuses[*no] == Status::Closed), "account_closed"),
            ([debit, credit].iter().any(|no| self.statuses[*no] == Status::Frozen), "account_frozen"),
            (self.is_closed(effective), "period_closed"),
        ] {
            if is_wrong {
                complaints.push(code);
            }
        }
        first_of(&complaints)?;
        let amount = units.unwrap();
        self.let_go(at, "posted");
        self.slips[at].amount = amount;
        self.note(debit, 0, amount, effective);
        self.note(credit, 1, amount, effective);
        Ok(())
    }

    fn void(&mut self, now: i64, hold: u64) -> Result<(), &'static str> {
        let open = |slip: &Slip| slip.seq == hold && slip.stands == "held" && slip.deadline.is_none_or(|at| now < at);
        let Some(at) = self.slips.iter().position(open) else { return Err("transfer_not_pending") };
        self.let_go(at, "voided");
        Ok(())
    }

    fn reverse(&mut self, transfer: u64) -> Result<(), &'static str> {
        let Some(at) = self.slips.iter().position(|slip| slip.seq == transfer) else {
            return Err("transfer_not_posted");
        };
        let Slip { debit, credit, amount, stands, .. } = self.slips[at];
        let over = |no: usize, sums: [usize; 2]| {
            let all = self.sums(no, u64::MAX);
            all[sums[0]] + all[sums[1]] + amount > i128::from(u64::MAX)
        };
        let mut complaints = Vec::new();
        for (is_wrong, code) in [
            (!["posted", "reversed"].contains(&stands), "transfer_not_posted"),
            (stands == "reversed", "already_reversed"),
            ([debit, credit].iter().any(|no| self.statuses[*no] == Status::Closed), "account_closed"),
            ([debit, credit].iter().any(|no| self.statuses[*no] == Status::Frozen), "account_frozen"),
            (self.is_closed(self.today), "period_closed"),
            (over(credit, [0, 2]) || over(debit, [1, 3]), "balance_overflow"),
        ] {
            if is_wrong {
                complaints.push(code);
            }
        }
        first_of(&complaints)?;
        self.seq += 1;
        self.slips[at].stands = "reversed";
        let (seq, effective) = (self.seq, None);
        // The reversal is a slip of its own that nobody can reverse.
        let stands = "reversal";
        self.slips.push(Slip { seq, debit: credit, credit: debit, amount, effective, deadline: None, stands });
        self.note(credit, 0, amount, self.today);
        self.note(debit, 1, amount, self.today);
        Ok(())
    }

    fn let_go(&mut self, at: usize, stands: &'static str) {
        self.seq += 1;
        self.slips[at].stands = stands;
        let Slip { debit, credit, amount, .. } = self.slips[at];
        self.note(debit, 2, -amount, self.today);
        self.note(credit, 3, -amount, self.today);
    }

    fn note(&mut self, account: usize, sum: usize, amount: i128, effective: u16) {
        self.facts.push(Fact { seq: self.seq, booked: self.today, effective, account, sum, amount });
    }

    fn is_closed(&self, day: u16) -> bool {
        matches!(self.closed_through, Some(through) if through >= day)
    }
}

fn first_of(complaints: &[&'static str]) -> Result<(), &'static str> {
    match ORDER.iter().find(|code| complaints.contains(code)) {
        Some(code) => Err(code),
        None => Ok(()),
    }
}

/// Digits and decimals of a plain number, by splitting text; the domain walks bytes.
fn decimal(text: &str) -> Option<(i128, usize)> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_plain = |digits: &str| !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    let is_led_by_zero = whole.len() > 1 && whole.starts_with('0');
    if !is_plain(whole) || !is_plain(part) || is_led_by_zero {
        return None;
    }
    let decimals = if text.contains('.') { part.len() } else { 0 };
    let digits: i128 = text.replace('.', "").parse().ok()?;
    (digits < 1 << 63).then_some((digits, decimals))
}

fn in_units((digits, decimals): (i128, usize), of_currency: usize) -> Option<i128> {
    let missing = u32::try_from(of_currency.checked_sub(decimals)?).ok()?;
    let units = digits * 10i128.pow(missing);
    (units < 1 << 63).then_some(units)
}
