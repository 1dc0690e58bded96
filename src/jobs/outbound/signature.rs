//! Signatures of Standard Webhooks 1.0, given and checked.
//!
//! Promise: what is signed is the id, the moment and the very bytes that are sent; a secret is shown
//! only by [`SigningKey::reveal`], never by `Debug`; comparing takes a time that says nothing.
//!
//! 1. The content signed is `{id}.{timestamp}.{body}`. An id has no `.`, so that nobody can move the borders.
//! 2. `v1,` stands before base64 of HMAC-SHA256 (secret `whsec_…`), `v1a,` before base64 of ed25519
//!    (secret `whsk_…`, public `whpk_…`).
//! 3. While a secret is rotated, the old and the new one sign: two signatures with a space between. A
//!    receiver takes any that fits.
//!
//! Source: the text of the specification, "Signature scheme" and "Webhook headers"; its test vectors are in the tests.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Header with the id of the message: the same for all its attempts, so that a receiver counts it once.
pub const ID_HEADER: &str = "webhook-id";

/// Header with the moment of the attempt, seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// Header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Seconds by which a receiver's clock may differ from the timestamp: what the reference libraries allow.
pub const TOLERANCE_S: u64 = 300;

/// Keys that sign one message: a rotation has two, a second one before the first is over three.
pub const KEYS_MAX: usize = 4;

/// Signatures that a check looks at: an endless header costs no more than that.
const SIGNATURES_MAX: usize = 16;

/// Characters of a message's id.
const ID_CHARS_MAX: usize = 255;

/// Bytes of an HMAC secret that we draw; the specification wants 24 to 64.
const SECRET_BYTES: usize = 32;

const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;

/// Bytes of an ed25519 seed and of a public key (RFC 8032, 5.1.5).
const SEED_BYTES: usize = 32;

const HMAC_SECRET: &str = "whsec_";
const ED25519_SECRET: &str = "whsk_";
const ED25519_PUBLIC: &str = "whpk_";
const HMAC_MARK: &str = "v1";
const ED25519_MARK: &str = "v1a";

/// Why a key cannot be used. Says nothing of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither `whsec_`, `whsk_` nor `whpk_`, where that kind is wanted.
    #[error("a key begins with whsec_ or whsk_, a public one with whpk_")]
    Prefix,
    /// What follows the prefix is not base64.
    #[error("a key is base64 after its prefix")]
    Base64,
    /// Too short or too long for its kind.
    #[error("an HMAC secret has 24 to 64 bytes, an ed25519 key 32")]
    Length,
    /// The system's source of randomness does not answer.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

/// Why a message cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Empty, too long, with a `.` or something invisible.
    #[error("a message id is 1 to 255 visible ASCII characters without a full stop")]
    Id,
    /// No key, or more than [`KEYS_MAX`].
    #[error("a message is signed by 1 to 4 keys")]
    Keys,
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The id could not have been signed.
    #[error("the message id is malformed")]
    Id,
    /// Not an integer of seconds.
    #[error("the timestamp is not a number of seconds")]
    Timestamp,
    /// Older than the tolerance: perhaps sent again by somebody who listened.
    #[error("the timestamp is too old")]
    TooOld,
    /// Further in the future than the tolerance.
    #[error("the timestamp is in the future")]
    TooNew,
    /// None of the signatures fits any of the keys.
    #[error("no signature fits")]
    NoMatch,
}

/// A secret that signs.
pub enum SigningKey {
    /// HMAC-SHA256, which the receiver checks with the same secret.
    Hmac {
        /// The bytes, to be shown once to who owns the endpoint.
        secret: Vec<u8>,
        /// The same, ready for use.
        key: hmac::Key,
    },
    /// ed25519: the receiver holds the public half only.
    Ed25519 {
        /// The seed of 32 bytes, which is all there is to the key.
        seed: [u8; SEED_BYTES],
        /// The same, ready for use.
        pair: Ed25519KeyPair,
    },
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SigningKey::Hmac { .. } => "SigningKey::Hmac(secret)",
            SigningKey::Ed25519 { .. } => "SigningKey::Ed25519(secret)",
        })
    }
}

impl SigningKey {
    /// A new HMAC secret of 32 bytes from the system's source.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn draw_hmac() -> Result<SigningKey, KeyError> {
        SigningKey::from_secret(draw::<SECRET_BYTES>()?.to_vec())
    }

    /// A new ed25519 key from the system's source.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn draw_ed25519() -> Result<SigningKey, KeyError> {
        SigningKey::from_seed(draw::<SEED_BYTES>()?)
    }

    /// Reads `whsec_…` or `whsk_…`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<SigningKey, KeyError> {
        if let Some(secret) = text.strip_prefix(HMAC_SECRET) {
            return SigningKey::from_secret(decode(secret)?);
        }
        let seed = text.strip_prefix(ED25519_SECRET).ok_or(KeyError::Prefix)?;
        SigningKey::from_seed(decode(seed)?.try_into().map_err(|_| KeyError::Length)?)
    }

    fn from_secret(secret: Vec<u8>) -> Result<SigningKey, KeyError> {
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
            return Err(KeyError::Length);
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Ok(SigningKey::Hmac { secret, key })
    }

    fn from_seed(seed: [u8; SEED_BYTES]) -> Result<SigningKey, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Length)?;
        Ok(SigningKey::Ed25519 { seed, pair })
    }

    /// The secret as text, for the one answer that shows it and for where it is stored.
    #[must_use]
    pub fn reveal(&self) -> String {
        match self {
            SigningKey::Hmac { secret, .. } => format!("{HMAC_SECRET}{}", STANDARD.encode(secret)),
            SigningKey::Ed25519 { seed, .. } => format!("{ED25519_SECRET}{}", STANDARD.encode(seed)),
        }
    }

    /// What a receiver needs: the public half, or (HMAC) the secret itself.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        match self {
            SigningKey::Hmac { key, .. } => VerifyingKey::Hmac(key.clone()),
            SigningKey::Ed25519 { pair, .. } => VerifyingKey::Ed25519(pair.public_key().as_ref().to_vec()),
        }
    }

    /// `whpk_…`, which anybody may see; `None` for HMAC, which has no public half.
    #[must_use]
    pub fn public_text(&self) -> Option<String> {
        match self {
            SigningKey::Hmac { .. } => None,
            SigningKey::Ed25519 { pair, .. } => {
                Some(format!("{ED25519_PUBLIC}{}", STANDARD.encode(pair.public_key().as_ref())))
            }
        }
    }

    fn sign(&self, content: &[u8]) -> String {
        match self {
            SigningKey::Hmac { key, .. } => format!("{HMAC_MARK},{}", STANDARD.encode(hmac::sign(key, content))),
            SigningKey::Ed25519 { pair, .. } => format!("{ED25519_MARK},{}", STANDARD.encode(pair.sign(content))),
        }
    }
}

/// What checks a signature.
pub enum VerifyingKey {
    /// The shared secret.
    Hmac(hmac::Key),
    /// The public half, 32 bytes.
    Ed25519(Vec<u8>),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerifyingKey::Hmac(_) => "VerifyingKey::Hmac(secret)",
            VerifyingKey::Ed25519(_) => "VerifyingKey::Ed25519",
        })
    }
}

impl VerifyingKey {
    /// Reads `whsec_…` or `whpk_…`.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<VerifyingKey, KeyError> {
        if let Some(public) = text.strip_prefix(ED25519_PUBLIC) {
            let key = decode(public)?;
            return if key.len() == SEED_BYTES { Ok(VerifyingKey::Ed25519(key)) } else { Err(KeyError::Length) };
        }
        if !text.starts_with(HMAC_SECRET) {
            return Err(KeyError::Prefix);
        }
        SigningKey::parse(text).map(|key| key.verifying_key())
    }

    fn fits(&self, mark: &str, signature: &[u8], content: &[u8]) -> bool {
        match self {
            VerifyingKey::Hmac(key) => mark == HMAC_MARK && hmac::verify(key, content, signature).is_ok(),
            VerifyingKey::Ed25519(key) => {
                mark == ED25519_MARK && UnparsedPublicKey::new(&ED25519, key).verify(content, signature).is_ok()
            }
        }
    }
}

/// The three headers of a message, as they came.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, seconds since 1970.
    pub timestamp: &'a str,
    /// `webhook-signature`.
    pub signature: &'a str,
}

/// The header `webhook-signature` for a message: one signature a key, in their order, a space between.
/// `timestamp_s` is the moment of this attempt, seconds since 1970.
///
/// # Errors
/// [`SignError`].
pub fn sign(keys: &[&SigningKey], id: &str, timestamp_s: u64, body: &[u8]) -> Result<String, SignError> {
    if !is_id(id) {
        return Err(SignError::Id);
    }
    if keys.is_empty() || keys.len() > KEYS_MAX {
        return Err(SignError::Keys);
    }
    let content = content(id, timestamp_s, body);
    let signatures: Vec<String> = keys.iter().map(|key| key.sign(&content)).collect();
    Ok(signatures.join(" "))
}

/// Checks a message as a receiver does: any signature that fits any of the keys will do.
/// `now_s` is the receiver's clock, seconds since 1970.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(keys: &[VerifyingKey], signed: Signed<'_>, body: &[u8], now_s: u64) -> Result<(), VerifyError> {
    if !is_id(signed.id) {
        return Err(VerifyError::Id);
    }
    let timestamp_s: u64 = signed.timestamp.parse().map_err(|_| VerifyError::Timestamp)?;
    if now_s.saturating_sub(timestamp_s) > TOLERANCE_S {
        return Err(VerifyError::TooOld);
    }
    if timestamp_s.saturating_sub(now_s) > TOLERANCE_S {
        return Err(VerifyError::TooNew);
    }
    let content = content(signed.id, timestamp_s, body);
    for one in signed.signature.split(' ').take(SIGNATURES_MAX) {
        let Some((mark, text)) = one.split_once(',') else { continue };
        let Ok(signature) = STANDARD.decode(text) else { continue };
        if keys.iter().any(|key| key.fits(mark, &signature, &content)) {
            return Ok(());
        }
    }
    Err(VerifyError::NoMatch)
}

fn content(id: &str, timestamp_s: u64, body: &[u8]) -> Vec<u8> {
    let mut content = format!("{id}.{timestamp_s}.").into_bytes();
    content.extend_from_slice(body);
    content
}

fn is_id(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD.decode(text).map_err(|_| KeyError::Base64)
}

fn draw<const BYTES: usize>() -> Result<[u8; BYTES], KeyError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: u64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn checked(keys: &[VerifyingKey], signature: &str, now_s: u64) -> Result<(), VerifyError> {
        verify(keys, Signed { id: ID, timestamp: &AT.to_string(), signature }, BODY, now_s)
    }

    /// Vectors of the reference libraries (Go, Rust).
    #[test]
    fn the_vectors_of_the_reference_libraries_are_reproduced() {
        let table: [(&str, &str, u64, &[u8], &str); 3] = [
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ID, AT, BODY, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                br#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
            (
                "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
                ID,
                AT,
                BODY,
                "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
            ),
        ];
        for (secret, id, at, body, expected) in table {
            let key = SigningKey::parse(secret).unwrap();
            assert_eq!(sign(&[&key], id, at, body).unwrap(), expected);
            assert_eq!(key.reveal(), secret);
            let signed = Signed { id, timestamp: &at.to_string(), signature: expected };
            assert_eq!(verify(&[key.verifying_key()], signed, body, at), Ok(()));
        }
    }

    #[test]
    fn while_a_secret_is_rotated_either_half_of_the_receivers_believes() {
        let old = SigningKey::draw_hmac().unwrap();
        let new = SigningKey::draw_ed25519().unwrap();
        let signature = sign(&[&new, &old], ID, AT, BODY).unwrap();
        assert_eq!(signature.split(' ').count(), 2);
        for key in [&old, &new] {
            assert_eq!(checked(&[key.verifying_key()], &signature, AT), Ok(()));
        }
        let public = VerifyingKey::parse(&new.public_text().unwrap()).unwrap();
        assert_eq!(checked(&[public], &signature, AT), Ok(()));
        assert_eq!(old.public_text(), None);
        let other = SigningKey::draw_hmac().unwrap();
        assert_eq!(checked(&[other.verifying_key()], &signature, AT), Err(VerifyError::NoMatch));
    }

    #[test]
    fn what_was_changed_or_is_out_of_time_is_not_believed() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let good = sign(&[&key], ID, AT, BODY).unwrap();
        let keys = [key.verifying_key()];
        let noise = format!("v1,AAAA v2,{} nonsense , {good}", &good[3..]);
        for (signature, now_s, expected) in [
            (good.as_str(), AT + TOLERANCE_S, Ok(())),
            (good.as_str(), AT - TOLERANCE_S, Ok(())),
            (noise.as_str(), AT, Ok(())),
            (good.as_str(), AT + TOLERANCE_S + 1, Err(VerifyError::TooOld)),
            (good.as_str(), AT - TOLERANCE_S - 1, Err(VerifyError::TooNew)),
            ("v1,", AT, Err(VerifyError::NoMatch)),
            (&good[..12], AT, Err(VerifyError::NoMatch)),
            ("v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", AT, Err(VerifyError::NoMatch)),
            ("", AT, Err(VerifyError::NoMatch)),
        ] {
            assert_eq!(checked(&keys, signature, now_s), expected, "{signature} at {now_s}");
        }
        let at = AT.to_string();
        let forged = |id, timestamp, body: &[u8]| verify(&keys, Signed { id, timestamp, signature: &good }, body, AT);
        assert_eq!(forged(ID, &at, b"{\"test\": 2432232315}"), Err(VerifyError::NoMatch));
        assert_eq!(forged("msg_other", &at, BODY), Err(VerifyError::NoMatch));
        assert_eq!(forged("", &at, BODY), Err(VerifyError::Id));
        assert_eq!(forged(ID, "1614265330.5", BODY), Err(VerifyError::Timestamp));
        let past = format!("{}{good}", "v1,AAAA ".repeat(SIGNATURES_MAX));
        assert_eq!(checked(&keys, &past, AT), Err(VerifyError::NoMatch), "the seventeenth is not looked at");
    }

    #[test]
    fn keys_and_ids_that_cannot_be_used_are_refused() {
        for (text, expected) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Prefix),
            ("whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Prefix),
            ("whsec_", KeyError::Length),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS=", KeyError::Base64),
            ("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", KeyError::Length),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Length),
        ] {
            assert_eq!(SigningKey::parse(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(VerifyingKey::parse("whpk_AAAA").unwrap_err(), KeyError::Length);
        assert_eq!(VerifyingKey::parse("whsk_AAAA").unwrap_err(), KeyError::Prefix);
        let key = SigningKey::draw_hmac().unwrap();
        for id in ["", "a.b", "a b", "ए", &"a".repeat(256)] {
            assert_eq!(sign(&[&key], id, AT, BODY), Err(SignError::Id), "{id}");
        }
        assert_eq!(sign(&[], ID, AT, BODY), Err(SignError::Keys));
        assert_eq!(sign(&[&key; 5], ID, AT, BODY), Err(SignError::Keys));
    }

    #[test]
    fn no_two_secrets_are_alike_and_none_is_printed() {
        for draw in [SigningKey::draw_hmac, SigningKey::draw_ed25519] {
            let (one, two) = (draw().unwrap(), draw().unwrap());
            assert_ne!(one.reveal(), two.reveal());
            let (_, secret) = one.reveal().split_once('_').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            for printed in [format!("{one:?}"), format!("{:?}", one.verifying_key())] {
                assert!(!printed.contains(&secret) && printed.len() < 40, "{printed}");
            }
        }
    }
}
