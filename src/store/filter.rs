//! A binary fuse filter: "surely not there" for four reads of memory.
//!
//! Under 12 bits a key, and one absent key in 1,024 passes. After Graf and Lemire, "Binary Fuse Filters: Fast and
//! Smaller Than Xor Filters" (2022), with four places a key and 10 bits a slot: a key is in the filter when the
//! slots of its places XOR to its print. Keys are hashes already, so their own bits choose: bytes 8..16 (mixed
//! with the part's seed) the places, bytes 6..8 the print, and bytes 0..8, by which a table is ordered, the part.
//!
//! A table's filter is cut into **parts** of some 250,000 keys, so that making it needs 10 MiB however large the
//! table is. As bytes: parts (4, little-endian), log2 of a segment's slots (1), segments (4), a seed a part (1
//! each), then the slots of the parts, four in five bytes, lowest bits first.

/// Keys of a part, at most on average. The fewer, the more slots a key takes: 11.0 bits here, 11.2 at half of it.
const PART_KEYS: usize = 250_000;
const PLACES: usize = 4;
const SLOT_BITS: usize = 10;
const PRINT_MASK: u16 = (1 << SLOT_BITS) - 1;
const HEAD_BYTES: usize = 9;
/// Seeds tried before a part is given up. Each fails for fewer than one set of keys in ten.
const SEEDS: u8 = 100;
/// The seed of a part for which none was found: everything passes it.
const NO_SEED: u8 = 0;

/// The filter of one key table.
#[derive(Debug)]
pub(super) struct Filter {
    shape: Shape,
    /// One a part.
    seeds: Vec<u8>,
    /// Packed, part after part.
    slots: Vec<u8>,
}

/// How the slots of every part are laid out: overlapping windows of four segments.
#[derive(Clone, Copy, Debug)]
struct Shape {
    segment_bits: u32,
    /// Segments in which a key's first place may lie; three more follow them.
    segments: u32,
}

impl Shape {
    /// For parts of up to so many keys: the paper's sizes for four places.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "positive numbers far below 2^32"
    )]
    fn of(keys: usize) -> Shape {
        let ln = (keys.max(2) as f64).ln();
        let segment_bits = ((ln / 2.91f64.ln() - 0.5).floor() as u32).clamp(2, 18);
        let factor = (0.77 + 0.305 * 600_000f64.ln() / ln).max(1.075);
        let segments = ((keys as f64 * factor).round() as u32).div_ceil(1 << segment_bits);
        Shape { segment_bits, segments: segments.saturating_sub(PLACES as u32 - 1).max(1) }
    }

    /// Slots of a part.
    fn slots(self) -> usize {
        (self.segments as usize + PLACES - 1) << self.segment_bits
    }

    /// Bytes of a part: a segment has a multiple of four slots.
    fn part_bytes(self) -> usize {
        self.slots() / 4 * 5
    }

    /// One place in each of four segments that follow each other.
    #[expect(clippy::cast_possible_truncation, reason = "the product's high half is below the number of slots")]
    fn places(self, hash: &[u8; 16], seed: u8) -> [usize; PLACES] {
        let mixed = mix(u64::from_le_bytes(*hash.last_chunk().expect("a hash has sixteen bytes")), seed);
        let first = (u128::from(mixed) * u128::from(u64::from(self.segments) << self.segment_bits)) >> 64;
        let mask = (1u64 << self.segment_bits) - 1;
        let mut places = [first as usize; PLACES];
        for (step, place) in places.iter_mut().enumerate().skip(1) {
            // The low bits: the high ones have chosen the first place.
            let within = (mixed >> (15 * (step - 1))) & mask;
            *place = (*place + (step << self.segment_bits)) ^ within as usize;
        }
        places
    }
}

impl Filter {
    /// The filter of these hashes, which ascend; the same one may come several times.
    #[cfg(test)]
    pub fn of<'a>(hashes: impl ExactSizeIterator<Item = &'a [u8; 16]>) -> Filter {
        let mut builder = Builder::new(hashes.len());
        hashes.for_each(|hash| builder.push(*hash));
        builder.finish()
    }

    /// Whether the key may be in the table. `false` is certain.
    pub fn may_contain(&self, hash: &[u8; 16]) -> bool {
        let part = part_of(hash, self.seeds.len());
        let seed = self.seeds[part];
        if seed == NO_SEED {
            return true;
        }
        let slots = &self.slots[part * self.shape.part_bytes()..][..self.shape.part_bytes()];
        let found = self.shape.places(hash, seed).iter().fold(0, |found, place| found ^ slot(slots, *place));
        found == print(hash)
    }

    /// As the module says.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes());
        let parts = u32::try_from(self.seeds.len()).expect("a table has fewer than 2^32 keys");
        bytes.extend_from_slice(&parts.to_le_bytes());
        bytes.push(u8::try_from(self.shape.segment_bits).expect("at most 18"));
        bytes.extend_from_slice(&self.shape.segments.to_le_bytes());
        bytes.extend_from_slice(&self.seeds);
        bytes.extend_from_slice(&self.slots);
        bytes
    }

    /// What [`Filter::to_bytes`] wrote; `None` for anything else that its length or its head tells.
    pub fn from_bytes(bytes: &[u8]) -> Option<Filter> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let parts = u32::from_le_bytes(*head.first_chunk()?) as usize;
        let shape = Shape { segment_bits: u32::from(head[4]), segments: u32::from_le_bytes(*head.last_chunk()?) };
        let is_shape = parts > 0 && (2..=18).contains(&shape.segment_bits) && (1..1 << 30).contains(&shape.segments);
        if !is_shape || parts.checked_mul(shape.part_bytes() + 1) != Some(rest.len()) {
            return None;
        }
        let (seeds, slots) = rest.split_at(parts);
        Some(Filter { shape, seeds: seeds.to_vec(), slots: slots.to_vec() })
    }

    /// Memory, and length as bytes.
    pub fn bytes(&self) -> usize {
        HEAD_BYTES + self.seeds.len() + self.slots.len()
    }
}

/// A filter in the making: hashes come ascending, and the parts are made one after the other.
#[derive(Debug)]
pub(super) struct Builder {
    filter: Filter,
    parts: usize,
    /// Of the part that is made next.
    keys: Vec<[u8; 16]>,
}

impl Builder {
    /// For so many hashes.
    pub fn new(count: usize) -> Builder {
        let parts = count.div_ceil(PART_KEYS).max(1);
        let mean = count.div_ceil(parts);
        // Hashes spread by chance: six deviations, which one set in a thousand million exceeds. It would still be filled.
        let most = if parts == 1 { count } else { mean + 6 * mean.isqrt() };
        let shape = Shape::of(most);
        let slots = Vec::with_capacity(parts * shape.part_bytes());
        let filter = Filter { shape, seeds: Vec::with_capacity(parts), slots };
        Builder { filter, parts, keys: Vec::with_capacity(most) }
    }

    /// One more, not less than the one before.
    pub fn push(&mut self, hash: [u8; 16]) {
        self.make_parts(part_of(&hash, self.parts));
        if self.keys.last() != Some(&hash) {
            self.keys.push(hash);
        }
    }

    /// All have come.
    pub fn finish(mut self) -> Filter {
        self.make_parts(self.parts);
        self.filter
    }

    /// Makes the parts before this one.
    fn make_parts(&mut self, end: usize) {
        let shape = self.filter.shape;
        while self.filter.seeds.len() < end {
            let made = (1..=SEEDS).find_map(|seed| Some((seed, fill(shape, &self.keys, seed)?)));
            let (seed, slots) = made.unwrap_or_else(|| (NO_SEED, vec![0; shape.slots()]));
            self.filter.seeds.push(seed);
            for four in slots.as_chunks::<4>().0 {
                let packed = (0..4).fold(0u64, |packed, at| packed | u64::from(four[at]) << (SLOT_BITS * at));
                self.filter.slots.extend_from_slice(&packed.to_le_bytes()[..5]);
            }
            self.keys.clear();
        }
    }
}

/// Gives every key a place that is its own when they are taken one after the other, and fills the slots in
/// the opposite order; `None` when the keys do not come apart with this seed.
#[expect(clippy::cast_possible_truncation, reason = "a part has far fewer than 2^32 slots")]
fn fill(shape: Shape, keys: &[[u8; 16]], seed: u8) -> Option<Vec<u16>> {
    /// How many keys left have a place here, and the XOR of their numbers: of one key, its number.
    #[derive(Clone, Copy, Default)]
    struct Meeting {
        keys: u32,
        number: u32,
    }
    let mut meetings = vec![Meeting::default(); shape.slots()];
    for (number, key) in (0u32..).zip(keys) {
        for place in shape.places(key, seed) {
            meetings[place].keys += 1;
            meetings[place].number ^= number;
        }
    }
    let is_alone = |place: &u32| meetings[*place as usize].keys == 1;
    let mut alone: Vec<u32> = (0..shape.slots() as u32).filter(is_alone).collect();
    let mut taken: Vec<(u32, u32)> = Vec::with_capacity(keys.len());
    while let Some(own) = alone.pop() {
        let Meeting { keys: 1, number } = meetings[own as usize] else { continue };
        taken.push((number, own));
        for place in shape.places(&keys[number as usize], seed) {
            meetings[place].keys -= 1;
            meetings[place].number ^= number;
            if meetings[place].keys == 1 {
                alone.push(place as u32);
            }
        }
    }
    if taken.len() < keys.len() {
        return None;
    }
    let mut slots = vec![0u16; shape.slots()];
    for (number, own) in taken.into_iter().rev() {
        let key = &keys[number as usize];
        // Its own slot is still empty.
        slots[own as usize] = shape.places(key, seed).iter().fold(print(key), |left, place| left ^ slots[*place]);
    }
    Some(slots)
}

/// The part of a hash: of so many equal ranges the one in which it lies.
#[expect(clippy::cast_possible_truncation, reason = "the product's high half is below the number of parts")]
fn part_of(hash: &[u8; 16], parts: usize) -> usize {
    let high = u64::from_be_bytes(*hash.first_chunk().expect("a hash has sixteen bytes"));
    ((u128::from(high) * parts as u128) >> 64) as usize
}

fn print(hash: &[u8; 16]) -> u16 {
    u16::from_le_bytes([hash[6], hash[7]]) & PRINT_MASK
}

/// A slot of a part's packed ones: ten bits never lie in more than two bytes.
fn slot(slots: &[u8], place: usize) -> u16 {
    let bit = place * SLOT_BITS;
    (u16::from_le_bytes([slots[bit / 8], slots[bit / 8 + 1]]) >> (bit % 8)) & PRINT_MASK
}

/// The finalizer of MurmurHash3, of a seed's own number.
fn mix(bits: u64, seed: u8) -> u64 {
    let mut mixed = bits ^ u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(numbers: std::ops::Range<u32>) -> Vec<[u8; 16]> {
        let hash = |number: u32| blake3::hash(&number.to_le_bytes()).as_bytes()[..16].try_into().unwrap();
        let mut hashes: Vec<[u8; 16]> = numbers.map(hash).collect();
        hashes.sort_unstable();
        hashes
    }

    #[test]
    fn no_key_is_forgotten_and_few_strangers_pass() {
        let strangers = hashes(1_000_000..1_400_000);
        for count in [0, 1, 2, 3, 7, 100, 5_000, 50_000, 250_000, 250_001, 600_000] {
            let keys = hashes(0..count);
            let filter = Filter::of(keys.iter());
            let bytes = filter.to_bytes();
            assert_eq!(bytes.len(), filter.bytes());
            let filter = Filter::from_bytes(&bytes).unwrap();
            assert!(!filter.seeds.contains(&NO_SEED), "{count} keys");
            assert!(keys.iter().all(|key| filter.may_contain(key)), "{count} keys");
            let passed = strangers.iter().filter(|key| filter.may_contain(key)).count();
            assert!(passed < 550, "{passed} of 400,000 strangers pass {count} keys");
            assert!(count < 50_000 || filter.bytes() * 8 < 116 * keys.len() / 10, "{} bytes", filter.bytes());
        }
    }

    #[test]
    fn a_key_that_comes_twice_is_no_obstacle() {
        let mut keys = hashes(0..1_000);
        keys.extend(hashes(500..700));
        keys.sort_unstable();
        let filter = Filter::of(keys.iter());
        assert!(filter.seeds[0] != NO_SEED && keys.iter().all(|key| filter.may_contain(key)));
    }

    #[test]
    fn keys_that_do_not_come_apart_all_pass() {
        // Alike in the bytes that choose the places, which no hash of blake3 ever is.
        let keys: Vec<[u8; 16]> =
            (0..8).map(|first| [first, 0, 0, 0, 0, 0, first, 0, 9, 9, 9, 9, 9, 9, 9, 9]).collect();
        let filter = Filter::of(keys.iter());
        assert_eq!(filter.seeds, [NO_SEED]);
        let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
        assert!(keys.iter().all(|key| filter.may_contain(key)));
    }

    #[test]
    fn bytes_that_are_no_filter_are_refused() {
        let keys = hashes(0..1_000);
        let bytes = Filter::of(keys.iter()).to_bytes();
        assert!(Filter::from_bytes(&[]).is_none());
        assert!(Filter::from_bytes(&bytes[..bytes.len() - 1]).is_none());
        assert!(Filter::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
        for (at, value) in [(0, 0), (0, 2), (4, 1), (4, 19), (5, 0), (8, 0xff)] {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            assert!(Filter::from_bytes(&bytes).is_none(), "byte {at} = {value}");
        }
    }
}
