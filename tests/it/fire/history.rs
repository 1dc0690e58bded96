//! The linear checker of concurrent histories.
//!
//! Promise: if it is silent, then order in real time implied order of seq, and no read was older than what
//! had been acknowledged before it began, over all clients and over every restart in between. It is linear
//! after two sorts, so a history of millions of calls is checked in seconds.
//!
//! 1. Sort the calls once by their start and once by their end.
//! 2. Sweep over the starts; before each, take in all the calls that had ended by then and remember the greatest
//!    seq that anybody was shown (`revealed`), and for each account the newest acknowledged write and the
//!    greatest debits and credits that anybody was shown.
//! 3. A call that wrote must have a seq above `revealed`: the books gave it only after the call began.
//! 4. A read of an account must show at least its newest acknowledged write, and sums that never shrink.

use std::collections::HashMap;

/// One answered call.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub client: u32,
    pub key: String,
    /// Nanoseconds since the history began; one clock for all clients and restarts.
    pub start_ns: u64,
    pub end_ns: u64,
    pub status: u16,
    /// The first seq that the call wrote; `None` for reads, refusals and replays.
    pub wrote: Option<u64>,
    /// The greatest seq that the answer revealed.
    pub as_of: u64,
    /// Accounts that the call surely moved.
    pub moved: Vec<u32>,
    /// What a read of an account was shown: account, debits and credits posted, in paise.
    pub shown: Option<(u32, u64, u64)>,
}

impl Call {
    /// One line of JSON, for a history that somebody wants to look at.
    pub fn line(&self) -> String {
        serde_json::json!({
            "client": self.client, "key": self.key, "start_ns": self.start_ns, "end_ns": self.end_ns,
            "status": self.status, "seq": self.wrote, "as_of": self.as_of, "moved": self.moved, "shown": self.shown,
        })
        .to_string()
    }
}

/// What had been answered when a call began.
#[derive(Debug, Default)]
pub struct Known {
    /// The greatest seq that anybody was shown.
    pub revealed: u64,
    newest: HashMap<u32, u64>,
    sums: HashMap<u32, (u64, u64)>,
}

impl Known {
    fn take_in(&mut self, call: &Call) {
        self.revealed = self.revealed.max(call.as_of).max(call.wrote.unwrap_or(0));
        for account in call.wrote.iter().flat_map(|_| &call.moved) {
            let newest = self.newest.entry(*account).or_default();
            *newest = (*newest).max(call.wrote.unwrap_or(0));
        }
        if let Some((account, debits, credits)) = call.shown {
            let sums = self.sums.entry(account).or_default();
            *sums = (sums.0.max(debits), sums.1.max(credits));
        }
    }

    fn check(&self, call: &Call) -> Result<(), String> {
        if let Some(seq) = call.wrote
            && seq <= self.revealed
        {
            return Err(format!("wrote seq {seq} after seq {} had been shown: {}", self.revealed, call.line()));
        }
        let Some((account, debits, credits)) = call.shown else { return Ok(()) };
        let newest = self.newest.get(&account).copied().unwrap_or(0);
        if call.as_of < newest {
            return Err(format!("read account {account} without its acknowledged seq {newest}: {}", call.line()));
        }
        let sums = self.sums.get(&account).copied().unwrap_or_default();
        if debits < sums.0 || credits < sums.1 {
            return Err(format!("account {account} had shown {sums:?} before: {}", call.line()));
        }
        Ok(())
    }
}

/// Checks a history that goes on from `known` and adds it to that.
///
/// # Errors
/// The first call that contradicts what had been answered before it began.
pub fn check(known: &mut Known, calls: &[Call]) -> Result<(), String> {
    let mut by_start: Vec<&Call> = calls.iter().collect();
    let mut by_end = by_start.clone();
    by_start.sort_by_key(|call| call.start_ns);
    by_end.sort_by_key(|call| call.end_ns);
    let mut ended = by_end.into_iter().peekable();
    let mut found = Ok(());
    for call in by_start {
        while let Some(before) = ended.next_if(|before| before.end_ns < call.start_ns) {
            known.take_in(before);
        }
        if found.is_ok() {
            found = known.check(call);
        }
    }
    ended.for_each(|call| known.take_in(call));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(start_ns: u64, end_ns: u64, wrote: Option<u64>, as_of: u64) -> Call {
        Call { start_ns, end_ns, wrote, as_of, moved: vec![1], ..Call::default() }
    }

    fn read(start_ns: u64, end_ns: u64, as_of: u64, debits: u64) -> Call {
        Call { shown: Some((1, debits, 0)), ..call(start_ns, end_ns, None, as_of) }
    }

    #[test]
    fn the_checker_refuses_what_real_time_forbids() {
        let table: [(&str, Vec<Call>, bool); 8] = [
            ("in order", vec![call(0, 1, Some(1), 1), call(2, 3, Some(2), 2)], true),
            ("overlapping calls may be in any order", vec![call(0, 5, Some(2), 2), call(2, 3, Some(1), 1)], true),
            ("later call, smaller seq", vec![call(0, 1, Some(2), 2), call(2, 3, Some(1), 1)], false),
            ("one seq twice", vec![call(0, 1, Some(2), 2), call(2, 3, Some(2), 2)], false),
            ("a seq that a read had shown", vec![read(0, 1, 9, 0), call(2, 3, Some(9), 9)], false),
            ("a stale read", vec![call(0, 1, Some(4), 4), read(2, 3, 3, 0)], false),
            ("a read of the write", vec![call(0, 1, Some(4), 4), read(2, 3, 4, 5)], true),
            ("sums shrink", vec![read(0, 1, 3, 10), read(2, 3, 4, 9)], false),
        ];
        for (name, calls, is_sound) in table {
            assert_eq!(check(&mut Known::default(), &calls).is_ok(), is_sound, "{name}");
        }
    }

    #[test]
    fn what_was_known_binds_the_next_history() {
        let mut known = Known::default();
        check(&mut known, &[call(0, 1, Some(7), 7)]).unwrap();
        assert!(check(&mut known, &[call(5, 6, Some(7), 7)]).is_err());
        assert_eq!(known.revealed, 7);
    }
}
