//! Jobs, as callers ask for them: alone, or beside what causes them.

use serde_json::Value;

use crate::domain::ids::Moment;
use crate::domain::objects::{JOB_ARGS_BYTES_MAX, JOBS_PER_COMMAND_MAX};
use crate::domain::transfer::NewTransfer;
use crate::engine::command::NewJob;
use crate::jobs::kinds::{KIND_CHARS_MAX, check_args};

use super::super::problem::{Outcome, Problem};
use super::fields::Fields;
use super::order::object;
use super::transfer::{parse_transfer, transfer_of};
use super::tree::Tree;
use super::{Resolver, of_serde, utf8};

/// Priority of a job that says nothing.
const PRIORITY_DEFAULT: i64 = 5;

/// The body of `POST /v1/jobs`.
///
/// # Errors
/// `malformed_json`, `unknown_field`, `validation_failed`.
pub fn parse_job(body: &[u8]) -> Outcome<NewJob> {
    object(body, job)
}

/// The body of `POST /v1/transfers`: a transfer, and the jobs that it bears.
///
/// # Errors
/// As [`parse_transfer`], and for what is no job.
pub fn parse_transfer_with_jobs(body: &[u8], resolver: &impl Resolver) -> Outcome<(NewTransfer, Vec<NewJob>)> {
    // Nearly all bodies have none, and go the fast way.
    const NAME: &[u8] = b"\"jobs\"";
    if !body.windows(NAME.len()).any(|window| window == NAME) {
        return Ok((parse_transfer(body, resolver)?, Vec::new()));
    }
    let mut tree = Tree::read(utf8(body)?).map_err(|error| of_serde(&error, ""))?;
    let mut own = Vec::new();
    if let Tree::Object(members) = &mut tree {
        let (jobs, rest): (Vec<_>, Vec<_>) = std::mem::take(members).into_iter().partition(|(name, _)| name == "jobs");
        (*members, own) = (rest, jobs);
    }
    let mut errors = Vec::new();
    let mut fields = Fields::of(Tree::Object(own), String::new(), &mut errors);
    let jobs = fields.objects("jobs", JOBS_PER_COMMAND_MAX, job);
    fields.finish();
    let transfer = transfer_of(tree, resolver)?;
    if errors.is_empty() { Ok((transfer, jobs)) } else { Err(Problem::of_fields(errors)) }
}

pub(super) fn job(fields: &mut Fields<'_, '_>) -> NewJob {
    let kind = fields.filled_text("kind", KIND_CHARS_MAX);
    fields.require("args");
    let args = fields.json("args").unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    if !fields.has_errors()
        && let Err((pointer, detail)) = check_args(&kind, &args)
    {
        fields.refuse_at(pointer, "invalid_value", detail);
    }
    let priority = fields.whole("priority", 0..=9).unwrap_or(PRIORITY_DEFAULT) as u8;
    let run_at = fields.text("run_at", 40).and_then(|text| {
        let at: Option<jiff::Timestamp> = text.parse().ok();
        if at.is_none() {
            fields.refuse("run_at", "invalid_value", "`run_at` is an instant such as 2026-12-01T09:00:00Z.");
        }
        at.map(|at| Moment(at.as_microsecond()))
    });
    let args = args.to_string().into_bytes();
    if args.len() > JOB_ARGS_BYTES_MAX {
        fields.refuse("args", "too_long", format!("`args` has at most {JOB_ARGS_BYTES_MAX} bytes."));
    }
    NewJob { kind: kind.into(), args: args.into(), priority, run_at }
}
