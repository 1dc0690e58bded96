//! Objects and jobs as bytes of a record. docs/format.md draws them.
//!
//! Promise: as in `record.rs`, what is decoded equals what was encoded, and anything else is `None`.

use super::varint::{Cursor, Sink};
use crate::domain::ids::{Moment, Seq};
use crate::domain::objects::{Collection, JOB_ARGS_BYTES_MAX, JobBorn, OBJECT_BYTES_MAX, ObjectSaved};

/// Appends an object; `seq` is its entry's.
pub(super) fn put_object(sink: &mut Sink, seq: Seq, saved: &ObjectSaved) {
    sink.put_u8(saved.collection as u8);
    sink.put_varint(u64::from(saved.number));
    sink.put_varint(u64::from(saved.version));
    // 0: there is none.
    sink.put_varint(if saved.previous == Seq::NONE { 0 } else { seq.0 - saved.previous.0 });
    sink.put(&saved.created_at.0.to_le_bytes());
    sink.put_varint(saved.by);
    put_bytes(sink, &saved.body);
}

/// Reads an object.
pub(super) fn take_object(cursor: &mut Cursor<'_>, seq: Seq) -> Option<ObjectSaved> {
    let collection = Collection::from_number(cursor.take_u8()?)?;
    let number = u32::try_from(cursor.take_varint()?).ok()?;
    let version = u32::try_from(cursor.take_varint()?).ok()?;
    let previous = match cursor.take_varint()? {
        0 => Seq::NONE,
        distance => Seq(seq.0.checked_sub(distance)?),
    };
    let created_at = Moment(i64::from_le_bytes(cursor.take_array()?));
    let by = cursor.take_varint()?;
    let body = take_bytes(cursor, OBJECT_BYTES_MAX)?;
    Some(ObjectSaved { collection, number, version, previous, created_at, by, body })
}

/// Appends a job.
pub(super) fn put_job(sink: &mut Sink, born: &JobBorn) {
    sink.put_text(&born.kind);
    sink.put_u8(born.priority | if born.run_at.is_some() { 0x80 } else { 0 });
    if let Some(at) = born.run_at {
        sink.put(&at.0.to_le_bytes());
    }
    sink.put_varint(born.by);
    put_bytes(sink, &born.args);
}

/// Reads a job.
pub(super) fn take_job(cursor: &mut Cursor<'_>) -> Option<JobBorn> {
    let kind = cursor.take_text()?;
    let flags = cursor.take_u8()?;
    let run_at = if flags & 0x80 != 0 { Some(Moment(i64::from_le_bytes(cursor.take_array()?))) } else { None };
    let priority = flags & 0x7f;
    if priority > 9 {
        return None;
    }
    let by = cursor.take_varint()?;
    let args = take_bytes(cursor, JOB_ARGS_BYTES_MAX)?;
    Some(JobBorn { kind, args, priority, run_at, by })
}

fn put_bytes(sink: &mut Sink, bytes: &[u8]) {
    sink.put_varint(bytes.len() as u64);
    sink.put(bytes);
}

fn take_bytes(cursor: &mut Cursor<'_>, bytes_max: usize) -> Option<Box<[u8]>> {
    let length = usize::try_from(cursor.take_varint()?).ok().filter(|length| *length <= bytes_max)?;
    let end = cursor.at.checked_add(length)?;
    let bytes = cursor.bytes.get(cursor.at..end)?.into();
    cursor.at = end;
    Some(bytes)
}
