//! Fates of transfers, added up: two lists in different orders, compared in little memory.
//!
//! The store has them by original, the journal by the entry that decides them, and there may be more of them
//! than memory has room for. So both sides add up a hash of each fact, by spans of 65,536 originals: equal
//! lists give equal sums, and lists that differ give equal ones once in 2^128, which no rot of bytes aims at.

use std::collections::BTreeMap;

use crate::domain::entry::{TransferEntry, TransferOp};

/// The original, the entry that decided its fate, and which: 0 posted, 1 voided, 2 expired, 3 reversed.
pub type FateFact = (u64, u64, u8);

/// Bits of a seq inside a span.
const SPAN_BITS: u32 = 16;

/// How many facts, and the sum of their hashes, by span of originals.
#[derive(Debug, Default)]
pub struct Tally {
    spans: BTreeMap<u64, (u64, u128)>,
}

impl Tally {
    /// Counts a fact in.
    pub fn add(&mut self, fact: FateFact) {
        let (count, sum) = self.spans.entry(fact.0 >> SPAN_BITS).or_default();
        *count += 1;
        *sum = sum.wrapping_add(hash(fact));
    }

    /// Spans that differ: first and last original, how many facts here, how many there.
    pub fn differences<'a>(&'a self, other: &'a Tally) -> impl Iterator<Item = (u64, u64, u64, u64)> + 'a {
        let only_there = other.spans.keys().filter(|span| !self.spans.contains_key(span));
        let spans = self.spans.keys().chain(only_there);
        let of = |tally: &Tally, span: &u64| tally.spans.get(span).copied().unwrap_or_default();
        spans.filter(move |span| of(self, span) != of(other, span)).map(move |span| {
            let first = span << SPAN_BITS;
            (first, first | ((1 << SPAN_BITS) - 1), of(self, span).0, of(other, span).0)
        })
    }
}

/// The fate that an entry decides, if it decides one.
#[must_use]
pub fn fate_of(seq: u64, entry: &TransferEntry) -> Option<FateFact> {
    match entry.op {
        TransferOp::Posted | TransferOp::Pending { .. } => None,
        TransferOp::PostPending { hold, .. } => Some((hold.0, seq, 0)),
        TransferOp::VoidPending { hold } => Some((hold.0, seq, 1)),
        TransferOp::ExpirePending { hold } => Some((hold.0, seq, 2)),
        TransferOp::Reversal { of } => Some((of.0, seq, 3)),
    }
}

fn hash((original, by, kind): FateFact) -> u128 {
    let mut bytes = [0u8; 17];
    bytes[..8].copy_from_slice(&original.to_le_bytes());
    bytes[8..16].copy_from_slice(&by.to_le_bytes());
    bytes[16] = kind;
    let mut half = [0u8; 16];
    half.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    u128::from_le_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_facts_does_not_count_and_every_part_of_one_does() {
        let tally = |facts: &[FateFact]| {
            let mut tally = Tally::default();
            facts.iter().for_each(|fact| tally.add(*fact));
            tally
        };
        let ours = tally(&[(1, 5, 0), (70_000, 70_001, 3), (2, 6, 1)]);
        assert_eq!(ours.differences(&tally(&[(2, 6, 1), (1, 5, 0), (70_000, 70_001, 3)])).count(), 0);
        for other in [[(2, 6, 1), (1, 5, 2)], [(2, 6, 1), (1, 7, 0)], [(2, 6, 1), (3, 5, 0)], [(2, 6, 1), (2, 6, 1)]] {
            let found: Vec<_> = ours.differences(&tally(&other)).collect();
            assert_eq!(found, [(0, 65_535, 2, 2), (65_536, 131_071, 1, 0)]);
        }
        assert_eq!(tally(&[]).differences(&ours).count(), 2);
    }
}
