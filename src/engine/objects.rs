//! The objects that operators have set up, in memory: their newest versions.
//!
//! Promise: a look-up locks nothing and sees every change whose command was applied before it. Objects are few and
//! change seldom: all of them are one map that is replaced whole, under the engine's locks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::domain::entry::Entry;
use crate::domain::ids::{Moment, Seq};
use crate::domain::objects::{Collection, OBJECTS_MAX, ObjectSaved};
use crate::domain::reject::{Reject, RejectCode};

use super::command::ObjectChange;

/// An object as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its newest version.
    pub saved: ObjectSaved,
    /// The entry of that version.
    pub last_seq: Seq,
    /// When it was saved.
    pub saved_at: Moment,
}

type Map = BTreeMap<(Collection, u32), Arc<Object>>;

/// All objects.
#[derive(Debug, Default)]
pub struct ObjectBook {
    objects: ArcSwap<Map>,
}

const ROW_VERSION: u8 = 1;

impl ObjectBook {
    /// An object.
    #[must_use]
    pub fn get(&self, collection: Collection, number: u32) -> Option<Arc<Object>> {
        self.objects.load().get(&(collection, number)).cloned()
    }

    /// All objects of a collection, by number.
    #[must_use]
    pub fn all(&self, collection: Collection) -> Vec<Arc<Object>> {
        self.objects
            .load()
            .range((collection, 0)..=(collection, u32::MAX))
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// Decides a new version, or a new object, at a moment.
    ///
    /// # Errors
    /// `object_not_found`, `version_mismatch`, `too_many_objects`.
    pub fn check_save(&self, change: &ObjectChange, by: u64, now: Moment) -> Result<Entry, Reject> {
        let objects = self.objects.load();
        let collection = change.collection;
        let Some(number) = change.number else {
            let last =
                objects.range((collection, 0)..=(collection, u32::MAX)).next_back().map_or(0, |((_, last), _)| *last);
            if last >= OBJECTS_MAX {
                return Err(Reject::of(RejectCode::TooManyObjects));
            }
            let saved = ObjectSaved {
                collection,
                number: last + 1,
                version: 1,
                previous: Seq::NONE,
                created_at: now,
                by,
                body: change.body.clone(),
            };
            return Ok(Entry::ObjectSaved(Box::new(saved)));
        };
        let before = objects.get(&(collection, number)).ok_or(Reject::of(RejectCode::ObjectNotFound))?;
        if change.expected.is_some_and(|version| version != before.saved.version) {
            return Err(Reject::of(RejectCode::VersionMismatch));
        }
        let saved = ObjectSaved {
            version: before.saved.version + 1,
            previous: before.last_seq,
            by,
            body: change.body.clone(),
            ..before.saved.clone()
        };
        Ok(Entry::ObjectSaved(Box::new(saved)))
    }

    /// Applies an entry about an object; one that was applied before changes nothing.
    pub fn apply(&self, saved: &ObjectSaved, seq: Seq, at: Moment) {
        let objects = self.objects.load();
        let place = (saved.collection, saved.number);
        if objects.get(&place).is_some_and(|object| object.last_seq >= seq) {
            return;
        }
        let mut after = Map::clone(&objects);
        after.insert(place, Arc::new(Object { saved: saved.clone(), last_seq: seq, saved_at: at }));
        self.objects.store(Arc::new(after));
    }

    /// The rows for a checkpoint: version, numbers, body.
    #[must_use]
    pub fn rows(&self) -> Vec<Box<[u8]>> {
        let row = |object: &Arc<Object>| {
            let Object { saved, last_seq, saved_at } = &**object;
            let mut bytes = vec![ROW_VERSION, saved.collection as u8];
            bytes.extend_from_slice(&saved.number.to_le_bytes());
            bytes.extend_from_slice(&saved.version.to_le_bytes());
            for number in [saved.previous.0, saved.created_at.0.cast_unsigned(), saved.by, last_seq.0] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&saved_at.0.to_le_bytes());
            bytes.extend_from_slice(&saved.body);
            bytes.into_boxed_slice()
        };
        self.objects.load().values().map(row).collect()
    }

    /// The objects in a checkpoint's rows; `None` when this version does not know them.
    #[must_use]
    pub fn read_rows(rows: &[Box<[u8]>]) -> Option<Vec<Object>> {
        rows.iter().map(|row| read_row(row)).collect()
    }

    /// Puts in what a checkpoint has.
    pub fn load(&self, objects: Vec<Object>) {
        let place = |object: Object| ((object.saved.collection, object.saved.number), Arc::new(object));
        self.objects.store(Arc::new(objects.into_iter().map(place).collect()));
    }

    /// All of them, for those who compare.
    #[must_use]
    pub fn everything(&self) -> Vec<Object> {
        self.objects.load().values().map(|object| (**object).clone()).collect()
    }
}

fn read_row(row: &[u8]) -> Option<Object> {
    let ([version, collection], rest) = row.split_first_chunk()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (own_version, rest) = rest.split_first_chunk::<4>()?;
    let mut rest = rest;
    let mut numbers = [0; 5];
    for number in &mut numbers {
        let (bytes, behind) = rest.split_first_chunk::<8>()?;
        *number = u64::from_le_bytes(*bytes);
        rest = behind;
    }
    let [previous, created_at, by, last_seq, saved_at] = numbers;
    let saved = ObjectSaved {
        collection: Collection::from_number(*collection).filter(|_| *version == ROW_VERSION)?,
        number: u32::from_le_bytes(*number),
        version: u32::from_le_bytes(*own_version),
        previous: Seq(previous),
        created_at: Moment(created_at.cast_signed()),
        by,
        body: rest.into(),
    };
    Some(Object { saved, last_seq: Seq(last_seq), saved_at: Moment(saved_at.cast_signed()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_numbered_versioned_and_come_back_from_their_rows() {
        let book = ObjectBook::default();
        let change = |number, expected, body: &[u8]| ObjectChange {
            collection: Collection::WebhookEndpoint,
            number,
            expected,
            body: body.into(),
        };
        let save = |change: &ObjectChange, seq: u64| match book.check_save(change, 7, Moment(5)) {
            Ok(Entry::ObjectSaved(saved)) => {
                book.apply(&saved, Seq(seq), Moment(6));
                Ok((saved.number, saved.version, saved.previous.0))
            }
            Ok(other) => panic!("{other:?}"),
            Err(reject) => Err(reject.code),
        };
        assert_eq!(save(&change(None, None, b"a"), 10), Ok((1, 1, 0)));
        assert_eq!(save(&change(None, None, b"b"), 11), Ok((2, 1, 0)));
        assert_eq!(save(&change(Some(1), Some(1), b"c"), 12), Ok((1, 2, 10)));
        assert_eq!(save(&change(Some(1), Some(1), b"d"), 13), Err(RejectCode::VersionMismatch));
        assert_eq!(save(&change(Some(3), None, b"d"), 13), Err(RejectCode::ObjectNotFound));
        let loaded = ObjectBook::default();
        loaded.load(ObjectBook::read_rows(&book.rows()).unwrap());
        assert_eq!(loaded.everything(), book.everything());
        assert_eq!(loaded.all(Collection::WebhookEndpoint).len(), 2);
        assert_eq!(loaded.all(Collection::Schedule), []);
        assert_eq!(ObjectBook::read_rows(&[Box::from([9u8; 60].as_slice())]), None);
        for seq in 20..20 + u64::from(OBJECTS_MAX) - 2 {
            save(&change(None, None, b""), seq).unwrap();
        }
        assert_eq!(save(&change(None, None, b""), 999), Err(RejectCode::TooManyObjects));
    }
}
