//! The books as the clients know them: the sum of all the facts that answers stated.
//!
//! Promise: [`Books::compare`] accepts only a server whose every account has exactly these sums: nothing that
//! was acknowledged is missing, nothing was posted twice, and nothing is there that no answer admits.

use std::collections::HashSet;

use serde_json::Value;

use super::order::{Fact, paise};
use super::wire::Client;

/// Sums of one account, in paise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    debits_posted: i64,
    credits_posted: i64,
    debits_pending: i64,
    credits_pending: i64,
}

/// All that was acknowledged.
#[derive(Debug)]
pub struct Books {
    sums: Vec<Sums>,
    resolved: HashSet<String>,
    reversed: HashSet<String>,
    /// Accounts that there must be.
    pub accounts: u64,
    pub facts: u64,
}

fn signed(paise: u64) -> i64 {
    i64::try_from(paise).expect("orders are far below 2^63 paise")
}

impl Books {
    pub fn new(accounts: usize) -> Books {
        let sums = vec![Sums::default(); accounts];
        Books { sums, resolved: HashSet::new(), reversed: HashSet::new(), accounts: accounts as u64, facts: 0 }
    }

    /// Adds a fact.
    ///
    /// # Errors
    /// A hold that ends twice, a transfer that is reversed twice.
    pub fn add(&mut self, fact: &Fact) -> Result<(), String> {
        self.facts += 1;
        match fact {
            Fact::Opened => self.accounts += 1,
            Fact::Moved { debit, credit, paise } => self.post(*debit, *credit, signed(*paise)),
            Fact::Held { debit, credit, paise } => self.hold(*debit, *credit, signed(*paise)),
            Fact::Resolved { hold, posted } => {
                if !self.resolved.insert(hold.id.clone()) {
                    return Err(format!("{} was resolved twice", hold.id));
                }
                self.hold(hold.debit, hold.credit, -signed(hold.paise));
                self.post(hold.debit, hold.credit, signed(*posted));
            }
            Fact::Reversed(of) => {
                if !self.reversed.insert(of.id.clone()) {
                    return Err(format!("{} was reversed twice", of.id));
                }
                self.post(of.credit, of.debit, signed(of.paise));
            }
        }
        Ok(())
    }

    fn post(&mut self, debit: u32, credit: u32, paise: i64) {
        self.sums[debit as usize].debits_posted += paise;
        self.sums[credit as usize].credits_posted += paise;
    }

    fn hold(&mut self, debit: u32, credit: u32, paise: i64) {
        self.sums[debit as usize].debits_pending += paise;
        self.sums[credit as usize].credits_pending += paise;
    }

    /// Compares with a server at rest.
    ///
    /// # Errors
    /// The first account that differs; totals that do not balance.
    pub fn compare(&self, client: &mut Client, accounts: &[String]) -> Result<(), String> {
        for (id, sums) in accounts.iter().zip(&self.sums) {
            let answer = client.get(&format!("/v1/accounts/{id}")).map_err(|error| error.to_string())?;
            let balances = &answer.json()["balances"];
            let sum = |name: &str| paise(&balances[name]);
            let told = (|| {
                Some(Sums {
                    debits_posted: sum("debits_posted")?,
                    credits_posted: sum("credits_posted")?,
                    debits_pending: sum("debits_pending")?,
                    credits_pending: sum("credits_pending")?,
                })
            })();
            if told != Some(*sums) {
                return Err(format!("{id} should have {sums:?}: {}", answer.shown()));
            }
        }
        let answer = client.get("/v1/reports/trial_balance").map_err(|error| error.to_string())?;
        let posted: i64 = self.sums.iter().map(|sums| sums.debits_posted).sum();
        let report = answer.json();
        let totals = report["totals"].as_array().cloned().unwrap_or_default();
        let is_balanced =
            |total: &Value| paise(&total["debits"]) == Some(posted) && total["debits"] == total["credits"];
        if posted > 0 && (totals.len() != 1 || !is_balanced(&totals[0])) {
            return Err(format!("the trial balance should be {posted} paise: {}", answer.shown()));
        }
        let status = client.get("/v1/status").map_err(|error| error.to_string())?;
        if status.json()["accounts"] != self.accounts {
            return Err(format!("there should be {} accounts: {}", self.accounts, status.shown()));
        }
        Ok(())
    }
}
