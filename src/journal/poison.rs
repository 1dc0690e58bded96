//! The state that refuses: open, full, poisoned.
//!
//! Promise: once poisoned, a journal never becomes open again in this process. A writer that
//! panics poisons on its way out, so that nobody waits for a thread that is gone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the journal takes records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalState {
    /// It does.
    Open,
    /// There is no space for the next segment; it will by itself once there is.
    Full,
    /// A write or sync failed. What was in flight has an unknown outcome; only a restart helps.
    Poisoned {
        /// What failed, for the operator.
        cause: String,
    },
}

impl std::fmt::Display for JournalState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JournalState::Open => f.write_str("open"),
            JournalState::Full => f.write_str("no space for the next journal segment"),
            JournalState::Poisoned { cause } => f.write_str(cause),
        }
    }
}

/// Why no record may begin now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Poisoned, or closing.
    #[error("the journal takes no records until a restart")]
    Unavailable,
    /// No space for the next segment.
    #[error("no space for the next journal segment")]
    Full,
    /// More waits for the disk than memory should hold.
    #[error("too much waits for the disk")]
    Busy,
}

const OPEN: u8 = 0;
const FULL: u8 = 1;
const POISONED: u8 = 2;

/// The state and its cause.
#[derive(Debug, Default)]
pub(super) struct Poison {
    state: AtomicU8,
    /// Guards the text only; std because it is touched once in a lifetime.
    cause: Mutex<String>,
}

impl Poison {
    /// Sets the first cause; later ones are consequences. True when this was the first.
    pub(super) fn poison(&self, cause: &str) -> bool {
        let mut text = self.cause.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.state.load(Ordering::Acquire) == POISONED {
            return false;
        }
        cause.clone_into(&mut text);
        self.state.store(POISONED, Ordering::Release);
        true
    }

    /// Notes whether space is missing. A poisoned journal stays poisoned.
    pub(super) fn set_full(&self, is_full: bool) {
        let (from, to) = if is_full { (OPEN, FULL) } else { (FULL, OPEN) };
        // Failure means that the state is already so, or poisoned: both are right.
        let _ = self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
    }

    #[inline]
    pub(super) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Acquire) == POISONED
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.state.load(Ordering::Acquire) == FULL
    }

    pub(super) fn state(&self) -> JournalState {
        match self.state.load(Ordering::Acquire) {
            OPEN => JournalState::Open,
            FULL => JournalState::Full,
            _ => {
                let cause = self.cause.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
                JournalState::Poisoned { cause }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisoned_journal_never_opens_again_and_keeps_its_first_cause() {
        let poison = Poison::default();
        poison.set_full(true);
        assert_eq!(poison.state(), JournalState::Full);
        assert!(poison.poison("sync failed"));
        assert!(!poison.poison("writer gone"));
        poison.set_full(false);
        assert_eq!(poison.state(), JournalState::Poisoned { cause: "sync failed".into() });
    }
}
