//! What the law wants secret (PAN, account numbers of customers) on its way into the books and out of them.
//!
//! Promise: the books have it sealed only, by ChaCha20-Poly1305 under a key derived from the data folder's secret
//! (`keys.secret`): a stolen journal without that file says nothing. Each sealing has a nonce of its own from
//! the system's randomness; what was changed or belongs to another field does not open.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// What the key is derived for; another text is another key.
const CONTEXT: &str = "munim 2026-11-29 secrets of customers";

/// Version of a sealed value: its first byte.
const VERSION: u8 = 1;

/// Seals and opens.
#[derive(Clone)]
pub struct Secrets {
    key: LessSafeKey,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Of a data folder with this secret.
    #[must_use]
    pub fn new(folder_secret: &[u8; 32]) -> Secrets {
        let bytes = blake3::derive_key(CONTEXT, folder_secret);
        let key = UnboundKey::new(&CHACHA20_POLY1305, &bytes).expect("the cipher takes keys of 32 bytes");
        Secrets { key: LessSafeKey::new(key) }
    }

    /// Seals a field: version, nonce, ciphertext and tag.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(&self, field: &str, text: &str) -> std::io::Result<Box<[u8]>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        let mut bytes = text.as_bytes().to_vec();
        let sealed = self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(field.as_bytes()),
            &mut bytes,
        );
        sealed.map_err(|_| std::io::Error::other("the text is too long to be sealed"))?;
        Ok([[VERSION].as_slice(), &nonce, &bytes].concat().into())
    }

    /// Opens a field; `None` when it was sealed by another folder's secret, for another field, or was changed.
    #[must_use]
    pub fn open(&self, field: &str, sealed: &[u8]) -> Option<String> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, bytes) = rest.split_first_chunk::<NONCE_LEN>()?;
        if *version != VERSION {
            return None;
        }
        let mut bytes = bytes.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.key.open_in_place(nonce, Aad::from(field.as_bytes()), &mut bytes).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_the_same_secret_and_field_only() {
        let (ours, theirs) = (Secrets::new(&[1; 32]), Secrets::new(&[2; 32]));
        let sealed = ours.seal("pan", "ABCDE1234F").unwrap();
        assert_ne!(sealed, ours.seal("pan", "ABCDE1234F").unwrap(), "each has a nonce of its own");
        assert_eq!(ours.open("pan", &sealed).as_deref(), Some("ABCDE1234F"));
        assert_eq!(ours.open("bank_account", &sealed), None);
        assert_eq!(theirs.open("pan", &sealed), None);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(ours.open("pan", &changed), None, "byte {place}");
        }
        assert_eq!(ours.open("pan", &[]), None);
        assert_eq!(ours.open("pan", &sealed[..12]), None);
    }
}
