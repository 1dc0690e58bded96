//! The threads that serve connections: a runtime each, and one more for what is nobody's connection.
//!
//! A connection stays on the thread that it was given to. One runtime whose threads take work from each other was
//! measured beside it: its queues hold 256 tasks, and what does not fit goes behind everybody else's, so that of 5,000
//! connections some waited three times as long as others (docs/benchmarks.md, "A runtime a core").

use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// Threads for reads that wait for the disk, of each thread that serves: more only take turns there.
const BLOCKING_THREADS: usize = 8;

/// A thread that serves has two queues: of tasks that its own sockets woke, and of tasks that others did, the journal's
/// writer above all. They are taken in turn, so that neither requests nor answers wait for all of the other kind.
const OTHERS_EVERY: u32 = 2;

/// How long tasks that are left may take to end.
const END_TIME: Duration = Duration::from_secs(5);

/// One thread that serves.
#[derive(Debug)]
struct Serving {
    handle: Handle,
    /// Dropped, it lets the thread end.
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// All of them.
#[derive(Debug)]
pub struct Runtimes {
    main: Runtime,
    serving: Vec<Serving>,
}

impl Runtimes {
    /// Starts so many threads that serve.
    ///
    /// # Errors
    /// No thread, or no poller for it.
    pub fn start(workers: usize) -> std::io::Result<Runtimes> {
        let main = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let serving = (0..workers).map(Serving::start).collect::<std::io::Result<_>>()?;
        Ok(Runtimes { main, serving })
    }

    /// For what is nobody's connection: accepting, signals, files that are watched.
    pub fn main(&self) -> &Runtime {
        &self.main
    }

    /// For connections, in turn.
    pub fn handles(&self) -> Vec<Handle> {
        self.serving.iter().map(|serving| serving.handle.clone()).collect()
    }

    /// Ends them; what still runs is given a moment.
    pub fn end(self) {
        let mut threads = Vec::new();
        for Serving { stop, thread, .. } in self.serving {
            drop(stop);
            threads.push(thread);
        }
        self.main.shutdown_timeout(END_TIME);
        for thread in threads {
            // A panic was told by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}

impl Serving {
    fn start(number: usize) -> std::io::Result<Serving> {
        let runtime = Builder::new_current_thread()
            .global_queue_interval(OTHERS_EVERY)
            .max_blocking_threads(BLOCKING_THREADS)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // Nothing is ever sent: it is dropped.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(END_TIME);
        };
        let thread = std::thread::Builder::new().name(format!("serve-{number}")).spawn(run)?;
        Ok(Serving { handle, stop, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_run_on_the_thread_that_they_were_given_to_and_end_with_it() {
        let runtimes = Runtimes::start(2).unwrap();
        let names = runtimes.handles().into_iter().map(|handle| {
            let name = async { std::thread::current().name().map(str::to_owned) };
            runtimes.main().block_on(handle.spawn(name)).unwrap().unwrap()
        });
        assert_eq!(names.collect::<Vec<_>>(), ["serve-0", "serve-1"]);
        let (held, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        runtimes.handles()[1].spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        runtimes.end();
        assert_eq!(gone.try_recv(), Err(tokio::sync::mpsc::error::TryRecvError::Disconnected));
    }
}
