//! API keys in the model: a key is what its entries say, read again each time.

use super::{Fact, KeyAsk, KeySaid, Model, No, Said};

impl Model {
    /// All keys, by number.
    pub fn keys(&self) -> Vec<KeySaid> {
        let mut keys: Vec<KeySaid> = Vec::new();
        for (record, seq, fact) in self.facts() {
            let Fact::Key(ask, until) = fact else { continue };
            let at = record.moment;
            match *ask {
                KeyAsk::Make { role, is_all, expires, hash } => keys.push(KeySaid {
                    number: keys.len() as u64 + 1,
                    role,
                    is_all,
                    expires,
                    hash,
                    old: None,
                    made: at,
                    rotated: None,
                    revoked: None,
                    last_seq: seq,
                }),
                KeyAsk::Rotate { number, hash, .. } => {
                    let key = &mut keys[number as usize - 1];
                    key.old = (*until > at).then_some((key.hash, *until));
                    (key.hash, key.rotated, key.last_seq) = (hash, Some(at), seq);
                }
                KeyAsk::Revoke(number) => {
                    let key = &mut keys[number as usize - 1];
                    (key.old, key.revoked, key.last_seq) = (None, Some(at), seq);
                }
                KeyAsk::Note(_) => {}
            }
        }
        keys
    }

    /// What a command about keys comes to.
    pub(super) fn decide_key(&mut self, ask: KeyAsk, now: i64) -> Said {
        if let Err(no) = self.check_key(ask, now) {
            return Said::Refused(no);
        }
        let until = if let KeyAsk::Rotate { overlap, .. } = ask { now + overlap } else { 0 };
        self.begin(now);
        self.put(Fact::Key(ask, until));
        let number = match ask {
            KeyAsk::Note(_) => return Said::Noted,
            KeyAsk::Make { .. } => self.keys().len() as u64,
            KeyAsk::Rotate { number, .. } | KeyAsk::Revoke(number) => number,
        };
        let key = self.keys().swap_remove(number as usize - 1);
        Said::Key(Box::new(key), matches!(ask, KeyAsk::Make { .. }))
    }

    fn check_key(&self, ask: KeyAsk, now: i64) -> Result<(), No> {
        let (KeyAsk::Rotate { number, .. } | KeyAsk::Revoke(number)) = ask else { return Ok(()) };
        let keys = self.keys();
        let key = keys.iter().find(|key| key.number == number).ok_or(("api_key_not_found", None))?;
        if key.revoked.is_some() {
            return Err(("api_key_revoked", None));
        }
        // 4 is the admin's role.
        let can_make = |key: &KeySaid| {
            key.role == 4 && key.is_all && key.revoked.is_none() && key.expires.is_none_or(|end| end > now)
        };
        let others = keys.iter().filter(|other| other.number != number && can_make(other)).count();
        if matches!(ask, KeyAsk::Revoke(_)) && can_make(key) && others == 0 {
            return Err(("last_admin_key", None));
        }
        Ok(())
    }
}
