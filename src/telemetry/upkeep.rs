//! The thread behind the measurements: it gathers every second and looks at the alert rules every ten.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Telemetry;
use super::alerts::{Alerts, EVALUATE_EVERY_S};
use super::families::Reading;

/// How often the threads' records are gathered: the slowest of each second are seen.
const GATHER_EVERY: Duration = Duration::from_secs(1);

/// Says what others know: the state of the books, of caches, of connections.
pub trait Source: Send + Sync + fmt::Debug {
    /// Their readings now.
    fn readings(&self) -> Vec<Reading>;
}

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Upkeep {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts it.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(
        telemetry: Arc<Telemetry>,
        source: Arc<dyn Source>,
        alerts: Arc<Mutex<Alerts>>,
    ) -> std::io::Result<Upkeep> {
        let (stop, stopped) = channel();
        let run = move || {
            let started = Instant::now();
            let mut evaluated_s = 0;
            while stopped.recv_timeout(GATHER_EVERY) == Err(RecvTimeoutError::Timeout) {
                telemetry.gather();
                let now_s = started.elapsed().as_secs();
                if now_s >= evaluated_s + EVALUATE_EVERY_S {
                    evaluated_s = now_s;
                    let mut readings = telemetry.readings();
                    readings.extend(source.readings());
                    alerts.lock().evaluate(now_s, &readings);
                }
            }
        };
        let thread = std::thread::Builder::new().name("telemetry".into()).spawn(run)?;
        Ok(Upkeep { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was told by the panic hook; there is nothing to add.
            let _ = thread.join();
        }
    }
}
