//! A body as a tree of borrowed values, for the slow way.
//!
//! `serde_json::Value` would lose what we must see (a key that stands twice) and has no bound on the
//! number of values; this tree keeps both promises.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Values in one tree: an object of ours has at most some 120, metadata included.
const VALUES_MAX: u32 = 2_000;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number that fits; the fraction is not looked at.
    Whole(i128),
    /// Any other number.
    Number,
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Tree<'a>>),
    /// Members in the order of the text, duplicates included.
    Object(Vec<(Cow<'a, str>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// Reads one value, and nothing after it.
    ///
    /// # Errors
    /// serde_json's; its category is `Data` when there are too many values.
    pub fn read(text: &'a str) -> Result<Tree<'a>, serde_json::Error> {
        let mut input = serde_json::Deserializer::from_str(text);
        let left = Cell::new(VALUES_MAX);
        let tree = Node { left: &left }.deserialize(&mut input)?;
        input.end()?;
        Ok(tree)
    }

    /// The same as a tree of serde's; `None` where a number is not whole or a name stands twice.
    pub fn to_json(&self) -> Option<serde_json::Value> {
        use serde_json::Value;
        Some(match self {
            Tree::Null => Value::Null,
            Tree::Bool(value) => (*value).into(),
            Tree::Whole(number) => i64::try_from(*number).ok()?.into(),
            Tree::Number => return None,
            Tree::Text(text) => text.as_ref().into(),
            Tree::List(items) => Value::Array(items.iter().map(Tree::to_json).collect::<Option<_>>()?),
            Tree::Object(members) => {
                let map: Option<serde_json::Map<_, _>> =
                    members.iter().map(|(name, value)| Some((name.to_string(), value.to_json()?))).collect();
                Value::Object(map.filter(|map| map.len() == members.len())?)
            }
        })
    }

    /// The word for the value in an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Tree::Null => "null",
            Tree::Bool(_) => "a boolean",
            Tree::Whole(_) | Tree::Number => "a number",
            Tree::Text(_) => "a string",
            Tree::List(_) => "a list",
            Tree::Object(_) => "an object",
        }
    }
}

/// Counts the values that may still come.
#[derive(Clone, Copy)]
struct Node<'c> {
    left: &'c Cell<u32>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Tree<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Tree<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree<'de>, E> {
        Ok(Tree::Whole(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree<'de>, E> {
        Ok(Tree::Whole(value.into()))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Tree<'de>, E> {
        Ok(Tree::Number)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Tree<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = input.next_element_seed(self.counted()?)? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Tree<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = input.next_key::<super::wire::Text<'de>>()? {
            members.push((key.0, input.next_value_seed(self.counted()?)?));
        }
        Ok(Tree::Object(members))
    }
}

impl<'c> Node<'c> {
    fn counted<E: Error>(self) -> Result<Node<'c>, E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("too many values"))?;
        self.left.set(left);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_keep_duplicates_and_borrow_text() {
        let tree = Tree::read(r#"{"a":[1,-2,1.5,true,null],"a":"x\n"}"#).unwrap();
        let Tree::Object(members) = tree else { panic!("an object") };
        assert_eq!(members.len(), 2);
        assert_eq!(
            members[0].1,
            Tree::List(vec![Tree::Whole(1), Tree::Whole(-2), Tree::Number, Tree::Bool(true), Tree::Null])
        );
        assert_eq!(members[1].1, Tree::Text("x\n".into()));
    }

    #[test]
    fn trees_are_bounded() {
        let wide = format!("[{}1]", "1,".repeat(3_000));
        assert!(Tree::read(&wide).unwrap_err().is_data());
        assert!(Tree::read(&"[".repeat(60_000)).unwrap_err().is_syntax());
        assert!(Tree::read("[1] x").unwrap_err().is_syntax());
        assert!(Tree::read("").unwrap_err().is_eof());
    }
}
