//! The clock: is it set, does it stay set, and does it agree with the books?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::folder::{FolderError, open_to_look};
use super::{Finding, Subject, syscalls};

const WHY_SET: &str = "every transfer carries the moment and the business date that this clock gives it";
const WHY_RTC: &str = "after a power cut without network the box starts with this clock's time";
const WHY_BOOKS: &str =
    "moments never go back: a clock behind the books stands still, one far ahead of them is not believed";

/// 2026-01-01, seconds since 1970: no book of ours is older than the program.
const PLAUSIBLE_FROM_S: u64 = 1_767_225_600;
/// 2100-01-01.
const PLAUSIBLE_TO_S: u64 = 4_102_444_800;

/// The hardware clock may run off by so much between two corrections, seconds.
const RTC_OFF_S_MAX: u64 = 120;

/// A journal this far ahead of the clock is noise between two threads, not a clock set back.
const AHEAD_OK: Duration = Duration::from_secs(2);
/// Beyond this the business day may be wrong.
const AHEAD_BAD: Duration = Duration::from_mins(5);

pub(super) fn check(subject: &Subject<'_>) -> Vec<Finding> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut findings = vec![date(now.as_secs()), synchronised(), rtc(subject, now.as_secs())];
    findings.extend(books(subject));
    findings
}

fn date(now_s: u64) -> Finding {
    let shown = jiff::Timestamp::from_second(now_s as i64).map_or_else(|_| now_s.to_string(), |time| time.to_string());
    if (PLAUSIBLE_FROM_S..PLAUSIBLE_TO_S).contains(&now_s) {
        return Finding::ok("clock.date", WHY_SET, format!("it is {shown}"));
    }
    let todo = "set the clock before the server starts: `timedatectl set-time 'YYYY-MM-DD HH:MM:SS'`";
    Finding::bad("clock.date", WHY_SET, format!("the clock says {shown}, which cannot be"), todo)
}

fn synchronised() -> Finding {
    let check = "clock.synchronised";
    let todo = "enable a time service: `timedatectl set-ntp true`, or install chrony; `timedatectl` shows the state";
    match syscalls::kernel_clock() {
        Ok(clock) if clock.is_synchronised => {
            let error_ms = clock.error_us_max as f64 / 1000.0;
            Finding::ok(check, WHY_SET, format!("a time service keeps the clock, at most {error_ms:.1} ms off"))
        }
        Ok(_) => Finding::warn(check, WHY_SET, "nothing keeps the clock synchronised", todo),
        Err(error) => Finding::warn(check, WHY_SET, format!("the kernel did not say: {error}"), todo),
    }
}

fn rtc(subject: &Subject<'_>, now_s: u64) -> Finding {
    let check = "clock.hardware";
    let Some(rtc_s) = subject.machine.sys("class/rtc/rtc0/since_epoch").and_then(|text| text.parse::<u64>().ok())
    else {
        let todo = "fit a clock module with a battery, or let no server start before the time service has the time: \
                    `systemctl enable systemd-time-wait-sync`";
        return Finding::warn(check, WHY_RTC, "there is no hardware clock", todo);
    };
    let off = rtc_s.abs_diff(now_s);
    if off <= RTC_OFF_S_MAX {
        return Finding::ok(check, WHY_RTC, format!("the hardware clock is {off} s off"));
    }
    let todo = "write the right time to it: `hwclock --systohc`; if it is lost again, change its battery";
    Finding::warn(check, WHY_RTC, format!("the hardware clock is {off} s off"), todo)
}

/// Opens the books to look, where nobody holds them: what comes of it says more than any file's date.
fn books(subject: &Subject<'_>) -> Vec<Finding> {
    if !subject.data.join("LOCK").exists() {
        return Vec::new();
    }
    let opened = open_to_look(&subject.data);
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match opened {
        Ok(parts) => {
            let clock = parts.core.clock();
            let ahead = Duration::from_micros(clock.now().0.max(0) as u64).saturating_sub(wall);
            vec![open_books(parts.report.rebuilt_store), against_books(ahead, clock.is_suspect())]
        }
        // The server looks after its own clock while it runs; where there are no books there is none to compare with.
        Err(FolderError::Held(_) | FolderError::NoBooks(_)) => Vec::new(),
        Err(error) => {
            let mut what = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                what = format!("{what}: {cause}");
                source = cause.source();
            }
            let todo = "do not start the server; see `docs/runbook.md`, \"A damaged journal segment\"";
            vec![Finding::bad("books.open", "the server refuses to start on books that it cannot read", what, todo)]
        }
    }
}

fn open_books(is_store_rebuilt: bool) -> Finding {
    let why = "a damaged store costs a longer start, never data: the journal has everything";
    if is_store_rebuilt {
        let todo = "nothing: the next start rebuilds it; if it happens again, check the disk";
        return Finding::warn("books.open", why, "the journal opens; store.redb does not and would be rebuilt", todo);
    }
    Finding::ok("books.open", why, "journal and store open")
}

fn against_books(ahead: Duration, is_suspect: bool) -> Finding {
    let check = "clock.books";
    let seconds = ahead.as_secs();
    if is_suspect {
        let todo = "set the clock if it is wrong; if it is right, start the server and run `munim clock accept`";
        return Finding::warn(check, WHY_BOOKS, "the newest record is more than seven days older than the clock", todo);
    }
    let what = format!("the newest record is {seconds} s ahead of the clock");
    let todo = "the clock was set back: correct it (`timedatectl`), then start the server";
    match ahead {
        _ if ahead <= AHEAD_OK => Finding::ok(check, WHY_BOOKS, "the newest record is not in the future"),
        _ if ahead <= AHEAD_BAD => Finding::warn(check, WHY_BOOKS, what, todo),
        _ => Finding::bad(check, WHY_BOOKS, what, todo),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Bad, Ok as Well, Warn};
    use super::*;

    #[test]
    fn a_clock_outside_the_programs_life_is_bad() {
        for (now_s, verdict) in [(0, Bad), (PLAUSIBLE_FROM_S - 1, Bad), (PLAUSIBLE_FROM_S, Well), (PLAUSIBLE_TO_S, Bad)]
        {
            assert_eq!(date(now_s).verdict, verdict, "{now_s}");
        }
    }

    #[test]
    fn books_ahead_of_the_clock_are_told_by_how_much() {
        for (ahead_s, is_suspect, verdict) in
            [(0, false, Well), (2, false, Well), (3, false, Warn), (301, false, Bad), (0, true, Warn)]
        {
            assert_eq!(against_books(Duration::from_secs(ahead_s), is_suspect).verdict, verdict, "{ahead_s}");
        }
    }
}
