//! The API keys in memory.
//!
//! Promise: a look-up locks nothing and sees every change whose command was applied before it. Keys
//! are few and change seldom: all of them are one list that is replaced whole by whoever changes
//! one, under the engine's locks; a request takes the list as it finds it.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::config::API_KEYS_MAX;
use crate::domain::access::{ApiKey, ApiKeyChanged, ApiKeyMade, KeyChange};
use crate::domain::entry::Entry;
use crate::domain::ids::{Moment, Seq};
use crate::domain::reject::{Reject, RejectCode};

use super::command::NewApiKey;
use super::keyring_row;

/// A key, and what the edge has worked out of its role and scopes.
#[derive(Debug)]
pub struct HeldKey {
    key: ApiKey,
    /// The operations that it may do, a bit each: the edge's to fill, once, since only the edge knows them.
    pub rights: OnceLock<[u64; 4]>,
}

impl Deref for HeldKey {
    type Target = ApiKey;

    fn deref(&self) -> &ApiKey {
        &self.key
    }
}

/// A list of keys, by number; number 1 comes first.
pub type KeyList = Vec<Arc<HeldKey>>;

/// All API keys.
#[derive(Debug, Default)]
pub struct Keyring {
    keys: ArcSwap<KeyList>,
}

impl Keyring {
    /// Whether no key was ever made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.load().is_empty()
    }

    /// The key of a number, whatever became of it.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Arc<HeldKey>> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        self.keys.load().get(place).map(Arc::clone)
    }

    /// All keys, by number.
    #[must_use]
    pub fn all(&self) -> Arc<KeyList> {
        self.keys.load_full()
    }

    /// The number that the next key will have.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.keys.load().len() as u64 + 1
    }

    /// Decides a new key.
    ///
    /// # Errors
    /// `too_many_api_keys`.
    pub fn check_make(&self, new: &NewApiKey, made_by: u64) -> Result<Entry, Reject> {
        if self.keys.load().len() >= API_KEYS_MAX {
            return Err(Reject::of(RejectCode::TooManyApiKeys));
        }
        let NewApiKey { terms, hash } = new;
        let made = ApiKeyMade { number: self.next_number(), made_by, terms: terms.clone(), hash: *hash };
        Ok(Entry::ApiKeyMade(Box::new(made)))
    }

    /// Decides another token for a key.
    ///
    /// # Errors
    /// `api_key_not_found`, `api_key_revoked`.
    pub fn check_rotate(&self, number: u64, hash: [u8; 32], old_until: Moment) -> Result<Entry, Reject> {
        self.unrevoked(number)?;
        let change = KeyChange::Rotated { hash, old_until };
        Ok(Entry::ApiKeyChanged(Box::new(ApiKeyChanged { number, change })))
    }

    /// Decides the end of a key.
    ///
    /// # Errors
    /// `api_key_not_found`, `api_key_revoked`, `last_admin_key`.
    pub fn check_revoke(&self, number: u64, now: Moment) -> Result<Entry, Reject> {
        let key = self.unrevoked(number)?;
        let is_admin = |key: &ApiKey| key.terms.is_admin() && key.is_usable(now);
        let is_other_admin = |other: &Arc<HeldKey>| other.number != number && is_admin(other);
        if is_admin(&key) && !self.keys.load().iter().any(is_other_admin) {
            return Err(Reject::of(RejectCode::LastAdminKey));
        }
        Ok(Entry::ApiKeyChanged(Box::new(ApiKeyChanged { number, change: KeyChange::Revoked })))
    }

    fn unrevoked(&self, number: u64) -> Result<Arc<HeldKey>, Reject> {
        let key = self.get(number).ok_or(Reject::of(RejectCode::ApiKeyNotFound))?;
        if key.revoked_at.is_some() { Err(Reject::of(RejectCode::ApiKeyRevoked)) } else { Ok(key) }
    }

    /// The key after an entry about keys; `None` for other entries.
    #[must_use]
    pub fn after(&self, entry: &Entry, seq: Seq, at: Moment) -> Option<ApiKey> {
        match entry {
            Entry::ApiKeyMade(made) => Some(ApiKey::made(made, seq, at)),
            Entry::ApiKeyChanged(changed) => {
                let key = self.get(changed.number).expect("decide found the key");
                Some(key.changed(changed.change, seq, at))
            }
            _ => None,
        }
    }

    /// Applies an entry about keys; one that was applied before changes nothing.
    pub fn apply(&self, entry: &Entry, seq: Seq, at: Moment) {
        let number = match entry {
            Entry::ApiKeyMade(made) => made.number,
            Entry::ApiKeyChanged(changed) => changed.number,
            _ => return,
        };
        if self.get(number).is_some_and(|key| key.last_seq >= seq) {
            return;
        }
        let key = self.after(entry, seq, at).expect("it is an entry about keys");
        self.put(key);
    }

    /// Puts in what a checkpoint has.
    pub fn load(&self, keys: Vec<ApiKey>) {
        self.keys.store(Arc::new(keys.into_iter().map(held).collect()));
    }

    /// The keys in a checkpoint's rows; `None` when this version does not know them.
    #[must_use]
    pub fn read_rows(rows: &[Box<[u8]>]) -> Option<Vec<ApiKey>> {
        rows.iter()
            .map(|row| keyring_row::decode(row).filter(|(_, rest)| rest.is_empty()).map(|(key, _)| key))
            .collect()
    }

    /// The rows for a checkpoint, by number.
    #[must_use]
    pub fn rows(&self) -> Vec<Box<[u8]>> {
        let row = |key: &Arc<HeldKey>| {
            let mut bytes = Vec::with_capacity(256);
            keyring_row::encode(&mut bytes, key);
            bytes.into_boxed_slice()
        };
        self.keys.load().iter().map(row).collect()
    }

    fn put(&self, key: ApiKey) {
        let mut keys = KeyList::clone(&self.keys.load());
        let place = usize::try_from(key.number - 1).expect("keys are bounded");
        assert!(place <= keys.len(), "keys are numbered without gaps");
        if place == keys.len() {
            keys.push(held(key));
        } else {
            keys[place] = held(key);
        }
        self.keys.store(Arc::new(keys));
    }
}

fn held(key: ApiKey) -> Arc<HeldKey> {
    Arc::new(HeldKey { key, rights: OnceLock::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{KeyLimits, KeyTerms, Role, SCOPE_ALL};

    fn new(role: Role, scope: &str) -> NewApiKey {
        let terms = KeyTerms {
            name: "x".into(),
            role,
            scopes: vec![scope.into()],
            amount_limit: None,
            limits: KeyLimits::default(),
            expires_at: None,
            certificate: None,
        };
        NewApiKey { terms, hash: [0; 32] }
    }

    fn make(ring: &Keyring, new: &NewApiKey) -> u64 {
        let number = ring.next_number();
        let entry = ring.check_make(new, 0).unwrap();
        ring.apply(&entry, Seq(number * 10), Moment(1));
        number
    }

    #[test]
    fn the_last_usable_admin_key_cannot_be_revoked() {
        let ring = Keyring::default();
        let revoke = |number: u64, now: i64| {
            let entry = ring.check_revoke(number, Moment(now)).map_err(|reject| reject.code.name())?;
            ring.apply(&entry, Seq(1_000 + number), Moment(now));
            Ok::<_, &str>(())
        };
        let first = make(&ring, &new(Role::Admin, SCOPE_ALL));
        let narrow = make(&ring, &new(Role::Admin, "api_keys:read"));
        let cashier = make(&ring, &new(Role::Cashier, SCOPE_ALL));
        assert_eq!(revoke(first, 5), Err("last_admin_key"));
        assert_eq!(revoke(cashier, 5), Ok(()));
        assert_eq!(revoke(cashier, 5), Err("api_key_revoked"));
        let mut short = new(Role::Admin, SCOPE_ALL);
        short.terms.expires_at = Some(Moment(100));
        let short = make(&ring, &short);
        assert_eq!(revoke(first, 100), Err("last_admin_key"), "the other one has expired by then");
        assert_eq!(revoke(first, 99), Ok(()));
        assert_eq!(revoke(short, 99), Err("last_admin_key"));
        assert_eq!(revoke(narrow, 99), Ok(()), "it could not make keys anyway");
        assert_eq!(revoke(77, 99), Err("api_key_not_found"));
    }

    #[test]
    fn rows_bring_every_key_back() {
        let ring = Keyring::default();
        assert!(ring.is_empty());
        make(&ring, &new(Role::Admin, SCOPE_ALL));
        let second = make(&ring, &new(Role::Cashier, "transfers:write"));
        let rotated = ring.check_rotate(second, [3; 32], Moment(50)).unwrap();
        ring.apply(&rotated, Seq(99), Moment(2));
        ring.apply(&rotated, Seq(99), Moment(2));
        let other = Keyring::default();
        other.load(Keyring::read_rows(&ring.rows()).unwrap());
        assert_eq!(other.rows(), ring.rows());
        assert_eq!(other.get(second).unwrap().old, Some(([0; 32], Moment(50))));
        assert_eq!((other.next_number(), other.get(0).is_none()), (3, true));
        assert_eq!(Keyring::read_rows(&[Box::from([9u8].as_slice())]), None);
    }
}
