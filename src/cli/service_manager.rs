//! What the service manager (systemd) is told: ready, stopping, alive, still at it.
//!
//! Promise: nothing of this is needed; without a manager nobody is told and nothing fails. A server
//! whose disk hangs is not alive: the watchdog is fed only while everything appended becomes durable.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::engine::Engine;

/// How often a recovery that takes long says so, and what it asks for each time.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTEND_BY: Duration = Duration::from_secs(30);

/// The server takes requests.
pub fn ready(urls: &[String]) {
    let status = format!("serving {}", urls.join(", "));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The server finishes what it has.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing requests in flight")]);
}

/// Asks for more time, again and again, until it is dropped with the task: for opening and closing books.
pub async fn ask_for_time(doing: &'static str) {
    let micros = u32::try_from(EXTEND_BY.as_micros()).expect("half a minute");
    loop {
        tell(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(doing)]);
        tokio::time::sleep(EXTEND_EVERY).await;
    }
}

/// Feeds the watchdog at twice the pace that it wants, while the engine makes progress. Runs on the
/// threads that serve: when they hang, nothing is fed either. Returns at once where there is no watchdog.
pub async fn feed_watchdog(engine: Arc<Engine>) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut progress = Progress::default();
    loop {
        let status = engine.status();
        // Books that refuse (a full disk, a failed journal) still answer reads, and a restart would not mend them.
        let seen =
            Seen { appended: status.appended_seq.0, durable: status.durable_seq.0, refuses: status.trouble.is_some() };
        if progress.is_made(seen) {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(seq = seen.durable, "nothing has become durable since the last look: the disk hangs");
        }
        tokio::time::sleep(within / 2).await;
    }
}

/// What the writer has done.
#[derive(Clone, Copy, Debug)]
struct Seen {
    appended: u64,
    durable: u64,
    refuses: bool,
}

/// Whether what was waiting at the last look has been written since.
#[derive(Debug, Default)]
struct Progress {
    appended: u64,
}

impl Progress {
    fn is_made(&mut self, seen: Seen) -> bool {
        let waited_for = std::mem::replace(&mut self.appended, seen.appended);
        seen.refuses || seen.durable >= waited_for
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "could not tell the service manager");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_stands_still_with_work_before_it_makes_no_progress() {
        let mut progress = Progress::default();
        let mut look = |appended, durable, refuses| progress.is_made(Seen { appended, durable, refuses });
        assert!(look(10, 5, false), "what was appended just now may take its time");
        assert!(!look(12, 5, false), "but not until the next look");
        assert!(look(20, 12, false));
        assert!(look(20, 20, false) && look(20, 20, false), "idle is fine");
        assert!(look(30, 20, false));
        assert!(look(30, 20, true), "a journal that refuses is not mended by a restart");
    }
}
