//! One borrower, day by day.
//!
//! What he owes is read from the answer to the last request about his loan, never asked for: an answer that is
//! repeated is the same, and a loan that is looked at again is not.

use std::io;

use serde_json::{Value, json};

use super::super::names::{FAMILY, GIVEN, TRADES};
use super::super::random::Dice;
use super::desk::{Desk, Who};
use super::is_sunday;
use super::products::{CASH, PRODUCTS, Product};
use super::temper::Temper;
use crate::domain::time::Day;

/// No day of the demo: nothing more happens.
const NEVER: Day = Day(u16::MAX);

/// Payments of one visit at most: what is due, what the first one made due, and the rest.
const PAYMENTS_A_VISIT: u32 = 4;

/// Days past due after which the lost loan is written off: non-performing since ten.
const LOST_AFTER: u16 = 101;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Comes in and asks for a loan.
    Asks,
    /// It is approved, and he accepts the key facts.
    Agrees,
    /// It is paid out.
    IsPaid,
    /// Pays.
    Pays,
    /// The bank sends the payment back, which has this id.
    Bounces(String),
    /// Pays everything.
    Forecloses,
    /// Gives the money back.
    Cancels,
    /// Is given up.
    IsLost,
    /// Something comes nevertheless.
    Recovers,
}

/// A loan as the last answer has it. Amounts in paise.
#[derive(Clone, Debug, Default)]
struct Loan {
    status: String,
    kfs_version: u64,
    outstanding: u64,
    /// Principal, interest and fees that fell due.
    due: u64,
    penal: u64,
    advance: u64,
    claim: u64,
    instalment: u64,
    instalments_left: u64,
    next_due: Option<Day>,
    next_amount: u64,
}

impl Loan {
    fn read(answer: &Value) -> io::Result<Loan> {
        let loan = answer.get("loan_after").unwrap_or(answer);
        let status = loan["status"].as_str().ok_or_else(|| io::Error::other(format!("no loan in {answer}")))?;
        let paise = |name: &str| -> u64 {
            loan[name].as_str().and_then(|text| text.replace('.', "").parse().ok()).unwrap_or(0)
        };
        Ok(Loan {
            status: status.to_owned(),
            kfs_version: loan["kfs"]["version"].as_u64().unwrap_or(0),
            outstanding: paise("principal_outstanding"),
            due: paise("principal_due") + paise("interest_due") + paise("fee_due"),
            penal: paise("penal_due"),
            advance: paise("advance"),
            claim: paise("claim"),
            instalment: paise("instalment"),
            instalments_left: loan["instalments_left"].as_u64().unwrap_or(0),
            next_due: loan["next_due_on"].as_str().and_then(Day::parse),
            next_amount: paise("next_due_amount"),
        })
    }
}

/// A borrower of the branch.
#[derive(Clone, Debug)]
pub struct Borrower {
    number: u32,
    temper: Temper,
    product: &'static Product,
    dice: Dice,
    mode: &'static str,
    phase: Phase,
    /// The day on which the phase comes.
    wakes: Day,
    loans: u32,
    /// Visits that paid something, of this loan.
    paid: u32,
    /// Requests so far.
    requests: u32,
    loan: Loan,
    /// Cash that he has brought today, paise.
    cash: u64,
}

impl Borrower {
    /// Invents one; he comes some day between the first and the last.
    #[must_use]
    pub fn invent(seed: u64, number: u32, first: Day, end: Day) -> Borrower {
        let mut dice = Dice::new(seed ^ (u64::from(number) << 32));
        // Neighbouring seeds give neighbouring first numbers: those are left out.
        dice.roll();
        let (temper, product) = Temper::of(number, PRODUCTS, &mut dice);
        let product = &PRODUCTS[product];
        let mode = match (temper, product.period_days) {
            (Temper::Bounces, _) => "nach",
            (_, 30) => dice.pick(&["nach", "upi", "upi", "neft", "cash"]),
            _ => dice.pick(&["cash", "cash", "upi"]),
        };
        let days = u64::from(end.0 - first.0);
        // Who is to be late in time comes early.
        let last = if number <= 11 { 2 } else { days.saturating_sub(5) };
        let day = u16::try_from(dice.between(0, last)).expect("a few years of days");
        let mut borrower = Borrower {
            number,
            temper,
            product,
            dice,
            mode,
            phase: Phase::Asks,
            wakes: first,
            loans: 0,
            paid: 0,
            requests: 0,
            loan: Loan::default(),
            cash: 0,
        };
        borrower.comes(Phase::Asks, Day(first.0 + day));
        borrower
    }

    /// Does what he does on a day; gives the cash that he has brought, in paise.
    ///
    /// # Errors
    /// The server is away, or refuses.
    pub fn day(&mut self, today: Day, desk: &mut Desk) -> io::Result<u64> {
        self.cash = 0;
        while self.wakes <= today {
            let before = self.wakes;
            match self.phase.clone() {
                Phase::Asks => self.ask(today, desk)?,
                Phase::Agrees => self.agree(today, desk)?,
                Phase::IsPaid => self.pay_out(today, desk)?,
                Phase::Pays => self.visit(today, desk)?,
                Phase::Bounces(receipt) => self.bounce(today, desk, &receipt)?,
                Phase::Forecloses => self.foreclose(today, desk)?,
                Phase::Cancels => self.cancel(today, desk)?,
                Phase::IsLost => self.write_off(today, desk)?,
                Phase::Recovers => self.recover(today, desk)?,
            }
            if self.wakes <= before && self.wakes <= today {
                return Err(io::Error::other(format!("borrower {} goes round in circles", self.number)));
            }
        }
        Ok(self.cash)
    }

    /// What comes next, and when; on a Sunday only what comes over a wire.
    fn comes(&mut self, phase: Phase, day: Day) {
        let is_online = self.phase_is_online(&phase);
        self.wakes = if is_sunday(day) && !is_online { Day(day.0 + 1) } else { day };
        self.phase = phase;
    }

    fn phase_is_online(&self, phase: &Phase) -> bool {
        matches!(phase, Phase::Pays) && self.mode != "cash"
    }

    fn post(&mut self, desk: &mut Desk, who: Who, path: &str, body: &Value) -> io::Result<Value> {
        self.requests += 1;
        desk.post(who, path, &format!("{:05}-{:04}", self.number, self.requests), body)
    }

    /// An order about his loan; what it answers is what he owes from then on.
    fn order(&mut self, desk: &mut Desk, who: Who, what: &str, body: &Value) -> io::Result<Value> {
        let path = format!("/v1/loans/ext:L12-{:05}-{}/{what}", self.number, self.loans);
        let answer = self.post(desk, who, &path, body)?;
        self.loan = Loan::read(&answer)?;
        Ok(answer)
    }

    /// What a rail calls the next payment: unique in the branch.
    fn reference(&self) -> String {
        format!("610{:05}{:04}", self.number, self.requests + 1)
    }

    fn ask(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let customer = format!("B12-{:05}", self.number);
        if self.loans == 0 {
            let body = self.customer(&customer);
            self.post(desk, Who::Officer, "/v1/customers", &body)?;
        }
        self.loans += 1;
        self.paid = 0;
        let (least, most) = self.product.thousands;
        let is_refused = self.temper == Temper::Refused && self.loans == 1;
        let thousands = if is_refused { most } else { self.dice.between(least, most) };
        let mut body = json!({
            "customer": format!("ext:{customer}"),
            "product": format!("ext:{}", self.product.external_id),
            "principal": (thousands * 1_000).to_string(),
            "instalments": self.dice.pick(self.product.instalments),
            "external_id": format!("L12-{:05}-{}", self.number, self.loans),
        });
        if self.product.period_days == 30 {
            let days = u16::try_from(self.dice.between(25, 40)).expect("at most 40");
            body["first_due_on"] = json!(Day(today.0 + days).to_string());
        }
        let answer = self.post(desk, Who::Officer, "/v1/loans", &body)?;
        self.loan = Loan::read(&answer)?;
        if is_refused {
            let body = json!({"reason": "The instalments would take more than half of the income."});
            self.order(desk, Who::Manager, "decline", &body)?;
            self.comes(Phase::Asks, Day(today.0 + 7));
        } else {
            self.comes(Phase::Agrees, Day(today.0 + 1));
        }
        Ok(())
    }

    fn customer(&mut self, external_id: &str) -> Value {
        let (given, family) = (self.dice.pick(GIVEN), self.dice.pick(FAMILY));
        let letters: String =
            (0..3).map(|_| self.dice.pick(&['A', 'B', 'C', 'D', 'E', 'H', 'K', 'M', 'R', 'S'])).collect();
        let initial = family.chars().next().expect("no family is without a name");
        json!({
            "kind": "individual",
            "name": format!("{given} {family}"),
            "external_id": external_id,
            "pan": format!("{letters}P{initial}{:04}Z", self.number % 10_000),
            "bank_account": format!("5010{:08}", self.number),
            "ifsc": "HDFC0001234",
            "metadata": {"trade": self.dice.pick(TRADES)},
        })
    }

    fn agree(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        self.order(desk, Who::Manager, "approve", &json!({}))?;
        let version = self.loan.kfs_version;
        self.order(desk, Who::Officer, "accept_kfs", &json!({"version": version}))?;
        self.comes(Phase::IsPaid, Day(today.0 + 1));
        Ok(())
    }

    fn pay_out(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let body = json!({"credited_on": today.to_string(), "mode": "neft", "reference": self.reference()});
        self.order(desk, Who::Officer, "disburse", &body)?;
        match self.temper {
            Temper::Cancels if self.loans == 1 => self.comes(Phase::Cancels, Day(today.0 + 1)),
            Temper::Lost => {
                let first = self.loan.next_due.unwrap_or(today);
                self.comes(Phase::IsLost, Day(first.0 + LOST_AFTER));
            }
            _ => self.waits(today),
        }
        Ok(())
    }

    /// Comes again when the next instalment falls due, or later.
    fn waits(&mut self, today: Day) {
        let next = match self.loan.next_due {
            Some(due) => Day(due.0 + self.temper.delay(self.product.period_days, &mut self.dice)),
            // All has fallen due: the rest is paid soon.
            None => Day(today.0 + 5),
        };
        let is_first = self.loans == 1;
        let next = match self.temper {
            Temper::Defaults { after } if is_first && self.paid >= after => NEVER,
            Temper::Cured { after } if is_first && self.paid == after => {
                Day(next.0 + u16::try_from(self.dice.between(95, 110)).expect("at most 110"))
            }
            _ => next,
        };
        self.comes(Phase::Pays, next.max(Day(today.0 + 1)));
    }

    /// What he owes on a day: what is due, and what has fallen due since the last answer, as he reckons it.
    fn owes(&self, today: Day) -> u64 {
        let Some(next) = self.loan.next_due.filter(|next| *next <= today) else {
            return self.loan.due + self.loan.penal;
        };
        let more = u64::from((today.0 - next.0) / self.product.period_days).min(self.loan.instalments_left.max(1) - 1);
        (self.loan.due + self.loan.penal + self.loan.next_amount + more * self.loan.instalment)
            .saturating_sub(self.loan.advance)
    }

    fn visit(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let amount = self.owes(today);
        let receipt = if amount > 0 { Some(self.pay(today, desk, amount)?) } else { None };
        self.paid += 1;
        let is_returned = self.temper == Temper::Bounces && self.dice.chance(25);
        if let Some(receipt) = receipt.filter(|_| is_returned) {
            self.comes(Phase::Bounces(receipt), Day(today.0 + 1));
            return Ok(());
        }
        self.after_payment(today, desk)
    }

    fn pay(&mut self, today: Day, desk: &mut Desk, amount: u64) -> io::Result<String> {
        let mut body = json!({"amount": rupees(amount), "value_date": today.to_string(), "mode": self.mode});
        if self.mode == "cash" {
            body["to_account"] = json!(CASH);
            self.cash += amount;
        } else {
            body["reference"] = json!(self.reference());
        }
        let answer = self.order(desk, Who::Officer, "repayments", &body)?;
        Ok(answer["id"].as_str().unwrap_or_default().to_owned())
    }

    fn after_payment(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let is_first = self.loans == 1;
        if self.loan.penal > 0 && self.temper == Temper::Late && self.dice.chance(25) {
            let body = json!({"penal": rupees(self.loan.penal), "reason": "Illness in the family"});
            self.order(desk, Who::Manager, "waive", &body)?;
        }
        if self.end_if_repaid(today, desk)? {
            return Ok(());
        }
        match self.temper {
            Temper::Prepays { after } if is_first && self.paid == after => self.prepay(today, desk)?,
            Temper::Eased { after } if is_first && self.paid == after => self.ease(today, desk)?,
            Temper::Lowered { after } if is_first && self.paid == after => {
                let body = json!({"annual_rate_pct": "16", "keep": "instalment"});
                self.order(desk, Who::Manager, "rate_reset", &body)?;
            }
            Temper::Forecloses { after } if is_first && self.paid == after => {
                let days = u16::try_from(self.dice.between(2, 12)).expect("at most 12");
                self.comes(Phase::Forecloses, Day(today.0 + days));
                return Ok(());
            }
            _ => {}
        }
        self.waits(today);
        Ok(())
    }

    /// Pays what he did not reckon with; closes a loan that has nothing left. Whether it has ended.
    fn end_if_repaid(&mut self, today: Day, desk: &mut Desk) -> io::Result<bool> {
        for _ in 0..PAYMENTS_A_VISIT {
            let left = self.loan.due + self.loan.penal;
            // Penal charges alone can wait for the next visit, if there is one.
            if left == 0 || (self.loan.outstanding > 0 && self.loan.due == 0) {
                break;
            }
            self.pay(today, desk, left)?;
        }
        if self.loan.outstanding > 0 || self.loan.due + self.loan.penal > 0 {
            return Ok(false);
        }
        if self.loan.advance > 0 {
            let body = json!({"amount": rupees(self.loan.advance), "mode": "neft", "reference": self.reference()});
            self.order(desk, Who::Officer, "refund", &body)?;
        }
        match (self.loan.status.as_str(), self.loan.next_due) {
            // The last principal came late: its interest since the last date is paid with the end.
            ("active", Some(_)) => self.foreclose(today, desk)?,
            ("active", None) => {
                self.order(desk, Who::Officer, "close", &json!({}))?;
                self.asks_again(today);
            }
            _ => self.asks_again(today),
        }
        Ok(true)
    }

    fn asks_again(&mut self, today: Day) {
        let days = u16::try_from(self.dice.between(3, 20)).expect("at most 20");
        let comes_back = self.dice.chance(self.product.renewal);
        self.comes(Phase::Asks, if comes_back { Day(today.0 + days) } else { NEVER });
    }

    fn prepay(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let rupees_ahead = self.loan.outstanding / 100 * self.dice.between(20, 40) / 100 / 100 * 100;
        let keep = self.dice.pick(&["term", "instalment"]);
        let body = json!({
            "amount": rupees(rupees_ahead * 100), "value_date": today.to_string(), "keep": keep,
            "mode": "upi", "reference": self.reference(),
        });
        self.order(desk, Who::Officer, "prepayments", &body)?;
        Ok(())
    }

    fn ease(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let first = self.loan.next_due.unwrap_or(Day(today.0 + 30)).max(Day(today.0 + 1));
        let body = json!({
            "annual_rate_pct": self.product.rate_pct,
            "instalments": self.loan.instalments_left + 6,
            "first_due_on": first.to_string(),
        });
        self.order(desk, Who::Manager, "reschedule", &body)?;
        Ok(())
    }

    fn bounce(&mut self, today: Day, desk: &mut Desk, receipt: &str) -> io::Result<()> {
        let body = json!({"reason": "Returned by the bank: balance insufficient"});
        self.order(desk, Who::Manager, &format!("repayments/{receipt}/reverse"), &body)?;
        if self.loan.status == "active" {
            let body = json!({"name": "Mandate returned", "kind": "bounce", "amount": "250"});
            self.order(desk, Who::Officer, "charges", &body)?;
        }
        self.paid -= 1;
        let days = u16::try_from(self.dice.between(2, 9)).expect("at most 9");
        self.comes(Phase::Pays, Day(today.0 + days));
        Ok(())
    }

    fn foreclose(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let body = json!({"value_date": today.to_string(), "mode": "rtgs", "reference": self.reference()});
        self.order(desk, Who::Officer, "foreclose", &body)?;
        self.asks_again(today);
        Ok(())
    }

    fn cancel(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let body = json!({"value_date": today.to_string(), "mode": "upi", "reference": self.reference()});
        self.order(desk, Who::Officer, "cancel", &body)?;
        self.asks_again(today);
        Ok(())
    }

    fn write_off(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let body = json!({"reason": "The shop is closed and the borrower has left the town."});
        self.order(desk, Who::Manager, "write_off", &body)?;
        self.comes(Phase::Recovers, Day(today.0 + 6));
        Ok(())
    }

    fn recover(&mut self, today: Day, desk: &mut Desk) -> io::Result<()> {
        let amount = self.loan.claim / 500 * 100;
        let body = json!({
            "amount": rupees(amount), "value_date": today.to_string(), "mode": "upi", "reference": self.reference(),
        });
        self.order(desk, Who::Officer, "recover", &body)?;
        self.comes(Phase::Asks, NEVER);
        Ok(())
    }
}

fn rupees(paise: u64) -> String {
    format!("{}.{:02}", paise / 100, paise % 100)
}
