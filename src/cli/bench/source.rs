//! What is asked: single transfers, batches, reads; and the echo that stands for the floor.
//!
//! Promise: each request is written straight into the connection's buffer; keys are unique over all
//! runs (seed, nonce of the run, counter); an answer that is not the expected one is never counted as
//! work. Lengths are written as eight digits with leading zeros, so that they can be filled in after
//! the body without moving it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::domain::ids::{ID_DIGITS, IdKind, parse_id, write_id};

use super::credentials;
use super::load::Source;
use super::shape::{Dice, Shape, TRANSFER_BYTES_MAX};
use super::wire::{Answer, find, json_number};

/// Makes Idempotency-Keys that no other run makes.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    counter: u64,
}

impl Keys {
    /// `stream` tells the sources of one run apart.
    #[must_use]
    pub fn new(seed: u64, nonce: u64, stream: &str) -> Self {
        Keys { prefix: format!("{seed:x}-{nonce:016x}-{stream}-"), counter: 0 }
    }

    /// Appends the next key: the prefix and sixteen hexadecimal digits.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        let digits: [u8; 16] = std::array::from_fn(|place| {
            b"0123456789abcdef"[usize::from((self.counter >> (60 - 4 * place)) as u8 & 15)]
        });
        out.extend_from_slice(&digits);
        self.counter += 1;
    }
}

const LENGTH_DIGITS: usize = 8;

/// Appends a POST with the body that `write_body` appends.
pub fn write_post(
    out: &mut Vec<u8>,
    path: &str,
    headers: &str,
    keys: &mut Keys,
    write_body: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(b"POST ");
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nhost: munim\r\n");
    out.extend_from_slice(credentials::line().as_bytes());
    out.extend_from_slice(b"content-type: application/json\r\n");
    out.extend_from_slice(headers.as_bytes());
    out.extend_from_slice(b"idempotency-key: ");
    keys.write(out);
    out.extend_from_slice(b"\r\ncontent-length: 00000000\r\n\r\n");
    let body = out.len();
    write_body(out);
    let mut rest = out.len() - body;
    for digit in out[body - 4 - LENGTH_DIGITS..body - 4].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("one digit");
        rest /= 10;
    }
    assert_eq!(rest, 0, "a body of at most eight digits");
}

/// One transfer a request.
#[derive(Debug)]
pub struct Singles {
    /// Which accounts.
    pub dice: Dice,
    /// Whose keys.
    pub keys: Keys,
    /// Jobs that each one bears, a JSON array.
    pub jobs: Option<Arc<str>>,
}

impl Singles {
    /// Transfers that bear no jobs.
    #[must_use]
    pub fn new(dice: Dice, keys: Keys) -> Singles {
        Singles { dice, keys, jobs: None }
    }
}

impl Source for Singles {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        let (dice, jobs) = (&mut self.dice, self.jobs.as_deref());
        write_post(out, "/v1/transfers", "", &mut self.keys, |out| {
            dice.write_transfer(out, false);
            if let Some(jobs) = jobs {
                // Before the brace that closes the transfer.
                out.pop();
                out.extend_from_slice(b",\"jobs\":");
                out.extend_from_slice(jobs.as_bytes());
                out.push(b'}');
            }
        });
        1
    }

    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        (answer.status == 201).then_some(asked)
    }
}

/// Consecutive transfers that one batch made.
#[derive(Clone, Copy, Debug)]
pub struct TransferRun {
    /// Number in the first one's id.
    pub first: u64,
    /// How many.
    pub count: u32,
}

/// Which reply to a batch is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Reply {
    /// Counts, first and last id.
    Minimal,
    /// One result per item.
    Full,
}

/// Of ten transfers in a row the first so many are holds (shape `holds`).
const HOLDS_IN_TEN: u32 = 3;

/// The holds of one answered batch that are still to be settled.
#[derive(Debug)]
struct HoldRun {
    made: TransferRun,
    /// Place in the batch of the next one.
    next: u32,
}

/// Independent batches. In the shape `holds` the last three of every thirteen items settle holds of
/// earlier batches, posting and voiding in turn, so that as many are settled as are made.
#[derive(Debug)]
pub struct Batches {
    dice: Dice,
    keys: Keys,
    items: u32,
    reply: Reply,
    holds: VecDeque<HoldRun>,
    holds_left: u32,
    /// What was made, for the reads afterwards.
    pub made: Vec<TransferRun>,
    /// Posts and voids asked for.
    settled: u64,
}

impl Batches {
    /// Batches of `items`.
    #[must_use]
    pub fn new(dice: Dice, keys: Keys, items: u32, reply: Reply) -> Self {
        Batches { dice, keys, items, reply, holds: VecDeque::new(), holds_left: 0, made: Vec::new(), settled: 0 }
    }

    /// Number in the id of the next hold to settle.
    fn next_hold(&mut self) -> Option<u64> {
        let run = self.holds.front_mut()?;
        let hold = run.made.first + u64::from(run.next);
        run.next += if run.next % 10 == HOLDS_IN_TEN - 1 { 11 - HOLDS_IN_TEN } else { 1 };
        if run.next >= run.made.count {
            self.holds.pop_front();
        }
        self.holds_left -= 1;
        Some(hold)
    }

    fn write_items(&mut self, out: &mut Vec<u8>, new: u32, settled: u32) {
        let holds = if self.dice.shape() == Shape::Holds { HOLDS_IN_TEN } else { 0 };
        for place in 0..new {
            self.dice.write_transfer(out, place % 10 < holds);
            out.push(b',');
        }
        for place in 0..settled {
            let Some(hold) = self.next_hold() else { break };
            out.extend_from_slice(if place % 2 == 0 { b"{\"op\":\"post\",".as_slice() } else { b"{\"op\":\"void\"," });
            out.extend_from_slice(b"\"transfer\":\"");
            write_id(out, IdKind::Transfer, hold);
            out.extend_from_slice(b"\"},");
        }
        // The last comma.
        out.pop();
    }
}

impl Source for Batches {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        let share = self.items * HOLDS_IN_TEN / (10 + HOLDS_IN_TEN);
        let settled = share.min(self.holds_left);
        let new = self.items - settled;
        self.settled += u64::from(settled);
        out.reserve(self.items as usize * TRANSFER_BYTES_MAX + 1024);
        let prefer = if self.reply == Reply::Minimal { "prefer: return=minimal\r\n" } else { "" };
        let mut keys = std::mem::replace(&mut self.keys, Keys::new(0, 0, ""));
        write_post(out, "/v1/transfers/batch", prefer, &mut keys, |out| {
            out.extend_from_slice(b"{\"mode\":\"independent\",\"transfers\":[");
            self.write_items(out, new, settled);
            out.extend_from_slice(b"]}");
        });
        self.keys = keys;
        u64::from(new)
    }

    fn settled(&self) -> u64 {
        self.settled
    }

    /// New transfers come first in a batch and nothing is refused in these shapes, so the ids follow
    /// from the first one; a batch with a refusal counts as an error.
    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        let posted = json_number(answer.body, b"\"posted\":")?;
        let rejected = json_number(answer.body, b"\"rejected\":")?;
        if answer.status != 200 || posted < asked || rejected > 0 {
            return None;
        }
        let at = find(answer.body, b"\"tr_")? + 1;
        let id = answer.body.get(at..at + IdKind::Transfer.prefix().len() + ID_DIGITS)?;
        let first = parse_id(IdKind::Transfer, std::str::from_utf8(id).ok()?)?;
        let made = TransferRun { first, count: u32::try_from(asked).ok()? };
        self.made.push(made);
        if self.dice.shape() == Shape::Holds {
            self.holds.push_back(HoldRun { made, next: 0 });
            self.holds_left += made.count / 10 * HOLDS_IN_TEN + (made.count % 10).min(HOLDS_IN_TEN);
        }
        Some(asked)
    }
}

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadKind {
    /// An account by its id.
    Account,
    /// Newest 50 entries of a random account.
    Statement,
    /// Newest 50 entries of the account that most transfers touch.
    HottestStatement,
    /// Balance of a random account at the end of a past day.
    BalanceAt,
    /// A transfer by its id.
    Transfer,
}

impl ReadKind {
    /// All of them, in the order of the report.
    pub const ALL: [ReadKind; 5] =
        [ReadKind::Account, ReadKind::Statement, ReadKind::HottestStatement, ReadKind::BalanceAt, ReadKind::Transfer];

    /// For the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ReadKind::Account => "account by id",
            ReadKind::Statement => "statement, random account",
            ReadKind::HottestStatement => "statement, hottest account",
            ReadKind::BalanceAt => "balance at a past date",
            ReadKind::Transfer => "transfer by id",
        }
    }
}

/// One read a request.
#[derive(Debug)]
pub struct Reads<'a> {
    /// What is read.
    pub kind: ReadKind,
    /// Which accounts.
    pub dice: Dice,
    /// Which transfers there are; not empty.
    pub made: &'a [TransferRun],
    /// Past days, `YYYY-MM-DD`; not empty.
    pub days: &'a [String],
}

impl Source for Reads<'_> {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        let account = match self.kind {
            ReadKind::HottestStatement => self.dice.hottest(),
            _ => self.dice.any(),
        };
        if self.kind == ReadKind::Transfer {
            let run = self.made[self.dice.below(len(self.made)) as usize];
            out.extend_from_slice(b"GET /v1/transfers/");
            let number = run.first + u64::from(self.dice.below(run.count));
            write_id(out, IdKind::Transfer, number);
        } else {
            out.extend_from_slice(b"GET /v1/accounts/");
            write_id(out, IdKind::Account, account);
        }
        match self.kind {
            ReadKind::Statement | ReadKind::HottestStatement => out.extend_from_slice(b"/entries?limit=50"),
            ReadKind::BalanceAt => {
                out.extend_from_slice(b"?at=");
                let day = self.dice.below(len(self.days)) as usize;
                out.extend_from_slice(self.days[day].as_bytes());
            }
            ReadKind::Account | ReadKind::Transfer => {}
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: munim\r\n");
        out.extend_from_slice(credentials::line().as_bytes());
        out.extend_from_slice(b"\r\n");
        1
    }

    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        (answer.status == 200).then_some(asked)
    }
}

fn len<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

/// Another source's requests, sent to the echo: whatever comes back with 200 has done all of it.
#[derive(Debug)]
pub struct Echoed<S>(pub S);

impl<S: Source> Source for Echoed<S> {
    fn write_request(&mut self, out: &mut Vec<u8>) -> u64 {
        self.0.write_request(out)
    }

    fn take_answer(&mut self, answer: &Answer<'_>, asked: u64) -> Option<u64> {
        (answer.status == 200).then_some(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::shape::Accounts;

    fn batches(shape: Shape, items: u32) -> Batches {
        let dice = Dice::new(1, shape, Accounts::from_numbers((1..=100).collect()));
        Batches::new(dice, Keys::new(1, 2, "b"), items, Reply::Minimal)
    }

    /// Head and JSON body of a request, whose length must be as it says.
    fn split(request: &[u8]) -> (String, serde_json::Value) {
        let at = find(request, b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(request[..at].to_vec()).unwrap();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        assert_eq!(length, request.len() - at);
        (head, serde_json::from_slice(&request[at..]).unwrap())
    }

    fn answer(body: &str) -> Answer<'_> {
        Answer { status: 200, head: b"", body: body.as_bytes() }
    }

    #[test]
    fn no_key_is_used_twice() {
        let mut singles = Singles::new(batches(Shape::Spread, 1).dice, Keys::new(1, 2, "s"));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let mut out = Vec::new();
            assert_eq!(singles.write_request(&mut out), 1);
            let (head, _) = split(&out);
            assert!(seen.insert(head), "a key came twice");
        }
    }

    #[test]
    fn as_many_holds_are_settled_as_are_made_and_each_only_once() {
        let mut batches = batches(Shape::Holds, 130);
        let (mut open, mut next_id) = (std::collections::BTreeSet::new(), 1u64);
        for round in 0..20 {
            let mut out = Vec::new();
            let new = batches.write_request(&mut out);
            let (head, body) = split(&out);
            assert!(head.contains("prefer: return=minimal\r\n"));
            let items = body["transfers"].as_array().unwrap();
            assert_eq!(items.len(), 130);
            assert_eq!(new, if round == 0 { 130 } else { 100 });
            for (place, item) in items.iter().enumerate() {
                if let Some(hold) = item["transfer"].as_str() {
                    assert!(open.remove(hold), "{hold} is no open hold");
                } else if item["pending"] == true {
                    open.insert(crate::domain::ids::format_id(IdKind::Transfer, next_id + place as u64));
                }
            }
            let first = crate::domain::ids::format_id(IdKind::Transfer, next_id);
            let body = format!(r#"{{"object":"batch","posted":130,"rejected":0,"first_id":"{first}"}}"#);
            assert_eq!(batches.take_answer(&answer(&body), new), Some(new));
            next_id += 130;
        }
        assert!(open.len() <= 40, "{} holds were left", open.len());
    }

    #[test]
    fn a_batch_with_a_refusal_is_not_counted_as_work() {
        let mut batches = batches(Shape::Spread, 10);
        for body in [
            r#"{"posted":9,"rejected":1,"first_id":"tr_0000000000001"}"#,
            r#"{"posted":9,"rejected":0,"first_id":"tr_0000000000001"}"#,
            r#"{"posted":10,"rejected":0}"#,
            "",
        ] {
            assert_eq!(batches.take_answer(&answer(body), 10), None, "{body}");
        }
        assert_eq!(
            batches.take_answer(&answer(r#"{"posted":10,"rejected":0,"first_id":"tr_0000000000001"}"#), 10),
            Some(10)
        );
    }
}
