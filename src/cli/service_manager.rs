//! What the service manager (systemd) is told: ready, stopping, alive, still at it.
//!
//! Promise: nothing of this is needed; without a manager nobody is told and nothing fails. A server
//! whose disk hangs is not alive: the watchdog is fed only while everything appended becomes durable, and while every
//! thread that serves still takes tasks. A manager that does not read holds up nobody but the thread that tells it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Handle;

use crate::engine::Engine;

/// How often a recovery that takes long says so, and what it asks for each time.
const EXTEND_EVERY: Duration = Duration::from_secs(5);
const EXTEND_BY: Duration = Duration::from_secs(30);

/// News that may wait for the manager to read; more are dropped.
const NEWS_WAITING_MAX: usize = 16;

/// What a manager is told.
#[derive(Debug)]
enum News {
    Ready(String),
    Stopping,
    MoreTime(&'static str),
    Alive,
}

/// The way to the thread that tells; none where there is no manager.
static TELLER: LazyLock<Option<SyncSender<News>>> = LazyLock::new(|| {
    std::env::var_os("NOTIFY_SOCKET")?;
    let (sender, news) = sync_channel::<News>(NEWS_WAITING_MAX);
    let tell = move || news.iter().for_each(News::send);
    let started = std::thread::Builder::new().name("notify".into()).spawn(tell);
    started.inspect_err(|error| tracing::warn!(%error, "the service manager is told nothing")).ok()?;
    Some(sender)
});

/// The server takes requests.
pub fn ready(urls: &[String]) {
    tell(News::Ready(format!("serving {}", urls.join(", "))));
}

/// The server finishes what it has.
pub fn stopping() {
    tell(News::Stopping);
}

/// Asks for more time, again and again, until it is dropped with the task: for opening and closing books.
pub async fn ask_for_time(doing: &'static str) {
    loop {
        tell(News::MoreTime(doing));
        tokio::time::sleep(EXTEND_EVERY).await;
    }
}

/// Feeds the watchdog at twice the pace that it wants, while the engine makes progress and each of the threads that
/// `serving` names runs a task that it is given. Returns at once where there is no watchdog.
pub async fn feed_watchdog(engine: Arc<Engine>, serving: Vec<Handle>) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut progress = Progress::default();
    loop {
        let status = engine.status();
        // Books that refuse (a full disk, a failed journal) still answer reads, and a restart would not mend them.
        let seen =
            Seen { appended: status.appended_seq.0, durable: status.durable_seq.0, refuses: status.trouble.is_some() };
        let made = progress.is_made(seen);
        if !made {
            tracing::error!(seq = seen.durable, "nothing has become durable since the last look: the disk hangs");
        }
        let all_run = tokio::time::timeout(within / 4, all_run(&serving)).await.is_ok();
        if !all_run {
            tracing::error!("a thread that serves runs nothing that it is given: it hangs");
        }
        if made && all_run {
            tell(News::Alive);
        }
        tokio::time::sleep(within / 2).await;
    }
}

/// Waits until each has run a task.
async fn all_run(serving: &[Handle]) {
    for thread in serving {
        // One that panics has run, too; the panic hook has told of it.
        let _ = thread.spawn(std::future::ready(())).await;
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

fn tell(news: News) {
    if let Some(teller) = &*TELLER
        && teller.try_send(news).is_err()
    {
        tracing::debug!("the service manager does not read what it is told");
    }
}

impl News {
    /// Waits while the manager's socket is full.
    fn send(self) {
        let said = match self {
            News::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&status)]),
            News::Stopping => {
                sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("finishing requests in flight")])
            }
            News::MoreTime(doing) => {
                let micros = u32::try_from(EXTEND_BY.as_micros()).expect("half a minute");
                sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status(doing)])
            }
            News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        };
        if let Err(error) = said {
            tracing::debug!(%error, "could not tell the service manager");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_thread_that_hangs_is_seen() {
        let hanging = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let well = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let (release, held) = std::sync::mpsc::channel::<()>();
        hanging.spawn(async move { held.recv() });
        let looks = [well.handle().clone(), hanging.handle().clone()];
        let look = async { tokio::time::timeout(Duration::from_millis(20), all_run(&looks)).await };
        assert!(well.block_on(look).is_err());
        drop(release);
        well.block_on(all_run(&looks));
    }

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
