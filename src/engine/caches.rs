//! What the caches do, counted: hits, misses, what left, what is in them. moka counts none of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moka::notification::RemovalCause;

use super::Core;

/// Counts of one cache.
#[derive(Debug, Default)]
pub struct Counter {
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
}

impl Counter {
    /// Counts a look-up.
    pub(super) fn count(&self, hit: bool) {
        if hit { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
    }

    /// (hits, misses) since the start.
    #[must_use]
    pub fn read(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// Entries that left for want of space or use.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Told by the cache when an entry leaves. What was replaced by the same has not left.
    pub(super) fn listener<K, V>(&self) -> impl Fn(Arc<K>, V, RemovalCause) + Send + Sync + 'static {
        let evictions = Arc::clone(&self.evictions);
        move |_, _, cause| {
            if cause.was_evicted() {
                evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// One cache now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheState {
    /// Its name.
    pub name: &'static str,
    /// Look-ups that it answered since the start.
    pub hits: u64,
    /// Look-ups that it did not.
    pub misses: u64,
    /// Entries that left for want of space or use.
    pub evictions: u64,
    /// Entries in it, roughly.
    pub entries: u64,
    /// Bytes in it, roughly.
    pub weight_bytes: u64,
    /// Bytes that it may hold.
    pub capacity_bytes: u64,
}

impl Core {
    /// All caches: of blocks, of account texts, of the store's key chunks.
    #[must_use]
    pub fn cache_states(&self) -> [CacheState; 3] {
        let [blocks, texts] = self.history.cache_states();
        let chunks = self.store.chunk_cache_state();
        let key_chunks = CacheState {
            name: "key_chunks",
            hits: chunks.hits,
            misses: chunks.misses,
            evictions: chunks.evictions,
            entries: chunks.entries,
            weight_bytes: chunks.weight_bytes,
            capacity_bytes: chunks.capacity_bytes,
        };
        [blocks, texts, key_chunks]
    }
}
