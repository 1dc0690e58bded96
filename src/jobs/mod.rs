//! Work after the answer.

pub mod alerts;
pub mod births;
pub mod documents;
pub mod kinds;
pub mod outbound;
pub mod papers;
pub mod post;
pub mod queue;
pub mod schedules;
pub mod sync;
pub mod templates;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use outbound::dispatch::Outbound;
use queue::Queue;
use sync::Syncs;
use webhooks::Webhooks;

/// How long jobs that run may take to end when the process does.
const DRAIN_PATIENCE: Duration = Duration::from_secs(5);

/// All that works after the answer, in one process.
#[derive(Clone)]
pub struct Jobs {
    /// Calls to others.
    pub outbound: Arc<Outbound>,
    /// Events for endpoints.
    pub webhooks: Arc<Webhooks>,
    /// Events for peers.
    pub syncs: Arc<Syncs>,
    /// What is to be done.
    pub queue: Arc<Queue>,
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl Jobs {
    /// Ends what runs; what is on its way is done again by the next process.
    pub fn close(&self) {
        self.queue.drain(DRAIN_PATIENCE);
        self.webhooks.close();
        self.syncs.close();
    }
}
