//! The manifest: which segments are sealed, as text that an operator can read.
//!
//! Promise: it is replaced whole or not at all, and a damaged one is refused. It names the
//! journal, so that a file of another journal is noticed before its entries are believed.

use std::fmt::Write as _;
use std::io;

use crate::disk::Disk;
use crate::domain::ids::Seq;

/// Its file name.
pub const MANIFEST_NAME: &str = "MANIFEST";

const TITLE: &str = "munim journal manifest 1";

/// A segment that will not change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Seq of its first entry; decides its name.
    pub first_seq: Seq,
    /// Seq of its last entry.
    pub last_seq: Seq,
    /// Hash of its last block: the next segment begins with it.
    pub chain_hash: [u8; 32],
    /// blake3 of the file.
    pub file_hash: [u8; 32],
    /// Length of the file, bytes.
    pub bytes: u64,
}

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) journal_id: u64,
    pub(super) sealed: Vec<SealedSegment>,
}

impl Manifest {
    /// Reads it; `None` when there is none.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged, or whatever the disk says.
    pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Manifest>> {
        let bytes = match disk.read(MANIFEST_NAME) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "manifest does not match its own hash");
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
        Manifest::parse(text).map(Some).ok_or_else(damaged)
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// Whatever the disk says; the old one then still stands.
    pub(super) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.write_atomically(MANIFEST_NAME, self.format().as_bytes())
    }

    fn format(&self) -> String {
        let mut text = format!("{TITLE}\njournal {:016x}\n", self.journal_id);
        for segment in &self.sealed {
            let (chain, file) = (hex(&segment.chain_hash), hex(&segment.file_hash));
            let SealedSegment { first_seq, last_seq, bytes, .. } = segment;
            writeln!(text, "segment {first_seq} {last_seq} {bytes} {chain} {file}").expect("a string takes all text");
        }
        let check = blake3::hash(text.as_bytes());
        writeln!(text, "check {}", hex(check.as_bytes())).expect("a string takes all text");
        text
    }

    fn parse(text: &str) -> Option<Manifest> {
        let (body, check) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let check = unhex(check.strip_prefix("check ")?)?;
        let covered = &text[..=body.len()];
        if *blake3::hash(covered.as_bytes()).as_bytes() != check {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let journal_id = u64::from_str_radix(lines.next()?.strip_prefix("journal ")?, 16).ok()?;
        let sealed = lines.map(parse_segment).collect::<Option<Vec<_>>>()?;
        Some(Manifest { journal_id, sealed })
    }
}

fn parse_segment(line: &str) -> Option<SealedSegment> {
    let mut words = line.strip_prefix("segment ")?.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let (first_seq, last_seq, bytes) = (Seq(number()?), Seq(number()?), number()?);
    let (chain_hash, file_hash) = (unhex(words.next()?)?, unhex(words.next()?)?);
    words.next().is_none().then_some(SealedSegment { first_seq, last_seq, chain_hash, file_hash, bytes })
}

/// A hash as text.
pub(super) fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_round_trips_and_notices_any_changed_byte() {
        let segment = |first, last| SealedSegment {
            first_seq: Seq(first),
            last_seq: Seq(last),
            chain_hash: [first as u8; 32],
            file_hash: [last as u8; 32],
            bytes: 4096 * last,
        };
        let manifest = Manifest { journal_id: 7, sealed: vec![segment(1, 10), segment(11, 40)] };
        let text = manifest.format();
        assert_eq!(Manifest::parse(&text), Some(manifest));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(std::str::from_utf8(&bytes).ok().and_then(Manifest::parse), None, "byte {at}");
        }
        for end in 0..text.len() {
            assert_eq!(Manifest::parse(&text[..end]), None, "cut at {end}");
        }
    }
}
