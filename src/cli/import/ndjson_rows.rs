//! Rows of an NDJSON file: one JSON object a line, blank lines skipped.
//!
//! Values keep the bytes that the file has: an object is a list of names and raw values here, so no
//! number is reformatted and a name that stands twice is seen.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{ItemKind, REJECTED_PREFIX, Shape};
use super::row::{FileError, Malformed, Rejected, Row, Source, shown, write_text};
use super::row_ids::RowIds;
use super::source::ROW_BYTES_MAX;

/// The rows of an NDJSON file.
pub struct NdjsonRows<R> {
    /// What the rows are, once one was recognised.
    pub kind: Option<ItemKind>,
    source: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    ids: RowIds,
}

enum Line {
    End,
    Whole,
    TooLong,
}

impl<R: Read> NdjsonRows<R> {
    /// Starts at the first line.
    pub fn open(source: BufReader<R>, kind: Option<ItemKind>, ids: RowIds) -> NdjsonRows<R> {
        NdjsonRows { kind, source, line: Vec::new(), number: 0, ids }
    }

    /// The next row.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next_row(&mut self) -> Result<Option<Result<Row, Rejected>>, FileError> {
        loop {
            self.number += 1;
            let outcome = match self.read_line()? {
                Line::End => return Ok(None),
                Line::TooLong => Err(("row_too_long", format!("the line is longer than {ROW_BYTES_MAX} bytes"))),
                Line::Whole if self.line.iter().all(u8::is_ascii_whitespace) => continue,
                Line::Whole => self.row(),
            };
            return Ok(Some(outcome.map_err(|(code, detail)| Rejected {
                number: self.number,
                code: code.to_owned(),
                detail,
                external_id: None,
                source: Source::Json(self.line.clone()),
            })));
        }
    }

    /// Reads a line without its end; what is beyond the limit is skipped, not kept.
    fn read_line(&mut self) -> io::Result<Line> {
        self.line.clear();
        let limit = ROW_BYTES_MAX as u64 + 1;
        if (&mut self.source).take(limit).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(Line::End);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            if self.line.last() == Some(&b'\r') {
                self.line.pop();
            }
            return Ok(Line::Whole);
        }
        if self.line.len() <= ROW_BYTES_MAX {
            return Ok(Line::Whole);
        }
        // The row is lost anyway; its beginning is kept to be recognised by.
        self.line.truncate(200);
        loop {
            let buffer = self.source.fill_buf()?;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let skipped = end.map_or(buffer.len(), |place| place + 1);
            let is_over = end.is_some() || buffer.is_empty();
            self.source.consume(skipped);
            if is_over {
                return Ok(Line::TooLong);
            }
        }
    }

    fn row(&mut self) -> Result<Row, Malformed> {
        let text = std::str::from_utf8(&self.line).map_err(|_| ("not_utf8", "the line is not UTF-8".to_owned()))?;
        let object: Object<'_> =
            serde_json::from_str(text).map_err(|error| ("json_malformed", format!("not one JSON object: {error}")))?;
        let detected = ItemKind::detect(object.0.iter().map(|(name, _)| name.as_str()));
        let kind = self.kind.or(detected).ok_or(("kind_unknown", "neither an account nor a transfer".to_owned()))?;
        let mut item = vec![b'{'];
        let mut external_id = None;
        for (place, (name, value)) in object.0.iter().enumerate() {
            if object.0[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(("field_twice", format!("{} stands twice", shown(name))));
            }
            if name.starts_with(REJECTED_PREFIX) || value.get() == "null" {
                continue;
            }
            let Some(field) = kind.field(name) else {
                return Err(("unknown_field", format!("{} have no field {}", kind.collection(), shown(name))));
            };
            check_shape(field.name, field.shape, value)?;
            if name == "external_id" {
                external_id = serde_json::from_str::<String>(value.get()).ok();
                continue;
            }
            write_raw(&mut item, name, value.get());
        }
        for field in kind.fields().iter().filter(|field| field.is_required) {
            if !object.0.iter().any(|(name, value)| name == field.name && value.get() != "null") {
                return Err(("field_missing", format!("{} is missing", field.name)));
            }
        }
        let is_id_made = external_id.is_none();
        let external_id = external_id.unwrap_or_else(|| {
            let says = |(name, value): &&(String, &RawValue)| {
                !name.starts_with(REJECTED_PREFIX) && name != "external_id" && value.get() != "null"
            };
            let said = object.0.iter().filter(says);
            let mut fields: Vec<(&str, &[u8])> =
                said.map(|(name, value)| (name.as_str(), value.get().as_bytes())).collect();
            self.ids.next(Some(kind), &mut fields)
        });
        let mut quoted = Vec::new();
        write_text(&mut quoted, &external_id);
        write_raw(&mut item, "external_id", &String::from_utf8_lossy(&quoted));
        item.push(b'}');
        self.kind = Some(kind);
        Ok(Row { number: self.number, item, external_id, is_id_made, source: Source::Json(self.line.clone()) })
    }
}

fn write_raw(item: &mut Vec<u8>, name: &str, value: &str) {
    if item.last() != Some(&b'{') {
        item.push(b',');
    }
    write_text(item, name);
    item.push(b':');
    item.extend_from_slice(value.as_bytes());
}

fn check_shape(name: &str, shape: Shape, value: &RawValue) -> Result<(), Malformed> {
    let is_right = match shape {
        Shape::Text => serde_json::from_str::<String>(value.get()).is_ok(),
        Shape::Number => serde_json::from_str::<u32>(value.get()).is_ok(),
        Shape::Flag => serde_json::from_str::<bool>(value.get()).is_ok(),
        Shape::Metadata => serde_json::from_str::<std::collections::BTreeMap<String, String>>(value.get()).is_ok(),
    };
    let wanted = match shape {
        Shape::Text => "a string",
        Shape::Number => "a whole number",
        Shape::Flag => "true or false",
        Shape::Metadata => "an object of strings",
    };
    if is_right { Ok(()) } else { Err(("field_malformed", format!("{name} is not {wanted}: {}", shown(value.get())))) }
}

/// A JSON object as its names and raw values, in order, repeated names kept.
pub(super) struct Object<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'a>, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Object)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}
