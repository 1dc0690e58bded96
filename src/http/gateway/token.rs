//! Tokens of API keys: `mk_<key number, thirteen digits of an id>_<256 bits in base64url>`.
//!
//! Promise: a token is nowhere but in the one answer that shows it. What is kept is a blake3 of its
//! secret, keyed with a secret of the data folder (`keys.secret`), so that neither the journal nor a
//! copy of it lets anybody guess; hashes are compared in constant time. A fast hash is right here:
//! 256 random bits cannot be guessed, so there is nothing to slow down.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::domain::ids::{ID_DIGITS, IdKind, format_id, parse_id};
use crate::engine::command::IdempotencyKey;

use super::secrets::Secrets;

/// Characters of 256 bits in base64url.
const SECRET_CHARS: usize = 43;

/// Characters before the secret: `mk_`, the digits, and `_`.
const HEAD_CHARS: usize = 3 + ID_DIGITS + 1;

/// The secret half of a token. Never shown, not even to a debugger's eye.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new one, from the system's randomness.
    ///
    /// # Errors
    /// The system has none.
    pub fn draw() -> std::io::Result<Secret> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Secret(bytes))
    }

    /// The token of a key with this secret.
    #[must_use]
    pub fn token_of(&self, number: u64) -> String {
        let mut token = format_id(IdKind::Token, number);
        token.push('_');
        URL_SAFE_NO_PAD.encode_string(self.0, &mut token);
        token
    }
}

/// The key's number and the secret in a token, or `None` when the text is none.
#[must_use]
pub fn parse_token(text: &str) -> Option<(u64, Secret)> {
    if text.len() != HEAD_CHARS + SECRET_CHARS {
        return None;
    }
    let (head, secret) = text.split_at_checked(HEAD_CHARS)?;
    let number = parse_id(IdKind::Token, head.strip_suffix('_')?)?;
    // A bit too many in the last digit would give one secret two spellings: the library refuses it.
    let mut bytes = [0; 32];
    let length = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
    (length == bytes.len()).then_some((number, Secret(bytes)))
}

/// What turns secrets into hashes: the secret of a data folder.
#[derive(Clone)]
pub struct Tokens {
    folder_secret: [u8; 32],
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// The tokens of a folder with this secret.
    #[must_use]
    pub fn new(folder_secret: [u8; 32]) -> Tokens {
        Tokens { folder_secret }
    }

    /// What seals the secrets of customers.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Secrets::new(&self.folder_secret)
    }

    /// The hash that is kept of a secret.
    #[must_use]
    pub fn hash(&self, secret: &Secret) -> [u8; 32] {
        *blake3::keyed_hash(&self.folder_secret, &secret.0).as_bytes()
    }

    /// Whether a secret has this hash.
    #[must_use]
    pub fn is_hash_of(&self, hash: &[u8; 32], secret: &Secret) -> bool {
        self.hash(secret).ct_eq(hash).into()
    }

    /// The secret for a request with an idempotency key: the same whenever that request is repeated,
    /// so that its answer can be repeated without the secret being kept.
    #[must_use]
    pub fn derive(&self, key: &IdempotencyKey) -> Secret {
        let mut hasher = blake3::Hasher::new_keyed(&self.folder_secret);
        hasher.update(b"munim: the secret of an API key\0");
        hasher.update(&key.hash);
        hasher.update(&key.fingerprint);
        Secret(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling() {
        let secret = Secret([0xfb; 32]);
        let token = secret.token_of(7);
        assert_eq!(token.len(), 60);
        assert!(token.starts_with("mk_0000000000007_"));
        let (number, again) = parse_token(&token).unwrap();
        assert_eq!((number, again.0), (7, secret.0));
        let mut odd_bits = token.clone();
        odd_bits.replace_range(59..60, "_");
        for bad in [
            "",
            "mk_",
            &token[1..],
            &format!("{token}="),
            &token.replace("mk_", "MK_"),
            &token.replace("7_", "7-"),
            &token.replace('-', "+"),
            &odd_bits,
            &"é".repeat(30),
        ] {
            assert!(parse_token(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_hash_belongs_to_one_secret_and_one_folder() {
        let (ours, theirs) = (Tokens::new([1; 32]), Tokens::new([2; 32]));
        let (secret, other) = (Secret::draw().unwrap(), Secret::draw().unwrap());
        let hash = ours.hash(&secret);
        assert!(ours.is_hash_of(&hash, &secret));
        assert!(!ours.is_hash_of(&hash, &other));
        assert!(!theirs.is_hash_of(&hash, &secret));
        assert_eq!(format!("{ours:?} {secret:?}"), "Tokens(…) Secret(…)");
    }

    #[test]
    fn a_derived_secret_is_the_same_for_the_same_request_only() {
        let tokens = Tokens::new([1; 32]);
        let key = IdempotencyKey { hash: [1; 16], fingerprint: [2; 16] };
        assert_eq!(tokens.derive(&key).0, tokens.derive(&key).0);
        let other = IdempotencyKey { fingerprint: [3; 16], ..key };
        assert_ne!(tokens.derive(&key).0, tokens.derive(&other).0);
        assert_ne!(tokens.derive(&key).0, Tokens::new([2; 32]).derive(&key).0);
    }
}
