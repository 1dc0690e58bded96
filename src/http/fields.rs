//! Parts of answers: `fields=` leaves members out, `expand[]=` puts objects where their ids were.
//!
//! Promise: `object` and `id` are always kept, an unknown name is refused, and an answer that was not
//! asked to change is not looked at. The rendered JSON is cut along its members without being read
//! deeper, so that every byte inside a member stays as the renderer wrote it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::body::Payload;
use super::gateway::Call;
use super::json::wire::Text;
use super::openapi::Schema;
use super::problem::{Code, Outcome, Problem};
use super::query::Query;
use super::reply::Reply;

/// Members that `fields` never leaves out.
const ALWAYS: [&str; 2] = ["object", "id"];

/// Where in an answer the objects are that `fields` is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The answer itself.
    Whole,
    /// The list that is this member of the answer.
    In(&'static str),
}

/// What a caller wants of an answer.
#[derive(Clone, Debug)]
pub struct Shape {
    rows: Rows,
    fields: Option<Vec<&'static str>>,
    expand: Vec<&'static str>,
}

impl Shape {
    /// Reads `fields` and `expand[]`. `row` describes the objects, `expandable` names the ids that can
    /// become objects; in a list `data.` may stand before a name.
    ///
    /// # Errors
    /// `invalid_parameter` for unknown names, and where the answer is not JSON.
    pub fn read(
        call: &Call<'_>,
        query: &Query<'_>,
        row: &'static Schema,
        rows: Rows,
        expandable: &'static [&'static str],
    ) -> Outcome<Shape> {
        let known = |name: &str| row.fields.iter().map(|field| field.name).find(|known| *known == name);
        let fields = match query.text("fields") {
            None => None,
            Some(text) => {
                let names = text.split(',').map(|name| known(name).ok_or_else(|| unknown("fields", name, row)));
                Some(names.collect::<Outcome<Vec<_>>>()?)
            }
        };
        let mut expand = Vec::new();
        for name in query.texts("expand[]") {
            let bare = name.strip_prefix("data.").filter(|_| rows == Rows::In("data")).unwrap_or(name);
            let found = expandable.iter().find(|known| **known == bare).ok_or_else(|| not_expandable(expandable))?;
            expand.push(*found);
        }
        let shape = Shape { rows, fields, expand };
        if !shape.is_plain() && call.gives != "application/json" {
            let name = if shape.fields.is_some() { "fields" } else { "expand[]" };
            return Err(Problem::of_parameter(Code::InvalidParameter, name, format!("`{name}` is for JSON answers.")));
        }
        Ok(shape)
    }

    fn is_plain(&self) -> bool {
        self.fields.is_none() && self.expand.is_empty()
    }

    /// Whether any id becomes an object.
    #[must_use]
    pub fn expands(&self) -> bool {
        !self.expand.is_empty()
    }

    /// Whether the ids in this member become objects. One that `fields` leaves out is not looked up.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.expand.contains(&name) && (self.keeps(name) || (self.rows != Rows::Whole && name == "account"))
    }

    fn keeps(&self, name: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.contains(&name) || ALWAYS.contains(&name))
    }

    /// Gives the answer its shape; `objects` are rendered, by id.
    pub fn apply(&self, reply: &mut Reply, objects: &HashMap<String, Vec<u8>>) {
        if self.is_plain() {
            return;
        }
        let Payload::Whole(Some(bytes)) = &reply.body else { return };
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let mut out = Vec::with_capacity(bytes.len());
        let shaped = match self.rows {
            Rows::Whole => self.write_row(&mut out, text, objects),
            Rows::In(list) => self.write_list(&mut out, text, list, objects),
        };
        debug_assert!(shaped.is_ok(), "the renderers write JSON");
        if shaped.is_ok() {
            reply.body = Payload::Whole(Some(Bytes::from(out)));
        }
    }

    fn write_list(
        &self,
        out: &mut Vec<u8>,
        text: &str,
        list: &str,
        objects: &HashMap<String, Vec<u8>>,
    ) -> serde_json::Result<()> {
        let Members(members) = serde_json::from_str(text)?;
        out.push(b'{');
        for (place, (name, value)) in members.into_iter().enumerate() {
            write_name(out, place == 0, &name);
            if name != list {
                self.write_value(out, &name, value, objects);
                continue;
            }
            let rows: Vec<&RawValue> = serde_json::from_str(value.get())?;
            out.push(b'[');
            for (place, row) in rows.into_iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                self.write_row(out, row.get(), objects)?;
            }
            out.push(b']');
        }
        out.push(b'}');
        Ok(())
    }

    fn write_row(&self, out: &mut Vec<u8>, text: &str, objects: &HashMap<String, Vec<u8>>) -> serde_json::Result<()> {
        let Members(members) = serde_json::from_str(text)?;
        out.push(b'{');
        let mut is_first = true;
        for (name, value) in members.into_iter().filter(|(name, _)| self.keeps(name)) {
            write_name(out, std::mem::take(&mut is_first), &name);
            self.write_value(out, &name, value, objects);
        }
        out.push(b'}');
        Ok(())
    }

    /// The object where an id was that is wanted and known; else the value as it is.
    fn write_value(&self, out: &mut Vec<u8>, name: &str, value: &RawValue, objects: &HashMap<String, Vec<u8>>) {
        let id = value.get().trim_matches('"');
        let object = if self.expand.contains(&name) { objects.get(id) } else { None };
        out.extend_from_slice(object.map_or(value.get().as_bytes(), Vec::as_slice));
    }
}

fn write_name(out: &mut Vec<u8>, is_first: bool, name: &str) {
    if !is_first {
        out.push(b',');
    }
    super::render::write_text(out, name);
    out.push(b':');
}

fn unknown(parameter: &str, name: &str, row: &Schema) -> Box<Problem> {
    let names: Vec<&str> = row.fields.iter().map(|field| field.name).collect();
    let shown: String = name.chars().take(64).collect();
    let detail = format!("`{shown}` is no field; there are {}.", names.join(", "));
    Problem::of_parameter(Code::InvalidParameter, parameter, detail)
}

fn not_expandable(expandable: &[&str]) -> Box<Problem> {
    let detail = format!("`expand[]` is one of {}.", expandable.join(", "));
    Problem::of_parameter(Code::InvalidParameter, "expand[]", detail)
}

/// The members of an object in their order, values unread.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = input.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((name.0, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn shaped(shape: &Shape, text: &str) -> String {
        let objects = HashMap::from([("acct_1".to_owned(), b"{\"object\":\"account\"}".to_vec())]);
        let mut reply = Reply::json(StatusCode::OK, text.as_bytes().to_vec());
        shape.apply(&mut reply, &objects);
        let Payload::Whole(Some(body)) = reply.body else { panic!("a body") };
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn members_are_kept_in_their_order_and_ids_become_objects() {
        let text = r#"{"object":"t","id":"t_1","a":{"x":[1, 2]},"account":"acct_1","b":"acct_1"}"#;
        let only = |fields: &[&'static str], expand: &[&'static str]| Shape {
            rows: Rows::Whole,
            fields: (!fields.is_empty()).then(|| fields.to_vec()),
            expand: expand.to_vec(),
        };
        assert_eq!(shaped(&only(&[], &[]), text), text);
        assert_eq!(shaped(&only(&["a"], &[]), text), r#"{"object":"t","id":"t_1","a":{"x":[1, 2]}}"#);
        assert_eq!(
            shaped(&only(&["account"], &["account"]), text),
            r#"{"object":"t","id":"t_1","account":{"object":"account"}}"#
        );
        assert!(!only(&["a"], &["account"]).wants("account"), "what is left out is not looked up");
        let list = format!(r#"{{"object":"list","account":"acct_1","data":[{text},{text}]}}"#);
        let rows = Shape { rows: Rows::In("data"), ..only(&["b"], &["account"]) };
        assert_eq!(
            shaped(&rows, &list),
            r#"{"object":"list","account":{"object":"account"},"data":[{"object":"t","id":"t_1","b":"acct_1"},{"object":"t","id":"t_1","b":"acct_1"}]}"#
        );
    }
}
