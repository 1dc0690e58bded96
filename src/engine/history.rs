//! Reading what was written: single entries, whole records, and the walk along an account's chain.
//!
//! The journal is the history; there is no index per transfer. A seq leads to its block, the block
//! comes from the cache or is read and verified once, and an account's chain leads from entry to
//! entry backwards.
//!
//! Promise: what is read here is durable; callers wait for the watermark first. A read that would
//! touch the disk says so ([`ReadError::NotCached`]) when asked to stay in memory, and one that would
//! walk far says [`ReadError::TooFar`], so that no async worker ever waits for a disk or walks for long.

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::config::{BLOCK_CACHE_IDLE_S, TEXT_CACHE_IDLE_S};
use crate::domain::account::Side;
use crate::domain::entry::{AccountCold, Entry, TransferEntry};
use crate::domain::ids::{AccountNo, Moment, Seq};
use crate::domain::time::Day;
use crate::journal::{Block, Journal, NotInMemory, RunHead};

use super::caches::{CacheState, Counter};
use super::past::Posted;
use super::view::Unavailable;

/// Why history could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// The block is not in memory and the caller asked to stay there.
    NotCached,
    /// The walk takes longer than its [`Reach`] allows.
    TooFar,
    /// The cursor names no place of what is read.
    NoSuchPlace,
    /// A checkpoint moved rows from memory to the store meanwhile: begin again.
    Moved,
    /// The store says no.
    Store(String),
    /// The disk or a hash says no.
    Unreadable(String),
}

impl From<ReadError> for Unavailable {
    fn from(error: ReadError) -> Unavailable {
        match error {
            ReadError::NoSuchPlace => Unavailable::NoSuchPlace,
            ReadError::NotCached | ReadError::TooFar | ReadError::Moved => {
                Unavailable::HistoryUnreadable("a read kept missing what moved".into())
            }
            ReadError::Store(cause) => Unavailable::StoreUnreadable(cause),
            ReadError::Unreadable(cause) => Unavailable::HistoryUnreadable(cause),
        }
    }
}

/// May a read touch the disk, and how far may it walk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only what is in memory, and a few hundred entries of it.
    Memory,
    /// The disk too; only on a thread that may wait.
    Disk,
    /// The disk, and as far as one page may look; few at once.
    Far,
}

/// The entries that one read may still look at.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    reach: Reach,
    left: usize,
}

impl Steps {
    /// As many as a reach allows.
    #[must_use]
    pub fn of(reach: Reach) -> Steps {
        let left = match reach {
            Reach::Memory => crate::config::WALK_MEMORY_MAX,
            Reach::Disk => crate::config::WALK_DISK_MAX,
            Reach::Far => crate::config::SCAN_ROWS_MAX,
        };
        Steps { reach, left }
    }

    /// One more: whether it may be looked at. `false` only where nobody may look further: what is not
    /// a list goes on then, a list ends its page.
    ///
    /// # Errors
    /// [`ReadError::TooFar`] where a thread with more reach can go on.
    pub fn take(&mut self) -> Result<bool, ReadError> {
        if self.left == 0 {
            return if self.reach == Reach::Far { Ok(false) } else { Err(ReadError::TooFar) };
        }
        self.left -= 1;
        if self.reach != Reach::Memory && self.left.is_multiple_of(1_024) {
            std::thread::yield_now();
        }
        Ok(true)
    }
}

/// An entry with its place and time.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its seq.
    pub seq: Seq,
    /// First seq of its record.
    pub record: Seq,
    /// Moment of its record.
    pub moment: Moment,
    /// Business date of its record.
    pub date: Day,
    /// The entry.
    pub entry: Entry,
}

impl Located {
    /// The transfer entry, if it is one.
    #[must_use]
    pub fn transfer(&self) -> Option<&TransferEntry> {
        match &self.entry {
            Entry::Transfer(entry) => Some(entry),
            _ => None,
        }
    }

    /// The entry before this one in an account's chain, or `None` when it does not touch the account.
    #[must_use]
    pub fn previous_of(&self, account: AccountNo) -> Option<Seq> {
        match &self.entry {
            Entry::Transfer(entry) if entry.debit == account => Some(entry.previous_debit),
            Entry::Transfer(entry) if entry.credit == account => Some(entry.previous_credit),
            Entry::AccountChanged(entry) if entry.account == account => Some(entry.previous),
            Entry::AccountOpened(entry) if entry.account == account => Some(Seq::NONE),
            _ => None,
        }
    }

    /// On which side an account stands in a transfer entry.
    #[must_use]
    pub fn side_of(&self, account: AccountNo) -> Option<(Side, &TransferEntry)> {
        let entry = self.transfer()?;
        if entry.debit == account {
            Some((Side::Debit, entry))
        } else if entry.credit == account {
            Some((Side::Credit, entry))
        } else {
            None
        }
    }
}

/// A whole record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its entries, ascending.
    pub entries: Vec<Located>,
    /// Hash of its idempotency key and the fingerprint, if it had one.
    pub key: Option<super::command::IdempotencyKey>,
    /// The request that made it.
    pub request: u64,
    /// The encoded outcome.
    pub reply: Vec<u8>,
}

/// The readable past, behind its caches.
#[derive(Debug)]
pub struct History {
    journal: Arc<Journal>,
    /// Verified blocks that were read, by first seq.
    blocks: Cache<u64, Arc<Block>>,
    /// Likewise, of those that were written and not read yet.
    newest: Cache<u64, Arc<Block>>,
    /// Texts of accounts by the seq of the entry that holds them.
    texts: Cache<u64, Arc<AccountCold>>,
    /// Where pages of statements ended: the totals recorded before an entry of an account. They never change.
    places: Cache<(AccountNo, Seq), Posted>,
    /// Of `blocks`.
    pub block_counter: Counter,
    /// Of `texts`.
    pub text_counter: Counter,
}

/// Rough bytes of a cached text beside its strings: the entry, the Arc, moka's own node.
const TEXT_OVERHEAD_BYTES: usize = 200;

/// One part in so many of the memory for blocks is for those that were written and not read yet.
const NEWEST_SHARE: u64 = 8;

impl History {
    /// Caches of so many bytes each. LRU, as the owner's card says: the newest blocks are the ones read.
    #[must_use]
    pub fn new(journal: Arc<Journal>, block_bytes: u64, text_bytes: u64) -> History {
        let (block_counter, text_counter) = (Counter::default(), Counter::default());
        let newest_bytes = block_bytes / NEWEST_SHARE;
        let cache_of = |bytes| {
            Cache::builder()
                .max_capacity(bytes)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(Duration::from_secs(BLOCK_CACHE_IDLE_S))
                .weigher(|_, block: &Arc<Block>| u32::try_from(block.bytes().len() + 128).unwrap_or(u32::MAX))
        };
        let blocks = cache_of(block_bytes - newest_bytes).eviction_listener(block_counter.listener()).build();
        let newest = cache_of(newest_bytes).build();
        let texts = Cache::builder()
            .max_capacity(text_bytes)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(Duration::from_secs(TEXT_CACHE_IDLE_S))
            .eviction_listener(text_counter.listener())
            .weigher(|_, cold: &Arc<AccountCold>| {
                let strings: usize = cold.name.as_ref().map_or(0, |name| name.len())
                    + cold.external_id.as_ref().map_or(0, |id| id.len())
                    + cold.metadata.iter().map(|(key, value)| key.len() + value.len() + 32).sum::<usize>();
                u32::try_from(strings + TEXT_OVERHEAD_BYTES).unwrap_or(u32::MAX)
            })
            .build();
        let places = Cache::builder()
            .max_capacity(crate::config::STATEMENT_PLACES_MAX)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        History { journal, blocks, newest, texts, places, block_counter, text_counter }
    }

    /// What was recorded before an entry of an account, if a page of its statement ended there lately.
    #[must_use]
    pub fn place(&self, no: AccountNo, seq: Seq) -> Option<Posted> {
        self.places.get(&(no, seq))
    }

    /// A page of a statement ended at an entry.
    pub fn remember_place(&self, no: AccountNo, seq: Seq, below: Posted) {
        self.places.insert((no, seq), below);
    }

    /// Both caches.
    #[must_use]
    pub fn cache_states(&self) -> [CacheState; 2] {
        fn state<V: Clone + Send + Sync + 'static>(
            name: &'static str,
            cache: &Cache<u64, V>,
            counter: &Counter,
        ) -> CacheState {
            let (hits, misses) = counter.read();
            CacheState {
                name,
                hits,
                misses,
                evictions: counter.evictions(),
                entries: cache.entry_count(),
                weight_bytes: cache.weighted_size(),
                capacity_bytes: cache.policy().max_capacity().unwrap_or_default(),
            }
        }
        let mut blocks = state("blocks", &self.blocks, &self.block_counter);
        blocks.entries += self.newest.entry_count();
        blocks.weight_bytes += self.newest.weighted_size();
        blocks.capacity_bytes += self.newest.policy().max_capacity().unwrap_or_default();
        [blocks, state("texts", &self.texts, &self.text_counter)]
    }

    /// Keys of what is cached: first seqs of blocks, seqs of texts.
    #[must_use]
    pub fn cached(&self) -> (Vec<u64>, Vec<u64>) {
        let newest = self.newest.iter().map(|(first, _)| *first).filter(|first| !self.blocks.contains_key(first));
        (
            self.blocks.iter().map(|(first, _)| *first).chain(newest).collect(),
            self.texts.iter().map(|(seq, _)| *seq).collect(),
        )
    }

    /// Whether the cache of blocks has no room for what is only a guess: nine tenths are in use.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.blocks.run_pending_tasks();
        let capacity = self.blocks.policy().max_capacity().unwrap_or(u64::MAX);
        self.blocks.weighted_size() >= capacity / 10 * 9
    }

    /// Reads a block ahead, if it is one and is not there; whether it did.
    pub fn warm_block(&self, first: Seq) -> bool {
        if first == Seq::NONE || first > self.journal.durable_seq() || self.cached_block(first).is_some() {
            return false;
        }
        let is_block = matches!(self.journal.locate(first), Ok(Some(place)) if place == first);
        let block = if is_block { self.journal.load(first).ok() } else { None };
        block.inspect(|block| self.blocks.insert(first.0, Arc::clone(block))).is_some()
    }

    /// Reads texts ahead, if their block is in memory; whether it did.
    pub fn warm_text(&self, cold_seq: Seq) -> bool {
        if cold_seq == Seq::NONE || cold_seq > self.journal.durable_seq() || self.texts.contains_key(&cold_seq.0) {
            return false;
        }
        let block = match self.journal.locate(cold_seq) {
            Ok(Some(first)) => self.cached_block(first),
            _ => None,
        };
        let entry = block.and_then(|block| block.entry(cold_seq).map(|(_, entry)| entry));
        let cold = match entry {
            Some(Entry::AccountOpened(entry)) => entry.cold,
            Some(Entry::AccountChanged(entry)) => entry.cold,
            _ => return false,
        };
        self.texts.insert(cold_seq.0, Arc::new(cold));
        true
    }

    /// The writer's newest blocks: most reads are of what was just written. In a cache of their own, so that a flood of
    /// transfers that nobody asks for neither fills the memory nor drives out what is read.
    pub fn remember(&self, block: &Arc<Block>) {
        self.newest.insert(block.first_seq().0, Arc::clone(block));
    }

    /// A block that is in memory. One of the newest that is read stays as long as others that are.
    fn cached_block(&self, first: Seq) -> Option<Arc<Block>> {
        if let Some(block) = self.blocks.get(&first.0) {
            return Some(block);
        }
        let block = self.newest.get(&first.0)?;
        self.blocks.insert(first.0, Arc::clone(&block));
        self.newest.invalidate(&first.0);
        Some(block)
    }

    /// The block that holds a durable seq; `None` when there is no such entry.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn block(&self, seq: Seq, reach: Reach) -> Result<Option<Arc<Block>>, ReadError> {
        self.find_block(seq, reach, |first| self.cached_block(first))
    }

    /// The same for whoever follows the books, and reads each block once: one of the newest stays among those. The
    /// queue of jobs always follows, and would fill the cache with everything that is posted.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn block_in_passing(&self, seq: Seq, reach: Reach) -> Result<Option<Arc<Block>>, ReadError> {
        self.find_block(seq, reach, |first| self.blocks.get(&first.0).or_else(|| self.newest.get(&first.0)))
    }

    fn find_block(
        &self,
        seq: Seq,
        reach: Reach,
        cached: impl FnOnce(Seq) -> Option<Arc<Block>>,
    ) -> Result<Option<Arc<Block>>, ReadError> {
        if seq == Seq::NONE || seq > self.journal.durable_seq() {
            return Ok(None);
        }
        let unreadable = |error: crate::journal::JournalError| ReadError::Unreadable(error.to_string());
        let first = match reach {
            Reach::Memory => self.journal.locate_in_memory(seq).map_err(|NotInMemory| ReadError::NotCached)?,
            Reach::Disk | Reach::Far => self.journal.locate(seq).map_err(unreadable)?,
        };
        let Some(first) = first else { return Ok(None) };
        let cached = cached(first);
        if cached.is_none() && reach == Reach::Memory {
            // Asked for again by whoever may wait for the disk, and counted then.
            return Err(ReadError::NotCached);
        }
        self.block_counter.count(cached.is_some());
        if cached.is_some() {
            return Ok(cached);
        }
        let block = self.journal.load(first).map_err(unreadable)?;
        self.blocks.insert(first.0, Arc::clone(&block));
        Ok(Some(block))
    }

    /// The entry with a durable seq.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn entry(&self, seq: Seq, reach: Reach) -> Result<Option<Located>, ReadError> {
        let Some(block) = self.block(seq, reach)? else { return Ok(None) };
        Ok(block.entry(seq).map(|(head, entry)| locate(seq, head, entry)))
    }

    /// Hash of the block with a durable entry, `None` when it is not there.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn block_hash(&self, seq: Seq, reach: Reach) -> Result<Option<[u8; 32]>, ReadError> {
        Ok(self.block(seq, reach)?.map(|block| block.hash()))
    }

    /// The newest entry up to a durable seq whose record was made by `at`; `None` when all are later.
    /// Moments rise along the journal, so that some thirty probes find it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn newest_by(&self, at: Moment, top: Seq, reach: Reach) -> Result<Option<(Seq, Day)>, ReadError> {
        let head = |seq: Seq| {
            let block = self.block(seq, reach)?;
            let found = block.and_then(|block| block.entry(seq));
            found.map(|(head, _)| head).ok_or_else(|| ReadError::Unreadable(format!("entry seq={seq} is not there")))
        };
        // Everything up to `low` is early enough, everything from `high` on is too late.
        let (mut low, mut high, mut date) = (0, top.0 + 1, Day(0));
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            let head = head(Seq(middle))?;
            if head.moment <= at {
                (low, date) = (middle, head.date);
            } else {
                // All entries of a record have one moment.
                high = head.first_seq.0.max(low + 1);
            }
        }
        Ok((low > 0).then_some((Seq(low), date)))
    }

    /// The record that begins at a seq; `None` when none does.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn record(&self, first: Seq, reach: Reach) -> Result<Option<Record>, ReadError> {
        let mut record = Record { entries: Vec::new(), key: None, request: 0, reply: Vec::new() };
        let mut next = first;
        loop {
            let Some(block) = self.block(next, reach)? else { return Ok(None) };
            let Some((head, _)) = block.entry(next) else { return Ok(None) };
            if head.first_seq != first {
                return Ok(None);
            }
            while let Some((head, entry)) = block.entry(next).filter(|(head, _)| head.first_seq == first) {
                record.entries.push(locate(next, head, entry));
                next = next.next();
            }
            if let Some(trailer) = block.trailer_of(first) {
                record.key = trailer
                    .key
                    .map(|mark| super::command::IdempotencyKey { hash: mark.hash, fingerprint: mark.fingerprint });
                record.request = trailer.request;
                record.reply = trailer.reply.to_vec();
                return Ok(Some(record));
            }
        }
    }

    /// The texts of an account, given the entry that holds them.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn account_texts(&self, cold_seq: Seq, reach: Reach) -> Result<Arc<AccountCold>, ReadError> {
        if let Some(cold) = self.texts.get(&cold_seq.0) {
            self.text_counter.count(true);
            return Ok(cold);
        }
        let cold = match self.entry(cold_seq, reach)?.map(|located| located.entry) {
            Some(Entry::AccountOpened(entry)) => Arc::new(entry.cold),
            Some(Entry::AccountChanged(entry)) => Arc::new(entry.cold),
            _ => return Err(ReadError::Unreadable(format!("entry seq={cold_seq} holds no account texts"))),
        };
        self.text_counter.count(false);
        self.texts.insert(cold_seq.0, Arc::clone(&cold));
        Ok(cold)
    }

    /// Puts texts into the cache that are known anyway.
    pub fn remember_texts(&self, cold_seq: Seq, cold: Arc<AccountCold>) {
        self.texts.insert(cold_seq.0, cold);
    }
}

fn locate(seq: Seq, head: RunHead, entry: Entry) -> Located {
    Located { seq, record: head.first_seq, moment: head.moment, date: head.date, entry }
}
