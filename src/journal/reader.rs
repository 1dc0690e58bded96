//! Reading back: one block, a range, the trailers.
//!
//! Promise: whoever reads a range gets every record of it once, in order, or an error that names
//! the first seq that cannot be trusted. Nothing is skipped over.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use super::ahead::{BLOCKS_BEFORE, ahead};
use super::block::{Block, Identity};
use super::record::Trailer;
use super::segment::{LiveSegment, OpenSealed, segment_name};
use super::{Journal, JournalError};
use crate::domain::entry::Entry;
use crate::domain::ids::{Moment, Seq};
use crate::domain::time::Day;

/// What a scan delivers, in the order of the books.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A record begins (or, at the start of a scan, goes on).
    Record {
        /// Its first seq.
        first_seq: Seq,
        /// Its moment.
        moment: Moment,
        /// Its business date.
        date: Day,
    },
    /// One of its entries.
    Entry {
        /// Its seq.
        seq: Seq,
        /// What happened.
        entry: &'a Entry,
    },
    /// The record ends.
    End {
        /// Its last seq.
        last_seq: Seq,
        /// Its trailer.
        trailer: &'a Trailer<'a>,
    },
}

/// Who a scan delivers to.
pub trait Visitor {
    /// Sees each entry of a block before [`Visitor::visit`] sees the block's first item. A fold over more
    /// accounts than the processor's caches hold asks for their memory here, all of a block's at once,
    /// instead of waiting for one after the other.
    fn ahead(&mut self, entry: &Entry);

    /// Takes the next item, in the order of the books.
    fn visit(&mut self, item: Item<'_>) -> ControlFlow<()>;
}

/// The answer would need a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotInMemory;

/// Checks that blocks follow one another: seqs, hashes, records, moments.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) identity: Identity,
    /// Seq of the next entry.
    pub(super) next: Seq,
    /// Hash of the block before; `None` where a scan begins in the middle.
    pub(super) hash: Option<[u8; 32]>,
    /// First seq of the record that goes on in the next block.
    pub(super) open: Option<Seq>,
    /// Moment and date of the last run; `None` where a scan begins in the middle.
    pub(super) last: Option<(Moment, Day)>,
}

impl Chain {
    /// Follows a block of which only the heads of its runs are read.
    pub(super) fn follow(&mut self, block: &Block) -> Result<(), &'static str> {
        self.check_block(block)?;
        for place in 0..block.run_count() {
            let run = block.run(place).ok_or("run table is damaged")?;
            self.check_run(&run)?;
        }
        self.next = block.last_seq().next();
        Ok(())
    }

    fn check_block(&mut self, block: &Block) -> Result<(), &'static str> {
        if block.identity().journal_id != self.identity.journal_id {
            return Err("block of another journal");
        }
        if block.identity().epoch > self.identity.epoch {
            return Err("block of a later writer");
        }
        if block.first_seq() != self.next {
            return Err("seqs do not follow one another");
        }
        if self.hash.is_some_and(|hash| hash != block.prev_hash()) {
            return Err("block does not continue the chain");
        }
        self.hash = Some(block.hash());
        Ok(())
    }

    fn check_run(&mut self, run: &super::block::Run) -> Result<(), &'static str> {
        let head = &run.head;
        let is_linked = match self.open {
            Some(open) => !head.is_first && head.first_seq == open,
            // A scan that begins in the middle may begin inside a record.
            None => head.is_first || self.last.is_none(),
        };
        if !is_linked {
            return Err("record is not whole");
        }
        if head.is_first && self.last.is_some_and(|(moment, _)| head.moment <= moment) {
            return Err("moments go back");
        }
        self.last = Some((head.moment, head.date));
        self.open = (!head.is_last).then_some(head.first_seq);
        Ok(())
    }

    /// Shows the entries of a block to `ahead`. What is wrong with it is for [`Chain::deliver`] to say.
    fn look_ahead(block: &Block, ahead: &mut dyn FnMut(&Entry)) {
        for place in 0..block.run_count() {
            let Some(run) = block.run(place) else { return };
            let mut each = |_, entry: &Entry| {
                ahead(entry);
                ControlFlow::<()>::Continue(())
            };
            if block.walk(place, &run, &mut each).is_none() {
                return;
            }
        }
    }

    /// Follows a block and delivers its items from `from` on.
    pub(super) fn deliver(
        &mut self,
        block: &Block,
        from: Seq,
        visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, &'static str> {
        self.check_block(block)?;
        for place in 0..block.run_count() {
            let run = block.run(place).ok_or("run table is damaged")?;
            let is_start = self.last.is_none() || (run.seq <= from && from <= run.last_seq);
            self.check_run(&run)?;
            if run.last_seq < from {
                continue;
            }
            let head = run.head;
            if head.is_first || is_start {
                let record = Item::Record { first_seq: head.first_seq, moment: head.moment, date: head.date };
                if visit(record).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            let mut each = |seq: Seq, entry: &Entry| {
                if seq < from { ControlFlow::Continue(()) } else { visit(Item::Entry { seq, entry }) }
            };
            match block.walk(place, &run, &mut each).ok_or("entries are damaged")? {
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                ControlFlow::Continue(None) => {}
                ControlFlow::Continue(Some(trailer)) => {
                    if visit(Item::End { last_seq: run.last_seq, trailer: &trailer }).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        self.next = block.last_seq().next();
        Ok(ControlFlow::Continue(()))
    }
}

/// Takes a block and the first seq of its segment.
type BlockVisitor<'a> = dyn FnMut(Seq, &Block) -> Result<ControlFlow<()>, JournalError> + 'a;

/// Takes the chain up to a block, and the block.
type LinkedVisitor<'a> = dyn FnMut(&mut Chain, &Block) -> Result<ControlFlow<()>, &'static str> + 'a;

/// A segment to read from, whichever way it is open.
enum Source {
    Live(Arc<LiveSegment>),
    Sealed(Arc<OpenSealed>),
}

impl Source {
    fn first_seq(&self) -> Seq {
        match self {
            Source::Live(live) => live.first_seq,
            Source::Sealed(sealed) => sealed.footer.first_seq,
        }
    }

    fn blocks_from(&self, from: Seq) -> Vec<u64> {
        match self {
            Source::Live(live) => live.blocks_from(from),
            Source::Sealed(sealed) => sealed.blocks_from(from),
        }
    }
}

impl Journal {
    fn source(&self, seq: Seq) -> Result<Option<Source>, JournalError> {
        let sealed = {
            let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(live) = catalog.live.iter().rev().find(|live| live.first_seq <= seq) {
                return Ok(Some(Source::Live(Arc::clone(live))));
            }
            let place = catalog.sealed.partition_point(|sealed| sealed.first_seq <= seq);
            let Some(place) = place.checked_sub(1) else { return Ok(None) };
            catalog.sealed[place].clone()
        };
        let open = self.sealed_files.get(sealed.first_seq)?;
        open.check(&sealed)?;
        Ok(Some(Source::Sealed(open)))
    }

    /// First seq of the durable block that holds an entry; `None` when no durable block does.
    ///
    /// # Errors
    /// A sealed segment cannot be opened.
    pub fn locate(&self, seq: Seq) -> Result<Option<Seq>, JournalError> {
        if seq == Seq::NONE || seq > self.durable_seq() {
            return Ok(None);
        }
        Ok(match self.source(seq)? {
            None => None,
            Some(Source::Live(live)) => live.locate(seq),
            Some(Source::Sealed(sealed)) => sealed.locate(seq),
        })
    }

    /// As [`Journal::locate`], without opening a file.
    ///
    /// # Errors
    /// [`NotInMemory`] for a sealed segment whose index is not in memory.
    pub fn locate_in_memory(&self, seq: Seq) -> Result<Option<Seq>, NotInMemory> {
        if seq == Seq::NONE || seq > self.durable_seq() {
            return Ok(None);
        }
        let first_seq = {
            let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(live) = catalog.live.iter().rev().find(|live| live.first_seq <= seq) {
                return Ok(live.locate(seq));
            }
            let place = catalog.sealed.partition_point(|sealed| sealed.first_seq <= seq);
            let Some(place) = place.checked_sub(1) else { return Ok(None) };
            catalog.sealed[place].first_seq
        };
        // What is open was checked against the manifest when it was opened or first read.
        self.sealed_files.touch(first_seq).map(|open| open.locate(seq)).ok_or(NotInMemory)
    }

    /// Reads the block that begins with a seq and checks its hash.
    ///
    /// # Errors
    /// [`JournalError::Damaged`], or the disk.
    pub fn load(&self, first_seq: Seq) -> Result<Arc<Block>, JournalError> {
        let missing = || JournalError::Missing { file: segment_name(first_seq), seq: first_seq };
        let source = self.source(first_seq)?.ok_or_else(missing)?;
        self.load_from(&source, first_seq).map(Arc::new)
    }

    fn load_from(&self, source: &Source, first_seq: Seq) -> Result<Block, JournalError> {
        let block = match source {
            Source::Sealed(sealed) => sealed.load(first_seq)?,
            Source::Live(live) => match live.load(first_seq) {
                Some(block) => block?,
                // It was sealed since it was looked up.
                None if self.is_closed.load(std::sync::atomic::Ordering::Acquire) => return Err(JournalError::Closed),
                None => self.sealed_files.get(live.first_seq)?.load(first_seq)?,
            },
        };
        if block.identity().journal_id != self.identity.journal_id {
            let what = "block of another journal".into();
            return Err(JournalError::Damaged { file: segment_name(source.first_seq()), seq: first_seq, what });
        }
        Ok(block)
    }

    /// Delivers the durable entries from `from` (at least 1) on, until `visit` breaks. Where
    /// `from` lies inside a record, that record's head comes first.
    ///
    /// # Errors
    /// The first damage, after everything before it was delivered.
    pub fn scan(
        &self,
        from: Seq,
        visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, JournalError> {
        self.each_linked_block(from, false, &mut |chain, block| chain.deliver(block, from, visit))
    }

    /// As [`Journal::scan`], with a thread of its own that reads ahead: for a start, when nobody else needs the cores.
    ///
    /// # Errors
    /// The first damage, after everything before it was delivered.
    pub fn scan_alone(
        &self,
        from: Seq,
        visit: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, JournalError> {
        self.each_linked_block(from, true, &mut |chain, block| chain.deliver(block, from, visit))
    }

    /// As [`Journal::scan`], for a visitor who wants to see what comes: each block is decoded twice.
    ///
    /// # Errors
    /// The first damage, after everything before it was delivered.
    pub fn scan_ahead(&self, from: Seq, visitor: &mut dyn Visitor) -> Result<ControlFlow<()>, JournalError> {
        self.each_linked_block(from, false, &mut |chain, block| {
            Chain::look_ahead(block, &mut |entry| visitor.ahead(entry));
            chain.deliver(block, from, &mut |item| visitor.visit(item))
        })
    }

    /// Gives each durable block from the one that holds `from`, with the chain up to it.
    fn each_linked_block(
        &self,
        from: Seq,
        reads_ahead: bool,
        visit: &mut LinkedVisitor<'_>,
    ) -> Result<ControlFlow<()>, JournalError> {
        let mut chain: Option<Chain> = None;
        self.each_block(from, reads_ahead, &mut |file, block| {
            let chain = chain.get_or_insert_with(|| Chain {
                identity: self.identity,
                next: block.first_seq(),
                hash: None,
                open: None,
                last: None,
            });
            let seq = chain.next;
            visit(chain, block).map_err(|what| JournalError::Damaged {
                file: segment_name(file),
                seq,
                what: what.into(),
            })
        })
    }

    /// Visits the durable blocks from the one that holds `from`, with the first seq of their segment.
    fn each_block(
        &self,
        from: Seq,
        reads_ahead: bool,
        visit: &mut BlockVisitor<'_>,
    ) -> Result<ControlFlow<()>, JournalError> {
        let durable = self.durable_seq();
        let next = Cell::new(Seq(from.0.max(1)));
        while next.get() <= durable {
            let before = next.get();
            let Some(source) = self.source(before)? else {
                return Err(JournalError::Missing { file: segment_name(before), seq: before });
            };
            let damaged = |what: &str| {
                let file = segment_name(source.first_seq());
                JournalError::Damaged { file, seq: next.get(), what: what.into() }
            };
            let mut take = |block: Block| {
                if block.first_seq() > next.get() || block.last_seq() < next.get() {
                    return Err(damaged("block is missing"));
                }
                next.set(block.last_seq().next());
                visit(source.first_seq(), &block)
            };
            let mut firsts = source.blocks_from(before);
            firsts.retain(|first| *first <= durable.0);
            let now = if reads_ahead { firsts.len().min(BLOCKS_BEFORE) } else { firsts.len() };
            for first in &firsts[..now] {
                if take(self.load_from(&source, Seq(*first))?)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if now < firsts.len() {
                let read = |give: &mut dyn FnMut(Block) -> ControlFlow<()>| {
                    for first in &firsts[now..] {
                        if give(self.load_from(&source, Seq(*first))?).is_break() {
                            break;
                        }
                    }
                    Ok(())
                };
                if ahead(read, take)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if next.get() == before {
                return Err(damaged("entries are missing"));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Delivers the trailers of records that end at or after `from`, up to `to`: (first seq, last
    /// seq, trailer). Entries are jumped over, not decoded.
    ///
    /// # Errors
    /// The first damage.
    pub fn scan_trailers(
        &self,
        from: Seq,
        to: Seq,
        visit: &mut dyn FnMut(Seq, Seq, &Trailer<'_>),
    ) -> Result<(), JournalError> {
        let mut damage = None;
        let _ = self.each_block(from, false, &mut |file, block| {
            if block.first_seq() > to {
                return Ok(ControlFlow::Break(()));
            }
            for place in 0..block.run_count() {
                let run = block.run(place);
                let Some(run) = run else {
                    damage = Some((file, block.first_seq()));
                    return Ok(ControlFlow::Break(()));
                };
                if !run.head.is_last || run.last_seq < from || run.last_seq > to {
                    continue;
                }
                let Some(trailer) = block.trailer(&run) else {
                    damage = Some((file, run.seq));
                    return Ok(ControlFlow::Break(()));
                };
                visit(run.head.first_seq, run.last_seq, &trailer);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match damage {
            None => Ok(()),
            Some((file, seq)) => {
                Err(JournalError::Damaged { file: segment_name(file), seq, what: "run table is damaged".into() })
            }
        }
    }
}
