//! External ids of rows that bring none.
//!
//! Promise: a file that has grown, at whichever end, posts only what is new. An id is made of what the
//! row says and of how many rows before it in the file say the same, not of its place or its file. Two
//! rows that say the same, in two files, are therefore one; where they are meant as two, the files are
//! imported as two series.

use std::collections::HashMap;

use super::fields::ItemKind;

/// Gives ids to the rows of one file.
///
/// Takes about 30 bytes for every row without an id of its own that differs from those before it.
#[derive(Debug)]
pub struct RowIds {
    series: blake3::Hash,
    /// By the beginning of a row's hash. Two different rows under one beginning would count together,
    /// and still have different ids.
    seen: HashMap<u64, u32>,
}

impl RowIds {
    /// Rows of another series are others, also where they say the same.
    #[must_use]
    pub fn new(series: &str) -> RowIds {
        RowIds { series: blake3::hash(series.as_bytes()), seen: HashMap::new() }
    }

    /// The id of the next row that brings none, at most 40 bytes. `fields` are what it says, in any order.
    pub fn next(&mut self, kind: Option<ItemKind>, fields: &mut [(&str, &[u8])]) -> String {
        fields.sort_unstable();
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.series.as_bytes());
        hasher.update(kind.map_or("", ItemKind::collection).as_bytes());
        for (name, value) in fields {
            for part in [name.as_bytes(), *value] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        let hash = hasher.finalize();
        let start = u64::from_le_bytes(std::array::from_fn(|place| hash.as_bytes()[place]));
        let times = self.seen.entry(start).or_insert(0);
        *times = times.saturating_add(1);
        format!("imp-{}-{times}", &hash.to_hex()[..24])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_what_a_row_says_and_how_often_it_was_said() {
        let of = |ids: &mut RowIds, fields: &[(&'static str, &'static str)]| {
            let mut fields: Vec<(&str, &[u8])> = fields.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
            ids.next(Some(ItemKind::Transfers), &mut fields)
        };
        let mut ids = RowIds::new("");
        let first = of(&mut ids, &[("amount", "1"), ("code", "2")]);
        let other = of(&mut ids, &[("amount", "12"), ("code", "")]);
        let second = of(&mut ids, &[("code", "2"), ("amount", "1")]);
        assert!(first.starts_with("imp-") && first.ends_with("-1") && other.ends_with("-1"), "{first} {other}");
        assert_eq!(second, format!("{}-2", &first[..first.len() - 2]), "the order of columns says nothing");
        assert_ne!(first, other);
        assert_eq!(of(&mut RowIds::new(""), &[("amount", "1"), ("code", "2")]), first);
        assert_ne!(of(&mut RowIds::new("november"), &[("amount", "1"), ("code", "2")]), first);
        assert!(first.len() + 9 <= 64, "also after four thousand million of them");
    }
}
