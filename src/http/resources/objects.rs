//! Answers to commands about objects that the books keep and do not interpret.

use hyper::StatusCode;

use crate::domain::ids::{IdKind, Seq, format_id};
use crate::domain::objects::{Collection, JobBorn, job_number};
use crate::engine::objects::Object;

use super::super::gateway::Call;
use super::super::problem::{Code, Outcome, Problem};
use super::super::reply::Reply;
use super::{sync_targets, webhooks};

/// The object, as whoever set it up knows it.
pub fn reply_of(call: &Call<'_>, object: &Object, created: bool) -> Outcome<Reply> {
    match object.saved.collection {
        Collection::WebhookEndpoint => webhooks::reply_of(call, object, created),
        Collection::SyncTarget => sync_targets::reply_of(object, created),
        Collection::Schedule => Err(Problem::new(Code::InternalError, "An object of an unknown kind was saved.")),
    }
}

/// Jobs that were born.
pub fn jobs_reply(jobs: &[(Seq, JobBorn)]) -> Reply {
    let data: Vec<serde_json::Value> = jobs
        .iter()
        .map(
            |(seq, born)| serde_json::json!({"object": "job", "id": format_id(IdKind::Job, job_number(*seq)), "kind": *born.kind}),
        )
        .collect();
    let body = serde_json::json!({"object": "list", "data": data});
    Reply::json(StatusCode::CREATED, body.to_string().into_bytes())
}
