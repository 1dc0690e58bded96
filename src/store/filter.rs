//! A split-block Bloom filter: "surely not there" for one cache miss.
//!
//! Under 12 bits a key. A key has one block of 256 bits and one bit in each of its eight words, so a probe
//! touches one cache line; about one absent key in 200 passes. Keys are hashes already, so their own
//! bits choose: bytes 8..16 the block, bytes 4..8 the bits (bytes 0..4 order the table).

/// 11.75 bits a key: with the fences of its table a key stays below 12 bits of memory.
const BLOCKS_PER_1024_KEYS: usize = 47;
const BLOCK_BITS: usize = 256;

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = BLOCK_BITS / 8;

/// Odd multipliers, one a word, as Apache Parquet's specification lists them.
const SALTS: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The filter of one key table.
#[derive(Debug)]
pub(super) struct Filter {
    blocks: Vec<Block>,
}

/// Aligned, so that a block lies in one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
struct Block([u32; 8]);

impl Filter {
    /// The filter of these hashes.
    pub fn of<'a>(count: usize, hashes: impl Iterator<Item = &'a [u8; 16]>) -> Filter {
        // Rounded down, so that the bits a key are a bound.
        let mut blocks = vec![Block::default(); (count * BLOCKS_PER_1024_KEYS / 1_024).max(1)];
        for hash in hashes {
            let (block, bits) = choose(hash, blocks.len());
            for (word, bit) in blocks[block].0.iter_mut().zip(bits) {
                *word |= bit;
            }
        }
        Filter { blocks }
    }

    /// Whether the key may be in the table. `false` is certain.
    pub fn may_contain(&self, hash: &[u8; 16]) -> bool {
        let (block, bits) = choose(hash, self.blocks.len());
        self.blocks[block].0.iter().zip(bits).all(|(word, bit)| word & bit != 0)
    }

    /// The blocks as bytes, words little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.blocks.iter().flat_map(|block| block.0).flat_map(u32::to_le_bytes).collect()
    }

    /// What [`Filter::to_bytes`] wrote; `None` for no whole number of blocks, or none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Filter> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK_BYTES) {
            return None;
        }
        let blocks = bytes
            .chunks_exact(BLOCK_BYTES)
            .map(|block| {
                let mut words = [0u32; 8];
                for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                Block(words)
            })
            .collect();
        Some(Filter { blocks })
    }

    /// Memory, bytes.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK_BYTES
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the product's high half is below the number of blocks")]
fn choose(hash: &[u8; 16], blocks: usize) -> (usize, [u32; 8]) {
    let high = u64::from_le_bytes(*hash.last_chunk().expect("a hash has sixteen bytes"));
    let block = (u128::from(high) * blocks as u128) >> 64;
    let seed = u32::from_le_bytes([hash[4], hash[5], hash[6], hash[7]]);
    (block as usize, SALTS.map(|salt| 1 << (seed.wrapping_mul(salt) >> 27)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u32) -> [u8; 16] {
        blake3::hash(&number.to_le_bytes()).as_bytes()[..16].try_into().unwrap()
    }

    #[test]
    fn no_key_is_forgotten_and_few_strangers_pass() {
        let keys: Vec<[u8; 16]> = (0..50_000).map(hash).collect();
        let filter = Filter::of(keys.len(), keys.iter());
        let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
        assert!(keys.iter().all(|key| filter.may_contain(key)));
        let passed = (50_000..150_000).filter(|number| filter.may_contain(&hash(*number))).count();
        assert!(passed < 1_000, "{passed} of 100,000 strangers pass");
        assert!(filter.bytes() * 8 <= 12 * keys.len());
    }

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        assert!(Filter::from_bytes(&[]).is_none());
        assert!(Filter::from_bytes(&[0; 33]).is_none());
        assert!(!Filter::of(0, std::iter::empty()).may_contain(&hash(1)));
    }
}
