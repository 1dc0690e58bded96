//! What a client asks for, and which facts an answer to it states.
//!
//! Promise: [`Order::facts`] believes an answer only as far as it agrees with the order: ids, amounts and counts
//! are compared, and a refusal must be one that this order can meet.

use std::sync::Arc;

use serde_json::{Value, json};

use super::wire::{Answer, Request};

/// A transfer that somebody made: what a later order needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    pub id: String,
    /// Place of the account in the pool.
    pub debit: u32,
    pub credit: u32,
    pub paise: u64,
}

/// A new transfer.
#[derive(Clone, Debug)]
pub struct NewTransfer {
    pub debit: u32,
    pub credit: u32,
    pub paise: u64,
    pub external_id: String,
    pub is_pending: bool,
    /// Length of the description: long ones make records over several blocks.
    pub text: usize,
}

/// One item of a batch.
#[derive(Clone, Debug)]
pub enum Item {
    New(NewTransfer),
    Post(Arc<Terms>, u64),
    Void(Arc<Terms>),
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub enum Order {
    OpenAccount { external_id: String },
    Transfer(NewTransfer),
    Batch { is_atomic: bool, is_minimal: bool, items: Vec<Item> },
    Post(Arc<Terms>, u64),
    Void(Arc<Terms>),
    Reverse(Arc<Terms>),
    ReadAccount(u32),
    ReadTransfer(Arc<Terms>),
    Statement(u32),
    TrialBalance,
}

/// What an answer states about the books.
#[derive(Clone, Debug)]
pub enum Fact {
    Opened,
    Moved {
        debit: u32,
        credit: u32,
        paise: u64,
    },
    Held {
        debit: u32,
        credit: u32,
        paise: u64,
    },
    /// A hold ended; `posted` of it was moved, the rest released.
    Resolved {
        hold: Arc<Terms>,
        posted: u64,
    },
    Reversed(Arc<Terms>),
}

/// Refusals that concurrent clients bring on each other.
const REFUSALS: [&str; 6] = [
    "insufficient_funds",
    "transfer_not_pending",
    "transfer_not_posted",
    "already_reversed",
    "amount_exceeds_pending",
    "batch_refused",
];

/// `123456` paise as `1234.56`.
pub fn rupees(paise: u64) -> String {
    format!("{}.{:02}", paise / 100, paise % 100)
}

/// `1234.56` as paise; negative where the books say so.
pub fn paise(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let (whole, rest) = text.split_once('.')?;
    let number: i64 = format!("{whole}{rest}").parse().ok()?;
    (rest.len() == 2).then_some(number)
}

impl NewTransfer {
    fn json(&self, accounts: &[String]) -> Value {
        let mut body = json!({
            "debit_account": accounts[self.debit as usize], "credit_account": accounts[self.credit as usize],
            "amount": rupees(self.paise), "external_id": self.external_id,
        });
        if self.is_pending {
            body["pending"] = true.into();
        }
        if self.text > 0 {
            body["description"] = "₹ by cash ".chars().cycle().take(self.text).collect::<String>().into();
        }
        body
    }

    fn fact(&self) -> Fact {
        let (debit, credit, paise) = (self.debit, self.credit, self.paise);
        if self.is_pending { Fact::Held { debit, credit, paise } } else { Fact::Moved { debit, credit, paise } }
    }
}

impl Item {
    fn json(&self, accounts: &[String]) -> Value {
        match self {
            Item::New(new) => new.json(accounts),
            Item::Post(hold, paise) => json!({"op": "post", "transfer": hold.id, "amount": rupees(*paise)}),
            Item::Void(hold) => json!({"op": "void", "transfer": hold.id}),
        }
    }

    fn fact(&self) -> Fact {
        match self {
            Item::New(new) => new.fact(),
            Item::Post(hold, paise) => Fact::Resolved { hold: hold.clone(), posted: *paise },
            Item::Void(hold) => Fact::Resolved { hold: hold.clone(), posted: 0 },
        }
    }
}

impl Order {
    pub fn is_read(&self) -> bool {
        matches!(self, Order::ReadAccount(_) | Order::ReadTransfer(_) | Order::Statement(_) | Order::TrialBalance)
    }

    /// The request; the same order and key give the same bytes.
    pub fn request(&self, accounts: &[String], key: &str) -> Request {
        let post = |path: String, body: Value| Request::post(path, Some(key), body.to_string());
        match self {
            Order::OpenAccount { external_id } => post(
                "/v1/accounts".into(),
                json!({"external_id": external_id, "name": "Opened under fire", "currency": "INR", "type": "asset"}),
            ),
            Order::Transfer(new) => post("/v1/transfers".into(), new.json(accounts)),
            Order::Batch { is_atomic, is_minimal, items } => {
                let mode = if *is_atomic { "atomic" } else { "independent" };
                let items: Vec<Value> = items.iter().map(|item| item.json(accounts)).collect();
                let request = post("/v1/transfers/batch".into(), json!({"mode": mode, "transfers": items}));
                Request { is_minimal: *is_minimal, ..request }
            }
            Order::Post(hold, paise) => {
                post(format!("/v1/transfers/{}/post", hold.id), json!({"amount": rupees(*paise)}))
            }
            Order::Void(hold) => post(format!("/v1/transfers/{}/void", hold.id), json!({})),
            Order::Reverse(of) => post(format!("/v1/transfers/{}/reverse", of.id), json!({"reason": "wrong drawer"})),
            Order::ReadAccount(account) => Request::get(format!("/v1/accounts/{}", accounts[*account as usize])),
            Order::ReadTransfer(of) => Request::get(format!("/v1/transfers/{}", of.id)),
            Order::Statement(account) => {
                Request::get(format!("/v1/accounts/{}/entries?limit=20", accounts[*account as usize]))
            }
            Order::TrialBalance => Request::get("/v1/reports/trial_balance"),
        }
    }

    /// What the answer states.
    ///
    /// # Errors
    /// An answer that this order cannot get.
    pub fn facts(&self, accounts: &[String], answer: &Answer) -> Result<Vec<Fact>, String> {
        let wrong = |why: &str| Err(format!("{why}: {self:.200?} was answered {}", answer.shown()));
        if answer.status >= 400 {
            let code = answer.code();
            let is_known = matches!(answer.status, 409 | 422) && REFUSALS.contains(&code.as_str());
            return if is_known && !self.is_read() { Ok(Vec::new()) } else { wrong("not refusable so") };
        }
        if answer.as_of().is_none() {
            return wrong("no As-Of-Seq");
        }
        let reply = answer.json();
        let is_sound = match self {
            Order::OpenAccount { external_id } => reply["external_id"] == **external_id,
            Order::Transfer(new) => new.is_told_by(accounts, &reply),
            Order::Batch { .. } => return self.batch_facts(&reply).or_else(|why| wrong(&why)),
            Order::Post(hold, posted) => {
                reply["id"] == *hold.id && paise(&reply["posted_amount"]) == i64::try_from(*posted).ok()
            }
            Order::Void(hold) => reply["id"] == *hold.id && reply["status"] == "voided",
            Order::Reverse(of) => reply["reverses"] == *of.id && reply["amount"] == *rupees(of.paise),
            Order::ReadAccount(account) => reply["id"] == *accounts[*account as usize],
            Order::ReadTransfer(of) => of.is_told_by(accounts, &reply),
            Order::Statement(_) => statement_adds_up(&reply),
            Order::TrialBalance => {
                reply["totals"].as_array().is_some_and(|all| all.iter().all(|one| one["debits"] == one["credits"]))
            }
        };
        if !is_sound {
            return wrong("not what was asked");
        }
        Ok(match self {
            Order::OpenAccount { .. } => vec![Fact::Opened],
            Order::Transfer(new) => vec![new.fact()],
            Order::Post(hold, posted) => vec![Fact::Resolved { hold: hold.clone(), posted: *posted }],
            Order::Void(hold) => vec![Fact::Resolved { hold: hold.clone(), posted: 0 }],
            Order::Reverse(of) => vec![Fact::Reversed(of.clone())],
            _ => Vec::new(),
        })
    }

    fn batch_facts(&self, reply: &Value) -> Result<Vec<Fact>, String> {
        let Order::Batch { is_atomic, is_minimal, items } = self else { return Ok(Vec::new()) };
        let results = reply["results"].as_array().ok_or("no results")?;
        let mut is_rejected = vec![false; items.len()];
        let mut accepted = 0;
        for result in results {
            let index = result["index"].as_u64().and_then(|index| usize::try_from(index).ok()).ok_or("no index")?;
            let Some(code) = result["code"].as_str() else {
                accepted += usize::from(result["id"].is_string());
                continue;
            };
            if *is_atomic || !REFUSALS.contains(&code) {
                return Err(format!("item {index} may not be refused with {code}"));
            }
            *is_rejected.get_mut(index).ok_or("an index beyond the items")? = true;
        }
        let rejected = is_rejected.iter().filter(|rejected| **rejected).count();
        let posted = items.len() - rejected;
        if reply["posted"] != posted || reply["rejected"] != rejected || (!is_minimal && accepted != posted) {
            return Err("the counts do not add up".into());
        }
        let kept = items.iter().zip(is_rejected).filter(|(_, is_rejected)| !is_rejected);
        Ok(kept.map(|(item, _)| item.fact()).collect())
    }

    /// Transfers that the answer made and a later order may name: whether pending, and the terms.
    pub fn offspring(&self, answer: &Answer) -> Vec<(bool, Terms)> {
        let terms = |new: &NewTransfer, id: &Value| {
            let id = id.as_str()?.to_owned();
            Some((new.is_pending, Terms { id, debit: new.debit, credit: new.credit, paise: new.paise }))
        };
        if answer.status >= 400 {
            return Vec::new();
        }
        match self {
            Order::Transfer(new) => terms(new, &answer.json()["id"]).into_iter().collect(),
            Order::Batch { items, is_minimal: false, .. } => {
                let reply = answer.json();
                let results = reply["results"].as_array().map_or(&[][..], Vec::as_slice);
                let made = results.iter().filter_map(|result| {
                    let index = usize::try_from(result["index"].as_u64()?).ok()?;
                    let Item::New(new) = items.get(index)? else { return None };
                    terms(new, &result["id"])
                });
                made.take(4).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The seq that an accepted answer wrote, and the accounts that it surely moved at that seq.
    pub fn wrote(&self, answer: &Answer) -> Option<(u64, Vec<u32>)> {
        let as_of = answer.as_of().filter(|_| answer.status < 400)?;
        let own = || answer.json()["seq"].as_str().and_then(|seq| seq.parse().ok()).unwrap_or(as_of);
        match self {
            Order::OpenAccount { .. } => Some((as_of, Vec::new())),
            Order::Transfer(new) => Some((own(), vec![new.debit, new.credit])),
            // The body's seq is the hold's; the resolution is an entry of its own.
            Order::Post(hold, _) | Order::Void(hold) => Some((as_of, vec![hold.debit, hold.credit])),
            Order::Reverse(of) => Some((own(), vec![of.debit, of.credit])),
            Order::Batch { .. } => (answer.json()["posted"] != 0).then_some((as_of, Vec::new())),
            _ => None,
        }
    }
}

impl NewTransfer {
    fn is_told_by(&self, accounts: &[String], reply: &Value) -> bool {
        let (debit, credit, paise) = (self.debit, self.credit, self.paise);
        let status = if self.is_pending { "pending" } else { "posted" };
        let terms = Terms { id: reply["id"].as_str().unwrap_or_default().to_owned(), debit, credit, paise };
        terms.is_told_by(accounts, reply) && reply["status"] == status && reply["external_id"] == *self.external_id
    }
}

impl Terms {
    /// Whether a transfer object is this transfer.
    pub fn is_told_by(&self, accounts: &[String], reply: &Value) -> bool {
        reply["id"] == *self.id
            && reply["debit_account"] == *accounts[self.debit as usize]
            && reply["credit_account"] == *accounts[self.credit as usize]
            && reply["amount"] == *rupees(self.paise)
    }
}

/// Whether opening + Σ = closing, line by line. Where older lines lie on later pages, the page's own first
/// balance stands for the opening.
fn statement_adds_up(reply: &Value) -> bool {
    let Some(lines) = reply["data"].as_array() else { return false };
    let (Some(opening), Some(closing)) = (paise(&reply["opening"]), paise(&reply["closing"])) else { return false };
    let mut running = (reply["has_more"] == false).then_some(opening);
    for line in lines.iter().rev() {
        let (Some(amount), Some(after)) = (paise(&line["amount"]), paise(&line["balance"])) else { return false };
        if running.unwrap_or(after - amount) + amount != after {
            return false;
        }
        running = Some(after);
    }
    running == Some(closing)
}
