//! The fast way: transfers and batch items as serde reads them from borrowed text.
//!
//! Nothing here explains itself: an error of any kind means "take the slow way".

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::config::{METADATA_PAIRS_MAX, METADATA_VALUE_CHARS_MAX};
use crate::domain::entry::Metadata;
use crate::domain::money::Decimal;

use super::fields::{is_at_most, is_metadata_key, sort_metadata};

/// All fields of a transfer and of a batch item. Which belong together is decided after reading.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wire<'a> {
    /// `post` or `void`; a new transfer has none.
    #[serde(borrow)]
    pub op: Option<Text<'a>>,
    /// Which hold.
    #[serde(borrow)]
    pub transfer: Option<Text<'a>>,
    /// One side.
    #[serde(borrow)]
    pub debit_account: Option<Text<'a>>,
    /// The other side.
    #[serde(borrow)]
    pub credit_account: Option<Text<'a>>,
    /// How much.
    pub amount: Option<Amount>,
    /// The caller's code.
    pub code: Option<u32>,
    /// The caller's id.
    #[serde(borrow)]
    pub external_id: Option<Text<'a>>,
    /// `YYYY-MM-DD`.
    #[serde(borrow)]
    pub effective_date: Option<Text<'a>>,
    /// Free text.
    #[serde(borrow)]
    pub description: Option<Text<'a>>,
    /// Pairs.
    pub metadata: Option<Pairs>,
    /// Hold instead of post.
    pub pending: Option<bool>,
    /// Life of the hold.
    pub expires_in_s: Option<i64>,
}

/// A string, borrowed from the body unless it has escapes.
#[derive(Debug, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

/// An amount; `None` for a number or a text that is no plain decimal.
#[derive(Clone, Copy, Debug)]
pub struct Amount(pub Option<Decimal>);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Amount;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a decimal string")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                Ok(Amount(Decimal::parse(text)))
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<Amount, E> {
                Ok(Amount(None))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Amount, E> {
                Ok(Amount(None))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Amount, E> {
                Ok(Amount(None))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// Metadata within its bounds, sorted.
#[derive(Debug)]
pub struct Pairs(pub Metadata);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Pairs, A::Error> {
                let mut pairs = Metadata::new();
                while let Some((key, value)) = input.next_entry::<Text<'de>, Text<'de>>()? {
                    let fits = is_metadata_key(&key.0) && is_at_most(&value.0, METADATA_VALUE_CHARS_MAX);
                    if !fits || pairs.len() == METADATA_PAIRS_MAX {
                        return Err(A::Error::custom("out of bounds"));
                    }
                    pairs.push((key.0.into(), value.0.into()));
                }
                if sort_metadata(&mut pairs) { Ok(Pairs(pairs)) } else { Err(A::Error::custom("duplicate key")) }
            }
        }
        deserializer.deserialize_map(Reader)
    }
}
