//! Books to measure on: accounts, and a history.
//!
//! Promise: accounts are what the server says it made, by the ids of its answers; nothing is assumed
//! about how it numbers them.

use std::net::SocketAddr;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::BenchError;
use super::load::{self, Group, Pace, Setting, Until};
use super::shape::Accounts;
use super::source::{Batches, Keys, write_post};
use super::wire::{ask, find, json_text};
use crate::config::BATCH_ITEMS_MAX;
use crate::domain::ids::{ID_DIGITS, IdKind, parse_id};

/// Patience for one batch of accounts.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Creates `count` accounts in rupees, half assets and half liabilities, without limits.
///
/// # Errors
/// The server refuses, or does not name each account.
pub fn create_accounts(addr: SocketAddr, count: u32, keys: &mut Keys) -> Result<Accounts, BenchError> {
    let bar = progress_bar(u64::from(count), "accounts");
    let mut numbers = Vec::with_capacity(count as usize);
    while numbers.len() < count as usize {
        let now = (count as usize - numbers.len()).min(BATCH_ITEMS_MAX);
        let mut request = Vec::new();
        write_post(&mut request, "/v1/accounts/batch", "connection: close\r\n", keys, |out| {
            out.extend_from_slice(b"{\"accounts\":[");
            for place in 0..now {
                let kind = if place % 2 == 0 { "asset" } else { "liability" };
                out.extend_from_slice(format!("{{\"currency\":\"INR\",\"type\":\"{kind}\"}},").as_bytes());
            }
            out.pop();
            out.extend_from_slice(b"]}");
        });
        let (status, body) =
            ask(addr, &request, ANSWER_TIME).map_err(|source| BenchError::io("create accounts", source))?;
        let before = numbers.len();
        numbers.extend(account_numbers(&body));
        if !(200..300).contains(&status) || numbers.len() - before != now {
            let code = json_text(&body, b"\"code\":\"").unwrap_or("no code");
            let made = numbers.len() - before;
            return Err(BenchError::Server(format!("{made} of {now} accounts came with status {status} ({code})")));
        }
        bar.set_position(numbers.len() as u64);
    }
    bar.finish_and_clear();
    Ok(Accounts::from_numbers(numbers))
}

/// Numbers of the account ids in a JSON answer, in order; one that follows itself counts once.
fn account_numbers(body: &[u8]) -> Vec<u64> {
    let length = IdKind::Account.prefix().len() + ID_DIGITS;
    let mut numbers: Vec<u64> = Vec::new();
    let mut rest = body;
    while let Some(at) = find(rest, b"\"acct_") {
        rest = &rest[at + 1..];
        let text = rest.get(..length).and_then(|id| std::str::from_utf8(id).ok());
        if let Some(number) = text.and_then(|text| parse_id(IdKind::Account, text))
            && numbers.last() != Some(&number)
        {
            numbers.push(number);
        }
    }
    numbers
}

/// Makes at least `transfers` transfers by batches, as fast as it goes.
///
/// # Errors
/// A batch was not taken whole.
pub fn prefill(addr: SocketAddr, source: &mut Batches, transfers: u64) -> Result<(), BenchError> {
    let setting = Setting {
        addr,
        server_pid: None,
        warm_up: Duration::ZERO,
        until: Until { duration: Duration::ZERO, units: transfers },
    };
    let bar = progress_bar(0, "filling the books");
    let group = Group { name: "prefill", source, connections: 4, pipeline: 1, pace: Pace::Closed };
    let outcome = load::run(setting, group, &mut |elapsed| bar.set_position(elapsed.as_secs()))
        .map_err(|source| BenchError::io("fill the books", source))?;
    bar.finish_and_clear();
    match outcome.measured.errors.into_iter().next() {
        None => Ok(()),
        Some(((status, code), count)) => {
            Err(BenchError::Server(format!("{count} batches were not taken while filling the books: {status} {code}")))
        }
    }
}

/// Progress on stderr; hidden where stderr is no terminal. `total` 0: only the time is shown.
pub fn progress_bar(total: u64, what: &'static str) -> ProgressBar {
    let template = if total > 0 { "{msg} {wide_bar} {pos}/{len} {eta}" } else { "{msg} {elapsed}" };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style);
    bar.set_message(what);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_are_taken_from_the_answer() {
        let body = br#"{"data":[{"id":"acct_0000000000005","x":"acct_0000000000005"},{"id":"acct_0000000000007"}],"z":"acct_x"}"#;
        assert_eq!(account_numbers(body), [5, 7]);
    }
}
