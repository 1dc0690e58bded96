//! Numbers and texts as bytes: the alphabet of every record.
//!
//! Promise: writing never fails; reading never panics and never allocates more than the bytes at
//! hand. A reader that runs off the end says so with `None`, which its caller turns into damage.

/// A byte buffer with a fill mark. Kept longer than what is filled, so that eight bytes can be
/// stored at once and the mark moved by fewer: that is what makes a transfer cost nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Sink {
    bytes: Vec<u8>,
    at: usize,
}

/// Room that [`Sink::room`] guarantees behind the fill mark.
pub(super) const ROOM_BYTES: usize = 64;

impl Sink {
    /// A sink that takes `capacity` bytes before it has to grow.
    pub(super) fn with_capacity(capacity: usize) -> Sink {
        Sink { bytes: vec![0; capacity + ROOM_BYTES], at: 0 }
    }

    /// Bytes filled.
    pub(super) fn len(&self) -> usize {
        self.at
    }

    /// The filled part.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.at]
    }

    /// The filled part, to patch.
    pub(super) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.at]
    }

    /// Forgets everything behind `at`.
    pub(super) fn truncate(&mut self, at: usize) {
        assert!(at <= self.at, "a sink is cut, not extended, by truncate");
        self.at = at;
    }

    /// Gives the filled bytes away and starts anew. Copies when that saves much memory.
    pub(super) fn take(&mut self) -> Box<[u8]> {
        let taken = if self.at * 2 < self.bytes.len() {
            self.filled().into()
        } else {
            let mut bytes = std::mem::replace(&mut self.bytes, vec![0; ROOM_BYTES]);
            bytes.truncate(self.at);
            bytes.into_boxed_slice()
        };
        self.at = 0;
        taken
    }

    /// The next [`ROOM_BYTES`] bytes, to be filled and then claimed by [`Sink::claim`].
    #[inline]
    pub(super) fn room(&mut self) -> &mut [u8; ROOM_BYTES] {
        if self.bytes.len() < self.at + ROOM_BYTES {
            self.grow(ROOM_BYTES);
        }
        self.bytes[self.at..].first_chunk_mut().expect("the buffer was just grown to hold it")
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let wanted = (self.at + more + ROOM_BYTES).next_power_of_two();
        self.bytes.resize(wanted, 0);
    }

    /// Moves the fill mark over `count` bytes of the room.
    #[inline]
    pub(super) fn claim(&mut self, count: usize) {
        debug_assert!(count <= ROOM_BYTES, "only the room can be claimed");
        self.at += count;
    }

    pub(super) fn put_u8(&mut self, value: u8) {
        self.room()[0] = value;
        self.claim(1);
    }

    pub(super) fn put_u16(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }

    pub(super) fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    /// Appends bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        if self.bytes.len() < self.at + bytes.len() + ROOM_BYTES {
            self.grow(bytes.len());
        }
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Seven bits a byte, least significant first, the high bit says that more follow.
    pub(super) fn put_varint(&mut self, mut value: u64) {
        let room = self.room();
        let mut used = 0;
        while value >= 0x80 {
            room[used] = (value as u8) | 0x80;
            value >>= 7;
            used += 1;
        }
        room[used] = value as u8;
        self.claim(used + 1);
    }

    /// A length as varint, then the text.
    pub(super) fn put_text(&mut self, text: &str) {
        self.put_varint(text.len() as u64);
        self.put(text.as_bytes());
    }
}

/// A place in bytes that are read forwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    pub(super) fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn take_u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn take_u16(&mut self) -> Option<u16> {
        self.take_array().map(u16::from_le_bytes)
    }

    pub(super) fn take_u32(&mut self) -> Option<u32> {
        self.take_array().map(u32::from_le_bytes)
    }

    pub(super) fn take_u64(&mut self) -> Option<u64> {
        self.take_array().map(u64::from_le_bytes)
    }

    pub(super) fn take_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take_u8()?;
            let bits = u64::from(byte & 0x7F);
            // The tenth byte has room for one bit: anything more is no number that we wrote.
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn take_text(&mut self) -> Option<Box<str>> {
        let length = usize::try_from(self.take_varint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok().map(Into::into)
    }
}

/// Bytes that `value` needs, 0 for 0.
#[inline]
pub(super) fn width(value: u64) -> usize {
    (64 - value.leading_zeros() as usize).div_ceil(8)
}

/// The lowest `width` (0 ..= 8) bytes of a word that was loaded whole.
#[inline]
pub(super) fn keep(word: u64, width: usize) -> u64 {
    debug_assert!(width <= 8, "a word has eight bytes");
    const MASKS: [u64; 9] =
        [0, 0xFF, 0xFFFF, 0xFF_FFFF, 0xFFFF_FFFF, (1 << 40) - 1, (1 << 48) - 1, (1 << 56) - 1, u64::MAX];
    word & MASKS[width]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_width() {
        let mut sink = Sink::default();
        let mut values = vec![0, u64::MAX];
        values.extend((0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit]));
        for value in &values {
            sink.put_varint(*value);
            assert_eq!(keep(*value, width(*value)), *value);
        }
        let mut cursor = Cursor::new(sink.filled(), 0);
        for value in &values {
            assert_eq!(cursor.take_varint(), Some(*value));
        }
        assert_eq!(cursor.take_varint(), None);
    }

    #[test]
    fn overlong_and_truncated_numbers_are_refused() {
        assert_eq!(Cursor::new(&[0x80; 11], 0).take_varint(), None);
        let eleven_bits_over = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        assert_eq!(Cursor::new(&eleven_bits_over, 0).take_varint(), None);
        assert_eq!(Cursor::new(&[0x80], 0).take_varint(), None);
        assert_eq!(Cursor::new(&[5, b'a'], 0).take_text(), None, "a text longer than the bytes");
        assert_eq!(Cursor::new(&[1, 0xFF], 0).take_text(), None, "no UTF-8");
    }
}
