//! Checks what concurrent clients recorded against what the books hold afterwards, in one pass.
//!
//! A history is lines of JSON: `{"client":1,"op":"post","key":"k1","start_ns":5,"end_ns":9,"status":"ok","seq":12}`.
//! `status` is `ok` (acknowledged), `unknown` (no answer, or one that says so: it may have been done
//! or not), `no` (refused without effect), or `read` (`seq` is the greatest that was revealed).
//! Several lines with one key are tries of one command.
//!
//! 1. Every acknowledged key is there once, with the seq that was answered; every try of it answered the same.
//! 2. A key of unknown outcome is there at most once; a refused one not at all, and nothing else is.
//! 3. Order in real time implies order of seq: sweep over the acknowledgements in order of time.
//! 4. Nothing revealed lies behind the journal's end.

use std::collections::BTreeMap;

/// One line.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Event {
    pub client: u64,
    pub op: String,
    pub key: String,
    pub start_ns: u64,
    pub end_ns: u64,
    pub status: String,
    pub seq: Option<u64>,
}

/// A history that holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub acknowledged: u64,
    pub found_unknown: u64,
    pub lost_unknown: u64,
    pub reads: u64,
}

/// All tries of one command.
#[derive(Clone, Copy, Debug)]
struct Command {
    start: u64,
    /// When it was first acknowledged.
    end: u64,
    seq: Option<u64>,
    may_be: bool,
}

/// Reads a history.
///
/// # Errors
/// The line that is none.
pub fn parse(lines: &str) -> Result<Vec<Event>, String> {
    let line =
        |(at, line): (usize, &str)| serde_json::from_str(line).map_err(|error| format!("line {}: {error}", at + 1));
    lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
}

/// Checks a history. `present`: the seqs at which the books hold each key; `last_seq`: their end.
///
/// # Errors
/// What does not hold, with the events concerned.
pub fn check(events: &[Event], present: &BTreeMap<String, Vec<u64>>, last_seq: u64) -> Result<Checked, String> {
    let mut commands: BTreeMap<&str, Command> = BTreeMap::new();
    let mut checked = Checked::default();
    for event in events {
        let who = || format!("client {} {} key {:?}", event.client, event.op, event.key);
        if event.end_ns < event.start_ns {
            return Err(format!("{}: ends before it starts", who()));
        }
        if event.seq.is_some_and(|seq| seq > last_seq) && matches!(event.status.as_str(), "ok" | "read") {
            return Err(format!("{}: revealed seq={:?}, the journal ends at {last_seq}", who(), event.seq));
        }
        if event.status == "read" {
            checked.reads += 1;
            continue;
        }
        let new = Command { start: event.start_ns, end: u64::MAX, seq: None, may_be: false };
        let command = commands.entry(&event.key).or_insert(new);
        command.start = command.start.min(event.start_ns);
        match event.status.as_str() {
            "ok" => {
                let Some(seq) = event.seq else { return Err(format!("{}: acknowledged without a seq", who())) };
                if command.seq.is_some_and(|before| before != seq) {
                    return Err(format!("{}: answered seq={seq}, before that {:?}", who(), command.seq));
                }
                command.seq = Some(seq);
                command.end = command.end.min(event.end_ns);
            }
            "unknown" => command.may_be = true,
            "no" => {}
            other => return Err(format!("{}: unknown status {other:?}", who())),
        }
    }
    for (key, command) in &commands {
        let found = present.get(*key).map_or(&[][..], Vec::as_slice);
        match (command.seq, found) {
            (Some(seq), [one]) if *one == seq => checked.acknowledged += 1,
            (Some(seq), _) => {
                return Err(format!("key {key:?} was acknowledged at seq={seq}, the books have it at {found:?}"));
            }
            (None, [_]) if command.may_be => checked.found_unknown += 1,
            (None, []) if command.may_be => checked.lost_unknown += 1,
            (None, []) => {}
            (None, _) => return Err(format!("key {key:?} was not acknowledged, the books have it at {found:?}")),
        }
    }
    if let Some((key, _)) = present.iter().find(|(key, seqs)| !commands.contains_key(key.as_str()) && !seqs.is_empty())
    {
        return Err(format!("nobody sent key {key:?}, and the books have it"));
    }
    check_order(&commands)?;
    Ok(checked)
}

/// Step 3: whoever starts after another's acknowledgement has a greater seq.
fn check_order(commands: &BTreeMap<&str, Command>) -> Result<(), String> {
    let mut starts: Vec<(u64, u64, &str)> = Vec::new();
    let mut ends: Vec<(u64, u64, &str)> = Vec::new();
    for (key, command) in commands {
        let Some(seq) = command.seq else { continue };
        starts.push((command.start, seq, key));
        ends.push((command.end, seq, key));
    }
    starts.sort_unstable();
    ends.sort_unstable();
    let mut newest: Option<(u64, &str)> = None;
    let mut ended = ends.iter().peekable();
    for (start, seq, key) in starts {
        while let Some((_, seq, key)) = ended.next_if(|(end, ..)| *end < start) {
            newest = newest.max(Some((*seq, key)));
        }
        if let Some((before, other)) = newest.filter(|(before, _)| *before >= seq) {
            return Err(format!(
                "key {key:?} began after key {other:?} was acknowledged, but has seq={seq} against {before}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(lines: &str, present: &[(&str, &[u64])], last_seq: u64) -> Result<Checked, String> {
        let present = present.iter().map(|(key, seqs)| ((*key).to_owned(), seqs.to_vec())).collect();
        check(&parse(lines).expect("lines of JSON"), &present, last_seq)
    }

    fn line(key: &str, start_ns: u64, end_ns: u64, status: &str, seq: &str) -> String {
        let text =
            format!("\"client\":1,\"op\":\"post\",\"key\":\"{key}\",\"start_ns\":{start_ns},\"end_ns\":{end_ns}");
        format!("{{{text},\"status\":\"{status}\",\"seq\":{seq}}}\n")
    }

    #[test]
    fn a_history_that_holds_is_accepted() {
        let lines = [
            line("a", 0, 10, "ok", "5"),
            line("b", 5, 12, "ok", "4"),
            line("c", 11, 20, "unknown", "null"),
            line("c", 30, 40, "ok", "6"),
            line("d", 11, 20, "unknown", "null"),
            line("e", 11, 20, "no", "null"),
            line("x", 11, 20, "read", "6"),
        ];
        let checked = verdict(&lines.concat(), &[("a", &[5]), ("b", &[4]), ("c", &[6])], 6).expect("it holds");
        assert_eq!(checked, Checked { acknowledged: 3, found_unknown: 0, lost_unknown: 1, reads: 1 });
    }

    #[test]
    fn what_does_not_hold_is_named() {
        let ok = line("a", 0, 10, "ok", "5");
        let lost = verdict(&ok, &[], 6).expect_err("lost");
        assert!(lost.contains("\"a\" was acknowledged"), "{lost}");
        assert!(verdict(&ok, &[("a", &[5, 6])], 6).is_err(), "twice");
        assert!(verdict(&ok, &[("a", &[4])], 6).is_err(), "another seq");
        assert!(verdict(&ok, &[("a", &[5]), ("b", &[6])], 6).is_err(), "invented");
        assert!(verdict(&ok, &[("a", &[5])], 4).is_err(), "revealed and undone");
        assert!(verdict(&line("a", 0, 1, "no", "null"), &[("a", &[5])], 6).is_err(), "refused, but there");
        let twice = ok.clone() + &line("a", 20, 30, "ok", "6");
        assert!(verdict(&twice, &[("a", &[5])], 6).is_err(), "two answers");
        let order = ok + &line("b", 11, 12, "ok", "4");
        let order = verdict(&order, &[("a", &[5]), ("b", &[4])], 6).expect_err("order");
        assert!(order.contains("began after"), "{order}");
    }
}
