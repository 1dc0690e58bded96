//! An API key as bytes: in a checkpoint, in a kept reply, in the hash of the state.
//!
//! First byte: version. Numbers are little endian, optional ones stand behind a byte 1, texts behind
//! their length in four bytes.

use crate::domain::access::{ApiKey, KeyLimits, KeyTerms, Role};
use crate::domain::ids::{Moment, Seq};

const VERSION: u8 = 1;

/// Appends a key.
pub(super) fn encode(out: &mut Vec<u8>, key: &ApiKey) {
    let moment = |out: &mut Vec<u8>, moment: Option<Moment>| {
        out.push(u8::from(moment.is_some()));
        out.extend_from_slice(&moment.unwrap_or_default().0.to_le_bytes());
    };
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&u32::try_from(text.len()).expect("the edge bounds texts").to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    let terms = &key.terms;
    out.extend_from_slice(&[VERSION, terms.role as u8]);
    for number in [key.number, key.made_by, key.last_seq.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    text(out, &terms.name);
    out.extend_from_slice(&u32::try_from(terms.scopes.len()).expect("the edge bounds scopes").to_le_bytes());
    terms.scopes.iter().for_each(|scope| text(out, scope));
    for limit in [terms.limits.rate_per_s, terms.limits.burst, terms.limits.concurrency] {
        out.extend_from_slice(&limit.to_le_bytes());
    }
    out.push(u8::from(terms.amount_limit.is_some()));
    out.extend_from_slice(&terms.amount_limit.unwrap_or_default().to_le_bytes());
    out.push(u8::from(terms.certificate.is_some()));
    out.extend_from_slice(&terms.certificate.unwrap_or_default());
    out.extend_from_slice(&key.hash);
    out.push(u8::from(key.old.is_some()));
    let (old_hash, old_until) = key.old.unwrap_or_default();
    out.extend_from_slice(&old_hash);
    out.extend_from_slice(&old_until.0.to_le_bytes());
    moment(out, Some(key.made_at));
    for at in [terms.expires_at, key.rotated_at, key.revoked_at] {
        moment(out, at);
    }
}

/// Reads a key, and what follows it. `None` when this version does not know the bytes.
pub(super) fn decode(bytes: &[u8]) -> Option<(ApiKey, &[u8])> {
    let mut input = Input(bytes);
    let [version, role] = input.take()?;
    if version != VERSION {
        return None;
    }
    let role = Role::from_number(role)?;
    let (number, made_by, last_seq) = (input.u64()?, input.u64()?, Seq(input.u64()?));
    let name = input.text()?;
    let scopes = (0..input.u32()?).map(|_| input.text()).collect::<Option<Vec<_>>>()?;
    let limits = KeyLimits { rate_per_s: input.u32()?, burst: input.u32()?, concurrency: input.u32()? };
    let amount_limit = input.optional(Input::u64)?;
    let certificate = input.optional(Input::take)?;
    let hash = input.take()?;
    let old = input.optional(|input| Some((input.take()?, input.moment()?)))?;
    let made_at = input.optional(Input::moment)??;
    let expires_at = input.optional(Input::moment)?;
    let rotated_at = input.optional(Input::moment)?;
    let revoked_at = input.optional(Input::moment)?;
    let terms = KeyTerms { name, role, scopes, amount_limit, limits, expires_at, certificate };
    let key = ApiKey { number, made_by, terms, hash, old, made_at, rotated_at, revoked_at, last_seq };
    Some((key, input.0))
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
    fn moment(&mut self) -> Option<Moment> {
        self.take().map(|bytes| Moment(i64::from_le_bytes(bytes)))
    }
    fn text(&mut self) -> Option<Box<str>> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.into())
    }
    /// A value behind a byte that says whether it is one.
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let is_there = match self.take()? {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let value = read(self)?;
        Some(is_there.then_some(value))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A key with every field set.
    pub fn full_key() -> ApiKey {
        ApiKey {
            number: 7,
            made_by: 1,
            terms: KeyTerms {
                name: "Till 3 – खजांची".into(),
                role: Role::Cashier,
                scopes: vec!["transfers:write".into(), "get_account".into()],
                amount_limit: Some(50_000),
                limits: KeyLimits { rate_per_s: 5, burst: 9, concurrency: 2 },
                expires_at: Some(Moment(99)),
                certificate: Some([9; 32]),
            },
            hash: [1; 32],
            old: Some(([2; 32], Moment(50))),
            made_at: Moment(-4),
            rotated_at: Some(Moment(20)),
            revoked_at: Some(Moment(30)),
            last_seq: Seq(1 << 40),
        }
    }

    #[test]
    fn keys_round_trip_and_cut_ones_are_none() {
        let mut bare = full_key();
        bare.terms.scopes.clear();
        (bare.terms.amount_limit, bare.terms.expires_at, bare.terms.certificate) = (None, None, None);
        (bare.old, bare.rotated_at, bare.revoked_at) = (None, None, None);
        for key in [full_key(), bare] {
            let mut bytes = Vec::new();
            encode(&mut bytes, &key);
            bytes.extend_from_slice(b"rest");
            assert_eq!(decode(&bytes), Some((key, b"rest".as_slice())));
            assert!((0..bytes.len() - 4).all(|end| decode(&bytes[..end]).is_none()));
        }
    }
}
